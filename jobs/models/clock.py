"""The clock by which the workers agree who may do what, and one by which waits are measured.

With PostgreSQL the workers may be on several machines whose clocks differ, so the database's clock
counts. With SQLite there is one machine. Either clock can leap: somebody sets it, or a time server
does. So a wait whose end costs money is measured between two `Moment`s, and a wait that is stored
as the time at which it ends is over, too, when that time is further ahead than the wait is long.
"""

from __future__ import annotations

import secrets
import time
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
from django.db import connection
from django.db.models import Q
from django.utils import timezone

# What one look at two clocks of different machines, or from before and after a restart, proves
# when the provider did not say its time.
UNPROVEN = timedelta(minutes=1)
# Counts suspension, which the monotonic clock of Linux does not; elsewhere that one does.
_UPTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now() -> datetime:
    if connection.vendor != "postgresql":
        return timezone.now()
    with connection.cursor() as cursor:
        # Not the time at which the transaction began.
        cursor.execute("SELECT clock_timestamp()")
        moment: datetime = cursor.fetchone()[0]
    return moment


def uptime() -> float:
    """Seconds since this machine was started, in which it may have been suspended. Never leaps."""
    return time.clock_gettime(_UPTIME)


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return secrets.token_hex(16)  # this process only


# Names what `uptime` counts from: equal for all processes of a machine until it is restarted.
BOOT = _boot()


class Moment(msgspec.Struct, frozen=True):
    """An instant by each clock at hand."""

    here: datetime  # `now`
    provider: datetime | None  # by the Date of its answers
    boot: str
    up: float  # `uptime`


def moment(provider: datetime | None) -> Moment:
    return Moment(now(), provider, BOOT, uptime())


def time_between(earlier: Moment, later: Moment) -> timedelta:
    """How much time has surely passed, whichever clock has leapt: never more than it really was,
    as long as one clock is right, and 0 when nothing is sure."""
    if earlier.boot == later.boot:
        return max(timedelta(seconds=later.up - earlier.up), timedelta())
    here = later.here - earlier.here
    if not (earlier.provider and later.provider):
        return max(min(here, UNPROVEN), timedelta())
    there = later.provider - earlier.provider
    # Our clock was set back, so it says nothing.
    return max(there if here < timedelta() else min(here, there), timedelta())


def is_waiting(until: datetime | None, longest: timedelta) -> bool:
    """Whether a wait that is never longer than `longest`, and ends at `until`, is not over."""
    return until is not None and timedelta() < until - now() <= longest


def over(field: str, longest: timedelta, now: datetime) -> Q:
    """The rows with a wait that is over: it is never longer than `longest`, and `field` has the
    time at which it ends. Not those without a time."""
    return Q(**{f"{field}__lte": now}) | Q(**{f"{field}__gt": now + longest})
