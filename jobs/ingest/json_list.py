"""Objects of a JSON text, read one by one: those of a list, or one after the other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import IO

from .json_faults import AROUND, EXPECTED, shown
from .json_scanner import TextScanner
from .shapes import Finding


class ListObjects(TextScanner):
    """Iterates the objects of a list in brackets: the line where each begins, and its text. Only
    one of them is held at a time. After what is not an object there is no way to go on.

    `path`: where the list is in an object; "": the file is the list. The values of a list without
    objects become objects with `key` as their only key."""

    def __init__(self, file: IO[str], most: int, path: str = "", key: str = "") -> None:
        super().__init__(file, most)
        self._path = path
        self._key = json.dumps(key) if key else ""

    def __iter__(self) -> Iterator[tuple[int, str | Finding]]:
        if self._path:
            self.go_to_list(self._path)
        before = self._next()
        self._at += 1
        while char := self._next():
            if char == "]" and before != ",":
                self._at += 1
                if not self._path and self._next():
                    yield self._stop("There is text after the end of the list.")
                return
            if self._key and char not in ",]" and before != "{":
                yield self.line, self._value()
                char = "{"  # as after an object
            elif char == "{" and before != "{":
                line = self.line
                text, is_whole = self._object()
                self.line += text.count("\n")
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

    def _value(self) -> str:
        if self._buffer[self._at] in "{[":
            text, _is_whole = self._object()
            self.line += text.count("\n")
        elif self._buffer[self._at] == '"':
            text = self._text()
        else:
            text = self._plain()
        return f"{{{self._key}: {text}}}"

    def _why_not(self, char: str, before: str) -> str:
        if char == "{":
            return "A comma is missing between two objects."
        if char in ",]":
            return "A comma has nothing before or after it."
        excerpt = self._buffer[self._at : self._at + 2 * AROUND].split("\n")[0].strip()
        return f"{EXPECTED} There is “{shown(excerpt)}”."

    def _stop(self, text: str) -> tuple[int, Finding]:
        return self.line, Finding("json", text, self.line)


class BareObjects(TextScanner):
    """Iterates objects that follow each other, with or without commas, each over any number of
    lines: the line where each begins, and its text."""

    commas = 0  # how many there were

    def __iter__(self) -> Iterator[tuple[int, str | Finding]]:
        is_first = True
        while char := self._next():
            if char == "," and not is_first:
                self._at += 1
                self.commas += 1
                char = self._next()
                if not char:
                    return
            is_first = False
            if char != "{":
                excerpt = self._buffer[self._at : self._at + 2 * AROUND].split("\n")[0].strip()
                text = f"{EXPECTED} There is “{shown(excerpt)}”."
                yield self.line, Finding("json", text, self.line)
                return
            line = self.line
            text, is_whole = self._object()
            self.line += text.count("\n")
            yield line, text
            if not is_whole:
                return
