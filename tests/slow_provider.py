"""A provider that answers as no real one should: without end, drop by drop, or not at all."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Self

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
Answer = Callable[[str], Iterator[bytes]]


class SlowProvider:
    """Sends what `answer(request line)` gives, part after part, and then closes the connection."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.stopped = threading.Event()
        self._lock = threading.Lock()
        self.asked: Counter[str] = Counter()  # "GET /v1/...": how often
        self.open: Counter[str] = Counter()  # how many of them are not answered to their end
        self.left: Counter[str] = Counter()  # ended by the other side
        self.sent = 0  # bytes

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.stopped.set()
        self._listener.close()

    def drip(self, begin: bytes, drop: bytes = b" ", pause: float = 0.05) -> Iterator[bytes]:
        """`begin`, and then a drop every now and then, for ever."""
        yield begin
        while not self.stopped.wait(pause):
            yield drop

    def hang(self) -> Iterator[bytes]:
        self.stopped.wait()
        yield b""

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(ValueError):
            line = self._read_request(connection)
            self._count(self.asked, line)
            self._count(self.open, line)
            try:
                for part in self._answer(line):
                    connection.sendall(part)
                    self.sent += len(part)
            except OSError:
                self._count(self.left, line)
            finally:
                self._count(self.open, line, -1)

    def _count(self, where: Counter[str], line: str, by: int = 1) -> None:
        with self._lock:
            where[line] += by

    @staticmethod
    def _read_request(connection: socket.socket) -> str:
        """Read a whole request; its method and path without the query."""
        with connection.makefile("rb") as file:
            method, path, _ = file.readline().decode().split(" ", 2)
            length = 0
            while (header := file.readline()).strip():
                name, _, value = header.decode().partition(":")
                if name.lower() == "content-length":
                    length = int(value)
            file.read(length)
        return f"{method} {path.partition('?')[0]}"


def count(where: Counter[str], *words: str) -> int:
    """How often there is a request in `where` that has all of `words`."""
    return sum(number for line, number in where.items() if all(word in line for word in words))
