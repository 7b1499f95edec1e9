"""JSON: one object a line, or a list of objects in brackets. Objects are the rows of a table, or,
with `custom_id` and `params`, ready-made batch requests that are sent as they are."""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import IO, Any

import msgspec

from .encodings import find_encoding
from .opening import Opened
from .requests import Requests
from .shapes import Choices, Finding, Line, RowCorrections, Unreadable, row_name, unreadable

BLOCK = 1 << 20  # characters
BLANKS = " \t\r\n"  # what JSON calls blank; other odd spaces are faults
FAULTS_SHOWN = 100  # a file with more bad lines is not read further
MOST_LEVELS = 200  # of lists and objects within each other; what is stored has to be read again
REQUEST = "request"  # what the problem file calls the column of ready-made requests
AROUND = 20  # characters shown on either side of a fault
TOO_LARGE = "There is a number that is too large."
EXPECTED = 'An object was expected here, such as {"name": "Ann"}.'

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(dict[str, Any])
# A cell that is an object or a number keeps the text that was there.
_raw_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_BYTE = re.compile(r"\(byte (\d+)\)$")
_BLANK = re.compile(rf"[{BLANKS}]*+")
# What is between two brackets, texts with brackets in them included. Nothing is tried twice.
_RUN = re.compile(r'(?:[^"{}\[\]]++|"[^"\\]*+(?:\\.[^"\\]*+)*+")*+', re.DOTALL)


def is_json(head: bytes) -> bool:
    """A CSV file's first line holds column names; one that begins with a brace is JSON. (Two braces
    are a name that was meant for a prompt.)"""
    for mark, encoding in ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        if head.startswith(mark):
            head = head.decode(encoding, errors="ignore").encode(errors="ignore")
    head = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return head[:1] in (b"{", b"[") and head[:2] != b"{{"


