"""What a person does to many rows of a finished job: leaving them out, changing them, taking
changes back. A click does it at once for few rows. For many it only records a RowChange, and the
worker does it slice by slice, each in a short transaction that also notes how far it is.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import F, Max

from . import building, clock, editing, rounds, tally, words
from .judging import SET_ASIDE, cause_in_words
from .models import NOT_GOOD, Edit, Job, JobEvent, Outcome, Row, RowChange, RowQuerySet
from .slices import slice_transaction

Kind = RowChange.Kind
AT_ONCE = 1_000  # rows that a click changes by itself
SLICE = 1_000  # row numbers of one transaction of the worker


def find(job: Job) -> RowChange | None:
    """What is being done to the rows of a job."""
    return RowChange.objects.filter(job=job).first()


def to_leave_out(job: Job, cause: str) -> RowQuerySet:
    return Row.objects.filter(job=job, outcome__in=NOT_GOOD, cause=cause)


def leave_out(shown: Job, cause: str, count: int, user: User) -> bool:
    """Leave out the rows with this cause: `count`, as was shown; False when the job is not as
    `shown` any more."""
    # Found before anybody has to wait; `shown` says whether they are still these.
    numbers = list(to_leave_out(shown, cause).values_list("number", flat=True)[: AT_ONCE + 1])
    with transaction.atomic():
        change = _begin(shown, user, kind=Kind.LEAVE_OUT, cause=cause, rows=count)
        if change is not None and count <= AT_ONCE:
            _leave_out(change, Row.objects.filter(job=shown, number__in=numbers))
            _end(change)
    return change is not None


def change_all(job: Job, cause: str, user: User, *, code: str, name: str, number: int) -> int:
    """As editing.change_all, of any number of rows; how many there are, when they are many."""
    if not editing.can_change(job, code, name, number):
        return 0
    shown = Job.objects.get(pk=job.pk)
    counted = rounds.count_with_cause(shown, cause)
    count = editing.to_change(shown, cause).count() if counted is None else counted
    if count <= AT_ONCE:
        return editing.change_all(shown, cause, code, name, number)
    how = {"code": code, "name": name, "number": number}
    with transaction.atomic():
        begun = _begin(shown, user, kind=Kind.EDIT, cause=cause, how=how, rows=count)
    return count if begun else 0


def forget_all(job: Job, user: User) -> None:
    """As editing.forget, of any number of edits."""
    shown = Job.objects.get(pk=job.pk)
    count = shown.edits.count()
    if count <= AT_ONCE:
        editing.forget(shown)
        return
    with transaction.atomic():
        _begin(shown, user, kind=Kind.FORGET, rows=count)


def _begin(shown: Job, user: User, **values: Any) -> RowChange | None:
    locked = Job.objects.select_for_update().get(pk=shown.pk)
    is_same = rounds.versions(locked) == rounds.versions(shown)
    if locked.state != Job.State.FINISHED or not is_same or find(shown):
        return None
    Job.objects.filter(pk=shown.pk).update(next_action_at=clock.now(), changed_by=user)
    return RowChange.objects.create(job=shown, asked_by=user, **values)


# --- The worker -----------------------------------------------------------------------------------


def work_next(job: Job) -> bool:
    """Do the next slice of what is to be done to the rows of `job`; False when there is nothing."""
    change = RowChange.objects.filter(job=job).exclude(kind=Kind.CORRECT).first()
    if change is None:
        return False
    last = Row.objects.filter(job=job).aggregate(last=Max("number"))["last"] or 0
    end = min(change.done_to + SLICE, last)
    here = {"number__gt": change.done_to, "number__lte": end}
    wanted = editing.Wanted({}, set())
    if change.kind == Kind.EDIT:  # nobody else changes the rows, so this holds
        rows = editing.to_change(job, change.cause).filter(**here)
        wanted = editing.changed(job, rows, **change.how)
    with slice_transaction():
        locked = Job.objects.select_for_update().get(pk=job.pk)
        mine = RowChange.objects.filter(pk=change.pk, done_to=change.done_to)
        if locked.state != Job.State.FINISHED or not mine.update(done_to=end):
            return False
        if change.kind == Kind.LEAVE_OUT:
            done = _leave_out(change, to_leave_out(job, change.cause).filter(**here))
        elif change.kind == Kind.EDIT:
            done = editing.put_changed(job, wanted)
        else:
            done, _ = Edit.objects.filter(job=job, **here).delete()
            editing.note_edits(job)
        RowChange.objects.filter(pk=change.pk).update(done=F("done") + done)
        if end == last:
            change.refresh_from_db()
            _end(change)
    if end == last and change.kind == Kind.LEAVE_OUT:
        tally.count_up(job)
    return True


def _leave_out(change: RowChange, rows: RowQuerySet) -> int:
    job, title = change.job, cause_in_words(change.cause).title
    edits = Edit.objects.filter(job=job, number__in=list(rows.values_list("number", flat=True)))
    if edits.delete()[0]:
        editing.note_edits(job)
    left = rows.update(
        outcome=Outcome.LEFT_OUT, cause=SET_ASIDE, problem=f"Left out by you: {title}"
    )
    if left:
        changed = {"rows_changed": F("rows_changed") + 1, "answers": None}
        Job.objects.filter(pk=job.pk).update(**changed)
        tally.note_change(job.pk)
    return left


def _end(change: RowChange) -> None:
    job, rows = change.job, change.rows
    change.delete()
    if change.kind == Kind.LEAVE_OUT:
        title = cause_in_words(change.cause).title
        said = f"Left out on purpose: {words.rows(rows)} ({title})."
        job.refresh_from_db()
        building.ask_for_usual(job)
        job.runs_again().price_anew(clock.now())
    elif change.kind == Kind.EDIT:
        said = f"Changed {words.rows(change.done)}."
    else:
        said = f"Took back the changes of {words.rows(rows)}."
    JobEvent.objects.create(job=job, text=said, who=change.asked_by)
