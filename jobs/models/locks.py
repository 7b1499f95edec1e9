"""Locks on files in DATA_DIR. The system gives one back when its process ends, however that ends,
and no child inherits it: files that Python opens are closed in the programs that it starts."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import IO

from django.conf import settings

SERVE = "serve.lock"  # of the one `manage.py serve`
SITE = "site.lock"  # shared by all web processes and workers; a restore holds it alone
BACKUP = "backup.lock"  # of the one backup that is being made

LOOK_SECONDS = 0.1


class Taken(Exception):
    """Another process has the lock."""


class Unfinished(Exception):
    """A restore or an upgrade was interrupted, so what is there does not belong together."""


def take(name: str, *, shared: bool = False, seconds: float = 0) -> IO[bytes]:
    """Lock a file until it is closed, or until this process ends. Raises Taken when another process
    still has it after `seconds`."""
    path = Path(settings.DATA_DIR, name)
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
            return file
        except BlockingIOError:
            if time.monotonic() >= deadline:
                file.close()
                raise Taken(name) from None
        time.sleep(LOOK_SECONDS)


def is_free(name: str) -> bool:
    """Whether no process has the lock, alone or shared."""
    try:
        take(name).close()
    except Taken:
        return False
    return True


# --- The site -------------------------------------------------------------------------------------

_joined: list[IO[bytes]] = []  # for as long as this process lives


def join_site() -> None:
    """Let a restore know that this process works with DATA_DIR, until it ends. Raises Taken while a
    restore is under way, and Unfinished."""
    if _joined:
        return
    try:
        file = take(SITE, shared=True)
    except Taken:
        raise Taken("A backup is being restored. Start the site again when that is done.") from None
    try:
        require_finished_restore()
        require_finished_upgrade()
    except Unfinished:
        file.close()
        raise
    _joined.append(file)


def unfinished_mark() -> Path:
    """A file that is there while a restore moves things; see restores.py."""
    return Path(settings.DATA_DIR, "restore.unfinished")


def require_finished_restore() -> None:
    """Raises Unfinished."""
    if unfinished_mark().exists():
        raise Unfinished(
            "A restore was interrupted, so the site cannot start. Nothing is lost. Run the same "
            "“manage.py restore” again."
        )


def upgrade_mark() -> Path:
    """A file that is there while an upgrade changes the database; see upgrades.py."""
    return Path(settings.DATA_DIR, "upgrade.unfinished")


def require_finished_upgrade() -> None:
    """Raises Unfinished."""
    if upgrade_mark().exists():
        raise Unfinished(
            "An upgrade was interrupted, so the site cannot start. Nothing is lost. Run the same "
            "“manage.py upgrade” again."
        )
