"""The HTTP side: faults fall on requests, and tests have addresses of their own."""

import json
import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from jobs.simulator.batches import Batch
from jobs.simulator.checks import read_batch
from jobs.simulator.clock import MICROSECONDS
from jobs.simulator.server import BATCHES, Handler, SimulatorServer
from jobs.simulator.wire import ApiError, BatchObject

from .faults import Fault, FaultQueue
from .finishing import FaultFinisher
from .knobs import Knobs
from .replies import FaultReplier
from .store import FaultStore

_WORKSPACE = re.compile(r"wrkspc_[a-z0-9]+")


class FaultServer(SimulatorServer):
    """A server that does wrong what tests order."""

    store: FaultStore
    finisher: FaultFinisher

    def __init__(
        self,
        address: tuple[str, int],
        *,
        store: FaultStore,
        finisher: FaultFinisher,
        knobs: Knobs,
        instant: bool,
        verbose: bool,
    ) -> None:
        self.knobs = knobs
        self.faults = FaultQueue(knobs)
        # With no time between creation and end, a look at a batch waits a moment for its results.
        self.instant = instant
        self.revoked: set[str] = set()  # keys
        self.calls: dict[str, set[str]] = defaultdict(set)  # what was asked for with each key
        super().__init__(address, FaultHandler, store=store, finisher=finisher, verbose=verbose)


class FaultHandler(FaultReplier, Handler):
    """Answers the requests of one connection, well or badly."""

    server: FaultServer
    # The fault that falls on the request to create a batch.
    fault: Fault | None = None

    def setup(self) -> None:
        """Each connection has a thread of its own."""
        super().setup()
        self.server.store.see(self.workspace)

    def workspace(self) -> str:
        """Keys that name a workspace, such as "sk-ant-wrkspc_ads-1", are of that, all others of the
        same one."""
        found = _WORKSPACE.search(self._key())
        return found[0] if found else super().workspace()

    def _key(self) -> str:
        headers = getattr(self, "headers", None) or {}
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        return str(headers.get("x-api-key") or bearer)

    def handle_path(self, path: str, body: bytes | None) -> None:
        """Answer a request for this address, or one of those for tests."""
        if path.startswith("/_"):
            self._control(path, body or b"")
            return
        self._note_call(path)
        self._refuse_revoked()
        if path.startswith(BATCHES):
            self._settle()
        super().handle_path(path, body)

    def _control(self, path: str, body: bytes) -> None:
        """What tests use to order faults and to see what really arrived."""
        faults = self.server.faults
        match (self.command, path):
            case ("POST", "/_faults"):
                faults.add(body)
                self.server.finisher.wake()
                self.send_json(faults.state())
            case ("GET", "/_faults"):
                self.send_json(faults.state())
            case ("POST", "/_reset"):
                faults.forget()
                self.server.finisher.wake()
                self.send_json(faults.state())
            case ("POST", "/_begin_anew"):
                faults.begin_anew()
                self.server.store.forget_all()
                self.server.revoked, self.server.calls = set(), defaultdict(set)
                self.send_json(faults.state())
            case ("POST", "/_keep"):
                self.server.store.keep(body.decode())
                self.send_json({})
            case ("POST", "/_bring_back"):
                self.server.store.bring_back(body.decode())
                self.send_json({})
            case ("POST", "/_revoke"):
                self.server.revoked = set(json.loads(body))
                self.send_json(faults.state())
            case ("GET", "/_calls"):
                self.send_json({key: sorted(calls) for key, calls in self.server.calls.items()})
            case ("GET", "/_truth"):
                self.send_json(self.server.store.truth(with_ids=self.parameter("ids") == "1"))
            case _:
                raise ApiError(404, "Not found")

    def _note_call(self, path: str) -> None:
        """Remember with which key something was asked for."""
        what = f"{self.command} {re.sub('msgbatch_[A-Za-z0-9]+', 'ID', path)}"
        self.server.calls[self._key()].add(what)

    def _refuse_revoked(self) -> None:
        if self._key() in self.server.revoked:
            raise ApiError(401, "this key was revoked")

    # -------------------------------------------------------------------------------------- batches

    def create(self) -> None:
        """Receive a batch, unless the connection is to close within it, and answer."""
        self.server.store.count_post()
        self._note_call(BATCHES)
        self.fault = self.server.faults.take("create")
        if self.fault is not None and self.fault.kind == "drop_mid_body":
            self.read_some()
            self.drop()
            return
        super().create()

    def answer_create(self, part: Path, *, fits: bool) -> None:
        """Accept a batch and answer, or refuse it as was ordered."""
        self._refuse_revoked()
        if self.fault is None or not self.refuse(self.fault):
            super().answer_create(part, fits=fits)

    def accept(self, part: Path) -> Batch:
        """Make a batch of a body that was received, and those by somebody else beside it."""
        if self.server.knobs.queue_limit:
            self._settle()
        count = self.server.knobs.foreign_batches
        items = read_batch(part) if count else []
        batch = super().accept(part)
        for _ in range(count):
            self.server.store.accept_foreign(items, long_output=bool(batch.long_output))
        self.server.finisher.wake()
        return batch

    def send_new_batch(self, batch: BatchObject) -> None:
        """Say that a batch was accepted, or what a fault makes of that."""
        if self.fault is None:
            super().send_new_batch(batch)
        else:
            self.spoil_answer(self.fault, batch)

    def answer_place(self, place: str, make: Callable[[], object]) -> None:
        """Send what `make` does and returns, unless a fault was ordered for this place."""
        self.answer_or_spoil(self.server.faults.take(place), make)

    def send_results(self, path: Path) -> None:
        """Answer a download, well or badly."""
        fault = self.server.faults.take("results")
        if fault is None:
            super().send_results(path)
        else:
            other_host = fault.other_host or f"http://localhost:{self.server.server_port}"
            self.spoil_results(fault, path.read_bytes(), other_host)

    def find_batch(self, batch_id: str) -> Batch:
        """The batch; a 404 if there is none, or if it is too young to be shown."""
        batch = super().find_batch(batch_id)
        hidden_for = self.server.knobs.retrieve_404_seconds * MICROSECONDS
        if hidden_for and self.server.store.age(batch_id) < hidden_for:
            raise ApiError(404, f"Message batch {batch_id} not found")
        return batch

    def show_batch(self, batch: Batch) -> BatchObject:
        """The batch as it is shown at the moment, soon after its end with wrong counts."""
        shown = super().show_batch(batch)
        wrong_for = self.server.knobs.wrong_counts_seconds * MICROSECONDS
        # Not before its end, where the clock was set back meanwhile.
        since = -1 if batch.ended_at is None else self.server.store.now() - batch.ended_at
        if 0 <= since < wrong_for:
            counts = shown.request_counts
            counts.errored, counts.succeeded = counts.errored + counts.succeeded, 0
        return shown

    def base_url(self) -> str:
        """Where the client is told to download."""
        return self.server.knobs.results_host or super().base_url()

    def _settle(self) -> None:
        if self.server.instant:
            self.server.finisher.settle()
