"""What the content of an .ods says of what a person sees: hidden rows, merged cells, and the text
that is shown for a number or an error. Also its repair: calamine takes no line breaks between the
tags, leaves out those within a cell, and takes the text of comments, pictures and shapes for that
of the cell where they are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from html import unescape

from .workbook_cells import number_text
from .workbook_facts import Merge, SheetFacts
from .workbook_files import BLOCK
from .workbook_formats import Reading, differs, is_currency

ROW = b"<table:table-row"
MOST = 8 * BLOCK  # bytes of a row; those of a longer one are not looked at
LEVELS = 20  # of shapes in shapes
REPEATED = 10_000  # the same row or cell; more of them are read as they are stored
_BEGIN = re.compile(rb"(?=<table:table(?:-row)?[\s>/])")
_COLUMN = re.compile(rb"<table:table-column\b([^<>]*)>")
_CELL = re.compile(
    rb"<table:(covered-)?table-cell\b((?:[^<>\"']|\"[^\"]*\"|'[^']*')*?)(/?)>", re.DOTALL
)
_PARAGRAPH = re.compile(rb"<text:p\b[^<>]*?(?:/>|>(.*?)</text:p>)", re.DOTALL)
_TAG = re.compile(rb"<[^<>]*>")
_ATTRIBUTE = re.compile(rb"""([\w-]+):([\w-]+)=(?:"([^"]*)"|'([^']*)')""")
_BETWEEN = re.compile(rb"(</?(?:table|office|config|calcext):[^<>]*>|</text:p>|<text:p/>)\s+(?=<)")
_OVER_CELLS = re.compile(
    rb"<(office:annotation|draw:[\w-]+)\b[^<>]*+"
    rb"(?:(?<=/)>|>(?:(?!<draw:|<office:annotation\b).)*?</\1>)",
    re.DOTALL,
)
_BREAK = re.compile(rb"<text:(?:(tab)|line-break)\b[^<>]*/>")
_HIDDEN = (b"collapse", b"filter")
_NUMBERS = (b"float", b"percentage", b"currency")
_WANTED = re.compile(rb"-spanned=|value-type=.(?:float|percentage|currency|error)")
_ERROR = b'value-type="error"'
_EXPONENT = re.compile(r"[0-9]E[+-]?[0-9]")
_FIRST_NUMBER = re.compile(r"-?[0-9](?:[0-9.,'\u00a0\u202f]*[0-9])?")


def needs_repair(piece: bytes) -> bool:
    return bool(_BETWEEN.search(piece) or _BREAK.search(piece)) or _has_over_cells(piece)


