"""Slow connections to the provider hold nothing that people wait for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from jobs.actions import drafts
from jobs.batches import absence, external, leases, planning, reconciliation, slots, submission
from jobs.models import Batch, Heartbeat, Job, Row, clock
from jobs.provider import client, errors
from jobs.worker import advance, due_times, sweep

from .. import dying_worker, forking
from ..driven_jobs import RECIPE, priced, upload
from ..running import wait_for
from ..slow_provider import HEAD, SlowProvider, count
from ..worker.test_crashes import complaints_of, environment_of_worker

LIST, CREATE = "GET /v1/messages/batches", "POST /v1/messages/batches"
SLOW = 6  # jobs that wait for a slow provider, of each kind


def test_there_are_more_threads_than_slots(settings: Any) -> None:
    """Whatever is slow, a thread is left for the tick."""
    consumer: Any = settings.HUEY["consumer"]
    assert consumer["workers"] >= slots.THREADS


def test_a_job_without_a_free_slot_stays_due_and_one_of_another_kind_goes_on(
    alice: User, make_job: Callable[..., Job], drive: Callable[..., Job]
) -> None:
    waiting = make_job(alice, state=Job.State.WORKING, rows=[("a", "b")], practice=True)
    Job.objects.update(next_action_at=clock.now())
    file = upload(alice, [["Ann", "a"]])
    taken = [slots.Slot() for _ in range(slots.SIZES[slots.FETCHING])]
    try:
        assert all(slot.take(slots.FETCHING) for slot in taken)
        drive(file, until=lambda job: job.state == Job.State.DRAFT)
        assert Job.objects.due(clock.now()).filter(pk=waiting.pk).exists()
        assert not Job.objects.exclude(lease_owner="").exists()
    finally:
        for slot in taken:
            slot.__exit__()
    drive(waiting)


def test_a_slot_is_given_back_whatever_happens() -> None:
    with pytest.raises(ZeroDivisionError), slots.Slot() as slot:
        assert slot.take(slots.ASKED)
        assert slot.take(slots.ASKED), "it has one already"
        assert slot.take(slots.LATE), "and changes it for another"
        with slots.Slot() as other:
            assert other.take(slots.ASKED)
            assert not slot.take(slots.ASKED)
            assert not other.take(slots.LATE), "a slot is kept until there is another"
        1 / 0  # noqa: B018 - the fault
    with slots.Slot() as slot:
        assert slot.take(slots.LATE)


def test_jobs_that_wait_longest_get_the_next_slots(
    alice: User, make_job: Callable[..., Job]
) -> None:
    """And the queue does not grow while there is no slot."""
    people = [User.objects.create_user(f"person{number}") for number in range(slots.NUDGED + 2)]
    jobs = [make_job(one, state=Job.State.WORKING) for one in people]
    jobs.append(make_job(alice, state=Job.State.DRAFT))
    now = clock.now()
    for age, job in enumerate(jobs):
        Job.objects.filter(pk=job.pk).update(next_action_at=now - age * due_times.SAFETY / 100)
    nudged: list[int] = []
    looks: list[str] = []
    sweep.sweep(step=nudged.append, look=looks.append)
    oldest = [job.pk for job in jobs[::-1]]
    assert nudged == oldest[: slots.NUDGED + 1]


def test_a_person_with_many_jobs_that_wait_keeps_no_other_persons_job_from_being_nudged(
    alice: User, bob: User, make_job: Callable[..., Job]
) -> None:
    now = clock.now()
    for _ in range(3 * slots.NUDGED):
        make_job(alice, state=Job.State.WORKING)
    Job.objects.update(next_action_at=now - timedelta(hours=1))
    late = make_job(bob, state=Job.State.WORKING)
    Job.objects.filter(pk=late.pk).update(next_action_at=now)
    nudged: list[int] = []
    sweep.sweep(step=nudged.append, look=lambda _kind: None)
    assert late.pk in nudged and len(nudged) == slots.NUDGED_OF_ONE_PERSON + 1


@pytest.mark.parametrize("kind", [*slots.OF_ONE_PERSON])
def test_the_jobs_of_one_person_leave_slots_to_others(kind: str) -> None:
    taken = [slots.Slot() for _ in range(slots.SIZES[kind])]
    try:
        of_one = [slot.take(kind, owner_pk=1) for slot in taken]
        assert sum(of_one) == slots.OF_ONE_PERSON[kind] < slots.SIZES[kind]
        rest = [slot for slot, took in zip(taken, of_one, strict=True) if not took]
        assert all(slot.take(kind, owner_pk=2 + number) for number, slot in enumerate(rest))
        with slots.Slot() as one_more:
            assert not one_more.take(kind, owner_pk=99)
            taken[0].__exit__()
            assert one_more.take(kind, owner_pk=1), "what was given back is free again"
    finally:
        for slot in taken:
            slot.__exit__()


def test_what_a_job_fetches_takes_no_slot_that_others_send_or_build_with(
    alice: User, make_job: Callable[..., Job]
) -> None:
    """Results of a job that still sends, and damaged ones of a job that is finished."""
    now = clock.now()

    def kinds_of(job: Job) -> tuple[str, ...]:
        [step] = slots.next_steps(Job.objects.filter(pk=job.pk))
        return step.kinds

    def kind_of(job: Job) -> str:
        [kind] = kinds_of(job)
        return kind

    def batch_of(job: Job, **values: Any) -> Batch:
        facts = {"number": 1, "size": 1, "nonce": f"n{job.pk}", "provider_id": f"id{job.pk}"}
        return Batch.objects.create(job=job, practice=True, body_bytes=0, **facts | values)

    sends = make_job(alice, state=Job.State.SUBMITTING, practice=True)
    assert kind_of(sends) == slots.SENDING
    ended = batch_of(sends, state=Batch.State.ENDED)
    assert kinds_of(sends) == (slots.SENDING, slots.FETCHING), "it fetches when it cannot send"
    Job.objects.filter(pk=sends.pk).update(held="Anthropic refused: too many.")
    assert kind_of(sends) == slots.FETCHING
    Job.objects.filter(pk=sends.pk).update(held="")
    Batch.objects.filter(pk=ended.pk).update(next_action_at=now + timedelta(minutes=1))
    assert kind_of(sends) == slots.SENDING, "it is fetched anew later"

    finished = make_job(alice, state=Job.State.FINISHED, practice=True)
    damaged = batch_of(finished, state=Batch.State.COLLECTED, damaged_at=now)
    assert kind_of(finished) == slots.FETCHING
    wanted = finished.exports.create(kind="csv")
    assert kind_of(finished) == slots.BUILDING, "somebody waits for the file"
    wanted.delete()
    Batch.objects.filter(pk=damaged.pk).update(damage="It is gone.")
    assert kind_of(finished) == slots.BUILDING


def test_a_job_sends_first_and_fetches_what_has_ended_while_it_cannot_send(
    alice: User, make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is sent sooner is answered sooner, and results wait."""
    job = make_job(alice, state=Job.State.SUBMITTING, rows=[("a", "b")], practice=True)
    facts = {"job": job, "size": 1, "practice": True, "body_bytes": 0, "body_sha256": ""}
    one = Batch.objects.create(
        number=1, nonce="one", provider_id="id", state=Batch.State.ENDED, **facts
    )
    Batch.objects.create(number=2, nonce="two", state=Batch.State.PLANNED, **facts)
    done: list[str] = []

    def submit(*_: object) -> timedelta:
        done.append("send")
        return timedelta(seconds=30 if len(done) > 1 else 0)

    def collect(*_: object) -> timedelta:
        done.append("fetch")
        Batch.objects.filter(pk=one.pk).update(state=Batch.State.LOST)
        return timedelta()

    monkeypatch.setattr("jobs.batches.submission.submit", submit)
    monkeypatch.setattr("jobs.batches.collection.collect", collect)
    Job.objects.filter(pk=job.pk).update(next_action_at=clock.now())
    advance.advance(job.pk)
    assert done == ["send", "send", "fetch", "send"]


