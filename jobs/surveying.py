"""What the rows of a table hold for a recipe: cells that are empty, and rows that repeat another.
The worker passes over all rows, in slices."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from .models import Job, Outcome, Row
from .recipes import Recipe, columns_used, static_text

SLICE = 2_000  # rows read at a time
# Rows whose contents are kept in mind at a time: more of them take several passes, not more memory.
KEPT_IN_MIND = 200_000


@dataclass(frozen=True)
class Survey:
    """Rows that can be sent, by what is in the cells that the recipe uses. Bytes are those of these
    cells, each as often as it stands in the prompt."""

    empty: int = 0  # rows with an empty cell, those of `blank` too
    blank: int = 0  # rows whose prompt is empty when filled in: these cannot be sent
    emptiest: int = 0  # the number of the row with the most empty cells; 0: none has any
    left_out: int = 0  # rows that are not sent because of that
    left_out_bytes: int = 0
    alike: int = 0  # rows that repeat an earlier one, of those that are sent
    alike_bytes: int = 0


class Contents:
    """What a recipe uses of the cells of a row."""

    def __init__(self, recipe: Recipe, columns: Sequence[str]) -> None:
        places = {name: index for index, name in enumerate(columns)}
        names = columns_used(recipe.template)
        self._used = [(name, places[name]) for name in dict.fromkeys(names)]
        self._times = [places[name] for name in names]
        self._skip_empty = recipe.skip_empty
        # Without words of its own, a prompt is empty when all of its cells are.
        self._wordless = not static_text(recipe.prompt).strip()
        self._in_prompt = set(columns_used(recipe.prompt))

    def empty(self, cells: Sequence[str]) -> list[str]:
        """The columns that hold nothing but blanks."""
        return [name for name, place in self._used if not cells[place].strip()]

    def is_blank(self, empty: list[str]) -> bool:
        """Whether the prompt of a row with these columns `empty` is empty when filled in."""
        return self._wordless and self._in_prompt.issubset(empty)

    def is_left_out(self, empty: list[str]) -> bool:
        return bool(empty) if self._skip_empty else self.is_blank(empty)

    def key(self, cells: Sequence[str]) -> bytes:
        """The same for rows whose requests are the same, and for no others."""
        used = msgspec.json.encode([cells[place] for _name, place in self._used])
        return hashlib.blake2b(used, digest_size=16).digest()

    def bytes(self, cells: Sequence[str]) -> int:
        return sum(len(cells[place].encode(errors="replace")) for place in self._times)


def survey(job: Job, recipe: Recipe) -> Survey:
    """Look through the rows of a draft whose recipe can be sent. Rows that repeat another are all
    found when they are to be sent once, and else among the first ones."""
    contents = Contents(recipe, job.columns)
    empty = blank = emptiest = most = left_out = left_out_bytes = 0
    for number, cells in _rows(job):
        if found := contents.empty(cells):
            empty += 1
            blank += contents.is_blank(found)
            if len(found) > most:
                emptiest, most = number, len(found)
            if contents.is_left_out(found):
                left_out += 1
                left_out_bytes += contents.bytes(cells)
    alike = alike_bytes = 0
    for _number, _first, cells in repeats(job, recipe, whole=recipe.same_once):
        alike += 1
        alike_bytes += contents.bytes(cells)
    return Survey(empty, blank, emptiest, left_out, left_out_bytes, alike, alike_bytes)


def repeats(job: Job, recipe: Recipe, *, whole: bool) -> Iterator[tuple[int, int, list[str]]]:
    """The rows that repeat an earlier one: their number, the number of the first such row, and
    their cells. Without `whole` only among the first rows."""
    contents = Contents(recipe, job.columns)
    parts = -(-job.row_count // KEPT_IN_MIND) if whole else 1
    for part in range(parts):
        first: dict[bytes, int] = {}
        for number, cells in _rows(job):
            if not whole and number > KEPT_IN_MIND:
                break
            key = contents.key(cells)
            if key[0] % parts != part or contents.is_left_out(contents.empty(cells)):
                continue
            if first.setdefault(key, number) != number:
                yield number, first[key], cells


def _rows(job: Job) -> Iterator[tuple[int, list[str]]]:
    """Number and cells of the rows that can be or were sent, a slice at a time."""
    cells_of = msgspec.json.Decoder(list[str]).decode
    after = 0
    while True:
        some = Row.objects.filter(job=job, number__gt=after).exclude(outcome=Outcome.LEFT_OUT)
        rows = list(some.in_order().values_list("number", "source")[:SLICE])
        if not rows:
            return
        for number, source in rows:
            yield number, cells_of(source)
        after = rows[-1][0]
