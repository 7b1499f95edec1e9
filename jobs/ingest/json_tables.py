"""A table that is one JSON object: columns of lists, as pandas and others write them, or rows under
keys. Such a file is read as a whole."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from .json_scanner import ObjectSurvey

KEY = "key"  # the column for the keys of rows
VALUE = "value"  # the column for the values of a list
_Values = Sequence[msgspec.Raw]
_lists_decoder = msgspec.json.Decoder(dict[str, list[msgspec.Raw]])
_values_decoder = msgspec.json.Decoder(list[msgspec.Raw])
_names_decoder = msgspec.json.Decoder(list[str])
_rows_decoder = msgspec.json.Decoder(list[list[msgspec.Raw]])
_objects_decoder = msgspec.json.Decoder(dict[str, dict[str, msgspec.Raw]])


class _Split(msgspec.Struct):
    """As pandas writes it with orient="split"."""

    columns: list[str | int]
    data: list[list[msgspec.Raw]]


_split_decoder = msgspec.json.Decoder(_Split)


class JsonTable(NamedTuple):
    """The columns and rows of an object; the values are JSON as it was written."""

    names: Sequence[str]
    rows: Sequence[_Values]
    keys: Sequence[str] = ()  # of the rows, if these are objects under keys
    is_sure: bool = True  # hardly anything else can be meant

    def objects(self) -> Iterator[str]:
        """Each row as the text of an object."""
        names = [json.dumps(name, ensure_ascii=False) for name in self.names]
        for number, row in enumerate(self.rows):
            cells = [f"{name}: {bytes(raw).decode()}" for name, raw in zip(names, row, strict=True)]
            if self.keys:
                key = json.dumps(self.keys[number], ensure_ascii=False)
                cells.insert(0, f"{json.dumps(_key_name(self.names))}: {key}")
            yield f"{{{', '.join(cells)}}}"


def may_be_table(found: ObjectSurvey) -> bool:
    """Whether the object could be a table, as far as a look at its values tells."""
    kinds = set(found.kinds.values())
    if found.kinds.get("columns") == found.kinds.get("data") == "[":
        return True
    if kinds == {"["}:
        lengths = {one.objects + one.others for one in found.lists}
        return len(lengths) == 1 and all(one.others for one in found.lists)
    return kinds == {"{"} and len(found.kinds) > 1


def read_table(text: str) -> JsonTable | None:
    """The table that an object is; None if it is none."""
    for read in (_read_split, _read_columns, _read_objects):
        try:
            if found := read(text):
                return found
        except (msgspec.DecodeError, RecursionError):
            pass
    return None


def read_values(text: str) -> JsonTable | None:
    """The table that a list of other values than objects is: lists are its rows, the first one with
    the names; anything else is one column. None if it is neither."""
    try:
        values = _values_decoder.decode(text)
        if not values or any(bytes(value).startswith(b"{") for value in values):
            return None
        if not all(bytes(value).startswith(b"[") for value in values):
            return JsonTable([VALUE], [[value] for value in values])
        rows = _rows_decoder.decode(text)
        names = _names_decoder.decode(values[0])
    except (msgspec.DecodeError, RecursionError):
        return None
    if len(set(names)) < len(names) or len(rows) < 2 or max(map(len, rows)) > len(names):
        return None
    null = msgspec.Raw(b"null")
    return JsonTable(names, [[*row, *[null] * (len(names) - len(row))] for row in rows[1:]])


def _read_split(text: str) -> JsonTable | None:
    found = _split_decoder.decode(text)
    names = [str(name) for name in found.columns]
    is_even = all(len(row) == len(names) for row in found.data)
    return JsonTable(names, found.data) if names and found.data and is_even else None


def _read_columns(text: str) -> JsonTable | None:
    found = _lists_decoder.decode(text)
    lengths = {len(values) for values in found.values()}
    if len(lengths) != 1 or lengths <= {0, 1} or found.keys() >= {"columns", "data"}:
        return None  # a single row with lists in it looks like this, too
    return JsonTable(list(found), list(zip(*found.values(), strict=True)))


def _read_objects(text: str) -> JsonTable | None:
    found = _objects_decoder.decode(text)
    first = next(iter(found.values()))
    if len(found) > 1 and first and all(_numbered(inner) for inner in found.values()):
        # Columns, whose values have the numbers of their rows as keys: the default of pandas.
        if all(inner.keys() == first.keys() for inner in found.values()):
            rows = [[inner[number] for inner in found.values()] for number in first]
            return JsonTable(list(found), rows)
        return None
    names = list(dict.fromkeys(name for inner in found.values() for name in inner))
    cells = sum(map(len, found.values()))
    if len(found) < 2 or 2 * cells <= len(names) * len(found):
        return None  # hardly two objects have the same keys: these are no rows
    null = msgspec.Raw(b"null")
    rows = [[inner.get(name, null) for name in names] for inner in found.values()]
    return JsonTable(names, rows, list(found), is_sure=False)


def _numbered(values: Mapping[str, msgspec.Raw]) -> bool:
    return all(key.isascii() and key.isdigit() for key in values)


def _key_name(names: Sequence[str]) -> str:
    name, count = KEY, 1
    while name in names:
        count += 1
        name = f"{KEY}_{count}"
    return name
