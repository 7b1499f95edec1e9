"""A clock that is set forward or back changes neither how long a batch is looked for before it is
sent again, nor for how long anything waits.

Time is faked here, but not what it is told apart by: `Times` has this machine's clock, which leaps,
its uptime, which cannot, and the clock of the provider, which is the simulator's own.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from jobs.batches import absence
from jobs.models import Batch, Heartbeat, Job, Sending, clock
from jobs.models.clock import Moment, time_between
from jobs.worker import sweep

from ..conftest import Simulator
from ..driven_jobs import Drive, confirmed
from .test_submission import ROWS, assert_sent_once

WAIT = 600 + 600  # seconds: the defaults
STEP = 60.0
# Far from the end of the wait. What is sent too early is noticed all the same, and as too early.
LONG_STEP = 5 * STEP
FOR_EVER = 1e9
HOUR = 3600.0


class Times:
    """Now by each clock; `let_pass` moves all of them, `leap` only this machine's."""

    def __init__(self, simulator: Simulator, patch: pytest.MonkeyPatch) -> None:
        self._ahead = 0.0  # of the machine's clock
        self._there = 0.0  # of the provider's
        self._jumped = 0.0  # of all that has passed, what a test did not wait for
        self._simulator, self._patch, self._up = simulator, patch, clock.uptime
        self._begun = self._up()
        real = clock.now
        patch.setattr(clock, "now", lambda: real() + timedelta(seconds=self._jumped + self._ahead))
        patch.setattr(clock, "uptime", lambda: self._up() + self._jumped)

    @property
    def passed(self) -> float:
        """Seconds since `begin`, really."""
        return self._up() + self._jumped - self._begun

    def begin(self) -> None:
        self._begun = self._up() + self._jumped

    def let_pass(self, seconds: float) -> None:
        self._jumped += seconds
        self._tell()

    def leap(self, seconds: float) -> None:
        self._ahead += seconds

    def leap_there(self, seconds: float) -> None:
        self._there += seconds
        self._tell()

    def restart(self) -> None:
        """The machine is started again: its uptime counts from 0, and no process knows anything."""
        self._patch.setattr(clock, "BOOT", f"boot after {self._jumped}")
        self._patch.setattr(clock, "_provider_date", None)

    def _tell(self) -> None:
        self._simulator.faults(clock_ahead_seconds=self._jumped + self._there)


@pytest.fixture
def times(simulator: Simulator, monkeypatch: pytest.MonkeyPatch, settings: Any) -> Times:
    settings.SUBMIT_DEADLINE_SECONDS = settings.RECONCILE_GRACE_SECONDS = 600
    return Times(simulator, monkeypatch)


@pytest.fixture
def doubtful(alice: User, simulator: Simulator, drive: Drive, times: Times) -> Callable[..., Job]:
    """A job whose only batch was sent just now, and the answer to it was lost."""

    def make(kind: str) -> Job:
        job = confirmed(alice, ROWS)
        simulator.faults(create=[{"kind": kind}], list_hide_seconds=FOR_EVER)
        drive(job, until=is_unknown)
        times.begin()
        return job

    return make


def is_unknown(job: Job) -> bool:
    return job.batches.filter(state=Batch.State.UNKNOWN).exists()


def posts(simulator: Simulator) -> int:
    return int(simulator.truth()["posts"])


def step(times: Times) -> float:
    """The seconds to the next look: the last minutes of a wait are looked at one by one."""
    if times.passed >= WAIT:
        return 2 * STEP
    return LONG_STEP if times.passed + LONG_STEP < WAIT - 2 * STEP else STEP


def look_on(times: Times, until: Callable[[], bool], most: float, short: bool = True) -> float:
    """The worker goes on, step by step, for at most so many seconds; how many it were. Not `short`:
    in long steps until the wait is nearly over."""
    begun = times.passed
    while not until():
        assert times.passed - begun < most, f"nothing has happened for {most} seconds"
        times.let_pass(STEP if short else step(times))
        sweep.sweep()
    return times.passed


LEAPS = {"2 h on": 2 * HOUR, "a month on": 30 * 24 * HOUR, "45 min back": -0.75 * HOUR}


