"""A database that is older than the journal sends nothing until the provider's list was looked
through; then every job has its batches back, and no row is paid twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection, transaction

from jobs.actions import drafts, job_basics, submissions
from jobs.batches import (
    journal,
    planning,
    recovery,
    restored_batches,
    unknown_submissions,
)
from jobs.models import Batch, Job, JournalState, Outcome, Row, SiteState, SubmissionEvent
from jobs.provider import client, replies
from jobs.rules.recipes import Recipe
from jobs.worker import advance, due_times, sent_jobs, sweep

from ..conftest import Simulator, change_job, put_off_look, send_again
from ..driven_jobs import RECIPE, Drive, draft, joined, priced
from ..kept_jobs import kept

ROWS = [[f"n{n}", "x"] for n in range(50)]


@pytest.fixture(autouse=True)
def with_a_key(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Practice costs nothing, so its journal counts for nothing."""
    settings.PRACTICE, settings.ANTHROPIC_API_KEY = False, "good key"
    settings.SUBMIT_DEADLINE_SECONDS = 1
    settings.RECONCILE_GRACE_SECONDS = 1
    settings.BATCH_MAX_REQUESTS = 30  # two batches
    monkeypatch.setattr(sent_jobs, "PAUSE_OF_A_BATCH", timedelta(seconds=0.1))


@contextmanager
def a_backup_that_comes_back(db: None = None) -> Iterator[None]:
    """What is done within is gone from the database afterwards, and from nothing else."""
    point = transaction.savepoint()
    yield
    transaction.savepoint_rollback(point)


@contextmanager
def without_the_journal(settings: Any) -> Iterator[None]:
    path = Path(settings.DATA_DIR, "journal.jsonl")
    aside = path.rename(path.with_name("aside"))
    yield
    aside.rename(path)


def confirm(job: Job, alice: User) -> None:
    job = Job.objects.get(pk=job.pk)
    assert submissions.confirm(job, job.plan_sha256, alice)


def sent(number: int) -> Callable[[Job], bool]:
    return lambda job: job.batches.exclude(provider_id=None).count() >= number


def all_sent(job: Job) -> bool:
    return job.state in (Job.State.WORKING, Job.State.FINISHED)


def sent_since(alice: User, simulator: Simulator, drive: Drive, was_confirmed: bool = True) -> Job:
    """A job as it is in a backup, from before its batches were sent."""

    def make() -> Job:
        job = draft(alice, ROWS)
        if was_confirmed:
            confirm(job, alice)
        with a_backup_that_comes_back():
            if not was_confirmed:
                confirm(job, alice)
            drive(job, until=all_sent)
        return job

    facts = was_confirmed, settings.BATCH_MAX_REQUESTS, settings.PRACTICE
    return kept(f"sent since the backup {facts}", make, simulator)


def refused(job: Job) -> bool:
    return SubmissionEvent.objects.filter(job=job, kind="refused").exists()


def assert_nothing_is_sent(simulator: Simulator, drive: Drive) -> None:
    posts = simulator.truth()["posts"]
    for _ in range(3):
        Job.objects.update(next_action_at=None)
        Job.objects.update(next_action_at="2020-01-01T00:00Z")
        sweep.sweep()
    assert simulator.truth()["posts"] == posts
    assert "older than its journal" in SiteState().why_not_sending


def assert_whole(job: Job, simulator: Simulator) -> None:
    assert job.good_count == len(ROWS)
    assert set(simulator.accepted().values()) == {1}
    for row, line in zip(ROWS, joined(job)[1:], strict=True):
        assert line[:2] == row
        assert f"What is {row[0]}?" in line[2]


