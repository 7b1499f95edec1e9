"""Subtotals and headings between the rows of a table. Only a person decides to skip them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from .row_shapes import Record, is_value
from .shapes import ALL, KEEP, SKIP, Finding, Option

TOTAL, HEADING = "total", "heading"
MOST = 20_000  # are remembered; more of them are rows
LEAST_COLUMNS = 3  # of a table with headings
LONGEST = 60  # characters of a heading
NAMED = 5
SHOWN = 60

_WORDS = (
    *("total", "totals", "subtotal", "subtotals", "sub-total", "sub total", "grand total", "sum"),
    *("overall total", "summe", "zwischensumme", "gesamtsumme", "gesamt", "gesamtergebnis"),
    *("sous-total", "total général", "totale", "subtotale", "totaal", "subtotaal", "suma"),
    *("total geral", "total general", "razem", "итого", "всего", "合計", "小計", "总计", "小计"),
    *("總計", "합계", "소계", "összesen", "celkem", "spolu", "yhteensä", "totalt", "i alt"),
    *("toplam", "ara toplam", "σύνολο", "разом", "общо", "ukupno", "skupaj", "iš viso", "kopā"),
    *("tổng", "tổng cộng", "รวม", "jumlah", 'סה"כ', "סך הכל", "المجموع", "الإجمالي", "جمع"),
)
TOTALS = frozenset(word + end for word in _WORDS for end in ("", ":"))
# "Total: Search" is one, whatever else is in the line.
TOTAL_PREFIXES = ("total:", "totals:", "subtotal:", "summe:", "gesamt:")
# "Total North", "North Total": what pivot tables and subtotals of Excel write.
_PARTLY = re.compile(
    r"(sub-?total|total|summe|zwischensumme|сумма|итого)\b.+"
    r"|.+\b(sub-?total|total|summe|gesamt|ergebnis|итог)",
    re.IGNORECASE,
)


def kind_of(cells: Sequence[str], columns: int) -> str:
    """TOTAL or HEADING for a line with empty cells that may be no row; "" for another one."""
    first = next((cell.strip() for cell in cells if cell and not cell.isspace()), "")
    if not first or columns < 2 or len(first) > LONGEST:
        return ""
    others = len(cells) - cells.count("") - 1
    if first.lower() in TOTALS or first.lower().startswith(TOTAL_PREFIXES):
        return TOTAL
    if _PARTLY.fullmatch(first.rstrip(" :")):
        filled = [cell for cell in cells if cell.strip()]
        return TOTAL if others and all(map(is_value, filled[1:])) else ""
    if not others and cells[0] and columns >= LEAST_COLUMNS and not is_value(first):
        return HEADING
    return ""


class InnerLines:
    """Those of one table, which are questioned or left out when the file has been read."""

    def __init__(self, choice: str, columns: int) -> None:
        self._choice = choice
        self._columns = columns
        self.kinds: dict[int, str] = {}  # by line, of what may be no row
        self._found: dict[str, list[tuple[int, str]]] = {TOTAL: [], HEADING: []}
        self.short = 0  # of those found, lines with too few cells
        self._sparse_totals = 0

    def look_at(self, line: int, cells: Sequence[str]) -> None:
        """At a line with empty or too few cells."""
        if kind := kind_of(cells, self._columns):
            self.kinds[line] = kind

    def add_total(self, line: int, cells: Sequence[str]) -> None:
        """A line without empty cells that begins with such a word: the others are sums."""
        if any(map(is_value, cells[1:])):
            self.kinds[line] = TOTAL

    def is_left_out(self, record: Record) -> bool:
        """Whether a line among the rows is left out, as a person chose."""
        if not self.kinds or not (kind := self.kinds.pop(record[0], "")):
            return False
        found = self._found[kind]
        if len(found) <= MOST:
            first = next(cell.strip() for cell in record[1] if cell.strip())
            found.append((record[0], first))
        self.short += len(record[1]) < self._columns
        filled = len(record[1]) - record[1].count("")
        self._sparse_totals += kind == TOTAL and 1 < filled <= self._columns / 2
        return self._choice == ALL or (self._choice == SKIP and kind == TOTAL)

    def finding(self, widths: Counter[int], rows: int) -> Finding | None:
        """What is said of them. `widths`: how many rows have how many filled cells."""
        totals, headings = self._found[TOTAL], self._found[HEADING]
        if self._choice == KEEP:
            return None
        if self._choice:
            left = sorted([*totals, *(headings if self._choice == ALL else ())])
            return _say_left_out(left) if left else None
        if len(totals) * 2 >= rows:
            totals = []
        if not self._are_headings(widths, rows):
            headings = []
        found = sorted([*totals, *headings])
        return _ask(found, bool(headings)) if found else None

    def _are_headings(self, widths: Counter[int], rows: int) -> bool:
        """Several different ones, in a table whose other rows are well filled."""
        found = self._found[HEADING]
        sparse = sum(n for width, n in widths.items() if 1 < width <= self._columns / 2)
        alone = max(widths[1] - len(found), 0)
        different = len({text for _line, text in found}) == len(found)
        few = len(found) * 2 < rows and len(found) <= MOST
        return len(found) > 1 and different and few and sparse <= self._sparse_totals and not alone


def _ask(found: Sequence[tuple[int, str]], has_headings: bool) -> Finding:
    what = "subtotals or headings" if has_headings else "totals of other rows"
    verb = "look like" if len(found) > 1 else "looks like"
    if len(found) == 1:
        what = "a total of other rows"
    text = f"{_lines(found)} {verb} {what}: {_texts(found)}."
    them = "it" if len(found) == 1 else "them"
    options = (
        Option(f"Skip {them}", {"subtotals": ALL if has_headings else SKIP}),
        Option(f"Keep {them}", {"subtotals": KEEP}),
    )
    return Finding("subtotals", text, found[0][0], options=options)


def _say_left_out(found: Sequence[tuple[int, str]]) -> Finding:
    was = "was" if len(found) == 1 else "were"
    text = f"{_lines(found)} between the rows {was} skipped: {_texts(found)}."
    label = "Read it as a row" if len(found) == 1 else "Read them as rows"
    options = (Option(label, {"subtotals": KEEP}),)
    return Finding("left_out_lines", text, found[0][0], options=options)


def _lines(found: Sequence[tuple[int, str]]) -> str:
    if len(found) == 1:
        return f"Line {found[0][0]:,}"
    named = [f"{line:,}" for line, _text in found[:NAMED]]
    if (more := len(found) - NAMED) > 0:
        return f"Lines {', '.join(named)} and {more:,} more"
    return f"Lines {', '.join(named[:-1])} and {named[-1]}"


def _texts(found: Sequence[tuple[int, str]]) -> str:
    shown = list(dict.fromkeys(text[:SHOWN] for _line, text in found))
    text = ", ".join(f"“{one}”" for one in shown[:NAMED])
    return f"{text} and others" if len(shown) > NAMED else text
