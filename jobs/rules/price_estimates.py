"""The price of a job before it is sent, and what it was worked out from, as they are stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from math import sqrt
from statistics import fmean, stdev
from typing import Self

from . import pricing

OVERHEAD = 12  # tokens of a request besides its text
TOKEN_BYTES = 2.5  # bytes per token where it cannot be counted (token counting page)


@dataclass(frozen=True)
class Counts:
    """Bytes and tokens of the counted rows. Empty if the provider was not available."""

    sizes: tuple[int, ...] = ()
    tokens: tuple[int, ...] = ()
    # Tokens of the background, if all rows share it and it is long enough to cache.
    shared: int = 0
    refused: int = 0  # bytes of the longest row that was not counted

    @property
    def longest(self) -> int:
        """Tokens of the longest row, which is always in the sample."""
        return max(round(self.refused / TOKEN_BYTES), *self.tokens, 0)

    @property
    def least(self) -> int:
        """Tokens of the shortest row: a bound for the text that all rows repeat. 0 if none was
        counted."""
        return min(self.tokens, default=0)

    def tokens_of(self, rows: int, size: int, token_bytes: float) -> tuple[float, float]:
        """Tokens of `rows` rows with `size` bytes in total: the expected number, and the margin.

        `token_bytes`: bytes per token if nothing was counted.
        """
        if not self.tokens:
            expected = size / token_bytes + OVERHEAD * rows
            return expected, expected * 0.3
        overhead, rate = _line_through(self.sizes, self.tokens)
        expected = overhead * rows + rate * size
        pairs = zip(self.sizes, self.tokens, strict=True)
        off = [count - overhead - rate * one for one, count in pairs]
        # Twice the standard error of the mean, and 2% because counting is an estimate itself.
        spread = 2 * stdev(off) / len(off) ** 0.5 if len(off) > 2 else 0.1 * expected / max(rows, 1)
        return expected, spread * rows + 0.02 * expected


def _line_through(sizes: Sequence[int], tokens: Sequence[int]) -> tuple[float, float]:
    """Overhead and tokens per byte by least squares, or by the plain ratio if the sampled rows are
    too alike for a line."""
    mean_size, mean_tokens = fmean(sizes), fmean(tokens)
    spread = sum((size - mean_size) ** 2 for size in sizes)
    if spread > 0:
        rate = (
            sum(
                (size - mean_size) * (count - mean_tokens)
                for size, count in zip(sizes, tokens, strict=True)
            )
            / spread
        )
        if 0.05 < rate < 2:
            return mean_tokens - rate * mean_size, rate
    return 0.0, mean_tokens / max(mean_size, 1)


@dataclass(frozen=True)
class Survey:
    """Counts of rows that can be sent, by the cells that the recipe uses. Bytes count each of these
    cells as often as the prompt uses it."""

    empty: int = 0  # rows with an empty cell, including `blank`
    blank: int = 0  # rows whose filled prompt is empty: cannot be sent
    emptiest: int = 0  # number of the row with the most empty cells; 0: none
    left_out: int = 0  # rows skipped because of empty cells
    left_out_bytes: int = 0
    known: int = 0  # rows that the previous job has answered
    known_bytes: int = 0
    long: int = 0  # rows long enough to cost more per token
    long_bytes: int = 0
    alike: int = 0  # duplicates of an earlier row
    alike_bytes: int = 0
    unselected: int = 0  # rows that the filter or the sample leaves out; none of them counts above
    unselected_bytes: int = 0
    first: int = 0  # number of the first row that is selected
    trouble: str = ""  # why no rows can be selected, as a sentence
    reused: int = 0  # other rows whose request an earlier job has answered
    reused_bytes: int = 0
    reused_jobs: int = 0  # how many jobs have these answers
    # What is in the other ones of ready-made requests, as FileFacts.models; {} if nothing is reused
    sent: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def sent_with_gap(self) -> int:
        """Rows with an empty cell that are sent, unless these are skipped."""
        return self.empty - self.blank

    @property
    def answered(self) -> int:
        """Rows that need not be sent, because some earlier job has answered them."""
        return self.known + self.reused


@dataclass(frozen=True)
class LengthStats:
    """Answer lengths of a job in tokens: average and standard deviation."""

    answers: int
    mean: float
    deviation: float

    @classmethod
    def of(cls, count: int, total: int, squares: int) -> Self:
        mean = total / count
        return cls(count, mean, sqrt(max(squares / count - mean * mean, 0)))


@dataclass(frozen=True)
class EarlierJob:
    """What the good answers of an earlier job were like."""

    model: str
    effort: str  # never empty: the default of the model is stored by its name
    form: str  # of answer_kinds.AnswerKind.kind
    asked: tuple[str, ...]  # the labels, or the columns
    text: LengthStats
    thinking: LengthStats
    answers: int
    cut_off: int  # answers that reached the limit
    found: float | None  # share of rows that hit the cache; None: no caching


@dataclass(frozen=True)
class Basis:
    """What an estimate is made from. Each part is reused while its key is unchanged."""

    counts_key: str = ""
    counts: Counts = field(default_factory=Counts)
    survey_key: str = ""
    survey: Survey = field(default_factory=Survey)
    # As of then: a job that finishes later does not change a price that is shown.
    earlier: tuple[EarlierJob, ...] = ()


@dataclass(frozen=True)
class Estimate:
    """The price of a job before it is sent, in US dollars at the batch rate."""

    key: str  # key_of() the job that it is for
    low: Decimal  # the usual range
    high: Decimal
    most: Decimal  # the ceiling: every answer as long as allowed
    normal_low: Decimal  # the usual range without batches
    normal_high: Decimal
    input_tokens: int  # expected, all rows
    output_low: int
    output_high: int
    output_most: int
    rows: int  # to be sent
    counted: int  # rows whose tokens the provider counted; 0: estimated from their length
    trouble: str = ""  # why there is no price: all amounts are 0 then
    tested: int = 0  # rows that the output was learned from
    earlier: int = 0  # rows of earlier jobs that it was learned from; both 0: a guess
    input_low: int = 0
    input_high: int = 0
    basis: Basis = field(default_factory=Basis)
    prices: str = ""  # price_list() at that time

    @property
    def expected(self) -> Decimal:
        """The one best guess: the middle of the usual range."""
        return (self.low + self.high) / 2

    @property
    def normal_expected(self) -> Decimal:
        """The same without batches."""
        return (self.normal_low + self.normal_high) / 2

    @property
    def is_half(self) -> bool:
        """Half of the normal price: not so with web searches, whose fee is the same in a batch."""
        return self.high == self.normal_high * pricing.BATCH
