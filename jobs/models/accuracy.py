"""Right answers beside those of Claude: where they are, those that people write here, and what came
of the comparison."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F

from ..rules.accuracy import Accuracy
from ..rules.right_answers import GoldChoice
from ..rules.structs import reader_of
from .fields import StructField
from .jobs import Job


class GoldStandardQuerySet(models.QuerySet["GoldStandard"]):
    def outdated(self) -> GoldStandardQuerySet:
        """Those whose job has other rows, or that are chosen differently, since they were
        compared."""
        same = self.filter(compared_rows=F("job__rows_version"), compared_choice=F("version"))
        return self.exclude(pk__in=same.values("pk"))


class GoldStandard(models.Model):
    """What the answers of a job are compared with. It is no part of what is asked: it can change at
    any time, and costs nothing."""

    job = models.OneToOneField("Job", on_delete=models.CASCADE, related_name="gold")
    choice = StructField[GoldChoice](reader_of(GoldChoice), default=GoldChoice)
    version = models.IntegerField(default=1)  # counts changes of it, and of right answers by hand
    # What came of it, by the worker; None: it is to be compared. And of which version of the rows
    # (Job.rows_version) and of itself that is.
    compared = StructField[Accuracy | None](reader_of(Accuracy), derived=True, null=True)
    compared_rows = models.IntegerField(default=-1)
    compared_choice = models.IntegerField(default=0)
    compared_at = models.DateTimeField(null=True)

    objects = GoldStandardQuerySet.as_manager()

    def __str__(self) -> str:
        return f"gold standard of job {self.job_id}"

    def is_current(self, job: Job) -> bool:
        """Whether `compared` is of the rows as they are now."""
        if job.contents_deleted_at:
            return self.compared is not None
        is_same = self.compared_rows == job.rows_version and self.compared_choice == self.version
        return self.compared is not None and is_same


class RightAnswer(models.Model):
    """A row for which a person writes the right answer, before they see that of Claude."""

    job = models.ForeignKey("Job", on_delete=models.CASCADE, related_name="right_answers")
    position = models.IntegerField()  # 1, 2, ... in the order in which they were drawn
    number = models.IntegerField()  # of the row
    # By column of the answer; "" for one that has no right answer.
    values = StructField[dict[str, str]](reader_of(dict[str, str]), default=dict)
    written_at = models.DateTimeField(null=True)
    written_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["job", "position"], name="right_answer_once_a_place"),
            models.UniqueConstraint(fields=["job", "number"], name="right_answer_once_a_row"),
        ]

    def __str__(self) -> str:
        return f"right answer for row {self.number} of job {self.job_id}"


class Difference(models.Model):
    """A row whose answer differs from the right one, as it was compared last."""

    job = models.ForeignKey("Job", on_delete=models.CASCADE, related_name="+", db_index=False)
    number = models.IntegerField()  # of the row

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["job", "number"], name="difference_once_a_row")
        ]

    def __str__(self) -> str:
        return f"difference in row {self.number} of job {self.job_id}"
