"""The most that one batch of a confirmed job can cost: its share of what was said of all rows."""

from __future__ import annotations

from decimal import Decimal

from django.db.models import Sum
from django.db.models.functions import Coalesce

from ..models import Batch, Job, Outcome, Row


def ceiling_of_batch(batch: Batch) -> Decimal:
    """The most that sending `batch` once costs, in US dollars; 0 when its job has no estimate."""
    retry, first = batch.job.rounds.filter(number=batch.round).first(), batch.job.estimate
    if retry:
        most, rows, size = retry.estimate.most, retry.rows, retry.bytes
    elif first:
        most, rows, size = first.most, first.rows, sent_bytes(batch.job)
    else:
        return Decimal(0)
    part = batch.rows.aggregate(bytes=Coalesce(Sum("size"), 0))["bytes"]
    shares = Decimal(batch.size) / max(rows, 1), Decimal(part) / max(size, 1)
    return most * min(max(shares), Decimal(1))


def sent_bytes(job: Job) -> int:
    """Bytes of all rows that are sent themselves, at least 1; by the tally once there is one."""
    if groups := job.tally.groups:
        sizes = (group.bytes for group in groups if group.outcome != Outcome.LEFT_OUT)
        return sum(sizes) or 1
    sent = Row.objects.filter(job=job, same_as=None, earlier=None)
    sent = sent.exclude(outcome=Outcome.LEFT_OUT)
    return sent.aggregate(bytes=Sum("size"))["bytes"] or 1
