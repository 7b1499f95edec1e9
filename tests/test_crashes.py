"""The worker is killed with SIGKILL in the middle of each step and started again: the job finishes,
and nothing is sent twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import User
from django.db import connection

from jobs import actions, lifecycle
from jobs.models import Job

from .conftest import Simulator
from .dying_worker import POINTS
from .environment import ROOT
from .test_lifecycle import RECIPE, Drive, joined, priced, upload

ROWS = [[f"n{n}", "two\nlines, and more"] for n in range(230)]


def worker(simulator: Simulator, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """A worker in a process of its own, on this test's database."""
    name = connection.settings_dict["NAME"]
    environment = {
        **os.environ,
        "DATA_DIR": str(folder),
        "ANTHROPIC_BASE_URL": simulator.url,
        "SUBMIT_DEADLINE_SECONDS": "2",
        "RECONCILE_GRACE_SECONDS": "1",
        "POLL_SECONDS": "0.1",
    }
    if connection.vendor == "sqlite":
        database = folder / "batchsite.sqlite3"
        if not database.exists():
            database.symlink_to(name)
    else:
        address = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}")
        environment["DATABASE_URL"] = address.geturl()
    return subprocess.Popen(
        [sys.executable, "-m", "tests.dying_worker", *arguments],
        cwd=ROOT,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )


def die_at(point: str, simulator: Simulator, folder: Path) -> None:
    """Run a worker until it dies at `point`, which it must come to."""
    process = worker(simulator, folder, point, str(POINTS[point]))
    _, complaints = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, complaints


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
@pytest.mark.parametrize("point", POINTS)
def test_a_worker_killed_in_the_middle_loses_nothing_and_pays_once(
    alice: User, simulator: Simulator, drive: Drive, settings: Any, point: str
) -> None:
    settings.SUBMIT_DEADLINE_SECONDS = 2
    settings.RECONCILE_GRACE_SECONDS = 1
    job = upload(alice, ROWS)
    if point.startswith("reading"):
        die_at(point, simulator, settings.DATA_DIR)
    job = drive(job, until=lambda job: job.state == Job.State.DRAFT)
    actions.save_recipe(job, RECIPE)
    job = drive(job, until=priced)
    assert actions.confirm(job, job.plan_sha256, alice)
    if not point.startswith("reading"):
        die_at(point, simulator, settings.DATA_DIR)
    assert_whole(drive(job), simulator)


@pytest.mark.django_db(transaction=True)
def test_the_lease_of_a_dead_worker_is_freed_at_once(
    alice: User, simulator: Simulator, drive: Drive, settings: Any, make_job: Callable[..., Job]
) -> None:
    job = upload(alice, ROWS)
    die_at("reading: some rows stored", simulator, settings.DATA_DIR)
    job.refresh_from_db()
    assert job.lease_owner
    lifecycle.sweep()
    job.refresh_from_db()
    assert (job.state, job.lease_owner) == (Job.State.DRAFT, "")


@pytest.mark.django_db(transaction=True)
def test_three_workers_at_once_send_once(
    alice: User, simulator: Simulator, drive: Drive, settings: Any
) -> None:
    job = drive(upload(alice, ROWS), until=lambda job: job.state == Job.State.DRAFT)
    actions.save_recipe(job, RECIPE)
    job = drive(job, until=priced)
    assert actions.confirm(job, job.plan_sha256, alice)
    workers = [worker(simulator, settings.DATA_DIR) for _ in range(3)]
    try:
        deadline = time.monotonic() + 60
        while job.state != Job.State.FINISHED:
            assert time.monotonic() < deadline
            time.sleep(0.05)
            job.refresh_from_db()
    finally:
        for process in workers:
            process.kill()
            process.communicate()
    assert simulator.truth()["posts"] == job.batches.count()
    assert_whole(job, simulator)
