"""What was copied to object storage, and what is still to be copied or deleted there.

A row is made before anything is sent, and goes only when the object is deleted there: so no copy is
forgotten, whatever is killed. It refers to no job, because it outlives it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Self

from django.db import models
from django.utils import timezone


class StoredCopyQuerySet(models.QuerySet["StoredCopy"]):
    def open(self) -> Self:
        """Something is left to do."""
        return self.filter(state__in=StoredCopy.OPEN)

    def in_backups(self) -> Self:
        return self.filter(kind__in=[StoredCopy.Kind.BACKUP, StoredCopy.Kind.MANIFEST])

    def have_deleted(self, now: datetime) -> int:
        """Have the worker delete them in the storage. How many these are."""
        kept = self.exclude(state=StoredCopy.State.DELETING)
        return kept.update(
            state=StoredCopy.State.DELETING, since=now, due_at=now, attempts=0, trouble=""
        )

    def have_copied(self, now: datetime) -> int:
        """Have the worker copy them, or prove that they are there. How many these are."""
        return self.update(
            state=StoredCopy.State.WAITING, since=now, due_at=now, attempts=0, trouble=""
        )


class StoredCopy(models.Model):
    """One object in the storage."""

    class Kind(models.TextChoices):
        RESULTS = "results"
        EXPORT = "export"
        BACKUP = "backup"  # a file of a backup
        MANIFEST = "manifest"  # of a backup; it comes last

    class State(models.TextChoices):
        WAITING = "waiting"
        COPIED = "copied"
        DELETING = "deleting"  # when it is deleted, so is the row

    OPEN = (State.WAITING, State.DELETING)

    # Where: COPY_TO and S3_ENDPOINT_URL as they were, and the name of the object below COPY_TO.
    place = models.CharField(max_length=300)
    endpoint = models.CharField(max_length=300, default="")
    key = models.CharField(max_length=300)
    kind = models.CharField(max_length=10, choices=Kind)
    path = models.TextField()  # of the file on this machine
    size = models.BigIntegerField()
    sha256 = models.CharField(max_length=64)
    batch_pk = models.BigIntegerField(null=True)  # of results
    backup = models.CharField(max_length=30, default="")  # the newest backup that has this file

    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    since = models.DateTimeField(default=timezone.now)  # something is left to do
    due_at = models.DateTimeField(default=timezone.now)
    attempts = models.IntegerField(default=0)
    trouble = models.TextField(default="")  # why the last one failed, in our words
    copied_at = models.DateTimeField(null=True)  # proven to be there
    etag = models.CharField(max_length=200, default="")  # what the storage called it then
    # Which thread is at it, and when that has certainly given up.
    claimed_by = models.CharField(max_length=220, default="")
    claimed_until = models.DateTimeField(null=True)

    objects = StoredCopyQuerySet.as_manager()

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["place", "endpoint", "key"], name="object_once")
        ]
        indexes = [
            models.Index(fields=["state", "due_at"], name="copy_due"),
            models.Index(fields=["batch_pk"], name="copy_of_batch"),
        ]

    def __str__(self) -> str:
        return f"{self.key} in {self.place}"