def test_a_look_that_lasts_is_not_taken_twice_and_keeps_no_other_waiting(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[str] = []

    def look_again() -> None:
        """Of another thread, while the first one is still at it."""
        taken.append(slots.WATCHING)
        sweep.take_look(slots.WATCHING)
        sweep.take_look(slots.LATE)

    monkeypatch.setattr("jobs.batches.polling.watch", look_again)
    monkeypatch.setattr("jobs.batches.late.look", lambda: taken.append(slots.LATE))
    sweep.take_look(slots.WATCHING)
    assert taken == [slots.WATCHING, slots.LATE]


def test_people_who_wait_for_a_slow_provider_leave_threads_of_the_web_server_to_others(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("jobs.provider.client.retrieve_batch", asked.append)
    taken = [slots.Slot() for _ in range(slots.FINDING_SIZE)]
    try:
        assert all(slot.take(slots.FINDING) for slot in taken)
        with pytest.raises(external.NotPossible, match="Try again in a minute"):
            external.find("msgbatch_1")
        assert not asked
    finally:
        for slot in taken:
            slot.__exit__()


@pytest.mark.parametrize(
    ("size", "seconds"), [(1_000, 180.05), (4_000_000, 380), (250_000_000, 600)]
)
def test_a_small_body_that_hangs_gives_its_slot_back_before_the_deadline(
    alice: User,
    make_job: Callable[..., Job],
    monkeypatch: pytest.MonkeyPatch,
    settings: Settings,
    size: int,
    seconds: float,
) -> None:
    settings.SUBMIT_DEADLINE_SECONDS = 600
    allowed: list[float] = []

    def hang(_body: Path, _size: int, seconds: float) -> None:
        allowed.append(seconds)
        raise errors.Unclear("It took too long.")

    def fail(_batch: Batch) -> None:
        pytest.fail("it was looked for too early")

    monkeypatch.setattr(client, "create_batch", hang)
    job = make_job(alice, state=Job.State.SUBMITTING, rows=[("a", "b")], practice=True)
    deadline = clock.now() + timedelta(seconds=600)
    batch = Batch.objects.create(
        job=job,
        number=1,
        size=1,
        nonce="hangs",
        state=Batch.State.SUBMITTING,
        practice=True,
        attempts=1,
        body_sha256="",
        body_bytes=size,
        intent_at=clock.now(),
        deadline_at=deadline,
        absence=absence.begin(),
    )
    submission._post(batch)
    assert allowed == [pytest.approx(seconds, abs=5)]
    batch.refresh_from_db()
    assert batch.state == Batch.State.UNKNOWN
    assert batch.next_action_at is not None
    first = (batch.next_action_at - clock.now()).total_seconds()
    assert first == pytest.approx(absence.LONGEST_PAUSE.total_seconds(), abs=5)
    # Until the deadline it may still arrive, so the list is not even asked.
    monkeypatch.setattr(client, "sync_clock", lambda: None)
    monkeypatch.setattr(reconciliation, "candidates", fail)
    assert timedelta() < reconciliation.reconcile(batch) <= absence.LONGEST_PAUSE
    batch.refresh_from_db()
    assert (batch.state, batch.empty_looks) == (Batch.State.UNKNOWN, 0)


# --- A worker with all its threads ----------------------------------------------------------------


def answer(one: SlowProvider, line: str) -> Iterator[bytes]:
    if line.endswith("/count_tokens"):
        return iter([HEAD + b"\r\n" + json.dumps({"input_tokens": 20}).encode()])
    if line == CREATE:
        return one.hang()
    return one.drip(HEAD + b"\r\n", pause=0.2)


def make_slow_jobs(owner: User, make_job: Callable[..., Job]) -> None:
    """Jobs whose results are to be fetched, and jobs with a batch to be sent."""
    now = clock.now()
    for number in range(SLOW):
        rows = [("a", "b")] * (number + 2)
        fetching = make_job(owner, state=Job.State.WORKING, rows=rows, practice=True)
        batch = Batch.objects.create(
            job=fetching,
            number=1,
            size=len(rows),
            nonce=f"fetched{number}",
            state=Batch.State.ENDED,
            practice=True,
            provider_id=f"msgbatch_{number}",
            body_sha256="",
            body_bytes=0,
            created_at=now,
            ended_at=now,
            expires_at=now,
            next_action_at=now,
        )
        Row.objects.filter(job=fetching).update(batch=batch)
        sending = make_job(owner, state=Job.State.SUBMITTING, rows=rows, practice=True)
        Job.objects.filter(pk=sending.pk).update(next_action_at=now)
        lease = leases.claim(sending.pk)
        assert lease is not None
        assert planning.plan_next_batch(sending, lease)
        lease.release(now)
    # Nothing has to be listed before they are sent.
    Batch.objects.filter(state=Batch.State.PLANNED).update(baseline_ids=[], baseline_at=now)
    # One that is with the provider is watched, by way of the list.
    Batch.objects.filter(number=1, nonce="fetched0").update(state=Batch.State.IN_PROGRESS)
    Job.objects.update(next_action_at=now)
    Heartbeat.objects.update(next_poll_at=now)


@pytest.mark.django_db(transaction=True)
def test_slow_transfers_keep_no_file_from_being_read_and_priced(
    alice: User, bob: User, make_job: Callable[..., Job], settings: Settings
) -> None:
    """Dripping downloads, creates that hang and a list that drips, all of it at once."""
    make_slow_jobs(alice, make_job)
    with SlowProvider(lambda line: answer(one, line)) as one:
        folder = settings.DATA_DIR
        environment = environment_of_worker(one.url, folder) | {"SUBMIT_DEADLINE_SECONDS": "600"}
        worker = forking.start(
            dying_worker.consume, environment=environment, errors=complaints_of(folder)
        )
        try:
            wait_for(
                lambda: (
                    count(one.open, "/results") == slots.OF_ONE_PERSON[slots.FETCHING]
                    and one.open[CREATE] == slots.OF_ONE_PERSON[slots.SENDING]
                    and one.open[LIST] >= 1
                ),
                "all slots to be taken",
            )
            job = upload(bob, [["Ann", "a"], ["Bob", "b"]])
            wait_for(lambda: Job.objects.get(pk=job.pk).state == Job.State.DRAFT, "the reading")
            assert drafts.save_recipe(job, RECIPE, bob)
            wait_for(lambda: priced(Job.objects.get(pk=job.pk)), "the price")
            # Nobody else had come to an end before.
            assert count(one.open, "/results") == slots.OF_ONE_PERSON[slots.FETCHING]
            assert one.open[CREATE] == slots.OF_ONE_PERSON[slots.SENDING]
            assert one.open[LIST] == 1, "one look at a time"
            assert one.left.total() == 0
        finally:
            worker.kill()
            worker.join()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("other", ["of the same person", "of another person"])
def test_creates_that_hang_keep_no_other_job_from_being_sent(
    alice: User, bob: User, make_job: Callable[..., Job], settings: Settings, other: str
) -> None:
    """Three jobs hang in their one POST: another job is sent all the same."""
    hang = 3
    jobs = []
    for number in range(hang + 1):
        owner = bob if number == hang and other == "of another person" else alice
        rows = [("a", "b")] * (number + 2)
        jobs.append(make_job(owner, state=Job.State.SUBMITTING, rows=rows, practice=True))
    for job in jobs:
        Job.objects.filter(pk=job.pk).update(next_action_at=clock.now())
        lease = leases.claim(job.pk)
        assert lease is not None and planning.plan_next_batch(job, lease)
        lease.release(clock.now())
    Batch.objects.update(baseline_ids=[], baseline_at=clock.now())
    with SlowProvider(lambda line: answer(one, line)) as one:
        environment = environment_of_worker(one.url, settings.DATA_DIR)
        worker = forking.start(
            dying_worker.consume,
            environment=environment | {"SUBMIT_DEADLINE_SECONDS": "600"},
            errors=complaints_of(settings.DATA_DIR),
        )
        try:
            wait_for(lambda: one.open[CREATE] == hang + 1, "the other job to be sent as well")
            assert one.asked[CREATE] == hang + 1 and not one.left.total()
            assert all(batch.attempts == 1 for batch in Batch.objects.all()), "each of them once"
        finally:
            worker.kill()
            worker.join()
