"""Rows of a job in some order, from any place on: what the table of rows shows.

The rows of each outcome and cause lie in indexes by number, by cost and by length, and the job's
tally says which outcomes and causes there are. So a page is merged from the beginnings of a few
such runs, wherever it is and however many rows there are. What is in no index - a label, a model, a
text that the search index does not know yet - is looked for slice by slice, and only for so long:
then the walk says how far it came.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from django.db.models import Exists, OuterRef, Q

from ..models import ATTENTION, Difference, Job, Outcome, Row, answer_shape_of, containing
from ..rules.answer_formats import COLUMNS
from ..rules.judging import describe_cause
from .accuracy import count_different
from .search_index import Candidates, find_candidates

# How long one walk may look for what is in no index, so that a page takes at most 100 ms, and at
# most 300 ms in a job of more than LARGE rows.
SECONDS, SECONDS_OF_LARGE = 0.05, 0.2
LARGE = 100_000
FIRST_SLICE = 1_000  # rows looked through at once, while it is not known how long they are
SLICE_SECONDS = 0.03
# Rows that are read to be sorted, and the bytes in them.
MOST_SORTED, MOST_SORTED_BYTES = 5_000, 10_000_000
BIGGEST = 2**63 - 1  # what a column can hold

# Values of Wanted.sort, with the column that is sorted by where there is an index of it.
NUMBER, COST, OUTPUT, CAUSE = "number", "cost", "output", "cause"
SORTED_BY = {COST: "cost_pico", OUTPUT: "output_tokens"}


@dataclass(frozen=True)
class RowFilter:
    """Which rows, in which order. As it is: every row, by its number."""

    outcome: str = ""  # an Outcome, or "attention"
    cause: str = ""  # as stored
    label: str = ""  # the answer, of a job that asks for labels
    model: str = ""  # as in Row.answered_by
    text: str = ""  # in a cell, the answer or what was said about the row
    differs: bool = False  # the answer differs from the right one
    sort: str = NUMBER
    descending: bool = False

    @property
    def outcomes(self) -> list[str]:
        if self.outcome == "attention":
            return [outcome.value for outcome in ATTENTION]
        return [self.outcome] if self.outcome else []


class RowPlace(NamedTuple):
    """Where a row stands in an order: the cause, or what the column holds that is sorted by ("" by
    number), then the number. A place need not be taken by a row."""

    value: str | int
    number: int

    def beside(self, step: int, wanted: RowFilter) -> RowPlace:
        """The place after it (`step` 1) or before it (-1), in the order that is wanted."""
        return self._replace(number=self.number + (-step if wanted.descending else step))

    def __str__(self) -> str:
        return str(self.number) if self.value == "" else f"{self.value}-{self.number}"


def place_of(row: Row, wanted: RowFilter) -> RowPlace:
    if wanted.sort == CAUSE:
        return RowPlace(row.cause, row.number)
    column = SORTED_BY.get(wanted.sort)
    return RowPlace(getattr(row, column) if column else "", row.number)


def read_place(text: str, wanted: RowFilter) -> RowPlace | None:
    """The place that was written as `text`; None for what is none."""
    value, _, number = text.rpartition("-")
    if not _is_number(number):
        return None
    if wanted.sort in SORTED_BY:
        return RowPlace(int(value), int(number)) if _is_number(value) else None
    return RowPlace(value if wanted.sort == CAUSE else "", int(number))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 20 and int(text) < BIGGEST


@dataclass
class FoundRows:
    """What a walk came to: `places` of rows in the order they were met; `onward`, where to go on,
    None at the end; `cut`, that time was up before enough was found."""

    places: list[RowPlace] = field(default_factory=list)
    onward: RowPlace | None = None
    cut: bool = False


def count_rows(job: Job, wanted: RowFilter) -> int | None:
    """How many rows there are, by the job's tally; None when only looking at each would tell."""
    if wanted == RowFilter(differs=True, sort=wanted.sort, descending=wanted.descending):
        return count_different(job)
    if _tests(job, wanted):
        return None
    if not wanted.outcome and not wanted.cause:
        return job.row_count
    return sum(rows for _outcome, _cause, rows in _groups(job, wanted))


