"""Whose file is read next, and by which worker: one file per person at a time, a few large files in
total, and the person served last comes last, so that no one's files block another person's. A
worker leaves a place to each of the others that has nothing to read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Max, Min, Q, QuerySet

from ..models import Installation, Job, WorkerProcess, clock, processes

# Large files read at the same time, or one by each worker where there are more of these. Each takes
# a processor and a worker thread.
LARGE_AT_ONCE = 3
GONE = timedelta(seconds=90)  # a worker that has not been seen for so long
# Up to this size a file is read in about a second, even if it is compressed.
SMALL_BYTES = 100_000
NEVER = datetime.min.replace(tzinfo=UTC)
WAIT = timedelta(seconds=1)  # until a waiting file tries again


def begin_reading(job: Job) -> bool:
    """Take a turn for the owner of a leased job. False if another file of theirs is being read, or
    if others come first."""
    now = clock.now()
    with transaction.atomic():
        # Locked, so that two workers cannot take the same turn.
        Installation.objects.select_for_update().get(pk=1)
        reading = Job.objects.filter(is_being_read=True).exclude(pk=job.pk)
        # Free the turns of workers that died.
        over = Q(lease_until=None) | Q(lease_until__lt=now) | ~Q(state=Job.State.READING)
        reading.filter(over).update(is_being_read=False)
        if reading.filter(owner=job.owner_id).exists():
            return False
        if job.upload_bytes > SMALL_BYTES and not _has_turn(job, now):
            return False
        mine = Job.objects.filter(pk=job.pk, state=Job.State.READING)
        return mine.update(is_being_read=True) == 1


def _has_turn(job: Job, now: datetime) -> bool:
    """Whether a large file may be read now: there are more free places than waiting people who were
    served longer ago."""
    large = Job.objects.filter(state=Job.State.READING, upload_bytes__gt=SMALL_BYTES)
    being_read = large.filter(is_being_read=True).exclude(pk=job.pk)
    places = _places(being_read, now)
    if places <= 0:
        return False
    waiting = large.filter(is_being_read=False, next_action_at__lte=now + 5 * WAIT) | large.filter(
        pk=job.pk
    )
    people = (
        User.objects.filter(pk__in=waiting.values("owner"))
        .exclude(pk__in=being_read.values("owner"))
        .annotate(
            served=Max("job__read_at"), since=Min("job__created_at", filter=Q(job__in=waiting))
        )
    )
    first = sorted(people, key=lambda one: (one.served or NEVER, one.since or now))
    return job.owner_id in [one.pk for one in first[:places]]


def _places(being_read: QuerySet[Job], now: datetime) -> int:
    """How many more large files this worker may read."""
    there = WorkerProcess.objects.filter(died_at=None, seen_at__gt=now - GONE)
    workers = set(there.values_list("name", flat=True))
    owners = being_read.values_list("lease_owner", flat=True)
    readers = [owner.rpartition("|")[0] for owner in owners]
    places = max(LARGE_AT_ONCE, len(workers)) - len(readers)
    if processes.PROCESS in readers:
        places -= len(workers.difference(readers))
    return places


def waits_for_turn(job: Job) -> bool:
    """Whether `job` waits for another file of its owner."""
    if job.state != Job.State.READING or job.is_being_read:
        return False
    return Job.objects.filter(owner=job.owner_id, is_being_read=True).exclude(pk=job.pk).exists()


def end_reading(job: Job, owner_of_lease: str) -> None:
    """End the turn, unless another worker has taken over the job."""
    mine = Job.objects.filter(pk=job.pk, lease_owner=owner_of_lease)
    mine.update(is_being_read=False, read_at=clock.now())
