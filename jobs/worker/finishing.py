"""Stop a job, and finish one that has all its answers."""

from __future__ import annotations

import logging
from datetime import timedelta

from django.db import transaction
from django.db.models import Q

from ..batches import holds, slices
from ..batches.leases import Lease
from ..batches.slices import slice_transaction
from ..drafts import deduplication, selected_rows
from ..models import (
    Batch,
    Job,
    NotMoved,
    Outcome,
    Pilot,
    Row,
    clock,
    dollars,
    files,
    job_log,
    note_change,
    outbox,
)
from ..models.outbox import Facts
from ..provider import client, errors
from ..results import builder, statistics
from ..rules import wording
from . import pilots, tally
from .due_times import NOW, until_due

logger = logging.getLogger(__name__)


def stop_batches(job: Job, batches: list[Batch], lease: Lease, *, can_wait: bool) -> bool:
    """Stop every batch that is not stopped yet. False if there was none. A batch that cannot be
    stopped does not keep the others from it. Raises its error if none could be stopped, unless that
    `can_wait` because there is other work. Raises LeaseLost."""
    stopped = False
    trouble: Exception | None = None
    for batch in batches:
        try:
            stopped |= _stop_one(job, batch)
        except (errors.ProviderError, NotMoved) as error:
            trouble = error
        except Exception as error:
            logger.exception("job %s: batch %s could not be stopped", job.pk, batch.number)
            trouble = error
        lease.renew()
    if trouble and not stopped and not can_wait:
        raise trouble
    return stopped


def _stop_one(job: Job, batch: Batch) -> bool:
    """Cancel an unsent batch here, a sent one at the provider. False if that is already done."""
    # Nobody stops a batch that is being restored while the journal says what was sent.
    if batch.state in (Batch.State.PLANNED, Batch.State.BLOCKED, Batch.State.RESTORING):
        Batch.objects.move(batch.pk, batch.state, Batch.State.CANCELED)
        files.body_path(batch).unlink(missing_ok=True)
        return True
    if batch.state != Batch.State.IN_PROGRESS or batch.cancel_sent_at is not None:
        return False
    try:
        client.cancel_batch(str(batch.provider_id))
    except errors.Refused as error:
        # Not visible yet, or not with this key: if that lasts, polling tells a person.
        if error.status == 404 or error.is_rate_limit or error.is_about_account:
            raise
        # It has probably ended. While it runs it costs money, so try again.
        if client.retrieve_batch(str(batch.provider_id)).status == "in_progress":
            raise
        job_log.write(job.pk, f"Batch {batch.number} could not be stopped: {error.message}")
    # Noted afterwards: a crash before this only repeats the request.
    Batch.objects.filter(pk=batch.pk).update(cancel_sent_at=clock.now())
    return True


def step_of_stopping(job: Job, batches: list[Batch], lease: Lease) -> timedelta:
    """Cancel rows that were never planned, then wait for what the provider still has."""
    if not (job.row_choice.is_all or job.deduplicated):
        # Stopped before they were marked: rows that are not selected never become stopped ones.
        selected_rows.mark_unselected_rows(job, lease)
        Job.objects.filter(pk=job.pk).update(deduplicated=True)
    # A duplicate gets a copy of the answer of its first row.
    unsent = Q(batch=None, same_as=None) | Q(batch__state=Batch.State.CANCELED)
    if stop_rows(job, unsent, lease):
        tally.count_up(job)
    if not batches:
        pilots.take_back_answers(job, lease)
        deduplication.copy_answers(job, lease)
        statistics.count_answers(job, lease)
        finish_job(job, lease)
    return NOW if job.state == Job.State.FINISHED else until_due(batches)


def stop_rows(job: Job, which: Q, lease: Lease) -> int:
    """Cancel the waiting rows among `which`; returns how many. Raises LeaseLost."""
    waiting = Row.objects.filter(job=job, outcome=Outcome.WAITING)
    stopped = 0
    for some in waiting.filter(which).value_slices(slices.SLICE):
        with slice_transaction(lease):
            note_change(job.pk)
            numbers = [number for (number,) in some]
            stopped += waiting.filter(which, number__in=numbers).update(
                outcome=Outcome.CANCELED, cause="canceled"
            )
        lease.renew()
    return stopped


def finish_job(job: Job, lease: Lease) -> None:
    """Finish a job once it is counted: the ledger takes its cost from the count when the job is
    deleted. Raises LeaseLost."""
    if not tally.count_up(job):
        return
    old = [Job.State.WORKING, Job.State.CANCELING]
    with transaction.atomic():
        lease.require()  # its rows may have been sent again by now
        finished = Job.objects.try_move(job.pk, old, Job.State.FINISHED, finished_at=clock.now())
        if finished:
            holds.end_hold(job.pk)
            # One that was stopped before its pilot was in: retries send whatever they are told to.
            Pilot.objects.open().filter(job=job).update(step=Pilot.Step.ENDED)
            builder.request_usual_exports(job)
            job.refresh_from_db()
            _tell_end(job)
    if finished:
        stopped = job.outcome_count(Outcome.CANCELED)
        ended = wording.outcome(job.good_count, job.attention_count, stopped)
        job_log.write(job.pk, f"Finished: {ended}.")
        job.runs_again().price_anew(clock.now())


def _tell_end(job: Job) -> None:
    """Tell people that a job or its retry has finished."""
    retry = job.rounds.order_by("-number").first()
    begun = retry.asked_at if retry else job.confirmed_at
    took = job.finished_at - begun if begun and job.finished_at else timedelta()
    facts = Facts(
        rows=job.good_count,
        problems=job.attention_count,
        # In practice nothing was charged.
        cost="" if job.practice else str(dollars(retry.spent_pico) if retry else job.cost),
        seconds=max(int(took.total_seconds()), 0),
    )
    event = "retry_done" if retry else "job_problems" if job.attention_count else "job_finished"
    outbox.tell_about_job(event, job, facts)
