"""Workbooks: .xlsx, .xlsm, .xlsb, .xls and .ods, read by calamine, which holds a sheet in memory.

A cell becomes this text, whatever its format shows:

- text is as it is, `007` too (a number 7 that only its format shows as 007 is `7`)
- a whole number has no point: `7`; another one has the fewest digits that mean it, at most 15, as
  in Excel: 0.1 + 0.2 is `0.3`, 50 % is `0.5`; below 0.000001 and from 1E21 on it is `1.5E-7`
- a date is `2024-05-01`, with a time `2024-05-01 13:45:00`, a time alone `13:45:00`, and a duration
  `30:05:00`; parts of a second, where there are any, are `13:45:00.500`
- `TRUE` and `FALSE`; an error is its text, such as `#N/A` (.xls, .xlsb and .ods: empty)
- a formula is the result that was saved with it. Without one (.xlsx only; elsewhere it is an empty
  cell) its row is left out
- of merged cells only the first one has the text

Row 1 is line 1, wherever the table begins. Empty columns left of everything are not columns, empty
rows below everything are not rows.

calamine does not tell of errors and of formulas without a result, and it fills the rectangle
between a sheet's first and last cell, however far apart they are. So the XML of a sheet is looked
through before: see _Sheet.
"""

from __future__ import annotations

import json
import math
import mmap
import posixpath
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from zipfile import ZipFile

from python_calamine import (
    CalamineSheet,
    CalamineWorkbook,
    PasswordError,
    SheetTypeEnum,
    SheetVisibleEnum,
)

from .columns import Record, Table
from .opening import OLE, Opened
from .shapes import Choices, Finding, Limits, Line, RowCorrections, Unreadable, unreadable

BLOCK = 1 << 20
HEAD = 1 << 12  # of each part of a workbook: a DOCTYPE comes first
PARTS = 5_000
# A real workbook is packed to a tenth or, with the same long text again and again, to a 170th.
PACKED = 250
HARMLESS = 100_000_000  # bytes, however they are packed
CELL_BYTES = 32  # what calamine needs for each cell in the rectangle, also for an empty one
SPARSE = 10
LONG = 1e15  # a number from here on has more than 15 digits
NO_RESULT = "="  # stands for a formula without a result, in a row with nothing else
NAMED = 20  # sheets, errors, lines in one remark

DAMAGED = "The workbook is damaged or cut off."
PASSWORD = "The workbook is protected by a password."  # noqa: S105 - says that there is one
MANIFEST = "meta-inf/manifest.xml"  # of an .ods, in lower case
SPREADSHEET = b"application/vnd.oasis.opendocument.spreadsheet"
# What else is a zip file or an OLE file, by something in it.
OTHER_ZIPS = (
    ("word/document.xml", "a Word document"),
    ("ppt/presentation.xml", "a PowerPoint presentation"),
    ("index/document.iwa", "an Apple Numbers, Pages or Keynote document"),
    ("index.zip", "an Apple Numbers, Pages or Keynote document"),
    ("mimetype", "an OpenDocument or e-book file, but not a spreadsheet"),
)
OTHER_OLES = (
    ("WordDocument", "a Word document"),
    ("PowerPoint Document", "a PowerPoint presentation"),
    ("__properties_version1.0", "an Outlook message"),
)

# The first records of an .xls of 1997 and of 1995; 2F is FilePass.
_ENCRYPTED_XLS = re.compile(
    rb"\x09\x08(?:\x10\0\0\x06\x05\0.{12}|\x08\0\0\x05\x05\0.{4})(?:\x86\0\0\0)?\x2f\0", re.DOTALL
)
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
_END = re.compile(rb"</(?:\w+:)?sheetData>|<(?:\w+:)?sheetData\s*/>")
_DURATION = re.compile(r"(-?)PT([0-9]+)H([0-9]+)M([0-9]+)(?:[.,]([0-9]+))?S")


