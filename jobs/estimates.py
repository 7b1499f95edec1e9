"""What a job will cost, before it is sent: usually from .. to .., at most ..

The input is known well: a spread of rows is counted by the provider, tokens are related to bytes,
and the bytes of all rows are known from reading. The output is not: until there are tried rows to
learn from, it is a stated guess, and "at most" takes every row at its longest answer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from statistics import fmean, stdev
from typing import Any, Self

import msgspec
from django.conf import settings
from django.db.models import Count, Sum
from django.db.models.functions import Coalesce

from . import pricing, provider, recipes
from .answer_kinds import output_format
from .models import Job, Outcome, Row, RowQuerySet, answer_kind_of, recipe_of

SAMPLE = 20  # rows that are counted
# Bytes a token when nothing could be counted. Newer models use about 30 % more tokens than older
# ones for the same text; this is the newer rate (token counting page: 2.5 characters a token).
BYTES_A_TOKEN = 2.5
OVERHEAD = 12  # tokens of a request around its text
# The guess of what an answer takes of the longest that is allowed.
USUAL_OUTPUT = (0.05, 0.75)


@dataclass(frozen=True)
class Estimate:
    """The price of a job before it is sent, in US dollars at the batch rate."""

    key: str  # hash of the recipe and the file that it is for
    low: Decimal  # usually from ..
    high: Decimal  # .. to
    most: Decimal  # every row at its longest answer
    normal_low: Decimal  # the same at the normal rate, without batching
    normal_high: Decimal
    input_tokens: int  # expected, all rows
    output_low: int
    output_high: int
    output_most: int
    rows: int  # rows that will be sent
    counted: int  # rows whose tokens were counted by the provider; 0: worked out from their length
    trouble: str = ""  # why there is no price; the numbers are then 0

    def as_json(self) -> dict[str, Any]:
        return {
            name: str(value) if isinstance(value, Decimal) else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        money = ("low", "high", "most", "normal_low", "normal_high")
        return cls(**{**data, **{name: Decimal(data[name]) for name in money}})


@dataclass(frozen=True)
class PartEstimate:
    """The price of some rows of a job, in US dollars at the batch rate."""

    rows: int
    low: Decimal
    high: Decimal
    most: Decimal


def estimate_part(job: Job, rows: RowQuerySet) -> PartEstimate | None:
    """What sending `rows` of a confirmed job costs, by the job's own estimate; None without one.

    A row costs so much by itself and so much for its bytes, so the price of a part lies between
    its share of the rows and its share of the bytes.
    """
    whole = current(job)
    if whole is None or not whole.rows:
        return None
    part = rows.aggregate(rows=Count("pk"), bytes=Coalesce(Sum("size"), 0))
    sent = Row.objects.filter(job=job).exclude(outcome=Outcome.LEFT_OUT)
    all_bytes = sent.aggregate(bytes=Sum("size"))["bytes"] or 1
    shares = Decimal(part["rows"]) / whole.rows, Decimal(part["bytes"]) / all_bytes
    return PartEstimate(
        rows=part["rows"],
        low=whole.low * min(shares),
        high=whole.high * max(shares),
        most=whole.most * max(shares),
    )


def key_of(job: Job) -> str:
    """A hash of the file and how it is read, the recipe, the prices and whether it is practice:
    what an estimate is for."""
    rows = [job.upload_sha256, job.choices, job.corrections]
    recipe = msgspec.to_builtins(recipe_of(job))
    return _hash([*rows, recipe, pricing.table_date(), settings.PRACTICE])


def current(job: Job) -> Estimate | None:
    """The estimate of the job as it is now, or None while it is being worked out. A job that was
    confirmed keeps the one that it was confirmed with."""
    if not job.estimate or (not job.was_sent and job.estimate["key"] != key_of(job)):
        return None
    return Estimate.from_json(job.estimate)


def estimate_job(job: Job) -> None:
    """Work out the price of a draft and store it with the hash of the plan to be confirmed.
    Nothing is stored when the draft was changed meanwhile."""
    if job.plan_sha256 or not job.sendable_count:
        return
    if job.kind == Job.Kind.TABLE and not _is_ready(job):
        return
    # A change that was taken back needs no new counting.
    estimate = current(job) or _estimate(job)
    # As it was when the price was worked out: a change since then makes this no row.
    as_it_was = Job.objects.filter(
        pk=job.pk,
        state=Job.State.DRAFT,
        readings=job.readings,
        prompt=job.prompt,
        system=job.system,
        model=job.model,
        max_tokens=job.max_tokens,
        answer_kind=job.answer_kind,
    )
    as_it_was.update(
        estimate=estimate.as_json(),
        plan_sha256="" if estimate.trouble else plan_of(job, estimate),
    )


def plan_of(job: Job, estimate: Estimate) -> str:
    """The hash of all that a person confirms: file, rows, recipe and price."""
    return _hash([key_of(job), job.row_count, job.left_out_count, estimate.as_json()])


def _hash(values: list[Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _is_ready(job: Job) -> bool:
    return not recipes.recipe_problems(recipe_of(job), job.columns)


def _estimate(job: Job) -> Estimate:
    sample = _sample(job)
    try:
        counts_or_none = provider.count_tokens(params for params, _size in sample)
    except provider.ProviderError:
        counts_or_none = []
    counted = [
        (size, count)
        for (_params, size), count in zip(sample, counts_or_none, strict=False)
        if count is not None
    ]
    sizes, tokens = [size for size, _count in counted], [count for _size, count in counted]
    shares = _shares(job)
    totals = dict.fromkeys(("low", "high", "most", "normal_low", "normal_high"), Decimal(0))
    counts = dict.fromkeys(("input", "output_low", "output_high", "output_most"), 0)
    unpriced: list[str] = []
    for share in shares:
        expected, margin = _input_tokens(share, sizes, tokens)
        output_low, output_high = (round(share.longest * part) for part in USUAL_OUTPUT)
        counts["input"] += round(expected)
        counts["output_low"] += output_low
        counts["output_high"] += output_high
        counts["output_most"] += share.longest
        longest_prompt = max(tokens, default=0)
        try:
            low = _cost(share.model, max(expected - margin, 0), output_low, 0)
            high = _cost(share.model, expected + margin, output_high, longest_prompt)
            most = _cost(
                share.model,
                (expected + margin) * share.dearest_input,
                share.longest,
                longest_prompt,
            )
            if share.in_the_us:
                high, most = high * pricing.US_ONLY, most * pricing.US_ONLY
        except pricing.UnknownPrice:
            unpriced.append(share.model)
            continue
        totals["low"] += low
        totals["high"] += high
        totals["most"] += most
        totals["normal_low"] += low / pricing.BATCH
        totals["normal_high"] += high / pricing.BATCH
    trouble = ""
    if unpriced:
        totals = dict.fromkeys(totals, Decimal(0))
        names = ", ".join(f"“{name[:80]}”" for name in unpriced[:5])
        mend = (
            "Choose another model."
            if job.kind == Job.Kind.TABLE
            else "Change the model in your file and upload it again."
        )
        trouble = f"There is no price for {names}, so what this job costs cannot be said. {mend}"
    return Estimate(
        key=key_of(job),
        **totals,
        input_tokens=counts["input"],
        output_low=counts["output_low"],
        output_high=counts["output_high"],
        output_most=counts["output_most"],
        rows=job.sendable_count,
        counted=len(tokens),
        trouble=trouble,
    )


@dataclass(frozen=True)
class _Share:
    """The rows of a job that go to one model."""

    model: str
    rows: int
    bytes: int  # of all rows: of the filled text; of ready-made requests, of their JSON
    longest: int  # tokens of all answers, each at its longest
    dearest_input: int = 1  # times the price of input: 2 for writing to the cache for an hour
    in_the_us: bool = False  # some ask to be kept in the US, which costs more


def _shares(job: Job) -> list[_Share]:
    if job.kind == Job.Kind.REQUESTS:
        return [
            _Share(
                model,
                facts["rows"],
                facts["bytes"],
                facts["max_tokens_sum"],
                dearest_input=2 if facts["cached"] else 1,
                in_the_us=bool(facts["in_the_us"]),
            )
            for model, facts in job.reading["models"].items()
        ]
    rows = job.sendable_count
    template = f"{job.prompt}{job.system}" if job.system.strip() else job.prompt
    schema = json.dumps(output_format(answer_kind_of(job)) or "")
    fixed = (len(recipes.static_text(template).encode()) + len(schema)) * rows
    by_column = dict(zip(job.columns, job.reading["column_bytes"], strict=True))
    filled = sum(by_column[name] for name in recipes.columns_used(template))
    return [_Share(job.model, rows, fixed + filled, job.max_tokens * rows)]


def _sample(job: Job) -> list[tuple[dict[str, Any], int]]:
    """Up to SAMPLE rows, evenly spread over the file and the longest always: the `params` of each
    and its bytes, measured as in _Share."""
    last = max(job.row_count - 1, 0)
    spread = {1 + index * last // (SAMPLE - 2) for index in range(SAMPLE - 1)}
    rows = Row.objects.filter(
        job=job, outcome=Outcome.WAITING, number__in=spread | {job.reading["longest_row"]}
    ).order_by("number")
    if job.kind == Job.Kind.REQUESTS:
        return [(row.content["params"], row.size) for row in rows]
    params_of = recipes.compile_recipe(recipe_of(job), job.columns)
    filled = [params_of(row.content) for row in rows]
    sample = []
    for params in filled:
        prompt = params["messages"][0]["content"]
        if prompt.strip():
            schema = json.dumps(params.get("output_config", {}).get("format", ""))
            text = f"{prompt}{params.get('system', '')}{schema}"
            sample.append((params, len(text.encode())))
    return sample


def _input_tokens(
    share: _Share, sizes: Sequence[int], tokens: Sequence[int]
) -> tuple[float, float]:
    """Tokens of a share's input, expected and plus or minus, from the sample's bytes and tokens."""
    if not tokens:
        expected = share.bytes / BYTES_A_TOKEN + OVERHEAD * share.rows
        return expected, expected * 0.3
    overhead, rate = _line_through(sizes, tokens)
    expected = overhead * share.rows + rate * share.bytes
    off = [count - overhead - rate * size for size, count in zip(sizes, tokens, strict=True)]
    # Twice the standard error of a mean, and 2 % for what counting itself leaves open.
    spread = 2 * stdev(off) / len(off) ** 0.5 if len(off) > 2 else 0.1 * expected / share.rows
    return expected, spread * share.rows + 0.02 * expected


def _line_through(sizes: Sequence[int], tokens: Sequence[int]) -> tuple[float, float]:
    """Overhead and tokens a byte by least squares; by the plain ratio where the sample's rows are
    too alike for a line to mean anything."""
    mean_size, mean_tokens = fmean(sizes), fmean(tokens)
    spread = sum((size - mean_size) ** 2 for size in sizes)
    if spread > 0:
        rate = (
            sum(
                (size - mean_size) * (count - mean_tokens)
                for size, count in zip(sizes, tokens, strict=True)
            )
            / spread
        )
        if 0.05 < rate < 2:
            return mean_tokens - rate * mean_size, rate
    return 0.0, mean_tokens / max(mean_size, 1)


def _cost(model: str, input_tokens: float, output_tokens: int, prompt_tokens: int) -> Decimal:
    return pricing.cost_of_tokens(model, Decimal(round(input_tokens)), output_tokens, prompt_tokens)
