"""Workbooks: .xlsx, .xlsm, .xlsb, .xls and .ods, read by calamine, which holds a sheet in memory.

A cell becomes this text, whatever its format shows:

- text is as it is, `007` too (a number 7 that only its format shows as 007 is `7`)
- a whole number has no point: `7`; another one has the fewest digits that mean it, at most 15, as
  in Excel: 0.1 + 0.2 is `0.3`, 50 % is `0.5`; below 0.000001 and from 1E21 on it is `1.5E-7`
- a date is `2024-05-01`, with a time `2024-05-01 13:45:00`, a time alone `13:45:00`, and a duration
  `30:05:00`; parts of a second, where there are any, are `13:45:00.500`
- `TRUE` and `FALSE`; an error is its text, such as `#N/A` (.xlsb: empty)
- a formula is the result that was saved with it. Without one (.xlsx only; elsewhere it is an empty
  cell) its row is left out
- of merged cells only the first one has the text

Row 1 is line 1, wherever the table begins. Empty columns left of everything are not columns, empty
rows below everything are not rows.

calamine does not tell of errors and of formulas without a result, and it fills the rectangle
between a sheet's first and last cell, however far apart they are. So the XML of a sheet is looked
through before: see workbook_sheet.py.
"""

from __future__ import annotations

import json
import math
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any

from msgspec.structs import replace
from python_calamine import (
    CalamineSheet,
    CalamineWorkbook,
    SheetTypeEnum,
    SheetVisibleEnum,
)

from . import workbook_ods
from .row_shapes import Record, looks
from .shapes import (
    FILL,
    Choices,
    Finding,
    Option,
    ParsedRow,
    RowCorrections,
    Unreadable,
    unreadable,
)
from .sheet_choice import SMALL, SheetLook, best_sheet, is_sure
from .table_rows import Table
from .upload_file import UploadFile
from .workbook_cells import LONG, as_text, column_index, column_letters, duration_of, number_text
from .workbook_facts import Merge
from .workbook_files import (
    BLOCK,
    library_errors,
    part_blocks,
)
from .workbook_package import WorkbookPackage, cells_in_words, quoted
from .workbook_sheet import SheetScan, has_cells
from .workbook_shown import ShownSheet
from .workbook_styles import SheetStyles

NO_RESULT = "="  # stands for a formula without a result, in a row with nothing else
NAMED = 20  # errors in one remark
SHEET_LINES = 100  # of a sheet that are looked at to choose one
SHEETS_OFFERED = 6  # as buttons
SHEETS_LOOKED_AT = 100  # to find those that are empty
QUICK = 50_000_000  # bytes of the XML of a sheet that is only looked at


