"""Wake the worker after a person did something."""

from __future__ import annotations

from django.db import transaction

from ..models import Job
from ..worker import tasks


def nudge_worker(job: Job) -> None:
    transaction.on_commit(lambda: tasks.nudge(job.pk))
