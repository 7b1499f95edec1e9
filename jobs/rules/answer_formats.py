"""What kind of answer is wanted: free text, one of some labels, or several columns. Pure.

Labels and columns are asked for by a JSON schema (`output_config.format`), within what the API
takes: no lengths, no ranges, at most MOST_OPTIONAL columns that may be left out. What comes back is
read here, too: an answer that does not fit is not good, whatever the provider promised.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from typing import Any

import msgspec

TEXT, LABELS, COLUMNS = "text", "labels", "columns"
# Kinds of columns, with their names for people.
COLUMN_KINDS = {
    "text": "Text",
    "number": "Number",
    "yes_no": "Yes or no",
    "choice": "Choice",
    "list": "List",
}
MOST_LABELS = 200
MOST_COLUMNS = 50
MOST_OPTIONAL = 24  # optional parameters of a schema (structured outputs, limits)
MOST_NAME = 100  # characters
MOST_DESCRIPTION = 1_000
LABEL = "label"  # the one key of an answer of the kind LABELS
LIST_SEPARATOR = "; "  # between the values of a list in a cell

_UNSAFE = re.compile(r"[^a-zA-Z0-9_]+")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
_encoder = msgspec.json.Encoder()


class AnswerColumn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of several columns that an answer fills."""

    name: str
    kind: str = "text"  # of COLUMN_KINDS
    choices: tuple[str, ...] = ()  # of the kind "choice"
    description: str = ""  # what goes into it
    required: bool = True  # False: it may be left empty


class AnswerKind(msgspec.Struct, frozen=True):
    """What is wanted of every row. `labels` and `columns` are kept when another kind is chosen."""

    kind: str = TEXT
    labels: tuple[str, ...] = ()
    columns: tuple[AnswerColumn, ...] = ()

    @property
    def column_names(self) -> list[str]:
        """What the answers fill in a table: the names of columns, or none for one plain answer."""
        return [column.name for column in self.columns] if self.kind == COLUMNS else []


FREE_TEXT = AnswerKind()
# Those of columns that were asked for are no deeper than a list of texts.
Value = str | int | float | bool | list[Any] | dict[str, Any] | None


class DoesNotFit(Exception):
    """An answer is not what was asked for; the message says in what."""


# --- What a person wrote --------------------------------------------------------------------------


def kind_problems(kind: AnswerKind) -> list[str]:
    """Why `kind` cannot be asked for, each as a sentence."""
    if kind.kind == LABELS:
        return list(_choice_problems("Labels", kind.labels, MOST_LABELS))
    if kind.kind == COLUMNS:
        return list(_column_problems(kind.columns))
    return []


def _column_problems(columns: Sequence[AnswerColumn]) -> Iterator[str]:
    if not columns:
        yield "Add at least one column for the answers."
    if len(columns) > MOST_COLUMNS:
        yield f"The limit is {MOST_COLUMNS} columns. You have {len(columns)}."
    optional = sum(not column.required for column in columns)
    if optional > MOST_OPTIONAL:
        yield f"At most {MOST_OPTIONAL} columns can be optional. {optional} are."
    names = [column.name.casefold() for column in columns]
    for index, column in enumerate(columns[:MOST_COLUMNS], start=1):
        name = f"Column “{column.name}”"
        if not column.name.strip():
            yield f"Answer column {index} needs a name."
        elif len(column.name) > MOST_NAME:
            yield f"The name of answer column {index} is longer than {MOST_NAME} characters."
        elif names.index(column.name.casefold()) < index - 1:
            yield f"Two answer columns are called “{column.name}”. Rename one of them."
        if column.kind not in COLUMN_KINDS:
            yield f"{name} has an unknown type."
        if column.kind == "choice":
            yield from _choice_problems(name, column.choices, MOST_LABELS)
        if len(column.description) > MOST_DESCRIPTION:
            yield f"{name}: the description is longer than {MOST_DESCRIPTION:,} characters."
        if _CONTROL.search(f"{column.name}{column.description}"):
            yield f"{name}: it contains an invisible character that cannot be sent."


def _choice_problems(what: str, choices: Sequence[str], most: int) -> Iterator[str]:
    if len(choices) == 1 and re.search(r"[,;]", choices[0]):
        yield f"{what}: write each on its own line. “{choices[0][:40]}” is one line."
    elif len(choices) < 2:
        yield f"{what}: enter at least two."
    if len(choices) > most:
        yield f"{what}: the limit is {most}. You have {len(choices):,}."
        return
    for choice, times in Counter(choices).items():
        if times > 1:
            yield f"{what}: “{choice[:40]}” appears twice."
        if len(choice) > MOST_NAME:
            yield f"{what}: “{choice[:40]}…” is longer than {MOST_NAME} characters."
        if _CONTROL.search(choice):
            yield f"{what}: “{choice[:40]}” contains an invisible character that cannot be sent."


# --- How it is asked for --------------------------------------------------------------------------


def output_format(kind: AnswerKind) -> dict[str, Any] | None:
    """`output_config.format` of the request; None for free text."""
    if kind.kind == LABELS:
        schema = _object({LABEL: {"type": "string", "enum": list(kind.labels)}}, [LABEL])
    elif kind.kind == COLUMNS:
        keys = _keys(kind.columns)
        fields = {key: _field(column) for key, column in zip(keys, kind.columns, strict=True)}
        needed = [key for key, column in zip(keys, kind.columns, strict=True) if column.required]
        schema = _object(fields, needed)
    else:
        return None
    return {"type": "json_schema", "schema": schema}


