"""What calamine does not report about a sheet: errors, formulas without a result, and its size."""

from __future__ import annotations

import re
from zipfile import ZipFile

from .shapes import Limits, unreadable
from .workbook_cells import column_index, column_letters
from .workbook_files import BLOCK, part_blocks
from .workbook_places import CellPlaces
from .workbook_styles import SheetStyles

CELL_BYTES = 32  # what calamine needs for each cell in the rectangle, also for an empty one
SPARSE = 10
# A cell with something in it; an empty one ends with "/>". The usual way, and in general. There are
# no tags within tags, which keeps the time linear, and no lines beyond ten million.
_USUAL = rb'<c r="([A-Z]{1,3})([0-9]{1,7})"[^<>]*+(?<!/)>'
_CELL = rb'<(?:\w+:)?c\s(?:[^<>]*?\s)?r=["\']([A-Z]{1,3})([0-9]{1,7})["\'][^<>]*+(?<!/)>'
_ERROR = re.compile(
    rb'<(?:\w+:)?c\s(?=[^<>]*?\bt=["\']e["\'])(?:[^<>]*?\s)?r=["\']([A-Z]{1,3})([0-9]{1,7})["\'][^<>]*+>'
    rb"(?:\s*+<(?:\w+:)?f\b[^<>]*+(?:(?<=/)>|>[^<]*+</(?:\w+:)?f>))?"
    rb"\s*+<(?:\w+:)?v\b[^<>]*+>([^<]*+)<"
)
# With t="str" an empty result is a result.
_NO_VALUE = re.compile(
    rb'<(?:\w+:)?c\s(?![^<>]*?\bt=["\']str["\'])(?:[^<>]*?\s)?r=["\']([A-Z]{1,3})([0-9]{1,7})["\'][^<>]*+>'
    rb"\s*+<(?:\w+:)?f\b[^<>]*+(?:(?<=/)>|>[^<]*+</(?:\w+:)?f>)"
    rb"\s*+(?:<(?:\w+:)?v\s*+/>|<(?:\w+:)?v\b[^<>]*+></(?:\w+:)?v>)?\s*+</(?:\w+:)?c>"
)
# The letters of all cells in a piece of XML, and the line of the last one.
_PATTERNS = [
    (
        re.compile(cell.replace(b"([0-9]{1,7})", b"[0-9]{1,7}")),
        re.compile(b".*" + cell.replace(b"([A-Z]{1,3})", b"[A-Z]{1,3}"), re.DOTALL),
    )
    for cell in (_CELL, _USUAL)
]
_FILLED = re.compile(rb"<(?:\w+:)?(?:v|is|f)\b")  # in a cell: a value, a text, a formula
_END = re.compile(rb"</(?:\w+:)?sheetData>|<(?:\w+:)?sheetData\s*/>")


def has_cells(sheet: bytes) -> bool:
    """Whether the XML of a sheet has a cell with something in it."""
    return _FILLED.search(sheet) is not None


class SheetScan:
    """What calamine does not tell of a sheet. Found out only for an .xlsx, whose cells are
    `<c r="B2" t="e"><f>NA()</f><v>#N/A</v></c>`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.errors: dict[int, dict[int, str]] = {}  # by line, by column from 0
        # By line: the letters of the columns with a formula without a result.
        self.without_value: dict[int, list[str]] = {}
        self.has_durations = False  # written as in an .ods, as Strict Open XML has them
        self._places = CellPlaces()
        self._filled = 0
        self._far = [0, 0]  # the last line and column with something

    def look_through(self, archive: ZipFile, part: str, limits: Limits, look: SheetStyles) -> None:
        """`look` sees all of it, too. Raises Unreadable when the sheet cannot be held in memory."""
        self._look = look
        rest, ended = b"", False
        for block in part_blocks(archive, part, limits):
            piece = rest + block
            # The last cell may not be complete.
            begin = max(piece.rfind(b"<c "), piece.rfind(b":c "))
            begin = max(piece.rfind(b"<", 0, begin + 1), 0)
            if len(piece) - begin > 4 * BLOCK:
                begin = len(piece)
            piece, rest = piece[:begin], piece[begin:]
            self._add(piece)
            ended = ended or (b"sheetData" in piece and bool(_END.search(piece)))
        self._add(rest)
        if not ended and not _END.search(rest):
            raise unreadable("damaged", f"The sheet “{self.name}” is damaged or incomplete.")
        area = self._far[0] * self._far[1]
        if area * CELL_BYTES > limits.memory / 2 and area > self._filled * SPARSE:
            line, column = self._far[0], column_letters(self._far[1] - 1)
            text = (
                f"The sheet “{self.name}” extends to line {line:,} and column {column}, but only "
                f"{self._filled:,} of its cells are filled."
            )
            raise unreadable("far_cell", text, line)

    def _add(self, piece: bytes) -> None:
        piece = self._places.added(piece)
        usual = piece.count(b"<c ") == piece.count(b'<c r="') and b":c " not in piece
        self._look.add(piece, usual=usual)
        columns, last = _PATTERNS[usual]
        if found := columns.findall(piece):
            self._filled += len(found)
            self._far[1] = max(self._far[1], *(column_index(letters) + 1 for letters in set(found)))
            # They come in order; where they do not, the limit of memory is what is left.
            if match := last.match(piece):
                self._far[0] = max(self._far[0], int(match[1]))
        self.has_durations = self.has_durations or b">PT" in piece
        if b't="e"' in piece or b"t='e'" in piece:
            for letters, line, error in _ERROR.findall(piece):
                self.errors.setdefault(int(line), {})[column_index(letters)] = error.decode()
        if b"<f" in piece or b":f" in piece:
            for letters, line in _NO_VALUE.findall(piece):
                self.without_value.setdefault(int(line), []).append(letters.decode())
