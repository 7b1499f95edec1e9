"""A batch that only the journal knew gets its rows back, slice by slice.

Until it has all of them the batch is *restoring*: nobody plans, empties, sends or looks for it.
After a crash, the next restore finds it by its nonce and adds the missing rows. Once it has all of
them, recovery.py settles what becomes of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django.db import transaction
from django.db.models import Max, Q

from ..models import (
    Batch,
    Job,
    NotMoved,
    Outcome,
    Row,
    RowQuerySet,
    SubmissionDetail,
    SubmissionEvent,
    note_change,
)
from . import attempts, journal, planning
from .journaled_batches import CLEAR_NO
from .slices import slice_transaction

SLICE = 1_000  # rows of one transaction
RANGES_AT_ONCE = 200  # runs of rows in one query: SQLite takes a thousand conditions
NO_ROWS = (Job.State.READING, Job.State.UNREADABLE, Job.State.DELETING)
_NEVER_SENT = {"outcome": Outcome.WAITING, "cause": "", "message": ""}

Ranges = Sequence[tuple[int, int]]  # first and last number of each run of rows


class NotYet(Exception):
    """This batch cannot be restored now; says why."""


def give_rows_back(job: Job, intent: journal.Intent) -> bool:
    """Give a batch all the rows that it was sent with. Create it if the database does not have it;
    leave it alone if it has its rows.

    False if the rows are not free: the batch stays out, and its waiting rows are stopped. Not to be
    called in a transaction. Raises NotYet; what was done by then stays done.
    """
    known = Batch.objects.filter(job=job, nonce=intent.nonce).first()
    if known and known.state == Batch.State.PLANNING:
        # It has some of its rows. The worker empties it, and then it can get all of them.
        raise NotYet("the batch was being prepared when the backup was made")
    if known and known.state not in (Batch.State.CANCELED, Batch.State.RESTORING):
        return True
    # The journal's `rows` are those of the body, each once.
    parts = list(_parts(intent.rows))
    _take_back_what_was_planned(job, parts, intent.nonce)
    batch = _begin(job, intent)
    if _count(intent.rows) != batch.size or not all(_are_free(batch, part) for part in parts):
        _let_go(batch, parts)
        return False
    for part in parts:
        with slice_transaction(None):
            _lock(batch)
            _take(batch, part)
    return True


def are_the_same(job: Job, intent: journal.Intent) -> bool:
    """Whether the numbers in the journal mean the rows that the job has: a draft may have been read
    with other settings after the backup."""
    parts = (_rows(job, part) for part in _parts(intent.rows))
    return intent.places in ("", planning.places_hash(job, parts))


def was_stopped(job: Job, nonces: Sequence[str]) -> bool:
    """Whether a finished job had been stopped before the batches with `nonces` got rows back."""
    begun = SubmissionEvent.objects.filter(job=job, nonce__in=nonces, kind="restoring")
    rows = Row.objects.filter(job=job, outcome=Outcome.CANCELED)
    return begun.filter(detail__stopped=True).exists() or rows.exists()


def has_all_rows(batch: Batch) -> bool:
    """Whether a batch has as many rows as it was sent with."""
    return batch.rows.count() == batch.size


def _begin(job: Job, intent: journal.Intent) -> Batch:
    """The batch, restoring, so that the job neither uses its rows nor finishes. Raises NotYet."""
    with transaction.atomic():
        _lock_job(job)
        batch = Batch.objects.filter(job=job, nonce=intent.nonce).first()
        if batch is None or batch.state != Batch.State.RESTORING:
            # Nobody can tell later: the rows of the batch wait again by then.
            stopped = Row.objects.filter(job=job, outcome=Outcome.CANCELED).exists()
            SubmissionEvent.objects.create(
                job=job,
                nonce=intent.nonce,
                kind="restoring",
                detail=SubmissionDetail(stopped=stopped),
            )
        if batch is None:
            return _create_batch(job, intent)
        try:
            old = Batch.State.CANCELED, Batch.State.RESTORING
            Batch.objects.move(batch.pk, old, Batch.State.RESTORING)
        except NotMoved:
            raise NotYet("it changed just now") from None
    batch.state = Batch.State.RESTORING
    return batch


def _create_batch(job: Job, intent: journal.Intent) -> Batch:
    number = intent.number
    if job.batches.filter(number=number).exists():
        number = (job.batches.aggregate(last=Max("number"))["last"] or 0) + 1
    return Batch.objects.create(
        job=job,
        number=number,
        round=job.last_round,
        nonce=intent.nonce,
        size=intent.size,
        state=Batch.State.RESTORING,
        practice=False,
        body_sha256=intent.sha256,
        body_bytes=intent.bytes,
    )


def _lock_job(job: Job) -> None:
    """Whoever plans, sends, stops or deletes comes before us or after us. Raises NotYet."""
    same = Job.objects.select_for_update().filter(pk=job.pk, upload_sha256=job.upload_sha256)
    if not same.filter(practice=False).exclude(state__in=NO_ROWS).exists():
        raise NotYet("it changed just now")
    if attempts.is_preparing(job):
        # The retry would miss the rows that come back, and lose how they were asked.
        raise NotYet("the rows of a retry are being prepared")


def _lock(batch: Batch) -> None:
    """Before its rows are changed. Raises NotYet."""
    _lock_job(batch.job)
    note_change(batch.job_id)
    mine = Batch.objects.filter(pk=batch.pk, state=Batch.State.RESTORING)
    if not mine.update(state=Batch.State.RESTORING):
        raise NotYet("it changed just now")


def _take_back_what_was_planned(job: Job, parts: list[Ranges], nonce: str) -> None:
    """Empty batches that were planned with these rows since then and never sent. Raises NotYet if
    one was sent: it was sent again only after the earlier one had ended."""
    others = job.batches.exclude(state__in=Batch.FINAL).exclude(nonce=nonce)
    open_ = {batch.pk: batch for batch in others}
    for part in parts:
        if not open_:
            return
        rows = _rows(job, part).exclude(batch=None)
        for pk in list(rows.values_list("batch", flat=True).distinct()):
            batch = open_.pop(pk, None)
            if batch is None:
                continue
            if batch.state not in CLEAR_NO:
                raise NotYet("an earlier batch of these rows comes first")
            try:
                Batch.objects.move(pk, CLEAR_NO, Batch.State.PLANNING)
            except NotMoved:
                raise NotYet("an earlier batch of these rows is being sent") from None
            planning.empty(batch)


def _are_free(batch: Batch, part: Ranges) -> bool:
    """Whether all these rows exist and none waits in another batch. Raises NotYet if that may
    change."""
    rows = _rows(batch.job, part)
    if rows.count() != _count(part):
        return False
    elsewhere = rows.filter(outcome=Outcome.WAITING).exclude(batch=None).exclude(batch=batch)
    elsewhere = elsewhere.exclude(batch__in=_canceled_batches(batch.job))
    if elsewhere.exclude(batch__state__in=Batch.FINAL).exists():
        raise NotYet("an earlier batch of these rows comes first")
    return not elsewhere.exists()


def _take(batch: Batch, part: Ranges) -> None:
    """Give a batch those of these rows that it does not have. Repeatable."""
    rows = _rows(batch.job, part)
    not_sent = Q(batch=None) | Q(batch__in=_canceled_batches(batch.job))
    free = rows.filter(
        Q(not_sent, outcome__in=[Outcome.WAITING, Outcome.CANCELED])
        | Q(batch=batch, outcome=Outcome.CANCELED)
    )
    free.update(batch=batch, round=batch.round, **_NEVER_SENT)
    # Rows with an answer, or without one for good, may have been sent again after the backup.
    settled = rows.exclude(outcome=Outcome.WAITING)
    attempts.keep_attempts(settled)
    settled.update(**{**attempts.NO_RESULT, "batch": batch, "round": batch.round})


def _let_go(batch: Batch, parts: list[Ranges]) -> None:
    """Keep the batch out. Its waiting rows are not sent again."""
    for part in parts:
        with slice_transaction(None):
            _lock(batch)
            mine = Q(batch=batch) | Q(batch=None, outcome=Outcome.WAITING)
            _rows(batch.job, part).filter(mine).update(
                batch=None, outcome=Outcome.CANCELED, cause="canceled"
            )
    restoring = Batch.objects.filter(pk=batch.pk, state=Batch.State.RESTORING)
    # Keep one that may still turn up at the provider.
    if not restoring.filter(late_until__isnull=False).update(state=Batch.State.CANCELED):
        restoring.delete()


def _canceled_batches(job: Job) -> list[int]:
    # A list: in a query of its own, an UPDATE would not see what others change meanwhile.
    return list(job.batches.filter(state=Batch.State.CANCELED).values_list("pk", flat=True))


def _count(ranges: Ranges) -> int:
    return sum(last - first + 1 for first, last in ranges)


def _parts(ranges: Ranges) -> Iterator[Ranges]:
    """These runs of rows in parts of at most SLICE rows and RANGES_AT_ONCE runs."""
    part: list[tuple[int, int]] = []
    for first, last in ranges:
        while first <= last:
            end = min(last, first + SLICE - _count(part) - 1)
            part.append((first, end))
            first = end + 1
            if len(part) == RANGES_AT_ONCE or _count(part) == SLICE:
                yield part
                part = []
    if part:
        yield part


def _rows(job: Job, part: Ranges) -> RowQuerySet:
    wanted = Q()
    for first, last in part:
        wanted |= Q(number__gte=first, number__lte=last)
    return Row.objects.filter(wanted, job=job)
