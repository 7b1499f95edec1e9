"""The numbers of a job that are worked out from its rows, as they are stored. Amounts are in
pico-dollars. What an older version did not count has its default."""

from __future__ import annotations

import msgspec


class CauseGroup(msgspec.Struct, frozen=True):
    """Rows with one outcome and cause."""

    outcome: str
    cause: str
    rows: int = 0
    own: int = 0  # rows that are sent themselves
    bytes: int = 0  # of these
    # Of these by their last round: rows, bytes, bytes of the largest. None: not counted.
    rounds: dict[int, tuple[int, int, int]] | None = None
    cost_pico: int = 0
    # When the first and the last of their batches ended, as ISO texts.
    first: str | None = None
    last: str | None = None


class AnswerLengths(msgspec.Struct, frozen=True):
    """Good answers: how many, and the sum of their tokens and of the squares."""

    answers: int = 0
    text: tuple[int, int] = (0, 0)
    thinking: tuple[int, int] = (0, 0)


class ModelCharge(msgspec.Struct, frozen=True):
    """What the results of one model were charged, as the receipt says it."""

    model: str  # as the provider names it
    results: int
    input_tokens: int  # without those of the cache
    cache_write_tokens: int
    cache_read_tokens: int
    output_tokens: int  # thinking included
    thinking_tokens: int
    cost_pico: int


class Tally(msgspec.Struct, frozen=True):
    """Rows by outcome and cause, tokens and cost. worker/tally.py keeps it true to the rows."""

    outcomes: dict[str, int] = {}
    causes: list[tuple[str, str, int]] = []  # outcome, cause, rows
    groups: list[CauseGroup] = []
    by_model: dict[str, int] = {}  # amounts
    by_round: dict[int, dict[str, int]] = {}  # of these, what was sent again
    input_tokens: int = 0  # including those of the cache
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_hits: int = 0  # rows that read from the prompt cache
    answered: int = 0  # rows with output tokens
    again: int = 0  # rows that a retry may help
    output_tokens: int = 0
    thinking_tokens: int = 0
    lengths: AnswerLengths | None = None  # later jobs estimate from these
    cost_pico: int = 0
    unpriced: int = 0  # rows without a price
    copies: int = 0  # rows that wait for the answer of another row
    strays: int = 0  # results of an imported batch that match no row
    # For the receipt: charges by model of rows, and of their earlier attempts; rows that were sent
    # and not charged, by outcome and cause; and rows that have the answer of another one.
    charged_rows: list[ModelCharge] = []
    charged_attempts: list[ModelCharge] = []
    free: list[tuple[str, str, int]] = []
    same_as_another: int = 0
    of_earlier_jobs: int = 0

    def rows_with(self, outcome: str, cause: str) -> int:
        """Rows with this outcome and cause."""
        return sum(rows for *key, rows in self.causes if key == [outcome, cause])
