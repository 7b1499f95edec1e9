"""A problem file that comes back corrected, in whatever form a spreadsheet program saved it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import TypeVar

from msgspec.structs import replace

from .corrected_rows import OURS, CorrectedFile
from .csv_records import NEVER_CLOSED
from .delimiters import DELIMITERS
from .file_formats import open_upload
from .json_layout import WHOLE
from .json_reader import JsonLinesReader
from .shapes import Choices, Limits, Reader, Unreadable, unreadable

MOST_ROWS = 100_000  # of one corrected file, which is held in memory
MOST_BYTES = 100_000_000

Cells = TypeVar("Cells", list[str | None], dict[str, str])

_ROW_COLUMN = re.compile(rf"{OURS[0]}(_\d+)?", re.IGNORECASE)
# Findings about the columns of a corrected file are in corrections.py.
_OF_COLUMNS = {
    *("unnamed", "above_header", "missing_key", "long_name", "cleaned_name", "odd_names"),
    *("unlike", "unlike_below", "list_inside"),
}
# Of a row, whose cells are not what they look like.
_FAULTS = {"no_value", "quotes", "bad_character"}


def read_corrected(path: str, limits: Limits, like: Choices) -> CorrectedFile:
    """`like`: how the upload was read, which the same spreadsheet program has written. Raises
    Unreadable."""
    # What is wrong with a row of the upload may be that it is too large.
    roomy = replace(
        limits, columns=limits.columns + len(OURS), cell=2 * limits.cell, line=2 * limits.line
    )
    why: Unreadable | None = None
    for delimiter in dict.fromkeys([like.delimiter, "", *DELIMITERS]):
        try:
            found = _read(_open(path, delimiter, roomy, like.encoding))
        except Unreadable as error:
            why = why or error
            continue
        if any(map(_ROW_COLUMN.fullmatch, found.places)):
            return found
        if not delimiter:
            why = _no_row_column()
    raise why or _no_row_column()


def _no_row_column() -> Unreadable:
    text = f"It has no column “{OURS[0]}”, so we cannot tell which rows it corrects."
    return unreadable("no_row_column", text)


def _open(path: str, delimiter: str, limits: Limits, encoding: str) -> Reader:
    like = Choices(delimiter=delimiter, list_key=WHOLE)  # a row may have lists in it
    reader = open_upload(path, like, limits)
    guessed = any(remark.kind == "guessed" for remark in reader.remarks)
    if guessed and encoding and not encoding.startswith("utf"):
        # The encoding of the upload is a better guess than that by a few rows.
        reader = open_upload(path, replace(like, encoding=encoding), limits)
    return reader


def _read(reader: Reader) -> CorrectedFile:
    found = CorrectedFile()
    if isinstance(reader, JsonLinesReader):
        for line, values in _limited(reader.texts()):
            for name in values:
                found.places.setdefault(name, len(found.places))
            found.rows.append((line, [values.get(name) for name in found.places]))
    else:
        found.rows = list(_limited(_table_rows(reader)))
        if double := next((one for one in reader.remarks if one.kind == "same_name"), None):
            raise Unreadable(double)  # which of the two was corrected?
        found.places = {
            name: at for at, name in enumerate(reader.columns) if at not in reader.nameless
        }
        found.nameless = sorted(reader.nameless)
    found.width = len(found.places) + len(found.nameless)
    if stray := next((one for one in reader.remarks if one.kind == "stray_quotes"), None):
        # In a file that a program saved, a cell is in quotation marks, or has none to be read.
        raise unreadable("quotes", NEVER_CLOSED, stray.line)
    found.remarks = [remark for remark in reader.remarks if remark.kind not in _OF_COLUMNS]
    return found


def _table_rows(reader: Reader) -> Iterator[tuple[int, list[str | None]]]:
    for line in reader:
        if line.problem and line.problem.kind in _FAULTS:
            raise Unreadable(line.problem)
        yield line.line, json.loads(line.source)


def _limited(rows: Iterator[tuple[int, Cells]]) -> Iterator[tuple[int, Cells]]:
    """Raises Unreadable when there is more than memory should hold."""
    size = 0
    for count, (line, cells) in enumerate(rows, start=1):
        values = cells.values() if isinstance(cells, dict) else cells
        size += sum(len(value or "") for value in values)
        if count > MOST_ROWS or size > MOST_BYTES:
            words = f"At most {MOST_ROWS:,} rows and {MOST_BYTES // 1_000_000} MB can be corrected"
            raise unreadable("too_many_corrected", f"{words} at once.", line)
        yield line, cells
