"""The rows that a filter and a sample select. The worker reads them in slices: to price a draft,
and once it is confirmed, to mark all others before anything is planned."""

from __future__ import annotations

from collections.abc import Iterator

from django.db.models import Q

from ..batches.leases import Lease
from ..batches.slices import slice_transaction
from ..models import Job, Outcome, Row, job_log, note_change, recipe_of
from ..rules import wording
from ..rules.judging import NOT_SELECTED
from ..rules.recipes import Recipe
from ..rules.row_choices import MOST_VALUES, Lots, RowChoice, RowFilter, Sample, TooManyValues
from ..rules.row_contents import RowContents
from .row_cells import cell_slices

SLICE = 2_000  # rows marked at a time
NO_ROW_FITS = "No row fits your filter, so there is nothing to send. Change the filter."
SAMPLE_TOO_LARGE = (
    "You asked for a sample of {sample}, but there {are} only {rows} to choose from. Ask for fewer."
)
TOO_MANY_VALUES = (
    "“{column}” has more than {most:,} different values, too many for a share of each. Choose "
    "another column, or none."
)
# Of a row in the finished file.
WHY = "Not selected to be sent."


class Selection:
    """The rows of a job that its choice of rows selects."""

    def __init__(self, filter: RowFilter, sample: Sample | None, trouble: str = "") -> None:
        self._filter, self._sample = filter, sample
        self.trouble = trouble  # why nothing can be selected, as a sentence

    def includes(self, number: int, cells: list[str]) -> bool:
        if self.trouble or not self._filter.fits(cells):
            return False
        if self._sample is None:
            return True
        return self._sample.includes(number, self._filter.value_of(cells))


def select_rows(job: Job, recipe: Recipe, lease: Lease | None = None) -> Selection | None:
    """Read the rows of a job and select those to send; None if all are. Rows that `recipe` skips
    are not drawn. Raises LeaseLost."""
    choice = job.row_choice
    if choice.is_all or job.kind != Job.Kind.TABLE:
        return None
    wanted, contents = RowFilter(choice, job.columns), RowContents(recipe, job.columns)
    if not choice.sample:
        fits = any(wanted.fits(cells) for _number, cells in _rows(job, lease))
        return Selection(wanted, None, "" if fits else NO_ROW_FITS)
    lots = Lots(choice.seed)
    try:
        for number, cells in _rows(job, lease):
            if wanted.fits(cells) and not contents.is_skipped(contents.empty(cells)):
                lots.add(number, wanted.value_of(cells))
    except TooManyValues:
        text = TOO_MANY_VALUES.format(column=choice.by[:100], most=MOST_VALUES)
        return Selection(wanted, None, text)
    return Selection(wanted, lots.draw(choice.sample), _why_too_few(choice, lots.rows))


def _why_too_few(choice: RowChoice, rows: int) -> str:
    if not rows:
        return NO_ROW_FITS
    if choice.sample <= rows:
        return ""
    return SAMPLE_TOO_LARGE.format(
        sample=wording.rows(choice.sample),
        are="is" if rows == 1 else "are",
        rows=wording.rows(rows),
    )


def mark_unselected_rows(job: Job, lease: Lease) -> bool:
    """Leave out the rows of a confirmed job that are not selected. Safe to repeat after a crash: it
    marks the same rows each time, and no batch is planned before it is done. False if the job is
    being stopped meanwhile. Raises LeaseLost."""
    selection = select_rows(job, recipe_of(job), lease)
    if selection is None:
        return True
    some: list[int] = []
    for number, cells in _rows(job, lease):
        if not selection.includes(number, cells):
            some.append(number)
        if len(some) == SLICE:
            if not Job.objects.filter(pk=job.pk, state=job.state).exists():
                return False
            _mark(job, some, lease)
            some.clear()
    _mark(job, some, lease)
    marked = Row.objects.filter(job=job, outcome=Outcome.LEFT_OUT, cause=NOT_SELECTED).count()
    job_log.write(job.pk, f"{wording.rows(marked).capitalize()} not selected.")
    return True


def _mark(job: Job, numbers: list[int], lease: Lease) -> None:
    # Only rows that wait and were never in a batch.
    waiting = Row.objects.filter(job=job, outcome=Outcome.WAITING, batch=None, same_as=None)
    with slice_transaction(lease):
        note_change(job.pk)
        waiting.filter(number__in=numbers).update(
            outcome=Outcome.LEFT_OUT, cause=NOT_SELECTED, problem=WHY
        )


def _rows(job: Job, lease: Lease | None) -> Iterator[tuple[int, list[str]]]:
    """Number and cells of the rows to select from: the same before and after some were marked."""
    skipped = Q(outcome=Outcome.LEFT_OUT) & ~Q(cause=NOT_SELECTED)
    for rows in cell_slices(Row.objects.filter(job=job).exclude(skipped), lease):
        yield from rows
