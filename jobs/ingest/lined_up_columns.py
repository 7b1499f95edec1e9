"""Text of a fixed width: columns that are lined up with blanks, as banks, databases and command
lines write them. Where the columns are is only certain if the gaps between them are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

LOOKED_AT = 1_000  # lines
LEAST_LINES = 3  # the names and two rows
MANY_LINES = 10  # prove that a gap of a single blank is one
TITLES, FOOTERS = 4, 2  # lines above and below that may be of another kind
NOT_LINED_UP = "Text of this row is in the gap between two columns."

Gap = tuple[int, int]  # where it begins, and where the next column does
_WORDS = re.compile(r"\S+")
_DASHES = re.compile(r"[-=]{2,}")


def is_rule(line: str) -> bool:
    """Whether it only draws a line below the names of columns."""
    return bool(line.strip()) and all(map(_DASHES.fullmatch, line.split()))


def cut_at(line: str, gaps: Sequence[Gap]) -> list[str]:
    """The cells of a line; a single one if it is not lined up, and no text if it is a rule."""
    text = line.rstrip("\r\n")
    if is_rule(text):
        return [""]
    if any(text[begin:end].strip() for begin, end in gaps):
        return [text.strip()]
    starts = [0, *(end for _begin, end in gaps)]
    ends = [*starts[1:], len(text)]
    return [text[start:end].strip() for start, end in zip(starts, ends, strict=True)]


def find_gaps(sample: str, *, cut: bool) -> tuple[Gap, ...]:
    """The gaps between columns; none if it is not certain that there are some."""
    lines = [line for line in sample.splitlines() if line.strip()][:LOOKED_AT]
    if len(lines) < LEAST_LINES or "\t" in sample:
        return ()
    if sum("|" in line for line in lines) * 2 > len(lines):
        return ()  # which has other ways to be read
    rules = [at for at, line in enumerate(lines[: TITLES + 2]) if is_rule(line)]
    if rules and len(lines[rules[0]].split()) > 1:
        return _gaps_of_rule(lines, rules[0], cut=cut)
    lines = [line for line in lines if not is_rule(line)]
    best: tuple[Gap, ...] = ()
    for above in range(min(TITLES, len(lines) - LEAST_LINES) + 1):
        for below in range(1 if cut else min(FOOTERS, len(lines) - above - LEAST_LINES) + 1):
            found = _certain_gaps(lines[above : len(lines) - below])
            if len(found) > len(best):
                best = found
    return best


def _gaps_of_rule(lines: list[str], at: int, *, cut: bool) -> tuple[Gap, ...]:
    """Between the dashes of the line below the names, if all rows keep to it."""
    spans = [found.span() for found in _WORDS.finditer(lines[at])]
    gaps = tuple((end, begin) for (_, end), (begin, _) in pairwise(spans))
    below = lines[at + 1 :] if cut else lines[at + 1 : max(at + 2, len(lines) - FOOTERS)]
    rows = [*lines[max(at - 1, 0) : at], *below]
    if len(rows) < 2 or any(line[begin:end].strip() for line in rows for begin, end in gaps):
        return ()
    return gaps


def _certain_gaps(lines: list[str]) -> tuple[Gap, ...]:
    gaps = _blank_in_all(lines)
    many = len(lines) >= MANY_LINES
    gaps = [gap for gap in gaps if many or gap[1] - gap[0] > 1]
    while gaps and (empty := _first_empty(lines, gaps)) is not None:
        del gaps[empty]
    if not gaps or not (len(gaps) > 1 or _is_padded(lines, gaps[0])):
        return ()
    if not any(_is_padded(lines, gap) for gap in gaps):
        return ()
    names = cut_at(lines[0], gaps)
    if not many and (not all(names) or len(set(names)) < len(names)):
        return ()
    return tuple(gaps)


def _blank_in_all(lines: list[str]) -> list[Gap]:
    """Where every line is blank, between where some are not."""
    taken = bytearray(max(map(len, lines)))
    for line in lines:
        for word in _WORDS.finditer(line):
            begin, end = word.span()
            taken[begin:end] = b"x" * (end - begin)
    return [found.span() for found in re.finditer(rb"(?<=x)\0+(?=x)", bytes(taken))]


def _first_empty(lines: list[str], gaps: Sequence[Gap]) -> int | None:
    """The first gap beside a column that has no name and is empty in most lines."""
    rows = [cut_at(line, gaps) for line in lines]
    for at in range(len(gaps) + 1):
        filled = sum(bool(row[at]) for row in rows)
        if not rows[0][at] and filled * 2 < len(rows):
            return max(at - 1, 0)
    return None


def _is_padded(lines: list[str], gap: Gap) -> bool:
    """Whether different numbers of blanks keep the columns beside it in line."""
    begin, end = gap
    widths = set()
    for line in lines:
        before, behind = line[:begin].rstrip(), line[end:]
        if before and behind.strip():
            widths.add(end + len(behind) - len(behind.lstrip()) - len(before))
    return len(widths) > 1
