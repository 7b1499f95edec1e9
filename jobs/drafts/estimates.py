"""What a job will cost before it is sent: a usual range, and a ceiling.

The input is known well: the provider counts the tokens of a sample of rows (token_counts.py). The
output is estimated from tested rows if there are at least three, then from earlier jobs, and
otherwise guessed. The ceiling assumes the longest answer for every row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from decimal import Decimal

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Sum
from django.db.models.functions import Coalesce

from ..batches.ceilings import sent_bytes
from ..batches.leases import Lease
from ..models import MOST, Job, Length, RowQuerySet, recipe_of, trial_key
from ..rules import column_matching, pricing
from ..rules.price_estimates import Basis, Estimate
from ..rules.recipes import Recipe
from . import checks
from .answer_lengths import LEAST_TESTED
from .estimate_basis import (
    chosen_rows,
    file_version,
    find_basis,
    hash_values,
    remembered_answers,
    reusable_answers,
    whose_key,
)
from .price_ranges import PriceRange, expect_input, price_share, sum_ranges
from .shares import (
    build_request_shares,
    build_shares,
    build_table_share,
    count_reused,
    count_sent,
    find_same_jobs,
)

VERSION = 4  # increase when the calculation changes
TOO_MUCH = (
    "This job may cost up to {most}. No job can cost more than $9,000,000. Split the file into "
    "several jobs."
)


@dataclass(frozen=True)
class PartEstimate:
    """The price of some rows of a job, in US dollars at the batch rate."""

    rows: int
    low: Decimal
    high: Decimal
    most: Decimal

    @property
    def expected(self) -> Decimal:
        """The one best guess: the middle of the usual range."""
        return (self.low + self.high) / 2


def estimate_part(job: Job, rows: RowQuerySet) -> PartEstimate | None:
    """What `rows` of a confirmed job cost, by the job's estimate; None without one.

    Each row has a fixed cost and a cost per byte, so the price of some rows lies between their
    share of all rows and their share of all bytes.
    """
    whole = current(job)
    if whole is None or not whole.rows:
        return None
    # Duplicates are not sent.
    part = rows.filter(same_as=None).aggregate(rows=Count("pk"), bytes=Coalesce(Sum("size"), 0))
    shares = Decimal(part["rows"]) / whole.rows, Decimal(part["bytes"]) / sent_bytes(job)
    return PartEstimate(
        rows=part["rows"],
        low=whole.low * min(shares),
        high=whole.high * max(shares),
        most=whole.most * max(shares),
    )


def key_of(job: Job) -> str:
    """A hash of all that an estimate depends on: file, recipe, selected rows, tested rows, reusable
    answers, prices, mode and whose API key it is."""
    recipe = recipe_of(job)
    seen = job.trials.lengths().get(trial_key(job, recipe), [])
    known = seen if len(seen) >= LEAST_TESTED else [one.pk for one in find_same_jobs(job)]
    facts = [file_version(job), recipe, known, reusable_answers(job), price_list()]
    # Other answers of earlier jobs do not change the price, unless they are wanted.
    facts += chosen_rows(job)
    facts += whose_key(job)  # the account that is charged
    return hash_values([*facts, *(remembered_answers(job) if recipe.only_new else ())])


def price_list() -> str:
    """A hash of all prices, the mode and the version of the calculation, equal for all drafts.
    Estimates with another one are stale."""
    version = [*(field.name for field in fields(Estimate)), VERSION]
    return hash_values([pricing.version(), settings.PRACTICE, version])


def current(job: Job) -> Estimate | None:
    """The estimate of the job as it is now; None until the worker has made it. A confirmed job
    keeps the one that it was confirmed with."""
    if not job.estimate or (not job.was_sent and job.estimate.key != key_of(job)):
        return None
    return job.estimate


def total_estimate(job: Job) -> PartEstimate | None:
    """The sum of the estimates that people confirmed: of the job, and of its retries."""
    first, again = current(job), [one.estimate for one in job.rounds.all()]
    if first is None and not again:
        return None

    def with_rounds(name: str) -> Decimal:
        amounts: list[Decimal] = [getattr(one, name) for one in again]
        return sum(amounts, getattr(first, name) if first else Decimal(0))

    rows = first.rows if first else job.sendable_count
    return PartEstimate(rows, *map(with_rounds, ("low", "high", "most")))


def stored_estimate(job: Job) -> Estimate | None:
    """The last estimate, maybe stale, without further queries: for lists of jobs."""
    return job.estimate if job.plan_sha256 or job.was_sent else None


def estimate_job(job: Job, lease: Lease | None = None) -> Estimate | None:
    """Estimate a draft and store the price with the hash of the plan to confirm; None if it cannot
    be sent yet. Stores nothing if the draft has changed in the meantime.

    Raises LeaseLost.
    """
    if not job.sendable_count or checks.problems(job):
        return None
    # After an undone change the counts still hold.
    estimate = current(job)
    if estimate and estimate.counted and (job.plan_sha256 or estimate.trouble):
        return estimate
    if estimate is None or not estimate.counted:
        estimate = _estimate(job, lease)
    plan = "" if estimate.trouble else plan_of(job, estimate)
    with transaction.atomic():
        same = Job.objects.filter(pk=job.pk, state=Job.State.DRAFT, readings=job.readings)
        # Unless the recipe has changed meanwhile.
        names = ("recipe", "private_columns", "row_choice")
        stored = same.select_for_update().values_list(*names).first()
        if stored == tuple(getattr(job, name) for name in names):
            same.update(estimate=estimate, plan_sha256=plan)
    return estimate


def plan_of(job: Job, estimate: Estimate) -> str:
    """The hash of what a person confirms: file, rows, recipe and price."""
    return hash_values([key_of(job), job.row_count, job.skipped_count, estimate])


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
        tested=sum(share.tested for share in shares),
        earlier=sum(share.earlier for share in shares),
        basis=basis,
        prices=price_list(),
    )


def _trouble(job: Job, basis: Basis, unpriced: Sequence[str]) -> str:
    """Why a job with a valid recipe cannot be confirmed; "" if it can."""
    if unpriced:
        names = ", ".join(f"“{name[:80]}”" for name in unpriced[:5])
        if job.kind == Job.Kind.TABLE:
            return f"There is no price for {names}. Choose another model."
        return f"There is no price for {names}. Change the model in your file and upload it again."
    survey = basis.survey
    if survey.trouble:
        return survey.trouble
    if count_sent(job, recipe_of(job), survey) <= 0 and not count_reused(
        job, recipe_of(job), survey
    ):
        return "All rows are skipped because of empty cells, so there is nothing to send."
    return ""


def _too_much(priced: Sequence[PriceRange]) -> str:
    most = sum((one.most for one in priced), Decimal(0))
    if most <= MOST:
        return ""
    return TOO_MUCH.format(most=pricing.format_dollars(pricing.round_up(most)))


# --- What else it could cost ----------------------------------------------------------------------


def price_recipes(
    job: Job, estimate: Estimate, others: Iterable[Recipe]
) -> list[PriceRange | None]:
    """A rough price of a draft with each of these recipes, by the token counts of its own.
    None without a price, or if the file lacks a column."""
    tested = job.trials.lengths()
    return [_price_recipe(job, one, estimate, tested) for one in others]


def price_all_requests(job: Job, estimate: Estimate) -> PriceRange | None:
    """A rough price of a draft of ready-made requests if all of them are sent; None without one."""
    try:
        prices = [
            price_share(one, estimate.basis) for one in build_request_shares(job.reading.models)
        ]
    except pricing.UnknownPrice:
        return None
    sums = sum_ranges(prices)
    rows = sum(one.rows for one in prices)
    return PriceRange(rows, sums["low"], sums["high"], sums["most"])


def _price_recipe(
    job: Job, recipe: Recipe, estimate: Estimate, tested: dict[str, list[Length]]
) -> PriceRange | None:
    if column_matching.missing_columns(recipe, job.columns):
        return None
    with suppress(pricing.UnknownPrice):
        return price_share(build_table_share(job, recipe, estimate.basis, tested), estimate.basis)
    return None
