"""Receives request bodies: of a known length or in chunks, into memory or into a file."""

import io
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import TypeAlias

from .wire import ApiError

Headers: TypeAlias = "Message[str, str]"
_PIECE = 1 << 20


def pieces(headers: Headers, stream: io.BufferedIOBase) -> Iterator[bytes]:
    """The body piece by piece; `ConnectionError` if the client leaves before its end."""
    if "chunked" in headers.get("transfer-encoding", "").lower():
        yield from _chunks(stream)
    else:
        yield from _exactly(stream, _length(headers))


def expected_size(headers: Headers) -> int | None:
    """How long the body will be, if it says so."""
    return _length(headers) if "content-length" in headers else None


def receive(headers: Headers, stream: io.BufferedIOBase, limit: int) -> bytes | None:
    """The body; None if it is larger than `limit`. It is read to its end anyway."""
    kept = bytearray()
    size = 0
    for piece in pieces(headers, stream):
        size += len(piece)
        if size <= limit:
            kept += piece
    return bytes(kept) if size <= limit else None


def receive_into(path: Path, headers: Headers, stream: io.BufferedIOBase, limit: int) -> bool:
    """Write the body into a file; False if it is larger than `limit`. It is read to its end."""
    size = 0
    with path.open("wb", buffering=0) as file:
        for piece in pieces(headers, stream):
            size += len(piece)
            if size <= limit:
                file.write(piece)
    return size <= limit


def _length(headers: Headers) -> int:
    text = headers.get("content-length", "0")
    if not (text.isascii() and text.isdigit()):
        raise ApiError(400, "content-length: not a number")
    return int(text)


def _exactly(stream: io.BufferedIOBase, size: int) -> Iterator[bytes]:
    while size:
        piece = stream.read(min(size, _PIECE))
        if not piece:
            raise ConnectionError("the client left in the middle of its body")
        size -= len(piece)
        yield piece


def _chunks(stream: io.BufferedIOBase) -> Iterator[bytes]:
    while True:
        size = _chunk_size(stream.readline(100))
        yield from _exactly(stream, size)
        if not size:
            break
        stream.readline(3)  # the line end after the chunk
    while stream.readline(1000).strip():  # trailers, up to the blank line
        pass


def _chunk_size(line: bytes) -> int:
    try:
        return int(line.split(b";", maxsplit=1)[0], 16)
    except ValueError:
        raise ConnectionError("the client sent something that is not a chunk") from None
