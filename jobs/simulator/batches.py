"""A batch as it is stored, as the API shows it, and as tests are told of it."""

import zlib

from msgspec import Struct
from msgspec.structs import replace

from .knobs import MICROSECONDS, real_now
from .wire import BatchObject, Counts, timestamp

_DAY = 24 * 60 * 60 * MICROSECONDS
ARCHIVED_AFTER = 29 * _DAY
_EXPIRES_AFTER = _DAY


class Batch(Struct, frozen=True):
    """A batch as it is stored, column by column; times are microseconds since the epoch.

    All times but `due_at` are by the provider's clock.
    """

    position: int
    id: str
    size: int
    created_at: int
    duration: int
    due_at: int
    long_output: int
    cancel_at: int | None
    ended_at: int | None
    succeeded: int
    errored: int
    canceled: int
    expired: int
    deleted: int
    # How far the provider's clock was ahead of the machine's when the batch was created.
    ahead: int
    # The share of the requests that were finished when it was canceled.
    finished_share: float | None
    is_foreign: int
    input_tokens: int
    output_tokens: int

    @property
    def age(self) -> int:
        """Microseconds since it was created, wherever the provider's clock stands by now."""
        return real_now() - (self.created_at - self.ahead)

    @property
    def counts(self) -> Counts:
        """All but `processing` are 0 until it has ended."""
        if self.ended_at is None:
            return Counts(processing=self.size)
        return Counts(0, self.succeeded, self.errored, self.canceled, self.expired)

    def is_archived(self, now: int) -> bool:
        """Whether the results have been kept for as long as they are kept."""
        return self.ended_at is not None and now >= self.created_at + ARCHIVED_AFTER


class Outcome(Struct):
    """What became of a batch: how many results of which kind, and the tokens that are charged."""

    counts: Counts
    input_tokens: int
    output_tokens: int


class AcceptedBatch(Struct):
    """What was accepted and what it came to, for tests that prove that nothing was paid twice."""

    id: str
    created_at: str
    size: int
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
    """Everything that ever arrived here. What is foreign is in the list, but not in the sums."""

    posts: int
    accepted_rows: int
    batches: list[AcceptedBatch]


def with_wrong_counts(batch: Batch) -> Batch:
    """The batch with what succeeded counted as errored."""
    return replace(batch, succeeded=0, errored=batch.succeeded + batch.errored)


def as_object(batch: Batch, base_url: str, now: int) -> BatchObject:
    """The batch as the API shows it at the moment `now` of the provider's clock."""
    status = "in_progress" if batch.cancel_at is None else "canceling"
    if batch.ended_at is not None:
        status = "ended"
    archived = batch.is_archived(now)
    archived_at = batch.created_at + ARCHIVED_AFTER if archived else None
    available = batch.ended_at is not None and not archived
    return BatchObject(
        id=batch.id,
        processing_status=status,
        request_counts=batch.counts,
        created_at=timestamp(batch.created_at),
        expires_at=timestamp(batch.created_at + _EXPIRES_AFTER),
        ended_at=_timestamp_or_none(batch.ended_at),
        cancel_initiated_at=_timestamp_or_none(batch.cancel_at),
        archived_at=_timestamp_or_none(archived_at),
        results_url=f"{base_url}/v1/messages/batches/{batch.id}/results" if available else None,
    )


def as_accepted(batch: Batch, compressed: bytes | None) -> AcceptedBatch:
    """The batch as it really is, with the ids of its requests if they are given."""
    return AcceptedBatch(
        id=batch.id,
        created_at=timestamp(batch.created_at),
        size=batch.size,
        custom_ids=zlib.decompress(compressed).decode().split("\n") if compressed else None,
        foreign=bool(batch.is_foreign),
        cancel_requested=batch.cancel_at is not None,
        ended=batch.ended_at is not None,
        deleted=bool(batch.deleted),
        counts=batch.counts,
        input_tokens=batch.input_tokens,
        output_tokens=batch.output_tokens,
    )


def _timestamp_or_none(microseconds: int | None) -> str | None:
    return None if microseconds is None else timestamp(microseconds)
