"""How long cells and answers are kept: what the site says, or less, as the owner of a job chose."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import Count, Min, Q

from .jobs import Job, JobQuerySet
from .site import Retention

DAYS = (30, 90, 365)
SAID_BEFORE = timedelta(days=30)  # the page of a job says so long before that it will be
WARNED_BEFORE = timedelta(days=3)  # people are told; no change deletes anything sooner than that


def deleted_on(job: Job, site: Retention) -> datetime | None:
    """When the cells and answers of a finished job are deleted; None: never, or they are. A time
    that was shortened ends WARNED_BEFORE after that change at the earliest."""
    if job.finished_at is None or job.contents_deleted_at:
        return None
    chosen = (job.retention_days, job.retention_changed_at), (site.days, site.changed_at)
    return min(
        (
            max(job.finished_at + timedelta(days=days), _announced(changed_at) or job.finished_at)
            for days, changed_at in chosen
            if days is not None
        ),
        default=None,
    )


def _announced(changed_at: datetime | None) -> datetime | None:
    return changed_at + WARNED_BEFORE if changed_at else None


def ended_jobs() -> JobQuerySet:
    """Finished jobs whose cells and answers are here."""
    return Job.objects.filter(state=Job.State.FINISHED, contents_deleted_at=None)


def over_by(at: datetime, site: Retention) -> Q:
    """As a condition: jobs whose `deleted_on` is at `at` or before."""
    over = Q(pk=None)
    if site.days is not None and (not site.changed_at or site.changed_at <= at - WARNED_BEFORE):
        over |= Q(finished_at__lte=at - timedelta(days=site.days))
    announced = Q(retention_changed_at=None) | Q(retention_changed_at__lte=at - WARNED_BEFORE)
    for days in _days_of_jobs():
        over |= announced & Q(retention_days=days, finished_at__lte=at - timedelta(days=days))
    return over


def _days_of_jobs() -> list[int]:
    chosen = Job.objects.exclude(retention_days=None).filter(contents_deleted_at=None)
    found = chosen.values_list("retention_days", flat=True).distinct()
    return [days for days in found if days is not None]


def concerned_by(days: int | None, site: Retention, now: datetime) -> tuple[int, datetime | None]:
    """If the site said `days` from now on: how many finished jobs would lose the cells and answers
    that they keep for longer today, or for ever, and when the first of them does."""
    if days is None or (site.days is not None and days >= site.days):
        return 0, None
    longer = ended_jobs().filter(Q(retention_days=None) | Q(retention_days__gt=days))
    found = longer.aggregate(count=Count("pk"), first=Min("finished_at"))
    if not found["first"]:
        return 0, None
    return found["count"], max(found["first"] + timedelta(days=days), now + WARNED_BEFORE)


def deletes_batches(job: Job, site: Retention) -> bool:
    """Whether its batches are deleted at the provider once their results are proven."""
    return site.deletes_batches if job.deletes_batches is None else job.deletes_batches


def choices(site: Retention) -> list[int]:
    """The days that the owner of a job can choose: never longer than the site says."""
    return [days for days in DAYS if site.days is None or days <= site.days]
