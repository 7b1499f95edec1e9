"""The jobs that the shell can see."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError

from ..models import Job
from .exit_codes import WRONG_USE


def visible_jobs(*, trashed: bool = False) -> Any:
    """All jobs, or those in the trash."""
    there = Job.objects.exclude(state=Job.State.DELETING).select_related("owner")
    return there.filter(trashed_at__isnull=not trashed)


def find_job(pk: int) -> Job:
    """Raises CommandError."""
    job: Job | None = visible_jobs().filter(pk=pk).first()
    if job is None:
        raise CommandError(f"There is no job {pk}; `job list` shows all.", returncode=WRONG_USE)
    return job
