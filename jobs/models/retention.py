"""How long cells and answers are kept: what the site says, or less, as the owner of a job chose."""

from __future__ import annotations

from datetime import datetime, timedelta

from .jobs import Job
from .site import Retention

DAYS = (30, 90, 365)
SAID_BEFORE = timedelta(days=30)  # the page of a job says so long before that it will be


def days_kept(job: Job, site: Retention) -> int | None:
    """Days from the end of the job; None: as long as the job is here."""
    return min((days for days in (job.retention_days, site.days) if days is not None), default=None)


def deleted_on(job: Job, site: Retention) -> datetime | None:
    """When the cells and answers of a finished job are deleted; None: never, or they are."""
    days = days_kept(job, site)
    if days is None or job.finished_at is None or job.contents_deleted_at:
        return None
    return job.finished_at + timedelta(days=days)


def deletes_batches(job: Job, site: Retention) -> bool:
    """Whether its batches are deleted at the provider once their results are proven."""
    return site.deletes_batches if job.deletes_batches is None else job.deletes_batches


def choices(site: Retention) -> list[int]:
    """The days that the owner of a job can choose: never longer than the site says."""
    return [days for days in DAYS if site.days is None or days <= site.days]
