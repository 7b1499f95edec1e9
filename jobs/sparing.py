"""Rows that need not be sent: of rows whose requests are the same only the first is, and its answer
is copied to the others when the job ends."""

from __future__ import annotations

from itertools import islice

from django.db.models import OuterRef, Subquery

from .leases import Lease
from .models import Job, Outcome, Row, recipe_of
from .surveying import repeats

SLICE = 500  # rows that are changed at a time
_COPIED = ("outcome", "cause", "answer", "message", "problem", "stop_reason", "answered_by")


def find(job: Job, lease: Lease) -> None:
    """Mark the rows of a confirmed job that repeat an earlier one. It may be cut off and begun
    anew: what it marks is the same each time, and nothing is planned before it is done.

    Raises LeaseLost.
    """
    found = repeats(job, recipe_of(job), whole=True)
    while some := list(islice(found, SLICE)):
        first_of = {number: first for number, first, _cells in some}
        rows = list(
            Row.objects.filter(
                job=job, number__in=first_of, outcome=Outcome.WAITING, batch=None, same_as=None
            ).only("pk", "number")
        )
        for row in rows:
            row.same_as = first_of[row.number]
        Row.objects.bulk_update(rows, ["same_as"])
        lease.renew()
    Job.objects.filter(pk=job.pk).update(spared=True)


def copy_answers(job: Job, lease: Lease) -> None:
    """Give each row that was not sent what became of the row that was. Tokens and cost stay 0.

    Raises LeaseLost.
    """
    copies = Row.objects.filter(job=job, outcome=Outcome.WAITING, same_as__isnull=False)
    # A row that waits for ever would keep its copies waiting with it.
    settled = Row.objects.filter(job=job).exclude(outcome=Outcome.WAITING)
    original = settled.filter(number=OuterRef("same_as"))
    ready = copies.filter(same_as__in=settled.values("number"))
    while numbers := list(ready.in_order().values_list("number", flat=True)[:SLICE]):
        Row.objects.filter(job=job, number__in=numbers, outcome=Outcome.WAITING).update(
            **{name: Subquery(original.values(name)[:1]) for name in _COPIED}
        )
        lease.renew()
