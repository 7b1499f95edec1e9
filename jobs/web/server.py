"""The web server: gunicorn's threads, made safe from clients that are slow.

In gunicorn, a thread waits for the rest of a request, so sixteen connections that send a byte now
and then stop a whole site. Here a thread gets a request only when its head and a body of up to
SMALL_BODY bytes have arrived; until then the loop of the process waits for all of them. A larger
body is read by its thread, which only happens for signed-in people (request_limits.py), at
least at PACE. A request of a stranger ends after STRANGER_SECONDS, however slowly its answer is
taken. An answer to a signed-in person is taken at SLOWEST_READER or its thread gives it up. No
connection is closed in a way that makes the loop wait.
"""

from __future__ import annotations

import errno
import os
import re
import select
import selectors
import socket
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any

from gunicorn import http
from gunicorn.glogging import Logger
from gunicorn.workers.gthread import TConn, ThreadWorker

from ..rules.json_log import JsonFormatter
from ..rules.plain_text import LineFormatter

SMALL_BODY = 64 * 1024
LARGEST_HEAD = 64 * 1024
RECEIVE_SECONDS = 20.0  # for the head and a small body together
STRANGER_SECONDS = 60.0  # for a request of a stranger in a thread
# For a client to read the answer to a body that was not read: a stranger, a signed-in person.
LINGER_SECONDS, PATIENT_SECONDS = 2.0, 30.0
STOP_SECONDS = 2.0  # for connections without a request when the process stops
MOST_ARRIVING = 400  # connections whose request is on its way; then the oldest has to go
# A large body brings this many bytes every WINDOW seconds of waiting, but not in the first of them.
PACE, WINDOW = 64 * 1024, 30.0
# As many bytes of an answer are taken. Less than PACE: a poor line still gets its file.
SLOWEST_READER = 16 * 1024
SENT_AT_ONCE = 64 * 1024

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,15})[ \t]*(?=\r\n)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
_EXPECTS = re.compile(rb"\r\nexpect:[ \t]*100-continue", re.IGNORECASE)
_here = threading.local()


class SlowClient(TimeoutError):
    """A body arrives too slowly."""


def trust_client() -> None:
    """The request that this thread answers comes from a signed-in person, who may take longer."""
    if exchange := getattr(_here, "exchange", None):
        exchange.is_trusted = True


def was_too_slow() -> bool:
    """Whether the body of the request that this thread answers arrived too slowly."""
    exchange = getattr(_here, "exchange", None)
    return exchange is not None and exchange.body.is_too_slow


class SlowReader(BrokenPipeError):
    """An answer is taken too slowly. To gunicorn, the client has gone."""


class Pace:
    """Whether a client keeps up with `least` bytes a second. Only waiting for it counts: how long
    the site takes is not the client's."""

    def __init__(self, sock: socket.socket, event: int, least: int) -> None:
        self._sock, self._event, self._least = sock, event, least
        self._waited, self._moved, self._is_first = 0.0, 0, True

    def moved(self, count: int) -> None:
        self._moved += count

    def wait(self) -> bool:
        """Until the client is ready; False if it was too slow."""
        while True:
            began = time.monotonic()
            poll = select.poll()
            poll.register(self._sock, self._event)
            is_ready = bool(poll.poll(max(WINDOW - self._waited, 0) * 1000))
            self._waited += time.monotonic() - began
            if self._waited >= WINDOW:
                if self._moved < (1 if self._is_first else self._least * WINDOW):
                    return False
                self._waited, self._moved, self._is_first = 0.0, 0, False
            if is_ready:
                return True


