"""Finished files that lie ready before somebody asks for them: in the folder exports, built by the
worker, one at a time.

What is to be built is in the database (Export), so a worker that dies leaves it to the next. What
is built is a file whose name has the stamp of its job: a hash of all that changes whenever rows do.
A file with another stamp than the job has now is as good as none.
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
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO

from django.db import DatabaseError, InterfaceError, transaction
from django.db.models import Q

from ..batches import holds
from ..batches.leases import Lease, LeaseLost
from ..models import Export, Job, checksums, clock, files
from ..models.checksums import CheckedFile, Damaged
from . import table, workbook

logger = logging.getLogger(__name__)

LAYOUT = 1  # another one when files are written in another way: those of before are built anew
# Rows up to which a workbook is made while the person waits: about a second.
AT_ONCE = 5_000
# How long packing a workbook may keep the worker from renewing its lease: the largest take minutes.
PACKING_SECONDS = 900
# Until it is tried again: another thread is building, the disk is full.
BUSY, TROUBLED = timedelta(seconds=2), timedelta(minutes=5)
# Between the last mark of an answer and building the files with it.
AFTER_MARKS = timedelta(minutes=1)
# How long a file is kept that nobody downloads, and what was left of building one.
KEPT_SECONDS, LEFT_SECONDS = 30 * 24 * 3600, 24 * 3600

# Writing a large file takes a processor, which the threads that send and collect need, too.
_building = threading.Lock()


class _Changed(Exception):
    """The job is not any more as it was when its file was begun."""


def stamp_of(job: Job) -> str:
    """Another one whenever the files of the job would be others.

    Whoever changes rows of a finished job takes its `finished_at` away, as sending again does, or
    counts that in `rows_changed`, in the same transaction. Those of a running one change while its
    tally or its state does. Tries are over before a job is sent.
    """
    facts = [
        LAYOUT,
        job.state,
        job.finished_at and job.finished_at.isoformat(),
        job.rows_changed,
        job.spared,
        job.name,
        job.tally,
        job.spent_pico,
        job.answer_columns,
    ]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def path_of(job: Job, kind: str, only: str = "all") -> Path:
    """Where the file is that shows the job as it is now, if it was built."""
    return files.export_path(job.pk, stamp_of(job), only, kind)


def open_ready(job: Job, kind: str, only: str = "all") -> CheckedFile | None:
    """The file that shows the job as it is now; None when it is not built, or not as it was built.
    Then the worker builds it anew."""
    path = path_of(job, kind, only)
    if not path.exists():
        return None
    try:
        file = checksums.open_with_facts(path)
    except Damaged:
        rebuild_export(job, kind, only)
        return None
    with suppress(OSError):
        os.utime(path)  # it is needed
    return file


def rebuild_export(job: Job, kind: str, only: str) -> None:
    """A finished file is not as it was built: have the worker replace it."""
    path = path_of(job, kind, only)
    logger.warning("job %s: %s is damaged and is built anew", job.pk, path.name)
    files.remove_export(path)
    request_export(job, kind, only)


def make_workbook(job: Job, only: str) -> IO[bytes]:
    """A workbook without a name, of a job that is small enough. Raises OSError."""
    with tempfile.TemporaryDirectory(dir=files.scratch()) as folder:
        path = Path(folder, "rows.xlsx")
        workbook.write_workbook(job, path, only, lambda size: files.require_room(path.parent, size))
        return path.open("rb")


# --- What is to be built --------------------------------------------------------------------------


def request_usual_exports(job: Job) -> None:
    """What most people want of a job that has finished."""
    Export.objects.get_or_create(job=job, kind="csv", only="all")
    if not workbook.is_too_wide(job):
        Export.objects.get_or_create(job=job, kind="xlsx", only="all")


def request_exports_after_review(job: Job) -> None:
    """What most people want of a finished job, once no answer was marked for a while."""
    request_usual_exports(job)
    _be_due(job, clock.now() + AFTER_MARKS)


def request_export(job: Job, kind: str, only: str) -> Export:
    """Have the worker build a file of a job that was sent."""
    with transaction.atomic():
        export, _is_new = Export.objects.get_or_create(job=job, kind=kind, only=only)
        if not export.trouble:
            _be_due(job, clock.now())
    return export


def _be_due(job: Job, when: datetime) -> None:
    """Have the worker look at a job that was sent. What is due already is not put off."""
    not_due = Q(next_action_at=None) | Q(next_action_at__gt=clock.now())
    Job.objects.filter(not_due, pk=job.pk, state__in=Job.SENT).update(next_action_at=when)


def build_next(job: Job, lease: Lease) -> timedelta | None:
    """Build one of the files that are to be built. How long until the next look; None when there
    is nothing to build. Trouble with a file is said, and is none of the job's. Raises LeaseLost.
    """
    wanted = job.exports.all()
    if not wanted.exists():
        return None
    job.refresh_from_db()
    if job.state != Job.State.FINISHED:
        wanted = wanted.exclude(kind="csv")  # it can be streamed, and is soon another one
    export = wanted.order_by("trouble", "pk").first()  # one in trouble keeps none of the others
    if export is None:
        return None
    if not _building.acquire(blocking=False):
        return BUSY
    try:
        _build(job, export, lease)
    except _Changed:
        logger.info("job %s: changed while its %s was built", job.pk, export.kind)
        # An answer was marked, and others may follow.
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
    """Say why a file could not be built. How long until it is tried again."""
    if export.trouble != why:
        Export.objects.filter(pk=export.pk).update(trouble=why)
        holds.log_once(
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
        # Another name each time: a worker that was thought dead may still write to its own.
        part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")

        def between(packing: int = 0) -> None:
            files.require_room(path.parent, packing)
            if packing:
                lease.hold_for(PACKING_SECONDS)
            else:
                lease.renew()
            now = Job.objects.filter(pk=job.pk).first()
            if now is None or stamp_of(now) != stamp:
                raise _Changed

        try:
            between()
            if export.kind == "csv":
                with part.open("wb") as file:
                    for chunk in table.csv_chunks(job, export.only):
                        file.write(chunk)
                        between()
            else:
                workbook.write_workbook(job, part, export.only, between)
            between()
            checksums.keep_with_facts(part, path)
        finally:
            part.unlink(missing_ok=True)
    with transaction.atomic():
        # Locked: whoever changes rows now comes after us, and asks for the file anew.
        now = Job.objects.select_for_update().filter(pk=job.pk).first()
        if now is None or stamp_of(now) != stamp:
            raise _Changed
        Export.objects.filter(pk=export.pk).delete()


# --- What is not needed any more ------------------------------------------------------------------


def _remove_others(job: Job, stamp: str) -> None:
    """Remove the files of the job as it was before, and what was left of building any."""
    for path in files.exports_of(job.pk):
        if not path.name.startswith(f"{job.pk}-{stamp}-") or ".part" in path.name:
            files.remove_export(path)


def remove_old_exports() -> None:
    """Remove files that nobody has downloaded for long, or that show a job as it was before."""
    now = time.time()
    stamps: dict[str, str] = {}
    for path in sorted(files.exports_of()):
        if path.suffix == files.FACTS and path.with_suffix("").exists():
            continue  # it goes with its file
        with suppress(FileNotFoundError):
            age = now - path.stat().st_mtime
            pk, stamp, *_ = [*path.name.split("-"), ""]
            if pk not in stamps:
                job = Job.objects.filter(pk=int(pk)).first() if pk.isdecimal() else None
                stamps[pk] = stamp_of(job) if job else ""
            is_old = stamp != stamps[pk] or ".part" in path.name
            if not stamps[pk] or age > (LEFT_SECONDS if is_old else KEPT_SECONDS):
                files.remove_export(path)
