"""Statistics of a job's answers: how often each label occurs, and how numbers and lengths are
distributed. One pass over the rows, in constant memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from decimal import ROUND_FLOOR, Decimal
from typing import Any

from ..batches.leases import Lease
from ..models import Job, Row, answer_shape_of
from ..rules.answer_formats import (
    COLUMNS,
    LABELS,
    AnswerColumn,
    AnswerKind,
    as_cell,
    fits,
    stored_values,
)
from ..rules.answer_statistics import AnswerStatistics, Bar, ColumnStatistics, NumberStatistics
from ..rules.judging import is_usable
from ..rules.spreadsheet_cells import plain_number

SLICE = 1_000  # rows that are read at a time
MOST_VALUES = 10_000  # different values that are counted; a list can contain any
VALUES_KEPT = 30  # the most frequent values of a list
LONGEST_VALUE = 100  # characters
MOST_BINS = 1_000  # of a histogram, while counting
BARS = 20  # in a chart, at most
FINEST = -12  # the narrowest bin is 10 to this power


def count_answers(job: Job, lease: Lease) -> None:
    """Count the answers of a job and store the statistics. Raises LeaseLost."""
    kind = answer_shape_of(job)
    counted = [_ColumnCounter(column) for column in _columns(kind)]
    count = 0
    # Not with_usable_answer(): right after the answers came, PostgreSQL takes them for few, and
    # would go through all of them for each slice.
    rows_of_job = Row.objects.filter(job=job)
    for found in rows_of_job.value_slices(SLICE, "outcome", "cause", "answer"):
        answers = [answer for _, outcome, cause, answer in found if is_usable(outcome, cause)]
        rows = [stored_values(answer) for answer in answers] if kind.kind == COLUMNS else []
        for one in counted:
            one.add([values.get(one.column.name) for values in rows] if rows else answers)
        count += len(answers)
        lease.renew()
    summary = AnswerStatistics(count, [one.summary() for one in counted])
    Job.objects.filter(pk=job.pk).update(answers=summary)


def _columns(kind: AnswerKind) -> list[AnswerColumn]:
    if kind.kind == COLUMNS:
        return list(kind.columns)
    if kind.kind == LABELS:
        return [AnswerColumn("", "choice", kind.labels)]
    return [AnswerColumn("")]


class _ColumnCounter:
    """Counts one column."""

    def __init__(self, column: AnswerColumn) -> None:
        self.column = column
        self.empty = 0
        self.others = 0
        known = {"yes_no": ("yes", "no")}.get(column.kind, column.choices)
        self.values: Counter[str] = Counter(dict.fromkeys(known, 0))
        self.spread = Histogram()

    def add(self, values: Sequence[Any]) -> None:
        """Add the values of some rows. Equal values are grouped first, because there are many."""
        filled = [value for value in values if value is not None and value not in ("", [])]
        self.empty += len(values) - len(filled)
        # A tool's input may violate its schema; text that is not one of the choices is counted.
        kept = [value for value in filled if self._can_count(value)]
        self.others += len(filled) - len(kept)
        filled = kept
        if self.column.kind == "number":
            for number, times in Counter(filled).items():
                self.spread.add(Decimal(str(number)), times)
        elif self.column.kind == "text":
            for length, times in Counter(map(len, filled)).items():
                self.spread.add(Decimal(length), times)
        elif self.column.kind == "list":
            items = (item[:LONGEST_VALUE] for value in filled for item in dict.fromkeys(value))
            self._count(Counter(items))
        else:
            self._count(Counter(map(as_cell, filled)))

    def _can_count(self, value: Any) -> bool:
        if self.column.kind == "choice":
            return isinstance(value, str)
        return fits(self.column, value)

    def _count(self, found: Counter[str]) -> None:
        for value, times in found.items():
            if value in self.values or len(self.values) < MOST_VALUES:
                self.values[value] += times
            else:
                self.others += times

    def summary(self) -> ColumnStatistics:
        found = self.values.most_common()
        kept = found if self.column.kind != "list" else found[:VALUES_KEPT]
        return ColumnStatistics(
            self.column.name,
            self.column.kind,
            self.empty,
            kept,
            self.others + sum(times for _value, times in found[len(kept) :]),
            self.spread.numbers() if self.spread.count else None,
        )


class Histogram:
    """Counts a stream of numbers, exactly at first. With too many different numbers it groups them
    into bins, ten times as wide whenever there are too many bins. No bin crosses the edge of a
    wider one, so counts stay exact."""

    def __init__(self) -> None:
        self.count = 0
        self.total = Decimal(0)
        self.least = self.most = Decimal(0)
        self.whole = True
        self.power: int | None = None  # the bins are 10 to this power wide; None: exact
        self.bins: Counter[Decimal] = Counter()  # by the least number of each

    def add(self, number: Decimal, times: int = 1) -> None:
        self.least = min(self.least, number) if self.count else number
        self.most = max(self.most, number) if self.count else number
        self.count += times
        self.total += number * times
        self.whole = self.whole and number == number.to_integral_value()
        self.bins[number if self.power is None else _floor(number, self._width())] += times
        if len(self.bins) > MOST_BINS:
            self._widen()

    def _width(self) -> Decimal:
        return Decimal(1).scaleb(self.power or 0)

    def _widen(self) -> None:
        while len(self.bins) > MOST_BINS:
            # Not narrower than the chart needs.
            first = max(FINEST, (self.most - self.least).adjusted() - 4)
            self.power = first if self.power is None else self.power + 1
            bins: Counter[Decimal] = Counter()
            for number, count in self.bins.items():
                bins[_floor(number, self._width())] += count
            self.bins = bins

    def numbers(self) -> NumberStatistics:
        step = self._step()
        bars: Counter[Decimal] = Counter()
        for number, count in self.bins.items():
            bars[_floor(number, step)] += count
        first, last = _floor(self.least, step), _floor(self.most, step)
        edges = [first + index * step for index in range(int((last - first) / step) + 1)]
        return NumberStatistics(
            self.count,
            plain_number(self.least),
            plain_number(self.most),
            plain_number(self._mean()),
            self.whole,
            [Bar(plain_number(edge), plain_number(edge + step), bars[edge]) for edge in edges],
        )

    def _mean(self) -> Decimal:
        """To about a hundredth of the range; a number has no more than 28 digits here."""
        mean = self.total / self.count
        digits = max((self.most - self.least or Decimal(1)).adjusted() - 2, mean.adjusted() - 20)
        return mean.quantize(Decimal(1).scaleb(digits))

    def _step(self) -> Decimal:
        """The width of a bar: 1, 2 or 5 times a power of ten, so that there are BARS at most."""
        span = self.most - self.least
        if not span:
            return Decimal(1) if self.whole else Decimal(1).scaleb(self.least.adjusted() - 1)
        power = max(span.adjusted() - 2, -300) if self.power is None else self.power
        if self.whole:
            power = max(power, 0)
        while True:
            for times in (1, 2, 5):
                step = Decimal(times).scaleb(power)
                if (_floor(self.most, step) - _floor(self.least, step)) / step < BARS:
                    return step
            power += 1


def _floor(number: Decimal, step: Decimal) -> Decimal:
    """The greatest multiple of `step` that is not above `number`."""
    return (number / step).to_integral_value(ROUND_FLOOR) * step
