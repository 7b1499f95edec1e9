"""All guards against clocks that are wrong. A clock can leap: somebody sets it, or a time server
does. Which one counts depends on what is measured:

Who may do what       `now`: the database's clock if workers on several machines share one.
A wait in a process   `Countdown`, by `uptime`, which never leaps.
A stored end of a     `is_waiting`, `time_left`, `over`, `near`: a time that is further ahead
wait                  than the wait is long was stored by a clock that was ahead.
A wait whose end      `time_between` two `Moment`s: never more than has passed.
costs money
What Anthropic says   `provider_now`, by the Date of its replies. `earliest_now` for what must not
                      end too early by either clock, `latest_now` for what must not begin too early.
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
LEAP = timedelta(seconds=5)  # smaller steps back of the clock are ignored
# Counts suspension, which the monotonic clock of Linux does not; elsewhere that one does.
_UPTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


# --- This machine, or the database ----------------------------------------------------------------


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


def was_set_back(earlier: datetime | None, now: datetime) -> bool:
    """Whether the clock was set back since it said `earlier`."""
    return earlier is not None and earlier > now + LEAP


class Countdown:
    """A wait within this process: `seconds` from now on, including time in which the machine was
    suspended."""

    def __init__(self, seconds: float) -> None:
        self._until = uptime() + seconds

    @property
    def is_over(self) -> bool:
        return uptime() >= self._until


# --- Waits that are stored ------------------------------------------------------------------------


def time_left(until: datetime | None, longest: timedelta) -> timedelta:
    """How long a wait still takes that is never longer than `longest` and ends at `until`; 0 when
    it is over, or there is none."""
    left = until - now() if until else timedelta()
    return left if timedelta() < left <= longest else timedelta()


def is_waiting(until: datetime | None, longest: timedelta) -> bool:
    """Whether such a wait is not over."""
    return time_left(until, longest) > timedelta()


def over(field: str, longest: timedelta, now: datetime) -> Q:
    """The rows whose wait is over, where `field` has the time at which it ends. Not those without a
    time."""
    return Q(**{f"{field}__lte": now}) | Q(**{f"{field}__gt": now + longest})


def near(field: str, longest: timedelta, now: datetime) -> Q:
    """The rows where `field` has a time that is less than `longest` ago, or ahead."""
    return Q(**{f"{field}__range": (now - longest, now + longest)})


def growing_pause(first: timedelta, longest: timedelta, failures: int) -> timedelta:
    """How long to wait after another failure: `first`, and twice as long for each of the `failures`
    before it."""
    pause: timedelta = first * 2 ** min(failures, 20)
    return min(pause, longest)


# --- The provider ---------------------------------------------------------------------------------

# The Date of the provider's last reply to this process, and `uptime` when it arrived.
_provider_date: tuple[datetime, float] | None = None


def note_provider_date(date: datetime) -> None:
    """A reply of the provider has just said that it is `date`."""
    global _provider_date
    _provider_date = date, uptime()


def provider_now() -> datetime | None:
    """The time by the provider's clock, to the second; None before its first reply."""
    if _provider_date is None:
        return None
    date, at = _provider_date
    return date + timedelta(seconds=uptime() - at)


def provider_now_or_ours() -> datetime:
    """The time by the provider's clock, for what it stamped; by ours before its first reply."""
    return provider_now() or now()


def earliest_now() -> datetime:
    """By our clock or the provider's, whichever is behind: what must not end early ends by it."""
    return min(_clocks())


def latest_now() -> datetime:
    """By our clock or the provider's, whichever is ahead."""
    return max(_clocks())


def _clocks() -> list[datetime]:
    there = provider_now()
    return [now(), *([there] if there else [])]


# --- What has surely passed -----------------------------------------------------------------------


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


def moment() -> Moment:
    return Moment(now(), provider_now(), BOOT, uptime())


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
