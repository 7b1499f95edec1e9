"""What a sheet says beside the values of its cells: what is hidden, merged, and shown otherwise.

Lines count from 1, columns from 0.
"""

from __future__ import annotations

from array import array
from datetime import date, datetime, time, timedelta
from typing import Any, NamedTuple

from .workbook_cells import as_text, number_text
from .workbook_dates import EPOCH, hides_a_part, moment_of, shown_date
from .workbook_formats import NumberFormat, Reading

CHUNK = 4_096  # lines
REMEMBERED = 20_000  # values of a format
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
        columns = self._marks.setdefault(line // CHUNK, {})
        marks = columns.get(column)
        if marks is None:
            marks = columns[column] = array("H", bytes(2 * CHUNK))
        marks[line % CHUNK] = format

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

    def read(self, number: int, value: Any) -> str:
        """How a cell with this one of the formats is read."""
        remembered = self._remembered[number]
        # True equals 1.
        if type(value) is bool:
            return as_text(value)
        if (text := remembered.get(value)) is not None:
            return text
        format = self.formats[number]
        if type(value) in (int, float) and not format.is_date:
            text = format.read_number(value)
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