# Each leap soon after it was sent and shortly before the end of the wait, with a restart in one of
# these cases: of any two of the three, all combinations.
@pytest.mark.parametrize(
    ("leap", "after", "restarted"),
    [
        ("2 h on", 1.0, False),
        ("2 h on", 1140.0, True),
        ("a month on", 1.0, True),
        ("a month on", 1140.0, False),
        ("45 min back", 1.0, False),
        ("45 min back", 1140.0, True),
    ],
)
def test_a_leap_neither_shortens_nor_stretches_the_wait_before_sending_again(
    doubtful: Callable[..., Job],
    simulator: Simulator,
    times: Times,
    leap: str,
    after: float,
    restarted: bool,
) -> None:
    """However long the provider takes to list the batch, within the wait: it is paid once."""
    job = doubtful("drop_before")
    while times.passed + STEP < after:
        times.let_pass(step(times))
        sweep.sweep()
    times.let_pass(1.0)
    times.leap(LEAPS[leap])
    if restarted:
        times.restart()
    sweep.sweep()
    waited = look_on(times, lambda: posts(simulator) > 1, WAIT + 300, short=False)
    assert waited >= WAIT - 1  # a Date has full seconds only
    looks = job.batches.get().empty_looks
    assert looks == 0, "a new attempt begins with no look"


@pytest.mark.parametrize("leap", [*LEAPS])
def test_a_batch_that_is_listed_at_the_end_of_the_wait_is_paid_once_whatever_the_clock_does(
    doubtful: Callable[..., Job], simulator: Simulator, times: Times, leap: str
) -> None:
    job = doubtful("drop_after_accept")
    times.let_pass(1.0)
    times.leap(LEAPS[leap])
    while times.passed < WAIT - 2 * STEP:
        sweep.sweep()
        times.let_pass(step(times))
    simulator.faults(list_hide_seconds=0)
    look_on(times, lambda: Job.objects.get(pk=job.pk).state == Job.State.FINISHED, 300)
    assert posts(simulator) == 1
    assert_sent_once(simulator, Job.objects.get(pk=job.pk))


@pytest.mark.parametrize("seed", range(4))
def test_no_row_of_leaps_shortens_the_wait(
    doubtful: Callable[..., Job], simulator: Simulator, times: Times, seed: int
) -> None:
    """Any clock leaps, at any time; as long as not both do together, restarts matter no more."""
    chance = random.Random(seed)
    job = doubtful("drop_before")
    restarts = seed % 2 == 1
    for _ in range(8):
        times.let_pass(chance.uniform(1, 60))
        if not restarts:
            times.leap_there(chance.choice([-HOUR, HOUR, 0]))
        elif chance.random() < 0.5:
            times.restart()
        times.leap(chance.choice([-0.75, 0.1, 2, 24, -24]) * HOUR)
        sweep.sweep()
        batch = job.batches.get()
        assert absence.of(batch).seconds <= times.passed + 2
    waited = look_on(times, lambda: posts(simulator) > 1, WAIT + 900, short=False)
    assert waited >= WAIT - 1


def test_looks_in_a_row_count_once(
    doubtful: Callable[..., Job], simulator: Simulator, times: Times
) -> None:
    """A person presses “Check again” many times, or a leap makes it due: that is one look."""
    job = doubtful("drop_before")
    times.let_pass(WAIT + 1)
    for _ in range(5):
        job.batches.update(next_action_at=clock.now())
        Job.objects.update(next_action_at=clock.now())
        sweep.sweep()
        times.let_pass(1)
    assert (job.batches.get().empty_looks, posts(simulator)) == (1, 1)
    look_on(times, lambda: posts(simulator) > 1, 4 * 60)


# --- What waits, when the clock is set back -------------------------------------------------------

WAITING: dict[str, tuple[dict[str, Any], Callable[[Job], bool]]] = {
    "before it is sent": ({}, lambda job: job.state == Job.State.SUBMITTING),
    "the provider has no room": (
        {"create": [{"kind": "reject_429", "retry_after": 40}]},
        lambda job: Sending.get().crowded_at is not None,
    ),
    "the key is refused": (
        {"create": [{"kind": "reject_401"}]},
        lambda job: bool(Sending.get().pause),
    ),
    "nothing can be listed": (
        {"list": [{"kind": "status", "status": 500, "times": 3}]},
        lambda job: job.failures_in_a_row > 1,
    ),
    "the results are fetched anew": (
        {"results": [{"kind": "missing_line", "times": 2}]},
        lambda job: job.batches.filter(collect_failures__gt=0).exists(),
    ),
}


