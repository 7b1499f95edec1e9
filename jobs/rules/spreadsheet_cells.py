"""Cells as a spreadsheet takes them for what they are: text that it would run as a formula, written
so that it does not, and read back; numbers in full."""

from __future__ import annotations

import re
from decimal import Decimal

_QUOTE, _QUOTES = '"', '""'
# Characters that make a spreadsheet take a cell for a formula (OWASP ASVS 1.2.10), also in full
# width, and also behind blanks. A number with its sign is no formula.
_FORMULA = re.compile(r"\s*[=+\-@\t\r\0\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d+)*|[.,]\d+)([eE][+-]?\d+)?%?")


# The same within a cell, behind what ends a cell where a semicolon or a tab is the list separator:
# there a file with commas is cut in other places, and quotation marks within a line hold nothing
# together.
_INNER_FORMULA = re.compile(
    r"""([;\t\r\n])(?=[\s"]*[=+\-@\0\uff1d\uff0b\uff0d\uff20])([^;\t\r\n]+)"""
)
_INNER_AFTER_COMMA = re.compile(r"""(,)(?=[\s"]*[=+\-@\0\uff1d\uff0b\uff0d\uff20])([^,;\t\r\n]+)""")
# A line of a list is no formula: it calls no function and no program.
_LIST_ITEM = re.compile(r"[-+] [^(|!=]*")
# What plain_cell puts there.
_INNER_APOSTROPHE = re.compile(r"""([;\t\r\n])'(?=[\s"]*[=+\-@\0\uff1d\uff0b\uff0d\uff20])""")


def plain_cell(text: str) -> str:
    """`text` so that no spreadsheet takes it for a formula, or a part of it where it cuts the cell
    at a semicolon, a tab or a line break: with an apostrophe before it, if needed."""
    # Most cells have none of these, and begin with a letter or digit, which is seen sooner so.
    if ";" in text or "\n" in text or "\t" in text or "\r" in text:
        text = _INNER_FORMULA.sub(_plain_part, text)
    if not text[:1].isalnum() and _FORMULA.match(text) and not _NUMBER.fullmatch(text):
        return f"'{text}"
    return text


def plain_cell_among_semicolons(text: str) -> str:
    """The same for a file with semicolons, which a spreadsheet may cut at each comma instead."""
    return plain_cell(_INNER_AFTER_COMMA.sub(_plain_part, text))


def _plain_part(found: re.Match[str]) -> str:
    part = found[2].strip()
    is_harmless = _NUMBER.fullmatch(part) or _LIST_ITEM.fullmatch(part)
    return found[0] if is_harmless else f"{found[1]}'{found[2]}"


def exact_cell(written: str, original: str) -> str:
    """What a cell means that was given out as `plain_cell(original)` and came back as `written`:
    without the apostrophes, if we put them there."""
    given = plain_cell(original)
    if _same_lines(written) == _same_lines(given):
        return original
    has_ours = given.count("'") > original.count("'")
    bare = _INNER_APOSTROPHE.sub(r"\1", written) if has_ours else written
    if bare.startswith("'") and _FORMULA.match(bare[1:]):
        bare = bare[1:]
    return bare if plain_cell(bare) == written else written


def _same_lines(text: str) -> str:
    """A spreadsheet may write the line breaks in a cell in its own way."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def plain_number(number: Decimal) -> str:
    """Exact, without an exponent, and without zeros at its end: "0.25", "1200"."""
    text = f"{number:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def csv_line(cells: list[str], delimiter: str) -> str:
    """Several cells as Python's csv.writer writes them, in a quarter of its time where they are
    long: it looks at one character after the other."""
    written = [
        f'"{cell.replace(_QUOTE, _QUOTES)}"'
        if delimiter in cell or _QUOTE in cell or "\n" in cell or "\r" in cell
        else cell
        for cell in cells
    ]
    return f"{delimiter.join(written)}\r\n"
