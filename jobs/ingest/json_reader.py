"""JSON: one object a line, one after the other, or a list of them, which may be in an object.
Objects are the rows of a table, or, with `custom_id` and `params`, ready-made batch requests that
are sent as they are. Requests in the form of another service are converted if a person says so."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import IO, Any

import msgspec

from .column_names import ColumnNames
from .descriptions import name_of
from .encodings import BAD, MARK_BAD, find_encoding, first_bad_line
from .garbled_text import GarbledText
from .json_faults import (
    MOST_LEVELS,
    bad_character,
    decoder,
    find_oddity,
    is_flat,
    json_fault,
    without_bad,
)
from .json_layout import LINES, OBJECTS, TABLE, Layout, find_layout
from .json_list import BareObjects, ListObjects
from .json_scanner import BLANKS
from .request_conversion import Converter
from .request_forms import NotConvertible, form_of, offer, read_choice
from .request_reader import RequestReader
from .shapes import (
    KEEP,
    Choices,
    Finding,
    ParsedRow,
    RowCorrections,
    Unreadable,
    row_name,
    unreadable,
)
from .upload_file import RTF, UploadFile

FAULTS_SHOWN = 100  # a file with more bad lines, and hardly any good ones, is not read further
GOOD_TO_BAD = 3  # good lines for each bad one; with fewer, the file cannot be read
KEPT = 10_000  # characters of a bad line
REQUEST = "request"  # what the problem file calls the column of ready-made requests

_encoder = msgspec.json.Encoder()
# "[28.11.26, 10:15:01] Ann: Hi" or "[10:15] Ann" of a chat, "[2026-11-28 10:00] started" of a log.
_BRACKETED = re.compile(
    rb"\[\s*(?:[0-9]{1,4}[./-] ?[0-9]{1,2}[./-] ?[0-9]{1,4}|[0-9]{1,2}:[0-9]{2})"
    rb"[^\]\n]*\][ \t]*[^\s,\]]"
)
# "[Id],[Name]", as some databases write names: a list of JSON begins with a value or is empty.
_NAMED = re.compile(
    rb"\[\s*(?!(?:true|false|null|NaN|Infinity)\b)[a-zA-Z\x80-\xff][^\]\n,;\"'{\[]*\]\s*[,;\t|\r\n]"
)
_COMMENTS = re.compile(rb"\A(\s*(//[^\n]*\n|/\*.*?\*/))+(?=\s*[{\[])", re.DOTALL)
# A cell that is an object or a number keeps the text that was there.
_raw_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])


def is_json(head: bytes) -> bool:
    """A CSV file's first line holds column names; one that begins with a brace is JSON. (Two braces
    are a name that was meant for a prompt.)"""
    for mark, encoding in ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        if head.startswith(mark):
            head = head.decode(encoding, errors="ignore").encode(errors="ignore")
    head = _COMMENTS.sub(b"", head.removeprefix(b"\xef\xbb\xbf")).lstrip()
    if head[:1] == b"[":
        return not _BRACKETED.match(head) and not _NAMED.match(head)
    return head[:1] == b"{" and head[:2] != b"{{" and not head.startswith(RTF)


@dataclass(frozen=True)
class BadText:
    """What is not an object that we can read."""

    text: str
    finding: Finding


class JsonLinesReader:
    """Iterates the objects. The first decides: ready-made requests, or the rows of a table.

    A Line's number is that of the line in the file where the object begins."""

    sheets: Sequence[str] = ()
    corrections: RowCorrections | None = None

    def __init__(self, file: UploadFile, choices: Choices) -> None:
        self.remarks: list[Finding] = []
        self._file = file
        self._most = file.limits.line
        self._encoding = find_encoding(file, choices.encoding, self.remarks, bad_lines=True)
        self._bad_line = first_bad_line(file, self._encoding)
        self.understood = Choices(
            encoding=self._encoding,
            remedies=choices.remedies,
            list_key=choices.list_key,
            convert=choices.convert,
            garbled=choices.garbled,
        )
        self.blank_lines = 0
        self._has_faults = False
        self._garbled = GarbledText(choices.garbled)
        self.columns: list[str] = []
        self._keys: list[str] = []  # of the objects, parallel to the columns
        self.nameless: set[int] = set()
        self._layout = self._find_layout(choices.list_key)
        if self._layout.remark:
            self.remarks.append(self._layout.remark)
        self.format = "JSONL" if self._layout.form == LINES else "JSON"
        self.kind = "table"
        self._converter: Converter | None = None
        with closing(self._objects()) as objects:
            begin = (found for _number, found in islice(objects, self._tolerated))
            first = next((found for found in begin if isinstance(found, tuple)), None)
        if first:
            self._find_kind(first[1], choices.convert)

    def _find_layout(self, wanted: str) -> Layout:
        """Raises Unreadable."""
        layout = find_layout(partial(self._open_text, "replace"), self._most, wanted)
        if layout.form == TABLE and self._bad_line:
            # The bad character cannot be traced to a row.
            words = f"This line has a character that is not valid {name_of(self._encoding)}."
            raise unreadable("encoding", words, self._bad_line)
        return layout

    def _find_kind(self, first: dict[str, Any], chosen: str) -> None:
        """Table or requests, by the first object."""
        form = form_of(first)
        wanted, model = read_choice(chosen)
        if form and form == wanted:
            self._converter = Converter(form, model)
        elif form:
            self.remarks.append(offer(form, is_chosen=chosen == KEEP))
        if self._converter or first.keys() >= {"custom_id", "params"}:
            self.kind = "requests"

    @property
    def position(self) -> int:
        return self._file.position

    def __iter__(self) -> Iterator[ParsedRow]:
        if self.kind == "table":
            yield from self._rows()
        else:
            yield from self._ready_made()

    # --- Rows of a table -----------------------------------------------------------------------

    def _rows(self) -> Iterator[ParsedRow]:
        # A row is a list of cells in the order of the columns, and a later object may bring a
        # column that no earlier one has: the file is read once for the columns, and checked.
        self._keys = self._collect_keys()
        named = ColumnNames(self._keys, self._file.limits.name, 1)
        self.columns, self.nameless = named.names, named.nameless
        self.remarks += named.findings
        if self.corrections:
            self.corrections.bind(self.columns)
        missing: Counter[str] = Counter()
        first: dict[str, int] = {}
        for count, (number, found) in enumerate(self._objects(), start=1):
            if self._has_faults and (bad := _fault_of(number, found)):
                yield self._bad_row(count, number, bad)
                continue
            assert isinstance(found, tuple)  # noqa: S101 - or it would have been refused before
            text, values = found
            if len(values) < len(self._keys):
                for name, key in zip(self.columns, self._keys, strict=True):
                    if key not in values:
                        missing[name] += 1
                        first.setdefault(name, number)
            yield self._row(count, number, text, values)
        self.remarks += self._garbled.findings()
        for name, count in missing.items():
            objects = "1 object has" if count == 1 else f"{count:,} objects have"
            words = f"{objects} no “{name}”; the cell is empty there."
            self.remarks.append(Finding("missing_key", words, first[name]))

    def _collect_keys(self) -> list[str]:
        """The union of the keys, in the order of their first appearance. Raises Unreadable with
        all that is wrong."""
        names: dict[str, None] = {}
        faults = _Faults(self._tolerates_faults)
        limits = self._file.limits
        for number, found in self._objects():
            if bad := _fault_of(number, found):
                if faults.add(bad.finding):
                    break
                continue
            faults.good += 1
            if isinstance(found, tuple) and not found[1].keys() <= names.keys():
                names.update(dict.fromkeys(found[1]))
                if len(names) > limits.columns:
                    text = f"The objects have more than {limits.columns} different keys."
                    raise unreadable("too_many_columns", text, number)
        faults.require_few()
        if faults.good and not names:
            raise unreadable("empty", "The objects in this file are empty.")
        self._has_faults = faults.bad > 0
        self.blank_lines = 0
        return list(names)

    @property
    def _tolerates_faults(self) -> bool:
        """Whether it is certain where the object after a faulty one begins."""
        return self._layout.form == LINES

    @property
    def _tolerated(self) -> int:
        return FAULTS_SHOWN if self._tolerates_faults or self._bad_line else 1

    def _bad_row(self, count: int, number: int, bad: BadText) -> ParsedRow:
        """A line that is no object: it is the text of the first cell."""
        cells = [_kept(bad.text), *[""] * (len(self._keys) - 1)]
        row = row_name(self.format, count, number)
        if self.corrections:
            cells = self.corrections.cells(row, cells)
            if row in self.corrections.changed:
                return self._line(number, cells)
        line = self._line(number, cells)
        line.problem = bad.finding
        return line

    def _row(self, count: int, number: int, text: str, values: dict[str, Any]) -> ParsedRow:
        cells = []
        raw: dict[str, msgspec.Raw] = {}
        for key in self._keys:
            value = values.get(key)
            if isinstance(value, str):
                cells.append(value)
            elif value is None:
                cells.append("")
            else:
                raw = raw or _raw_decoder.decode(text)
                cells.append(compact(bytes(raw[key])))
        if self.corrections:
            row = row_name(self.format, count, number)
            if self._line(number, cells).problem:
                cells = self.corrections.cells(row, cells)
            else:
                self.corrections.not_needed(row)
        if self._garbled.is_repairing:
            cells = self._garbled.repaired(number, cells)
        line = self._line(number, cells)
        self._garbled.look_at(number, line.source, cells)
        return line

    def _line(self, number: int, cells: list[str]) -> ParsedRow:
        sizes = [len(cell) if cell.isascii() else len(cell.encode()) for cell in cells]
        problem = None
        if max(sizes, default=0) > self._file.limits.cell:
            words = f"A cell has {max(sizes):,} bytes; at most {self._file.limits.cell:,} "
            problem = Finding("long_cell", f"{words}are possible.", number)
        return ParsedRow(number, _encoder.encode(cells).decode(), sum(sizes), problem, sizes)

    # --- Ready-made requests -------------------------------------------------------------------

    def _ready_made(self) -> Iterator[ParsedRow]:
        requests = RequestReader(self.understood.remedies, self._file.limits)
        if self.corrections:
            self.corrections.bind([REQUEST])
        faults = _Faults(self._tolerates_faults)
        self.blank_lines = 0
        for count, (number, found) in enumerate(self._objects(), start=1):
            row = row_name(self.format, count, number)
            if isinstance(found, BadText):
                if faults.add(found.finding):
                    break
                if faults.is_lost:
                    continue
                request = {"line": _kept(found.text)}
                source = _encoder.encode(request).decode()
                yield self._request_row(requests, row, number, source, request, found.finding)
            elif not faults.is_lost:
                faults.good += 1
                converted = self._converted(count, number, *found)
                yield self._request_row(requests, row, number, *converted)
        faults.require_few()
        if self._converter:
            self.remarks += self._converter.remarks()
        self.remarks += requests.remarks()
        self.remarks += self._garbled.findings("text")

    def _request_row(
        self,
        requests: RequestReader,
        row: int,
        number: int,
        text: str,
        request: dict[str, Any],
        problem: Finding | None,
    ) -> ParsedRow:
        if self.corrections:
            if problem or requests.is_wrong(number, request):
                corrected = self.corrections.request(row, text, request)
                if corrected[1] is not request:
                    text, request, problem = self._converted(row, number, *corrected)
            else:
                self.corrections.not_needed(row)
        if problem:
            return ParsedRow(number, text, 0, problem)
        return requests.line(number, text, request)

    def _converted(
        self, count: int, number: int, text: str, request: dict[str, Any]
    ) -> tuple[str, dict[str, Any], Finding | None]:
        """Text and content of a request, in our form if it was in another, and what is wrong."""
        if problem := find_oddity(number, text, request):
            return text, request, problem
        if self._converter and not request.keys() >= {"custom_id", "params"}:
            try:
                request = self._converter.convert(count, request)
            except NotConvertible as error:
                return text, request, Finding("req_convert", str(error), number)
            text = _encoder.encode(request).decode()
        if not text.isascii() or "\\u" in text:
            params = self._garbled.repaired_within(number, request.get("params"))
            if params is not None:
                request = {**request, "params": params}
                text = _encoder.encode(request).decode()
        return text, request, None

    def texts(self) -> Iterator[tuple[int, dict[str, str]]]:
        """The line of each object, and its values as text. Nothing is said of odd ones; raises
        Unreadable for what is no object."""
        for number, found in self._objects():
            if isinstance(found, BadText):
                raise Unreadable(found.finding)
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

    def _objects(self) -> Generator[tuple[int, Found]]:
        """The line of each object, and its text and what it is; or what is wrong with it."""
        with self._open_text() as file:
            for number, text in self._texts(file):
                if isinstance(text, Finding):
                    yield number, BadText("", text)
                    continue
                if self._bad_line and BAD in text:
                    finding = bad_character(number, text, name_of(self._encoding))
                    yield number, BadText(without_bad(text), finding)
                    continue
                if len(text) <= self._most:
                    try:
                        values = decoder.decode(text)
                        if text.count("{") + text.count("[") <= MOST_LEVELS or is_flat(values):
                            yield number, (text, values)
                            continue
                    except (msgspec.DecodeError, RecursionError):
                        pass
                yield number, BadText(text, json_fault(number, text, self._most))

    def _open_text(self, errors: str = MARK_BAD) -> IO[str]:
        errors = errors if self._bad_line else "strict"
        return io.TextIOWrapper(self._file.open(), self._encoding, errors, newline="")

    def _texts(self, file: IO[str]) -> Iterator[tuple[int, str | Finding]]:
        """Where each object begins, and its text."""
        layout = self._layout
        if layout.form == LINES:
            return self._lines(file)
        if layout.form == OBJECTS:
            return iter(BareObjects(file, self._most))
        if layout.table:
            return enumerate(layout.table.objects(), start=1)
        return iter(ListObjects(file, self._most, layout.path, layout.key))

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


