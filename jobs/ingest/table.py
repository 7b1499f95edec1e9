"""CSV: comma, semicolon or tab, UTF-8 with or without a byte order mark."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec

from .text import (
    BOM,
    MAX_CELL,
    MAX_COLUMNS,
    MAX_LINE,
    MAX_NAME,
    Finding,
    Line,
    Unreadable,
    not_utf8,
)

# Counted in characters by the csv module; a cell's bytes are looked at afterwards.
csv.field_size_limit(MAX_CELL)
_encoder = msgspec.json.Encoder()
DELIMITERS = (",", ";", "\t")


def find_delimiter(beginning: str) -> str:
    """The delimiter that cuts the header line into the most columns; a comma when none does."""
    first_line = next((line for line in beginning.split("\n") if line.strip()), "")
    outside_quotes = "".join(first_line.split('"')[::2])
    return max(DELIMITERS, key=outside_quotes.count)


class CsvReader:
    """Iterates the rows below the header line."""

    kind = "table"
    format = "CSV"

    def __init__(self, path: str, beginning: str) -> None:
        self.path = path
        self.delimiter = find_delimiter(beginning)
        self.blank_lines = 0
        self.columns: list[str] = []
        self.remarks: list[Finding] = []
        self.position = 0
        self._records = 0  # what a spreadsheet numbers: a cell with a line break is in one row

    def _text_lines(self) -> Iterator[str]:
        """The physical lines of the file. Only LF, CRLF and CR end one: a line separator of
        another kind (U+2028, form feed) is text inside a cell."""
        with Path(self.path).open("rb") as file:
            carriage_returns_only = _has_only_carriage_returns(self.path)
            pieces = _split_at_carriage_returns(file) if carriage_returns_only else _lines_of(file)
            for raw in pieces:
                if len(raw) > MAX_LINE:
                    raise Unreadable(
                        Finding(
                            f"This line has more than {MAX_LINE:,} bytes. Is this a CSV file?",
                            self._records + 1,
                        )
                    )
                line = raw if self.position else raw.removeprefix(BOM)
                self.position += len(raw)
                if b"\0" in line:
                    raise Unreadable(
                        Finding(
                            "There is a NUL character in this line. Remove it, or save the file "
                            "again from your spreadsheet program.",
                            self._records + 1,
                        )
                    )
                try:
                    yield line.decode()
                except UnicodeDecodeError:
                    raise not_utf8(self._records + 1) from None

    def __iter__(self) -> Iterator[Line]:
        reader = csv.reader(self._text_lines(), delimiter=self.delimiter, strict=True)
        try:
            for cells in reader:
                self._records += 1
                if not any(cell.strip() for cell in cells):
                    self.blank_lines += 1
                elif not self.columns:
                    self._take_header(cells, self._records)
                else:
                    yield self._line(cells, self._records)
        except csv.Error as error:
            raise Unreadable(_in_words(str(error), self._records + 1)) from None
        if not self.columns:
            raise Unreadable(Finding("The file is empty. Choose a file with a header and rows."))

    def _take_header(self, cells: list[str], line: int) -> None:
        names = [cell.strip() for cell in cells]
        if len(names) > MAX_COLUMNS:
            raise Unreadable(
                Finding(
                    f"The header names {len(names):,} columns; at most {MAX_COLUMNS} are possible.",
                    line,
                )
            )
        for index, name in enumerate(names):
            if not name:
                names[index] = f"column_{index + 1}"
                self.remarks.append(
                    Finding(
                        f"Column {index + 1} has no name; it is called column_{index + 1}.", line
                    )
                )
            elif len(name) > MAX_NAME:
                raise Unreadable(
                    Finding(
                        f"The name of column {index + 1} has {len(name):,} characters; at most "
                        f"{MAX_NAME} are possible. Is the first line really the header?",
                        line,
                    )
                )
            elif "{" in name or "}" in name or "\n" in name:
                raise Unreadable(
                    Finding(
                        f"The column name “{name}” has a brace or a line break in it, which a "
                        "prompt could not refer to. Rename the column.",
                        line,
                    )
                )
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise Unreadable(
                Finding(
                    "Two columns have the same name: "
                    + ", ".join(f"“{name}”" for name in twice)
                    + ". Rename one of them.",
                    line,
                )
            )
        self.columns = names

    def _line(self, cells: list[str], begins: int) -> Line:
        expected = len(self.columns)
        problem = ""
        if len(cells) < expected:
            problem = (
                f"This row has {_cells(len(cells))}, the header has {expected}. Add the missing "
                "cells (they may be empty)."
            )
        elif len(cells) > expected:
            if any(cell.strip() for cell in cells[expected:]):
                problem = (
                    f"This row has {_cells(len(cells))}, the header has {expected}. A cell "
                    "that contains a comma (or whatever separates your cells) needs quotation "
                    "marks around it."
                )
            else:
                cells = cells[:expected]
        sizes = [len(cell) if cell.isascii() else len(cell.encode()) for cell in cells]
        if max(sizes) > MAX_CELL:
            problem = f"A cell has more than {MAX_CELL:,} bytes. Shorten it."
        return Line(begins, _encoder.encode(cells).decode(), sum(sizes), problem, sizes)


def _cells(count: int) -> str:
    return "1 cell" if count == 1 else f"{count} cells"


def _in_words(message: str, line: int) -> Finding:
    if "unexpected end of data" in message:
        return Finding(
            "A quotation mark is opened in this row and never closed, so the rest of the file "
            'would be one cell. Close it, or write two ("") where one is meant.',
            line,
        )
    if "expected after" in message:
        return Finding(
            "After a closing quotation mark there is more text before the next cell begins. "
            'Perhaps a quotation mark lacks its partner; one inside a cell is written twice ("").',
            line,
        )
    if "field larger than" in message:
        return Finding(f"A cell has more than {MAX_CELL:,} characters. Shorten it.", line)
    return Finding(f"This line is not valid CSV ({message}).", line)


def _has_only_carriage_returns(path: str) -> bool:
    with Path(path).open("rb") as file:
        head = file.read(65_536)
    return b"\r" in head and b"\n" not in head


def _lines_of(file: IO[bytes]) -> Iterator[bytes]:
    """Lines as they end with LF; of one that is too long only as much as tells that."""
    while raw := file.readline(MAX_LINE + 1):
        yield raw


def _split_at_carriage_returns(file: IO[bytes]) -> Iterator[bytes]:
    """Lines of a file in the old Macintosh style."""
    rest = b""
    while block := file.read(1 << 16):
        *whole, rest = (rest + block).split(b"\r")
        for piece in whole:
            yield piece + b"\n"
        if len(rest) > MAX_LINE:
            break
    if rest:
        yield rest
