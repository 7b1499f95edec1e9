"""A restored batch gets its rows back in short transactions; a crash between two of them costs
nothing, because nobody goes on with the rows until the batch has all of them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, connections, transaction

from jobs.actions import submissions
from jobs.batches import recovery, restored_batches, restored_rows, slices, unknown_submissions
from jobs.models import Attempt, Batch, Job, JournalState, Outcome, Row
from jobs.worker import sweep

from ..conftest import Simulator, send_again
from ..driven_jobs import Drive, draft
from .test_recovery import (
    ROWS,
    a_backup_that_comes_back,
    all_sent,
    assert_nothing_is_sent,
    assert_whole,
    confirm,
    sent_since,
    with_a_key,
    without_the_journal,
)

__all__ = ["with_a_key"]  # a fixture of all tests here
SLICE = 7


class Killed(BaseException):
    """Stands for kill -9 between two slices."""


@pytest.fixture(autouse=True)
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restored_rows, "SLICE", SLICE)


def restore_and_die(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Restore, and die after so many slices."""
    take = restored_rows._take
    taken: list[int] = []

    def take_or_die(*args: Any) -> None:
        if len(taken) == after:
            raise Killed
        taken.append(1)
        take(*args)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(restored_rows, "_take", take_or_die)
        recovery.restore()


@pytest.mark.no_database
@pytest.mark.parametrize(("after", "confirmed"), [(0, False), (1, True), (3, True), (7, False)])
def test_a_restore_that_dies_between_two_slices_is_gone_on_with(
    alice: User,
    simulator: Simulator,
    drive: Drive,
    monkeypatch: pytest.MonkeyPatch,
    after: int,
    confirmed: bool,
) -> None:
    job = sent_since(alice, simulator, drive, was_confirmed=confirmed)
    restore_and_die(monkeypatch, after)
    state, had = Job.objects.get(pk=job.pk).state, Row.objects.exclude(batch=None).count()
    assert state == (Job.State.SUBMITTING if confirmed else Job.State.DRAFT)
    assert had == sum(_slices_of(26, 24)[:after])
    assert_nothing_is_sent(simulator, drive)
    assert Row.objects.exclude(batch=None).count() == had, "nobody takes them, nobody empties it"
    assert set(Batch.objects.values_list("state", flat=True)) == {Batch.State.RESTORING}
    recovery.restore()
    assert_whole(drive(job), simulator)
    assert simulator.truth()["posts"] == 2


def _slices_of(*sizes: int) -> list[int]:
    return [min(SLICE, size - begin) for size in sizes for begin in range(0, size, SLICE)]


