"""`manage.py job continue`: send the rows that wait for the pilot of their job."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from ..actions import pilots
from ..spending import caps
from .access import find_job
from .console import Console
from .pilot_words import pilot_in_words


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("id", type=int, metavar="ID")


def run(console: Console, options: dict[str, Any]) -> None:
    job = find_job(options["id"])
    words = pilot_in_words(job)
    try:
        released = pilots.continue_job(job, job.owner)
    except caps.NotAllowed as why:
        raise CommandError(f"Nothing was sent. {why}") from why
    if not released:
        raise CommandError(f"Nothing was sent: no rows of job {job.pk} wait for a pilot.")
    console.say(words)
    console.say("Sending the others.")
