"""A random sample of a job's good answers for a person to review, and what their marks say
about all answers. The actions of people are in actions/.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass

from ..models import Batch, Job, Outcome, Row, RowQuerySet, SampledAnswer
from ..rules.accuracy import wilson_interval
from ..rules.judging import MARKED_DOWN

SIZES = (10, 20, 40, 100)  # of a sample
# Rows looked up while drawing: at a time, and at most.
SLICE, LOOKED_AT = 500, 20_000


def drawable(job: Job) -> RowQuerySet:
    """Good rows with an answer of their own. Rows of unfinished batches have to wait, because their
    results may be stored again."""
    running = _running(job)
    good = Row.objects.filter(job=job, outcome=Outcome.GOOD, same_as=None, earlier=None)
    return good.exclude(batch__in=running) if running else good


def _running(job: Job) -> list[int]:
    return list(job.batches.exclude(state__in=Batch.FINAL).values_list("pk", flat=True))


def drawable_among(job: Job, numbers: Sequence[int]) -> set[int]:
    """Which of these rows are `drawable`. The query filters by number only: with the outcome as
    well, SQLite reads all good rows."""
    running = _running(job)
    rows = Row.objects.filter(job=job, number__in=numbers)
    return {
        row.number
        for row in rows.only("number", "outcome", "same_as", "earlier", "batch")
        if row.outcome == Outcome.GOOD
        and row.same_as is None
        and row.earlier is None
        and row.batch_id not in running
    }


def count_drawable(job: Job) -> int:
    """How many answers can be drawn, from the job's counts where possible."""
    counted = _counted_drawable(job)
    return drawable(job).count() if counted is None else counted


def _counted_drawable(job: Job) -> int | None:
    """None while the job is not counted."""
    is_counted = job.tally_version == job.rows_version and job.state == Job.State.FINISHED
    if not is_counted:
        return None
    return sum(group.own for group in job.tally.groups if group.outcome == Outcome.GOOD)


def draw_sample(job: Job, count: int) -> list[int]:
    """The numbers of up to `count` drawable rows in random order, each equally likely.

    Draws numbers and looks them up, because shuffling a million rows takes seconds. If that finds
    too few, so few are drawable that all of them can be read.
    """
    every = range(1, job.row_count + 1)
    numbers = random.sample(every, min(len(every), LOOKED_AT))
    found: list[int] = []
    for at in range(0, len(numbers), SLICE):
        some = numbers[at : at + SLICE]
        there = drawable_among(job, some)
        found += [number for number in some if number in there]
        if len(found) >= count:
            return found[:count]
    if len(numbers) == len(every):
        return found
    rare = list(drawable(job).values_list("number", flat=True))
    return random.sample(rare, min(len(rare), count))


def answer_key(row: Row) -> str:
    """Differs between this answer and one that the same row gets on a retry."""
    return hashlib.sha256(f"{row.batch_id}:{row.answer}".encode(errors="replace")).hexdigest()


@dataclass(frozen=True)
class ReviewedRow:
    """A row of the sample with its mark. `row` is None when it no longer has a usable answer."""

    reading: SampledAnswer
    row: Row | None

    @property
    def good(self) -> bool | None:
        """None: not reviewed yet. A mark for an earlier answer, before a retry, does not count."""
        if self.row is None or self.reading.answer_key != answer_key(self.row):
            return None
        is_down = self.row.cause == MARKED_DOWN
        return self.reading.good if self.reading.good is (not is_down) else None

    @property
    def was_read_before(self) -> bool:
        """An earlier answer of this row was reviewed."""
        return self.reading.good is not None and self.good is None


def load_sample(job: Job, number: int | None = None, with_cells: bool = False) -> list[ReviewedRow]:
    """The sample in its order, or only the row `number`. Cells may be long, so they are loaded only
    on request."""
    readings = list(job.sample.select_related("marked_by"))
    if number is not None:
        readings = [one for one in readings if one.number == number]
    rows = job.rows.filter(number__in=[one.number for one in readings]).with_usable_answer()
    if not with_cells:
        rows = rows.defer("source")
    by_number = {row.number: row for row in rows}
    return [ReviewedRow(one, by_number.get(one.number)) for one in readings]


@dataclass(frozen=True)
class ReviewResult:
    """`good` of `read` reviewed answers are good. `drawn`: how many can be reviewed; `everything`:
    the sample contains all answers."""

    read: int
    good: int
    drawn: int
    everything: bool

    @property
    def bounds(self) -> tuple[float, float]:
        """The likely share of good answers among all (95% confidence)."""
        return wilson_interval(self.good, self.read)

    @property
    def left(self) -> int:
        """How many are not reviewed yet."""
        return self.drawn - self.read

    @property
    def is_exact(self) -> bool:
        return self.everything and self.read == self.drawn

    @property
    def in_words(self) -> str:
        """ "38 of 40 checked answers are good. Likely 83–99% of all answers are good" """
        found = f"{self.good:,} of {self.read:,} checked answers are good"
        if self.good == self.read > 1:
            found = f"All {self.read:,} checked answers are good"
        if self.is_exact:
            return f"{found}. These are all answers of the job"
        least, most = map(format_percent, self.bounds)
        return f"{found}. Likely {least.rstrip('%')}\N{EN DASH}{most} of all answers are good"


def summarize_review(job: Job, found: Sequence[ReviewedRow] | None = None) -> ReviewResult:
    """What the marks of a job's sample say; `found`: the sample, if already loaded."""
    there = [one for one in (load_sample(job) if found is None else found) if one.row]
    read = [one.good for one in there if one.good is not None]
    return ReviewResult(len(read), sum(read), len(there), _is_everything(job, there))


def _is_everything(job: Job, there: Sequence[ReviewedRow]) -> bool:
    if not 0 < job.drawn_from <= len(there) or job.state != Job.State.FINISHED:
        return False
    # Retried rows may have an answer since.
    good = sum(one.row is not None and one.row.outcome == Outcome.GOOD for one in there)
    return good == _counted_drawable(job)


def format_percent(share: float) -> str:
    """ "83%". Only exactly none or all is 0% or 100%; otherwise "99.8%"."""
    if round(share, 2) in (0.0, 1.0) and share not in (0.0, 1.0):
        return f"{100 * share:.1f}%"
    return f"{100 * share:.0f}%"
