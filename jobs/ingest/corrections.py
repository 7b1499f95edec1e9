"""Rows that a person corrected in the problem file and uploaded back: each takes the place of the
row of the upload that it names.

Only a row that could not be sent as it was is corrected, so a file that belongs elsewhere cannot
overwrite good rows. What a spreadsheet does by itself is no correction: a row that came back as it
was given out, empty cells at its end, another line break, a text that is cut at the length of a
cell, letters that an old encoding does not have. A cell that is not there leaves the row's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from ..rules.spreadsheet_cells import exact_cell, plain_cell
from .corrected_file import read_corrected
from .corrected_rows import OURS, CorrectedFile, NotCorrected
from .json_reader import compact
from .shapes import Choices, Finding, Limits, Unreadable

EXCEL_CELL = 32_767  # characters, the most that a cell of Excel holds
SHOWN = 80  # characters of what is repeated in a finding

_request_decoder = msgspec.json.Decoder(dict[str, Any])


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


def read_corrections(paths: Sequence[str], limits: Limits, like: Choices) -> Corrections:
    """`like`: how the upload is read. Raises NotCorrected."""
    found = []
    for index, path in enumerate(paths):
        try:
            found.append(read_corrected(path, limits, like))
        except Unreadable as error:
            raise NotCorrected(index, *error.findings) from error
    return Corrections(found)


class Corrections:
    """What was corrected in some files, one after the other. Rows are named as by row_name."""

    def __init__(self, corrected: Sequence[CorrectedFile]) -> None:
        self.changed: set[int] = set()  # the rows that are not as they were
        self._files = corrected
        self._bound: list[_Bound] = []
        self._not_needed: list[int] = []
        self._unchanged: list[int] = []

    def __bool__(self) -> bool:
        return bool(self._files)

    def bind(self, columns: Sequence[str]) -> None:
        """Say which columns the upload has, before its rows. Raises NotCorrected."""
        self._bound = [_Bound(index, file, columns) for index, file in enumerate(self._files)]

    def left(self) -> list[int]:
        """The rows that are named and were not asked for yet."""
        return sorted({row for bound in self._bound for row in bound.rows})

    def not_needed(self, row: int) -> None:
        """The row can be sent as it is, and stays so."""
        given = [bound.rows.pop(row, None) for bound in self._bound]
        if any(given):
            self._not_needed.append(row)

    def cells(self, row: int, cells: list[str]) -> list[str]:
        """The cells of a row of a table that cannot be sent, as they are now."""
        now = cells
        named = any(row in bound.rows for bound in self._bound)
        for bound in self._bound:
            now = bound.corrected(row, cells, now)
        if now is not cells:
            self.changed.add(row)
        elif named:
            self._unchanged.append(row)
        return now

    def request(self, row: int, text: str, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """The text of a ready-made request that cannot be sent, and what it is, as they are now.
        Raises NotCorrected."""
        for bound in self._bound:
            line, given = bound.rows.pop(row, (0, []))
            written = _cell(given, bound.plan[0])
            if not written or written == compact(text.encode()):
                continue
            try:
                text, request = written, _request_decoder.decode(written)
            except (msgspec.DecodeError, RecursionError):
                words = f"The corrected request of row {row:,} is not a JSON object."
                raise NotCorrected(bound.index, Finding("correction", words, line)) from None
            self.changed.add(row)
        return text, request

    def remarks(self) -> Iterator[Finding]:
        """Remarks once all rows of the upload were read. Raises NotCorrected."""
        yield from self.remarks_on_files()
        for bound in self._bound:
            for row in sorted(bound.rows):
                words = f"The corrected file has a row {row:,}, which your file does not have."
                yield Finding("correction_left", words)
        for row in self._unchanged:
            words = f"Row {row:,} came back uncorrected and is still skipped."
            yield Finding("not_corrected", words)
        for row in self._not_needed:
            words = f"Row {row:,} was already valid, so its correction was not used."
            yield Finding("correction_left", words)

    def remarks_on_files(self) -> Iterator[Finding]:
        """Remarks about the files as a whole. Raises NotCorrected when all was asked for
        that they name, and one of them belongs elsewhere."""
        for bound in self._bound:
            bound.require_likeness()
            for remark in bound.file.remarks:
                yield Finding("correction_note", f"In the corrected file: {remark.text}")
            yield from bound.remarks


class _Bound:
    """A corrected file, and which of its columns are which of the upload."""

    def __init__(self, index: int, file: CorrectedFile, columns: Sequence[str]) -> None:
        """Raises NotCorrected."""
        self.index = index
        self.file = file
        self.remarks: list[Finding] = []
        ours = beside(OURS, columns)
        places = file.places
        if ours[0] not in places:
            self._refuse(f"It has no column “{ours[0]}”, so we cannot tell which rows it corrects.")
        # In a file for a spreadsheet a name is written so that it is no formula.
        self.plan = [places.get(name, places.get(plain_cell(name))) for name in columns]
        self._name_strangers(ours, columns)
        self._width = file.width
        self._alike = self._unlike = 0
        self.rows = dict(self._rows(ours[0]))

    def _refuse(self, words: str, line: int | None = None) -> None:
        raise NotCorrected(self.index, Finding("correction", words, line))

    def _name_strangers(self, ours: list[str], columns: Sequence[str]) -> None:
        known = {*ours, *columns, *map(plain_cell, columns)}
        strangers = [name for name in self.file.places if name not in known]
        absent = [name for name, at in zip(columns, self.plan, strict=True) if at is None]
        if strangers and absent:
            self._refuse(
                f"It has a column “{strangers[0][:SHOWN]}”, which your file does not have, and no "
                f"column “{absent[0][:SHOWN]}”. Leave the names of the columns as they are."
            )
        for name in strangers:
            words = f"The corrected file has a column “{name}”, which your file does not have."
            self.remarks.append(Finding("correction_left", words))

    def _rows(self, column: str) -> Iterator[tuple[int, tuple[int, list[str | None]]]]:
        at = self.file.places[column]
        seen: set[int] = set()
        for line, cells in self.file.rows:
            text = (_cell(cells, at) or "").strip()
            if not (text.isascii() and text.isdigit() and len(text) < 10):
                words = (
                    f"The column “{column}” contains “{text[:SHOWN]}”, which is not a row number."
                )
                self._refuse(words, line)
            row = int(text)
            if row in seen:
                self._refuse(f"Row {row:,} appears twice.", line)
            seen.add(row)
            yield row, (line, cells)

    def corrected(self, row: int, cells: list[str], now: list[str]) -> list[str]:
        """The cells of a row, which were `cells` in the upload and are `now` so by earlier files;
        `now` itself when there is nothing new."""
        _line, given = self.rows.pop(row, (0, None))
        if given is None or self._applied(given, cells) is cells:
            return now
        new = self._applied(given, now)
        filled = [cell for cell in cells if cell.strip()]
        if new is not now and len(filled) > 1:
            self._alike += any(cell in new for cell in filled)
            self._unlike += not any(cell in new for cell in filled)
        return new

    def _applied(self, given: list[str | None], own: list[str]) -> list[str]:
        """`own` with what was given for them; `own` itself when that is the same."""
        width = len(self.plan)
        new = [
            _meant(_cell(given, at), own[index] if index < len(own) else "")
            for index, at in enumerate(self.plan)
        ]
        beyond = own[width:]
        for at in (*self.file.nameless, *range(self._width, len(given))):
            if (written := _cell(given, at)) is not None:
                new.append(_meant(written, beyond.pop(0) if beyond else ""))
        if len(given) < self._width or None in self.plan:
            new += beyond  # a row or a table that is not whole; else they were taken away
        while len(new) > len(own) and not new[-1].strip():
            new.pop()
        return own if new == own or not any(map(str.strip, new)) else new

    def require_likeness(self) -> None:
        """Raises NotCorrected when no row has anything in common with the row that it names."""
        if self._unlike and not self._alike:
            self._refuse(
                "Its rows have nothing in common with your file’s rows of the same numbers. "
                "It may belong to another file."
            )


def _cell(cells: list[str | None], at: int | None) -> str | None:
    return cells[at] if at is not None and at < len(cells) else None


def _meant(written: str | None, own: str) -> str:
    """What a cell is that was `own` and came back as `written`."""
    if written is None:
        return own
    found = exact_cell(written, own)
    if found == own or found.replace("\r\n", "\n") == own.replace("\r\n", "\n"):
        return own
    cut = len(written) >= EXCEL_CELL and plain_cell(own).startswith(written)
    in_old_letters = "?" in found and found == own.encode("cp1252", "replace").decode("cp1252")
    return own if cut or in_old_letters else found
