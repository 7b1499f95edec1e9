"""What an .xls says of number formats, of errors, of hidden rows and columns.

An .xls is a list of records (kind, length, content) in a stream of an OLE file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from .workbook_dates import EPOCH_1904
from .workbook_facts import SheetFacts
from .workbook_ole import OleFile
from .workbook_styles import BUILT_IN, LAST_DAY, Styles

BOF, EOF = 0x809, 0x0A
VERSION_5, VERSION_8 = 0x500, 0x600  # Excel 5 and 95; Excel 97 and later
FORMAT, XF, SHEET, DATE_MODE = 0x41E, 0xE0, 0x85, 0x22
ROW, COLUMNS = 0x208, 0x7D
NUMBER, RK, SEVERAL_RK, FORMULA, ERROR = 0x203, 0x27E, 0xBD, 0x06, 0x205
CELLS = frozenset((NUMBER, RK, FORMULA, ERROR, 0xFD, 0x204, 0xD6))  # the last are texts
NONE = b"\xff\xff"  # ends what a formula has instead of a number
ERRORS = {
    0x00: "#NULL!",
    0x07: "#DIV/0!",
    0x0F: "#VALUE!",
    0x17: "#REF!",
    0x1D: "#NAME?",
    0x24: "#NUM!",
    0x2A: "#N/A",
}


class XlsBook:
    """Raises struct.error if the file is damaged."""

    def __init__(self, ole: OleFile, all_dates: bool) -> None:
        self.styles = Styles(all_dates)
        self.is_known = False
        self._stream = ole.stream("workbook") or ole.stream("book")
        self._sheets: list[int] = []  # where they begin
        codes = dict(BUILT_IN)
        used: list[int] = []  # formats by style
        version = 0
        for at, kind, size in self._records(0):
            if kind == BOF:
                version = struct.unpack_from("<H", self._stream, at)[0]
                self.is_known = version in (VERSION_5, VERSION_8)
            if not self.is_known:
                return
            if kind == FORMAT:
                number, text = self._format(at, version)
                codes[number] = text
            elif kind == XF and size >= 4:
                used.append(struct.unpack_from("<H", self._stream, at + 2)[0])
            elif kind == SHEET:
                self._sheets.append(struct.unpack_from("<I", self._stream, at)[0])
            elif kind == DATE_MODE and self._stream[at]:
                self.styles.epoch = EPOCH_1904
        for style, number in enumerate(used):
            self.styles.add(str(style).encode(), codes.get(number, ""))

    def _format(self, at: int, version: int) -> tuple[int, str]:
        """Its number and its text."""
        if version == VERSION_5:
            number, length = struct.unpack_from("<HB", self._stream, at)
            return number, self._stream[at + 3 : at + 3 + length].decode("latin-1")
        number, length, wide = struct.unpack_from("<HHB", self._stream, at)
        text = self._stream[at + 5 : at + 5 + length * (1 + wide % 2)]
        return number, text.decode("utf-16-le" if wide % 2 else "latin-1", "replace")

    def look_through(
        self, index: int, facts: SheetFacts, errors: dict[int, dict[int, str]]
    ) -> None:
        """Note what the sheet at `index` says in `facts`, and the text of its errors by line and
        column."""
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
            elif kind in CELLS:
                line, column, style = struct.unpack_from("<3H", stream, at)
                if kind in (FORMULA, ERROR) and (error := _error(stream, at, kind)):
                    errors.setdefault(line + 1, {})[column] = error
                if style in formats:
                    facts.mark(line + 1, column, formats[style])
                is_number = kind in (NUMBER, RK) or (
                    kind == FORMULA and stream[at + 12 : at + 14] != NONE
                )
                if style in dates and is_number:
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


def _error(stream: bytes, at: int, kind: int) -> str:
    """The text of a cell with an error; "" for another one."""
    if kind == ERROR:
        code, is_error = stream[at + 6 : at + 8]
        return ERRORS.get(code, "#N/A") if is_error else ""
    if kind == FORMULA and stream[at + 12 : at + 14] == NONE and stream[at + 6] == 2:
        return ERRORS.get(stream[at + 8], "#N/A")
    return ""


def _number(stream: bytes, at: int, kind: int) -> float:
    if kind != RK:
        value: float = struct.unpack_from("<d", stream, at)[0]
        return value
    packed: int = struct.unpack_from("<i", stream, at)[0]
    if packed & 2:
        value = packed >> 2
    else:
        value = struct.unpack("<d", b"\0\0\0\0" + struct.pack("<i", packed & ~3))[0]
    return value / 100 if packed & 1 else value
