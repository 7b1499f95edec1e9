"""Why a text is not a JSON object that can be used."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec

from .encodings import BAD
from .shapes import Finding

MOST_LEVELS = 200  # of lists and objects within each other; what is stored has to be read again
AROUND = 20  # characters shown on either side of a fault
TOO_LARGE = "A number is too large."
EXPECTED = 'An object was expected here, such as {"name": "Ann"}.'
decoder = msgspec.json.Decoder(dict[str, Any])
_BYTE = re.compile(r"\(byte (\d+)\)$")


# --- What is wrong --------------------------------------------------------------------------------


class _SameKey(Exception):
    pass


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        often = Counter(key for key, _value in pairs)
        raise _SameKey(next(key for key, count in often.items() if count > 1))
    return found


_strict_decoder = json.JSONDecoder(object_pairs_hook=_once_each)


def find_oddity(number: int, text: str, values: dict[str, Any]) -> Finding | None:
    """Valid JSON that is surely a mistake. (msgspec takes the last of two equal keys.)"""
    try:
        _strict_decoder.decode(text)
    except _SameKey as error:
        key = str(error)[:80]
        return Finding("same_key", f"The key “{key}” appears twice in one object.", number)
    if "\\u0000" in text and "\0" in "".join(_texts_in(values)):
        return Finding("nul", "This object contains a NUL character (\\u0000).", number)
    return None


def _texts_in(value: Any) -> Iterator[str]:
    """All texts and keys, however deep."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            waiting += [*value, *value.values()]
        elif isinstance(value, list):
            waiting += value


def is_flat(value: Any) -> bool:
    """Whether there are not too many levels."""
    level = [value]
    for _depth in range(MOST_LEVELS + 1):
        if not level:
            return True
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
    return False


def json_fault(number: int, text: str, most: int) -> Finding:
    """Why this is not a JSON object that can be used."""
    why, at = _why(text)
    if len(text) > most and at in (None, len(text)):
        return Finding("long_line", f"This line has more than {most:,} characters.", number)
    if at is None:
        return Finding("json", f"{why} It begins with “{shown(text[: 2 * AROUND])}”.", number)
    number += text.count("\n", 0, at)
    column = at - text.rfind("\n", 0, at)
    near = shown(text[max(at - AROUND, 0) : at + AROUND])
    return Finding("json", f"Column {column:,}: {why} It is near “{near}”.", number)


def bad_character(number: int, text: str, encoding: str) -> Finding:
    """`text` has BAD where bytes make no character of `encoding`."""
    at = text.index(BAD)
    number += text.count("\n", 0, at)
    near = shown(without_bad(text[max(at - AROUND, 0) : at + AROUND]))
    words = f"This row has a character that is not valid {encoding}: “{near}”."
    return Finding("bad_character", words, number)


def without_bad(text: str) -> str:
    return text.replace(BAD, "\ufffd")


def shown(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text).strip()


def _why(text: str) -> tuple[str, int | None]:
    """What is wrong, as text, and the character where, if known."""
    too_deep = f"This is nested too deeply: more than {MOST_LEVELS} levels."
    try:
        # This one knows the place of what it refuses, and refuses less.
        json.loads(text)
    except json.JSONDecodeError as error:
        if error.pos >= len(text) or error.msg.startswith("Unterminated"):
            return "It ends before the object is complete.", len(text)
        return _wrong_character(text, error.pos, error.msg), error.pos
    except RecursionError:
        return too_deep, None
    except ValueError:
        return TOO_LARGE, None
    try:
        decoder.decode(text)
    except msgspec.ValidationError as error:
        if "out of range" in str(error):
            return TOO_LARGE, None
        return f"{EXPECTED} This is {_describe_kind(text)}.", None
    except msgspec.DecodeError as error:
        if place := _BYTE.search(str(error)):
            at = len(text.encode()[: int(place[1])].decode(errors="ignore"))
            if text.startswith(("NaN", "Infinity"), at):
                return "JSON does not allow NaN and Infinity. Use null.", at
        return "This line has an unpaired surrogate (\\ud800 to \\udfff).", None
    except RecursionError:
        pass
    return too_deep, None


def _describe_kind(text: str) -> str:
    kinds = {"[": "a list", '"': "a text", "n": "null", "t": "true or false", "f": "true or false"}
    return kinds.get(text[:1], "a number")


def _wrong_character(text: str, at: int, message: str) -> str:
    char = text[at]
    if "escape" in message:
        return "Invalid escape. Write a backslash twice."
    if "control character" in message:
        return "A text contains a line break, tab or control character."
    if char == "'":
        return 'Use double quotation marks (").'
    if char in "/#":
        return "JSON does not allow comments."
    if char in "}]" and text[:at].rstrip().endswith(","):
        return "A comma has nothing after it."
    if message == "Extra data":
        return "There is text after the object. Put each object on its own line."
    if "property name" in message:
        return "A key must be in quotation marks."
    if "delimiter" in message:
        return "A comma, colon or bracket is missing here."
    return "This is not JSON."
