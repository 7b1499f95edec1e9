"""A batch that is listed so late that its rows were sent again is canceled and shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from jobs.actions import job_basics, submissions, unknown_batches
from jobs.batches import late, ownership, submission
from jobs.models import (
    Batch,
    DisownedBatch,
    Job,
    LateBatch,
    PastSpending,
    SubmissionDetail,
    SubmissionEvent,
    clock,
    files,
)
from jobs.provider import client, errors
from jobs.provider.replies import BatchInfo
from jobs.spending import ledger
from jobs.worker import advance, due_times

from ..conftest import Simulator
from ..driven_jobs import Drive, confirmed
from ..kept_jobs import kept
from .test_submission import ROWS, foreign_batch, without_pauses

HIDDEN = 600.0  # seconds: until a test says otherwise


@pytest.fixture(autouse=True)
def quick(settings: Any) -> None:
    settings.SUBMIT_DEADLINE_SECONDS = 1
    settings.RECONCILE_GRACE_SECONDS = 0.5


def sent_twice(alice: User, simulator: Simulator, drive: Drive) -> Job:
    """A job whose first submission was accepted and is not listed before it is sent again."""
    simulator.faults(create=[{"kind": "drop_after_accept"}], list_hide_seconds=HIDDEN)
    job = confirmed(alice, ROWS)
    drive(job, until=lambda job: job.batches.filter(attempts=2).exists())
    assert simulator.truth()["posts"] == 2
    simulator.faults(list_hide_seconds=0)
    return job


def has_ended(job: Job) -> bool:
    return LateBatch.objects.filter(batch__job=job).exclude(ended_at=None).exists()


def is_canceled(job: Job) -> bool:
    return LateBatch.objects.filter(batch__job=job).exclude(cancel_sent_at=None).exists()


def test_a_batch_that_turns_up_late_is_canceled_at_once_and_shown(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    simulator.faults(stuck=True)
    job = sent_twice(alice, simulator, drive)
    drive(job, until=is_canceled)
    simulator.faults(stuck=False)
    job = drive(job, until=has_ended)
    found = LateBatch.objects.get()
    truth = {batch["id"]: batch for batch in simulator.truth()["batches"]}
    assert truth[found.provider_id]["cancel_requested"]
    assert found.finished == 0
    (batch,) = job.batches.all()
    assert batch.provider_id != found.provider_id
    assert not truth[batch.provider_id]["cancel_requested"]
    assert job.events.filter(text__contains=found.provider_id).exists()
    assert job.events.filter(text__contains="The late batch 1 has ended").exists()
    job = drive(job)
    assert job.good_count == len(ROWS)
    assert LateBatch.objects.count() == 1


def test_what_a_late_batch_had_finished_is_counted_to_the_token(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    """It has ended before it is listed: nothing can be canceled, and both are paid."""
    job = kept("sent twice", partial(sent_twice, alice, simulator, drive), simulator)
    job = drive(job)
    drive(job, until=has_ended)
    found, (batch,) = LateBatch.objects.get(), job.batches.all()
    assert found.finished == len(ROWS)
    assert found.cost_pico == batch.cost_pico > 0
    assert job.events.filter(text__contains="charged a second time").exists()


def test_a_stopped_job_watches_for_its_batch_as_well(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    lost = [{"kind": "drop_after_accept"}]
    simulator.faults(create=lost, list_hide_seconds=HIDDEN, stuck=True)
    job = confirmed(alice, ROWS)
    drive(job, until=lambda job: job.batches.filter(state=Batch.State.UNKNOWN).exists())
    assert submissions.stop_job(job, alice)
    job = drive(job)
    assert job.batches.get().state == Batch.State.CANCELED
    simulator.faults(list_hide_seconds=0)
    drive(job, until=is_canceled)
    simulator.faults(stuck=False)
    drive(job, until=has_ended)
    assert simulator.truth()["posts"] == 1
    assert simulator.truth()["batches"][0]["cancel_requested"]


# --- Whose is it? ---------------------------------------------------------------------------------


@pytest.fixture
def missed(alice: User, make_job: Callable[..., Job], simulator: Simulator) -> Batch:
    """A batch that was accepted at its second try; the first one counts as never arrived."""
    now = clock.now()
    list(client.list_batches())  # tells the provider's time
    job = make_job(alice, state=Job.State.WORKING, rows=[("a", "b")] * 2)
    tried = SubmissionDetail(
        begin=(now - timedelta(minutes=30)).isoformat(),
        until=(now - timedelta(minutes=20)).isoformat(),
    )
    SubmissionEvent.objects.create(nonce="abc123", kind="never_arrived", detail=tried)
    return Batch.objects.create(
        job=job,
        number=1,
        size=2,
        nonce="abc123",
        state=Batch.State.IN_PROGRESS,
        practice=True,
        provider_id="msgbatch_second",
        body_sha256="",
        body_bytes=0,
        attempts=2,
        baseline_ids=["msgbatch_before"],
        intent_at=now - timedelta(minutes=30),
        created_at=now - timedelta(minutes=10),
        deadline_at=now,
        late_until=now + timedelta(hours=47),
    )


def listed(id: str, minutes_ago: float, total: int = 2, status: str = "in_progress") -> BatchInfo:
    created = timezone.now() - timedelta(minutes=minutes_ago)
    return BatchInfo(id, status, total, {"succeeded": 0}, created, created, None)


@pytest.fixture
def canceled(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The ids that were canceled, instead of canceling. Of a batch, the provider says what its list
    says."""
    ids: list[str] = []

    def retrieve(provider_id: str) -> BatchInfo:
        return next(info for info in client.list_batches() if info.id == provider_id)

    monkeypatch.setattr(client, "cancel_batch", ids.append)
    monkeypatch.setattr(client, "retrieve_batch", retrieve)
    yield ids


