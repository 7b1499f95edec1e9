"""What all readers share: the line they give, the ways to say what is wrong, and the first look."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

MAX_COLUMNS = 500
MAX_NAME = 200  # characters of a column name
MAX_CELL = 1_000_000  # bytes
MAX_LINE = 5_000_000  # bytes of one line of JSON
MAX_ROWS = 1_000_000
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Finding:
    """Something a person should know about the file. `line` is the number that a spreadsheet (or,
    for JSON, a text editor) shows beside it: the header is line 1, a cell with a line break in it
    is in one line. None: about the file as a whole."""

    text: str
    line: int | None = None

    def __post_init__(self) -> None:
        # It may quote the file, and PostgreSQL takes no NUL in a text.
        object.__setattr__(self, "text", self.text.replace("\0", "\ufffd"))


class Unreadable(Exception):
    """The file cannot be read; `findings` say why, where, and how to mend it."""

    def __init__(self, *findings: Finding) -> None:
        self.findings = findings
        super().__init__("; ".join(finding.text for finding in findings))


@dataclass(slots=True)
class Line:
    """One row of the upload."""

    line: int  # as in Finding
    source: str  # JSON text: the list of cells, or the ready-made request as it was written
    size: int  # bytes of the cells or of the request's `params`
    problem: str = ""  # why it cannot be sent
    cell_sizes: list[int] = field(default_factory=list)  # a table: bytes of each cell
    model: str = ""  # a ready-made request: its model and longest answer
    max_tokens: int = 0
    cached: bool = False  # it asks for prompt caching, so its input can cost twice as much
    in_the_us: bool = False  # it asks to be kept in the US, which costs more


class Reader(Protocol):
    """An upload being read. `columns` is known before the first line (JSON: after the last);
    `position` is how many bytes of the file have been read."""

    kind: str  # "table" or "requests"
    format: str
    delimiter: str
    columns: list[str]
    blank_lines: int
    remarks: list[Finding]
    position: int

    def __iter__(self) -> Iterator[Line]: ...


def look(path: str) -> str:
    """The beginning of the file as text. Raises Unreadable for an empty file or one that is not
    text in UTF-8."""
    with Path(path).open("rb") as file:
        head = file.read(65_536)
    if not head.strip(b" \t\r\n\0" + BOM):
        raise Unreadable(Finding("The file is empty. Choose a file with a header line and rows."))
    if head.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise Unreadable(
            Finding(
                "This looks like an Excel file. Open it in Excel and save it as "
                "“CSV UTF-8 (comma delimited)”, then upload that."
            )
        )
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Unreadable(
            Finding("The file is in UTF-16. Save it as UTF-8 (in Excel: “CSV UTF-8”).")
        )
    if b"\0" in head:
        raise Unreadable(Finding("This is not a text file. Upload a CSV or JSONL file."))
    # The last character may be cut in two by the length of the look.
    return head.decode("utf-8-sig", errors="ignore")


def not_utf8(line: int) -> Unreadable:
    return Unreadable(
        Finding(
            "There is a character here that is not UTF-8. Open the file in your spreadsheet "
            "program and save it as UTF-8 (in Excel: “CSV UTF-8”).",
            line,
        )
    )