def find_rows(
    job: Job,
    wanted: RowFilter,
    start: RowPlace | None,
    most: int,
    *,
    backwards: bool = False,
    seconds: float | None = None,
) -> FoundRows:
    """The first `most` rows from `start` on, itself included, or from the beginning; `backwards`:
    up to it, the last one first, or from the end."""
    if seconds is None:
        seconds = SECONDS if job.row_count <= LARGE else SECONDS_OF_LARGE
    until = time.monotonic() + seconds
    down = wanted.descending != backwards
    tests = _tests(job, wanted)
    if wanted.differs and wanted.sort == NUMBER:
        differing = _differing_numbers(job)
        return _find_among(job, wanted, tests, start, most, down, until, differing)
    candidates = find_candidates(job, wanted.text) if wanted.text else None
    if candidates and wanted.sort == NUMBER and _are_fewer(candidates, job, wanted):
        numbers = candidates.numbers
        return _find_among(job, wanted, tests, start, most, down, until, numbers)
    if candidates and candidates.count <= _most_sorted(job):
        return _sort_among(job, wanted, tests, start, most, down, candidates)
    found = FoundRows()
    size = FIRST_SLICE
    for stretch in _stretches(job, wanted, start, down):
        here = start if stretch.holds(start) else None
        while True:
            began = time.monotonic()
            edge = stretch.edge(here, size) if tests or stretch.is_whole else None
            found.places += stretch.places(here, edge, tests, most + 1 - len(found.places))
            if len(found.places) > most:
                found.onward = found.places.pop()
                return found
            if edge is None:
                break
            here, now = edge, time.monotonic()
            if now > until:
                found.onward, found.cut = here, True
                return found
            size = _next_size(size, now - began, until - now)
    return found


# Some numbers of rows from one on, itself included, or from the beginning; down or up.
_Numbers = Callable[[int | None, bool, int], list[int]]


def _differing_numbers(job: Job) -> _Numbers:
    def numbers(here: int | None, down: bool, most: int) -> list[int]:
        """Along the index of rows that differ."""
        differing = Difference.objects.filter(job=job)
        if here is not None:
            differing = differing.filter(**{"number__lte" if down else "number__gte": here})
        order = "-number" if down else "number"
        return list(differing.order_by(order).values_list("number", flat=True)[:most])

    return numbers


def _are_fewer(candidates: Candidates, job: Job, wanted: RowFilter) -> bool:
    """Whether there are fewer of them than of the rows that may be wanted without the text."""
    others = count_rows(job, RowFilter(wanted.outcome, wanted.cause))
    return others is None or candidates.count <= others


