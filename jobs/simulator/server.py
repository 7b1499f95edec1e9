"""The HTTP side: what is at which address."""

import http.server
import socket
import socketserver
import sys
import time
import urllib.parse
from collections.abc import Callable, Sequence
from pathlib import Path

from . import bodies, models
from .batches import Batch, as_object, with_wrong_counts
from .checks import check_batch, check_count, read_batch
from .faults import Fault, FaultQueue
from .finishing import Finisher
from .knobs import MICROSECONDS, Knobs
from .outcomes import single_reply
from .replies import Replier
from .store import Store
from .wire import ApiError, BatchObject, decode_params, invalid, new_id

_BATCHES = "/v1/messages/batches"
_MODELS = "/v1/models"
# Whether "256 MB" counts in thousands or in 1,024s is not documented: the smaller is safe.
_LARGEST_BATCH_BODY = 256_000_000
_LARGEST_BODY = 32_000_000
_LONGEST_PAGE = 1000
_DEFAULT_PAGE = 20


class SimulatorServer(http.server.ThreadingHTTPServer):
    """One thread a connection; none of them keeps the process from ending."""

    request_queue_size = 512
    block_on_close = False

    def __init__(
        self,
        address: tuple[str, int],
        *,
        store: Store,
        finisher: Finisher,
        knobs: Knobs,
        faults: FaultQueue | None,
        instant: bool,
        verbose: bool,
    ) -> None:
        self.store = store
        self.finisher = finisher
        self.knobs = knobs
        self.faults = faults
        # With no time between creation and end, a look at a batch waits a moment for its results.
        self.instant = instant
        self.verbose = verbose
        super().__init__(address, Handler)

    def server_bind(self) -> None:
        """Bind without asking a name server what this machine is called: that may take long."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.socket.getsockname()[:2]

    def handle_error(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        """Say nothing of clients that left: that is their right. All else is a mistake here."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class Handler(Replier):
    """Answers the requests of one connection."""

    server: SimulatorServer

    def setup(self) -> None:
        """Prepare for a connection."""
        super().setup()
        self.verbose = self.server.verbose
        self.query: dict[str, list[str]] = {}

    def date_time_string(self, timestamp: float | None = None) -> str:
        """The date for the header, by the provider's clock."""
        if timestamp is None:
            timestamp = self.server.store.now() / MICROSECONDS
        return super().date_time_string(timestamp)

    def do_GET(self) -> None:
        """Answer a GET."""
        self._answer()

    def do_POST(self) -> None:
        """Answer a POST."""
        self._answer()

    def do_DELETE(self) -> None:
        """Answer a DELETE."""
        self._answer()

    def _answer(self) -> None:
        self.began = time.monotonic()
        self.request_id = new_id("req")
        parts = urllib.parse.urlsplit(self.path)
        self.query = urllib.parse.parse_qs(parts.query)
        path = parts.path.rstrip("/")
        try:
            if (self.command, path) == ("POST", _BATCHES):
                self._create()
                return
            body = bodies.receive(self.headers, self.rfile, _LARGEST_BODY)
            if path.startswith("/_") and self.server.faults is not None:
                self._control(self.server.faults, path, body or b"")
                return
            self._check_key()
            if body is None:
                raise ApiError(413, "Request exceeds the maximum size")
            self._route(path, body)
        except ApiError as error:
            self.send_api_error(error)

    def _route(self, path: str, body: bytes) -> None:
        in_batches = (
            path.removeprefix(_BATCHES).split("/")[1:] if path.startswith(_BATCHES) else None
        )
        match (self.command, in_batches, path):
            case ("GET", [], _):
                self._answer_at("list", self._list)
            case ("GET", [batch_id], _):
                self._answer_at("retrieve", lambda: self._retrieve(batch_id))
            case ("DELETE", [batch_id], _):
                self._answer_at("delete", lambda: self._delete(batch_id))
            case ("POST", [batch_id, "cancel"], _):
                self._answer_at("cancel", lambda: self._cancel(batch_id))
            case ("GET", [batch_id, "results"], _):
                self._results(batch_id)
            case ("POST", None, "/v1/messages/count_tokens"):
                self._answer_at("count_tokens", lambda: self._count(body))
            case ("POST", None, "/v1/messages"):
                self.send_json(single_reply(body))
            case ("GET", None, "/v1/models"):
                self.send_json(self._list_models())
            case ("GET", None, _) if path.startswith(f"{_MODELS}/"):
                name = urllib.parse.unquote(path.removeprefix(f"{_MODELS}/"))
                self.send_json(models.describe(models.find_model(name)))
            case _:
                raise ApiError(404, "Not found")

    def _control(self, faults: FaultQueue, path: str, body: bytes) -> None:
        """What tests use to order faults and to see what really arrived."""
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
                self.send_json(faults.state())
            case ("GET", "/_truth"):
                self.send_json(self.server.store.truth(with_ids=self._parameter("ids") == "1"))
            case _:
                raise ApiError(404, "Not found")

    def _check_key(self) -> None:
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        key = self.headers.get("x-api-key") or (token if scheme.lower() == "bearer" else "")
        if not key.strip():
            raise ApiError(401, "x-api-key header is required")
        if key.strip().startswith("bad"):
            raise ApiError(401, "invalid x-api-key")

    # -------------------------------------------------------------------------------------- batches

    def _create(self) -> None:
        self.server.store.count_post()
        fault = self._fault("create")
        if fault is not None and fault.kind == "drop_mid_body":
            self.read_some()
            self.drop()
            return
        part = self.server.store.incoming_path()
        try:
            fits = bodies.receive_into(part, self.headers, self.rfile, _LARGEST_BATCH_BODY)
            if fault is not None and self.refuse(fault):
                return
            self._check_key()
            if not fits:
                self.send_too_large()
                return
            batch = self._accept(part)
        finally:
            part.unlink(missing_ok=True)
        if fault is None:
            self.send_json(self._as_object(batch))
        else:
            self.spoil_answer(fault, self._as_object(batch))

    def _accept(self, part: Path) -> Batch:
        items = read_batch(part)
        check_batch(items)
        if self.server.knobs.queue_limit:
            self._settle()
        long_output = "output-300k" in self.headers.get("anthropic-beta", "")
        custom_ids = [item.custom_id for item in items]
        batch = self.server.store.accept(part, custom_ids, long_output=long_output)
        for _ in range(self.server.knobs.foreign_batches):
            self.server.store.accept_foreign(items, long_output=long_output)
        self.server.finisher.wake()
        return batch

    def _list(self) -> dict[str, object]:
        limit = self._limit()
        self._settle()
        batches, has_more = self.server.store.page(
            limit=limit,
            after_id=self._parameter("after_id"),
            before_id=self._parameter("before_id"),
        )
        ids = [batch.id for batch in batches]
        return _page([self._as_object(batch) for batch in batches], ids, has_more)

    def _retrieve(self, batch_id: str) -> BatchObject:
        self._settle()
        return self._as_object(self._visible(batch_id))

    def _cancel(self, batch_id: str) -> BatchObject:
        self._settle()
        batch = self.server.store.cancel(batch_id)
        self.server.finisher.wake()
        return self._as_object(batch)

    def _delete(self, batch_id: str) -> dict[str, str]:
        self._settle()
        self.server.store.delete(batch_id)
        return {"id": batch_id, "type": "message_batch_deleted"}

    def _results(self, batch_id: str) -> None:
        self._settle()
        batch = self._visible(batch_id)
        if batch.ended_at is None or batch.is_archived(self.server.store.now()):
            raise ApiError(404, f"{batch_id} has no available results.")
        path = self.server.store.results_path(batch_id)
        if fault := self._fault("results"):
            other_host = fault.other_host or f"http://localhost:{self.server.server_port}"
            self.spoil_results(fault, path.read_bytes(), other_host)
        else:
            self.send_file(path)

    def _visible(self, batch_id: str) -> Batch:
        """The batch; a 404 if there is none, or if it is too young to be shown."""
        batch = self.server.store.get(batch_id)
        if batch.age < self.server.knobs.retrieve_404_seconds * MICROSECONDS:
            raise ApiError(404, f"Message batch {batch_id} not found")
        return batch

    def _settle(self) -> None:
        if self.server.instant:
            self.server.finisher.settle()

    def _as_object(self, batch: Batch) -> BatchObject:
        own = f"{self.server.server_name}:{self.server.server_port}"
        base_url = self.server.knobs.results_host or f"http://{self.headers.get('host') or own}"
        now = self.server.store.now()
        wrong_for = self.server.knobs.wrong_counts_seconds * MICROSECONDS
        if batch.ended_at is not None and now - batch.ended_at < wrong_for:
            batch = with_wrong_counts(batch)
        return as_object(batch, base_url, now)

    # ------------------------------------------------------------------------------ everything else

    def _count(self, body: bytes) -> dict[str, int]:
        return {"input_tokens": check_count(decode_params(body)).tokens}

    def _list_models(self) -> dict[str, object]:
        wanted = (
            self.query.get("lifecycle[]") or self.query.get("lifecycle") or ["active", "deprecated"]
        )
        known = [model for model in models.MODELS if model.lifecycle in wanted]
        ids = [model.id for model in known]
        after_id, before_id, limit = (
            self._parameter("after_id"),
            self._parameter("before_id"),
            self._limit(),
        )
        if unknown := {after_id, before_id} - {"", *ids}:
            raise invalid(f"{unknown.pop()} is not the id of a model")
        if before_id:
            end = ids.index(before_id)
            start, has_more = max(0, end - limit), end > limit
        else:
            start = ids.index(after_id) + 1 if after_id else 0
            end = start + limit
            has_more = end < len(ids)
        described = [models.describe(model) for model in known[start:end]]
        return _page(described, ids[start:end], has_more)

    def _answer_at(self, place: str, make: Callable[[], object]) -> None:
        """Send what `make` does and returns, unless a fault was ordered for this place."""
        self.answer_or_spoil(self._fault(place), make)

    def _fault(self, place: str) -> Fault | None:
        return self.server.faults.take(place) if self.server.faults else None

    def _parameter(self, name: str) -> str:
        return self.query.get(name, [""])[0]

    def _limit(self) -> int:
        text = self._parameter("limit") or str(_DEFAULT_PAGE)
        if not (text.isascii() and text.isdigit() and 1 <= int(text) <= _LONGEST_PAGE):
            raise invalid(f"limit: Input should be between 1 and {_LONGEST_PAGE}")
        return int(text)


def _page(data: Sequence[object], ids: list[str], has_more: bool) -> dict[str, object]:
    first_id, last_id = (ids[0], ids[-1]) if ids else (None, None)
    return {"data": data, "has_more": has_more, "first_id": first_id, "last_id": last_id}
