"""Pilots in words for people."""

from __future__ import annotations

from ..models import Job, find_pilot
from ..rules import wording
from ..rules.pricing import format_dollars


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
