"""What a sheet says beside the values of its cells: what is hidden, merged, and shown otherwise.

Lines count from 1, columns from 0.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time, timedelta
from typing import Any, NamedTuple

from .workbook_cells import as_text, column_index, number_text
from .workbook_dates import EPOCH, hides_a_part, moment_of, shown_date
from .workbook_formats import NumberFormat, Reading

CHUNK = 4_096  # lines
REMEMBERED = 20_000  # values of a format
_AS_STORED = (datetime, bool, date, time, timedelta)
OUT_OF_RANGE = "########"


class Merge(NamedTuple):
    top: int
    left: int
    bottom: int
    right: int


class SheetFacts:
    def __init__(self, formats: list[NumberFormat], epoch: datetime = EPOCH) -> None:
        self.hidden_rows: set[int] = set()
        self.hidden_columns: list[tuple[int, int]] = []  # the first and the last
        self.merges: list[Merge] = []
        self.formats = formats  # the first one stands for none
        self.epoch = epoch
        # Early dates, which calamine takes for times: the number in the cell, by line and column.
        self.early: dict[int, dict[int, float]] = {}
        # As the file itself says (.ods): by line and column.
        self.said: dict[int, dict[int, Reading]] = {}
        # Formats by CHUNK lines and by column: a number from `formats` for each line.
        self._marks: dict[int, dict[int, array[int]]] = {}
        self._remembered: list[dict[Any, str]] = [{} for _format in formats]

    def mark(self, line: int, column: int, format: int) -> None:
        """The cell has this one of the formats."""
        self._marks_of(line // CHUNK, column)[line % CHUNK] = format

    def mark_all(
        self, cells: Iterable[tuple[bytes, bytes, bytes]], of_style: Mapping[bytes, int]
    ) -> None:
        """`cells`: letters of the column, line and style; `of_style`: one of the formats."""
        chunk, before, place = -1, b"", 0
        columns: dict[bytes, array[int]] = {}
        for letters, line, style in cells:
            if style not in of_style:
                continue
            if line != before:
                before = line
                now, place = divmod(int(line), CHUNK)
                if now != chunk:
                    chunk, columns = now, {}
            if letters not in columns:
                columns[letters] = self._marks_of(chunk, column_index(letters))
            columns[letters][place] = of_style[style]

    def _marks_of(self, chunk: int, column: int) -> array[int]:
        columns = self._marks.setdefault(chunk, {})
        marks = columns.get(column)
        if marks is None:
            marks = columns[column] = array("H", bytes(2 * CHUNK))
        return marks

    def hides_column(self, column: int) -> bool:
        return any(first <= column <= last for first, last in self.hidden_columns)

    def marked(self, line: int) -> dict[int, array[int]]:
        """By column: a number from `formats` for each of the CHUNK lines around `line`."""
        return self._marks.get(line // CHUNK, {})

    def reading(self, number: int, value: Any) -> Reading:
        """Of a cell with this one of the formats. `value`: as calamine gave it, or `early`."""
        format = self.formats[number]
        if format.is_date and type(value) is not str:
            return self._date(format, value)
        return _plain(format, value)

    def shows_as_stored(self, number: int, value: Any) -> bool:
        """Whether a cell is certain to look as it is stored."""
        return type(value) in (int, float) and self.formats[number].shows_as_stored(value)

    def read(self, number: int, value: Any, stored: str) -> str:
        """How a cell with this one of the formats is read. `stored`: its text without it."""
        # True equals 1; dates are read as a whole, whatever is shown of them.
        if type(value) in _AS_STORED:
            return stored
        remembered = self._remembered[number]
        if value in remembered:
            return remembered[value]
        format = self.formats[number]
        if type(value) in (int, float) and not format.is_date:
            text = format.read_number(value, stored)
        else:
            text = self.reading(number, value).read
        if len(remembered) >= REMEMBERED:
            remembered.clear()
        remembered[value] = text
        return text

    def _date(self, format: NumberFormat, value: Any) -> Reading:
        if type(value) in (int, float):
            moment = moment_of(value, format, self.epoch)
            if moment is None:
                return Reading(number_text(value), OUT_OF_RANGE)
            value = moment
        text = as_text(value)
        if isinstance(value, (date, time, timedelta)):
            # 05/01/2024 means the same as 2024-05-01.
            return Reading(text, shown_date(value, format), not hides_a_part(value, format))
        return Reading(text, text)


def _plain(format: NumberFormat, value: Any) -> Reading:
    if type(value) in (int, float):
        return format.of_number(value)
    if type(value) is str:
        return format.of_text(value)
    text = as_text(value)
    return Reading(text, text)
