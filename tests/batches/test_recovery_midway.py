"""A backup that was made in the middle of preparing something: planning a batch, or a retry."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User

from jobs.actions import pilots, submissions
from jobs.batches import attempts, journal, recovery, unknown_submissions
from jobs.models import PILOT_IS_IN, Batch, Job, Outcome, Pilot, Row
from jobs.retries import preparation
from jobs.rules.pilots import PilotChoice

from ..conftest import Simulator, send_again
from ..driven_jobs import Drive, draft
from .test_recovery import (
    ROWS,
    a_backup_that_comes_back,
    assert_nothing_is_sent,
    assert_whole,
    confirm,
    sent,
    with_a_key,
)

__all__ = ["with_a_key"]  # a fixture that holds for each test


@pytest.mark.no_database
def test_a_backup_from_the_middle_of_planning_is_not_sent_again(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    """In the backup a batch had some of its rows; then it was sent with all of them. Somebody asks
    for the restore before the worker has seen to the job."""
    job = draft(alice, ROWS)
    confirm(job, alice)
    with a_backup_that_comes_back():
        drive(job)
    intents = [one for _end, one in journal.entries() if isinstance(one, journal.Intent)]
    first = intents[0]
    half = Batch.objects.create(
        job=job,
        number=first.number,
        size=first.size,
        nonce=first.nonce,
        state=Batch.State.PLANNING,
        practice=False,
        body_sha256=first.sha256,
        body_bytes=first.bytes,
    )
    Row.objects.filter(job=job, number__lte=5).update(batch=half)
    recovery.restore()
    drive(job, until=lambda job: not job.batches.filter(state=Batch.State.PLANNING).exists())
    if unknown_submissions.submissions_unknown():
        assert_nothing_is_sent(simulator, drive)
        recovery.restore()
    assert_whole(drive(job), simulator)
    assert simulator.truth()["posts"] == len(intents)


@pytest.mark.no_database
@pytest.mark.parametrize("most", [20, 100], ids=["the rest is sent in parts", "at once"])
def test_a_backup_from_the_time_when_a_pilot_was_in(
    alice: User, simulator: Simulator, drive: Drive, settings: Any, most: int
) -> None:
    """Then somebody sent the rest, at least some of it: they decide again about what is left."""
    settings.BATCH_MAX_REQUESTS = most
    job = draft(alice, ROWS)
    assert submissions.confirm(job, job.plan_sha256, alice, PilotChoice(5))
    job = drive(job, until=is_in)
    with a_backup_that_comes_back():
        assert pilots.continue_job(job, alice)
        drive(job, until=sent(2))
    recovery.restore()
    job = drive(job, until=lambda job: job.state == Job.State.FINISHED or is_in_again(job))
    if job.rows.filter(batch=None).exists():
        assert pilots.continue_job(job, alice)
        job = drive(job)
    assert_whole(job, simulator)
    assert (job.held, Pilot.objects.get().step) == ("", Pilot.Step.RELEASED)


def is_in(job: Job) -> bool:
    return job.held == PILOT_IS_IN


def is_in_again(job: Job) -> bool:
    return is_in(job) and job.state == Job.State.WORKING


@pytest.mark.no_database
def test_a_backup_from_the_middle_of_a_retrys_preparation(
    alice: User, simulator: Simulator, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The retry has all its rows, and its recipe, when its batches come back."""
    monkeypatch.setattr(preparation, "SLICE", 10)
    job = draft(alice, ROWS)
    confirm(job, alice)
    simulator.faults(expire_share=0.5)
    job = drive(job)
    expired = job.outcome_count(Outcome.EXPIRED)
    simulator.reset()
    assert send_again(job, alice, max_tokens=777) == expired
    job.refresh_from_db()
    assert preparation.prepare_next(job)
    with a_backup_that_comes_back():
        drive(job)
    recovery.restore()
    drive(job, until=lambda job: not attempts.is_preparing(job))
    if unknown_submissions.submissions_unknown():
        assert_nothing_is_sent(simulator, drive)
        recovery.restore()
    job = drive(job)
    (again,) = job.rounds.all()
    assert again.rows == expired
    assert Row.objects.filter(job=job, round=2).count() == expired
    assert simulator.truth()["accepted_rows"] == len(ROWS) + expired
