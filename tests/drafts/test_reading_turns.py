"""Nobody's files keep another person waiting: whose file is read when."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.db import connection
from django.test import Client

from jobs.actions import uploads
from jobs.batches import leases
from jobs.drafts import reading_turns
from jobs.models import Job, WorkerProcess, clock, processes
from jobs.worker import advance

CSV = b"name,text\nAda,likes it\n"


@pytest.fixture
def waiting(db: None) -> Callable[..., Job]:
    def make(owner: User, *, large: bool = True) -> Job:
        job = uploads.create_job(owner, ContentFile(CSV, "reviews.csv"))
        if large:
            Job.objects.filter(pk=job.pk).update(upload_bytes=reading_turns.SMALL_BYTES + 1)
            job.refresh_from_db()
        return job

    return make


def begin(job: Job) -> bool:
    """As a worker does."""
    lease = leases.claim(job.pk)
    assert lease is not None
    begun = reading_turns.begin_reading(job)
    if not begun:
        lease.release(clock.now())
    return begun


def end(job: Job) -> None:
    reading_turns.end_reading(job, Job.objects.values_list("lease_owner", flat=True).get(pk=job.pk))
    Job.objects.filter(pk=job.pk).update(state=Job.State.DRAFT, lease_until=None, lease_owner="")


def test_one_file_of_a_person_is_read_at_a_time(
    alice: User, bob: User, waiting: Callable[..., Job], client_alice: Client
) -> None:
    first, second, others = waiting(alice), waiting(alice, large=False), waiting(bob)
    assert begin(first) and not begin(second) and begin(others)
    page = client_alice.get(f"/jobs/{second.pk}/").content.decode()
    assert "Your file is next in line" in page
    assert "next in line" not in client_alice.get(f"/jobs/{first.pk}/").content.decode()
    end(first)
    assert begin(second)


def test_small_files_are_read_beside_any_number_of_large_ones(
    waiting: Callable[..., Job], alice: User, django_user_model: type[User]
) -> None:
    people = [
        django_user_model.objects.create_user(f"p{n}") for n in range(reading_turns.LARGE_AT_ONCE)
    ]
    assert all(begin(waiting(person)) for person in people)
    assert not begin(waiting(alice)), "no place is left for a large one"
    Job.objects.filter(owner=alice).delete()
    assert begin(waiting(alice, large=False))


def test_workers_share_the_large_files(
    waiting: Callable[..., Job],
    django_user_model: type[User],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = [waiting(django_user_model.objects.create_user(f"p{n}")) for n in range(5)]

    def begin_as(worker: str, job: Job) -> bool:
        monkeypatch.setattr(processes, "PROCESS", worker)
        return begin(job)

    def see(worker: str, ago: timedelta = timedelta(0)) -> None:
        seen = clock.now() - ago
        WorkerProcess.objects.create(name=worker, started_at=seen, seen_at=seen)

    for name in ("one", "two", "three"):
        see(name)
    see("gone", ago=reading_turns.GONE)
    assert begin_as("one", files[0])
    assert not begin_as("one", files[1]), "two places are left for the other two"
    assert begin_as("two", files[1]) and begin_as("three", files[2])
    assert not begin_as("one", files[3]), "no place is left"
    see("four")
    assert not begin_as("one", files[3]) and begin_as("four", files[3]), "each reads one at least"
    end(files[1])
    WorkerProcess.objects.filter(name="two").delete()
    assert not begin_as("one", files[4]), "three read three"


def test_who_was_served_last_comes_last(
    waiting: Callable[..., Job], alice: User, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading_turns, "LARGE_AT_ONCE", 1)
    first, second = waiting(alice), waiting(alice)
    assert begin(first)
    others = waiting(bob)
    end(first)
    assert not begin(second), "bob has waited, and alice has had her turn"
    assert begin(others) and not begin(second)
    end(others)
    assert begin(second)


def test_a_worker_that_died_keeps_nobody_waiting(waiting: Callable[..., Job], alice: User) -> None:
    first, second = waiting(alice), waiting(alice)
    assert begin(first) and not begin(second)
    past = clock.now() - timedelta(seconds=1)
    Job.objects.filter(pk=first.pk).update(lease_until=past)
    assert begin(second)


def test_a_worker_that_lost_its_lease_ends_no_turn_of_another(
    waiting: Callable[..., Job], alice: User
) -> None:
    job = waiting(alice)
    assert begin(job)
    reading_turns.end_reading(job, "a worker before")
    job.refresh_from_db()
    assert job.is_being_read


def test_a_turn_ends_with_the_reading(waiting: Callable[..., Job], alice: User) -> None:
    first, second = waiting(alice, large=False), waiting(alice, large=False)
    advance.advance(first.pk)
    first.refresh_from_db()
    assert first.state == Job.State.DRAFT and not first.is_being_read and first.read_at
    advance.advance(second.pk)
    second.refresh_from_db()
    assert second.state == Job.State.DRAFT


@pytest.mark.django_db(transaction=True)
def test_of_many_workers_at_once_one_reads_a_file_of_a_person(alice: User) -> None:
    jobs = [uploads.create_job(alice, ContentFile(CSV, f"{n}.csv")) for n in range(4)]

    def one(job: Job) -> bool:
        try:
            return begin(job)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(one, jobs)) == 1
