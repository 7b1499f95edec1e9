"""OLE files, such as an .xls: streams of sectors that a table chains, in a tree of folders."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from io import BytesIO
from typing import NamedTuple

SECTORS = 1 << 22
SMALLEST = 4_096  # bytes; shorter streams are in small sectors, which are in a stream themselves
SMALL = 64
END = 0xFFFFFFFA  # this and all above stand for no sector
ENTRY = 128  # bytes of the folder
FOLDER, STREAM = 1, 2  # kinds of entries
BOOKS = ("workbook", "book")  # the stream with the sheets since 1997, and before
# The first record of a workbook of 1997 or later, and the one with the code page of its texts.
_BEGIN = re.compile(rb"\x09\x08\x10\0\0\x06\x05\0", re.DOTALL)
_CODE_PAGE, _PASSWORD, _UTF_16 = 0x42, 0x2F, 1200
_NEAR = 64  # records in which the code page is


class Entry(NamedTuple):
    place: int  # in the file
    name: str  # in lower case
    kind: int
    others: tuple[int, int]  # in the same folder
    inside: int  # one that is in this folder
    first: int  # sector
    size: int


class OleFile:
    """Raises struct.error if the file is damaged."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._size = 1 << struct.unpack_from("<H", raw, 30)[0]
        self._table = self._read_table() if self._size in (512, 4096) else []
        self._entries = [*self._read_entries()] if self._table else []
        # Files that are embedded in this one have a folder each. What is in none is its own, also
        # where a program has not tied it to the root.
        self._embedded = {
            number
            for entry in self._entries
            if entry.kind == FOLDER
            for number in self._walk(entry.inside)
        }

    def _read_table(self) -> list[int]:
        raw, size = self._raw, self._size
        sectors = [one for one in struct.unpack_from("<109I", raw, 76) if one < END]
        more = struct.unpack_from("<I", raw, 68)[0]
        while more < END and len(sectors) < SECTORS:
            *listed, more = struct.unpack_from(f"<{size // 4}I", raw, (more + 1) * size)
            sectors += [one for one in listed if one < END]
        table: list[int] = []
        for one in sectors:
            table += struct.unpack_from(f"<{size // 4}I", raw, (one + 1) * size)
        return table

    def _chain(self, first: int) -> Iterator[int]:
        """Where the sectors of a stream begin. A chain that leads back into itself ends where the
        file would."""
        for number in _linked(self._table, first, len(self._raw) // self._size):
            yield (number + 1) * self._size

    def _content(self, first: int) -> bytes:
        return b"".join(self._raw[at : at + self._size] for at in self._chain(first))

    def _read_entries(self) -> Iterator[Entry]:
        raw = self._raw
        for sector in self._chain(struct.unpack_from("<I", raw, 48)[0]):
            for place in range(sector, min(sector + self._size, len(raw) - ENTRY + 1), ENTRY):
                length, kind = struct.unpack_from("<HB", raw, place + 64)
                before, after, inside = struct.unpack_from("<3I", raw, place + 68)
                first, size = struct.unpack_from("<2I", raw, place + 116)
                name = raw[place : place + max(min(length, 64) - 2, 0)]
                text = name.decode("utf-16-le", "replace").lower()
                yield Entry(place, text, kind, (before, after), inside, first, size)

    def _walk(self, number: int) -> Iterator[int]:
        """The numbers of what is in the same folder as one entry."""
        wanted, seen = [number], set[int]()
        while wanted:
            number = wanted.pop()
            if number < len(self._entries) and number not in seen:
                seen.add(number)
                yield number
                wanted += self._entries[number].others

    @property
    def _own(self) -> list[Entry]:
        return [one for number, one in enumerate(self._entries) if number not in self._embedded]

    @property
    def names(self) -> set[str]:
        """Of what is in the file itself, and not in another file that is embedded in it; in lower
        case."""
        return {entry.name for entry in self._own if entry.kind in (FOLDER, STREAM)}

    def stream(self, name: str) -> bytes:
        """`name`: in lower case. Nothing if it is not there."""
        for entry in self._own:
            if entry.name == name and entry.kind == STREAM:
                whole = self._small(entry) if entry.size < SMALLEST else self._content(entry.first)
                return whole[: entry.size]
        return b""

    def _small(self, entry: Entry) -> bytes:
        content = self._content(self._entries[0].first)
        raw = self._content(struct.unpack_from("<I", self._raw, 60)[0])
        table = list(struct.unpack(f"<{len(raw) // 4}I", raw[: len(raw) // 4 * 4]))
        numbers = _linked(table, entry.first, len(content) // SMALL)
        return b"".join(content[at * SMALL : (at + 1) * SMALL] for at in numbers)

    @property
    def embedded_books(self) -> list[int]:
        """Where the names of workbooks are that are embedded in this file."""
        return [
            entry.place
            for number, entry in enumerate(self._entries)
            if entry.kind == STREAM and entry.name in BOOKS and number in self._embedded
        ]


def _linked(table: list[int], first: int, most: int) -> Iterator[int]:
    for _sector in range(most + 1):
        if first >= len(table):
            return
        yield first
        first = table[first]


def repaired_xls(raw: bytes, ole: OleFile) -> BytesIO | None:
    """The workbook as calamine reads it right. None: it does.

    It takes the first stream that has the name of a workbook, though it may be embedded; and texts
    for the code page that the file names, though they have been UTF-16 since 1997.
    """
    places = [
        found
        for one in _BEGIN.finditer(raw)
        if one.start() % SMALL == 0 and (found := _code_page(raw, one.start()))
    ]
    others = ole.embedded_books
    if not others and not places:
        return None
    fixed = bytearray(raw)
    for place in places:
        struct.pack_into("<H", fixed, place, _UTF_16)
    for place in others:
        fixed[place : place + 2] = b"_\0"
    return BytesIO(bytes(fixed))


def _code_page(raw: bytes, at: int) -> int:
    """Where a code page other than UTF-16 is named; 0: nowhere. `at`: where the workbook begins."""
    for _record in range(_NEAR):
        if at + 6 > len(raw):
            break
        kind, size = struct.unpack_from("<HH", raw, at)
        if kind == _PASSWORD:
            break
        if kind == _CODE_PAGE and size == 2:
            is_other = struct.unpack_from("<H", raw, at + 4)[0] != _UTF_16
            return at + 4 if is_other else 0
        at += 4 + size
    return 0
