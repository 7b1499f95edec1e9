"""The sources of images and documents in a request, and the fixes for them."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from typing import Any

from .request_shapes import Json, Problem

IMAGE_TYPES = ("image/jpeg", "image/png", "image/gif", "image/webp")
PDF = "application/pdf"
SHOWN = 80
_SOURCES = {
    "image": ("base64", "url", "file"),
    "document": ("base64", "text", "content", "url", "file"),
}
# What each type of source has.
_FIELDS = {"url": "url", "file": "file_id", "text": "data", "base64": "data", "content": "content"}
_DATA_URL = re.compile(r"\s*data:([^;,]*)[^,]*,", re.IGNORECASE)
# Both alphabets of base64; blanks are taken for what they are.
_BASE64 = re.compile(r"[A-Za-z0-9+/_\-\s]*={0,2}\s*")
_BEGINNINGS = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
    b"%PDF-": PDF,
}


def source_problem(kind: str, source: Any) -> Problem | None:
    """Why the source of an “image” or “document” block cannot be used."""
    if not isinstance(source, dict):
        return Problem("req_source", f"the “source” of the {kind} is not an object.")
    what = source.get("type")
    if what not in _SOURCES[kind]:
        said = f"“{what[:SHOWN]}”" if isinstance(what, str) else "missing"
        return Problem("req_source", f"the type of the {kind}’s “source” is {said}.")
    value = source.get(_FIELDS[what])
    if not value or not isinstance(value, str | list if what == "content" else str):
        return Problem("req_source", f"the {kind}’s “source” has no “{_FIELDS[what]}”.")
    if what in ("base64", "url") and _is_data_url(value):
        text = f"the {kind} is a data URL, not base64."
        return Problem("req_data_url", text, "source:data_url")
    if what == "text" and source.get("media_type") != "text/plain":
        text = "the “media_type” of a text document must be “text/plain”."
        return Problem("req_media_type", text, "source:media_type")
    return _base64_problem(kind, source) if what == "base64" else None


def _base64_problem(kind: str, source: Json) -> Problem | None:
    data = source["data"]
    if not _BASE64.fullmatch(data):
        return Problem("req_source", f"the “data” of the {kind} is not base64.")
    media_type, found = source.get("media_type"), _kind_of_file(data)
    allowed = IMAGE_TYPES if kind == "image" else (PDF,)
    fix = "source:media_type" if _right_type(kind, source) in allowed else ""
    if media_type not in allowed:
        said = f"“{media_type[:SHOWN]}”" if isinstance(media_type, str) else "missing"
        text = f"the “media_type” of the {kind} is {said}. Use {_in_words(allowed)}."
        return Problem("req_media_type", text, fix)
    if found and found != media_type:
        text = f"the {kind} is said to be “{media_type}”, but it is “{found}”."
        return Problem("req_media_type", text, fix)
    return None


def _in_words(names: tuple[str, ...]) -> str:
    *first, last = [f"“{name}”" for name in names]
    return f"{', '.join(first)} or {last}" if first else last


def _is_data_url(value: Any) -> bool:
    return isinstance(value, str) and _DATA_URL.match(value[:200]) is not None


def _kind_of_file(data: str) -> str:
    """The media type that the first bytes show; "" if they show none that we know."""
    try:
        raw = binascii.a2b_base64("".join(data[:64].split())[:24])
    except (binascii.Error, ValueError):
        return ""
    if raw.startswith(b"RIFF") and raw[8:12] == b"WEBP":
        return "image/webp"
    return next((name for begin, name in _BEGINNINGS.items() if raw.startswith(begin)), "")


def _right_type(kind: str, source: Json) -> str:
    """The media type that a source should have; "" if nothing tells."""
    data = source.get("data")
    if isinstance(data, str) and (found := _kind_of_file(data)):
        return found
    if kind == "document":
        return PDF if source.get("media_type") in (None, "application/x-pdf", "pdf") else ""
    said = str(source.get("media_type") or "").lower().removeprefix("image/")
    name = {"jpg": "jpeg", "pjpeg": "jpeg", "x-png": "png"}.get(said, said)
    return f"image/{name}" if f"image/{name}" in IMAGE_TYPES else ""


# --- Fixes ----------------------------------------------------------------------------------------


def strip_data_urls(params: Json) -> None:
    """Convert data URLs to base64, with the media type that they name."""
    for kind, source in _sources(params):
        field = "url" if source.get("type") == "url" else "data"
        if _is_data_url(source.get(field)) and (found := _DATA_URL.match(source[field])):
            data = source.pop(field)[found.end() :]
            media_type = found[1].lower() or source.get("media_type")
            source.update(type="base64", media_type=media_type, data=data)
            if right := _right_type(kind, source):
                source["media_type"] = right


def set_media_types(params: Json) -> None:
    for kind, source in _sources(params):
        if source.get("type") == "text":
            source["media_type"] = "text/plain"
        elif source.get("type") == "base64" and (right := _right_type(kind, source)):
            source["media_type"] = right


def _sources(params: Json) -> Iterator[tuple[str, Json]]:
    waiting = [message["content"] for message in params["messages"]]
    while waiting:
        content = waiting.pop()
        for block in content if isinstance(content, list) else ():
            kind = block.get("type")
            if kind == "tool_result":
                waiting.append(block.get("content"))
            elif kind in _SOURCES and isinstance(block.get("source"), dict):
                yield kind, block["source"]
