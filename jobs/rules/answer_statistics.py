"""What the answers of a job say, in numbers, as it is stored."""

from __future__ import annotations

import msgspec


class Bar(msgspec.Struct, frozen=True):
    """Numbers from `least` (inclusive) to `below` (exclusive), as exact text."""

    least: str
    below: str
    count: int


class NumberStatistics(msgspec.Struct, frozen=True):
    """The distribution of numbers; `least`, `most` and `mean` as text."""

    count: int
    least: str
    most: str
    mean: str
    whole: bool  # all of them are whole numbers
    bars: list[Bar]


class ColumnStatistics(msgspec.Struct, frozen=True):
    """Statistics of one column of the answers."""

    name: str  # "" for an answer that is one text or label
    kind: str  # of COLUMN_KINDS
    empty: int = 0
    values: list[tuple[str, int]] = []  # the most frequent first
    others: int = 0  # how often another value occurs
    numbers: NumberStatistics | None = None  # for text: its length in characters


class AnswerStatistics(msgspec.Struct, frozen=True):
    """Statistics of all usable answers."""

    count: int = 0
    columns: list[ColumnStatistics] = []
