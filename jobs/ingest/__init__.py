"""Reading an upload: what kind of file it is, and its lines one by one. Pure; one reader a format,
one way to report what is wrong.

`open_upload` looks at the beginning of the file and returns a Reader; iterating it gives Lines.
A file that cannot be read at all raises Unreadable, with sentences for the person.
"""

from __future__ import annotations

from .json_lines import JsonLinesReader
from .table import CsvReader
from .text import Finding, Line, Reader, Unreadable, look

__all__ = ["Finding", "Line", "Reader", "Unreadable", "open_upload"]


def open_upload(path: str) -> Reader:
    """The reader that fits the file at `path`, by its content. Raises Unreadable."""
    beginning = look(path)
    first = beginning.lstrip()[:1]
    # A CSV file's first line holds column names; one that begins with a brace is JSON.
    if first in ("{", "["):
        return JsonLinesReader(path)
    return CsvReader(path, beginning)
