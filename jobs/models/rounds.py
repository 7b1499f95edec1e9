"""Rows that were sent again together."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from ..rules.recipes import Recipe, read_recipe
from ..rules.retry_choices import RoundEstimate
from ..rules.structs import reader_of
from .fields import OptionalStructField, StructField


class Round(models.Model):
    """Rows of a finished job that were sent again together. The first time they were sent is round
    1, and has none of these."""

    class Step(models.TextChoices):
        TAKING = "taking", "Taking rows"
        PARTING = "parting", "Rows are no longer copies of one that was changed"
        READY = "ready", "Ready to send"

    job = models.ForeignKey("Job", on_delete=models.CASCADE, related_name="rounds")
    number = models.IntegerField()  # 2, 3, ... within the job
    recipe = OptionalStructField[Recipe](read_recipe)  # None: of ready-made requests
    what = models.CharField(max_length=200)  # which rows, and what is different, for people
    rows = models.IntegerField()
    bytes = models.BigIntegerField()  # of these rows, as Row.size
    estimate = StructField[RoundEstimate](reader_of(RoundEstimate))
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    asked_at = models.DateTimeField()
    approved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    # Of `Job.spent_pico`, what this round was charged; tally.count_up keeps both.
    spent_pico = models.BigIntegerField(default=0, db_default=0)
    # The worker takes its rows slice by slice before any of them is sent, see preparation.py.
    # `which` rows, of those that were last in one of the `earlier` rounds (of any: empty).
    step = models.CharField(max_length=8, choices=Step.choices, default=Step.READY)
    which = models.CharField(max_length=60, default="")
    earlier = StructField[list[int]](reader_of(list[int]), default=list)
    asks_otherwise = models.BooleanField(default=False)
    done_to = models.IntegerField(default=0)  # the last row number looked at
    taken = models.IntegerField(default=0)  # rows, so far
    # Of ready-made requests that were changed: what is in them, as in FileFacts.models.
    contents = StructField[dict[str, dict[str, int]]](
        reader_of(dict[str, dict[str, int]]), default=dict
    )

    class Meta:
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["job", "number"], name="round_once_a_job")]

    def __str__(self) -> str:
        return f"round {self.number} of job {self.job_id}"
