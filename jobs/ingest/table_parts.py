"""Tables below each other in one file: after blank lines there are other column names, with rows
of their own below them. Only a person decides which of them are read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from .merged_names import is_name
from .row_shapes import Look, Record, contrast, looks, usual_width
from .shapes import ALL_ROWS, Choices, Finding, Option, unreadable

COMPARED = 20  # rows below a line that may have names
LEAST_ROWS = 2
LEAST_OF_PAIRS = 5  # rows of two columns above a table, which may be notes such as "Report,Sales"
MOSTLY = 0.8  # of the rows, to be like their names
LONGEST = 60  # characters of a name
MOST_GAPS = 1_000  # that are looked at before a table below is given up
MOST_PARTS = 50
OFFERED = 4  # as buttons
NAMED = 5
LEAST_ALIKE = 3  # rows
# Addresses of mail and of pages, and what has digits.
_KINDS = (re.compile(r"\S@\S"), re.compile(r"^(https?://|www\.)"), re.compile(r"\d"))
_ORDINALS = ("first", "second", "third", "fourth")

Change = dict[str, str | int | bool | list[str]]


class Part(NamedTuple):
    """A table: its first line, perhaps a title, and those with the names and the last row."""

    begin: int
    names: int
    end: int
    name_lines: int = 1


class PartsBelow:
    """Looks for further tables while the rows of one are read."""

    def __init__(self, columns: Sequence[str], *, is_titled: bool) -> None:
        """`is_titled`: a title is above the first table, so one may be above others."""
        self.is_open = False  # whether the next record has to be looked at
        self.found: list[tuple[int, int, int]] = []  # the last line above, the first one, the names
        self._columns = [_folded(name) for name in columns]
        self._width = len(columns)
        self._is_titled = is_titled
        self._gaps = 0
        self._end = 0  # the last line before the gap
        self._near: list[Record] = []

    def gap(self, end: int) -> None:
        """A line is blank; `end`: the last one before it that is not."""
        if self.is_open:
            if not self._near:
                return
            self._judge()
        self._gaps += 1
        self._end = end
        self.is_open = self._gaps < MOST_GAPS and len(self.found) < MOST_PARTS

    def look_at(self, record: Record) -> None:
        """At a record that is not blank, while `is_open`."""
        self._near.append(record)
        if len(self._near) > COMPARED + 1:
            self._judge()

    def close(self) -> None:
        """The file ends."""
        if self.is_open:
            self._judge()

    def _judge(self) -> None:
        lines, self._near, self.is_open = looks(self._near), [], False
        at = int(len(lines) > 1 and lines[0].count == 1 < lines[1].count)
        if len(lines) - at <= LEAST_ROWS or not self._is_table(lines[at], lines[at + 1 :], at > 0):
            return
        names = lines[at]
        self.found.append((self._end, lines[0].line, names.line))
        self._columns = [_folded(names.cell(place)) for place in sorted(names.filled)]
        self._width = names.count

    def _is_table(self, names: Look, rows: Sequence[Look], has_title: bool) -> bool:
        cells = [_folded(names.cell(at)) for at in sorted(names.filled)]
        if cells == self._columns or not are_names(names) or not _fit(names, rows):
            return False
        if _differs(names, rows):
            return True
        if set(cells) & set(self._columns) or (has_title and self._is_titled):
            return True
        # Other texts in as many columns are more rows, as far as anyone can tell.
        is_even = all(row.filled == names.filled for row in rows)
        return names.count > 2 and names.count != self._width and is_even


def tables_above(lines: Sequence[Look], at: int) -> list[Part]:
    """The table above the one whose names are in `lines[at]`; [] for titles and notes."""
    if not (lines[at].after_blank or (lines[at - 1].count == 1 and lines[at - 1].after_blank)):
        return []
    end = at if lines[at].after_blank else at - 1
    begin = next((place for place in range(end - 1, 0, -1) if lines[place].after_blank), 0)
    block = lines[begin:end]
    titles = next((place for place, line in enumerate(block) if line.count > 1), len(block))
    if len(block) - titles <= LEAST_ROWS:
        return []
    names, rows = block[titles], block[titles + 1 :]
    if not are_names(names) or not _fit(names, rows):
        return []
    # Notes have words at the left, and rows often a number.
    is_numbered = contrast(names, rows, {min(names.filled)})
    if names.count == 2 and len(rows) < LEAST_OF_PAIRS and not is_numbered:
        return []
    is_even = all(row.filled == names.filled for row in rows)
    if not _differs(names, rows) and (names.count == 2 or not is_even):
        return []
    return [Part(block[0].line, names.line, block[-1].line)]


def are_names(line: Look) -> bool:
    """Whether the cells of a line may be the names of columns."""
    cells = [line.cell(at) for at in line.filled]
    return (
        len(cells) > 1
        and len(set(map(_folded, cells))) == len(cells)
        and not line.is_keyed
        and all(len(cell) <= LONGEST and is_name(cell) for cell in cells)
        and any(any(map(str.isalpha, cell)) for cell in cells)
    )


def _fit(names: Look, rows: Sequence[Look]) -> bool:
    """Whether most rows have cells below the names, and nowhere else."""
    width = usual_width(rows)
    good = sum(1 < row.count <= names.count and row.filled <= names.filled for row in rows)
    return width * 2 > names.count and good >= MOSTLY * len(rows)


def _differs(names: Look, rows: Sequence[Look]) -> bool:
    """Whether the names are words where the cells below are of another kind."""
    if contrast(names, rows, names.filled):
        return True
    if len(rows) < LEAST_ALIKE:
        return False
    return any(
        all(kind.search(row.cell(at)) for row in rows) and not kind.search(names.cell(at))
        for at in names.filled
        for kind in _KINDS
    )


def parts_of(
    above: Iterable[Part], read: tuple[int, int], below: Sequence[tuple[int, int, int]], end: int
) -> list[Part]:
    """All tables of the file. `read`: the line of the names of the one that is read, and how many
    hold names; `below`: PartsBelow.found; `end`: the last line of the file."""
    header, name_lines = read
    starts = [(header, header, name_lines), *((begin, names, 1) for _end, begin, names in below)]
    ends = [*(last for last, _begin, _names in below), end]
    parts = [
        Part(begin, names, last, count)
        for (begin, names, count), last in zip(starts, ends, strict=True)
    ]
    return [*above, *parts]


def ask_about_tables(parts: Sequence[Part], read: int) -> Finding:
    """Which of several tables is meant; those from that at `read` on are read."""
    shown = [f"{part.begin:,}–{part.end:,}" for part in parts]
    if len(shown) > NAMED:
        where = f"{', '.join(shown[:NAMED])} and {len(shown) - NAMED:,} more"
    else:
        where = f"{', '.join(shown[:-1])} and {shown[-1]}"
    count = "two" if len(parts) == 2 else f"{len(parts):,}"
    text = f"This file seems to hold {count} tables: lines {where}."
    if read == len(parts) - 1:
        text += f" Only the {_ORDINALS[read]} is read."
    else:
        text += f" What is below line {parts[read].names:,} is read as one."
    options = [*_options(parts), Option("All as one", {**_from(parts[0]), "last_row": ALL_ROWS})]
    return Finding("tables", text, parts[1].begin, options=tuple(options))


def _options(parts: Sequence[Part]) -> Iterator[Option]:
    for ordinal, part in zip(_ORDINALS[:OFFERED], parts, strict=False):
        end: Change = {} if part is parts[-1] else {"last_row": part.end}
        yield Option(f"Only the {ordinal}", {**_from(part), **end})


def _from(part: Part) -> Change:
    change: Change = {"header": part.names}
    if part.name_lines > 1:
        change["header_lines"] = part.name_lines
    return change


def _folded(name: str) -> str:
    return name.strip().casefold()


def until_last_row(
    records: Iterable[Record], choices: Choices, remarks: list[Finding]
) -> Iterator[Record]:
    """The records up to Choices.last_row. Raises Unreadable."""
    last = choices.last_row
    if choices.header >= last:
        text = f"The rows cannot end in line {last:,}, because the column names are in line "
        raise unreadable("above_header", f"{text}{choices.header:,}.", last)
    for line, cells in records:
        if line <= last:
            yield line, cells
        elif any(map(str.strip, cells)):
            text = f"The rows end in line {last:,}, as you chose. What is below was skipped."
            options = (Option("Read the lines below, too", {"last_row": ALL_ROWS}),)
            remarks.append(Finding("after_rows", text, last, options=options))
            return
