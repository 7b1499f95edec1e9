"""Works off batches: they may be stuck, rows may expire, and what is charged is noted."""

from msgspec import Raw
from msgspec.structs import replace

from jobs.simulator.batches import Batch
from jobs.simulator.finishing import Finisher
from jobs.simulator.outcomes import MARKER, Run
from jobs.simulator.wire import Counts, Ended, Item, Reply, ResultLine, Succeeded

from .knobs import Knobs
from .store import FaultStore

# How long a look at a batch waits for results that are due at once.
_PATIENCE = 2.0
# A refusal before any output is charged in these categories only.
_CHARGED_REFUSALS = {"bio", "frontier_llm", "reasoning_extraction"}
_MARKER = MARKER.encode()


class FaultFinisher(Finisher):
    """Writes the results of every batch that is due, unless the knobs stand against it."""

    def __init__(self, store: FaultStore, knobs: Knobs, *, failures: bool) -> None:
        super().__init__(store)
        self._faulty_store = store
        self._knobs = knobs
        self._failures = failures
        self._input_tokens = self._output_tokens = 0

    def settle(self) -> None:
        """Wait a moment until no batch is overdue."""
        with self.changed:
            self.changed.wait_for(lambda: self.seconds_to_next() > 0, timeout=_PATIENCE)

    def next_due(self) -> Batch | None:
        """The batch that ends next; none while batches are stuck."""
        return None if self._knobs.stuck else super().next_due()

    def retry_later(self, batch: Batch, error: Exception) -> None:
        """Say what went wrong and wait, unless the batch was forgotten meanwhile."""
        if self._faulty_store.is_there(batch.id):
            super().retry_later(batch, error)

    def make_run(self, batch: Batch) -> Run:
        """Begin to work off a batch. Rows fail as in life, or only when they are told to."""
        return replace(
            super().make_run(batch), failures=self._failures, geo=self._knobs.workspace_geo
        )

    def write_results(self, batch: Batch) -> Counts | None:
        """Write one line for each request, and note what they cost."""
        self._input_tokens = self._output_tokens = 0
        counts = super().write_results(batch)
        self._faulty_store.note_charged(batch.id, self._input_tokens, self._output_tokens)
        return counts

    def make_line(self, item: Item, number: int, run: Run) -> ResultLine:
        """The result of one request."""
        if self._knobs.ignore_markers:
            unmarked = bytes(item.params).replace(_MARKER, _MARKER.upper())
            item = Item(item.custom_id, Raw(unmarked))
        line = super().make_line(item, number, run)
        share = self._knobs.expire_share
        is_late = int((number + 1) * share) > int(number * share)
        if is_late and line.result != Ended("canceled"):
            return ResultLine(item.custom_id, Ended("expired"))
        if isinstance(line.result, Succeeded) and _is_charged(line.result.message):
            self._input_tokens += line.result.message.usage.input_tokens
            self._output_tokens += line.result.message.usage.output_tokens
        return line


def _is_charged(message: Reply) -> bool:
    """Whether an answer costs anything. Refusals here come before any output."""
    details = message.stop_details
    return details is None or details.category in _CHARGED_REFUSALS
