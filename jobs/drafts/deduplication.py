"""Skip duplicates: of rows with equal requests only the first is sent, and its answer is copied
when the job ends. Rows that an earlier job has answered get that answer."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from operator import add, lt

from django.db.models import Exists, OuterRef, Subquery

from ..batches import answer_columns, holds
from ..batches.leases import Lease
from ..batches.slices import slice_transaction
from ..ingest.protocol import UploadSummary
from ..models import (
    Job,
    Outcome,
    Row,
    RowQuerySet,
    job_log,
    note_change,
    recipe_of,
    recipe_of_round,
)
from ..models.statements import run_for_each, update_statement
from ..rules import wording
from ..rules.recipes import Recipe
from ..rules.row_contents import recipe_key
from . import estimates, selected_rows
from .memory import good_rows
from .request_survey import exceeds, find_answered_requests, new_summary
from .row_survey import RepeatedRow, find_previous_job, find_repeated_rows

SLICE = 500  # rows changed at a time
_COPIED = ("outcome", "cause", "answer", "message", "problem", "stop_reason", "answered_by")
GONE = (
    "Some earlier answers that this job should reuse no longer exist, so it would send more rows "
    "than you confirmed. Nothing was sent. Stop this job and start a new one."
)


def mark_repeated_rows(job: Job, lease: Lease) -> None:
    """Mark the rows of a confirmed job that are not selected and the duplicates among the others,
    and copy answers from earlier jobs. Safe to repeat after a crash: it marks the same rows
    each time, and no batch is planned before it is done.

    Holds the job when fewer answers can be reused than its price counted on, so that it is never
    sent for more than its ceiling. Raises LeaseLost.
    """
    if not selected_rows.mark_unselected_rows(job, lease):
        return  # the job is being stopped
    recipe = recipe_of(job)
    if recipe_key(recipe_of_round(job, job.last_round)) != recipe_key(recipe):
        # The job was stopped before this step, and its rows are retried with another prompt. What
        # repeats under the first prompt says nothing here: all confirmed rows are sent.
        Job.objects.filter(pk=job.pk).update(deduplicated=True)
        return
    before = _version_of_previous(job)  # from before its rows are looked at
    others = new_summary()  # of ready-made requests
    found = _find_repeated(job, recipe, others, lease)
    answered = size = alike = alike_size = gone = 0
    while some := list(islice(found, SLICE)):
        if not Job.objects.filter(pk=job.pk, state=job.state).exists():
            return  # the job is being stopped
        answered += sum(one.earlier > 0 for one in some)
        size += sum(one.size for one in some if one.earlier)
        alike += sum(one.same_as > 0 for one in some)
        alike_size += sum(one.size for one in some if one.same_as)
        gone += _mark(job, some, before, lease)
        lease.renew()
    if gone:
        return  # look again
    copied = Row.objects.filter(job=job, earlier__isnull=False)
    if _fewer_than_agreed(job, (answered, size), (alike, alike_size), others.models):
        holds.hold(job.pk, GONE)
    else:
        Job.objects.filter(pk=job.pk).update(deduplicated=True)
        if answered:
            job_log.write(job.pk, _reused_in_words(job, copied, answered))


def _find_repeated(
    job: Job, recipe: Recipe, others: UploadSummary, lease: Lease
) -> Iterator[RepeatedRow]:
    """`others` is told what is in the ready-made requests that are sent. Raises LeaseLost."""
    if job.kind == Job.Kind.TABLE:
        return find_repeated_rows(job, recipe, recipe.only_new, recipe.skip_duplicates, True, lease)
    # A person may want several answers to the same request, so those are no duplicates.
    return find_answered_requests(job, recipe, others, lease) if recipe.only_new else iter(())


def _reused_in_words(job: Job, copied: RowQuerySet, answered: int) -> str:
    rows = wording.rows(answered)
    jobs = list(copied.order_by().values_list("earlier_job", flat=True).distinct()[:2])
    if jobs == [job.previous_id]:
        return f"Reused the answers of {rows} from job {job.previous_id}."
    return f"Reused the answers of {rows} from earlier jobs."


# Only rows that wait and were never in a batch: what was sent may have been charged. What was found
# before, by a worker that died, is found anew: another job may have answered it since.
_MARK = (
    update_statement(
        Row, ["same_as", "earlier", "earlier_job", "request_key"], ["job_id", "number"]
    )
    + " AND outcome = 'waiting' AND batch_id IS NULL"
)


def _version_of_previous(job: Job) -> int:
    """Of the rows of the job that `job` runs again: it changes with any of them."""
    if job.previous_id is None:
        return 0
    found = Job.objects.filter(pk=job.previous_id).values_list("rows_version", flat=True)
    return found.first() or 0


def _mark(job: Job, found: Sequence[RepeatedRow], before: int, lease: Lease) -> int:
    """How many answers of earlier jobs were gone by the time they were to be copied. `before`: as
    _version_of_previous gave it when `found` was looked for."""
    marks = [
        (
            one.same_as or None,
            one.earlier or None,
            one.earlier_job or None,
            one.request_key or None,
            job.pk,
            one.number,
        )
        for one in found
    ]
    # bulk_update is many times slower.
    numbers = [one.number for one in found if one.earlier]
    known = Row.objects.filter(job=job, outcome=Outcome.WAITING, batch=None).filter(
        number__in=numbers, earlier__isnull=False
    )
    sources = {one.earlier_job for one in found if one.earlier}
    with slice_transaction(lease):
        note_change(job.pk)
        run_for_each(_MARK, marks)
        gone = _copy_earlier(job, known, sources, before) if sources else 0
        if job.kind == Job.Kind.REQUESTS:
            answer_columns.store_columns_of_copies(job.pk, numbers)
        return gone


def _copy_earlier(job: Job, rows: RowQuerySet, sources: Collection[int], before: int) -> int:
    """Copy to `rows` the good answers of the rows of other jobs that they name. Those whose answer
    is gone by now, or may be one to another request, are as if none had been found; how many."""
    there = good_rows(job, sources).filter(job_id=OuterRef("earlier_job"))
    # Found by what is in the rows: none of them may have changed since.
    same = there.filter(job__rows_version=before)
    _copy(rows.filter(request_key=None), same, "earlier")
    asked = rows.filter(request_key__isnull=False)
    # Who sends the same has it: the row may have been sent with another prompt since.
    _copy(asked, there.filter(request_key=OuterRef("request_key")), "earlier")
    return rows.update(earlier=None, earlier_job=None, request_key=None)


def _fewer_than_agreed(
    job: Job, known: tuple[int, int], alike: tuple[int, int], others: dict[str, dict[str, int]]
) -> bool:
    """Whether fewer rows or bytes need not be sent than the confirmed price counted on: `known`,
    which earlier jobs have answered, or together with `alike`, the duplicates of others. Or whether
    there is more in the ready-made requests that are sent, `others`."""
    estimate = estimates.current(job)
    if not job.recipe.only_new or estimate is None:
        return False
    agreed = estimate.basis.survey
    # Rows that were stopped before this and are retried have a price of their own.
    if not agreed.answered or job.last_round > 1:
        return False
    if job.kind == Job.Kind.REQUESTS:
        return known[0] < agreed.reused or exceeds(others, agreed.sent)
    if agreed.known and find_previous_job(Job.objects.get(pk=job.pk)) is None:
        return True  # it may have been deleted in the meantime
    saved = agreed.answered, agreed.known_bytes + agreed.reused_bytes
    if any(now < then for now, then in zip(known, saved, strict=True)):
        return True
    # Answers to other rows, fewer of them alike, do not make up for those that are gone.
    copies = (agreed.alike, agreed.alike_bytes) if job.recipe.skip_duplicates else (0, 0)
    return any(map(lt, map(add, known, alike), map(add, saved, copies)))


def copy_answers(job: Job, lease: Lease) -> None:
    """Copy the result of each sent row to its duplicates. Their tokens and cost stay 0.

    Raises LeaseLost.
    """
    copies = Row.objects.filter(job=job, outcome=Outcome.WAITING, same_as__isnull=False)
    # While a row waits, its duplicates wait with it.
    settled = Row.objects.filter(job=job, same_as=None).exclude(outcome=Outcome.WAITING)
    for rows in copies.value_slices(SLICE):
        with slice_transaction(lease):
            note_change(job.pk)
            _copy(copies.filter(number__in=[number for (number,) in rows]), settled, "same_as")
        lease.renew()


def _copy(rows: RowQuerySet, originals: RowQuerySet, name: str) -> None:
    """Copy to `rows` the results of `originals`, whose number is in the column `name`."""
    original = originals.filter(number=OuterRef(name))
    rows.filter(Exists(original)).update(
        **{column: Subquery(original.values(column)[:1]) for column in _COPIED}
    )
