"""The batches on disk: a SQLite file and, beside it, the bodies and the results.

A batch is accepted once its row is committed; its body has been synced and renamed before. Whatever
happens to the process, what was accepted stays accepted, and what was not leaves nothing but a file
that the next start removes.
"""

import contextlib
import os
import secrets
import sqlite3
import threading
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from .batches import ARCHIVED_AFTER, Batch, Outcome, Truth, as_accepted
from .knobs import MICROSECONDS, Knobs, real_now
from .wire import ApiError, Item, encode_envelope, invalid, new_id

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
# Columns that a folder of an older version lacks, in the order in which they came.
_ADDED = {
    "ahead": "INTEGER NOT NULL DEFAULT 0",
    "finished_share": "REAL",
    "is_foreign": "INTEGER NOT NULL DEFAULT 0",
    "input_tokens": "INTEGER NOT NULL DEFAULT 0",
    "output_tokens": "INTEGER NOT NULL DEFAULT 0",
}
_OLDER_PAGE = """
SELECT * FROM batch WHERE position < ? AND created_at - ahead <= ? AND NOT deleted
ORDER BY position DESC LIMIT ?
"""
_NEWER_PAGE = """
SELECT * FROM batch WHERE position > ? AND created_at - ahead <= ? AND NOT deleted
ORDER BY position LIMIT ?
"""
_NEWER_THAN_ALL = 1 << 62
_CANCEL = """
UPDATE batch SET cancel_at = ?, due_at = ?, finished_share = ?
WHERE id = ? AND ended_at IS NULL AND cancel_at IS NULL
"""
_FINISH = """
UPDATE batch SET ended_at = ?, succeeded = ?, errored = ?, canceled = ?, expired = ?,
input_tokens = ?, output_tokens = ? WHERE id = ?
"""
_FOREIGN_NONCE = "ffffff"