class JsonLinesReader:
    """Iterates the objects. The first decides: ready-made requests, or the rows of a table.

    A Line's number is that of the line in the file where the object begins."""

    sheets: Sequence[str] = ()
    corrections: RowCorrections | None = None

    def __init__(self, file: Opened, choices: Choices) -> None:
        self.remarks: list[Finding] = []
        self._file = file
        self._most = file.limits.line
        self._encoding = find_encoding(file, choices.encoding, self.remarks)
        self.understood = Choices(encoding=self._encoding, remedies=choices.remedies)
        self.blank_lines = 0
        self.columns: list[str] = []
        self.nameless: set[int] = set()
        beginning = file.head.decode(self._encoding, errors="ignore").removeprefix("\ufeff")
        self._is_list = beginning.lstrip(BLANKS).startswith("[")
        self.format = "JSON" if self._is_list else "JSONL"
        self.kind = "table"
        with closing(self._objects()) as objects:
            _number, first = next(objects, (0, None))
        if isinstance(first, tuple) and first[1].keys() >= {"custom_id", "params"}:
            self.kind = "requests"

    @property
    def position(self) -> int:
        return self._file.position

    def __iter__(self) -> Iterator[Line]:
        if self.kind == "table":
            yield from self._rows()
        else:
            yield from self._ready_made()

    # --- Rows of a table -----------------------------------------------------------------------

    def _rows(self) -> Iterator[Line]:
        # A row is a list of cells in the order of the columns, and a later object may bring a
        # column that no earlier one has: the file is read once for the columns, and checked.
        self.columns = self._collect_columns()
        if self.corrections:
            self.corrections.bind(self.columns)
        missing: Counter[str] = Counter()
        first: dict[str, int] = {}
        for count, (number, found) in enumerate(self._objects(), start=1):
            assert isinstance(found, tuple)  # noqa: S101 - or it would have been refused before
            text, values = found
            if len(values) < len(self.columns):
                for name in self.columns:
                    if name not in values:
                        missing[name] += 1
                        first.setdefault(name, number)
            yield self._row(count, number, text, values)
        for name, count in missing.items():
            objects = "1 object has" if count == 1 else f"{count:,} objects have"
            words = f"{objects} no “{name}”; the cell is empty there."
            self.remarks.append(Finding("missing_key", words, first[name]))

    def _collect_columns(self) -> list[str]:
        """The union of the keys, in the order of their first appearance. Raises Unreadable with
        all that is wrong."""
        names: dict[str, None] = {}
        faults: list[Finding] = []
        limits = self._file.limits
        for number, found in self._objects():
            fault = found if isinstance(found, Finding) else oddity(number, *found)
            if fault:
                faults.append(fault)
                if len(faults) == FAULTS_SHOWN:
                    break
            elif isinstance(found, tuple) and not found[1].keys() <= names.keys():
                names.update(dict.fromkeys(found[1]))
                if len(names) > limits.columns:
                    text = f"The objects have more than {limits.columns} different keys."
                    raise unreadable("too_many_columns", text, number)
        if faults:
            raise Unreadable(*faults)
        self.blank_lines = 0
        for name in names:
            odd = name != name.strip() or any(char in name for char in "{}\r\n")
            if odd or not name or len(name) > limits.name:
                raise unreadable(
                    "name",
                    f"The key “{name[: limits.name]}” cannot be a column name: it is empty, too "
                    "long, has blanks at its ends, or a brace or line break in it.",
                )
        return list(names)

    def _row(self, count: int, number: int, text: str, values: dict[str, Any]) -> Line:
        cells = []
        raw: dict[str, msgspec.Raw] = {}
        for name in self.columns:
            value = values.get(name)
            if isinstance(value, str):
                cells.append(value)
            elif value is None:
                cells.append("")
            else:
                raw = raw or _raw_decoder.decode(text)
                cells.append(compact(bytes(raw[name])))
        if self.corrections:
            row = row_name(self.format, count, number)
            if self._line(number, cells).problem:
                cells = self.corrections.cells(row, cells)
            else:
                self.corrections.not_needed(row)
        return self._line(number, cells)

    def _line(self, number: int, cells: list[str]) -> Line:
        sizes = [len(cell) if cell.isascii() else len(cell.encode()) for cell in cells]
        problem = None
        if max(sizes, default=0) > self._file.limits.cell:
            words = f"A cell has {max(sizes):,} bytes; at most {self._file.limits.cell:,} "
            problem = Finding("long_cell", f"{words}are possible.", number)
        return Line(number, _encoder.encode(cells).decode(), sum(sizes), problem, sizes)

    # --- Ready-made requests -------------------------------------------------------------------

    def _ready_made(self) -> Iterator[Line]:
        requests = Requests(self.understood.remedies, self._file.limits)
        if self.corrections:
            self.corrections.bind([REQUEST])
        faults: list[Finding] = []
        self.blank_lines = 0
        for count, (number, found) in enumerate(self._objects(), start=1):
            if isinstance(found, Finding):
                faults.append(found)
                if len(faults) == FAULTS_SHOWN:
                    break
            elif not faults:
                text, request = found
                if self.corrections:
                    row = row_name(self.format, count, number)
                    if oddity(number, text, request) or requests.is_wrong(number, request):
                        text, request = self.corrections.request(row, text, request)
                    else:
                        self.corrections.not_needed(row)
                if problem := oddity(number, text, request):
                    yield Line(number, text, 0, problem)
                else:
                    yield requests.line(number, text, request)
        if faults:
            raise Unreadable(*faults)
        self.remarks += requests.remarks()

    def texts(self) -> Iterator[tuple[int, dict[str, str]]]:
        """The line of each object, and its values as text. Nothing is said of odd ones; raises
        Unreadable for what is no object."""
        for number, found in self._objects():
            if isinstance(found, Finding):
                raise Unreadable(found)
            text, values = found
            raw = _raw_decoder.decode(text)
            yield (
                number,
                {
                    name: value if isinstance(value, str) else compact(bytes(raw[name]))
                    for name, value in values.items()
                    if value is not None
                },
            )

    # --- The objects of the file ---------------------------------------------------------------

    def _objects(self) -> Generator[tuple[int, tuple[str, dict[str, Any]] | Finding]]:
        """The line of each object, and its text and what it is; or what is wrong with it."""
        with self._file.open() as stream:
            file = io.TextIOWrapper(stream, self._encoding, newline="")
            texts = _Elements(file, self._most) if self._is_list else self._lines(file)
            for number, text in texts:
                if isinstance(text, Finding):
                    yield number, text
                    continue
                if len(text) <= self._most:
                    try:
                        values = _decoder.decode(text)
                        if text.count("{") + text.count("[") <= MOST_LEVELS or _is_flat(values):
                            yield number, (text, values)
                            continue
                    except (msgspec.DecodeError, RecursionError):
                        pass
                yield number, _fault(number, text, self._most)

    def _lines(self, file: IO[str]) -> Iterator[tuple[int, str]]:
        """The lines that are not blank; of one that is too long, the beginning."""
        number = 0
        room = self._most + 2
        while line := file.readline(room):
            number += 1
            text = line.removeprefix("\ufeff") if number == 1 else line
            while len(line) == room and line[-1] != "\n":
                line = file.readline(room)
            if text.strip():
                yield number, text.strip(BLANKS)
            else:
                self.blank_lines += 1


