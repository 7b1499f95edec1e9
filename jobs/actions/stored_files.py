"""Store what a person uploads."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath
from typing import Any

from django.contrib.auth.models import User
from django.core.files.base import File

from ..models import files, storage


@contextmanager
def store_upload(owner: User, upload: File[bytes]) -> Iterator[dict[str, Any]]:
    """Store an upload and yield the columns of Job about it. If the block fails, the file is
    removed, so that it takes up no room. Raises storage.NoRoom."""
    stored = uuid.uuid4().hex
    with store_file(owner, upload, stored) as sha256:
        yield {
            "upload_name": upload_name_of(upload),
            "upload_file": stored,
            "upload_sha256": sha256,
            "upload_bytes": files.stored_path(stored).stat().st_size,
        }


@contextmanager
def store_file(owner: User, upload: File[bytes], name: str) -> Iterator[str]:
    """Store a file under `name` and yield its SHA-256. If the block fails, the file is removed.
    Raises storage.NoRoom."""
    storage.require_room(owner, upload.size)
    try:
        yield files.take_in(upload, name)
    except BaseException as error:
        # After a lost connection the job may have been stored: tidy_up settles that.
        if storage.is_certainly_undone(error):
            files.remove_stored(name)
        if isinstance(error, OSError) and (why := storage.why_not_stored(error)):
            raise storage.NoRoom(why) from error
        raise


def default_name(upload_name: str) -> str:
    return PurePath(upload_name).stem[:200] or "Job"


def upload_name_of(upload: File[bytes]) -> str:
    return PurePath((upload.name or "upload").replace("\\", "/")).name[:255]
