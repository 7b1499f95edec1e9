"""Which rows of a finished job a retry sends, and how many there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

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
from ..rules.retry_choices import RetrySize

# Which rows to retry, besides the name of a cause.
FOR_NOW = "passing"  # all whose cause usually passes with time
EDITED = "edited"  # all that were edited: see Edit
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
        rows = rows.filter(number__in=edited, outcome__in=[*NOT_GOOD, Outcome.LEFT_OUT])
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
    if which == EDITED:
        return 0
    edited = Edit.objects.filter(job=job).values("number")
    return _with_cause(Row.objects.filter(job=job), which).filter(number__in=edited).count()


SizesByRound = dict[int, RetrySize]


def sizes_by_round(job: Job, which: str) -> SizesByRound:
    """Count and size of the candidates by the round that they were last sent in. Uses the tally and
    the measured edits while they are current; otherwise reads all candidates."""
    if which == EDITED and job.edits_measured.of == edits_key(job):
        stored = job.edits_measured.rounds.items()
        return {number: RetrySize(*found) for number, found in stored}
    if which == EDITED and not job.edits.exists():
        return {}
    counted = None if which == EDITED else _in_tally(job, which)
    if counted is not None and not job.edits.all()[MEASURED_AT_ONCE:].exists():
        edited = list(job.edits.values_list("number", flat=True))
        return _subtract_edited(counted, Row.objects.filter(job=job, number__in=edited), which)
    return _measure_by_round(candidate_rows(job, which))


def _in_tally(job: Job, which: str) -> SizesByRound | None:
    """Rows with a cause, edited ones included; None if the tally does not have them."""
    groups = job.tally.groups
    is_current = job.tally_version == job.rows_version and job.state == Job.State.FINISHED
    if not is_current or not groups or any(group.rounds is None for group in groups):
        return None
    if job.is_external and job.kind == Job.Kind.REQUESTS:
        return None  # some of them cannot be sent
    outcomes = [Outcome.LEFT_OUT] if which == IGNORED else list(NOT_GOOD)
    causes = PASSING_CAUSES if which == FOR_NOW else (which,)
    found: SizesByRound = {}
    for group in groups:
        if group.outcome in outcomes and group.cause in causes:
            for number, counted in (group.rounds or {}).items():
                found[number] = add_sizes(found.get(number), RetrySize(*counted))
    return found


def add_sizes(one: RetrySize | None, other: RetrySize) -> RetrySize:
    if one is None:
        return other
    largest = max(one.largest, other.largest)
    return RetrySize(one.rows + other.rows, one.bytes + other.bytes, largest)


def _subtract_edited(counted: SizesByRound, edited: RowQuerySet, which: str) -> SizesByRound:
    """Take edited rows out. If one of them was the largest, the rest count as that large."""
    for number, less in _measure_by_round(_with_cause(edited, which)).items():
        one = counted.get(number, RetrySize(0, 0, 0))
        left = RetrySize(one.rows - less.rows, one.bytes - less.bytes, one.largest)
        counted[number] = left
    return {number: one for number, one in counted.items() if one.rows > 0}


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


def count_edited(job: Job) -> int | None:
    """How many edited rows wait to be sent; None if not measured yet."""
    if job.edits_measured.of != edits_key(job):
        return None
    return sum(one.rows for one in sizes_by_round(job, EDITED).values())


def edits_key(job: Job) -> list[int]:
    """While it is equal, edits and their rows are unchanged."""
    return [job.edits_version, job.last_round]
