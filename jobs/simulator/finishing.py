"""Works off the batches whose time has come: one thread, one batch after another."""

import os
import sqlite3
import sys
import threading
from collections import Counter

from .batches import Batch
from .checks import read_batch
from .clock import MICROSECONDS, real_now
from .dice import digest
from .outcomes import Run, result_line
from .store import Store
from .wire import Counts, Item, ResultLine, encode

_WRITE_BUFFER = 1 << 20
_RETRY_AFTER = 1.0
_ARCHIVE_EVERY = 3600.0


class Finisher:
    """Writes the results of every batch that is due, and only then lets it end."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="finisher", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self) -> None:
        """Stop at once. A batch that is half done is done again after the next start."""
        self._stopping = True
        self.wake()
        self._thread.join()

    def wake(self) -> None:
        """A batch was created or canceled: look again which is next."""
        with self.changed:
            self.changed.notify_all()

    def seconds_to_next(self) -> float:
        batch = self.next_due()
        return _ARCHIVE_EVERY if batch is None else (batch.due_at - real_now()) / MICROSECONDS

    def next_due(self) -> Batch | None:
        """The batch that ends next, or ought to have ended."""
        return self.store.next_due()

    def _work(self) -> None:
        while not self._stopping:
            batch = self.next_due()
            if batch is not None and batch.due_at <= real_now():
                self._finish(batch)
            elif self._wait() >= _ARCHIVE_EVERY:
                self.store.archive()

    def _wait(self) -> float:
        """Wait for the next batch or for news, and return how long that was meant to take."""
        with self.changed:
            # Looked up under the lock: news since then would find this thread waiting.
            seconds = min(self.seconds_to_next(), _ARCHIVE_EVERY)
            if seconds > 0 and not self._stopping:
                self.changed.wait(seconds)
        return seconds

    def _finish(self, batch: Batch) -> None:
        try:
            counts = self.write_results(batch)
            if counts is not None:
                self.store.finish(batch.id, counts)
        except (OSError, sqlite3.Error) as error:
            self.retry_later(batch, error)
        self.wake()

    def retry_later(self, batch: Batch, error: Exception) -> None:
        """Say what went wrong and wait. A full disk, most likely: the batch ends when there is
        room again."""
        sys.stderr.write(f"simulator: results of {batch.id}: {error}\n")
        with self.changed:
            self.changed.wait(_RETRY_AFTER)

    def write_results(self, batch: Batch) -> Counts | None:
        """Write one line for each request, in an order of the batch's own; None if stopped."""
        run = self.make_run(batch)
        items = read_batch(self.store.body_path(batch.id))
        items.sort(key=lambda item: digest(batch.id, "order", item.custom_id))
        tally: Counter[str] = Counter()
        target = self.store.results_path(batch.id)
        part = target.with_suffix(".part")
        with part.open("wb", buffering=_WRITE_BUFFER) as file:
            for number, item in enumerate(items):
                if self._stopping:
                    return None
                line = self.make_line(item, number, run)
                tally[line.result.type] += 1
                file.write(encode(line))
                file.write(b"\n")
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
        return Counts(0, tally["succeeded"], tally["errored"], tally["canceled"], tally["expired"])

    def make_run(self, batch: Batch) -> Run:
        """Begin to work off a batch. Rows fail as in life: about 13 of 1,000."""
        return Run(
            batch.id,
            failures=True,
            long_output=bool(batch.long_output),
            finished=1.0 if batch.finished_share is None else batch.finished_share,
            cached=set(),
        )

    def make_line(self, item: Item, number: int, run: Run) -> ResultLine:
        """The result of one request; `number` is its place among the results, from 0."""
        return result_line(item, run)
