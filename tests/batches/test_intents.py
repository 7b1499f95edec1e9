"""The last look before a batch is sent, when it is looked for, and what is taken for it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User

from jobs.batches import absence, reconciliation
from jobs.models import Absence, Batch, Job, SubmissionEvent, clock
from jobs.provider.replies import BatchInfo
from jobs.worker import sweep

from ..conftest import Simulator, let_pass
from ..driven_jobs import Drive, confirmed
from .test_submission import ROWS, foreign_batch, listed, unknown_batch


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


def test_a_batch_is_not_looked_for_while_its_post_may_be_under_way(
    alice: User, simulator: Simulator, drive: Drive, settings: Any
) -> None:
    """It may still arrive, and a list without it says nothing."""
    settings.SUBMIT_DEADLINE_SECONDS = 600
    simulator.faults(create=[{"kind": "drop_after_accept"}], list_hide_seconds=600)
    job = confirmed(alice, ROWS)
    drive(job, until=lambda job: job.batches.filter(state=Batch.State.UNKNOWN).exists())
    for passed, looks in ((0, 0), (590, 0), (20, 1)):
        let_pass(job.batches.all(), timedelta(seconds=passed))
        job.batches.update(next_action_at=clock.now())
        Job.objects.update(next_action_at=clock.now())
        sweep.sweep()
        assert job.batches.get().empty_looks == looks, f"after {passed} seconds more"


def test_a_batch_of_ours_is_taken_for_no_other(alice: User, make_job: Callable[..., Job]) -> None:
    job = make_job(alice, state=Job.State.SUBMITTING)
    unknown_batch(job, 1, 5, state=Batch.State.IN_PROGRESS, provider_id="msgbatch_1")
    other = unknown_batch(job, 2, 5)
    found = [listed("msgbatch_1", 4), listed("msgbatch_2", 4)]
    assert reconciliation.candidates(other, found) == found[1:]
