"""Objects of a JSON list, read one by one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import IO

from .json_faults import AROUND, EXPECTED, shown
from .shapes import Finding

BLOCK = 1 << 20  # characters
BLANKS = " \t\r\n"  # what JSON calls blank; other odd spaces are faults
_BLANK = re.compile(rf"[{BLANKS}]*+")
# What is between two brackets, texts with brackets in them included. Nothing is tried twice.
_RUN = re.compile(r'(?:[^"{}\[\]]++|"[^"\\]*+(?:\\.[^"\\]*+)*+")*+', re.DOTALL)


class ListObjects:
    """Iterates the objects of a list in brackets: the line where each begins, and its text. Only
    one of them is held at a time. After what is not an object there is no way to go on."""

    def __init__(self, file: IO[str], most: int) -> None:
        self._file = file
        self._most = most
        self._buffer = file.read(BLOCK).removeprefix("\ufeff")
        self._at = 0
        self._line = 1

    def __iter__(self) -> Iterator[tuple[int, str | Finding]]:
        before = self._next()
        self._at += 1
        while char := self._next():
            if char == "]" and before != ",":
                self._at += 1
                if self._next():
                    yield self._stop("There is text after the end of the list.")
                return
            if char == "{" and before != "{":
                line = self._line
                text, is_whole = self._object()
                self._line += text.count("\n")
                yield line, text
                if not is_whole:
                    return
            elif char == "," and before == "{":
                self._at += 1
            else:
                yield self._stop(self._why_not(char, before))
                return
            before = char
        yield self._stop("The file ends before the “]” of its list.")

    def _why_not(self, char: str, before: str) -> str:
        if char == "{":
            return "A comma is missing between two objects."
        if char in ",]":
            return "A comma has nothing before or after it."
        excerpt = self._buffer[self._at : self._at + 2 * AROUND].split("\n")[0].strip()
        return f"{EXPECTED} There is “{shown(excerpt)}”."

    def _stop(self, text: str) -> tuple[int, Finding]:
        return self._line, Finding("json", text, self._line)

    def _next(self) -> str:
        """Go to the next character that is not blank, and say which; "" at the end."""
        while True:
            blank = _BLANK.match(self._buffer, self._at)
            end = blank.end() if blank else self._at
            self._line += self._buffer.count("\n", self._at, end)
            self._at = end
            if end < len(self._buffer):
                return self._buffer[end]
            if not self._read_on():
                return ""

    def _read_on(self) -> bool:
        block = self._file.read(BLOCK)
        self._buffer = self._buffer[self._at :] + block
        self._at = 0
        return bool(block)

    def _object(self) -> tuple[str, bool]:
        """The object that begins here, or as much of it as there is, and whether it is whole."""
        depth = 0
        end = self._at
        while True:
            run = _RUN.match(self._buffer, end)
            end = run.end() if run else end
            if end == len(self._buffer) or self._buffer[end] == '"':
                length = end - self._at
                if len(self._buffer) - self._at > self._most or not self._read_on():
                    return self._buffer[self._at :], False
                end = length
                continue
            depth += 1 if self._buffer[end] in "{[" else -1
            end += 1
            if not depth:
                text = self._buffer[self._at : end]
                self._at = end
                return text, True
