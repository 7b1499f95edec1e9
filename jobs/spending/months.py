"""Spending by month: by person, template and model."""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from statistics import median

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models.fields.json import KT

from ..models import Job, Outcome, dollars
from ..rules import pricing
from . import ledger

MONTHS = 12
NOT_ANSWERED = (Outcome.ERRORED, Outcome.EXPIRED, Outcome.CANCELED, Outcome.WAITING)
Sums = defaultdict[str, Decimal]  # by name


@dataclass
class Month:
    """What was spent in a month, in US dollars."""

    begins: datetime
    charged: Decimal = Decimal(0)
    reserved: Decimal = Decimal(0)  # may still be charged, at most
    by_person: Sums = field(default_factory=lambda: defaultdict(Decimal))
    by_template: Sums = field(default_factory=lambda: defaultdict(Decimal))
    by_model: Sums = field(default_factory=lambda: defaultdict(Decimal))
    in_batches: Decimal = Decimal(0)
    saved_by_caching: Decimal = Decimal(0)

    @property
    def saved_by_batches(self) -> Decimal:
        """Batches cost half the normal price."""
        return self.in_batches / pricing.BATCH - self.in_batches


@dataclass(frozen=True)
class Accuracy:
    """How good the estimates of finished jobs were."""

    jobs: int
    in_range: int  # jobs whose cost was within the usual range
    within: int  # percent: half of the jobs were this close to the middle of the range


def measure_accuracy(since: datetime) -> Accuracy | None:
    """Over jobs confirmed since then with all rows answered and no retry; None without any."""
    finished = Job.objects.filter(
        state=Job.State.FINISHED, confirmed_at__gte=since, practice=settings.PRACTICE
    )
    off, in_range = [], 0
    # Retries have estimates of their own. Only what is needed: there are thousands of jobs.
    found = finished.filter(rounds=None).values_list(
        "spent_pico", "tally__outcomes", KT("estimate__low"), KT("estimate__high")
    )
    for pico, outcomes, *ends in found:
        low, high = (Decimal(end or 0) for end in ends)
        if not high or any((outcomes or {}).get(outcome) for outcome in NOT_ANSWERED):
            continue
        cost, middle = dollars(pico), (low + high) / 2
        in_range += low <= cost <= high
        off.append(abs(cost - middle) / middle)
    return Accuracy(len(off), in_range, round(100 * median(off))) if off else None


def months_back(now: datetime) -> list[datetime]:
    """When the last MONTHS months began, the newest first."""
    begins = [ledger.month_of(now)]
    while len(begins) < MONTHS:
        begins.append(ledger.month_of(begins[-1] - timedelta(days=1)))
    return begins


def list_months(now: datetime, owner: User | None = None) -> list[Month]:
    """The last MONTHS months, newest first, without those before the first spending; with `owner`,
    of their jobs only."""
    begins = months_back(now)
    found = {begin: Month(begin) for begin in begins}
    for charge in ledger.charges(begins[-1], owner):
        month = found.get(ledger.month_of(charge.at))
        if month is None:
            continue  # in the future: the clock was wrong and was set back
        month.charged += charge.amount
        month.by_person[charge.person] += charge.amount
        month.by_template[charge.template] += charge.amount
        month.by_model[charge.model] += charge.amount
        if charge.what != "tests":
            month.in_batches += charge.amount
    cached = Job.objects.filter(
        confirmed_at__gte=begins[-1], practice=settings.PRACTICE, recipe__cached=True
    )
    cached = cached if owner is None else cached.filter(owner=owner)
    tokens = ("tally__cache_write_tokens", "tally__cache_read_tokens")
    for at, model, *counts in cached.values_list("confirmed_at", KT("recipe__model"), *tokens):
        written, read = (count or 0 for count in counts)
        assert at is not None  # noqa: S101 - as asked for
        with suppress(pricing.UnknownPrice, KeyError):  # KeyError: in the future
            saved = pricing.caching_savings(model, written, read)
            found[ledger.month_of(at)].saved_by_caching += saved
    for one in ledger.open_charges(begins[-1]):
        mine = owner is None or one.owner_pk == owner.pk
        if mine and (month := found.get(ledger.month_of(one.at))):
            month.reserved += one.amount
    newest = list(found.values())
    while len(newest) > 1 and not newest[-1].charged:
        newest.pop()
    return newest
