"""One item of a loop that fails does not stop the others: not one job, one batch, one file, nor one
of the things that are done every minute."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from jobs.batches import (
    external,
    isolation,
    late,
    leases,
    polling,
    reconciliation,
    recovery,
    slots,
    stored_results,
    unknown_submissions,
)
from jobs.drafts import estimates, model_catalog
from jobs.models import (
    Batch,
    Heartbeat,
    Job,
    JobEvent,
    JournalState,
    LateBatch,
    clock,
    files,
    storage,
)
from jobs.provider import client, errors
from jobs.results import builder
from jobs.worker import alarms, finishing, housekeeping, presence, sweep, tasks

MakeJob = Callable[..., Job]


class Bug(Exception):
    """What nobody thought of."""


def failing(*_: Any, **__: Any) -> Any:
    raise Bug


def first_fails(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> list[Any]:
    """The first call of `module.name` fails. The first argument of every call."""
    real, calls = getattr(module, name), []

    def call(*args: Any, **kwargs: Any) -> Any:
        calls.append(args[0] if args else None)
        if len(calls) == 1:
            raise Bug
        return real(*args, **kwargs)

    monkeypatch.setattr(module, name, call)
    return calls


@pytest.mark.no_database
def test_only_a_lost_lease_ends_a_loop() -> None:
    done = []
    with pytest.raises(leases.LeaseLost):
        for error in (Bug(), OSError(), leases.LeaseLost(), Bug()):
            done.append(error)
            with isolation.isolated("an item"):
                raise error
    assert len(done) == 3


# --- The sweep ------------------------------------------------------------------------------------


def test_a_job_whose_step_cannot_begin_does_not_stop_the_others(
    make_job: MakeJob, alice: User
) -> None:
    jobs = [make_job(alice, Job.State.WORKING) for _ in range(3)]
    Job.objects.update(next_action_at=timezone.now())
    begun: list[int] = []

    def step(pk: int) -> None:
        begun.append(pk)
        if len(begun) == 1:
            raise Bug

    sweep.sweep(step=step, look=lambda _kind: None)
    assert sorted(begun) == [job.pk for job in jobs]


@pytest.mark.parametrize(
    ("module", "name"),
    [(leases, "free_leases_of_the_dead"), (sweep, "_schedule_stale_counts")],
    ids=["leases", "counts"],
)
def test_one_part_of_the_sweep_does_not_stop_the_others(
    make_job: MakeJob, alice: User, monkeypatch: pytest.MonkeyPatch, module: Any, name: str
) -> None:
    make_job(alice, Job.State.WORKING)
    Job.objects.update(next_action_at=timezone.now())
    JournalState.row().update(asked_at=timezone.now())
    Heartbeat.row().update(next_poll_at=timezone.now() - timedelta(minutes=1))
    for looker in (polling, late):
        monkeypatch.setattr(looker, "has_any", lambda: True)
    monkeypatch.setattr(module, name, failing)
    steps: list[int] = []
    looks: list[str] = []

    def look(kind: str) -> None:
        looks.append(kind)
        raise Bug

    sweep.sweep(step=steps.append, look=look)
    assert len(steps) == 1
    assert looks == [slots.WATCHING, slots.LATE, slots.ASKED]


def test_one_look_that_fails_does_not_stop_the_others(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed: list[bool] = []
    monkeypatch.setattr(recovery, "restore_if_asked", failing)
    monkeypatch.setattr(external, "list_if_asked", lambda: listed.append(True))
    sweep.take_look(slots.ASKED)
    assert listed == [True]


# --- Every minute, every hour ---------------------------------------------------------------------

EACH_MINUTE = [
    (housekeeping, "price_stale_drafts"),
    (polling, "warn"),
    (storage, "keep_ballast"),
    (unknown_submissions, "submissions_unknown"),
    (presence, "note_the_dead"),
    (alarms, "check"),
    (model_catalog, "refresh"),
]


@pytest.mark.parametrize("number", range(len(EACH_MINUTE)))
def test_one_thing_that_fails_every_minute_does_not_stop_the_others(
    db: None, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    done: list[str] = []
    for module, name in EACH_MINUTE:
        monkeypatch.setattr(module, name, lambda name=name: done.append(name))
    monkeypatch.setattr(*EACH_MINUTE[number], failing)
    tasks.do_each_minute.call_local()
    expected = [name for _module, name in EACH_MINUTE]
    assert done == [name for name in expected if name != EACH_MINUTE[number][1]]


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (builder, "remove_old_exports"),
        (stored_results, "check_some"),
        (files, "remove_old_strays"),
    ],
)
def test_one_part_of_tidying_up_does_not_stop_the_others(
    db: None, monkeypatch: pytest.MonkeyPatch, module: Any, name: str
) -> None:
    names = {"remove_old_exports", "check_some", "remove_old_strays"}
    done: set[str] = set()
    for other, its_name in (
        (builder, "remove_old_exports"),
        (stored_results, "check_some"),
        (files, "remove_old_strays"),
    ):
        monkeypatch.setattr(other, its_name, lambda *_, its_name=its_name: done.add(its_name))
    monkeypatch.setattr(module, name, failing)
    housekeeping.tidy_up()
    assert done == names - {name}


def test_a_draft_that_cannot_be_priced_does_not_stop_the_others(
    make_job: MakeJob, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        make_job(alice, Job.State.DRAFT)
    estimate = {"prices": estimates.price_list(), "most": "1"}
    Job.objects.update(estimate=estimate, plan_sha256="x", next_action_at=None)
    assert Job.objects.priced_drafts().count() == 3
    monkeypatch.setattr(estimates, "current", lambda _job: None)
    looked = first_fails(monkeypatch, estimates, "current")
    housekeeping.price_stale_drafts()
    assert len(looked) == 3
    assert Job.objects.exclude(next_action_at=None).count() == 2


def test_a_batch_that_cannot_be_warned_of_does_not_stop_the_others(
    make_job: MakeJob, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    long_ago = timezone.now() - timedelta(days=21)
    for number in range(3):
        make_batch(make_job(alice, Job.State.WORKING), number, created_at=long_ago)
    Batch.objects.update(state=Batch.State.ENDED, ended_at=long_ago)
    first_fails(monkeypatch, polling, "warnings_due")
    polling.warn()
    assert JobEvent.objects.filter(text__contains="Anthropic deletes them on").count() == 2


def make_batch(job: Job, which: int, **values: Any) -> Batch:
    nonce = f"nonce{which}"
    return Batch.objects.create(
        job=job,
        size=2,
        nonce=nonce,
        practice=True,
        provider_id=f"msgbatch_{which}",
        body_sha256="",
        body_bytes=0,
        **{"number": 1, "state": Batch.State.IN_PROGRESS, **values},
    )


def test_a_file_that_cannot_be_checked_does_not_stop_the_others(
    make_job: MakeJob, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        make_batch(make_job(alice, Job.State.FINISHED), number, state=Batch.State.COLLECTED)
    checked = first_fails(monkeypatch, stored_results, "require_whole")
    stored_results.check_some()
    assert len(checked) == 3


def test_a_file_that_cannot_be_read_any_more_is_damaged(
    make_job: MakeJob, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bad sector, say."""
    batch = make_batch(make_job(alice, Job.State.FINISHED), 1, state=Batch.State.COLLECTED)

    class Unreadable:
        def blocks(self) -> Any:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(stored_results, "open_results", lambda _batch: Unreadable())
    damaged = stored_results.check(batch)
    assert damaged is not None
    assert "cannot be read (Input/output error)" in str(damaged)
    assert Batch.objects.get().damaged_at


