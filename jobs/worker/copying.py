"""Copy files to object storage, and delete copies there, one at a time, in a process of its own.

What is to be done is in the database (see copies.py). Each step is repeatable: what is there
already is found, and not sent again.
"""

from __future__ import annotations

import logging
import os
import secrets
import select
import subprocess
import sys
import time
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Self, TypedDict

import msgspec
from django.conf import settings
from django.db.models import Count, Exists, F, Max, Min, OuterRef, Q, QuerySet
from django.db.models.functions import Coalesce

from ..batches import stored_results
from ..batches.isolation import isolated
from ..models import Batch, CopyState, StoredCopy, clock, processes
from . import copies
from .object_storage import COPY, DELETE, DONE, FILE, OBJECT, STORAGE, Order, Place, Report

logger = logging.getLogger(__name__)

FIND_EVERY = timedelta(minutes=1)
TURN_SECONDS = 300
FIRST_PAUSE, LONGEST_PAUSE = timedelta(minutes=1), timedelta(hours=1)
# An order may take so long: the time of some calls, and what a slow line needs for the bytes.
LEAST_SECONDS, BYTES_A_SECOND = 300, 50_000
ANSWER_BYTES = 10_000
STUCK = 5  # attempts, which take half an hour
TOO_LONG = "The storage took too long."
ENDED = "The process that copies ended unexpectedly."
# What boto3 may see of this process's environment.
PASSED_ON = {
    "HOME",
    "PATH",
    "LANG",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
    "PYTHONPATH",
}
State = StoredCopy.State


def has_due() -> bool:
    """Whether there may be something to do now. Two small queries at most."""
    if not copies.is_on():
        return False
    now, state = clock.now(), CopyState.get()
    if clock.is_waiting(state.next_at, LONGEST_PAUSE):
        return False
    return not clock.is_waiting(state.find_at, FIND_EVERY) or _due(now).exists()


def look() -> None:
    """Find what is new or gone, and copy and delete for one turn."""
    if not copies.is_on():
        return
    now = clock.now()
    _free_left_behind(now)
    find = CopyState.row().filter(clock.over("find_at", FIND_EVERY, now))
    if find.update(find_at=now + FIND_EVERY):
        with isolated("finding what to copy"):
            copies.find()
    turn = clock.Countdown(TURN_SECONDS)
    with Helper() as helper:
        while not turn.is_over:
            one = _due(clock.now()).first()
            if one is None or not _carry_out(one, helper):
                return


def _due(now: datetime) -> QuerySet[StoredCopy]:
    """What can be done now: deletions first, and a backup's manifest after all of its files."""
    before = StoredCopy.objects.filter(
        kind=StoredCopy.Kind.BACKUP, state=State.WAITING, pk__lt=OuterRef("pk")
    )
    early = Q(kind=StoredCopy.Kind.MANIFEST, state=State.WAITING) & Exists(before)
    due = StoredCopy.objects.open().filter(clock.over("due_at", LONGEST_PAUSE, now), claimed_by="")
    # By their names: what is deleted comes first, and of a backup its manifest.
    return due.exclude(early).order_by("state", "-kind", "pk")


class CopyFacts(TypedDict):
    """For rules/site_health.py."""

    copy_to: str
    copies_open: int
    copies_since: datetime | None
    copies_failing_since: datetime | None
    copies_stuck: int
    copies_trouble: str
    has_old_copies: bool


def facts() -> CopyFacts:
    """How copying is getting on, in two or three small queries."""
    state, is_on = CopyState.get(), copies.is_on()
    left = StoredCopy.objects.open().aggregate(
        copies=Count("pk"),
        since=Min("since"),
        stuck=Count("pk", filter=Q(attempts__gte=STUCK)),
        trouble=Max("trouble"),
    )
    return CopyFacts(
        copy_to=settings.COPY_TO if is_on else "",
        copies_open=left["copies"],
        copies_since=left["since"],
        copies_failing_since=state.failing_since,
        copies_stuck=left["stuck"],
        copies_trouble=state.trouble or left["trouble"] or "",
        has_old_copies=not is_on and StoredCopy.objects.exists(),
    )


def _free_left_behind(now: datetime) -> None:
    """What a process that is gone was doing is done again."""
    claimed = StoredCopy.objects.exclude(claimed_by="")
    for pk, by, until in claimed.values_list("pk", "claimed_by", "claimed_until"):
        if until is None or until < now or processes.has_ended(by.rpartition("|")[0]):
            claimed.filter(pk=pk, claimed_by=by).update(claimed_by="", claimed_until=None)


def seconds_for(size: int) -> float:
    return LEAST_SECONDS + size / BYTES_A_SECOND


# --- One copy -------------------------------------------------------------------------------------


