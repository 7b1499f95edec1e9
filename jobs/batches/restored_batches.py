"""Batches that only the journal knows come back into the database, with their rows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Max, Q

from ..models import (
    Batch,
    Job,
    NotMoved,
    Outcome,
    Row,
    RowQuerySet,
    clock,
)
from ..provider.replies import BatchInfo
from . import absence, attempts, journal, planning
from .unknown_submissions import CLEAR_NO, Submission

RANGES_AT_ONCE = 200  # runs of rows in one query: SQLite takes a thousand conditions
# States in the database of a batch of which the journal may know more.
UNSETTLED = (*CLEAR_NO, Batch.State.SUBMITTING, Batch.State.UNKNOWN, Batch.State.CANCELED)
NEVER_SENT = {"outcome": Outcome.WAITING, "cause": "", "message": ""}


class NotYet(Exception):
    """This one cannot be given back now; says why."""


class _NotFree(Exception):
    """The rows of a batch are not its own any more."""


def settle(batch: Batch, submission: Submission, provider_id: str, info: BatchInfo | None) -> None:
    """A batch goes on as the one that the provider calls `provider_id`, and of which its list says
    `info`; without an id it is looked for. Raises NotYet."""
    values = of_last_attempt(submission)
    values["attempts"] = max(batch.attempts, values["attempts"])
    values["intent_at"] = batch.intent_at or values["intent_at"]
    if provider_id:
        made = info.created_at if info else submission.last.at
        values |= {
            "state": Batch.State.IN_PROGRESS,
            "provider_id": provider_id,
            "created_at": made,
            "expires_at": info.expires_at if info else made + timedelta(hours=24),
            "recovered": True,
            "next_action_at": None,
            "refusal": "",
            "asked_at": None,
            "suggested_id": "",
        }
    else:
        values |= {"state": Batch.State.UNKNOWN, "next_action_at": clock.now(), "empty_looks": 0}
    same = Batch.objects.filter(pk=batch.pk, state=batch.state, attempts=batch.attempts)
    if not same.update(**values):
        raise NotYet("it is being worked on")
    Job.objects.filter(pk=batch.job_id, held=batch.why_asked).update(held="")


def of_last_attempt(submission: Submission) -> dict[str, Any]:
    """The columns of a batch that its last intent had committed."""
    last = submission.last
    return {
        "attempts": last.attempt,
        "intent_at": submission.intents[0].at,
        "deadline_at": last.deadline,
        "absence": absence.begin_at(last.begun) if last.begun else None,
        "baseline_ids": last.baseline,
        "baseline_at": last.baseline_at,
    }


# --- The rows of a batch --------------------------------------------------------------------------


def batch_with_its_rows(job: Job, submission: Submission) -> Batch | None:
    """The batch with its rows, made anew if the database does not have it; None when they are not
    free any more, and then those that wait are stopped. Raises NotYet."""
    known = Batch.objects.filter(job=job, nonce=submission.nonce).first()
    if known and known.state == Batch.State.PLANNING:
        # It has some of its rows. The worker empties it, and then it is made anew with all of them.
        raise NotYet("the batch was being prepared when the backup was made")
    if known and known.state != Batch.State.CANCELED:
        return known
    ranges = submission.last.rows
    _take_back_what_was_planned(job, ranges)
    try:
        with transaction.atomic():
            batch = known or _new_batch(job, submission.last)
            if _take_rows(batch, ranges) != batch.size:
                raise _NotFree
    except _NotFree:
        for rows in _slices(job, ranges):
            waiting = rows.filter(batch=None, outcome=Outcome.WAITING)
            waiting.update(outcome=Outcome.CANCELED, cause="canceled")
        return None
    return batch


def _take_back_what_was_planned(job: Job, ranges: list[tuple[int, int]]) -> None:
    """What was planned with these rows since then was never sent. Raises NotYet when some are in
    a batch that was, because they were sent again only after that one had ended."""
    open_ = {batch.pk: batch for batch in job.batches.exclude(state__in=Batch.FINAL)}
    for rows in _slices(job, ranges):
        for pk in rows.exclude(batch=None).values_list("batch", flat=True).distinct():
            batch = open_.pop(pk, None)
            if batch is None:
                continue
            if batch.state not in CLEAR_NO:
                raise NotYet("an earlier batch of these rows comes first")
            try:
                with transaction.atomic():
                    Batch.objects.move(pk, CLEAR_NO, Batch.State.PLANNED)
                    planning.unplan(batch)
            except NotMoved:
                raise NotYet("an earlier batch of these rows is being sent") from None


def _new_batch(job: Job, intent: journal.Intent) -> Batch:
    number = intent.number
    if job.batches.filter(number=number).exists():
        number = (job.batches.aggregate(last=Max("number"))["last"] or 0) + 1
    return Batch.objects.create(
        job=job,
        number=number,
        round=job.last_round,
        nonce=intent.nonce,
        size=intent.size,
        practice=False,
        body_sha256=intent.sha256,
        body_bytes=intent.bytes,
    )


def _take_rows(batch: Batch, ranges: list[tuple[int, int]]) -> int:
    """Give a batch the rows that are free of those it was sent with; how many these are."""
    stopped = batch.job.batches.filter(state=Batch.State.CANCELED).values_list("pk", flat=True)
    # A list: in a query of its own, an UPDATE would not see what others change meanwhile.
    not_sent = Q(batch=None) | Q(batch__in=list(stopped))
    taken = 0
    for rows in _slices(batch.job, ranges):
        free = rows.filter(not_sent, outcome__in=[Outcome.WAITING, Outcome.CANCELED])
        taken += free.update(batch=batch, round=batch.round, **NEVER_SENT)
        # Rows that had their answer, or none, may have been sent again after the backup.
        settled = rows.exclude(outcome=Outcome.WAITING)
        attempts.keep_attempts(settled)
        again = {"batch": batch, "round": batch.round}
        taken += settled.update(**{**attempts.NO_RESULT, **again})
    return taken


def _slices(job: Job, ranges: list[tuple[int, int]]) -> Iterator[RowQuerySet]:
    """The rows of a job with these numbers, in as many parts as the database needs."""
    for begin in range(0, len(ranges), RANGES_AT_ONCE):
        wanted = Q()
        for first, last in ranges[begin : begin + RANGES_AT_ONCE]:
            wanted |= Q(number__gte=first, number__lte=last)
        yield Row.objects.filter(wanted, job=job)