class _Elements:
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
                    yield self._stop("There is more text after the end of the list.")
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
            return "There is a comma with nothing after it, or nothing before it."
        excerpt = self._buffer[self._at : self._at + 2 * AROUND].split("\n")[0].strip()
        return f"{EXPECTED} There is “{_shown(excerpt)}”."

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


def compact(raw: bytes) -> str:
    """A number keeps its very digits; what is nested only loses its blanks."""
    return (msgspec.json.format(raw, indent=-1) if raw[:1] in b"{[" else raw).decode()


# --- What is wrong --------------------------------------------------------------------------------


class _SameKey(Exception):
    pass


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        often = Counter(key for key, _value in pairs)
        raise _SameKey(next(key for key, count in often.items() if count > 1))
    return found


_strict_decoder = json.JSONDecoder(object_pairs_hook=_once_each)


def oddity(number: int, text: str, values: dict[str, Any]) -> Finding | None:
    """What JSON allows and nobody means. (msgspec takes the last of two equal keys.)"""
    try:
        _strict_decoder.decode(text)
    except _SameKey as error:
        key = str(error)[:80]
        return Finding("same_key", f"The key “{key}” is there twice in one object.", number)
    if "\\u0000" in text and "\0" in "".join(_texts_in(values)):
        return Finding("nul", "There is a NUL character (\\u0000) here.", number)
    return None


def _texts_in(value: Any) -> Iterator[str]:
    """All texts and keys, however deep."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            waiting += [*value, *value.values()]
        elif isinstance(value, list):
            waiting += value


def _is_flat(value: Any) -> bool:
    """Whether there are not too many levels."""
    level = [value]
    for _depth in range(MOST_LEVELS + 1):
        if not level:
            return True
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
    return False


def _fault(number: int, text: str, most: int) -> Finding:
    """Why this is not a JSON object that can be used."""
    why, at = _why(text)
    if len(text) > most and at in (None, len(text)):
        return Finding("long_line", f"There are more than {most:,} characters here.", number)
    if at is None:
        return Finding("json", f"{why} It begins with “{_shown(text[: 2 * AROUND])}”.", number)
    number += text.count("\n", 0, at)
    column = at - text.rfind("\n", 0, at)
    near = _shown(text[max(at - AROUND, 0) : at + AROUND])
    return Finding("json", f"Column {column:,}: {why} It is near “{near}”.", number)


def _shown(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text).strip()


def _why(text: str) -> tuple[str, int | None]:
    """What is wrong in words, and at which character if that is known."""
    too_deep = f"This is nested too deeply: more than {MOST_LEVELS} levels."
    try:
        # This one knows the place of what it refuses, and refuses less.
        json.loads(text)
    except json.JSONDecodeError as error:
        if error.pos >= len(text) or error.msg.startswith("Unterminated"):
            return "It ends before the object is complete.", len(text)
        return _wrong_character(text, error.pos, error.msg), error.pos
    except RecursionError:
        return too_deep, None
    except ValueError:
        return TOO_LARGE, None
    try:
        _decoder.decode(text)
    except msgspec.ValidationError as error:
        if "out of range" in str(error):
            return TOO_LARGE, None
        return f"{EXPECTED} This is {_kind_of(text)}.", None
    except msgspec.DecodeError as error:
        if place := _BYTE.search(str(error)):
            at = len(text.encode()[: int(place[1])].decode(errors="ignore"))
            if text.startswith(("NaN", "Infinity"), at):
                return "NaN and Infinity are not numbers in JSON; write null.", at
        return "There is half of a character (\\ud800 to \\udfff without its other half).", None
    except RecursionError:
        pass
    return too_deep, None


def _kind_of(text: str) -> str:
    kinds = {"[": "a list", '"': "a text", "n": "null", "t": "true or false", "f": "true or false"}
    return kinds.get(text[:1], "a number")


def _wrong_character(text: str, at: int, message: str) -> str:
    char = text[at]
    if "escape" in message:
        return "A backslash stands before what it cannot; a backslash itself is written twice."
    if "control character" in message:
        return "There is a line break, tab or control character inside a text."
    if char == "'":
        return 'Quotation marks must be double ones (").'
    if char in "/#":
        return "There are no comments in JSON."
    if char in "}]" and text[:at].rstrip().endswith(","):
        return "There is a comma with nothing after it."
    if message == "Extra data":
        return "There is more after the object; each object has a line of its own."
    if "property name" in message:
        return "A key must be in quotation marks."
    if "delimiter" in message:
        return "A comma, colon or bracket is missing here."
    return "This is not JSON."