@pytest.mark.no_database
def test_nothing_is_lost_when_it_dies_while_rows_come_back_that_had_an_answer(
    alice: User, simulator: Simulator, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that expired were sent again after the backup: what they came to first is kept once."""
    job = draft(alice, ROWS)
    confirm(job, alice)
    simulator.faults(expire_share=0.5)
    job = drive(job)
    expired = job.outcome_count(Outcome.EXPIRED)
    simulator.reset()
    with a_backup_that_comes_back():
        assert send_again(job, alice) == expired
        drive(job, until=all_sent)
    for _ in range(2):
        restore_and_die(monkeypatch, 1)
    recovery.restore()
    job = drive(job)
    assert job.good_count == len(ROWS)
    assert Attempt.objects.filter(job=job).count() == expired
    assert simulator.truth()["accepted_rows"] == len(ROWS) + expired


def test_a_job_that_was_stopped_stays_stopped_when_its_restore_dies(
    alice: User,
    simulator: Simulator,
    drive: Drive,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its stopped rows wait again by then, so they do not say any more that it was stopped."""
    settings.BATCH_MAX_REQUESTS = 100
    job = sent_since(alice, simulator, drive)
    with without_the_journal(settings):
        assert submissions.stop_job(job, alice)
        drive(job)
    restore_and_die(monkeypatch, 5)
    recovery.restore()
    assert Job.objects.get(pk=job.pk).state == Job.State.CANCELING
    assert_whole(drive(job), simulator)


@pytest.mark.django_db(transaction=True)
def test_a_process_that_is_killed_between_two_slices(
    alice: User, simulator: Simulator, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = draft(alice, ROWS)
    with transaction.atomic():
        confirm(job, alice)
        drive(job, until=all_sent)
        transaction.set_rollback(True)
    connections.close_all()
    child = os.fork()
    if child == 0:
        take = restored_rows._take
        taken: list[int] = []

        def take_or_die(*args: Any) -> None:
            if len(taken) == 4:
                os.kill(os.getpid(), signal.SIGKILL)
            taken.append(1)
            take(*args)

        monkeypatch.setattr(restored_rows, "_take", take_or_die)
        try:
            recovery.restore()
        finally:
            os._exit(1)  # it was to be killed
    _pid, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert Row.objects.exclude(batch=None).count() == sum(_slices_of(26, 24)[:4])
    assert_nothing_is_sent(simulator, drive)
    recovery.restore()
    assert_whole(drive(job), simulator)
    assert simulator.truth()["posts"] == 2


def test_no_transaction_changes_more_rows_than_a_slice(
    alice: User,
    simulator: Simulator,
    drive: Drive,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings.BATCH_MAX_REQUESTS = 100
    job = sent_since(alice, simulator, drive)
    changed: list[int] = []  # rows, of each transaction
    statements: list[int] = []
    inside = [False]
    in_slices = slices.slice_transaction

    def noted(lease: Any) -> Any:
        changed.append(0)
        statements.append(0)
        return in_slices(lease)

    def count(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        result = execute(sql, params, many, context)
        if sql.startswith(("UPDATE", "INSERT", "DELETE")) and '"jobs_row"' in sql:
            assert changed, "rows are changed in slices only"
            assert not inside[0], "nothing is settled yet"
            changed[-1] += context["cursor"].rowcount
            statements[-1] += 1
        return result

    settle = restored_batches.settle

    def settle_alone(*args: Any) -> None:
        inside[0] = True
        settle(*args)

    monkeypatch.setattr(restored_rows, "slice_transaction", noted)
    monkeypatch.setattr(restored_batches, "settle", settle_alone)
    with connection.execute_wrapper(count):
        recovery.restore()
    assert changed == _slices_of(50)
    assert max(statements) <= 4
    assert_whole(drive(job), simulator)


@pytest.mark.no_database
def test_a_job_that_cannot_be_restored_does_not_stop_the_others(
    alice: User,
    simulator: Simulator,
    drive: Drive,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings.BATCH_MAX_REQUESTS = 100
    jobs = [draft(alice, rows) for rows in (ROWS, [["other", "x"]])]
    for job in jobs:
        confirm(job, alice)
    with a_backup_that_comes_back():
        for job in jobs:
            drive(job, until=all_sent)
    give_back = restored_rows.give_rows_back

    def fail_first(job: Job, *args: Any) -> bool:
        if job == jobs[0]:
            raise RuntimeError
        return give_back(job, *args)

    with monkeypatch.context() as patch:
        patch.setattr(restored_rows, "give_rows_back", fail_first)
        first, second, left = recovery.restore()
    assert f"Job {jobs[0].pk}: not checked yet: Something went wrong" in first
    assert "found at Anthropic" in second
    assert "until they are" in left
    assert_nothing_is_sent(simulator, drive)
    recovery.restore()
    assert [drive(job).good_count for job in jobs] == [len(ROWS), 1]
    assert simulator.truth()["posts"] == 2


def test_rows_that_are_not_free_are_not_sent_again(
    alice: User, simulator: Simulator, drive: Drive, settings: Any
) -> None:
    """One of them waits in a batch that is over, which nothing here does."""
    settings.BATCH_MAX_REQUESTS = 100
    job = sent_since(alice, simulator, drive)
    over = Batch.objects.create(
        job=job, number=9, size=1, nonce="other0", state=Batch.State.LOST, body_bytes=0
    )
    Row.objects.filter(job=job, number=30).update(batch=over)
    (line,) = recovery.restore()
    assert "have changed since" in line
    assert unknown_submissions.submissions_unknown() == 0
    assert list(Batch.objects.all()) == [over]
    assert Row.objects.filter(job=job, outcome=Outcome.CANCELED).count() == len(ROWS) - 1
    assert Row.objects.get(job=job, number=30).batch == over
    for _ in range(3):
        Job.objects.update(next_action_at="2020-01-01T00:00Z")
        sweep.sweep()
    assert simulator.truth()["posts"] == 1


def test_a_batch_that_is_planned_meanwhile_is_taken_back_by_the_next_look(
    alice: User,
    simulator: Simulator,
    drive: Drive,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A worker that had begun to plan before anybody knew that the database is old."""
    settings.BATCH_MAX_REQUESTS = 100
    job = sent_since(alice, simulator, drive)
    begin = restored_rows._begin

    def plan_first(*args: Any) -> Batch:
        batch = begin(*args)
        planned = Batch.objects.create(
            job=job, number=9, size=2, nonce="other0", body_bytes=0, state=Batch.State.PLANNED
        )
        Row.objects.filter(job=job, number__in=[30, 31]).update(batch=planned)
        return batch

    with monkeypatch.context() as patch:
        patch.setattr(restored_rows, "_begin", plan_first)
        line, left = recovery.restore()
    assert "not checked yet" in line and "until they are" in left
    assert_nothing_is_sent(simulator, drive)
    recovery.restore()
    assert_whole(drive(job), simulator)
    assert simulator.truth()["posts"] == 1


@pytest.mark.no_database
def test_without_the_journal_a_batch_that_is_half_restored_asks_for_a_person(
    alice: User,
    simulator: Simulator,
    drive: Drive,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = sent_since(alice, simulator, drive)
    restore_and_die(monkeypatch, 4)
    JournalState.row().update(ahead=0, checked=0)
    with without_the_journal(settings):
        held = drive(job, until=lambda job: bool(job.held))
        assert "journal.jsonl" in held.held
        assert submissions.stop_job(held, alice)
        job = drive(job)
        assert job.outcome_count(Outcome.CANCELED) == len(ROWS)
        assert simulator.truth()["posts"] == 2
    assert all("found at Anthropic" in line for line in recovery.restore())
    assert_whole(drive(job), simulator)


@pytest.mark.no_database
@pytest.mark.parametrize(
    ("ranges", "parts"),
    [
        ([], []),
        ([(1, 7)], [[(1, 7)]]),
        ([(1, 8)], [[(1, 7)], [(8, 8)]]),
        ([(1, 3), (5, 5), (9, 20)], [[(1, 3), (5, 5), (9, 11)], [(12, 18)], [(19, 20)]]),
    ],
)
def test_runs_of_rows_are_cut_into_slices(ranges: Any, parts: Any) -> None:
    assert list(restored_rows._parts(ranges)) == parts


@pytest.mark.no_database
def test_a_slice_has_no_more_runs_than_a_query_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restored_rows, "RANGES_AT_ONCE", 2)
    ranges = [(number, number) for number in range(1, 10, 2)]
    assert [len(part) for part in restored_rows._parts(ranges)] == [2, 2, 1]
