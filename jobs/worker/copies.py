"""Which files are copied to object storage, and which copies have to go: worked out from the
database and the disk, so that it does not matter how a file came or went.

    results/<job>-<nonce>.jsonl       what Anthropic sent, once it is proven complete
    exports/<job>-<stamp>-….csv       finished files
    backups/<name>/manifest.json      a backup that is whole in the storage, with its database
    backups/files/<sha256>            uploads and results of backups, each once

A copy of results or of a finished file is deleted when the site deletes the file. That a file
is missing is no reason: copies are for that.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from django.conf import settings
from django.db.models import Exists, OuterRef

from ..models import Batch, Job, StoredCopy, clock, files
from .backups import (
    FOLDERS,
    MANIFEST,
    BadBackup,
    Manifest,
    check,
    describe,
    read_manifest,
    require_name,
    sync,
)
from .object_storage import Place, Storage

AT_ONCE = 500
T = TypeVar("T")
Kind, State = StoredCopy.Kind, StoredCopy.State


def is_on() -> bool:
    """In practice mode nothing leaves this machine."""
    return bool(settings.COPY_TO) and not settings.PRACTICE


def place() -> Place:
    return Place(settings.COPY_TO, settings.S3_ENDPOINT_URL)


def key_in_backup(backup: str, path: str, sha256: str) -> str:
    """Where a file of a backup lies. Each night makes another database; other files are shared."""
    is_shared = path.partition("/")[0] in FOLDERS
    return f"backups/files/{sha256}" if is_shared else f"backups/{backup}/{path}"


# --- Results and finished files -------------------------------------------------------------------


def find() -> None:
    """Note what is new and what has to go. Repeatable."""
    now = clock.now()
    _forget_elsewhere(now)
    _find_results()
    _find_gone_results(now)
    _find_exports(now)


def _here() -> dict[str, str]:
    return {"place": settings.COPY_TO, "endpoint": settings.S3_ENDPOINT_URL}


def _slices(values: Sequence[T]) -> Iterator[Sequence[T]]:
    return (values[begin : begin + AT_ONCE] for begin in range(0, len(values), AT_ONCE))


def _find_results() -> None:
    copied = StoredCopy.objects.filter(**_here(), batch_pk=OuterRef("pk"))
    proven = Batch.objects.filter(
        state=Batch.State.COLLECTED,
        practice=False,
        removed_at=None,
        job__contents_deleted_at=None,
    )
    proven = proven.exclude(results_sha256="").exclude(job__state=Job.State.DELETING)
    found = proven.exclude(Exists(copied)).order_by("pk")[:AT_ONCE]
    StoredCopy.objects.bulk_create(map(_of_results, found), ignore_conflicts=True)


def _of_results(batch: Batch) -> StoredCopy:
    path = files.results_path(batch)
    return StoredCopy(
        **_here(),
        key=f"results/{path.name}",
        kind=Kind.RESULTS,
        path=str(path),
        size=batch.results_bytes,
        sha256=batch.results_sha256,
        batch_pk=batch.pk,
    )


def _find_gone_results(now: datetime) -> None:
    """Those of batches, or of contents, that were deleted here; in every place."""
    there = Batch.objects.filter(pk=OuterRef("batch_pk"), removed_at=None)
    results = StoredCopy.objects.filter(kind=Kind.RESULTS)
    results.filter(~Exists(there)).have_deleted(now)


def _find_exports(now: datetime) -> None:
    found = dict(_finished_files())
    everywhere = StoredCopy.objects.filter(kind=Kind.EXPORT)
    known = everywhere.filter(**_here())
    stored = {one.key: one for one in known}
    new = []
    for key, (path, size, sha256) in found.items():
        one = stored.get(key)
        if one is None:
            facts = {"path": str(path), "size": size, "sha256": sha256}
            new.append(StoredCopy(**_here(), key=key, kind=Kind.EXPORT, **facts))
        elif one.state == State.DELETING or one.sha256 != sha256:
            mine = known.filter(pk=one.pk)
            mine.update(size=size, sha256=sha256, copied_at=None, etag="")
            mine.have_copied(now)
    StoredCopy.objects.bulk_create(new, ignore_conflicts=True)
    gone = [pk for pk, key in everywhere.values_list("pk", "key") if key not in found]
    for some in _slices(gone):
        everywhere.filter(pk__in=some).have_deleted(now)


def _finished_files() -> Iterable[tuple[str, tuple[Path, int, str]]]:
    """Those with a hash, of jobs whose contents stay, by their keys."""
    noted = [path for path in files.exports_of() if path.suffix == files.FACTS]
    pks = {path.name.partition("-")[0] for path in noted}
    jobs = Job.objects.filter(practice=False, contents_deleted_at=None)
    jobs = jobs.exclude(state=Job.State.DELETING)
    live = set()
    for some in _slices(sorted(int(pk) for pk in pks if pk.isdecimal())):
        live |= {str(pk) for pk in jobs.filter(pk__in=some).values_list("pk", flat=True)}
    for facts in noted:
        path = facts.with_suffix("")
        if path.name.partition("-")[0] in live and path.exists():
            try:
                sha256, _, size = facts.read_text().partition(" ")
                yield f"exports/{path.name}", (path, int(size), sha256)
            except (OSError, ValueError):
                continue  # it was removed just now, or counts as none


def _forget_elsewhere(now: datetime) -> None:
    """What waited to be copied to another place may be there already: it is deleted there."""
    elsewhere = StoredCopy.objects.exclude(**_here())
    elsewhere.filter(state=State.WAITING).have_deleted(now)


# --- Backups --------------------------------------------------------------------------------------


def note_backup(path: Path, manifest: Manifest, *, keep: int, removed: Sequence[str] = ()) -> None:
    """Have the worker copy a backup, and delete the copies of those that are too old: all but the
    newest `keep` whose copy is complete, and those in `removed`, which are gone here."""
    if not is_on():
        return
    now, name = clock.now(), path.name
    wanted = {}
    for one in manifest.files:
        key = key_in_backup(name, one.path, one.sha256)
        wanted[key] = _of_backup(path / one.path, key, one.bytes, one.sha256, now)
    manifest_file = describe(path, MANIFEST)
    key = key_in_backup(name, MANIFEST, "")
    last = _of_backup(path / MANIFEST, key, manifest_file.bytes, manifest_file.sha256, now)
    last.kind = Kind.MANIFEST
    for some in _slices([*wanted.values(), last]):
        # Those that are known are proven again: the copy of this backup stands on them.
        StoredCopy.objects.bulk_create(
            some,
            update_conflicts=True,
            unique_fields=["place", "endpoint", "key"],
            update_fields=["path", "backup", "state", "since", "due_at", "attempts", "trouble"],
        )
    _prune(path.parent, keep, [Path(one).name for one in removed], now)


def _of_backup(path: Path, key: str, size: int, sha256: str, now: datetime) -> StoredCopy:
    backup = path.parent.name if path.parent.name not in FOLDERS else path.parent.parent.name
    return StoredCopy(
        **_here(),
        key=key,
        kind=Kind.BACKUP,
        path=str(path),
        size=size,
        sha256=sha256,
        backup=backup,
        since=now,
        due_at=now,
    )


def _prune(folder: Path, keep: int, removed: list[str], now: datetime) -> None:
    """In each place: all but the newest `keep` whole backups of this folder go, and those that are
    gone before they were copied; where no new ones come, those in `removed`. Then what no backup
    that is left can need."""
    every = StoredCopy.objects.in_backups().exclude(state=State.DELETING)
    for one in every.order_by().values("place", "endpoint").distinct():
        backups = StoredCopy.objects.in_backups().filter(**one)
        manifests = backups.filter(kind=Kind.MANIFEST)
        if one == _here():
            mine = manifests.filter(path__startswith=f"{folder}/").order_by("-backup")
            whole = mine.filter(state=State.COPIED)
            too_old = list(whole.values_list("backup", flat=True)[keep:])
            waiting = mine.filter(state=State.WAITING).values_list("backup", "path")
            too_old += [name for name, path in waiting if not Path(path).exists()]
        else:
            too_old = list(manifests.filter(backup__in=removed).values_list("backup", flat=True))
        for name in too_old:
            backups.filter(backup=name, key__startswith=f"backups/{name}/").have_deleted(now)
        left = manifests.exclude(state=State.DELETING).order_by("backup").first()
        shared = backups.filter(key__startswith="backups/files/")
        (shared.filter(backup__lt=left.backup) if left else shared).have_deleted(now)


# --- After a restore ------------------------------------------------------------------------------


def settle_restored() -> None:
    """The database is older than the storage: what it says is proven again. Of backups only what
    is still here; the rest was deleted since, or is unknown like everything that came later."""
    now = clock.now()
    StoredCopy.objects.update(claimed_by="", claimed_until=None)
    kept = StoredCopy.objects.in_backups().exclude(state=State.DELETING)
    gone = [pk for pk, path in kept.values_list("pk", "path") if not Path(path).exists()]
    for some in _slices(gone):
        StoredCopy.objects.filter(pk__in=some).delete()
    StoredCopy.objects.filter(state=State.COPIED).have_copied(now)


# --- Getting them back ----------------------------------------------------------------------------


def fetch_file(storage: Storage, key: str, folder: Path) -> Path:
    """Fetch one object into a new file of `folder`. Raises Failed, OSError."""
    files.make_folder(folder)
    target = folder / key.rpartition("/")[2]
    storage.fetch(key, target, storage.sha256_of(key))
    return target


def fetch_backup(storage: Storage, name: str, folder: Path) -> Path:
    """Fetch a backup below `folder`, check all of it, and give it its name. What an interrupted
    fetch left is fetched anew. Raises Failed, BadBackup, OSError."""
    path = folder / name
    if path.exists():
        raise BadBackup(f"{path} exists already.")
    part = folder / f"{name}.part"
    if part.exists():
        shutil.rmtree(part)
    for one in FOLDERS:
        files.make_folder(part / one)
    key = key_in_backup(name, MANIFEST, "")
    storage.fetch(key, part / MANIFEST, storage.sha256_of(key))
    for file in read_manifest(part).files:
        require_name(part, file.path)
        files.require_room(part, file.bytes)
        storage.fetch(key_in_backup(name, file.path, file.sha256), part / file.path, file.sha256)
    check(part)
    part.rename(path)
    sync(folder)
    return path
