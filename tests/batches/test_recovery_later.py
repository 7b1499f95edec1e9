"""What people and the site did between a backup and the moment when it came back."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User

from jobs.actions import drafts, external_batches, submissions, uploads
from jobs.batches import journal, planning, polling, recovery
from jobs.ingest.shapes import Choices
from jobs.models import Job, Outcome, Retention, SpendingCaps, clock
from jobs.provider import client
from jobs.worker import deletion, sweep

from ..conftest import Simulator, put_off_look
from ..driven_jobs import RECIPE, Drive, draft, joined, priced, upload
from .test_recovery import (
    ROWS,
    a_backup_that_comes_back,
    all_sent,
    assert_nothing_is_sent,
    assert_whole,
    confirm,
    with_a_key,
    without_the_journal,
)

__all__ = ["with_a_key"]  # a fixture of all tests here
OTHER_LINES = Choices(header=3)  # the names are in another line, so every number means another row


def read(job: Job) -> bool:
    return job.state == Job.State.DRAFT


def send_read_otherwise(alice: User, drive: Drive, choices: Choices) -> Job:
    """A draft as it is in a backup, after which it was read with other settings and sent."""
    recipe = replace(RECIPE, prompt="Say {{n1}}{{x}}" if choices.header else "Say {{name}}{{text}}")
    job = drive(upload(alice, ROWS), until=read)
    assert drafts.save_recipe(job, RECIPE, alice)
    job = drive(job, until=priced)
    with a_backup_that_comes_back():
        assert uploads.change_choices(job, choices, alice)
        drive(job, until=read)
        assert drafts.save_recipe(job, recipe, alice)
        confirm(drive(job, until=priced), alice)
        drive(job, until=all_sent)
    return Job.objects.get(pk=job.pk)


@pytest.fixture(autouse=True)
def one_batch(settings: Any, with_a_key: None) -> None:
    settings.BATCH_MAX_REQUESTS = 100


def test_answers_to_a_file_that_was_read_otherwise_are_not_given_to_other_rows(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    job = send_read_otherwise(alice, drive, OTHER_LINES)
    (batch,) = simulator.truth()["batches"]
    (said,) = recovery.restore()
    assert "read with other settings" in said and batch["id"] in said
    job.refresh_from_db()
    assert job.state == Job.State.DRAFT and not job.batches.exists()
    assert job.rows.filter(outcome=Outcome.WAITING, batch=None).count() == len(ROWS)
    assert "Import them" in job.events.latest("pk").text
    imported = drive(external_batches.import_batch(alice, batch["id"]))
    assert imported.good_count == len(ROWS) - 2


def test_a_job_that_is_confirmed_again_is_not_sent_when_its_file_was_read_otherwise(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    job = send_read_otherwise(alice, drive, OTHER_LINES)
    confirm(drive(job, until=priced), alice)
    recovery.restore()
    job = drive(job)
    assert job.outcome_count(Outcome.CANCELED) == len(ROWS)
    assert simulator.truth()["accepted_rows"] == len(ROWS) - 2


def test_other_settings_that_lead_to_the_same_rows_do_not_matter(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    job = send_read_otherwise(alice, drive, Choices(delimiter=",", encoding="utf-8"))
    recovery.restore()
    for row, line in zip(ROWS, joined(drive(job))[1:], strict=True):
        assert line[:2] == row and f"Say {row[0]}{row[1]}" in line[2]


@pytest.mark.parametrize("given_up", [False, True])
def test_answers_that_are_here_are_taken_when_the_provider_has_them_no_more(
    alice: User,
    simulator: Simulator,
    drive: Drive,
    monkeypatch: pytest.MonkeyPatch,
    given_up: bool,
) -> None:
    """They were fetched after the backup, and then deleted there, as some want it. Also when
    somebody wanted to go on without them by the time of the backup."""
    job = draft(alice, ROWS)
    confirm(job, alice)
    simulator.faults(stuck=True)
    drive(job, until=all_sent)
    simulator.faults(stuck=False)
    if given_up:
        monkeypatch.setattr(polling, "LOOK_ONCE_MORE", timedelta())
        now = clock.now()
        job.batches.update(missing_since=now, given_up_at=now)
        Job.objects.update(next_action_at=now)
    with a_backup_that_comes_back():
        client.delete_batch(str(drive(job).batches.get().provider_id))
    assert_whole(drive(job), simulator)


def test_answers_to_a_prompt_of_after_the_backup_are_not_reused_for_the_one_before(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    """The job has its old prompt again, and says that it was not asked that."""
    job = draft(alice, ROWS)
    with a_backup_that_comes_back():
        assert drafts.save_recipe(job, replace(RECIPE, prompt="Translate {{name}}"), alice)
        confirm(drive(job, until=priced), alice)
        drive(job, until=all_sent)
    recovery.restore()
    job = drive(job)
    assert job.events.filter(text__contains="another prompt").count() == 1
    again = draft(alice, ROWS, replace(RECIPE, only_new=True))
    Job.objects.filter(pk=again.pk).update(previous=job, plan_sha256="", next_action_at=clock.now())
    confirm(drive(again, until=priced), alice)
    assert_answers_fit(drive(again))
    assert simulator.truth()["accepted_rows"] == 2 * len(ROWS)


def assert_answers_fit(job: Job) -> None:
    for row, line in zip(ROWS, joined(job)[1:], strict=True):
        assert line[:2] == row and f"What is {row[0]}?" in line[2]


@pytest.mark.parametrize("was_tried", [False, True])
def test_what_was_sent_after_a_backup_can_be_imported_when_the_journal_is_lost(
    alice: User, simulator: Simulator, drive: Drive, settings: Any, was_tried: bool
) -> None:
    """In the backup the batch was ready, or refused. One that was ready can be imported at once,
    the other one when its job is stopped."""
    job = draft(alice, ROWS)
    confirm(job, alice)
    if was_tried:
        simulator.faults(create=[{"kind": "reject_429", "retry_after": 900}])
    else:
        SpendingCaps.row().update(stopped_at=clock.now())
    drive(job, until=lambda job: job.batches.filter(attempts=was_tried, state="planned").exists())
    with a_backup_that_comes_back():
        SpendingCaps.row().update(stopped_at=None)
        drive(job, until=all_sent)
    Path(settings.DATA_DIR, "journal.jsonl").unlink()
    SpendingCaps.row().update(stopped_at=clock.now())
    planning.take_back_all()
    if was_tried:
        assert submissions.stop_job(job, alice)
        assert drive(job).outcome_count(Outcome.CANCELED) == len(ROWS)
    else:
        drive(job, until=lambda job: not job.batches.filter(state="planning").exists())
    (batch,) = simulator.truth()["batches"]
    assert drive(external_batches.import_batch(alice, batch["id"])).good_count == len(ROWS)


def test_a_copy_without_a_key_leaves_alone_what_the_site_does_at_the_provider(
    alice: User, simulator: Simulator, drive: Drive, settings: Any
) -> None:
    """One job runs, one is being stopped, one is deleted, and a batch is to be deleted there."""
    done, doomed, stopped, running = (draft(alice, ROWS[: 10 + n]) for n in range(4))
    for job in (done, doomed):
        confirm(job, alice)
        drive(job)
    simulator.faults(stuck=True)
    for job in (stopped, running):
        confirm(job, alice)
        drive(job, until=all_sent)
    Retention.row().update(deletes_batches=True)
    assert submissions.stop_job(stopped, alice) and deletion.begin_deletion(doomed)
    before = simulator.truth(ids=True)
    settings.PRACTICE, settings.ANTHROPIC_API_KEY = True, ""
    for _ in range(5):
        put_off_look(0)
        Job.objects.exclude(next_action_at=None).update(next_action_at=clock.now())
        sweep.sweep()
    assert simulator.truth(ids=True) == before
    assert not Job.objects.filter(pk=doomed.pk).exists()
    held = Job.objects.filter(held__contains="the site has none now")
    assert set(held) == {stopped, running}


def test_nothing_is_sent_when_the_journal_goes_missing_after_the_restore(
    alice: User, simulator: Simulator, drive: Drive, settings: Any
) -> None:
    job = draft(alice, ROWS)
    confirm(job, alice)
    with a_backup_that_comes_back():
        drive(job, until=all_sent)
    assert_nothing_is_sent(simulator, drive)
    with without_the_journal(settings):
        journal.begin()  # as the worker does each minute
        assert recovery.restore() == [recovery.JOURNAL_IS_GONE]
        assert_nothing_is_sent(simulator, drive)
    recovery.restore()
    assert_whole(drive(job), simulator)
