"""UTF-16 and UTF-32 without a byte order mark, known by their patterns in any language."""

from __future__ import annotations

import unicodedata

LOOKED_AT = 8_000  # bytes
# What is between words and cells whatever the language: two bytes, and one of them is NUL.
_STRUCTURE = "\n\r\t ;,|\"'.-0123456789"
_SPACE = "\t\n\v\f\r\x1a"
_NO_TEXT = ("Cc", "Cn", "Co", "Cs")


def utf_16_order(head: bytes) -> str:
    """ "utf-16-le", "utf-16-be", or "" for anything else; `head`: the beginning of the file."""
    head = head[: min(len(head), LOOKED_AT) // 2 * 2]
    if head.count(0) < 2:
        return ""  # not even a line break
    found = {order: _structure(head, order) for order in ("utf-16-le", "utf-16-be")}
    order = max(found, key=lambda one: found[one])
    return order if found[order] else ""


def utf_32_order(head: bytes) -> str:
    """ "utf-32-le", "utf-32-be", or "" for anything else. Of four bytes, one is always NUL and its
    neighbor nearly always; no other text can be read so."""
    head = head[: min(len(head), LOOKED_AT) // 4 * 4]
    for order in ("utf-32-le", "utf-32-be") if head else ():
        try:
            text = head.decode(order)
        except UnicodeError:
            continue
        if not any(unicodedata.category(one) in _NO_TEXT and one not in _SPACE for one in text):
            return order
    return ""


def _structure(head: bytes, order: str) -> int:
    """How many characters are of the structure that every table has; 0 if this is no text."""
    text = head.decode(order, errors="replace")
    odd = sum(
        char == "\ufffd" or (unicodedata.category(char) in _NO_TEXT and char not in _SPACE)
        for char in text
    )
    count = sum(map(text.count, _STRUCTURE))
    return count if odd * 50 <= len(text) <= count * 100 else 0
