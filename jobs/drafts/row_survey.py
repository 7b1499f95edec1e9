"""What a recipe finds in the rows of a table: empty cells, duplicates, and rows that the previous
job has answered. The worker reads all rows, in slices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
from django.conf import settings

from ..batches.leases import Lease
from ..models import Job, Outcome, Row, recipe_of, recipe_of_round
from ..rules.price_estimates import Survey
from ..rules.recipes import Recipe, normalize_recipe
from ..rules.row_contents import LONG, RowContents
from .selected_rows import Selection, select_rows

SLICE = 2_000  # rows read at a time
# Rows held in memory at a time. A larger job takes more passes, not more memory.
ROWS_IN_MEMORY = 200_000
# Rows among which duplicates are only pointed out.
ROWS_COMPARED = 100_000
_cells_decoder = msgspec.json.Decoder(list[str])


def survey_rows(job: Job, recipe: Recipe, lease: Lease | None = None) -> Survey:
    """Read the rows of a draft whose recipe can be sent. Repeated rows are all found if the recipe
    skips them, and otherwise only among the first ROWS_COMPARED. Raises LeaseLost."""
    contents = RowContents(recipe, job.columns)
    empty = blank = emptiest = most = left_out = left_out_bytes = long = long_bytes = 0
    unselected = unselected_bytes = first = 0
    selection = select_rows(job, recipe, lease)
    for number, cells in _rows(job, lease):
        if selection and not selection.includes(number, cells):
            unselected, unselected_bytes = unselected + 1, unselected_bytes + contents.bytes(cells)
            continue
        first = first or number
        # The text around the cells is shorter than LONG, or else all rows count as long.
        if contents.may_be_long(cells) and (size := contents.bytes(cells)) > LONG:
            long, long_bytes = long + 1, long_bytes + size
        if found := contents.empty(cells):
            empty += 1
            blank += contents.is_blank(found)
            if len(found) > most:
                emptiest, most = number, len(found)
            if contents.is_skipped(found):
                left_out += 1
                left_out_bytes += contents.bytes(cells)
    known = known_bytes = alike = alike_bytes = 0
    whole = recipe.only_new or recipe.skip_duplicates
    # An answered row that is not sent is no duplicate as well; otherwise a row may be both.
    passes = [(True, True)] if recipe.only_new else [(True, False), (False, True)]
    for only_new, skip_duplicates in passes:
        for one in find_repeated_rows(
            job, recipe, only_new, skip_duplicates, whole, lease, selection
        ):
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
        unselected,
        unselected_bytes,
        first,
        selection.trouble if selection else "",
    )


# --- Repeated rows --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RepeatedRow:
    """A row that need not be sent: a row with the same request is, or was."""

    number: int
    cells: list[str]
    earlier: int = 0  # number of the answered row in the previous job
    same_as: int = 0  # number of the earlier row in this job


def find_previous_job(job: Job) -> Job | None:
    """The job that `job` repeats, if its answers can be reused: it has finished, with the same
    prompt and in the same mode (practice or not). None otherwise."""
    before = job.previous
    if before is None or before.state != Job.State.FINISHED or before.kind != job.kind:
        return None
    # Never reuse the simulator's made-up answers in a real job.
    if before.practice != settings.PRACTICE:
        return None
    return (
        before if normalize_recipe(recipe_of(before)) == normalize_recipe(recipe_of(job)) else None
    )


def find_repeated_rows(
    job: Job,
    recipe: Recipe,
    only_new: bool,
    skip_duplicates: bool,
    whole: bool,
    lease: Lease | None = None,
    selection: Selection | None = None,
) -> Iterator[RepeatedRow]:
    """Yield the rows that need not be sent: with `only_new` those with a good answer in the
    previous job, with `skip_duplicates` duplicates of an earlier row. Without `whole`, looks at the
    first ROWS_COMPARED rows only. `selection`: of a draft, whose other rows are not marked yet.

    Raises LeaseLost.
    """
    before = find_previous_job(job) if only_new else None
    if before is None and not skip_duplicates:
        return
    contents = RowContents(recipe, job.columns)
    rows = max(job.row_count, before.row_count if before else 0)
    parts = -(-rows // ROWS_IN_MEMORY) if whole else 1
    for part in range(parts):
        answered: dict[bytes, int] = {}
        if before:
            then = RowContents(recipe_of(before), before.columns)
            for number, cells in _rows(before, lease, only_good=True):
                if not whole and number > ROWS_COMPARED:
                    break
                if (key := then.key(cells))[0] % parts == part:
                    answered.setdefault(key, number)
        first: dict[bytes, int] = {}
        for number, cells in _rows(job, lease):
            if not whole and number > ROWS_COMPARED:
                break
            if selection and not selection.includes(number, cells):
                continue
            key = contents.key(cells)
            if key[0] % parts != part or contents.is_skipped(contents.empty(cells)):
                continue
            if earlier := answered.get(key):
                yield RepeatedRow(number, cells, earlier=earlier)
            elif skip_duplicates and first.setdefault(key, number) != number:
                yield RepeatedRow(number, cells, same_as=first[key])


def _rounds_with_other_prompt(job: Job) -> list[int]:
    """The rounds that had another prompt than the job."""
    question = normalize_recipe(recipe_of(job))
    rounds = job.rounds.values_list("number", flat=True)
    return [one for one in rounds if normalize_recipe(recipe_of_round(job, one)) != question]


def _rows(
    job: Job, lease: Lease | None, *, only_good: bool = False
) -> Iterator[tuple[int, list[str]]]:
    """Number and cells of the rows that can be sent, or, with `only_good`, of those with a good
    answer to the job's own prompt. Raises LeaseLost."""
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
