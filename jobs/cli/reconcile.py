"""`manage.py job reconcile`: find what was sent after a backup that was restored."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from ..batches import recovery, unknown_submissions
from ..models import audit
from ..provider.errors import ProviderError
from .console import Console


def add_arguments(_parser: CommandParser) -> None:
    """There are none."""


def run(console: Console, options: dict[str, Any]) -> None:
    if not unknown_submissions.submissions_unknown():
        console.say("The database knows every submission in the journal; there is nothing to do.")
        return
    try:
        audit.record("recovery_requested")
        report = recovery.restore()
    except ProviderError as error:
        raise CommandError(f"Anthropic could not be reached: {error}") from error
    for line in report:
        console.write(line)
    if left := unknown_submissions.submissions_unknown():
        raise CommandError(f"{left} submissions are still unknown; nothing is sent until then.")
