"""What a workbook is as a file: looked into before calamine sees it."""

from __future__ import annotations

import struct
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import BinaryIO
from zipfile import ZipFile

from .shapes import Choices, Finding, unreadable
from .upload_file import OLE, UploadFile
from .workbook_files import (
    BLOCK,
    DAMAGED,
    ENCRYPTED_XLS,
    MANIFEST,
    PASSWORD,
    SPREADSHEET,
    is_spreadsheet,
    library_errors,
    other_ole,
    other_zip,
    part_blocks,
    require_harmless,
)
from .workbook_ole import BOOKS, OleFile, repaired_xls
from .workbook_repairs import (
    in_utf_8,
    other_sheets,
    related,
    repaired_ods,
    repaired_xlsx,
    sheet_parts,
    workbook_part,
)
from .workbook_styles import Styles
from .workbook_xls import XlsBook

NAMED = 20  # sheets in one remark


class WorkbookPackage:
    """A workbook that is safe to open. Raises Unreadable for what is none, locked or hostile."""

    def __init__(self, file: UploadFile, choices: Choices) -> None:
        self.remarks: list[Finding] = []
        self.format = "Excel"
        self.parts: dict[str, str] = {}  # of an .xlsx: where its sheets are
        self.content = ""  # of an .ods: the part with its sheets
        self.styles = Styles()
        self.xls: XlsBook | None = None
        self._repaired: BytesIO | None = None  # what calamine reads in place of the file
        self._in_utf_8: bytes | None = None  # what all read in place of the file
        self._path = Path(file.path)
        self._limits = file.limits
        self._choices = choices
        with library_errors():
            if file.head.startswith(OLE):
                self._look_into_ole()
            else:
                with self.unpack() as archive:
                    require_harmless(archive, self._limits, self.size)
                    self._in_utf_8 = in_utf_8(archive, self._limits)
                with self.unpack() as archive:
                    self._look_into_zip(archive)

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._path.stat().st_size

    def unpack(self) -> ZipFile:
        """The parts of an .xlsx or .ods, whose XML is in UTF-8 then."""
        return ZipFile(BytesIO(self._in_utf_8) if self._in_utf_8 else self._path)

    def open(self) -> BinaryIO:
        """The workbook as calamine reads it right. Once only."""
        if self._repaired:
            return self._repaired
        return BytesIO(self._in_utf_8) if self._in_utf_8 else self._path.open("rb", buffering=BLOCK)

    def _look_into_ole(self) -> None:
        raw = self._path.read_bytes()
        ole = None
        with suppress(struct.error, IndexError):  # then it is damaged: calamine says so
            ole = OleFile(raw)
        if ole and ole.names:
            if "encryptedpackage" in ole.names or ENCRYPTED_XLS.search(raw):
                raise unreadable("password", PASSWORD)
            if ole.names.isdisjoint(BOOKS):
                raise unreadable("not_text", f"This is {other_ole(ole.names)}.")
            self._repaired = repaired_xls(raw, ole)
        with suppress(struct.error, IndexError):
            if ole:
                self.xls = XlsBook(ole, bool(self._choices.as_shown))
                self.styles = self.xls.styles
        if self.xls is None or not self.xls.is_known:
            self._remark_on_lost_errors(".xls")
            self._remark_on_unknown_formats(".xls")

    def _look_into_zip(self, archive: ZipFile) -> None:
        # Some programs write paths as Windows has them.
        names = {name.lower().replace("\\", "/"): name for name in archive.namelist()}
        if len(names) < len(archive.namelist()):
            raise unreadable("damaged", DAMAGED)
        if book := workbook_part(archive, names):
            parts = dict(related(archive, names, book).values())
            read = [book, *(parts[kind] for kind in ("styles", "sharedStrings") if kind in parts)]
            self.parts = sheet_parts(archive, names, book)
        elif "xl/workbook.bin" in names:
            read = [name for name in names if name.endswith(".bin")]
            self._remark_on_lost_errors(".xlsb")
            self._remark_on_unknown_formats(".xlsb")
        elif is_spreadsheet(archive, names):
            self.format = "OpenDocument"
            if MANIFEST in names and b"encryption-data" in archive.read(names[MANIFEST]):
                raise unreadable("password", PASSWORD)
            self.content = names["content.xml"]
            for _block in part_blocks(archive, self.content, self._limits):
                pass  # as below
            self._repaired = repaired_ods(archive, names, SPREADSHEET, self._limits)
            return
        else:
            raise unreadable("not_text", other_zip(list(names)))
        for name in read:
            if name in names:
                # The size that it says is the one that it has, and no text is endless.
                for _block in part_blocks(archive, names[name], self._limits):
                    pass
        if book:
            wanted = {"workbook": names[book]}
            if "styles" in parts:
                wanted["styles"] = names[parts["styles"]]
            self.styles = Styles.of_xlsx(archive, wanted, bool(self._choices.as_shown))
            self._repaired = repaired_xlsx(archive, names, book, self._limits)
            if others := other_sheets(archive, names, book):
                text = f"Sheets without a table were not read: {quoted(others)}."
                self.remarks.append(Finding("other_sheets", text))

    def _remark_on_lost_errors(self, kind: str) -> None:
        text = f"In {kind} files a cell with an error such as #N/A is read as an empty cell."
        self.remarks.append(Finding("error_cell", text))

    def _remark_on_unknown_formats(self, kind: str) -> None:
        text = f"In this {kind} file we cannot see hidden rows, hidden columns and number formats."
        self.remarks.append(Finding("unknown_formats", text))


def cells_in_words(count: int) -> str:
    return "There is 1 cell" if count == 1 else f"There are {count:,} cells"


def quoted(names: list[str]) -> str:
    text = ", ".join(f"“{name}”" for name in names[:NAMED])
    return f"{text} and {len(names) - NAMED} more" if len(names) > NAMED else text
