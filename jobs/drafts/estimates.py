"""What a job will cost, before it is sent: usually from .. to .., at most ..

The input is known well: a spread of rows is counted by the provider (token_counts.py). The output
is what the tried rows took, if there are at least three, and else a stated guess; "at most" takes
every row at its longest answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from decimal import Decimal
from typing import Any, Self

import msgspec
from django.conf import settings
from django.db.models import Count, Sum
from django.db.models.functions import Coalesce

from ..batches.ceilings import sent_bytes
from ..batches.leases import Lease
from ..models import MOST, Job, Length, RowQuerySet, recipe_of, stored_recipe, trial_key
from ..rules import column_matching, pricing
from ..rules.recipes import Recipe
from . import checks
from .answer_lengths import LEAST_TRIED
from .estimate_basis import (
    Basis,
    file_version,
    find_basis,
    hash_values,
    read_basis,
    reusable_answers,
)
from .price_ranges import PriceRange, expect_input, price_share, sum_ranges
from .shares import build_shares, build_table_share, count_reused, count_sent, find_same_jobs

VERSION = 3  # of how the numbers are worked out
TOO_MUCH = (
    "This job may cost up to {most}. No job can cost more than $9,000,000. Split the file into "
    "several jobs."
)


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
    tried: int = 0  # tried rows that the output was learned from
    earlier: int = 0  # rows of earlier jobs that it was learned from; both 0: it is a guess
    input_low: int = 0
    input_high: int = 0
    basis: Basis = field(default_factory=Basis)
    prices: str = ""  # price_list() as it was then

    @property
    def is_half(self) -> bool:
        """Of the normal price; the fee of a search is no less in a batch."""
        return self.high == self.normal_high * pricing.BATCH

    def as_json(self) -> dict[str, Any]:
        numbers = {
            name: str(value) if isinstance(value, Decimal) else value
            for name, value in asdict(self).items()
        }
        return {**numbers, "basis": msgspec.to_builtins(self.basis)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        money = ("low", "high", "most", "normal_low", "normal_high")
        basis = read_basis(data.get("basis", {}))
        return cls(**{**data, "basis": basis, **{name: Decimal(data[name]) for name in money}})


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
    # A row that is the same as another one is not sent itself.
    part = rows.filter(same_as=None).aggregate(rows=Count("pk"), bytes=Coalesce(Sum("size"), 0))
    shares = Decimal(part["rows"]) / whole.rows, Decimal(part["bytes"]) / sent_bytes(job)
    return PartEstimate(
        rows=part["rows"],
        low=whole.low * min(shares),
        high=whole.high * max(shares),
        most=whole.most * max(shares),
    )


def key_of(job: Job) -> str:
    """A hash of the file and how it is read, the recipe, what was tried and answered before, the
    prices and whether it is practice: what an estimate is for."""
    recipe = recipe_of(job)
    seen = job.trials.lengths().get(trial_key(job, recipe), [])
    tried = seen if len(seen) >= LEAST_TRIED else [one.pk for one in find_same_jobs(job)]
    return hash_values([file_version(job), recipe, tried, reusable_answers(job), price_list()])


def price_list() -> str:
    """The same for all drafts: a hash of all prices, of whether it is practice, and of how numbers
    are worked out. One of an older version, which may have less in it, is worked out anew."""
    version = [*(field.name for field in fields(Estimate)), VERSION]
    return hash_values([pricing.version(), settings.PRACTICE, version])


def current(job: Job) -> Estimate | None:
    """The estimate of the job as it is now, or None while it is being worked out. A job that was
    confirmed keeps the one that it was confirmed with."""
    if not job.estimate or (not job.was_sent and job.estimate["key"] != key_of(job)):
        return None
    return Estimate.from_json(job.estimate)


def total_estimate(job: Job) -> PartEstimate | None:
    """What was said before that a job costs: when it was confirmed, and each time that rows were
    sent again."""
    first, again = current(job), [one.estimate for one in job.rounds.all()]
    if first is None and not again:
        return None

    def with_rounds(name: str) -> Decimal:
        amounts = [Decimal(one[name]) for one in again]
        return sum(amounts, getattr(first, name) if first else Decimal(0))

    rows = first.rows if first else job.sendable_count
    return PartEstimate(rows, *map(with_rounds, ("low", "high", "most")))


def stored_estimate(job: Job) -> Estimate | None:
    """The estimate of a job as it was worked out last, without a look at the rest of the database:
    for lists of jobs."""
    stored = job.estimate and (job.plan_sha256 or job.was_sent)
    return Estimate.from_json(job.estimate) if stored and job.estimate else None


def estimate_job(job: Job, lease: Lease | None = None) -> Estimate | None:
    """Work out the price of a draft and store it with the hash of the plan to be confirmed; None
    when it cannot be sent yet. Nothing is stored when the draft was changed meanwhile.

    Raises LeaseLost.
    """
    if not job.sendable_count or checks.problems(job):
        return None
    # A change that was taken back needs no new counting.
    estimate = current(job)
    if estimate and estimate.counted and (job.plan_sha256 or estimate.trouble):
        return estimate
    if estimate is None or not estimate.counted:
        estimate = _estimate(job, lease)
    # As it was when the price was worked out: a change since then makes this no row.
    as_it_was = {**stored_recipe(recipe_of(job)), "answer_kind": job.answer_kind}
    Job.objects.filter(pk=job.pk, state=Job.State.DRAFT, readings=job.readings, **as_it_was).update(
        estimate=estimate.as_json(),
        plan_sha256="" if estimate.trouble else plan_of(job, estimate),
    )
    return estimate


def plan_of(job: Job, estimate: Estimate) -> str:
    """The hash of all that a person confirms: file, rows, recipe and price."""
    return hash_values([key_of(job), job.row_count, job.skipped_count, estimate.as_json()])


def _estimate(job: Job, lease: Lease | None) -> Estimate:
    basis = find_basis(job, lease)
    shares = build_shares(job, basis)
    inputs = [expect_input(share, basis.counts) for share in shares]
    priced = []
    unpriced = []
    for share in shares:
        try:
            priced.append(price_share(share, basis))
        except pricing.UnknownPrice:
            unpriced.append(share.model)
    return Estimate(
        key=key_of(job),
        **sum_ranges(() if unpriced else priced),
        input_tokens=sum(round(expected) for expected, _margin in inputs),
        input_low=sum(round(max(expected - margin, 0)) for expected, margin in inputs),
        input_high=sum(round(expected + margin) for expected, margin in inputs),
        output_low=sum(share.output_low for share in shares),
        output_high=sum(share.output_high for share in shares),
        output_most=sum(share.longest for share in shares),
        rows=sum(share.rows for share in shares),
        counted=len(basis.counts.tokens),
        trouble=_trouble(job, basis, unpriced) or _too_much(priced),
        tried=sum(share.tried for share in shares),
        earlier=sum(share.earlier for share in shares),
        basis=basis,
        prices=price_list(),
    )


def _trouble(job: Job, basis: Basis, unpriced: Sequence[str]) -> str:
    """Why the job cannot be confirmed, although its recipe can be sent."""
    if unpriced:
        names = ", ".join(f"“{name[:80]}”" for name in unpriced[:5])
        mend = (
            "Choose another model."
            if job.kind == Job.Kind.TABLE
            else "Change the model in your file and upload it again."
        )
        return f"There is no price for {names}, so what this job costs cannot be said. {mend}"
    survey = basis.survey
    if count_sent(job, recipe_of(job), survey) <= 0 and not count_reused(
        job, recipe_of(job), survey
    ):
        return "No row is left to send, because of the empty cells that the prompt uses."
    return ""


def _too_much(priced: Sequence[PriceRange]) -> str:
    most = sum((one.most for one in priced), Decimal(0))
    if most <= MOST:
        return ""
    return TOO_MUCH.format(most=pricing.in_words(pricing.rounded_up(most)))


# --- What else it could cost ----------------------------------------------------------------------


def price_recipes(
    job: Job, estimate: Estimate, others: Iterable[Recipe]
) -> list[PriceRange | None]:
    """About what a draft would cost with each of these recipes, by the tokens that were counted for
    its own; None where there is no price, or its file lacks a column."""
    tried = job.trials.lengths()
    return [_price_recipe(job, one, estimate, tried) for one in others]


def _price_recipe(
    job: Job, recipe: Recipe, estimate: Estimate, tried: dict[str, list[Length]]
) -> PriceRange | None:
    if column_matching.missing_columns(recipe, job.columns):
        return None
    with suppress(pricing.UnknownPrice):
        return price_share(build_table_share(job, recipe, estimate.basis, tried), estimate.basis)
    return None
