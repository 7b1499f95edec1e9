"""A batch is accepted once, whatever becomes of the answer."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.db.models import F
from django.utils import timezone

from jobs.actions import submissions, unknown_batches
from jobs.batches import (
    absence,
    journal,
    leases,
    planning,
    polling,
    reconciliation,
    submission,
)
from jobs.batches.leases import LeaseLost
from jobs.models import (
    Batch,
    DisownedBatch,
    Heartbeat,
    Job,
    NotMoved,
    Row,
    Sending,
    SubmissionEvent,
    clock,
    files,
)
from jobs.provider import client, errors, replies
from jobs.rules import result_proof
from jobs.worker import advance, due_times, sweep

from ..conftest import Simulator, is_over, let_pass, store_job
from ..driven_jobs import Drive, confirmed, joined

ROWS = [[f"n{n}", "x"] for n in range(30)]


@pytest.fixture(autouse=True)
def quick(settings: Any) -> None:
    settings.SUBMIT_DEADLINE_SECONDS = 1
    settings.RECONCILE_GRACE_SECONDS = 1


def without_pauses(until: Callable[[Job], bool]) -> Callable[[Job], bool]:
    """For drive(until=…): what is looked after is looked after again at once."""

    def look(job: Job) -> bool:
        now = timezone.now()
        let_pass(Batch.objects.filter(state=Batch.State.UNKNOWN), timedelta(seconds=1))
        Batch.objects.filter(state__in=due_times.NEED_LOOK).update(next_action_at=now)
        DisownedBatch.objects.update(next_look_at=now)
        Job.objects.update(next_action_at=now)
        return until(job)

    return look


over_without_pauses = without_pauses(is_over)


def assert_sent_once(simulator: Simulator, job: Job) -> None:
    rows = simulator.accepted()
    assert set(rows.values()) == {1}, "a row was accepted twice"
    assert len(rows) == job.row_count
    assert {batch["id"] for batch in simulator.truth()["batches"]} == set(
        job.batches.values_list("provider_id", flat=True)
    )
    assert [line[0] for line in joined(job)[1:]] == [row[0] for row in ROWS]


ACCEPTED = [
    "drop_after_accept",
    "reset_after_accept",
    "accept_500",
    "accept_502",
    "accept_504",
    "accept_cut",
    "accept_bad_json",
    "accept_slow",
    "accept_307",
    "accept_stall",
    "accept_wrong_total",
    "accept_no_id",
    "accept_empty",
    "accept_408",
    "accept_529",
]
NOT_ACCEPTED = [
    "drop_before",
    "drop_mid_body",
    "stall",
    "reject_408",
    "reject_409",
    "reject_500",
    "reject_503",
    "reject_529",
]
SLOW = ("accept_slow", "accept_stall", "stall")  # no whole answer comes in time


@pytest.mark.parametrize("accepted", [True, False])
def test_an_answer_that_was_lost_leaves_open_whether_it_was_accepted(
    simulator: Simulator, accepted: bool
) -> None:
    kinds = ACCEPTED if accepted else NOT_ACCEPTED
    for number, kind in enumerate(kinds, start=1):
        simulator.faults(create=[{"kind": kind}])
        with pytest.raises(errors.Unclear):
            foreign_batch(2, seconds=0.3 if kind in SLOW else 10)
            pytest.fail(f"{kind} counts as a clear answer")
        assert len(simulator.truth()["batches"]) == (number if accepted else 0), kind


@pytest.mark.parametrize("kind", ["drop_after_accept", "accept_no_id", "accept_stall"])
def test_an_accepted_batch_whose_answer_was_lost_is_adopted(
    alice: User, simulator: Simulator, drive: Drive, kind: str
) -> None:
    simulator.faults(create=[{"kind": kind}])
    job = drive(confirmed(alice, ROWS))
    assert simulator.truth()["posts"] == 1
    assert job.batches.get().recovered
    assert_sent_once(simulator, job)


@pytest.mark.parametrize("kind", ["drop_before", "reject_529"])
def test_a_batch_that_never_arrived_is_sent_again_after_the_grace_time(
    alice: User, simulator: Simulator, drive: Drive, kind: str
) -> None:
    simulator.faults(create=[{"kind": kind}])
    job = drive(confirmed(alice, ROWS))
    assert simulator.truth()["posts"] == 2
    assert SubmissionEvent.objects.filter(job=job, kind="never_arrived").count() == 1
    assert_sent_once(simulator, job)


def test_a_batch_that_is_listed_late_is_adopted_and_not_sent_again(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    simulator.faults(create=[{"kind": "drop_after_accept"}], list_hide_seconds=600)
    looked = absence.LOOKS_BEFORE_RESEND - 1
    job = confirmed(alice, ROWS)
    drive(job, until=lambda job: job.batches.filter(empty_looks=looked).exists())
    simulator.faults(list_hide_seconds=0)
    job = drive(job)
    assert simulator.truth()["posts"] == 1
    assert_sent_once(simulator, job)


def test_a_look_that_fails_is_no_look(alice: User, simulator: Simulator, drive: Drive) -> None:
    """As many fail, in each way, as it takes good ones to send the batch again."""
    simulator.faults(create=[{"kind": "drop_after_accept"}])
    job = confirmed(alice, ROWS)
    drive(job, until=lambda job: job.batches.filter(state=Batch.State.UNKNOWN).exists())
    times = absence.LOOKS_BEFORE_RESEND
    failing: list[dict[str, Any]] = [
        {"kind": "status", "status": 500},
        {"kind": "drop"},
        {"kind": "cut"},
    ]
    simulator.faults(list=[{**fault, "times": times} for fault in failing], list_hide_seconds=600)
    for good in [0] * times * len(failing) + [1]:
        let_pass(job.batches.all(), timedelta(seconds=10))
        job.batches.update(next_action_at=clock.now())
        Job.objects.update(next_action_at=clock.now())
        sweep.sweep()
        assert job.batches.get().empty_looks == good
    simulator.faults(list_hide_seconds=0)
    job = drive(job)
    assert simulator.truth()["posts"] == 1
    assert_sent_once(simulator, job)


def test_a_batch_far_down_a_list_of_small_pages_is_found(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    simulator.faults(create=[{"kind": "drop_after_accept"}], page_limit=1)
    job = confirmed(alice, ROWS)
    drive(job, until=lambda job: job.batches.filter(state=Batch.State.UNKNOWN).exists())
    for size in (3, 4, 5):
        foreign_batch(size)
    job = drive(job)
    assert simulator.truth()["posts"] == 1 + 3
    assert job.batches.get().recovered
    assert job.good_count == len(ROWS)


def test_batches_of_others_with_the_same_size_are_told_apart_by_their_custom_ids(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    simulator.faults(create=[{"kind": "drop_after_accept"}], foreign_batches=2)
    job = drive(confirmed(alice, ROWS))
    assert simulator.truth()["posts"] == 1
    assert job.good_count == len(ROWS)
    assert set(simulator.accepted().values()) == {1}


def test_a_proof_that_was_cut_off_excludes_nothing(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    """Of two batches that could be ours, the results of both cannot be read at first."""
    simulator.faults(
        create=[{"kind": "drop_after_accept"}],
        foreign_batches=1,
        results=[{"kind": "cut_gzip", "times": 2}, {"kind": "status_404", "times": 2}],
    )
    job = drive(confirmed(alice, ROWS), until=over_without_pauses)
    assert simulator.truth()["posts"] == 1
    assert job.good_count == len(ROWS)


def test_too_many_requests_waits_and_goes_on(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    simulator.faults(create=[{"kind": "reject_429", "retry_after": 1, "times": 2}])
    job = drive(confirmed(alice, ROWS))
    assert not job.held
    assert simulator.truth()["posts"] == 3
    assert_sent_once(simulator, job)


@pytest.mark.parametrize(("kind", "word"), [("reject_400", "refused"), ("reject_413", "too large")])
def test_a_clear_no_is_said_in_words_and_nothing_is_sent_until_somebody_says_so(
    alice: User, simulator: Simulator, drive: Drive, kind: str, word: str
) -> None:
    simulator.faults(create=[{"kind": kind}])
    job = drive(confirmed(alice, ROWS), until=lambda job: bool(job.held))
    assert word in job.held
    for _ in range(3):
        sweep.sweep()
    assert simulator.truth()["posts"] == 1
    submissions.resume_job(job, alice)
    assert_sent_once(simulator, drive(job))


def test_nothing_is_sent_while_the_provider_cannot_be_reached(
    alice: User, simulator: Simulator, drive: Drive, settings: Any
) -> None:
    job = confirmed(alice, ROWS)
    settings.ANTHROPIC_BASE_URL = "http://127.0.0.1:9"
    drive(job, until=lambda job: job.failures_in_a_row > 0)
    assert not SubmissionEvent.objects.filter(kind="intent").exists()
    settings.ANTHROPIC_BASE_URL = simulator.url
    job = drive(job)
    assert_sent_once(simulator, job)


def test_of_two_batches_that_could_be_ours_the_custom_ids_decide(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    """Somebody else in the workspace sends a batch of the same size at the same time."""
    simulator.faults(create=[{"kind": "drop_after_accept"}])
    job = confirmed(alice, ROWS)
    drive(job, until=lambda job: job.batches.filter(state=Batch.State.UNKNOWN).exists())
    theirs = foreign_batch(len(ROWS))
    job = drive(job)
    assert job.batches.get().provider_id != theirs
    assert job.good_count == len(ROWS)
    assert simulator.truth()["posts"] == 2


def test_a_foreign_batch_that_was_adopted_is_given_back_and_a_person_is_asked(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    simulator.faults(create=[{"kind": "drop_before"}])
    job = confirmed(alice, ROWS)
    drive(job, until=lambda job: job.batches.filter(state=Batch.State.UNKNOWN).exists())
    theirs = foreign_batch(len(ROWS))
    job = drive(job, until=without_pauses(lambda job: bool(job.held)))
    assert "Somebody has to say" in job.held
    assert simulator.truth()["posts"] == 1 + 1, "ours, which never arrived, and theirs"
    assert unknown_batches.send_again(job.batches.get(), alice)
    job = drive(job)
    assert job.batches.get().provider_id != theirs
    assert job.good_count == len(ROWS)


def foreign_batch(size: int, seconds: float = 10) -> str:
    """The id of a new batch of another program in the workspace."""
    message = {"role": "user", "content": "Hi"}
    params = {"model": "claude-haiku-5-5", "max_tokens": 9, "messages": [message]}
    requests = [{"custom_id": f"theirs-{n}", "params": params} for n in range(size)]
    return client.create_batch(as_file({"requests": requests}), size, seconds).id


def as_file(body: dict[str, Any]) -> Path:
    """In the folder of this test."""
    path = Path(settings.DATA_DIR, f"{uuid.uuid4().hex}.json")
    path.write_text(json.dumps(body))
    return path


def test_every_intent_is_outside_the_database_before_the_post(
    alice: User, simulator: Simulator, drive: Drive, settings: Any
) -> None:
    job = drive(confirmed(alice, ROWS))
    (batch,) = job.batches.all()
    written = Path(settings.DATA_DIR, "journal.jsonl").read_text()
    entries = [json.loads(line) for line in written.splitlines()]
    assert [entry["kind"] for entry in entries] == ["intent", "outcome"]
    assert (entries[0]["nonce"], entries[0]["sha256"]) == (batch.nonce, batch.body_sha256)
    assert entries[1]["provider_id"] == batch.provider_id
    assert "What is" not in written, "no text of the person"


def test_two_batches_of_one_size_cannot_be_unsettled_at_once(
    alice: User, make_job: Callable[..., Job]
) -> None:
    job = make_job(alice, state=Job.State.SUBMITTING)
    facts = {"job": job, "size": 2, "body_sha256": "", "body_bytes": 1}
    Batch.objects.create(number=1, nonce="a", state=Batch.State.UNKNOWN, **facts)
    second = Batch.objects.create(number=2, nonce="b", **facts)
    with pytest.raises(IntegrityError), transaction.atomic():
        Batch.objects.move(second.pk, Batch.State.PLANNED, Batch.State.SUBMITTING)


def test_a_sent_batch_has_the_id_of_the_provider(alice: User, make_job: Callable[..., Job]) -> None:
    job = make_job(alice, state=Job.State.SUBMITTING)
    facts = {"job": job, "size": 2, "body_sha256": "", "body_bytes": 1, "nonce": "a"}
    with pytest.raises(IntegrityError), transaction.atomic():
        Batch.objects.create(number=1, state=Batch.State.IN_PROGRESS, **facts)


@pytest.mark.parametrize("hours_before", [-1, 0])
def test_a_clock_that_is_put_right_or_leaps_after_the_intent_does_not_hide_the_batch(
    alice: User,
    simulator: Simulator,
    drive: Drive,
    monkeypatch: pytest.MonkeyPatch,
    hours_before: int,
) -> None:
    job = confirmed(alice, ROWS)
    real, ahead = clock.now, timedelta(hours=hours_before)
    monkeypatch.setattr(clock, "now", lambda: real() + ahead)
    long_ago = timezone.now() - timedelta(days=1)
    Job.objects.update(next_action_at=long_ago)
    Sending.objects.update(send_after=long_ago)
    Heartbeat.objects.update(next_poll_at=long_ago)
    simulator.faults(create=[{"kind": "drop_after_accept"}])
    drive(job, until=lambda job: job.batches.filter(state=Batch.State.UNKNOWN).exists())
    ahead += timedelta(hours=1)
    assert_sent_once(simulator, drive(job))


def test_with_a_key_of_another_workspace_nothing_counts_as_never_arrived(
    alice: User,
    simulator: Simulator,
    drive: Drive,
    settings: Any,
) -> None:
    """Its list is complete, and does not have what was sent with the other key."""
    settings.PRACTICE, settings.ANTHROPIC_API_KEY = False, "key of one workspace"
    simulator.faults(create=[{"kind": "drop_after_accept"}])
    job = confirmed(alice, ROWS)
    drive(job, until=lambda job: job.batches.filter(state=Batch.State.UNKNOWN).exists())
    settings.ANTHROPIC_API_KEY = "key of another workspace"
    simulator.faults(list_hide_seconds=600)
    job = drive(job, until=lambda job: bool(job.held))
    assert "Somebody has to say" in job.held
    assert simulator.truth()["posts"] == 1
    settings.ANTHROPIC_API_KEY = "key of one workspace"
    simulator.faults(list_hide_seconds=0)
    assert_sent_once(simulator, drive(job, until=over_without_pauses))


@pytest.mark.parametrize("minutes", [-60, 60])
def test_a_clock_that_is_wrong_does_not_hide_the_batch(
    alice: User,
    simulator: Simulator,
    drive: Drive,
    monkeypatch: pytest.MonkeyPatch,
    minutes: int,
) -> None:
    """Our clock may be far from the provider's: only its own times are compared."""
    earlier = drive(confirmed(alice, [["x", "y"]]))
    assert earlier.good_count == 1
    job = confirmed(alice, ROWS)
    now = timezone.now
    long_ago = now() - timedelta(days=1)
    monkeypatch.setattr(timezone, "now", lambda: now() + timedelta(minutes=minutes))
    Job.objects.filter(pk=job.pk).update(next_action_at=long_ago)
    Sending.objects.update(send_after=long_ago)
    Heartbeat.objects.update(next_poll_at=long_ago)
    simulator.faults(create=[{"kind": "drop_after_accept"}])
    job = drive(job)
    assert simulator.truth()["posts"] == 2
    assert job.batches.get().recovered


