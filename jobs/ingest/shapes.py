"""What all readers share: limits, people's choices, rows and findings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import msgspec

from ..rules.structs import reader_of
from .finding_kinds import remedy_of

NO_HEADER = -1
ALL_ROWS = -1
SKIP, KEEP, FILL = "skip", "keep", "fill"  # what to do with hidden, unusual and merged cells
ALL = "all"  # skip headings, too
FIX = "fix"  # repair garbled text
ESCAPES = "escapes"  # read backslashes as databases write them
EMPTY = "empty"  # read what stands for nothing as nothing
LINES_NAMED = 20  # with the same problem


class Limits(msgspec.Struct, frozen=True):
    """How much is read; in bytes unless noted."""

    rows: int = 1_000_000
    columns: int = 500
    name: int = 200  # characters of a column name
    cell: int = 1_000_000
    line: int = 5_000_000  # one line of a text file
    unpacked: int = 2_000_000_000  # what a compressed file may hold
    rows_bytes: int = 2_000_000_000  # of all rows, as they are stored
    memory: int = 1_500_000_000  # of the process that reads
    seconds: int = 600  # of computing


class Choices(msgspec.Struct, frozen=True):
    """How a person wants the file to be read. Empty values are detected."""

    encoding: str = ""  # a name of Python's, such as "cp1252"
    delimiter: str = ""  # ONE_COLUMN: each line is a cell
    sheet: str = ""
    header: int = 0  # the line of the column names; NO_HEADER: there are none
    fill: bool = False  # fill rows with too few cells instead of skipping them
    remedies: tuple[str, ...] = ()  # codes of fixes to apply to all ready-made requests
    no_quotes: bool = False  # quotation marks are text like any other
    backslashes: str = ""  # ESCAPES, as databases write them, or KEEP
    header_lines: int = 0  # in how many lines the column names are, from `header` on
    first_row: int = 0  # the line of the first row; lines between it and the names are left out
    last_row: int = 0  # the line of the last row; ALL_ROWS: also those of further tables below
    hidden: str = ""  # rows and columns that the spreadsheet hides: SKIP or KEEP
    merged: str = ""  # empty cells under a merge: FILL them with its text, or KEEP them empty
    unlike: str = ""  # rows above or below the table that look unlike the others: SKIP or KEEP
    subtotals: str = ""  # lines between the rows: SKIP totals, ALL: also headings, or KEEP
    garbled: str = ""  # text that was saved in a wrong encoding: FIX it, or KEEP it
    nulls: str = ""  # cells with what databases write for a missing value: EMPTY, or KEEP
    as_shown: tuple[str, ...] = ()  # columns read with their number format
    as_stored: tuple[str, ...] = ()  # columns read without it
    list_key: str = ""  # the list to read in a JSON object, such as "data.items"
    convert: str = ""  # requests in the form of another program, such as "openai"


# Lines of one sheet, which mean nothing in another.
_LINES = ("header", "header_lines", "first_row", "last_row")
# What is given by name; raises msgspec.ValidationError when it fits no field.
choices_from = reader_of(Choices)


class Option(msgspec.Struct, frozen=True, omit_defaults=True):
    """Another way to read the file, offered with a finding."""

    label: str  # of its button
    change: dict[str, str | int | bool | list[str]]  # fields of Choices
    sample: list[str] = []  # the same few lines, as they are read then

    def applied(self, choices: Choices) -> Choices:
        """`choices` with the change. Raises msgspec.ValidationError if it fits no field."""
        is_other_sheet = self.change.get("sheet", choices.sheet) != choices.sheet
        lines = dict.fromkeys(_LINES, 0) if is_other_sheet else {}
        return choices_from({**msgspec.structs.asdict(choices), **lines, **self.change})


class CorrectionFile(msgspec.Struct, frozen=True, omit_defaults=True):
    """A file with corrected rows that a person uploaded."""

    file: str  # its name among the uploads
    sha256: str = ""  # "": from a version that did not store it
    used: bool = False  # it could be used at least once


class Finding(msgspec.Struct, frozen=True):
    """Something a person should know about the file, of one of the kinds in finding_kinds.FINDINGS.

    `line` is the number that a spreadsheet (or, for JSON, a text editor) shows beside it: the
    header is line 1, a cell with a line break in it is in one line. None: the file as a whole.
    """

    kind: str
    text: str
    line: int | None = None
    fix: str = ""  # a fix for all findings of this kind: see request_fixes.fix_label
    options: tuple[Option, ...] = ()  # other ways to read the file

    def __post_init__(self) -> None:
        # It may quote the file, and PostgreSQL takes no NUL in a text.
        msgspec.structs.force_setattr(self, "text", self.text.replace("\0", "\ufffd"))

    @property
    def remedy(self) -> str:
        return remedy_of(self.kind)


class Unreadable(Exception):
    """The file cannot be read; `findings` say why, where and how to fix it."""

    def __init__(self, *findings: Finding) -> None:
        self.findings = findings
        super().__init__("; ".join(finding.text for finding in findings))


def unreadable(kind: str, text: str, line: int | None = None) -> Unreadable:
    return Unreadable(Finding(kind, text, line))


class ParsedRow(msgspec.Struct, gc=False):
    """One row of the upload."""

    line: int  # as in Finding
    source: str  # JSON text: the list of cells, or the ready-made request
    size: int  # bytes of the cells or of the request's `params`
    problem: Finding | None = None  # why it cannot be sent
    cell_sizes: list[int] = []  # a table: bytes of each cell
    model: str = ""  # a ready-made request: its model and longest answer
    max_tokens: int = 0
    cached: bool = False  # it asks for prompt caching, so its input can cost twice as much
    in_the_us: bool = False  # it asks for processing in the US, which costs more
    searches: int = 0  # web searches that it allows
    turns: int = 0  # how often the model may read results of server tools; 0: no such tools
    most: int = 0  # most tokens of its input, without the results of such tools
    usual: int = 0  # bytes of text with about as many tokens as its input
    is_linked: bool = False  # it has files that the provider fetches
    is_open: bool = False  # it holds something of unknown length


def row_name(format: str, number: int, line: int) -> int:
    """How the problem file names a row: by its line, as a spreadsheet numbers it. In a JSON list
    many can be in one line, so there it is the number of the row."""
    return number if format == "JSON" else line


class RowCorrections(Protocol):
    """What people corrected in the problem file, by row; see corrections.py. Rows are named as by
    row_name. Each method raises NotCorrected where a correction cannot be used."""

    changed: set[int]  # the rows that are not as they were

    def __bool__(self) -> bool: ...

    def bind(self, columns: Sequence[str]) -> None: ...

    def not_needed(self, row: int) -> None: ...

    def cells(self, row: int, cells: list[str]) -> list[str]: ...

    def request(
        self, row: int, text: str, request: dict[str, Any]
    ) -> tuple[str, dict[str, Any]]: ...


class Reader(Protocol):
    """An upload being read, by iterating it. `columns` is known with the first line at the latest,
    `blank_lines` and `remarks` after the last. `position`: how many bytes of the file were read."""

    kind: str  # "table" or "requests"
    format: str
    sheets: Sequence[str]  # of a workbook, those that can be chosen
    remarks: list[Finding]
    corrections: RowCorrections | None  # set before it is iterated

    @property
    def understood(self) -> Choices: ...  # all that can be chosen, as it was found out

    @property
    def columns(self) -> list[str]: ...

    @property
    def nameless(self) -> set[int]: ...  # the places of columns without a name in the file

    @property
    def blank_lines(self) -> int: ...

    @property
    def position(self) -> int: ...

    def __iter__(self) -> Iterator[ParsedRow]: ...
