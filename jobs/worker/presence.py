"""A worker says that it is there, and stops when the database is of another version."""

from __future__ import annotations

import logging
import os
import signal
import threading
from contextlib import suppress
from datetime import timedelta

from django.db import DatabaseError, InterfaceError

from batchsite import __version__

from ..models import WorkerProcess, clock, processes, versions
from . import supervision

logger = logging.getLogger(__name__)

FORGOTTEN = timedelta(days=1)  # a worker that died, or that nobody has seen
_lock = threading.Lock()
_begun = _is_ending = False
BEAT_SECONDS = 25.0  # so that one is stored every 30 seconds
_rest = clock.Countdown(BEAT_SECONDS)


class WrongVersion(Exception):
    """The database is of another version; the message says what to do."""


def begin() -> None:
    """Called by each thread of a worker before its first task. Raises WrongVersion."""
    global _begun
    with _lock:
        if _begun:
            return
        with suppress(DatabaseError, InterfaceError):  # away, locked or full: the watch looks again
            if why := versions.look():
                raise WrongVersion(why)
            note_the_dead()
            beat()
        versions.watch(_beat_or_stop)
        _begun = True


def beat() -> None:
    """Note that this worker is there."""
    now = clock.now()
    if not WorkerProcess.objects.filter(name=processes.PROCESS).update(seen_at=now):
        WorkerProcess.objects.create(
            name=processes.PROCESS,
            machine=processes.MACHINE[:100],
            version=__version__,
            started_at=now,
            seen_at=now,
        )


def _beat_or_stop() -> None:
    global _rest
    if versions.trouble:
        # Steps under way end in order; what is in the log says why.
        os.kill(os.getpid(), signal.SIGTERM)
    elif not _is_ending and _rest.is_over:
        beat()
        _rest = clock.Countdown(BEAT_SECONDS)


def give_sign() -> None:
    """Let `manage.py serve`, if it has started this worker, know that it works."""
    if _sign is not None:
        with suppress(OSError):  # nobody reads it just now, or any more
            os.write(_sign, b".")


def _open_sign() -> int | None:
    number = os.environ.pop(supervision.SIGN, "")
    if not number:
        return None
    os.set_blocking(int(number), False)
    os.set_inheritable(int(number), False)
    return int(number)


_sign = _open_sign()


def is_ending() -> bool:
    """This worker was told to end: it takes no other step."""
    return _is_ending


def end_soon() -> None:
    global _is_ending
    _is_ending = True


def end() -> None:
    """This worker ends in order."""
    end_soon()
    WorkerProcess.objects.filter(name=processes.PROCESS).delete()


def note_the_dead() -> None:
    """Note which workers of this machine have ended without saying so, and forget old ones."""
    now = clock.now()
    WorkerProcess.objects.filter(seen_at__lt=now - FORGOTTEN).delete()
    for pk, name in WorkerProcess.objects.filter(died_at=None).values_list("pk", "name"):
        if processes.has_ended(name):
            mine = WorkerProcess.objects.filter(pk=pk, died_at=None)
            if mine.update(died_at=now):
                logger.error("a worker ended unexpectedly: %s", name)