class WorkbookReader:
    """Iterates the rows of one sheet below the column names. Raises Unreadable, also while it is
    made. `sheets`: the visible ones, and the one that is read."""

    kind = "table"
    format = "Excel"
    sheets: Sequence[str] = ()
    corrections: RowCorrections | None = None

    def __init__(self, file: Opened, choices: Choices) -> None:
        self.remarks: list[Finding] = []
        self._path = Path(file.path)
        self._limits = file.limits
        self._choices = choices
        self._table = Table(choices, file.limits, self.remarks)
        self._long: list[int] = []  # lines of numbers with more digits than Excel keeps
        self._parts: dict[str, str] = {}  # of an .xlsx: where its sheets are
        with _in_words():
            if file.head.startswith(OLE):
                self._look_into_ole()
            else:
                with ZipFile(self._path) as archive:
                    self._look_into_zip(archive)
        with _in_words(), self._path.open("rb", buffering=BLOCK) as stream:
            # Told the path, calamine would go by the name of the file.
            self._read_sheet(CalamineWorkbook.from_filelike(stream))

    @property
    def position(self) -> int:
        return self._path.stat().st_size

    @property
    def understood(self) -> Choices:
        return Choices(sheet=self._sheet.name, header=self._table.header, fill=self._choices.fill)

    @property
    def columns(self) -> list[str]:
        return self._table.columns

    @property
    def nameless(self) -> set[int]:
        return self._table.nameless

    @property
    def blank_lines(self) -> int:
        return self._table.blank_lines

    def __iter__(self) -> Iterator[Line]:
        without = self._sheet.without_value
        self._table.corrections, self._table.wrong = self.corrections, without
        for line in self._table.lines(self._records()):
            if letters := without.get(self._table.header):
                cell = f"{letters[0]}{self._table.header}"
                text = f"The column name in {cell} is a formula without a result."
                raise unreadable("no_value", text, self._table.header)
            if (letters := without.get(line.line)) and (empty := self._empty(line, letters)):
                text = f"The formula in {empty}{line.line} has no result."
                line.problem = Finding("no_value", text, line.line)
            yield line
        self._remark_on_cells()

    def _empty(self, line: Line, letters: list[str]) -> str:
        """The first of the columns with these letters in which no correction put anything."""
        if not (self.corrections and line.line in self.corrections.changed):
            return letters[0]
        left = self._range.start[1] if self._range.start else 0
        cells = json.loads(line.source)
        for one in letters:
            at = _column(one.encode()) - left
            if not (0 <= at < len(cells)) or cells[at].strip() in ("", NO_RESULT):
                return one
        return ""

    # --- Before calamine sees it ------------------------------------------------------------------

    def _look_into_ole(self) -> None:
        with (
            self._path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw,
        ):
            if _has_stream(raw, "EncryptedPackage") or _ENCRYPTED_XLS.search(raw):
                raise unreadable("password", PASSWORD)
            if not _has_stream(raw, "Workbook") and not _has_stream(raw, "Book"):
                for name, words in OTHER_OLES:
                    if _has_stream(raw, name):
                        raise unreadable("not_text", f"This is {words}.")
        self._remark_on_lost_errors(".xls")

    def _look_into_zip(self, archive: ZipFile) -> None:
        _require_harmless(archive, self._limits, self.position)
        names = {name.lower(): name for name in archive.namelist()}
        if len(names) < len(archive.namelist()):
            raise unreadable("damaged", DAMAGED)
        if "xl/workbook.xml" in names:
            self._parts = _sheet_parts(archive, names)
            read = ["xl/workbook.xml", "xl/styles.xml", "xl/sharedstrings.xml"]
        elif "xl/workbook.bin" in names:
            read = [name for name in names if name.endswith(".bin")]
            self._remark_on_lost_errors(".xlsb")
        elif "mimetype" in names and archive.read(names["mimetype"]).startswith(SPREADSHEET):
            self.format = "OpenDocument"
            if b"encryption-data" in archive.read(names[MANIFEST]):
                raise unreadable("password", PASSWORD)
            self._look_through_content(archive, names["content.xml"])
            return
        else:
            for name, words in OTHER_ZIPS:
                if name in names:
                    raise unreadable("not_text", f"This is {words}.")
            raise unreadable(
                "not_text", "This is a zip file without a workbook in it. Unpack it before."
            )
        for name in read:
            if name in names:
                # The size that it says is the one that it has, and no text is endless.
                for _block in _blocks(archive, names[name], self._limits):
                    pass

    def _look_through_content(self, archive: ZipFile, name: str) -> None:
        """What calamine does not tell of an .ods: it has all sheets in one part."""
        error, tab, line_break = (b'value-type="error"', b"<text:tab", b"<text:line-break")
        counts: Counter[bytes] = Counter()
        tails = {error: b"", tab: b"", line_break: b""}
        for block in _blocks(archive, name, self._limits):
            for wanted, tail in tails.items():
                piece = tail + block
                counts[wanted] += piece.count(wanted)
                tails[wanted] = piece[1 - len(wanted) :]
        if counts[error]:
            text = f"{_cells(counts[error])} with an error such as #N/A; in a workbook of this kind"
            self.remarks.append(Finding("error_cell", text + " it is read as an empty cell."))
        if lost := counts[tab] + counts[line_break]:
            text = "A tab or a line break inside a cell was lost"
            text += "." if lost == 1 else f" {lost:,} times."
            self.remarks.append(Finding("lost_break", text))

    def _remark_on_lost_errors(self, kind: str) -> None:
        text = f"In {kind} files a cell with an error such as #N/A is read as an empty cell."
        self.remarks.append(Finding("error_cell", text))

    # --- The sheet --------------------------------------------------------------------------------

    def _read_sheet(self, workbook: CalamineWorkbook) -> None:
        """Raises Unreadable."""
        sheets = [
            (index, meta.name, meta.visible == SheetVisibleEnum.Visible)
            for index, meta in enumerate(workbook.sheets_metadata)
            if meta.typ == SheetTypeEnum.WorkSheet
        ]
        if not sheets:
            raise unreadable("damaged", "There is no sheet in this workbook.")
        wanted = self._choices.sheet
        looked_at = [sheet for sheet in sheets if (sheet[1] == wanted if wanted else sheet[2])]
        if wanted and not looked_at:
            there = _quoted([name for _index, name, _visible in sheets])
            text = f"There is no sheet “{wanted}” in this workbook, but {there}."
            raise unreadable("no_such_sheet", text)
        first = None  # with something in it; one with rows below a line of names is better
        for index, name, _visible in looked_at or sheets:
            self._open_sheet(workbook, index, name)
            if self._range.start is not None or self._sheet.without_value:
                first = first or (index, name)
                if self._range.height > 1:
                    break
        else:
            if first is not None:
                self._open_sheet(workbook, *first)
        if first is None:
            names = [name for _index, name, _visible in looked_at or sheets]
            hidden = _quoted([name for _index, name, visible in sheets if not visible])
            text = f"There is nothing in {_quoted(names)}."
            raise unreadable("empty", f"{text} Hidden: {hidden}." if hidden else text)
        self.sheets = [name for _index, name, seen in sheets if seen or name == self._sheet.name]
        if len(sheets) > 1:
            self._remark_on_sheets(sheets)

    def _open_sheet(self, workbook: CalamineWorkbook, index: int, name: str) -> None:
        self._sheet = _Sheet(name)
        if part := self._parts.get(name):
            with ZipFile(self._path) as archive:
                self._sheet.look_through(archive, part, self._limits)
        self._range: CalamineSheet = workbook.get_sheet_by_index(index)

    def _remark_on_sheets(self, sheets: list[tuple[int, str, bool]]) -> None:
        read = self._sheet.name
        text = f"The workbook has {len(sheets)} sheets; “{read}” was read."
        if others := [name for _index, name, visible in sheets if visible and name != read]:
            text += f" Not read: {_quoted(others)}."
        if hidden := [name for _index, name, visible in sheets if not visible and name != read]:
            text += f" Hidden: {_quoted(hidden)}."
        self.remarks.append(Finding("sheets", text))

    def _records(self) -> Iterator[Record]:
        sheet = self._sheet
        left = self._range.start[1] if self._range.start else 0
        begun = False
        last = 0  # line that is not blank
        for line, cells in self._rows(left):
            if line in sheet.without_value and not any(cells):
                # There is something in this row, though nothing that can be shown.
                cells = [NO_RESULT, *cells[1:]]
            if not any(map(str.strip, cells)):
                continue
            if begun:
                for blank in range(last + 1, line):
                    yield blank, []
            else:
                # What is above everything is not looked at when the column names are looked for.
                self._table.blank_lines += line - 1
            begun, last = True, line
            for column, cell in enumerate(cells):
                if "\0" in cell:
                    where = f"{_letters(left + column)}{line}"
                    text = f"There is a NUL character in the cell {where}."
                    raise unreadable("nul", text, line)
            yield line, cells

    def _rows(self, left: int) -> Iterator[Record]:
        """All rows of the sheet from the first line on, and cells from column `left` on."""
        sheet = self._sheet
        durations = self.format == "OpenDocument"
        end = 0
        # calamine begins at the first row of the sheet, but at the first column with something.
        for end, row in enumerate(self._range.iter_rows(), start=1):
            cells = [cell if type(cell) is str else self._as_text(cell, end) for cell in row]
            if durations:
                cells = [_duration_of(cell) for cell in cells]
            for column, error in sheet.errors.get(end, {}).items():
                if left <= column < left + len(cells):
                    cells[column - left] = error
            yield end, cells
        # calamine does not see formulas without a result.
        width = max(self._range.width, 1)
        for line in sorted(line for line in sheet.without_value if line > end):
            yield line, [""] * width

    def _as_text(self, value: Any, line: int) -> str:
        if type(value) in (float, int):
            if LONG <= abs(value) < math.inf:
                self._long.append(line)
            return number_text(value)
        return as_text(value)

    def _remark_on_cells(self) -> None:
        if self._long:
            count = len(self._long)
            text = "A number has" if count == 1 else f"{count:,} numbers have"
            text += f" more than 15 digits ({_lines(self._long)}); the last ones may be wrong."
            self.remarks.append(Finding("long_number", text, self._long[0]))
        if errors := self._sheet.errors:
            kinds = Counter(error for cells in errors.values() for error in cells.values())
            named = ", ".join(f"{error} ({count:,})" for error, count in kinds.most_common(NAMED))
            lines = sorted(errors)
            text = f"{_cells(kinds.total())} with an error: {named} ({_lines(lines)})."
            self.remarks.append(Finding("error_cell", text, lines[0]))


