"""Room for files: nobody fills the disk, a full disk and a busy database are said in words, and
nothing of what was refused is left."""

from __future__ import annotations

import errno
import io
import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.files.uploadhandler import TemporaryFileUploadHandler
from django.core.management import CommandError
from django.db import DatabaseError, OperationalError, connection
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from jobs.actions import uploads
from jobs.cli import options
from jobs.ingest.shapes import Choices
from jobs.management.commands import serve
from jobs.models import Heartbeat, Job, Row, storage
from jobs.worker import advance

from ..bench import Browser
from ..conftest import PASSWORD
from ..running import Site, wait_for, with_database

CSV = b"name,text\nAda,likes it\nBen,does not\n"
QUOTA = "more than your disk quota of"
FULL = "disk is almost full"


def upload(client: Client, content: bytes = CSV) -> Any:
    file = SimpleUploadedFile("reviews.csv", content)
    return client.post(reverse("new_job"), {"file": file})


def left_over(settings: Settings) -> list[Path]:
    """Files of uploads, of which no job knows."""
    known = set(Job.objects.values_list("upload_file", flat=True))
    found = Path(settings.DATA_DIR, "uploads").rglob("*")
    return [path for path in found if path.is_file() and path.name not in known]


def words_of(response: Any) -> str:
    return str(response.content.decode())


# --- What one person may take up ---


def test_a_file_beyond_the_quota_is_refused_and_leaves_nothing(
    client_alice: Client, client_bob: Client, settings: Settings
) -> None:
    assert upload(client_alice).status_code == 302
    settings.MAX_PERSON_BYTES = 5_000
    refused = upload(client_alice, CSV * 1_000)
    assert refused.status_code == 422 and QUOTA in words_of(refused)
    assert left_over(settings) == [] and Job.objects.count() == 1
    assert upload(client_bob).status_code == 302, "what one person uses is no matter of another"


def test_every_way_to_bring_a_file_asks_for_room(
    client_alice: Client, alice: User, make_job: Callable[..., Job], settings: Settings
) -> None:
    draft, finished = make_job(alice, Job.State.DRAFT), make_job(alice)
    settings.MAX_PERSON_BYTES = 1
    for address, values in (
        (reverse("new_sample_job"), {"name": "reviews.csv"}),
        (reverse("new_pasted_job"), {"cells": "name\ttext\nAda\tlikes it"}),
        (reverse("replace", args=[draft.pk]), {"file": SimpleUploadedFile("a.csv", CSV)}),
        (reverse("correct", args=[draft.pk]), {"file": SimpleUploadedFile("a.csv", CSV)}),
        (
            reverse("upload_edits", args=[finished.pk]),
            {"file": SimpleUploadedFile("a.csv", CSV)},
        ),
    ):
        page = client_alice.post(address, values, follow=True)
        assert page.status_code == 200 and QUOTA in words_of(page), address
    known = {job.upload_file for job in (draft, finished)}
    assert {path.name for path in Path(settings.DATA_DIR, "uploads").iterdir()} <= {
        *known,
        "incoming",
    }


def test_the_command_line_says_it_too(alice: User, tmp_path: Path, settings: Settings) -> None:
    settings.MAX_PERSON_BYTES = 1
    path = tmp_path / "reviews.csv"
    path.write_bytes(CSV)
    with pytest.raises(CommandError, match=QUOTA):
        options.make_job(path, alice, "", Choices())
    assert not Job.objects.exists() and left_over(settings) == []


def test_rows_that_are_stored_count(alice: User, settings: Settings) -> None:
    job = uploads.create_job(alice, ContentFile(CSV, "reviews.csv"))
    advance.advance(job.pk)
    job.refresh_from_db()
    assert job.state == Job.State.DRAFT and job.stored_bytes > 2 * storage.ROW_BYTES
    assert storage.bytes_used(alice) == job.upload_bytes + job.stored_bytes


