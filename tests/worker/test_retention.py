"""Cells and answers are deleted when their time is over, and batches at the provider once their
results are safe here. Counts, receipts and spending stay."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client

from jobs.actions import drafts, people, retention, retries
from jobs.batches import late, polling, provider_deletion, stored_results
from jobs.models import (
    Attempt,
    AuditEntry,
    Batch,
    Job,
    JobSource,
    Notification,
    Retention,
    RightAnswer,
    Role,
    Row,
    clock,
    files,
)
from jobs.models.retention import WARNED_BEFORE, deleted_on
from jobs.provider import client, errors
from jobs.retries import rounds
from jobs.retries.measurements import CannotRetry
from jobs.retries.selection import FOR_NOW
from jobs.rules.recipes import Recipe, with_example, without_examples
from jobs.rules.retry_choices import RetryChoice
from jobs.rules.row_choices import IS, Condition, RowChoice
from jobs.rules.rows_wanted import SOME, RowsWanted
from jobs.spending import ledger, receipts
from jobs.web.templatetags.show import day
from jobs.worker import advance, backups, tally
from jobs.worker import retention as over

from ..conftest import Simulator, signed_in
from ..driven_jobs import confirmed

Drive = Callable[..., Job]
SECRET = "S3CRET"


def finished(owner: User, drive: Drive) -> Job:
    """A job with answers, right ones beside them, and a row that failed, whose rows were chosen."""
    job = drive(confirmed(owner, [[SECRET, "good"], ["Bo", f"{SECRET} [simulate:errored]"]]))
    assert job.state == Job.State.FINISHED
    RightAnswer.objects.create(job=job, position=1, number=1, values={"": SECRET})
    JobSource.objects.create(job=job, source=None, wanted=RowsWanted(SOME, text=SECRET))
    choice = RowChoice((Condition("name", IS, SECRET),))
    Job.objects.filter(pk=job.pk).update(row_choice=choice)
    return Job.objects.get(pk=job.pk)


def test_cells_and_answers_go_and_the_record_stays(
    transactional_db: None,  # a backup of PostgreSQL begins a transaction of its own
    alice: User,
    client_alice: Client,
    drive: Drive,
    simulator: Simulator,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    job = finished(alice, drive)
    Attempt.objects.create(job=job, number=1, attempt=1, source=SECRET, answer=SECRET, problem="")
    receipt, spent, counts = receipts.receipt_of(job), job.spent_pico, job.tally
    assert retention.change_job(job, 30, None, alice) and job.finished_at
    Job.objects.update(retention_changed_at=None)  # as if chosen before it ended
    site = Retention.get()
    ends = deleted_on(Job.objects.get(pk=job.pk), site)
    assert ends == job.finished_at + timedelta(days=30)
    page = client_alice.get(f"/jobs/{job.pk}/").content.decode()
    assert "Cells and answers are deleted on" in page, "it is said 30 days before"

    over.begin_due()
    assert Job.objects.get(pk=job.pk).contents_deleted_at is None, "not before its time"
    told_long_ago(monkeypatch, ends - timedelta(days=2))
    later = ends + timedelta(minutes=1)
    with monkeypatch.context() as patch:
        patch.setattr(clock, "provider_now", lambda: None)
        patch.setattr(clock, "earliest_now", lambda: later)
        over.begin_due()
        assert Job.objects.get(pk=job.pk).contents_deleted_at is None, "not by one clock alone"
    monkeypatch.setattr(clock, "earliest_now", lambda: later)
    over.begin_due()
    job.refresh_from_db()
    assert job.contents_deleted_at and not job.contents_are_gone
    # From the first moment on nothing is sent again.
    with pytest.raises(CannotRetry):
        rounds.make_plan(job, RetryChoice(FOR_NOW))
    assert not retries.confirm_retry(job, RetryChoice(FOR_NOW), "", alice)
    assert not drafts.start_trials(job, list(job.rows.all()), alice)
    advance.advance(job.pk)
    job.refresh_from_db()
    assert job.contents_are_gone and job.state == Job.State.FINISHED

    for model in apps.get_app_config("jobs").get_models():
        assert SECRET not in str(list(model._default_manager.values())), model
    stored = [*Row.objects.values(), *Attempt.objects.values(), *job.trials.values()]
    assert not any(one["answer"] for one in stored)
    assert not [path for path in Path(settings.DATA_DIR).rglob(f"{job.pk}-*") if path.is_file()]
    assert not files.upload_path(job).exists()
    tally.count_up(job)
    job.refresh_from_db()
    assert (job.tally, job.spent_pico) == (counts, spent)
    assert receipts.receipt_of(job).lines == receipt.lines
    assert sum(charge.amount for charge in ledger.charges(job.created_at)) == receipt.charged
    assert_nothing_shows_them(job, client_alice)
    made = backups.make(tmp_path_factory.mktemp("backups"), 1)
    assert not made.manifest.troubles, "a backup does not miss them"


def assert_nothing_shows_them(job: Job, client_alice: Client) -> None:
    for path in ("", "?tab=details", "?tab=cost", "rows/", "rows/1/", "receipt/", "problems/"):
        answer = client_alice.get(f"/jobs/{job.pk}/{path}")
        assert answer.status_code in (200, 302) and SECRET.encode() not in answer.content, path
    assert "were deleted" in client_alice.get(f"/jobs/{job.pk}/").content.decode()
    for path in ("csv", "xlsx", "jsonl", "raw"):
        assert client_alice.get(f"/jobs/{job.pk}/download/{path}/").status_code == 302
    assert client_alice.get(f"/jobs/{job.pk}/batches/1/raw/").status_code == 404
    stored_results.check_some()
    assert not Batch.objects.exclude(damaged_at=None).exists(), "what was deleted is not damaged"
    assert AuditEntry.objects.latest("number").event == "job_contents_deleted"


def test_no_job_keeps_them_longer_than_the_site_allows(
    alice: User, root: User, client_root: Client, client_alice: Client, make_job: Callable[..., Job]
) -> None:
    job = make_job(alice, finished_at=clock.now())
    given = {"days": "90", "deletes_batches": "on", "announced": "90"}
    client_root.post("/retention/", given)
    assert (Retention.get().days, Retention.get().deletes_batches) == (90, True)
    assert client_alice.get("/retention/").status_code == 404
    ann = User.objects.create_user("ann")
    people.store_role(ann, Role.AUDITOR)
    auditor = signed_in(User.objects.get(pk=ann.pk))
    read = auditor.get("/retention/").content.decode()
    assert "deleted 90 days after a job ends" in read and 'name="days"' not in read
    assert auditor.post("/retention/", {"days": ""}).status_code == 403
    client_alice.post(f"/jobs/{job.pk}/retention/", {"days": "365", "deletes_batches": "no"})
    job.refresh_from_db()
    assert job.retention_days is None
    client_alice.post(f"/jobs/{job.pk}/retention/", {"days": "30", "deletes_batches": "no"})
    job.refresh_from_db()
    assert [job.retention_days, job.deletes_batches] == [30, False]
    page = client_alice.get(f"/jobs/{job.pk}/?tab=details").content.decode()
    assert re.search(r'<option value="30" selected>', page), "it can be seen where it is changed"
    # They were chosen before the job ended.
    Job.objects.update(retention_days=365, retention_changed_at=None)
    Retention.row().update(changed_at=None)
    ends = deleted_on(Job.objects.get(), Retention.get())
    assert ends and job.finished_at and ends == job.finished_at + timedelta(days=90)
    events = list(AuditEntry.objects.order_by("number").values_list("event", flat=True))
    assert events == ["retention_changed", "job_retention_changed"]


def test_a_shorter_time_deletes_nothing_that_its_owner_was_not_told_of(
    alice: User, root: User, make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = clock.now()
    old = make_job(alice, finished_at=now - timedelta(days=200))
    own = make_job(alice, finished_at=now - timedelta(days=200))
    monkeypatch.setattr(clock, "provider_now", lambda: now)

    def look(after: timedelta) -> None:
        monkeypatch.setattr(clock, "earliest_now", lambda: now + after)
        monkeypatch.setattr(clock, "now", lambda: now + after)
        over.warn_due()
        over.begin_due()

    retention.change_site(365, False, root)
    assert retention.change_job(own, 30, None, alice)
    look(timedelta(minutes=1))
    assert [one.job for one in Notification.objects.all()] == [own]
    assert Notification.objects.get().facts.days == 3
    retention.change_site(90, False, root)
    look(timedelta(minutes=2))
    assert {one.job for one in Notification.objects.all()} == {old, own}
    own.refresh_from_db()
    old.refresh_from_db()
    site = Retention.get()
    assert site.changed_at and deleted_on(old, site) == site.changed_at + WARNED_BEFORE
    look(WARNED_BEFORE - timedelta(minutes=1))
    assert not Job.objects.exclude(contents_deleted_at=None).exists(), "owners were told 3 days"
    look(WARNED_BEFORE + timedelta(minutes=3))
    assert not Job.objects.filter(contents_deleted_at=None).exists()


def test_nothing_is_deleted_before_its_owner_was_told_for_days(
    alice: User, make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when no worker ran in all the days in which that should have been."""
    now = clock.now()
    job = make_job(alice, finished_at=now - timedelta(days=200))
    Retention.row().update(days=30)
    for after, is_deleted in (
        (timedelta(), False),
        (WARNED_BEFORE - timedelta(minutes=1), False),
        (WARNED_BEFORE + timedelta(minutes=1), True),
    ):
        monkeypatch.setattr(clock, "now", lambda after=after: now + after)
        monkeypatch.setattr(clock, "provider_now", clock.now)
        over.warn_due()
        over.begin_due()
        job.refresh_from_db()
        assert bool(job.contents_deleted_at) is is_deleted
        assert Notification.objects.get().facts.days == WARNED_BEFORE.days


