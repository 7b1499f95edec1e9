"""Retry, change or ignore rows of a finished job."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.contrib.auth.models import User
from django.core.files.base import File
from django.db import transaction

from ..batches import attempts
from ..models import CorrectedUpload, Job, audit, clock, files, job_log, note_change, pico
from ..retries import edits, rounds
from ..rules import wording
from ..rules.retry_choices import RetryChoice
from ..spending import cap_notices, caps
from ..worker import row_changes
from . import approvals
from .nudges import nudge_worker
from .stored_files import store_file, upload_name_of
from .submissions import require_rows


def confirm_retry(job: Job, again: RetryChoice, key: str, user: User) -> bool:
    """Retry rows of a finished job exactly as shown: `key` is that of the rounds.Plan. False if
    the rows or their price have changed, or they are being sent.

    The worker puts the rows into new batches. The ceiling is reserved. Raises caps.NotAllowed if
    it exceeds a limit or a second person has to approve it first.
    """
    shown = Job.objects.get(pk=job.pk)
    # Outside the transaction: the time grows with the rows.
    planned = rounds.find_plan(shown, again)
    if planned is None or planned.key != key:
        return False
    with transaction.atomic():
        allowed, now = caps.lock_caps(), clock.now()
        # Locked: whoever edits or marks rows waits for us.
        job = Job.objects.select_for_update().get(pk=job.pk)
        if rounds.versions(job) != rounds.versions(shown) or row_changes.find_change(job):
            return False
        most = planned.price.most
        used = caps.take_up(job, most, allowed, now)
        require_rows(job.owner, planned.rows, now)
        approver = None
        if caps.needs_approval(job, most, allowed):
            if why := caps.why_approval_is_missing(job, key, user):
                raise caps.NotAllowed(why)
            approver = job.approval_by
        kept = Job.objects.filter(trashed_at=None, contents_deleted_at=None)
        started = job.practice == settings.PRACTICE and kept.try_move(
            job.pk,
            Job.State.FINISHED,
            Job.State.SUBMITTING,
            finished_at=None,
            next_action_at=now,
            reserved_pico=pico(most),
            # From now on an imported job counts as spending of this site.
            confirmed_at=job.confirmed_at or now,
            **approvals.NOTHING_ASKED,
        )
        if not started:
            return False
        what = rounds.describe_retry(job, planned)
        rounds.create_round(job, planned, what, user)
        note_change(job.pk)
        job.rounds.filter(number=job.last_round).update(approved_by=approver)
        job.runs_again().price_anew(now)
        job_log.write(
            job.pk, f"Retry requested: {wording.rows(planned.rows)}. {what}".strip(), user
        )
        cap_notices.tell_if_near(used, now)
        nudge_worker(job)
        after: dict[str, audit.Value] = {
            "plan": key,
            "rows": planned.rows,
            "most_usd": format(most, "f"),
            "approved_by": approver.pk if approver else None,
        }
        audit.record("retry_submitted", who=user, job=job.pk, after=after)
    return True


def note_changer(job: Job, user: User) -> None:
    """Note who changes rows of a finished job: they may not approve the retry."""
    Job.objects.filter(pk=job.pk).update(changed_by=user)


def upload_corrections(job: Job, upload: File[bytes], user: User) -> bool:
    """Upload a corrected problem file of a finished job; it replaces an earlier one. The worker
    reads it, and changed rows wait for a retry. False if the job is no
    longer finished, or its rows are being changed."""
    name = f"{job.upload_file}.{uuid.uuid4().hex[:8]}"
    with store_file(job.owner, upload, name) as sha256, transaction.atomic():
        taken = edits.is_open(job)
        if taken:
            Job.objects.filter(pk=job.pk).update(next_action_at=clock.now(), changed_by=user)
        mine = CorrectedUpload.objects.filter(job=job)
        not_needed = list(mine.values_list("file", flat=True)) if taken else [name]
        if taken:
            mine.delete()
            CorrectedUpload.objects.create(
                job=job, name=upload_name_of(upload), file=name, sha256=sha256
            )
            job_log.write(job.pk, f"Uploaded corrected rows: {upload_name_of(upload)}.", user)
            nudge_worker(job)
    for file in not_needed:
        files.stored_path(file).unlink(missing_ok=True)
    return taken


def ignore_rows(job: Job, cause: str, count: int, user: User) -> bool:
    """Ignore the `count` rows of a finished job with this cause, as shown. Their results and costs
    stay. The worker does it if there are many. False if the count has changed, or rows of the job
    are being changed."""
    shown = Job.objects.get(pk=job.pk)
    if not count or row_changes.count_ignorable_rows(shown, cause) != count:
        return False
    begun = row_changes.ignore_rows(shown, cause, count, user)
    if begun:
        nudge_worker(job)
    return begun


def are_rows_changing(job: Job) -> bool:
    """Whether the worker is changing rows of a job, or preparing a retry."""
    return row_changes.find_change(job) is not None or attempts.is_preparing(job)


def change_rows(job: Job, cause: str, user: User, *, code: str, name: str, number: int) -> int:
    """Change all rows with one cause, as edits.change_all does. Returns how many. The worker does
    it if there are many."""
    count = row_changes.edit_rows(job, cause, user, code=code, name=name, number=number)
    if count:
        nudge_worker(job)
    return count


def undo_edits(job: Job, user: User, number: int | None = None) -> None:
    """Undo the changes to one row, or to all."""
    if number is not None:
        edits.discard_edits(job, number)
    else:
        row_changes.undo_edits(job, user)
        nudge_worker(job)
