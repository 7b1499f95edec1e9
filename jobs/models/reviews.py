"""The sample of answers that people look at."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class SampledAnswer(models.Model):
    """A row of the sample of a job's answers that a person reads, and what they think of it."""

    job = models.ForeignKey("Job", on_delete=models.CASCADE, related_name="sample")
    position = models.IntegerField()  # 1, 2, ... in the order in which they were drawn
    number = models.IntegerField()  # of the row
    good = models.BooleanField(null=True)  # None: not read yet
    # Of the answer that was read (review_sample.answer_key): a later one is another answer.
    answer_key = models.CharField(max_length=64, default="")
    note = models.TextField(default="")
    marked_at = models.DateTimeField(null=True)
    marked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["job", "position"], name="sampled_answer_once_a_place"),
            models.UniqueConstraint(fields=["job", "number"], name="sampled_answer_once_a_row"),
        ]

    def __str__(self) -> str:
        return f"sampled answer {self.position} of job {self.job_id}"
