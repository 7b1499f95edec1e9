"""Take the steps of a job: look at its state, do what is next, and say when it is due again."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from django.conf import settings

from ..batches import (
    holds,
    leases,
    slots,
    stored_results,
)
from ..batches.leases import Lease, LeaseLost
from ..drafts import estimates, reading_turns, shares, trials
from ..drafts.reading import make_rows, read_upload
from ..models import LONGEST_WAIT, Job, NotMoved, api_key, clock, job_keys
from ..provider import errors
from ..results import accuracy, builder, statistics
from ..retries import corrected_files, measurements
from ..rules import log_context
from ..spending import price_overrides
from . import (
    chains,
    deletion,
    due_times,
    failures,
    presence,
    retention,
    row_changes,
    sent_jobs,
    tally,
)
from .due_times import NOW

logger = logging.getLogger(__name__)
# One turn of one job on a worker thread; then others get theirs.
TURN = timedelta(seconds=20)
COUNT_AGAIN = timedelta(minutes=5)
CHANGE_OF_SLOT = timedelta(seconds=1)  # until a step that needs another kind of slot is taken


def advance(job_pk: int) -> None:
    """Take the steps of a job that are due, unless another worker does. Without a free slot the job
    stays due."""
    with log_context.about(job=job_pk), slots.Slot() as slot:
        if kind := slot.take_for(job_pk):
            with api_key.held(job_keys.team_of_key(job_pk)):
                _advance(job_pk, slot, kind)


def _advance(job_pk: int, slot: slots.Slot, kind: str) -> None:
    lease = leases.claim(job_pk)
    if lease is None:
        return
    try:
        price_overrides.load_prices()
        next_action_at = _take_turn(lease, slot, kind)
    except LeaseLost:
        # Another worker took over, or the job is being deleted. If the lease is still ours, release
        # it so that the next worker does not wait.
        logger.info("job %s: left to whoever has it now", job_pk)
        next_action_at = clock.now()
    except NotMoved as error:
        # The state changed meanwhile. That is no failure: the step is taken again.
        logger.info("job %s: %s", job_pk, error)
        next_action_at = clock.now()
    except errors.ProviderError as error:
        logger.warning("job %s: %s", job_pk, error)
        tally.count_if_stale(job_pk)
        next_action_at = failures.after_refusal(job_pk, error)
    except Exception as error:
        # One failing job must not stop the others; it is retried with growing pauses.
        logger.exception("job %s: a step failed", job_pk)
        if holds.note_site_trouble(error):
            next_action_at = failures.after_failure(job_pk, longest=due_times.SAFETY)
        else:
            failures.report_failures(job_pk)
            next_action_at = failures.after_failure(job_pk)
    lease.release(next_action_at)


def _take_turn(lease: Lease, slot: slots.Slot, kind: str) -> datetime | None:
    """Take steps until the job has to wait, its turn is over, no slot is free or the worker ends;
    `kind` is that of the slot for the first one. Returns when the job is due again."""
    turn = clock.Countdown(TURN.total_seconds())
    while True:
        try:
            job = Job.objects.get(pk=lease.job_pk)
        except Job.DoesNotExist:
            return None
        if not _has_its_key(job):
            return clock.now()  # it was shared or confirmed meanwhile: the next turn has its key
        wait = _step(job, lease, kind)
        if wait != NOW and kind == slots.SENDING and (other := slot.take_for(job.pk, but=kind)):
            wait = _step(job, lease, other)
        is_over = turn.is_over or presence.is_ending()
        # Counting takes all rows of the job, so it is done once for several batches.
        if wait != NOW or is_over:
            until_count = tally.count_in_turn(job.pk)
            if until_count is not None and wait != NOW:
                wait = until_count if wait is None else min(wait, until_count)
        if wait is None:
            return None
        # A step that only waits does not prove that the failed one works.
        if job.failures_in_a_row and not wait:
            Job.objects.filter(pk=job.pk).update(failures_in_a_row=0)
        if wait or is_over:
            return clock.now() + min(wait, LONGEST_WAIT)
        lease.renew()
        kind = slot.take_for(job.pk)
        if not kind:
            return clock.now()


def _has_its_key(job: Job) -> bool:
    if settings.PRACTICE:
        return True
    if job.confirmed_at or job.is_external:
        return job.key_team == api_key.team_in_use()
    return (job_keys.team_of_key(job.pk) if job.team_id else None) == api_key.team_in_use()


def _step(job: Job, lease: Lease, kind: str) -> timedelta | None:
    """Take one step. Returns the wait before the next; None if there is nothing left to do."""
    state = Job.State
    if job.state == state.READING:
        return _step_of_reading(job, lease)
    if job.state == state.DRAFT:
        if kind == slots.TESTING:
            trials.answer_next(job, lease)
            return NOW
        if chains.compare_with_source(job, lease):
            return NOW
        if shares.lacks_bounds(job.reading.models):
            _read_for_bounds(job)
            return NOW
        estimate = estimates.estimate_job(job, lease)
        # Without the provider the price is a guess; try to count again later.
        return COUNT_AGAIN if estimate and not estimate.counted else None
    if job.state in (state.SUBMITTING, state.WORKING, state.CANCELING):
        wait = sent_jobs.step_of_sent(job, lease, sends=kind == slots.SENDING)
        # While the job waits, build the files that people asked for.
        others = _step_of_files(job, lease, kind) if wait else None
        return wait if others is None else min(wait, others)
    if job.state == state.FINISHED:
        if kind == slots.TESTING:
            trials.answer_next(job, lease)
            return NOW
        if job.contents_deleted_at:
            if job.contents_are_gone:
                return None
            retention.delete_contents(job, lease)
            return NOW
        if row_changes.change_next_slice(job) or chains.compare_with_source(job, lease):
            return NOW
        if job.answers is None:
            statistics.count_answers(job, lease)  # it finished with an older version
        if corrected_files.read_next(job, lease):
            return NOW
        measurements.measure_edits(job, lease)
        compared = accuracy.compare_if_due(job, lease)
        waits = (compared, _step_of_files(job, lease, kind))
        return min((wait for wait in waits if wait is not None), default=None)
    if job.state == state.DELETING:
        deletion.delete_job(job, lease)
    return None


def _step_of_reading(job: Job, lease: Lease) -> timedelta | None:
    if job.trashed_at:
        return None  # it is read once it is restored
    if job.is_external and not job.upload_bytes:
        make_rows(job, lease)
        return NOW
    if not job.upload_bytes and chains.write_upload(job, lease):
        return NOW
    if not reading_turns.begin_reading(job):
        return reading_turns.WAIT
    try:
        read_upload(job, lease)
    finally:
        reading_turns.end_reading(job, lease.owner)
    return NOW


def _read_for_bounds(job: Job) -> None:
    """Read a draft of an older version again, to work out its ceiling."""
    begun = Job.objects.filter(pk=job.pk, state=Job.State.DRAFT, readings=job.readings)
    if not begun.read_anew(clock.now()):
        raise LeaseLost


def _step_of_files(job: Job, lease: Lease, kind: str) -> timedelta | None:
    """Build a requested file; otherwise fetch damaged results again if the slot is for that.
    Returns the wait before the next step; None if there is nothing to do."""
    built = builder.build_next(job, lease)
    if built == NOW:
        return NOW
    if kind == slots.FETCHING:
        fetched = stored_results.fetch_next(job, lease)
    else:
        fetched = stored_results.until_next_fetch(job)
        fetched = None if fetched is None else max(fetched, CHANGE_OF_SLOT)
    return min((wait for wait in (built, fetched) if wait is not None), default=None)
