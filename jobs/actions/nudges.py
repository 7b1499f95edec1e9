"""Wake the worker after a person did something."""

from __future__ import annotations

from importlib import import_module

from django.db import transaction

from ..models import Job
from ..rules import log_context


def load() -> None:
    """Import all of the worker, so that no click has to wait for that."""
    import_module("jobs.worker.tasks")


def nudge_worker(job: Job) -> None:
    from ..worker import tasks  # with all of the worker, which most commands do not need

    request = str(log_context.current().get("request", ""))
    transaction.on_commit(lambda: tasks.nudge(job.pk, request))