def repaired(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The content as calamine reads it right."""
    rest = b""
    for block in blocks:
        piece = rest + block
        end = piece.rfind(ROW)
        if end <= 0 and len(piece) < MOST:
            rest = piece
            continue
        end = end if end > 0 else len(piece)
        yield _repaired(piece[:end])
        rest = piece[end:]
    yield _repaired(rest)


def _repaired(piece: bytes) -> bytes:
    piece = _BETWEEN.sub(rb"\1", _cells_only(piece))
    return _BREAK.sub(lambda found: b"&#9;" if found[1] else b"&#10;", piece)


def _has_over_cells(piece: bytes) -> bool:
    return b"<draw:" in piece or b"<office:annotation" in piece


def _cells_only(piece: bytes) -> bytes:
    """Without comments, pictures and shapes, which may have others in them."""
    for _level in range(LEVELS if _has_over_cells(piece) else 0):
        piece, count = _OVER_CELLS.subn(b"", piece)
        if not count:
            break
    return piece


def look_through(
    blocks: Iterable[bytes], index: int, facts: SheetFacts, errors: dict[int, dict[int, str]]
) -> None:
    """Note what the sheet at `index` says in `facts`, and the text of its errors by line and
    column."""
    look, table = _Look(facts, errors), -1
    for piece in _pieces(blocks):
        if piece.startswith(ROW):
            if table == index:
                look.add_row(_cells_only(piece))
        elif piece.startswith(b"<table:table"):
            table += 1
            if table == index:
                look.add_columns(piece)
            elif table > index:
                return


def _pieces(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Each row, and each beginning of a sheet, with what follows it."""
    rest = b""
    for block in blocks:
        *pieces, rest = _BEGIN.split(rest + block)
        yield from pieces
        if len(rest) > MOST:
            rest = b""
    yield rest


class _Look:
    def __init__(self, facts: SheetFacts, errors: dict[int, dict[int, str]]) -> None:
        self.facts = facts
        self.errors = errors
        self.line = 1  # of the next row
        self._column = 0

    def add_columns(self, piece: bytes) -> None:
        for found in _COLUMN.findall(piece):
            attributes = _attributes(found)
            count = _count(attributes, b"number-columns-repeated")
            if attributes.get(b"visibility") in _HIDDEN:
                self.facts.hidden_columns.append((self._column, self._column + count - 1))
            self._column += count

    def add_row(self, row: bytes) -> None:
        attributes = _attributes(row[: row.find(b">")])
        count = _count(attributes, b"number-rows-repeated")
        lines = range(self.line, self.line + min(count, REPEATED))
        if attributes.get(b"visibility") in _HIDDEN:
            self.facts.hidden_rows.update(lines)
        if _WANTED.search(row):
            self._add_cells(row, lines)
        self.line += count

    def _add_cells(self, row: bytes, lines: range) -> None:
        column = 0
        cells = list(_CELL.finditer(row))
        ends = [*(cell.start() for cell in cells[1:]), len(row)]
        for cell, end in zip(cells, ends, strict=False):
            attributes = _attributes(cell[2])
            count = _count(attributes, b"number-columns-repeated")
            wide = _count(attributes, b"number-columns-spanned")
            high = _count(attributes, b"number-rows-spanned")
            if wide > 1 or high > 1:
                top = self.line
                self.facts.merges.append(Merge(top, column, top + high - 1, column + wide - 1))
            if attributes.get(b"value-type") in _NUMBERS and not cell[3]:
                reading = _reading(attributes, row[cell.end() : end])
                if reading and count <= REPEATED:
                    for line in lines:
                        said = self.facts.said.setdefault(line, {})
                        for place in range(column, column + count):
                            said[place] = reading
            if _ERROR in cell[2] and count <= REPEATED:
                error = _shown(row[cell.end() : end])
                for line in lines:
                    said_errors = self.errors.setdefault(line, {})
                    said_errors.update(dict.fromkeys(range(column, column + count), error))
            column += count


def _shown(inside: bytes) -> str:
    """The text of a cell."""
    match = _PARAGRAPH.search(inside)
    return unescape(_TAG.sub(b"", match[1] or b"").decode("utf-8", "replace")) if match else ""


def _reading(attributes: dict[bytes, bytes], inside: bytes) -> Reading | None:
    """How a number is read, if it is shown otherwise than it is stored."""
    try:
        value = float(attributes.get(b"value", b""))
    except ValueError:
        return None
    stored = number_text(value)
    shown = _shown(inside)
    if shown.isdigit() and shown.startswith("0") and shown.lstrip("0") == stored:  # 02494
        return Reading(shown, shown)
    if stored == "#NUM!" or not differs(shown, stored) or not differs(_pointed(shown), stored):
        return None
    kind = attributes[b"value-type"]
    if kind == b"percentage" or shown.rstrip().endswith("%"):
        return Reading(_with_digits(shown, Decimal(stored) * 100), shown)
    if kind == b"currency" or any(map(is_currency, shown)) or not shown.strip():
        return Reading(stored, shown)
    if any(character.isalpha() for character in shown) and not _EXPONENT.search(shown):
        return Reading(_with_digits(shown, Decimal(stored)), shown)
    return Reading(stored, shown)


def _with_digits(shown: str, number: Decimal) -> str:
    """What is shown, with all digits of the number."""
    found = _FIRST_NUMBER.search(shown)
    if found is None:  # "Yes"
        return shown
    digits = found[0]
    for text in (digits, _pointed(digits), digits.replace(",", ""), digits.lstrip("0") or "0"):
        if not differs(text, f"{abs(number):f}") or not differs(text, f"{number:f}"):
            return shown
    number = number if digits.startswith("-") or number > 0 else abs(number)
    text = f"{number.normalize():f}"
    return shown[: found.start()] + text + shown[found.end() :]


def _pointed(text: str) -> str:
    """With a point for a comma."""
    return text.replace(",", ".") if text.count(",") == 1 and "." not in text else text


def _attributes(tag: bytes) -> dict[bytes, bytes]:
    """By their name without its prefix; those of calcext are left out."""
    return {
        name: double or single
        for prefix, name, double, single in _ATTRIBUTE.findall(tag)
        if prefix != b"calcext"
    }


def _count(attributes: dict[bytes, bytes], name: bytes) -> int:
    text = attributes.get(name, b"1")
    return max(int(text), 1) if text.isdigit() and len(text) < 9 else 1
