"""The version of the rows of a job: numbers of an older one are out of date."""

from __future__ import annotations

from django.db.models import F

from .jobs import Job

# Job.tally_version of one that an older version has counted: the worker counts it again.
COUNT_ANEW = -1


def note_change(job_pk: int) -> None:
    """Say, in the transaction that changes rows of a job, that its numbers have to be renewed, and
    its search index. Call it before the rows are changed: then whoever changes them at once waits
    here, and cannot lock the same rows in another order."""
    Job.objects.filter(pk=job_pk).update(rows_version=F("rows_version") + 1)
