"""Rows that a person corrected in the problem file and uploaded back: each takes the place of the
row of the upload that it names.

A row that came back as it was given out corrects nothing. Nor does one that differs only by what a
spreadsheet does by itself, such as empty cells at the end.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from ..cells import exact_cell
from .shapes import NO_RESULT, Choices, Finding, Limits, Reader, Unreadable, unreadable

# The columns of the problem file beside those of the upload; the first names the row.
OURS = ("row", "problem", "how to fix")
REQUEST = "request"  # the one column of the upload, for ready-made requests
MOST_ROWS = 100_000  # of one corrected file, which is held in memory
MOST_BYTES = 100_000_000
SHOWN = 80  # characters of what is repeated in a finding

_request_decoder = msgspec.json.Decoder(dict[str, Any])


class NotCorrected(Unreadable):
    """A corrected file cannot be used: the one at `index`, in the order of their upload."""

    def __init__(self, index: int, *findings: Finding) -> None:
        self.index = index
        super().__init__(*findings)


def beside(names: Sequence[str], taken: Sequence[str]) -> list[str]:
    """`names` for columns beside those that are `taken`: "row_2" where there is a "row"."""
    found: list[str] = []
    for name in names:
        candidate, count = name, 1
        while candidate.casefold() in {other.casefold() for other in [*taken, *found]}:
            count += 1
            candidate = f"{name}_{count}"
        found.append(candidate)
    return found


def row_name(format: str, number: int, line: int) -> int:
    """How the problem file names a row: by its line, as a spreadsheet numbers it. In a JSON list
    many can be in one line, so there it is the number of the row."""
    return number if format == "JSON" else line


class _Correction(NamedTuple):
    file: int  # the index of its file
    line: int  # in its file
    cells: list[str]


class _File(NamedTuple):
    places: dict[str, int]  # of the columns, in their order
    rows: list[tuple[int, list[str]]]


class Corrections:
    """What was corrected in some files; a later file counts before an earlier one."""

    def __init__(
        self,
        paths: Sequence[str],
        limits: Limits,
        open_upload: Callable[[str, Choices, Limits], Reader],
    ) -> None:
        """Raises NotCorrected."""
        self.changed: set[int] = set()  # names of the rows that are not as they were
        self.filled: set[int] = set()  # those of them with something in a cell that was empty
        self._files: list[_File] = []
        self._waiting: dict[int, _Correction] | None = None
        self._remarks: list[Finding] = []
        for index, path in enumerate(paths):
            try:
                reader = open_upload(path, Choices(), limits)
                rows = list(_rows(reader))
            except Unreadable as error:
                raise NotCorrected(index, *error.findings) from error
            self._files.append(_File({name: at for at, name in enumerate(reader.columns)}, rows))

    def __bool__(self) -> bool:
        return bool(self._files)

    def cells(self, row: int, cells: list[str], columns: Sequence[str]) -> list[str]:
        """The cells of a row of a table as they are now. Raises NotCorrected."""
        found = self._take(row, columns)
        if found is None:
            return cells
        places = self._files[found.file].places
        corrected = []
        for index, name in enumerate(columns):
            own = _cell(cells, index)
            given = _cell(found.cells, places[name]) if name in places else own
            corrected.append(exact_cell(given, own))
        beyond = cells[len(columns) :]
        for at in _places_beyond(places, columns, len(found.cells)):
            own = beyond.pop(0) if beyond else ""
            corrected.append(exact_cell(found.cells[at], own))
        while len(corrected) > len(cells) and not corrected[-1].strip():
            corrected.pop()
        if not any(map(str.strip, corrected)) or _same(corrected, cells):
            return cells
        self.changed.add(row)
        width = len(columns)
        if _empty(corrected, width) < _empty(cells, width):
            self.filled.add(row)
        return corrected

    def request(self, row: int, text: str, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """The text of a ready-made request, and what it is, as they are now. Raises
        NotCorrected."""
        found = self._take(row, [REQUEST])
        if found is None:
            return text, request
        places = self._files[found.file].places
        if REQUEST not in places:
            raise _no_column(found.file, REQUEST)
        corrected = _cell(found.cells, places[REQUEST])
        try:
            now = _request_decoder.decode(corrected)
        except (msgspec.DecodeError, RecursionError):
            words = f"The corrected request of row {row:,} is not a JSON object."
            raise NotCorrected(found.file, Finding("correction", words, found.line)) from None
        if now == request:
            return text, request
        self.changed.add(row)
        return corrected, now

    def remarks(self) -> Iterator[Finding]:
        """What is to be said when all rows of the upload were read."""
        yield from self._remarks
        for row in sorted(self._waiting or ()):
            words = f"The corrected file has a row {row:,}, which your file does not have."
            yield Finding("correction_left", words)

    def _take(self, row: int, columns: Sequence[str]) -> _Correction | None:
        if self._waiting is None:
            self._waiting = {}
            for index in range(len(self._files)):
                self._look_for_rows(index, columns)
        return self._waiting.pop(row, None)

    def _look_for_rows(self, index: int, columns: Sequence[str]) -> None:
        """Find out which rows a file names, now that the columns of the upload are known."""
        assert self._waiting is not None  # noqa: S101 - _take has just made it
        places, rows = self._files[index]
        ours = beside(OURS, columns)
        if ours[0] not in places:
            raise _no_column(index, ours[0])
        for name, at in places.items():
            if name not in ours and name not in columns and name != _unnamed(at):
                words = f"The corrected file has a column “{name}”, which your file does not have."
                self._remarks.append(Finding("correction_left", words))
        seen: set[int] = set()
        for line, cells in rows:
            text = _cell(cells, places[ours[0]]).strip()
            if not (text.isascii() and text.isdigit() and len(text) < 10):
                words = f"The column “{ours[0]}” says “{text[:SHOWN]}”, which is no row’s number."
                raise NotCorrected(index, Finding("correction", words, line))
            row = int(text)
            if row in seen:
                words = f"Row {row:,} is there twice."
                raise NotCorrected(index, Finding("correction", words, line))
            seen.add(row)
            self._waiting[row] = _Correction(index, line, cells)


def _rows(reader: Reader) -> Iterator[tuple[int, list[str]]]:
    size = 0
    for count, line in enumerate(reader, start=1):
        size += len(line.source)
        if count > MOST_ROWS or size > MOST_BYTES:
            words = f"At most {MOST_ROWS:,} rows and {MOST_BYTES // 1_000_000} MB can be corrected"
            raise unreadable("too_many_corrected", f"{words} at once.", line.line)
        if reader.kind == "table":
            yield line.line, json.loads(line.source)


def _places_beyond(places: dict[str, int], columns: Sequence[str], width: int) -> Iterator[int]:
    """Where a row of a corrected file has cells that stand in no column with a name."""
    for name, at in places.items():
        if name == _unnamed(at) and name not in columns:
            yield at
    yield from range(len(places), width)


def _unnamed(at: int) -> str:
    """What a table calls a column without a name."""
    return f"column_{at + 1}"


def _no_column(index: int, name: str) -> NotCorrected:
    words = (
        f"It has no column “{name}”, so we cannot tell which rows it corrects. If it is your whole "
        "file, choose “Use another file instead”."
    )
    return NotCorrected(index, Finding("correction", words))


def _cell(cells: list[str], at: int) -> str:
    return cells[at] if at < len(cells) else ""


def _empty(cells: list[str], width: int) -> int:
    return sum(1 for at in range(width) if _cell(cells, at).strip() in ("", NO_RESULT))


def _same(one: list[str], other: list[str]) -> bool:
    """A spreadsheet may write other line breaks."""
    return len(one) == len(other) and all(
        mine == theirs or mine.replace("\r\n", "\n") == theirs.replace("\r\n", "\n")
        for mine, theirs in zip(one, other, strict=True)
    )
