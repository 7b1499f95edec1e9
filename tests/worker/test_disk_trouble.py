"""A full disk, a folder or a database that cannot be used: nothing half-written counts as done, the
job waits and says why, and it goes on by itself when it can."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import InterfaceError, OperationalError, connection, connections
from django.utils import timezone

from jobs.batches import absence, holds, submission
from jobs.models import Batch, Heartbeat, Job, files, storage
from jobs.worker import sweep

from ..batches.test_submission import assert_sent_once
from ..conftest import Simulator, let_pass
from ..driven_jobs import Drive, confirmed

pytestmark = pytest.mark.django_db(transaction=True)
ROWS = [[f"n{n}", "x"] for n in range(30)]


def trouble(_job: Job) -> bool:
    return bool(Heartbeat.get().site_trouble)


def goes_on(job: Job, drive: Drive) -> Job:
    """Whatever was in the way is gone: the job comes to its end without anybody's help."""
    Job.objects.update(next_action_at=timezone.now())
    job = drive(job)
    assert not job.held
    sweep.sweep()
    Heartbeat.objects.update(next_poll_at=timezone.now())
    sweep.sweep()
    assert not Heartbeat.get().site_trouble
    return job


def blocked_by_a_file(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("in the way")


def blocked_by_a_folder(path: Path) -> None:
    path.mkdir(parents=True)


@pytest.mark.parametrize(
    ("name", "block", "unblock", "posts"),
    [
        ("bodies", blocked_by_a_file, Path.unlink, 0),
        ("journal.jsonl", blocked_by_a_folder, Path.rmdir, 0),
        ("results", blocked_by_a_file, Path.unlink, 1),
    ],
)
def test_a_folder_that_cannot_be_written_to(
    alice: User,
    simulator: Simulator,
    drive: Drive,
    settings: Any,
    name: str,
    block: Callable[[Path], None],
    unblock: Callable[[Path], None],
    posts: int,
) -> None:
    path = Path(settings.DATA_DIR, name)
    block(path)
    job = drive(confirmed(alice, ROWS), until=trouble)
    assert "cannot be used" in Heartbeat.get().site_trouble
    assert simulator.truth()["posts"] == posts, "nothing is sent that was not journalled"
    assert not job.batches.filter(state=Batch.State.COLLECTED).exists()
    unblock(path)
    assert_sent_once(simulator, goes_on(job, drive))


def test_room_is_left_for_the_database(
    alice: User, simulator: Simulator, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(files, "ROOM_LEFT", 1 << 60)
        job = drive(confirmed(alice, ROWS), until=trouble)
        assert Heartbeat.get().site_trouble == "The disk of this site is full."
    assert_sent_once(simulator, goes_on(job, drive))


@contextmanager
def files_end_at(size: int) -> Iterator[None]:
    """No file can grow beyond `size` bytes, as on a full disk: the system refuses the write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("after", ["confirming", "sending"])
def test_a_disk_that_is_full(
    alice: User, start_simulator: Callable[..., Simulator], drive: Drive, after: str
) -> None:
    """With SQLite the database cannot be written to either; with PostgreSQL only our files."""
    simulator = start_simulator(seconds=0.5, failures="none")
    rows = [[f"n{n}", "long " * 1000] for n in range(30)]
    job = confirmed(alice, rows)
    if after == "sending":
        drive(job, until=lambda job: job.state == Job.State.WORKING)
    with files_end_at(4_000):
        for _ in range(5):
            with suppress(OperationalError):
                Job.objects.filter(pk=job.pk).update(next_action_at=timezone.now())
                Heartbeat.objects.update(next_poll_at=timezone.now())
                sweep.sweep()
        assert not job.batches.filter(state=Batch.State.COLLECTED).exists()
    assert simulator.truth()["accepted_rows"] == (30 if after == "sending" else 0)
    job = goes_on(job, drive)
    assert job.good_count == len(rows)
    assert set(simulator.accepted().values()) == {1}


def test_the_answer_to_a_batch_is_worth_the_ballast(
    alice: User, simulator: Simulator, drive: Drive, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever opens a page would make room for it, but it may be night. What is not stored would
    have to be found out again, and until then nothing goes on."""
    storage.keep_ballast()
    ballast = Path(settings.DATA_DIR, "ballast")
    job = confirmed(alice, ROWS)
    settle, was_there = submission._settle, []

    def on_a_full_disk(*args: Any, **kwargs: Any) -> None:
        was_there.append(ballast.exists())
        with monkeypatch.context() as patch:
            patch.setattr(storage, "free_bytes", lambda: 0)
            settle(*args, **kwargs)

    monkeypatch.setattr(submission, "_settle", on_a_full_disk)
    assert_sent_once(simulator, drive(job))
    assert was_there == [True] and not ballast.exists()


@contextmanager
def the_database_locked() -> Iterator[None]:
    """Somebody else holds a lock that no write gets past; it is not waited for long."""
    if connection.vendor == "sqlite":
        other = connections.create_connection("default")
        connection.cursor().execute("PRAGMA busy_timeout = 50")
        other.cursor().execute("BEGIN IMMEDIATE")
    else:
        other = connections.create_connection("default")
        connection.cursor().execute("SET lock_timeout = 50")
        other.cursor().execute("BEGIN; LOCK TABLE jobs_job, jobs_batch IN EXCLUSIVE MODE")
    try:
        yield
    finally:
        other.cursor().execute("ROLLBACK")
        other.close()
        connection.close()


@contextmanager
def the_database_away() -> Iterator[None]:
    """PostgreSQL ends our connection, as at a restart; SQLite's file is locked."""
    if connection.vendor == "sqlite":
        with the_database_locked():
            yield
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [pid])
    yield
    connection.close()


def test_a_database_that_is_locked(
    alice: User, simulator: Simulator, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = confirmed(alice, ROWS)
    with the_database_locked():
        for _ in range(3):
            with suppress(OperationalError):
                sweep.sweep()
    assert simulator.truth()["posts"] == 0
    assert_sent_once(simulator, goes_on(job, drive))


@pytest.mark.parametrize("step", ["_take_baseline", "_post", "_settle"])
def test_a_database_that_goes_away_in_the_middle_of_sending(
    alice: User,
    simulator: Simulator,
    drive: Drive,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    """Whatever was in doubt then is looked for at the provider before anything is sent."""
    settings.RECONCILE_GRACE_SECONDS = 0.1
    monkeypatch.setattr(absence, "LOOKS_BEFORE_RESEND", 1)
    job = confirmed(alice, ROWS)
    original = getattr(submission, step)
    with ExitStack() as stack, monkeypatch.context() as patch:

        def cut_off(*args: Any, **kwargs: Any) -> Any:
            patch.setattr(submission, step, original)
            stack.enter_context(the_database_away())
            return original(*args, **kwargs)

        patch.setattr(submission, step, cut_off)
        with suppress(OperationalError, InterfaceError):
            sweep.sweep()
    # Its lease would run out in a minute, and its deadline in ten.
    Job.objects.update(lease_until=None, lease_owner="")
    let_pass(Batch.objects.all(), timedelta(minutes=10))
    job = goes_on(job, drive)
    assert simulator.truth()["posts"] == 1
    assert_sent_once(simulator, job)


def test_what_is_no_trouble_of_the_site_is_not_taken_for_it(db: None) -> None:
    assert not holds.note_site_trouble(ValueError("a mistake of ours"))
    assert not holds.note_site_trouble(FileNotFoundError("an upload is gone"))
    assert not Heartbeat.get().site_trouble
