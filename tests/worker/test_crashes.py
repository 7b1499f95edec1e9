"""The worker is killed with SIGKILL in the middle of each step and started again: the job comes to
its end, and nothing is sent twice.

On SQLite each point once. On PostgreSQL, where several workers are usual, a few of them with two
workers at once. What they do together under faults is in test_torture.py.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import User
from django.db import connection
from huey import PostgresHuey
from python_calamine import CalamineWorkbook

from jobs.actions import drafts, job_basics, pilots, retries, submissions
from jobs.models import PILOT_IS_IN, Attempt, Job, Outcome, Pilot, Row, RowChange, checksums, files
from jobs.results import builder, table
from jobs.rules.pilots import PilotChoice
from jobs.worker import row_changes, sent_jobs, sweep, tally

from .. import dying_worker, forking
from ..conftest import Simulator, send_again
from ..driven_jobs import RECIPE, Drive, confirmed, joined, priced, upload
from ..dying_worker import PILOT_POINTS, POINTS
from ..running import SECONDS

ROWS = [[f"n{n}", "two\nlines, and more"] for n in range(230)]
# Points that a job comes to only when something went wrong: the fault that leads there.
FAULTS = {
    "looking: found, not adopted": "drop_after_accept",
    "looking: given up, not planned again": "drop_before",
}
STOPPING = [point for point in POINTS if point.startswith("stopping")]
DELETING = [point for point in POINTS if point.startswith("deleting")]
BUILDING = [point for point in POINTS if point.startswith("building")]
PREPARING = ["preparing: some rows taken"]
LEAVING_OUT = ["leaving out: some rows left out"]
ELSEWHERE = STOPPING + DELETING + BUILDING + PREPARING + LEAVING_OUT
ON_THE_WAY = [point for point in POINTS if point not in ELSEWHERE]
if os.environ["DATABASE_URL"]:
    WORKERS = 2
    ON_THE_WAY = [
        "planning: body written, batch not",
        "planning: some rows given",
        "sending: intent committed, not journalled",
        "sending: answered, nothing committed",
        "collecting: named, nothing stored",
        "collecting: some rows stored",
    ]
else:
    WORKERS = 1


# Seconds, in the dying worker as in the one after it.
DEADLINE, GRACE = 1, 0.5


@pytest.fixture(autouse=True)
def short_waits(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.SUBMIT_DEADLINE_SECONDS, settings.RECONCILE_GRACE_SECONDS = DEADLINE, GRACE
    monkeypatch.setattr(sent_jobs, "PAUSE_OF_A_BATCH", dying_worker.PAUSE_OF_A_BATCH)


def worker(simulator: Simulator, folder: Path, *point: str | int) -> BaseProcess:
    """A worker in a process of its own, on this test's database."""
    environment = environment_of_worker(simulator.url, folder)
    return forking.start(
        dying_worker.main, *point, environment=environment, errors=complaints_of(folder)
    )


def environment_of_worker(url: str, folder: Path) -> dict[str, str]:
    """What a worker needs to work on this test's database, with the provider at `url`."""
    name = connection.settings_dict["NAME"]
    environment = {
        **os.environ,
        "DATA_DIR": str(folder),
        "ANTHROPIC_BASE_URL": url,
        "SUBMIT_DEADLINE_SECONDS": str(DEADLINE),
        "RECONCILE_GRACE_SECONDS": str(GRACE),
        "POLL_SECONDS": "0.1",
    }
    if connection.vendor == "sqlite":
        database = folder / "batchsite.sqlite3"
        if not database.exists():
            database.symlink_to(name)
    else:
        address = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}").geturl()
        environment["DATABASE_URL"] = address
        # A site has the tables of its queue before its first worker: two that make them at once
        # would get into each other's way.
        PostgresHuey("batchsite", dsn=address).storage.close()
    return environment


def complaints_of(folder: Path) -> Path:
    return folder / "worker.log"


def die_at(point: str, simulator: Simulator, folder: Path, workers: int = 1) -> None:
    """Run so many workers until one of them dies at `point`, which it must come to; then the others
    may go on for as long as it takes them to die there, too, or to have nothing left to do."""
    passes = {**POINTS, **PILOT_POINTS}[point]
    running = [worker(simulator, folder, point, passes) for _ in range(workers)]
    try:
        deadline = time.monotonic() + SECONDS
        while all(process.is_alive() for process in running):
            assert time.monotonic() < deadline, f"no worker came to “{point}”"
            time.sleep(0.02)
        while any(process.is_alive() for process in running):
            if not Job.objects.exclude(state__in=(Job.State.DRAFT, Job.State.FINISHED)).exists():
                break
            assert time.monotonic() < deadline, "the other worker came to no end"
            time.sleep(0.02)
    finally:
        for process in running:
            process.kill()
            process.join()
            assert process.exitcode == -signal.SIGKILL, complaints_of(folder).read_text()


