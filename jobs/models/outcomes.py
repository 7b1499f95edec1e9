"""What can become of a row."""

from __future__ import annotations

from django.db import models


class Outcome(models.TextChoices):
    """What became of a row; every row has exactly one."""

    WAITING = "waiting", "Waiting"
    GOOD = "good", "Good"
    LOOK = "look", "Check this"
    ERRORED = "errored", "Failed"
    EXPIRED = "expired", "Not reached in 24 hours"
    CANCELED = "canceled", "Stopped by you"
    LEFT_OUT = "left_out", "Skipped"


FAILED = (Outcome.ERRORED, Outcome.EXPIRED)
DONE = (Outcome.GOOD, Outcome.LOOK, *FAILED, Outcome.CANCELED)
# What a person should look after when the job has finished.
ATTENTION = (Outcome.LOOK, Outcome.ERRORED, Outcome.EXPIRED)
# Rows that were to be sent and have no good answer.
NOT_GOOD = (*ATTENTION, Outcome.CANCELED)
