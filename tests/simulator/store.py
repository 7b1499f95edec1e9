"""The batches on disk, and beside them what only tests want to know of each."""

import secrets
import sqlite3
import threading
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jobs.simulator.batches import Batch
from jobs.simulator.clock import MICROSECONDS, real_now
from jobs.simulator.replies import WORKSPACE
from jobs.simulator.store import Store, batch_of
from jobs.simulator.wire import ApiError, Item, encode_envelope

from .knobs import Knobs
from .truth import Truth, describe_batch

# Of every batch that was ever accepted; `at` is by the clock of this machine.
_TABLES = """
CREATE TABLE IF NOT EXISTS accepted (
    batch_id TEXT PRIMARY KEY,
    at INTEGER NOT NULL,
    custom_ids BLOB NOT NULL,
    is_foreign INTEGER NOT NULL,
    input_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS received (posts INTEGER NOT NULL);
INSERT INTO received SELECT 0 WHERE NOT EXISTS (SELECT * FROM received);
"""
_NEW_BATCHES = """
SELECT id FROM batch JOIN accepted ON batch_id = id WHERE at > ? AND NOT deleted ORDER BY position
"""
_FOREIGN_NONCE = "ffffff"
_KEPT = ("batch", "accepted", "received")


class FaultStore(Store):
    """Batches that may be hidden, refused or somebody else's, and a clock that may be wrong."""

    def __init__(self, directory: Path, knobs: Knobs, *, seconds: float) -> None:
        self._knobs = knobs
        # The nonces of the batches by somebody else.
        self._foreign_nonces: set[str] = set()
        # Which workspace each batch is of, and how a thread knows the one of its request.
        self._workspaces: dict[str, str] = {}
        self._thread = threading.local()
        self._kept: dict[str, tuple[dict[str, list[tuple[Any, ...]]], dict[Path, bytes]]] = {}
        super().__init__(directory, seconds=seconds)
        self.database.executescript(_TABLES)

    def now(self) -> int:
        """Microseconds since the epoch, by the provider's clock."""
        return super().now() + self._knobs.ahead

    def see(self, workspace: Callable[[], str]) -> None:
        """From now on this thread sees the batches of the workspace that this returns."""
        self._thread.workspace = workspace

    def _is_hidden(self, batch_id: str) -> bool:
        looking = getattr(self._thread, "workspace", None)
        return looking is not None and self._workspaces.get(batch_id, WORKSPACE) != looking()

    def get(self, batch_id: str) -> Batch:
        """The batch, or a 404, also when it is of another workspace."""
        if self._is_hidden(batch_id):
            raise ApiError(404, f"Message batch {batch_id} not found")
        return super().get(batch_id)

    # ------------------------------------------------------------------------------------ accepting

    def count_post(self) -> None:
        """A create request has arrived; it counts whatever becomes of it."""
        with self.lock:
            self.database.execute("UPDATE received SET posts = posts + 1")

    def insert(
        self,
        database: sqlite3.Connection,
        batch_id: str,
        custom_ids: Sequence[str],
        *,
        long_output: bool,
    ) -> None:
        """Write the rows of a new batch. A 429 if the queue has no room for it."""
        is_foreign = custom_ids[0].partition("-")[0] in self._foreign_nonces
        if not is_foreign:
            self._check_room(database, len(custom_ids))
        if looking := getattr(self._thread, "workspace", None):
            self._workspaces[batch_id] = looking()
        super().insert(database, batch_id, custom_ids, long_output=long_output)
        database.execute(
            "INSERT INTO accepted (batch_id, at, custom_ids, is_foreign) VALUES (?, ?, ?, ?)",
            (batch_id, real_now(), zlib.compress("\n".join(custom_ids).encode(), 1), is_foreign),
        )

    def accept_foreign(self, items: Sequence[Item], *, long_output: bool) -> None:
        """Make a batch of the same requests under the names that somebody else gave them."""
        nonce = _FOREIGN_NONCE + secrets.token_hex(3)
        self._foreign_nonces.add(nonce)
        theirs = [Item(f"{nonce}-{number:07}", item.params) for number, item in enumerate(items)]
        body = self.incoming_path()
        body.write_bytes(encode_envelope(theirs))
        self.accept(body, [item.custom_id for item in theirs], long_output=long_output)

    def _check_room(self, database: sqlite3.Connection, size: int) -> None:
        limit = self._knobs.queue_limit
        (at_work,) = database.execute(
            "SELECT coalesce(sum(size), 0) FROM batch WHERE ended_at IS NULL"
        ).fetchone()
        if limit and at_work + size > limit:
            raise ApiError(
                429,
                f"The queue has room for {limit} batch requests; {at_work} are at work.",
                self._knobs.queue_retry_after or None,
            )

    # -------------------------------------------------------------------------------------- looking

    def age(self, batch_id: str) -> int:
        """Microseconds since a batch was accepted, wherever the provider's clock stands by now."""
        with self.lock:
            (at,) = self.database.execute(
                "SELECT at FROM accepted WHERE batch_id = ?", (batch_id,)
            ).fetchone()
        return real_now() - int(at)

    def page(self, *, limit: int, after_id: str, before_id: str) -> tuple[list[Batch], bool]:
        """A page of the list, without the batches that are too new to be shown."""
        limit = min(limit, self._knobs.page_limit or limit)
        hidden = self._hidden_ids() if self._knobs.list_hide_seconds else []
        if hidden and not after_id and not before_id:
            after_id = hidden[0]  # the oldest of them: all that is shown is older
        found, has_more = super().page(limit=limit, after_id=after_id, before_id=before_id)
        while has_more and found and all(self._is_hidden(batch.id) for batch in found):
            found, has_more = super().page(limit=limit, after_id=found[-1].id, before_id=before_id)
        found = [batch for batch in found if not self._is_hidden(batch.id)]
        shown = [batch for batch in found if batch.id not in hidden]
        return shown, has_more and (len(shown) == len(found) or not before_id)

    def _hidden_ids(self) -> list[str]:
        shown_until = real_now() - int(self._knobs.list_hide_seconds * MICROSECONDS)
        with self.lock:
            return [row[0] for row in self.database.execute(_NEW_BATCHES, (shown_until,))]

    def truth(self, *, with_ids: bool) -> Truth:
        """Everything that was ever accepted, deleted batches too."""
        with self.lock:
            (posts,) = self.database.execute("SELECT posts FROM received").fetchone()
            rows = self.database.execute(
                "SELECT * FROM batch JOIN accepted ON batch_id = id ORDER BY position"
            ).fetchall()
        batches = [
            describe_batch(
                batch_of(row),
                row,
                self._workspaces.get(row["id"], WORKSPACE),
                with_ids=with_ids,
            )
            for row in rows
        ]
        accepted_rows = sum(batch.size for batch in batches if not batch.foreign)
        return Truth(posts, accepted_rows, batches)

    def is_there(self, batch_id: str) -> bool:
        """Whether this batch was ever accepted, and not forgotten since."""
        with self.lock:
            found = self.database.execute("SELECT 1 FROM batch WHERE id = ?", (batch_id,))
            return found.fetchone() is not None

    # ------------------------------------------------------------------------------------- changing

    def canceled_end(self, batch: Batch) -> tuple[int, float]:
        """When a batch that is canceled now ends, and the share of its requests that is done."""
        due_at, finished = super().canceled_end(batch)
        if self._knobs.canceling_seconds:
            due_at = real_now() + int(self._knobs.canceling_seconds * MICROSECONDS)
        return due_at, 0.0 if self._knobs.stuck else finished

    def note_charged(self, batch_id: str, input_tokens: int, output_tokens: int) -> None:
        """What the results of a batch cost, before it ends."""
        with self.lock:
            self.database.execute(
                "UPDATE accepted SET input_tokens = ?, output_tokens = ? WHERE batch_id = ?",
                (input_tokens, output_tokens, batch_id),
            )

    def forget_all(self) -> None:
        """As if nothing had ever been sent: one test leaves the next a clean provider."""
        with self.lock:
            self.database.executescript(
                "DELETE FROM batch; DELETE FROM accepted; UPDATE received SET posts = 0;"
            )
        for folder in (self.incoming, self.bodies, self.results):
            for path in folder.iterdir():
                path.unlink(missing_ok=True)

    def keep(self, name: str) -> None:
        """Remember the batches there are."""
        with self.lock:
            rows = {
                table: [tuple(row) for row in self.database.execute(f"SELECT * FROM {table}")]  # noqa: S608
                for table in _KEPT
            }
        folders = (self.bodies, self.results)
        files = {path: path.read_bytes() for folder in folders for path in folder.iterdir()}
        self._kept[name] = rows, files

    def bring_back(self, name: str) -> None:
        """These batches instead of all others."""
        self.forget_all()
        rows, files = self._kept[name]
        for path, content in files.items():
            path.write_bytes(content)
        with self.transaction() as database:
            for table, found in rows.items():
                database.execute(f"DELETE FROM {table}")  # noqa: S608 - a name of ours
                for row in found:
                    marks = ", ".join("?" * len(row))
                    database.execute(f"INSERT INTO {table} VALUES ({marks})", row)  # noqa: S608
