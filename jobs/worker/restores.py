"""Putting a backup back in place of what is in DATA_DIR and in the database.

It is read to its end first. What was there is moved aside, never deleted. The journal stays: it
knows what was sent after the backup, and sending waits until that was looked up (recovery.py).
A restore that is interrupted leaves a mark that keeps the site from starting, and can be repeated.
"""

from __future__ import annotations

import os
import shutil
import time
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from django.conf import settings
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from django.db.migrations.loader import MigrationLoader
from django.utils.dateparse import parse_datetime
from huey.contrib.djhuey import HUEY

from ..batches import holds, journal, planning, unknown_submissions
from ..drafts import trials
from ..models import (
    Job,
    JournalState,
    SpendingCaps,
    WorkerProcess,
    clock,
    files,
    locks,
    outbox,
    versions,
)
from ..models.outbox import Facts
from ..notifications import sending
from . import backups, copies, dumps
from .backups import FOLDERS, JOURNAL, BadBackup, Manifest

ENDING_SECONDS = 40  # what the parts of a site that was stopped, or killed, may take to end
HEARTBEAT_SECONDS = 6  # a worker gives a sign of life every second or two
MODES = {"uploads": 0o400, "results": 0o440}
WITH_SQLITE = ("-wal", "-shm", "")


class SiteRuns(Exception):
    """Something of the site still runs; says what."""


class Restored(msgspec.Struct):
    """What a restore did."""

    backup: str
    made_at: datetime
    counts: dict[str, int]
    files: int
    aside: str  # the folder with what was in DATA_DIR
    aside_schema: str  # of PostgreSQL, with what was in the database
    batches_to_reconcile: int  # in the journal, and not in the database
    rows_to_reconcile: int
    spending_stopped: bool  # the journal does not say what was sent after the backup


class _Mark(msgspec.Struct):
    """How far a restore has come."""

    backup: str
    aside: str
    moved: bool = False  # all that was there is in `aside`
    schema: str = ""  # of PostgreSQL, as `aside`


def restore(folder: Path) -> Restored:
    """Put a backup back: `folder` itself, or the newest below it.

    Raises BadBackup, SiteRuns, DumpError, OSError: then either nothing was changed, or the mark
    says that it has to be repeated.
    """
    backup = _find(folder)
    with take_site(locks.SERVE, locks.BACKUP):
        # After an interrupted one the database may be half moved: nobody may open it, and no worker
        # has started since.
        beat = None if locks.unfinished_mark().exists() else heartbeat()
        since = time.monotonic()
        manifest = backups.check(backup)
        _require_ours(manifest)
        new = Path(settings.DATA_DIR, "restore.part")
        _prepare(backup, manifest, new)
        require_no_heartbeat(beat, since)
        aside, schema = _switch(backup, manifest, new)
        report = _settle(backup, manifest, aside, schema)
        locks.unfinished_mark().unlink()
        locks.upgrade_mark().unlink(missing_ok=True)  # its database was replaced
        backups.sync(settings.DATA_DIR)
    return report


def _find(folder: Path) -> Path:
    folder = folder.resolve()
    if (folder / backups.MANIFEST).exists():
        return folder
    if found := backups.find_all(folder):
        return found[-1]
    raise BadBackup(f"There is no backup in {folder}.")


# --- Before anything is touched -------------------------------------------------------------------


def take_site(*others: str) -> ExitStack:
    """Keep the site from running, and from starting meanwhile, and take `others`, too. Raises
    SiteRuns."""
    with ExitStack() as taken:
        try:
            for name in others:
                taken.enter_context(locks.take(name))
            taken.enter_context(locks.take(locks.SITE, seconds=ENDING_SECONDS))
        except locks.Taken as error:
            what = {
                locks.SERVE: "“manage.py serve” is running",
                locks.BACKUP: "a backup is being made",
                locks.SITE: "a web server or worker of it is running",
            }
            raise SiteRuns(what[str(error)]) from None
        return taken.pop_all()


def heartbeat() -> object:
    """The worker's last sign of life; None when the database cannot say: it is damaged or empty,
    which may be why it is restored."""
    try:
        # The latter before the migration 0035_one_row_models.
        for table in ("jobs_heartbeat", "jobs_installation"):
            with suppress(DatabaseError), connection.cursor() as cursor:
                cursor.execute(f"SELECT tick_at FROM {table} WHERE id = 1")  # noqa: S608 - ours
                return next((parse_datetime(str(at)) for (at,) in cursor.fetchall()), None)
        return None
    finally:
        connection.close()


