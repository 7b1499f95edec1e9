"""The bytes of an upload, compressed or not, and what kind of file their beginning suggests."""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from .shapes import Limits, unreadable
from .utf_16 import utf_16_order, utf_32_order

HEAD = 1 << 16
BLOCK = 1 << 20
GZIP = b"\x1f\x8b"
ZIP = b"PK\x03\x04"
EMPTY_ZIP = b"PK\x05\x06"
OLE = b"\xd0\xcf\x11\xe0"  # .xls, and workbooks with a password
# Files that people mistake for tables.
NO_TABLES = (
    b"\x89PNG",
    b"%PDF",
    b"GIF8",
    b"\xff\xd8\xff",
    b"SQLite format",
    b"Rar!",
    b"7z\xbc\xaf",
)
# Web pages and other markup, which some programs save as .xls.
RTF = b"{\\rtf"
MARKUP = (b"<html", b"<!doctype", b"<table", b"<?xml", b"<workbook", RTF)
# Workbooks that are text: what each begins with, and its name.
TEXT_WORKBOOKS = (
    (re.compile(rb"ID;P[^\n]*\n.*^C;(?:[A-Z]+[0-9]*;)*[XY][0-9]+;", re.DOTALL | re.M), "SYLK"),
    (re.compile(rb'TABLE\r?\n0,1\r?\n"'), "DIF"),
    (
        re.compile(
            rb"<\?xml.*(?:schemas-microsoft-com:office:spreadsheet|opendocument:xmlns:office)",
            re.DOTALL,
        ),
        "XML",
    ),
)
# Unicode of two or four bytes: its letters have bytes that look like control characters.
WIDE_BOMS = (b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")
ESCAPE = b"\x1b$"  # of ISO-2022-JP
# An .xls of Excel 2, 3 and 4: the first record with its length.
OLD_XLS = (b"\x09\0\x04\0", b"\x09\x02\x06\0", b"\x09\x04\x06\0")
FEW = 8
# Control characters that no text has; the others occur in real files.
BINARY = bytes(set(range(32)) - set(b"\0\t\n\v\f\r\x1a\x1b"))


class _Limited(io.RawIOBase):
    """The content of a compressed file, up to a limit."""

    def __init__(self, packed: IO[bytes], limit: int) -> None:
        self._packed = packed
        self._file = gzip.GzipFile(fileobj=packed)
        self._left = limit

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        self._packed.close()
        super().close()

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._file.read(len(buffer))
        except (EOFError, OSError, zlib.error) as error:
            raise unreadable("damaged", "The compressed file is damaged or incomplete.") from error
        self._left -= len(data)
        if self._left < 0:
            raise unreadable("too_much", "The compressed file is too large when unpacked.")
        buffer[: len(data)] = data
        return len(data)


class UploadFile:
    """An upload that can be read repeatedly from the beginning."""

    def __init__(self, path: str, limits: Limits) -> None:
        """Raises Unreadable."""
        self.path = path
        self.limits = limits
        self._raw: IO[bytes] | None = None
        self.bad_lines: dict[
            str, int | None
        ] = {}  # the first one by encoding, once it was looked for
        with Path(path).open("rb") as file:
            self.is_packed = file.read(2) == GZIP
        with self.open() as stream:
            self.head = stream.read(HEAD)

    def open(self) -> IO[bytes]:
        """The unpacked bytes of the file. `position` follows the stream opened last."""
        self._raw = raw = Path(self.path).open("rb")  # noqa: SIM115 - the caller closes it
        if not self.is_packed:
            return raw
        return io.BufferedReader(_Limited(raw, self.limits.unpacked), HEAD)

    def blocks(self, overlap: int) -> Iterator[bytes]:
        """The unpacked bytes in large blocks, each after the last `overlap` bytes before it."""
        rest = b""
        with self.open() as stream:
            while block := stream.read(BLOCK):
                yield rest + block
                rest = block[-overlap:]

    @property
    def position(self) -> int:
        """How many bytes of the file on disk have been read."""
        return 0 if self._raw is None or self._raw.closed else self._raw.tell()

    @property
    def is_workbook(self) -> bool:
        return self.head.startswith((ZIP, EMPTY_ZIP, OLE))

    def require_text(self) -> None:
        """Raises Unreadable when this cannot be a text file."""
        if not self.head.strip(b" \t\r\n\0\xef\xbb\xbf"):
            raise unreadable("empty", "The file is empty.")
        if self.head.startswith(OLD_XLS):
            raise unreadable("old_workbook", "This is a workbook of Excel 4 or older.")
        odd = sum(map(self.head.count, map(_byte, BINARY))) - self.head.count(ESCAPE)
        is_wide = self.head.startswith(WIDE_BOMS)
        is_wide = is_wide or bool(utf_16_order(self.head) or utf_32_order(self.head))
        is_odd = not is_wide and odd > max(len(self.head) / 50, FEW)
        if self.head.startswith(NO_TABLES) or is_odd:
            raise unreadable("not_text", "This is not a text file.")
        beginning = self.head[:8_000].replace(b"\0", b"").removeprefix(b"\xef\xbb\xbf")
        beginning = beginning.lstrip(b" \t\r\n\xff\xfe")
        for pattern, name in TEXT_WORKBOOKS:
            if pattern.match(beginning):
                raise unreadable("old_workbook", f"This is a workbook saved as {name}.")
        if beginning[:1_000].lower().startswith(MARKUP):
            raise unreadable("markup", "This is a web page or a text document, not a table.")


def _byte(number: int) -> bytes:
    return bytes([number])
