"""Records become the rows of a table: which one holds the column names, and what each row has to
be like. The same for CSV files and for workbooks."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator
from itertools import chain, islice

import msgspec

from .shapes import NO_HEADER, Choices, Finding, Limits, ParsedRow, RowCorrections, unreadable

BLANKS_LOOKED_AT = 10_000
LOOKED_AT = 20  # records at the beginning among which the column names are looked for
LONG_NAME = 80  # characters; a longer one is rather a text
LEAST_COLUMNS = 3  # of a table that may have a title above it

_LINE_BREAK = re.compile(r"\s*[\r\n]\s*")
_NUMBER = re.compile(r"-?[0-9]+([.,][0-9]+)*")
_encoder = msgspec.json.Encoder()

Record = tuple[int, list[str]]  # its line, as a spreadsheet numbers it, and its cells


class Table:
    """The rows of a table, and what was found out about it on the way."""

    def __init__(self, choices: Choices, limits: Limits, remarks: list[Finding]) -> None:
        self.choices = choices
        self.limits = limits
        self.remarks = remarks
        self.corrections: RowCorrections | None = None
        self.wrong: Container[int] = ()  # lines that cannot be sent for a reason of the reader's
        self.nameless: set[int] = set()  # places of columns without a name
        self.columns: list[str] = []
        self.header = 0  # the line of the column names; NO_HEADER
        self.blank_lines = 0

    def lines(self, records: Iterable[Record]) -> Iterator[ParsedRow]:
        """Raises Unreadable."""
        records = iter(records)
        first = _beginning(records)
        self._find_header(first)
        above = 0
        for line, cells in chain(first, records):
            if not any(map(str.strip, cells)):
                self.blank_lines += 1
            elif line < self.header:
                above += 1
            elif line == self.header:
                self._name_columns(cells, line)
                self._remark_on_what_is_above(above)
            else:
                if not self.columns and self.header > 0:
                    text = f"Line {self.header}, where the column names should be, is empty."
                    raise unreadable("above_header", text, self.header)
                if not self.columns:
                    self._name_columns([""] * len(cells), line)
                if self.corrections:
                    cells = self._corrected(self.corrections, line, cells)
                yield self._line(line, cells, fill=self.choices.fill)
        if not self.columns:
            if self.choices.header > 0:
                text = f"The file has no column names in line {self.header}."
                raise unreadable("above_header", text)
            raise unreadable("empty", "The file has no column names and no rows.")

    def _find_header(self, first: list[Record]) -> None:
        """The line of the column names: as chosen, or the first one with cells in it. A title
        above them stands alone in its line, and the table below is wide."""
        if self.choices.header:
            self.header = self.choices.header
            return
        filled = [(line, sum(1 for cell in cells if cell.strip())) for line, cells in first]
        filled = [(line, count) for line, count in filled if count]
        if not filled:
            return
        widest = max(count for _line, count in filled)
        wide = sum(1 for _line, count in filled if count > 1)
        titles = widest >= LEAST_COLUMNS and wide > len(filled) / 2
        self.header = next((line for line, count in filled if count > 1 or not titles), 0)

    def _remark_on_what_is_above(self, above: int) -> None:
        if above:
            lines = "line" if above == 1 else f"{above} lines"
            text = f"The column names were found in line {self.header}. The {lines} above it "
            text += "was left out." if above == 1 else "were left out."
            self.remarks.append(Finding("above_header", text, self.header))

    def _name_columns(self, cells: list[str], line: int) -> None:
        # A name that is wrapped in its cell is one name.
        names = [_LINE_BREAK.sub(" ", cell.strip()) for cell in cells]
        most = self.limits.columns
        if len(names) > most:
            # A spreadsheet writes out columns that are empty to the end.
            while any(names) and not names[-1]:
                names.pop()
        if len(names) > most:
            text = f"The file has {len(names):,} columns; at most {most} are possible."
            raise unreadable("too_many_columns", text, line)
        for index, name in enumerate(names):
            if not name:
                names[index] = f"column_{index + 1}"
                self.nameless.add(index)
                if self.header != NO_HEADER:
                    text = f"Column {index + 1} has no name and is called column_{index + 1}."
                    self.remarks.append(Finding("unnamed", text, line))
            elif problem := self.problem_of_name(name):
                raise unreadable("name", f"Column {index + 1}: {problem}", line)
        if twice := sorted({name for name in names if names.count(name) > 1}):
            both = ", ".join(f"“{name}”" for name in twice)
            raise unreadable("same_name", f"Two columns have the same name: {both}.", line)
        self._remark_on_odd_names(names, line)
        self.columns = names
        if self.corrections:
            self.corrections.bind(names)

    def _remark_on_odd_names(self, names: list[str], line: int) -> None:
        """Names that were found, and look more like what is in a row."""
        odd = [name for name in names if _NUMBER.fullmatch(name) or len(name) > LONG_NAME]
        if odd and not self.choices.header:
            text = f"The column names were taken from line {line}, where one is “{odd[0][:40]}”."
            self.remarks.append(Finding("odd_names", text, line))

    def problem_of_name(self, name: str) -> str:
        """Why a column cannot have this name; "" when it can."""
        if len(name) > self.limits.name:
            return (
                f"its name has {len(name):,} characters; at most {self.limits.name} are possible."
            )
        if "{" in name or "}" in name:
            return f"its name “{name}” has a brace in it, which a prompt could not refer to."
        return ""

    def _corrected(self, corrections: RowCorrections, line: int, cells: list[str]) -> list[str]:
        if line in self.wrong or self._line(line, cells, fill=False).problem:
            return corrections.cells(line, cells)
        corrections.not_needed(line)
        return cells

    def _line(self, line: int, cells: list[str], *, fill: bool) -> ParsedRow:
        return line_of(line, cells, len(self.columns), self.limits, fill=fill)


def line_of(line: int, cells: list[str], expected: int, limits: Limits, *, fill: bool) -> ParsedRow:
    """A row of a table with `expected` columns. `fill`: missing cells are filled with nothing."""
    problem = None
    if len(cells) < expected:
        if fill:
            cells = cells + [""] * (expected - len(cells))
        else:
            text = f"This row has {_cells(len(cells))}, and there are {expected} columns."
            problem = Finding("few_cells", text, line)
    elif len(cells) > expected:
        if any(map(str.strip, cells[expected:])):
            text = f"This row has {_cells(len(cells))}, and there are {expected} columns."
            problem = Finding("many_cells", text, line)
        else:
            cells = cells[:expected]
    sizes = [len(cell) if cell.isascii() else len(cell.encode()) for cell in cells]
    if max(sizes) > limits.cell:
        text = f"A cell has {max(sizes):,} bytes; the limit is {limits.cell:,}."
        problem = Finding("long_cell", text, line)
    return ParsedRow(line, _encoder.encode(cells).decode(), sum(sizes), problem, sizes)


def _beginning(records: Iterator[Record]) -> list[Record]:
    """The first records with something in them, and the blank ones before and between them."""
    found: list[Record] = []
    filled = 0
    for record in islice(records, BLANKS_LOOKED_AT):
        found.append(record)
        filled += any(map(str.strip, record[1]))
        if filled == LOOKED_AT:
            break
    return found


def _cells(count: int) -> str:
    return "1 cell" if count == 1 else f"{count} cells"
