"""Upgrade the database of an older version: back up, migrate, check, and go back when something
is wrong. Nothing else of the site runs meanwhile.

Only the database changes, so going back is putting its copy back. A mark says how far an upgrade
is; while it is there, the site does not start. One that was interrupted can be run again, unless
something has changed the database since: an older version does not know of the mark.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import msgspec
from django.apps import apps
from django.conf import settings
from django.core.management import call_command
from django.db import DatabaseError, connection
from huey.contrib.djhuey import HUEY

from batchsite import __version__

from ..models import Batch, Job, LastBackup, audit, files, locks, versions
from ..rules.plain_text import text_of
from . import backups, dumps, restores
from .backups import BadBackup, Manifest
from .restores import SiteRuns

NEWEST_READ = 1000  # jobs and batches whose columns are read by the check
WITH_SQLITE = ("", "-wal", "-shm")

INTERRUPTED = "It was interrupted."
NO_DATABASE = (
    "There is no database at {path}. Check DATA_DIR. If the database is lost, restore a backup "
    "with “manage.py restore DIR”. A new site needs no upgrade: start it."
)
RAN_SINCE = (
    "An upgrade was interrupted after its backup {backup}, and the site has run since then. "
    "To upgrade the database as it is now, delete {mark} and run this again. To go back to the "
    "backup and lose what is newer, run “manage.py restore {backup}”."
)

__all__ = ["BadBackup", "Failed", "Refused", "SiteRuns", "Upgraded", "upgrade"]


class Refused(Exception):
    """This database must not be upgraded; says why. Nothing was changed."""


class Failed(Exception):
    """The upgrade failed, and the database is as it was before; says why."""

    def __init__(self, why: str, version: str, aside: str) -> None:
        super().__init__(why)
        self.version = version  # that the database is of; "": unknown
        self.aside = aside  # where the database is that the upgrade had changed


class Upgraded(msgspec.Struct):
    """What an upgrade did."""

    backup: str  # "" if there was nothing to back up
    migrations: int  # that were applied
    before: str  # the version; "" if unknown
    after: str


class _Mark(msgspec.Struct):
    backup: str
    signs: list[str]  # see _signs, as they were when the backup was made
    goes_back: str = ""  # why


_mark_decoder = msgspec.json.Decoder(_Mark)


def upgrade(folder: Path, keep: int) -> Upgraded:
    """Upgrade the database, with a backup below `folder`.

    Raises SiteRuns, Refused, DumpError, DatabaseError, OSError, locks.Taken: nothing was changed,
    or the mark says that it has to be repeated. Raises Failed when it is back as it was.
    """
    with restores.take_site(locks.SERVE):
        mark = _read_mark()
        there = versions.newest_applied() if _is_there() else ""
        _require_same(mark, there)
        if mark is not None and mark.goes_back not in ("", INTERRUPTED):
            raise _go_back(mark)
        if mark is not None and mark.goes_back:
            _begin_anew(mark)
            there = versions.newest_applied()
        if there > versions.NEWEST_HERE:
            raise Refused(versions.why_other_schema())
        before = _stored_version()
        if mark is None and not versions.is_in_use():
            _migrate()
            versions.note()
            return Upgraded("", 0, "", __version__)
        if mark is None and not versions.pending():
            versions.note()
            return Upgraded("", 0, before, __version__)
        beat, since = restores.heartbeat(), time.monotonic()
        restores.require_no_heartbeat(beat, since)
        goes_on = mark is not None
        if mark is None:
            signs = _signs()
            mark = _Mark(backups.make(folder, keep).path, signs)
            _require_same(mark, there)
            _write_mark(mark)
        return _change(mark, before, goes_on)


def _is_there() -> bool:
    """Whether there is a database. A file is not opened for that, which would make it."""
    return dumps.is_postgresql() or dumps.sqlite_path().exists()


def _require_same(mark: _Mark | None, there: str) -> None:
    """Raises Refused when there is no database, or it is not the one that the mark was written
    for. `there`: its newest migration."""
    if mark is not None and there and _signs() != mark.signs:
        raise Refused(RAN_SINCE.format(backup=mark.backup, mark=locks.upgrade_mark()))
    goes_back = mark is not None and mark.goes_back != ""  # its file may be moved already
    is_new = mark is None and dumps.is_postgresql()  # several machines begin with this command
    if not there and not goes_back and not is_new:
        path = "DATABASE_URL" if dumps.is_postgresql() else dumps.sqlite_path()
        raise Refused(NO_DATABASE.format(path=path))


def _signs() -> list[str]:
    """What changes when a site works, and not by an upgrade: the worker's last sign of life, the
    newest job, the last sign-in, and the length of the journal."""
    journal = Path(settings.DATA_DIR, backups.JOURNAL)
    found = [restores.heartbeat()]
    with connection.cursor() as cursor:
        for column in ("max(id) FROM jobs_job", "max(last_login) FROM auth_user"):
            cursor.execute(f"SELECT {column}")
            found += cursor.fetchone()
    found.append(journal.stat().st_size if journal.exists() else 0)
    return [str(one) for one in found]


def _change(mark: _Mark, before: str, goes_on: bool) -> Upgraded:
    """`goes_on`: after an upgrade that was interrupted."""
    manifest = backups.check(Path(mark.backup))
    migrations = len(versions.pending())
    try:
        _migrate()
        why = next(_faults(manifest), "")
    except Exception as error:  # noqa: BLE001 - whatever a migration or a check raises
        why = f"{type(error).__name__}: {text_of(error)}"
    if why and goes_on:
        # One of its steps may have been made without being noted, and failed now.
        _begin_anew(mark)
        return _change(mark, before, goes_on=False)
    if why:
        mark.goes_back = why
        _write_mark(mark)
        raise _go_back(mark)
    versions.note()
    LastBackup.note(manifest.made_at, mark.backup, len(manifest.troubles))
    audit.record("site_upgraded", before={"version": before}, after={"version": __version__})
    locks.upgrade_mark().unlink()
    return Upgraded(mark.backup, migrations, before, __version__)


def _migrate() -> None:
    call_command("migrate", interactive=False, verbosity=0)


def _stored_version() -> str:
    try:
        return versions.stored()
    except DatabaseError:
        return ""  # it is older than the column


# --- The check ------------------------------------------------------------------------------------


def _faults(manifest: Manifest) -> Iterator[str]:
    """What is wrong with the database after its migration. Raises whatever reading it raises."""
    if versions.pending():
        yield "Not every migration was applied."
    with connection.cursor() as cursor:
        for what, table in dumps.COUNTED.items():
            cursor.execute(f"SELECT count(*) FROM {table}")  # noqa: S608 - names of ours
            (count,) = cursor.fetchone()
            if count != manifest.counts[what]:
                yield f"There were {manifest.counts[what]:,} {what}, and there are {count:,} now."
        if not dumps.is_postgresql():
            cursor.execute("PRAGMA integrity_check(5)")
            if (found := [str(line) for (line,) in cursor.fetchall()]) != ["ok"]:
                yield f"The database is damaged: {'; '.join(found)}"
            cursor.execute("PRAGMA foreign_key_check")
            if broken := cursor.fetchall():
                yield f"The table {broken[0][0]} refers to rows of {broken[0][2]} that are missing."
    for model in apps.get_models():
        list(model._default_manager.all()[:1])
    for read in (Job, Batch):
        list(read._default_manager.order_by("-pk")[:NEWEST_READ])
    call_command("check", stdout=StringIO())  # it says that all is well, in the middle of JSON


# --- Back -----------------------------------------------------------------------------------------


def _go_back(mark: _Mark) -> Failed:
    """Put the copy of the database back, for good. What this did is in the exception, which is not
    raised here."""
    aside = _put_back(mark)
    before = _stored_version()
    connection.close()
    locks.upgrade_mark().unlink()
    backups.sync(Path(settings.DATA_DIR))
    return Failed(mark.goes_back, before, aside)


def _begin_anew(mark: _Mark) -> None:
    """Put the copy back after an interrupted upgrade."""
    mark.goes_back = INTERRUPTED
    _write_mark(mark)
    _put_back(mark)
    mark.goes_back = ""
    _write_mark(mark)


def _put_back(mark: _Mark) -> str:
    """Put the copy of the database back. Where that is now which was there."""
    backup = Path(mark.backup)
    manifest = backups.check(backup)
    connection.close()
    HUEY.storage.close()
    stamp = datetime.now(UTC).strftime("%Y%m%d_%H%M%S")
    if dumps.is_postgresql():
        aside = dumps.new_aside_schema(stamp)
        dumps.load_postgresql(backup / manifest.database, aside)
        HUEY.storage.initialize_schema()  # its tables were moved, too
        HUEY.storage.close()
        return aside
    return _put_file_back(backup, manifest, stamp)


def _put_file_back(backup: Path, manifest: Manifest, stamp: str) -> str:
    """Where the file is now that was there. Can be repeated after each step."""
    path = dumps.sqlite_path()
    stored = next(one for one in manifest.files if one.path == manifest.database)
    new = path.with_name("upgrade.part")
    files.require_room(path.parent, stored.bytes)
    if backups.copy(backup / manifest.database, new, 0o600) != (stored.bytes, stored.sha256):
        raise BadBackup(f"{backup / manifest.database} changed while it was read.")
    aside = path.with_name(f"failed-upgrade-{stamp}")
    files.make_folder(aside)
    for ending in WITH_SQLITE:
        one = path.with_name(f"{path.name}{ending}")
        if one.exists():
            shutil.move(one, aside / one.name)
    new.rename(path)
    backups.sync(path.parent)
    return str(aside)


def _read_mark() -> _Mark | None:
    try:
        return _mark_decoder.decode(locks.upgrade_mark().read_bytes())
    except FileNotFoundError:
        return None


def _write_mark(mark: _Mark) -> None:
    with files.written_whole(locks.upgrade_mark()) as file:
        file.write(msgspec.json.encode(mark))
