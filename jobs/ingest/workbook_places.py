"""Where the cells of an .xlsx are that do not say it: some programs leave it out, because a cell
follows the one before."""

from __future__ import annotations

import re

from .workbook_cells import column_index, column_letters

_TAG = re.compile(rb"<((?:\w+:)?(row|c))\b([^<>]*)>")
_CELL = re.compile(rb"<(?:\w+:)?c\b([^<>]*)>")
_PLACE = re.compile(rb"""\br=["']([A-Za-z]{0,3})([0-9]{0,7})["']""")


class CellPlaces:
    """Adds the places to the XML of a sheet, piece by piece, if they are not there."""

    def __init__(self) -> None:
        self._are_said: bool | None = None  # not known yet
        self._line, self._column = 0, -1  # of the last cell

    def added(self, piece: bytes) -> bytes:
        if self._are_said is None and (cell := _CELL.search(piece)):
            self._are_said = bool(_PLACE.search(cell[1]))
        return _TAG.sub(self._with_place, piece) if self._are_said is False else piece

    def _with_place(self, found: re.Match[bytes]) -> bytes:
        name, kind, attributes = found.groups()
        said = _PLACE.search(attributes)
        if kind == b"row":
            self._line = int(said[2]) if said and said[2] else self._line + 1
            self._column = -1
            place = b"%d" % self._line
        else:
            self._column = column_index(said[1].upper()) if said and said[1] else self._column + 1
            place = column_letters(self._column).encode() + b"%d" % self._line
        return found[0] if said else b'<%s r="%s"%s>' % (name, place, attributes)
