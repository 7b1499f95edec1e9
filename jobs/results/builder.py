"""Finished files that the worker builds ahead of their download, one at a time.

Files to build are in the database (Export), so another worker continues after a crash. A built file
has its job's stamp in its name: a hash of everything that changes when rows change. A file with an
outdated stamp is ignored.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any

from django.db import DatabaseError, InterfaceError, transaction
from django.db.models import Q, QuerySet

from ..batches import holds
from ..batches.isolation import isolated
from ..batches.leases import Lease, LeaseLost
from ..models import Export, Job, checksums, clock, files, job_log
from ..models.checksums import CheckedFile, Damaged
from ..models.fields import to_json
from . import table, workbook

logger = logging.getLogger(__name__)

LAYOUT = 2  # increase it when the format of files changes, so that all are rebuilt
# Most rows of a file that is made while the person waits: a workbook takes about a second.
AT_ONCE = 5_000
# Packing a workbook keeps the worker from renewing its lease; the largest take minutes.
PACKING_SECONDS = 900
# Delay before the next attempt: while another thread builds; after an error such as a full disk.
BUSY, TROUBLED = timedelta(seconds=2), timedelta(minutes=5)
AWAIT_SECONDS = 0.1  # between two looks whether a file is ready
# While a file is built: between two looks whether it is outdated; and the longest pause after a
# slice of a workbook, which nobody has to wait for as long as there is other work.
OUTDATED_SECONDS, PAUSE_SECONDS = 1.0, 0.1
# Delay between the last review mark and rebuilding the files.
AFTER_MARKS = timedelta(minutes=1)
# How long to keep a file that nobody downloads, and a leftover of an unfinished build.
KEPT_SECONDS, LEFT_SECONDS = 30 * 24 * 3600, 24 * 3600

# Writing a large file takes a CPU that sending and collecting also need.
_building = threading.Lock()


# What of a job its files depend on; see stamp_of.
STAMPED = (
    "state",
    "finished_at",
    "rows_changed",
    "deduplicated",
    "name",
    "tally",
    "spent_pico",
    "answer_columns",
)


class _Changed(Exception):
    """The job changed while its file was built."""


def stamp_of(job: Job) -> str:
    """Changes whenever the job's files would change.

    Every change to rows of a finished job clears `finished_at` (a retry) or increases
    `rows_changed`, in the same transaction. While a job runs, its tally or state changes with its
    rows. Tests are over before a job is submitted.
    """
    facts: list[Any] = [LAYOUT]
    for name in STAMPED:
        value = getattr(job, name)
        facts.append(value.isoformat() if isinstance(value, datetime) else value)
    return hashlib.sha256(json.dumps(to_json(facts), sort_keys=True).encode()).hexdigest()[:16]


def path_of(job: Job, kind: str, only: str = "all") -> Path:
    """Where the up-to-date file of the job is, if it was built."""
    return files.export_path(job.pk, stamp_of(job), only, kind)


def open_ready(job: Job, kind: str, only: str = "all") -> CheckedFile | None:
    """The up-to-date file of the job; None when it is not built yet or is damaged. A damaged file
    is rebuilt by the worker."""
    path = path_of(job, kind, only)
    if not path.exists():
        return None
    try:
        file = checksums.open_with_facts(path)
    except Damaged:
        rebuild_export(job, kind, only)
        return None
    with suppress(OSError):
        os.utime(path)  # remove_old_exports keeps it
    return file


def open_or_await(job: Job, only: str, seconds: float) -> CheckedFile | None:
    """The up-to-date CSV of the job. One that a worker is building right now is awaited for up to
    `seconds`, as writing it a second time would slow both down."""
    time_left = clock.Countdown(seconds)
    being_built = job.exports.filter(
        kind="csv", only=only, trouble="", job__lease_until__gt=clock.now()
    )
    while True:
        # Looked at first: the file comes before its Export goes.
        is_being_built = being_built.exists()
        file = open_ready(job, "csv", only)
        if file or not is_being_built or time_left.is_over:
            return file
        time.sleep(AWAIT_SECONDS)


def rebuild_export(job: Job, kind: str, only: str) -> None:
    """Have the worker replace a damaged file."""
    path = path_of(job, kind, only)
    logger.warning("job %s: %s is damaged and will be rebuilt", job.pk, path.name)
    files.remove_export(path)
    request_export(job, kind, only)


def make_workbook(job: Job, only: str) -> IO[bytes]:
    """An unnamed temporary workbook of a small job. Raises OSError."""
    with tempfile.TemporaryDirectory(dir=files.scratch()) as folder:
        path = Path(folder, "rows.xlsx")
        workbook.write_workbook(
            job, path, only, lambda _rows, size: files.require_room(path.parent, size)
        )
        return path.open("rb")


# --- Requesting and building ----------------------------------------------------------------------


def request_usual_exports(job: Job) -> None:
    """Have the worker build the CSV, and the workbook if there was one before, unless the job is so
    small that they are made while the person waits."""
    if job.row_count <= AT_ONCE:
        return
    Export.objects.get_or_create(job=job, kind="csv", only="all")
    had_workbook = any(path.suffix == ".xlsx" for path in files.exports_of(job.pk))
    if had_workbook and not workbook.is_too_wide(job):
        Export.objects.get_or_create(job=job, kind="xlsx", only="all")


def expect_workbook(job: Job) -> bool:
    """Have the worker build the workbook of a large finished job because somebody has opened its
    page: most people take it next. Whether a workbook is being built."""
    wanted = set(job.exports.values_list("kind", flat=True))
    if "xlsx" in wanted or job.state != Job.State.FINISHED or job.contents_deleted_at:
        return "xlsx" in wanted
    Export.objects.get_or_create(job=job, kind="xlsx", only="all")
    if not wanted:  # else the worker comes by for the others
        _be_due(job, clock.now())
    return True


def request_exports_after_review(job: Job) -> None:
    """The same, once no answer was marked for a while."""
    request_usual_exports(job)
    _be_due(job, clock.now() + AFTER_MARKS)


def request_export(job: Job, kind: str, only: str) -> Export:
    """Have the worker build a file of a submitted job."""
    with transaction.atomic():
        export, _is_new = Export.objects.get_or_create(job=job, kind=kind, only=only)
        if not export.trouble:
            _be_due(job, clock.now())
    return export


def _be_due(job: Job, when: datetime) -> None:
    """Have the worker look at a submitted job by `when`, never later than it already would."""
    not_due = Q(next_action_at=None) | Q(next_action_at__gt=clock.now())
    Job.objects.filter(not_due, pk=job.pk, state__in=Job.SENT).update(next_action_at=when)


def build_next(job: Job, lease: Lease) -> timedelta | None:
    """Build one file. Returns the delay until the next look; None when nothing is left to build.
    A failed export is reported but does not affect the job. Raises LeaseLost.
    """
    wanted = job.exports.all()
    if not wanted.exists():
        return None
    job.refresh_from_db()
    if job.state != Job.State.FINISHED:
        wanted = wanted.exclude(kind="csv")  # it can be streamed, and would soon be outdated
    export = wanted.order_by("trouble", "pk").first()  # failed ones last
    if export is None:
        return None
    if not _building.acquire(blocking=False):
        return BUSY
    try:
        _build(job, export, lease)
    except _Changed:
        logger.info("job %s: changed while its %s was built", job.pk, export.kind)
        # An answer was marked, and more marks may follow.
        same = Job.objects.filter(pk=job.pk, rows_changed=job.rows_changed)
        return timedelta() if same.exists() else AFTER_MARKS
    except OSError as error:
        logger.warning("job %s: its %s could not be built: %s", job.pk, export.kind, error)
        return _say(export, holds.disk_in_words(error))
    except (LeaseLost, DatabaseError, InterfaceError):
        raise
    except Exception:
        logger.exception("job %s: its %s could not be built", job.pk, export.kind)
        return _say(export, holds.SEE_THE_LOG)
    finally:
        _building.release()
    return timedelta()


def _say(export: Export, why: str) -> timedelta:
    """Report why a file could not be built. Returns the delay until the next attempt."""
    if export.trouble != why:
        Export.objects.filter(pk=export.pk).update(trouble=why)
        job_log.write_once(
            export.job_id,
            f"{why} A download could not be prepared. We will try again. CSV and "
            "JSONL downloads still work.",
        )
    return TROUBLED


def _is_whole(path: Path, lease: Lease) -> bool:
    try:
        checksums.open_with_facts(path).require_whole(lease.renew)
    except Damaged:
        return False
    return True


def _build(job: Job, export: Export, lease: Lease) -> None:
    stamp = stamp_of(job)
    path = files.export_path(job.pk, stamp, export.only, export.kind)
    _remove_others(job, stamp)
    if not _is_whole(path, lease):
        # A new name each time: a worker believed dead may still write to its own file.
        part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")

        between = _between(job, export, lease, stamp, path)
        try:
            between(0, 0)
            if export.kind == "csv":
                with part.open("wb") as file:
                    for chunk in table.csv_chunks(job, export.only):
                        file.write(chunk)
                        between(0, 0)
            else:
                workbook.write_workbook(job, part, export.only, between)
            between(0, 0)
            checksums.keep_with_facts(part, path)
        finally:
            part.unlink(missing_ok=True)
    with transaction.atomic():
        # Locked: later changes of rows come after us and request the file again.
        if _is_outdated(Job.objects.select_for_update().filter(pk=job.pk), stamp):
            raise _Changed
        Export.objects.filter(pk=export.pk).delete()


def _between(
    job: Job, export: Export, lease: Lease, stamp: str, path: Path
) -> Callable[[int, int], None]:
    """What is done between two slices of rows while a file is built, with the rows that are
    written, and with the bytes that are to be packed before a workbook is. Raises _Changed,
    LeaseLost, OSError."""
    looked, worked = clock.Countdown(0), time.monotonic()

    def between(written: int, packing: int) -> None:
        nonlocal looked, worked
        files.require_room(path.parent, packing)
        if packing:
            lease.hold_for(PACKING_SECONDS)
        else:
            lease.renew()
        if looked.is_over:
            looked = clock.Countdown(OUTDATED_SECONDS)
            if _is_outdated(Job.objects.filter(pk=job.pk), stamp):
                raise _Changed
            if export.kind != "csv":
                Export.objects.filter(pk=export.pk).update(written=written)
        if export.kind != "csv":
            time.sleep(min(time.monotonic() - worked, PAUSE_SECONDS))
            worked = time.monotonic()

    return between


def _is_outdated(job: QuerySet[Job], stamp: str) -> bool:
    """Whether the job is gone, or its files would now be others than those with this stamp."""
    now = job.only(*STAMPED).first()
    return now is None or stamp_of(now) != stamp


# --- Removing files ------------- -----------------------------------------------------------------


def _remove_others(job: Job, stamp: str) -> None:
    """Remove outdated files of the job and leftovers of unfinished builds."""
    for path in files.exports_of(job.pk):
        if not path.name.startswith(f"{job.pk}-{stamp}-") or ".part" in path.name:
            files.remove_export(path)


def remove_old_exports() -> None:
    """Remove outdated files and those that nobody downloaded for a long time."""
    now = time.time()
    stamps: dict[str, str] = {}
    for path in sorted(files.exports_of()):
        if path.suffix == files.FACTS and path.with_suffix("").exists():
            continue  # removed together with its file
        with isolated(f"removing {path.name}"), suppress(FileNotFoundError):
            age = now - path.stat().st_mtime
            pk, stamp, *_ = [*path.name.split("-"), ""]
            if pk not in stamps:
                job = Job.objects.filter(pk=int(pk)).first() if pk.isdecimal() else None
                stamps[pk] = stamp_of(job) if job else ""
            is_old = stamp != stamps[pk] or ".part" in path.name
            if not stamps[pk] or age > (LEFT_SECONDS if is_old else KEPT_SECONDS):
                files.remove_export(path)
