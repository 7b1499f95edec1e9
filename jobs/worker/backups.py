"""Backups: dated folders, each whole by itself, that share the files which have not changed.

    DIR/2026-11-28T02-15-00Z/manifest.json     what is in it, with the hash of each file
                            /database.sqlite3  or database.dump, of PostgreSQL
                            /journal.jsonl
                            /uploads, /results

The database comes first, then the journal and the files, so that nothing is missing of what it
refers to. Files that may be deleted meanwhile are held by a second name in DATA_DIR. A file that an
earlier backup has is the same file on disk (a hard link), read again to prove it.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from django.conf import settings

from ..models import files, locks
from . import dumps

FORMAT = 1
MANIFEST, JOURNAL = "manifest.json", "journal.jsonl"
FOLDERS = ("uploads", "results")
NAME = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ(-\d\d)?")
BLOCK = 1 << 20
WAIT_SECONDS = 3600  # for a backup that another process is making


class BadBackup(Exception):
    """A backup cannot be used; says why."""


class StoredFile(msgspec.Struct):
    path: str  # within the backup
    bytes: int
    sha256: str


class Manifest(msgspec.Struct):
    made_at: datetime
    database: str  # the name of its file
    migrations: list[tuple[str, str]]
    counts: dict[str, int]
    files: list[StoredFile]
    troubles: list[str]  # files that are missing or damaged on the site, in words
    format: int = FORMAT


class Made(msgspec.Struct):
    """A backup that was made."""

    path: str
    manifest: Manifest
    copied_files: int
    copied_bytes: int
    removed: list[str]  # older backups


# --- Making one -----------------------------------------------------------------------------------


def make(folder: Path, keep: int) -> Made:
    """Make a backup below `folder`, then remove all but the newest `keep`. The site may run.

    Raises DumpError, OSError, and locks.Taken when another backup takes over an hour.
    """
    files.make_folder(folder)
    with locks.take(locks.BACKUP, seconds=WAIT_SECONDS), _held_files() as held:
        for path in folder.glob("*.part"):
            if NAME.fullmatch(path.stem):
                _remove(path)  # left over by a backup that was killed
        earlier = find_all(folder)
        path = _new_path(folder)
        part = path.with_name(f"{path.name}.part")
        try:
            made = _fill(part, held, earlier[-1] if earlier else None)
            sync(part)
            part.rename(path)
        except BaseException:
            _remove(part)
            raise
        sync(folder)
        made.path = str(path)
        made.removed = _remove_old(folder, keep, path)
    return made


@contextmanager
def _held_files() -> Iterator[Path]:
    """A folder in DATA_DIR with a second name for each file, so that one that is deleted while the
    backup is made is in it all the same."""
    held = Path(settings.DATA_DIR, "backup.part")
    _remove(held)
    _hold_files(held)
    try:
        yield held
    finally:
        _remove(held)


def _hold_files(held: Path) -> None:
    for name in FOLDERS:
        files.make_folder(held / name)
        for path in Path(settings.DATA_DIR, name).glob("*"):
            if path.suffix != ".part" and path.is_file():
                # Held already, or deleted just now.
                with suppress(FileExistsError, FileNotFoundError):
                    os.link(path, held / name / path.name)


def _fill(part: Path, held: Path, earlier: Path | None) -> Made:
    """All of a backup, in a folder that is not one yet."""
    made_at = datetime.now(UTC)
    files.make_folder(part)
    if not dumps.is_postgresql() and dumps.sqlite_path().exists():
        files.require_room(part, dumps.sqlite_path().stat().st_size)
    facts = dumps.write(part)
    _hold_files(held)
    stored = [describe(part, dumps.file_name())]
    if _copy_journal(part):
        stored.append(describe(part, JOURNAL))
    known = _known(earlier)
    copied = []
    for source in _files_of(facts, held):
        name = str(source.relative_to(held))
        files.make_folder((part / name).parent)
        again = earlier and _link(earlier, part, source, known.get(name, ""), name)
        if again:
            stored.append(again)
        else:
            files.require_room(part, source.stat().st_size)
            stored.append(StoredFile(name, *copy(source, part / name)))
            copied.append(stored[-1])
    manifest = Manifest(
        made_at=made_at,
        database=dumps.file_name(),
        migrations=facts.migrations,
        counts=facts.counts,
        files=stored,
        troubles=_troubles(facts, stored),
    )
    with files.written_whole(part / MANIFEST) as file:
        file.write(msgspec.json.format(msgspec.json.encode(manifest)))
    for name in FOLDERS:
        if (part / name).exists():
            sync(part / name)
    return Made(str(part), manifest, len(copied), sum(one.bytes for one in copied), [])


def _files_of(facts: dumps.Facts, held: Path) -> Iterator[Path]:
    """Those that the database refers to: uploads with what corrects them, and results, also those
    that stayed incomplete."""
    for path in sorted(held.glob("uploads/*")):
        if path.name.split(".")[0] in facts.uploads:
            yield path
    yield from sorted(held.glob("results/*"))


def _troubles(facts: dumps.Facts, stored: list[StoredFile]) -> list[str]:
    found = {one.path: one.sha256 for one in stored}
    wanted = {f"uploads/{name}": sha256 for name, sha256 in facts.uploads.items()}
    wanted |= {f"results/{name}": sha256 for name, sha256 in facts.results.items()}
    troubles = []
    for path, sha256 in sorted(wanted.items()):
        if path not in found:
            troubles.append(f"{path} is missing on the site, so it is not in this backup.")
        elif sha256 and found[path] != sha256:
            troubles.append(f"{path} is damaged on the site: it is not what was stored.")
    return troubles


def _copy_journal(part: Path) -> bool:
    """Copy the whole lines of the journal, after the database: it may know more, never less."""
    source, target = Path(settings.DATA_DIR, JOURNAL), part / JOURNAL
    if not source.exists():
        return False
    copy(source, target, 0o600)
    with target.open("r+b") as file:
        file.truncate(file.read().rfind(b"\n") + 1)
        os.fsync(file.fileno())
    target.chmod(0o400)
    return True


# --- Files ----------------------------------------------------------------------------------------


def hash_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe(folder: Path, name: str) -> StoredFile:
    return StoredFile(name, (folder / name).stat().st_size, hash_of(folder / name))


def copy(source: Path, target: Path, mode: int = 0o400) -> tuple[int, str]:
    """Copy a file, with its time, onto the disk; its bytes and SHA-256."""
    digest, size = hashlib.sha256(), 0
    with source.open("rb") as reader, target.open("wb") as writer:
        while block := reader.read(BLOCK):
            digest.update(block)
            writer.write(block)
            size += len(block)
        writer.flush()
        os.fsync(writer.fileno())
    shutil.copystat(source, target)
    target.chmod(mode)
    return size, digest.hexdigest()


def sync(folder: Path) -> None:
    """Have the names in `folder` survive a power cut."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _link(earlier: Path, part: Path, source: Path, sha256: str, name: str) -> StoredFile | None:
    """Share a file with an earlier backup; None when it is another one there, was damaged, or the
    disk knows no hard links."""
    old, new = earlier / name, part / name
    try:
        has, wanted = old.stat(), source.stat()
        if (has.st_size, has.st_mtime_ns) != (wanted.st_size, wanted.st_mtime_ns):
            return None
        os.link(old, new)
    except OSError:
        return None
    if hash_of(new) == sha256:
        return StoredFile(name, has.st_size, sha256)
    new.unlink()
    return None