def _most_sorted(job: Job) -> int:
    return min(MOST_SORTED, MOST_SORTED_BYTES * job.row_count // max(job.stored_bytes, 1))


def _find_among(
    job: Job,
    wanted: RowFilter,
    tests: list[Q],
    start: RowPlace | None,
    most: int,
    down: bool,
    until: float,
    numbers: _Numbers,
) -> FoundRows:
    """As find_rows by number, along rows of which the numbers are known."""
    found, here = FoundRows(), start.number if start else None
    size = min(FIRST_SLICE, 4 * most)
    while True:
        began = time.monotonic()
        some = numbers(here, down, size)
        there = _wanted_rows(job, wanted, tests, some, down, most + 1 - len(found.places))
        found.places += [RowPlace("", number) for number, _cause, _value in there]
        if len(found.places) > most:
            found.onward = found.places[most]
            del found.places[most:]
            return found
        if len(some) < size:
            return found
        here, now = some[-1] + (-1 if down else 1), time.monotonic()
        if now > until:
            found.onward, found.cut = RowPlace("", here), True
            return found
        size = min(_next_size(size, now - began, until - now), MOST_SORTED)


def _next_size(size: int, took: float, left: float) -> int:
    """Rows may be long: no slice should take much longer than the time that is left."""
    return int(size * min(min(SLICE_SECONDS, left) / took, 4)) + 1


def _sort_among(
    job: Job,
    wanted: RowFilter,
    tests: list[Q],
    start: RowPlace | None,
    most: int,
    down: bool,
    candidates: Candidates,
) -> FoundRows:
    """As find_rows, in any order, of rows that are so few that they can be sorted here."""
    by_cause = wanted.sort == CAUSE

    def key(place: RowPlace) -> tuple[Any, int]:
        return cause_sort_key(str(place.value)) if by_cause else place.value, place.number

    numbers = candidates.numbers(None, False, candidates.count)
    places = [
        RowPlace(cause if by_cause else value, number)
        for number, cause, value in _wanted_rows(job, wanted, tests, numbers, down, len(numbers))
    ]
    if start:
        first = key(start)
        places = [one for one in places if (key(one) <= first if down else key(one) >= first)]
    places.sort(key=key, reverse=down)
    onward = places[most] if len(places) > most else None
    return FoundRows(places[:most], onward)


def _wanted_rows(
    job: Job, wanted: RowFilter, tests: list[Q], numbers: list[int], down: bool, most: int
) -> list[tuple[int, str, str | int]]:
    """The first `most` of some rows that are wanted, or the last ones `down`: number, cause, and
    what is sorted by ("" by number). `numbers` has all between the first and the last that `tests`
    may find."""
    if not numbers:
        return []
    which = Q(number__in=numbers)
    if max(numbers) - min(numbers) < 2 * len(numbers):
        which = Q(number__gte=min(numbers), number__lte=max(numbers))
    rows = Row.objects.filter(which, *tests, job=job).order_by("-number" if down else "number")
    column = SORTED_BY.get(wanted.sort)
    found = rows.values_list("number", "outcome", "cause", column or "number")
    if wanted.outcome or wanted.cause or wanted.label or wanted.sort != NUMBER:
        groups = {(outcome, cause) for outcome, cause, _rows in _groups(job, wanted)}
        there = [line for line in found if (line[1], line[2]) in groups]
    else:
        there = list(found[:most])
    return [
        (number, cause, value if column else "") for number, _outcome, cause, value in there[:most]
    ]


@dataclass(frozen=True)
class _Stretch:
    """A part of an order: runs of rows that are merged by `column`, if any, and by number."""

    runs: list[Q]
    down: bool  # the largest first
    last: int  # the number of the last row of the job
    column: str | None = None
    cause: str | None = None  # that all its rows have, where that comes before their number
    # Every row of the job: a slice of numbers is one of rows, and the right index is beyond doubt,
    # also for PostgreSQL that has not yet looked at what was read just now.
    is_whole: bool = False

    def holds(self, place: RowPlace | None) -> bool:
        return place is not None and self.cause in (None, place.value)

    def places(
        self, here: RowPlace | None, edge: RowPlace | None, tests: list[Q], most: int
    ) -> list[RowPlace]:
        """The first rows from `here` on, itself included, that come before `edge`."""
        found = [
            place
            for run in self.runs
            for piece in self._pieces(here, edge)
            for place in self._ask(Q(run, piece, *tests), 0, most)
        ]
        return sorted(found, reverse=self.down)[:most]

    def edge(self, here: RowPlace | None, size: int) -> RowPlace | None:
        """Where a slice of about `size` rows of each run from `here` on ends; None when it is the
        last one."""
        if not self.column:
            begin = here.number if here else self.last if self.down else 1
            end = begin - size if self.down else begin + size
            return RowPlace(self.cause or "", end) if 1 <= end <= self.last else None
        # Found in the index, without looking into a row.
        ends = [
            place
            for run in self.runs
            for piece in self._pieces(here, None)
            for place in self._ask(run & piece, size, 1)
        ]
        return (max if self.down else min)(ends, default=None)

    def _ask(self, which: Q, skip: int, most: int) -> Iterator[RowPlace]:
        # One query for each piece of each run: a UNION of all of them PostgreSQL would sort whole.
        names = [self.column, "number"] if self.column else ["number"]
        found = Row.objects.filter(which).order_by(*(f"-{n}" if self.down else n for n in names))
        for line in found.values_list(*names)[skip : skip + most]:
            yield RowPlace(line[0] if self.column else self.cause or "", line[-1])

    def _pieces(self, here: RowPlace | None, edge: RowPlace | None) -> list[Q]:
        """The rows from `here` to before `edge` as ranges in an index, which both databases find at
        once. (A condition with OR they do not.)"""
        past, before = ("lt", "gt") if self.down else ("gt", "lt")
        from_number = Q(**{f"number__{past}e": here.number}) if here else Q()
        to_number = Q(**{f"number__{before}": edge.number}) if edge else Q()
        if not self.column:
            return [from_number & to_number]
        first = Q(**{self.column: here.value}) & from_number if here else None
        if here and edge and here.value == edge.value and first:
            return [first & to_number]
        last = Q(**{self.column: edge.value}) & to_number if edge else None
        middle = Q(**{f"{self.column}__{past}": here.value}) if here else Q()
        middle &= Q(**{f"{self.column}__{before}": edge.value}) if edge else Q()
        return [piece for piece in (first, middle, last) if piece is not None]


def _stretches(
    job: Job, wanted: RowFilter, start: RowPlace | None, down: bool
) -> Iterator[_Stretch]:
    """What makes up the order that is wanted, one after the other, from `start` on."""
    mine = Q(job=job)
    if wanted.sort == NUMBER and not (wanted.outcome or wanted.cause or wanted.label):
        yield _Stretch([mine], down, job.row_count, is_whole=True)
        return
    groups = [(outcome, cause) for outcome, cause, _rows in _groups(job, wanted)]
    runs = {(outcome, cause): mine & Q(outcome=outcome, cause=cause) for outcome, cause in groups}
    if wanted.sort != CAUSE:
        column = SORTED_BY.get(wanted.sort)
        yield _Stretch(list(runs.values()), down, job.row_count, column)
        return
    causes = {cause for _outcome, cause in groups}
    if start:
        at = cause_sort_key(str(start.value))
        causes = {
            one
            for one in causes
            if (cause_sort_key(one) <= at if down else cause_sort_key(one) >= at)
        }
    for cause in sorted(causes, key=cause_sort_key, reverse=down):
        found = [run for (_outcome, of), run in runs.items() if of == cause]
        yield _Stretch(found, down, job.row_count, cause=cause)


def cause_sort_key(cause: str) -> tuple[bool, str, str]:
    """The order of causes: as people read them, and rows without one last."""
    return not cause, describe_cause(cause).title if cause else "", cause


def _groups(job: Job, wanted: RowFilter) -> list[tuple[str, str, int]]:
    """Outcome, cause and number of rows, as far as they are wanted. Of what comes in just now the
    tally may not know yet; it does a moment later."""
    return [
        (outcome, cause, rows)
        for outcome, cause, rows in job.tally.causes
        if (not wanted.outcome or outcome in wanted.outcomes)
        and (not wanted.cause or cause == wanted.cause)
        # Only a good answer is one of the labels.
        and (not wanted.label or outcome == Outcome.GOOD)
    ]


def _tests(job: Job, wanted: RowFilter) -> list[Q]:
    """What each row has to be looked into for."""
    tests = []
    if wanted.label:
        tests.append(Q(answer=wanted.label))
    if wanted.model:
        tests.append(Q(answered_by=wanted.model))
    if wanted.differs:
        same = Difference.objects.filter(job=job, number=OuterRef("number"))
        tests.append(Q(Exists(same)))
    if wanted.text:
        tests.append(containing(wanted.text, answers_are_json=answer_shape_of(job).kind == COLUMNS))
    return tests
