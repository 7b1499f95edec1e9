"""Spending by day, for the chart of the last weeks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from django.contrib.auth.models import User

from . import ledger

DAYS = 30
STEPS = (1, 2, 5, 10)  # a chart ends at one of these times a power of ten
LEAST = Decimal("0.02")  # US dollars at the top of a chart: its middle line is a whole cent


@dataclass(frozen=True)
class Day:
    """What was charged on a day in UTC, in US dollars."""

    day: date
    charged: Decimal


@dataclass(frozen=True)
class Days:
    """The last DAYS days, the oldest first."""

    days: list[Day]

    @property
    def charged(self) -> Decimal:
        return sum((one.charged for one in self.days), Decimal(0))

    @property
    def top(self) -> Decimal:
        """The round amount at which the chart ends: no day is above it."""
        dearest = max((one.charged for one in self.days), default=Decimal(0))
        power = Decimal(1).scaleb(max(dearest, LEAST).adjusted())
        return next(power * step for step in STEPS if power * step >= max(dearest, LEAST))

    @property
    def half(self) -> Decimal:
        return self.top / 2


def list_days(now: datetime, owner: User | None = None) -> Days:
    """What was charged on each of the last DAYS days; with `owner`, for their jobs only."""
    today = now.astimezone(UTC).date()
    first = today - timedelta(days=DAYS - 1)
    since = datetime(first.year, first.month, first.day, tzinfo=UTC)
    found = ledger.spent_by_day(since, owner)
    dates = [first + timedelta(days=number) for number in range(DAYS)]
    return Days([Day(day, found.get(day, Decimal(0))) for day in dates])
