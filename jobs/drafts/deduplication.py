"""Skip duplicates: of rows with equal requests only the first is sent, and its answer is copied
when the job ends. Rows that the previous job has answered keep that answer."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from django.db import connection
from django.db.models import Exists, OuterRef, Subquery

from ..batches import holds
from ..batches.leases import Lease
from ..batches.slices import slice_transaction
from ..models import Job, Outcome, Row, RowQuerySet, job_log, note_change, recipe_of
from ..models.statements import update_statement
from ..rules import wording
from . import estimates, selected_rows
from .row_survey import RepeatedRow, find_previous_job, find_repeated_rows

SLICE = 500  # rows changed at a time
_COPIED = ("outcome", "cause", "answer", "message", "problem", "stop_reason", "answered_by")
GONE = (
    "Some earlier answers that this job should reuse no longer exist, so it would send more rows "
    "than you confirmed. Nothing was sent. Stop this job and start a new one."
)


def mark_repeated_rows(job: Job, lease: Lease) -> None:
    """Mark the rows of a confirmed job that are not selected and the duplicates among the others,
    and copy answers from the previous job. Safe to repeat after a crash: it marks the same rows
    each time, and no batch is planned before it is done.

    Holds the job when fewer answers can be reused than its price counted on. Raises LeaseLost.
    """
    if not selected_rows.mark_unselected_rows(job, lease):
        return  # the job is being stopped
    recipe = recipe_of(job)
    found = find_repeated_rows(job, recipe, recipe.only_new, recipe.skip_duplicates, True, lease)
    answered = 0
    while some := list(islice(found, SLICE)):
        if not Job.objects.filter(pk=job.pk, state=job.state).exists():
            return  # the job is being stopped
        answered += sum(one.earlier > 0 for one in some)
        _mark(job, some)
        lease.renew()
    if _fewer_than_agreed(job, answered):
        holds.hold(job.pk, GONE)
    else:
        Job.objects.filter(pk=job.pk).update(deduplicated=True)
        if answered:
            rows = wording.rows(answered)
            job_log.write(job.pk, f"Reused the answers of {rows} from job {job.previous_id}.")


# Only rows that wait and were never in a batch: what was sent may have been charged.
_MARK = (
    update_statement(Row, ["same_as", "earlier"], ["job_id", "number"])
    + " AND outcome = 'waiting' AND batch_id IS NULL AND same_as IS NULL"
)


def _mark(job: Job, found: Sequence[RepeatedRow]) -> None:
    marks = [(one.same_as or None, one.earlier or None, job.pk, one.number) for one in found]
    # bulk_update is many times slower.
    known = Row.objects.filter(job=job, outcome=Outcome.WAITING, batch=None).filter(
        number__in=[one.number for one in found if one.earlier], earlier__isnull=False
    )
    with slice_transaction(), connection.cursor() as cursor:
        note_change(job.pk)
        cursor.executemany(_MARK, marks)
        _copy(known, Row.objects.filter(job=job.previous, outcome=Outcome.GOOD), "earlier")


def _fewer_than_agreed(job: Job, answered: int) -> bool:
    estimate = estimates.current(job)
    if not job.recipe.only_new or estimate is None or not estimate.basis.survey.known:
        return False
    # Read it again: the previous job may have been deleted in the meantime.
    return (
        answered < estimate.basis.survey.known
        or find_previous_job(Job.objects.get(pk=job.pk)) is None
    )


def copy_answers(job: Job, lease: Lease) -> None:
    """Copy the result of each sent row to its duplicates. Their tokens and cost stay 0.

    Raises LeaseLost.
    """
    copies = Row.objects.filter(job=job, outcome=Outcome.WAITING, same_as__isnull=False)
    # While a row waits, its duplicates wait with it.
    settled = Row.objects.filter(job=job, same_as=None).exclude(outcome=Outcome.WAITING)
    for rows in copies.value_slices(SLICE):
        with slice_transaction():
            note_change(job.pk)
            _copy(copies.filter(number__in=[number for (number,) in rows]), settled, "same_as")
        lease.renew()


def _copy(rows: RowQuerySet, originals: RowQuerySet, name: str) -> None:
    """Copy to `rows` the results of `originals`, whose number is in the column `name`."""
    original = originals.filter(number=OuterRef(name))
    rows.filter(Exists(original)).update(
        **{column: Subquery(original.values(column)[:1]) for column in _COPIED}
    )
