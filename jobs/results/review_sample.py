"""A random sample of the good answers of a job, read by a person: drawing it, what they think of
it, and what that says of all answers. What people do is in actions/reviews.py.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from ..models import Batch, Job, Outcome, Row, RowQuerySet, SampledAnswer
from ..rules.judging import MARKED_DOWN

SIZES = (10, 20, 40, 100)  # of a sample
# Rows that are looked up for those that can be drawn: at a time, and at most.
SLICE, LOOKED_AT = 500, 20_000
NORMAL = 1.96  # standard deviations of a normal distribution that hold 95 % of it


def drawable(job: Job) -> RowQuerySet:
    """Good rows that were answered themselves. What a batch that is not over has brought may be
    stored once more, so it has to wait."""
    running = _running(job)
    good = Row.objects.filter(job=job, outcome=Outcome.GOOD, same_as=None, earlier=None)
    return good.exclude(batch__in=running) if running else good


def _running(job: Job) -> list[int]:
    return list(job.batches.exclude(state__in=Batch.FINAL).values_list("pk", flat=True))


def drawable_among(job: Job, numbers: Sequence[int]) -> set[int]:
    """Those of these rows that are `drawable`. Only their numbers are asked for: SQLite looks at
    all good rows when the outcome is, too."""
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
    """How many answers can be drawn. They are only looked at where the count of the job does not
    say it."""
    is_counted = job.tally_version == job.rows_version and job.state == Job.State.FINISHED
    if is_counted and not job.same_once and not job.only_new:
        return job.good_count
    return drawable(job).count()


def choose(job: Job, count: int) -> list[int]:
    """The numbers of up to `count` drawable rows in a random order, each as likely as any other.

    Numbers are drawn and looked up, because putting a million rows into a random order takes
    seconds. Where that finds too few, there are so few that all of them can be read.
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
    """Tells this answer from one that the same row gets when it is sent again."""
    return hashlib.sha256(f"{row.batch_id}:{row.answer}".encode(errors="replace")).hexdigest()


@dataclass(frozen=True)
class Read:
    """A row of the sample with what is thought of it. `row` is None when it has no answer any more
    that could be read."""

    reading: SampledAnswer
    row: Row | None

    @property
    def good(self) -> bool | None:
        """None: this answer was not read yet. A mark that was given to another answer, which the
        row had before it was sent again, says nothing of this one."""
        if self.row is None or self.reading.answer_key != answer_key(self.row):
            return None
        is_down = self.row.cause == MARKED_DOWN
        return self.reading.good if self.reading.good is (not is_down) else None

    @property
    def was_read_before(self) -> bool:
        """Another answer of this row was read."""
        return self.reading.good is not None and self.good is None


def sample(job: Job, number: int | None = None, with_cells: bool = False) -> list[Read]:
    """The sample in its order, or what is in it of the row `number`. Only with their cells are the
    rows read whole: these may be long."""
    readings = list(job.sample.select_related("marked_by"))
    if number is not None:
        readings = [one for one in readings if one.number == number]
    rows = job.rows.filter(number__in=[one.number for one in readings]).with_usable_answer()
    if not with_cells:
        rows = rows.defer("source")
    by_number = {row.number: row for row in rows}
    return [Read(one, by_number.get(one.number)) for one in readings]


@dataclass(frozen=True)
class Share:
    """What was found: of `read` answers, `good` are good. `drawn`: how many can be read;
    `everything`: there are no more answers than these."""

    read: int
    good: int
    drawn: int
    everything: bool

    @property
    def bounds(self) -> tuple[float, float]:
        """The share of all answers that are good lies between these, 95 times in 100."""
        return wilson(self.good, self.read)

    @property
    def is_exact(self) -> bool:
        return self.everything and self.read == self.drawn

    @property
    def in_words(self) -> str:
        """ "38 of 40 good: between 83 % and 99 % of all answers, 95 times in 100" """
        found = f"{self.good:,} of {self.read:,} good"
        if self.is_exact:
            return f"{found}: these are all answers"
        least, most = map(percent, self.bounds)
        return f"{found}: between {least} and {most} of all answers, 95 times in 100"


def share(job: Job, found: Sequence[Read] | None = None) -> Share:
    """What the marks of a job's sample say; `found` is the sample, when it is at hand."""
    there = [one for one in (sample(job) if found is None else found) if one.row]
    read = [one.good for one in there if one.good is not None]
    return Share(len(read), sum(read), len(there), _is_everything(job, there))


def _is_everything(job: Job, there: Sequence[Read]) -> bool:
    if not 0 < job.drawn_from <= len(there) or job.state != Job.State.FINISHED:
        return False
    numbers = [one.reading.number for one in there]
    # Rows that were sent again may have got an answer since.
    return not drawable(job).exclude(number__in=numbers).exists()


def wilson(good: int, read: int) -> tuple[float, float]:
    """The interval for a share of which `good` of `read` were found, at 95 %.

    The score interval of Wilson (Probable Inference, the Law of Succession, and Statistical
    Inference, Journal of the American Statistical Association 22, 1927, 209-212), without a
    correction for continuity. It also holds for few answers, and for none or all of them good. It
    takes the answers for endlessly many: where a good part of them was read, the truth is narrower.
    """
    if not read:
        return 0.0, 1.0
    found, square = good / read, NORMAL**2
    middle = found + square / (2 * read)
    half = NORMAL * sqrt(found * (1 - found) / read + square / (4 * read**2))
    scale = 1 + square / read
    least = (middle - half) / scale if good else 0.0
    most = (middle + half) / scale if good < read else 1.0
    return least, most


def percent(share: float) -> str:
    """ "83 %"; what is not quite all or nothing is not called so: "99.8 %" """
    if round(share, 2) in (0.0, 1.0) and share not in (0.0, 1.0):
        return f"{100 * share:.1f} %"
    return f"{100 * share:.0f} %"
