"""A long job is counted now and then, however often its rows change."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.db import connection

from jobs.models import Job, clock, note_change
from jobs.worker import tally

from ..conftest import store_job


@pytest.fixture
def up(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that this machine is up, as a list of one."""
    now = [1_000.0]
    monkeypatch.setattr(clock, "uptime", lambda: now[0])
    monkeypatch.setattr(tally, "_pauses", {})
    monkeypatch.setattr(tally, "COUNTED_AT_ONCE", 1)
    monkeypatch.setattr(tally, "PAUSE_SECONDS_A_ROW", 5)  # the jobs here have two rows
    return now


def changed(job: Job) -> int:
    note_change(job.pk)
    return job.pk


def is_counted(job: Job) -> bool:
    return not Job.objects.stale().filter(pk=job.pk).exists()


def test_there_is_a_pause_between_two_counts_of_a_long_job(alice: User, up: list[float]) -> None:
    job, other = store_job(alice), store_job(alice)
    assert tally.count_in_turn(changed(job)) is None
    assert tally.count_in_turn(job.pk) is None, "it is up to date"
    assert tally.count_in_turn(changed(job)) == tally.COUNT_AGAIN
    assert tally.count_in_turn(changed(other)) is None, "the pause is of one job"
    assert is_counted(other) and not is_counted(job)
    up[0] += 10
    assert tally.count_in_turn(job.pk) is None
    assert is_counted(job)


def test_pauses_that_are_over_are_forgotten(alice: User, up: list[float]) -> None:
    """The worker runs for months, and most jobs are never counted again."""
    for _ in range(3):
        tally.count_in_turn(changed(store_job(alice)))
        up[0] += 10
    assert len(tally._pauses) == 1


def test_rows_are_counted_in_their_own_order(alice: User) -> None:
    """In that of an index of outcomes it takes half as long again: each row is elsewhere."""
    job = store_job(alice)
    plan = str(tally._ROWS[job.kind].filter(job=job).explain())
    if connection.vendor == "sqlite":
        assert "jobs_row" in plan and "INDEX row_" not in plan, plan
