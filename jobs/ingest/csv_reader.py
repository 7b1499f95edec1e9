"""CSV and its relatives: the rows of a text file, in the dialect that was found out or chosen."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO

from msgspec.structs import replace

from .chat_lines import ask_about_lines, read_as_lines
from .csv_records import Records
from .delimiters import ONE_COLUMN
from .descriptions import name_of
from .dialects import (
    Found,
    find_dialect,
    one_column,
    option_of,
    other_dialects,
    said_delimiter,
)
from .encodings import BAD, MARK_BAD, find_encoding, first_bad_line
from .lined_up_columns import NOT_LINED_UP
from .null_marks import file_may_have_nulls
from .row_shapes import Record
from .shapes import (
    ESCAPES,
    KEEP,
    NO_HEADER,
    Choices,
    Finding,
    Option,
    ParsedRow,
    RowCorrections,
    unreadable,
)
from .table_rows import Table
from .upload_file import HEAD, UploadFile

SHOWN = 40  # characters of a cell


@dataclass
class _Doubt:
    """Rows that were read, those that cannot be sent, and the latter with too few cells."""

    rows: int = 0
    skipped: int = 0
    short: int = 0
    faulty: dict[int, tuple[str, str]] = field(default_factory=dict)  # by line: kind, words

    def skip(self, problem: Finding) -> None:
        self.skipped += 1
        self.short += problem.kind == "few_cells"


class CsvReader:
    """Iterates the rows below the column names. Raises Unreadable, also while it is made."""

    kind = "table"
    format = "CSV"
    sheets: Sequence[str] = ()
    corrections: RowCorrections | None = None

    def __init__(self, file: UploadFile, choices: Choices) -> None:
        self.remarks: list[Finding] = []
        self._file = file
        file.require_text()
        self._encoding = find_encoding(file, choices.encoding, self.remarks, bad_lines=True)
        self._has_bad = bool(first_bad_line(file, self._encoding))
        self._has_nul = False  # so far
        sample = _whole_lines(file.head, self._encoding)
        first, _break, rest = sample.partition("\n")
        said = said_delimiter(first)
        self._has_sep = bool(said)
        self._sample = rest if said else sample
        self._choices = choices
        if said and not choices.delimiter:
            choices = replace(choices, delimiter=said)
        found = find_dialect(self._sample, choices, cut=self._is_cut)
        asked = None if choices.delimiter else ask_about_lines(self._sample, found, choices)
        if asked:
            self.remarks.append(asked)
            self._choices = read_as_lines(choices)
            found = find_dialect(self._sample, self._choices, cut=self._is_cut)
        self._look = found.look
        self._remark_on_dialect(found)
        self._doubt = _Doubt()
        self._records = 0  # what a spreadsheet numbers: a cell with a line break is in one row
        self._table = Table(self._choices, file.limits, self.remarks)
        self._table.is_text = True
        self._table.wrong = self._doubt.faulty
        self._table.may_have_nulls = file_may_have_nulls(file, self._encoding)

    @property
    def _is_cut(self) -> bool:
        return len(self._file.head) == HEAD

    @property
    def position(self) -> int:
        return self._file.position

    @property
    def understood(self) -> Choices:
        dialect = self._look.dialect
        return replace(
            self._table.understood,
            encoding=self._encoding,
            delimiter=dialect.delimiter,
            no_quotes=not dialect.quote and not dialect.gaps,
            backslashes=self._choices.backslashes,
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
        # The module counts characters; the bytes of a cell are looked at afterwards.
        csv.field_size_limit(self._file.limits.cell)
        self._table.corrections = self.corrections
        encoding = _without_mark(self._encoding)
        errors = MARK_BAD if self._has_bad else "strict"
        faulty, doubt = self._doubt.faulty, self._doubt
        with io.TextIOWrapper(self._file.open(), encoding, errors, newline="") as text:
            try:
                for doubt.rows, row in enumerate(self._table.lines(self._records_of(text)), 1):
                    if faulty and row.line in faulty and not self._is_corrected(row.line):
                        kind, words = faulty[row.line]
                        row.problem = Finding(kind, words, row.line)
                    if row.problem is not None:
                        doubt.skip(row.problem)
                    yield row
            except csv.Error as error:
                raise self._in_words(str(error)) from None
        self._remark_on_names()
        self._remark_on_skipped()

    def _is_corrected(self, line: int) -> bool:
        return self.corrections is not None and line in self.corrections.changed

    def _records_of(self, text: IO[str]) -> Iterator[Record]:
        records = Records(self._look.dialect, self._look.width)
        lines = self._lines_of(text, records.taken)
        if self._has_sep:
            next(lines, None)  # a spreadsheet shows the file without this line
            records.taken.clear()
        for self._records, (cells, fault) in enumerate(records.read(lines), start=1):
            if fault:
                kind = "gaps" if fault == NOT_LINED_UP else "quotes"
                self._doubt.faulty[self._records] = (kind, fault)
            if self._has_bad and any(BAD in cell for cell in cells):
                what = f"a character that is not valid {name_of(self._encoding)}"
                cells = self._without(BAD, cells, "bad_character", what)
            if self._has_nul and any("\0" in cell for cell in cells):
                cells = self._without("\0", cells, "nul", "a NUL character")
            if self._records == 1 and self._look.has_row_names:
                cells = ["", *cells]
            yield self._records, cells

    def _without(self, mark: str, cells: list[str], kind: str, what: str) -> list[str]:
        """`mark` as the character that stands for what cannot be shown. The row is faulty."""
        at = next(at for at, cell in enumerate(cells) if mark in cell)
        cells = [cell.replace(mark, "\ufffd") for cell in cells]
        begin = max(0, cells[at].index("\ufffd") - SHOWN // 2)
        shown = cells[at][begin : begin + SHOWN]
        self._doubt.faulty[self._records] = (kind, f"This row has {what}: “{shown}”.")
        return cells

    def _lines_of(self, text: IO[str], taken: list[str]) -> Iterator[str]:
        """The physical lines of the file, which are put in `taken`, too. Only LF, CRLF and CR end
        one: a line separator of another kind (U+2028, form feed) is text inside a cell."""
        most = self._file.limits.line
        while line := text.readline(most + 1):
            if not self._records:
                line = line.lstrip("\ufeff")  # a mark, also one too many
            if len(line) > most:
                words = f"This line has more than {most:,} characters."
                raise unreadable("long_line", words, self._records + 1)
            if "\0" in line:
                if not self._records:
                    words = "There is a NUL character in the first line."
                    raise unreadable("nul", words, 1)
                self._has_nul = True
            taken.append(line)
            yield line

    def _in_words(self, message: str) -> Exception:
        line = self._records + 1
        if "field larger than" in message:
            most = self._file.limits.cell
            return unreadable("long_line", f"A cell has more than {most:,} characters.", line)
        return unreadable("quotes", f"This line is not valid CSV ({message}).", line)

    # --- What people should look at -----------------------------------------------------------

    def _remark_on_dialect(self, found: Found) -> None:
        if found.look.dialect.quote == "'":
            text = "Cells were in single quotation marks, which were removed."
            self.remarks.append(Finding("single_quotes", text))
        if found.look.dialect.skips_blanks:
            text = "Blanks before cells were removed, because some are before quotation marks."
            self.remarks.append(Finding("skipped_blanks", text))
        if found.stray:
            text = (
                f"Quotation marks are read as text, because some in line {found.stray:,} do not "
                "enclose a whole cell."
            )
            self.remarks.append(Finding("stray_quotes", text, found.stray))
        if found.look in found.tables:
            text = "The lines are cut at commas, which may be the commas of sentences."
            options = [*map(option_of, found.tables)]
            self.remarks.append(Finding("one_column", text, options=tuple(options)))
        elif found.tables:
            text = "Each line is read as one cell, because the first line is in one piece."
            if found.is_lined_up:
                text = "Each line is read as one cell. Blanks seem to line up columns in it."
            one = option_of(found.look)
            options = [one, *map(option_of, found.tables)]
            if found.is_lined_up:
                options.reverse()
            self.remarks.append(Finding("one_column", text, options=tuple(options)))
        if found.look.dialect.drawn:
            text = "The table is drawn with characters. Its lines and the blanks were skipped."
            options = [one_column(self._sample, cut=self._is_cut)]
            self.remarks.append(Finding("drawn", text, options=tuple(options)))
        if found.look.dialect.wraps and not self._choices.delimiter:
            text = "Each line is in quotation marks as a whole. They were removed."
            options = [option_of(found.look), one_column(self._sample, cut=self._is_cut)]
            self.remarks.append(Finding("whole_quotes", text, options=tuple(options)))
        if found.look.dialect.backslashes and not self._choices.backslashes:
            text = "Backslashes are read as databases write them: "
            text += (
                r"one before a tab or a line break keeps it in the cell, and \\ is one backslash."
            )
            options = [
                Option("Read them so", {"backslashes": ESCAPES}, found.look.sample),
                Option("Read them as text", {"backslashes": KEEP}),
            ]
            self.remarks.append(Finding("backslashes", text, options=tuple(options)))
        if found.look.dialect.escapes:
            text = 'Quotation marks inside cells are written \\" in this file and were read as ".'
            back = Option("No quotation marks", {"no_quotes": True})
            self.remarks.append(Finding("backslash_quotes", text, options=(back,)))

    def _remark_on_names(self) -> None:
        """A fault in the line of names is in no row, so nobody would see it."""
        found = self._table.understood
        for line in range(found.header, found.header + max(found.header_lines, 1)):
            if line in self._doubt.faulty:
                _kind, words = self._doubt.faulty[line]
                words = words.replace("This row", "The line of the column names")
                words = words.replace("this row", "the line of the column names")
                options = self._ways_to_name(line)
                kind = "faulty_names" if options else "kept_names"
                self.remarks.append(Finding(kind, words, line, options=options))

    def _ways_to_name(self, line: int) -> tuple[Option, ...]:
        """When nobody chose the line with the names."""
        if self._choices.header:
            return ()
        kind, _words = self._doubt.faulty[line]
        keep = Option("Keep these names", {"header": line})
        rows = Option("There are no column names: read all as rows", {"header": NO_HEADER})
        if kind == "quotes" and self._look.dialect.quote:
            return (keep, Option("No quotation marks", {"no_quotes": True}), rows)
        return (keep, rows)

    def _remark_on_skipped(self) -> None:
        """Ask, when too many rows cannot be sent for the file to be read as it is meant."""
        doubt, chosen = self._doubt, self._choices
        unexplained = doubt.skipped - self._table.short_in_question
        if unexplained * 3 <= doubt.rows or chosen.delimiter or chosen.no_quotes:
            return
        options = other_dialects(self._sample, self._look.dialect, cut=self._is_cut)
        if doubt.short * 2 > doubt.skipped:
            fill = Option("Fill short rows with empty cells", {"fill": True}, self._look.filled)
            # That every line can be one cell is no proof that it should be.
            at = sum(option.change["delimiter"] != ONE_COLUMN for option in options)
            options.insert(at, fill)
        if [option.change.get("delimiter") for option in options] == [ONE_COLUMN]:
            options.append(option_of(self._look))
        text = f"{doubt.skipped:,} of {doubt.rows:,} rows cannot be sent as the file is read now."
        self.remarks.append(Finding("mostly_skipped", text, options=tuple(options)))


def _without_mark(encoding: str) -> str:
    """The same encoding without the byte order mark that a file may begin with."""
    return "utf-8-sig" if encoding == "utf-8" else encoding


def _whole_lines(head: bytes, encoding: str) -> str:
    """The beginning of the file, but for the line that the look has cut off."""
    text = head.decode(_without_mark(encoding), errors="ignore")
    text = text.removeprefix("\ufeff")
    end = max(text.rfind("\n"), text.rfind("\r"))
    return text[: end + 1] if end >= 0 else text
