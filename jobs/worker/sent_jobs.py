"""The steps of a job from its submission until it has finished."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from functools import partial

from django.conf import settings
from django.db.models import Q

from ..batches import (
    batch_keys,
    collection,
    holds,
    planning,
    polling,
    reconciliation,
    slots,
    submission,
    unknown_submissions,
)
from ..batches.leases import Lease
from ..drafts import deduplication
from ..drafts import pilots as drafted_pilots
from ..models import Batch, Job, Pilot, SpendingCaps, clock, job_log
from ..provider import errors
from ..results import statistics
from ..retries import preparation
from ..rules import log_context
from ..spending import price_overrides
from . import due_times, finishing, pilots, row_changes, tally
from .due_times import NOW, needs_look, time_left, until_due

logger = logging.getLogger(__name__)

# The wait of a batch after a failed attempt to settle or collect it.
PAUSE_OF_A_BATCH, LONGEST_PAUSE_OF_A_BATCH = timedelta(seconds=5), timedelta(minutes=5)
# States of batches that have or may have arrived, so that nothing becomes of them without the key.
AT_PROVIDER = (
    Batch.State.SUBMITTING,
    Batch.State.UNKNOWN,
    Batch.State.IN_PROGRESS,
    Batch.State.ENDED,
)
JOURNAL_IS_GONE = (
    "The database was restored from a backup. While we were restoring a batch of this job, the "
    "journal went missing, so we do not know what was sent. Nothing else is sent. Put "
    "journal.jsonl back into DATA_DIR, or stop the job: then its other rows are not sent."
)
PRICE_HAS_RISEN = (
    "The price of {model} has risen since this was submitted, so the job could cost more than its "
    "maximum. Nothing else is sent. Stop the job, then retry its stopped rows at the new price."
)


def step_of_sent(job: Job, lease: Lease, *, sends: bool = False) -> timedelta:
    """Take one step of a submitted job; with `sends`, none that fetches results. Returns the wait
    before the next."""
    if row_changes.change_next_slice(job):
        return NOW
    if job.state != Job.State.WORKING and preparation.prepare_next(job):
        return NOW
    batches = list(job.batches.exclude(state__in=Batch.FINAL))
    if job.practice != settings.PRACTICE:
        return _step_in_other_mode(job, batches, lease)
    if batch_keys.is_missing(job.key_team):
        is_there = any(batch.state in AT_PROVIDER for batch in batches)
        if is_there or job.state == Job.State.SUBMITTING:
            batch_keys.hold_without_key(job)
            return due_times.SAFETY
    elif job.held.startswith(batch_keys.KEY_IS_MISSING):
        holds.end_hold(job.pk, batch_keys.KEY_IS_MISSING, go_on=True)
        return NOW
    due = [batch for batch in batches if needs_look(batch) and not time_left(batch)]
    if sends:
        due = [batch for batch in due if batch.state == Batch.State.UNKNOWN]
    for batch in batches:
        if batch.state == Batch.State.PLANNING:
            planning.empty(batch)  # a worker died before it had its rows
            return NOW
        if batch.state == Batch.State.SUBMITTING:
            submission.doubt(batch)
            return NOW
        if batch.state == Batch.State.BLOCKED and job.state == Job.State.SUBMITTING:
            if not job.held:
                holds.hold(job.pk, f"Anthropic refused: {batch.refusal}")
                return NOW
        elif batch.state == Batch.State.PLANNED and job.state == Job.State.WORKING:
            Job.objects.move(job.pk, job.state, Job.State.SUBMITTING)
            return NOW
    stopping = job.state == Job.State.CANCELING
    # After a restore, more may have been sent than the database knows.
    not_yet = stopping and unknown_submissions.submissions_unknown() > 0
    if stopping and not not_yet and finishing.stop_batches(job, batches, lease, can_wait=bool(due)):
        return NOW
    if due:
        with log_context.about(batch=due[0].number):
            _settle_or_collect(job, due[0], lease)
        return NOW
    if stopping:
        return until_due(batches) if not_yet else finishing.step_of_stopping(job, batches, lease)
    if job.state == Job.State.SUBMITTING and not job.held:
        return _step_of_sending(job, batches, lease)
    if job.state == Job.State.WORKING and not batches and not pilots.step_of_pilot(job, lease):
        deduplication.copy_answers(job, lease)
        statistics.count_answers(job, lease)
        finishing.finish_job(job, lease)
    return NOW if job.state == Job.State.FINISHED else until_due(batches)


def _settle_or_collect(job: Job, batch: Batch, lease: Lease) -> None:
    """Settle an unknown batch, or collect the results of one that has ended. If the provider fails
    here, other batches get their turn before this one is tried again."""
    now = clock.now()
    # The wait grows with the time since it ended, or was due.
    if batch.ended_at:
        age = clock.provider_now_or_ours() - batch.ended_at
    else:
        age = now - (batch.deadline_at or now)
    pause = min(max(age / 10, PAUSE_OF_A_BATCH), LONGEST_PAUSE_OF_A_BATCH)
    Batch.objects.filter(pk=batch.pk, state=batch.state).update(next_action_at=now + pause)
    try:
        if batch.state == Batch.State.UNKNOWN:
            reconciliation.reconcile(batch)
        elif batch.state == Batch.State.IN_PROGRESS:
            polling.give_up(batch, lease)
        else:
            collection.collect(batch, lease)
    except errors.ProviderError as error:
        logger.warning("job %s batch %s: %s", job.pk, batch.number, error)
        holds.note_provider_error(error)
        if isinstance(error, errors.Refused) and error.needs_action and not error.is_about_account:
            holds.hold(job.pk, holds.in_words(error))


def _step_in_other_mode(job: Job, batches: list[Batch], lease: Lease) -> timedelta:
    """Hold a practice job when the site has a key now, or the reverse: nothing may be sent or
    fetched. A practice job can be stopped."""
    if job.practice and job.state == Job.State.CANCELING:
        for batch in batches:
            Batch.objects.move(batch.pk, batch.state, Batch.State.CANCELED)
        finishing.stop_rows(job, Q(), lease)
        finishing.finish_job(job, lease)
        return due_times.SAFETY
    why = (
        "This job was submitted in practice mode, but the site has an API key now. Nothing is "
        "sent or charged. Stop this job and submit a new one."
        if job.practice
        else "This job was submitted with an API key, but the site has none now. Once "
        "ANTHROPIC_API_KEY is set again, press “Try again”."
    )
    holds.hold(job.pk, why)
    return due_times.SAFETY


def _step_of_sending(job: Job, batches: list[Batch], lease: Lease) -> timedelta:
    if unknown_submissions.submissions_unknown():
        return due_times.SAFETY  # rows that wait may have been sent
    if any(batch.state == Batch.State.RESTORING for batch in batches):
        holds.hold(job.pk, JOURNAL_IS_GONE)
        return due_times.SAFETY
    if model := price_overrides.find_risen(job):
        holds.hold(job.pk, PRICE_HAS_RISEN.format(model=model[:100]))
        return due_times.SAFETY
    has_repeated = job.recipe.skip_duplicates or job.recipe.only_new
    if (has_repeated or not job.row_choice.is_all) and not job.deduplicated:
        deduplication.mark_repeated_rows(job, lease)
        return NOW
    if drafted_pilots.draw_next(job, lease):
        return NOW
    planned = [batch for batch in batches if batch.state == Batch.State.PLANNED]
    if not planned:
        if planning.plan_next_batch(job, lease):
            return NOW
        if any(batch.state == Batch.State.UNKNOWN for batch in batches):
            return until_due(batches)
        mine = Job.objects.filter(lease_owner=lease.owner)  # else other rows may wait by now
        if mine.try_move(job.pk, Job.State.SUBMITTING, Job.State.WORKING):
            is_pilot = Pilot.objects.open().filter(job=job).exists()
            what = "The pilot" if is_pilot else "Everything"
            job_log.write(job.pk, f"{what} has been sent.")
        tally.count_in_turn(job.pk)
        return NOW
    batch = planned[0]
    if wait := time_left(batch):
        return min(wait, due_times.SAFETY)
    if unknown_submissions.submissions_unknown() or SpendingCaps.get().stopped_at:
        return due_times.SAFETY
    if (pause := holds.wait_before_sending(job)) > NOW:
        return min(pause, due_times.SAFETY)
    ended = [one for one in batches if one.state == Batch.State.ENDED and not time_left(one)]
    with log_context.about(batch=batch.number):
        if not ended:
            return submission.submit(batch, lease)
        return submission.submit(batch, lease, partial(_collect_meanwhile, job, ended, lease))


def _collect_meanwhile(
    job: Job, ended: list[Batch], lease: Lease, is_over: Callable[[], bool]
) -> None:
    """Collect what has `ended` until another batch is sent, while a slot for that is free."""
    with slots.Slot() as slot:
        for batch in ended:
            if is_over() or not slot.take(slots.FETCHING, job.owner_id):
                return
            with log_context.about(batch=batch.number):
                _settle_or_collect(job, batch, lease)
