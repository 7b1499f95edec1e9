"""Rows of a job that are sent first, while the others wait."""

from __future__ import annotations

from typing import Self

from django.conf import settings
from django.db import models

from ..rules.pilots import PilotResult
from ..rules.structs import reader_of
from .fields import StructField
from .jobs import Job

# `Job.held` while the pilot is in and a person decides about the others.
PILOT_IS_IN = (
    "The pilot is in, and the other rows wait for you. Look at its answers. Then send the others, "
    "or change the prompt."
)


class PilotQuerySet(models.QuerySet["Pilot"]):
    def open(self) -> Self:
        """Those that keep the other rows of their job from being sent."""
        return self.filter(step__in=Pilot.OPEN)


class Pilot(models.Model):
    """The pilot of a job: drawn after the job was confirmed, sent, and then decided about. Each
    step is one conditional UPDATE; only the one to RELEASED lets the other rows be sent."""

    class Step(models.TextChoices):
        DRAWING = "drawing", "Choosing the rows"
        SENDING = "sending", "At work"
        WAITING = "waiting", "Waiting for a decision"
        RELEASED = "released", "The other rows are sent"
        ENDED = "ended", "The other rows were not sent"

    OPEN = (Step.DRAWING, Step.SENDING, Step.WAITING)

    job = models.OneToOneField("Job", on_delete=models.CASCADE, related_name="pilot")
    step = models.CharField(max_length=8, choices=Step.choices, default=Step.DRAWING)
    # What was asked for, see PilotChoice.
    rows = models.IntegerField()
    by = models.TextField(default="")
    least_good = models.IntegerField(default=0)
    # The rows themselves, in order, once they are drawn.
    numbers = StructField[list[int]](reader_of(list[int]), default=list)
    # Once they are in.
    result = StructField[PilotResult | None](reader_of(PilotResult), null=True)
    decided_at = models.DateTimeField(null=True)
    # None: its rule did.
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    # It was ended to change the prompt, and its rows are to be asked again.
    asks_again = models.BooleanField(default=False)

    objects = PilotQuerySet.as_manager()

    def __str__(self) -> str:
        return f"pilot of job {self.job_id}"

    @property
    def is_open(self) -> bool:
        return self.step in self.OPEN

    @property
    def is_waiting(self) -> bool:
        return self.step == self.Step.WAITING


def find_pilot(job: Job) -> Pilot | None:
    return Pilot.objects.filter(job=job).first()
