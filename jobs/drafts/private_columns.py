"""Columns that never leave this site: which of a file are marked before anybody looks at it."""

from __future__ import annotations

from collections.abc import Sequence

from ..models import Job
from ..rules import column_matching

REMEMBERED = 50  # of the newest jobs of a person with private columns


def private_columns_for(job: Job, columns: Sequence[str]) -> list[str]:
    """Those that are marked already, also where this file writes their names a little differently,
    and those that its owner marked in the newest job with the same columns."""
    marked = column_matching.named_alike(job.private_columns, columns)
    return list(dict.fromkeys([*marked, *_marked_before(job, columns)]))


def _marked_before(job: Job, columns: Sequence[str]) -> list[str]:
    if job.columns == list(columns):
        return []  # it is read again: what its owner chose since holds
    theirs = Job.objects.filter(owner=job.owner_id, pk__lt=job.pk, kind=Job.Kind.TABLE)
    newest = theirs.exclude(columns=[]).order_by("-pk")[:REMEMBERED]
    for names, private in newest.values_list("columns", "private_columns"):
        if names == list(columns):
            return list(private)
    return []
