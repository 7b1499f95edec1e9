"""CSV and its relatives: the delimiter, the quotation mark, `sep=` and line ends are found out."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import IO

from msgspec.structs import replace

from .descriptions import DELIMITERS, name_of
from .encodings import find_encoding, first_bad_line
from .row_shapes import Record
from .shapes import Choices, Finding, ParsedRow, RowCorrections, unreadable
from .table_rows import Table
from .upload_file import UploadFile

LOOKED_AT = 100  # records by which the delimiter is found
_SEP = re.compile(r"^sep=(.)\r?\n?$", re.IGNORECASE)
_ALL_SINGLE = re.compile(r"'[^']*'([,;\t|]'[^']*')+$")


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
        self._encoding = find_encoding(file, choices.encoding, self.remarks)
        sample = _whole_lines(file.head, self._encoding)
        self._quote = _quotation_mark(sample)
        if self._quote == "'":
            text = "Cells were in single quotation marks, which were removed."
            self.remarks.append(Finding("single_quotes", text))
        first = sample.split("\n", 1)[0] + "\n"
        self._has_sep = bool(_SEP.match(first))
        delimiter = choices.delimiter or self._find_delimiter(sample, first)
        self._delimiter = delimiter
        self._choices = choices
        self._records = 0  # what a spreadsheet numbers: a cell with a line break is in one row
        self._table = Table(choices, file.limits, self.remarks)

    @property
    def position(self) -> int:
        return self._file.position

    @property
    def understood(self) -> Choices:
        return replace(self._table.understood, encoding=self._encoding, delimiter=self._delimiter)

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
        with io.TextIOWrapper(self._file.open(), encoding, newline="") as text:
            try:
                yield from self._table.lines(self._records_of(text))
            except csv.Error as error:
                raise self._in_words(str(error)) from None
            except UnicodeDecodeError:
                bad = first_bad_line(self._file, self._encoding)
                words = f"There is a character here that is not {name_of(self._encoding)}."
                raise unreadable("encoding", words, bad) from None

    def _records_of(self, text: IO[str]) -> Iterator[Record]:
        reader = csv.reader(
            self._lines_of(text),
            delimiter=self._delimiter,
            quotechar=self._quote,
            strict=True,
        )
        if self._has_sep:
            next(reader, None)  # a spreadsheet shows the file without this line
        for self._records, cells in enumerate(reader, start=1):
            yield self._records, cells

    def _lines_of(self, text: IO[str]) -> Iterator[str]:
        """The physical lines of the file. Only LF, CRLF and CR end one: a line separator of
        another kind (U+2028, form feed) is text inside a cell."""
        most = self._file.limits.line
        while line := text.readline(most + 1):
            if not self._records:
                line = line.lstrip("\ufeff")  # a mark, also one too many
            if len(line) > most:
                words = f"This line has more than {most:,} characters."
                raise unreadable("long_line", words, self._records + 1)
            if "\0" in line:
                words = "There is a NUL character in this line."
                raise unreadable("nul", words, self._records + 1)
            yield line

    def _find_delimiter(self, sample: str, first: str) -> str:
        """What cuts the most lines into equally many cells; a comma when nothing does."""
        if said := _SEP.match(first):
            return said[1]

        def score(delimiter: str) -> tuple[float, int]:
            widths = self._widths(sample, delimiter)
            width, often = widths.most_common(1)[0] if widths else (1, 0)
            return (often / widths.total(), width) if width > 1 else (0.0, 1)

        return max(DELIMITERS, key=score)

    def _widths(self, sample: str, delimiter: str) -> Counter[int]:
        """How many of the first records have how many cells."""
        lines = io.StringIO(sample, newline="")
        records = csv.reader(lines, delimiter=delimiter, quotechar=self._quote)
        try:
            return Counter(len(cells) for cells in islice(records, LOOKED_AT) if any(cells))
        except csv.Error:
            return Counter()

    def _in_words(self, message: str) -> Exception:
        line = self._records + 1
        if "unexpected end of data" in message:
            return unreadable(
                "quotes",
                "A quotation mark is opened in this row and never closed, so the rest of the file "
                "would be one cell.",
                line,
            )
        if "expected after" in message:
            return unreadable(
                "quotes",
                "After a closing quotation mark there is more text before the next cell begins.",
                line,
            )
        if "field larger than" in message:
            most = self._file.limits.cell
            return unreadable("long_line", f"A cell has more than {most:,} characters.", line)
        return unreadable("quotes", f"This line is not valid CSV ({message}).", line)


def _without_mark(encoding: str) -> str:
    """The same encoding without the byte order mark that a file may begin with."""
    return "utf-8-sig" if encoding == "utf-8" else encoding


def _whole_lines(head: bytes, encoding: str) -> str:
    """The beginning of the file, but for the line that the look has cut off."""
    text = head.decode(_without_mark(encoding), errors="ignore")
    text = text.removeprefix("\ufeff")
    end = max(text.rfind("\n"), text.rfind("\r"))
    return text[: end + 1] if end >= 0 else text


def _quotation_mark(sample: str) -> str:
    """A few programs write 'so' and not "so": then all column names are written so."""
    first = next((line for line in re.split(r"[\r\n]+", sample) if line.strip()), "")
    return "'" if _ALL_SINGLE.match(first) and '"' not in sample else '"'