def _carry_out(one: StoredCopy, helper: Helper) -> bool:
    """Do what is to be done, and note what became of it. False when the storage is of no use
    now."""
    token = f"{processes.PROCESS}|{secrets.token_hex(4)}"
    seconds = seconds_for(one.size)
    until = clock.now() + timedelta(seconds=seconds + LEAST_SECONDS)
    same = StoredCopy.objects.filter(pk=one.pk, claimed_by="", state=one.state, sha256=one.sha256)
    if not same.update(claimed_by=token, claimed_until=until, attempts=F("attempts") + 1):
        return True
    order = Order(
        act=DELETE if one.state == State.DELETING else COPY,
        place=Place(one.place, one.endpoint),
        key=one.key,
        path=one.path,
        size=one.size,
        sha256=one.sha256,
        etag=one.etag,
    )
    report = helper.ask(order, seconds)
    if report.kind == STORAGE and order.place == copies.place():
        _note_storage_away(one, token, report.why)
        return False
    if report.kind == DONE:
        _note_done(one, token, report.etag)
    else:
        _note_trouble(one, token, report)
    return True


def _note_done(one: StoredCopy, token: str, etag: str) -> None:
    mine = StoredCopy.objects.filter(pk=one.pk, claimed_by=token)
    if one.state == State.DELETING:
        mine.filter(state=State.DELETING).delete()
    else:
        same = mine.filter(state=State.WAITING, sha256=one.sha256)
        noted = same.update(
            state=State.COPIED,
            copied_at=clock.now(),
            etag=etag,
            attempts=0,
            trouble="",
            claimed_by="",
        )
        if not noted and not StoredCopy.objects.filter(pk=one.pk).exists():
            # Another worker took this one for dead, and has deleted what is there again now.
            one.pk, one.state, one.claimed_by = None, State.DELETING, ""
            StoredCopy.objects.bulk_create([one], ignore_conflicts=True)
    mine.update(claimed_by="")  # it was to be something else meanwhile
    CopyState.row().filter(failures__gt=0).update(failures=0, failing_since=None, trouble="")


def _note_trouble(one: StoredCopy, token: str, report: Report) -> None:
    mine = StoredCopy.objects.filter(pk=one.pk, claimed_by=token)
    pause = clock.growing_pause(FIRST_PAUSE, LONGEST_PAUSE, one.attempts)
    mine.update(claimed_by="", due_at=clock.now() + pause, trouble=report.why)
    logger.warning("the copy %s: %s", one.key, report.why)
    if report.kind == FILE and one.batch_pk is not None:
        for batch in Batch.objects.filter(pk=one.batch_pk, removed_at=None, damaged_at=None):
            stored_results.check(batch)  # has it fetched again


def _note_storage_away(one: StoredCopy, token: str, why: str) -> None:
    StoredCopy.objects.filter(pk=one.pk, claimed_by=token).update(
        claimed_by="", attempts=one.attempts
    )
    state, now = CopyState.get(), clock.now()
    CopyState.row().update(
        failures=F("failures") + 1,
        failing_since=Coalesce(F("failing_since"), now),
        trouble=why,
        next_at=now + clock.growing_pause(FIRST_PAUSE, LONGEST_PAUSE, state.failures),
    )
    logger.warning("nothing can be copied: %s", why)


# --- The process that talks to the storage --------------------------------------------------------


class Helper:
    """A process that is started with the first order, and killed with the block or when an order
    takes too long."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._end()

    def ask(self, order: Order, seconds: float) -> Report:
        if self._child is None:
            self._child = self._start()
        child = self._child
        assert child.stdin is not None and child.stdout is not None  # noqa: S101 - asked for
        try:
            child.stdin.write(msgspec.json.encode(order) + b"\n")
            child.stdin.flush()
            return _read_report(_read_line(child.stdout.fileno(), seconds))
        except TimeoutError:
            why = TOO_LONG
        except (BrokenPipeError, msgspec.DecodeError):
            why = ENDED
        self._end()
        return Report(OBJECT, why)

    def _start(self) -> subprocess.Popen[bytes]:
        environment = {
            name: value
            for name, value in os.environ.items()
            if name in PASSED_ON or name.startswith("AWS_")
        }
        return subprocess.Popen(
            [sys.executable, "-m", "jobs.worker.object_storage"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # libraries may quote what they send
            cwd=settings.BASE_DIR,
            env={**environment, "PYTHONIOENCODING": "utf-8", "MALLOC_ARENA_MAX": "1"},
            start_new_session=True,
        )

    def _end(self) -> None:
        if self._child is not None:
            self._child.kill()
            with suppress(BrokenPipeError):
                self._child.communicate()
            self._child = None


_read_report = msgspec.json.Decoder(Report).decode


def _read_line(output: int, seconds: float) -> bytes:
    """What the process says until the end of a line, or until it ends. Raises TimeoutError."""
    said, until = b"", time.monotonic() + seconds
    while len(said) < ANSWER_BYTES and not said.endswith(b"\n"):
        left = until - time.monotonic()
        if left <= 0 or not select.select([output], [], [], left)[0]:
            raise TimeoutError
        block = os.read(output, ANSWER_BYTES)
        if not block:
            break
        said += block
    return said