@pytest.mark.parametrize(
    ("id", "minutes_ago", "size", "is_taken"),
    [
        ("msgbatch_late", 25, 2, True),
        ("msgbatch_late", 25, 3, False),
        ("msgbatch_before", 25, 2, False),
        ("msgbatch_second", 25, 2, False),
        ("msgbatch_older", 31, 2, False),
        ("msgbatch_newer", 19, 2, False),
    ],
    ids=["late", "another size", "there before", "the accepted one", "too old", "too new"],
)
def test_only_what_a_try_of_ours_can_have_made_is_canceled(
    missed: Batch,
    canceled: list[str],
    monkeypatch: pytest.MonkeyPatch,
    id: str,
    minutes_ago: float,
    size: int,
    is_taken: bool,
) -> None:
    listing = [listed(id, minutes_ago, size)]
    monkeypatch.setattr(client, "list_batches", lambda: iter(listing))
    for _ in range(2):
        late.look()
    assert canceled == ([id] if is_taken else [])


@pytest.mark.parametrize(
    "said",
    [listed("msgbatch_late", 25, 3), listed("msgbatch_late", 40), None],
    ids=["another size", "another time", "not there"],
)
def test_nothing_is_canceled_that_only_one_look_takes_for_ours(
    missed: Batch,
    canceled: list[str],
    monkeypatch: pytest.MonkeyPatch,
    said: BatchInfo | None,
) -> None:
    """The list says that it could be ours, and the batch itself says otherwise."""
    listing = [listed("msgbatch_late", 25)]
    monkeypatch.setattr(client, "list_batches", lambda: iter(listing))

    def retrieve(provider_id: str) -> BatchInfo:
        if said is None:
            raise errors.NotFound(404, "not_found_error", "", None)
        return said

    with monkeypatch.context() as patch:
        patch.setattr(client, "retrieve_batch", retrieve)
        for _ in range(2):
            late.look()
    assert canceled == []
    assert not LateBatch.objects.exists()
    late.look()
    assert canceled == ["msgbatch_late"], "now both looks agree"


