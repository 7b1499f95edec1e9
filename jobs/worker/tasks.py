"""What Huey runs. The queue is a clock and some threads: it forgets a task that dies with its
worker, so nothing here may be the only thing that makes something happen."""

from __future__ import annotations

import logging
import os
from datetime import timedelta

from django.db import DatabaseError, InterfaceError
from huey import crontab
from huey.contrib.djhuey import db_periodic_task, db_task, on_startup

from ..batches import journal, polling, unknown_submissions
from ..batches.isolation import isolated
from ..drafts import model_catalog
from ..models import Heartbeat, clock, locks, storage
from ..provider import client
from . import advance, housekeeping, sweep

logger = logging.getLogger(__name__)

TICK_SECONDS = 1
TROUBLE_SECONDS = 5
# One that waited for so long, while all threads were busy or the worker was stopped, does nothing:
# the next sweep finds what is due.
NUDGE_SECONDS = 10


@db_task(expires=NUDGE_SECONDS)
def nudge(job_pk: int) -> None:
    advance.advance(job_pk)


@on_startup()
def join_site() -> None:
    """In each thread of a worker, before its first task."""
    try:
        locks.join_site()
    except (locks.Taken, locks.Unfinished) as error:
        logger.error("The worker cannot start: %s", error)
        os._exit(1)  # an exception would only end this hook
    client.load()


@db_task()
def look(kind: str) -> None:
    sweep.take_look(kind)


@db_task(priority=100)
def tick() -> None:
    """Sweep, and come back in a second. However many ticks are queued, one a second goes on."""
    try:
        now = clock.now()
        pause = timedelta(seconds=TICK_SECONDS)
        due = Heartbeat.row().filter(clock.over("next_tick_at", pause, now))
        is_next = due.update(next_tick_at=now + pause) == 1
    except (DatabaseError, InterfaceError):
        tick.schedule(delay=TROUBLE_SECONDS)  # locked, full or away: go on when it is back
        raise
    if is_next:
        tick.schedule(delay=TICK_SECONDS)
        sweep.sweep(step=nudge, look=look)


@db_periodic_task(crontab(minute="*"))
def start_ticking() -> None:
    """At the worker's start, and every minute in case the ticking was lost."""
    for what, do in (
        ("the journal", journal.begin),
        ("the tick", tick.call_local),
        ("pricing drafts", housekeeping.price_stale_drafts),
        ("warnings of answers that are not fetched", polling.warn),
        ("the ballast", storage.keep_ballast),
        # Pages say it before anything is sent.
        ("comparing the journal", unknown_submissions.submissions_unknown),
        # The last: the provider may take its time.
        ("the list of models", model_catalog.refresh),
    ):
        with isolated(what):
            do()


@db_periodic_task(crontab(minute="17"))
def tidy_up() -> None:
    housekeeping.tidy_up()
