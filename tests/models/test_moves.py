"""Every change of state is one conditional UPDATE, and somebody looks at whether it changed
anything. Here each of them comes second: the state is changed under it."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from functools import cache
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
from django.contrib.auth.models import User
from django.db import models
from django.utils import timezone

from jobs.actions import external_batches, job_basics, pilots, retries, submissions
from jobs.batches import (
    collection,
    journaled_batches,
    leases,
    planning,
    polling,
    reconciliation,
    recovery,
    restored_rows,
    result_rows,
    submission,
)
from jobs.batches.leases import Lease, LeaseLost
from jobs.drafts import estimates, reading, trials
from jobs.models import (
    Batch,
    DisownedBatch,
    Export,
    FileProblem,
    Job,
    NotMoved,
    Outcome,
    PastSpending,
    Pilot,
    Row,
    StateQuerySet,
    SubmissionEvent,
    Trial,
    files,
)
from jobs.provider import client, errors
from jobs.retries import rounds, selection
from jobs.rules import result_proof
from jobs.rules.retry_choices import RetryChoice
from jobs.worker import advance, due_times, failures, finishing, sweep
from jobs.worker.pilots import release_rest

from ..batches.test_submission import listed, unknown_batch
from ..conftest import Simulator
from ..driven_jobs import Drive, confirmed
from ..environment import ROOT

MakeJob = Callable[..., Job]
Meanwhile = Callable[..., None]
_Test = TypeVar("_Test", bound=Callable[..., Any])

MOVES = ("try_move", "move")
# What passes the outcome on, and is tested by those who call it.
PASSED_ON = {"move", "try_move"}
TESTED: set[str] = set()


def of(*places: str) -> Callable[[_Test], _Test]:
    """The test is of the moves in these functions."""
    TESTED.update(places)
    return lambda test: test


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Iterator[Meanwhile]:
    """`meanwhile(Job, state, **values)`: just before the next job is moved to `state`, somebody
    else changes `values` of it."""
    waiting: list[tuple[type[models.Model], str, dict[str, Any]]] = []
    real = StateQuerySet.try_move

    def changed_before(self: Any, pk: int, old: Any, new: str, **values: Any) -> bool:
        for order in waiting:
            if order[:2] == (self.model, new):
                waiting.remove(order)
                self.model.objects.filter(pk=pk).update(**order[2])
                break
        return real(self, pk, old, new, **values)

    monkeypatch.setattr(StateQuerySet, "try_move", changed_before)
    yield lambda model, to, **values: waiting.append((model, to, values))
    assert not waiting, "the move that was to come second never came"


def lease_on(job: Job) -> Lease:
    Job.objects.filter(pk=job.pk).update(next_action_at=timezone.now(), lease_until=None)
    lease = leases.claim(job.pk)
    assert lease is not None
    return lease


def take_turn(job: Job) -> Job:
    """One turn of a worker, of one step."""
    Job.objects.filter(pk=job.pk).update(next_action_at=timezone.now())
    advance.advance(job.pk)
    job.refresh_from_db()
    return job


@pytest.fixture
def one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(advance, "TURN", -due_times.SAFETY)


# --- What the code says ---------------------------------------------------------------------------


@cache
def functions() -> list[tuple[str, ast.FunctionDef]]:
    """The functions of the files with a move."""
    return [
        (node.name, node)
        for path in sorted((ROOT / "jobs").rglob("*.py"))
        if "simulator" not in path.parts and "migrations" not in path.parts
        if "move(" in (text := path.read_text())
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef)
    ]


def is_move(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    if isinstance(node.func, ast.Attribute):
        return node.func.attr in MOVES and ast.unparse(node.func) != "shutil.move"
    return isinstance(node.func, ast.Name) and node.func.id in MOVES


@pytest.mark.no_database
def test_nobody_throws_away_whether_a_state_was_changed() -> None:
    ignored = {
        f"{place}, line {node.lineno}"
        for place, function in functions()
        for node in ast.walk(function)
        if isinstance(node, ast.Expr) and is_move(node.value)
        if not ast.unparse(node.value.func).endswith(".move")  # type: ignore[attr-defined]  # a Call
    }
    assert not ignored


@pytest.mark.no_database
def test_every_move_is_tested_coming_second() -> None:
    moving = {
        place
        for place, function in functions()
        if any(is_move(node) for node in ast.walk(function))
    }
    assert moving - PASSED_ON == TESTED


# --- What people do -------------------------------------------------------------------------------


@of("confirm")
def test_a_draft_that_is_read_anew_is_not_confirmed(
    make_job: MakeJob, alice: User, simulator: Simulator, meanwhile: Meanwhile
) -> None:
    job = make_job(alice, Job.State.DRAFT)
    estimates.estimate_job(job)
    job.refresh_from_db()
    meanwhile(Job, Job.State.SUBMITTING, state=Job.State.READING)
    assert not submissions.confirm(job, job.plan_sha256, alice)
    job.refresh_from_db()
    assert (job.state, job.confirmed_at) == (Job.State.READING, None)
    assert not job.events.exists()


@of("stop_job")
def test_a_job_that_finished_is_not_stopped(
    make_job: MakeJob, alice: User, meanwhile: Meanwhile
) -> None:
    job = make_job(alice, Job.State.WORKING)
    meanwhile(Job, Job.State.CANCELING, state=Job.State.FINISHED)
    assert not submissions.stop_job(job, alice)
    assert not job.events.exists()


@of("release_rest", "end_pilot")
def test_a_job_that_is_stopped_meanwhile_sends_no_rest_and_its_pilot_is_not_ended(
    make_job: MakeJob, alice: User, meanwhile: Meanwhile
) -> None:
    job = make_job(alice, Job.State.WORKING)
    Pilot.objects.create(job=job, step=Pilot.Step.WAITING, rows=1, numbers=[1])
    meanwhile(Job, Job.State.SUBMITTING, state=Job.State.CANCELING)
    assert not release_rest(job, alice)
    Job.objects.filter(pk=job.pk).update(state=Job.State.WORKING)
    meanwhile(Job, Job.State.CANCELING, state=Job.State.FINISHED)
    assert not pilots.end_pilot(job, ask_again=False, user=alice)
    assert Pilot.objects.get(job=job).step == Pilot.Step.WAITING
    assert not job.events.exists()


@of("confirm_retry")
def test_rows_of_a_job_that_is_being_deleted_are_not_sent_again(
    mixed: Job, alice: User, meanwhile: Meanwhile
) -> None:
    again = RetryChoice(selection.FOR_NOW)
    planned = rounds.find_plan(mixed, again)
    assert planned is not None
    meanwhile(Job, Job.State.SUBMITTING, state=Job.State.DELETING)
    assert not retries.confirm_retry(mixed, again, planned.key, alice)
    assert not mixed.rounds.exists()
    assert not mixed.rows.filter(outcome=Outcome.WAITING).exists()


@of("begin_deletion")
def test_a_job_whose_rows_are_sent_again_is_not_deleted(
    make_job: MakeJob, alice: User, meanwhile: Meanwhile
) -> None:
    job = make_job(alice, Job.State.FINISHED)
    meanwhile(Job, Job.State.DELETING, state=Job.State.SUBMITTING)
    assert not job_basics.delete_job(job, alice)
    assert not PastSpending.objects.exists()


@of("read_file_again")
def test_a_file_is_not_read_for_ids_once_the_job_is_over(
    make_job: MakeJob, alice: User, meanwhile: Meanwhile
) -> None:
    job = make_job(alice, Job.State.WORKING, is_external=True, ids_may_be=[["column:name", 1]])
    meanwhile(Job, Job.State.READING, state=Job.State.FINISHED)
    assert not external_batches.read_file_again(job, job.choices, alice)
    job.refresh_from_db()
    assert (job.state, job.row_count) == (Job.State.FINISHED, 2)
    assert not job.events.exists()


# --- Sending --------------------------------------------------------------------------------------


@of("submit")
def test_a_batch_that_was_taken_back_is_not_looked_for(
    make_job: MakeJob, alice: User, meanwhile: Meanwhile, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(alice, Job.State.SUBMITTING, practice=True)
    batch = unknown_batch(job, 1, 5, state=Batch.State.PLANNED)
    monkeypatch.setattr(reconciliation, "candidates", lambda batch: [listed("msgbatch_1", 4)])
    meanwhile(Batch, Batch.State.UNKNOWN, state=Batch.State.CANCELED)
    with pytest.raises(NotMoved):
        submission.submit(batch, lease_on(job))
    batch.refresh_from_db()
    assert batch.state == Batch.State.CANCELED


@of("_commit_intent")
def test_a_batch_that_was_canceled_is_not_sent(
    alice: User, simulator: Simulator, meanwhile: Meanwhile
) -> None:
    job = confirmed(alice, [["Ann", "a"]])
    meanwhile(Batch, Batch.State.SUBMITTING, state=Batch.State.CANCELED)
    sweep.sweep()
    assert simulator.truth()["posts"] == 0
    assert not SubmissionEvent.objects.filter(kind="intent").exists()
    assert job.batches.get().attempts == 0


@of("_settle")
def test_an_answer_counts_although_somebody_had_doubts(
    alice: User, simulator: Simulator, drive: Drive, meanwhile: Meanwhile
) -> None:
    job = confirmed(alice, [["Ann", "a"]])
    meanwhile(Batch, Batch.State.IN_PROGRESS, state=Batch.State.UNKNOWN)
    job = drive(job)
    assert simulator.truth()["posts"] == job.good_count == 1
    assert not job.batches.get().recovered


def unsettled(make_job: MakeJob, alice: User, state: str) -> Batch:
    return unknown_batch(make_job(alice, Job.State.SUBMITTING), 1, 5, state=state)


ACCEPTED = {"state": Batch.State.IN_PROGRESS, "provider_id": "msgbatch_1"}


@of("doubt")
def test_what_was_accepted_meanwhile_is_not_doubted(
    make_job: MakeJob, alice: User, meanwhile: Meanwhile
) -> None:
    batch = unsettled(make_job, alice, Batch.State.SUBMITTING)
    meanwhile(Batch, Batch.State.UNKNOWN, **ACCEPTED)
    submission.doubt(batch)
    batch.refresh_from_db()
    assert batch.state == Batch.State.IN_PROGRESS
    assert not SubmissionEvent.objects.exists() and not batch.job.events.exists()


@of("plan_again")
def test_what_was_found_meanwhile_is_not_sent_again(
    make_job: MakeJob, alice: User, meanwhile: Meanwhile
) -> None:
    batch = unsettled(make_job, alice, Batch.State.UNKNOWN)
    meanwhile(Batch, Batch.State.PLANNED, **ACCEPTED)
    assert not reconciliation.plan_again(batch)
    batch.refresh_from_db()
    assert (batch.state, batch.late_until) == (Batch.State.IN_PROGRESS, None)
    assert not SubmissionEvent.objects.exists()


@of("_adopt")
def test_what_a_person_sends_again_meanwhile_is_not_adopted(
    make_job: MakeJob, alice: User, meanwhile: Meanwhile
) -> None:
    batch = unsettled(make_job, alice, Batch.State.UNKNOWN)
    meanwhile(Batch, Batch.State.IN_PROGRESS, state=Batch.State.PLANNED)
    reconciliation._adopt(batch, listed("msgbatch_1", 4))
    batch.refresh_from_db()
    assert (batch.state, batch.provider_id) == (Batch.State.PLANNED, None)
    assert not SubmissionEvent.objects.exists() and not batch.job.events.exists()


@of("give_back")
def test_what_was_collected_meanwhile_is_not_given_back(
    make_job: MakeJob, alice: User, meanwhile: Meanwhile
) -> None:
    job = make_job(alice, Job.State.WORKING)
    batch = unknown_batch(job, 1, 5, state=Batch.State.ENDED, provider_id="msgbatch_1")
    meanwhile(Batch, Batch.State.UNKNOWN, state=Batch.State.COLLECTED)
    with pytest.raises(NotMoved):
        reconciliation.give_back(batch)
    assert not SubmissionEvent.objects.exists() and not DisownedBatch.objects.exists()
    assert not job.events.exists()


@pytest.mark.parametrize("state", [Job.State.CANCELING, Job.State.FINISHED])
def test_a_batch_is_given_back_of_a_job_that_is_being_stopped_but_not_of_one_that_is_over(
    make_job: MakeJob, alice: User, meanwhile: Meanwhile, state: str
) -> None:
    job = make_job(alice, Job.State.WORKING)
    batch = unknown_batch(job, 1, 5, state=Batch.State.ENDED, provider_id="msgbatch_1")
    meanwhile(Job, Job.State.SUBMITTING, state=state)
    if state == Job.State.FINISHED:
        with pytest.raises(NotMoved):
            reconciliation.give_back(batch)
    else:
        assert reconciliation.give_back(batch)
    batch.refresh_from_db()
    over = state == Job.State.FINISHED
    assert batch.state == (Batch.State.ENDED if over else Batch.State.UNKNOWN)


# --- Watching and collecting ----------------------------------------------------------------------


@of("_note_end")
def test_the_end_of_a_batch_that_was_collected_meanwhile_is_no_news(
    make_job: MakeJob, alice: User, meanwhile: Meanwhile
) -> None:
    job = make_job(alice, Job.State.WORKING)
    batch = unknown_batch(job, 1, 5, **ACCEPTED)
    meanwhile(Batch, Batch.State.ENDED, state=Batch.State.COLLECTED)
    polling._note_end(batch, listed("msgbatch_1", 4))
    job.refresh_from_db()
    batch.refresh_from_db()
    assert (job.next_action_at, batch.state) == (None, Batch.State.COLLECTED)


@of("_note_collected")
@pytest.mark.parametrize(
    "changed",
    [{"state": Batch.State.LOST}, {"state": Batch.State.UNKNOWN, "provider_id": None}],
    ids=["called lost", "given back"],
)
def test_answers_that_are_here_win_over_whoever_gave_the_batch_up_meanwhile(
    alice: User,
    simulator: Simulator,
    drive: Drive,
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
    changed: dict[str, Any],
) -> None:
    settings.SUBMIT_DEADLINE_SECONDS = 1
    job = confirmed(alice, [["Ann", "a"]])
    store = result_rows.store
    stored: list[Batch] = []

    def given_up_meanwhile(batch: Batch, *args: Any) -> int:
        if not stored:
            stored.append(batch)
            Batch.objects.filter(pk=batch.pk).update(**changed)
        return store(batch, *args)

    monkeypatch.setattr(result_rows, "store", given_up_meanwhile)
    job = drive(job)
    batch = job.batches.get()
    assert (batch.state, job.good_count) == (Batch.State.COLLECTED, 1)
    assert batch.cost_pico == job.tally.cost_pico > 0
    assert files.results_path(batch).exists()
    assert simulator.truth()["posts"] == 1
    assert not job.events.filter(text__contains="fails").exists()


def test_a_worker_that_lost_the_job_does_not_say_that_a_batch_is_collected(
    alice: User, simulator: Simulator, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = confirmed(alice, [["Ann", "a"]])
    store = result_rows.store

    def taken_over(*args: Any, **kwargs: Any) -> int:
        Job.objects.update(lease_owner="elsewhere|1|x")
        return store(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(result_rows, "store", taken_over)
        patch.setattr(leases, "free_leases_of_the_dead", lambda: None)
        drive(job, until=lambda job: job.lease_owner == "elsewhere|1|x")
    assert job.batches.get().state == Batch.State.ENDED
    Job.objects.update(lease_owner="", lease_until=None, next_action_at=timezone.now())
    assert drive(job).good_count == 1


def ended(make_job: MakeJob, alice: User) -> Batch:
    batch = unknown_batch(
        make_job(alice, Job.State.WORKING),
        1,
        5,
        state=Batch.State.ENDED,
        provider_id="msgbatch_1",
    )
    batch.job.rows.update(batch=batch)
    return batch


@of("_try_again")
def test_a_batch_that_was_called_lost_is_not_watched_on(
    make_job: MakeJob, alice: User, meanwhile: Meanwhile
) -> None:
    batch = ended(make_job, alice)
    lease = lease_on(batch.job)
    running = result_proof.Incomplete("it has not ended", result_proof.NOT_ENDED)
    meanwhile(Batch, Batch.State.IN_PROGRESS, state=Batch.State.LOST)
    for _ in range(2):  # the second time nothing is tried again, either
        with pytest.raises(NotMoved):
            collection._try_again(batch, running, lease)
    batch.refresh_from_db()
    assert (batch.state, batch.collect_failures) == (Batch.State.LOST, 1)


@of("lose")
def test_what_was_collected_meanwhile_is_not_lost(
    make_job: MakeJob, alice: User, meanwhile: Meanwhile
) -> None:
    batch = ended(make_job, alice)
    lease = lease_on(batch.job)
    Batch.objects.filter(pk=batch.pk).update(state=Batch.State.COLLECTED)
    with pytest.raises(NotMoved):
        collection.lose(batch, lease)  # as it was seen before
    assert not Row.objects.exclude(outcome=Outcome.WAITING).exists()
    # The same after all rows were looked at: what was collected has none that waits.
    Batch.objects.filter(pk=batch.pk).update(state=Batch.State.ENDED)
    Row.objects.update(outcome=Outcome.GOOD)
    meanwhile(Batch, Batch.State.LOST, state=Batch.State.COLLECTED)
    with pytest.raises(NotMoved):
        collection.lose(batch, lease)
    assert not Row.objects.exclude(outcome=Outcome.GOOD).exists()
    assert not batch.job.events.exists()


# --- Trying rows ----------------------------------------------------------------------------------


def a_trial(make_job: MakeJob, alice: User, state: str) -> Trial:
    job = make_job(alice, Job.State.DRAFT)
    return Trial.objects.create(
        job=job, round=1, number=1, cells=[], params="{}", model="m", practice=True, state=state
    )


@of("answer_next")
def test_what_was_given_up_meanwhile_is_not_asked(
    make_job: MakeJob, alice: User, meanwhile: Meanwhile, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = a_trial(make_job, alice, Trial.State.WAITING)
    monkeypatch.setattr(client, "create_message", lambda *_: pytest.fail("it was asked"))
    meanwhile(Trial, Trial.State.SENDING, state=Trial.State.FAILED)
    assert trials.answer_next(one.job, lease_on(one.job))


@of("_settle")
def test_what_is_settled_is_not_settled_otherwise(
    make_job: MakeJob, alice: User, meanwhile: Meanwhile
) -> None:
    one = a_trial(make_job, alice, Trial.State.SENDING)
    meanwhile(Trial, Trial.State.UNKNOWN, state=Trial.State.ANSWERED, answer="Yes")
    with pytest.raises(NotMoved):
        trials._settle(one, Trial.State.UNKNOWN, message=trials.LOST)
    one.refresh_from_db()
    assert (one.state, one.answer, one.message) == (Trial.State.ANSWERED, "Yes", "")


# --- The worker -----------------------------------------------------------------------------------


@of("report_failures")
def test_a_file_that_was_read_after_all_is_not_called_unreadable(
    make_job: MakeJob, alice: User, meanwhile: Meanwhile
) -> None:
    job = make_job(alice, Job.State.READING, failures_in_a_row=9)
    meanwhile(Job, Job.State.UNREADABLE, state=Job.State.DRAFT)
    failures.report_failures(job.pk)
    job.refresh_from_db()
    assert (job.state, job.row_count) == (Job.State.DRAFT, 2)
    assert not FileProblem.objects.exists()


@of("step_of_sent")
def test_a_job_that_is_stopped_meanwhile_takes_its_next_step_from_there(
    make_job: MakeJob, alice: User, meanwhile: Meanwhile, one_step: None
) -> None:
    """No failure is counted, and it does not wait."""
    job = make_job(alice, Job.State.WORKING, practice=True)
    unknown_batch(job, 1, 5, state=Batch.State.PLANNED, attempts=0)
    meanwhile(Job, Job.State.SUBMITTING, state=Job.State.CANCELING)
    take_turn(job)
    assert (job.state, job.failures_in_a_row) == (Job.State.CANCELING, 0)
    assert job.next_action_at and job.next_action_at <= timezone.now()
    take_turn(job)
    assert job.batches.get().state == Batch.State.CANCELED


@of("_step_in_other_mode")
def test_practice_does_not_end_while_a_batch_is_still_being_seen_to(
    make_job: MakeJob, alice: User, meanwhile: Meanwhile, one_step: None, settings: Any
) -> None:
    settings.PRACTICE, settings.ANTHROPIC_API_KEY = False, "key"
    job = make_job(alice, Job.State.CANCELING, practice=True)
    batch = unknown_batch(job, 1, 5, state=Batch.State.PLANNED)
    meanwhile(Batch, Batch.State.CANCELED, **ACCEPTED)
    assert take_turn(job).state == Job.State.CANCELING
    assert not job.rows.exclude(outcome=Outcome.WAITING).exists()
    assert take_turn(job).state == Job.State.FINISHED
    batch.refresh_from_db()
    assert batch.state == Batch.State.CANCELED


@of("_step_of_sending")
def test_a_job_that_is_stopped_meanwhile_does_not_say_that_all_was_sent(
    make_job: MakeJob, alice: User, meanwhile: Meanwhile, one_step: None
) -> None:
    job = make_job(alice, Job.State.SUBMITTING, practice=True, outcomes=[Outcome.GOOD] * 2)
    meanwhile(Job, Job.State.WORKING, state=Job.State.CANCELING)
    assert take_turn(job).state == Job.State.CANCELING
    assert not job.events.exists()


@of("_stop_one")
def test_a_batch_that_is_being_sent_meanwhile_keeps_its_rows_and_its_body(
    make_job: MakeJob, alice: User, meanwhile: Meanwhile
) -> None:
    job = make_job(alice, Job.State.CANCELING, practice=True)
    batch = unknown_batch(job, 1, 5, state=Batch.State.PLANNED)
    job.rows.update(batch=batch)
    files.make_folder(files.body_path(batch).parent)
    files.body_path(batch).write_bytes(b"{}")
    meanwhile(Batch, Batch.State.CANCELED, state=Batch.State.SUBMITTING)
    with pytest.raises(NotMoved):
        finishing._stop_one(job, batch)
    assert files.body_path(batch).exists()
    assert not job.rows.exclude(outcome=Outcome.WAITING).exists()


@of("unplan")
def test_a_batch_that_is_being_sent_meanwhile_is_not_taken_back(
    make_job: MakeJob, alice: User, meanwhile: Meanwhile
) -> None:
    job = make_job(alice, Job.State.SUBMITTING, practice=True)
    batch = unknown_batch(job, 1, 2, state=Batch.State.PLANNED)
    job.rows.update(batch=batch)
    meanwhile(Batch, Batch.State.PLANNING, state=Batch.State.SUBMITTING)
    with pytest.raises(NotMoved):
        planning.unplan(batch)
    assert job.rows.filter(batch=batch).count() == 2


@of("_fill")
def test_a_batch_that_is_taken_back_meanwhile_is_not_planned(
    make_job: MakeJob, alice: User, meanwhile: Meanwhile
) -> None:
    job = make_job(alice, Job.State.SUBMITTING, practice=True)
    lease = lease_on(job)
    meanwhile(Batch, Batch.State.PLANNED, body_sha256="")
    with pytest.raises(NotMoved):
        planning.plan_next_batch(job, lease)
    assert job.batches.get().state == Batch.State.PLANNING


@of("finish_job")
def test_a_job_that_has_more_to_send_meanwhile_does_not_finish(
    make_job: MakeJob, alice: User, meanwhile: Meanwhile
) -> None:
    job = make_job(alice, Job.State.WORKING, outcomes=[Outcome.GOOD] * 2)
    meanwhile(Job, Job.State.FINISHED, state=Job.State.SUBMITTING)
    finishing.finish_job(job, lease_on(job))
    job.refresh_from_db()
    assert (job.state, job.finished_at) == (Job.State.SUBMITTING, None)
    assert not job.events.exists() and not Export.objects.exists()


# --- Reading and restoring ------------------------------------------------------------------------


@of("make_rows")
def test_rows_of_a_batch_made_elsewhere_do_not_count_once_the_job_is_read_otherwise(
    make_job: MakeJob, alice: User, meanwhile: Meanwhile
) -> None:
    job = make_job(alice, Job.State.READING, is_external=True)
    unknown_batch(job, 1, 5, is_external=True, **ACCEPTED)
    meanwhile(Job, Job.State.WORKING, readings=7)
    with pytest.raises(LeaseLost):
        reading.make_rows(job, lease_on(job))
    job.refresh_from_db()
    assert job.state == Job.State.READING


@of("_settle")
def test_what_was_read_does_not_count_once_the_job_is_read_otherwise(
    make_job: MakeJob, alice: User, meanwhile: Meanwhile
) -> None:
    job = make_job(alice, Job.State.READING)
    meanwhile(Job, Job.State.DRAFT, readings=7)
    with pytest.raises(LeaseLost):
        reading._settle(job, Job.State.DRAFT, [], lease_on(job), row_count=99)
    job.refresh_from_db()
    assert (job.state, job.row_count) == (Job.State.READING, 2)


@of("_set_going")
def test_a_job_that_is_deleted_meanwhile_is_not_restored(
    make_job: MakeJob, alice: User, meanwhile: Meanwhile
) -> None:
    job = make_job(alice, Job.State.FINISHED)
    first: Any = SimpleNamespace(intents=[SimpleNamespace(at=timezone.now())])
    meanwhile(Job, Job.State.SUBMITTING, state=Job.State.DELETING)
    with pytest.raises(restored_rows.NotYet):
        recovery._set_going(job, first, "")


@of("_take_back_what_was_planned")
@pytest.mark.parametrize("state", journaled_batches.CLEAR_NO)
def test_what_is_being_sent_meanwhile_is_not_taken_back(
    make_job: MakeJob, alice: User, meanwhile: Meanwhile, state: str
) -> None:
    job = make_job(alice, Job.State.SUBMITTING)
    batch = unknown_batch(job, 1, 5, state=state)
    job.rows.update(batch=batch)
    meanwhile(Batch, Batch.State.PLANNING, state=Batch.State.SUBMITTING)
    with pytest.raises(restored_rows.NotYet):
        restored_rows._take_back_what_was_planned(job, [[(1, 2)]], "another")
    assert job.rows.filter(batch=batch).count() == 2


def test_a_batch_that_moved_meanwhile_does_not_stop_the_look_at_the_others(
    make_job: MakeJob, alice: User, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    looked: list[int] = []
    for number in range(3):
        job = make_job(alice, Job.State.WORKING)
        one = unknown_batch(job, 1, 5, state=Batch.State.IN_PROGRESS, provider_id=f"msg_{number}")
        Batch.objects.filter(pk=one.pk).update(nonce=f"nonce{number}")
    Batch.objects.update(created_at=timezone.now())
    Batch.objects.update(practice=settings.PRACTICE)
    Job.objects.update(practice=settings.PRACTICE)
    failures = iter([NotMoved("It moved."), errors.Unclear("503"), RuntimeError("A bug.")])

    def look(batch: Batch) -> None:
        looked.append(batch.pk)
        raise next(failures)

    monkeypatch.setattr(client, "list_batches", lambda: iter([]))
    monkeypatch.setattr(polling, "_look_up", look)
    with pytest.raises(errors.Unclear):
        polling.watch()
    assert len(looked) == 3


@of("_begin")
def test_a_batch_that_goes_on_meanwhile_is_not_given_its_rows_again(
    make_job: MakeJob, alice: User, meanwhile: Meanwhile
) -> None:
    job = make_job(alice, Job.State.SUBMITTING, practice=False)
    batch = unknown_batch(job, 1, 5, state=Batch.State.CANCELED)
    intent: Any = SimpleNamespace(nonce=batch.nonce)
    meanwhile(Batch, Batch.State.RESTORING, state=Batch.State.PLANNING)
    with pytest.raises(restored_rows.NotYet):
        restored_rows._begin(job, intent)