class _Sheet:
    """What calamine does not tell of a sheet. Found out only for an .xlsx, whose cells are
    `<c r="B2" t="e"><f>NA()</f><v>#N/A</v></c>`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.errors: dict[int, dict[int, str]] = {}  # by line, by column from 0
        # By line: the letters of the columns with a formula without a result.
        self.without_value: dict[int, list[str]] = {}
        self._filled = 0
        self._far = [0, 0]  # the last line and column with something

    def look_through(self, archive: ZipFile, part: str, limits: Limits) -> None:
        """Raises Unreadable when the sheet cannot be held in memory."""
        rest, ended = b"", False
        for block in _blocks(archive, part, limits):
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
            raise unreadable("damaged", f"The sheet “{self.name}” is damaged or cut off.")
        area = self._far[0] * self._far[1]
        if area * CELL_BYTES > limits.memory / 2 and area > self._filled * SPARSE:
            text = f"The sheet “{self.name}” reaches as far as line {self._far[0]:,} and column "
            text += f"{_letters(self._far[1] - 1)}, and only {self._filled:,} of its cells have "
            text += "something in them."
            raise unreadable("far_cell", text, self._far[0])

    def _add(self, piece: bytes) -> None:
        usual = piece.count(b"<c ") == piece.count(b'<c r="') and b":c " not in piece
        columns, last = _PATTERNS[usual]
        if found := columns.findall(piece):
            self._filled += len(found)
            self._far[1] = max(self._far[1], *(_column(letters) + 1 for letters in set(found)))
            # They come in order; where they do not, the limit of memory is what is left.
            if match := last.match(piece):
                self._far[0] = max(self._far[0], int(match[1]))
        if b't="e"' in piece or b"t='e'" in piece:
            for letters, line, error in _ERROR.findall(piece):
                self.errors.setdefault(int(line), {})[_column(letters)] = error.decode()
        if b"<f" in piece or b":f" in piece:
            for letters, line in _NO_VALUE.findall(piece):
                self.without_value.setdefault(int(line), []).append(letters.decode())


# --- Zip and OLE files ----------------------------------------------------------------------------


def _require_harmless(archive: ZipFile, limits: Limits, size: int) -> None:
    """Raises Unreadable for what no spreadsheet program writes. `size`: bytes of the file."""
    parts = archive.infolist()
    if len(parts) > PARTS:
        text = f"The workbook has {len(parts):,} parts; at most {PARTS:,} are possible."
        raise unreadable("too_much", text)
    unpacked = sum(part.file_size for part in parts)
    expands = f"The workbook expands to {unpacked / 1_000_000:,.0f} MB"
    if unpacked > limits.unpacked:
        most = f"at most {limits.unpacked / 1_000_000:,.0f} MB are possible"
        raise unreadable("too_much", f"{expands}; {most}.")
    if unpacked > HARMLESS and unpacked > size * PACKED:
        raise unreadable("too_much", f"{expands}, {unpacked // size:,} times its own size.")
    for part in parts:
        path = part.orig_filename.replace("\\", "/")
        if path.startswith("/") or path[1:2] == ":" or ".." in path.split("/") or "\0" in path:
            text = "The workbook has a part with a path that leads out of it. Nothing was unpacked."
            raise unreadable("damaged", text)
        if part.flag_bits & 1:
            raise unreadable("password", PASSWORD)
        # Old programs write a document type in the manifest, which is never expanded.
        if path.lower().endswith((".xml", ".rels")) and path.lower() != MANIFEST:
            with archive.open(part) as stream:
                if b"<!DOCTYPE" in stream.read(HEAD).upper().replace(b"\0", b""):
                    text = f"A part of the workbook (“{path}”) begins with DOCTYPE; none should."
                    raise unreadable("damaged", text)


def _blocks(archive: ZipFile, name: str, limits: Limits) -> Iterator[bytes]:
    """What a part of the workbook holds; at the end its size and checksum have been checked."""
    with archive.open(name) as stream:
        size = max(BLOCK, limits.cell)
        while block := stream.read(size):
            if len(block) == size and b"<" not in block and name.endswith(".xml"):
                text = f"The workbook has a cell with more than {limits.cell:,} bytes."
                raise unreadable("long_cell", text)
            yield block


def _sheet_parts(archive: ZipFile, names: dict[str, str]) -> dict[str, str]:
    """The names of the sheets of an .xlsx, and of the parts that they are in. `names`: the parts by
    their name in lower case."""
    relations = names.get("xl/_rels/workbook.xml.rels")
    if relations is None:
        return {}
    targets = {}
    for element in _elements(archive, relations, "Relationship"):
        path = posixpath.normpath(posixpath.join("/xl", element.get("Target", "")))
        targets[element.get("Id")] = names.get(path[1:].lower())
    parts = {}
    for element in _elements(archive, names["xl/workbook.xml"], "sheet"):
        relation = next((value for key, value in element.items() if key.endswith("}id")), None)
        if part := targets.get(relation):
            parts[element.get("name", "")] = part
    return parts


def _elements(archive: ZipFile, name: str, wanted: str) -> Iterator[ElementTree.Element]:
    """The elements with this name. There is no document type that could play tricks."""
    with archive.open(name) as stream:
        for _event, element in ElementTree.iterparse(stream):  # noqa: S314 - no DOCTYPE
            if element.tag.rpartition("}")[2] == wanted:
                yield element


def _has_stream(raw: mmap.mmap, name: str) -> bool:
    """Whether there is this name in the directory of an OLE file; its entries have 128 bytes."""
    wanted = name.encode("utf-16-le") + b"\0\0"
    at = raw.find(wanted)
    while at >= 0 and at % 128:
        at = raw.find(wanted, at + 1)
    return at >= 0


@contextmanager
def _in_words() -> Iterator[None]:
    """What goes wrong inside of other libraries becomes Unreadable."""
    try:
        yield
    except (Unreadable, MemoryError):
        raise
    except PasswordError as error:
        raise unreadable("password", PASSWORD) from error
    except Exception as error:
        raise unreadable("damaged", DAMAGED) from error
    except BaseException as error:
        # A failed assumption of calamine's is no Exception, and cannot be imported.
        if type(error).__name__ != "PanicException":
            raise
        raise unreadable("damaged", DAMAGED) from error


# --- Cells ----------------------------------------------------------------------------------------


def as_text(value: Any) -> str:
    """The text of what calamine gives for a cell; see the top of this module."""
    match value:
        case bool():
            return "TRUE" if value else "FALSE"
        case int() | float():
            return number_text(value)
        case datetime():
            return value.isoformat(" ", "milliseconds" if value.microsecond else "seconds")
        case time():
            return value.isoformat("milliseconds" if value.microsecond else "seconds")
        case date():
            return value.isoformat()
        case timedelta():
            return _duration_text(value)
        case _:
            return str(value)


def number_text(number: float) -> str:
    if math.isinf(number) or math.isnan(number):
        return "#NUM!"
    whole = number == int(number)
    if whole and abs(number) < LONG:
        return str(int(number))
    text = repr(number) if whole else f"{number:.15g}"
    if "e" not in text and not whole:
        return text
    if 1e-6 <= abs(number) < 1e21:
        return f"{Decimal(text):f}".removesuffix(".0")
    return f"{Decimal(text).normalize():E}"


def _duration_text(value: timedelta) -> str:
    thousandths = round(abs(value) / timedelta(milliseconds=1))
    seconds, thousandths = divmod(thousandths, 1_000)
    minutes, seconds = divmod(seconds, 60)
    text = f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
    sign = "-" if value < timedelta() else ""
    return f"{sign}{text}.{thousandths:03}" if thousandths else sign + text


def _duration_of(cell: str) -> str:
    """calamine gives those in an .ods as they stand there when they are longer than a day."""
    if "PT" not in cell or not (match := _DURATION.fullmatch(cell)):
        return cell
    sign, hours, minutes, seconds, fraction = match.groups()
    text = f"{sign}{int(hours)}:{minutes:0>2}:{seconds:0>2}"
    return f"{text}.{fraction:0<3.3}" if fraction and fraction.strip("0") else text


def _column(letters: bytes) -> int:
    """ "A" is 0, "AA" is 26."""
    column = 0
    for letter in letters:
        column = column * 26 + letter - 64
    return column - 1


def _letters(column: int) -> str:
    """0 is "A", 26 is "AA"."""
    letters = ""
    column += 1
    while column:
        column, letter = divmod(column - 1, 26)
        letters = chr(65 + letter) + letters
    return letters


# --- Words ----------------------------------------------------------------------------------------


def _quoted(names: list[str]) -> str:
    text = ", ".join(f"“{name}”" for name in names[:NAMED])
    return f"{text} and {len(names) - NAMED} more" if len(names) > NAMED else text


def _lines(lines: list[int]) -> str:
    """ "line 2", "lines 2, 3, 5 and others"."""
    different = list(dict.fromkeys(lines))
    if len(different) == 1:
        return f"line {different[0]}"
    text = ", ".join(map(str, different[:5]))
    return f"lines {text} and others" if len(different) > 5 else f"lines {text}"


def _cells(count: int) -> str:
    return "There is 1 cell" if count == 1 else f"There are {count:,} cells"
