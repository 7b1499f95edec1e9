"""A backup that was made in the middle of preparing something: planning a batch, or a retry."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from jobs.batches import attempts, journal, recovery, unknown_submissions
from jobs.models import Batch, Outcome, Row
from jobs.retries import preparation

from ..conftest import Simulator, send_again
from ..driven_jobs import Drive
from .test_recovery import (
    ROWS,
    a_backup_that_comes_back,
    assert_nothing_is_sent,
    assert_whole,
    confirm,
    draft,
    with_a_key,
)

__all__ = ["with_a_key"]  # a fixture that holds for each test


@pytest.mark.no_database
def test_a_backup_from_the_middle_of_planning_is_not_sent_again(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    """In the backup a batch had some of its rows; then it was sent with all of them. Somebody asks
    for the restore before the worker has seen to the job."""
    job = draft(alice, drive)
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
def test_a_backup_from_the_middle_of_a_retrys_preparation(
    alice: User, simulator: Simulator, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The retry has all its rows, and its recipe, when its batches come back."""
    monkeypatch.setattr(preparation, "SLICE", 10)
    job = draft(alice, drive)
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
