"""What the provider lists, as it is stored: models, and batches that this site does not know."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

import msgspec

KEPT = timedelta(days=29)  # the provider deletes results so long after a batch was made
_Number = Annotated[int, msgspec.Meta(ge=0)]
# What became of requests, in words for people.
BECAME = {
    "succeeded": "answered",
    "errored": "failed",
    "expired": "not reached",
    "canceled": "stopped",
}


class ModelInfo(msgspec.Struct):
    """A model as the provider lists it. Lengths are in tokens."""

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    display_name: str = ""
    line: str | None = None  # haiku, sonnet, ...
    lifecycle: str = "active"  # active, deprecated
    retires_at: datetime | None = None
    max_input_tokens: _Number | None = None
    max_tokens: _Number | None = None


class Listed(msgspec.Struct):
    """A batch at the provider that this site does not know."""

    id: str
    size: int
    created_at: datetime
    ended_at: datetime | None
    counts: dict[str, int]  # all 0 but `processing` until it has ended

    @property
    def deleted_at(self) -> datetime:
        """When the provider deletes its results."""
        return self.created_at + KEPT

    @property
    def outcomes(self) -> list[tuple[int, str]]:
        """How many requests came to what, once it has ended."""
        counted = ((self.counts.get(kind, 0), word) for kind, word in BECAME.items())
        return [(count, word) for count, word in counted if count]
