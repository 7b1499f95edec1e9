"""The batches on disk: a SQLite file and, beside it, the bodies and the results.

A batch is accepted once its row is committed; its body has been synced and renamed before. Whatever
happens to the process, what was accepted stays accepted, and what was not leaves nothing but a file
that the next start removes.
"""

import contextlib
import os
import sqlite3
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from jobs.simulator.wire import ApiError, BatchObject, Counts, invalid, new_id, timestamp

MICROSECONDS = 1_000_000
_DAY = 24 * 60 * 60 * MICROSECONDS
_EXPIRES_AFTER = _DAY
_ARCHIVED_AFTER = 29 * _DAY
# A batch takes so much longer for every batch already at work, so that they do not all end at once.
_DELAY_PER_BATCH = 0.2
_LONGEST_CANCELING = MICROSECONDS

_TABLES = """
CREATE TABLE IF NOT EXISTS batch (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    size INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    duration INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    long_output INTEGER NOT NULL,
    cancel_at INTEGER,
    ended_at INTEGER,
    succeeded INTEGER NOT NULL DEFAULT 0,
    errored INTEGER NOT NULL DEFAULT 0,
    canceled INTEGER NOT NULL DEFAULT 0,
    expired INTEGER NOT NULL DEFAULT 0,
    deleted INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS batch_due ON batch (due_at) WHERE ended_at IS NULL;
CREATE TABLE IF NOT EXISTS accepted_ids (batch_id TEXT PRIMARY KEY, compressed BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS received (posts INTEGER NOT NULL);
INSERT INTO received SELECT 0 WHERE NOT EXISTS (SELECT * FROM received);
"""
_OLDER_PAGE = """
SELECT * FROM batch WHERE position < ? AND created_at <= ? AND NOT deleted
ORDER BY position DESC LIMIT ?
"""
_NEWER_PAGE = """
SELECT * FROM batch WHERE position > ? AND created_at <= ? AND NOT deleted
ORDER BY position LIMIT ?
"""
_NEWER_THAN_ALL = 1 << 62
# It stays "canceling" for a while, but never longer than it would have worked on.
_CANCEL = """
UPDATE batch SET cancel_at = :now, due_at = min(due_at, :now + min(:longest, duration))
WHERE id = :id AND ended_at IS NULL AND cancel_at IS NULL AND NOT deleted
"""
_FINISH = """
UPDATE batch SET ended_at = ?, succeeded = ?, errored = ?, canceled = ?, expired = ? WHERE id = ?
"""


class Batch(Struct, frozen=True):
    """A batch as it is stored, column by column; times are microseconds since the epoch."""

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

    @property
    def archived(self) -> bool:
        """Whether the results have been kept for as long as they are kept."""
        return now() >= self.created_at + _ARCHIVED_AFTER

    @property
    def finished_share(self) -> float:
        """The share of the requests that are finished when it ends: all, unless it was canceled."""
        if self.cancel_at is None or not self.duration:
            return 1.0
        return (self.cancel_at - self.created_at) / self.duration


class AcceptedBatch(Struct):
    """What was accepted, for tests that prove that nothing was accepted twice."""

    id: str
    created_at: str
    size: int
    custom_ids: list[str] | None


class Truth(Struct):
    """Everything that ever arrived here."""

    posts: int
    accepted_rows: int
    batches: list[AcceptedBatch]


def now() -> int:
    """Microseconds since the epoch."""
    return time.time_ns() // 1000