def test_a_process_that_stood_still_after_its_intent_does_not_send(
    alice: User, simulator: Simulator, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that was suspended between the intent and the POST: meanwhile another worker may
    have looked, found nothing, and sent the batch."""
    job = confirmed(alice, ROWS)
    original = journal.write

    def standing_still(kind: str, **facts: Any) -> None:
        original(kind, **facts)
        if kind == "intent":
            past = timezone.now() - timedelta(hours=1)
            Batch.objects.filter(job=job).update(deadline_at=past, attempts=F("attempts") + 1)

    with monkeypatch.context() as patch:
        patch.setattr(journal, "write", standing_still)
        sweep.sweep()
    assert simulator.truth()["posts"] == 0
    assert_sent_once(simulator, drive(job))


def test_a_process_that_wakes_up_does_not_touch_the_next_try(
    alice: User, simulator: Simulator, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One worker stands still before its POST for so long that another finds nothing and sends the
    batch; the first one wakes up while that is under way."""
    job = confirmed(alice, ROWS)
    write, create = journal.write, client.create_batch
    asleep: list[Batch] = []

    def stand_still(kind: str, **facts: object) -> None:
        write(kind, **facts)
        if kind == "intent" and not asleep:
            asleep.append(Batch.objects.get(nonce=facts["nonce"]))
            raise LeaseLost

    def wake_up_before(body: Path, size: int, seconds: float) -> replies.BatchInfo:
        with pytest.raises(LeaseLost):
            submission._post(asleep[0])
        submission.doubt(asleep[0])
        assert not reconciliation.plan_again(asleep[0])
        assert Batch.objects.get().state == Batch.State.SUBMITTING
        return create(body, size, seconds)

    monkeypatch.setattr(journal, "write", stand_still)
    monkeypatch.setattr(client, "create_batch", wake_up_before)
    job = drive(job)
    assert job.batches.get().attempts == 2
    assert simulator.truth()["posts"] == 1
    assert_sent_once(simulator, job)


def test_an_answer_that_comes_after_somebody_had_doubts_is_taken(
    alice: User, simulator: Simulator, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sender's lease ran out while the answer was on its way. The journal has the answer, too:
    after a restore it says which batch it is."""
    job = confirmed(alice, ROWS)
    create = client.create_batch

    def doubted(body: Path, size: int, seconds: float) -> replies.BatchInfo:
        info = create(body, size, seconds)
        Job.objects.update(lease_owner="another machine|1|x")
        submission.doubt(Batch.objects.select_related("job").get())
        assert Batch.objects.get().state == Batch.State.UNKNOWN
        return info

    monkeypatch.setattr(client, "create_batch", doubted)
    job = drive(job, until=lambda job: job.batches.exclude(provider_id=None).exists())
    batch = job.batches.get()
    assert not batch.recovered
    named = [one for _end, one in journal.entries() if isinstance(one, journal.Outcome)]
    assert [one.provider_id for one in named] == [batch.provider_id]
    Job.objects.update(lease_owner="", lease_until=None, next_action_at=clock.now())
    assert_sent_once(simulator, drive(job))


def test_a_batch_is_of_another_size_than_one_whose_fate_is_open(
    alice: User, simulator: Simulator, drive: Drive, settings: Any
) -> None:
    settings.RECONCILE_RESUBMIT = "ask"
    simulator.faults(create=[{"kind": "drop_before"}])
    waiting = drive(confirmed(alice, ROWS), until=lambda job: bool(job.held))
    other = drive(confirmed(alice, ROWS))
    assert other.good_count == len(ROWS)
    assert waiting.batches.get().size not in other.batches.values_list("size", flat=True)


def test_a_batch_that_was_refused_waits_while_one_of_its_size_is_looked_for(
    alice: User, simulator: Simulator, drive: Drive, settings: Any
) -> None:
    """Both were planned before either was sent, so their sizes are the same."""
    settings.RECONCILE_RESUBMIT = "ask"
    simulator.faults(create=[{"kind": "reject_429", "retry_after": 1}, {"kind": "drop_before"}])
    first = confirmed(alice, ROWS)
    drive(first, until=lambda job: job.batches.filter(attempts=1).exists())
    second = store_job(alice, Job.State.SUBMITTING, rows=ROWS, practice=True)
    Batch.objects.create(
        job=second,
        number=1,
        nonce="abc123",
        size=len(ROWS),
        state=Batch.State.UNKNOWN,
        practice=True,
        body_sha256="",
        body_bytes=0,
        attempts=1,
        baseline_ids=[],
        deadline_at=timezone.now(),
    )
    for _ in range(2):
        Job.objects.filter(pk=first.pk).update(next_action_at=timezone.now())
        Sending.objects.update(send_after=timezone.now())
        advance.advance(first.pk)
    assert simulator.truth()["posts"] == 1
    waits = first.events.filter(text__contains="waits until it is known")
    assert waits.count() == 1
    second.batches.update(state=Batch.State.CANCELED)
    Job.objects.update(next_action_at=timezone.now())
    drive(first, until=lambda job: job.batches.filter(attempts=2).exists())


def unknown_batch(job: Job, number: int, minutes_ago: float, **values: Any) -> Batch:
    """A batch of two rows whose one try was over `minutes_ago`."""
    over = timezone.now() - timedelta(minutes=minutes_ago)
    facts = {
        "state": Batch.State.UNKNOWN,
        "size": 2,
        "practice": True,
        "body_sha256": "",
        "body_bytes": 0,
        "attempts": 1,
        "baseline_ids": [],
        "baseline_at": over,
        "intent_at": over,
        "deadline_at": over,
        **values,
    }
    return Batch.objects.create(job=job, number=number, nonce=f"nonce-{number}", **facts)


def listed(id: str, minutes_ago: float) -> replies.BatchInfo:
    created = timezone.now() - timedelta(minutes=minutes_ago)
    return replies.BatchInfo(id, "ended", 2, {"succeeded": 2}, created, created, None)


def test_a_batch_that_was_given_back_may_be_another_of_ours(
    alice: User, make_job: Callable[..., Job]
) -> None:
    job = make_job(alice, state=Job.State.SUBMITTING)
    mistaken = unknown_batch(
        job, 1, 5, state=Batch.State.ENDED, provider_id="msgbatch_1", recovered=True
    )
    SubmissionEvent.objects.create(nonce=mistaken.nonce, kind="adopted", provider_id="msgbatch_1")
    reconciliation.give_back(mistaken)
    mistaken.refresh_from_db()
    assert mistaken.state == Batch.State.UNKNOWN
    assert not reconciliation.candidates(mistaken, [listed("msgbatch_1", 4)])
    mistaken.delete()
    other = unknown_batch(job, 2, 5)
    assert reconciliation.candidates(other, [listed("msgbatch_1", 4)])


def test_a_batch_is_given_back_when_no_other_of_its_size_is_looked_for(
    alice: User, make_job: Callable[..., Job]
) -> None:
    job = make_job(alice, state=Job.State.SUBMITTING)
    mistaken = unknown_batch(
        job, 1, 5, state=Batch.State.ENDED, provider_id="msgbatch_1", recovered=True
    )
    other = unknown_batch(job, 2, 5)
    reconciliation.give_back(mistaken)
    mistaken.refresh_from_db()
    assert mistaken.state == Batch.State.ENDED
    Batch.objects.filter(pk=other.pk).update(state=Batch.State.IN_PROGRESS, provider_id="2")
    reconciliation.give_back(mistaken)
    mistaken.refresh_from_db()
    assert mistaken.state == Batch.State.UNKNOWN


def test_an_adopted_batch_that_is_gone_was_perhaps_never_ours(
    alice: User,
    simulator: Simulator,
    drive: Drive,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """That of another program was listed before ours, and its owner deletes it."""
    simulator.faults(create=[{"kind": "drop_after_accept"}], stuck=True)
    job = confirmed(alice, ROWS)
    drive(job, until=lambda job: job.batches.filter(state=Batch.State.UNKNOWN).exists())
    theirs = foreign_batch(len(ROWS))
    with monkeypatch.context() as patch:
        only_theirs = [client.retrieve_batch(theirs)]
        patch.setattr(client, "list_batches", lambda: iter(only_theirs))
        drive(job, until=lambda job: job.batches.filter(provider_id=theirs).exists())
    retrieve, now = client.retrieve_batch, clock.now()

    def gone(provider_id: str) -> replies.BatchInfo:
        if provider_id == theirs:
            raise errors.NotFound(404, "not_found_error", "", None)
        return retrieve(provider_id)

    others = [info for info in client.list_batches() if info.id != theirs]
    monkeypatch.setattr(client, "retrieve_batch", gone)
    monkeypatch.setattr(client, "list_batches", lambda: iter([]))
    let_pass(Batch.objects.all(), timedelta(minutes=20))
    for looks in range(result_proof.TRIES):
        batch = job.batches.get()
        assert (batch.provider_id, batch.doubts) == (theirs, looks), "it may come back"
        polling.watch()
    assert job.batches.get().provider_id is None
    Job.objects.update(next_action_at=now)
    job = drive(job, until=lambda job: bool(job.held))
    assert "Somebody has to say" in job.held, "a 404 never leads to sending again by itself"
    monkeypatch.setattr(client, "list_batches", lambda: iter(others))
    assert unknown_batches.look_again(job.batches.get(), alice)
    job = drive(job, until=lambda job: job.batches.exclude(provider_id=None).exists())
    assert not job.held
    assert simulator.truth()["posts"] == 2


def test_a_batch_that_looks_like_one_that_was_refused_is_not_looked_at_in_a_hot_loop(
    alice: User, simulator: Simulator, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator.faults(create=[{"kind": "reject_429", "retry_after": 1}])
    job = confirmed(alice, ROWS)
    sweep.sweep()
    foreign_batch(len(ROWS))
    looks = 0
    original = reconciliation.reconcile

    def counted(batch: Batch) -> Any:
        nonlocal looks
        looks += 1
        return original(batch)

    monkeypatch.setattr(reconciliation, "reconcile", counted)
    job = drive(job, until=lambda job: job.batches.filter(doubts=2).exists())
    assert looks < 5
    monkeypatch.setattr(reconciliation, "reconcile", original)
    job = drive(job, until=without_pauses(lambda job: bool(job.held)))
    assert "Somebody has to say" in job.held
    assert unknown_batches.send_again(job.batches.get(), alice)
    assert drive(job).good_count == len(ROWS)


@pytest.mark.django_db(transaction=True)
def test_a_batch_that_is_taken_back_is_sent_by_nobody_at_the_same_time(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One worker takes its rows back while another one, which has the job by now, sends it."""
    alice = User.objects.create_user("alice")
    job = store_job(alice, Job.State.SUBMITTING, rows=ROWS, practice=True)
    Job.objects.update(next_action_at=timezone.now())
    lease = leases.claim(job.pk)
    assert lease
    assert planning.plan_next_batch(job, lease)
    batch = Batch.objects.select_related("job").get()
    came: list[bool] = []

    def send() -> None:
        came.append(True)
        with suppress(LeaseLost, NotMoved):
            submission.submit(Batch.objects.select_related("job").get(), lease)
        connection.close()

    other = threading.Thread(target=send)
    rows = Row.objects.filter

    def meanwhile(**conditions: object) -> Any:
        if other.ident is None:
            other.start()
        other.join(timeout=3)  # it has to wait for us
        return rows(**conditions)

    with monkeypatch.context() as patch:
        patch.setattr(Row.objects, "filter", meanwhile)
        planning.unplan(batch)
    other.join()
    assert came
    assert simulator.truth()["posts"] == 0
    assert not Batch.objects.exists()


def test_a_body_that_is_gone_does_not_hide_a_batch_that_turned_up_late(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    """Counted as never arrived, then listed after all: it is found before anything is planned
    anew."""
    simulator.faults(create=[{"kind": "drop_after_accept"}])
    job = confirmed(alice, ROWS)
    drive(job, until=lambda job: job.batches.filter(state=Batch.State.UNKNOWN).exists())
    batch = job.batches.get()
    Batch.objects.filter(pk=batch.pk).update(state=Batch.State.PLANNED, next_action_at=None)
    files.body_path(batch).unlink()
    assert_sent_once(simulator, drive(job))