def _object(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _field(column: AnswerColumn) -> dict[str, Any]:
    field: dict[str, Any] = {"type": "string"}
    if column.kind == "number":
        field = {"type": "number"}
    elif column.kind == "yes_no":
        field = {"type": "boolean"}
    elif column.kind == "choice":
        field = {"type": "string", "enum": list(column.choices)}
    elif column.kind == "list":
        field = {"type": "array", "items": {"type": "string"}}
    # The key may be a poor likeness of the name, so the name is told as well.
    said = [column.name.strip(), column.description.strip()]
    field["description"] = ": ".join(part for part in said if part)
    return field


def _keys(columns: Sequence[AnswerColumn]) -> list[str]:
    """The keys of the columns in the schema: their names in plain letters, each once."""
    keys: list[str] = []
    for index, column in enumerate(columns, start=1):
        name = key = _UNSAFE.sub("_", column.name).strip("_")[:60] or f"column_{index}"
        while key in keys:
            key = f"{name}_{index}"
            index += 1
        keys.append(key)
    return keys


# --- What came back -------------------------------------------------------------------------------


def read_answer(kind: AnswerKind, text: str) -> dict[str, Value]:
    """The values of an answer that is not free text, by column name (LABEL: the label); what was
    left out is None. Raises DoesNotFit."""
    try:
        found = json.loads(
            text, parse_constant=_refuse_constant, object_pairs_hook=_refuse_same_keys
        )
    except (ValueError, RecursionError):
        if kind.kind == LABELS:
            raise DoesNotFit("The answer is free text, not one of the labels.") from None
        raise DoesNotFit("The answer is not JSON, so it has no values for the columns.") from None
    if not isinstance(found, dict):
        raise DoesNotFit("The answer is JSON, but not an object.")
    if kind.kind == LABELS:
        label = _value(AnswerColumn(LABEL, "choice", kind.labels), found.pop(LABEL, None))
        values: dict[str, Value] = {LABEL: label}
    else:
        values = {
            column.name: _value(column, found.pop(key, None))
            for key, column in zip(_keys(kind.columns), kind.columns, strict=True)
        }
    if found:
        key = readable(next(iter(found))[:40])
        raise DoesNotFit(f"The answer contains “{key}”, which is not part of the format.")
    return values


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _refuse_same_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """With two values for one key, either could be meant."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def readable(text: str) -> str:
    """`text` without unpaired surrogates, which JSON can contain and databases cannot store."""
    return text.encode(errors="replace").decode()


def _value(column: AnswerColumn, value: Any) -> Value:
    if value is None:
        if column.required:
            raise DoesNotFit(f"The answer has no value for “{column.name}”.")
        return None
    if not fits(column, value):
        # What may be nested without end is not written out.
        is_deep = isinstance(value, (dict, list))
        shown = (
            "a list or more" if is_deep else readable(json.dumps(value, ensure_ascii=False)[:40])
        )
        wanted = COLUMN_KINDS[column.kind].lower().rstrip(" …")
        raise DoesNotFit(f"“{column.name}” is {shown}, but should be: {wanted}.")
    if isinstance(value, str):
        return readable(value)
    found: Value = list(map(readable, value)) if isinstance(value, list) else value
    return found


def fits(column: AnswerColumn, value: Any) -> bool:
    """Whether a value is of the kind of its column."""
    if column.kind == "number":
        return type(value) is int or (type(value) is float and isfinite(value))
    if column.kind == "yes_no":
        return isinstance(value, bool)
    if column.kind == "choice":
        return value in column.choices
    if column.kind == "list":
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return isinstance(value, str)


def as_cell(value: Value) -> str:
    """A value as the text of a cell; what is nested is JSON."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return LIST_SEPARATOR.join(value)
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def as_answer(kind: AnswerKind, values: Mapping[str, Value]) -> str:
    """What is stored of an answer that fits: the label, or the values as a JSON object by the
    names of the columns."""
    if kind.kind == LABELS:
        return as_cell(values[LABEL])
    return _encoder.encode(dict(values)).decode()


def as_written(kind: AnswerKind, answer: str) -> str:
    """A good answer, as it was stored, the way the model has to write it."""
    if kind.kind == LABELS:
        return json.dumps({LABEL: answer}, ensure_ascii=False)
    if kind.kind != COLUMNS:
        return answer
    values, keys = stored_values(answer), _keys(kind.columns)
    named = zip(keys, kind.columns, strict=True)
    return json.dumps({key: values.get(column.name) for key, column in named}, ensure_ascii=False)


def stored_values(answer: str) -> dict[str, Value]:
    """The values in an answer of several columns as it was stored; none in any other."""
    try:
        found = json.loads(answer)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def values_in(columns: Sequence[str], answer: str) -> dict[str, Value]:
    """The values in a stored answer, when `columns` have all of them; else none, and the answer is
    to be shown as it is."""
    values = stored_values(answer) if columns else {}
    return values if values.keys() <= set(columns) else {}