def test_a_job_that_went_out_after_the_backup_gets_its_batches_back(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    job = draft(alice, ROWS)
    confirm(job, alice)
    with a_backup_that_comes_back():
        drive(job)
    assert not Batch.objects.exists()
    assert_nothing_is_sent(simulator, drive)
    report = recovery.restore()
    assert len(report) == 2
    assert all("found at Anthropic" in line for line in report)
    assert not SiteState().why_not_sending
    assert_whole(drive(job), simulator)
    assert simulator.truth()["posts"] == 2


def test_a_backup_from_the_middle_of_sending(
    alice: User, simulator: Simulator, drive: Drive, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One batch is known, one is planned, and of one there is nothing in the database."""
    settings.BATCH_MAX_REQUESTS = 20
    monkeypatch.setattr(advance, "TURN", -due_times.SAFETY)  # one step a sweep
    job = draft(alice, ROWS)
    confirm(job, alice)
    drive(job, until=sent(1))
    drive(job, until=lambda job: job.batches.filter(state=Batch.State.PLANNED).exists())
    with a_backup_that_comes_back():
        drive(job, until=all_sent)
    assert_nothing_is_sent(simulator, drive)
    assert len(recovery.restore()) == 2
    assert_whole(drive(job), simulator)
    assert simulator.truth()["posts"] == 3


@pytest.mark.no_database
def test_a_job_that_is_a_draft_again_keeps_what_was_sent_and_sends_no_more(
    alice: User, simulator: Simulator, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(advance, "TURN", -due_times.SAFETY)
    job = draft(alice, ROWS)
    with a_backup_that_comes_back():
        confirm(job, alice)
        drive(job, until=sent(1))
    change_job(job, prompt="Another prompt: {{name}}")
    recovery.restore()
    job = drive(job)
    in_one_batch = sum(job.batches.values_list("size", flat=True))
    assert 0 < in_one_batch < len(ROWS)
    assert job.outcome_count(Outcome.GOOD) == in_one_batch
    assert job.outcome_count(Outcome.CANCELED) == len(ROWS) - in_one_batch
    assert simulator.truth()["posts"] == 1
    assert not any(batch["cancel_requested"] for batch in simulator.truth()["batches"])


@pytest.mark.no_database
def test_what_was_sent_of_a_draft_is_not_canceled_while_it_runs(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    simulator.faults(stuck=True)
    job = draft(alice, ROWS)
    with a_backup_that_comes_back():
        confirm(job, alice)
        drive(job, until=sent(2))
    recovery.restore()
    for _ in range(3):
        put_off_look(0)
        sweep.sweep()
    simulator.faults(stuck=False)
    assert_whole(drive(job), simulator)
    assert not any(batch["cancel_requested"] for batch in simulator.truth()["batches"])


@pytest.mark.django_db(transaction=True)
def test_the_worker_never_sees_a_part_of_a_restored_job(
    alice: User, simulator: Simulator, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = draft(alice, ROWS)
    with transaction.atomic():
        confirm(job, alice)
        drive(job, until=all_sent)
        transaction.set_rollback(True)

    def look() -> tuple[str, int]:
        going_on = Batch.objects.exclude(state=Batch.State.RESTORING)
        seen = Job.objects.get(pk=job.pk).state, going_on.count()
        connection.close()
        return seen

    seen = []
    settle = restored_batches.settle

    def looked_at(*args: Any) -> None:
        settle(*args)
        seen.append(thread.submit(look).result())

    monkeypatch.setattr(restored_batches, "settle", looked_at)
    with ThreadPoolExecutor(1) as thread:
        recovery.restore()
        assert seen == [(Job.State.DRAFT, 0)] * 2
        assert thread.submit(look).result() == (Job.State.CANCELING, 2)
    assert_whole(drive(job), simulator)


@pytest.mark.no_database
def test_a_job_that_was_confirmed_again_after_the_backup_is_not_sent_again(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    job = sent_since(alice, simulator, drive, was_confirmed=False)
    confirm(job, alice)
    assert_nothing_is_sent(simulator, drive)
    recovery.restore()
    assert_whole(drive(job), simulator)
    assert simulator.truth()["posts"] == 2


@pytest.mark.no_database
def test_a_job_that_was_confirmed_again_with_another_prompt_sends_no_more(
    alice: User, simulator: Simulator, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(advance, "TURN", -due_times.SAFETY)
    job = draft(alice, ROWS)
    with a_backup_that_comes_back():
        confirm(job, alice)
        drive(job, until=sent(1))
    assert drafts.save_recipe(
        job, Recipe("Another prompt: {{name}}", "", RECIPE.model, 300), job.owner
    )
    confirm(drive(job, until=priced), alice)
    assert_nothing_is_sent(simulator, drive)
    recovery.restore()
    job = drive(job)
    in_one_batch = simulator.truth()["accepted_rows"]
    assert job.outcome_count(Outcome.GOOD) == in_one_batch
    assert job.outcome_count(Outcome.CANCELED) == len(ROWS) - in_one_batch > 0
    assert not any("Another prompt" in line[2] for line in joined(job))
    assert job.events.filter(text__contains="another prompt or model").count() == 1
    assert simulator.truth()["posts"] == 1


@pytest.mark.no_database
@pytest.mark.parametrize("planned", [False, True])
def test_rows_that_were_stopped_although_they_had_been_sent_get_their_answers(
    alice: User,
    simulator: Simulator,
    drive: Drive,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    planned: bool,
) -> None:
    """The journal was away as well, so that the stop seemed to be all."""
    job = draft(alice, ROWS)
    confirm(job, alice)
    if planned:
        with monkeypatch.context() as patch:
            patch.setattr(advance, "TURN", -due_times.SAFETY)
            drive(job, until=lambda job: job.batches.filter(attempts=0).exists())
    with a_backup_that_comes_back():
        drive(job, until=all_sent)
    with without_the_journal(settings):
        assert submissions.stop_job(job, alice)
        job = drive(job)
        assert job.outcome_count(Outcome.CANCELED) == len(ROWS)
        assert job.batches.filter(state=Batch.State.CANCELED).exists() is planned
    assert all("found at Anthropic" in line for line in recovery.restore())
    assert Job.objects.get(pk=job.pk).state == Job.State.CANCELING
    assert_whole(drive(job), simulator)
    assert simulator.truth()["posts"] == 2


@pytest.mark.no_database
def test_a_submission_without_an_answer_in_the_journal_is_looked_for(
    alice: User, simulator: Simulator, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = draft(alice, ROWS)
    confirm(job, alice)
    write = journal.write
    with a_backup_that_comes_back(), monkeypatch.context() as patch:
        patch.setattr(
            journal, "write", lambda kind, **facts: kind == "intent" and write(kind, **facts)
        )
        drive(job, until=sent(2))
    report = recovery.restore()
    assert all("being looked for" in line for line in report)
    assert_whole(drive(job), simulator)
    assert simulator.truth()["posts"] == 2
    assert job.batches.filter(recovered=True).count() == 2


@pytest.mark.no_database
def test_rows_that_were_sent_again_after_the_backup_are_not_sent_a_third_time(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    job = draft(alice, ROWS)
    confirm(job, alice)
    simulator.faults(expire_share=0.5)
    job = drive(job)
    expired = job.outcome_count(Outcome.EXPIRED)
    assert 0 < expired < len(ROWS)
    simulator.reset()
    with a_backup_that_comes_back():
        assert send_again(job, alice) == expired
        drive(job, until=all_sent)
    assert send_again(Job.objects.get(pk=job.pk), alice) == expired
    assert_nothing_is_sent(simulator, drive)
    assert all("found at Anthropic" in line for line in recovery.restore())
    job = drive(job)
    assert job.good_count == len(ROWS)
    assert simulator.truth()["accepted_rows"] == len(ROWS) + expired


@pytest.mark.parametrize("was_a_draft", [False, True])
def test_rows_that_were_sent_twice_since_the_backup_come_back_one_after_the_other(
    alice: User, simulator: Simulator, drive: Drive, settings: Any, was_a_draft: bool
) -> None:
    settings.BATCH_MAX_REQUESTS = 100
    job = draft(alice, ROWS)
    if not was_a_draft:
        confirm(job, alice)
    simulator.faults(expire_share=0.5)
    with a_backup_that_comes_back():
        if was_a_draft:
            confirm(job, alice)
        expired = drive(job).outcome_count(Outcome.EXPIRED)
        simulator.reset()
        assert send_again(Job.objects.get(pk=job.pk), alice) == expired
        drive(job, until=all_sent)
    first, second, _ = recovery.restore()
    assert "found at Anthropic" in first
    assert "an earlier batch of these rows comes first" in second
    drive(job, until=lambda job: job.outcome_count(Outcome.EXPIRED) == expired)
    assert_nothing_is_sent(simulator, drive)
    (line,) = recovery.restore()
    assert "found at Anthropic" in line
    assert drive(job).good_count == len(ROWS)
    assert simulator.truth()["posts"] == 2


def test_a_batch_with_gaps_everywhere_gets_its_rows_back(
    alice: User, simulator: Simulator, drive: Drive, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.BATCH_MAX_REQUESTS = 10_000
    monkeypatch.setattr(planning, "USUAL_BATCHES", 1)
    rows = [[f"n{n}", "x" if n % 2 else ""] for n in range(2_100)]
    job = draft(alice, rows, Recipe("{{text}}", "", RECIPE.model, 300))
    confirm(job, alice)
    with a_backup_that_comes_back():
        drive(job, until=all_sent)
    assert_nothing_is_sent(simulator, drive)
    assert recovery.ask()
    sweep.sweep()
    assert "found at Anthropic" in JournalState.get().report
    job = drive(job)
    assert (job.good_count, job.unsent_count) == (1_050, 1_050)
    assert simulator.truth()["posts"] == 1


def test_a_backup_from_the_moment_of_sending_knows_the_attempt_and_not_its_answer(
    alice: User,
    simulator: Simulator,
    drive: Drive,
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
) -> None:
    """And what was sent is not in the provider's list any more, because the job was deleted."""
    settings.BATCH_MAX_REQUESTS = 100
    job = draft(alice, ROWS)
    confirm(job, alice)
    points = []
    create = client.create_batch

    def create_batch(*args: Any) -> replies.BatchInfo:
        points.append(transaction.savepoint())
        return create(*args)

    with monkeypatch.context() as patch:
        patch.setattr(client, "create_batch", create_batch)
        job = drive(job)
    (provider_id,) = job.batches.values_list("provider_id", flat=True)
    assert job_basics.delete_job(job, alice)
    sweep.sweep()
    transaction.savepoint_rollback(points[0])
    Job.objects.update(lease_until=None, lease_owner="")
    assert Batch.objects.get().state == Batch.State.SUBMITTING
    assert unknown_submissions.submissions_unknown() == 1
    (line,) = recovery.restore()
    assert str(provider_id) in line
    assert unknown_submissions.submissions_unknown() == 0
    Job.objects.update(next_action_at="2020-01-01T00:00Z")
    sweep.sweep()
    assert Batch.objects.get().state == Batch.State.IN_PROGRESS
    assert simulator.truth()["posts"] == 1


def test_a_refusal_says_nothing_of_a_later_attempt(
    alice: User,
    simulator: Simulator,
    drive: Drive,
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
) -> None:
    """The second attempt was accepted, and the power went before the journal said so."""
    settings.BATCH_MAX_REQUESTS = 100
    job = draft(alice, ROWS)
    confirm(job, alice)
    simulator.faults(create=[{"kind": "reject_429", "retry_after": 1}])
    write = journal.write
    with a_backup_that_comes_back(), monkeypatch.context() as patch:
        drive(job, until=refused)
        patch.setattr(
            journal, "write", lambda kind, **facts: kind == "intent" and write(kind, **facts)
        )
        drive(job, until=sent(1))
    assert unknown_submissions.submissions_unknown() == 1, "two attempts at one batch"
    (line,) = recovery.restore()
    assert "being looked for" in line
    assert_whole(drive(job), simulator)


@pytest.mark.no_database
def test_what_was_refused_goes_on_with_the_next_attempt(
    alice: User,
    simulator: Simulator,
    drive: Drive,
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
) -> None:
    """An old backup comes back twice: attempts are told apart by their numbers."""
    settings.BATCH_MAX_REQUESTS = 100
    job = draft(alice, ROWS)
    confirm(job, alice)
    with monkeypatch.context() as patch:
        patch.setattr(advance, "TURN", -due_times.SAFETY)
        drive(job, until=lambda job: job.batches.filter(attempts=0).exists())
    simulator.faults(create=[{"kind": "reject_429", "retry_after": 1}])
    with a_backup_that_comes_back():
        drive(job, until=refused)
    (line,) = recovery.restore()
    assert "refused" in line
    with a_backup_that_comes_back():
        drive(job, until=all_sent)
    assert_nothing_is_sent(simulator, drive)
    (line,) = recovery.restore()
    assert "found at Anthropic" in line
    assert_whole(drive(job), simulator)


def test_what_was_refused_is_simply_sent(alice: User, simulator: Simulator, drive: Drive) -> None:
    job = draft(alice, ROWS)
    confirm(job, alice)
    simulator.faults(create=[{"kind": "reject_429", "retry_after": 600}])
    with a_backup_that_comes_back():
        drive(job, until=refused)
    assert_nothing_is_sent(simulator, drive)
    (line,) = recovery.restore()
    assert "refused" in line
    assert_whole(drive(job), simulator)


def test_a_job_that_the_database_does_not_have_is_named_with_its_batches(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    with a_backup_that_comes_back():
        job = draft(alice, ROWS)
        confirm(job, alice)
        drive(job, until=all_sent)
        ids = list(job.batches.values_list("provider_id", flat=True))
    other = draft(alice, ROWS)  # another file, perhaps with the number of the lost job
    Job.objects.filter(pk=other.pk).update(upload_sha256="another")
    confirm_anew(other, alice)
    assert_nothing_is_sent(simulator, drive)
    report = "\n".join(recovery.restore())
    assert all(str(id) in report for id in ids)
    assert "is not in the database" in report
    drive(other)
    assert simulator.truth()["posts"] == 4, "another job is sent like any other"


def confirm_anew(job: Job, alice: User) -> None:
    Job.objects.filter(pk=job.pk).update(plan_sha256="", next_action_at="2020-01-01T00:00Z")
    for _ in range(3):
        sweep.sweep()
    confirm(job, alice)


@pytest.mark.no_database
def test_while_the_provider_cannot_be_asked_nothing_changes(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    job = sent_since(alice, simulator, drive)
    assert_nothing_is_sent(simulator, drive)
    simulator.faults(list=[{"kind": "status", "status": 500}])
    assert recovery.ask()
    sweep.sweep()
    assert "could not ask Anthropic" in JournalState.get().report
    assert_nothing_is_sent(simulator, drive)
    assert recovery.ask()
    assert_whole(drive(job), simulator)
    assert "found at Anthropic" in JournalState.get().report
    assert not recovery.ask(), "there is nothing to do any more"


def test_an_administrator_hears_of_whatever_goes_wrong(
    alice: User, simulator: Simulator, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = sent_since(alice, simulator, drive)
    assert_nothing_is_sent(simulator, drive)
    assert recovery.ask()
    with monkeypatch.context() as patch:
        patch.setattr(client, "list_batches", lambda: [None])
        sweep.sweep()
    state = JournalState.get()
    assert "Something went wrong" in state.report and state.asked_at is None
    assert_nothing_is_sent(simulator, drive)
    assert recovery.ask()
    assert_whole(drive(job), simulator)


@pytest.mark.no_database
def test_from_the_shell(
    alice: User, simulator: Simulator, drive: Drive, capsys: pytest.CaptureFixture[str]
) -> None:
    job = sent_since(alice, simulator, drive)
    simulator.faults(list=[{"kind": "status", "status": 500}])
    with pytest.raises(SystemExit, match="1"):
        call_command("job", "reconcile")
    call_command("job", "reconcile")
    assert capsys.readouterr().out.count("found at Anthropic") == 2
    call_command("job", "reconcile")
    assert "nothing to do" in capsys.readouterr().err
    assert_whole(drive(job), simulator)


@pytest.mark.no_database
def test_a_database_that_was_not_restored_is_never_held_up(
    alice: User, simulator: Simulator, drive: Drive, settings: Any
) -> None:
    """Also with a line in the journal that a full disk or a power cut has cut off."""
    job = draft(alice, ROWS)
    confirm(job, alice)
    path = Path(settings.DATA_DIR, "journal.jsonl")
    path.write_text('{"at": "2026-01-01", "kind": "intent", "nonce": "abc')
    assert_whole(drive(job), simulator)
    assert path.read_text().splitlines()[1].startswith('{"at"')
    assert unknown_submissions.submissions_unknown() == 0
    path.unlink()
    assert unknown_submissions.submissions_unknown() == 0


@pytest.mark.no_database
def test_damaged_lines_of_the_journal_are_skipped_and_said_once(
    alice: User,
    simulator: Simulator,
    drive: Drive,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(journal, "_warned", set())
    job = sent_since(alice, simulator, drive)
    damaged = [
        "17",
        '{"kind": "intent"}',
        '{"kind": "outcome", "nonce": []}',
        "\udcff",
        "[" * 9_999,
    ]
    path = Path(settings.DATA_DIR, "journal.jsonl")
    lines = "\n".join([*damaged, path.read_text()])
    path.write_text(lines, errors="surrogateescape")
    assert unknown_submissions.submissions_unknown() == 2
    recovery.restore()
    assert unknown_submissions.submissions_unknown() == 0
    said = [record for record in caplog.records if "is skipped" in record.getMessage()]
    assert len(said) == len(damaged)
    assert_whole(drive(job), simulator)


@pytest.mark.no_database
def test_an_answer_whose_intent_is_damaged_is_named(
    alice: User, simulator: Simulator, drive: Drive, settings: Any
) -> None:
    settings.BATCH_MAX_REQUESTS = 100
    job = draft(alice, ROWS)
    confirm(job, alice)
    with a_backup_that_comes_back():
        (provider_id,) = drive(job).batches.values_list("provider_id", flat=True)
    path = Path(settings.DATA_DIR, "journal.jsonl")
    _intent, outcome = path.read_text().splitlines()
    path.write_text(f"damaged\n{outcome}\n")
    assert_nothing_is_sent(simulator, drive)
    (line,) = recovery.restore()
    assert str(provider_id) in line and f"Job {job.pk}" in line
    assert unknown_submissions.submissions_unknown() == 0


@pytest.mark.no_database
def test_an_older_journal_without_recipes_is_good_enough(
    alice: User, simulator: Simulator, drive: Drive, settings: Any
) -> None:
    job = sent_since(alice, simulator, drive)
    path = Path(settings.DATA_DIR, "journal.jsonl")
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    for entry in entries:
        entry.pop("recipe", None)
        entry.pop("places", None)
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    recovery.restore()
    assert_whole(drive(job), simulator)


@pytest.mark.no_database
def test_practice_is_never_held_up(
    alice: User, simulator: Simulator, drive: Drive, settings: Any
) -> None:
    settings.PRACTICE = True
    sent_since(alice, simulator, drive)
    settings.PRACTICE = False
    assert unknown_submissions.submissions_unknown() == 0


def test_in_practice_nothing_is_looked_for_and_with_a_key_it_is_again(
    alice: User, simulator: Simulator, drive: Drive, settings: Any
) -> None:
    job = sent_since(alice, simulator, drive, was_confirmed=False)
    assert unknown_submissions.submissions_unknown() == 2
    settings.PRACTICE = True
    assert unknown_submissions.submissions_unknown() == 0
    assert not recovery.ask()
    (line,) = recovery.restore()
    assert "practice" in line and not Batch.objects.exists()
    assert Row.objects.filter(job=job, outcome=Outcome.WAITING).count() == len(ROWS)
    settings.PRACTICE = False
    assert unknown_submissions.submissions_unknown() == 2
