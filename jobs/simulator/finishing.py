"""Works off the batches whose time has come: one thread, one batch after another."""

import os
import sqlite3
import sys
import threading
from collections import Counter

from .batches import Batch, Outcome
from .checks import read_batch
from .dice import digest
from .knobs import MICROSECONDS, Knobs, real_now
from .outcomes import Run, result_line
from .store import Store
from .wire import Counts, Reply, Succeeded, encode

_WRITE_BUFFER = 1 << 20
# How long a look at a batch waits for results that are due at once.
_PATIENCE = 2.0
_RETRY_AFTER = 1.0
_ARCHIVE_EVERY = 3600.0
# A refusal before any output is charged in these categories only.
_CHARGED_REFUSALS = {"bio", "frontier_llm", "reasoning_extraction"}


class Finisher:
    """Writes the results of every batch that is due, and only then lets it end."""

    def __init__(self, store: Store, knobs: Knobs, *, failures: bool) -> None:
        self._store = store
        self._knobs = knobs
        self._failures = failures
        self._changed = threading.Condition()
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
        """A batch was created or canceled, or a knob turned: look again which is next."""
        with self._changed:
            self._changed.notify_all()

    def settle(self) -> None:
        """Wait a moment until no batch is overdue."""
        with self._changed:
            self._changed.wait_for(lambda: self._seconds_to_next() > 0, timeout=_PATIENCE)

    def _seconds_to_next(self) -> float:
        batch = self._next_due()
        return _ARCHIVE_EVERY if batch is None else (batch.due_at - real_now()) / MICROSECONDS

    def _next_due(self) -> Batch | None:
        return None if self._knobs.stuck else self._store.next_due()

    def _work(self) -> None:
        while not self._stopping:
            batch = self._next_due()
            if batch is not None and batch.due_at <= real_now():
                self._finish(batch)
            elif self._wait() >= _ARCHIVE_EVERY:
                self._store.archive()

    def _wait(self) -> float:
        """Wait for the next batch or for news, and return how long that was meant to take."""
        with self._changed:
            # Looked up under the lock: news since then would find this thread waiting.
            seconds = min(self._seconds_to_next(), _ARCHIVE_EVERY)
            if seconds > 0 and not self._stopping:
                self._changed.wait(seconds)
        return seconds

    def _finish(self, batch: Batch) -> None:
        try:
            outcome = self._write_results(batch)
            if outcome is not None:
                self._store.finish(batch.id, outcome)
        except (OSError, sqlite3.Error) as error:
            if not self._store.is_there(batch.id):
                return  # forgotten meanwhile
            # A full disk, most likely: the batch ends when there is room again.
            sys.stderr.write(f"simulator: results of {batch.id}: {error}\n")
            with self._changed:
                self._changed.wait(_RETRY_AFTER)
        self.wake()

    def _write_results(self, batch: Batch) -> Outcome | None:
        """Write one line for each request, in an order of the batch's own; None if stopped."""
        run = Run(
            batch.id,
            self._failures,
            bool(batch.long_output),
            finished=1.0 if batch.finished_share is None else batch.finished_share,
            expired=self._knobs.expire_share,
            marked=not self._knobs.ignore_markers,
            cached=set(),
            geo=self._knobs.workspace_geo,
        )
        items = read_batch(self._store.body_path(batch.id))
        items.sort(key=lambda item: digest(batch.id, "order", item.custom_id))
        tally: Counter[str] = Counter()
        input_tokens = output_tokens = 0
        target = self._store.results_path(batch.id)
        part = target.with_suffix(".part")
        with part.open("wb", buffering=_WRITE_BUFFER) as file:
            for number, item in enumerate(items):
                if self._stopping:
                    return None
                line = result_line(item, number, run)
                tally[line.result.type] += 1
                if isinstance(line.result, Succeeded) and _is_charged(line.result.message):
                    input_tokens += line.result.message.usage.input_tokens
                    output_tokens += line.result.message.usage.output_tokens
                file.write(encode(line))
                file.write(b"\n")
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
        counts = Counts(
            0, tally["succeeded"], tally["errored"], tally["canceled"], tally["expired"]
        )
        return Outcome(counts, input_tokens, output_tokens)


def _is_charged(message: Reply) -> bool:
    """Whether an answer costs anything. Refusals here come before any output."""
    details = message.stop_details
    return details is None or details.category in _CHARGED_REFUSALS
