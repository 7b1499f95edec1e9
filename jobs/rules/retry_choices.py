"""Retries as they are stored: what a person wants to retry, and the size of the rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

import msgspec


@dataclass(frozen=True)
class RetryChoice:
    """What a person wants to retry: which rows, and what changes in the recipe."""

    which: str  # selection.FOR_NOW, selection.EDITED or a cause
    max_tokens: int | None = None  # the longest answer; 0: recommended; None: unchanged
    model: str = ""  # "": unchanged
    prompt: str | None = None  # None: unchanged
    system: str | None = None


@dataclass(frozen=True)
class RetrySize:
    """Number and size of the rows that a retry would send."""

    rows: int
    bytes: int  # of all rows, as Row.size
    largest: int  # bytes of the largest
    # Of ready-made requests that differ from the file: their contents by model, as in
    # FileFacts.models.
    models: dict[str, dict[str, int]] = field(default_factory=dict)


class EditedRows(msgspec.Struct, frozen=True):
    """Edited rows with one outcome and cause that were last sent in one round. `own`: a retry of
    the rows with that cause would send them if they were not edited."""

    outcome: str
    cause: str
    round: int
    own: bool
    size: RetrySize  # of what they were before


class MeasuredEdits(msgspec.Struct, frozen=True):
    """The size of all edited rows of a job."""

    of: list[int] = []  # selection.edits_key at that time; empty: never measured
    trouble: str = ""  # why they cannot be sent
    measured: RetrySize = RetrySize(0, 0, 0)
    rows: list[EditedRows] | None = None  # None: an older version measured them


class RoundEstimate(msgspec.Struct, frozen=True):
    """The price of a retry as it was confirmed, in US dollars at the batch rate."""

    low: Decimal
    high: Decimal
    most: Decimal
