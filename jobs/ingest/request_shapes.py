"""The shape that each setting of a request must have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ..rules.model_capabilities import ALL_EFFORTS

Json = dict[str, Any]


class Problem(NamedTuple):
    """What is wrong with a request: its kind, in words, and the code of a fix."""

    kind: str
    text: str
    fix: str = ""


_ALL_THINKING = ("adaptive", "enabled", "disabled", "between_tools")


def is_blocks(content: Any) -> bool:
    return isinstance(content, list) and all(
        isinstance(block, dict) and isinstance(block.get("type"), str) for block in content
    )


def _is_system(value: Any) -> bool:
    if isinstance(value, str):
        return True
    return is_blocks(value) and all(
        block["type"] == "text" and isinstance(block.get("text"), str) for block in value
    )


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def is_tools(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(tool, dict) for tool in value)


def is_thinking(value: Any) -> bool:
    return value is None or (
        isinstance(value, dict)
        and value.get("type") in _ALL_THINKING
        and value.keys() <= {"type", "budget_tokens", "display"}
        and value.get("display") in (None, "summarized", "omitted")
    )


def is_output_config(value: Any) -> bool:
    if value is None:
        return True
    return (
        isinstance(value, dict)
        and value.keys() <= {"effort", "format"}
        and value.get("effort") in (None, *ALL_EFFORTS)
        and _is_format(value.get("format"))
    )


def _is_format(value: Any) -> bool:
    return value is None or (
        isinstance(value, dict)
        and value.get("type") == "json_schema"
        and isinstance(value.get("schema"), dict)
        and value.keys() <= {"type", "schema"}
    )


def is_cache_control(value: Any) -> bool:
    return value is None or (
        isinstance(value, dict)
        and value.get("type") == "ephemeral"
        and value.get("ttl", "5m") in ("5m", "1h")
        and value.keys() <= {"type", "ttl"}
    )


def is_tool_choice(value: Any) -> bool:
    return value is None or (
        isinstance(value, dict)
        and value.get("type") in ("auto", "any", "tool", "none")
        and (value["type"] != "tool" or isinstance(value.get("name"), str))
    )


SHAPES: dict[str, Callable[[Any], bool]] = {
    "cache_control": is_cache_control,
    "container": lambda value: value is None or isinstance(value, str | dict),
    "inference_geo": lambda value: value in (None, "us", "global"),
    "metadata": lambda value: value is None or isinstance(value, dict),
    "output_config": is_output_config,
    "service_tier": lambda value: value in (None, "auto", "standard_only"),
    "stop_sequences": _is_texts,
    "system": _is_system,
    "thinking": is_thinking,
    "tool_choice": is_tool_choice,
    "tools": is_tools,
    "user_profile_id": lambda value: value is None or isinstance(value, str),
}
