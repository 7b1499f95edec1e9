"""Draw the rows of a pilot from those that a confirmed job sends."""

from __future__ import annotations

from collections.abc import Iterator

from ..batches.leases import Lease
from ..models import Job, Pilot, Row, find_pilot, job_log, recipe_of
from ..rules import wording
from ..rules.row_choices import MOST_VALUES, TooManyValues, draw_numbers, plain_value
from ..rules.row_contents import RowContents
from .row_cells import SLICE, cell_slices

Step = Pilot.Step


def draw_next(job: Job, lease: Lease) -> bool:
    """Draw the rows of the job's pilot; False if there is nothing to draw. Nothing is planned
    before. Safe to repeat after a crash: it draws the same rows. Raises LeaseLost."""
    pilot = find_pilot(job)
    if pilot is None or pilot.step != Step.DRAWING:
        return False
    by = pilot.by if pilot.by in job.columns else ""
    try:
        numbers = draw_numbers(_sendable_rows(job, by, lease), pilot.rows, seed=job.pk)
    except TooManyValues:
        by = ""
        numbers = draw_numbers(_sendable_rows(job, by, lease), pilot.rows, seed=job.pk)
    # The duplicates and the empty rows may have left no others.
    is_all = (
        len(numbers) < pilot.rows
        or not Row.objects.unsent(job).exclude(number__in=numbers).exists()
    )
    mine = Pilot.objects.filter(pk=pilot.pk, step=Step.DRAWING)
    if not mine.update(numbers=numbers, by=by, step=Step.RELEASED if is_all else Step.SENDING):
        return True  # another worker did it
    if pilot.by and not by:
        job_log.write(
            job.pk,
            f"The column for the shares of the pilot has more than {MOST_VALUES:,} different "
            "values, so the pilot is a random sample.",
        )
    words = "All rows are sent at once: no others would wait." if is_all else ""
    job_log.write(job.pk, words or f"Sending {wording.rows(len(numbers))} first. The others wait.")
    return True


def _sendable_rows(job: Job, by: str, lease: Lease) -> Iterator[tuple[int, str]]:
    """Number and value of the rows that are sent, without those that turn out to be empty."""
    unsent = Row.objects.unsent(job)
    if job.kind != Job.Kind.TABLE:
        for rows in unsent.value_slices(SLICE):
            lease.renew()
            yield from ((number, "") for (number,) in rows)
        return
    contents = RowContents(recipe_of(job), job.columns)
    place = job.columns.index(by) if by else None
    for rows in cell_slices(unsent, lease):
        for number, cells in rows:
            if not contents.is_skipped(contents.empty(cells)):
                yield number, "" if place is None else plain_value(cells[place])
