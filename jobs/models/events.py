"""The log of a job, and the record of every submission."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone


class JobEvent(models.Model):
    """The log of a job, in words for the person who watches it."""

    job = models.ForeignKey("Job", on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField(default=timezone.now)
    text = models.TextField()
    who = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return self.text


class SubmissionEvent(models.Model):
    """Append-only: every intent, every POST and what came of it. Outlives its job, because it says
    which of the provider's batches are ours."""

    at = models.DateTimeField(default=timezone.now)
    job = models.ForeignKey("Job", on_delete=models.SET_NULL, null=True)
    nonce = models.CharField(max_length=12)
    kind = models.CharField(max_length=20)  # intent, accepted, refused, not_sent, unknown, adopted
    provider_id = models.CharField(max_length=100, default="", db_index=True)
    detail = models.JSONField(default=dict)  # ids, counts and hashes; never text of the person

    def __str__(self) -> str:
        return f"{self.kind} {self.nonce}"
