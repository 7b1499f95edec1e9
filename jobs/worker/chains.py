"""Jobs that begin with the rows of another one: write their file, and see whether the answers have
changed since. Both read all rows, in slices."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable

import msgspec
from django.conf import settings
from django.db import transaction

from ..batches.leases import Lease
from ..drafts import reading
from ..drafts.row_survey import ROWS_IN_MEMORY
from ..ingest.shapes import unreadable
from ..models import AnswersVersion, Job, JobSource, Row, clock, files, storage
from ..models.privacy import masked_columns
from ..results import next_step
from ..rules.row_contents import read_cells

WOKEN_AT_ONCE = 100  # jobs a minute
SLICE = 2_000  # rows
GONE = (
    "The job whose rows were to be used is in the trash, was deleted, or you can no longer see it."
)
UNKNOWN = "We are still comparing the answers of that job. Start from it again in a minute."
BUSY = "The job whose rows were to be used is running again. Start from it once it has finished."
TOO_LARGE = "The rows and answers are larger than a file may be."


def wake_outdated() -> None:
    """Have the worker look at jobs whose source has changed, some at a time."""
    # In any order: those whose source cannot be read now must not keep the others from their turn.
    outdated = JobSource.objects.outdated().order_by("?")
    found = list(outdated.values_list("job_id", flat=True)[:WOKEN_AT_ONCE])
    Job.objects.filter(pk__in=found).update(next_action_at=clock.now())


def _source_of(link: JobSource) -> Job | None:
    """The source as the owner of the job sees it now, masked columns and all; None if they cannot,
    or it has nothing to give any more."""
    owner = link.job.owner
    seen = Job.objects.visible_to(owner).filter(next_steps=link, contents_deleted_at=None)
    source = seen.first()
    if source:
        source.masked = masked_columns(owner, source)
    return source


def write_upload(job: Job, lease: Lease) -> bool:
    """Write the file of a job that begins with the rows of another; False if it is no such job.
    Repeatable. Raises LeaseLost, and OSError when the disk is full."""
    link = JobSource.objects.filter(job=job, sha256="").select_related("job__owner").first()
    if link is None:
        return False
    source = _source_of(link)
    if source is None or source.state != Job.State.FINISHED:
        why = GONE if source is None else BUSY
        reading.give_up(job, unreadable("no_source", why), lease)
        return True
    if not next_step.are_known(source, link.wanted):
        reading.give_up(job, unreadable("no_source", UNKNOWN), lease)
        return True
    version = AnswersVersion.of(source)
    path = files.stored_path(job.upload_file)
    files.make_folder(path.parent)
    # A new name each time: a worker believed dead may still write to its own file.
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    digest, size = hashlib.sha256(), 0
    try:
        with part.open("wb") as file:
            for block in next_step.csv_blocks(source, link.wanted):
                size += len(block)
                if size > settings.MAX_UPLOAD_BYTES:
                    reading.give_up(job, unreadable("too_much", TOO_LARGE), lease)
                    return True
                storage.require_room(link.job.owner, size)
                file.write(block)
                digest.update(block)
                lease.renew()
        if (now := _source_of(link)) is None or AnswersVersion.of(now) != version:
            return True  # it changed meanwhile: write it anew
        files.keep(part, path, mode=0o400)
    except storage.NoRoom as why:
        reading.give_up(job, unreadable("no_room", str(why)), lease)
        return True
    finally:
        part.unlink(missing_ok=True)
    _store(link, digest.hexdigest(), size, version)
    return True


def _store(link: JobSource, sha256: str, size: int, version: AnswersVersion) -> None:
    with transaction.atomic():
        mine = Job.objects.filter(
            pk=link.job_id, state=Job.State.READING, upload_file=link.job.upload_file
        )
        if mine.filter(upload_bytes=0).update(upload_bytes=size, upload_sha256=sha256):
            JobSource.objects.filter(pk=link.pk, sha256="").update(
                sha256=sha256,
                seen_changed=version.changed,
                seen_finished_at=version.finished_at,
                differs_since=None,
                differing_rows=0,
            )


def compare_with_source(job: Job, lease: Lease) -> bool:
    """See whether the answers of a job's source are still those that it began with. False if there
    is nothing to see. Raises LeaseLost."""
    link = JobSource.objects.outdated().filter(job=job).select_related("job__owner").first()
    source = _source_of(link) if link else None
    if link is None or source is None or not next_step.are_known(source, link.wanted):
        return False
    version = AnswersVersion.of(source)
    digest = hashlib.sha256()
    for block in next_step.csv_blocks(source, link.wanted):
        digest.update(block)
        lease.renew()
    differs = digest.hexdigest() != link.sha256
    rows = _count_differing(link, source, lease) if differs else 0
    now = _source_of(link)
    if now is None or AnswersVersion.of(now) != version:
        return True  # it changed meanwhile: look again
    JobSource.objects.filter(pk=link.pk, sha256=link.sha256).update(
        seen_changed=version.changed,
        seen_finished_at=version.finished_at,
        differs_since=clock.now() if differs else None,
        differing_rows=rows,
    )
    return True


def _count_differing(link: JobSource, source: Job, lease: Lease) -> int:
    """How many rows of the source are not among those of the job as they are now."""
    parts = -(-max(link.job.row_count, 1) // ROWS_IN_MEMORY)
    differing = 0
    for part in range(parts):
        mine: set[bytes] = set()
        for rows in Row.objects.filter(job=link.job_id).value_slices(SLICE, "source"):
            keys = map(_key, (read_cells(text) for _number, text in rows))
            mine.update(key for key in keys if key[0] % parts == part)
            lease.renew()
        for cells in next_step.row_slices(source, link.wanted):
            keys = map(_key, cells)
            differing += sum(key[0] % parts == part and key not in mine for key in keys)
            lease.renew()
    return differing


def _key(cells: Iterable[str]) -> bytes:
    return hashlib.blake2b(msgspec.json.encode(list(cells)), digest_size=16).digest()
