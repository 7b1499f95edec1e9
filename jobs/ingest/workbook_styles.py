"""What the parts of an .xlsx say of number formats, of hidden rows and columns."""

from __future__ import annotations

import re
from datetime import datetime
from zipfile import ZipFile

from .workbook_cells import column_index
from .workbook_dates import EPOCH, EPOCH_1904
from .workbook_facts import SheetFacts
from .workbook_files import elements
from .workbook_formats import NumberFormat, number_format

# Those that every workbook has. 14 to 22 and 45 to 47 are dates and times.
BUILT_IN = {
    1: "0",
    2: "0.00",
    3: "#,##0",
    4: "#,##0.00",
    5: '"$"#,##0;("$"#,##0)',
    6: '"$"#,##0;("$"#,##0)',
    7: '"$"#,##0.00;("$"#,##0.00)',
    8: '"$"#,##0.00;("$"#,##0.00)',
    9: "0%",
    10: "0.00%",
    11: "0.00E+00",
    12: "# ?/?",
    13: "# ??/??",
    14: "m/d/yyyy",
    15: "d-mmm-yy",
    16: "d-mmm",
    17: "mmm-yy",
    18: "h:mm AM/PM",
    19: "h:mm:ss AM/PM",
    20: "h:mm",
    21: "h:mm:ss",
    22: "m/d/yyyy h:mm",
    37: "#,##0;(#,##0)",
    38: "#,##0;(#,##0)",
    39: "#,##0.00;(#,##0.00)",
    40: "#,##0.00;(#,##0.00)",
    41: '#,##0;(#,##0);"-"',
    42: '"$"#,##0;("$"#,##0);"-"',
    43: '#,##0.00;(#,##0.00);"-"',
    44: '"$"#,##0.00;("$"#,##0.00);"-"',
    45: "mm:ss",
    46: "[h]:mm:ss",
    47: "mm:ss.0",
    48: "##0.0E+0",
    49: "@",
}
MANY = 60  # styles; looking for each of so many takes longer than for any
FORMATS = 60_000

_BEGIN = re.compile(rb"<(?:\w+:)?sheetData\b")
_ROW = re.compile(rb"<(?:\w+:)?row\b([^<>]*)>")
_COLUMN = re.compile(rb"<(?:\w+:)?col\s([^<>]*)>")
_LINE = re.compile(rb"""\br=["']([0-9]{1,7})["']""")
_NO_HEIGHT = re.compile(
    rb"""\b(?:hidden=["'](?:1|true)["']|(?:ht|width)=["']0(?:\.0*)?["'])""", re.IGNORECASE
)
_MAYBE_HIDDEN = (b"hidden=", b'ht="0', b"ht='0")
_RANGE = re.compile(rb"""\b(min|max)=["']([0-9]{1,5})["']""")
_CELL = (
    rb"""<(?:\w+:)?c\s(?=[^<>]*?\br=["']([A-Z]{1,3})([0-9]{1,7})["'])"""
    rb"""(?=[^<>]*?\bs=["'](%s)["'])[^<>]*+(?<!/)>"""
)
_USUAL_CELL = rb"""<c r="([A-Z]{1,3})([0-9]{1,7})"(?=[^<>]*? s="(%s)")[^<>]*+(?<!/)>"""
_EARLY = (
    rb"\s*+(?:<(?:\w+:)?f\b[^<>]*+(?:(?<=/)>|>[^<]*+</(?:\w+:)?f>))?\s*+<(?:\w+:)?v\b[^<>]*+>"
    rb"(-[0-9][0-9.eE+-]*|0(?:\.[0-9]+)?|[0-9]{7,300}(?:\.[0-9]+)?)<"
)
_MAYBE_EARLY = re.compile(rb"v>(?:[-0]|[0-9]{7})")
LAST_DAY = 2_958_465  # 9999-12-31


