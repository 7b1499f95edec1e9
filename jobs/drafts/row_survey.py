"""What a recipe finds in the rows of a table: empty cells, duplicates, and rows that an earlier job
has answered. The worker reads all rows, in slices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ..batches.leases import Lease
from ..models import (
    Job,
    Outcome,
    Row,
    SubmissionEvent,
    find_sources,
    recipe_of,
    recipe_of_round,
    reusable_jobs,
)
from ..rules.price_estimates import Survey
from ..rules.recipes import Recipe, normalize_recipe
from ..rules.row_contents import LONG, RowContents, compile_request_key
from .memory import Memory
from .row_cells import cell_slices
from .selected_rows import Selection, select_rows

# Rows held in memory at a time. A larger job takes more passes, not more memory.
ROWS_IN_MEMORY = 200_000
# Rows among which duplicates are only pointed out.
ROWS_COMPARED = 100_000


def survey_rows(job: Job, recipe: Recipe, lease: Lease | None = None) -> Survey:
    """Read the rows of a draft whose recipe can be sent. Repeated rows are all found if the recipe
    skips them, and otherwise only among the first ROWS_COMPARED. Raises LeaseLost."""
    contents = RowContents(recipe, job.columns)
    empty = blank = emptiest = most = left_out = left_out_bytes = long = long_bytes = 0
    unselected = unselected_bytes = first = 0
    selection = select_rows(job, recipe, lease)
    # Where one pass is enough for duplicates, it is this one.
    whole = recipe.skip_duplicates
    alike = None if recipe.only_new or _parts(job.row_count, whole) > 1 else _Alike(contents)
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
        if alike and (whole or number <= ROWS_COMPARED):
            alike.add(number, cells, is_skipped=contents.is_skipped(found))
    return replace(
        _survey_repeated(job, recipe, selection, alike, lease),
        empty=empty,
        blank=blank,
        emptiest=emptiest,
        left_out=left_out,
        left_out_bytes=left_out_bytes,
        long=long,
        long_bytes=long_bytes,
        unselected=unselected,
        unselected_bytes=unselected_bytes,
        first=first,
        trouble=selection.trouble if selection else "",
    )


class _Alike:
    """Duplicates among the rows that were added, in order."""

    def __init__(self, contents: RowContents) -> None:
        self._contents = contents
        self._first: dict[bytes, int] = {}
        self.rows = self.bytes = 0

    def add(self, number: int, cells: list[str], *, is_skipped: bool) -> None:
        if is_skipped:
            return
        if self._first.setdefault(self._contents.key(cells), number) != number:
            self.rows += 1
            self.bytes += self._contents.bytes(cells)


def _parts(rows: int, whole: bool) -> int:
    """How many passes over the rows it takes to find all that are alike, or with `whole` False
    those among the first ROWS_COMPARED."""
    return -(-rows // ROWS_IN_MEMORY) if whole else 1


def _survey_repeated(
    job: Job,
    recipe: Recipe,
    selection: Selection | None,
    found_alike: _Alike | None,
    lease: Lease | None,
) -> Survey:
    """`found_alike`: the duplicates, if they are known."""
    known = known_bytes = reused = reused_bytes = 0
    alike, alike_bytes = (found_alike.rows, found_alike.bytes) if found_alike else (0, 0)
    jobs = set()
    whole = recipe.only_new or recipe.skip_duplicates
    # An answered row that is not sent is no duplicate as well; otherwise a row may be both.
    passes = [(True, True)] if recipe.only_new else [(True, False), (False, True)]
    if found_alike:
        passes = passes[:1]
    for only_new, skip_duplicates in passes:
        for one in find_repeated_rows(
            job, recipe, only_new, skip_duplicates, whole, lease, selection
        ):
            if one.same_as:
                alike, alike_bytes = alike + 1, alike_bytes + one.size
            elif one.request_key:
                reused, reused_bytes = reused + 1, reused_bytes + one.size
                jobs.add(one.earlier_job)
            else:
                known, known_bytes = known + 1, known_bytes + one.size
    return Survey(
        known=known,
        known_bytes=known_bytes,
        alike=alike,
        alike_bytes=alike_bytes,
        reused=reused,
        reused_bytes=reused_bytes,
        reused_jobs=len(jobs),
    )


# --- Repeated rows --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RepeatedRow:
    """A row that need not be sent: a row with the same request is, or was."""

    number: int
    size: int  # bytes of its cells, as the recipe uses them; of a ready-made request 0
    earlier: int = 0  # number of the answered row in an earlier job
    earlier_job: int = 0  # that job
    request_key: bytes = b""  # what both were sent, if it was found by that
    same_as: int = 0  # number of the earlier row in this job


def find_previous_job(job: Job) -> Job | None:
    """The job that the table `job` repeats, if its answers can be reused, and it had the same
    prompt. None otherwise."""
    before = job.previous
    if before is None or before.state != Job.State.FINISHED or job.kind != Job.Kind.TABLE:
        return None
    if normalize_recipe(recipe_of(before)) != normalize_recipe(recipe_of(job)):
        return None
    if SubmissionEvent.objects.filter(job=before, kind="restored").exists():
        return None  # what it sent after a backup may not be what it holds now
    return before if reusable_jobs(job).filter(pk=before.pk).exists() else None


def find_repeated_rows(
    job: Job,
    recipe: Recipe,
    only_new: bool,
    skip_duplicates: bool,
    whole: bool,
    lease: Lease | None = None,
    selection: Selection | None = None,
) -> Iterator[RepeatedRow]:
    """Yield the rows of a table that need not be sent: with `only_new` those with a good answer in
    an earlier job, the previous one first, with `skip_duplicates` duplicates of an earlier row.
    Without `whole`, looks at the first ROWS_COMPARED rows only. `selection`: of a draft, whose
    other rows are not marked yet.

    Raises LeaseLost.
    """
    before = find_previous_job(job) if only_new else None
    sources = [one.job for one in find_sources(job, recipe)] if only_new else []
    if before is None and not sources and not skip_duplicates:
        return
    memory, key_of = Memory(sources), compile_request_key(recipe, job.columns)
    contents = RowContents(recipe, job.columns)
    parts = _parts(max(job.row_count, before.row_count if before else 0), whole)
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
        for rows in _row_slices(job, lease):
            here = [
                (number, cells, key)
                for number, cells in rows
                if (whole or number <= ROWS_COMPARED)
                and not (selection and not selection.includes(number, cells))
                and (key := contents.key(cells))[0] % parts == part
                and not contents.is_skipped(contents.empty(cells))
            ]
            unknown = [one for one in here if sources and one[2] not in answered]
            asked = {number: key_of(cells) for number, cells, _key in unknown}
            remembered = memory.find(list(asked.values()))
            for number, cells, key in here:
                if before and (earlier := answered.get(key)):
                    yield RepeatedRow(number, contents.bytes(cells), earlier, before.pk)
                elif found := remembered.get(sent := asked.get(number, b"")):
                    size = contents.bytes(cells)
                    yield RepeatedRow(number, size, found.number, found.job, sent)
                elif skip_duplicates and first.setdefault(key, number) != number:
                    yield RepeatedRow(number, contents.bytes(cells), same_as=first[key])
            if not whole and rows[-1][0] >= ROWS_COMPARED:
                break


def _rounds_with_other_prompt(job: Job) -> list[int]:
    """The rounds that had another prompt than the job."""
    question = normalize_recipe(recipe_of(job))
    rounds = job.rounds.values_list("number", flat=True)
    return [one for one in rounds if normalize_recipe(recipe_of_round(job, one)) != question]


def _rows(
    job: Job, lease: Lease | None, *, only_good: bool = False
) -> Iterator[tuple[int, list[str]]]:
    for rows in _row_slices(job, lease, only_good=only_good):
        yield from rows


def _row_slices(
    job: Job, lease: Lease | None, *, only_good: bool = False
) -> Iterator[list[tuple[int, list[str]]]]:
    """Number and cells of the rows that are to be sent, or need not be any more; with `only_good`,
    of those with a good answer to the job's own prompt. Raises LeaseLost."""
    # None that was stopped, and is not sent again: others would wait for its answer.
    wanted = Row.objects.filter(job=job, outcome__in=[Outcome.WAITING, Outcome.GOOD])
    if only_good:
        wanted = Row.objects.filter(job=job, outcome=Outcome.GOOD)
        if others := _rounds_with_other_prompt(job):
            wanted = wanted.exclude(round__in=others)
    return cell_slices(wanted, lease)
