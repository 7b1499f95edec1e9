"""Sends answers over one connection, as they should be and as they should not be."""

import http.server
import os
import shutil
import socket
import struct
import sys
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path

import msgspec

from . import bodies
from .faults import Fault
from .spoiling import cut_gzip, spoiled
from .wire import ApiError, BatchObject, encode

_ORGANIZATION = "00000000-0000-4000-8000-000000000001"
_WORKSPACE = "wrkspc_01practice"
_IDLE_SECONDS = 300
_DRIP_EVERY = 0.2
_JSON = "application/json"
_JSONL = "application/x-jsonl"
_HTML = "text/html"
_NO_CURSOR = {"has_more": True, "last_id": None}


class Replier(http.server.BaseHTTPRequestHandler):
    """The connection to one client."""

    protocol_version = "HTTP/1.1"
    server_version = "simulator"
    sys_version = ""
    disable_nagle_algorithm = True
    wbufsize = 64 * 1024
    timeout = _IDLE_SECONDS
    verbose = False

    def setup(self) -> None:
        """Prepare for a connection."""
        super().setup()
        self.request_id = ""
        self.began = 0.0

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """One line a request, if wanted: never what was in it, nor the key."""
        if self.verbose:
            path = urllib.parse.urlsplit(self.path).path
            milliseconds = (time.monotonic() - self.began) * 1000
            sys.stderr.write(f"{self.command} {path} {code} {milliseconds:.0f} ms\n")

    def log_error(self, format: str, *args: object) -> None:
        """The parent's own messages say nothing that the line for the request does not."""

    # -------------------------------------------------------------------------------------- sending

    def send_json(self, value: object) -> None:
        """A plain yes."""
        self.send_body(200, encode(value))

    def send_api_error(self, error: ApiError) -> None:
        """An error in the API's words."""
        after = {} if error.retry_after is None else {"retry-after": f"{error.retry_after:g}"}
        self.send_body(error.status, encode(error.response(self.request_id)), headers=after)

    def send_too_large(self) -> None:
        """What a proxy in front of the API says: not JSON."""
        page = b"<html><body><h1>413 Request Entity Too Large</h1></body></html>\n"
        self.send_body(413, page, _HTML)

    def send_body(
        self, status: int, body: bytes, kind: str = _JSON, headers: dict[str, str] | None = None
    ) -> None:
        """A whole answer."""
        self.send_head(status, kind, len(body), headers)
        self.wfile.write(body)

    def send_head(
        self, status: int, kind: str, size: int | None, headers: dict[str, str] | None = None
    ) -> None:
        """The head of an answer of `size` bytes; without a size it follows in chunks."""
        self.send_response(status)
        self.send_header("content-type", kind)
        if size is None:
            self.send_header("transfer-encoding", "chunked")
        else:
            self.send_header("content-length", str(size))
        self.send_header("request-id", self.request_id)
        self.send_header("anthropic-organization-id", _ORGANIZATION)
        self.send_header("anthropic-workspace-id", _WORKSPACE)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("connection", "close")
        self.end_headers()

    def send_file(self, path: Path) -> None:
        """Results as they are on disk."""
        try:
            file = path.open("rb")
        except FileNotFoundError:  # deleted a moment ago
            raise ApiError(404, "There are no available results.") from None
        with file:
            self.send_head(200, _JSONL, os.fstat(file.fileno()).st_size)
            shutil.copyfileobj(file, self.wfile, 1 << 20)

    # ---------------------------------------------------------------------------------- misbehaving

    def refuse(self, fault: Fault) -> bool:
        """The faults by which nothing is accepted; whether this was one."""
        if fault.kind == "drop_before":
            self.drop()
        elif fault.kind == "stall":
            self._stall()
        elif fault.kind == "reject_413":
            self.send_too_large()
        elif fault.kind.startswith("reject_"):
            self.send_api_error(fault.error())
        else:
            return False
        return True

    def spoil_answer(self, fault: Fault, batch: BatchObject) -> None:
        """The faults that follow when a batch has been accepted."""
        answer = encode(batch)
        match fault.kind:
            case "drop_after_accept":
                self.drop()
            case "reset_after_accept":
                self._reset()
            case "accept_stall":
                self._stall()
            case "accept_cut":
                self._send_half(answer)
            case "accept_bad_json":
                self.send_body(200, answer[: len(answer) // 2])
            case "accept_empty":
                self.send_body(200, b"")
            case "accept_no_id":
                known = msgspec.to_builtins(batch)
                del known["id"]
                self.send_json(known)
            case "accept_wrong_total":
                batch.request_counts.processing -= 1
                self.send_json(batch)
            case "accept_307":
                self.send_body(307, b"", headers={"location": self.path})
            case "accept_502":
                self.send_body(502, b"<html><body><h1>502 Bad Gateway</h1></body></html>\n", _HTML)
            case "accept_slow":
                self.send_head(200, _JSON, len(answer))
                self._drip(answer, fault.seconds)
            case _:  # accept_408, accept_500, accept_504, accept_529
                self.send_api_error(fault.error())

    def answer_or_spoil(self, fault: Fault | None, make: Callable[[], object]) -> None:
        """Send what `make` does and returns, or what becomes of that by a fault."""
        if fault is None:
            self.send_json(make())
            return
        match fault.kind:
            case "cut":
                self._send_half(encode(make()))
            case "drop_after":
                make()
                self.drop()
            case "empty_object":
                make()
                self.send_json({})
            case "null":
                self.send_json(None)
            case "html":
                self.send_body(200, b"<html><body><h1>Back soon</h1></body></html>\n", _HTML)
            case "null_data" | "no_cursor":
                page = msgspec.to_builtins(make())
                odd = {"data": None} if fault.kind == "null_data" else _NO_CURSOR
                self.send_json({**page, **odd})
            case "drop":
                self.drop()
            case "drip":
                answer = encode(make())
                self.send_head(200, _JSON, len(answer))
                self._drip(answer, fault.seconds)
            case "stall":
                self._stall()
            case _:
                self.send_api_error(fault.error())

    def spoil_results(self, fault: Fault, whole: bytes, other_host: str) -> None:
        """The faults of a download."""
        lines = whole.splitlines(keepends=True)
        middle = len(lines) // 2
        half = b"".join(lines[:middle])
        match fault.kind:
            case "cut_at_line":
                self._send_cut(half, len(whole), _JSONL)
            case "cut_mid_line":
                self._send_cut(half + lines[middle][:10], len(whole), _JSONL)
            case "clean_early_end":
                self.send_head(200, _JSONL, None)
                if half:
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(half), half))
                self.wfile.write(b"0\r\n\r\n")
            case "cut_gzip":
                self.send_body(200, cut_gzip(whole), _JSONL, {"content-encoding": "gzip"})
            case "stall":
                self.send_head(200, _JSONL, len(whole))
                self.wfile.write(half)
                self.wfile.flush()
                self._stall()
            case "drip":
                self.send_head(200, _JSONL, len(whole))
                self._drip(whole, fault.seconds)
            case "redirect":
                self.send_body(307, b"", headers={"location": f"{other_host}{self.path}"})
            case "status_404" | "status_429" | "status_500":
                self.send_api_error(fault.error())
            case _:
                self.send_body(200, spoiled(fault, lines), _JSONL)

    def read_some(self) -> None:
        """Take a part of the body: half of it, or the first chunk."""
        size = bodies.expected_size(self.headers)
        if size is None:
            next(bodies.pieces(self.headers, self.rfile), None)
        else:
            self.rfile.read(size // 2)

    def drop(self) -> None:
        """Close the connection without a word."""
        self.close_connection = True

    def _reset(self) -> None:
        """Close the connection rudely: the client gets a reset instead of an end."""
        self.close_connection = True
        not_lingering = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, not_lingering)
        # Taken from under the server, which would end the connection politely first.
        socket.close(self.connection.detach())

    def _stall(self) -> None:
        """Never answer; wait until the client has had enough."""
        self.close_connection = True
        self.connection.settimeout(None)
        while self.connection.recv(1 << 16):
            pass

    def _send_half(self, answer: bytes) -> None:
        self._send_cut(answer[: len(answer) // 2], len(answer), _JSON)

    def _send_cut(self, part: bytes, promised: int, kind: str) -> None:
        """Promise more than is sent."""
        self.close_connection = True
        self.send_head(200, kind, promised)
        self.wfile.write(part)

    def _drip(self, body: bytes, seconds: float) -> None:
        """Send byte by byte for so long, then the rest."""
        drops = min(len(body), int(seconds / _DRIP_EVERY))
        for position in range(drops):
            self.wfile.write(body[position : position + 1])
            self.wfile.flush()
            time.sleep(_DRIP_EVERY)
        self.wfile.write(body[drops:])