def require_no_heartbeat(beat: object, since: float) -> None:
    """A worker on another machine may hold no lock that is seen here. Raises SiteRuns."""
    if beat is None:
        return
    time.sleep(max(since + HEARTBEAT_SECONDS - time.monotonic(), 0))
    if heartbeat() != beat:
        raise SiteRuns("a worker on another machine is running")


def _require_ours(manifest: Manifest) -> None:
    """Raises BadBackup when this site cannot use it."""
    if manifest.database != dumps.file_name():
        kinds = {dumps.SQLITE_FILE: "SQLite", dumps.POSTGRESQL_FILE: "PostgreSQL"}
        raise BadBackup(
            f"This backup is of a site with {kinds.get(manifest.database, 'another database')}, "
            f"and this one uses {kinds[dumps.file_name()]}. Set DATABASE_URL as it was then."
        )
    known = set(MigrationLoader(None).disk_migrations)
    new = [(app, name) for app, name in manifest.migrations if (app, name) not in known]
    # Each version squashes as many as it has. Those that were squashed are in the list, too.
    if unknown := [(app, name) for app, name in new if "_squashed_" not in name]:
        raise BadBackup(
            "This backup was made by a newer version of batchsite "
            f"(it has {unknown[0][0]}.{unknown[0][1]}). Install that version first."
        )


def _prepare(backup: Path, manifest: Manifest, new: Path) -> None:
    """Lay out in `new` all that is to be put in place. Files that are here already are shared, also
    results from after the backup: what was paid for is then not fetched, or lost, again."""
    shutil.rmtree(new, ignore_errors=True)
    mark = _read_mark()  # a restore was interrupted: some of it may have been moved
    roots = [Path(settings.DATA_DIR), *([Path(mark.aside)] if mark else [])]
    for name in FOLDERS:
        files.make_folder(new / name)
    files.make_folder(new / "uploads" / "incoming")
    for one in manifest.files:
        if one.path == JOURNAL or (one.path == manifest.database and dumps.is_postgresql()):
            continue
        target = new / one.path
        if here := next((root for root in roots if _is_same(root / one.path, one)), None):
            os.link(here / one.path, target)
            continue
        files.require_room(new, one.bytes)
        mode = MODES.get(target.parent.name, 0o600)
        if backups.copy(backup / one.path, target, mode) != (one.bytes, one.sha256):
            raise BadBackup(f"{backup / one.path} changed while it was read.")
    for root in roots:
        for path in (root / "results").glob("*"):
            target = new / "results" / path.name
            if path.suffix != ".part" and path.is_file() and not target.exists():
                os.link(path, target)
    for name in FOLDERS:
        backups.sync(new / name)


def _is_same(path: Path, one: backups.StoredFile) -> bool:
    try:
        return path.stat().st_size == one.bytes and backups.hash_of(path) == one.sha256
    except FileNotFoundError:
        return False


# --- The switch -----------------------------------------------------------------------------------


def _switch(backup: Path, manifest: Manifest, new: Path) -> tuple[Path, str]:
    """Move what was there aside, and what was laid out in its place; where the former is now."""
    connection.close()
    HUEY.storage.close()
    stamp = datetime.now(UTC).strftime("%Y%m%d_%H%M%S")
    new_aside = _free_path(Path(settings.DATA_DIR), f"before-restore-{stamp}")
    mark = _read_mark() or _Mark(str(backup), str(new_aside))
    mark.backup = str(backup)
    _write_mark(mark)
    aside = Path(mark.aside)
    files.make_folder(aside)
    for name in _names_of_site():
        path = Path(settings.DATA_DIR, name)
        if not path.exists():
            continue
        if mark.moved:
            _remove(path)  # half a restore's, which was interrupted
        else:
            path.rename(_free_path(aside, name))
    _keep_newer_journal(backup, aside)
    mark.moved = True
    _write_mark(mark)
    if dumps.is_postgresql():
        _load_postgresql(backup / manifest.database, mark, stamp)
    else:
        (new / manifest.database).rename(dumps.sqlite_path())
    for name in FOLDERS:
        (new / name).rename(Path(settings.DATA_DIR, name))
    shutil.rmtree(new)
    backups.sync(settings.DATA_DIR)
    return aside, mark.schema


