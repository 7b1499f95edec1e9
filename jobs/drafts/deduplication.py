"""Rows that need not be sent: those that the job before has answered keep that answer, and of rows
whose requests are the same only the first is sent, and its answer copied when the job ends."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from django.db import connection
from django.db.models import Exists, OuterRef, Subquery

from ..batches import holds
from ..batches.leases import Lease
from ..batches.slices import slice_transaction
from ..models import Job, Outcome, Row, RowQuerySet, note_change, recipe_of
from ..models.statements import update_statement
from ..rules import wording
from . import estimates
from .row_survey import RepeatedRow, find_previous_job, find_repeated_rows

SLICE = 500  # rows that are changed at a time
_COPIED = ("outcome", "cause", "answer", "message", "problem", "stop_reason", "answered_by")
GONE = (
    "Some of the earlier answers that were to be used again are not there any more, so more rows "
    "would be sent than you agreed to. Nothing was sent: stop this job, and start it anew."
)


def mark_repeated_rows(job: Job, lease: Lease) -> None:
    """Mark the rows of a confirmed job that repeat another, and give those that the job before has
    answered their answers. It may be cut off and begun anew: what it marks is the same each time,
    and nothing is planned before it is done.

    The job is held when fewer answers can be used than its price was for. Raises LeaseLost.
    """
    recipe = recipe_of(job)
    found = find_repeated_rows(job, recipe, recipe.only_new, recipe.same_once, True, lease)
    answered = 0
    while some := list(islice(found, SLICE)):
        if not Job.objects.filter(pk=job.pk, state=job.state).exists():
            return  # it is being stopped
        answered += sum(one.earlier > 0 for one in some)
        _mark(job, some)
        lease.renew()
    if _fewer_than_agreed(job, answered):
        holds.hold(job.pk, GONE)
    else:
        Job.objects.filter(pk=job.pk).update(spared=True)
        if answered:
            keep = "keeps its answer" if answered == 1 else "keep their answers"
            holds.log(job.pk, f"{wording.rows(answered)} {keep} from job {job.previous_id}.")


# Only a row that waits and was never in a batch: what was sent may be paid for.
_MARK = (
    update_statement(Row, ["same_as", "earlier"], ["job_id", "number"])
    + " AND outcome = 'waiting' AND batch_id IS NULL AND same_as IS NULL"
)


def _mark(job: Job, found: Sequence[RepeatedRow]) -> None:
    marks = [(one.same_as or None, one.earlier or None, job.pk, one.number) for one in found]
    # bulk_update takes many times as long.
    known = Row.objects.filter(job=job, outcome=Outcome.WAITING, batch=None).filter(
        number__in=[one.number for one in found if one.earlier], earlier__isnull=False
    )
    with slice_transaction(), connection.cursor() as cursor:
        note_change(job.pk)
        cursor.executemany(_MARK, marks)
        _copy(known, Row.objects.filter(job=job.previous, outcome=Outcome.GOOD), "earlier")


def _fewer_than_agreed(job: Job, answered: int) -> bool:
    estimate = estimates.current(job)
    if not job.only_new or estimate is None or not estimate.basis.survey.known:
        return False
    # Looked at once more: it may have been deleted meanwhile.
    return (
        answered < estimate.basis.survey.known
        or find_previous_job(Job.objects.get(pk=job.pk)) is None
    )


def copy_answers(job: Job, lease: Lease) -> None:
    """Give each row that was not sent what became of the row that was. Tokens and cost stay 0.

    Raises LeaseLost.
    """
    copies = Row.objects.filter(job=job, outcome=Outcome.WAITING, same_as__isnull=False)
    # A row that waits for ever would keep its copies waiting with it.
    settled = Row.objects.filter(job=job, same_as=None).exclude(outcome=Outcome.WAITING)
    for rows in copies.value_slices(SLICE):
        with slice_transaction():
            note_change(job.pk)
            _copy(copies.filter(number__in=[number for (number,) in rows]), settled, "same_as")
        lease.renew()


def _copy(rows: RowQuerySet, originals: RowQuerySet, name: str) -> None:
    """Give `rows` what became of those of `originals` whose number is in the column `name`."""
    original = originals.filter(number=OuterRef(name))
    rows.filter(Exists(original)).update(
        **{column: Subquery(original.values(column)[:1]) for column in _COPIED}
    )
