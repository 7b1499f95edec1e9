"""What the provider keeps for a time only: 404s that pass and 404s that stay, the 24 hours of a
batch, and the 29 days of its results."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from jobs.actions import retries, submissions
from jobs.batches import polling
from jobs.drafts import estimates
from jobs.models import Batch, Heartbeat, Job, Outcome, clock
from jobs.provider import client
from jobs.retries import rounds, selection
from jobs.rules import result_proof
from jobs.rules.retry_choices import RetryChoice
from jobs.worker import advance, due_times, sweep

from ..conftest import Simulator, send_again
from ..driven_jobs import Drive, confirmed, joined
from .test_submission import over_without_pauses

pytestmark = pytest.mark.no_database  # this is about times

ROWS = [[f"n{n}", "x"] for n in range(30)]
Later = Callable[[timedelta], None]


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Later:
    """`later(timedelta(hours=1))`: from now on it is an hour later than it really is."""
    real, uptime, ahead = clock.now, clock.uptime, timedelta()

    def go(by: timedelta) -> None:
        nonlocal ahead
        ahead += by
        Job.objects.update(next_action_at=real())

    monkeypatch.setattr(clock, "now", lambda: real() + ahead)
    monkeypatch.setattr(clock, "uptime", lambda: uptime() + ahead.total_seconds())
    return go


# --- 404 ------------------------------------------------------------------------------------------


def test_a_batch_that_is_not_visible_yet_is_waited_for(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    simulator.faults(list_hide_seconds=1e9, retrieve_404_seconds=1e9)
    job = confirmed(alice, ROWS)
    drive(job, until=lambda job: job.state == Job.State.WORKING)
    for _ in range(5):
        Heartbeat.objects.update(next_poll_at=timezone.now())
        sweep.sweep()
    assert not Job.objects.get(pk=job.pk).held
    simulator.reset()
    assert drive(job).good_count == len(ROWS)
    assert simulator.truth()["posts"] == 1


def test_a_batch_that_stays_away_holds_the_job_and_is_never_sent_again(
    alice: User, simulator: Simulator, drive: Drive, later: Later
) -> None:
    simulator.faults(list_hide_seconds=1e9, retrieve_404_seconds=1e9)
    job = confirmed(alice, ROWS)
    drive(job, until=lambda job: job.state == Job.State.WORKING)
    later(timedelta(minutes=30))
    job = drive(job, until=lambda job: bool(job.held))
    assert "not to be found" in job.held
    for _ in range(3):
        submissions.resume_job(job, alice)
        later(timedelta(hours=1))
        drive(job, until=lambda job: bool(job.held))
    assert simulator.truth()["posts"] == 1
    simulator.reset()
    submissions.resume_job(job, alice)
    assert drive(job).good_count == len(ROWS)


def test_a_job_goes_on_by_itself_when_the_batch_that_was_missing_is_found(
    alice: User,
    simulator: Simulator,
    drive: Drive,
    later: Later,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings.BATCH_MAX_REQUESTS = 20
    monkeypatch.setattr(advance, "TURN", -due_times.SAFETY)  # one step a sweep
    simulator.faults(stuck=True, list_hide_seconds=1e9, retrieve_404_seconds=1e9)
    job = confirmed(alice, ROWS)
    drive(job, until=lambda job: job.batches.exclude(provider_id=None).count() == 1)
    later(timedelta(minutes=30))
    polling.watch()
    job.refresh_from_db()
    assert job.held
    assert job.state == Job.State.SUBMITTING
    simulator.reset()
    polling.watch()
    later(timedelta())
    job = drive(job)
    assert (job.held, job.good_count) == ("", len(ROWS))


def test_every_job_with_a_batch_that_is_missing_is_told_so_once(
    alice: User, make_job: Callable[..., Job], simulator: Simulator
) -> None:
    """Only some are looked up at a time; the rest gets its turn."""
    many, one = (make_job(alice, state=Job.State.WORKING, practice=True) for _ in range(2))
    long_ago = clock.now() - timedelta(hours=1)
    for number in range(polling.LOOKED_UP + 1):
        Batch.objects.create(
            job=many if number < polling.LOOKED_UP else one,
            number=number + 1,
            size=1,
            nonce=f"nonce-{number}",
            state=Batch.State.IN_PROGRESS,
            practice=True,
            provider_id=f"msgbatch_gone_{number}",
            body_sha256="",
            body_bytes=0,
            created_at=long_ago,
            deadline_at=long_ago,
            expires_at=long_ago + timedelta(days=1),
        )
    for _ in range(100):
        polling.watch()
        if not Batch.objects.filter(missing_since=None).exists():
            break
    for job in (many, one):
        job.refresh_from_db()
        assert "not to be found" in job.held
        assert job.events.filter(text__contains="Action needed").count() == 1


def test_results_that_are_not_there_yet_are_waited_for_and_then_held(
    alice: User,
    simulator: Simulator,
    drive: Drive,
    later: Later,
) -> None:
    simulator.faults(results=[{"kind": "status_404", "times": 1000}])
    job = confirmed(alice, ROWS)

    def failed(times: int) -> Callable[[Job], bool]:
        def look(job: Job) -> bool:
            Batch.objects.update(next_action_at=timezone.now())
            Job.objects.update(next_action_at=timezone.now())
            return job.batches.filter(collect_failures__gte=times).exists()

        return look

    job = drive(job, until=failed(result_proof.TRIES + 2))
    assert not job.held, "it may be too new"
    later(timedelta(minutes=30))
    job = drive(job, until=lambda job: failed(0)(job) and bool(job.held))
    assert "404" in job.held
    simulator.reset()
    submissions.resume_job(job, alice)
    assert drive(job).good_count == len(ROWS)
    assert simulator.truth()["posts"] == 1


# --- 24 hours -------------------------------------------------------------------------------------


def test_rows_that_were_not_reached_are_counted_as_such_and_cost_nothing(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    simulator.faults(expire_share=0.5)
    job = drive(confirmed(alice, ROWS))
    reached, expired = job.outcome_count(Outcome.GOOD), job.outcome_count(Outcome.EXPIRED)
    assert reached + expired == len(ROWS)
    assert expired > 0
    assert not job.rows.filter(outcome=Outcome.EXPIRED).exclude(cost_pico=0).exists()


def test_rows_that_were_not_reached_can_be_sent_again_once(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    simulator.faults(expire_share=0.5)
    job = drive(confirmed(alice, ROWS))
    expired = job.outcome_count(Outcome.EXPIRED)
    answered = dict(job.rows.filter(outcome=Outcome.GOOD).values_list("number", "batch__nonce"))
    simulator.reset()
    again = RetryChoice(selection.FOR_NOW)
    assert not retries.confirm_retry(job, again, "another", alice), "not what was shown"
    planned = rounds.find_plan(job, again)
    assert planned is not None and planned.rows == expired
    assert retries.confirm_retry(job, again, planned.key, alice)
    assert not retries.confirm_retry(job, again, planned.key, alice), "a second click sends nothing"
    job = drive(job)
    assert job.good_count == len(ROWS)
    assert simulator.truth()["accepted_rows"] == len(ROWS) + expired
    times = simulator.accepted()
    for row in job.rows.all():
        assert times[f"{row.number:07d}"] == (1 if row.number in answered else 2)
    assert all(answered[number] for number in answered)
    assert not send_again(job, alice), "there is nothing to send again"
    assert [line[:2] for line in joined(job)[1:]] == ROWS


def test_the_price_of_sending_some_rows_again_lies_between_their_shares(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    simulator.faults(expire_share=1)
    job = drive(confirmed(alice, [["a", "x" * 10], ["b", "x" * 990]]))
    whole = estimates.current(job)
    part = estimates.estimate_part(job, job.rows.filter(number=2))
    assert whole and part
    assert part.rows == 1
    assert whole.most / 2 < part.most < whole.most
    assert part.low == whole.low / 2
    everything = estimates.estimate_part(job, job.rows.all())
    assert everything and (everything.low, everything.most) == (whole.low, whole.most)


# --- 29 days --------------------------------------------------------------------------------------


@pytest.fixture
def not_fetched(alice: User, make_job: Callable[..., Job]) -> Batch:
    """A batch that was made at noon, ended an hour later, and whose results were never fetched."""
    job = make_job(alice, state=Job.State.WORKING, rows=[("a", "b")])
    noon = datetime.fromisoformat("2026-03-01T12:00Z")
    return Batch.objects.create(
        job=job,
        number=1,
        size=1,
        nonce="abc123",
        state=Batch.State.ENDED,
        provider_id="msgbatch_1",
        body_sha256="",
        body_bytes=0,
        created_at=noon,
        ended_at=noon + timedelta(hours=1),
        expires_at=noon + timedelta(hours=24),
    )


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (Batch.State.ENDED, ["2h", "25h", "7d", "20d", "27d"]),
        # The key is gone, say: nobody can see that it has ended, but by now it must have.
        (Batch.State.IN_PROGRESS, ["25h", "48h", "7d", "20d", "27d"]),
        (Batch.State.COLLECTED, []),
    ],
)
def test_answers_that_are_not_fetched_are_warned_of_five_times(
    not_fetched: Batch, monkeypatch: pytest.MonkeyPatch, state: str, expected: list[str]
) -> None:
    Batch.objects.update(
        state=state, ended_at=not_fetched.ended_at if state == Batch.State.ENDED else None
    )
    noon = not_fetched.created_at
    assert noon is not None
    warned = []
    due = (2, 25, 48, 7 * 24, 20 * 24, 27 * 24)
    around = {hours + beside for hours in due for beside in (-1, 0, 1)}
    for hours in sorted(around.union(range(12, 29 * 24, 60))):
        monkeypatch.setattr(clock, "now", lambda now=noon + timedelta(hours=hours): now)
        for _ in range(2):
            before = not_fetched.job.events.count()
            polling.warn()
            if not_fetched.job.events.count() > before:
                warned.append(f"{hours // 24}d" if hours >= 72 else f"{hours}h")
    assert warned == expected
    for event in not_fetched.job.events.all():
        assert "deletes them on 30 March 2026" in event.text


def test_answers_that_were_deleted_before_they_were_fetched_are_lost_and_said_to_be(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    simulator.faults(stuck=True)
    job = confirmed(alice, ROWS)
    drive(job, until=lambda job: job.state == Job.State.WORKING)
    simulator.faults(stuck=False, clock_ahead_seconds=30 * 24 * 3600)
    job = drive(job, until=lambda job: job.batches.filter(doubts=1).exists())
    assert job.batches.get().state == Batch.State.ENDED, "one look is not enough"
    job = drive(job, until=over_without_pauses)
    assert job.state == Job.State.FINISHED
    assert job.tally.causes == [(Outcome.ERRORED, "lost", len(ROWS))]
    assert job.batches.get().state == Batch.State.LOST
    row = job.rows.first()
    assert row is not None
    assert "deleted these answers on" in row.message
    assert job.events.filter(text__contains="is lost").exists()
    assert simulator.truth()["posts"] == 1, "what is lost is not sent again by itself"


def test_a_suspension_while_a_batch_is_sent_ends_the_sending(
    alice: User, simulator: Simulator, drive: Drive, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that was suspended in the middle of a body does not go on with it afterwards:
    somebody else may have sent the batch by then."""
    settings.RECONCILE_GRACE_SECONDS = 0.5
    settings.SUBMIT_DEADLINE_SECONDS = 2
    job = confirmed(alice, ROWS)
    read = client._Body.read

    def suspended(body: client._Body, size: int = -1) -> bytes:
        body._time = clock.Countdown(-3600)
        return read(body, size)

    with monkeypatch.context() as patch:
        patch.setattr(client._Body, "read", suspended)
        drive(job, until=lambda job: job.batches.filter(state=Batch.State.UNKNOWN).exists())
    assert simulator.truth()["accepted_rows"] == 0
    assert drive(job).good_count == len(ROWS)
    assert simulator.truth()["accepted_rows"] == len(ROWS)
