"""Tables drawn with characters, as SAP, databases and Markdown write them: `| a | b |` in each
line, and lines of dashes between."""

from __future__ import annotations

import re
from collections import Counter

from .delimiters import NOT_IN_TEXT

BAR = "|"
SHARE = 0.8  # of the lines, that have as many bars
_BAR = re.compile(r"(?<!\\)\|")  # one that Markdown has within a cell has a backslash before it
_RULE = re.compile(r"[\s|+:=-]*-{2,}[\s|+:=-]*")


def is_rule(line: str) -> bool:
    return _RULE.fullmatch(line) is not None


def is_drawn(sample: str) -> bool:
    """Whether the lines are those of such a table, but for a few above and below."""
    lines = [line for line in sample.splitlines() if line.strip()]
    rules = [line for line in lines[:10] if is_rule(line)]
    rows = [line for line in lines if not is_rule(line)]
    bars = Counter(_count(line) for line in rows if BAR in line)
    if not rules or not bars:
        return False
    usual, count = bars.most_common(1)[0]
    bordered = all(_is_bordered(line) for line in rows if _count(line) == usual)
    below = lines[1] if is_rule(lines[1]) else ""  # the names
    few = len(rows) - count
    return (
        count > 1
        and (bordered or usual in (below.count("+"), _count(below)))
        and count >= SHARE * bars.total()
        and (few <= 3 or count >= SHARE * len(rows))
    )


def _count(line: str) -> int:
    return len(_BAR.findall(line))


def _is_bordered(line: str) -> bool:
    return line.strip().startswith(BAR) and line.strip().endswith(BAR)


def cells_of(line: str) -> str:
    """A line with nothing but its cells and NOT_IN_TEXT between them; blank if it is only drawn."""
    text = line.rstrip("\r\n")
    end = line[len(text) :]
    if is_rule(text):
        return end
    text = text.strip()
    if _is_bordered(text) and len(text) > 1:
        text = text[1:-1]
    return NOT_IN_TEXT.join(cell.strip().replace("\\|", BAR) for cell in _BAR.split(text)) + end