def test_a_file_that_unpacks_to_more_than_the_quota_stores_no_rows(
    alice: User, settings: Settings
) -> None:
    rows = b"name,text\n" + b"Ada,likes it\n" * 5_000
    job = uploads.create_job(alice, ContentFile(rows, "reviews.csv"))
    settings.MAX_PERSON_BYTES = len(rows) + 100_000
    advance.advance(job.pk)
    job.refresh_from_db()
    assert job.state == Job.State.UNREADABLE and QUOTA in job.problems.get().texts[0]
    assert not Row.objects.exists() and job.stored_bytes == 0


# --- What is left on the disk ---


def test_new_files_are_refused_below_the_reserve(client_alice: Client, settings: Settings) -> None:
    settings.DISK_RESERVE_BYTES = 10**18
    refused = upload(client_alice)
    assert refused.status_code == 422 and FULL in words_of(refused)
    assert left_over(settings) == []


def test_an_upload_ends_where_the_disk_does(
    client_alice: Client, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = iter([10**12, 10**12, 0])
    monkeypatch.setattr(storage, "free_bytes", lambda: next(free, 0))
    monkeypatch.setattr("jobs.drafts.upload_handler.LOOK_EVERY", 100_000)
    refused = upload(client_alice, CSV + b"Ada,likes it\n" * 50_000)
    assert refused.status_code == 422 and FULL in words_of(refused)
    assert left_over(settings) == []


@pytest.mark.parametrize("step", ["receive_data_chunk", "file_complete"])
def test_a_disk_that_is_full_is_no_fault_of_the_site(
    client_alice: Client, settings: Settings, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(TemporaryFileUploadHandler, step, full)
        refused = upload(client_alice)
    assert refused.status_code == 422 and FULL in words_of(refused)
    assert left_over(settings) == []
    assert upload(client_alice).status_code == 302


def test_reading_waits_for_room_and_goes_on_by_itself(alice: User, settings: Settings) -> None:
    job = uploads.create_job(alice, ContentFile(CSV, "reviews.csv"))
    reserve, settings.DISK_RESERVE_BYTES = settings.DISK_RESERVE_BYTES, 10**18
    advance.advance(job.pk)
    job.refresh_from_db()
    assert job.state == Job.State.READING and not job.is_being_read
    assert "disk" in Heartbeat.get().site_trouble
    settings.DISK_RESERVE_BYTES = reserve
    Job.objects.filter(pk=job.pk).update(next_action_at=job.created_at)
    advance.advance(job.pk)
    job.refresh_from_db()
    assert job.state == Job.State.DRAFT


def test_a_stranger_writes_nothing_to_the_disk(
    client: Client, alice: User, settings: Settings
) -> None:
    for address in (reverse("login"), reverse("new_job")):
        client.post(address, {"file": SimpleUploadedFile("a.csv", CSV), "username": "alice"})
    assert left_over(settings) == []


# --- The database ---

on_sqlite = pytest.mark.skipif(
    bool(os.environ["DATABASE_URL"]), reason="locks and limits of SQLite"
)


@pytest.fixture
def impatient(transactional_db: None) -> Iterator[None]:
    """Whatever waits for the database gives up at once."""
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout = 50")
    yield
    connection.close()


@on_sqlite
@pytest.mark.no_database
def test_a_locked_database_is_said_and_nothing_is_lost(
    impatient: None, client_alice: Client, settings: Settings
) -> None:
    client_alice.raise_request_exception = False
    other = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        busy = upload(client_alice)
        part = client_alice.post(
            reverse("new_pasted_job"), {"cells": "a\nb"}, headers={"HX-Request": "true"}
        )
    finally:
        other.execute("ROLLBACK")
        other.close()
    assert busy.status_code == 503 and "The site is busy" in words_of(busy)
    assert "Nothing was saved" in words_of(busy) and busy.headers["Retry-After"]
    assert part.status_code == 503 and words_of(part).startswith("The site is busy.")
    assert left_over(settings) == []
    assert upload(client_alice).status_code == 302


@on_sqlite
@pytest.mark.no_database
def test_a_full_database_is_said_and_what_was_refused_is_removed(
    impatient: None, client_alice: Client, settings: Settings
) -> None:
    client_alice.raise_request_exception = False
    client_alice.get(reverse("jobs"))
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE filler (text)")
        cursor.execute("PRAGMA max_page_count = 1")  # SQLite takes as many as there are
        with pytest.raises(OperationalError, match="full"):
            for _ in range(10_000):
                cursor.execute("INSERT INTO filler VALUES (%s)", ["x" * 5_000])
    try:
        # A few fit into pages that are there.
        full = next(one for _ in range(100) if (one := upload(client_alice)).status_code != 302)
        assert full.status_code == 503 and "disk is full" in words_of(full)
        assert left_over(settings) == []
    finally:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA max_page_count = 1073741823")
            cursor.execute("DROP TABLE filler")
    assert upload(client_alice).status_code == 302


def test_the_ballast_is_there_while_there_is_room(
    client: Client, alice: User, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    ballast = Path(settings.DATA_DIR, "ballast")
    with monkeypatch.context() as patch:
        patch.setattr(storage, "free_bytes", lambda: settings.DISK_RESERVE_BYTES)
        storage.keep_ballast()
        assert not ballast.exists()
    storage.keep_ballast()
    assert ballast.stat().st_blocks * 512 >= storage.BALLAST_BYTES, "it takes up its room"
    client.get(reverse("login"))
    assert ballast.exists()
    monkeypatch.setattr(storage, "free_bytes", lambda: 0)
    client.get(reverse("login"))
    assert not ballast.exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 220 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=220m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk can be mounted by the administrator of the machine only")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@on_sqlite
@pytest.mark.no_database
def test_a_whole_site_on_a_disk_without_a_free_byte(small_disk: Path, tmp_path: Path) -> None:
    """Sign-in works, an upload is refused in words, and all goes on once there is room."""
    site = Site(with_database(small_disk), DISK_RESERVE_BYTES="50000000")
    try:
        site.wait_until_ready()
        browser = Browser(site.port)
        browser.post("/setup/", username="ada", password1=PASSWORD, password2=PASSWORD)
        wait_for((small_disk / "ballast").exists, "the ballast")
        filler = small_disk / "filler"
        with pytest.raises(OSError), filler.open("wb", buffering=0) as file:
            while file.write(bytes(1 << 16)) == 1 << 16:
                pass
            raise OSError(errno.ENOSPC, "a part was written")
        assert os.statvfs(small_disk).f_bavail == 0

        again = Browser(site.port)
        assert again.post("/login/", username="ada", password=PASSWORD) == "/"
        path = tmp_path / "reviews.csv"
        path.write_bytes(CSV)
        with pytest.raises(AssertionError, match=FULL):
            again.upload("/jobs/new/", path)
        filler.unlink()
        assert again.upload("/jobs/new/", path).startswith("/jobs/")
    finally:
        site.close()


def test_what_a_broken_connection_did_is_not_undone() -> None:
    assert storage.is_certainly_undone(OperationalError("database is locked"))
    assert storage.is_certainly_undone(OSError(errno.ENOSPC, "full"))
    assert not storage.is_certainly_undone(OperationalError("server closed the connection"))
    assert not storage.is_disk_full(io.UnsupportedOperation("read"))


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "sqlite", reason="others wait for the row, also to read")
def test_a_worker_is_not_killed_for_a_database_that_can_only_be_read() -> None:
    """While another program keeps it locked, or the disk is full, no worker can give a sign of
    life. To kill it would help nothing, and break off what it sends and fetches."""
    with closing(sqlite3.connect(connection.settings_dict["NAME"])) as other:
        other.execute("BEGIN IMMEDIATE")
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA busy_timeout=50")
        with pytest.raises(DatabaseError):
            serve.read_heartbeat()
    before = Heartbeat.get().tick_at
    assert serve.read_heartbeat() == before
