"""Jobs whose rows are the rows and answers of another job."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple, Self

from django.db import models
from django.db.models import F, Q

from ..rules.rows_wanted import RowsWanted
from ..rules.structs import reader_of
from .fields import StructField
from .jobs import Job


class AnswersVersion(NamedTuple):
    """Changes whenever the answers of a finished job do: a retry clears `finished_at`, everything
    else counts `rows_changed` up, each in the transaction that changes them."""

    changed: int
    finished_at: datetime | None

    @classmethod
    def of(cls, job: Job) -> Self:
        return cls(job.rows_changed, job.finished_at)


class JobSourceQuerySet(models.QuerySet["JobSource"]):
    def outdated(self) -> Self:
        """Those whose source has finished with other answers than they were compared with, or may
        have. Not those whose file a person replaced: their rows come from there."""
        same = Q(source__rows_changed=F("seen_changed"), source__finished_at=F("seen_finished_at"))
        there = self.filter(
            job__state__in=[Job.State.DRAFT, Job.State.FINISHED],
            job__upload_sha256=F("sha256"),
            job__contents_deleted_at=None,
            source__state=Job.State.FINISHED,
            source__trashed_at=None,
            source__contents_deleted_at=None,
        )
        return there.exclude(sha256="").exclude(same)


class JobSource(models.Model):
    """Where the rows of a job come from. The job has a copy of them, so it needs the source for
    nothing but to tell whether its answers have changed since."""

    job = models.OneToOneField(Job, on_delete=models.CASCADE, related_name="origin")
    # None: deleted for good.
    source = models.ForeignKey(Job, on_delete=models.SET_NULL, null=True, related_name="next_steps")
    wanted = StructField[RowsWanted](reader_of(RowsWanted), default=RowsWanted)
    sha256 = models.CharField(max_length=64, default="")  # of the file of rows; "": to be written
    # AnswersVersion of the source when they were compared with that file; when they were found to
    # differ, and how many rows are not in the file as they are now.
    seen_changed = models.IntegerField(default=0)
    seen_finished_at = models.DateTimeField(null=True)
    differs_since = models.DateTimeField(null=True)
    differing_rows = models.IntegerField(default=0)

    objects = JobSourceQuerySet.as_manager()

    def __str__(self) -> str:
        return f"job {self.job_id} from job {self.source_id}"

    @property
    def seen(self) -> AnswersVersion:
        return AnswersVersion(self.seen_changed, self.seen_finished_at)