@pytest.mark.parametrize("kind", ["exports", "uploads"])
def test_a_file_that_cannot_be_removed_does_not_stop_the_others(
    db: None, monkeypatch: pytest.MonkeyPatch, settings: Any, kind: str
) -> None:
    folder = Path(settings.DATA_DIR, kind)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(3):
        path = folder / f"{number}-0123-all.csv"
        path.write_text("x")
        os.utime(path, (0, 0))
    real, calls = Path.unlink, []

    def unlink(path: Path, missing_ok: bool = False) -> None:
        calls.append(path)
        if len(calls) == 1:
            raise PermissionError(13, "Permission denied")
        real(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink)
    housekeeping.tidy_up()
    assert len(list(folder.glob("*.csv"))) == 1


# --- Late batches, and batches that are stopped ---------------------------------------------------


@pytest.fixture
def three_missed(make_job: MakeJob, alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "list_batches", lambda: iter([]))
    for number in range(3):
        job = make_job(alice, Job.State.WORKING)
        batch = make_batch(job, number, late_until=clock.now() + timedelta(hours=40))
        job.events.all().delete()
        batch.job.submissionevent_set.create(nonce=batch.nonce, kind="never_arrived")


def late_ones() -> list[LateBatch]:
    now = clock.now()
    return [
        LateBatch.objects.create(
            batch=batch, provider_id=f"late_{batch.pk}", size=2, created_at=now, found_at=now
        )
        for batch in Batch.objects.all()
    ]


def test_a_batch_that_cannot_be_looked_for_does_not_stop_the_others(
    three_missed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = first_fails(monkeypatch, reconciliation, "candidates")
    late.look()
    assert len(looked) == 3


def test_a_late_batch_that_cannot_be_followed_does_not_stop_the_others(
    three_missed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = late_ones()
    followed: list[LateBatch] = []
    monkeypatch.setattr(late, "follow", followed.append)
    calls = first_fails(monkeypatch, late, "follow")
    late.look()
    assert calls == found
    assert followed == found[1:]


def test_late_batches_are_canceled_although_the_list_cannot_be_read(
    three_missed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = late_ones()
    followed: list[LateBatch] = []

    def no_list() -> Any:
        raise errors.Unclear("503")

    monkeypatch.setattr(client, "list_batches", no_list)
    monkeypatch.setattr(late, "follow", followed.append)
    with pytest.raises(errors.Unclear):
        late.look()
    assert followed == found


@pytest.mark.parametrize("error", [Bug(), errors.Unclear("503")], ids=["bug", "no answer"])
def test_a_batch_that_cannot_be_stopped_does_not_stop_the_others(
    make_job: MakeJob, alice: User, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Each of them costs money as long as it runs."""
    job = make_job(alice, Job.State.CANCELING)
    for number in range(3):
        make_batch(job, number, number=number + 1)
    stopped: list[str] = []

    def cancel(provider_id: str) -> None:
        if provider_id == "msgbatch_0":
            raise error
        stopped.append(provider_id)

    monkeypatch.setattr(client, "cancel_batch", cancel)
    Job.objects.update(next_action_at=timezone.now())
    lease = leases.claim(job.pk)
    assert lease
    assert finishing.stop_batches(job, list(job.batches.all()), lease, can_wait=False)
    assert stopped == ["msgbatch_1", "msgbatch_2"]
    with pytest.raises(type(error)):
        finishing.stop_batches(job, list(job.batches.all()), lease, can_wait=False)
