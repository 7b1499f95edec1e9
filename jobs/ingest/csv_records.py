"""Records of a CSV file in one dialect. A stray quotation mark spoils its own line and no other."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple

from .delimiters import NOT_IN_TEXT, ONE_COLUMN
from .drawn_tables import cells_of
from .lined_up_columns import NOT_LINED_UP, Gap, cut_at

NEVER_CLOSED = "A quotation mark is opened in this row and never closed."
TEXT_BEHIND = "After a closing quotation mark there is more text before the next cell begins."


_ESCAPED = re.compile(r'\\([\\"])')
_BACKSLASH = re.compile(r"\\(.)", re.DOTALL)
# What databases write for characters that end a cell or a row, and \N, which NullMarks looks for.
_MEANT = {"n": "\\\n", "r": "\\\r", "t": "\\\t", "0": "", "N": "\\\\N"}


class Dialect(NamedTuple):
    delimiter: str  # ONE_COLUMN: each line is a cell
    quote: str = '"'  # "": quotation marks are text
    skips_blanks: bool = False  # those before a cell, so that it may begin with a quotation mark
    escapes: bool = False  # a quotation mark inside a cell is written \\" and not ""
    backslashes: bool = False  # they are escapes, as databases write them; there are no quotes
    wraps: bool = False  # each line is in quotation marks as a whole
    drawn: bool = False  # lines and blanks around cells are only drawn
    gaps: tuple[Gap, ...] = ()  # between columns that are lined up; the delimiter is GAPS

    def reader(self, lines: Iterable[str]) -> Any:
        """A reader of the csv module."""
        is_cut = self.delimiter != ONE_COLUMN and not self.drawn
        return csv.reader(
            lines,
            delimiter=self.delimiter if is_cut else NOT_IN_TEXT,
            quotechar=self.quote or None,
            quoting=csv.QUOTE_MINIMAL if self.quote else csv.QUOTE_NONE,
            escapechar="\\" if self.backslashes else None,
            skipinitialspace=self.skips_blanks,
            strict=not self.backslashes,
        )

    def plain(self, line: str) -> str:
        """A line of the file as other programs would write it."""
        if self.escapes:
            return _ESCAPED.sub(lambda found: '""' if found[1] == '"' else found[1], line)
        if self.backslashes:
            return _BACKSLASH.sub(lambda found: _MEANT.get(found[1], found[0]), line)
        if self.drawn:
            return cells_of(line)
        if self.wraps:
            inner = line.rstrip("\r\n")
            if len(inner) > 1 and inner[0] == inner[-1] == self.quote:
                end = line[len(inner) :]
                return inner[1:-1].replace(self.quote * 2, self.quote) + end
        return line

    @property
    def is_rewritten(self) -> bool:
        """Whether lines are not as other programs would write them."""
        return self.escapes or self.backslashes or self.wraps or self.drawn

    def bare_cells(self, line: str) -> list[str]:
        """A line cut at each delimiter, with its quotation marks. Raises csv.Error."""
        if self.gaps:
            return cut_at(line, self.gaps)
        return next(self._replace(quote="").reader([line]), [])


class Records:
    """The records of a file. `taken`: the lines of the present one, in which `kept` puts them, or
    whoever makes the lines.

    `width`: cells of a record; one with more or fewer that swallowed lines of this width is faulty.
    """

    def __init__(self, dialect: Dialect, width: int = 0) -> None:
        self.taken: list[str] = []
        self._again: deque[str] = deque()
        self._dialect = dialect
        self._width = width

    def kept(self, lines: Iterable[str]) -> Iterator[str]:
        for line in lines:
            self.taken.append(line)
            yield line

    def read(self, lines: Iterator[str]) -> Iterator[tuple[list[str], str]]:
        """Yield the cells of each record and why it is faulty: "" if it is not. Of a faulty one
        only the first line is taken, cut at each delimiter; the lines after it are read anew.
        Raises csv.Error for a cell in one line that is too long."""
        taken = self.taken
        if self._dialect.gaps:
            yield from self._lined_up(lines)
            return
        while True:
            source: Iterable[str] = chain(self._lines_again(), lines)
            if self._dialect.is_rewritten:
                source = map(self._dialect.plain, source)
            reader = self._dialect.reader(source)
            fault = ""
            try:
                for cells in reader:
                    if len(taken) > 1 and self._swallowed(cells):
                        fault = NEVER_CLOSED
                        break
                    yield cells, ""
                    taken.clear()
            except csv.Error as error:
                if len(taken) == 1 and "field larger than" in str(error):
                    raise
                is_closed = len(taken) == 1 and "expected after" in str(error)
                fault = TEXT_BEHIND if is_closed else NEVER_CLOSED
            if not fault:
                return
            self._again.extendleft(reversed(taken[1:]))
            del taken[1:]
            yield self._dialect.bare_cells(taken[0]), fault
            taken.clear()

    def _lined_up(self, lines: Iterator[str]) -> Iterator[tuple[list[str], str]]:
        width = len(self._dialect.gaps) + 1
        for line in lines:
            cells = cut_at(line, self._dialect.gaps)
            yield cells, "" if len(cells) == width or not any(cells) else NOT_LINED_UP
            self.taken.clear()

    def _lines_again(self) -> Iterator[str]:
        while self._again:
            line = self._again.popleft()
            self.taken.append(line)
            yield line

    def _swallowed(self, cells: list[str]) -> bool:
        """Whether the lines in a cell are rows of their own."""
        is_even = len(cells) == self._width
        # A cell with a line break hardly has tabs, too.
        if (
            self._dialect.backslashes
            or self._width < 2
            or (is_even and self._dialect.delimiter != "\t")
        ):
            return False
        inner = self.taken if is_even else self.taken[1:-1] or self.taken
        return all(len(self._dialect.bare_cells(line)) == self._width for line in inner)
