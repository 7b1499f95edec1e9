"""The batches on disk: a SQLite file and, beside it, the bodies and the results.

A batch is accepted once its row is committed; its body has been synced and renamed before. Whatever
happens to the process, what was accepted stays accepted, and what was not leaves nothing but a file
that the next start removes.
"""

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from .batches import ARCHIVED_AFTER, Batch
from .clock import MICROSECONDS, real_now
from .wire import ApiError, Counts, invalid, new_id

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
"""
# Columns that a folder of an older version lacks, in the order in which they came.
_ADDED = {
    "finished_share": "REAL",
}
_OLDER_PAGE = """
SELECT * FROM batch WHERE position < ? AND NOT deleted ORDER BY position DESC LIMIT ?
"""
_NEWER_PAGE = """
SELECT * FROM batch WHERE position > ? AND NOT deleted ORDER BY position LIMIT ?
"""
_NEWER_THAN_ALL = 1 << 62
_CANCEL = """
UPDATE batch SET cancel_at = ?, due_at = ?, finished_share = ?
WHERE id = ? AND ended_at IS NULL AND cancel_at IS NULL
"""
_FINISH = """
UPDATE batch SET ended_at = ?, succeeded = ?, errored = ?, canceled = ?, expired = ? WHERE id = ?
"""


class Store:
    """The batches. One connection, guarded by a lock: every statement is short."""

    def __init__(self, directory: Path, *, seconds: float) -> None:
        self._seconds = seconds
        self.incoming = directory / "incoming"
        self.bodies = directory / "bodies"
        self.results = directory / "results"
        for folder in (self.incoming, self.bodies, self.results):
            folder.mkdir(parents=True, exist_ok=True)
        self.lock = threading.Lock()
        self.database = sqlite3.connect(
            directory / "simulator.sqlite3", isolation_level=None, check_same_thread=False
        )
        self.database.row_factory = sqlite3.Row
        self.database.execute("PRAGMA journal_mode = WAL")
        self.database.execute("PRAGMA synchronous = FULL")
        self.database.executescript(_TABLES)
        self._add_columns()
        self._tidy_up()

    def close(self) -> None:
        """Let go of the database."""
        with self.lock:
            self.database.close()

    def now(self) -> int:
        """Microseconds since the epoch, by the provider's clock."""
        return real_now()

    # ------------------------------------------------------------------------------------ accepting

    def incoming_path(self) -> Path:
        """Where a body is written while it arrives."""
        return self.incoming / f"{new_id('body')}.part"

    def accept(self, body: Path, custom_ids: Sequence[str], *, long_output: bool) -> Batch:
        """Make a batch of a complete body; when this returns, the batch is there to stay."""
        batch_id = new_id("msgbatch")
        _sync(body)
        with self.transaction() as database:
            self.insert(database, batch_id, custom_ids, long_output=long_output)
            body.replace(self.body_path(batch_id))
            _sync(self.bodies)
        return self.get(batch_id)

    def insert(
        self,
        database: sqlite3.Connection,
        batch_id: str,
        custom_ids: Sequence[str],
        *,
        long_output: bool,
    ) -> None:
        """Write the row of a new batch, within the transaction that accepts it."""
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
                self.now(),
                duration,
                real_now() + duration,
                long_output,
            ),
        )

    # -------------------------------------------------------------------------------------- looking

    def get(self, batch_id: str) -> Batch:
        """The batch, or a 404."""
        batch = self._one("SELECT * FROM batch WHERE id = ? AND NOT deleted", (batch_id,))
        if batch is None:
            raise ApiError(404, f"Message batch {batch_id} not found")
        return batch

    def page(self, *, limit: int, after_id: str, before_id: str) -> tuple[list[Batch], bool]:
        """Up to `limit` batches, newest first, and whether there are more in that direction."""
        query, cursor = _OLDER_PAGE, _NEWER_THAN_ALL
        if after_id:
            cursor = self._position("after_id", after_id)
        elif before_id:
            query, cursor = _NEWER_PAGE, self._position("before_id", before_id)
        with self.lock:
            rows = self.database.execute(query, (cursor, limit + 1)).fetchall()
        found = [batch_of(row) for row in rows[:limit]]
        if before_id:
            found.reverse()
        return found, len(rows) > limit

    def next_due(self) -> Batch | None:
        """The batch that ends next, or ought to have ended."""
        return self._one("SELECT * FROM batch WHERE ended_at IS NULL ORDER BY due_at LIMIT 1", ())

    # ------------------------------------------------------------------------------------- changing

    def cancel(self, batch_id: str) -> Batch:
        """Start canceling. Once more does no harm; after the end it is refused."""
        batch = self.get(batch_id)
        due_at, finished = self.canceled_end(batch)
        with self.lock:
            self.database.execute(_CANCEL, (self.now(), due_at, finished, batch_id))
        batch = self.get(batch_id)
        if batch.ended_at is not None:
            raise invalid(f"Batch {batch_id} cannot be canceled because it has already ended")
        return batch

    def canceled_end(self, batch: Batch) -> tuple[int, float]:
        """When a batch that is canceled now ends, and the share of its requests that is done."""
        # It stays "canceling" for a while, but never longer than it would have worked on.
        canceling = min(_LONGEST_CANCELING, batch.duration)
        age = real_now() - (batch.due_at - batch.duration)
        return min(batch.due_at, real_now() + canceling), age / max(1, batch.duration)

    def finish(self, batch_id: str, counts: Counts) -> None:
        """The results are on disk: the batch has ended, and its body is no longer needed."""
        with self.lock:
            self.database.execute(
                _FINISH,
                (
                    self.now(),
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
        with self.lock:
            self.database.execute("UPDATE batch SET deleted = 1 WHERE id = ?", (batch_id,))
        self.results_path(batch_id).unlink(missing_ok=True)

    def archive(self) -> None:
        """Remove results that are older than results are kept, by the machine's clock."""
        with self.lock:
            rows = self.database.execute(
                # Due soon after it was created, and by the machine's clock.
                "SELECT id FROM batch WHERE ended_at IS NOT NULL AND due_at <= ?",
                (real_now() - ARCHIVED_AFTER,),
            ).fetchall()
        for (batch_id,) in rows:
            self.results_path(batch_id).unlink(missing_ok=True)

    # -------------------------------------------------------------------------------------- details

    def body_path(self, batch_id: str) -> Path:
        """The requests of a batch, as they were received."""
        return self.bodies / f"{batch_id}.json"

    def results_path(self, batch_id: str) -> Path:
        """The results of a batch that has ended."""
        return self.results / f"{batch_id}.jsonl"

    def _add_columns(self) -> None:
        with self.transaction() as database:
            there = {row[1] for row in database.execute("PRAGMA table_info(batch)")}
            for name, kind in _ADDED.items():
                if name not in there:
                    database.execute(f"ALTER TABLE batch ADD COLUMN {name} {kind}")

    def _tidy_up(self) -> None:
        """Remove what a killed process left: half a body, half the results, files of no batch."""
        with self.lock:
            rows = self.database.execute(
                "SELECT id, ended_at FROM batch WHERE NOT deleted"
            ).fetchall()
        at_work = {batch_id for batch_id, ended_at in rows if ended_at is None}
        ended = {batch_id for batch_id, ended_at in rows if ended_at is not None}
        for folder, wanted, suffix in (
            (self.incoming, set[str](), ""),
            (self.bodies, at_work, ".json"),
            (self.results, ended, ".jsonl"),
        ):
            for file in folder.iterdir():
                if file.suffix != suffix or file.stem not in wanted:
                    file.unlink()
        self.archive()

    def _position(self, name: str, batch_id: str) -> int:
        with self.lock:
            row = self.database.execute(
                "SELECT position FROM batch WHERE id = ?", (batch_id,)
            ).fetchone()
        if row is None:
            raise invalid(f"{name}: {batch_id} is not the id of a message batch")
        return int(row[0])

    def _one(self, query: str, arguments: tuple[str, ...]) -> Batch | None:
        with self.lock:
            row = self.database.execute(query, arguments).fetchone()
        return batch_of(row) if row else None

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        with self.lock:
            self.database.execute("BEGIN IMMEDIATE")
            try:
                yield self.database
            except Exception:
                self.database.execute("ROLLBACK")
                raise
            self.database.execute("COMMIT")


def batch_of(row: sqlite3.Row) -> Batch:
    """The batch of a row, which has more columns in a folder of an older version."""
    return Batch(*(row[name] for name in Batch.__struct_fields__))


def _sync(path: Path) -> None:
    """Wait until a file, or the names in a directory, would survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
