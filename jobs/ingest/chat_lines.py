"""Chats and logs, each line of which begins with a time: their commas separate no cells."""

from __future__ import annotations

import re
from itertools import islice

from .delimiters import LABELS, ONE_COLUMN
from .dialects import EVEN, Found, option_of
from .shapes import NO_HEADER, Choices, Finding, Option

LOOKED_AT = 100  # lines
LEAST = 2  # that begin with a time
SHARE = 4  # lines of a message on average, at most
SHOWN = 60  # characters

_MARKS = "\u200e\u200f\u202a\u202c"  # of the direction of text
_BLANK = r"[ \u00a0\u202f]"
_DATE = rf"\d{{1,4}}[./-]{_BLANK}?\d{{1,2}}[./-]{_BLANK}?\d{{1,4}}\.?"
_HALF = rf"(?:{_BLANK}?(?:[AaPp]\.?{_BLANK}?[Mm]\.?|[^\W\d]{{1,4}}))?"  # AM, or another language's
_TIME = rf"(?:[^\W\d]{{2}}{_BLANK}?)?\d{{1,2}}[:.]\d{{2}}(?:[:.]\d{{2}})?{_HALF}"
# "[28.11.26, 10:15:01] Ann: Hi", "[2026-11-28 10:00] started", "[10:15] <Ann> Hi"
_IN_BRACKETS = re.compile(rf"[{_MARKS}]*\[(?:{_DATE}[,،T]?{_BLANK}?)?{_TIME}\]{_BLANK}?[^\s,;|\]]")
# "28.11.26, 10:15 - Ann: Hi", and what WhatsApp says itself, without a name
_DASHED = re.compile(rf"[{_MARKS}]*{_DATE}[,،]?{_BLANK}{_TIME}{_BLANK}[-–]{_BLANK}\S")
_NAMED = re.compile(rf"{_DASHED.pattern}[^;|\t]{{0,60}}?:(?:\s|$)")
# What has no commas of its own, and so may well separate cells.
_CLEAR = (";", "\t", "|")


def read_as_lines(choices: Choices) -> Choices:
    """`choices` with each line as a cell."""
    return Option("", _lines_change(choices)).applied(choices)


def ask_about_lines(sample: str, found: Found, choices: Choices) -> Finding | None:
    """The question whether each line is a cell; None if the lines are not those of a chat.
    `found`: how they would be read as a table."""
    lines = islice((line for line in sample.split("\n") if line.strip()), LOOKED_AT)
    texts = [line.strip("\r") for line in lines]
    if not texts or not (_IN_BRACKETS.match(texts[0]) or _DASHED.match(texts[0])):
        return None
    begun = sum(bool(_IN_BRACKETS.match(text) or _NAMED.match(text)) for text in texts)
    if begun < min(LEAST, len(texts)) or begun * SHARE < len(texts):
        return None
    if found.look.dialect.delimiter in _CLEAR and found.look.share >= EVEN:
        return None
    first = next(text for text in texts if _IN_BRACKETS.match(text) or _NAMED.match(text))
    text = f"The lines begin with a time, as in a chat or a log: “{first.strip()[:SHOWN]}”. "
    text += "Each line is read as a cell."
    if begun < len(texts):
        text += " So is a line that continues the one above."
    options = [Option(LABELS[ONE_COLUMN], _lines_change(choices), texts[:3])]
    tables = [found.look, *found.tables]
    options += [option_of(one) for one in tables if one.dialect.delimiter != ONE_COLUMN][:1]
    return Finding("chat", text, options=tuple(options))


def _lines_change(choices: Choices) -> dict[str, str | int | bool | list[str]]:
    return {
        "delimiter": ONE_COLUMN,
        "no_quotes": True,
        "header": choices.header or NO_HEADER,
    }
