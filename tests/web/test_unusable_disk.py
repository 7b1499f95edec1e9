"""A disk that can only be read, fails, or was full in the middle of a file: pages say what is the
matter, and the site can start again afterwards."""

from __future__ import annotations

import errno
import gc
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.files.uploadhandler import TemporaryFileUploadHandler
from django.core.management import CommandError
from django.db import OperationalError, connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from jobs.batches import holds
from jobs.management.commands import serve
from jobs.models import Heartbeat, Job, audit, files, storage
from jobs.web import probes, request_limits
from jobs.web.static_storage import StaticStorage
from jobs.worker import site_facts

from ..conftest import Simulator, store_job
from ..driven_jobs import Drive, confirmed

CANNOT = "The site can’t use its disk"


@pytest.fixture
def read_only_database(transactional_db: None) -> Iterator[None]:
    """SQLite refuses to write, as where its file can only be read."""
    if connection.vendor != "sqlite":
        pytest.skip("a database in a file")
    yield
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA query_only = OFF")


def refuse_writes() -> None:
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA query_only = ON")


def test_a_database_that_can_only_be_read_is_no_fault_of_the_site(
    read_only_database: None, client_alice: Client
) -> None:
    client_alice.raise_request_exception = False
    client_alice.get(reverse("new_job"))
    refuse_writes()
    file = SimpleUploadedFile("reviews.csv", b"a,b\n1,2\n")
    whole = client_alice.post(reverse("new_job"), {"file": file})
    part = client_alice.post(
        reverse("new_pasted_job"), {"cells": "a\nb"}, headers={"HX-Request": "true"}
    )
    assert whole.status_code == 503 and CANNOT in whole.content.decode()
    assert "Nothing was saved" in whole.content.decode() and whole.headers["Retry-After"]
    assert part.status_code == 503 and part.content.decode().startswith(CANNOT)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM])
@pytest.mark.parametrize("step", ["new_file", "receive_data_chunk", "file_complete", "keep"])
def test_an_upload_to_a_folder_that_cannot_be_used_is_refused_in_words(
    client_alice: Client, monkeypatch: pytest.MonkeyPatch, step: str, number: int
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    where = files if step == "keep" else TemporaryFileUploadHandler
    monkeypatch.setattr(where, step, fail)
    file = SimpleUploadedFile("reviews.csv", b"a,b\n1,2\n")
    refused = client_alice.post(reverse("new_job"), {"file": file})
    assert refused.status_code == 422 and "can’t use its disk" in refused.content.decode()


@pytest.mark.parametrize("kind", ["csv", "jsonl", "xlsx"])
def test_a_download_that_cannot_be_recorded_gives_its_place_back_at_once(
    client_alice: Client,
    alice: User,
    simulator: Simulator,
    drive: Drive,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    job = drive(confirmed(alice, [["n1", "x"]]))
    client_alice.raise_request_exception = False
    error = OperationalError("attempt to write a readonly database")
    monkeypatch.setattr(audit, "record", mock.Mock(side_effect=error))
    gc.disable()  # it would give them back some time
    try:
        for _ in range(request_limits.OF_ONE_PERSON + 1):
            refused = client_alice.get(reverse("download", args=[job.pk, kind]))
            assert refused.status_code == 503 and CANNOT in refused.content.decode()
        assert not request_limits.downloads.taken
    finally:
        gc.enable()


def test_rows_of_a_file_that_waits_for_room_can_be_looked_at(
    client_alice: Client, alice: User
) -> None:
    """Its columns are stored when all of it was read."""
    job = store_job(alice, Job.State.DRAFT, rows=[["n1", "x"], ["n2", "y"]])
    Job.objects.filter(pk=job.pk).update(state=Job.State.READING, columns=[])
    for path in ("", "rows/", "rows/?q=n1", "rows/1/"):
        assert client_alice.get(f"/jobs/{job.pk}/{path}").status_code in (200, 404), path
    assert client_alice.get(f"/jobs/{job.pk}/rows/").status_code == 200


@pytest.fixture
def small_disk(tmp_path: Path, settings: Settings) -> Iterator[Callable[[str], None]]:
    """DATA_DIR on a disk of its own, and a function that mounts it anew, with options."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a disk can be mounted by the administrator of the machine only")
    settings.DATA_DIR = tmp_path

    def mount_anew(options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", str(tmp_path)], check=True)

    yield mount_anew
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def test_monitoring_and_the_system_page_say_that_nothing_can_be_stored(
    small_disk: Callable[[str], None], db: None, settings: Settings
) -> None:
    """No worker can say so: its sign is in the database, which is as read-only."""
    settings.DISK_RESERVE_BYTES = 0
    Heartbeat.objects.update(tick_at=timezone.now())
    assert probes.is_ready() and not site_facts.gather().site_trouble
    small_disk("ro")
    assert not storage.is_writable() and not probes.is_ready()
    assert site_facts.gather().site_trouble == holds.UNUSABLE
    small_disk("rw")
    assert probes.is_ready() and not site_facts.gather().site_trouble


@pytest.mark.parametrize("left", [b"", b'{"paths": {"favicon.svg": "favi'])
def test_a_list_of_static_files_that_was_cut_off_is_made_anew(tmp_path: Path, left: bytes) -> None:
    """By a full disk or a power cut. Otherwise the site could not start again."""
    (tmp_path / "staticfiles.json").write_bytes(left)
    anew = StaticStorage(location=str(tmp_path), base_url="/static/")
    assert anew.hashed_files == {}
    anew.hashed_files = {"favicon.svg": "favicon.1234.svg"}
    anew.save_manifest()
    again = StaticStorage(location=str(tmp_path), base_url="/static/")
    assert again.hashed_files == anew.hashed_files


def test_a_site_that_cannot_write_its_static_files_says_so(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(command: str, **_: Any) -> None:
        if command == "collectstatic":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(serve, "call_command", fail)
    monkeypatch.setattr(connection, "close", lambda: None)
    with pytest.raises(CommandError, match="static files cannot be written"):
        serve.set_up()