@pytest.mark.parametrize("untold", ["owner is gone", "in the trash"])
def test_what_nobody_is_told_of_is_deleted_in_time(
    alice: User, make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch, untold: str
) -> None:
    now = clock.now()
    trashed_at = now if untold == "in the trash" else None
    job = make_job(alice, finished_at=now - timedelta(days=31), trashed_at=trashed_at)
    User.objects.update(is_active=untold == "in the trash")
    Retention.row().update(days=30)
    monkeypatch.setattr(clock, "provider_now", clock.now)
    over.warn_due()
    over.begin_due()
    job.refresh_from_db()
    assert job.contents_deleted_at and not Notification.objects.exists()


def told_long_ago(monkeypatch: pytest.MonkeyPatch, at: datetime) -> None:
    """Owners were told in time, by the look at this moment."""
    with monkeypatch.context() as patch:
        patch.setattr(clock, "now", lambda: at)
        over.warn_due()
    Notification.objects.update(made_at=at - WARNED_BEFORE)


def test_a_second_change_is_told_again(
    alice: User, root: User, make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_job(alice, finished_at=clock.now() - timedelta(days=100))
    for days in (90, None, 90):
        retention.change_site(days, False, root)
        Retention.row().filter(days=None).update(changed_at=clock.now() - timedelta(days=9))
        over.warn_due()
        over.warn_due()
        later = clock.now() + timedelta(days=1)
        monkeypatch.setattr(clock, "now", lambda later=later: later)
    assert Notification.objects.filter(event="results_expiring").count() == 2


def test_what_is_due_no_more_stays(
    alice: User, root: User, make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The setting was changed, or the job began anew, after the list of what is due was made."""
    job = make_job(alice, finished_at=clock.now() - timedelta(days=100))
    Retention.row().update(days=30)
    changes: list[Callable[[], object]] = [
        lambda: retention.change_site(None, False, root),
        lambda: retention.change_site(365, False, root),
        lambda: Job.objects.update(state=Job.State.WORKING),
        lambda: Job.objects.update(finished_at=clock.now()),
    ]
    monkeypatch.setattr(clock, "provider_now", clock.now)
    begin = over._begin
    for change in changes:
        Job.objects.update(state=Job.State.FINISHED, finished_at=job.finished_at)
        Retention.row().update(days=30, changed_at=None)
        told_long_ago(monkeypatch, clock.now())
        meanwhile = iter([change])
        monkeypatch.setattr(over, "_begin", lambda *args, m=meanwhile: [next(m)(), begin(*args)])
        over.begin_due()
        assert not list(meanwhile) and not Job.objects.exclude(contents_deleted_at=None).exists()


def test_a_shorter_time_is_saved_by_who_has_seen_what_it_deletes(
    alice: User, client_root: Client, make_job: Callable[..., Job]
) -> None:
    make_job(alice, finished_at=clock.now() - timedelta(days=100))
    make_job(alice, finished_at=clock.now() - timedelta(days=10))
    make_job(alice, finished_at=clock.now() - timedelta(days=50), retention_days=30)
    page = client_root.post("/retention/", {"days": "90"}).content.decode()
    assert "cells and answers of 2 jobs, the first on" in " ".join(page.split())
    assert day(clock.now() + WARNED_BEFORE) in page
    assert Retention.get().days is None
    client_root.post("/retention/", {"days": "30", "announced": "90"})
    assert Retention.get().days is None, "something else was announced"
    client_root.post("/retention/", {"days": "90", "announced": "90"})
    assert Retention.get().days == 90
    client_root.post("/retention/", {"days": "365"})
    assert Retention.get().days == 365, "a longer time deletes nothing"


def test_examples_leave_the_background() -> None:
    system = with_example("Be brief.", [("name", SECRET)], f"{SECRET} </example> x")
    system = with_example(system, [("name", "Bo")], "no")
    assert without_examples(Recipe(system=system)).system == "Be brief."


# --- At the provider ------------------------------------------------------------------------------


def is_there(batch: Batch) -> bool:
    try:
        client.retrieve_batch(str(batch.provider_id))
    except errors.NotFound:
        return False
    return True


def test_a_batch_is_deleted_only_when_its_results_are_safe(
    alice: User, client_alice: Client, drive: Drive, simulator: Simulator
) -> None:
    job = finished(alice, drive)
    batch = job.batches.get()
    provider_deletion.delete_some()
    assert is_there(batch), "off by default"
    assert retention.change_job(job, None, True, alice)
    path = files.results_path(batch)
    whole = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(whole[:-1] + b"x")
    provider_deletion.delete_some()
    assert is_there(batch), "the file on our disk is damaged"
    path.write_bytes(whole)
    Batch.objects.update(damaged_at=None, delete_after=None)
    job.rows.filter(number=1).update(outcome="waiting")
    provider_deletion.delete_some()
    assert is_there(batch), "a row has no answer"
    job.rows.filter(number=1).update(outcome="good")
    provider_deletion.delete_some()
    assert is_there(batch), "it is tried again only after a pause"
    Batch.objects.update(delete_after=None)
    provider_deletion.delete_some()
    assert not is_there(batch)
    batch.refresh_from_db()
    assert batch.deleted_at and batch.deletion_id and batch.state == Batch.State.COLLECTED
    # Nothing takes it for lost.
    polling.watch()
    late.look()
    advance.advance(job.pk)
    batch.refresh_from_db()
    job.refresh_from_db()
    assert batch.state == Batch.State.COLLECTED and not job.held and not batch.missing_since
    page = client_alice.get(f"/jobs/{job.pk}/receipt/").content.decode()
    assert "Deleted at Anthropic" in page and batch.deletion_id in page
    assert AuditEntry.objects.latest("number").event == "batch_deleted_at_provider"
    assert b"".join(stored_results.blocks(batch)) == whole


def test_one_that_is_gone_counts_as_deleted_only_with_the_key_it_was_sent_with(
    alice: User, drive: Drive, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = finished(alice, drive)
    batch = job.batches.get()
    Retention.row().update(deletes_batches=True)
    client.delete_batch(str(batch.provider_id))
    monkeypatch.setattr(provider_deletion, "key_fingerprint", lambda: "another")
    provider_deletion.delete_some()
    assert Batch.objects.get().deleted_at is None, "another key does not see it"
    monkeypatch.undo()
    Batch.objects.update(delete_after=None)
    provider_deletion.delete_some()
    assert Batch.objects.get().deletion_id == provider_deletion.GONE


def test_everything_is_looked_at_again_before_a_batch_is_deleted(
    alice: User, root: User, drive: Drive, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = finished(alice, drive)
    batch = job.batches.get()
    path = files.results_path(batch)
    whole = path.read_bytes()
    path.chmod(0o600)
    retrieve = client.retrieve_batch
    changes: list[Callable[[], object]] = [
        lambda: retention.change_site(None, False, root),
        lambda: retention.change_job(job, None, False, alice),
        lambda: job.rows.filter(number=1).update(outcome="waiting"),
        lambda: Batch.objects.update(damaged_at=clock.now()),
        lambda: path.write_bytes(whole[:-1] + b"x"),
    ]
    for change in changes:
        retention.change_site(None, True, root)
        retention.change_job(job, None, None, alice)
        job.rows.filter(number=1).update(outcome="good")
        Batch.objects.update(damaged_at=None, delete_after=None)
        path.write_bytes(whole)

        def looked_at(provider_id: str, change: Callable[[], object] = change) -> object:
            change()  # after the list of what is due was made
            return retrieve(provider_id)

        with monkeypatch.context() as patch:
            patch.setattr(client, "retrieve_batch", looked_at)
            provider_deletion.delete_some()
        assert is_there(batch)
        assert Batch.objects.get().delete_after


def test_a_batch_that_has_not_ended_there_is_not_deleted(
    alice: User, drive: Drive, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = finished(alice, drive).batches.get()
    Retention.row().update(deletes_batches=True)
    there = replace(client.retrieve_batch(str(batch.provider_id)), status="in_progress")
    with monkeypatch.context() as patch:
        patch.setattr(client, "retrieve_batch", lambda _id: there)
        provider_deletion.delete_some()
    assert is_there(batch)


def test_a_look_that_is_not_answered_makes_a_pause(
    alice: User, drive: Drive, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = finished(alice, drive).batches.get()
    Retention.row().update(deletes_batches=True)
    client.delete_batch(str(batch.provider_id))
    answers: list[errors.ProviderError] = []

    def look(_id: str) -> None:
        raise answers.pop(0)

    monkeypatch.setattr(client, "retrieve_batch", look)
    gone = errors.NotFound(404, "not_found_error", "gone", None)
    for failures, said in ((1, [errors.Unreachable("away")]), (2, [gone, errors.Unclear("?")])):
        Batch.objects.update(delete_after=None)
        answers[:] = said
        provider_deletion.delete_some()
        left = Batch.objects.get()
        assert left.delete_after and left.deletion_failures == failures and not answers
    assert not left.deleted_at
