"""What an .xls of 1997 or later says of number formats, of hidden rows and columns.

An .xls is a list of records (kind, length, content) in a stream of an OLE file, whose sectors are
chained by a table.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import islice

from .workbook_dates import EPOCH_1904
from .workbook_facts import SheetFacts
from .workbook_styles import BUILT_IN, LAST_DAY, Styles

SECTORS = 1 << 22
SMALLEST = 4_096  # bytes; a shorter stream is elsewhere
_END = 0xFFFFFFFA  # this and all above stand for no sector
BOF, EOF = 0x809, 0x0A
VERSION_8 = 0x600
FORMAT, XF, SHEET, DATE_MODE = 0x41E, 0xE0, 0x85, 0x22
ROW, COLUMNS = 0x208, 0x7D
NUMBER, RK, SEVERAL_RK, FORMULA, TEXT = 0x203, 0x27E, 0xBD, 0x06, 0xFD


class XlsBook:
    """Raises struct.error if the file is damaged. Of an older one nothing is known."""

    def __init__(self, raw: bytes, all_dates: bool) -> None:
        self.styles = Styles(all_dates)
        self.is_known = False
        self._stream = _stream(raw)
        self._sheets: list[int] = []  # where they begin
        codes = dict(BUILT_IN)
        used: list[int] = []  # formats by style
        for at, kind, size in self._records(0):
            if kind == BOF:
                self.is_known = struct.unpack_from("<H", self._stream, at)[0] == VERSION_8
            if not self.is_known:
                return
            if kind == FORMAT:
                number, length, wide = struct.unpack_from("<HHB", self._stream, at)
                text = self._stream[at + 5 : at + 5 + length * (1 + wide % 2)]
                codes[number] = text.decode("utf-16-le" if wide % 2 else "latin-1", "replace")
            elif kind == XF and size >= 4:
                used.append(struct.unpack_from("<H", self._stream, at + 2)[0])
            elif kind == SHEET:
                self._sheets.append(struct.unpack_from("<I", self._stream, at)[0])
            elif kind == DATE_MODE and self._stream[at]:
                self.styles.epoch = EPOCH_1904
        for style, number in enumerate(used):
            self.styles.add(str(style).encode(), codes.get(number, ""))

    def look_through(self, index: int, facts: SheetFacts) -> None:
        """Note what the sheet at `index` says in `facts`."""
        if index >= len(self._sheets):
            return
        stream, wanted = self._stream, self.styles.looked_for
        formats = {int(style): self.styles.of_style[style] for style in wanted}
        dates = {int(style): self.styles.of_style.get(style, 0) for style in self.styles.dates}
        for at, kind, size in self._records(self._sheets[index]):
            if kind == ROW and size >= 16:
                line, flags = struct.unpack_from("<H10xH", stream, at)
                if flags & 0x20:
                    facts.hidden_rows.add(line + 1)
            elif kind == COLUMNS and size >= 10:
                first, last, width, _style, flags = struct.unpack_from("<5H", stream, at)
                if flags & 1 or not width:
                    facts.hidden_columns.append((first, last))
            elif kind in (NUMBER, RK, FORMULA, TEXT):
                line, column, style = struct.unpack_from("<3H", stream, at)
                if style in formats:
                    facts.mark(line + 1, column, formats[style])
                if style in dates and kind in (NUMBER, RK):
                    value = _number(stream, at + 6, kind)
                    self._note_date(facts, line + 1, column, dates[style], value)
            elif kind == SEVERAL_RK:
                line, column = struct.unpack_from("<HH", stream, at)
                for place in range((size - 6) // 6):
                    style = struct.unpack_from("<H", stream, at + 4 + place * 6)[0]
                    if style in formats:
                        facts.mark(line + 1, column + place, formats[style])
                    if style in dates:
                        value = _number(stream, at + 6 + place * 6, RK)
                        self._note_date(facts, line + 1, column + place, dates[style], value)

    def _note_date(
        self, facts: SheetFacts, line: int, column: int, format: int, value: float
    ) -> None:
        shown = facts.formats[format]
        if value > LAST_DAY:
            facts.mark(line, column, format)
        elif value < 0 or (value < 1 and shown.has_day and not shown.has_time):
            facts.mark(line, column, format)
            facts.early.setdefault(line, {})[column] = value

    def _records(self, at: int) -> Iterator[tuple[int, int, int]]:
        """Where the content of each record is, its kind and size, up to the end of this part; those
        of charts within are left out."""
        depth = 0
        while at + 4 <= len(self._stream):
            kind, size = struct.unpack_from("<HH", self._stream, at)
            at += 4
            depth += (kind == BOF) - (kind == EOF)
            if depth <= 0:
                return
            if depth == 1 and at + size <= len(self._stream):
                yield at, kind, size
            at += size


def _number(stream: bytes, at: int, kind: int) -> float:
    if kind == NUMBER:
        value: float = struct.unpack_from("<d", stream, at)[0]
        return value
    packed: int = struct.unpack_from("<i", stream, at)[0]
    if packed & 2:
        value = packed >> 2
    else:
        value = struct.unpack("<d", b"\0\0\0\0" + struct.pack("<i", packed & ~3))[0]
    return value / 100 if packed & 1 else value


def _stream(raw: bytes) -> bytes:
    """The stream with the workbook; nothing if it is in an unusual place."""
    size = 1 << struct.unpack_from("<H", raw, 30)[0]
    if size not in (512, 4096):
        return b""
    sectors = [one for one in struct.unpack_from("<109I", raw, 76) if one < _END]
    more = struct.unpack_from("<I", raw, 68)[0]
    while more < _END and len(sectors) < SECTORS:
        *listed, more = struct.unpack_from(f"<{size // 4}I", raw, (more + 1) * size)
        sectors += [one for one in listed if one < _END]
    table: list[int] = []
    for one in sectors:
        table += struct.unpack_from(f"<{size // 4}I", raw, (one + 1) * size)

    def chain(first: int) -> Iterator[bytes]:
        while first < len(table):
            yield raw[(first + 1) * size : (first + 2) * size]
            first = table[first]

    # A chain that leads back into itself ends where the file would.
    most = len(raw) // size + 1
    folder = b"".join(islice(chain(struct.unpack_from("<I", raw, 48)[0]), most))
    for at in range(0, len(folder) - 127, 128):
        length = struct.unpack_from("<H", folder, at + 64)[0]
        name = folder[at : at + max(length - 2, 0)].decode("utf-16-le", "replace")
        if name == "Workbook":
            first, bytes_in_it = struct.unpack_from("<II", folder, at + 116)
            if bytes_in_it < SMALLEST:
                return b""
            return b"".join(islice(chain(first), most))[:bytes_in_it]
    return b""
