"""A backup in which a job is in the trash that was restored and submitted later."""

from __future__ import annotations

from django.contrib.auth.models import User

from jobs.actions import job_basics
from jobs.batches import recovery
from jobs.models import Job

from ..conftest import Simulator
from ..driven_jobs import Drive, draft, priced
from .test_recovery import ROWS, a_backup_that_comes_back, confirm, with_a_key

__all__ = ["with_a_key"]  # a fixture that every test here uses


def test_a_job_that_was_in_the_trash_at_the_backup_shows_what_was_sent_since(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    """It was restored from the trash and submitted after the backup: its answers are paid for."""
    job = draft(alice, ROWS)
    assert job_basics.trash_job(job, alice)
    with a_backup_that_comes_back():
        assert job_basics.restore_job(job, alice)
        job = drive(job, until=priced)
        confirm(job, alice)
        drive(job)
    assert Job.objects.get().trashed_at is not None
    recovery.restore()
    assert Job.objects.get().trashed_at is None
    assert drive(job).good_count == len(ROWS)
    assert set(simulator.accepted().values()) == {1}