def _known(earlier: Path | None) -> dict[str, str]:
    try:
        manifest = read_manifest(earlier) if earlier else None
    except BadBackup:
        manifest = None
    return {one.path: one.sha256 for one in manifest.files} if manifest else {}


# --- Those that there are -------------------------------------------------------------------------


def find_all(folder: Path) -> list[Path]:
    """The backups below `folder`, the newest last."""
    found = [path for path in folder.glob("*") if NAME.fullmatch(path.name)]
    return sorted(path for path in found if (path / MANIFEST).exists())


def _new_path(folder: Path) -> Path:
    name = datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%SZ")
    names = [name, *(f"{name}-{number:02}" for number in range(2, 100))]
    return next(folder / name for name in names if not (folder / name).exists())


def _remove_old(folder: Path, keep: int, newest: Path) -> list[str]:
    older = [path for path in find_all(folder) if path != newest]
    removed = older[: max(len(older) - keep + 1, 0)]
    for path in removed:
        # Renamed first: what is half removed must not look like a backup.
        part = path.with_name(f"{path.name}.part")
        path.rename(part)
        _remove(part)
    return [str(path) for path in removed]


def _remove(path: Path) -> None:
    if path.exists():
        shutil.rmtree(path)


# --- Using one ------------------------------------------------------------------------------------


_manifest_decoder = msgspec.json.Decoder(Manifest)


def read_manifest(backup: Path) -> Manifest:
    """Raises BadBackup."""
    try:
        manifest = _manifest_decoder.decode((backup / MANIFEST).read_bytes())
    except FileNotFoundError:
        raise BadBackup(f"There is no backup in {backup}.") from None
    except (OSError, msgspec.MsgspecError) as error:
        raise BadBackup(f"{backup / MANIFEST} cannot be read: {error}") from error
    if manifest.format != FORMAT:
        raise BadBackup(f"{backup} was made by another version of batchsite.")
    return manifest


def check(backup: Path) -> Manifest:
    """Read all of a backup and compare it with its manifest. Raises BadBackup."""
    manifest = read_manifest(backup)
    for one in manifest.files:
        require_name(backup, one.path)
        try:
            if describe(backup, one.path) != one:
                raise BadBackup(f"This backup is damaged: {backup / one.path} has changed.")
        except OSError as error:
            raise BadBackup(f"This backup is damaged: {error}") from error
    if manifest.database not in {one.path for one in manifest.files}:
        raise BadBackup(f"This backup is damaged: it has no {manifest.database}.")
    return manifest


def require_name(backup: Path, path: str) -> None:
    """Raises BadBackup for a file that would lie outside of a backup."""
    folder, _, name = path.rpartition("/")
    if folder not in ("", *FOLDERS) or name in ("", ".", ".."):
        raise BadBackup(f"{backup} names a file that does not belong into a backup: {path}")
