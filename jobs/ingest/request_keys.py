"""Which ready-made requests are the same: the answer to one is an answer to the others. Pure."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from ..rules.row_contents import RequestKey, encode_request, request_key
from .request_shapes import Json
from .request_tools import CLIENT_TOOLS, tool_kind

# What changes nothing but by what is written there. What any other parameter stands for is kept
# elsewhere and may change, or is not known.
_LASTING = {
    *("model", "max_tokens", "messages", "system", "thinking", "output_config", "stop_sequences"),
    *("tools", "tool_choice", "cache_control", "metadata", "service_tier", "inference_geo"),
}
# Sources of images and documents that are in the request itself.
_INSIDE = ("base64", "text", "content")


def lasting_key(params: bytes) -> RequestKey | None:
    """The same for requests that differ in nothing but blanks between their parts and in how
    characters are escaped. None if another answer may be right at another time: for web tools,
    linked files and whatever else is not in the request; and for one that has a key twice."""
    try:
        found = _decoder.decode(params.decode())
        if not isinstance(found, dict) or _looks_elsewhere(found):
            return None
        return request_key(encode_request(found))
    except (ValueError, RecursionError):
        return None


def _each_key_once(pairs: list[tuple[str, Any]]) -> Json:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _as_written(number: str) -> msgspec.Raw:
    return msgspec.Raw(number.encode())


_decoder = json.JSONDecoder(
    object_pairs_hook=_each_key_once, parse_float=_as_written, parse_int=_as_written
)


def _looks_elsewhere(params: Json) -> bool:
    given = (name for name, value in params.items() if value is not None and value is not False)
    if not _LASTING.issuperset(given):
        return True
    tools = params.get("tools") or []
    if not isinstance(tools, list) or not all(map(_is_of_the_client, tools)):
        return True
    return _is_linked([params.get("messages"), params.get("system")])


def _is_of_the_client(tool: Any) -> bool:
    """Whether a tool is only asked for, and is not run by the provider."""
    return isinstance(tool, dict) and tool_kind(tool).startswith(CLIENT_TOOLS)


def _is_linked(content: list[Any]) -> bool:
    """Whether a file of it is elsewhere, however deep."""
    waiting = content
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            source = one.get("source")
            if isinstance(source, dict) and source.get("type") not in _INSIDE:
                return True
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    return False
