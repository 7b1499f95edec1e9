"""Log what a person did to a job, and wake the worker."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.db import transaction

from ..models import Job, JobEvent
from ..worker import tasks


def log_event(job: Job, text: str, user: User) -> None:
    JobEvent.objects.create(job=job, text=text, who=user)


def nudge_worker(job: Job) -> None:
    transaction.on_commit(lambda: tasks.nudge(job.pk))
