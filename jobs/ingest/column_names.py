"""Names of columns that a prompt can use, made from whatever stands in the line of names."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import pairwise

from .shapes import Finding

BEGINNING, ENDING = 50, 30  # characters that are left of a name that is too long
JOINER = " - "  # between the parts of a name in several lines
SHOWN = 300  # characters of a name in a finding

_LINE_BREAK = re.compile(r"\s*[\r\n\u2028\u2029]\s*")
# Not seen, and without a meaning in a name: zero-width spaces, marks of direction, soft hyphens.
_UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\x00-\x08\x0e-\x1f\x7f]"
)
# These join or part letters of other scripts and parts of emojis; elsewhere they do nothing.
_JOINERS = re.compile("(?<![^\x00-\u02ff])[\u200c\u200d]|[\u200c\u200d](?![^\x00-\u02ff])")
_BRACED = re.compile(r"\{+([^{}]*)\}+")
_NUMBER = re.compile(r"-?[0-9]+([.,][0-9]+)*")
_YEAR = re.compile(r"(19|20)[0-9]{2}")
_SHAPES = {
    "email": re.compile(r"[^@\s]+@[^@\s]+\.\w{2,}"),
    "link": re.compile(r"(https?://|www\.)\S+", re.IGNORECASE),
    "date": re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}.*|[0-9]{1,2}([./])[0-9]{1,2}\1[0-9]{2,4}.*"),
    "code": re.compile(r"[A-Z#]{1,5}-?[0-9]{3,}"),
}
_ODD_BLANK = re.compile("[\t\v\f\x85\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")


def clean_name(text: str) -> str:
    """`text` without what nobody sees or types: wrapped lines are one, every blank is a space."""
    text = _JOINERS.sub("", _UNSEEN.sub("", text))
    text = _LINE_BREAK.sub(" ", text.strip())
    return unicodedata.normalize("NFC", _ODD_BLANK.sub(" ", text).strip())


def join_names(lines: Sequence[Sequence[str]]) -> list[str]:
    """One name a column from names in several lines, the last line with the most detail. A name
    above an empty cell spreads to the right over cells with a name below: it was merged."""
    width = max(map(len, lines))
    whole = [[*(cell.strip() for cell in cells), *[""] * (width - len(cells))] for cells in lines]
    below = whole[-1]
    parts = [[name] if name else [] for name in below]
    for cells in reversed(whole[:-1]):
        spread = ""
        for at, cell in enumerate(cells):
            if cell:
                spread = cell if parts[at] else ""
                parts[at].insert(0, cell)
            elif spread and parts[at]:
                parts[at].insert(0, spread)
    return [JOINER.join(dict.fromkeys(names)) for names in parts]


class ColumnNames:
    """Names for the columns of a table: each different, none empty, at most `most` characters.
    `findings`: every name that is not as it was in the file."""

    def __init__(self, cells: Sequence[str], most: int, line: int | None) -> None:
        """`line`: of the names; None if the file has none."""
        self.findings: list[Finding] = []
        self.nameless: set[int] = set()
        self._line = line
        self._most = most
        self._cleaned: list[str] = []
        self._long: dict[int, str] = {}  # by place: the whole name
        self.names = [self._usable(at, cell) for at, cell in enumerate(cells)]
        self._number_doubles()
        for at, whole in self._long.items():
            text = (
                f"The name of column {at + 1} has {len(whole):,} characters and was shortened to "
            )
            self._say("long_name", f"{text}“{self.names[at]}”. The whole name: “{_begin(whole)}”")
        self._fill_gaps()
        if self._cleaned:
            named = ", ".join(f"“{name[:SHOWN]}”" for name in self._cleaned)
            text = f"Invisible or unusual characters were removed from column names: {named}."
            self.findings.insert(0, Finding("cleaned_name", text, line))

    def _say(self, kind: str, text: str) -> None:
        if self._line is not None:
            self.findings.append(Finding(kind, text, self._line))

    def _usable(self, at: int, cell: str) -> str:
        name = clean_name(cell)
        if name and name != _LINE_BREAK.sub(" ", cell.strip()):
            self._cleaned.append(name)
        if "{" in name or "}" in name:
            whole = name
            if braced := _BRACED.fullmatch(name):
                name = braced[1].strip()
            name = name.replace("{", "(").replace("}", ")")
            if name:
                text = f"Column {at + 1}, “{whole[:SHOWN]}”, is called “{name[:SHOWN]}”, because "
                self._say("name", text + "a prompt cannot refer to a name with braces.")
        if len(name) > self._most:
            self._long[at] = name
            name = shortened(name)
        return name

    def _number_doubles(self) -> None:
        first: dict[str, int] = {}
        taken = set(self.names)
        for at, name in enumerate(self.names):
            if not name or first.setdefault(name, at) == at:
                continue
            base = name if len(name) + 6 <= self._most else shortened(name)
            self.names[at] = _another(base, taken)
            if at in self._long and first[name] in self._long:
                continue  # only what was left of them is the same
            text = f"Columns {first[name] + 1} and {at + 1} have the same name. Column {at + 1} is "
            self._say("same_name", f"{text}called “{self.names[at][:SHOWN]}”.")

    def _fill_gaps(self) -> None:
        taken = set(self.names)
        for at, name in enumerate(self.names):
            if not name:
                self.nameless.add(at)
                name = f"column_{at + 1}"
                self.names[at] = _another(name, taken) if name in taken else name
                taken.add(name)
                text = f"Column {at + 1} has no name and is called {self.names[at]}."
                self._say("unnamed", text)


# A question may well be a name.
_SENTENCE = re.compile(r"\w+\W+\w+\W+\w+.*[^.][.!。！]", re.DOTALL)  # noqa: RUF001 - of Chinese


def odd_names(cells: Sequence[str], row: Sequence[str]) -> list[str]:
    """Names that look more like what is in a row. `row`: the first one.

    Numbers are odd unless they count the years of a table; an address, a date or a numbered code is
    odd above another one, and a sentence above a list."""
    names = [cell.strip() for cell in cells]
    if len(names) == 1 and row and _SENTENCE.fullmatch(names[0]):
        return names
    numbers = [name for name in names if _NUMBER.fullmatch(name)]
    if _are_years(numbers) and names[0] and names[0] not in numbers:
        numbers = []
    alike = [
        name
        for name, below in zip(names, row, strict=False)
        if (shape := _shape(name)) and shape == _shape(below.strip())
    ]
    return [name for name in names if name in numbers or name in alike]


def _are_years(numbers: Sequence[str]) -> bool:
    """ "2022", "2023", "2024", up or down."""
    if len(numbers) < 2 or not all(map(_YEAR.fullmatch, numbers)):
        return False
    steps = {int(after) - int(year) for year, after in pairwise(numbers)}
    return len(steps) == 1 and steps != {0}


def _shape(text: str) -> str:
    """What kind of value a text is; "" if it is none that tells it from a name."""
    for shape, pattern in _SHAPES.items():
        if pattern.fullmatch(text):
            return shape
    return ""


def shortened(name: str) -> str:
    """The beginning and the end of a long name: questions of a survey often begin alike."""
    begin, end = name[:BEGINNING], name[-ENDING:]
    if 0 < (at := begin.rfind(" ")) >= BEGINNING // 2:
        begin = begin[:at]
    if 0 <= (at := end.find(" ")) <= ENDING // 2:
        end = end[at + 1 :]
    return f"{begin.rstrip(' ,;:.-')} … {end}"


def _begin(name: str) -> str:
    most = 2_000  # the longest questions of surveys have a few hundred
    return name if len(name) <= most else f"{name[:most]}…"


def _another(name: str, taken: set[str]) -> str:
    """ "Customer (2)"; it is taken then."""
    number = 2
    while (candidate := f"{name} ({number})") in taken:
        number += 1
    taken.add(candidate)
    return candidate
