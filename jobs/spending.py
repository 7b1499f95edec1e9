"""What was spent, month by month: by person, by template and by model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from statistics import median

from django.conf import settings
from django.db.models import Sum
from django.db.models.functions import TruncMonth

from . import estimates, limits, pricing
from .models import Job, Outcome, PastSpending, Try, TryQuerySet, dollars

MONTHS = 12
NOT_ANSWERED = (Outcome.ERRORED, Outcome.EXPIRED, Outcome.CANCELED, Outcome.WAITING)
NO_TEMPLATE = "Without a template"
Sums = defaultdict[str, Decimal]  # by name


@dataclass(frozen=True)
class Charge:
    """What one job, or the rows tried in it, were charged by one model."""

    at: datetime
    person: str
    template: str
    job: str
    model: str
    what: str  # "rows", "tries" or "deleted job"
    amount: Decimal  # US dollars


@dataclass
class Month:
    """What was spent in a month, in US dollars."""

    begins: datetime
    charged: Decimal = Decimal(0)
    reserved: Decimal = Decimal(0)  # the most that jobs under way can still cost
    by_person: Sums = field(default_factory=lambda: defaultdict(Decimal))
    by_template: Sums = field(default_factory=lambda: defaultdict(Decimal))
    by_model: Sums = field(default_factory=lambda: defaultdict(Decimal))
    in_batches: Decimal = Decimal(0)
    kept: Decimal = Decimal(0)  # saved by keeping instructions

    @property
    def saved_by_batches(self) -> Decimal:
        """Without batches the same would have cost twice as much."""
        return self.in_batches / pricing.BATCH - self.in_batches


def remember(job: Job) -> None:
    """Write down what a job has cost that is being deleted, whatever mode it was in."""
    charged = [(job.practice, charge) for charge in _of_job(job)]
    for practice in (False, True):
        tries = job.tries.filter(practice=practice)
        charged += [(practice, charge) for charge in _of_tries(tries)]
    for practice, charge in charged:
        PastSpending.objects.create(
            owner=job.owner,
            at=charge.at,
            practice=practice,
            template=job.template.name if job.template else "",
            models_used={charge.model: format(charge.amount, "f")},
            spent_pico=int(charge.amount.scaleb(12)),
        )


def charges(since: datetime) -> Iterator[Charge]:
    """All that was charged since then, the newest jobs first. In practice mode: would have been."""
    sent = Job.objects.filter(confirmed_at__gte=since, practice=settings.PRACTICE)
    shown = sent.exclude(state=Job.State.DELETING).select_related("owner", "template")
    for job in shown.order_by("-confirmed_at"):
        yield from _of_job(job)
    tried = Try.objects.filter(asked_at__gte=since, practice=settings.PRACTICE)
    yield from _of_tries(tried.exclude(job__state=Job.State.DELETING))
    past = PastSpending.objects.filter(at__gte=since, practice=settings.PRACTICE)
    for one in past.select_related("owner").order_by("-at"):
        for model, amount in one.models_used.items():
            yield Charge(
                one.at,
                one.owner.username,
                one.template or NO_TEMPLATE,
                "(deleted)",
                model,
                "deleted job",
                Decimal(amount),
            )


def _of_job(job: Job) -> Iterator[Charge]:
    if job.confirmed_at is None:
        return
    template = job.template.name if job.template else NO_TEMPLATE
    # A tally of an older version does not tell the models apart.
    named: dict[str, int] = job.tally.get("by_model") or {job.model: job.spent_pico}
    late = job.spent_pico - sum(named.values())
    found = {**named, **({"late batches": late} if late > 0 else {})}
    for model, amount in found.items():
        yield Charge(
            job.confirmed_at,
            job.owner.username,
            template,
            job.name,
            model,
            "rows",
            dollars(amount),
        )


def _of_tries(tries: TryQuerySet) -> Iterator[Charge]:
    groups = (
        tries.exclude(cost_pico=0)
        .annotate(month=TruncMonth("asked_at", tzinfo=UTC))
        .values("month", "job__owner__username", "job__template__name", "job__name", "model")
        .annotate(pico=Sum("cost_pico"))
        .order_by("-month")
    )
    for group in groups:
        yield Charge(
            group["month"],
            group["job__owner__username"],
            group["job__template__name"] or NO_TEMPLATE,
            group["job__name"],
            group["model"],
            "tries",
            dollars(int(group["pico"])),
        )


@dataclass(frozen=True)
class Accuracy:
    """How good the estimates of finished jobs were."""

    jobs: int
    in_range: int  # cost what was said to be usual
    within: int  # per cent: half of the jobs cost the middle of the usual, give or take so much


def accuracy(since: datetime) -> Accuracy | None:
    """Over the jobs that were confirmed since then and all of whose rows were answered; None when
    there is none."""
    finished = Job.objects.filter(
        state=Job.State.FINISHED, confirmed_at__gte=since, practice=settings.PRACTICE
    )
    off, in_range = [], 0
    # What was sent again was said to cost more.
    for job in finished.filter(rounds=None).only("estimate", "tally", "spent_pico", "state"):
        estimate = estimates.as_listed(job)
        if estimate is None or not estimate.high or job.outcome_count(*NOT_ANSWERED):
            continue
        cost, middle = dollars(job.spent_pico), (estimate.low + estimate.high) / 2
        in_range += estimate.low <= cost <= estimate.high
        off.append(abs(cost - middle) / middle)
    return Accuracy(len(off), in_range, round(100 * median(off))) if off else None


def months_back(now: datetime) -> list[datetime]:
    """When the last MONTHS months began, the newest first."""
    begins = [limits.month_of(now)]
    while len(begins) < MONTHS:
        begins.append(limits.month_of(begins[-1] - timedelta(days=1)))
    return begins


def months(now: datetime) -> list[Month]:
    """The last MONTHS months, the newest first; those before the first one that cost anything are
    left out."""
    begins = months_back(now)
    found = {begin: Month(begin) for begin in begins}
    for charge in charges(begins[-1]):
        month = found.get(limits.month_of(charge.at))
        if month is None:
            continue  # ahead of us: the clock was wrong, and was set back
        month.charged += charge.amount
        month.by_person[charge.person] += charge.amount
        month.by_template[charge.template] += charge.amount
        month.by_model[charge.model] += charge.amount
        if charge.what != "tries":
            month.in_batches += charge.amount
    kept = Job.objects.filter(confirmed_at__gte=begins[-1], practice=settings.PRACTICE, cached=True)
    for at, model, tally in kept.values_list("confirmed_at", "model", "tally"):
        tokens = (int(tally.get(f"cache_{what}_tokens", 0)) for what in ("write", "read"))
        assert at is not None  # noqa: S101 - as asked for
        with suppress(pricing.UnknownPrice, KeyError):  # KeyError: ahead of us
            found[limits.month_of(at)].kept += pricing.saved_by_keeping(model, *tokens)
    under_way = Job.objects.filter(practice=settings.PRACTICE, reserved_pico__gt=0)
    for at, reserved in under_way.values_list("confirmed_at", "reserved_pico"):
        if at and limits.month_of(at) in found:
            found[limits.month_of(at)].reserved += dollars(reserved)
    newest = list(found.values())
    while len(newest) > 1 and not newest[-1].charged:
        newest.pop()
    return newest