class Store:
    """The batches. One connection, guarded by a lock: every statement is short."""

    def __init__(self, directory: Path, *, seconds: float, keep_ids: bool) -> None:
        self._seconds = seconds
        self._keep_ids = keep_ids
        self._incoming = directory / "incoming"
        self._bodies = directory / "bodies"
        self._results = directory / "results"
        for folder in (self._incoming, self._bodies, self._results):
            folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._database = sqlite3.connect(
            directory / "simulator.sqlite3", isolation_level=None, check_same_thread=False
        )
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.executescript(_TABLES)
        self._tidy_up()

    def close(self) -> None:
        """Let go of the database."""
        with self._lock:
            self._database.close()

    # ------------------------------------------------------------------------------------ accepting

    def incoming_path(self) -> Path:
        """Where a body is written while it arrives."""
        return self._incoming / f"{new_id('body')}.part"

    def count_post(self) -> None:
        """A create request has arrived; it counts whatever becomes of it."""
        with self._lock:
            self._database.execute("UPDATE received SET posts = posts + 1")

    def accept(self, body: Path, custom_ids: Sequence[str], *, long_output: bool) -> Batch:
        """Make a batch of a complete body; when this returns, the batch is there to stay."""
        batch_id = new_id("msgbatch")
        created_at = now()
        _sync(body)
        body.replace(self.body_path(batch_id))
        _sync(self._bodies)
        with self._transaction() as database:
            (at_work,) = database.execute(
                "SELECT count(*) FROM batch WHERE ended_at IS NULL"
            ).fetchone()
            duration = int(self._seconds * (1 + _DELAY_PER_BATCH * at_work) * MICROSECONDS)
            database.execute(
                "INSERT INTO batch (id, size, created_at, duration, due_at, long_output) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (
                    batch_id,
                    len(custom_ids),
                    created_at,
                    duration,
                    created_at + duration,
                    long_output,
                ),
            )
            if self._keep_ids:
                compressed = zlib.compress("\n".join(custom_ids).encode(), 1)
                database.execute("INSERT INTO accepted_ids VALUES (?, ?)", (batch_id, compressed))
        return self.get(batch_id)

    # -------------------------------------------------------------------------------------- looking

    def get(self, batch_id: str) -> Batch:
        """The batch, or a 404."""
        batch = self._one("SELECT * FROM batch WHERE id = ? AND NOT deleted", (batch_id,))
        if batch is None:
            raise ApiError(404, f"Message batch {batch_id} not found")
        return batch

    def page(
        self, *, limit: int, after_id: str, before_id: str, created_until: int
    ) -> tuple[list[Batch], bool]:
        """Up to `limit` batches, newest first, and whether there are more in that direction."""
        query, cursor = _OLDER_PAGE, _NEWER_THAN_ALL
        if after_id:
            cursor = self._position("after_id", after_id)
        elif before_id:
            query, cursor = _NEWER_PAGE, self._position("before_id", before_id)
        with self._lock:
            rows = self._database.execute(query, (cursor, created_until, limit + 1)).fetchall()
        found = [Batch(*row) for row in rows[:limit]]
        if before_id:
            found.reverse()
        return found, len(rows) > limit

    def next_due(self) -> Batch | None:
        """The batch that ends next, or ought to have ended."""
        return self._one("SELECT * FROM batch WHERE ended_at IS NULL ORDER BY due_at LIMIT 1", ())

    def truth(self, *, with_ids: bool) -> Truth:
        """Everything that was ever accepted, deleted batches too."""
        with self._lock:
            (posts,) = self._database.execute("SELECT posts FROM received").fetchone()
            rows = self._database.execute(
                "SELECT id, created_at, size, compressed "
                "FROM batch LEFT JOIN accepted_ids ON batch_id = id ORDER BY position"
            ).fetchall()
        batches = [
            AcceptedBatch(
                batch_id,
                timestamp(created_at),
                size,
                zlib.decompress(compressed).decode().split("\n")
                if with_ids and compressed
                else None,
            )
            for batch_id, created_at, size, compressed in rows
        ]
        return Truth(posts, sum(batch.size for batch in batches), batches)

    # ------------------------------------------------------------------------------------- changing

    def cancel(self, batch_id: str) -> Batch:
        """Start canceling. Once more does no harm; after the end it is refused."""
        with self._lock:
            self._database.execute(
                _CANCEL, {"now": now(), "longest": _LONGEST_CANCELING, "id": batch_id}
            )
        batch = self.get(batch_id)
        if batch.ended_at is not None:
            raise invalid(f"Batch {batch_id} cannot be canceled because it has already ended")
        return batch

    def finish(self, batch_id: str, counts: Counts) -> None:
        """The results are on disk: the batch has ended, and its body is no longer needed."""
        with self._lock:
            self._database.execute(
                _FINISH,
                (
                    now(),
                    counts.succeeded,
                    counts.errored,
                    counts.canceled,
                    counts.expired,
                    batch_id,
                ),
            )
        self.body_path(batch_id).unlink(missing_ok=True)

    def delete(self, batch_id: str) -> None:
        """Forget a batch that has ended, with its files."""
        if self.get(batch_id).ended_at is None:
            raise invalid(
                f"Batch {batch_id} cannot be deleted while it is being processed. Cancel it first."
            )
        with self._lock:
            self._database.execute("UPDATE batch SET deleted = 1 WHERE id = ?", (batch_id,))
        self.results_path(batch_id).unlink(missing_ok=True)

    def archive(self) -> None:
        """Remove results that are older than results are kept."""
        with self._lock:
            rows = self._database.execute(
                "SELECT id FROM batch WHERE ended_at IS NOT NULL AND created_at <= ?",
                (now() - _ARCHIVED_AFTER,),
            ).fetchall()
        for (batch_id,) in rows:
            self.results_path(batch_id).unlink(missing_ok=True)

    # -------------------------------------------------------------------------------------- details

    def body_path(self, batch_id: str) -> Path:
        """The requests of a batch, as they were received."""
        return self._bodies / f"{batch_id}.json"

    def results_path(self, batch_id: str) -> Path:
        """The results of a batch that has ended."""
        return self._results / f"{batch_id}.jsonl"

    def _tidy_up(self) -> None:
        """Remove what a killed process left: half a body, half the results, files of no batch."""
        with self._lock:
            rows = self._database.execute(
                "SELECT id, ended_at FROM batch WHERE NOT deleted"
            ).fetchall()
        at_work = {batch_id for batch_id, ended_at in rows if ended_at is None}
        ended = {batch_id for batch_id, ended_at in rows if ended_at is not None}
        for folder, wanted, suffix in (
            (self._incoming, set[str](), ""),
            (self._bodies, at_work, ".json"),
            (self._results, ended, ".jsonl"),
        ):
            for file in folder.iterdir():
                if file.suffix != suffix or file.stem not in wanted:
                    file.unlink()
        self.archive()

    def _position(self, name: str, batch_id: str) -> int:
        with self._lock:
            row = self._database.execute(
                "SELECT position FROM batch WHERE id = ?", (batch_id,)
            ).fetchone()
        if row is None:
            raise invalid(f"{name}: {batch_id} is not the id of a message batch")
        return int(row[0])

    def _one(self, query: str, arguments: tuple[str, ...]) -> Batch | None:
        with self._lock:
            row = self._database.execute(query, arguments).fetchone()
        return Batch(*row) if row else None

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
            except sqlite3.Error:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")


def as_object(batch: Batch, base_url: str) -> BatchObject:
    """The batch as the API shows it now. All counts but `processing` are 0 until it has ended."""
    status = "in_progress" if batch.cancel_at is None else "canceling"
    counts = Counts(processing=batch.size)
    if batch.ended_at is not None:
        status = "ended"
        counts = Counts(0, batch.succeeded, batch.errored, batch.canceled, batch.expired)
    archived_at = batch.created_at + _ARCHIVED_AFTER if batch.archived else None
    available = batch.ended_at is not None and not batch.archived
    return BatchObject(
        id=batch.id,
        processing_status=status,
        request_counts=counts,
        created_at=timestamp(batch.created_at),
        expires_at=timestamp(batch.created_at + _EXPIRES_AFTER),
        ended_at=_timestamp_or_none(batch.ended_at),
        cancel_initiated_at=_timestamp_or_none(batch.cancel_at),
        archived_at=_timestamp_or_none(archived_at),
        results_url=f"{base_url}/v1/messages/batches/{batch.id}/results" if available else None,
    )


def _timestamp_or_none(microseconds: int | None) -> str | None:
    return None if microseconds is None else timestamp(microseconds)


def _sync(path: Path) -> None:
    """Wait until a file, or the names in a directory, would survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
