"""JSON text, walked through without holding it: what is in an object that may be as large as its
file."""

from __future__ import annotations

import json
import re
from typing import IO, NamedTuple

BLOCK = 1 << 20  # characters
BLANKS = " \t\r\n"  # what JSON calls blank; other odd spaces are faults
DEEPEST = 3  # objects within each other in which a list is looked for
_BLANK = re.compile(rf"[{BLANKS}]*+")
_TEXT = r'"[^"\\]*+(?:\\.[^"\\]*+)*"'
# What is between two brackets, texts with brackets in them included.
_RUN = re.compile(rf'(?:[^"{{}}\[\]]++|{_TEXT})*', re.DOTALL)
_WHOLE_TEXT = re.compile(_TEXT, re.DOTALL)
_PLAIN = re.compile(r"[^\s,:\"{}\[\]]*+")  # a number, true, false or null


class Odd(Exception):
    """This is not the JSON that was expected."""


class _Reached(Exception):
    pass


class ListFound(NamedTuple):
    """A list somewhere in an object. `path`: the keys to it, joined by dots; `chars`: its size."""

    path: str
    objects: int  # among its values
    others: int
    lists: int  # of the others
    chars: int


class ObjectSurvey(NamedTuple):
    """What is in the first object of a file."""

    kinds: dict[str, str]  # of each value by key: how it begins, such as "[" or '"'
    lists: list[ListFound]
    chars: int
    is_on_one_line: bool
    follows: str  # the character after the object; "" at the end of the file
    follows_on: bool  # on the same line


class TextScanner:
    """A place in a JSON text, of which only a block or a value is held at a time."""

    def __init__(self, file: IO[str], most: int) -> None:
        self._file = file
        self._most = most  # characters of one value that is held
        self._buffer = file.read(BLOCK).removeprefix("\ufeff")
        self._at = 0
        self.line = 1
        self._passed = 0  # characters before the buffer
        self._target: str | None = None

    def survey(self) -> ObjectSurvey:
        """What is in the object that begins the text. Raises Odd."""
        kinds: dict[str, str] = {}
        lists: list[ListFound] = []
        if self._next() != "{":
            raise Odd
        begin, line = self._passed + self._at, self.line
        self._walk("", 1, kinds, lists)
        chars, end_line = self._passed + self._at - begin, self.line
        follows = self._next()
        return ObjectSurvey(
            kinds, lists, chars, line == end_line, follows, follows != "" and self.line == end_line
        )

    def first_in_list(self) -> str:
        """How the first value of the list that begins the text begins; "" without a list."""
        if self._next() != "[":
            return ""
        self._at += 1
        return self._next()

    def go_to_list(self, path: str) -> None:
        """Go to the bracket that begins the list at `path`. Raises Odd if there is none."""
        self._target = path
        try:
            self.survey()
        except _Reached:
            return
        raise Odd

    def list_text(self, path: str) -> str:
        """The list at `path`, as it is written. Raises Odd if there is none."""
        self.go_to_list(path)
        text, _is_whole = self._object()
        return text

    def _walk(self, above: str, level: int, kinds: dict[str, str], lists: list[ListFound]) -> None:
        self._at += 1
        while (char := self._next()) != "}":
            if char == ",":
                self._at += 1
                char = self._next()
            key = _key(self._text())
            if self._next() != ":":
                raise Odd
            self._at += 1
            kind = self._next()
            path = above + key
            if level == 1:
                kinds[key] = kind
            if kind == "[":
                self._walk_list(path, lists)
            elif kind == "{" and level < DEEPEST:
                self._walk(f"{path}.", level + 1, kinds, lists)
            else:
                self._skip()
        self._at += 1

    def _walk_list(self, path: str, lists: list[ListFound]) -> None:
        if path == self._target:
            raise _Reached
        begin = self._passed + self._at
        self._at += 1
        objects = others = inner = 0
        while (char := self._next()) != "]":
            if char == ",":
                self._at += 1
                continue
            objects += char == "{"
            others += char != "{"
            inner += char == "["
            self._skip()
        self._at += 1
        chars = self._passed + self._at - begin
        lists.append(ListFound(path, objects, others, inner, chars))

    def _skip(self) -> None:
        """Go to the end of the value that begins here. Raises Odd."""
        char = self._next()
        if char == '"':
            self._text()
        elif char in ("{", "["):
            self._skip_brackets()
        else:
            self._plain()

    def _skip_brackets(self) -> None:
        depth = 0
        while True:
            run = _RUN.match(self._buffer, self._at)
            end = run.end() if run else self._at
            self._move(end)
            if end == len(self._buffer) or self._buffer[end] == '"':
                if len(self._buffer) - end > self._most or not self._read_on():
                    raise Odd
                continue
            depth += 1 if self._buffer[end] in "{[" else -1
            self._at += 1
            if not depth:
                return

    def _text(self) -> str:
        """The text that begins here, in quotation marks as it is written. Raises Odd."""
        while not (found := _WHOLE_TEXT.match(self._buffer, self._at)):
            if self._buffer[self._at : self._at + 1] != '"' or not self._holds_more():
                raise Odd
        self._move(found.end())
        return found[0]

    def _plain(self) -> str:
        """The number, true, false or null that begins here. Raises Odd."""
        while True:
            found = _PLAIN.match(self._buffer, self._at)
            if found and found.end() < len(self._buffer):
                break
            if not self._holds_more():
                raise Odd
        if not found[0]:
            raise Odd
        self._at = found.end()
        return found[0]

    def _holds_more(self) -> bool:
        return len(self._buffer) - self._at <= self._most and self._read_on()

    def _move(self, end: int) -> None:
        self.line += self._buffer.count("\n", self._at, end)
        self._at = end

    def _next(self) -> str:
        """Go to the next character that is not blank, and say which; "" at the end."""
        while True:
            blank = _BLANK.match(self._buffer, self._at)
            self._move(blank.end() if blank else self._at)
            if self._at < len(self._buffer):
                return self._buffer[self._at]
            if not self._read_on():
                return ""

    def _read_on(self) -> bool:
        block = self._file.read(BLOCK)
        self._passed += self._at
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


def _key(text: str) -> str:
    try:
        return str(json.loads(text))
    except ValueError:
        raise Odd from None
