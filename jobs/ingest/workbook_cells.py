"""The text of a workbook's cells; see workbook.py."""

from __future__ import annotations

import math
import re
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

LONG = 1e15  # a number from here on has more than 15 digits
_DURATION = re.compile(r"(-?)PT([0-9]+)H([0-9]+)M([0-9]+)(?:[.,]([0-9]+))?S")


# --- Cells ----------------------------------------------------------------------------------------


def as_text(value: Any) -> str:
    """The text of what calamine gives for a cell; see the top of this module."""
    match value:
        case bool():
            return "TRUE" if value else "FALSE"
        case int() | float():
            return number_text(value)
        case datetime(hour=0, minute=0, second=0, microsecond=0):
            return value.date().isoformat()
        case datetime():
            return value.isoformat(" ", "milliseconds" if value.microsecond else "seconds")
        case time():
            return value.isoformat("milliseconds" if value.microsecond else "seconds")
        case date():
            return value.isoformat()
        case timedelta():
            return _duration_text(value)
        case _:
            return str(value)


def number_text(number: float) -> str:
    text = f"{number:.15g}"
    if "e" not in text and "n" not in text and number:
        return text
    if math.isinf(number) or math.isnan(number):
        return "#NUM!"
    whole = number == int(number)
    if whole and abs(number) < LONG:
        return str(int(number))
    text = repr(number) if whole else f"{number:.15g}"
    if "e" not in text and not whole:
        return text
    if 1e-6 <= abs(number) < 1e21:
        return f"{Decimal(text):f}".removesuffix(".0")
    return f"{Decimal(text).normalize():E}"


def _duration_text(value: timedelta) -> str:
    thousandths = round(abs(value) / timedelta(milliseconds=1))
    seconds, thousandths = divmod(thousandths, 1_000)
    minutes, seconds = divmod(seconds, 60)
    text = f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
    sign = "-" if value < timedelta() else ""
    return f"{sign}{text}.{thousandths:03}" if thousandths else sign + text


def duration_of(cell: str) -> str:
    """calamine gives those in an .ods as they stand there when they are longer than a day, and all
    those of Strict Open XML."""
    if "PT" not in cell or not (match := _DURATION.fullmatch(cell)):
        return cell
    sign, hours, minutes, seconds, fraction = match.groups()
    text = f"{sign}{int(hours)}:{minutes:0>2}:{seconds:0>2}"
    return f"{text}.{fraction:0<3.3}" if fraction and fraction.strip("0") else text


def column_index(letters: bytes) -> int:
    """ "A" is 0, "AA" is 26."""
    column = 0
    for letter in letters:
        column = column * 26 + letter - 64
    return column - 1


def column_letters(column: int) -> str:
    """0 is "A", 26 is "AA"."""
    letters = ""
    column += 1
    while column:
        column, letter = divmod(column - 1, 26)
        letters = chr(65 + letter) + letters
    return letters
