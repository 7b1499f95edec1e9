"""A database from a backup finds out from the journal which tries of a batch were given up since:
one that the provider accepted all the same is canceled, or its cost is counted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User

from jobs.batches import acceptance_windows, journal, recovery
from jobs.batches.journaled_batches import JournaledBatch
from jobs.models import Batch, Job, LateBatch, SubmissionEvent, clock
from jobs.spending import ledger
from jobs.worker import advance, due_times

from ..conftest import Simulator
from ..driven_jobs import Drive, draft
from .test_late import HIDDEN, has_ended, is_canceled
from .test_recovery import (
    ROWS,
    a_backup_that_comes_back,
    assert_nothing_is_sent,
    confirm,
    with_a_key,
)

__all__ = ["with_a_key"]  # a fixture of all tests here
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def one_batch(with_a_key: None, settings: Any) -> None:
    settings.BATCH_MAX_REQUESTS = 100


def tried_twice(job: Job) -> bool:
    return job.batches.filter(attempts=2).exclude(provider_id=None).exists()


# --- With the whole site --------------------------------------------------------------------------


def test_what_a_try_cost_that_was_given_up_after_the_backup_is_counted(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    simulator.faults(create=[{"kind": "drop_after_accept"}], list_hide_seconds=HIDDEN)
    job = draft(alice, ROWS)
    confirm(job, alice)
    with a_backup_that_comes_back():
        drive(job, until=tried_twice)
    assert_nothing_is_sent(simulator, drive)
    simulator.faults(list_hide_seconds=0)
    recovery.restore()
    batch = Batch.objects.get()
    assert batch.late_until
    assert batch.late_until > clock.now() + timedelta(hours=47)
    assert (batch.given_up, ledger.possible_charges(job) > 0) == (1, True)
    job = drive(job, until=lambda job: has_ended(job) and job.state == Job.State.FINISHED)
    (found,) = LateBatch.objects.all()
    assert found.cost_pico == job.batches.get().cost_pico > 0
    assert Job.objects.get(pk=job.pk).spent_pico == 2 * found.cost_pico
    assert ledger.possible_charges(job) == 0
    assert (job.good_count, simulator.truth()["posts"]) == (len(ROWS), 2)


def test_a_try_that_still_runs_is_canceled(alice: User, simulator: Simulator, drive: Drive) -> None:
    lost = [{"kind": "drop_after_accept"}]
    simulator.faults(create=lost, list_hide_seconds=HIDDEN, stuck=True)
    job = draft(alice, ROWS)
    with a_backup_that_comes_back():
        confirm(job, alice)
        drive(job, until=tried_twice)
    recovery.restore()
    simulator.faults(list_hide_seconds=0)
    drive(job, until=is_canceled)
    simulator.faults(stuck=False)
    drive(job, until=has_ended)
    (first, second) = simulator.truth()["batches"]
    assert first["cancel_requested"] and not second["cancel_requested"]
    assert LateBatch.objects.get().provider_id == first["id"]
    assert Batch.objects.get().provider_id == second["id"]


def test_what_the_backup_knows_of_it_is_not_counted_twice(
    alice: User, simulator: Simulator, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first try had been given up when the backup was made."""
    simulator.faults(create=[{"kind": "drop_after_accept"}], list_hide_seconds=HIDDEN)
    job = draft(alice, ROWS)
    confirm(job, alice)
    with monkeypatch.context() as patch:
        patch.setattr(advance, "TURN", -due_times.SAFETY)  # one step a sweep
        drive(job, until=lambda job: job.batches.filter(state="planned", attempts=1).exists())
    with a_backup_that_comes_back():
        drive(job, until=tried_twice)
    recovery.restore()
    batch = Batch.objects.get()
    assert (batch.attempts, batch.given_up) == (2, 1)
    assert SubmissionEvent.objects.filter(kind="never_arrived").count() == 1


