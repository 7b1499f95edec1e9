"""Where the objects of a JSON file are: one a line, one after the other, in a list, in a list that
is in an object, or spread over columns."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import IO, NamedTuple

import msgspec

from .json_faults import EXPECTED, decoder
from .json_scanner import BLANKS, ListFound, ObjectSurvey, Odd, TextScanner
from .json_tables import JsonTable, may_be_table, read_table, read_values
from .request_forms import is_request
from .shapes import Finding, Option, Unreadable

LINES, OBJECTS, LIST, INSIDE, TABLE = "lines", "objects", "list", "inside", "table"
WHOLE, VALUES = ".", "*"  # as Choices.list_key: the object itself, and its values
MOST_OPTIONS = 5
SHOWN = 80  # characters of a key that is repeated in a finding

OpenText = Callable[[], IO[str]]


class Layout(NamedTuple):
    form: str
    path: str = ""  # of the list
    key: str = ""  # of the values of a list without objects
    table: JsonTable | None = None
    remark: Finding | None = None


def find_layout(open_text: OpenText, most: int, wanted: str) -> Layout:
    """`most`: characters of a line or object; `wanted`: Choices.list_key. Raises Unreadable if the
    file has no such list."""
    with open_text() as file:
        first, second = _next_line(file, most), _next_line(file, most)
    if first.startswith("["):
        return _of_list(open_text, most, wanted)
    if second and _is_object(first):
        return Layout(LINES)
    try:
        with open_text() as file:
            found = TextScanner(file, most).survey()
    except (Odd, RecursionError):
        is_pretty = _is_cut_off(first) and not _is_object(second)
        return Layout(OBJECTS if is_pretty and len(first) <= most else LINES)
    if found.follows:
        return _of_several(found)
    form = LINES if found.is_on_one_line and found.chars <= most else OBJECTS
    return _Choice(found, form, open_text, wanted).layout()


def _of_list(open_text: OpenText, most: int, wanted: str) -> Layout:
    """A list of other values than objects is read if a person says so. Raises Unreadable."""
    with open_text() as file:
        scanner = TextScanner(file, most)
        if scanner.first_in_list() in ("", "{", "]"):
            return Layout(LIST)
        line = scanner.line
    with open_text() as file:
        text = file.read().removeprefix("\ufeff")
    # One list after the other, each in a line.
    lines = ",".join(line for line in text.split("\n") if line.strip())
    table = read_values(text) or read_values(f"[{lines}]")
    if table is None:
        return Layout(LIST)  # which says what is wrong with it
    count = f"{len(table.rows):,}"
    if wanted == VALUES:
        columns = ", ".join(f"“{name[:SHOWN]}”" for name in table.names[:5])
        text = f"A list of {count} values without keys, read as {columns}."
        return Layout(TABLE, table=table, remark=_finding("list_inside", text, []))
    option = Option(f"Read {count} rows", {"list_key": VALUES})
    text = f"{EXPECTED} This is a list of {count} values without keys."
    raise Unreadable(Finding("value_list", text, line, options=(option,)))


def _next_line(file: IO[str], most: int) -> str:
    """The next line that is not blank, or the beginning of one that is too long."""
    while line := file.readline(most + 2):
        if text := line.removeprefix("\ufeff").strip(BLANKS):
            return text
    return ""


def _is_object(text: str) -> bool:
    try:
        decoder.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _is_cut_off(text: str) -> bool:
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return error.pos >= len(text)
    except (ValueError, RecursionError):
        pass
    return False


def _of_several(found: ObjectSurvey) -> Layout:
    if found.follows == ",":
        text = "The objects are separated by commas, without the brackets of a list."
        return Layout(OBJECTS, remark=Finding("bare_commas", text))
    if not found.is_on_one_line or (found.follows == "{" and found.follows_on):
        return Layout(OBJECTS)
    return Layout(LINES)


class _Choice:
    """What is read of a file that is one object."""

    def __init__(self, found: ObjectSurvey, one_row: str, open_text: OpenText, wanted: str) -> None:
        self._found = found
        self._one_row = one_row  # how it is read as one row
        self._open_text = open_text
        self._wanted = wanted
        self._lists = [
            one
            for one in found.lists
            if (one.others or one.objects) and one.path not in ("", WHOLE, VALUES)
        ]
        # Lists of objects before those of other values, and longer ones first.
        self._lists.sort(key=lambda one: (not _has_rows(one), -one.objects, -one.chars))

    def layout(self) -> Layout:
        """Raises Unreadable."""
        if self._wanted == WHOLE:
            return self._as_one_row(bool(self._lists))
        if self._wanted and self._wanted != VALUES:
            return self._as_wanted()
        if is_request(self._found.kinds.keys()):
            return Layout(self._one_row)
        if may_be_table(self._found) and (table := self._read_table()):
            return self._as_table(table)
        best = self._lists[0] if self._lists else None
        if best is None or not _has_rows(best):
            return self._as_one_row(best is not None and best.others > 1)
        is_only = sum(map(_has_rows, self._lists)) == 1
        is_most = 2 * best.chars >= self._found.chars
        if best.objects == 1 and not (is_only and is_most):
            return self._as_one_row(True)
        kind = "list_inside" if is_only and is_most else "which_list"
        return self._inside(best, kind)

    def _read_table(self) -> JsonTable | None:
        with self._open_text() as file:
            return read_table(file.read().removeprefix("\ufeff"))

    def _as_table(self, table: JsonTable) -> Layout:
        count = f"{len(table.rows):,}"
        options = [_whole()]
        if table.keys:
            text = f"One object that holds {count} objects, which are the rows."
            if not (table.is_sure or self._wanted):
                options.insert(0, Option(f"Read {count} rows", {"list_key": VALUES}))
        else:
            columns = len(table.names)
            text = f"One object with {columns:,} columns of {count} values each."
            if columns == 1:
                text = f"One object with a list of {count} values, “{table.names[0][:SHOWN]}”."
        is_clear = table.is_sure or self._wanted
        kind = "list_inside" if is_clear else "which_list"
        return Layout(TABLE, table=table, remark=_finding(kind, text, options))

    def _as_one_row(self, has_lists: bool) -> Layout:
        remark = None
        if has_lists:
            text = "The whole file is one object, so it is one row."
            is_clear = self._wanted or not any(map(_has_rows, self._lists))
            remark = _finding("list_inside" if is_clear else "one_object", text, self._options())
        return Layout(self._one_row, remark=remark)

    def _as_wanted(self) -> Layout:
        for one in self._lists:
            if one.path == self._wanted:
                return self._inside(one, "list_inside")
        text = f"The file has no list “{self._wanted[:SHOWN]}”."
        raise Unreadable(_finding("no_such_list", text, self._options()))

    def _inside(self, chosen: ListFound, kind: str) -> Layout:
        is_mixed = bool(chosen.objects and chosen.others)
        key = "" if chosen.objects and not is_mixed else chosen.path.rpartition(".")[2] or "value"
        others = [one for one in self._lists if one is not chosen]
        text = f"One object. Its list is in “{chosen.path[:SHOWN]}” ({_count(chosen)})."
        if kind == "which_list" and any(map(_has_rows, others)):
            names = ", ".join(
                f"“{one.path[:SHOWN]}” ({_count(one)})" for one in self._lists if _has_rows(one)
            )
            text = f"One object with several lists: {names}. The first is read."
        if left := [name for name in self._found.kinds if name != chosen.path.split(".")[0]]:
            shown = ", ".join(f"“{name[:SHOWN]}”" for name in left[:3])
            more = f" and {len(left) - 3:,} more" if len(left) > 3 else ""
            text += f" Not read: {shown}{more}."
        options = self._options(None if kind == "which_list" else chosen)
        if chosen.lists and (table := self._read_lists(chosen)):
            return Layout(TABLE, table=table, remark=_finding(kind, text, options))
        return Layout(INSIDE, chosen.path, key, remark=_finding(kind, text, options))

    def _read_lists(self, chosen: ListFound) -> JsonTable | None:
        with self._open_text() as file:
            return read_values(TextScanner(file, self._found.chars).list_text(chosen.path))

    def _options(self, without: ListFound | None = None) -> list[Option]:
        """The ways to read the object, except for one."""
        lists = [one for one in self._lists if one is not without]
        options = [
            Option(f"Read {_count(one)} in “{one.path[:SHOWN]}”", {"list_key": one.path})
            for one in lists[:MOST_OPTIONS]
        ]
        return options if self._wanted == WHOLE else [*options, _whole()]


def _whole() -> Option:
    return Option("Read the whole object as one row", {"list_key": WHOLE})


def _has_rows(one: ListFound) -> bool:
    return one.objects > 0 and not one.others


def _count(one: ListFound) -> str:
    what = "object" if not one.others else "value"
    count = one.objects + one.others
    return f"1 {what}" if count == 1 else f"{count:,} {what}s"


def _finding(kind: str, text: str, options: Sequence[Option]) -> Finding:
    return Finding(kind, text, options=tuple(options))
