"""The blocks in the content of a request's messages: what each must have, and how calls of tools
and their results belong together."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from .request_shapes import Json, Problem, is_blocks
from .request_sources import source_problem

SHOWN = 80  # characters of a name that is repeated in a finding


class _Block(NamedTuple):
    required: tuple[str, ...]
    optional: tuple[str, ...] = ("cache_control",)


_RESULT = _Block(("content", "tool_use_id"))
_WEB_RESULT = _Block(("content", "tool_use_id"), ("cache_control", "caller"))
BLOCKS = {
    "text": _Block(("text",), ("cache_control", "citations")),
    "image": _Block(("source",), ("cache_control", "transformations")),
    "document": _Block(("source",), ("cache_control", "citations", "context", "title")),
    "search_result": _Block(("content", "source", "title"), ("cache_control", "citations")),
    "thinking": _Block(("thinking", "signature"), ()),
    "redacted_thinking": _Block(("data",), ()),
    "tool_use": _Block(("id", "name", "input"), ("cache_control", "caller", "toolset_name")),
    "tool_result": _Block(
        ("tool_use_id",), ("cache_control", "content", "is_error", "toolset_name")
    ),
    "tool_reference": _Block(("tool_name",)),
    "browser_state": _Block(("tabs",), ("cache_control", "state_changes")),
    "container_upload": _Block(("file_id",)),
    "server_tool_use": _Block(("id", "name", "input"), ("cache_control", "caller")),
    "web_search_tool_result": _WEB_RESULT,
    "web_fetch_tool_result": _WEB_RESULT,
    "code_execution_tool_result": _RESULT,
    "bash_code_execution_tool_result": _RESULT,
    "text_editor_code_execution_tool_result": _RESULT,
    "tool_search_tool_result": _RESULT,
}
# Blocks of betas, which we do not judge here.
BETA_BLOCKS = {
    "advisor_tool_result",
    "compaction",
    "fallback",
    "mcp_tool_listing",
    "mcp_tool_result",
    "mcp_tool_use",
    "mid_conv_system",
    "tool_addition",
    "tool_removal",
}
# Blocks of other services, which can be converted.
FOREIGN_BLOCKS = (
    *("input_text", "output_text", "refusal"),
    *("image_url", "input_image", "file", "input_file"),
)
_CALL_ID = re.compile(r"[a-zA-Z0-9_-]+")


def block_problems(messages: list[Json]) -> Iterator[Problem]:
    """What is wrong with the blocks of messages that have a role and a content: the first of each
    kind."""
    seen: set[str] = set()
    for problem in _all_problems(messages):
        if problem.kind not in seen:
            seen.add(problem.kind)
            yield problem


def _all_problems(messages: list[Json]) -> Iterator[Problem]:
    for number, message in enumerate(messages, start=1):
        content = message["content"]
        for block in content if isinstance(content, list) else ():
            for kind, text, fix in _block_problems(block, message["role"]):
                yield Problem(kind, f"Message {number:,}: {text}", fix)
    yield from _call_problems(messages)


def _block_problems(block: Json, role: str) -> Iterator[Problem]:
    kind = block["type"]
    known = BLOCKS.get(kind)
    if not known:
        if kind not in BETA_BLOCKS:
            fix = "block:convert" if _is_convertible(block) else ""
            yield Problem("req_block", f"“{kind[:SHOWN]}” is not a type of block.", fix)
        return
    for name in known.required:
        if block.get(name) is None:
            yield Problem("req_block", f"a block of the type “{kind}” has no “{name}”.")
            return
    for name in block:
        if name != "type" and name not in known.required + known.optional:
            text = f"a block of the type “{kind}” has an unknown key, “{name[:SHOWN]}”."
            yield Problem("req_block", text)
            return
    if kind in ("image", "document"):
        if problem := source_problem(kind, block["source"]):
            yield problem
    elif kind == "tool_use":
        yield from _call_faults(block, role)
    elif kind == "tool_result":
        if role == "assistant":
            yield Problem("req_tool_result", "a “tool_result” belongs in a “user” message.")
        if is_blocks(block.get("content")):
            for inner in block["content"]:
                yield from _block_problems(inner, role)


def _is_convertible(block: Json) -> bool:
    """Whether it is a block of another service with a counterpart: see request_conversion.py."""
    if block["type"] not in FOREIGN_BLOCKS:
        return False
    value = block.get("file", block.get("image_url", block))
    if not isinstance(value, dict):
        return isinstance(value, str) and "image" in block["type"]
    fields = ("text", "refusal", "url", "file_data", "file_url")
    return any(isinstance(value.get(name), str) for name in fields)


def _call_faults(block: Json, role: str) -> Iterator[Problem]:
    if role == "user":
        yield Problem("req_tool_result", "a “tool_use” belongs in an “assistant” message.")
    elif not isinstance(block["id"], str) or not _CALL_ID.fullmatch(block["id"]):
        text = "the “id” of a “tool_use” may have only letters A to Z, digits, “_” and “-”."
        yield Problem("req_block", text)
    elif not isinstance(block["input"], dict):
        yield Problem("req_block", "the “input” of a “tool_use” is not an object.")


def _call_problems(messages: list[Json]) -> Iterator[Problem]:
    """Each result follows its call, and each call is followed by its result."""
    turns = _turns(messages)
    seen: set[Any] = set()
    for at, (role, number, blocks) in enumerate(turns):
        if role == "assistant":
            calls = _ids(blocks, "tool_use", "id")
            after = turns[at + 1].blocks if at + 1 < len(turns) else []
            answered = _ids(after, "tool_result", "tool_use_id")
            if open_call := next((one for one in calls if one not in answered), None):
                text = f"the call “{open_call[:SHOWN]}” has no “tool_result” in the next message."
                yield Problem("req_tool_result", f"Message {number:,}: {text}")
            if twice := next((one for one in calls if one in seen or calls.count(one) > 1), None):
                text = f"two calls have the “id” “{twice[:SHOWN]}”."
                yield Problem("req_tool_result", f"Message {number:,}: {text}")
            seen.update(calls)
        else:
            before = _ids(turns[at - 1].blocks, "tool_use", "id") if at else []
            for one in _ids(blocks, "tool_result", "tool_use_id"):
                if one not in before:
                    text = (
                        f"the “tool_result” of “{one[:SHOWN]}” has no such “tool_use” in the "
                        "message before it."
                    )
                    yield Problem("req_tool_result", f"Message {number:,}: {text}")


class _Turn(NamedTuple):
    role: str
    number: int  # of its first message
    blocks: list[Json]


def _turns(messages: list[Json]) -> list[_Turn]:
    """Messages in a row with the same role are one turn. System messages count for none."""
    turns: list[_Turn] = []
    for number, message in enumerate(messages, start=1):
        role, content = message["role"], message["content"]
        if role not in ("user", "assistant"):
            continue
        blocks = content if isinstance(content, list) else []
        if turns and turns[-1].role == role:
            turns[-1].blocks.extend(blocks)
        else:
            turns.append(_Turn(role, number, list(blocks)))
    return turns


def _ids(blocks: list[Json], kind: str, key: str) -> list[str]:
    return [
        block[key] for block in blocks if block["type"] == kind and isinstance(block.get(key), str)
    ]
