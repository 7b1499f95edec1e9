"""How long a batch that may have been sent has surely not been in the provider's list.

When it counts as never arrived it is sent again, and paid again if it did arrive. So this time is
added up from look to look, and no leap of a clock makes it longer than it was.
"""

from __future__ import annotations

from datetime import timedelta

import msgspec
from django.conf import settings

from ..models import Absence, Batch, clock
from ..models.clock import Moment, time_between

LOOKS_BEFORE_RESEND = 3
LEAST_PAUSE, LONGEST_PAUSE = timedelta(seconds=1), timedelta(minutes=1)


def begin() -> Absence:
    """When a batch is about to be sent."""
    return begin_at(clock.moment())


def begin_at(moment: Moment) -> Absence:
    return Absence(moment, moment)


def of(batch: Batch) -> Absence:
    """Counted up to now. What was sent by an older version counts from now on."""
    moment = clock.moment()
    absent = batch.absence
    if absent is None:
        return Absence(None, moment)
    seconds = absent.seconds + time_between(absent.until, moment).total_seconds()
    return msgspec.structs.replace(absent, seconds=seconds, until=moment)


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
    """Whether a batch counts as never arrived after `looks` looks that found nothing."""
    wait = settings.SUBMIT_DEADLINE_SECONDS + settings.RECONCILE_GRACE_SECONDS
    return absent.seconds >= wait and looks >= LOOKS_BEFORE_RESEND
