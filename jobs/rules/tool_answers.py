"""Answers that come as the input of a tool: the classic way to a structured answer is a request
that forces the model to call one tool. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .answer_formats import MOST_NAME, AnswerColumn, readable

MOST_COLUMNS = 100  # of a job; what is in no column stays in the answer as JSON
_PLAIN = {"number": "number", "integer": "number", "boolean": "yes_no", "string": "text"}


def forced_tool(params: Any) -> str:
    """The name of the one tool of the client's own that a request forces the model to call; "" when
    there is none. With several tools to choose from the model decides, so the call is no answer."""
    if not isinstance(params, dict):
        return ""
    choice, tools = params.get("tool_choice"), params.get("tools")
    if not isinstance(choice, dict) or not isinstance(tools, list):
        return ""
    names = [tool.get("name") for tool in tools if _is_custom(tool)]
    wanted: Any = ""
    if choice.get("type") == "tool":
        wanted = choice.get("name")
    elif choice.get("type") == "any" and len(tools) == 1 and names:
        wanted = names[0]
    return wanted if isinstance(wanted, str) and wanted in names else ""


def _is_custom(tool: Any) -> bool:
    """A tool with a schema of its own, not one that Anthropic has defined, such as a shell."""
    return isinstance(tool, dict) and tool.get("type") in (None, "custom")


def input_text(raw: bytes) -> str:
    """The input of a call as JSON in which letters are letters; as received when it cannot be read
    or would be another one then."""
    text = raw.decode(errors="replace")
    try:
        found = json.loads(text, parse_constant=_refuse, object_pairs_hook=_each_key_once)
        return readable(json.dumps(found, ensure_ascii=False, allow_nan=False))
    except (ValueError, RecursionError):
        return text


def _refuse(name: str) -> None:
    raise ValueError(name)


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


# --- The columns that such answers fill -----------------------------------------------------------


def columns_of(params: Any, values: Mapping[str, Any]) -> Iterator[AnswerColumn]:
    """The columns of one answer: those that the tool's schema names, in its order, and then what
    the answer has besides. `params`: None for an unknown request."""
    named = _properties(params)
    for name in dict.fromkeys([*named, *values]):
        if name.strip() and len(name) <= MOST_NAME and name.isprintable():
            yield _column(name, named.get(name), values.get(name))


def add_columns(known: dict[str, AnswerColumn], found: Iterable[AnswerColumn]) -> bool:
    """Add those that are new to `known`, up to MOST_COLUMNS; whether there were any."""
    before = len(known)
    for column in found:
        if len(known) < MOST_COLUMNS:
            known.setdefault(column.name, column)
    return len(known) > before


def _properties(params: Any) -> dict[str, Any]:
    name = forced_tool(params)
    for tool in params["tools"] if name else ():
        if _is_custom(tool) and tool.get("name") == name:
            schema = tool.get("input_schema")
            found = schema.get("properties") if isinstance(schema, dict) else None
            return found if isinstance(found, dict) else {}
    return {}


def _column(name: str, schema: Any, value: Any) -> AnswerColumn:
    if not isinstance(schema, dict):
        return AnswerColumn(name, _kind_of_value(value))
    choices = schema.get("enum")
    if isinstance(choices, list) and choices and all(isinstance(one, str) for one in choices):
        return AnswerColumn(name, "choice", tuple(map(readable, choices)))
    kind = schema.get("type")
    if kind == "array":
        return AnswerColumn(name, "list")
    return AnswerColumn(name, _PLAIN.get(kind, "text") if isinstance(kind, str) else "text")


def _kind_of_value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes_no"
    if isinstance(value, int | float):
        return "number"
    return "list" if isinstance(value, list) else "text"
