"""What an answer should have been, and whether it is: right answers as people write them in a
column, compared with what Claude wrote. Pure.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

import msgspec

from .answer_formats import COLUMNS, LABELS, AnswerColumn, AnswerKind, Value, as_cell
from .column_matching import named_alike

PLAIN = ""  # the name of the one column of an answer that is a text or a label
LONGEST_NUMBER = 40  # characters of a cell that is read as a number
MOST_TOLERANCE = Decimal(10) ** 12

# Takes up no room on paper: soft hyphen, zero-width space and joiners, byte order mark.
_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u2060\ufeff"))
_PLAIN_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d{1,3})?", re.IGNORECASE)
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3}){2,}|[+-]?\d{1,3}(,\d{3})+\.\d+")
_COMMA = re.compile(r"[+-]?\d+,(\d{1,2}|\d{4,})")
_YES = {"yes", "y", "true", "t", "1", "x"}
_NO = {"no", "n", "false", "f", "0"}


class GoldChoice(msgspec.Struct, frozen=True):
    """Which columns of the file hold the right answers, and how they are compared."""

    # Each column of the answer (PLAIN for an answer that is one text or label) with that of the
    # file; only those that are compared.
    columns: tuple[tuple[str, str], ...] = ()
    by_hand: bool = False  # people write the right answers here, instead of in the file
    ignores_accents: bool = False
    tolerance: str = "0"  # how far a number may be off: a decimal

    @property
    def is_made(self) -> bool:
        return self.by_hand or bool(self.columns)

    @property
    def file_columns(self) -> list[str]:
        """The columns of the file with right answers, each once."""
        return [] if self.by_hand else list(dict.fromkeys(name for _answer, name in self.columns))

    @property
    def most_off(self) -> Decimal:
        return read_tolerance(self.tolerance) or Decimal(0)


def answer_columns(kind: AnswerKind) -> list[AnswerColumn]:
    """What is compared of an answer: its columns, or the one text or label as a column PLAIN."""
    if kind.kind == COLUMNS:
        return list(kind.columns)
    if kind.kind == LABELS:
        return [AnswerColumn(PLAIN, "choice", kind.labels)]
    return [AnswerColumn(PLAIN)]


def fitting_choice(choice: GoldChoice, kind: AnswerKind, columns: Sequence[str]) -> GoldChoice:
    """`choice` for a file with `columns` and answers of `kind`: without what is not there. Columns
    of the file that are written a little differently are found."""
    asked = {column.name for column in answer_columns(kind)}
    found = []
    for answer, name in choice.columns:
        alike = [one for one in named_alike([name], columns) if one in columns]
        there = [name] if name in columns else alike
        if answer in asked and len(there) == 1:
            found.append((answer, there[0]))
    return msgspec.structs.replace(choice, columns=tuple(found))


def values_of_answer(kind: AnswerKind, answer: str, stored: dict[str, Value]) -> dict[str, Value]:
    """The values of a stored answer by the names of `answer_columns`; `stored`: those of an answer
    in columns."""
    return stored if kind.kind == COLUMNS else {PLAIN: answer}


def normalize(text: str, *, ignores_accents: bool = False) -> str:
    """`text` as it is compared: in small letters, with single blanks, without what is invisible,
    and with one way to write each character (Unicode NFKC); without accents on request.

    Normalising twice changes nothing more.
    """
    done = _normalize_once(text, ignores_accents)
    while (again := _normalize_once(done, ignores_accents)) != done:
        done = again
    return done


def _normalize_once(text: str, ignores_accents: bool) -> str:
    text = unicodedata.normalize("NFKC", text.translate(_INVISIBLE)).casefold()
    if ignores_accents:
        apart = unicodedata.normalize("NFKD", text)
        text = "".join(sign for sign in apart if not unicodedata.combining(sign))
    return " ".join(unicodedata.normalize("NFKC", text).split())


def read_number(text: str) -> Decimal | None:
    """The number in a cell; None if there is none, or "1,234", which may be either of two."""
    text = "".join(unicodedata.normalize("NFKC", text[: LONGEST_NUMBER + 1]).split())
    text = text.replace("\u2212", "-").replace("'", "").replace("\u2019", "")
    if len(text) > LONGEST_NUMBER or not text.isascii():
        return None
    if _THOUSANDS.fullmatch(text):
        text = text.replace(",", "")
    elif _COMMA.fullmatch(text):
        text = text.replace(",", ".")
    if not _PLAIN_NUMBER.fullmatch(text):
        return None
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


def read_tolerance(text: str) -> Decimal | None:
    """How far numbers may be off; None if `text` is no such number."""
    found = read_number(text) if text.strip() else Decimal(0)
    return found if found is not None and 0 <= found <= MOST_TOLERANCE else None


def label_key(column: AnswerColumn, text: str, choice: GoldChoice) -> str:
    """Equal for labels that count as the same."""
    key = normalize(text, ignores_accents=choice.ignores_accents)
    if column.kind == "yes_no":
        return "yes" if key in _YES else "no" if key in _NO else key
    return key


def item_keys(value: Value, choice: GoldChoice) -> frozenset[str]:
    """The items of a list, or of a cell with semicolons between them, or else commas."""
    items: Sequence[object]
    if isinstance(value, list):
        items = value
    else:
        text = as_cell(value)
        items = text.split(";" if ";" in text else ",")
    keys = (normalize(str(item), ignores_accents=choice.ignores_accents) for item in items)
    return frozenset(filter(None, keys))


def is_right(column: AnswerColumn, gold: str, value: Value, choice: GoldChoice) -> bool | None:
    """Whether `value` is what the cell `gold` says; None when that cannot be compared: the cell is
    empty, or no number where one is wanted."""
    if not gold.strip():
        return None
    if column.kind == "number":
        wanted = read_number(gold)
        if wanted is None:
            return None
        found = number_of(value)
        return found is not None and abs(found - wanted) <= choice.most_off
    if column.kind == "list":
        return item_keys(gold, choice) == item_keys(value, choice)
    return label_key(column, gold, choice) == label_key(column, as_cell(value), choice)


def number_of(value: Value) -> Decimal | None:
    """The number that Claude answered; None if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    number = Decimal(str(value))
    return number if number.is_finite() else None
