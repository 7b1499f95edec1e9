"""Who works on a job: what a worker may still do when it is not the only one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile

from jobs.actions import uploads
from jobs.batches import leases, planning, submission
from jobs.batches.leases import LeaseLost
from jobs.drafts import reading
from jobs.models import Batch, Job, LateBatch, Outcome, clock
from jobs.worker import advance, finishing, sent_jobs, tally

from ..conftest import CUT, Simulator, send_again
from ..driven_jobs import Drive, confirmed


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


# --- A worker resumes after a pause, or after its machine was suspended ---------------------------


def taken_over(job: Job) -> None:
    """Its lease has run out."""
    over = clock.now() - timedelta(seconds=1)
    Job.objects.filter(pk=job.pk).update(lease_until=over, next_action_at=over)


def people(rows: int) -> ContentFile[bytes]:
    lines = "".join(f"n{number},x\n" for number in range(rows))
    return ContentFile(f"name,text\n{lines}".encode(), f"{rows}.csv")


@pytest.mark.parametrize("replaced", [True, False])
def test_a_reader_that_stood_still_changes_nothing_of_what_another_read(
    alice: User, drive: Drive, monkeypatch: pytest.MonkeyPatch, replaced: bool
) -> None:
    """It resumes when the other worker has read another file to its end, or it finishes when the
    other one has just begun."""
    monkeypatch.setattr(reading, "SLICE", 10)
    job = uploads.create_job(alice, people(60))
    store, finish = reading._store, reading._finish

    def stand_still_at_the_last_rows(*args: Any) -> None:
        if args[2] == 50:
            monkeypatch.setattr(reading, "_store", store)
            taken_over(job)
            assert uploads.replace_upload(Job.objects.get(pk=job.pk), people(20), alice)
            drive(job, until=lambda job: job.state == Job.State.DRAFT)
        store(*args)

    def stand_still_at_the_end(*args: Any) -> None:
        def store_and_wake(*others: Any) -> None:
            store(*others)
            if others[2] == 10:
                with pytest.raises(LeaseLost):
                    finish(*args)

        monkeypatch.setattr(reading, "_finish", finish)
        monkeypatch.setattr(reading, "_store", store_and_wake)
        taken_over(job)
        drive(job, until=lambda job: job.state == Job.State.DRAFT)
        raise LeaseLost

    if replaced:
        monkeypatch.setattr(reading, "_store", stand_still_at_the_last_rows)
    else:
        monkeypatch.setattr(reading, "_finish", stand_still_at_the_end)
    advance.advance(job.pk)
    job.refresh_from_db()
    rows = 20 if replaced else 60
    assert (job.state, job.row_count, job.rows.count()) == (Job.State.DRAFT, rows, rows)


def test_who_stood_still_does_not_finish_what_is_sent_again_by_now(
    alice: User, drive: Drive, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody would fetch the answers of a finished job."""
    job = confirmed(alice, [["Ann", CUT], ["Ben", "x"]])
    finish = finishing.finish_job

    def stand_still(*args: Any) -> None:
        monkeypatch.setattr(finishing, "finish_job", finish)
        taken_over(job)
        assert send_again(drive(job), alice, "cut_off") == 1
        drive(job, until=lambda job: job.state == Job.State.WORKING)
        finish(*args)

    monkeypatch.setattr(finishing, "finish_job", stand_still)
    job = drive(job, until=lambda job: job.state == Job.State.FINISHED and job.last_round == 2)
    assert not job.rows.filter(outcome=Outcome.WAITING).exists()
    assert set(job.batches.values_list("state", flat=True)) == {Batch.State.COLLECTED}


def test_who_stood_still_does_not_call_all_sent_when_others_wait(
    sending: Job, simulator: Simulator
) -> None:
    lease = leases.claim(sending.pk)
    assert lease
    sending.rows.update(outcome=Outcome.GOOD)
    Job.objects.filter(pk=sending.pk).update(lease_owner="elsewhere|1|another")
    sent_jobs.step_of_sent(sending, lease)
    sending.refresh_from_db()
    assert sending.state == Job.State.SUBMITTING
