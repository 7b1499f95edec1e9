"""Sends answers over one connection."""

import http.server
import os
import shutil
import sys
import time
import urllib.parse
from pathlib import Path

from .wire import ApiError, encode

_ORGANIZATION = "00000000-0000-4000-8000-000000000001"
WORKSPACE = "wrkspc_01practice"
_IDLE_SECONDS = 300
JSON = "application/json"
JSONL = "application/x-jsonl"
HTML = "text/html"


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

    def workspace(self) -> str:
        """The workspace of the key of this request."""
        return WORKSPACE

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
        self.send_body(413, page, HTML)

    def send_body(
        self, status: int, body: bytes, kind: str = JSON, headers: dict[str, str] | None = None
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
        self.send_header("anthropic-workspace-id", self.workspace())
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
            self.send_head(200, JSONL, os.fstat(file.fileno()).st_size)
            shutil.copyfileobj(file, self.wfile, 1 << 20)
