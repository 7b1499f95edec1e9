"""`manage.py backup`: made while the site runs, whole, and not everything anew each night."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from pytest_django import Settings

from jobs.models import Batch, Job, files
from jobs.worker import backups, dumps

from ..running import SECONDS

pytestmark = pytest.mark.django_db(transaction=True)

MakeJob = Callable[..., Job]
RESULTS = b'{"custom_id":"x-1"}\n'


@pytest.fixture
def job(make_job: MakeJob, alice: User, settings: Settings) -> Job:
    """A finished job with an upload, results, and a line in the journal."""
    job = make_job(alice)
    sha256 = hashlib.sha256(RESULTS).hexdigest()
    batch = Batch.objects.create(
        job=job, number=1, size=2, nonce="abc", state=Batch.State.COLLECTED,
        provider_id="msgbatch_1", body_sha256="", body_bytes=1,
        results_sha256=sha256, results_bytes=len(RESULTS),
    )  # fmt: skip
    path = files.results_path(batch)
    files.make_folder(path.parent)
    path.write_bytes(RESULTS)
    Path(settings.DATA_DIR, "journal.jsonl").write_bytes(b'{"kind":"late"}\n{"cut off')
    return job


def make(folder: Path, keep: int = 14) -> backups.Made:
    made = backups.make(folder, keep)
    assert backups.check(Path(made.path)) == made.manifest
    return made


def paths(made: backups.Made) -> dict[str, Path]:
    return {one.path: Path(made.path, one.path) for one in made.manifest.files}


def test_a_backup_has_the_database_the_journal_and_the_files(job: Job, tmp_path: Path) -> None:
    made = make(tmp_path / "b")

    upload, results = f"uploads/{job.upload_file}", f"results/{job.pk}-abc.jsonl"
    assert set(paths(made)) == {dumps.file_name(), "journal.jsonl", upload, results}
    assert paths(made)[results].read_bytes() == RESULTS
    assert paths(made)["journal.jsonl"].read_bytes() == b'{"kind":"late"}\n', "whole lines"
    assert made.manifest.counts == {"jobs": 1, "rows": 2, "batches": 1, "people": 1}
    assert not made.manifest.troubles
    on_disk = {str(p.relative_to(made.path)) for p in Path(made.path).rglob("*") if p.is_file()}
    assert on_disk == {*paths(made), "manifest.json"}
    if not dumps.is_postgresql():
        with closing(sqlite3.connect(paths(made)["database.sqlite3"])) as copy:
            assert copy.execute("SELECT count(*) FROM jobs_row").fetchone() == (2,)


def test_nobody_can_sign_in_with_what_a_backup_holds(
    job: Job, tmp_path: Path, settings: Settings
) -> None:
    session = SessionStore()
    session["who"] = "alice"
    session.save()
    assert session.session_key
    Path(settings.DATA_DIR, "secret-key").write_text("the secret of this site")
    made = make(tmp_path / "b")

    if dumps.is_postgresql():
        plain = tmp_path / "plain.sql"
        dumps._run(
            dumps.find_program("pg_restore"),
            f"--file={plain}",
            str(paths(made)["database.dump"]),
            connects=False,
        )
        everything = plain.read_bytes()
    else:
        everything = b"".join(path.read_bytes() for path in Path(made.path).glob("*.*"))
    assert b"alice" in everything
    assert session.session_key.encode() not in everything
    assert not list(Path(made.path).rglob("secret-key"))


def test_two_in_the_same_second_share_what_has_not_changed(job: Job, tmp_path: Path) -> None:
    first, second = make(tmp_path / "b"), make(tmp_path / "b")

    assert first.path < second.path
    assert (first.copied_files, second.copied_files) == (2, 0)
    for name, path in paths(second).items():
        if "/" in name:
            assert path.samefile(paths(first)[name])
    assert backups.find_all(tmp_path / "b") == [Path(first.path), Path(second.path)]


def test_two_at_the_same_time_wait_for_each_other(job: Job, tmp_path: Path) -> None:
    made: list[backups.Made] = []

    def run() -> None:
        made.append(backups.make(tmp_path / "b", 14))
        connection.close()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert len({one.path for one in made}) == 2
    for one in made:
        backups.check(Path(one.path))


def test_old_ones_go_and_the_others_stay_whole(job: Job, tmp_path: Path) -> None:
    folder = tmp_path / "b"
    first = make(folder)
    (folder / "2026-01-01 by hand").mkdir()
    made = [make(folder, keep=2) for _ in range(2)]

    assert made[1].removed == [first.path]
    assert backups.find_all(folder) == [Path(one.path) for one in made]
    assert (folder / "2026-01-01 by hand").exists()
    for one in made:
        backups.check(Path(one.path))


def test_the_new_one_stays_although_the_clock_went_back(job: Job, tmp_path: Path) -> None:
    folder = tmp_path / "b"
    future = folder / "2999-01-01T00-00-00Z"
    Path(make(folder).path).rename(future)
    made = make(folder, keep=1)
    assert made.removed == [str(future)]
    assert backups.find_all(folder) == [Path(made.path)]


def test_what_is_deleted_meanwhile_is_in_it(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database of the backup refers to these files."""
    write = dumps.write

    def write_and_lose(folder: Path) -> dumps.Facts:
        facts = write(folder)
        files.upload_path(job).unlink()
        files.results_path(job.batches.get()).unlink()
        return facts

    monkeypatch.setattr(dumps, "write", write_and_lose)
    made = make(tmp_path / "b")

    assert not made.manifest.troubles
    assert len(made.manifest.files) == 4


