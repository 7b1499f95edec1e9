"""The log of a job, and the record of every submission."""

from __future__ import annotations

import msgspec
from django.conf import settings
from django.db import models
from django.utils import timezone

from ..rules.structs import reader_of
from .fields import StructField


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


class SubmissionDetail(msgspec.Struct, frozen=True, omit_defaults=True, rename={"begin": "from"}):
    """What else is recorded of a submission: ids, counts and hashes, never text of the person."""

    attempt: int | None = None
    # Of an intent.
    size: int | None = None
    sha256: str = ""
    deadline: str = ""  # ISO
    key: str | None = None  # key_fingerprint of the key it was sent with
    workspace: str = ""  # its workspace, as the provider said
    # Of one that counted as never arrived: when it can have been accepted (ISO), by whose clock.
    begin: str = ""
    until: str = ""
    clock: str = ""  # "provider" or "here"
    looks: int | None = None  # that found nothing
    decided_by: int | None = None  # the person who said so
    # Of one that was restored.
    ends: bool = False  # nothing more is sent of its job
    stopped: bool = False  # its job had been stopped


class SubmissionEvent(models.Model):
    """Append-only: every intent, every POST and what came of it. Outlives its job, because it says
    which of the provider's batches are ours."""

    at = models.DateTimeField(default=timezone.now)
    job = models.ForeignKey("Job", on_delete=models.SET_NULL, null=True)
    nonce = models.CharField(max_length=12)
    kind = models.CharField(max_length=20)  # intent, accepted, refused, not_sent, unknown, adopted
    provider_id = models.CharField(max_length=100, default="", db_index=True)
    detail = StructField[SubmissionDetail](reader_of(SubmissionDetail), default=SubmissionDetail)

    def __str__(self) -> str:
        return f"{self.kind} {self.nonce}"
