"""What administrators have to know of, since when, and until when; and the workers of the site."""

from __future__ import annotations

from datetime import datetime
from typing import Self

from django.db import IntegrityError, models, transaction
from django.utils import timezone


class AlarmQuerySet(models.QuerySet["Alarm"]):
    def open(self) -> Self:
        return self.filter(solved_at=None)

    def try_open(self, kind: str, subject: str, text: str, now: datetime) -> Alarm | None:
        """Open an alarm; None if it is open already, also when another worker was quicker."""
        try:
            with transaction.atomic():
                return self.create(kind=kind, subject=subject, text=text, opened_at=now)
        except IntegrityError:
            return None

    def try_solve(self, pk: int, now: datetime) -> bool:
        """Close an open alarm. Of two workers, one gets True."""
        return self.open().filter(pk=pk).update(solved_at=now) == 1


class Alarm(models.Model):
    """Something that an administrator has to look at; see rules/site_health.py for the kinds."""

    kind = models.CharField(max_length=30)
    subject = models.CharField(max_length=200, default="")  # which job or worker, if one of many
    text = models.TextField()
    opened_at = models.DateTimeField(default=timezone.now)
    solved_at = models.DateTimeField(null=True)

    objects = AlarmQuerySet.as_manager()

    class Meta:
        ordering = ["-opened_at", "-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "subject"],
                condition=models.Q(solved_at=None),
                name="alarm_is_open_once",
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject} since {self.opened_at}"


class WorkerProcess(models.Model):
    """A worker of this site. One that ends in order removes its row."""

    name = models.CharField(max_length=200, unique=True)  # see processes.PROCESS
    machine = models.CharField(max_length=100)
    version = models.CharField(max_length=20)
    started_at = models.DateTimeField(default=timezone.now)
    seen_at = models.DateTimeField(default=timezone.now)
    died_at = models.DateTimeField(null=True)  # when it was found to have ended otherwise

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"worker {self.name}"
