"""Fixes for ready-made requests: their buttons, what they change, and how that is reported."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..rules.pricing import find_model
from .request_checks import REQUIRED, SHOWN
from .request_conversion import convert_blocks, convert_tools
from .request_settings import (
    cache_one_hour,
    keep_last_marks,
    keep_user_id,
    move_format,
    remove_blank_stops,
    remove_citations,
    simplify_schemas,
)
from .request_shapes import Json
from .request_sources import set_media_types, strip_data_urls
from .request_tools import FEW_USES, WEB_TOOLS, has_max_uses, tool_kind

# --- Fixes ----------------------------------------------------------------------------------------


class Fix(NamedTuple):
    words: str  # of the button; "them" are the requests
    done: str
    apply: Callable[[Json], object]


def _remove_effort(params: Json) -> None:
    config = params.get("output_config", {})
    config.pop("effort", None)
    if not config:
        params.pop("output_config", None)


def _remove_prefill(params: Json) -> None:
    while params["messages"] and params["messages"][-1]["role"] == "assistant":
        params["messages"].pop()


def _move_system(params: Json) -> None:
    contents = []
    while params["messages"] and params["messages"][0]["role"] == "system":
        contents.append(params["messages"].pop(0)["content"])
    if all(isinstance(content, str) for content in contents):
        params["system"] = "\n\n".join(contents)
        return
    blocks: list[Json] = []
    for content in contents:
        blocks += [{"type": "text", "text": content}] if isinstance(content, str) else content
    params["system"] = blocks


def _shorten(params: Json) -> None:
    if known := find_model(params["model"]):
        params["max_tokens"] = known.max_output


def _limit_uses(params: Json) -> None:
    for tool in params["tools"]:
        if tool_kind(tool).startswith(WEB_TOOLS) and not has_max_uses(tool):
            tool["max_uses"] = FEW_USES


def _strip_prefill(params: Json) -> None:
    params["messages"][-1]["content"] = params["messages"][-1]["content"].rstrip()


def _drop_copies(params: Json) -> None:
    tools: list[Json] = []
    for tool in params["tools"]:
        if tool not in tools:
            tools.append(tool)
    params["tools"] = tools


_FIXES = {
    "max_tokens:longest": Fix(
        "Set “max_tokens” to the model’s maximum",
        "“max_tokens” was set to the model’s maximum",
        _shorten,
    ),
    "max_uses:few": Fix(
        f"Limit each web tool to {FEW_USES} uses",
        f"Each web tool was limited to {FEW_USES} uses",
        _limit_uses,
    ),
    "remove:prefill": Fix(
        "Remove the prefilled answer",
        "The prefilled answer was removed",
        _remove_prefill,
    ),
    "system:move": Fix(
        "Move the first message to “system”",
        "The first message was moved to “system”",
        _move_system,
    ),
    "thinking:adaptive": Fix(
        "Let the model decide how much to think",
        "The model decides how much to think (“thinking” is “adaptive”)",
        lambda params: params.update(thinking={"type": "adaptive"}),
    ),
    "thinking:between_tools": Fix(
        "Let the model think only between tool calls",
        "The model thinks only between tool calls (“thinking” is “between_tools”)",
        lambda params: params.update(thinking={"type": "between_tools"}),
    ),
    "effort:high": Fix(
        "Set “effort” to “high”",
        "“effort” was set to “high”",
        lambda params: params["output_config"].update(effort="high"),
    ),
    "effort:remove": Fix("Remove effort", "“effort” was removed", _remove_effort),
    "thinking:no_budget": Fix(
        "Remove budget_tokens",
        "“budget_tokens” was removed",
        lambda params: params.get("thinking", {}).pop("budget_tokens", None),
    ),
    "tool_choice:auto": Fix(
        "Let the model decide whether to use a tool",
        "The model decides whether to use a tool (“tool_choice” is “auto”)",
        lambda params: params.update(tool_choice={"type": "auto"}),
    ),
    "block:convert": Fix(
        "Convert OpenAI content blocks",
        "OpenAI content blocks were converted",
        convert_blocks,
    ),
    "tools:convert": Fix(
        "Convert OpenAI tools",
        "OpenAI tools were converted",
        convert_tools,
    ),
    "tools:once": Fix(
        "Remove duplicate tools",
        "Duplicate tools were removed",
        _drop_copies,
    ),
    "format:move": Fix(
        "Move the schema to “output_config.format”",
        "The schema was moved to “output_config.format”",
        move_format,
    ),
    "schema:simplify": Fix(
        "Move unsupported schema rules to descriptions",
        "Unsupported schema rules were moved to descriptions",
        simplify_schemas,
    ),
    "citations:remove": Fix("Turn off citations", "Citations were turned off", remove_citations),
    "source:data_url": Fix(
        "Convert data URLs to base64",
        "Data URLs were converted to base64",
        strip_data_urls,
    ),
    "source:media_type": Fix(
        "Correct the media types of files",
        "The media types of files were corrected",
        set_media_types,
    ),
    "cache:last": Fix(
        "Keep only the last 4 “cache_control”",
        "Only the last 4 “cache_control” were kept",
        keep_last_marks,
    ),
    "cache:one_hour": Fix(
        "Set all “cache_control” to one hour",
        "All “cache_control” were set to one hour",
        cache_one_hour,
    ),
    "stop:blank": Fix(
        "Remove blank stop sequences", "Blank stop sequences were removed", remove_blank_stops
    ),
    "metadata:user_id": Fix(
        "Remove all but “user_id” from “metadata”",
        "All but “user_id” was removed from “metadata”",
        keep_user_id,
    ),
    "prefill:strip": Fix(
        "Remove the blanks at the end of the last message",
        "The blanks at the end of the last message were removed",
        _strip_prefill,
    ),
}


def fix_label(code: str, count: int = 0) -> str:
    """The label of a button for a group of findings: "Remove temperature from all 4,000 requests".
    "" for a code that is not known, which nothing is done about."""
    what, separator, name = code.partition(":")
    old, _, new = name.rpartition("=")
    every = f"all {count:,} requests" if count > 1 else "the request" if count else "all of them"
    if fix := _FIXES.get(code):
        return f"{fix.words}, in {every}"
    if what == "model" and old and (known := find_model(new)) and known.status != "retired":
        return f"Use {new} instead of {old[:SHOWN]}, in {every}"
    removable = {"remove": (*REQUIRED, ""), "beside": ("custom_id", "params", "")}
    if separator and name not in removable.get(what, (name,)):
        return f"Remove {name[:SHOWN]} from {every}"
    return ""


def done_sentence(code: str) -> str:
    if fix := _FIXES.get(code):
        return fix.done
    what, _, name = code.partition(":")
    old, _, new = name.rpartition("=")
    if what == "model":
        return f"“{old[:SHOWN]}” was replaced by “{new}”"
    return f"“{name[:SHOWN]}” was removed"


def apply_fix(code: str, request: Json) -> None:
    """Carry out the fix of a finding about this very request."""
    what, _, name = code.partition(":")
    if fix := _FIXES.get(code):
        fix.apply(request["params"])
    elif what == "model":
        request["params"]["model"] = name.rpartition("=")[2]
    elif what == "beside":
        request.pop(name, None)
    else:
        request["params"].pop(name, None)
