"""A real process that sends what is in the outbox, and kills itself with SIGKILL at a point."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import django

from ..dying_worker import after, before, die_at_pass
from ..running import SECONDS

# Each point with what may be true afterwards: whether the receiver may have got it.
POINTS = {
    "before the claim": False,
    "claimed, nothing sent": False,
    "sending": True,
    "sent, nothing noted": True,
}
# Points that need more than one message, or a log of the receivers.
MORE_POINTS = ("arrived, no answer read", "noted")


def arrange(point: str, reached: Callable[[], None], arrivals: Path | None = None) -> None:
    """Call `reached` whenever the process comes to `point`. `arrivals`: what the receivers add to
    for each message."""
    from jobs.notifications import sending

    if point == "arrived, no answer read":
        assert arrivals is not None
        _arrange_arrival(reached, arrivals)
        return
    arranged: dict[str, tuple[Any, str]] = {
        "before the claim": (before, "_same_mail"),
        "claimed, nothing sent": (before, "_send"),
        "sending": (before, "_read"),
        "sent, nothing noted": (after, "send_apart"),
        "noted": (after, "_note"),
    }
    wrap, name = arranged[point]
    wrap(sending, name, reached)


def _arrange_arrival(reached: Callable[[], None], arrivals: Path) -> None:
    """The receiver has it, and this process has not looked yet at what the receiver said."""
    from jobs.notifications import sending

    size = 0

    def note_size() -> None:
        nonlocal size
        size = arrivals.stat().st_size

    def wait_for_arrival() -> None:
        deadline = time.monotonic() + SECONDS
        while arrivals.stat().st_size == size and time.monotonic() < deadline:
            time.sleep(0.01)
        reached()

    before(sending, "send_apart", note_size)
    before(sending, "_read", wait_for_arrival)


def main(point: str) -> None:
    """Send what is due, and die at `point`."""
    django.setup()
    from jobs.notifications import sending

    arrange(point, die_at_pass(1))
    for channels in (sending.MAIL, sending.OTHERS):
        sending.send_due(channels)


def work(point: str, wanted: int, arrivals: str, children: str) -> None:
    """A worker that sweeps until nothing is left to be sent, or until it dies when it comes to
    `point` for the `wanted`-th time. The ids of the processes that send are added to `children`."""
    django.setup()
    from jobs.models import Delivery
    from jobs.notifications import sending
    from jobs.worker import sweep

    sending.FIRST_PAUSE = timedelta(seconds=0.2)  # after a refusal
    start = subprocess.Popen

    def noted(*arguments: Any, **options: Any) -> Any:
        child = start(*arguments, **options)
        with Path(children).open("a") as file:
            file.write(f"{child.pid}\n")
        return child

    subprocess.Popen = noted  # type: ignore[misc, assignment]  # in this process only
    if point:
        arrange(point, die_at_pass(wanted), Path(arrivals))
    while Delivery.objects.open().exists():
        sweep.sweep()
        time.sleep(0.02)


def pid_is_gone(pid: int) -> bool:
    """Whether a process that sends has ended."""
    try:
        return b"jobs.notifications" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return True