Found = tuple[str, dict[str, Any]] | BadText  # an object and its text, or neither


class _Faults:
    """What is wrong in a file: a few bad lines are rows that are skipped, if that is possible."""

    def __init__(self, tolerates: bool) -> None:
        self.good = self.bad = 0
        self.is_lost = False  # nobody knows where the next object begins
        self._tolerates = tolerates
        self._first: list[Finding] = []

    def add(self, finding: Finding) -> bool:
        """Whether it makes no sense to read on."""
        self.bad += 1
        self.is_lost = self.is_lost or not (self._tolerates or finding.kind == "bad_character")
        if len(self._first) < FAULTS_SHOWN:
            self._first.append(finding)
        return self.bad >= FAULTS_SHOWN and not self._are_few

    @property
    def _are_few(self) -> bool:
        return not self.is_lost and self.good >= GOOD_TO_BAD * self.bad

    def require_few(self) -> None:
        """Raises Unreadable with all that is wrong."""
        if self.bad and not self._are_few:
            raise Unreadable(*self._first)


def _fault_of(number: int, found: Found) -> BadText | None:
    if isinstance(found, BadText):
        return found
    oddity = find_oddity(number, *found)
    return BadText(found[0], oddity) if oddity else None


def _kept(text: str) -> str:
    return text[:KEPT].replace("\0", "\ufffd")


def compact(raw: bytes) -> str:
    """A number keeps its very digits; what is nested only loses its blanks."""
    return (msgspec.json.format(raw, indent=-1) if raw[:1] in b"{[" else raw).decode()