def assert_whole(job: Job, simulator: Simulator) -> None:
    """Every row was accepted once, belongs to a batch we know, and is in the finished file."""
    accepted = simulator.accepted()
    assert len(accepted) == len(ROWS)
    assert set(accepted.values()) == {1}, "a row was accepted twice"
    ours = set(job.batches.values_list("provider_id", flat=True))
    assert {batch["id"] for batch in simulator.truth()["batches"]} == ours
    assert job.good_count == len(ROWS)
    lines = joined(job)[1:]
    assert [line[:2] for line in lines] == ROWS
    for row, line in zip(ROWS, lines, strict=True):
        assert f"What is {row[0]}?" in line[2]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("point", ON_THE_WAY)
def test_a_worker_killed_in_the_middle_loses_nothing_and_pays_once(
    alice: User, simulator: Simulator, drive: Drive, settings: Any, point: str
) -> None:
    if point.startswith("reading"):
        job = upload(alice, ROWS)
        die_at(point, simulator, settings.DATA_DIR, WORKERS)
        job = drive(job, until=lambda job: job.state == Job.State.DRAFT)
        drafts.save_recipe(job, RECIPE, job.owner)
        job = drive(job, until=priced)
        assert submissions.confirm(job, job.plan_sha256, alice)
    else:
        job = confirmed(alice, ROWS)
        if point in FAULTS:
            simulator.faults(create=[{"kind": FAULTS[point]}])
        die_at(point, simulator, settings.DATA_DIR, WORKERS)
    assert_whole(drive(job), simulator)


if connection.vendor == "sqlite":

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize("point", PILOT_POINTS)
    def test_a_worker_killed_on_the_way_of_a_pilot_sends_it_first_and_then_the_rest(
        alice: User, simulator: Simulator, drive: Drive, settings: Any, point: str
    ) -> None:
        by_rule = "the rest may go" in point
        job = confirmed(alice, ROWS, pilot=PilotChoice(20, "", 1 if by_rule else 0))
        die_at(point, simulator, settings.DATA_DIR)
        if not by_rule:
            job = drive(job, until=lambda job: job.held == PILOT_IS_IN)
            first = {f"{number:07}" for number in Pilot.objects.get().numbers}
            assert len(first) == 20
            assert set(simulator.accepted()) == first
            assert pilots.continue_job(job, alice)
        assert_whole(drive(job), simulator)
        assert Pilot.objects.get().step == Pilot.Step.RELEASED

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize("point", STOPPING)
    def test_a_worker_killed_while_it_stops_a_job_stops_it_all_the_same(
        alice: User,
        start_simulator: Callable[..., Simulator],
        drive: Drive,
        settings: Any,
        point: str,
    ) -> None:
        simulator = start_simulator(seconds=80_000, failures="none")
        job = confirmed(alice, ROWS)
        job = drive(job, until=lambda job: job.state == Job.State.WORKING)
        assert submissions.stop_job(job, alice)
        die_at(point, simulator, settings.DATA_DIR)
        job = drive(job)
        assert all(batch["cancel_requested"] for batch in simulator.truth()["batches"])
        assert job.outcome_count(Outcome.GOOD, Outcome.CANCELED) == len(ROWS)
        assert set(simulator.accepted().values()) == {1}

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize("point", BUILDING)
    def test_a_worker_killed_while_it_builds_the_files_builds_them_all_the_same(
        alice: User,
        simulator: Simulator,
        drive: Drive,
        settings: Any,
        monkeypatch: pytest.MonkeyPatch,
        point: str,
    ) -> None:
        monkeypatch.setattr(builder, "AT_ONCE", 0)  # as it is there
        job = confirmed(alice, ROWS)
        die_at(point, simulator, settings.DATA_DIR)
        job.refresh_from_db()
        assert job.state == Job.State.FINISHED
        assert job.exports.exists(), "it had more to do"
        job = drive(job, until=lambda job: not job.exports.exists())
        assert_whole(job, simulator)
        assert builder.expect_workbook(job)
        job = drive(job, until=lambda job: not job.exports.exists())
        csv, xlsx = builder.path_of(job, "csv"), builder.path_of(job, "xlsx")
        assert csv.read_bytes() == b"".join(table.csv_chunks(job))
        sheet = CalamineWorkbook.from_path(xlsx).get_sheet_by_name("Rows").to_python()
        assert [line[:2] for line in sheet[1:]] == ROWS
        whole = sorted([csv, xlsx, files.facts_path(csv), files.facts_path(xlsx)])
        assert sorted(csv.parent.iterdir()) == whole, "something was left behind"
        for file in (csv, xlsx):
            assert b"".join(checksums.open_with_facts(file).blocks()) == file.read_bytes()

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize("point", DELETING)
    def test_a_worker_killed_while_it_deletes_a_job_deletes_it_all_the_same(
        alice: User, simulator: Simulator, drive: Drive, settings: Any, point: str
    ) -> None:
        job = drive(confirmed(alice, ROWS))
        assert job_basics.delete_job(job, alice)
        die_at(point, simulator, settings.DATA_DIR)
        assert Job.objects.filter(pk=job.pk).exists(), "it had more to do"
        sweep.sweep()
        assert not Job.objects.filter(pk=job.pk).exists()
        assert not Row.objects.filter(job_id=job.pk).exists()
        assert all(batch["deleted"] for batch in simulator.truth()["batches"])


