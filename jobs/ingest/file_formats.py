"""The formats that can be uploaded, and the reader for each."""

from __future__ import annotations

from .csv_reader import CsvReader
from .json_reader import JsonLinesReader, is_json
from .shapes import Choices, Limits, Reader, unreadable
from .upload_file import UploadFile
from .workbook_reader import WorkbookReader


def open_upload(path: str, choices: Choices, limits: Limits) -> Reader:
    """The reader that fits the file at `path`, by its content. Raises Unreadable."""
    file = UploadFile(path, limits)
    if file.is_workbook:
        if file.is_packed:
            raise unreadable("not_text", "This is a compressed workbook. Unpack it first.")
        return WorkbookReader(file, choices)
    if is_json(file.head):
        return JsonLinesReader(file, choices)
    return CsvReader(file, choices)