class Body:
    """What gunicorn's parser reads from after the bytes that had arrived before."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._pace = Pace(sock, select.POLLIN, PACE)
        self.is_too_slow = False

    def recv(self, size: int) -> bytes:
        """Raises SlowClient."""
        if not self._pace.wait():
            self.is_too_slow = True
            raise SlowClient("The client sends too slowly.")
        data = self._sock.recv(size)
        self._pace.moved(len(data))
        return data


class PacedSocket(socket.socket):
    """What gunicorn writes answers to."""

    def begin(self) -> None:
        """The next answer begins."""
        self._pace = Pace(self, select.POLLOUT, SLOWEST_READER)

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Raises SlowReader."""
        rest = memoryview(data).cast("B")
        while rest:
            if not self._pace.wait():
                raise SlowReader(errno.EPIPE, "The client takes its answer too slowly.")
            with suppress(BlockingIOError):
                sent = self.send(rest[:SENT_AT_ONCE], flags | socket.MSG_DONTWAIT)
                self._pace.moved(sent)
                rest = rest[sent:]

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """Raises SlowReader."""
        file.seek(offset)
        sent = 0
        while count is None or sent < count:
            size = SENT_AT_ONCE if count is None else min(count - sent, SENT_AT_ONCE)
            if not (data := file.read(size)):
                break
            self.sendall(data)
            sent += len(data)
        return sent


