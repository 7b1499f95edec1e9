"""While a batch goes out, what has ended is collected. Whatever becomes of that, the answer to the
one POST is stored as soon as it is there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User

from jobs.batches import collection, journal, leases, polling, slots
from jobs.batches.leases import Lease, LeaseLost
from jobs.models import Batch, Job, clock
from jobs.provider import client, errors
from jobs.provider.replies import BatchInfo
from jobs.worker import sent_jobs

from ..conftest import Simulator
from ..driven_jobs import Drive, confirmed
from ..running import SECONDS, wait_for

ROWS = [[f"n{n}", "x"] for n in range(30)]
Collect = Callable[[Batch, Lease], Any]


class Site:
    """A job of three batches, of which the first has ended, and the worker that has it."""

    def __init__(self, owner: User) -> None:
        self.job = confirmed(owner, ROWS)
        lease = leases.claim(self.job.pk)
        assert lease
        self.lease = lease
        while not Batch.objects.with_provider():
            self.take_step()
        polling.watch()
        assert self.states() == ["ended"]

    def take_step(self) -> None:
        sent_jobs.step_of_sent(Job.objects.get(pk=self.job.pk), self.lease, sends=True)

    def send_second(self) -> None:
        while not Batch.objects.filter(number=2, attempts=1).exists():
            self.take_step()

    def states(self) -> list[str]:
        return list(Batch.objects.order_by("number").values_list("state", flat=True))

    def journaled(self) -> str:
        """What the journal says last of the second batch."""
        nonce = Batch.objects.get(number=2).nonce
        entries = [entry for _, entry in journal.entries() if entry and entry.nonce == nonce]
        return str(getattr(entries[-1], "state", "intent"))


def renewed(lease: Lease) -> bool:
    lease.renew()
    return True


@pytest.fixture
def site(alice: User, simulator: Simulator, settings: Any) -> Site:
    settings.BATCH_MAX_REQUESTS = 12
    return Site(alice)


def while_it_goes_out(
    monkeypatch: pytest.MonkeyPatch, collect: Callable[[Collect, threading.Event], Collect]
) -> None:
    """The next POST is accepted, and its answer comes once `collect` sets an event. `collect` gets
    the product's own and is called in its place."""
    may_end = threading.Event()
    create_batch = client.create_batch

    def create(*args: Any) -> BatchInfo:
        info = create_batch(*args)
        assert may_end.wait(SECONDS), "nothing else was done while it went out"
        return info

    monkeypatch.setattr(client, "create_batch", create)
    monkeypatch.setattr(collection, "collect", collect(collection.collect, may_end))


def test_what_has_ended_is_collected_while_a_batch_goes_out(
    site: Site, simulator: Simulator, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []

    def collect(original: Collect, may_end: threading.Event) -> Collect:
        def first(batch: Batch, lease: Lease) -> None:
            original(batch, lease)
            seen.append(site.states())
            may_end.set()

        return first

    with monkeypatch.context() as patch:
        while_it_goes_out(patch, collect)
        site.send_second()
    assert seen == [["collected", "submitting"]]
    assert site.states() == ["collected", "in_progress"]
    site.lease.release(clock.now())
    assert drive(site.job).good_count == len(ROWS)
    assert set(simulator.accepted().values()) == {1}


def test_its_answer_is_stored_although_collecting_goes_on(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as over a slow line, for hours. What the database does not know is in doubt."""
    seen: list[tuple[str, str]] = []

    def collect(original: Collect, may_end: threading.Event) -> Collect:
        def slowly(batch: Batch, lease: Lease) -> None:
            lease.renew()
            assert site.states() == ["ended", "submitting"]
            may_end.set()
            wait_for(lambda: renewed(lease) and site.states() != ["ended", "submitting"], "it")
            seen.append((site.states()[1], site.journaled()))
            original(batch, lease)

        return slowly

    while_it_goes_out(monkeypatch, collect)
    site.send_second()
    assert seen == [("in_progress", "in_progress")]
    assert site.states() == ["collected", "in_progress"]


@pytest.mark.parametrize(
    "error", [LeaseLost(), errors.Unclear("no answer"), OSError("the disk is full")], ids=repr
)
def test_its_answer_is_stored_although_collecting_fails(
    site: Site, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def collect(_original: Collect, may_end: threading.Event) -> Collect:
        def fail(_batch: Batch, _lease: Lease) -> None:
            may_end.set()
            raise error

        return fail

    while_it_goes_out(monkeypatch, collect)
    if isinstance(error, errors.ProviderError):  # of the first batch, not of the second
        site.send_second()
    else:
        with pytest.raises(type(error)):
            site.send_second()
    assert site.states() == ["ended", "in_progress"]
    assert site.journaled() == "in_progress"
    assert site.lease.look_after is None


def test_an_answer_that_the_journal_does_not_take_is_not_stored_twice(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored: list[str] = []

    def collect(_original: Collect, may_end: threading.Event) -> Collect:
        def go_on(_batch: Batch, lease: Lease) -> None:
            may_end.set()
            wait_for(lambda: renewed(lease) and stored == ["intent", "outcome"], "the answer")
            lease.renew()

        return go_on

    def fail(kind: str, **_facts: object) -> None:
        stored.append(kind)
        if kind == "outcome":
            raise OSError("the disk is full")

    while_it_goes_out(monkeypatch, collect)
    monkeypatch.setattr(journal, "write", fail)
    with pytest.raises(OSError, match="disk is full"):
        site.send_second()
    assert stored == ["intent", "outcome"]
    assert site.states() == ["ended", "in_progress"]


def test_without_a_slot_for_results_a_batch_goes_out_alone(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(slots._sizes, slots.FETCHING, 0)
    site.send_second()
    assert site.states() == ["ended", "in_progress"]
