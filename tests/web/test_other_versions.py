"""Parts of a site that are of different versions refuse each other, and say so."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from gunicorn.workers.gthread import ThreadWorker

from batchsite import __version__
from jobs.models import Installation, WorkerProcess, processes, versions
from jobs.web import server
from jobs.worker import presence

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def nothing_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "trouble", "")


def upgraded() -> None:
    MigrationRecorder(connection).record_applied("jobs", "9999_later")
    Installation.objects.update(version="9.0.0")


def downgraded() -> None:
    MigrationRecorder.Migration.objects.filter(name__contains=versions.NEWEST_HERE).delete()


def other_release() -> None:
    Installation.objects.update(version="9.0.0")


@pytest.mark.parametrize(
    ("happens", "words"),
    [
        (upgraded, "The database was upgraded to batchsite 9.0.0"),
        (downgraded, "The database is of an older version"),
        (other_release, "The site runs batchsite 9.0.0"),
    ],
)
def test_web_and_worker_refuse_a_database_of_another_version(
    happens: Callable[[], None], words: str, client_alice: Client
) -> None:
    assert versions.look() == ""
    assert client_alice.get("/").status_code == 200
    happens()

    with pytest.raises(presence.WrongVersion, match=words):
        presence.begin()
    assert not WorkerProcess.objects.exists()
    page = client_alice.get("/")
    assert page.status_code == 503 and "The site is being upgraded" in page.content.decode()
    fragment = client_alice.get("/", headers={"HX-Request": "true"})
    assert fragment.status_code == 503 and "<html" not in fragment.content.decode()
    assert Client().get("/readyz").status_code == 503


@pytest.mark.parametrize(
    "command",
    [
        ("job", "list"),
        ("audit",),
        ("erase", "ann", "--data", "--yes"),
        ("notifications", "list", "--owner", "ann"),
        ("two_factor_off", "ann"),
    ],
)
def test_commands_refuse_it_too(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    upgraded()
    with pytest.raises((CommandError, SystemExit)) as refused:
        call_command(*command)
    said = f"{refused.value}{capsys.readouterr().err}"
    assert "The database was upgraded to batchsite 9.0.0" in said


def test_new_files_beside_a_running_process_do_not_make_it_newer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`git pull`, and the web server was not started again: the old code still runs."""
    monkeypatch.setattr(Path, "glob", lambda _folder, _names: iter([Path("9999_later.py")]))
    assert versions.look() == ""
    upgraded()
    assert "The database was upgraded" in versions.look()


def test_each_web_process_looks_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A forked process has none of its parent’s threads, so each starts its own."""
    began: list[bool] = []
    monkeypatch.setattr(versions, "begin", lambda: began.append(True))
    monkeypatch.setattr(ThreadWorker, "load_wsgi", lambda _worker: None)
    server.Worker.load_wsgi(server.Worker.__new__(server.Worker))
    assert began


def test_the_version_that_upgraded_the_database_works_with_it() -> None:
    upgraded()
    MigrationRecorder.Migration.objects.filter(name="9999_later").delete()
    assert versions.look()
    versions.note()
    assert versions.look() == ""
    assert Installation.get().version == __version__


def test_a_worker_is_there_until_it_ends_and_one_that_died_is_noticed() -> None:
    presence.beat()
    mine = WorkerProcess.objects.get()
    assert mine.name == processes.PROCESS and mine.version == __version__
    presence.beat()
    assert WorkerProcess.objects.get().seen_at >= mine.seen_at

    gone = f"{processes.HOST}|{os.getpid()}|an earlier one"
    elsewhere = "another|1|1"
    for name in (gone, elsewhere):
        WorkerProcess.objects.create(name=name, machine="m", version="1")
    presence.note_the_dead()
    died = WorkerProcess.objects.exclude(died_at=None).values_list("name", flat=True)
    assert list(died) == [gone]