class Connection(TConn):  # type: ignore[misc]  # gunicorn has no types
    """A connection, and what has arrived of its next request."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.sock: PacedSocket
        self.arrived = bytearray()
        self.due = 0.0  # when its request has to be here, or when it is closed
        self.began = 0.0  # when a thread got the request
        self.is_whole = self.is_trusted = self.was_told_to_go_on = False
        self.data_ready = True  # gunicorn's thread need not wait for the first byte
        self.body = Body(self.sock)

    def init(self) -> None:
        """Called by gunicorn in the thread, before each request."""
        self.sock.begin()
        if self.parser is None:  # type: ignore[has-type]  # gunicorn has no types
            self.initialized = True
            self.parser = http.get_parser(self.cfg, self.body, self.client)
        self.parser.unreader.unread(bytes(self.arrived))
        self.arrived.clear()

    def has_request(self) -> bool:
        """Whether a thread can start with it. What is malformed can, too: gunicorn refuses it."""
        end = self.arrived.find(b"\r\n\r\n")
        if end < 0:
            return len(self.arrived) > LARGEST_HEAD
        head = bytes(self.arrived[: end + 2])
        lengths = [int(found) for found in _LENGTH.findall(head)]
        size = max(lengths, default=0)
        is_clear = len(lengths) <= 1 and not _CHUNKED.search(head)
        self.is_whole = is_clear and size <= SMALL_BODY
        if not self.is_whole or len(self.arrived) >= end + 4 + size:
            return True
        if _EXPECTS.search(head) and not self.was_told_to_go_on:
            self.was_told_to_go_on = True
            with suppress(OSError):
                self.sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        return False


class Log(Logger):  # type: ignore[misc]  # gunicorn has no types
    """Gunicorn's messages quote requests; here as everywhere, one record is one line."""

    def _set_handler(self, log: Any, output: Any, fmt: Any, stream: Any = None) -> None:
        # It is made before the settings are read.
        as_json = os.environ.get("LOG_FORMAT", "").strip().lower() == "json"
        formatter = JsonFormatter() if as_json else LineFormatter(fmt._fmt, fmt.datefmt)
        super()._set_handler(log, output, formatter, stream)


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # In the order in which they came.
        self.arriving: dict[Connection, None] = {}
        self.lingering: dict[Connection, None] = {}
        self.in_threads: dict[Connection, None] = {}

    def load_wsgi(self) -> None:
        """Called by gunicorn in the process that answers."""
        super().load_wsgi()
        from ..models import versions  # there are no models before

        versions.begin()

    # ------------------------------------------------------------------------------ in the loop

    def accept(self, listener: socket.socket) -> None:
        try:
            sock, address = listener.accept()
        except OSError as error:
            # Too many open files among others: the loop goes on, and room comes back.
            self.log.debug("Cannot accept a connection: %s", error)
            return
        self.nr_conns += 1
        if len(self.arriving) >= MOST_ARRIVING:
            self.drop(next(iter(self.arriving)), self.arriving)
        paced = PacedSocket(fileno=sock.detach())
        self.receive(Connection(self.cfg, paced, address, listener.getsockname()))

    def receive(self, conn: Connection, first: bytes = b"") -> None:
        """Wait for the next request of a connection, of which `first` is here."""
        conn.arrived = bytearray(first)
        conn.is_whole = conn.is_trusted = conn.was_told_to_go_on = False
        conn.due = time.monotonic() + RECEIVE_SECONDS
        conn.sock.setblocking(False)
        if first and conn.has_request():
            self.enqueue_req(conn)
            return
        self.arriving[conn] = None
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self.on_arrival, conn))

    def on_arrival(self, conn: Connection, _sock: object) -> None:
        if conn not in self.arriving:
            return  # it was dropped a moment ago
        try:
            data = conn.sock.recv(SMALL_BODY)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.drop(conn, self.arriving)
            return
        conn.arrived += data
        if conn.has_request():
            self.poller.unregister(conn.sock)
            del self.arriving[conn]
            self.enqueue_req(conn)

    def enqueue_req(self, conn: Connection) -> None:
        conn.began = time.monotonic()
        self.in_threads[conn] = None
        super().enqueue_req(conn)

    def on_client_socket_readable(self, conn: Connection, _sock: object) -> None:
        """The next request on a connection that was kept."""
        self.poller.unregister(conn.sock)
        self.keepalived_conns.remove(conn)
        self.receive(conn)

    def finish_request(self, conn: Connection, future: Future[Any]) -> None:
        self.in_threads.pop(conn, None)
        if future.cancelled() or future.exception() or not future.result():
            self.linger(conn)
        elif rest := conn.parser.unreader.take_buffered():
            self.receive(conn, rest)
        else:
            super().finish_request(conn, future)

    def linger(self, conn: Connection) -> None:
        """Close a connection once its client had time to read the answer: if bytes of it are unread
        then, the client would lose what it has not read yet."""
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.drop(conn)
            return
        seconds = PATIENT_SECONDS if conn.is_trusted and not conn.is_whole else LINGER_SECONDS
        conn.due = time.monotonic() + seconds
        self.lingering[conn] = None
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self.on_rest, conn))

    def on_rest(self, conn: Connection, _sock: object) -> None:
        if conn not in self.lingering:
            return
        try:
            if conn.sock.recv(SMALL_BODY):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self.drop(conn, self.lingering)

    def drop(self, conn: Connection, among: dict[Connection, None] | None = None) -> None:
        if among is not None:
            del among[conn]
            with suppress(OSError, KeyError, ValueError):
                self.poller.unregister(conn.sock)
        self.nr_conns -= 1
        conn.close()

    def murder_pending(self) -> None:
        """Called by gunicorn's loop at least once a second."""
        super().murder_pending()
        now = time.monotonic()
        for conn in [conn for conn in self.lingering if conn.due <= now]:
            self.drop(conn, self.lingering)
        for conn in list(self.arriving):
            if not self.alive and not conn.arrived:
                conn.due = min(conn.due, now + STOP_SECONDS)
            if conn.due <= now:
                self.refuse_late(conn)
        for conn in list(self.in_threads):
            if not conn.is_trusted and now - conn.began > STRANGER_SECONDS:
                with suppress(OSError):
                    conn.sock.shutdown(socket.SHUT_RDWR)

    def refuse_late(self, conn: Connection) -> None:
        """Close a connection whose request did not arrive in time."""
        if not conn.arrived:
            self.drop(conn, self.arriving)
            return
        del self.arriving[conn]
        self.poller.unregister(conn.sock)
        with suppress(OSError):
            conn.sock.send(LATE)
        self.linger(conn)

    # ----------------------------------------------------------------------------- in a thread

    def handle_request(self, req: Any, conn: Connection) -> Any:
        if not conn.is_whole:
            req.force_close()  # what is left of the body would look like the next request
        _here.exchange = conn
        try:
            return super().handle_request(req, conn)
        finally:
            _here.exchange = None


def _answer(status: str, words: str) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\n"
    return f"{head}Content-Length: {len(words)}\r\nConnection: close\r\n\r\n{words}".encode()


LATE = _answer("408 Request Timeout", "Your request took too long to arrive. Try again.\n")
