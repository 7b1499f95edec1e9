"""The last look before a batch is sent, and what a later try is compared with."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User

from jobs.batches import absence, reconciliation
from jobs.models import Absence, Batch, Job, SubmissionEvent
from jobs.provider.replies import BatchInfo
from jobs.worker import sweep

from ..conftest import Simulator
from ..driven_jobs import Drive, confirmed
from .test_submission import ROWS, foreign_batch


@pytest.fixture(autouse=True)
def quick(settings: Any) -> None:
    settings.SUBMIT_DEADLINE_SECONDS, settings.RECONCILE_GRACE_SECONDS = 2, 1


@pytest.mark.parametrize(
    "change",
    [{"lease_owner": "another worker"}, {"state": Job.State.CANCELING}, {"held": "Somebody asks."}],
    ids=lambda change: next(iter(change)),
)
def test_a_job_that_changes_hands_before_the_intent_is_not_sent(
    alice: User,
    simulator: Simulator,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, str],
) -> None:
    """The last look at the job is part of the transaction that commits the intent."""
    job = confirmed(alice, ROWS)
    original = absence.begin

    def begin() -> Absence:
        Job.objects.filter(pk=job.pk).update(**change)
        return original()

    with monkeypatch.context() as patch:
        patch.setattr(absence, "begin", begin)
        sweep.sweep()
    assert simulator.truth()["posts"] == 0
    assert not SubmissionEvent.objects.filter(job=job).exists()


def test_a_later_try_is_compared_with_the_list_before_the_first(
    alice: User, simulator: Simulator, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What appears between the last look and the next try may be an earlier try that is listed
    late, so it stays a candidate."""
    simulator.faults(create=[{"kind": "drop_before"}])
    job = confirmed(alice, ROWS)
    drive(job, until=lambda job: job.batches.filter(state=Batch.State.UNKNOWN).exists())
    before = job.batches.get().baseline_ids
    original = reconciliation.candidates

    def look_too_early(batch: Batch) -> list[BatchInfo]:
        found = original(batch)
        if batch.state == Batch.State.PLANNED:
            foreign_batch(len(ROWS))
        return found

    monkeypatch.setattr(reconciliation, "candidates", look_too_early)
    drive(job)
    assert simulator.truth()["posts"] == 3
    assert job.batches.get().baseline_ids == before