@pytest.mark.parametrize("minutes", [45, 4])
@pytest.mark.parametrize("stage", [*WAITING])
def test_nothing_waits_for_a_clock_that_was_set_back(
    alice: User, simulator: Simulator, times: Times, stage: str, minutes: int
) -> None:
    sweep.sweep()  # a worker is there, and knows both clocks
    job = confirmed(alice, ROWS)
    faults, is_reached = WAITING[stage]
    simulator.faults(**faults)
    look_on(times, lambda: is_reached(Job.objects.get(pk=job.pk)), 300)
    times.leap(-60.0 * minutes)
    look_on(times, lambda: Job.objects.get(pk=job.pk).state == Job.State.FINISHED, 200)
    assert_sent_once(simulator, Job.objects.get(pk=job.pk))


def test_a_lease_of_a_worker_that_died_ends_when_the_clock_was_set_back(
    alice: User, simulator: Simulator, times: Times
) -> None:
    job = confirmed(alice, ROWS)
    until = clock.now() + timedelta(minutes=1)
    Job.objects.update(lease_until=until, lease_owner="elsewhere|1|x", next_action_at=until)
    times.leap(-0.75 * HOUR)
    look_on(times, lambda: Job.objects.get(pk=job.pk).state == Job.State.FINISHED, 120)


def test_a_batch_is_watched_for_two_days_however_far_the_clock_leaps(
    doubtful: Callable[..., Job], simulator: Simulator, times: Times
) -> None:
    """What turns up late is canceled, so that it costs nothing: the watch may not end early."""
    job = doubtful("drop_after_accept")
    look_on(times, lambda: posts(simulator) > 1, WAIT + 300, short=False)
    times.leap(30 * 24 * HOUR)
    simulator.faults(list_hide_seconds=0)
    look_on(
        times,
        lambda: job.events.filter(text__contains="turned up at Anthropic after all").exists(),
        300,
    )


# --- The time between two moments -----------------------------------------------------------------


def test_time_between_moments_is_never_more_than_has_passed() -> None:
    now = timezone.now()
    hour, minute = timedelta(hours=1), timedelta(minutes=1)
    first = Moment(now, now, "one", 10.0)
    cases = [
        # The same boot: uptime alone counts.
        (Moment(now + 2 * hour, now + 2 * hour, "one", 70.0), minute),
        (Moment(now - hour, None, "one", 70.0), minute),
        # Another one: the clocks of both sides, and the shorter time.
        (Moment(now + 2 * hour, now + minute, "two", 1.0), minute),
        (Moment(now + minute, now + 2 * hour, "two", 1.0), minute),
        (Moment(now - hour, now + minute, "two", 1.0), minute),
        (Moment(now + minute, now - hour, "two", 1.0), timedelta()),
        # The provider's is not known: little is sure.
        (Moment(now + 2 * hour, None, "two", 1.0), clock.UNPROVEN),
        (Moment(now - hour, None, "two", 1.0), timedelta()),
    ]
    for later, expected in cases:
        assert time_between(first, later) == expected


# --- Sweeps at once -------------------------------------------------------------------------------


def leaps_said(caplog: pytest.LogCaptureFixture) -> int:
    return caplog.text.count("the clock was set back")


def test_a_sweep_that_waits_while_others_go_on_reports_no_leap(
    db: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Two workers, and one of them waits for the database in the middle of its sweep."""
    Heartbeat.objects.update(tick_at=timezone.now() - timedelta(minutes=1))
    later = clock.now() + 4 * clock.LEAP
    now = clock.now

    def others_go_on() -> datetime:
        """What was read before this is old when it is used."""
        read = now()
        Heartbeat.objects.update(tick_at=later, next_poll_at=later)
        return read

    with monkeypatch.context() as patch:
        patch.setattr(clock, "now", others_go_on)
        sweep._note_tick()
    site = Heartbeat.get()
    assert (site.tick_at, site.next_poll_at) == (later, later)
    assert not leaps_said(caplog)


def test_of_sweeps_at_once_only_one_reports_a_leap(
    db: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    Heartbeat.objects.update(tick_at=timezone.now() + timedelta(hours=1))
    now = clock.now
    nested: list[datetime] = []

    def at_once() -> datetime:
        if not nested:
            nested.append(now())
            nested.append(sweep._note_tick())
        return now()

    monkeypatch.setattr(clock, "now", at_once)
    sweep._note_tick()
    assert leaps_said(caplog) == 1
    assert Heartbeat.get().tick_at == nested[1]
