"""A real process that sends what is in the outbox, and kills itself with SIGKILL at a point."""

from __future__ import annotations

import os
import signal
from typing import Any

import django

from ..dying_worker import after, before

# Each point with what may be true afterwards: whether the receiver may have got it.
POINTS = {
    "before the claim": False,
    "claimed, nothing sent": False,
    "sending": True,
    "sent, nothing noted": True,
}


def main(point: str = "") -> None:
    django.setup()
    from jobs.notifications import sending

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    arranged: dict[str, tuple[Any, str]] = {
        "before the claim": (before, "_same_mail"),
        "claimed, nothing sent": (before, "_send"),
        "sending": (before, "_read"),
        "sent, nothing noted": (after, "send_apart"),
    }
    if point:
        wrap, name = arranged[point]
        wrap(sending, name, die)
    for channels in (sending.MAIL, sending.OTHERS):
        sending.send_due(channels)
