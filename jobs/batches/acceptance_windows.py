"""When Anthropic can have accepted a try that counted as never arrived.

The late watch cancels a running batch only if it was made in such a window. A window that is too
narrow would miss one of ours; one that is too wide would take another program's batch for ours. It
ends at the deadline of the try. If the start of a try is not known, its window has no start, and
the batch only has to be newer than the baseline.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from ..models import Batch, SubmissionEvent, clock
from . import absence, journal

# How wrong a time can be that was worked out from the provider's Date, which has whole seconds.
CLOCK_MARGIN = timedelta(seconds=3)


@dataclass(frozen=True)
class Window:
    """Both ends are included. By the provider's clock, or by ours."""

    begin: datetime | None  # None: as early as the baseline of its batch allows
    end: datetime
    by_provider: bool

    @property
    def detail(self) -> dict[str, Any]:
        """For the SubmissionDetail of the try that never arrived."""
        return {
            "begin": self.begin.isoformat() if self.begin else "",
            "until": self.end.isoformat(),
            "clock": "provider" if self.by_provider else "here",
        }

    def includes(self, moment: datetime, margin: timedelta = CLOCK_MARGIN) -> bool:
        """Whether the provider can have accepted the try at `moment`, by the same clock."""
        is_new = self.begin is None or self.begin - margin <= moment
        return is_new and moment <= self.end + margin


def window_of_last_try(batch: Batch) -> Window:
    """For a try that is given up now."""
    absent, there, here = absence.of(batch), clock.provider_now(), clock.now()
    deadline = batch.deadline_at or here
    if absent.begun and (begun := absent.begun.provider):
        # Not until it was given up: another program's batch of that time would be taken for it. The
        # setting may have changed since the try began.
        length = timedelta(seconds=settings.SUBMIT_DEADLINE_SECONDS)
        length = max(length, deadline - absent.begun.here)
        return Window(begun, begun + length, by_provider=True)
    if there is None:
        return Window(None, max(deadline, here), by_provider=False)
    return Window(None, max(deadline + (there - here), there), by_provider=True)


def window_of_intent(intent: journal.Intent, following: journal.Intent | None) -> Window:
    """For a try that only the journal knows. If it does not say when the try began, the try was
    given up before the `following` one began; None if it was the last."""
    begun = intent.begun
    if begun and begun.provider:
        length = max(intent.deadline - begun.here, timedelta())
        return Window(begun.provider, begun.provider + length, by_provider=True)
    if following and following.begun and following.begun.provider:
        return Window(None, following.begun.provider, by_provider=True)
    return Window(None, following.at if following else intent.deadline, by_provider=False)


def missing_tries(batch: Batch, ahead: timedelta) -> list[Window]:
    """The windows of the tries of `batch` that counted as never arrived and have not been found
    since. By the provider's clock, which is `ahead` of ours."""
    windows = _windows_given_up(batch, ahead)
    windows.pop(_key_of_batch(batch, windows), None)
    for made in batch.late_ones.values_list("created_at", flat=True):
        if not windows:
            return []
        matching = [key for key, window in windows.items() if window.includes(made)]
        # A late batch that its results prove may have been made at any time.
        windows.pop(matching[0] if matching else next(iter(windows)))
    return list(windows.values())


def _windows_given_up(batch: Batch, ahead: timedelta) -> dict[object, Window]:
    """Windows by the number of the try. A try that was given up, listed and given up again counts
    once."""
    found: dict[object, Window] = {}
    events = SubmissionEvent.objects.filter(nonce=batch.nonce, kind="never_arrived")
    for event in events.order_by("pk"):
        detail = event.detail
        shift = timedelta() if detail.clock == "provider" else ahead
        begin = datetime.fromisoformat(detail.begin) + shift if detail.begin else None
        window = Window(begin, datetime.fromisoformat(detail.until) + shift, by_provider=True)
        key = detail.attempt or f"event {event.pk}"
        if before := found.get(key):
            begins = (before.begin, window.begin)
            first = None if None in begins else min(filter(None, begins))
            window = Window(first, max(before.end, window.end), by_provider=True)
        found[key] = window
    return found


def _key_of_batch(batch: Batch, windows: dict[object, Window]) -> object:
    """Which of the tries that were given up turned out to be `batch` itself; None if none did."""
    if not batch.provider_id or not batch.created_at:
        return None
    named = SubmissionEvent.objects.filter(nonce=batch.nonce, provider_id=batch.provider_id)
    if answered := named.filter(kind__in=["accepted", "restored"]).order_by("pk").last():
        return answered.detail.attempt
    # It was found in the list, so only its time tells.
    made, exact = batch.created_at, timedelta()
    return next((key for key, window in windows.items() if window.includes(made, exact)), None)
