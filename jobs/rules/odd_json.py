"""JSON that is whole and that msgspec does not read. Pure."""

from __future__ import annotations

import json

BOM = "\ufeff"


def plain_json(content: bytes) -> bytes | None:
    """`content` without a byte order mark, and with "\ufffd" for each half of a character that is
    there as an escape: models cut characters in two. None if it is not JSON all the same, or has
    neither."""
    try:
        text = content.decode().removeprefix(BOM)
        found = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    halves = json.dumps(found, ensure_ascii=False).encode("utf-16", "surrogatepass")
    return halves.decode("utf-16", "replace").encode()


def _refuse(name: str) -> None:
    raise ValueError(name)
