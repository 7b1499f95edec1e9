"""What the rows of a table hold for a recipe: cells that are empty, rows that repeat another, and
rows that the job before has answered. The worker passes over all rows, in slices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
from django.conf import settings

from ..batches.leases import Lease
from ..models import Job, Outcome, Row, recipe_of, recipe_of_round
from ..rules.recipes import Recipe, question_of
from ..rules.row_contents import LONG, Contents

SLICE = 2_000  # rows read at a time
# Rows whose contents are kept in mind at a time: more of them take several passes, not more memory.
ROWS_IN_MEMORY = 200_000
_cells_decoder = msgspec.json.Decoder(list[str])


@dataclass(frozen=True)
class Survey:
    """Rows that can be sent, by what is in the cells that the recipe uses. Bytes are those of these
    cells, each as often as it stands in the prompt."""

    empty: int = 0  # rows with an empty cell, those of `blank` too
    blank: int = 0  # rows whose prompt is empty when filled in: these cannot be sent
    emptiest: int = 0  # the number of the row with the most empty cells; 0: none has any
    left_out: int = 0  # rows that are not sent because of that
    left_out_bytes: int = 0
    known: int = 0  # rows that the job before has answered, of those that could be sent
    known_bytes: int = 0
    long: int = 0  # rows that may cost more because of their length, of all that can be sent
    long_bytes: int = 0
    alike: int = 0  # rows that repeat an earlier one, of those that are sent
    alike_bytes: int = 0


def survey_rows(job: Job, recipe: Recipe, lease: Lease | None = None) -> Survey:
    """Look through the rows of a draft whose recipe can be sent. Rows that need not be sent are all
    found when they are not to be sent, and else among the first ones. Raises LeaseLost."""
    contents = Contents(recipe, job.columns)
    empty = blank = emptiest = most = left_out = left_out_bytes = long = long_bytes = 0
    for number, cells in _rows(job, lease):
        # What of a row is not from its cells is short of LONG too, or else all rows may cost more.
        if contents.may_be_long(cells) and (size := contents.bytes(cells)) > LONG:
            long, long_bytes = long + 1, long_bytes + size
        if found := contents.empty(cells):
            empty += 1
            blank += contents.is_blank(found)
            if len(found) > most:
                emptiest, most = number, len(found)
            if contents.is_left_out(found):
                left_out += 1
                left_out_bytes += contents.bytes(cells)
    known = known_bytes = alike = alike_bytes = 0
    whole = recipe.only_new or recipe.same_once
    # Those that are not sent anyway are none that repeat another; else a row may be both.
    passes = [(True, True)] if recipe.only_new else [(True, False), (False, True)]
    for only_new, same_once in passes:
        for one in find_repeated_rows(job, recipe, only_new, same_once, whole, lease):
            size = contents.bytes(one.cells)
            if one.earlier:
                known, known_bytes = known + 1, known_bytes + size
            else:
                alike, alike_bytes = alike + 1, alike_bytes + size
    return Survey(
        empty,
        blank,
        emptiest,
        left_out,
        left_out_bytes,
        known,
        known_bytes,
        long,
        long_bytes,
        alike,
        alike_bytes,
    )


# --- Rows that need not be sent -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RepeatedRow:
    """A row that need not be sent, because another one with the same request is or was."""

    number: int
    cells: list[str]
    earlier: int = 0  # the number of that row in the job before, which has a good answer
    same_as: int = 0  # .. or in this job


def find_previous_job(job: Job) -> Job | None:
    """The job that `job` runs again, while its answers can be used: it has finished, it asked the
    provider that this site asks now, and it asked the same. None for any other job."""
    before = job.previous
    if before is None or before.state != Job.State.FINISHED or before.kind != job.kind:
        return None
    # What the simulator made up is no answer to a real question.
    if before.practice != settings.PRACTICE:
        return None
    return before if question_of(recipe_of(before)) == question_of(recipe_of(job)) else None


def find_repeated_rows(
    job: Job,
    recipe: Recipe,
    only_new: bool,
    same_once: bool,
    whole: bool,
    lease: Lease | None = None,
) -> Iterator[RepeatedRow]:
    """The rows that need not be sent: with `only_new` those that the job before has answered well,
    with `same_once` those that repeat an earlier row. Without `whole` only among the first rows.

    Raises LeaseLost.
    """
    before = find_previous_job(job) if only_new else None
    if before is None and not same_once:
        return
    contents = Contents(recipe, job.columns)
    rows = max(job.row_count, before.row_count if before else 0)
    parts = -(-rows // ROWS_IN_MEMORY) if whole else 1
    for part in range(parts):
        answered: dict[bytes, int] = {}
        if before:
            then = Contents(recipe_of(before), before.columns)
            for number, cells in _rows(before, lease, only_good=True):
                if not whole and number > ROWS_IN_MEMORY:
                    break
                if (key := then.key(cells))[0] % parts == part:
                    answered.setdefault(key, number)
        first: dict[bytes, int] = {}
        for number, cells in _rows(job, lease):
            if not whole and number > ROWS_IN_MEMORY:
                break
            key = contents.key(cells)
            if key[0] % parts != part or contents.is_left_out(contents.empty(cells)):
                continue
            if earlier := answered.get(key):
                yield RepeatedRow(number, cells, earlier=earlier)
            elif same_once and first.setdefault(key, number) != number:
                yield RepeatedRow(number, cells, same_as=first[key])


def _rounds_with_other_prompt(job: Job) -> list[int]:
    """The rounds whose rows were asked something else than the job says."""
    question = question_of(recipe_of(job))
    rounds = job.rounds.values_list("number", flat=True)
    return [one for one in rounds if question_of(recipe_of_round(job, one)) != question]


def _rows(
    job: Job, lease: Lease | None, *, only_good: bool = False
) -> Iterator[tuple[int, list[str]]]:
    """Number and cells of the rows that can be or were sent, or that have a good answer, a slice at
    a time, for as long as the lease is ours."""
    cells_of = _cells_decoder.decode
    wanted = Row.objects.filter(job=job).exclude(outcome=Outcome.LEFT_OUT)
    if only_good:
        wanted = Row.objects.filter(job=job, outcome=Outcome.GOOD)
        if others := _rounds_with_other_prompt(job):
            wanted = wanted.exclude(round__in=others)
    for rows in wanted.value_slices(SLICE, "source"):
        if lease:
            lease.renew()
        for number, source in rows:
            yield number, cells_of(source)
