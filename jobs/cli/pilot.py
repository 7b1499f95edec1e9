"""`manage.py job continue`: send the rows that wait for the pilot of their job."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from ..actions import pilots
from ..models import Job, find_pilot
from ..rules import wording
from ..rules.pricing import format_dollars
from ..spending import caps
from .console import Console
from .options import find_job


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


def pilot_in_words(job: Job) -> str:
    """How the pilot of a job is doing; "" if it has none that others wait for."""
    pilot = find_pilot(job)
    if pilot is None or not pilot.is_open:
        return ""
    if pilot.result is None:
        return f"A pilot of {wording.rows(len(pilot.numbers) or pilot.rows)} is at work."
    found = pilot.result
    return (
        f"The pilot of job {job.pk} is in: {found.good:,} of {wording.rows(found.rows)} are good, "
        f"for {format_dollars(found.cost)}. The other {wording.rows(found.rest_rows)} will cost "
        f"about {format_dollars(found.rest_expected)}. To send them: job continue {job.pk}"
    )
