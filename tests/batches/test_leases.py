"""Who works on a job: what a worker may still do when it is not the only one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User

from jobs.batches import leases, planning, submission
from jobs.batches.leases import LeaseLost
from jobs.models import Batch, Job, LateBatch, clock
from jobs.worker import tally

from ..conftest import Simulator


@pytest.fixture
def sending(alice: User, make_job: Callable[..., Job], simulator: Simulator) -> Job:
    return make_job(alice, Job.State.SUBMITTING, next_action_at=clock.now())


def test_a_worker_that_lost_its_lease_sends_nothing(
    sending: Job, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its last look at the lease and the intent, another worker takes the job."""
    lease = leases.claim(sending.pk)
    assert lease and planning.plan_next_batch(sending, lease)
    take_baseline = submission._take_baseline

    def taken_over(batch: Batch) -> None:
        take_baseline(batch)
        Job.objects.filter(pk=sending.pk).update(lease_owner="elsewhere|1|another")
        monkeypatch.setattr(leases.Lease, "hold_for", lambda self, seconds: None)

    monkeypatch.setattr(submission, "_take_baseline", taken_over)
    with pytest.raises(LeaseLost):
        submission.submit(Batch.objects.select_related("job").get(), lease)
    assert Batch.objects.get().state == Batch.State.PLANNED
    assert simulator.truth()["posts"] == 0


def test_who_asked_for_an_earlier_look_gets_it(sending: Job) -> None:
    lease = leases.claim(sending.pk)
    assert lease
    soon = clock.now() + timedelta(seconds=1)
    Job.objects.filter(pk=sending.pk).update(next_action_at=soon)  # while the step is taken
    lease.release(clock.now() + timedelta(hours=1))
    sending.refresh_from_db()
    assert sending.next_action_at == soon
    assert (sending.lease_owner, sending.lease_until) == ("", None)


def test_what_a_late_batch_cost_is_in_the_sum(alice: User, make_job: Callable[..., Job]) -> None:
    job = make_job(alice)
    before = job.spent_pico
    batch = Batch.objects.create(
        job=job,
        number=1,
        size=2,
        nonce="a" * 12,
        state=Batch.State.COLLECTED,
        body_bytes=1,
        provider_id="msgbatch_1",
    )
    LateBatch.objects.create(
        batch=batch,
        provider_id="msgbatch_late",
        size=2,
        created_at=clock.now(),
        found_at=clock.now(),
        finished=1,
        cost_pico=1_234_000,
    )
    assert tally.count_up(job)
    job.refresh_from_db()
    assert job.spent_pico == before + 1_234_000
