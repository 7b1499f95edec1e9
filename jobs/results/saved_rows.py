"""Rows as finished files need them: tuples, because there may be a million."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from ..models import Attempt, Job, Row, RowQuerySet, dollars
from ..rules.judging import is_usable
from ..rules.row_contents import read_cells

SLICE = 1_000  # rows read and written at a time


class SavedRow(NamedTuple):
    """Columns of Row, with tokens and cost of all attempts."""

    number: int
    line: int
    source: str
    problem: str
    batch_id: int | None
    attempts: int
    same_as: int | None
    earlier: int | None
    earlier_job: int | None
    outcome: str
    cause: str
    answer: str
    message: str
    request_id: str
    answered_by: str
    stop_reason: str
    input_tokens: int
    cache_write_tokens: int
    cache_read_tokens: int
    output_tokens: int
    thinking_tokens: int
    cost_pico: int

    @property
    def content(self) -> Any:
        """As Row.content."""
        if self.source.startswith("["):
            try:
                return read_cells(self.source)
            except msgspec.DecodeError:
                pass
        return json.loads(self.source)

    @property
    def has_usable_answer(self) -> bool:
        """As Row.has_usable_answer."""
        return is_usable(self.outcome, self.cause)

    @property
    def is_reused(self) -> bool:
        """Whether it has the answer of an earlier job."""
        return self.earlier is not None

    @property
    def all_input_tokens(self) -> int:
        return self.input_tokens + self.cache_write_tokens + self.cache_read_tokens

    @property
    def cost(self) -> Decimal:
        """US dollars charged for it."""
        return dollars(self.cost_pico)


_SUMMED = (
    "input_tokens",
    "cache_write_tokens",
    "cache_read_tokens",
    "output_tokens",
    "thinking_tokens",
    "cost_pico",
)


def saved_rows(job: Job, wanted: RowQuerySet | None = None) -> Iterator[list[SavedRow]]:
    """The job's rows in order, slice by slice: those that are `wanted`, or all."""
    rows = Row.objects.filter(job=job) if wanted is None else wanted
    for some in rows.value_slices(SLICE, *SavedRow._fields[1:]):
        yield _with_earlier_attempts(job, [SavedRow._make(one) for one in some])


def _with_earlier_attempts(job: Job, rows: list[SavedRow]) -> list[SavedRow]:
    """`rows` with the tokens and cost of all attempts."""
    again = [row.number for row in rows if row.attempts]
    if not again:
        return rows
    found = {row.number: row for row in rows}
    kept = Attempt.objects.filter(job=job, number__in=again)
    for number, *values in kept.values_list("number", *_SUMMED):
        row = found[number]
        sums = {
            name: getattr(row, name) + value for name, value in zip(_SUMMED, values, strict=True)
        }
        found[number] = row._replace(**sums)
    return list(found.values())