def _load_postgresql(dump: Path, mark: _Mark, stamp: str) -> None:
    schema = dumps.new_aside_schema(stamp)
    if mark.schema not in dumps.aside_schemas():
        mark.schema = schema
        _write_mark(mark)
    # Else the tables that are there now are those of a restore that was interrupted.
    dumps.load_postgresql(dump, schema)


def _names_of_site() -> list[str]:
    """All in DATA_DIR that belongs to one state of the site. Bodies, finished files and
    search indexes are made anew, and the queue is only a clock."""
    names = [*FOLDERS, "bodies", "exports", "search"]
    names += [f"queue.sqlite3{ending}" for ending in WITH_SQLITE]
    if not dumps.is_postgresql():
        names += [f"{dumps.sqlite_path().name}{ending}" for ending in WITH_SQLITE]
    return names


def _free_path(folder: Path, name: str) -> Path:
    """Where `name` can be put in `folder` without replacing anything: each start of a program makes
    some of it anew."""
    paths = [folder / name, *(folder / f"{name}-{number}" for number in range(2, 100))]
    return next(path for path in paths if not path.exists())


_mark_decoder = msgspec.json.Decoder(_Mark)


def _read_mark() -> _Mark | None:
    try:
        return _mark_decoder.decode(locks.unfinished_mark().read_bytes())
    except FileNotFoundError:
        return None


def _write_mark(mark: _Mark) -> None:
    with files.written_whole(locks.unfinished_mark()) as file:
        file.write(msgspec.json.encode(mark))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


# --- The journal ----------------------------------------------------------------------------------


def _keep_newer_journal(backup: Path, aside: Path) -> None:
    """Leave a journal that goes on where the backup's ends as it is. Another one is completed: with
    all that the backup's has, and a note that what was sent since then may be in neither."""
    path = Path(settings.DATA_DIR, JOURNAL)
    theirs, ours = _read(backup / JOURNAL), _read(path)
    # Without a beginning in common, nobody knows whether they are of one site.
    if theirs and ours.startswith(theirs):
        return
    with suppress(FileNotFoundError, FileExistsError):
        os.link(path, aside / JOURNAL)
    known = set(theirs.splitlines())
    with files.written_whole(path) as file:
        file.write(theirs)
        file.writelines(line + b"\n" for line in ours.splitlines() if line and line not in known)
        file.write(journal.GAP)


def _has_gap_since(backup: Path) -> bool:
    """Whether the journal may lack what was sent after the backup."""
    since = _read(Path(settings.DATA_DIR, JOURNAL))[len(_read(backup / JOURNAL)) :]
    return journal.GAP in since or journal.has_damage(since)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


# --- Afterwards -----------------------------------------------------------------------------------


def _settle(backup: Path, manifest: Manifest, aside: Path, schema: str) -> Restored:
    """Bring the database up to date, and find out what it does not know."""
    call_command("migrate", interactive=False, verbosity=0)
    versions.note()
    if dumps.is_postgresql():
        # Here, because several parts of a site that make them at once fail.
        HUEY.storage.initialize_schema()
        HUEY.storage.close()
    batches, rows = unknown_submissions.count_unknown()
    JournalState.row().update(checked=0, ahead=batches, asked_at=None, report="")
    Job.objects.exclude(lease_owner="").update(lease_until=None, lease_owner="")
    # None of them runs any more, and none has died: nobody is to be told so.
    WorkerProcess.objects.filter(died_at=None).delete()
    sending.settle_restored()
    copies.settle_restored()
    trials.settle_restored()
    # What was sent of a job that is being read is restored once it is read.
    being_read = Job.objects.filter(state=Job.State.READING).exclude(trashed_at=None)
    being_read.update(trashed_at=None, next_action_at=clock.now())
    stops = _has_gap_since(backup) and Job.objects.filter(practice=False).exists()
    if stops:
        planning.take_back_all()
        _stop_spending()
    connection.close()
    return Restored(
        backup=str(backup),
        made_at=manifest.made_at,
        counts=manifest.counts,
        files=len(manifest.files),
        aside=str(aside),
        aside_schema=schema,
        batches_to_reconcile=batches,
        rows_to_reconcile=rows,
        spending_stopped=stops,
    )


def _stop_spending() -> None:
    with transaction.atomic():
        if SpendingCaps.row().filter(stopped_at=None).update(stopped_at=clock.now()):
            facts = Facts(text="The site was restored from a backup that may lack what was sent.")
            outbox.tell("spending_stopped", holds.people_who_send(), facts=facts)
