"""A job in numbers: its rows by outcome and cause, tokens and cost, what it was charged and what it
still reserves. All of them are worked out here, from what is in the rows.

Whoever changes rows, attempts, rounds or late batches of a job calls `note_change` in the same
transaction. `count_up` counts without a lock, because that takes as long as there are rows, and
writes only when nothing was changed meanwhile. So a slow count never overwrites a newer one, and a
job whose worker died in between is found by its two versions.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from decimal import Decimal
from typing import Any

from django.db.models import BigIntegerField, Count, F, Max, Min, Q, Sum
from django.db.models.functions import Cast, Coalesce

from . import collection, estimates, pricing
from .judging import MARKED_DOWN, PASSING
from .models import (
    FAILED,
    Attempt,
    Job,
    LateBatch,
    Outcome,
    Row,
    dollars,
    pico,
    recipe_of,
    recipe_of_round,
)

COUNTS = 3  # tries of one count while others change rows; then the next sweep has its turn


def note_change(job_pk: int) -> None:
    """Say, in the transaction that changes rows of a job, that its numbers have to be renewed."""
    Job.objects.filter(pk=job_pk).update(rows_version=F("rows_version") + 1)


def count_up(job: Job) -> bool:
    """Write the numbers of a job anew from its rows. False when others changed rows all the time,
    or the job is gone: nothing was written then, and the next sweep counts again."""
    for _ in range(COUNTS):
        now = Job.objects.filter(pk=job.pk).first()
        if now is None:
            return False
        unchanged = Job.objects.filter(pk=now.pk, rows_version=now.rows_version)
        if unchanged.update(tally_version=now.rows_version, **_numbers_of(now)):
            return True
    return False


def _numbers_of(job: Job) -> dict[str, Any]:
    """The columns of a Job that its rows, attempts, rounds and late batches decide on."""
    # As big integers: the square of a long answer does not fit a plain one.
    thinking = Cast("thinking_tokens", BigIntegerField())
    text = Cast("output_tokens", BigIntegerField()) - thinking
    written = Q(outcome=Outcome.GOOD, output_tokens__gt=0)
    groups = (
        Row.objects.filter(job=job)
        .values("outcome", "cause", "answered_by")
        .annotate(
            rows=Count("pk"),
            input=Sum("input_tokens") + Sum("cache_write_tokens") + Sum("cache_read_tokens"),
            cached=Sum("cache_read_tokens"),
            kept=Sum("cache_write_tokens"),
            hits=Count("pk", filter=Q(cache_read_tokens__gt=0)),
            answered=Count("pk", filter=Q(output_tokens__gt=0)),
            sent=Count("pk", filter=Q(same_as=None)),
            own=Count("pk", filter=Q(same_as=None, earlier=None)),
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
    by_model: Counter[str] = Counter()
    for group in groups:
        outcomes[group["outcome"]] += group["rows"]
        causes[group["outcome"], group["cause"]] += group["rows"]
        together.setdefault((group["outcome"], group["cause"]), []).append(dict(group))
        by_model[group["answered_by"]] += int(group["pico"])
        if group["outcome"] != Outcome.LEFT_OUT:
            state = "waiting" if group["outcome"] == Outcome.WAITING else "over"
            sums[f"rows_{state}"] += group["own"]
            sums[f"bytes_{state}"] += int(group["size"] or 0)
        if group["outcome"] in FAILED and group["cause"] in PASSING:
            sums["again"] += group["sent"]
        for name, number in group.items():
            if isinstance(number, int | Decimal):  # PostgreSQL adds up big integers as Decimal
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
    kept = Attempt.objects.filter(job=job, cost_pico__gt=0).values("answered_by")
    for model, amount in kept.annotate(pico=Sum("cost_pico")).values_list("answered_by", "pico"):
        by_model[model] += int(amount)
        sums["pico"] += int(amount)
    late = LateBatch.objects.filter(batch__job=job).aggregate(pico=Sum("cost_pico"))["pico"]
    # What somebody else has sent is no spending of this site.
    elsewhere = _charged_elsewhere(job) if job.brought_in else Counter()
    return {
        "left_out_count": outcomes[Outcome.LEFT_OUT],
        "spent_pico": sums["pico"] + int(late or 0) - elsewhere.total(),
        "reserved_pico": _still_to_come(job, sums),
        "tally": {
            "outcomes": dict(outcomes),
            "causes": [[*key, rows] for key, rows in sorted(causes.items())],
            "groups": [_group(*key, groups) for key, groups in sorted(together.items())],
            "by_model": {model: pico for model, pico in (by_model - elsewhere).items() if pico},
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
        "cost_pico": sum(int(group["pico"]) for group in groups),
        "first": min(first).isoformat() if first else None,
        "last": max(last).isoformat() if last else None,
    }


def count_mark(job: Job, row: Row, rows: int, good: bool) -> None:
    """Bring the tally to what `count_up` would make of it, without a look at every row: a person
    has marked the answer of `row` as good again, or as not good; with its copies these are `rows`
    rows. Within a transaction that keeps others from the job."""
    tally: dict[str, Any] = Job.objects.values_list("tally", flat=True).get(pk=job.pk)
    if "lengths" not in tally or "groups" not in tally:
        count_up(job)  # it was counted by an older version
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
    Job.objects.filter(pk=job.pk).update(tally=tally)


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
    marked = Row.objects.filter(job=job, outcome=Outcome.LOOK, cause=MARKED_DOWN).aggregate(
        rows=Count("pk"),
        own=Count("pk", filter=own),
        pico=Coalesce(Sum("cost_pico"), 0),
        first=Min("batch__ended_at"),
        last=Max("batch__ended_at"),
        # Under a name of its own, which is not that of a column.
        own_bytes=Sum("size", filter=own),
    )
    found[down] = _group(*down, [{**marked, "size": marked["own_bytes"]}])
    return [group for _key, group in sorted(found.items()) if group["rows"]]


def _charged_elsewhere(job: Job) -> Counter[str]:
    """By model, what the results of a batch that was brought in have cost."""
    found: Counter[str] = Counter()
    for model in (Row, Attempt):
        results = model.objects.filter(job=job, batch__brought_in=True).values("answered_by")
        for name, amount in results.annotate(pico=Sum("cost_pico")).values_list(
            "answered_by", "pico"
        ):
            found[name] += int(amount)
    return found


def _strays(job: Job) -> dict[str, int]:
    """How many results of a batch that was brought in belong to no row."""
    found = job.problems.filter(kind=collection.NO_ROW).first() if job.brought_in else None
    return {"strays": found.count} if found else {}


def _still_to_come(job: Job, sums: Counter[str]) -> int:
    """The most that the rows which wait can cost, as stored: what was reserved for all of them,
    less what those that are over have cost, or could have cost by the length of their answers
    alone. How much each of them could have cost to read is not known."""
    if not sums["rows_waiting"] or not job.was_sent:
        return 0
    if again := job.rounds.last():
        most, spent = Decimal(again.estimate["most"]), Decimal(0)
        recipe, over = recipe_of_round(job, again.number), again.rows - sums["rows_waiting"]
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
