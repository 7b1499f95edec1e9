"""How long cells and answers are kept, and whether Anthropic deletes its copies early."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.db import transaction

from ..models import Job, Retention, audit, clock, job_log
from ..models.retention import choices


def change_site(days: int | None, deletes_batches: bool, user: User) -> None:
    """Nothing that this shortens is deleted before its owner was warned: see deleted_on."""
    with transaction.atomic():
        was = Retention.row().select_for_update().get()
        Retention.row().update(days=days, deletes_batches=deletes_batches)
        if was.days != days:
            Retention.row().update(changed_at=clock.now())
        audit.record_change(
            "retention_changed",
            {"days": was.days, "deletes_batches": was.deletes_batches},
            {"days": days, "deletes_batches": deletes_batches},
            who=user,
        )


def change_job(job: Job, days: int | None, deletes_batches: bool | None, user: User) -> bool:
    """Choose for one job; None: as the site says. False if the site does not allow that long, or
    its cells and answers are deleted already."""
    if days is not None and days not in choices(Retention.get()):
        return False
    with transaction.atomic():
        was = Job.objects.select_for_update().get(pk=job.pk)
        if was.contents_deleted_at:
            return False
        mine = Job.objects.filter(pk=job.pk)
        mine.update(retention_days=days, deletes_batches=deletes_batches)
        if was.retention_days != days:
            mine.update(retention_changed_at=clock.now())
        if (was.retention_days, was.deletes_batches) != (days, deletes_batches):
            job_log.write(job.pk, "Changed how long the data of this job is kept.", user)
        audit.record_change(
            "job_retention_changed",
            {"days": was.retention_days, "deletes_batches": was.deletes_batches},
            {"days": days, "deletes_batches": deletes_batches},
            who=user,
            job=job.pk,
        )
    return True
