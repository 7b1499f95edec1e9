"""Receipts: what a job was charged by the provider's results, and what was not charged."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal

from django.db.models import Count, Q, QuerySet, Sum

from ..drafts import estimates
from ..drafts.estimates import PartEstimate
from ..models import Attempt, Job, LateBatch, Row, Trial, dollars
from ..rules.judging import describe_cause
from . import ledger

ROWS, EARLIER, TRIES, LATE = "Rows", "Earlier attempts", "Tests", "Late batches"


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
    """The receipt of a sent job, for the results collected so far."""
    return Receipt(
        [
            *_of_results(ROWS, Row.objects.filter(job=job)),
            *_of_results(EARLIER, Attempt.objects.filter(job=job)),
            *_of_trials(job),
            *_of_late_ones(job),
        ],
        _not_charged(job),
        job.tally.unpriced,
        # Nobody here estimated an imported batch.
        None if job.is_external else estimates.total_estimate(job),
        ledger.possible_charges(job),
    )


def _of_results(
    what: str, results: QuerySet[Row] | QuerySet[Attempt] | QuerySet[Trial]
) -> list[ReceiptLine]:
    groups = (
        results.filter(cost_pico__gt=0)
        .values("answered_by")
        .annotate(
            rows=Count("pk"),
            read=Sum("input_tokens"),
            kept=Sum("cache_write_tokens"),
            found=Sum("cache_read_tokens"),
            written=Sum("output_tokens"),
            thought=Sum("thinking_tokens"),
            pico=Sum("cost_pico"),
        )
    )
    return [
        ReceiptLine(
            what,
            group["answered_by"],
            group["rows"],
            group["read"],
            group["kept"],
            group["found"],
            group["written"],
            group["thought"],
            dollars(int(group["pico"])),
        )
        for group in groups.order_by("answered_by")
    ]


def _of_trials(job: Job) -> list[ReceiptLine]:
    """Tests, at the normal rate, without those whose answer was lost: these may be charged."""
    return _of_results(TRIES, Trial.objects.filter(job=job, practice=job.practice))


def _of_late_ones(job: Job) -> list[ReceiptLine]:
    """Batches that turned up after their rows were sent again: charged twice."""
    late = LateBatch.objects.filter(batch__job=job, cost_pico__gt=0)
    return [
        ReceiptLine(LATE, one.provider_id, one.finished, 0, 0, 0, 0, 0, one.cost) for one in late
    ]


def _not_charged(job: Job) -> dict[str, int]:
    """How many finished rows were not charged, by the reason."""
    copies = Q(earlier__isnull=False) | Q(same_as__isnull=False)
    free = Row.objects.filter(job=job, cost_pico=0, output_tokens=0).exclude(outcome="waiting")
    groups = free.exclude(copies).values("outcome", "cause").annotate(rows=Count("pk"))
    found: Counter[str] = Counter()
    for group in groups.order_by("outcome", "cause"):
        words = describe_cause(group["cause"]).title if group["cause"] else "Free of charge"
        found[words] += group["rows"]
    if earlier := Row.objects.filter(job=job, earlier__isnull=False).count():
        found["Answered by an earlier job"] = earlier
    if same := Row.objects.filter(job=job, same_as__isnull=False).count():
        found["The same as another row"] = same
    return dict(found)
