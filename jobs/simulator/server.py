"""The HTTP side: what is at which address."""

import http.server
import secrets
import socket
import socketserver
import sys
import time
import urllib.parse
from collections.abc import Callable, Sequence
from pathlib import Path

from . import bodies, models
from .batches import Batch, as_object
from .checks import check_batch, check_count, read_batch
from .clock import MICROSECONDS
from .finishing import Finisher
from .outcomes import single_reply
from .replies import Replier
from .store import Store
from .wire import ApiError, BatchObject, decode_params, invalid, new_id

BATCHES = "/v1/messages/batches"
_MODELS = "/v1/models"
# Whether "256 MB" counts in thousands or in 1,024s is not documented: the smaller is safe.
_LARGEST_BATCH_BODY = 256_000_000
_LARGEST_BODY = 32_000_000
_LONGEST_PAGE = 1000
_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
_DEFAULT_PAGE = 20


class SimulatorServer(http.server.ThreadingHTTPServer):
    """One thread a connection; none of them keeps the process from ending."""

    request_queue_size = 512
    block_on_close = False

    def __init__(
        self,
        address: tuple[str, int],
        handler: type[http.server.BaseHTTPRequestHandler],
        *,
        store: Store,
        finisher: Finisher,
        verbose: bool,
        token: str = "",
    ) -> None:
        self.store = store
        self.finisher = finisher
        self.verbose = verbose
        self.token = token
        super().__init__(address, handler)

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
            if (self.command, path) == ("POST", BATCHES):
                self.create()
                return
            body = bodies.receive(self.headers, self.rfile, _LARGEST_BODY)
            self.handle_path(path, body)
        except ApiError as error:
            self.send_api_error(error)

    def handle_path(self, path: str, body: bytes | None) -> None:
        """Answer a request for this address; the body is None if it was too large."""
        self._check_key()
        if body is None:
            raise ApiError(413, "Request exceeds the maximum size")
        self._route(path, body)

    def _route(self, path: str, body: bytes) -> None:
        in_batches = path.removeprefix(BATCHES).split("/")[1:] if path.startswith(BATCHES) else None
        match (self.command, in_batches, path):
            case ("GET", [], _):
                self.answer_place("list", self._list)
            case ("GET", [batch_id], _):
                self.answer_place("retrieve", lambda: self._retrieve(batch_id))
            case ("DELETE", [batch_id], _):
                self.answer_place("delete", lambda: self._delete(batch_id))
            case ("POST", [batch_id, "cancel"], _):
                self.answer_place("cancel", lambda: self._cancel(batch_id))
            case ("GET", [batch_id, "results"], _):
                self._results(batch_id)
            case ("POST", None, "/v1/messages/count_tokens"):
                self.answer_place("count_tokens", lambda: self._count(body))
            case ("POST", None, "/v1/messages"):
                self.send_json(single_reply(body))
            case ("GET", None, "/v1/models"):
                self.send_json(self._list_models())
            case ("GET", None, _) if path.startswith(f"{_MODELS}/"):
                name = urllib.parse.unquote(path.removeprefix(f"{_MODELS}/"))
                self.send_json(models.describe(models.find_model(name)))
            case _:
                raise ApiError(404, "Not found")

    def _check_host(self) -> None:
        """A page in a browser on this machine can reach it by a name that it made up."""
        try:
            host = urllib.parse.urlsplit(f"//{self.headers.get('host', '')}").hostname or ""
        except ValueError:
            host = ""
        if host not in (*_LOCAL_NAMES, self.server.server_name):
            raise ApiError(403, "This host is not served here")

    def _check_key(self) -> None:
        self._check_host()
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        key = self.headers.get("x-api-key") or (token if scheme.lower() == "bearer" else "")
        if not key.strip():
            raise ApiError(401, "x-api-key header is required")
        is_ours = secrets.compare_digest(key.encode(), self.server.token.encode())
        if key.strip().startswith("bad") or (self.server.token and not is_ours):
            raise ApiError(401, "invalid x-api-key")

    # -------------------------------------------------------------------------------------- batches

    def create(self) -> None:
        """Receive a batch, and answer."""
        part = self.server.store.incoming_path()
        try:
            fits = bodies.receive_into(part, self.headers, self.rfile, _LARGEST_BATCH_BODY)
            self.answer_create(part, fits=fits)
        finally:
            part.unlink(missing_ok=True)

    def answer_create(self, part: Path, *, fits: bool) -> None:
        """Accept the batch whose body is in `part`, unless it was too large, and answer."""
        self._check_key()
        if fits:
            self.send_new_batch(self.show_batch(self.accept(part)))
        else:
            self.send_too_large()

    def send_new_batch(self, batch: BatchObject) -> None:
        """Say that a batch was accepted."""
        self.send_json(batch)

    def accept(self, part: Path) -> Batch:
        """Make a batch of a body that was received."""
        items = read_batch(part)
        check_batch(items)
        long_output = "output-300k" in self.headers.get("anthropic-beta", "")
        custom_ids = [item.custom_id for item in items]
        batch = self.server.store.accept(part, custom_ids, long_output=long_output)
        self.server.finisher.wake()
        return batch

    def _list(self) -> dict[str, object]:
        limit = self._limit()
        batches, has_more = self.server.store.page(
            limit=limit,
            after_id=self.parameter("after_id"),
            before_id=self.parameter("before_id"),
        )
        ids = [batch.id for batch in batches]
        return _page([self.show_batch(batch) for batch in batches], ids, has_more)

    def _retrieve(self, batch_id: str) -> BatchObject:
        return self.show_batch(self.find_batch(batch_id))

    def _cancel(self, batch_id: str) -> BatchObject:
        batch = self.server.store.cancel(batch_id)
        self.server.finisher.wake()
        return self.show_batch(batch)

    def _delete(self, batch_id: str) -> dict[str, str]:
        self.server.store.delete(batch_id)
        return {"id": batch_id, "type": "message_batch_deleted"}

    def _results(self, batch_id: str) -> None:
        batch = self.find_batch(batch_id)
        if batch.ended_at is None or batch.is_archived(self.server.store.now()):
            raise ApiError(404, f"{batch_id} has no available results.")
        path = self.server.store.results_path(batch_id)
        self.send_results(path)

    def send_results(self, path: Path) -> None:
        """Answer a download."""
        self.send_file(path)

    def find_batch(self, batch_id: str) -> Batch:
        """The batch, or a 404."""
        return self.server.store.get(batch_id)

    def show_batch(self, batch: Batch) -> BatchObject:
        """The batch as it is shown at the moment."""
        return as_object(batch, self.base_url(), self.server.store.now())

    def base_url(self) -> str:
        """Where the client can reach this server."""
        own = f"{self.server.server_name}:{self.server.server_port}"
        return f"http://{self.headers.get('host') or own}"

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
            self.parameter("after_id"),
            self.parameter("before_id"),
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

    def answer_place(self, place: str, make: Callable[[], object]) -> None:
        """Send what `make` does and returns. `place` names what was asked for."""
        self.send_json(make())

    def parameter(self, name: str) -> str:
        """The value of a parameter in the address; empty without one."""
        return self.query.get(name, [""])[0]

    def _limit(self) -> int:
        text = self.parameter("limit") or str(_DEFAULT_PAGE)
        if not (text.isascii() and text.isdigit() and 1 <= int(text) <= _LONGEST_PAGE):
            raise invalid(f"limit: Input should be between 1 and {_LONGEST_PAGE}")
        return int(text)


def _page(data: Sequence[object], ids: list[str], has_more: bool) -> dict[str, object]:
    first_id, last_id = (ids[0], ids[-1]) if ids else (None, None)
    return {"data": data, "has_more": has_more, "first_id": first_id, "last_id": last_id}
