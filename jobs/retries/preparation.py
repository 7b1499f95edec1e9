"""Prepare a retry before any of it is sent. The worker takes its rows in slices: it stores the last
result as an attempt, applies the edit, and lets the row wait to be sent.

A slice is a range of row numbers and one short transaction, which also stores how far the round is.
If a worker dies, the next one continues, and each row is taken once. If the job is stopped, it
takes no more rows, and the rest stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import Exists, F, Max, OuterRef, Subquery

from ..batches import attempts
from ..batches.slices import slice_transaction
from ..models import Attempt, Edit, Job, Outcome, Round, Row, RowQuerySet, note_change
from ..models.statements import run_for_each, update_statement
from . import measurements, selection
from .selection import EDITED

SLICE = 500  # row numbers of one transaction
# An edited row is no duplicate any more.
_EDIT = update_statement(Row, ["source", "size", "same_as", "earlier"], ["job_id", "number"])
_STAND_FOR = update_statement(Row, ["same_as"], ["job_id", "number"])


def prepare_next(job: Job) -> bool:
    """Take the next slice of a round's rows; False if no round is being prepared."""
    one = job.rounds.exclude(step=Round.Step.READY).last()
    if one is None:
        return False
    last = Row.objects.filter(job=job).aggregate(last=Max("number"))["last"] or 0
    end = min(one.done_to + SLICE, last)
    rows = Row.objects.filter(job=job, number__gt=one.done_to, number__lte=end)
    with slice_transaction(None):
        # Locked: a stop comes either before this or after it.
        locked = Job.objects.select_for_update().get(pk=job.pk)
        note_change(job.pk)
        mine = Round.objects.filter(pk=one.pk, step=one.step, done_to=one.done_to)
        if not mine.update(done_to=end):
            return True  # another worker did it
        if one.step == Round.Step.PARTING:
            _of_changed(job, one, rows).update(same_as=None)
        else:
            if locked.state == Job.State.SUBMITTING:
                taken = _take(job, one, (one.done_to, end))
                Round.objects.filter(pk=one.pk).update(taken=F("taken") + taken)
            _change_copies(job, one, rows)
        if end == last:
            _end_step(job, one)
    return True


def _end_step(job: Job, one: Round) -> None:
    now = Round.objects.filter(pk=one.pk)
    copies = Row.objects.filter(job=job, same_as__isnull=False)
    if one.step == Round.Step.TAKING and one.which == EDITED and copies.exists():
        now.update(step=Round.Step.PARTING, done_to=0)
    elif now.filter(taken=0).exists():
        now.delete()  # stopped before it took any row
    else:
        now.update(step=Round.Step.READY, rows=F("taken"))


def _take(job: Job, one: Round, between: tuple[int, int]) -> int:
    """Let the rows of this slice wait to be sent; returns how many."""
    chosen = selection.in_rounds(selection.candidate_rows(job, one.which, between), one.earlier)
    # Never more rows than were confirmed.
    numbers = list(chosen.values_list("number", flat=True)[: max(one.rows - one.taken, 0)])
    if not numbers:
        return 0
    taken = Row.objects.filter(job=job, number__in=numbers)
    attempts.keep_attempts(taken)
    if one.which == EDITED:
        _take_edits(job, numbers)
    return taken.update(**attempts.NO_RESULT, round=one.number)


def _take_edits(job: Job, numbers: Sequence[int]) -> None:
    """Apply the edits of these rows. Earlier attempts keep the text that they sent."""
    row = Row.objects.filter(job=job, number=OuterRef("number"))
    before = Attempt.objects.filter(job=job, number__in=numbers, source="")
    before.update(source=Subquery(row.values("source")))
    edits = Edit.objects.filter(job=job, number__in=numbers)
    edited = [
        (source, measurements.row_size(job, source), None, None, job.pk, number)
        for number, source in edits.values_list("number", "source")
    ]
    run_for_each(_EDIT, edited)
    edits.delete()


# --- Duplicates -----------------------------------------------------------------------------------
# They come after their original, so it has been taken by now, if at all.


def _of_changed(job: Job, one: Round, rows: RowQuerySet) -> RowQuerySet:
    """The duplicates among `rows` whose original the round has taken, except good ones."""
    original = Row.objects.filter(job=job, number=OuterRef("same_as"), round=one.number)
    return rows.filter(Exists(original), same_as__isnull=False).exclude(outcome=Outcome.GOOD)


def _change_copies(job: Job, one: Round, rows: RowQuerySet) -> None:
    copies = _of_changed(job, one, rows)
    if one.which == EDITED:
        # The original has changed, so the first duplicate stands for the others now. It is found
        # by its `same_as`, which it therefore loses last.
        alike = Row.objects.filter(job=job, same_as=OuterRef("same_as"))
        first = alike.exclude(outcome=Outcome.GOOD).order_by("number").values("number")[:1]
        found = copies.annotate(first=Subquery(first)).values_list("number", "first")
        changes = [(to, job.pk, number) for number, to in found if to != number]
        run_for_each(_STAND_FOR, changes)
    elif one.asks_otherwise:
        copies.update(same_as=None)  # with another prompt they may differ
    else:
        # They wait for the answer of their original.
        copies.update(**attempts.NO_RESULT, round=one.number)
