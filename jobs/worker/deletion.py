"""Delete a job at the provider, on disk and in the database."""

from __future__ import annotations

import logging

from django.conf import settings
from django.db import transaction

from ..batches import batch_keys, late
from ..batches.leases import Lease
from ..batches.provider_deletion import is_absent
from ..batches.slices import delete_rows
from ..models import (
    Attempt,
    Batch,
    Difference,
    Edit,
    FileProblem,
    Job,
    JobQuerySet,
    LateBatch,
    Row,
    Trial,
    audit,
    clock,
    files,
)
from ..provider import client, errors
from ..results import search_index
from ..spending import ledger

logger = logging.getLogger(__name__)


def begin_deletion(job: Job, jobs: JobQuerySet | None = None) -> bool:
    """Hide a job from every page; the worker deletes it. False if its state is not one of
    Job.DELETABLE, or it is not among `jobs`."""
    wanted = Job.objects.all() if jobs is None else jobs
    with transaction.atomic():
        deleting = wanted.try_move(
            job.pk, Job.DELETABLE, Job.State.DELETING, held="", next_action_at=clock.now()
        )
        if deleting:
            # Tests that have not been sent never will be. What the job has cost still counts, and
            # so does a test that is running: the ledger remembers it when the rows are deleted.
            job.trials.filter(state=Trial.State.WAITING).delete()
            job.runs_again().price_anew(clock.now())
    return deleting


def delete_job(job: Job, lease: Lease) -> None:
    """Delete a job at the provider, on disk and in the database. An imported batch stays at the
    provider. Repeatable."""
    left = _delete_at_provider(job, lease) if job.practice == settings.PRACTICE else 0
    for batch in job.batches.all():
        files.body_path(batch).unlink(missing_ok=True)
        files.results_path(batch).unlink(missing_ok=True)
        files.incomplete_path(batch).unlink(missing_ok=True)
        files.remove_incoming(batch)
    files.remove_stray_bodies(job)
    for path in files.exports_of(job.pk):
        files.remove_export(path)
    search_index.remove_index(job.pk)
    if job.upload_file:
        files.remove_upload(job.upload_file)
    for rows in (Row.objects, Attempt.objects, Edit.objects, Difference.objects):
        delete_rows(rows.filter(job=job), lease)
    FileProblem.objects.filter(job=job).delete()
    with transaction.atomic():
        ledger.keep_spending(job)
        job_pk, deleted = job.pk, {"rows": job.row_count, "owner": job.owner_id}
        if left:
            deleted["left_at_anthropic"] = left
        job.delete()
        audit.record("job_deleted", job=job_pk, after=deleted)


def _delete_at_provider(job: Job, lease: Lease) -> int:
    """How many batches are left there because their key is gone, or belongs to another workspace.
    Anthropic deletes them 29 days after they were made. What was deleted before something failed is
    not asked for again."""
    # Only batches proven to be ours, by their results or by the answer to our own POST.
    ours = job.batches.filter(deleted_at=None).exclude(provider_id=None).exclude(is_external=True)
    proven = ours.exclude(recovered=True, state=Batch.State.LOST)
    if batch_keys.is_missing(job.key_team):
        return proven.count()
    late_ones = LateBatch.objects.filter(batch__job=job).select_related("batch")
    for one in late_ones.filter(ended_at=None):
        # Its cost cannot be found out once its results are gone.
        lease.hold_for(settings.SUBMIT_DEADLINE_SECONDS)
        late.follow(one)
    lease.hold_for(0)
    theirs = [(batch, str(batch.provider_id)) for batch in proven]
    theirs += [(one.batch, one.provider_id) for one in late_ones if late.is_proven(one)]
    left = 0
    for batch, provider_id in theirs:
        try:
            client.delete_batch(provider_id)
        except errors.NotFound:
            # Deleted before, or the provider's 29 days are over.
            if not is_absent(provider_id):
                raise
            left += not batch_keys.can_see(batch)
        except errors.Refused as error:
            if error.is_rate_limit or error.status in (401, 403):
                raise  # has to be done later
            # The batch is still running; this cannot be forced.
            logger.warning("job %s: the provider keeps %s: %s", job.pk, provider_id, error)
        else:
            _note_gone(batch, provider_id)
        lease.renew()
    return left


def _note_gone(batch: Batch, provider_id: str) -> None:
    """The provider has deleted a batch. Getting ahead ends the growing pauses after failures."""
    gone = Batch.objects.filter(pk=batch.pk, provider_id=provider_id, deleted_at=None)
    if gone.update(deleted_at=clock.now()):
        failed = Job.objects.filter(pk=batch.job_id, failures_in_a_row__gt=0)
        failed.update(failures_in_a_row=0)
