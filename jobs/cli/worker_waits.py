"""Wait until the worker has taken a step."""

from __future__ import annotations

import time
from collections.abc import Callable

from django.core.management.base import CommandError

from ..models import Heartbeat, Job
from .access import find_job

LOOK_SECONDS = 0.5
# How long to wait for a worker to start.
WORKER_SECONDS = 30


def wait_for_worker(job: Job, done: Callable[[Job], bool]) -> Job:
    """Wait until `done(job)`; returns the job as it is then. Raises CommandError if no worker is
    running."""
    began = time.monotonic()
    while not done(job):
        if is_late(began) and not Heartbeat.get().worker_is_alive:
            raise CommandError(
                f"The worker is not running, so job {job.pk} waits as a draft. Start the site "
                "(make run), or the worker alone: python manage.py run_huey"
            )
        time.sleep(LOOK_SECONDS)
        job = find_job(job.pk)
    return job


def pause() -> None:
    time.sleep(LOOK_SECONDS)


def is_late(began: float) -> bool:
    return time.monotonic() - began > WORKER_SECONDS
