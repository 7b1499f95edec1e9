"""The process of the worker: Huey's threads, and a clock that costs next to nothing while there is
nothing to do. It waits for what web processes put into the queue, and has a thread sweep when
something may be due: the database was written to, or a time has come that the last sweep named."""

from __future__ import annotations

import logging
import time
from datetime import datetime
from typing import Any

from django.db import connection
from huey.consumer import Consumer, Scheduler

from . import presence, sweep, tasks

logger = logging.getLogger(__name__)

TICK_SECONDS = 1.0  # between two sweeps, at least
TROUBLE_SECONDS = 5.0  # the database is locked, full or away
# A sweep that has taken so long is not waited for any more.
LONG_SECONDS = 30.0


class Clock(Scheduler):  # type: ignore[misc]  # Huey has no types
    """What Huey calls its scheduler. Tasks for later are not used here."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._mark: object = None
        self._look_at = float("-inf")

    def loop(self, now: datetime | None = None) -> None:
        storage = self.huey.storage
        try:
            storage.wait_for_news(max(self._look_at - time.monotonic(), 0))
            storage.take_in()
            if time.monotonic() >= self._look_at:
                self._look_at = time.monotonic() + TICK_SECONDS
                self._tick_if_due(storage.mark())
        except Exception:  # whatever it is: without its clock, nothing happens on this site
            logger.exception("the worker cannot use its queue or the database")
            connection.close()
            self._mark = None
            self.stop_flag.wait(TROUBLE_SECONDS)
        if self.periodic and self._next_periodic <= time.monotonic():
            while self._next_periodic <= time.monotonic():
                self._next_periodic += self.periodic_task_seconds
            self.enqueue_periodic_tasks(now)

    def _tick_if_due(self, mark: object) -> None:
        now = time.monotonic()
        if any(now < asked_at + LONG_SECONDS for asked_at in tasks.ticks_under_way):
            return  # what has changed meanwhile is seen afterwards
        if mark != self._mark or sweep.is_due():
            self._mark = mark
            tasks.ticks_under_way.append(now)
            tasks.tick()

    def shutdown(self) -> None:
        self.huey.storage.wake_all()
        connection.close()


class SiteConsumer(Consumer):  # type: ignore[misc]  # Huey has no types
    scheduler_class = Clock

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._stop_flag_timeout = 0.5  # seconds between two looks for a signal

    def start(self) -> None:
        self.huey.storage.begin_work(self.workers)
        super().start()

    def stop(self, graceful: bool = False) -> None:
        presence.end_soon()
        super().stop(graceful)
