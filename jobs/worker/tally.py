"""The numbers of a job: rows by outcome and cause, tokens, cost, what was charged and what is still
reserved. This module is the only one that computes them, from the rows.

Code that changes rows, attempts, rounds or late batches of a job calls `note_change` in the same
transaction. `count_up` counts without a lock, because the time grows with the rows, and writes only
if nothing changed meanwhile. So a slow count never overwrites a newer one, and the two versions
reveal a job whose worker died in between.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import BigIntegerField, Case, Count, F, Max, Min, Q, QuerySet, Sum, When
from django.db.models.functions import Cast, Coalesce
from msgspec.structs import replace

from ..batches import result_rows
from ..drafts import estimates
from ..models import (
    FAILED,
    Attempt,
    Job,
    LateBatch,
    Outcome,
    Row,
    clock,
    dollars,
    note_change,
    pico,
    recipe_of,
    recipe_of_round,
)
from ..rules import pricing
from ..rules.judging import IGNORED, MARKED_DOWN, NOT_SELECTED, PASSING_CAUSES
from ..rules.tallies import AnswerLengths, CauseGroup, ModelCharge, Tally

__all__ = ["count_if_stale", "count_in_turn", "count_mark", "count_up", "note_change"]

MOST_MARKED = 10_000  # with more rows marked as not good, the worker counts them
# A count takes about 5 microseconds a row, and a job of a million rows gets its answers in many
# parts: with this pause between two counts, they take a tenth of the time at most.
COUNTED_AT_ONCE, PAUSE_SECONDS_A_ROW = 10_000, 0.000_05
COUNT_AGAIN = timedelta(seconds=2)  # until one looks whether the pause is over
_pauses: dict[int, clock.Countdown] = {}  # of this worker's long jobs
Group = Mapping[str, Any]  # rows or attempts, added up
COUNT_ATTEMPTS = 3  # while others change rows; then it is left to the next sweep


def count_up(job: Job) -> bool:
    """Compute the numbers of a job from its rows and store them. False if rows kept changing or the
    job is gone: then nothing was written, and the next sweep counts again."""
    for _ in range(COUNT_ATTEMPTS):
        now = Job.objects.filter(pk=job.pk).first()
        # A job that is being deleted keeps its numbers: some of its rows may be gone.
        if now is None or now.state == Job.State.DELETING:
            return False
        numbers, by_round = _numbers_of(now)
        unchanged = Job.objects.filter(pk=now.pk, state=now.state, rows_version=now.rows_version)
        with transaction.atomic():
            if unchanged.update(tally_version=now.rows_version, **numbers):
                for one in now.rounds.all():
                    if one.spent_pico != by_round[one.number]:
                        now.rounds.filter(pk=one.pk).update(spent_pico=by_round[one.number])
                return True
    return False


def count_if_stale(job_pk: int) -> None:
    """Count a submitted job if its rows have changed since the last count."""
    if stale := Job.objects.stale().filter(pk=job_pk).first():
        count_up(stale)


def count_in_turn(job_pk: int) -> timedelta | None:
    """The same for a job that goes on, but a long one now and then only. How long until it should
    be counted; None when it is up to date."""
    found = Job.objects.stale().filter(pk=job_pk)
    stale = found.first() if found.exists() else None  # seldom: else nothing is loaded
    if stale is None:
        return None
    # The ends of all pauses, so that jobs which are not counted again are forgotten too.
    for pk in [pk for pk, pause in list(_pauses.items()) if pause.is_over]:
        _pauses.pop(pk, None)
    if job_pk in _pauses:
        return COUNT_AGAIN
    count_up(stale)
    if stale.row_count > COUNTED_AT_ONCE:
        _pauses[job_pk] = clock.Countdown(stale.row_count * PAUSE_SECONDS_A_ROW)
    return None


def _numbers_of(job: Job) -> tuple[dict[str, Any], Counter[int]]:
    """The columns of Job derived from its rows, attempts, rounds and late batches; and for each
    round what it was charged, for Round.spent_pico."""
    sums = _sums_of_rows(_ROWS[job.kind].filter(job=job))
    _add_attempts(job, sums)
    # What another program sent does not count as this site's spending.
    elsewhere = _charged_elsewhere(job) if job.is_external else Counter()
    sums.by_round[1] -= elsewhere
    spent = Counter({number: found.total() for number, found in sums.by_round.items()})
    late = LateBatch.objects.filter(batch__job=job, cost_pico__gt=0)
    for number, amount in late.values_list("batch__round", "cost_pico"):
        spent[number] += amount
    on_purpose = (sums.causes[Outcome.LEFT_OUT, cause] for cause in (IGNORED, NOT_SELECTED))
    skipped = sums.outcomes[Outcome.LEFT_OUT] - sum(on_purpose)
    numbers = {
        "skipped_count": skipped,
        "spent_pico": spent.total(),
        "reserved_pico": _still_to_come(job, sums.totals, sums.over),
        "tally": _tally_of(sums, _strays(job)),
    }
    return numbers, spent


@dataclass
class _Sums:
    """What is added up over the rows and attempts of a job. Amounts are pico-dollars."""

    totals: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    causes: Counter[tuple[str, str]] = field(default_factory=Counter)
    groups: dict[tuple[str, str], list[Group]] = field(default_factory=dict)
    # By round, what each model was paid.
    by_round: dict[int, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    over: Counter[int] = field(default_factory=Counter)  # rows by round that wait no more
    free: Counter[tuple[str, str]] = field(default_factory=Counter)
    # Groups of rows and of attempts that were charged, by model.
    charged_rows: dict[str, list[Group]] = field(default_factory=lambda: defaultdict(list))
    charged_attempts: dict[str, list[Group]] = field(default_factory=lambda: defaultdict(list))


def _sendable(kind: str) -> Q:
    """Rows that a retry sends themselves: of an imported batch of ready-made requests, not those
    that this site would not send."""
    own = Q(same_as=None, earlier=None)
    return own if kind == Job.Kind.TABLE else own & Q(size__gt=0)


def _grouped_rows(kind: str) -> QuerySet[Any, Any]:
    """The rows of jobs of this kind, added up by outcome, cause, model, round and whether they were
    charged."""
    # As big integers: the square of a long answer does not fit a plain one.
    thinking = Cast("thinking_tokens", BigIntegerField())
    text = Cast("output_tokens", BigIntegerField()) - thinking
    written = Q(outcome=Outcome.GOOD, output_tokens__gt=0)
    free = Q(cost_pico=0, output_tokens=0, same_as=None, earlier=None)
    return (
        Row.objects.annotate(charged=Q(cost_pico__gt=0))
        # Not the outcome first: SQLite would read the rows in the order of an index of it, which
        # takes half as long again as in their own.
        .values("answered_by", "charged", "outcome", "cause", "round")
        .annotate(
            rows=Count("pk"),
            input=Sum("input_tokens"),
            cache_read=Sum("cache_read_tokens"),
            cache_write=Sum("cache_write_tokens"),
            hits=Count("pk", filter=Q(cache_read_tokens__gt=0)),
            answered=Count("pk", filter=Q(output_tokens__gt=0)),
            sent=Count("pk", filter=Q(same_as=None)),
            copies=Count("pk", filter=Q(outcome=Outcome.WAITING, same_as__isnull=False)),
            own=Count("pk", filter=Q(same_as=None, earlier=None)),
            sendable=Count("pk", filter=_sendable(kind)),
            largest=Max("size", filter=Q(same_as=None, earlier=None)),
            size=Sum("size", filter=Q(same_as=None, earlier=None)),
            output=Sum("output_tokens"),
            thinking=Sum("thinking_tokens"),
            pico=Sum("cost_pico"),
            first=Min("batch__ended_at"),
            last=Max("batch__ended_at"),
            free=Count("pk", filter=free),
            good=Count("pk", filter=written),
            good_text=Sum(text, filter=written),
            good_text_squares=Sum(text * text, filter=written),
            good_thinking=Sum(thinking, filter=written),
            good_thinking_squares=Sum(thinking * thinking, filter=written),
        )
    )


# Built once: that takes longer than to ask for a job of a few rows.
_ROWS = {kind: _grouped_rows(kind) for kind in Job.Kind.values}


def _sums_of_rows(groups: Iterable[Group]) -> _Sums:
    sums = _Sums()
    for group in groups:
        outcome, key = group["outcome"], (group["outcome"], group["cause"])
        sums.outcomes[outcome] += group["rows"]
        sums.causes[key] += group["rows"]
        sums.groups.setdefault(key, []).append(group)
        if group["charged"]:
            sums.charged_rows[group["answered_by"]].append(group)
        else:
            sums.totals["unpriced"] += group["answered"]
        sums.by_round[group["round"]][group["answered_by"]] += int(group["pico"])
        if outcome != Outcome.WAITING:
            sums.over[group["round"]] += group["own"]
            sums.free[key] += group["free"]
        if outcome != Outcome.LEFT_OUT:
            state = "waiting" if outcome == Outcome.WAITING else "over"
            sums.totals[f"rows_{state}"] += group["own"]
            sums.totals[f"bytes_{state}"] += int(group["size"] or 0)
        if outcome in FAILED and group["cause"] in PASSING_CAUSES:
            sums.totals["again"] += group["sent"]
        for name, number in group.items():
            # PostgreSQL adds up big integers as Decimal.
            if name not in ("round", "charged") and isinstance(number, int | Decimal):
                sums.totals[name] += int(number)
    return sums


_ATTEMPTS = (
    Attempt.objects.annotate(charged=Q(cost_pico__gt=0), of_round=Coalesce("batch__round", 1))
    .values("answered_by", "of_round", "charged")
    .annotate(
        rows=Count("pk"),
        input=Sum("input_tokens"),
        cache_read=Sum("cache_read_tokens"),
        cache_write=Sum("cache_write_tokens"),
        output=Sum("output_tokens"),
        thinking=Sum("thinking_tokens"),
        pico=Sum("cost_pico"),
    )
)


def _add_attempts(job: Job, sums: _Sums) -> None:
    """Add the earlier attempts of rows that were sent again."""
    for group in _ATTEMPTS.filter(job=job):
        for name in ("input", "cache_read", "cache_write", "output", "thinking", "pico"):
            sums.totals[name] += int(group[name])
        if group["charged"]:
            model = group["answered_by"]
            sums.by_round[group["of_round"]][model] += int(group["pico"])
            sums.charged_attempts[model].append(group)


def _tally_of(sums: _Sums, strays: int) -> Tally:
    by_model = sum(sums.by_round.values(), Counter[str]())
    totals = sums.totals
    return Tally(
        outcomes=dict(sorted(sums.outcomes.items())),
        causes=[(*key, rows) for key, rows in sorted(sums.causes.items())],
        groups=[_group(*key, groups) for key, groups in sorted(sums.groups.items())],
        by_model={model: pico for model, pico in by_model.items() if pico},
        by_round={
            number: {model: pico for model, pico in found.items() if pico}
            for number, found in sorted(sums.by_round.items())
            if number > 1
        },
        input_tokens=totals["input"] + totals["cache_write"] + totals["cache_read"],
        cache_read_tokens=totals["cache_read"],
        cache_write_tokens=totals["cache_write"],
        cache_hits=totals["hits"],
        answered=totals["answered"],
        again=totals["again"],
        output_tokens=totals["output"],
        thinking_tokens=totals["thinking"],
        lengths=AnswerLengths(
            totals["good"],
            (totals["good_text"], totals["good_text_squares"]),
            (totals["good_thinking"], totals["good_thinking_squares"]),
        ),
        cost_pico=totals["pico"],
        unpriced=totals["unpriced"],
        copies=totals["copies"],
        strays=strays,
        charged_rows=_charges(sums.charged_rows),
        charged_attempts=_charges(sums.charged_attempts),
        free=[(*key, rows) for key, rows in sorted(sums.free.items()) if rows],
        same_as_another=totals["rows"] - totals["sent"],
        of_earlier_jobs=totals["sent"] - totals["own"],
    )


def _charges(by_model: Mapping[str, list[Group]]) -> list[ModelCharge]:
    names = ("rows", "input", "cache_write", "cache_read", "output", "thinking", "pico")
    return [
        ModelCharge(model, *(sum(int(group[name]) for group in groups) for name in names))
        for model, groups in sorted(by_model.items())
    ]


def _group(outcome: str, cause: str, groups: Sequence[Group]) -> CauseGroup:
    """Rows with one outcome and cause: how many, how many are sent themselves and their bytes, what
    they cost, and when the first and last of their batches ended."""
    is_good = outcome == Outcome.GOOD  # nobody asks since when
    first = [group["first"] for group in groups if group["first"] and not is_good]
    last = [group["last"] for group in groups if group["last"] and not is_good]
    return CauseGroup(
        outcome,
        cause,
        rows=sum(group["rows"] for group in groups),
        own=sum(group["own"] for group in groups),
        bytes=sum(int(group["size"] or 0) for group in groups),
        rounds={} if is_good else _by_round(groups),  # good ones are not sent again
        cost_pico=sum(int(group["pico"]) for group in groups),
        first=min(first).isoformat() if first else None,
        last=max(last).isoformat() if last else None,
    )


def _by_round(groups: Sequence[Group]) -> dict[int, tuple[int, int, int]]:
    """Rows that are sent themselves, by their last round: how many, their bytes and those of the
    largest."""
    found: dict[int, tuple[int, int, int]] = {}
    for group in groups:
        if group["sendable"]:
            rows, size, largest = found.get(group["round"], (0, 0, 0))
            rows, size = rows + group["sendable"], size + int(group["size"] or 0)
            found[group["round"]] = rows, size, max(largest, group["largest"] or 0)
    return found


def count_mark(job: Job, row: Row, rows: int, good: bool) -> None:
    """Update the tally as `count_up` would, without reading every row, after a person has marked
    the answer of `row` as good or not. `rows` is their number with its copies. Call it within a
    transaction that locks the job. A tally that is out of date stays so."""
    mine = Job.objects.filter(pk=job.pk)
    tally = mine.values_list("tally", flat=True).get()
    is_free = not (row.cost_pico or row.output_tokens or row.earlier)
    if tally.lengths is None or not tally.groups or is_free:
        note_change(job.pk)  # counted by an older version, or not charged for some reason
        return
    sign = 1 if good else -1
    outcomes, causes = Counter(tally.outcomes), Counter[tuple[str, str]]()
    for outcome, cause, count in tally.causes:
        causes[outcome, cause] = count
    for key, change in (
        ((Outcome.GOOD.value, ""), sign * rows),
        ((Outcome.LOOK.value, MARKED_DOWN), -sign * rows),
    ):
        outcomes[key[0]] += change
        causes[key] += change
    if causes[Outcome.LOOK.value, MARKED_DOWN] > MOST_MARKED:
        note_change(job.pk)  # too many to count within the transaction
        return
    lengths = tally.lengths
    if row.output_tokens:  # copies have none
        thinking = row.thinking_tokens
        lengths = AnswerLengths(
            lengths.answers + sign,
            _with_answer(lengths.text, row.output_tokens - thinking, sign),
            _with_answer(lengths.thinking, thinking, sign),
        )
    tally = replace(
        tally,
        outcomes={outcome: count for outcome, count in outcomes.items() if count},
        causes=[(*key, count) for key, count in sorted(causes.items()) if count],
        groups=_groups_after_mark(job, row, tally.groups, rows, sign),
        lengths=lengths,
    )
    # An up-to-date tally stays up to date, and an old one stays old.
    was_true = When(tally_version=F("rows_version"), then=F("rows_version") + 1)
    mine.update(
        tally=tally,
        tally_version=Case(was_true, default=F("tally_version")),
        rows_version=F("rows_version") + 1,
    )


def _with_answer(sums: tuple[int, int], tokens: int, sign: int) -> tuple[int, int]:
    """The sums of tokens and of their squares, with one answer more (`sign` 1) or less (-1)."""
    total, squares = sums
    return total + sign * tokens, squares + sign * tokens * tokens


def _groups_after_mark(
    job: Job, row: Row, groups: list[CauseGroup], rows: int, sign: int
) -> list[CauseGroup]:
    """Rows marked as not good are few and counted again; good ones are adjusted."""
    found = {(group.outcome, group.cause): group for group in groups}
    good, down = (Outcome.GOOD.value, ""), (Outcome.LOOK.value, MARKED_DOWN)
    of_good = found.get(good) or _group(*good, [])
    found[good] = replace(
        of_good,
        rows=of_good.rows + sign * rows,
        own=of_good.own + sign,
        bytes=of_good.bytes + sign * row.size,
        cost_pico=of_good.cost_pico + sign * row.cost_pico,
    )
    own = Q(same_as=None, earlier=None)
    down_rows = Row.objects.filter(job=job, outcome=Outcome.LOOK, cause=MARKED_DOWN)
    marked = down_rows.values("round").annotate(
        rows=Count("pk"),
        own=Count("pk", filter=own),
        sendable=Count("pk", filter=_sendable(job.kind)),
        pico=Coalesce(Sum("cost_pico"), 0),
        first=Min("batch__ended_at"),
        last=Max("batch__ended_at"),
        # This name must not be that of a column.
        own_bytes=Sum("size", filter=own),
        largest=Max("size", filter=own),
    )
    found[down] = _group(*down, [{**one, "size": one["own_bytes"]} for one in marked])
    return [group for _key, group in sorted(found.items()) if group.rows]


def _charged_elsewhere(job: Job) -> Counter[str]:
    """What the results of an imported batch have cost, by model."""
    found: Counter[str] = Counter()
    for model in (Row, Attempt):
        results = model.objects.filter(job=job, batch__is_external=True).values("answered_by")
        for name, amount in results.annotate(pico=Sum("cost_pico")).values_list(
            "answered_by", "pico"
        ):
            found[name] += int(amount)
    return found


def _strays(job: Job) -> int:
    """How many results of an imported batch match no row."""
    found = job.problems.filter(kind=result_rows.NO_ROW).first() if job.is_external else None
    return found.count if found else 0


def _still_to_come(job: Job, sums: Counter[str], over_of_round: Counter[int]) -> int:
    """What waiting rows can cost at most, in pico-dollars: the amount reserved for all rows, less
    what finished ones have cost or could have cost for output alone. The ceiling of input is only
    known for all rows together."""
    if not job.was_sent or job.state == Job.State.FINISHED:
        return 0
    if again := job.rounds.last():
        most, spent = again.estimate.most, Decimal(0)
        # Only rows of this round count as over; rows that have not joined it yet are still to come.
        recipe, over = recipe_of_round(job, again.number), over_of_round[again.number]
        if over >= again.rows:
            return 0
    elif not sums["rows_waiting"]:
        return 0
    elif estimate := estimates.current(job):
        most, spent = estimate.most, dollars(sums["pico"])
        recipe, over = recipe_of(job), sums["rows_over"]
    else:
        return 0
    freed = spent
    if job.kind == Job.Kind.TABLE and over > 0:
        with suppress(pricing.UnknownPrice):
            written = pricing.cost_of_tokens(recipe.model, 0, over * recipe.longest)
            freed = max(spent, written)
    return pico(max(most - freed, Decimal(0)))
