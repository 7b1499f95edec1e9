"""What a line of a table looks like: how much of it is filled, and with texts or with values."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

Record = tuple[int, list[str]]  # its line, as a spreadsheet numbers it, and its cells

ENOUGH = 0.25  # of the lines, to be a width of the table
SAME = 0.8  # of the cells of a column, to be what the column holds

# A number, an amount, a share, a date, a time or a truth value.
_VALUE = re.compile(
    r"[-+(]?\s?[$€£¥]?\s?[0-9][0-9\s.,:/'%()+TZEeAPMapm€$£¥-]*|true|false", re.IGNORECASE
)
_RULE = re.compile(r"[-=_*+~]{2,}")  # drawn with characters


def is_value(cell: str) -> bool:
    return _VALUE.fullmatch(cell.strip()) is not None


def is_rule(cells: Sequence[str]) -> bool:
    """Whether it only draws a line, as programs do below their column names."""
    filled = [cell.strip() for cell in cells if cell.strip()]
    return bool(filled) and all(map(_RULE.fullmatch, filled))


class Look:
    """A line, looked at closely."""

    def __init__(self, record: Record, *, after_blank: bool) -> None:
        self.line, self.cells = record
        self.after_blank = after_blank
        self.filled = {at for at, cell in enumerate(self.cells) if cell.strip()}
        self.count = len(self.filled)

    def cell(self, at: int) -> str:
        return self.cells[at].strip() if at < len(self.cells) else ""

    @property
    def first(self) -> str:
        return self.cell(min(self.filled))

    @property
    def is_text(self) -> bool:
        """Most of its cells are words."""
        return sum(is_value(self.cell(at)) for at in self.filled) * 2 < self.count

    @property
    def is_keyed(self) -> bool:
        """ "Report:", "Sales"; or both in one cell."""
        return self.count <= 2 and self.first.endswith((":", "："))  # noqa: RUF001 - a Chinese colon


def looks(records: Sequence[Record]) -> list[Look]:
    """At the lines that are not blank."""
    found: list[Look] = []
    blank = False
    for record in records:
        if any(map(str.strip, record[1])):
            gap = blank or bool(found and record[0] > found[-1].line + 1)
            found.append(Look(record, after_blank=gap))
            blank = False
        else:
            blank = True
    return found


def usual_width(lines: Sequence[Look]) -> int:
    """How many cells of a row are filled: what most lines have, and rather wide ones."""
    widths = Counter(line.count for line in lines)
    least = max(2, ENOUGH * len(lines))
    often = [width for width, count in widths.items() if count >= least]
    if often:
        return max(often, key=lambda width: (widths[width] * (width - 1), width))
    return max(widths, key=lambda width: (widths[width], width))


def table_places(lines: Sequence[Look], width: int) -> set[int]:
    """The columns that are filled in at least half of the rows."""
    rows = [line for line in lines if line.count >= width]
    places = Counter(at for line in rows for at in line.filled)
    return {at for at, count in places.items() if count * 2 >= len(rows)}


def contrast(line: Look, below: Sequence[Look], places: set[int]) -> int:
    """In how many columns `line` has a word where the lines below it have values."""
    return sum(
        at in line.filled and not is_value(line.cell(at))
        for at in places
        if holds_values(below, at)
    )


def holds_values(lines: Sequence[Look], at: int) -> bool:
    cells = [line.cell(at) for line in lines if at in line.filled]
    return bool(cells) and sum(map(is_value, cells)) >= SAME * len(cells)
