"""A database that is older than the journal sends nothing until the provider's list was looked
through; then every job has its batches back, and no row is paid twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import transaction

from jobs import actions, journal, lifecycle, restoring
from jobs.models import Batch, Installation, Job, Outcome, SubmissionEvent

from .conftest import Simulator
from .test_lifecycle import RECIPE, Drive, joined, priced, upload

ROWS = [[f"n{n}", "x"] for n in range(50)]


@pytest.fixture(autouse=True)
def with_a_key(settings: Any) -> None:
    """Practice costs nothing, so its journal counts for nothing."""
    settings.PRACTICE, settings.ANTHROPIC_API_KEY = False, "good key"
    settings.SUBMIT_DEADLINE_SECONDS = 1
    settings.RECONCILE_GRACE_SECONDS = 1
    settings.BATCH_MAX_REQUESTS = 20


@contextmanager
def a_backup_that_comes_back(db: None = None) -> Iterator[None]:
    """What is done within is gone from the database afterwards, and from nothing else."""
    point = transaction.savepoint()
    yield
    transaction.savepoint_rollback(point)


def draft(alice: User, drive: Drive) -> Job:
    job = drive(upload(alice, ROWS), until=lambda job: job.state == Job.State.DRAFT)
    assert actions.save_recipe(job, RECIPE)
    return drive(job, until=priced)


def confirm(job: Job, alice: User) -> None:
    job = Job.objects.get(pk=job.pk)
    assert actions.confirm(job, job.plan_sha256, alice)


def sent(number: int) -> Callable[[Job], bool]:
    return lambda job: job.batches.exclude(provider_id=None).count() >= number


def assert_nothing_is_sent(simulator: Simulator, drive: Drive) -> None:
    posts = simulator.truth()["posts"]
    for _ in range(3):
        Job.objects.update(next_action_at=None)
        Job.objects.update(next_action_at="2020-01-01T00:00Z")
        lifecycle.sweep()
    assert simulator.truth()["posts"] == posts
    assert "older than its journal" in Installation.get().why_not_sending


def assert_whole(job: Job, simulator: Simulator) -> None:
    assert job.good_count == len(ROWS)
    assert set(simulator.accepted().values()) == {1}
    for row, line in zip(ROWS, joined(job)[1:], strict=True):
        assert line[:2] == row
        assert f"What is {row[0]}?" in line[2]


def test_a_job_that_went_out_after_the_backup_gets_its_batches_back(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    job = draft(alice, drive)
    confirm(job, alice)
    with a_backup_that_comes_back():
        drive(job)
    assert not Batch.objects.exists()
    assert_nothing_is_sent(simulator, drive)
    report = restoring.restore()
    assert len(report) == 3
    assert all("found at the provider" in line for line in report)
    assert not Installation.get().why_not_sending
    assert_whole(drive(job), simulator)
    assert simulator.truth()["posts"] == 3


def test_a_backup_from_the_middle_of_sending(
    alice: User, simulator: Simulator, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One batch is known, one is planned, and of one there is nothing in the database."""
    monkeypatch.setattr(lifecycle, "TURN", -lifecycle.SAFETY)  # one step a sweep
    job = draft(alice, drive)
    confirm(job, alice)
    drive(job, until=sent(1))
    drive(job, until=lambda job: job.batches.filter(state=Batch.State.PLANNED).exists())
    with a_backup_that_comes_back():
        drive(job)
    assert_nothing_is_sent(simulator, drive)
    assert len(restoring.restore()) == 2
    assert_whole(drive(job), simulator)
    assert simulator.truth()["posts"] == 3


def test_a_job_that_is_a_draft_again_keeps_what_was_sent_and_sends_no_more(
    alice: User, simulator: Simulator, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "TURN", -lifecycle.SAFETY)
    job = draft(alice, drive)
    with a_backup_that_comes_back():
        confirm(job, alice)
        drive(job, until=sent(2))
    Job.objects.filter(pk=job.pk).update(prompt="Another prompt: {{name}}")
    restoring.restore()
    job = drive(job)
    in_two_batches = sum(job.batches.values_list("size", flat=True))
    assert 0 < in_two_batches < len(ROWS)
    assert job.outcome_count(Outcome.GOOD) == in_two_batches
    assert job.outcome_count(Outcome.CANCELED) == len(ROWS) - in_two_batches
    assert simulator.truth()["posts"] == 2
    assert not any(batch["cancel_requested"] for batch in simulator.truth()["batches"])


