"""Which rows of a finished job a retry sends, and how many there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from django.db.models import Count, Max, Sum

from ..models import (
    NOT_GOOD,
    Edit,
    Job,
    Outcome,
    Row,
    RowQuerySet,
    recipe_of_round,
)
from ..rules.judging import IGNORED, PASSING_CAUSES
from ..rules.recipes import Recipe
from ..rules.retry_choices import EditedRows, RetrySize

# Which rows to retry, besides the name of a cause.
FOR_NOW = "passing"  # all whose cause usually passes with time
EDITED = "edited"  # all that were edited: see Edit
CAN_BE_EDITED = (*NOT_GOOD, Outcome.LEFT_OUT)
MEASURED_AT_ONCE = 2_000  # edits; the worker measures more than that


def retry_rows(job: Job, which: str) -> RowQuerySet:
    """The rows that one retry sends: the candidates whose last recipe is the most common one."""
    earlier = rounds_with_main_recipe(job, sizes_by_round(job, which)) if job.last_round > 1 else []
    return in_rounds(candidate_rows(job, which), earlier)


def in_rounds(rows: RowQuerySet, numbers: Collection[int]) -> RowQuerySet:
    """Those of `rows` that were last sent in one of these rounds; all if `numbers` is empty."""
    return rows.filter(round__in=numbers) if numbers else rows


def candidate_rows(job: Job, which: str, between: tuple[int, int] | None = None) -> RowQuerySet:
    """The rows that can be retried, without their duplicates and, unless `which` is EDITED, without
    edited rows. `between`: only numbers above the first and up to the second."""
    rows, edits = Row.objects.filter(job=job), Edit.objects.filter(job=job)
    if between:
        # Narrow the edits too: SQLite reads all of them for each slice of the rows.
        here = {"number__gt": between[0], "number__lte": between[1]}
        rows, edits = rows.filter(**here), edits.filter(**here)
    edited = edits.values("number")
    if which == EDITED:
        rows = rows.filter(number__in=edited, outcome__in=CAN_BE_EDITED)
    else:
        rows = _with_cause(rows, which).exclude(number__in=edited)
    if which != EDITED and job.kind == Job.Kind.REQUESTS:
        # Requests of an imported batch that this site would not send: see reading.py.
        rows = rows.exclude(size=0)
    return rows


def _with_cause(rows: RowQuerySet, which: str) -> RowQuerySet:
    if which == FOR_NOW:
        return rows.failed().filter(cause__in=PASSING_CAUSES)
    if which == IGNORED:
        set_aside = rows.filter(outcome=Outcome.LEFT_OUT, cause=IGNORED)
        return set_aside.filter(same_as=None, earlier=None)
    return rows.failed().filter(cause=which)


def count_edited_with_cause(job: Job, which: str) -> int:
    """How many rows with this cause are left out of its retry because they were edited."""
    return 0 if which == EDITED else sum(one.rows for one in _edited_sizes(job, which).values())


SizesByRound = dict[int, RetrySize]


def sizes_by_round(job: Job, which: str) -> SizesByRound:
    """Count and size of the candidates by the round that they were last sent in. From the tally
    and the edits; reads all candidates only until the worker has counted the job. While many edits
    are not measured (see `awaits_measuring`), it is as if there were none."""
    if which == EDITED:
        return _edited_sizes(job, which)
    counted = _in_tally(job, which)
    if counted is None:
        return _measure_by_round(candidate_rows(job, which))
    return _subtract(counted, _edited_sizes(job, which))


def _in_tally(job: Job, which: str) -> SizesByRound | None:
    """Rows with a cause, edited ones included; None if the tally does not have them."""
    groups = job.tally.groups
    # Of a running job nothing is sent by these numbers.
    is_current = job.tally_version == job.rows_version or job.state != Job.State.FINISHED
    if not is_current or not groups or any(group.rounds is None for group in groups):
        return None
    found: SizesByRound = {}
    for group in groups:
        if _is_chosen(which, group.outcome, group.cause):
            for number, counted in (group.rounds or {}).items():
                found[number] = add_sizes(found.get(number), RetrySize(*counted))
    return found


def _is_chosen(which: str, outcome: str, cause: str) -> bool:
    """As _with_cause, of rows that are no duplicates."""
    if which == IGNORED:
        return outcome == Outcome.LEFT_OUT and cause == IGNORED
    return outcome in NOT_GOOD and cause in (PASSING_CAUSES if which == FOR_NOW else (which,))


def add_sizes(one: RetrySize | None, other: RetrySize) -> RetrySize:
    if one is None:
        return other
    largest = max(one.largest, other.largest)
    return RetrySize(one.rows + other.rows, one.bytes + other.bytes, largest)


def _subtract(counted: SizesByRound, edited: SizesByRound) -> SizesByRound:
    """Take edited rows out. If one of them was the largest, the rest count as that large."""
    for number, less in edited.items():
        one = counted.get(number, RetrySize(0, 0, 0))
        left = RetrySize(one.rows - less.rows, one.bytes - less.bytes, one.largest)
        counted[number] = left
    return {number: one for number, one in counted.items() if one.rows > 0}


def _edited_sizes(job: Job, which: str) -> SizesByRound:
    """The edited rows among those with a cause, or with EDITED all that can be sent."""
    sizes: SizesByRound = {}
    for one in _edited_rows(job):
        is_chosen = one.own and _is_chosen(which, one.outcome, one.cause)
        if which == EDITED:
            is_chosen = one.outcome in CAN_BE_EDITED
        if is_chosen:
            sizes[one.round] = add_sizes(sizes.get(one.round), one.size)
    return sizes


def _edited_rows(job: Job) -> list[EditedRows]:
    measured = job.edits_measured
    if measured.of == edits_key(job) and measured.rows is not None:
        return measured.rows
    numbers = list(job.edits.values_list("number", flat=True)[: MEASURED_AT_ONCE + 1])
    return [] if len(numbers) > MEASURED_AT_ONCE else add_up_edited(job, [numbers])


def edited_to_send(job: Job, numbers: Sequence[int], earlier: Collection[int]) -> set[int]:
    """Which of these edited rows a retry of EDITED sends; `earlier`: as in `in_rounds`."""
    # By number only: with the outcome as well, SQLite reads all rows that have it.
    rows = Row.objects.filter(job=job, number__in=numbers)
    return {
        number
        for number, outcome, last in rows.values_list("number", "outcome", "round")
        if outcome in CAN_BE_EDITED and (not earlier or last in earlier)
    }


def add_up_edited(job: Job, slices: Iterable[Sequence[int]]) -> list[EditedRows]:
    """The rows with these numbers, some at a time."""
    found: dict[tuple[str, str, int, bool], RetrySize] = {}
    for numbers in slices:
        rows = Row.objects.filter(job=job, number__in=numbers)  # as in edited_to_send
        for outcome, cause, number, size, same_as, earlier in rows.values_list(
            "outcome", "cause", "round", "size", "same_as", "earlier"
        ):
            own = same_as is None and earlier is None and (size > 0 or job.kind == Job.Kind.TABLE)
            key = outcome, cause, number, own
            found[key] = add_sizes(found.get(key), RetrySize(1, size, size))
    return [EditedRows(*key, size) for key, size in sorted(found.items())]


def awaits_measuring(job: Job) -> bool:
    """Whether there are many edits that the worker has yet to measure. No plan is made before."""
    measured = job.edits_measured
    if measured.of == edits_key(job) and measured.rows is not None:
        return False
    return job.edits.all()[MEASURED_AT_ONCE:].exists()


def _measure_by_round(rows: RowQuerySet) -> SizesByRound:
    groups = rows.values("round").annotate(
        count=Count("pk"),
        largest=Max("size"),
        all_bytes=Sum("size"),  # not "size", which is the name of the column
    )
    return {
        one["round"]: RetrySize(one["count"], int(one["all_bytes"]), one["largest"])
        for one in groups.order_by("round")
    }


def rounds_with_main_recipe(job: Job, found: SizesByRound) -> list[int]:
    """The rounds whose recipe is the last one of most of these rows. Empty: all have the same."""
    if len(found) < 2:
        return []
    asked: dict[Recipe, list[int]] = {}
    count: Counter[Recipe] = Counter()
    for number in sorted(found):
        recipe = recipe_of_round(job, number)
        asked.setdefault(recipe, []).append(number)
        count[recipe] += found[number].rows
    return asked[count.most_common(1)[0][0]] if len(asked) > 1 else []


def last_round_of(job: Job, which: str) -> int:
    """The newest round among those of `retry_rows`."""
    if job.last_round == 1:
        return 1
    found = sizes_by_round(job, which)
    return max(rounds_with_main_recipe(job, found) or found, default=1)


def count_for_retry(job: Job, which: str) -> tuple[int, int]:
    """How many rows one retry sends, and how many more can be retried after it."""
    found = sizes_by_round(job, which)
    first = rounds_with_main_recipe(job, found) or list(found)
    count = sum(found[number].rows for number in first)
    return count, sum(one.rows for one in found.values()) - count


def count_with_cause(job: Job, cause: str) -> int | None:
    """How many rows with a cause can be retried, edited ones included; None if not counted yet."""
    found = _in_tally(job, cause)
    return None if found is None else sum(one.rows for one in found.values())


def count_edited(job: Job) -> int:
    """How many edited rows wait to be sent; all edits while they are not measured."""
    if not job.edits.exists():
        return 0
    if awaits_measuring(job):
        return job.edits.count()
    return sum(one.rows for one in sizes_by_round(job, EDITED).values())


def edits_key(job: Job) -> list[int]:
    """While it is equal, edits and their rows are unchanged."""
    return [job.edits_version, job.last_round]
