"""A sheet as a person sees it: what is hidden, merged or shown in another form is said, and read
as they choose."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from .merged_names import Span
from .shapes import FILL, KEEP, SKIP, Choices, Finding, Option
from .workbook_cells import column_letters, number_text
from .workbook_facts import CHUNK, Merge, SheetFacts
from .workbook_formats import Reading, differs, is_currency

NAMED = 5  # columns or ranges in a sentence
EXAMPLES = 25  # cells of a column, of which some may be above the first row
BARE = 10_000  # cells under a merge that are remembered; only the first can be above the first row
SHOWN = 60  # characters of a cell
FORMATS = 50  # of a column that are looked at

_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_WORDS = re.compile(r"[^\W\d_]+")
_DIGITS = re.compile(r"[\d\s.,'’()\-\u2212]+")


class _Example(NamedTuple):
    line: int
    shown: str
    stored: str
    read: str


class ShownSheet:
    """Takes the lines of a sheet one by one. Lines count from 1, columns from 0."""

    def __init__(self, facts: SheetFacts, choices: Choices, left: int) -> None:
        self.facts = facts
        self._choices = choices
        self._left = left  # the first column
        self._merges = sorted(facts.merges)
        has_formats = len(facts.formats) > 1 or bool(facts.said)
        # Whether anything in it is not as it seems.
        self.is_special = bool(
            has_formats or facts.merges or facts.hidden_rows or facts.hidden_columns
        )
        # Set when the column names are known, if they have to be before the first line is read:
        self.fill_from = 0  # the line of the first row, from which on merged cells are filled
        self.header = choices.header  # read though it is hidden
        self.keeps_all = False
        self.modes: dict[int, str] = {}  # "as_shown" or "as_stored", by column
        self._columns: list[int] | None = None  # those that are hidden
        self.begin()

    def begin(self) -> None:
        """Before the first line."""
        self._active: list[tuple[Merge, str]] = []
        self._next = 0
        # By column and by format, or by what it shows beside digits.
        self._formatted: dict[int, dict[int | str, list[_Example]]] = {}
        # Formats with so many examples that one is a row's, by column.
        self._shown_enough: dict[int, set[int | str]] = {}
        self._settled: dict[int, set[int]] = {}  # formats that change nothing, by column
        self._chunk = -1
        self._early: dict[int, list[_Example]] = {}
        self._covered: list[int] = []  # lines of cells under a merge with something in them
        self._bare: list[tuple[int, int, Merge]] = []  # empty cells under a merge with a text
        self._bare_count = 0
        self._hidden: list[int] = []  # hidden lines with something in them
        self._dropped: dict[int, list[str]] = {}  # cells in hidden columns, of the first lines
        self._filled_columns: set[int] = set()  # hidden ones with something in them

    @property
    def spans(self) -> list[Span]:
        """The merged cells, by their place in a row."""
        if self.skips and self.facts.hidden_columns:
            return []
        left = self._left
        return [
            Span(one.top, one.left - left, one.bottom, one.right - left) for one in self._merges
        ]

    @property
    def skips(self) -> bool:
        return self._choices.hidden == SKIP and not self.keeps_all

    def is_left_out(self, line: int) -> bool:
        return self.skips and line in self.facts.hidden_rows and line != self.header

    # --- Cells ------------------------------------------------------------------------------------

    def apply(self, line: int, values: list[Any], cells: list[str]) -> list[str]:
        """The cells of a line as they are read. `values`: what calamine gave, `cells`: its text."""
        if self.facts.formats[1:]:
            self._apply_formats(line, values, cells)
        for column, reading in self.facts.said.get(line, {}).items():
            if 0 <= column - self._left < len(cells):
                look = _look(reading.shown)
                self._apply_reading(line, column, look, reading, cells)
        if self._merges:
            self._apply_merges(line, cells)
        if self.facts.hidden_columns:
            cells = self._apply_hidden_columns(line, cells)
        if line in self.facts.hidden_rows and any(map(str.strip, cells)):
            self._hidden.append(line)
        return cells

    def _apply_formats(self, line: int, values: list[Any], cells: list[str]) -> None:
        facts = self.facts
        if line // CHUNK != self._chunk:
            self._chunk = line // CHUNK
            self._marked = self._columns_with_formats(line)
        early = facts.early.get(line)
        place = line % CHUNK
        for column, at, marks, settled, enough in self._marked:
            number = marks[place]
            if not number or number in settled or at >= len(cells):
                continue
            value = values[at]
            # The 0 of a text is its place among all texts.
            if early and column in early and type(value) not in (str, bool):
                reading = facts.reading(number, early[column])
                stored = number_text(early[column])
                cells[at] = stored if self.modes.get(column) == "as_stored" else reading.read
                example = _Example(line, reading.shown, stored, cells[at])
                _note(self._early, column, example)
            elif value == "":
                continue
            elif number in enough:
                if facts.formats[number].reads_stored:
                    settled.add(number)
                else:
                    cells[at] = facts.read(number, value, cells[at])
            elif column in self.modes or not facts.shows_as_stored(number, value):
                reading = facts.reading(number, value)
                self._apply_reading(line, column, number, reading, cells)

    def _columns_with_formats(
        self, line: int
    ) -> list[tuple[int, int, array[int], set[int], set[int | str]]]:
        """Of the lines around `line`: the column, its place in a row, and the formats of its cells,
        with those that change nothing and those with enough examples."""
        return [
            (
                column,
                column - self._left,
                marks,
                self._settled.setdefault(column, set()),
                self._shown_enough.setdefault(column, set()),
            )
            for column, marks in self.facts.marked(line).items()
            if column >= self._left
        ]

    def _apply_reading(
        self, line: int, column: int, format: int | str, reading: Reading, cells: list[str]
    ) -> None:
        stored = cells[column - self._left]
        mode = self.modes.get(column, "")
        read = {"as_shown": reading.shown, "as_stored": stored}.get(mode, reading.read)
        cells[column - self._left] = read
        if read != stored or (not reading.same and differs(reading.shown, stored)):
            found = self._formatted.setdefault(column, {})
            if format in found or len(found) < FORMATS:
                _note(found, format, _Example(line, reading.shown, stored, read))
            if len(found.get(format, ())) in (0, EXAMPLES) and not mode:
                self._shown_enough.setdefault(column, set()).add(format)

    def _apply_merges(self, line: int, cells: list[str]) -> None:
        self._active = [one for one in self._active if one[0].bottom >= line]
        while self._next < len(self._merges) and self._merges[self._next].top <= line:
            merge = self._merges[self._next]
            self._next += 1
            at = merge.left - self._left
            if merge.bottom >= line:
                text = cells[at] if 0 <= at < len(cells) and merge.top == line else ""
                self._active.append((merge, text))
        bare: list[tuple[int, Merge, str]] = []  # cells to be filled
        for merge, text in self._active:
            first = max(merge.left, self._left)
            last = min(merge.right, self._left + len(cells) - 1)
            for column in range(first, last + 1):
                if (line, column) == (merge.top, merge.left):
                    continue
                if cells[column - self._left].strip():
                    self._covered.append(line)
                cells[column - self._left] = ""
                if text.strip():
                    bare.append((column, merge, text))
        if not bare or not any(map(str.strip, cells)):
            return
        self._bare_count += len(bare)
        fills = self._choices.merged == FILL and 0 < self.fill_from <= line
        for column, merge, text in bare:
            if len(self._bare) < BARE:
                self._bare.append((line, column, merge))
            if fills:
                cells[column - self._left] = text

    def _apply_hidden_columns(self, line: int, cells: list[str]) -> list[str]:
        if self._columns is None:
            columns = range(self._left, self._left + len(cells))
            self._columns = [column for column in columns if self.facts.hides_column(column)]
        hidden = [column for column in self._columns if column - self._left < len(cells)]
        for column in hidden:
            if cells[column - self._left].strip():
                self._filled_columns.add(column)
        if not self.skips or not hidden:
            return cells
        if len(self._dropped) < EXAMPLES:
            self._dropped[line] = [cells[column - self._left] for column in hidden]
        gone = set(hidden)
        return [cell for at, cell in enumerate(cells, self._left) if at not in gone]

    def place_of(self, column: int) -> int | None:
        """Where the cell of this column of the sheet is in a row. None: it was left out."""
        gone = self._columns or [] if self.skips else []
        if column in gone or column < self._left:
            return None
        return column - self._left - sum(one < column for one in gone)

    def column_at(self, place: int) -> int:
        """The column of the sheet that this cell of a row is in."""
        column = self._left
        gone = set(self._columns or []) if self.skips else set()
        while True:
            if column not in gone:
                if not place:
                    return column
                place -= 1
            column += 1

    # --- What is said of it -----------------------------------------------------------------------

    def findings(
        self, columns: Sequence[str], names: tuple[int, int], rows: int, last: int
    ) -> Iterator[Finding]:
        """`names`: the first and the last line of the column names; `rows`: how many were read;
        `last`: the line of the last one."""
        yield from self._on_hidden(columns, names[0], rows)
        yield from self._on_merges(columns, names[1], last)
        yield from self._on_formats(columns, names[1])
        known = set(columns)
        for name in dict.fromkeys((*self._choices.as_shown, *self._choices.as_stored)):
            if name not in known:
                text = f"There is no column “{name}”. Its number format could not be chosen."
                yield Finding("no_such_column", text)

    def _on_hidden(self, columns: Sequence[str], header: int, rows: int) -> Iterator[Finding]:
        lines = [line for line in self._hidden if line > header]
        total = rows + (len(lines) if self.skips else 0)
        names = self._hidden_names(columns, header)
        if not lines and not names:
            return
        what = "rows and columns" if lines and names else "rows" if lines else "columns"
        visible = Option(f"Only the visible {what}", {"hidden": SKIP})
        every = Option(f"All {what}", {"hidden": KEEP})
        first = lines[0] if lines else None
        said = _hidden(len(lines), total, names)
        they = "It was" if len(lines) + len(names) == 1 else "They were"
        if not self._choices.hidden:
            yield Finding("hidden", said, first, options=(visible, every))
        elif self.skips:
            text = f"{said} {they} skipped."
            yield Finding("hidden_left_out", text, first, options=(every,))
        else:
            text = f"{said} {they} read."
            yield Finding("hidden_read", text, first, options=(visible,))

    def _hidden_names(self, columns: Sequence[str], header: int) -> list[str]:
        hidden = [column for column in self._columns or [] if column in self._filled_columns]
        if not self.skips:
            places = [self.place_of(column) for column in hidden]
            return [columns[at] for at in places if at is not None and at < len(columns)]
        names = self._dropped.get(header, [])
        by_column = dict(zip(self._columns or [], names, strict=False))
        return [by_column.get(column, "").strip() or column_letters(column) for column in hidden]

    def _on_merges(self, columns: Sequence[str], header: int, last: int) -> Iterator[Finding]:
        if covered := [line for line in self._covered if line > header]:
            count = len(covered)
            cells = (
                "1 cell under a merged cell has"
                if count == 1
                else (f"{count:,} cells under merged cells have")
            )
            text = f"{cells} contents that your spreadsheet does not show. They were not read."
            yield Finding("covered", text, covered[0])
        bare = [one for one in self._bare if header < one[0] <= last]
        count = self._bare_count - (len(self._bare) - len(bare))
        if not bare:
            return
        merges = list(dict.fromkeys(merge for _line, _column, merge in bare))
        ranges = _some([_range(merge) for merge in merges])
        places = (self.place_of(column) for column in sorted({one[1] for one in bare}))
        names = [columns[at] for at in places if at is not None and at < len(columns)]
        where = f" in {_quoted(names)}" if names else ""
        down = any(merge.bottom > merge.top for merge in merges)
        right = any(merge.right > merge.left for merge in merges)
        ways = "Fill down and right" if down and right else "Fill down" if down else "Fill right"
        fill, keep = Option(ways, {"merged": FILL}), Option("Leave empty", {"merged": KEEP})
        cells = "1 cell" if count == 1 else f"{count:,} cells"
        verb = "is" if count == 1 else "are"
        line = bare[0][0]
        if not self._choices.merged:
            text = f"Cells are merged ({ranges}), so {cells}{where} {verb} empty."
            yield Finding("merged", text, line, options=(fill, keep))
        elif self._choices.merged == FILL:
            done = "was filled with its" if count == 1 else "were filled with their"
            text = f"Cells are merged ({ranges}). {cells}{where} {done} text."
            yield Finding("merged_filled", text, line, options=(keep,))
        else:
            text = f"Cells are merged ({ranges}). {cells}{where} {verb} left empty."
            yield Finding("merged_kept", text, line, options=(fill,))

    def _on_formats(self, columns: Sequence[str], header: int) -> Iterator[Finding]:
        for column, found in sorted(self._early.items()):
            examples = [one for one in found if one.line > header]
            if (name := self._name(columns, column)) and examples:
                line, shown, stored, read = examples[0]
                text = (
                    f"Column “{name}” has dates before 1900. The number {_cut(stored)} was read as "
                    f"{_cut(read)}. Excel cannot show such a date."
                )
                yield Finding(
                    "early_date", text, line, options=self._ways(name, read, *[shown, stored])
                )
        for column, formats in sorted(self._formatted.items()):
            name = self._name(columns, column)
            examples = [one for some in formats.values() for one in some if one.line > header]
            if not name:
                continue
            for alike in _telling(sorted(examples)):
                yield self._on_format(name, alike)

    def _on_format(self, name: str, examples: list[_Example]) -> Finding:
        """`examples`: read in the same way, one of each format."""
        line, shown, stored, read = examples[0]
        it = "It was" if len(examples) == 1 else "They were"
        text = f"Column “{name}”: shown as {_cut(shown)}, stored as {_cut(stored)}."
        if len(examples) > 1:
            each = [f"{_cut(one.shown)} (stored as {_cut(one.stored)})" for one in examples]
            text = f"Column “{name}” has {len(examples)} formats: {_some(each)}."
        if read in (shown, stored):
            text += f" {it} read as {'shown' if read == shown else 'stored'}."
        else:
            reads = _some([_cut(one.read) for one in examples])
            text += f" {it} read as {reads}, so that no digit is lost."
        kind = "number_format"
        if name not in self._chosen:
            if not shown.strip() and stored != "0":
                kind = "format_hides"
            elif read == stored and sum(map(_has_unit, examples)) > 1:
                kind = "mixed_formats"
        return Finding(kind, text, line, options=self._ways(name, read, shown, stored))

    @property
    def _chosen(self) -> set[str]:
        return {*self._choices.as_shown, *self._choices.as_stored}

    def _ways(self, name: str, read: str, shown: str, stored: str) -> tuple[Option, ...]:
        """The other ways to read a column; with those that were chosen for other columns."""
        others = {
            "as_shown": [one for one in self._choices.as_shown if one != name],
            "as_stored": [one for one in self._choices.as_stored if one != name],
        }
        ways = {"as_shown": ("As shown", shown), "as_stored": ("As stored", stored)}
        return tuple(
            Option(
                label,
                {
                    **{one: list(kept) for one, kept in others.items()},
                    field: [*others[field], name],
                },
            )
            for field, (label, text) in ways.items()
            if text != read
        )

    def _name(self, columns: Sequence[str], column: int) -> str:
        at = self.place_of(column)
        return columns[at] if at is not None and at < len(columns) else ""


def _note(examples: dict[Any, list[_Example]], key: int | str, example: _Example) -> None:
    found = examples.setdefault(key, [])
    if len(found) < EXAMPLES:
        found.append(example)


def _telling(examples: list[_Example]) -> list[list[_Example]]:
    """Those that were read as shown, as stored, and otherwise: one of each that looks different."""
    found: dict[str, dict[str, _Example]] = {}
    for one in examples:
        way = "shown" if one.read == one.shown else "stored" if one.read == one.stored else ""
        found.setdefault(way, {}).setdefault(_look_of(one), one)
    return [[*some.values()] for some in found.values()]


def _look(shown: str) -> str:
    """What is shown beside digits: "$", "INV-", "%"."""
    return _DIGITS.sub("", shown)


def _look_of(example: _Example) -> str:
    """The names of months and days are no units."""
    look = _look(example.shown)
    return _WORDS.sub("", look) if _DATE.match(example.stored) else look


def _has_unit(example: _Example) -> bool:
    look = _look_of(example)
    return look[:1] != "E" and any(one.isalpha() or is_currency(one) for one in look)


def _hidden(lines: int, total: int, names: list[str]) -> str:
    """ "7 of 10 rows and the column “secret” are hidden." """
    parts = []
    if lines:
        parts.append(f"{lines:,} of {total:,} rows")
    if names:
        parts.append(f"the column{'s' if len(names) > 1 else ''} {_quoted(names)}")
    are = "is" if (lines, len(names)) in ((1, 0), (0, 1)) else "are"
    text = f"{' and '.join(parts)} {are} hidden in your spreadsheet."
    return text[0].upper() + text[1:]


def _range(merge: Merge) -> str:
    first = f"{column_letters(merge.left)}{merge.top}"
    return f"{first}:{column_letters(merge.right)}{merge.bottom}"


def _quoted(names: list[str]) -> str:
    return _some([f"“{_cut(name)}”" for name in names])


def _some(texts: list[str]) -> str:
    more = len(texts) - NAMED
    return ", ".join(texts[:NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _cut(text: str) -> str:
    text = " ".join(text.split())
    if not text:
        return "an empty cell"
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
