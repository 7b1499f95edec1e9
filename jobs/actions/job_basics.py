"""Rename, archive, trash and delete a job."""

from __future__ import annotations

import logging

from django.contrib.auth.models import User
from django.db import transaction

from ..models import Job, Trial, audit, clock, job_log
from ..worker import deletion
from .nudges import nudge_worker

logger = logging.getLogger(__name__)


def rename_job(job: Job, name: str) -> None:
    Job.objects.filter(pk=job.pk).update(name=name.strip()[:200] or job.name)


def archive_job(job: Job) -> bool:
    """Take a job out of the default list. False if it is at work, or archived already."""
    kept = Job.objects.filter(pk=job.pk, state__in=Job.DELETABLE, trashed_at=None)
    return kept.filter(archived_at=None).update(archived_at=clock.now()) == 1


def unarchive_job(job: Job) -> bool:
    """Put a job back into the default list. False if it is there."""
    archived = Job.objects.filter(pk=job.pk).exclude(archived_at=None)
    return archived.update(archived_at=None) == 1


def trash_job(job: Job, user: User | None) -> bool:
    """Hide a job from every page. Its files, rows and costs stay, and it can be restored for 30
    days; housekeeping deletes it then. False if its state is not one of Job.DELETABLE."""
    with transaction.atomic():
        kept = Job.objects.filter(pk=job.pk, state__in=Job.DELETABLE, trashed_at=None)
        # Never too early: by whichever clock is ahead.
        trashed = kept.update(trashed_at=clock.latest_now()) == 1
        if trashed:
            # What has not been sent is not wanted any more. What is being sent is still charged.
            job.trials.filter(state=Trial.State.WAITING).delete()
            job.runs_again().price_anew(clock.now())  # its answers are not reused
            job_log.write(job.pk, "Moved to the trash.", user)
            audit.record("job_trashed", who=user, job=job.pk)
    if trashed:
        logger.info("job %s: moved to the trash by user %s", job.pk, user.pk if user else "-")
    return trashed


def restore_job(job: Job, user: User) -> bool:
    """Take a job out of the trash. False if it is not there any more."""
    with transaction.atomic():
        trashed = Job.objects.filter(pk=job.pk, state__in=Job.DELETABLE).exclude(trashed_at=None)
        restored = trashed.update(trashed_at=None, next_action_at=clock.now()) == 1
        if restored:
            job.runs_again().price_anew(clock.now())
            job_log.write(job.pk, "Restored from the trash.", user)
            nudge_worker(job)
            audit.record("job_restored", who=user, job=job.pk)
    return restored


def delete_job(job: Job, user: User) -> bool:
    """Delete a job for good: its rows, its files and the copies at the provider. It disappears from
    every page at once; the worker does the rest. False if its state is not one of
    Job.DELETABLE."""
    with transaction.atomic():
        deleting = deletion.begin_deletion(job)
        if deleting:
            nudge_worker(job)
            audit.record("job_deletion_requested", who=user, job=job.pk)
    if deleting:
        logger.info("job %s: deleted by user %s", job.pk, user.pk)
    return deleting
