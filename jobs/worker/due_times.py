"""When a job or a batch is due again."""

from __future__ import annotations

from datetime import timedelta

from ..batches import collection
from ..models import Batch, clock

NOW = timedelta()
# A job that waits for the provider is due again after this time at the latest.
SAFETY = timedelta(seconds=60)
# These have to be settled or fetched; other batches wait to be sent or to end.
NEED_LOOK = (Batch.State.UNKNOWN, Batch.State.ENDED)


def needs_look(batch: Batch) -> bool:
    """Whether a batch has to be settled, fetched, or checked once more before it is given up."""
    given_up = batch.state == Batch.State.IN_PROGRESS and batch.given_up_at is not None
    return given_up or batch.state in NEED_LOOK


def time_left(batch: Batch) -> timedelta:
    """How long a batch still waits for its next step; 0: no longer."""
    return clock.time_left(batch.next_action_at, collection.LONGEST_PAUSE)


def until_due(batches: list[Batch]) -> timedelta:
    """How long until one of `batches` is due, at most SAFETY."""
    times = [
        batch.next_action_at for batch in batches if batch.next_action_at and needs_look(batch)
    ]
    if not times:
        return SAFETY
    # Never zero: something that is due but cannot be done now would spin.
    return min(max(min(times) - clock.now(), timedelta(seconds=0.2)), SAFETY)
