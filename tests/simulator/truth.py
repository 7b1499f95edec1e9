"""What really arrived and what became of it, for tests that prove that nothing was paid twice."""

import sqlite3
import zlib

from msgspec import Struct

from jobs.simulator.batches import Batch
from jobs.simulator.wire import Counts, timestamp


class AcceptedBatch(Struct):
    """What was accepted and what it came to."""

    id: str
    created_at: str
    size: int
    workspace: str
    custom_ids: list[str] | None
    # By somebody else.
    foreign: bool
    cancel_requested: bool
    ended: bool
    deleted: bool
    counts: Counts
    # What is charged: those of succeeded results, without refusals that cost nothing.
    input_tokens: int
    output_tokens: int


class Truth(Struct):
    """Everything that ever arrived. What is foreign is in the list, but not in the sums."""

    posts: int
    accepted_rows: int
    batches: list[AcceptedBatch]


def describe_batch(
    batch: Batch, accepted: sqlite3.Row, workspace: str, *, with_ids: bool
) -> AcceptedBatch:
    """The batch as it really is; `accepted` is its row of the table of that name."""
    ids = zlib.decompress(accepted["custom_ids"]).decode().split("\n") if with_ids else None
    return AcceptedBatch(
        id=batch.id,
        created_at=timestamp(batch.created_at),
        size=batch.size,
        workspace=workspace,
        custom_ids=ids,
        foreign=bool(accepted["is_foreign"]),
        cancel_requested=batch.cancel_at is not None,
        ended=batch.ended_at is not None,
        deleted=bool(batch.deleted),
        counts=batch.counts,
        input_tokens=accepted["input_tokens"],
        output_tokens=accepted["output_tokens"],
    )
