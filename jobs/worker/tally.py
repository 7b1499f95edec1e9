"""A job in numbers: its rows by outcome and cause, tokens and cost, what it was charged and what it
still reserves. All of them are worked out here, from what is in the rows.

Whoever changes rows, attempts, rounds or late batches of a job calls `note_change` in the same
transaction. `count_up` counts without a lock, because that takes as long as there are rows, and
writes only when nothing was changed meanwhile. So a slow count never overwrites a newer one, and a
job whose worker died in between is found by its two versions.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from contextlib import suppress
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import BigIntegerField, Case, Count, F, Max, Min, Q, Sum, When
from django.db.models.functions import Cast, Coalesce

from ..batches import result_rows
from ..drafts import estimates
from ..models import (
    FAILED,
    Attempt,
    Job,
    LateBatch,
    Outcome,
    Row,
    dollars,
    note_change,
    pico,
    recipe_of,
    recipe_of_round,
)
from ..rules import pricing
from ..rules.judging import IGNORED, MARKED_DOWN, PASSING_CAUSES

__all__ = ["count_if_stale", "count_mark", "count_up", "note_change"]

MARKED = 10_000  # rows marked as not good that are counted by the click that marks one more
COUNTS = 3  # tries of one count while others change rows; then the next sweep has its turn


def count_up(job: Job) -> bool:
    """Write the numbers of a job anew from its rows. False when others changed rows all the time,
    or the job is gone: nothing was written then, and the next sweep counts again."""
    for _ in range(COUNTS):
        now = Job.objects.filter(pk=job.pk).first()
        # Of a job that is being deleted rows may be gone already: it keeps the numbers it had.
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
    """As `count_up`, when rows of a sent job have changed since it was counted."""
    if stale := Job.objects.stale().filter(pk=job_pk).first():
        count_up(stale)


def _numbers_of(job: Job) -> tuple[dict[str, Any], Counter[int]]:
    """The columns of a Job that its rows, attempts, rounds and late batches decide on; and what
    each of its rounds was charged, as Round.spent_pico."""
    # As big integers: the square of a long answer does not fit a plain one.
    thinking = Cast("thinking_tokens", BigIntegerField())
    text = Cast("output_tokens", BigIntegerField()) - thinking
    written = Q(outcome=Outcome.GOOD, output_tokens__gt=0)
    groups = (
        Row.objects.filter(job=job)
        .values("outcome", "cause", "answered_by", "round")
        .annotate(
            rows=Count("pk"),
            input=Sum("input_tokens") + Sum("cache_write_tokens") + Sum("cache_read_tokens"),
            cached=Sum("cache_read_tokens"),
            kept=Sum("cache_write_tokens"),
            hits=Count("pk", filter=Q(cache_read_tokens__gt=0)),
            answered=Count("pk", filter=Q(output_tokens__gt=0)),
            sent=Count("pk", filter=Q(same_as=None)),
            own=Count("pk", filter=Q(same_as=None, earlier=None)),
            largest=Max("size", filter=Q(same_as=None, earlier=None)),
            size=Sum("size", filter=Q(same_as=None, earlier=None)),
            output=Sum("output_tokens"),
            thinking=Sum("thinking_tokens"),
            pico=Sum("cost_pico"),
            first=Min("batch__ended_at"),
            last=Max("batch__ended_at"),
            unpriced=Count("pk", filter=Q(cost_pico=0, output_tokens__gt=0)),
            good=Count("pk", filter=written),
            good_text=Sum(text, filter=written),
            good_text_squares=Sum(text * text, filter=written),
            good_thinking=Sum(thinking, filter=written),
            good_thinking_squares=Sum(thinking * thinking, filter=written),
        )
        .order_by("outcome", "cause")
    )
    outcomes: Counter[str] = Counter()
    sums: Counter[str] = Counter()
    causes: Counter[tuple[str, str]] = Counter()
    together: dict[tuple[str, str], list[dict[str, Any]]] = {}
    by_round: dict[int, Counter[str]] = defaultdict(Counter)
    over: Counter[int] = Counter()  # rows of each round that do not wait any more
    for group in groups:
        outcomes[group["outcome"]] += group["rows"]
        causes[group["outcome"], group["cause"]] += group["rows"]
        together.setdefault((group["outcome"], group["cause"]), []).append(dict(group))
        by_round[group["round"]][group["answered_by"]] += int(group["pico"])
        if group["outcome"] != Outcome.WAITING:
            over[group["round"]] += group["own"]
        if group["outcome"] != Outcome.LEFT_OUT:
            state = "waiting" if group["outcome"] == Outcome.WAITING else "over"
            sums[f"rows_{state}"] += group["own"]
            sums[f"bytes_{state}"] += int(group["size"] or 0)
        if group["outcome"] in FAILED and group["cause"] in PASSING_CAUSES:
            sums["again"] += group["sent"]
        for name, number in group.items():
            # PostgreSQL adds up big integers as Decimal.
            if name != "round" and isinstance(number, int | Decimal):
                sums[name] += int(number)
    earlier = Attempt.objects.filter(job=job).aggregate(
        input=Sum("input_tokens") + Sum("cache_write_tokens") + Sum("cache_read_tokens"),
        cached=Sum("cache_read_tokens"),
        kept=Sum("cache_write_tokens"),
        output=Sum("output_tokens"),
        thinking=Sum("thinking_tokens"),
    )
    for name, tokens in earlier.items():
        sums[name] += int(tokens or 0)
    kept = (
        Attempt.objects.filter(job=job, cost_pico__gt=0)
        .annotate(of_round=Coalesce("batch__round", 1))
        .values("answered_by", "of_round")
        .annotate(pico=Sum("cost_pico"))
    )
    for model, number, amount in kept.values_list("answered_by", "of_round", "pico"):
        by_round[number][model] += int(amount)
        sums["pico"] += int(amount)
    late = LateBatch.objects.filter(batch__job=job, cost_pico__gt=0)
    # What somebody else has sent is no spending of this site.
    elsewhere = _charged_elsewhere(job) if job.is_external else Counter()
    by_round[1] -= elsewhere
    by_model = sum(by_round.values(), Counter[str]())
    spent = Counter({number: found.total() for number, found in by_round.items()})
    for number, amount in late.values_list("batch__round", "cost_pico"):
        spent[number] += amount
    numbers = {
        "skipped_count": outcomes[Outcome.LEFT_OUT] - causes[Outcome.LEFT_OUT, IGNORED],
        "spent_pico": spent.total(),
        "reserved_pico": _still_to_come(job, sums, over),
        "tally": {
            "outcomes": dict(outcomes),
            "causes": [[*key, rows] for key, rows in sorted(causes.items())],
            "groups": [_group(*key, groups) for key, groups in sorted(together.items())],
            "by_model": {model: pico for model, pico in by_model.items() if pico},
            # Of these, what was sent again.
            "by_round": {
                str(number): {model: pico for model, pico in found.items() if pico}
                for number, found in sorted(by_round.items())
                if number > 1
            },
            "input_tokens": sums["input"],
            "cache_read_tokens": sums["cached"],
            "cache_write_tokens": sums["kept"],
            "cache_hits": sums["hits"],  # rows that found something kept
            "answered": sums["answered"],  # rows that something was written for
            "again": sums["again"],  # rows that are worth sending again
            "output_tokens": sums["output"],
            "thinking_tokens": sums["thinking"],
            # Of good answers, and the sums of their tokens and of the squares of these: what later
            # jobs learn from.
            "lengths": {
                "answers": sums["good"],
                "text": [sums["good_text"], sums["good_text_squares"]],
                "thinking": [sums["good_thinking"], sums["good_thinking_squares"]],
            },
            "cost_pico": sums["pico"],
            "unpriced": sums["unpriced"],
            **_strays(job),
        },
    }
    return numbers, spent


def _group(outcome: str, cause: str, groups: list[dict[str, Any]]) -> dict[str, Any]:
    """Rows with one outcome for one reason: how many, how many of them are sent themselves and
    their bytes, what they cost, and when the provider was done with the first and the last."""
    is_good = outcome == Outcome.GOOD  # nobody asks since when
    first = [group["first"] for group in groups if group["first"] and not is_good]
    last = [group["last"] for group in groups if group["last"] and not is_good]
    return {
        "outcome": outcome,
        "cause": cause,
        "rows": sum(group["rows"] for group in groups),
        "own": sum(group["own"] for group in groups),
        "bytes": sum(int(group["size"] or 0) for group in groups),
        "rounds": {} if is_good else _by_round(groups),  # good ones are not sent again
        "cost_pico": sum(int(group["pico"]) for group in groups),
        "first": min(first).isoformat() if first else None,
        "last": max(last).isoformat() if last else None,
    }


def _by_round(groups: list[dict[str, Any]]) -> dict[str, list[int]]:
    """Of the rows that are sent themselves, by the round that they were last in: how many, and the
    bytes of all of them and of the largest."""
    found: dict[str, list[int]] = {}
    for group in groups:
        if group["own"]:
            rows, size, largest = found.get(str(group["round"]), (0, 0, 0))
            rows, size = rows + group["own"], size + int(group["size"] or 0)
            found[str(group["round"])] = [rows, size, max(largest, group["largest"] or 0)]
    return found


def count_mark(job: Job, row: Row, rows: int, good: bool) -> None:
    """Bring the tally to what `count_up` would make of it, without a look at every row: a person
    has marked the answer of `row` as good again, or as not good; with its copies these are `rows`
    rows. Within a transaction that keeps others from the job. What is to be counted anyway is
    left to that."""
    mine = Job.objects.filter(pk=job.pk)
    tally: dict[str, Any] = mine.values_list("tally", flat=True).get()
    if "lengths" not in tally or "groups" not in tally:
        note_change(job.pk)  # it was counted by an older version
        return
    sign = 1 if good else -1
    outcomes, causes = Counter(tally["outcomes"]), Counter[tuple[str, str]]()
    for outcome, cause, count in tally["causes"]:
        causes[outcome, cause] = count
    for key, change in (
        ((Outcome.GOOD.value, ""), sign * rows),
        ((Outcome.LOOK.value, MARKED_DOWN), -sign * rows),
    ):
        outcomes[key[0]] += change
        causes[key] += change
    if causes[Outcome.LOOK.value, MARKED_DOWN] > MARKED:
        note_change(job.pk)  # there are too many to count while others wait
        return
    tally["outcomes"] = {outcome: count for outcome, count in outcomes.items() if count}
    tally["causes"] = [[*key, count] for key, count in sorted(causes.items()) if count]
    tally["groups"] = _groups_after_mark(job, row, tally["groups"], rows, sign)
    if row.output_tokens:  # copies have none
        lengths = tally["lengths"]
        lengths["answers"] += sign
        thinking = row.thinking_tokens
        for name, tokens in (("text", row.output_tokens - thinking), ("thinking", thinking)):
            total, squares = lengths[name]
            lengths[name] = [total + sign * tokens, squares + sign * tokens * tokens]
    # A tally that was true to the rows still is, and one that is to be counted still is as well.
    was_true = When(tally_version=F("rows_version"), then=F("rows_version") + 1)
    mine.update(
        tally=tally,
        tally_version=Case(was_true, default=F("tally_version")),
        rows_version=F("rows_version") + 1,
    )


def _groups_after_mark(
    job: Job, row: Row, groups: list[dict[str, Any]], rows: int, sign: int
) -> list[dict[str, Any]]:
    """Those marked as not good are few and counted anew, of the good ones is taken or given."""
    found = {(group["outcome"], group["cause"]): group for group in groups}
    good, down = (Outcome.GOOD.value, ""), (Outcome.LOOK.value, MARKED_DOWN)
    of_good = found.setdefault(good, _group(*good, []))
    changes = {"rows": rows, "own": 1, "bytes": row.size, "cost_pico": row.cost_pico}
    for name, change in changes.items():
        of_good[name] += sign * change
    own = Q(same_as=None, earlier=None)
    down_rows = Row.objects.filter(job=job, outcome=Outcome.LOOK, cause=MARKED_DOWN)
    marked = down_rows.values("round").annotate(
        rows=Count("pk"),
        own=Count("pk", filter=own),
        pico=Coalesce(Sum("cost_pico"), 0),
        first=Min("batch__ended_at"),
        last=Max("batch__ended_at"),
        # Under a name of its own, which is not that of a column.
        own_bytes=Sum("size", filter=own),
        largest=Max("size", filter=own),
    )
    found[down] = _group(*down, [{**one, "size": one["own_bytes"]} for one in marked])
    return [group for _key, group in sorted(found.items()) if group["rows"]]


def _charged_elsewhere(job: Job) -> Counter[str]:
    """By model, what the results of a batch that was brought in have cost."""
    found: Counter[str] = Counter()
    for model in (Row, Attempt):
        results = model.objects.filter(job=job, batch__is_external=True).values("answered_by")
        for name, amount in results.annotate(pico=Sum("cost_pico")).values_list(
            "answered_by", "pico"
        ):
            found[name] += int(amount)
    return found


def _strays(job: Job) -> dict[str, int]:
    """How many results of a batch that was brought in belong to no row."""
    found = job.problems.filter(kind=result_rows.NO_ROW).first() if job.is_external else None
    return {"strays": found.count} if found else {}


def _still_to_come(job: Job, sums: Counter[str], over_of_round: Counter[int]) -> int:
    """The most that the rows which wait can cost, as stored: what was reserved for all of them,
    less what those that are over have cost, or could have cost by the length of their answers
    alone. How much each of them could have cost to read is not known."""
    if not job.was_sent or job.state == Job.State.FINISHED:
        return 0
    if again := job.rounds.last():
        most, spent = Decimal(again.estimate["most"]), Decimal(0)
        # By the rows of the round itself: those that have not joined it yet are still to come.
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
