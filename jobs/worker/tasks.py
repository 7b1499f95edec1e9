"""What Huey runs. The queue is a clock and some threads: it forgets a task that dies with its
worker, so nothing here may be the only thing that makes something happen."""

from __future__ import annotations

import logging
import os
from contextlib import suppress

from django.db import DatabaseError, InterfaceError
from huey import crontab
from huey.contrib.djhuey import db_periodic_task, db_task, on_shutdown, on_startup

from ..batches import journal, polling, slots, unknown_submissions
from ..batches.isolation import isolated
from ..drafts import model_catalog
from ..models import audit, locks, storage
from ..provider import client
from ..rules import log_context
from . import advance, alarms, audit_checks, chains, housekeeping, presence, sweep

logger = logging.getLogger(__name__)

ticks_under_way: list[float] = []  # when the clock asked for them
# One that waited for so long, while all threads were busy or the worker was stopped, does nothing:
# the next sweep finds what is due.
NUDGE_SECONDS = 10


@db_task(expires=NUDGE_SECONDS)
@audit.acting_from("worker")
def nudge(job_pk: int, request: str = "") -> None:
    """`request`: the id of the one that caused it; "" for the sweep."""
    with log_context.about(**({"request": request} if request else {})):
        advance.advance(job_pk)


@on_startup()
def join_site() -> None:
    """In each thread of a worker, before its first task."""
    try:
        locks.join_site()
        presence.begin()
    except (locks.Taken, locks.Unfinished, presence.WrongVersion) as error:
        logger.error("The worker cannot start: %s", error)
        os._exit(1)  # an exception would only end this hook
    client.load()


@on_shutdown()
def leave_site() -> None:
    """In each thread of a worker that ends in order."""
    with suppress(DatabaseError, InterfaceError):
        presence.end()


@db_task()
@audit.acting_from("worker")
def look(kind: str) -> None:
    sweep.take_look(kind)
    if kind == slots.WATCHING:  # what has ended is fetched now, not at the next tick
        sweep.step_due(nudge)


@db_task(priority=100)
@audit.acting_from("worker")
def tick() -> None:
    """The clock of consumer.py asks for a sweep. Its end is the sign that this worker can work:
    a thread was free, and neither the disk nor the database hangs."""
    try:
        sweep.sweep(step=nudge, look=look)
    finally:
        ticks_under_way.clear()
        presence.give_sign()


@db_periodic_task(crontab(minute="*"))
@audit.acting_from("worker")
def do_each_minute() -> None:
    """At the worker's start, too."""
    for what, do in (
        ("the journal", journal.begin),
        ("pricing drafts", housekeeping.price_stale_drafts),
        ("rows that come from other jobs", chains.wake_outdated),
        ("warnings of answers that are not fetched", polling.warn),
        ("the ballast", storage.keep_ballast),
        ("the check of the audit log", audit_checks.check_if_due),
        # Pages say it before anything is sent.
        ("comparing the journal", unknown_submissions.submissions_unknown),
        ("workers that have ended", presence.note_the_dead),
        ("the alarms", alarms.check),
        # The last: the provider may take its time.
        ("the list of models", model_catalog.refresh),
    ):
        with isolated(what):
            do()


@db_periodic_task(crontab(minute="17"))
@audit.acting_from("worker")
def tidy_up() -> None:
    housekeeping.tidy_up()
