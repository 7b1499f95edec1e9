"""Rename and delete a job."""

from __future__ import annotations

import logging

from django.contrib.auth.models import User
from django.db import transaction

from ..models import Job, Trial, clock
from .nudges import nudge_worker

logger = logging.getLogger(__name__)


def rename_job(job: Job, name: str) -> None:
    Job.objects.filter(pk=job.pk).update(name=name.strip()[:200] or job.name)


def delete_job(job: Job, user: User) -> bool:
    """Delete a job: its rows, its files and the copies at the provider. It disappears from every
    page at once; the worker does the rest. False if its state is not one of
    Job.DELETABLE."""
    with transaction.atomic():
        deleting = Job.objects.try_move(
            job.pk, Job.DELETABLE, Job.State.DELETING, held="", next_action_at=clock.now()
        )
        if deleting:
            # Tests that have not been sent never will be. What the job has cost still counts, and
            # so does a test that is running: the ledger remembers it when the rows are deleted.
            job.trials.filter(state=Trial.State.WAITING).delete()
            job.runs_again().price_anew(clock.now())
            nudge_worker(job)
    if deleting:
        logger.info("job %s: deleted by user %s", job.pk, user.pk)
    return deleting
