"""Room for files: what is left on the disk of the site, and what one person may take up.

New uploads stop while the disk still has a reserve, so that the answers of jobs that were sent can
be stored. Below that lies a ballast: a file that holds nothing, and is given up when the disk is
full, so that people can sign in and delete something, and the answer to a batch can be stored.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
from contextlib import suppress
from pathlib import Path

from django.conf import settings
from django.contrib.auth.models import User
from django.db import DatabaseError, InterfaceError, OperationalError
from django.db.models import F, Sum
from django.db.models.functions import Coalesce

from ..rules.wording import size
from .batches import Batch
from .jobs import Job
from .quotas import how_to_raise, quota_of

logger = logging.getLogger(__name__)

# Bytes that a stored row takes up beside its text: its other columns, and its places in indexes.
ROW_BYTES = 200
BALLAST_BYTES = 16_000_000
NO_ROOM_BYTES = 2_000_000  # with less than this, a database cannot even be opened
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
UNUSABLE = (errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM)
SQLITE_UNUSABLE = ("readonly database", "disk i/o error", "unable to open database file")
DISK_FULL = (
    "This site’s disk is almost full, so it takes no new files. Nothing of yours was lost. "
    "Tell your administrator, then try again."
)
DISK_UNUSABLE = (
    "This site can’t use its disk, so it takes no new files. Nothing of yours was lost. "
    "Tell your administrator, then try again."
)


class NoRoom(Exception):
    """A file cannot be taken; the message tells the person why, and what to do."""


def free_bytes() -> int:
    """What is left on the disk that DATA_DIR is on."""
    return shutil.disk_usage(settings.DATA_DIR).free


def is_low(needed: int = 0) -> bool:
    """Whether `needed` more bytes would use up the reserve."""
    return free_bytes() < needed + settings.DISK_RESERVE_BYTES


def bytes_used(person: User) -> int:
    """What the uploads of a person, their rows, and their results take up."""
    jobs = Job.objects.filter(owner=person).aggregate(
        bytes=Coalesce(Sum(F("upload_bytes") + F("stored_bytes")), 0)
    )
    batches = Batch.objects.filter(job__owner=person).aggregate(
        bytes=Coalesce(Sum(F("body_bytes") + F("results_bytes")), 0)
    )
    return int(jobs["bytes"]) + int(batches["bytes"])


def require_room(person: User, needed: int) -> None:
    """Raises NoRoom when `needed` more bytes are more than the disk or the person's quota has."""
    if is_low(needed):
        raise NoRoom(DISK_FULL)
    require_quota(person, needed)


def require_quota(person: User, needed: int = 0) -> None:
    """Raises NoRoom when `needed` more bytes are more than one person may take up."""
    quota, used = quota_of(person).bytes, bytes_used(person)
    if used + needed > quota:
        raise NoRoom(
            f"Your files would take up more than your disk quota of {size(quota)}. You use "
            f"{size(used)} now. Delete jobs you no longer need and empty the trash, or "
            f"{how_to_raise(person)}. Then try again."
        )


# --- A disk that is full --------------------------------------------------------------------------


def is_disk_full(error: BaseException | None) -> bool:
    """Whether something failed because the disk of files or database is full."""
    if isinstance(error, OSError):
        return error.errno in FULL
    if isinstance(error, DatabaseError):
        # SQLite; PostgreSQL's words end with those of the system.
        said = str(error).lower()
        if "disk i/o error" in said or "unable to open database file" in said:
            return free_bytes() < NO_ROOM_BYTES  # all that SQLite says when it cannot open a file
        return "disk is full" in said or os.strerror(errno.ENOSPC).lower() in said
    return False


def is_disk_unusable(error: BaseException | None) -> bool:
    """Whether something failed because the disk of files or database can only be read, fails, or
    does not let us in."""
    if isinstance(error, OSError):
        return error.errno in UNUSABLE
    said = str(error).lower()
    return isinstance(error, DatabaseError) and any(words in said for words in SQLITE_UNUSABLE)


def why_not_stored(error: OSError) -> str:
    """Why a file could not be stored, for the person; "" when it is not because of the disk."""
    if is_disk_full(error):
        return DISK_FULL
    return DISK_UNUSABLE if is_disk_unusable(error) else ""


def is_writable() -> bool:
    """Whether DATA_DIR can be changed. Asked by changing it: after an error, a file system that can
    only be read from then on may still look as if it could be written to."""
    try:
        os.utime(settings.DATA_DIR)
    except OSError:
        return False
    return True


def is_certainly_undone(error: BaseException) -> bool:
    """Whether a transaction that ended with `error` has certainly changed nothing."""
    if isinstance(error, OperationalError | InterfaceError):
        return is_disk_full(error) or is_database_busy(error)
    return True


def is_database_busy(error: BaseException | None) -> bool:
    """Whether something failed because another program keeps the database locked."""
    said = str(error).lower()
    return isinstance(error, DatabaseError) and (
        "database is locked" in said or "table is locked" in said or "lock timeout" in said
    )


def _ballast() -> Path:
    return Path(settings.DATA_DIR, "ballast")


def keep_ballast() -> None:
    """Have the ballast on the disk, if there is room for it."""
    path = _ballast()
    if is_low(BALLAST_BYTES) or (path.exists() and path.stat().st_size == BALLAST_BYTES):
        return
    with suppress(OSError), path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, BALLAST_BYTES)


def give_up_ballast_if_full() -> None:
    """Make a little room on a full disk."""
    if free_bytes() < NO_ROOM_BYTES and _ballast().exists():
        _ballast().unlink(missing_ok=True)
        logger.error("the disk is full: the ballast was removed to make a little room")