def test_a_job_that_was_confirmed_again_after_the_backup_is_not_sent_again(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    job = draft(alice, drive)
    with a_backup_that_comes_back():
        confirm(job, alice)
        drive(job)
    confirm(job, alice)
    assert_nothing_is_sent(simulator, drive)
    restoring.restore()
    assert_whole(drive(job), simulator)
    assert simulator.truth()["posts"] == 3


def test_a_submission_without_an_answer_in_the_journal_is_looked_for(
    alice: User, simulator: Simulator, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = draft(alice, drive)
    confirm(job, alice)
    write = journal.write
    with a_backup_that_comes_back(), monkeypatch.context() as patch:
        patch.setattr(
            journal, "write", lambda kind, **facts: kind == "intent" and write(kind, **facts)
        )
        drive(job, until=sent(3))
    report = restoring.restore()
    assert all("being looked for" in line for line in report)
    assert_whole(drive(job), simulator)
    assert simulator.truth()["posts"] == 3
    assert job.batches.filter(adopted=True).count() == 3


def test_rows_that_were_sent_again_after_the_backup_are_not_sent_a_third_time(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    job = draft(alice, drive)
    confirm(job, alice)
    simulator.faults(expire_share=0.5)
    job = drive(job)
    expired = job.outcome_count(Outcome.EXPIRED)
    assert 0 < expired < len(ROWS)
    simulator.reset()
    with a_backup_that_comes_back():
        assert actions.send_rows_again(job, expired, alice)
        drive(job)
    assert actions.send_rows_again(Job.objects.get(pk=job.pk), expired, alice)
    assert_nothing_is_sent(simulator, drive)
    assert all("found at the provider" in line for line in restoring.restore())
    job = drive(job)
    assert job.good_count == len(ROWS)
    assert simulator.truth()["accepted_rows"] == len(ROWS) + expired


def test_what_was_refused_is_simply_sent(alice: User, simulator: Simulator, drive: Drive) -> None:
    job = draft(alice, drive)
    confirm(job, alice)
    simulator.faults(create=[{"kind": "reject_429", "retry_after": 600}])
    with a_backup_that_comes_back():
        drive(job, until=lambda job: SubmissionEvent.objects.filter(kind="refused").exists())
    assert_nothing_is_sent(simulator, drive)
    (line,) = restoring.restore()
    assert "refused" in line
    assert_whole(drive(job), simulator)


def test_a_job_that_the_database_does_not_have_is_named_with_its_batches(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    with a_backup_that_comes_back():
        job = draft(alice, drive)
        confirm(job, alice)
        drive(job)
        ids = list(job.batches.values_list("provider_id", flat=True))
    other = draft(alice, drive)  # another file, perhaps with the number of the lost job
    Job.objects.filter(pk=other.pk).update(upload_sha256="another")
    confirm_anew(other, alice)
    assert_nothing_is_sent(simulator, drive)
    report = "\n".join(restoring.restore())
    assert all(str(id) in report for id in ids)
    assert "does not have the job" in report
    drive(other)
    assert simulator.truth()["posts"] == 6, "another job is sent like any other"


def confirm_anew(job: Job, alice: User) -> None:
    Job.objects.filter(pk=job.pk).update(plan_sha256="", next_action_at="2020-01-01T00:00Z")
    for _ in range(3):
        lifecycle.sweep()
    confirm(job, alice)


def test_while_the_provider_cannot_be_asked_nothing_changes(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    job = draft(alice, drive)
    confirm(job, alice)
    with a_backup_that_comes_back():
        drive(job)
    assert_nothing_is_sent(simulator, drive)
    simulator.faults(list=[{"kind": "status", "status": 500}])
    assert restoring.ask()
    lifecycle.sweep()
    assert "could not be asked" in Installation.get().restore_report
    assert_nothing_is_sent(simulator, drive)
    assert restoring.ask()
    assert_whole(drive(job), simulator)
    assert "found at the provider" in Installation.get().restore_report
    assert not restoring.ask(), "there is nothing to do any more"


def test_from_the_shell(
    alice: User, simulator: Simulator, drive: Drive, capsys: pytest.CaptureFixture[str]
) -> None:
    job = draft(alice, drive)
    confirm(job, alice)
    with a_backup_that_comes_back():
        drive(job)
    simulator.faults(list=[{"kind": "status", "status": 500}])
    with pytest.raises(SystemExit, match="1"):
        call_command("job", "reconcile")
    call_command("job", "reconcile")
    assert capsys.readouterr().out.count("found at the provider") == 3
    call_command("job", "reconcile")
    assert "nothing to do" in capsys.readouterr().err
    assert_whole(drive(job), simulator)


def test_a_database_that_was_not_restored_is_never_held_up(
    alice: User, simulator: Simulator, drive: Drive, settings: Any
) -> None:
    """Also with a line in the journal that a full disk or a power cut has cut off."""
    job = draft(alice, drive)
    confirm(job, alice)
    path = Path(settings.DATA_DIR, "journal.jsonl")
    path.write_text('{"at": "2026-01-01", "kind": "intent", "nonce": "abc')
    assert_whole(drive(job), simulator)
    assert path.read_text().splitlines()[1].startswith('{"at"')
    assert restoring.submissions_unknown() == 0
    path.unlink()
    assert restoring.submissions_unknown() == 0


def test_practice_is_never_held_up(
    alice: User, simulator: Simulator, drive: Drive, settings: Any
) -> None:
    settings.PRACTICE = True
    job = draft(alice, drive)
    confirm(job, alice)
    with a_backup_that_comes_back():
        drive(job)
    assert restoring.submissions_unknown() == 0
