"""`manage.py job cancel`: stop a job."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from ..actions import submissions
from .access import find_job
from .console import Console


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("id", type=int, metavar="ID")


def run(console: Console, options: dict[str, Any]) -> None:
    job = find_job(options["id"])
    if not submissions.stop_job(job, job.owner):
        raise CommandError(
            f"Job {job.pk} cannot be stopped: {find_job(job.pk).get_state_display()}."
        )
    console.say(f"Stopping job {job.pk}. Answers that are already finished are kept and charged.")
