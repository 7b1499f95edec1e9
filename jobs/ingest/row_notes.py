"""Lines below a table that are no rows: notes, sources, totals. Only a person decides."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

from .inner_lines import TOTALS
from .row_shapes import Look, Record, is_value, looks
from .shapes import KEEP, SKIP, Finding, Option

LOOK_AHEAD = 30  # records that are remembered before they are given out
LEAST_ROWS = 3  # with a line of sums without a word
RARE = 0.02  # of the rows, may look so and be rows
NAMED = 5
SHOWN = 60  # characters of a cell

_NO_NUMBER = re.compile(r"[^\d.,+-]")
_TOTAL = re.compile(
    r"(grand |sub-?|overall )?(totals?|sums?|averages?|mean|count)(\s?:.+)?"
    r"|(gesamt|end|zwischen)?summen?|(ins)?gesamt(ergebnis)?|durchschnitt|mittelwert"
    r"|(sous-)?totaux|total général|(somme|moyenne)|suma|promedio|media|totale|totaal|gemiddelde"
    r"|soma|média|razem|итого|всего|合計|总计|總計|합계",
    re.IGNORECASE,
)
_NOTE = re.compile(
    r"(sources?|notes?|remarks?|disclaimer|legend|quelle|hinweis|anmerkung|fuente|nota|fonte|bron"
    r"|źródło|источник)\s?[:：]|[*†‡¹²³©]|\([0-9,]+ rows?"  # noqa: RUF001 - a Chinese colon
    r"|(end of|generated|created|exported|printed)\b",
    re.IGNORECASE,
)


def notes_below(tail: Sequence[Record], widths: Counter[int], gaps: int) -> list[Look]:
    """The last lines that look unlike the other rows. `tail`: the last records that are not blank;
    `widths`: how many rows have how many filled cells; `gaps`: blank lines between them, several
    together once."""
    lines = looks(tail)
    rows = sum(widths.values())
    if not lines or rows < 2:
        return []
    usual = max(widths, key=lambda width: (widths[width], width))
    begin = len(lines)
    is_all = rows == len(lines)
    while begin and (
        _is_note(lines[begin - 1], usual)
        or (rows > LEAST_ROWS and _is_bare_total(lines[:begin], usual, is_all=is_all))
    ):
        begin -= 1
    end = at = len(lines)
    while at > 1 and _is_apart(lines[at - 1], usual):
        at -= 1
        end = at if lines[at].after_blank else end
    own_gaps = sum(line.after_blank for line in lines[end:])
    if gaps <= own_gaps:
        begin = min(begin, end)
    return _if_rare(lines[begin:], widths, rows)


def _if_rare(found: list[Look], widths: Counter[int], rows: int) -> list[Look]:
    """Nothing when many other rows look so."""
    rest = rows - len(found)
    if not found or rest < 1 or (len(found) > rest and not found[0].after_blank):
        return []
    most = max((line.count for line in found if not _is_called_note(line)), default=0)
    own = sum(line.count <= most for line in found)
    alike = sum(count for width, count in widths.items() if width <= most) - own
    return found if alike <= RARE * rows else []


def _word(line: Look) -> str:
    return line.first.strip(" :*").rstrip()


def _is_total(line: Look) -> bool:
    return _word(line).lower() in TOTALS or _TOTAL.fullmatch(_word(line)) is not None


def _is_called_note(line: Look) -> bool:
    return bool(_NOTE.match(line.first)) or _is_total(line)


def _is_note(line: Look, usual: int) -> bool:
    if usual > 1 and _is_total(line):
        return True
    if line.count < usual and _NOTE.match(line.first):
        return True
    has_words = any(not is_value(line.cell(at)) for at in line.filled)
    return has_words and line.count * 3 <= usual


def _is_bare_total(lines: Sequence[Look], usual: int, *, is_all: bool) -> bool:
    """Whether the last line has nothing but values, and none in the first column. `is_all`: the
    lines are all rows, so one of the values has to be a sum."""
    *rows, last = lines
    if not _is_bare(last, usual) or (rows and _is_bare(rows[-1], usual)):
        return False
    return not is_all or any(_is_sum(rows, last, at) for at in last.filled)


def _is_bare(line: Look, usual: int) -> bool:
    cells = [line.cell(at) for at in line.filled]
    return len(cells) < usual and not line.cell(0) and all(map(is_value, cells))


def _is_sum(rows: Sequence[Look], last: Look, at: int) -> bool:
    """Whether a cell of the last line has the sum of those above, with either decimal sign."""
    above = [row.cell(at) for row in rows if row.cell(at)]
    for thousands, decimal in ((",", "."), (".", ",")):
        try:
            total, *numbers = (
                Decimal(_NO_NUMBER.sub("", cell.replace(thousands, "")).replace(decimal, "."))
                for cell in [last.cell(at), *above]
            )
        except InvalidOperation:
            continue
        if len(numbers) > 1 and total and sum(numbers) == total:
            return True
    return False


def _is_apart(line: Look, usual: int) -> bool:
    """Whether a line below a blank one is a note."""
    if _NOTE.match(line.first) or (usual > 1 and _is_total(line)):
        return True
    return line.count < usual


def ask_about(found: Sequence[Look]) -> Finding:
    count = len(found)
    lines = _lines(found)
    if count == 1:
        text = f"The last row ({lines}) looks unlike the others: {_first_words(found)}."
    else:
        text = f"The last {count} rows ({lines}) look unlike the others: {_first_words(found)}."
    them = "it" if count == 1 else "them"
    options = (Option(f"Skip {them}", {"unlike": SKIP}), Option(f"Keep {them}", {"unlike": KEEP}))
    return Finding("unlike", text, found[0].line, options=options)


def say_skipped(found: Sequence[Look]) -> Finding:
    lines = _lines(found).capitalize()
    text = f"{lines} below the table {'was' if len(found) == 1 else 'were'} skipped: "
    options = (
        Option("Read it as a row" if len(found) == 1 else "Read them as rows", {"unlike": KEEP}),
    )
    return Finding(
        "left_out_lines", f"{text}{_first_words(found)}.", found[0].line, options=options
    )


def _lines(found: Sequence[Look]) -> str:
    first, last = found[0].line, found[-1].line
    if first == last:
        return f"line {first:,}"
    return f"lines {first:,} {'and' if len(found) == 2 else 'to'} {last:,}"


def _first_words(found: Sequence[Look]) -> str:
    text = ", ".join(f"“{line.first[:SHOWN]}”" for line in found[:NAMED])
    return f"{text} and {len(found) - NAMED} more" if len(found) > NAMED else text
