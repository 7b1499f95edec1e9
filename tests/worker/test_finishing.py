"""Stop and delete jobs: nothing that was sent is forgotten."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User

from jobs.actions import job_basics, submissions
from jobs.batches import polling
from jobs.models import (
    Batch,
    Job,
    Outcome,
    Row,
    SubmissionEvent,
    files,
)
from jobs.provider import client, errors
from jobs.worker import failures, sweep

from ..conftest import Simulator, let_pass
from ..driven_jobs import Drive, confirmed


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a step that failed is tried again, and before a batch is looked for once more."""
    after_failure = failures.after_failure
    short = timedelta(seconds=0.1)
    monkeypatch.setattr(failures, "after_failure", lambda pk, *_: after_failure(pk, short))
    monkeypatch.setattr(polling, "LOOK_ONCE_MORE", short)


def test_stopping_before_anything_is_sent_costs_nothing(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    job = confirmed(alice, [["Ann", "a"]])
    assert submissions.stop_job(job, alice)
    assert not submissions.stop_job(job, alice)
    job = drive(job)
    assert simulator.truth()["posts"] == 0
    assert job.outcome_count(Outcome.CANCELED) == 1
    assert job.cost == Decimal(0)


def test_stopping_keeps_what_is_finished_and_every_row_has_one_outcome(
    alice: User, start_simulator: Callable[..., Simulator], drive: Drive
) -> None:
    simulator = start_simulator(seconds=3, failures="none")
    job = confirmed(alice, [[f"n{n}", "x"] for n in range(400)])
    job = drive(job, until=lambda job: job.state == Job.State.WORKING)
    assert submissions.stop_job(job, alice)
    job = drive(job)
    assert job.done_count == 400
    assert job.outcome_count(Outcome.GOOD, Outcome.CANCELED) == 400
    assert job.outcome_count(Outcome.CANCELED) > 0
    assert simulator.truth()["posts"] == job.batches.count()


@pytest.mark.parametrize("kind", ["drop", "drop_after", "stall", "status"])
def test_a_stop_that_is_not_answered_is_asked_for_again(
    alice: User,
    start_simulator: Callable[..., Simulator],
    drive: Drive,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    monkeypatch.setattr(client, "READ_SECONDS", 0.5)
    simulator = start_simulator(seconds=80_000, failures="none")
    job = confirmed(alice, [["Ann", "a"]])
    drive(job, until=lambda job: job.state == Job.State.WORKING)
    simulator.faults(cancel=[{"kind": kind, "status": 500}])
    assert submissions.stop_job(job, alice)
    job = drive(job)
    assert job.outcome_count(Outcome.CANCELED) == 1


@pytest.mark.parametrize("kind", ["drop", "drop_after", "status"])
def test_a_deletion_that_is_not_answered_is_asked_for_again(
    alice: User, simulator: Simulator, drive: Drive, kind: str
) -> None:
    job = drive(confirmed(alice, [["Ann", "a"]]))
    simulator.faults(delete=[{"kind": kind, "status": 500}])
    assert job_basics.delete_job(job, alice)
    with suppress(Job.DoesNotExist):
        drive(job, until=lambda _job: False)
    assert simulator.truth()["batches"][0]["deleted"]


def test_a_deletion_that_fails_midway_goes_on_where_it_was(
    alice: User,
    simulator: Simulator,
    drive: Drive,
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
) -> None:
    """A provider that fails now and then would else be asked for all of them again each time."""
    settings.BATCH_MAX_REQUESTS = 1
    job = drive(confirmed(alice, [[name, "a"] for name in "abcdef"]))
    sent = list(job.batches.order_by("pk").values_list("provider_id", flat=True))
    asked: list[str] = []
    delete_there = client.delete_batch

    def delete_batch(provider_id: str) -> str:
        asked.append(provider_id)
        return delete_there(provider_id)

    monkeypatch.setattr(client, "delete_batch", delete_batch)
    fault = {"kind": "status", "status": 500}
    simulator.faults(delete=[{**fault, "after": 2}, {**fault, "after": 3}])
    assert job_basics.delete_job(job, alice)
    with suppress(Job.DoesNotExist):
        drive(job, until=lambda job: job.failures_in_a_row > 1)
        pytest.fail("pauses grow although it gets ahead")
    assert len(sent) == 6 and set(sent) == set(asked)
    assert len(asked) == 8, "a batch that is gone was asked for again"
    assert all(batch["deleted"] for batch in simulator.truth()["batches"])


def test_deleting_removes_rows_files_and_the_copies_at_the_provider(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    job = drive(confirmed(alice, [["Ann", "a"]]))
    (batch,) = job.batches.all()
    results, uploaded = files.results_path(batch), files.upload_path(job)
    assert results.exists()
    assert uploaded.exists()
    assert job_basics.delete_job(job, alice)
    assert not Job.objects.visible_to(alice).exists()
    sweep.sweep()
    assert not Job.objects.filter(pk=job.pk).exists()
    assert not Row.objects.exists()
    assert not results.exists()
    assert not uploaded.exists()
    with pytest.raises(errors.NotFound):
        client.retrieve_batch(str(batch.provider_id))
    # What was sent stays known, so that no other job can take that batch for its own.
    assert SubmissionEvent.objects.filter(provider_id=batch.provider_id).exists()


def test_a_job_with_the_provider_cannot_be_deleted(
    alice: User, start_simulator: Callable[..., Simulator], drive: Drive
) -> None:
    start_simulator(seconds=80_000, failures="none")
    job = confirmed(alice, [["Ann", "a"]])
    job = drive(job, until=lambda job: job.state == Job.State.WORKING)
    assert not job_basics.delete_job(job, alice)


def test_a_stop_during_a_submission_does_not_wait_for_its_deadline(
    alice: User, simulator: Simulator, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = confirmed(alice, [["Ann", "a"]])
    original = client.list_batches

    def stopped_meanwhile() -> Any:
        submissions.stop_job(job, alice)
        return original()

    monkeypatch.setattr(client, "list_batches", stopped_meanwhile)
    sweep.sweep()
    monkeypatch.setattr(client, "list_batches", original)
    job = drive(job)
    assert job.outcome_count(Outcome.CANCELED) == 1
    assert simulator.truth()["posts"] == 0


def test_a_batch_that_is_gone_at_the_provider_is_said_and_the_job_can_end(
    alice: User, start_simulator: Callable[..., Simulator], drive: Drive
) -> None:
    start_simulator(seconds=80_000, failures="none")
    job = confirmed(alice, [["Ann", "a"]])
    drive(job, until=lambda job: job.state == Job.State.WORKING)
    job.batches.update(provider_id="msgbatch_gone")
    let_pass(job.batches.all(), timedelta(hours=1))
    job = drive(job, until=lambda job: bool(job.held))
    assert "not to be found" in job.held
    submissions.stop_job(job, alice)
    job = drive(job, until=lambda job: bool(job.held))
    assert job.state == Job.State.CANCELING, "only a person gives up what was paid"
    assert submissions.give_up_missing_answers(job, alice)
    job = drive(job)
    assert job.tally.causes == [("errored", "lost", 1)]


def test_a_batch_that_is_gone_soon_after_it_was_made_does_not_keep_a_stopped_job(
    alice: User, start_simulator: Callable[..., Simulator], drive: Drive
) -> None:
    """The first 404 may only mean that it is not visible yet; the job ends when it stays so."""
    start_simulator(seconds=80_000, failures="none")
    job = confirmed(alice, [["Ann", "a"]])
    drive(job, until=lambda job: job.state == Job.State.WORKING)
    job.batches.update(provider_id="msgbatch_gone")
    sweep.sweep()
    assert not Job.objects.get(pk=job.pk).held
    submissions.stop_job(job, alice)
    sweep.sweep()
    assert Job.objects.get(pk=job.pk).state == Job.State.CANCELING
    let_pass(job.batches.all(), timedelta(hours=1))
    job = drive(job, until=lambda job: bool(job.held))
    assert submissions.give_up_missing_answers(job, alice)
    job = drive(job)
    assert job.tally.causes == [("errored", "lost", 1)]


def test_a_stopped_job_gives_no_batch_up_by_itself(
    alice: User, start_simulator: Callable[..., Simulator], drive: Drive
) -> None:
    """The one 404 may be about anything: a proxy, a key of another workspace."""
    simulator = start_simulator(seconds=80_000, failures="none")
    job = confirmed(alice, [["Ann", "a"]])
    drive(job, until=lambda job: job.state == Job.State.WORKING)
    let_pass(Batch.objects.all(), timedelta(hours=1))
    simulator.faults(cancel=[{"kind": "status", "status": 404}])
    assert submissions.stop_job(job, alice)
    job = drive(job)
    assert job.batches.get().state == Batch.State.COLLECTED
    assert job.outcome_count(Outcome.CANCELED) == 1
    assert simulator.truth()["batches"][0]["cancel_requested"], "it was asked for again"


def test_one_batch_that_cannot_be_stopped_does_not_keep_the_others(
    alice: User,
    start_simulator: Callable[..., Simulator],
    drive: Drive,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start_simulator(seconds=80_000, failures="none")
    settings.BATCH_MAX_REQUESTS = 2
    job = confirmed(alice, [["Ann", "a"]] * 3)
    drive(job, until=lambda job: job.state == Job.State.WORKING)
    first, second = job.batches.order_by("number")
    cancel = client.cancel_batch

    def cancel_all_but_the_first(provider_id: str) -> None:
        if provider_id == first.provider_id:
            raise errors.Unclear("The provider answered with status 500.")
        cancel(provider_id)

    with monkeypatch.context() as patch:
        patch.setattr(client, "cancel_batch", cancel_all_but_the_first)
        assert submissions.stop_job(job, alice)
        drive(job, until=lambda job: job.batches.exclude(cancel_sent_at=None).exists())
    assert job.batches.exclude(cancel_sent_at=None).get() == second
    assert drive(job).outcome_count(Outcome.CANCELED) == 3


def test_a_batch_that_is_not_stopped_and_still_runs_is_stopped_again(
    alice: User, start_simulator: Callable[..., Simulator], drive: Drive
) -> None:
    """A refusal usually means that it has ended. While it has not, it goes on to cost."""
    simulator = start_simulator(seconds=80_000, failures="none")
    job = confirmed(alice, [["Ann", "a"]])
    drive(job, until=lambda job: job.state == Job.State.WORKING)
    simulator.faults(cancel=[{"kind": "status", "status": 400}])
    assert submissions.stop_job(job, alice)
    job = drive(job)
    assert job.outcome_count(Outcome.CANCELED) == 1
    assert simulator.truth()["batches"][0]["cancel_requested"]