def all_failed(user: User, drive: Drive) -> Job:
    """A finished job, all of whose rows ended as if the provider had had no room."""
    job = drive(confirmed(user, ROWS))
    job.rows.update(outcome=Outcome.ERRORED, cause="overloaded_error", answer="")
    tally.count_up(job)
    return Job.objects.get(pk=job.pk)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("point", PREPARING)
def test_a_worker_killed_while_it_takes_rows_again_takes_each_of_them_once(
    alice: User, simulator: Simulator, drive: Drive, settings: Any, point: str
) -> None:
    job = all_failed(alice, drive)
    assert send_again(job, alice) == len(ROWS)
    die_at(point, simulator, settings.DATA_DIR, WORKERS)
    job = drive(job)
    assert job.good_count == len(ROWS)
    assert set(simulator.accepted().values()) == {2}, "once in each round"
    assert Attempt.objects.filter(job=job).count() == len(ROWS)
    assert set(job.rows.values_list("attempts", flat=True)) == {1}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("point", LEAVING_OUT)
def test_a_worker_killed_while_it_leaves_rows_out_leaves_all_of_them_out(
    alice: User,
    simulator: Simulator,
    drive: Drive,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    point: str,
) -> None:
    job = all_failed(alice, drive)
    monkeypatch.setattr(row_changes, "AT_ONCE", 0)
    assert retries.ignore_rows(job, "overloaded_error", len(ROWS), alice)
    die_at(point, simulator, settings.DATA_DIR)
    assert RowChange.objects.exists(), "it had more to do"
    job = drive(job, until=lambda job: not RowChange.objects.exists() and not job.exports.exists())
    assert job.ignored_count == len(ROWS)


@pytest.mark.django_db(transaction=True)
def test_the_lease_of_a_dead_worker_is_freed_at_once(
    alice: User, simulator: Simulator, settings: Any
) -> None:
    job = upload(alice, ROWS)
    die_at("reading: some rows stored", simulator, settings.DATA_DIR)
    job.refresh_from_db()
    assert job.lease_owner
    sweep.sweep()
    job.refresh_from_db()
    assert (job.state, job.lease_owner) == (Job.State.DRAFT, "")


@pytest.mark.django_db(transaction=True)
def test_three_workers_at_once_send_once(
    alice: User, simulator: Simulator, drive: Drive, settings: Any
) -> None:
    job = drive(upload(alice, ROWS), until=lambda job: job.state == Job.State.DRAFT)
    drafts.save_recipe(job, RECIPE, job.owner)
    job = drive(job, until=priced)
    assert submissions.confirm(job, job.plan_sha256, alice)
    workers = [worker(simulator, settings.DATA_DIR) for _ in range(3)]
    try:
        deadline = time.monotonic() + SECONDS
        while job.state != Job.State.FINISHED:
            assert time.monotonic() < deadline
            time.sleep(0.05)
            job.refresh_from_db()
    finally:
        for process in workers:
            process.kill()
            process.join()
    assert simulator.truth()["posts"] == job.batches.count()
    assert_whole(job, simulator)
