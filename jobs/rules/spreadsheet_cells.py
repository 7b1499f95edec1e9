"""Cells as a spreadsheet takes them for what they are: text that it would run as a formula, written
so that it does not, and read back; numbers in full."""

from __future__ import annotations

import re
from decimal import Decimal

# Characters that make a spreadsheet take a cell for a formula (OWASP ASVS 1.2.10), also in full
# width, and also behind blanks. A number with its sign is no formula.
_FORMULA = re.compile(r"\s*[=+\-@\t\r\0\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d+)*|[.,]\d+)([eE][+-]?\d+)?%?")


def plain_cell(text: str) -> str:
    """`text` so that no spreadsheet takes it for a formula: with an apostrophe before it, if
    needed."""
    if _FORMULA.match(text) and not _NUMBER.fullmatch(text):
        return f"'{text}"
    return text


def exact_cell(written: str, original: str) -> str:
    """What a cell means that was given out as `plain_cell(original)` and came back as `written`:
    without the apostrophe, if we put it there."""
    if written == plain_cell(original):
        return original
    if written.startswith("'") and plain_cell(written[1:]) == written:
        return written[1:]
    return written


def plain_number(number: Decimal) -> str:
    """Exact, without an exponent, and without zeros at its end: "0.25", "1200"."""
    text = f"{number:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text
