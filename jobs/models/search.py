"""What the search in the rows of a large job uses, so that it need not look into each: which rows
may hold a text is in files (see rules/trigrams.py), and here is what these hold true for.

The files can be built anew at any time, and are in no backup.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import models
from django.db.models import F, Q

from . import clock
from .jobs import Job


class SearchIndexQuerySet(models.QuerySet["SearchIndex"]):
    def outdated(self) -> SearchIndexQuerySet:
        mine = self.filter(job__state__in=Job.SENT, job__contents_deleted_at=None)
        return mine.exclude(version=F("job__rows_version"))

    def due(self, now: datetime) -> SearchIndexQuerySet:
        return self.outdated().filter(clock.over("due_at", SearchIndex.LONGEST_WAIT, now))


class SearchIndex(models.Model):
    """That the rows of a job are to be searched quickly."""

    LONGEST_WAIT = timedelta(minutes=10)

    job = models.OneToOneField("Job", on_delete=models.CASCADE, related_name="search_index")
    used_at = models.DateTimeField()  # to the day: when someone last looked at the rows
    # Job.rows_version: of the rows that all parts hold; and of those that were seen last.
    version = models.IntegerField(default=-1)
    seen_version = models.IntegerField(default=-1)
    due_at = models.DateTimeField()  # when the worker goes on, should something be outdated

    objects = SearchIndexQuerySet.as_manager()

    def __str__(self) -> str:
        return f"search index of job {self.job_id}"


class SearchPart(models.Model):
    """Some rows of a job, one after another, and the file with what is in them."""

    job = models.ForeignKey("Job", on_delete=models.CASCADE, related_name="+", db_index=False)
    first = models.IntegerField()  # row numbers
    last = models.IntegerField()
    version = models.IntegerField()  # Job.rows_version of the rows
    digest = models.BinaryField(max_length=16)  # of their texts
    file = models.CharField(max_length=100)  # its name; a file never changes

    class Meta:
        ordering = ["first"]
        constraints = [
            models.UniqueConstraint(fields=["job", "first"], name="search_part_once"),
            models.CheckConstraint(condition=Q(last__gte=F("first")), name="search_part_order"),
        ]

    def __str__(self) -> str:
        return f"rows {self.first} to {self.last} of job {self.job_id}"