class Styles:
    """The number formats of a workbook that can matter. `all_dates`: those of dates do, too."""

    def __init__(self, all_dates: bool = False) -> None:
        self.formats = [number_format("General")]
        self.epoch: datetime = EPOCH
        self.of_style: dict[bytes, int] = {}  # which one a style has, if it has one that matters
        self.dates: set[bytes] = set()  # styles of dates
        self._all_dates = all_dates
        self._numbers: dict[NumberFormat, int] = {}

    @classmethod
    def of_xlsx(cls, archive: ZipFile, parts: dict[str, str], all_dates: bool) -> Styles:
        """`parts`: the names of the parts "workbook" and "styles"."""
        found = cls(all_dates)
        for element in elements(archive, parts["workbook"], "workbookPr"):
            if element.get("date1904", "").lower() in ("1", "true", "on"):
                found.epoch = EPOCH_1904
        if "styles" not in parts:
            return found
        own: dict[int, str] = {}
        for element in elements(archive, parts["styles"], "numFmt"):
            if (number := element.get("numFmtId", "")).isdigit():
                # Those of conditional formats come later, and are others.
                own.setdefault(int(number), element.get("formatCode", ""))
        codes = BUILT_IN | own
        for element in elements(archive, parts["styles"], "cellXfs"):
            kinds = [one for one in element if one.tag.rpartition("}")[2] == "xf"]
            for style, one in enumerate(kinds):
                number = one.get("numFmtId", "0")
                code = codes.get(int(number), "") if number.isdigit() else ""
                found.add(str(style).encode(), code)
        return found

    def add(self, style: bytes, code: str) -> None:
        if not code or code.lower() == "general":
            return
        format = number_format(code)
        if format.is_date:
            self.dates.add(style)
        if (format.matters or format.is_date) and len(self.formats) < FORMATS:
            number = self._numbers.get(format)
            if number is None:
                number = self._numbers[format] = len(self.formats)
                self.formats.append(format)
            self.of_style[style] = number

    @property
    def looked_for(self) -> set[bytes]:
        """Styles of cells that are read by their format. Most dates need not be."""
        return {
            style
            for style, number in self.of_style.items()
            if self._all_dates or self.formats[number].matters
        }


class SheetStyles:
    """Looks through the XML of a sheet, piece by piece, for what a person sees of it."""

    def __init__(self, styles: Styles) -> None:
        self.facts = SheetFacts(styles.formats, styles.epoch)
        self._styles = styles
        self._rows = 0  # the line of the last one
        self._begun = False  # its rows
        self._numbered = False  # they say which line they are
        self._cells = _patterns(styles.looked_for)
        self._early = _patterns(styles.dates, _EARLY)

    def add(self, piece: bytes, *, usual: bool) -> None:
        """`usual`: each cell in it begins with its place."""
        if not self._begun:
            self._begun = bool(_BEGIN.search(piece))
            for attributes in _COLUMN.findall(piece):
                if _NO_HEIGHT.search(attributes):
                    ends = {name: int(number) - 1 for name, number in _RANGE.findall(attributes)}
                    if len(ends) == 2:
                        self.facts.hidden_columns.append((ends[b"min"], ends[b"max"]))
            first = _ROW.search(piece)
            self._numbered = bool(first and _LINE.search(first[1]))
        if not self._numbered or any(mark in piece for mark in _MAYBE_HIDDEN):
            self._find_hidden_rows(piece)
        if self._cells:
            self.facts.mark_all(self._cells[usual].findall(piece), self._styles.of_style)
        if self._early and _MAYBE_EARLY.search(piece):
            self._find_early_dates(piece, usual)

    def _find_hidden_rows(self, piece: bytes) -> None:
        for attributes in _ROW.findall(piece):
            self._rows += 1
            if match := _LINE.search(attributes):
                self._rows = int(match[1])
            if _NO_HEIGHT.search(attributes):
                self.facts.hidden_rows.add(self._rows)

    def _find_early_dates(self, piece: bytes, usual: bool) -> None:
        """calamine takes days before 1900, and the day 0, for times."""
        for letters, line, style, number in self._early[usual].findall(piece):
            place = self._styles.of_style.get(style)
            if place is None:
                continue
            format = self._styles.formats[place]
            try:
                value = float(number)
            except ValueError:
                continue
            column = column_index(letters)
            if value > LAST_DAY:
                self.facts.mark(int(line), column, place)
            elif value < 0 or (value < 1 and format.has_day and not format.has_time):
                self.facts.mark(int(line), column, place)
                self.facts.early.setdefault(int(line), {})[column] = value


def _patterns(styles: set[bytes], end: bytes = b"") -> list[re.Pattern[bytes]]:
    """For cells with these styles, as they may be written, and as they are usually."""
    if not styles:
        return []
    wanted = b"|".join(sorted(styles)) if len(styles) < MANY else rb"[0-9]{1,6}"
    return [re.compile(cell.replace(b"%s", wanted) + end) for cell in (_CELL, _USUAL_CELL)]
