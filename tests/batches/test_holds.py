"""What keeps all jobs from sending is said on each, and ends by itself or with one button."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from jobs.actions import submissions
from jobs.batches import holds
from jobs.models import Batch, Heartbeat, Job, Sending, SiteState
from jobs.provider import errors
from jobs.worker import due_times, sweep, tally

from ..conftest import Simulator
from ..driven_jobs import Drive, confirmed
from .test_submission import ROWS, assert_sent_once

REASONS = [
    ("reject_400_spend", "limit"),
    ("reject_401", "key"),
    ("reject_402", "Your credit or spending limit"),
    ("reject_403", "key can’t do this"),
]


def paused(times: int) -> Callable[[Job], bool]:
    return lambda _job: Sending.get().pauses_in_a_row == times


def test_a_refused_key_pauses_sending_for_every_job_until_a_button_is_pressed(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    """For each reason why it is refused, one after the other."""
    other = confirmed(alice, [["other", "x"]])
    tally.count_up(other)  # else the next sweep takes a step of it, whenever it is due
    Job.objects.filter(pk=other.pk).update(next_action_at=timezone.now() + timedelta(minutes=4))
    job = confirmed(alice, ROWS)
    for pauses, (kind, word) in enumerate(REASONS, start=1):
        simulator.faults(create=[{"kind": kind}])
        assert submissions.resume_sending(job, alice) == (pauses > 1)
        job = drive(job, until=paused(pauses))
        assert word in SiteState().why_not_sending, kind
        for affected in (job, other):
            said = affected.events.filter(text__contains="Sending is paused")
            assert said.count() == pauses, kind
        assert not job.held
        for _ in range(3):
            Job.objects.update(next_action_at=timezone.now())
            sweep.sweep()
        assert simulator.truth()["posts"] == pauses, kind
    assert submissions.resume_sending(job, alice)
    assert_goes_on(job, other, drive)


def assert_goes_on(job: Job, other: Job, drive: Drive) -> None:
    assert drive(job).good_count == len(ROWS)
    assert drive(other).good_count == 1
    assert not Sending.get().pause
    for affected in (job, other):
        assert affected.events.filter(text="Sending has resumed.").exists() or affected == other
    assert not submissions.resume_sending(job, job.owner), "nothing is paused any more"


def test_a_pause_ends_by_itself_when_it_is_mended(
    alice: User, simulator: Simulator, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holds, "FIRST_PAUSE", timedelta(seconds=0.2))
    monkeypatch.setattr(due_times, "SAFETY", timedelta(seconds=0.2))
    simulator.faults(create=[{"kind": "reject_402", "times": 3}])
    job = drive(confirmed(alice, ROWS))
    assert simulator.truth()["posts"] == 4
    assert_sent_once(simulator, job)


def test_each_try_during_a_pause_waits_longer_and_only_one_job_tries(
    alice: User, make_job: Callable[..., Job]
) -> None:
    refused = errors.Refused(401, "authentication_error", "invalid x-api-key", None)
    waits = [holds.pause(refused) for _ in range(7)]
    assert waits[:3] == [timedelta(minutes=1), timedelta(minutes=2), timedelta(minutes=4)]
    assert waits[-1] == timedelta(minutes=15)
    first, second = (make_job(alice, state=Job.State.SUBMITTING, practice=True) for _ in range(2))
    assert holds.wait_before_sending(first) > timedelta(minutes=14)
    Sending.objects.update(send_after=timezone.now())
    assert holds.wait_before_sending(first) <= timedelta()
    assert holds.wait_before_sending(second) > timedelta()


def test_a_key_that_cannot_read_is_said_and_tried_on(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    simulator.faults(stuck=True)
    job = confirmed(alice, ROWS)
    drive(job, until=lambda job: job.state == Job.State.WORKING)
    simulator.faults(list=[{"kind": "status", "status": 401, "times": 3}])
    drive(job, until=lambda _job: "key" in Heartbeat.get().provider_trouble)
    simulator.faults(stuck=False)
    job = drive(job)
    assert job.good_count == len(ROWS)
    assert not Heartbeat.get().provider_trouble


# --- Room at the provider -------------------------------------------------------------------------


def test_a_job_larger_than_the_providers_queue_is_fed_in_as_there_is_room(
    alice: User, simulator: Simulator, drive: Drive, settings: Any
) -> None:
    settings.BATCH_MAX_REQUESTS = 40
    simulator.faults(queue_limit=90, queue_retry_after=1, stuck=True)
    rows = [[f"n{n}", "x"] for n in range(120)]
    job = confirmed(alice, rows)
    drive(job, until=lambda job: Sending.get().send_after > timezone.now())
    assert simulator.truth()["accepted_rows"] <= 90, "there is no room for more"
    simulator.faults(stuck=False)
    job = drive(job)
    assert job.good_count == 120
    assert simulator.truth()["accepted_rows"] == 120
    assert simulator.truth()["posts"] > job.batches.count(), "it was full at least once"


def test_after_the_provider_was_full_the_job_with_less_there_goes_first(
    alice: User, make_job: Callable[..., Job]
) -> None:
    large, small = (make_job(alice, state=Job.State.SUBMITTING, practice=True) for _ in range(2))
    for number, size in enumerate((50, 49), start=1):
        Batch.objects.create(
            job=large,
            number=number,
            size=size,
            nonce=f"n{number}",
            state=Batch.State.IN_PROGRESS,
            provider_id=f"msgbatch_{number}",
            body_sha256="",
            body_bytes=1,
        )
    now = timezone.now()
    full = {"crowded_at": now - timedelta(seconds=1)}
    Sending.objects.update(send_after=now, **full)
    assert holds.wait_before_sending(small) <= timedelta()
    assert holds.wait_before_sending(large) > timedelta()
    # A job that cannot send now keeps nobody waiting, and neither does one that does not.
    Job.objects.filter(pk=small.pk).update(held="Look at me")
    assert holds.wait_before_sending(large) <= timedelta()
    Job.objects.filter(pk=small.pk).update(held="")
    Sending.objects.update(send_after=now - holds.FIRST_GO)
    assert holds.wait_before_sending(large) <= timedelta()


def test_room_at_the_provider_goes_to_the_job_that_has_less_there(
    alice: User,
    simulator: Simulator,
    drive: Drive,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second job is not kept waiting until the first one has been sent."""
    settings.BATCH_MAX_REQUESTS = 20
    monkeypatch.setattr(holds, "FIRST_GO", timedelta(minutes=1))
    simulator.faults(stuck=True, queue_limit=30, queue_retry_after=1)
    first = confirmed(alice, [[f"a{n}", "x"] for n in range(60)])
    drive(first, until=lambda _job: Sending.get().crowded_at is not None)
    second = confirmed(alice, [[f"b{n}", "x"] for n in range(40)])
    simulator.faults(queue_limit=50)  # room for one more batch
    drive(second, until=lambda job: job.batches.exclude(provider_id=None).exists())
    assert first.batches.exclude(provider_id=None).count() == 1
    simulator.reset()
    assert drive(second).good_count == 40
    assert drive(first).good_count == 60
