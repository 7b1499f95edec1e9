"""Changes by people to many rows of a job: ignore rows, edit them, undo edits, mark an answer that
has many copies. A click changes a few rows itself. For many it only records a RowChange; the worker
does it in slices, each in a short transaction that also records the progress.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import F, Max

from ..batches.slices import slice_transaction
from ..models import (
    NOT_GOOD,
    ChangeDetail,
    Edit,
    Job,
    Outcome,
    Row,
    RowChange,
    RowQuerySet,
    clock,
    job_log,
)
from ..results import builder
from ..retries import edits, rounds, selection
from ..rules import wording
from ..rules.judging import IGNORED, MARKED_DOWN, describe_cause
from . import tally

Kind = RowChange.Kind
AT_ONCE = 1_000  # rows that a click changes by itself
COUNTED_AT_ONCE = 20_000  # rows of a job that a click counts anew
SLICE = 1_000  # rows, or row numbers, of one transaction of the worker


def find_change(job: Job) -> RowChange | None:
    """The change to rows of a job that is under way."""
    return RowChange.objects.filter(job=job).first()


def ignorable_rows(job: Job, cause: str) -> RowQuerySet:
    return Row.objects.filter(job=job, outcome__in=NOT_GOOD, cause=cause)


def count_ignorable_rows(job: Job, cause: str) -> int:
    """How many rows have this cause: from the tally if it is up to date, else counted."""
    if job.tally_version != job.rows_version or not job.tally.causes:
        return ignorable_rows(job, cause).count()
    found = job.tally.causes
    return sum(rows for outcome, why, rows in found if outcome in NOT_GOOD and why == cause)


def ignore_rows(shown: Job, cause: str, count: int, user: User) -> bool:
    """Ignore the `count` rows with this cause. False if the job is no longer as `shown`."""
    # Large jobs take long to count, so the worker does even a few of their rows.
    at_once = count <= AT_ONCE and shown.row_count <= COUNTED_AT_ONCE
    # Found before the lock; the versions of `shown` tell whether they are still the same.
    numbers = list(ignorable_rows(shown, cause).values_list("number", flat=True)[:AT_ONCE])
    with transaction.atomic():
        change = _begin_change(shown, user, kind=Kind.LEAVE_OUT, cause=cause, rows=count)
        if change is not None and at_once:
            _ignore(change, Row.objects.filter(job=shown, number__in=numbers))
            _end_change(change)
    if change is not None and at_once:
        tally.count_up(shown)
    return change is not None


def edit_rows(job: Job, cause: str, user: User, *, code: str, name: str, number: int) -> int:
    """Like edits.change_all, for any number of rows. Returns how many."""
    if not edits.can_change(job, code, name, number):
        return 0
    shown = Job.objects.get(pk=job.pk)
    counted = selection.count_with_cause(shown, cause)
    count = edits.changeable_rows(shown, cause).count() if counted is None else counted
    if count <= AT_ONCE:
        return edits.change_rows(shown, cause, code, name, number)
    how = ChangeDetail(number, code, name)
    with transaction.atomic():
        begun = _begin_change(shown, user, kind=Kind.EDIT, cause=cause, how=how, rows=count)
    return count if begun else 0


def undo_edits(job: Job, user: User) -> None:
    """Like edits.forget, for any number of edits."""
    shown = Job.objects.get(pk=job.pk)
    count = shown.edits.count()
    if count <= AT_ONCE:
        edits.discard_edits(shown)
        return
    with transaction.atomic():
        _begin_change(shown, user, kind=Kind.FORGET, rows=count)


def count_copies(job: Job, number: int) -> int:
    """How many rows have a copy of the answer of row `number`."""
    return Row.objects.filter(job=job, same_as=number).count() if job.recipe.skip_duplicates else 0


def mark_answer(row: Row, copies: int, good: bool | None, note: str, user: User) -> None:
    """Mark the answer of a row and its `copies` as good or not. The worker does the copies if there
    are many. Call it within a transaction that locks the job."""
    job = row.job
    numbers = [row.number]
    if copies <= AT_ONCE:
        same = Row.objects.filter(job=job, same_as=row.number) if copies else Row.objects.none()
        numbers += same.values_list("number", flat=True)
    changed = _mark(row, Row.objects.filter(job=job, number__in=numbers), good, note)
    if copies > AT_ONCE:
        how = ChangeDetail(row.number, good=good, note=note)
        RowChange.objects.create(job=job, asked_by=user, kind=Kind.MARK, how=how, rows=copies)
        Job.objects.filter(pk=job.pk).update(next_action_at=clock.now())
        tally.note_change(job.pk)
    elif changed:
        tally.count_mark(job, row, changed, good is not False)


def _mark(row: Row, rows: RowQuerySet, good: bool | None, note: str) -> int:
    """Mark those of `rows` that have the answer of `row`. Returns how many changed."""
    rows = rows.filter(answer=row.answer)
    down = rows.filter(outcome=Outcome.LOOK, cause=MARKED_DOWN)
    if good is not False:
        return down.update(outcome=Outcome.GOOD, cause="", message="")
    down.update(message=note)
    good_ones = rows.filter(outcome=Outcome.GOOD)
    return good_ones.update(outcome=Outcome.LOOK, cause=MARKED_DOWN, message=note)


def _begin_change(shown: Job, user: User, **values: Any) -> RowChange | None:
    locked = Job.objects.select_for_update().get(pk=shown.pk)
    is_same = rounds.versions(locked) == rounds.versions(shown)
    if locked.state != Job.State.FINISHED or not is_same or find_change(shown):
        return None
    Job.objects.filter(pk=shown.pk).update(next_action_at=clock.now(), changed_by=user)
    return RowChange.objects.create(job=shown, asked_by=user, **values)


# --- The worker -----------------------------------------------------------------------------------

# Asked in each step of a job, so it is not put together anew.
_IN_SLICES = RowChange.objects.exclude(kind=Kind.CORRECT).order_by("pk")


def change_next_slice(job: Job) -> bool:
    """Do the next slice of the change to rows of `job`. False if there is none."""
    change = _IN_SLICES.filter(job=job).first()
    if change is None:
        return False
    end, is_last = _end_of_slice(change)
    here = {"number__gt": change.done_to, "number__lte": end}
    wanted, how = edits.EditedSources({}, set()), change.how
    if change.kind == Kind.EDIT:  # safe outside the transaction: nothing else changes these rows
        rows = edits.changeable_rows(job, change.cause).filter(**here)
        wanted = edits.change_sources(job, rows, how.code, how.name, how.number)
    with slice_transaction(None):
        locked = Job.objects.select_for_update().get(pk=job.pk)
        # Answers can be marked while the job is still running.
        open_ = Job.SENT if change.kind == Kind.MARK else [Job.State.FINISHED]
        mine = RowChange.objects.filter(pk=change.pk, done_to=change.done_to)
        if locked.state not in open_ or not mine.update(done_to=end):
            return False
        if change.kind == Kind.LEAVE_OUT:
            done = _ignore(change, ignorable_rows(job, change.cause).filter(**here))
        elif change.kind == Kind.MARK:
            done = _mark_copies(change, here)
        elif change.kind == Kind.EDIT:
            done = edits.store_edits(job, wanted)
        else:
            done, _ = Edit.objects.filter(job=job, **here).delete()
            edits.note_edits(job)
        RowChange.objects.filter(pk=change.pk).update(done=F("done") + done)
        if is_last:
            change.refresh_from_db()
            _end_change(change)
    if is_last and change.kind in (Kind.LEAVE_OUT, Kind.MARK):
        tally.count_up(job)
    return True


def _end_of_slice(change: RowChange) -> tuple[int, bool]:
    """The last row number of the next slice, and whether it is the last slice."""
    rows = Row.objects.filter(job=change.job)
    if change.kind == Kind.LEAVE_OUT:
        # Queried one by one, each comes from an index in order of row numbers.
        chosen = [rows.filter(outcome=outcome, cause=change.cause) for outcome in NOT_GOOD]
    elif change.kind == Kind.MARK:
        chosen = [rows.filter(same_as=change.how.number)]
    else:
        last = rows.aggregate(last=Max("number"))["last"] or 0
        end = min(change.done_to + SLICE, last)
        return end, end == last
    found: list[int] = []
    for some in chosen:
        after = some.filter(number__gt=change.done_to).order_by("number")
        found += after.values_list("number", flat=True)[:SLICE]
    found = sorted(found)[:SLICE]
    return (found[-1] if found else change.done_to), len(found) < SLICE


def _mark_copies(change: RowChange, here: dict[str, int]) -> int:
    job, how = change.job, change.how
    row = Row.objects.get(job=job, number=how.number)
    copies = Row.objects.filter(job=job, same_as=row.number, **here)
    numbers = list(copies.values_list("number", flat=True))
    _mark(row, Row.objects.filter(job=job, number__in=numbers), how.good, how.note)
    Job.objects.filter(pk=job.pk).update(rows_changed=F("rows_changed") + 1)
    tally.note_change(job.pk)
    return len(numbers)


def _ignore(change: RowChange, rows: RowQuerySet) -> int:
    job, title = change.job, describe_cause(change.cause).title
    numbers = list(rows.values_list("number", flat=True))
    if Edit.objects.filter(job=job, number__in=numbers).delete()[0]:
        edits.note_edits(job)
    left = rows.update(outcome=Outcome.LEFT_OUT, cause=IGNORED, problem=f"Ignored: {title}")
    if left:
        changed = {"rows_changed": F("rows_changed") + 1, "answers": None}
        Job.objects.filter(pk=job.pk).update(**changed)
        tally.note_change(job.pk)
    return left


def _end_change(change: RowChange) -> None:
    job, rows = change.job, change.rows
    change.delete()
    if change.kind == Kind.MARK:
        job.refresh_from_db()
        if job.state == Job.State.FINISHED:
            builder.request_exports_after_review(job)
        job.runs_again().price_anew(clock.now())
        return
    if change.kind == Kind.LEAVE_OUT:
        title = describe_cause(change.cause).title
        said = f"Ignored {wording.rows(rows)}: {title}."
        job.refresh_from_db()
        builder.request_usual_exports(job)
        job.runs_again().price_anew(clock.now())
    elif change.kind == Kind.EDIT:
        said = f"Changed {wording.rows(change.done)}."
    else:
        said = f"Undid the changes to {wording.rows(rows)}."
    job_log.write(job.pk, said, change.asked_by)
