"""What the rows of a table hold for a recipe: which of the cells it uses are empty. One pass over
the rows, in slices, by the worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from .models import Job, Outcome, Row
from .recipes import Recipe, columns_used, static_text

SLICE = 2_000  # rows read at a time


@dataclass(frozen=True)
class Survey:
    """Rows that can be sent, by what is missing in them."""

    empty: int = 0  # rows with an empty cell that the recipe uses, those of `blank` too
    blank: int = 0  # rows whose prompt is empty when filled in: these cannot be sent
    emptiest: int = 0  # the number of the row with the most of such cells; 0: none has any


def empty_cells(recipe: Recipe, columns: Sequence[str]) -> Callable[[Sequence[str]], list[str]]:
    """A function from the cells of a row to the names of the columns that `recipe` uses and that
    hold nothing but blanks there."""
    places = {name: index for index, name in enumerate(columns)}
    used = [(name, places[name]) for name in dict.fromkeys(columns_used(recipe.template))]

    def empty(cells: Sequence[str]) -> list[str]:
        return [name for name, place in used if not cells[place].strip()]

    return empty


def survey(job: Job, recipe: Recipe) -> Survey:
    """Look through the rows of a draft whose recipe can be sent."""
    empty_in = empty_cells(recipe, job.columns)
    # Without words of its own, a prompt is empty when all of its cells are.
    wordless = not static_text(recipe.prompt).strip()
    in_prompt = set(columns_used(recipe.prompt))
    empty = blank = emptiest = most = 0
    for number, cells in _rows(job):
        found = empty_in(cells)
        if not found:
            continue
        empty += 1
        blank += wordless and in_prompt.issubset(found)
        if len(found) > most:
            emptiest, most = number, len(found)
    return Survey(empty, blank, emptiest)


def _rows(job: Job) -> Iterator[tuple[int, list[str]]]:
    """Number and cells of the rows that can be sent, a slice at a time."""
    cells_of = msgspec.json.Decoder(list[str]).decode
    after = 0
    while True:
        waiting = Row.objects.filter(job=job, outcome=Outcome.WAITING, number__gt=after)
        rows = list(waiting.in_order().values_list("number", "source")[:SLICE])
        if not rows:
            return
        for number, source in rows:
            yield number, cells_of(source)
        after = rows[-1][0]