class Store:
    """The batches. One connection, guarded by a lock: every statement is short."""

    def __init__(self, directory: Path, knobs: Knobs, *, seconds: float, keep_ids: bool) -> None:
        self._knobs = knobs
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
        self._add_columns()
        self._tidy_up()

    def close(self) -> None:
        """Let go of the database."""
        with self._lock:
            self._database.close()

    def now(self) -> int:
        """Microseconds since the epoch, by the provider's clock."""
        return real_now() + self._knobs.ahead

    # ------------------------------------------------------------------------------------ accepting

    def incoming_path(self) -> Path:
        """Where a body is written while it arrives."""
        return self._incoming / f"{new_id('body')}.part"

    def count_post(self) -> None:
        """A create request has arrived; it counts whatever becomes of it."""
        with self._lock:
            self._database.execute("UPDATE received SET posts = posts + 1")

    def accept(
        self,
        body: Path,
        custom_ids: Sequence[str],
        *,
        long_output: bool,
        is_foreign: bool = False,
    ) -> Batch:
        """Make a batch of a complete body; when this returns, the batch is there to stay.

        A 429 if the queue has no room for it.
        """
        batch_id = new_id("msgbatch")
        _sync(body)
        with self._transaction() as database:
            at_work, rows_at_work = database.execute(
                "SELECT count(*), coalesce(sum(size), 0) FROM batch WHERE ended_at IS NULL"
            ).fetchone()
            if not is_foreign:
                self._check_room(rows_at_work, len(custom_ids))
            body.replace(self.body_path(batch_id))
            _sync(self._bodies)
            created_at, ahead = real_now(), self._knobs.ahead
            duration = int(self._seconds * (1 + _DELAY_PER_BATCH * at_work) * MICROSECONDS)
            database.execute(
                "INSERT INTO batch "
                "(id, size, created_at, duration, due_at, long_output, ahead, is_foreign) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    batch_id,
                    len(custom_ids),
                    created_at + ahead,
                    duration,
                    created_at + duration,
                    long_output,
                    ahead,
                    is_foreign,
                ),
            )
            if self._keep_ids:
                compressed = zlib.compress("\n".join(custom_ids).encode(), 1)
                database.execute("INSERT INTO accepted_ids VALUES (?, ?)", (batch_id, compressed))
        return self.get(batch_id)

    def accept_foreign(self, items: Sequence[Item], *, long_output: bool) -> None:
        """Make a batch of the same requests under the names that somebody else gave them."""
        nonce = _FOREIGN_NONCE + secrets.token_hex(3)
        theirs = [Item(f"{nonce}-{number:07}", item.params) for number, item in enumerate(items)]
        body = self.incoming_path()
        body.write_bytes(encode_envelope(theirs))
        custom_ids = [item.custom_id for item in theirs]
        self.accept(body, custom_ids, long_output=long_output, is_foreign=True)

    def _check_room(self, at_work: int, size: int) -> None:
        limit = self._knobs.queue_limit
        if limit and at_work + size > limit:
            raise ApiError(
                429,
                f"The queue has room for {limit} batch requests; {at_work} are at work.",
                self._knobs.queue_retry_after or None,
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
        limit = min(limit, self._knobs.page_limit or limit)
        created_until = real_now() - int(self._knobs.list_hide_seconds * MICROSECONDS)
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
            rows = self._database.execute("SELECT * FROM batch ORDER BY position").fetchall()
            compressed: dict[str, bytes] = dict(
                self._database.execute("SELECT * FROM accepted_ids").fetchall() if with_ids else ()
            )
        batches = [Batch(*row) for row in rows]
        return Truth(
            posts,
            sum(batch.size for batch in batches if not batch.is_foreign),
            [as_accepted(batch, compressed.get(batch.id)) for batch in batches],
        )

    def is_there(self, batch_id: str) -> bool:
        """Whether this batch was ever accepted, and not forgotten since."""
        with self._lock:
            found = self._database.execute("SELECT 1 FROM batch WHERE id = ?", (batch_id,))
            return found.fetchone() is not None

    # ------------------------------------------------------------------------------------- changing

    def forget_all(self) -> None:
        """As if nothing had ever been sent: one test leaves the next a clean provider."""
        with self._lock:
            self._database.executescript(
                "DELETE FROM batch; DELETE FROM accepted_ids; UPDATE received SET posts = 0;"
            )
        for folder in (self._incoming, self._bodies, self._results):
            for path in folder.iterdir():
                path.unlink(missing_ok=True)

    def cancel(self, batch_id: str) -> Batch:
        """Start canceling. Once more does no harm; after the end it is refused."""
        batch = self.get(batch_id)
        if self._knobs.canceling_seconds:
            due_at = real_now() + int(self._knobs.canceling_seconds * MICROSECONDS)
        else:
            # It stays "canceling" for a while, but never longer than it would have worked on.
            canceling = min(_LONGEST_CANCELING, batch.duration)
            due_at = min(batch.due_at, real_now() + canceling)
        finished = 0.0 if self._knobs.stuck else batch.age / max(1, batch.duration)
        with self._lock:
            self._database.execute(_CANCEL, (self.now(), due_at, finished, batch_id))
        batch = self.get(batch_id)
        if batch.ended_at is not None:
            raise invalid(f"Batch {batch_id} cannot be canceled because it has already ended")
        return batch

    def finish(self, batch_id: str, outcome: Outcome) -> None:
        """The results are on disk: the batch has ended, and its body is no longer needed."""
        counts = outcome.counts
        with self._lock:
            self._database.execute(
                _FINISH,
                (
                    self.now(),
                    counts.succeeded,
                    counts.errored,
                    counts.canceled,
                    counts.expired,
                    outcome.input_tokens,
                    outcome.output_tokens,
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
        """Remove results that are older than results are kept, by the machine's clock."""
        with self._lock:
            rows = self._database.execute(
                "SELECT id FROM batch WHERE ended_at IS NOT NULL AND created_at - ahead <= ?",
                (real_now() - ARCHIVED_AFTER,),
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

    def _add_columns(self) -> None:
        with self._transaction() as database:
            there = {row[1] for row in database.execute("PRAGMA table_info(batch)")}
            for name, kind in _ADDED.items():
                if name not in there:
                    database.execute(f"ALTER TABLE batch ADD COLUMN {name} {kind}")

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
            except Exception:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")


def _sync(path: Path) -> None:
    """Wait until a file, or the names in a directory, would survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