def test_what_was_watched_for_in_the_backup_is_watched_for_again(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    """The backup is from three days ago. What turned up in the time after it is forgotten."""
    simulator.faults(create=[{"kind": "drop_after_accept"}], list_hide_seconds=HIDDEN)
    job = draft(alice, ROWS)
    confirm(job, alice)
    drive(job, until=tried_twice)
    backup = clock.now() - timedelta(days=3)
    SubmissionEvent.objects.update(at=backup)
    Batch.objects.update(late_until=backup + timedelta(hours=47))
    simulator.faults(list_hide_seconds=0)
    drive(job)
    assert not LateBatch.objects.exists()
    other = draft(alice, [["more", "x"]])
    with a_backup_that_comes_back():
        confirm(other, alice)
        drive(other)
    recovery.restore()
    drive(job, until=has_ended)
    assert LateBatch.objects.get().batch.job == job


def test_what_turned_up_late_before_the_backup_does_not_become_the_batch(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    """Its cost counts already. The last try, which is in doubt, is looked for."""
    job = draft(alice, ROWS)
    confirm(job, alice)
    with a_backup_that_comes_back():
        drive(job, until=lambda job: job.batches.exclude(provider_id=None).exists())
        (made,) = simulator.truth()["batches"]
    now = clock.now()
    other = Batch.objects.create(
        job=job, number=9, size=1, nonce="other0", body_bytes=0, state=Batch.State.LOST
    )
    LateBatch.objects.create(
        batch=other, provider_id=made["id"], size=50, created_at=now, found_at=now, ended_at=now
    )
    recovery.restore()
    batch = Batch.objects.exclude(pk=other.pk).get()
    assert (batch.state, batch.provider_id) == (Batch.State.UNKNOWN, None)


# --- What the journal says ------------------------------------------------------------------------


def intent(attempt: int, begun: clock.Moment | None = None, **other: Any) -> journal.Intent:
    at = NOON + timedelta(hours=attempt)
    values: dict[str, Any] = {
        "at": at,
        "job": 1,
        "upload": "",
        "number": 1,
        "nonce": "abc123",
        "attempt": attempt,
        "rows": [(1, 2)],
        "size": 2,
        "bytes": 9,
        "sha256": "",
        "deadline": at + timedelta(minutes=10),
        "baseline": [],
        "baseline_at": None,
        "begun": begun,
    }
    return journal.Intent(**{**values, **other})


def outcome(attempt: int, state: str, provider_id: str | None = None) -> journal.Outcome:
    return journal.Outcome(1, "abc123", attempt, state, provider_id)


@pytest.mark.parametrize(
    ("entries", "provider_id", "in_doubt"),
    [
        ([intent(1), outcome(1, "in_progress", "a")], "a", []),
        ([intent(1), outcome(1, "unknown"), intent(2), outcome(2, "in_progress", "b")], "b", [1]),
        ([intent(1), intent(2), outcome(2, "in_progress", "b")], "b", [1]),
        ([intent(1), outcome(1, "planned"), intent(2), outcome(2, "in_progress", "b")], "b", []),
        ([intent(1), outcome(1, "blocked"), intent(2), outcome(2, "in_progress", "b")], "b", []),
        ([intent(1), outcome(1, "unknown"), intent(2), intent(3)], None, [1, 2]),
        ([intent(1), outcome(1, "unknown"), intent(2), outcome(2, "unknown")], None, [1]),
        ([intent(1), intent(2), outcome(2, "unknown"), outcome(1, "in_progress", "a")], "a", [2]),
        (
            [
                intent(1),
                outcome(1, "in_progress", "a"),
                intent(2),
                outcome(2, "in_progress", "b"),
            ],
            "b",
            [1],
        ),
        (
            [
                intent(1),
                outcome(1, "in_progress", "a"),
                intent(2),
                outcome(2, "in_progress", "b"),
            ],
            "a",
            [2],
        ),
        (
            [
                intent(1),
                outcome(1, "unknown"),
                outcome(1, "in_progress", "theirs"),
                outcome(1, "in_progress", "a"),
            ],
            "a",
            [],
        ),
    ],
    ids=[
        "accepted at once",
        "the first one was given up",
        "its sender died",
        "it was not sent",
        "it was refused",
        "the last one is looked for",
        "the last one is in doubt itself",
        "the first one was answered late",
        "both were answered",
        "both were answered, and the database has the first",
        "another one was taken for it",
    ],
)
def test_which_tries_may_be_charged_besides_the_batch(
    entries: list[Any], provider_id: str | None, in_doubt: list[int]
) -> None:
    batch = JournaledBatch("abc123", 1)
    for entry in entries:
        batch.add(entry)
    own = batch.attempt_of(provider_id)
    assert batch.attempts_in_doubt(own or batch.last.attempt) == in_doubt


def moment(there: datetime | None, here: datetime = NOON) -> clock.Moment:
    return clock.Moment(here, there, "", 0.0)


def test_a_try_was_accepted_by_its_deadline_or_before_the_next_one_began() -> None:
    """By the provider's clock where it is known; and as early as the baseline allows where an older
    version did not say when the try began."""
    there = NOON - timedelta(hours=2)
    batch = JournaledBatch("abc123", 1)
    batch.add(intent(1, moment(there, NOON + timedelta(hours=1))))
    batch.add(intent(2))
    batch.add(intent(3, moment(there + timedelta(hours=2), NOON + timedelta(hours=3))))
    batch.add(intent(4, moment(there + timedelta(hours=3), NOON + timedelta(hours=4))))
    windows = [batch.window_of(attempt) for attempt in (1, 2, 3, 4)]
    window = acceptance_windows.Window
    assert windows == [
        window(there, there + timedelta(minutes=10), by_provider=True),
        window(None, there + timedelta(hours=2), by_provider=True),
        window(
            there + timedelta(hours=2), there + timedelta(hours=2, minutes=10), by_provider=True
        ),
        window(
            there + timedelta(hours=3), there + timedelta(hours=3, minutes=10), by_provider=True
        ),
    ]


def test_a_try_whose_line_is_damaged_can_have_been_accepted_at_any_time(db: None) -> None:
    batch = JournaledBatch("abc123", 1)
    batch.add(intent(2))
    batch.add(outcome(1, "unknown"))
    assert batch.window_of(1).begin is None
    assert batch.window_of(1).end >= clock.now() - timedelta(minutes=1)
