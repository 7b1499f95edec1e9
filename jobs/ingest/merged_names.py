"""Column names in several lines of a sheet whose upper names are merged over those below them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from .row_shapes import Look, contrast, is_value

MOST_LINES = 4
COMPARED = 20  # lines below
_YEAR = re.compile(r"(19|20)[0-9]{2}")


class Span(NamedTuple):
    """A merged cell: lines as in the sheet, and places in a row."""

    top: int
    left: int
    bottom: int
    right: int


def find_merged_names(lines: Sequence[Look], spans: Sequence[Span]) -> tuple[int, int] | None:
    """The indexes of the first and last of the lines with names; None: no name is merged over
    others."""
    wide = [span for span in spans if span.right > span.left]
    for at, line in enumerate(lines):
        begun = [span for span in wide if span.top == line.line and span.left in line.filled]
        if not begun or line.count < 2:
            continue
        end = _end(lines, at, spans)
        if end is None or end + 1 == len(lines) or not _are_names(lines, at, end, wide):
            return None
        is_above = all(line.count * 2 <= lines[end].count for line in lines[:at])
        return (at, end) if is_above else None
    return None


def _end(lines: Sequence[Look], begin: int, spans: Sequence[Span]) -> int | None:
    """The line below those with merged cells."""
    last = lines[begin].line
    for at in range(begin, len(lines)):
        if lines[at].line > last:
            return None if at == begin else at if lines[at].line == last + 1 else None
        if at - begin >= MOST_LINES or lines[at].line != lines[begin].line + at - begin:
            return None
        merged = [span for span in spans if span.top == lines[at].line]
        bottom = max((span.bottom for span in merged if span.right > span.left), default=0)
        tall = max((span.bottom for span in merged if span.right == span.left), default=0)
        # A name that is merged downward ends beside the last line of the names.
        last = max(last, bottom, tall - 1)
    return None


def _are_names(lines: Sequence[Look], begin: int, end: int, wide: Sequence[Span]) -> bool:
    """Whether there are several names below each merged one, and not the first row."""
    above, names = lines[end - 1], lines[end]
    merged = [span for span in wide if span.bottom == above.line and span.left in above.filled]
    if not merged:
        return False
    covered: set[int] = set()
    for span in merged:
        places = [at for at in range(span.left, span.right + 1) if at in names.filled]
        texts = [names.cell(at) for at in places]
        if len(places) < 2 or len(set(texts)) < len(texts) or not all(map(is_name, texts)):
            return False
        covered |= {*range(span.left, span.right + 1)}
    upper = {at for line in lines[begin:end] for at in line.filled}
    beside = upper - covered
    if beside & names.filled:
        return False  # a text above a name is a note
    own = names.filled - covered
    if own:
        return all(is_name(names.cell(at)) for at in own)
    below = lines[end + 1 : end + 1 + COMPARED]
    return bool(beside) or (names.is_text and contrast(names, below, names.filled) > 1)


def is_name(text: str) -> bool:
    """Whether it may be the name of a column: words, or a year."""
    return not is_value(text) or bool(_YEAR.fullmatch(text))