def test_one_that_ended_between_two_looks_is_known_by_its_results(
    missed: Batch, canceled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = [listed("msgbatch_late", 25)]
    ended = listed("msgbatch_late", 25, status="ended")
    monkeypatch.setattr(client, "list_batches", lambda: iter(listing))
    monkeypatch.setattr(client, "retrieve_batch", lambda pk: ended)
    lines = iter([b'{"custom_id":"theirs-1"}\n', b'{"custom_id":"abc123-1"}\n'])
    monkeypatch.setattr(client, "result_blocks", lambda pk: iter([next(lines)]))
    late.look()
    assert not LateBatch.objects.exists()
    DisownedBatch.objects.update(next_look_at=clock.now())
    monkeypatch.setattr(late, "follow", lambda late: None)
    late.look()
    assert LateBatch.objects.get().provider_id == "msgbatch_late"
    assert canceled == []


def test_no_more_are_canceled_than_tries_were_given_up(
    missed: Batch, canceled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = [listed("msgbatch_late", 25), listed("msgbatch_another", 24)]
    monkeypatch.setattr(client, "list_batches", lambda: iter(listing))
    for _ in range(2):
        late.look()
    assert canceled == ["msgbatch_late"]


@pytest.mark.parametrize(
    ("state", "attempts"),
    [(Batch.State.SUBMITTING, 1), (Batch.State.UNKNOWN, 1), (Batch.State.PLANNED, 1)],
)
def test_a_batch_that_could_be_another_one_of_ours_is_not_canceled(
    missed: Batch,
    canceled: list[str],
    monkeypatch: pytest.MonkeyPatch,
    state: str,
    attempts: int,
) -> None:
    """Of the same size, and what became of it is not known yet: the one in the list may be it."""
    other = Batch.objects.create(
        job=missed.job,
        number=2,
        size=missed.size,
        nonce="other0",
        state=state,
        attempts=attempts,
        practice=True,
        body_sha256="",
        body_bytes=0,
    )
    listing = [listed("msgbatch_late", 25)]
    monkeypatch.setattr(client, "list_batches", lambda: iter(listing))
    late.look()
    assert canceled == []
    Batch.objects.filter(pk=other.pk).update(state=Batch.State.CANCELED)
    late.look()
    assert canceled == ["msgbatch_late"]


def test_a_proof_that_cannot_be_read_is_none(
    missed: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = [listed("msgbatch_ended", 25, status="ended")]
    monkeypatch.setattr(client, "list_batches", lambda: iter(listing))
    monkeypatch.setattr(client, "result_blocks", lambda pk: iter([b'{"custom_id":"abc1']))
    late.look()
    assert not LateBatch.objects.exists()
    missed.refresh_from_db()
    assert missed.baseline_ids == ["msgbatch_before"], "it may be ours"


def test_one_batch_whose_results_cannot_be_looked_at_keeps_no_other_from_being_canceled(
    missed: Batch, canceled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = [listed("msgbatch_odd", 24, status="ended"), listed("msgbatch_late", 25)]
    monkeypatch.setattr(client, "list_batches", lambda: iter(listing))

    def no_results(provider_id: str) -> Iterator[bytes]:
        raise errors.NotFound(404, "not_found_error", "", None)

    monkeypatch.setattr(client, "result_blocks", no_results)
    for _ in range(2):
        with pytest.raises(errors.NotFound):
            late.look()
    assert canceled == ["msgbatch_late"]


def test_an_answer_to_an_earlier_try_does_not_hide_what_a_later_one_made(
    missed: Batch, canceled: list[str], monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    """The first try was given up, the second is in doubt; then the first one's answer comes."""
    settings.SUBMIT_DEADLINE_SECONDS = 600
    doubtful = {"state": Batch.State.UNKNOWN, "provider_id": None, "created_at": None}
    Batch.objects.update(**doubtful, deadline_at=clock.now(), late_until=None)
    first = Batch.objects.select_related("job").get()
    first.attempts, first.state = 1, Batch.State.SUBMITTING
    submission._accepted(first, listed("msgbatch_first", 25))
    missed.refresh_from_db()
    assert (missed.state, missed.provider_id) == (Batch.State.IN_PROGRESS, "msgbatch_first")
    listing = [listed("msgbatch_of_the_second", 5), listed("msgbatch_first", 25)]
    monkeypatch.setattr(client, "list_batches", lambda: iter(listing))
    late.look()
    assert canceled == ["msgbatch_of_the_second"]


@pytest.mark.parametrize(("custom_id", "is_deleted"), [("abc123-1", True), ("theirs-1", False)])
def test_only_what_is_proven_to_be_ours_is_deleted_at_the_provider(
    missed: Batch, monkeypatch: pytest.MonkeyPatch, custom_id: str, is_deleted: bool
) -> None:
    now = clock.now()
    LateBatch.objects.create(
        batch=missed, provider_id="msgbatch_late", size=2, created_at=now, found_at=now
    )
    Batch.objects.update(state=Batch.State.LOST, recovered=True)
    Job.objects.update(state=Job.State.FINISHED, finished_at=now, practice=True)
    line = f'{{"custom_id":"{custom_id}","result":{{}}}}\n'.encode()
    monkeypatch.setattr(client, "result_blocks", lambda pk: iter([line]))
    deleted: list[str] = []
    monkeypatch.setattr(client, "delete_batch", deleted.append)
    assert job_basics.delete_job(Job.objects.get(), missed.job.owner)
    advance.advance(missed.job_id)
    assert not Job.objects.exists()
    assert deleted == (["msgbatch_late"] if is_deleted else [])


def test_nothing_is_deleted_at_the_provider_after_one_answer(
    missed: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one was that to another question."""
    now = clock.now()
    LateBatch.objects.create(
        batch=missed, provider_id="msgbatch_late", size=2, created_at=now, found_at=now
    )
    answers = iter([b'{"custom_id":"abc123-1"}\n', b'{"custom_id":"theirs-1"}\n'])
    monkeypatch.setattr(client, "result_blocks", lambda pk: iter([next(answers)]))
    assert not late.is_proven(LateBatch.objects.get())


def test_what_another_programs_batch_cost_is_never_counted(
    missed: Batch, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was taken for ours by its size and time, and canceled; its results say that it is not.
    One answer may be wrong, so they are looked at several times."""
    theirs = foreign_batch(2)
    info = client.retrieve_batch(theirs)
    late._take(missed, info, late.LISTED_LATE)
    Job.objects.update(spent_pico=0)
    Batch.objects.update(given_up=1)
    for _ in range(ownership.LOOKS):
        assert LateBatch.objects.filter(ended_at=None).exists()
        late.look()
        DisownedBatch.objects.update(next_look_at=clock.now())
    assert not LateBatch.objects.exists()
    assert Job.objects.get().spent_pico == 0
    missed.refresh_from_db()
    assert missed.given_up == 1, "the try itself may still turn up"
    assert missed.job.events.filter(text__contains=f"{theirs} was not batch").exists()
    late.look()
    assert not LateBatch.objects.exists(), "it is not taken for ours again"


def test_a_batch_is_deleted_with_its_late_one_only_when_that_is_counted(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    """What the late one cost is not to be had once its results are gone."""
    job = drive(kept("sent twice", partial(sent_twice, alice, simulator, drive), simulator))
    batch = job.batches.get()
    (other,) = {one["id"] for one in simulator.truth()["batches"]} - {batch.provider_id}
    # As if the watch had only just found it.
    LateBatch.objects.all().delete()
    Job.objects.update(spent_pico=batch.cost_pico)
    late._take(batch, client.retrieve_batch(str(other)), late.LISTED_LATE)
    assert job_basics.delete_job(job, alice)
    advance.advance(job.pk)
    assert not Job.objects.exists()
    assert sum(PastSpending.objects.values_list("spent_pico", flat=True)) == 2 * batch.cost_pico


def test_a_batch_of_another_program_that_has_ended_is_known_by_its_custom_ids(
    missed: Batch, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = foreign_batch(2)
    Batch.objects.filter(pk=missed.pk).update(created_at=clock.now())
    for looks in range(ownership.LOOKS):
        missed.refresh_from_db()
        assert missed.baseline_ids == ["msgbatch_before"], f"{looks} looks are not enough"
        late.look()
        late.look()  # the next one is not due yet
        assert DisownedBatch.objects.get().looks == looks + 1
        DisownedBatch.objects.update(next_look_at=clock.now())
    assert not LateBatch.objects.exists()
    missed.refresh_from_db()
    assert missed.baseline_ids == ["msgbatch_before", theirs]


def test_after_two_days_nothing_is_looked_for_any_more(
    missed: Batch, canceled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = [listed("msgbatch_late", 25)]
    monkeypatch.setattr(client, "list_batches", lambda: iter(listing))
    Batch.objects.filter(pk=missed.pk).update(late_until=clock.now() - timedelta(minutes=1))
    late.look()
    assert canceled == []


# --- RECONCILE_RESUBMIT=ask -----------------------------------------------------------------------


@pytest.fixture
def asked(alice: User, simulator: Simulator, drive: Drive, settings: Any) -> Batch:
    """A batch that never arrived, and a person who is asked."""
    settings.RECONCILE_RESUBMIT = "ask"

    def make() -> Job:
        simulator.faults(create=[{"kind": "drop_before"}])
        return drive(confirmed(alice, ROWS), until=lambda job: bool(job.held))

    job = kept("never arrived", make, simulator)
    assert "sent again" in job.held
    batch = job.batches.get()
    assert batch.asked_at
    assert simulator.truth()["posts"] == 1
    return batch


def test_a_person_may_say_that_it_is_sent_again(
    asked: Batch, alice: User, simulator: Simulator, drive: Drive
) -> None:
    assert unknown_batches.send_again(asked, alice)
    assert not unknown_batches.send_again(asked, alice), "a second click changes nothing"
    job = drive(asked.job)
    assert job.good_count == len(ROWS)
    assert simulator.truth()["posts"] == 2
    decided = SubmissionEvent.objects.get(kind="never_arrived")
    assert decided.detail.decided_by == alice.pk


def test_a_person_may_have_it_looked_for_and_it_is_adopted_when_it_turns_up(
    alice: User, simulator: Simulator, drive: Drive, settings: Any
) -> None:
    settings.RECONCILE_RESUBMIT = "ask"
    simulator.faults(create=[{"kind": "drop_after_accept"}], list_hide_seconds=HIDDEN)
    job = drive(confirmed(alice, ROWS), until=lambda job: bool(job.held))
    simulator.faults(list_hide_seconds=0)

    def looked(job: Job) -> bool:
        unknown_batches.look_again(job.batches.get(), alice)
        return job.state == Job.State.FINISHED

    job = drive(job, until=looked)
    assert (job.good_count, job.held) == (len(ROWS), "")
    assert simulator.truth()["posts"] == 1
    assert not unknown_batches.look_again(job.batches.get(), alice)


def test_a_person_may_name_the_batch(
    alice: User, simulator: Simulator, drive: Drive, settings: Any
) -> None:
    settings.RECONCILE_RESUBMIT = "ask"
    simulator.faults(create=[{"kind": "drop_after_accept"}], list_hide_seconds=HIDDEN)
    job = drive(confirmed(alice, ROWS), until=lambda job: bool(job.held))
    batch = job.batches.get()
    (accepted,) = simulator.truth()["batches"]
    for wrong in ("msgbatch_nobody", foreign_batch(3)):
        assert unknown_batches.identify_batch(batch, wrong, alice)
        drive(
            job,
            until=lambda job, id=wrong: job.events.filter(text__contains=f"is not {id}").exists(),
        )
    assert unknown_batches.identify_batch(batch, accepted["id"], alice)
    job = drive(job)
    assert job.good_count == len(ROWS)
    assert job.batches.get().provider_id == accepted["id"]


def test_an_id_that_the_provider_refuses_to_look_up_is_said_and_forgotten(
    asked: Batch, alice: User, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(provider_id: str) -> BatchInfo:
        raise errors.Refused(400, "invalid_request_error", "not the id of a batch", None)

    monkeypatch.setattr(client, "retrieve_batch", refuse)
    assert unknown_batches.identify_batch(asked, "msgbatch_typo", alice)
    drive(asked.job, until=lambda job: job.events.filter(text__contains="is not msgbatch").exists())
    asked.refresh_from_db()
    assert asked.suggested_id == ""


def test_a_batch_named_wrongly_is_given_back_when_its_results_come(
    asked: Batch, alice: User, simulator: Simulator, drive: Drive
) -> None:
    """The right size, but somebody else's: its custom_ids say so."""
    assert unknown_batches.identify_batch(asked, foreign_batch(len(ROWS)), alice)
    given_back = without_pauses(lambda job: job.events.filter(text__contains="not ours").exists())
    job = drive(asked.job, until=given_back)
    job = drive(job, until=lambda job: bool(job.held))
    assert simulator.truth()["posts"] == 2
    assert job.good_count == 0


def test_nobody_is_asked_about_a_job_that_is_being_stopped(
    alice: User, simulator: Simulator, drive: Drive, settings: Any
) -> None:
    settings.RECONCILE_RESUBMIT = "ask"
    simulator.faults(create=[{"kind": "drop_before"}])
    job = confirmed(alice, ROWS)
    drive(job, until=lambda job: job.batches.filter(state=Batch.State.UNKNOWN).exists())
    assert submissions.stop_job(job, alice)
    job = drive(job)
    assert job.state == Job.State.FINISHED
    assert simulator.truth()["posts"] == 1


def test_a_batch_whose_body_is_gone_is_watched_for_when_its_rows_go_into_another(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    simulator.faults(create=[{"kind": "drop_after_accept"}], list_hide_seconds=HIDDEN)
    job = confirmed(alice, ROWS)
    drive(job, until=lambda job: job.batches.filter(state=Batch.State.UNKNOWN).exists())
    files.body_path(job.batches.get()).unlink()
    drive(job, until=lambda job: job.batches.count() > 1)
    job = drive(job)
    assert job.good_count == len(ROWS)
    simulator.faults(list_hide_seconds=0)
    drive(job, until=has_ended)


def test_a_batch_that_is_found_before_it_is_sent_again_is_charged_once(
    alice: User, simulator: Simulator, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It counted as never arrived, and nothing was sent since. Nothing of it is in doubt any more,
    and no batch of another program is taken for a second try of ours."""
    simulator.faults(create=[{"kind": "drop_after_accept"}], list_hide_seconds=HIDDEN)
    monkeypatch.setattr(advance, "TURN", -due_times.SAFETY)  # one step a sweep
    job = confirmed(alice, ROWS)
    drive(job, until=lambda job: job.batches.filter(state=Batch.State.PLANNED, attempts=1).exists())
    assert ledger.possible_charges(job) > 0
    simulator.faults(list_hide_seconds=0)
    job = drive(job)
    assert simulator.truth()["posts"] == 1
    assert job.good_count == len(ROWS)
    assert ledger.possible_charges(job) == 0
    assert ledger.committed_to_job(job) == job.cost
