"""Which reader fits a file."""

from __future__ import annotations

from .json_lines import JsonLinesReader, is_json
from .opening import Opened
from .shapes import Choices, Limits, Reader, unreadable
from .table import CsvReader
from .workbook import WorkbookReader


def open_upload(path: str, choices: Choices, limits: Limits) -> Reader:
    """The reader that fits the file at `path`, by its content. Raises Unreadable."""
    file = Opened(path, limits)
    if file.is_workbook:
        if file.is_packed:
            raise unreadable("not_text", "This is a compressed workbook. Unpack it before.")
        return WorkbookReader(file, choices)
    if is_json(file.head):
        return JsonLinesReader(file, choices)
    return CsvReader(file, choices)
