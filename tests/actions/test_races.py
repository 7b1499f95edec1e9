"""Two things that are done to a job at the same time: nothing is paid twice, lost or forgotten,
whichever comes first."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from jobs.actions import job_basics, reviews, submissions
from jobs.batches import collection, late
from jobs.drafts import trials
from jobs.models import Batch, Job, LateBatch, NotMoved, Trial, dollars
from jobs.provider import client
from jobs.provider.replies import BatchInfo
from jobs.results import builder, review_sample
from jobs.rules import result_proof
from jobs.spending import ledger
from jobs.worker import advance, sweep

from ..conftest import Simulator
from ..driven_jobs import Drive, confirmed
from ..many import at_once
from ..running import SECONDS

pytestmark = pytest.mark.django_db(transaction=True)

MakeJob = Callable[..., Job]
ROWS = [[f"name {number}", "text"] for number in range(1, 6)]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOST, COST = 5 * 10**12, 3 * 10**12  # what it may cost, and what it has cost


# --- Deleting, and storing what was charged -------------------------------------------------------


@pytest.fixture
def while_remembered(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """`while_remembered(name, store, calls)`: once the function of the ledger with this name has
    read what a job was charged that is being deleted, in so many calls, another worker does
    `store`."""
    threads: list[threading.Thread] = []

    def begin(name: str, store: Callable[[], object], calls: int = 1) -> None:
        left = [calls]

        def run() -> None:
            with suppress(NotMoved):  # it is gone
                store()
            connection.close()

        read = getattr(ledger, name)

        def reads(*args: Any) -> list[Any]:
            found = list(read(*args))
            left[0] -= 1
            if left[0]:
                return found
            threads.append(threading.Thread(target=run))
            threads[-1].start()
            threads[-1].join(1)  # it may have to wait until the job is gone
            return found

        monkeypatch.setattr(ledger, name, reads)

    yield begin
    for thread in threads:
        thread.join(SECONDS)
    assert threads


def test_the_answer_to_a_test_that_is_stored_while_its_job_goes_is_not_forgotten(
    make_job: MakeJob, alice: User, settings: Any, while_remembered: Callable[..., None]
) -> None:
    job = make_job(alice, Job.State.DRAFT)
    one = Trial.objects.create(
        job=job,
        round=1,
        number=1,
        cells=[],
        params="{}",
        model="claude-haiku-5-5",
        practice=settings.PRACTICE,
        state=Trial.State.SENDING,
        asked_at=timezone.now(),
        most_pico=MOST,
    )
    assert job_basics.delete_job(job, alice)
    answered = {"answered_by": one.model, "cost_pico": COST}
    # It is called for real tests, and for those of practice mode.
    while_remembered("_of_trials", lambda: trials._settle(one, Trial.State.ANSWERED, **answered), 2)
    sweep.sweep()
    assert not Job.objects.exists()
    assert ledger.committed_since(EPOCH) in (dollars(MOST), dollars(COST))


def test_what_a_late_batch_was_charged_while_its_job_goes_is_not_forgotten(
    make_job: MakeJob,
    alice: User,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    while_remembered: Callable[..., None],
) -> None:
    job = make_job(alice, Job.State.FINISHED)
    Job.objects.filter(pk=job.pk).update(practice=settings.PRACTICE, spent_pico=0)
    now = timezone.now()
    batch = job.batches.create(
        number=9,
        size=5,
        nonce="n" * 12,
        state=Batch.State.COLLECTED,
        provider_id="msgbatch_9",
        body_bytes=1,
        practice=settings.PRACTICE,
        given_up=1,
        most_pico=MOST,
        late_until=now + timedelta(days=1),
        deadline_at=now,
        intent_at=now,
        cost_pico=0,
    )
    found = LateBatch.objects.create(
        batch=batch, provider_id="msgbatch_late", size=5, created_at=now, found_at=now
    )
    before = ledger.committed_since(EPOCH)
    kinds = ("succeeded", "errored", "canceled", "expired", "processing")
    info = BatchInfo(found.provider_id, "ended", 5, dict.fromkeys(kinds, 0), now, now, now)
    monkeypatch.setattr(collection, "charged", lambda *_, **__: (5, COST))
    monkeypatch.setattr(late, "follow", lambda _late: None)  # it had not ended by then
    monkeypatch.setattr(late, "is_proven", lambda _late: False)
    monkeypatch.setattr(client, "delete_batch", lambda _id: None)
    while_remembered("_of_job", lambda: late._note_end(found, info))
    assert job_basics.delete_job(job, alice)
    sweep.sweep()
    assert not Job.objects.exists()
    assert before == dollars(MOST)
    assert ledger.committed_since(EPOCH) in (dollars(MOST), dollars(COST))


# --- Going on without, and a download -------------------------------------------------------------


@pytest.mark.parametrize("_time", range(3))
def test_going_on_without_answers_while_they_are_fetched_takes_them(
    alice: User,
    simulator: Simulator,
    drive: Drive,
    monkeypatch: pytest.MonkeyPatch,
    _time: int,
) -> None:
    monkeypatch.setattr(result_proof, "TRIES", 1)
    simulator.faults(results=[{"kind": "missing_line", "times": 1000}])
    job = drive(confirmed(alice, ROWS), until=lambda job: bool(job.held))
    simulator.reset()
    now = timezone.now()
    job.batches.update(next_action_at=now)
    Job.objects.filter(pk=job.pk).update(next_action_at=now)
    at_once(
        lambda: advance.advance(job.pk),
        lambda: submissions.give_up_missing_answers(job, alice),
    )
    job.batches.update(next_action_at=now)
    Job.objects.filter(pk=job.pk).update(next_action_at=now)
    job = drive(job)
    assert (job.good_count, job.held) == (len(ROWS), "")
    assert job.batches.get().state == Batch.State.COLLECTED


# --- Marking an answer, and building files --------------------------------------------------------


@pytest.mark.parametrize("_time", range(3))
def test_a_mark_that_is_made_while_files_are_built_is_in_them(
    alice: User, make_job: MakeJob, _time: int
) -> None:
    job = make_job(alice, rows=ROWS)
    assert reviews.draw_sample(job, 5, alice)
    key = review_sample.answer_key(job.rows.get(number=1))
    for kind in ("csv", "xlsx"):
        builder.request_export(job, kind, "all")
    Job.objects.filter(pk=job.pk).update(next_action_at=timezone.now())
    _advanced, marked = at_once(
        lambda: advance.advance(job.pk),
        lambda: reviews.mark_answer(job, 1, key, False, "No.", alice),
    )
    assert marked is True
    for _ in range(10):
        Job.objects.filter(pk=job.pk).update(next_action_at=timezone.now())
        advance.advance(job.pk)
        if not job.exports.exists():
            break
    job.refresh_from_db()
    file = builder.path_of(job, "csv").read_bytes()
    assert b"Marked as not good: No." in file
