"""Connections to the provider: every call has a total deadline and a size limit.

The HTTP client's timeouts cover a single read or write, so a slow trickle never hits them, and it
reads replies of any length into memory. Here replies are measured after decompression.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Self

import httpx2

# Bytes of an error's body. A longer one is cut off: it is a definite no all the same.
ERROR_BYTES = 64_000
# The only encoding we request. It is decompressed in pieces of at most 1 MiB. A few bytes of
# nested encodings could keep a processor busy for hours.
ENCODING = "gzip"


class TooLarge(httpx2.DecodingError):
    """A reply has more bytes than any valid one."""


class Deadline:
    """Ends a call that takes longer than `seconds` in total by shutting its connections down."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until = 0.0  # by time.monotonic
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._sockets: list[socket.socket] = []
        self._passed = self._ended = False

    def __enter__(self) -> Self:
        self.restart()
        return self

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._ended = True
            if self._timer:
                self._timer.cancel()

    def restart(self) -> None:
        """Give the call its full time again."""
        with self._lock:
            self._until = time.monotonic() + self._seconds
            self._passed = False
            if self._timer is None:
                self._wait(self._seconds)

    def check(self) -> None:
        """Raises ReadTimeout once the time is over: on some replies, a connection that was shut
        down looks like the end."""
        if self._passed:
            raise httpx2.ReadTimeout("The answer took too long.")

    def trace(self, event: str, info: dict[str, Any]) -> None:
        """The request's `trace` extension; it sees the connections."""
        # "connection." or, by way of a proxy, "proxy.": TLS takes the connection over from the
        # socket that it begins on.
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            with self._lock:
                self._sockets.append(info["return_value"].get_extra_info("socket"))
                if self._passed:
                    self._shut()

    def _wait(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True
        self._timer.start()

    def _end(self) -> None:
        with self._lock:
            self._timer = None
            if self._ended:
                return
            if (left := self._until - time.monotonic()) > 0:
                self._wait(left)
                return
            self._passed = True
            self._shut()

    def _shut(self) -> None:
        for one in self._sockets:
            with suppress(OSError):
                # The method of an encrypted socket removes the encryption first, and data
                # written in between would go out in the clear.
                socket.socket.shutdown(one, socket.SHUT_RDWR)
        self._sockets.clear()


class LimitedClient(httpx2.Client):
    """An HTTP client whose calls end at `deadline` and whose replies have at most `most` bytes."""

    def __init__(self, deadline: Deadline, most: int, **options: Any) -> None:
        super().__init__(headers={"Accept-Encoding": ENCODING}, **options)
        self._deadline = deadline
        self._most = most

    def send(
        self,
        request: httpx2.Request,
        *,
        stream: bool = False,
        auth: Any = httpx2.USE_CLIENT_DEFAULT,
        follow_redirects: Any = httpx2.USE_CLIENT_DEFAULT,
    ) -> httpx2.Response:
        """Raises TooLarge in addition to what every client raises."""
        request.extensions["trace"] = self._deadline.trace
        response = super().send(request, stream=True, auth=auth, follow_redirects=follow_redirects)
        is_error = response.status_code != 200
        body = _LimitedBody(
            response, self._deadline, ERROR_BYTES if is_error else self._most, cut=is_error
        )
        encoded = ("content-encoding", "content-length")
        headers = [(name, value) for name, value in response.headers.multi_items()]
        limited = httpx2.Response(
            response.status_code,
            headers=[(name, value) for name, value in headers if name.lower() not in encoded],
            stream=body,
            request=request,
            extensions=response.extensions,
        )
        if not stream:
            try:
                limited.read()
            finally:
                limited.close()
        return limited


class _LimitedBody(httpx2.SyncByteStream):
    """The decoded body of a response, up to `most` bytes. Then it is cut off or raises TooLarge."""

    def __init__(
        self, response: httpx2.Response, deadline: Deadline, most: int, *, cut: bool
    ) -> None:
        self._response, self._deadline, self._most, self._cut = response, deadline, most, cut

    def __iter__(self) -> Iterator[bytes]:
        encoding = self._response.headers.get("content-encoding", "").strip().lower()
        if encoding not in ("", "identity", ENCODING):
            if self._cut:
                return
            raise httpx2.DecodingError("The answer is encoded in a way that was not asked for.")
        left = self._most
        for block in self._response.iter_bytes():
            self._deadline.check()
            if len(block) > left:
                yield block[:left]
                if self._cut:
                    return
                raise TooLarge("The answer is too large.")
            left -= len(block)
            yield block
        self._deadline.check()

    def close(self) -> None:
        self._response.close()
