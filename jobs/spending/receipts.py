"""Receipts: what a job was charged by the provider's results, and what was not charged. All that is
about rows comes from the tally, which the worker adds up: a job may have a million of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from django.db.models import Count, Sum

from ..drafts import estimates
from ..drafts.estimates import PartEstimate
from ..models import COUNT_ANEW, Job, LateBatch, Trial, dollars
from ..rules.judging import describe_cause
from ..rules.tallies import ModelCharge, Tally
from . import ledger

ROWS, EARLIER, TRIES, LATE = "Rows", "Earlier attempts", "Tests", "Late batches"


class NotCounted(Exception):
    """An older version counted the job. The worker is about to count it again."""


@dataclass(frozen=True)
class ReceiptLine:
    """The charges for one model."""

    what: str  # ROWS, EARLIER, TRIES or LATE
    model: str  # as the provider names it
    rows: int
    input_tokens: int  # without cache reads and writes
    cache_write_tokens: int
    cache_read_tokens: int
    output_tokens: int  # thinking included
    thinking_tokens: int
    cost: Decimal  # US dollars


@dataclass(frozen=True)
class Receipt:
    """Amounts are US dollars; in practice mode, what would have been charged."""

    lines: list[ReceiptLine]
    not_charged: dict[str, int]  # rows by the reason, in words
    unpriced: int  # rows answered by a model without a price: not in the sum
    estimate: PartEstimate | None  # of the rows, without tests
    may_be_charged: Decimal  # may have been charged in addition, without an answer

    @property
    def charged(self) -> Decimal:
        """Exactly the sum of rows, tests and late batches."""
        return sum((line.cost for line in self.lines), Decimal(0))

    @property
    def for_rows(self) -> Decimal:
        """What the estimate covers: rows and retries, not tests."""
        return sum((line.cost for line in self.lines if line.what in (ROWS, EARLIER)), Decimal(0))


def receipt_of(job: Job) -> Receipt:
    """The receipt of a sent job, for the results that were counted so far. Raises NotCounted."""
    if job.tally_version == COUNT_ANEW:
        raise NotCounted
    tally = job.tally
    return Receipt(
        [
            *_lines(ROWS, tally.charged_rows),
            *_lines(EARLIER, tally.charged_attempts),
            *_lines(TRIES, _charges_of_trials(job)),
            *_of_late_ones(job),
        ],
        _not_charged(tally),
        tally.unpriced,
        # Nobody here estimated an imported batch.
        None if job.is_external else estimates.total_estimate(job),
        ledger.possible_charges(job),
    )


def _lines(what: str, charges: Iterable[ModelCharge]) -> list[ReceiptLine]:
    return [
        ReceiptLine(
            what,
            one.model,
            one.results,
            one.input_tokens,
            one.cache_write_tokens,
            one.cache_read_tokens,
            one.output_tokens,
            one.thinking_tokens,
            dollars(one.cost_pico),
        )
        for one in charges
    ]


def _charges_of_trials(job: Job) -> Iterable[ModelCharge]:
    """Tests, at the normal rate, without those whose answer was lost: these may be charged."""
    charged = Trial.objects.filter(job=job, practice=job.practice, cost_pico__gt=0)
    groups = charged.values_list("answered_by").annotate(
        Count("pk"),
        Sum("input_tokens"),
        Sum("cache_write_tokens"),
        Sum("cache_read_tokens"),
        Sum("output_tokens"),
        Sum("thinking_tokens"),
        Sum("cost_pico"),
    )
    return [ModelCharge(model, *map(int, sums)) for model, *sums in groups.order_by("answered_by")]


def _of_late_ones(job: Job) -> list[ReceiptLine]:
    """Batches that turned up after their rows were sent again: charged twice."""
    late = LateBatch.objects.filter(batch__job=job, cost_pico__gt=0)
    return [
        ReceiptLine(LATE, one.provider_id, one.finished, 0, 0, 0, 0, 0, one.cost) for one in late
    ]


def _not_charged(tally: Tally) -> dict[str, int]:
    """How many finished rows were not charged, by the reason."""
    found: Counter[str] = Counter()
    for _outcome, cause, rows in tally.free:
        found[describe_cause(cause).title if cause else "Free of charge"] += rows
    copies = {
        "Answered by an earlier job": tally.of_earlier_jobs,
        "The same as another row": tally.same_as_another,
    }
    return {**found, **{why: rows for why, rows in copies.items() if rows}}