def test_what_arrives_meanwhile_is_whole_or_not_in_it(
    job: Job, tmp_path: Path, settings: Settings
) -> None:
    part = Path(settings.DATA_DIR, "results", f"{job.pk}-def.1234.part")
    part.write_bytes(b"half")
    Path(settings.DATA_DIR, "uploads", "incoming", "x.upload").write_bytes(b"half")
    made = make(tmp_path / "b")
    assert len(made.manifest.files) == 4


@pytest.mark.no_database
def test_rows_that_change_meanwhile_are_as_they_were_at_one_moment(
    job: Job, tmp_path: Path
) -> None:
    begun, done = threading.Event(), threading.Event()

    def write() -> None:
        number = 0
        while not done.wait(0.001):
            number += 1
            Job.objects.update(name=str(number), upload_name=str(number))
            begun.set()
        connection.close()

    writer = threading.Thread(target=write)
    writer.start()
    assert begun.wait(60)
    try:
        made = [make(tmp_path / "b") for _ in range(3)]
    finally:
        done.set()
        writer.join(60)
    for one in made:
        with closing(sqlite3.connect(paths(one)["database.sqlite3"])) as copy:
            name, upload = copy.execute("SELECT name, upload_name FROM jobs_job").fetchone()
            assert name == upload


def test_a_file_that_rotted_in_an_earlier_backup_is_copied_anew(job: Job, tmp_path: Path) -> None:
    first = make(tmp_path / "b")
    name = f"results/{job.pk}-abc.jsonl"
    path = paths(first)[name]
    was = path.stat()
    path.chmod(0o600)
    path.write_bytes(RESULTS.replace(b"1", b"2"))
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
    second = make(tmp_path / "b")

    assert second.copied_files == 1
    assert paths(second)[name].read_bytes() == RESULTS


def test_what_is_missing_or_damaged_on_the_site_is_said(job: Job, tmp_path: Path) -> None:
    files.results_path(job.batches.get()).write_bytes(b"not what came")
    path = files.upload_path(job)
    path.unlink()
    said, complained = io.StringIO(), io.StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("backup", tmp_path / "b", stdout=said, stderr=complained)

    assert ended.value.code == 3
    assert "Backup made: " in said.getvalue()
    assert f"uploads/{job.upload_file} is missing" in complained.getvalue()
    assert f"results/{job.pk}-abc.jsonl is damaged" in complained.getvalue()


def test_a_full_disk_leaves_the_earlier_backups_alone(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    folder = tmp_path / "b"
    first = make(folder)
    (folder / "2026-01-01T00-00-00Z.part").mkdir()  # left over by one that was killed

    def is_full(folder: Path, needed: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(folder))

    files.results_path(job.batches.get()).touch()  # so that it has to be copied
    monkeypatch.setattr(files, "require_room", is_full)
    with pytest.raises(CommandError, match=r"No backup was made\. .*No space left"):
        call_command("backup", folder)

    assert [path.name for path in folder.iterdir()] == [Path(first.path).name]
    assert not Path(settings.DATA_DIR, "backup.part").exists()


def test_the_command_tells_programs_what_it_did(job: Job, tmp_path: Path) -> None:
    said = io.StringIO()
    call_command("backup", tmp_path / "b", "--keep", "3", "--json", stdout=said)
    told = json.loads(said.getvalue())
    assert Path(told["path"]).parent == tmp_path / "b"
    assert told["manifest"]["counts"]["jobs"] == 1


@pytest.mark.parametrize("keep", ["0", "-1", "all"])
def test_at_least_one_backup_stays(tmp_path: Path, keep: str) -> None:
    with pytest.raises(CommandError, match="1 or more"):
        call_command("backup", tmp_path / "b", f"--keep={keep}")


def test_a_backup_that_has_changed_is_found_out(job: Job, tmp_path: Path) -> None:
    made = make(tmp_path / "b")
    backup = Path(made.path)
    path = paths(made)["journal.jsonl"]
    path.chmod(0o600)
    path.write_bytes(b'{"kind":"lane"}\n')
    with pytest.raises(backups.BadBackup, match=r"damaged: .*journal\.jsonl has changed"):
        backups.check(backup)
    path.unlink()
    with pytest.raises(backups.BadBackup, match="damaged"):
        backups.check(backup)
    made.manifest.files[0].path = "uploads/../../secret"
    (backup / "manifest.json").write_bytes(msgspec.json.encode(made.manifest))
    with pytest.raises(backups.BadBackup, match="does not belong"):
        backups.check(backup)
    (backup / "manifest.json").write_text("{")
    with pytest.raises(backups.BadBackup, match="cannot be read"):
        backups.check(backup)


def test_a_program_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not dumps.is_postgresql():
        pytest.skip("SQLite needs no program")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(dumps, "PACKAGED", ())
    with pytest.raises(
        CommandError, match=r"needs PostgreSQL’s program pg_dump.*postgresql-client"
    ):
        call_command("backup", tmp_path / "b")
    assert not list((tmp_path / "b").iterdir())


def test_a_program_that_is_too_old_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not dumps.is_postgresql():
        pytest.skip("SQLite needs no program")
    old = tmp_path / "pg_dump"
    old.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.24'\n")
    old.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert dumps.find_program("pg_dump") != old


def test_a_password_is_not_among_what_other_people_see(monkeypatch: pytest.MonkeyPatch) -> None:
    if not dumps.is_postgresql():
        pytest.skip("SQLite has none")
    monkeypatch.setitem(connection.settings_dict, "PASSWORD", "not for others")
    command, environment = dumps._command(Path("/usr/bin/pg_dump"))
    assert not any("not for others" in word for word in command)
    assert environment["PGPASSWORD"] == "not for others"
