"""Where files lie under DATA_DIR, and writing them so that a crash leaves all of a file or nothing.

uploads/  what people brought, untouched; a corrected file is named after the upload, with an ending
bodies/   what is sent, one file a batch
results/  what the provider sent, untouched
exports/  finished files, built ahead, each with its size and hash beside it; they can be built anew
          at any time
search/   which rows may hold a text, see search.py; they can be built anew at any time
journal.jsonl  see journal.py
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from django.conf import settings
from django.core.files.base import File

if TYPE_CHECKING:
    from .batches import Batch
    from .jobs import Job

logger = logging.getLogger(__name__)

FACTS = ".sha256"  # ends the name of what is noted of a finished file: see checksums.py
ROOM_LEFT = 50_000_000  # bytes of the disk that our files leave to the database


def stored_path(name: str) -> Path:
    """Where an upload, or a corrected file, lies that is called `name` in the database."""
    return Path(settings.DATA_DIR, "uploads", name)


def upload_path(job: Job) -> Path:
    return stored_path(job.upload_file)


def remove_upload(name: str) -> None:
    """Remove an upload, with what was brought to correct it."""
    upload = stored_path(name)
    for path in [upload, *upload.parent.glob(f"{name}.*")]:
        path.unlink(missing_ok=True)


def remove_stored(name: str) -> None:
    """Remove one upload or corrected file, and what was left of storing it."""
    for path in (stored_path(name), stored_path(f"{name}.part")):
        path.unlink(missing_ok=True)


def take_in(upload: File[bytes], name: str) -> str:
    """Store an upload under `name`, and return its SHA-256.

    A file that lies on our disk already (an upload of the browser) is moved, others are copied.
    """
    path = stored_path(name)
    make_folder(path.parent)
    temporary = getattr(upload, "temporary_file_path", None)
    part = path.with_name(f"{name}.part")
    sha256 = getattr(upload, "sha256", "")
    if temporary and sha256:
        shutil.move(temporary(), part)
    else:
        digest = hashlib.sha256()
        with part.open("wb") as file:
            for chunk in upload.chunks():
                digest.update(chunk)
                file.write(chunk)
        sha256 = digest.hexdigest()
    keep(part, path, mode=0o400)
    return sha256


def body_path(batch: Batch) -> Path:
    return Path(settings.DATA_DIR, "bodies", f"{batch.job_id}-{batch.nonce}.json")


def results_path(batch: Batch) -> Path:
    return Path(settings.DATA_DIR, "results", f"{batch.job_id}-{batch.nonce}.jsonl")


def incoming_path(batch: Batch) -> Path:
    """Where results are written while they arrive and are not proven complete: another file each
    time, so that a worker that was thought dead cannot write into what another one has proven."""
    return results_path(batch).with_suffix(f".{secrets.token_hex(4)}.part")


def remove_incoming(batch: Batch, *, but_largest: bool = False) -> None:
    """Remove what arrived of a batch's results; `but_largest` keeps the file with the most."""
    parts = list(results_path(batch).parent.glob(f"{results_path(batch).stem}.*.part"))
    if parts and but_largest:
        parts.remove(max(parts, key=lambda path: path.stat().st_size))
    for path in parts:
        path.unlink(missing_ok=True)


def begin_incoming(batch: Batch) -> Path:
    """Where to write the results of a batch that are about to arrive. Of what arrived of them
    before, the most stays: it may be all that there will ever be. Raises OSError when they hardly
    fit on the disk."""
    remove_incoming(batch, but_largest=True)
    path = incoming_path(batch)
    require_room(path.parent, 3 * batch.body_bytes)
    return path


def incomplete_path(batch: Batch) -> Path:
    """What did arrive of results that stay incomplete."""
    return results_path(batch).with_suffix(".incomplete")


def keep_incomplete(batch: Batch) -> Path | None:
    """Keep the largest of what arrived of a batch's results, and say where; None for nothing."""
    kept = incomplete_path(batch)
    parts = [*kept.parent.glob(f"{kept.stem}.*.part"), *([kept] if kept.exists() else [])]
    if not parts:
        return None
    largest = max(parts, key=lambda path: path.stat().st_size)
    if largest != kept:
        keep(largest, kept, mode=0o440)
    return kept


def export_path(job_pk: int, stamp: str, only: str, kind: str) -> Path:
    """Where a finished file lies that was built when the job was as `stamp` says."""
    return Path(settings.DATA_DIR, "exports", f"{job_pk}-{stamp}-{only}.{kind}")


def facts_path(export: Path) -> Path:
    """Where size and hash of a finished file lie."""
    return export.with_name(f"{export.name}{FACTS}")


def exports_of(job_pk: int | None = None) -> Iterator[Path]:
    """All that lies among the finished files, also half-built ones; of one job, or of all."""
    return Path(settings.DATA_DIR, "exports").glob(f"{job_pk}-*" if job_pk else "*")


def remove_export(path: Path) -> None:
    """Remove a finished file, or what was left of building one."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
        facts_path(path).unlink(missing_ok=True)


def search_path(name: str) -> Path:
    """Where a part of a search index lies; `name` begins with the job and a dash."""
    return Path(settings.DATA_DIR, "search", name)


def search_files(job_pk: int | None = None) -> Iterator[Path]:
    """All that lies among the search indexes, also half-written; of one job, or of all."""
    return Path(settings.DATA_DIR, "search").glob(f"{job_pk}-*" if job_pk else "*")


def scratch() -> Path:
    """A folder on our disk for files without a name."""
    folder = Path(settings.DATA_DIR, "results")
    make_folder(folder)
    return folder


def make_folder(path: Path) -> None:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


def require_room(folder: Path, needed: int) -> None:
    """Raises OSError (ENOSPC) when a file of `needed` bytes would leave the disk too full for the
    database to go on."""
    make_folder(folder)
    if shutil.disk_usage(folder).free < needed + ROOM_LEFT:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


def keep(written: Path, path: Path, *, mode: int = 0o600) -> None:
    """Give a file that is written and flushed its name, so that it survives a power cut."""
    written.chmod(mode)
    with written.open("rb") as file:
        os.fsync(file.fileno())
    written.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def remove_stray_bodies(job: Job) -> None:
    """Bodies of the job that no batch refers to: a crash came between the file and the batch."""
    known = {body_path(batch) for batch in job.batches.all()}
    for path in Path(settings.DATA_DIR, "bodies").glob(f"{job.pk}-*"):
        if path not in known:
            path.unlink(missing_ok=True)


def remove_old_strays(known_uploads: Callable[[list[str]], set[str]]) -> None:
    """Remove what uploads that broke off left behind, once it is a day old. `known_uploads` says
    which of some names of uploads belong to a job."""
    day_ago = time.time() - 24 * 3600
    uploads = Path(settings.DATA_DIR, "uploads")
    old = []
    for path in [*uploads.glob("*"), *uploads.glob("incoming/*")]:
        with suppress(FileNotFoundError):  # the upload has just ended
            if path.is_file() and path.stat().st_mtime < day_ago:
                old.append(path)
    known = known_uploads([path.name.split(".")[0] for path in old])
    for path in old:
        if path.name.split(".")[0] not in known:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                logger.warning("%s cannot be removed: %s", path.name, error.strerror)


@contextmanager
def written_whole(path: Path) -> Iterator[IO[bytes]]:
    """A file to write to that appears at `path` when the block ends without an exception."""
    make_folder(path.parent)
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        yield file
    keep(part, path)
