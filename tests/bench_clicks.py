"""How long each click takes that is about many rows, and how long anybody else has to wait for the
database meanwhile: `make bench` measures it for finished jobs of 100,000 rows, `make bench
ARGS=--million` of 1,000,000, too. ARGS=--rows=40000,300000 measures these.

A thread makes a tiny change every 50 ms, as any other person or worker would. Nothing is sent.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import django

from jobs.rules.retry_choices import RetryChoice

from .environment import clean_environment

if TYPE_CHECKING:
    from django.test import Client

    from jobs.models import Job

PAUSE = 0.05


class Writer:
    """Somebody else, who writes."""

    def __init__(self) -> None:
        self.longest, self.stopped = 0.0, threading.Event()
        self.thread = threading.Thread(target=self._write, daemon=True)

    def _write(self) -> None:
        from django.db import OperationalError, connection
        from django.utils import timezone

        from jobs.models import Heartbeat

        while not self.stopped.wait(PAUSE):
            began = time.monotonic()
            with suppress(OperationalError):  # it has waited for as long as it may
                Heartbeat.objects.filter(pk=1).update(tick_at=timezone.now())
            self.longest = max(self.longest, time.monotonic() - began)
        connection.close()


@contextmanager
def measured(name: str) -> Iterator[None]:
    writer = Writer()
    writer.thread.start()
    time.sleep(2 * PAUSE)
    writer.longest, began = 0.0, time.monotonic()
    yield
    took = time.monotonic() - began
    writer.stopped.set()
    writer.thread.join()
    print(f"  {name:<44}{took:>8.2f} s{writer.longest:>10.2f} s", flush=True)


def failed_job(count: int, owner_name: str = "bench") -> int:
    """A finished job, all of whose rows failed for a reason that passes."""
    from jobs.models import Job, Row
    from jobs.worker import tally

    from . import bench_rows

    pk = bench_rows.store(count)
    Row.objects.filter(job=pk).update(outcome="errored", cause="overloaded_error")
    job = Job.objects.get(pk=pk)
    Job.objects.filter(pk=pk).update(confirmed_at=job.created_at, finished_at=job.created_at)
    tally.count_up(job)
    return pk


@dataclass
class Clicks:
    """What a person and the worker do to one job."""

    pk: int
    client: Client

    def post(self, path: str, **given: object) -> None:
        answer = self.client.post(f"/jobs/{self.pk}{path}", given)
        assert answer.status_code in (200, 302), (path, answer.status_code)

    def work(self, step: Callable[[Job], bool]) -> None:
        from jobs.models import Job

        while step(Job.objects.get(pk=self.pk)):
            pass


def measure(size: int) -> None:
    from django.contrib.auth.models import User
    from django.db import connection
    from django.test import Client

    clicks = Clicks(failed_job(size), Client())
    clicks.client.force_login(User.objects.get())
    print(f"\nA job of {size:,} rows, {connection.vendor}: time, and the longest wait of others")
    measure_changes(clicks)
    measure_retry(clicks, size)
    measure_end(clicks, size)


def measure_changes(clicks: Clicks) -> None:
    """Change all rows, and undo it."""
    from jobs.models import Job
    from jobs.retries import measurements
    from jobs.worker import row_changes

    clicks.client.get(f"/jobs/{clicks.pk}/problems/")
    with measured("look: what needs attention"):
        clicks.client.get(f"/jobs/{clicks.pk}/problems/")
    shorten = {"code": "shorten", "name": "review", "number": "40"}
    with measured("click: change all rows"):
        clicks.post("/problems/overloaded_error/change/", **shorten)
    with measured("worker: change all rows"):
        clicks.work(row_changes.change_next_slice)
    with measured("worker: measure what was changed"):
        measurements.measure_edits(Job.objects.get(pk=clicks.pk))
    with measured("look: changed rows"):
        assert clicks.client.get(f"/jobs/{clicks.pk}/problems/edits/").status_code == 200
    with measured("click: take all changes back"):
        clicks.post("/problems/edits/")
    with measured("worker: take all changes back"):
        clicks.work(row_changes.change_next_slice)


def measure_retry(clicks: Clicks, size: int) -> None:
    """Retry all rows; they fail again."""
    from jobs.models import Job, Row
    from jobs.retries import preparation, rounds
    from jobs.worker import tally

    with measured("look: the price of sending all rows again"):
        planned = rounds.make_plan(Job.objects.get(pk=clicks.pk), RetryChoice("overloaded_error"))
    with measured("click: send all rows again"):
        clicks.post("/problems/retry/", which="overloaded_error", key=planned.key)
    assert Job.objects.get(pk=clicks.pk).state == Job.State.SUBMITTING
    with measured("worker: prepare all rows"):
        clicks.work(preparation.prepare_next)
    with measured("worker: count all rows"):
        tally.count_up(Job.objects.get(pk=clicks.pk))
    assert Row.objects.filter(job=clicks.pk, outcome="waiting").count() == size
    Row.objects.filter(job=clicks.pk).update(outcome="errored", cause="overloaded_error")
    Job.objects.filter(pk=clicks.pk).update(state=Job.State.FINISHED)
    tally.count_up(Job.objects.get(pk=clicks.pk))


def measure_end(clicks: Clicks, size: int) -> None:
    """Ignore all rows, check a sample, delete the job."""
    from jobs.batches import slices
    from jobs.batches.leases import Lease
    from jobs.models import Job, Row, clock
    from jobs.results import review_sample
    from jobs.worker import row_changes, tally

    job = Job.objects.get(pk=clicks.pk)
    lease = Lease(job.pk, job.lease_owner, job.created_at, _renewed=clock.Countdown(1e9))
    with measured("click: leave all rows out"):
        clicks.post("/problems/overloaded_error/ignore/", rows=size)
    with measured("worker: leave all rows out"):
        clicks.work(row_changes.change_next_slice)
    assert Job.objects.get(pk=clicks.pk).ignored_count == size
    Row.objects.filter(job=clicks.pk).update(outcome="good", cause="", answer="yes")
    tally.count_up(Job.objects.get(pk=clicks.pk))
    with measured("click: draw a sample"):
        clicks.post("/review/", size=review_sample.SIZES[-1])
    with measured("click: delete the job"):
        clicks.post("/delete/")
    with measured("worker: delete all rows"):
        slices.delete_rows(Row.objects.filter(job=clicks.pk), lease)
    Job.objects.filter(pk=clicks.pk).delete()


def sizes() -> list[int]:
    for argument in sys.argv[1:]:
        if argument.startswith("--rows="):
            return [int(size) for size in argument.removeprefix("--rows=").split(",")]
    if "--quick" in sys.argv:
        return [10_000]
    return [100_000, 1_000_000] if "--million" in sys.argv else [100_000]


def main() -> None:
    database = os.environ.get("DATABASE_URL", "")
    with tempfile.TemporaryDirectory(prefix="batchsite-bench-") as scratch:
        environment = clean_environment(Path(scratch), DATABASE_URL=database)
        os.environ.clear()
        os.environ.update(environment, DJANGO_SETTINGS_MODULE="batchsite.settings")
        django.setup()
        from django.conf import settings
        from django.core.management import call_command

        settings.ALLOWED_HOSTS = ["testserver"]
        storage = "django.contrib.staticfiles.storage.StaticFilesStorage"
        settings.STORAGES["staticfiles"] = {"BACKEND": storage}
        settings.STATIC_ROOT.mkdir(exist_ok=True)
        call_command("migrate", verbosity=0)
        for size in sizes():
            measure(size)


if __name__ == "__main__":
    main()
