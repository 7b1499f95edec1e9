"""Records become the rows of a table: which one holds the column names, and what each row has to
be like. The same for CSV files and for workbooks."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Container, Iterable, Iterator, Sequence
from itertools import chain, islice

from .column_names import ColumnNames, join_names, odd_names
from .garbled_text import GarbledText
from .headers import Header, find_header
from .inner_lines import TOTAL_PREFIXES, TOTALS, InnerLines, kind_of
from .merged_names import Span
from .null_marks import NullMarks, may_have_nulls
from .row_cells import encode, line_of
from .row_notes import LOOK_AHEAD, ask_about, notes_below, say_skipped
from .row_shapes import Look, Record, is_value
from .shapes import (
    KEEP,
    NO_HEADER,
    SKIP,
    Choices,
    Finding,
    Limits,
    Option,
    ParsedRow,
    RowCorrections,
    unreadable,
)
from .table_parts import PartsBelow, ask_about_tables, parts_of, until_last_row

BLANKS_LOOKED_AT = 10_000
LOOKED_AT = 60  # records at the beginning among which the column names are looked for
NAMED = 5  # lines in a remark
SHOWN = 60  # characters of a name in a remark
MARK = "\ufeff"
CONTROL_Z = "\x1a"


class Table:
    """The rows of a table, and what was found out about it on the way."""

    def __init__(self, choices: Choices, limits: Limits, remarks: list[Finding]) -> None:
        self.choices = choices
        self.limits = limits
        self.remarks = remarks
        self.may_have_nulls = True
        self.is_text = False  # of a text file, which may end with Ctrl-Z
        self.corrections: RowCorrections | None = None
        self.wrong: Container[int] = ()  # lines that cannot be sent for a reason of the reader's
        self.spans: Sequence[Span] = ()  # merged cells of a sheet
        self.nameless: set[int] = set()  # places of columns without a name
        self.columns: list[str] = []
        self.blank_lines = 0
        self.short_in_question = 0  # rows with too few cells that may be headings or totals
        self._found = Header()
        self._garbled = GarbledText(choices.garbled)
        self._nulls = NullMarks(choices.nulls)
        self._names: list[list[str]] = []  # the lines with column names, as they are in the file
        self._between: list[int] = []  # lines between the names and the first row
        self._repeated: list[int] = []  # lines that are the names again, and were left out
        self._like_name: list[int] = []  # lines that are the only name again, and may be rows
        self._marked: list[int] = []  # lines that began with a byte order mark

    @property
    def header(self) -> int:
        """The first line of the column names; NO_HEADER."""
        return self._found.line

    @property
    def header_end(self) -> int:
        """The last line of the column names; NO_HEADER."""
        return self._found.end or self._found.line

    @property
    def understood(self) -> Choices:
        """What can be chosen for a table, as it was found out."""
        found = self._found
        return Choices(
            header=found.line,
            header_lines=found.lines if found.lines > 1 else 0,
            first_row=found.first_row,
            last_row=self.choices.last_row,
            fill=self.choices.fill,
            unlike=self.choices.unlike,
            subtotals=self.choices.subtotals,
            garbled=self.choices.garbled,
            nulls=self.choices.nulls,
        )

    def lines(self, records: Iterable[Record]) -> Iterator[ParsedRow]:
        """Raises Unreadable."""
        garbled = self._garbled
        records = iter(records)
        if self.choices.last_row > 0:
            records = until_last_row(records, self.choices, self.remarks)
        if garbled.is_repairing:
            records = ((line, garbled.repaired(line, cells)) for line, cells in records)
        first = _beginning(records)
        self._found = find_header(first, self.choices, self.spans)
        self.remarks += self._found.findings
        width = 0
        limits, fill, corrections = self.limits, self.choices.fill, self.corrections or None
        nulls = self._nulls
        looks_for_nulls = nulls.is_looking and self.may_have_nulls
        empties_nulls = nulls.is_emptying
        keeps = self.choices.subtotals == KEEP
        short = limits.cell // 4  # bytes of a row without a cell that is too long
        for line, cells in self._rows(chain(first, records)):
            if empties_nulls:
                cells = nulls.looked_at(line, cells)
            if corrections is not None:
                cells = self._corrected(corrections, line, cells)
            width = width or len(self.columns)
            if len(cells) == width:
                # As line_of would do it, for the rows that are most frequent.
                source = encode(cells).decode()
                is_plain = source.isascii() and len(source) < short
                if is_plain and not (looks_for_nulls and may_have_nulls(source)):
                    sizes = list(map(len, cells))
                    yield ParsedRow(line, source, sum(sizes), None, sizes)
                    continue
            if keeps and len(cells) == 1 < width and kind_of(cells, width):
                cells = cells + [""] * (width - 1)
            if looks_for_nulls:
                cells = nulls.looked_at(line, cells)
            row = line_of(line, cells, width, limits, fill=fill)
            if not row.source.isascii():
                garbled.look_at(line, row.source, cells)
            yield row
        for names in self._names:
            garbled.look_at(self.header, "".join(names), names)
        self.remarks += [*garbled.findings(), *nulls.findings(self.columns)]
        self._remark_on_lines()

    def _rows(self, records: Iterator[Record]) -> Iterator[Record]:
        """The records that are rows. The last ones are looked at together when the file ends."""
        tail: deque[Record] = deque()
        widths: Counter[int] = Counter()
        whole = gaps = last_blank = 0
        after_gap = False
        first = self._first_row(records)
        width = len(self.columns)
        inner = InnerLines(self.choices.subtotals, width)
        parts = self._parts_below()
        skipped = self._what_repeats()
        folded = [_folded(cells) for cells in skipped]
        # A single name in another case may well be a row.
        firsts = {cells[0] for cells in folded if sum(map(bool, cells)) > 1}
        plain = _plain_beginnings([*TOTALS, *firsts, *(cells[0] for cells in folded if cells)])
        for record in chain(first, records):
            line, cells = record
            begin = cells[0][:1] if cells else ""
            # Most lines begin with what is no reason to look closer.
            is_total = False
            if begin not in plain:
                if not any(map(str.strip, cells)):
                    self.blank_lines += 1
                    gaps += line > last_blank + 1
                    last_blank = line
                    parts.gap(tail[-1][0] if tail else line)
                    after_gap = parts.is_open
                    continue
                if begin == MARK:
                    cells = self._unmarked(line, cells)
                    record = line, cells
                word = cells[0].strip().lower()
                again = _folded(cells) in folded if word in firsts else cells in skipped
                if again and self._is_repeated(line):
                    continue
                is_total = word in TOTALS or word.startswith(TOTAL_PREFIXES)
            if "" in cells or len(cells) < width:
                widths[len(cells) - cells.count("")] += 1
                inner.look_at(line, cells)
            else:
                whole += 1
                if is_total and len(cells) > 1:
                    inner.add_total(line, cells)
            if after_gap:
                parts.look_at(record)
                after_gap = parts.is_open
            tail.append(record)
            if len(tail) > LOOK_AHEAD:
                record = tail.popleft()
                if not (inner.kinds and inner.is_left_out(record)):
                    yield record
        if tail:
            widths[width] += whole
            gaps -= last_blank > tail[-1][0]
            last_table = self._ask_about_tables(parts, tail[-1][0])
            notes = len(self._find_notes(tail, widths, gaps, last_table))
            yield from self._last_rows(tail, notes, inner)
        if found := inner.finding(widths, widths.total()):
            self.remarks.append(found)
            self.short_in_question = inner.short

    def _last_rows(self, tail: deque[Record], notes: int, inner: InnerLines) -> Iterator[Record]:
        """Those of `tail` that are rows; the last `notes` of them look unlike the others."""
        for left, record in zip(range(len(tail), 0, -1), tail, strict=True):
            is_note = left <= notes
            if not (self.choices.unlike == SKIP if is_note else inner.is_left_out(record)):
                yield record

    def _parts_below(self) -> PartsBelow:
        named = [name for at, name in enumerate(self.columns) if at not in self.nameless]
        return PartsBelow(named, is_titled=0 < self._found.first < self._found.line)

    def _first_row(self, records: Iterator[Record]) -> list[Record]:
        """The first record below the column names, in a list. Raises Unreadable."""
        header = self._found.line
        begin = max(self._found.end + 1, self._found.first_row)
        above = 0
        row: list[Record] = []
        for line, cells in records:
            if not any(map(str.strip, cells)):
                self.blank_lines += 1
            elif line >= begin:
                row = [(line, cells)]
                break
            elif line < header:
                above += 1
            elif line <= self._found.end:
                self._names.append(cells)
            else:
                self._between.append(line)
        if not row and not self._names:
            if header > 0:
                text = f"The file has no column names in line {header}."
                raise unreadable("above_header", text)
            raise unreadable("empty", "The file has no column names and no rows.")
        self._name_columns(row[0][1] if row else [])
        if above and not self._found.above:
            self._remark_on_what_is_above(above)
        return row

    def _ask_about_tables(self, parts: PartsBelow, end: int) -> int:
        """Ask, if there are several, and say in which line the last one begins. `end`: the last
        line of the file."""
        parts.close()
        found = self._found
        if self.choices.last_row or self.choices.header == NO_HEADER:
            return 0
        tables = parts_of(found.above, (found.line, found.lines), parts.found, end)
        if len(tables) < 2:
            return 0
        self.remarks.append(ask_about_tables(tables, len(found.above)))
        return tables[-1].begin if parts.found else 0

    def _find_notes(
        self, tail: deque[Record], widths: Counter[int], gaps: int, last_table: int
    ) -> Sequence[Look]:
        """The last lines that look unlike the others. They are rows unless a person skips them.
        `last_table`: where the last of several tables begins, which is asked about."""
        self._end_before_control_z(tail)
        found = notes_below(tail, widths, gaps)
        if found and self.choices.unlike == SKIP:
            self.remarks.append(say_skipped(found))
        elif found and self.choices.unlike != KEEP and not 0 < last_table <= found[-1].line:
            self.remarks.append(ask_about(found))
        return found

    def _end_before_control_z(self, tail: deque[Record]) -> None:
        """CP/M and DOS ended a text so."""
        if not self.is_text or not tail or not tail[-1][1][-1].endswith(CONTROL_Z):
            return
        line, cells = tail.pop()
        cells = [*cells[:-1], cells[-1].rstrip(CONTROL_Z)]
        if any(map(str.strip, cells)):
            tail.append((line, cells))
        text = "The file ends with Ctrl-Z, the mark of old programs for the end. It was skipped."
        self.remarks.append(Finding("control_z", text, line))

    def _unmarked(self, line: int, cells: list[str]) -> list[str]:
        """Without the mark at the beginning of a file that was joined to another one. It kept the
        quotation marks of the first cell from being seen."""
        self._marked.append(line)
        first = cells[0].lstrip(MARK)
        if len(first) > 1 and first[0] == first[-1] == '"':
            first = first[1:-1].replace('""', '"')
        return [first, *cells[1:]]

    def _what_repeats(self) -> list[list[str]]:
        """Lines that are hardly rows when they come again."""
        return [[cells[0].lstrip(MARK), *cells[1:]] for cells in self._names]

    def _is_repeated(self, line: int) -> bool:
        """Whether a line with the column names is no row. A single name, and one that looks like
        what is in a row, may be a cell; then only a person decides."""
        names = [cell for cells in self._names for cell in cells if cell.strip()]
        if len(names) == 1 or any(map(is_value, names)):
            self._like_name.append(line)
            if self.choices.unlike != SKIP:
                return False
        self._repeated.append(line)
        return True

    def _remark_on_lines(self) -> None:
        if self._between and self.choices.first_row:
            text = f"The rows begin in line {self._found.first_row}, as you chose. "
            self.remarks.append(
                Finding("before_rows", f"{text}{_left_out(self._between)} above.", self._between[0])
            )
        if lines := self._repeated:
            text = f"{_left_out(lines)}, because the column names are repeated there."
            options = (
                Option("There are no column names: read all as rows", {"header": NO_HEADER}),
            )
            self.remarks.append(Finding("repeated_names", text, lines[0], options=options))
        elif (lines := self._like_name) and self.choices.unlike != KEEP:
            self.remarks.append(self._ask_about_names(lines))
        repeated = set(self._repeated)
        if lines := [line for line in self._marked if line not in repeated]:
            text = f"A byte order mark was removed at the beginning of {_named(lines)}."
            self.remarks.append(Finding("mark_removed", text, lines[0]))

    def _ask_about_names(self, lines: list[int]) -> Finding:
        verb = "repeats" if len(lines) == 1 else "repeat"
        name = self.columns[0][:SHOWN]
        text = f"{_named(lines).capitalize()} {verb} the column name “{name}”."
        options = (
            Option("There are no column names: read all as rows", {"header": NO_HEADER}),
            Option("Skip it" if len(lines) == 1 else "Skip them", {"unlike": SKIP}),
            Option(
                "Read it as a row" if len(lines) == 1 else "Read them as rows", {"unlike": KEEP}
            ),
        )
        return Finding("unlike", text, lines[0], options=options)

    def _remark_on_what_is_above(self, above: int) -> None:
        lines = "line" if above == 1 else f"{above} lines"
        text = f"The column names were found in line {self.header}. The {lines} above it "
        text += "was skipped." if above == 1 else "were skipped."
        options: tuple[Option, ...] = ()
        if not self.choices.header and self._found.first:
            label = f"Take the column names from line {self._found.first}"
            options = (Option(label, {"header": self._found.first}),)
        self.remarks.append(Finding("above_header", text, self.header, options=options))

    def _name_columns(self, row: list[str]) -> None:
        """`row`: the first one."""
        width = len(row)
        header = self._found.line
        if header > 0 and not self._names:
            text = f"Line {header}, where the column names should be, is empty."
            raise unreadable("above_header", text, header)
        cells = join_names(self._names) if self._names else [""] * width
        most = self.limits.columns
        if len(cells) > most:
            # A spreadsheet writes out columns that are empty to the end.
            while cells and not cells[-1].strip():
                cells.pop()
        if len(cells) > most or not cells:
            count = len(cells) or width
            text = f"The file has {count:,} columns; at most {most} are possible."
            raise unreadable("too_many_columns", text, header if header > 0 else None)
        found = ColumnNames(cells, self.limits.name, header if header > 0 else None)
        self.remarks += found.findings
        self.nameless = found.nameless
        self._remark_on_odd_names(cells, row)
        self.columns = found.names
        if self.corrections:
            self.corrections.bind(found.names)

    def _remark_on_odd_names(self, cells: list[str], row: list[str]) -> None:
        """Names that were found, and look more like what is in a row."""
        odd = odd_names(cells, row)
        line = self._found.line
        if odd and not self.choices.header:
            text = f"The column names were taken from line {line}, where one is “{odd[0][:40]}”."
            options = (
                Option("That line is a row: there are no column names", {"header": NO_HEADER}),
                Option("These are the column names", {"header": line}),
            )
            self.remarks.append(Finding("odd_names", text, line, options=options))

    def _corrected(self, corrections: RowCorrections, line: int, cells: list[str]) -> list[str]:
        if line in self.wrong or self._line(line, cells, fill=False).problem:
            return corrections.cells(line, cells)
        corrections.not_needed(line)
        return cells

    def _line(self, line: int, cells: list[str], *, fill: bool) -> ParsedRow:
        return line_of(line, cells, len(self.columns), self.limits, fill=fill)


def _plain_beginnings(words: Iterable[str]) -> frozenset[str]:
    """Printable characters of ASCII with which none of `words` begins, in lower or upper case."""
    others = {word[:1] for word in words}
    plain = set(map(chr, range(ord("!"), ord("~") + 1)))
    return frozenset(plain - others - {begin.upper() for begin in others})


def _folded(cells: list[str]) -> list[str]:
    """Cells as names that may be written in another case."""
    return [cell.strip().lower() for cell in cells]


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


def _left_out(lines: list[int]) -> str:
    was = "was" if len(lines) == 1 else "were"
    return f"{_named(lines).capitalize()} {was} skipped"


def _named(lines: list[int]) -> str:
    """ "line 2", "lines 2, 3 and 5", "lines 2, 3, 4, 5, 6 and 90 more"."""
    if len(lines) == 1:
        return f"line {lines[0]:,}"
    if len(lines) <= NAMED:
        return f"lines {', '.join(f'{line:,}' for line in lines[:-1])} and {lines[-1]:,}"
    text = ", ".join(f"{line:,}" for line in lines[:NAMED])
    return f"lines {text} and {len(lines) - NAMED:,} more"
