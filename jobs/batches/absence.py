"""How long a batch that may have been sent has surely not been in the provider's list.

When it counts as never arrived it is sent again, and paid again if it did arrive. So this time is
added up from look to look, and no leap of a clock makes it longer than it was.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
from django.conf import settings

from ..models import Batch, clock
from ..models.clock import Moment, time_between
from ..rules.structs import reader_of

LOOKS_BEFORE_RESEND = 3
LEAST_PAUSE, LONGEST_PAUSE = timedelta(seconds=1), timedelta(minutes=1)


class Absence(msgspec.Struct):
    """What `Batch.absence` holds."""

    # Just before the intent was committed. None: an older version sent it without saying when, and
    # `seconds` count from the first look.
    begun: Moment | None
    until: Moment  # up to when `seconds` are counted
    seconds: float = 0.0  # since `begun`
    looked: float = 0.0  # `seconds` at the last look that counts


_read = reader_of(Absence)


def begin() -> dict[str, Any]:
    """For `Batch.absence`, when a batch is about to be sent."""
    return begin_at(clock.moment())


def begin_at(moment: Moment) -> dict[str, Any]:
    builtins: dict[str, Any] = msgspec.to_builtins(Absence(moment, moment))
    return builtins


def of(batch: Batch) -> Absence:
    """Counted up to now. What was sent by an older version counts from now on."""
    moment = clock.moment()
    if not batch.absence:
        return Absence(None, moment)
    absent = _read(batch.absence)
    absent.seconds += time_between(absent.until, moment).total_seconds()
    absent.until = moment
    return absent


def time_left_to_send(batch: Batch) -> float:
    """Seconds in which the POST of this attempt has to be over."""
    return float(settings.SUBMIT_DEADLINE_SECONDS) - of(batch).seconds


def pause() -> timedelta:
    """Between two looks."""
    grace = timedelta(seconds=settings.RECONCILE_GRACE_SECONDS)
    return min(max(grace / LOOKS_BEFORE_RESEND, LEAST_PAUSE), LONGEST_PAUSE)


def is_apart(absent: Absence, looks: int) -> bool:
    """Whether a look counts: not when the `looks` before it were only just now."""
    return not looks or absent.seconds - absent.looked >= pause().total_seconds() / 2


def is_long_enough(absent: Absence, looks: int) -> bool:
    """Whether a batch counts as never arrived after so many `looks` that found nothing."""
    wait = settings.SUBMIT_DEADLINE_SECONDS + settings.RECONCILE_GRACE_SECONDS
    return absent.seconds >= wait and looks >= LOOKS_BEFORE_RESEND