class WorkbookReader:
    """Iterates the rows of one sheet below the column names. Raises Unreadable, also while it is
    made. `sheets`: the visible ones, and the one that is read."""

    kind = "table"
    format = "Excel"
    sheets: Sequence[str] = ()
    corrections: RowCorrections | None = None

    def __init__(self, file: UploadFile, choices: Choices) -> None:
        self.remarks: list[Finding] = []
        self._limits = file.limits
        self._choices = choices
        self._table = Table(choices, file.limits, self.remarks)
        self._long: list[int] = []  # lines of numbers with more digits than Excel keeps
        self._nul: dict[int, str] = {}  # what is said of a line with such a character
        self._package = WorkbookPackage(file, choices)
        self.format = self._package.format
        self.remarks += self._package.remarks
        with library_errors(), self._package.open() as stream:
            # Told the path, calamine would go by the name of the file.
            self._read_sheet(CalamineWorkbook.from_filelike(stream))

    @property
    def position(self) -> int:
        return self._package.size

    @property
    def understood(self) -> Choices:
        chosen = self._choices
        return replace(
            self._table.understood,
            sheet=self._sheet.name,
            hidden=chosen.hidden,
            merged=chosen.merged,
            as_shown=chosen.as_shown,
            as_stored=chosen.as_stored,
        )

    @property
    def columns(self) -> list[str]:
        return self._table.columns

    @property
    def nameless(self) -> set[int]:
        return self._table.nameless

    @property
    def blank_lines(self) -> int:
        return self._table.blank_lines

    def __iter__(self) -> Iterator[ParsedRow]:
        without = self._sheet.without_value
        self._look_ahead()
        rows = last = 0
        self._table.corrections, self._table.wrong = self.corrections, without
        self._table.spans = self._shown.spans
        for line in self._table.lines(self._records()):
            if letters := without.get(self._table.header):
                cell = f"{letters[0]}{self._table.header}"
                text = f"The column name in {cell} is a formula without a result."
                raise unreadable("no_value", text, self._table.header)
            if (letters := without.get(line.line)) and (empty := self._empty(line, letters)):
                text = f"The formula in {empty}{line.line} has no result."
                line.problem = Finding("no_value", text, line.line)
            self._require_whole_names()
            if line.line in self._nul:
                line.problem = Finding("nul", self._nul[line.line], line.line)
            rows, last = rows + 1, line.line
            yield line
        self._require_whole_names()
        table = self._table
        lines = table.header, table.header_end
        self.remarks += self._shown.findings(table.columns, lines, rows, last)
        self._remark_on_cells()

    def _require_whole_names(self) -> None:
        """Raises Unreadable for a NUL character in a column name."""
        if text := self._nul.get(self._table.header):
            raise unreadable("nul", text, self._table.header)

    def _look_ahead(self) -> None:
        """Find the column names and the first row, if what a person chose depends on them."""
        chosen, shown = self._choices, self._shown
        if shown.skips and shown.facts.hidden_rows:
            # Names in a hidden line are names.
            shown.keeps_all = True
            shown.header = self._first_rows()[0].header
            shown.keeps_all = False
        if chosen.as_shown or chosen.as_stored or chosen.merged == FILL:
            table, shown.fill_from = self._first_rows()
            for place, name in enumerate(table.columns):
                for mode, names in (("as_shown", chosen.as_shown), ("as_stored", chosen.as_stored)):
                    if name in names:
                        shown.modes[shown.column_at(place)] = mode

    def _first_rows(self) -> tuple[Table, int]:
        """The table with its column names, and the line of its first row; 0: there is none."""
        self._shown.begin()
        table = Table(self._choices, self._limits, [])
        table.spans = self._shown.spans
        first = next(table.lines(self._records()), None)
        self._shown.begin()
        self._long.clear()
        self._table.blank_lines = 0
        return table, first.line if first else 0

    def _empty(self, line: ParsedRow, letters: list[str]) -> str:
        """The first of the columns with these letters in which no correction put anything."""
        if not (self.corrections and line.line in self.corrections.changed):
            return letters[0]
        cells = json.loads(line.source)
        for one in letters:
            at = self._shown.place_of(column_index(one.encode()))
            if at is None or at >= len(cells) or cells[at].strip() in ("", NO_RESULT):
                return one
        return ""

    # --- The sheet --------------------------------------------------------------------------------

    def _read_sheet(self, workbook: CalamineWorkbook) -> None:
        """Raises Unreadable."""
        sheets = [
            (index, meta.name, meta.visible == SheetVisibleEnum.Visible)
            for index, meta in enumerate(workbook.sheets_metadata)
            if meta.typ == SheetTypeEnum.WorkSheet
        ]
        if not sheets:
            raise unreadable("damaged", "There is no sheet in this workbook.")
        wanted = self._choices.sheet
        looked_at = [sheet for sheet in sheets if (sheet[1] == wanted if wanted else sheet[2])]
        if wanted and not looked_at:
            there = quoted([name for _index, name, _visible in sheets])
            text = f"There is no sheet “{wanted}” in this workbook, but {there}."
            raise unreadable("no_such_sheet", text)
        found = list(self._looks(workbook, [sheet[:2] for sheet in looked_at or sheets]))
        best = best_sheet(found)
        if best is None:
            names = [name for _index, name, _visible in looked_at or sheets]
            hidden = quoted([name for _index, name, visible in sheets if not visible])
            text = f"There is nothing in {quoted(names)}."
            raise unreadable("empty", f"{text} Hidden: {hidden}." if hidden else text)
        if self._sheet.name != best.name:
            self._open_sheet(workbook, best.index, best.name)
        self._shown.begin()
        empty = self._empty_sheets(workbook, sheets)
        filled = [sheet for sheet in sheets if sheet[1] not in empty]
        self.sheets = [name for _index, name, seen in filled if seen or name == self._sheet.name]
        if len(sheets) > 1:
            self._remark_on_sheets(filled, empty, sure=bool(wanted) or is_sure(found, best))

    def _looks(
        self, workbook: CalamineWorkbook, sheets: list[tuple[int, str]]
    ) -> Iterator[SheetLook]:
        """At the first sheets, until one has many rows. Raises Unreadable for the first with
        something in it; others that cannot be read are passed over."""
        begun = False
        for index, name in sheets:
            if begun and not self._is_quick(name):
                continue
            long, blank = len(self._long), self._table.blank_lines
            try:
                with library_errors():
                    self._open_sheet(workbook, index, name)
                    lines = looks(list(islice(self._records(), SHEET_LINES)))
            except Unreadable:
                if not begun:
                    raise
                continue
            finally:
                del self._long[long:]
                self._table.blank_lines = blank
            is_set_in = self._range.start not in (None, (0, 0))
            look = SheetLook(index, name, self._range.height, is_set_in, lines)
            yield look
            if look.rows > SMALL and lines:
                return
            begun = begun or bool(lines)

    def _is_quick(self, name: str) -> bool:
        """Whether looking at this sheet takes little time and memory."""
        if not (part := self._package.parts.get(name)):
            return True
        with self._package.unpack() as archive:
            return archive.getinfo(part).file_size <= QUICK

    def _empty_sheets(
        self, workbook: CalamineWorkbook, sheets: list[tuple[int, str, bool]]
    ) -> list[str]:
        """Those without any cell, as far as it takes little time to find out."""
        others = [sheet for sheet in sheets[:SHEETS_LOOKED_AT] if sheet[1] != self._sheet.name]
        return [name for index, name, _seen in others if self._is_empty(workbook, index, name)]

    def _is_empty(self, workbook: CalamineWorkbook, index: int, name: str) -> bool:
        with suppress(Unreadable), library_errors():
            if part := self._package.parts.get(name):
                with self._package.unpack() as archive:
                    is_small = archive.getinfo(part).file_size <= BLOCK
                    return is_small and not has_cells(archive.read(part))
            rows = workbook.get_sheet_by_index(index).iter_rows()
            return all(cell == "" for row in rows for cell in row)
        return False

    def _open_sheet(self, workbook: CalamineWorkbook, index: int, name: str) -> None:
        self._sheet = SheetScan(name)
        look = SheetStyles(self._package.styles)
        if part := self._package.parts.get(name):
            with self._package.unpack() as archive:
                self._sheet.look_through(archive, part, self._limits, look)
        elif self._package.xls:
            with suppress(struct.error, IndexError):
                self._package.xls.look_through(index, look.facts, self._sheet.errors)
        elif self._package.content:
            with self._package.unpack() as archive:
                blocks = part_blocks(archive, self._package.content, self._limits)
                workbook_ods.look_through(blocks, index, look.facts, self._sheet.errors)
        self._range: CalamineSheet = workbook.get_sheet_by_index(index)
        for (top, first), (bottom, last) in self._range.merged_cell_ranges or ():
            look.facts.merges.append(Merge(top + 1, first, bottom + 1, last))
        left = self._range.start[1] if self._range.start else 0
        self._shown = ShownSheet(look.facts, self._choices, left)

    def _remark_on_sheets(
        self, sheets: list[tuple[int, str, bool]], empty: list[str], *, sure: bool
    ) -> None:
        """`sheets`: without those that are `empty`."""
        read = self._sheet.name
        text = f"The workbook has {len(sheets) + len(empty)} sheets; “{read}” was read."
        others = [name for _index, name, visible in sheets if visible and name != read]
        if others:
            text += f" Not read: {quoted(others)}."
        if hidden := [name for _index, name, visible in sheets if not visible and name != read]:
            text += f" Hidden: {quoted(hidden)}."
        if empty:
            text += f" Empty: {quoted(empty)}."
        names = [] if self._choices.sheet else others[:SHEETS_OFFERED]
        if not sure:
            names = [read, *names]
        options = tuple(Option(f"Read “{name}”", {"sheet": name}) for name in names)
        self.remarks.append(Finding("sheets" if sure else "which_sheet", text, options=options))

    def _records(self) -> Iterator[Record]:
        sheet = self._sheet
        left = self._range.start[1] if self._range.start else 0
        is_left_out = self._shown.is_left_out
        begun = False
        last = 0  # line that is not blank
        for line, cells in self._rows(left):
            if line in sheet.without_value and not any(cells):
                # There is something in this row, though nothing that can be shown.
                cells = [NO_RESULT, *cells[1:]]
            if not any(map(str.strip, cells)):
                continue
            if line > last + 1:
                blanks = [one for one in range(last + 1, line) if not is_left_out(one)]
                if begun:
                    yield from ((blank, []) for blank in blanks)
                else:
                    # What is above everything is not looked at for the column names.
                    self._table.blank_lines += len(blanks)
            begun, last = True, line
            for column, cell in enumerate(cells):
                if "\0" in cell:
                    where = f"{column_letters(self._shown.column_at(column))}{line}"
                    self._nul.setdefault(line, f"Cell {where} contains a NUL character.")
                    cells[column] = cell.replace("\0", "\ufffd")
            yield line, cells

    def _rows(self, left: int) -> Iterator[Record]:
        """All rows of the sheet from the first line on, and cells from column `left` on."""
        sheet = self._sheet
        shown = self._shown
        durations = self.format == "OpenDocument" or sheet.has_durations
        end = 0
        # calamine begins at the first row of the sheet, but at the first column with something.
        for end, row in enumerate(self._range.iter_rows(), start=1):
            cells = [cell if type(cell) is str else self._as_text(cell, end) for cell in row]
            if durations:
                cells = [duration_of(cell) for cell in cells]
            for column, error in sheet.errors.get(end, {}).items():
                if left <= column < left + len(cells):
                    cells[column - left] = error
            if shown.is_special:
                cells = shown.apply(end, row, cells)
                if shown.is_left_out(end):
                    continue
            yield end, cells
        # calamine does not see formulas without a result.
        width = max(self._range.width, 1)
        for line in sorted(line for line in sheet.without_value if line > end):
            yield line, [""] * width

    def _as_text(self, value: Any, line: int) -> str:
        if type(value) in (float, int):
            if not -LONG < value < LONG and math.isfinite(value):
                self._long.append(line)
            return number_text(value)
        return as_text(value)

    def _remark_on_cells(self) -> None:
        if self._long:
            count = len(self._long)
            text = "A number has" if count == 1 else f"{count:,} numbers have"
            text += f" more than 15 digits ({_lines(self._long)}); the last ones may be wrong."
            self.remarks.append(Finding("long_number", text, self._long[0]))
        if errors := self._sheet.errors:
            kinds = Counter(error for cells in errors.values() for error in cells.values())
            named = ", ".join(f"{error} ({count:,})" for error, count in kinds.most_common(NAMED))
            lines = sorted(errors)
            text = f"{cells_in_words(kinds.total())} with an error: {named} ({_lines(lines)})."
            self.remarks.append(Finding("error_cell", text, lines[0]))


# --- Words ----------------------------------------------------------------------------------------


def _lines(lines: list[int]) -> str:
    """ "line 2", "lines 2, 3, 5 and others"."""
    different = list(dict.fromkeys(lines))
    if len(different) == 1:
        return f"line {different[0]}"
    text = ", ".join(map(str, different[:5]))
    return f"lines {text} and others" if len(different) > 5 else f"lines {text}"
