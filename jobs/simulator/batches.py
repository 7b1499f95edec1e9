"""A batch as it is stored, and as the API shows it."""

from msgspec import Struct

from .clock import MICROSECONDS
from .wire import BatchObject, Counts, timestamp

_DAY = 24 * 60 * 60 * MICROSECONDS
ARCHIVED_AFTER = 29 * _DAY
_EXPIRES_AFTER = _DAY


class Batch(Struct, frozen=True):
    """A batch as it is stored, column by column; times are microseconds since the epoch.

    `due_at` is by the clock of this machine, all other times are by the provider's.
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
    # The share of the requests that were finished when it was canceled.
    finished_share: float | None

    @property
    def counts(self) -> Counts:
        """All but `processing` are 0 until it has ended."""
        if self.ended_at is None:
            return Counts(processing=self.size)
        return Counts(0, self.succeeded, self.errored, self.canceled, self.expired)

    def is_archived(self, now: int) -> bool:
        """Whether the results have been kept for as long as they are kept."""
        return self.ended_at is not None and now >= self.created_at + ARCHIVED_AFTER


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


def _timestamp_or_none(microseconds: int | None) -> str | None:
    return None if microseconds is None else timestamp(microseconds)
