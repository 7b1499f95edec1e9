"""The client's own tools in a request, and the choice among them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from .request_shapes import Json, Problem, is_tool_choice
from .request_tools import tool_kind

MOST_STRICT = 20
SHOWN = 80
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_KEYS = {
    *("name", "input_schema", "description", "type", "cache_control", "strict"),
    *("allowed_callers", "defer_loading", "eager_input_streaming", "input_examples"),
}


def own_tool_problems(tools: list[Json]) -> Iterator[Problem]:
    """What is wrong with the tools: the first thing."""
    if foreign := [tool for tool in tools if is_foreign(tool)]:
        text = "A tool is in OpenAI’s format (“type”: “function”)."
        is_whole = all(isinstance(tool.get("function", tool), dict) for tool in foreign)
        yield Problem("req_tools", text, "tools:convert" if is_whole else "")
        return
    for number, tool in enumerate(tools, start=1):
        if tool_kind(tool) == "custom" and (text := _fault(tool)):
            yield Problem("req_tools", f"Tool {number:,} {text}")
            return
    names = [tool["name"] for tool in tools if isinstance(tool.get("name"), str)]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        copies = [tool for tool in tools if tool.get("name") == twice]
        fix = "tools:once" if all(tool == copies[0] for tool in copies) else ""
        yield Problem("req_tools", f"Two tools have the name “{twice[:SHOWN]}”.", fix)
    if sum(tool.get("strict") is True for tool in tools) > MOST_STRICT:
        yield Problem("req_tools", f"More than {MOST_STRICT} tools are “strict”.")


def is_foreign(tool: Json) -> bool:
    return tool.get("type") == "function"


def _fault(tool: Json) -> str:
    name, schema = tool.get("name"), tool.get("input_schema")
    if not isinstance(name, str) or not name:
        return "has no “name”."
    if not _NAME.fullmatch(name):
        return (
            f"has the name “{name[:SHOWN]}”. A name may have up to 128 letters A to Z, digits, “_” "
            "and “-”."
        )
    if not isinstance(schema, dict):
        return "has no “input_schema”."
    if schema.get("type", "object") != "object":
        return "has an “input_schema” whose “type” is not “object”."
    if odd := next((key for key in ("oneOf", "allOf", "anyOf") if key in schema), ""):
        return f"has “{odd}” at the top of its “input_schema”."
    if extra := next((key for key in tool if key not in _KEYS), ""):
        return f"has an unknown key, “{extra[:SHOWN]}”."
    return ""


def choice_problems(params: Json) -> Iterator[Problem]:
    """A choice among tools that are not there."""
    choice: Any = params.get("tool_choice")
    tools = params.get("tools") or []
    if not choice or not is_tool_choice(choice) or choice["type"] == "none":
        return
    if not tools:
        text = "There is a “tool_choice”, but there are no tools."
        yield Problem("req_no_tools", text, "remove:tool_choice")
    elif choice["type"] == "tool" and all(isinstance(tool.get("name"), str) for tool in tools):
        name = choice["name"]
        if name not in [tool["name"] for tool in tools]:
            text = f"“tool_choice” names the tool “{name[:SHOWN]}”, which is not among the tools."
            yield Problem("req_no_tools", text)
