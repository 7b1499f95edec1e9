"""What the worker does to a job: `sweep` finds what is due, and `advance` looks at a job's state,
takes the next step and says when to look again. What people do is in actions.py.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q

from ..batches import (
    collection,
    external,
    holds,
    late,
    leases,
    planning,
    polling,
    reconciliation,
    recovery,
    slices,
    slots,
    stored_results,
    submission,
    unknown_submissions,
)
from ..batches.holds import SEE_THE_LOG
from ..batches.leases import Lease, LeaseLost
from ..batches.slices import delete_rows, slice_transaction
from ..drafts import deduplication, estimates, shares, trials
from ..drafts import reading_turns as turns
from ..drafts.reading import make_rows, read_upload
from ..models import (
    LONGEST_WAIT,
    Attempt,
    Batch,
    Edit,
    ExternalBatchList,
    FileProblem,
    Heartbeat,
    Job,
    JournalState,
    LateBatch,
    ModelCatalog,
    NotMoved,
    Outcome,
    Row,
    Sending,
    SpendingCaps,
    clock,
    files,
    note_change,
)
from ..provider import client, errors
from ..results import builder, statistics
from ..retries import corrected_files, measurements, preparation
from ..rules import wording
from ..spending import ledger, price_overrides
from . import row_changes, tally

logger = logging.getLogger(__name__)

NOW = timedelta()
# A job that waits for the provider is looked at now and then even if nothing tells it to.
SAFETY = timedelta(seconds=60)
# One turn of one job on a worker thread; then others get theirs.
TURN = timedelta(seconds=20)
# Batches that have to be settled or fetched; the others wait to be sent or for their end.
LOOKED_AFTER = (Batch.State.UNKNOWN, Batch.State.ENDED)
# What a batch waits after a look at it that failed.
PAUSE_OF_A_BATCH, LONGEST_PAUSE_OF_A_BATCH = timedelta(seconds=5), timedelta(minutes=5)
COUNT_AGAIN = timedelta(minutes=5)
CHANGE_OF_SLOT = timedelta(seconds=1)  # until a step that needs another kind of slot is taken
PRICED_AT_ONCE = 100  # drafts whose prices have changed, of one minute
LOOKED_AT_IN_TURN = 10
LEAP = timedelta(seconds=5)  # a clock that was set back by less is not worth a look at everything
TRIES = 5  # of a step that fails for a reason of our own, before a person is told


# What is looked at at the provider, by the kind of slot: one look of a kind at a time.
LOOKS: dict[str, tuple[Callable[[], None], ...]] = {
    slots.WATCHING: (lambda: polling.watch(),),
    slots.LATE: (lambda: late.look(),),
    slots.ASKED: (lambda: recovery.restore_if_asked(), lambda: external.list_if_asked()),
}


def sweep(
    step: Callable[[int], None] | None = None, look: Callable[[str], None] | None = None
) -> None:
    """Call `look` (usually `take_look`) for every look at the provider that is due, and `step`
    (usually `advance`) for every job that is due and may find a slot; those that wait longest come
    first. Safe to call at any time, from anywhere, as often as one likes. Asks the provider nothing
    itself."""
    now = _note_tick()
    heartbeat = Heartbeat.row()
    leases.free_leases_of_the_dead()
    poll = timedelta(seconds=settings.POLL_SECONDS)
    due = heartbeat.filter(clock.over("next_poll_at", poll, now))
    if due.update(next_poll_at=now + poll) == 1:
        (look or take_look)(slots.WATCHING)
        (look or take_look)(slots.LATE)
        holds.end_site_trouble()
    if any(one.row().exclude(asked_at=None).exists() for one in (JournalState, ExternalBatchList)):
        (look or take_look)(slots.ASKED)
    _count_what_is_stale(now)
    nudged: Counter[str] = Counter()
    of_one: Counter[tuple[str, int]] = Counter()
    for pk, kind, owner in slots.next_steps(
        Job.objects.due(clock.now()).order_by("next_action_at")
    ):
        if nudged[kind] < slots.NUDGED and of_one[kind, owner] < slots.NUDGED_OF_ONE_PERSON:
            nudged[kind] += 1
            of_one[kind, owner] += 1
            (step or advance)(pk)


def _note_tick() -> datetime:
    """Note that the worker is alive, and whether the clock was set back. Returns the time.

    The last tick is read before the clock: it can be ahead of the clock only if the clock was set
    back in between, however long this sweep or another one waits for the database. Of several
    sweeps at once, only the first one counts.
    """
    heartbeat = Heartbeat.row()
    last = heartbeat.values_list("tick_at", flat=True).first()
    now = clock.now()
    mine = heartbeat.filter(tick_at=last)
    if last is None or last <= now + LEAP:
        mine.update(tick_at=now)
        return now
    with transaction.atomic():
        if not mine.update(tick_at=now, next_poll_at=now):
            return now
        Sending.row().update(send_after=now)
        ModelCatalog.row().update(due_at=now)
    # Nothing waits for the clock to come to where it was. What is due too early for that costs
    # nothing; see absence.py for what would.
    logger.warning("the clock was set back; what waits is looked at now")
    for waiting in (Job.objects.all(), Batch.objects.all()):
        waiting.filter(next_action_at__gt=now).update(next_action_at=now)
    return now


def _count_what_is_stale(now: datetime) -> None:
    """A worker that died, or a person's click, may have left numbers that are not true to the rows
    any more: whoever takes the next step of the job counts them. One whose steps fail waits for its
    time."""
    stale = Job.objects.stale().filter(lease_until=None, failures_in_a_row=0)
    if pks := list(stale.exclude(next_action_at__lte=now).values_list("pk", flat=True)):
        Job.objects.filter(pk__in=pks).update(next_action_at=now)


def take_look(kind: str) -> None:
    """Look at the provider, unless another thread is at a look of this kind."""
    with slots.Slot() as slot:
        if not slot.take(kind):
            return
        for look in LOOKS[kind]:
            try:
                look()
            except errors.ProviderError as error:
                _note_trouble(error)
                logger.warning("the provider could not be asked: %s", error)


def advance(job_pk: int) -> None:
    """Take the steps of a job that can be taken now, unless somebody else does. Without a free slot
    nothing is done, and the job stays due."""
    with slots.Slot() as slot:
        if slot.take_for(job_pk):
            _advance(job_pk, slot)


def _advance(job_pk: int, slot: slots.Slot) -> None:
    lease = leases.claim(job_pk)
    if lease is None:
        return
    try:
        price_overrides.load_prices()
        next_action_at = _take_turn(lease, slot)
    except LeaseLost:
        # Another worker took over, or the job is not wanted any more; a lease that is still ours
        # must not keep the next one waiting.
        logger.info("job %s: left to whoever has it now", job_pk)
        next_action_at = clock.now()
    except NotMoved as error:
        # Somebody else was quicker. That is no failure: the step is taken again as things are now.
        logger.info("job %s: %s", job_pk, error)
        next_action_at = clock.now()
    except errors.ProviderError as error:
        logger.warning("job %s: %s", job_pk, error)
        tally.count_if_stale(job_pk)
        next_action_at = _after_refusal(job_pk, error)
    except Exception as error:
        # One job that cannot go on must not stop the others; it is tried again, ever more slowly.
        logger.exception("job %s: a step failed", job_pk)
        if holds.note_site_trouble(error):
            next_action_at = _after_failure(job_pk, longest=SAFETY)
        else:
            _say_that_it_fails(job_pk)
            next_action_at = _after_failure(job_pk)
    lease.release(next_action_at)


def _note_trouble(error: errors.ProviderError) -> None:
    if isinstance(error, errors.Refused) and error.is_about_account:
        holds.note_trouble(holds.in_words(error))
    else:
        holds.note_trouble(str(error))


def _after_refusal(job_pk: int, error: errors.ProviderError) -> datetime:
    """A call of a step did not come to what was asked: when to take the step again."""
    _note_trouble(error)
    if isinstance(error, errors.Refused):
        if error.is_about_account and Job.objects.sending().filter(pk=job_pk).exists():
            return clock.now() + min(holds.pause(error), SAFETY)
        if error.needs_action and not error.is_about_account:
            holds.hold(job_pk, holds.in_words(error))
    return _after_failure(job_pk)


def _after_failure(job_pk: int, longest: timedelta = timedelta(seconds=300)) -> datetime:
    Job.objects.filter(pk=job_pk).update(failures_in_a_row=F("failures_in_a_row") + 1)
    failures = Job.objects.values_list("failures_in_a_row", flat=True).get(pk=job_pk)
    return clock.now() + min(timedelta(seconds=2 ** min(failures, 9)), longest)


def _say_that_it_fails(job_pk: int) -> None:
    """A step failed for a reason of our own: after some times a person is told."""
    failing = Job.objects.filter(pk=job_pk, failures_in_a_row__gte=TRIES - 1)
    with transaction.atomic():
        if failing.try_move(
            job_pk, Job.State.READING, Job.State.UNREADABLE, problem_count=1, row_count=0
        ):
            why = f"The file could not be read. {SEE_THE_LOG}"
            FileProblem.objects.create(job_id=job_pk, lines=[0], texts=[why], leaves_out=True)
        if failing.filter(state__in=Job.SENT).exists():
            holds.hold(job_pk, f"A step of this job fails again and again. {SEE_THE_LOG}")


def _take_turn(lease: Lease, slot: slots.Slot) -> datetime | None:
    """Step after step, until the job has to wait, its turn is over or no slot is free for the next
    step; when it is due again."""
    until = clock.uptime() + TURN.total_seconds()
    while True:
        kind = slot.take_for(lease.job_pk)
        job = Job.objects.filter(pk=lease.job_pk).first()
        if job is None:
            return None
        if not kind:
            return clock.now()
        wait = _step(job, lease, kind)
        if wait != NOW:
            tally.count_if_stale(job.pk)
        if wait is None:
            return None
        # A step that only waits says nothing of the one that failed.
        if job.failures_in_a_row and not wait:
            Job.objects.filter(pk=job.pk).update(failures_in_a_row=0)
        if wait or clock.uptime() > until:
            return clock.now() + min(wait, LONGEST_WAIT)
        lease.renew()


def _step(job: Job, lease: Lease, kind: str) -> timedelta | None:
    """One step of a job. How long to wait for the next; None when there is nothing more to do."""
    state = Job.State
    if job.state == state.READING:
        return _step_of_reading(job, lease)
    if job.state == state.DRAFT:
        if kind == slots.TRYING:
            trials.answer_next(job, lease)
            return NOW
        if shares.lacks_bounds(job.reading.get("models") or {}):
            _read_for_bounds(job)
            return NOW
        estimate = estimates.estimate_job(job, lease)
        # The provider could not be asked: the price is a guess until it can be.
        return COUNT_AGAIN if estimate and not estimate.counted else None
    if job.state in (state.SUBMITTING, state.WORKING, state.CANCELING):
        wait = _step_of_sent(job, lease)
        # While it waits there is time for the files that somebody wants.
        others = _look_after_files(job, lease, kind) if wait else None
        return wait if others is None else min(wait, others)
    if job.state == state.FINISHED:
        if row_changes.work_next(job):
            return NOW
        if job.answers is None:
            statistics.count_answers(job, lease)  # it finished with a version that did not do that
        if corrected_files.read_next(job, lease):
            return NOW
        measurements.measure_edits(job, lease)
        return _look_after_files(job, lease, kind)
    if job.state == state.DELETING:
        _delete_all(job, lease)
    return None


def _step_of_reading(job: Job, lease: Lease) -> timedelta:
    if job.is_external and not job.upload_bytes:
        make_rows(job, lease)
        return NOW
    if not turns.begin_reading(job):
        return turns.WAIT
    try:
        read_upload(job, lease)
    finally:
        turns.end_reading(job, lease.owner)
    return NOW


def _read_for_bounds(job: Job) -> None:
    """A draft that was read by an older version is read once more, for the most that it costs."""
    begun = Job.objects.filter(pk=job.pk, state=Job.State.DRAFT, readings=job.readings)
    if not begun.read_anew(clock.now()):
        raise LeaseLost


def _look_after_files(job: Job, lease: Lease, kind: str) -> timedelta | None:
    """Build a file that is wanted, else fetch damaged results again if the slot is for that. How
    long until the next look; None when there is nothing to do."""
    built = builder.build_next(job, lease)
    if built == NOW:
        return NOW
    if kind == slots.FETCHING:
        fetched = stored_results.fetch_next(job, lease)
    else:
        fetched = stored_results.until_next_fetch(job)
        fetched = None if fetched is None else max(fetched, CHANGE_OF_SLOT)
    return min((wait for wait in (built, fetched) if wait is not None), default=None)


def _step_of_sent(job: Job, lease: Lease) -> timedelta:
    if row_changes.work_next(job):
        return NOW
    if job.state != Job.State.WORKING and preparation.prepare_next(job):
        return NOW
    batches = list(job.batches.exclude(state__in=Batch.FINAL))
    if job.practice != settings.PRACTICE:
        return _step_in_the_other_mode(job, batches, lease)
    due = [batch for batch in batches if _is_looked_after(batch) and not _waits(batch)]
    for batch in batches:
        if batch.state == Batch.State.PLANNING:
            planning.empty(batch)  # a worker died before it had its rows
            return NOW
        if batch.state == Batch.State.SUBMITTING:
            submission.doubt(batch)
            return NOW
        if batch.state == Batch.State.BLOCKED and job.state == Job.State.SUBMITTING:
            if not job.held:
                holds.hold(job.pk, f"The provider refused: {batch.refusal}")
                return NOW
        elif batch.state == Batch.State.PLANNED and job.state == Job.State.WORKING:
            Job.objects.move(job.pk, job.state, Job.State.SUBMITTING)
            return NOW
    stopping = job.state == Job.State.CANCELING
    # What was sent may be more than is known here.
    not_yet = stopping and unknown_submissions.submissions_unknown() > 0
    if stopping and not not_yet and _stop_batches(job, batches, lease, can_wait=bool(due)):
        return NOW
    if due:
        _look_after(job, due[0], lease)
        return NOW
    if stopping:
        return _until_due(batches) if not_yet else _step_of_stopping(job, batches, lease)
    if job.state == Job.State.SUBMITTING and not job.held:
        return _step_of_sending(job, batches, lease)
    if job.state == Job.State.WORKING and not batches:
        deduplication.copy_answers(job, lease)
        statistics.count_answers(job, lease)
        _finish(job)
    return _until_due(batches)


def _is_looked_after(batch: Batch) -> bool:
    """Whether it has to be settled, fetched, or looked at once more before it is given up."""
    given_up = batch.state == Batch.State.IN_PROGRESS and batch.given_up_at is not None
    return given_up or batch.state in LOOKED_AFTER


def _waits(batch: Batch) -> bool:
    return clock.is_waiting(batch.next_action_at, collection.LONGEST_PAUSE)


def _look_after(job: Job, batch: Batch, lease: Lease) -> None:
    """Settle an unknown batch, or bring in the results of one that has ended. Whatever goes wrong
    at the provider with this one, the others get their turn before it is tried again."""
    now = clock.now()
    # The longer it has not worked, the longer it waits.
    if batch.ended_at:
        age = (client.now() or now) - batch.ended_at  # both by the provider's clock
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
        _note_trouble(error)
        if isinstance(error, errors.Refused) and error.needs_action and not error.is_about_account:
            holds.hold(job.pk, holds.in_words(error))
    tally.count_up(job)


def _step_in_the_other_mode(job: Job, batches: list[Batch], lease: Lease) -> timedelta:
    """A job of practice mode, while the site has a key now, or the other way round: nothing of it
    may be sent or asked for. It can be stopped if it was only practice."""
    if job.practice and job.state == Job.State.CANCELING:
        for batch in batches:
            Batch.objects.move(batch.pk, batch.state, Batch.State.CANCELED)
        _stop_rows(job, Q(), lease)
        _finish(job)
        return SAFETY
    why = (
        "This job was confirmed in practice mode, and the site has a key now. Nothing of it is "
        "sent for real: stop it, and start it anew if you want it done."
        if job.practice
        else "This job was sent with a key, and the site has none now. An administrator has to "
        "set ANTHROPIC_API_KEY again and press “Try again”."
    )
    holds.hold(job.pk, why)
    return SAFETY


def _until_due(batches: list[Batch]) -> timedelta:
    """How long until one of `batches` is due, at most SAFETY."""
    times = [
        batch.next_action_at
        for batch in batches
        if batch.next_action_at and _is_looked_after(batch)
    ]
    if not times:
        return SAFETY
    # Not quite at once: what was due and could not be done now would else be tried in a loop.
    return min(max(min(times) - clock.now(), timedelta(seconds=0.2)), SAFETY)


def _step_of_sending(job: Job, batches: list[Batch], lease: Lease) -> timedelta:
    if (job.same_once or job.only_new) and not job.spared:
        deduplication.mark_repeated_rows(job, lease)
        return NOW
    planned = [batch for batch in batches if batch.state == Batch.State.PLANNED]
    if not planned:
        if planning.plan_next_batch(job, lease):
            return NOW
        if any(batch.state == Batch.State.UNKNOWN for batch in batches):
            return _until_due(batches)
        if Job.objects.try_move(job.pk, Job.State.SUBMITTING, Job.State.WORKING):
            holds.log(job.pk, "Everything has been sent.")
        tally.count_up(job)
        return NOW
    batch = planned[0]
    if batch.next_action_at and _waits(batch):
        return min(batch.next_action_at - clock.now(), SAFETY)
    if unknown_submissions.submissions_unknown() or SpendingCaps.get().stopped_at:
        return SAFETY
    if (pause := holds.wait_before_sending(job)) > NOW:
        return min(pause, SAFETY)
    return submission.submit(batch, lease)


def _stop_batches(job: Job, batches: list[Batch], lease: Lease, *, can_wait: bool) -> bool:
    """Stop every batch that is not stopped yet. False when there was none. One that cannot be
    stopped keeps none of the others. Raises ProviderError when none could be, unless that
    `can_wait` because there is something else to do."""
    stopped = False
    trouble: errors.ProviderError | None = None
    for batch in batches:
        try:
            stopped |= _stop_one(job, batch)
        except errors.ProviderError as error:
            trouble = error
        lease.renew()
    if trouble and not stopped and not can_wait:
        raise trouble
    return stopped


def _stop_one(job: Job, batch: Batch) -> bool:
    """Stop an unsent batch here, a sent one by the provider. False when that is done already."""
    if batch.state in (Batch.State.PLANNED, Batch.State.BLOCKED):
        Batch.objects.move(batch.pk, batch.state, Batch.State.CANCELED)
        files.body_path(batch).unlink(missing_ok=True)
        return True
    if batch.state != Batch.State.IN_PROGRESS or batch.cancel_sent_at is not None:
        return False
    try:
        client.cancel_batch(str(batch.provider_id))
    except errors.Refused as error:
        # Not visible yet, or not with this key: if it stays away, watching tells a person.
        if error.status == 404 or error.is_rate_limit or error.is_about_account:
            raise
        # It has ended by now, most likely. While it runs it costs, so it is asked for again.
        if client.retrieve_batch(str(batch.provider_id)).status == "in_progress":
            raise
        holds.log(job.pk, f"Batch {batch.number} could not be stopped: {error.message}")
    # Noted when it is done: whoever dies before asks once more, which does no harm.
    Batch.objects.filter(pk=batch.pk).update(cancel_sent_at=clock.now())
    return True


def _step_of_stopping(job: Job, batches: list[Batch], lease: Lease) -> timedelta:
    """What was never planned is stopped; then the job waits for what the provider still has."""
    # A row that is the same as another one gets what that one gets, were it an answer.
    unsent = Q(batch=None, same_as=None) | Q(batch__state=Batch.State.CANCELED)
    if _stop_rows(job, unsent, lease):
        tally.count_up(job)
    if not batches:
        deduplication.copy_answers(job, lease)
        statistics.count_answers(job, lease)
        _finish(job)
    return _until_due(batches)


def _stop_rows(job: Job, which: Q, lease: Lease) -> int:
    """How many there were to stop. Raises LeaseLost."""
    waiting = Row.objects.filter(job=job, outcome=Outcome.WAITING)
    stopped = 0
    for some in waiting.filter(which).value_slices(slices.SLICE):
        with slice_transaction():
            note_change(job.pk)
            numbers = [number for (number,) in some]
            stopped += waiting.filter(which, number__in=numbers).update(
                outcome=Outcome.CANCELED, cause="canceled"
            )
        lease.renew()
    return stopped


def _finish(job: Job) -> None:
    """Not before it is counted: what it has cost is remembered by that when it is deleted."""
    if not tally.count_up(job):
        return
    old = [Job.State.WORKING, Job.State.CANCELING]
    with transaction.atomic():
        finished = Job.objects.try_move(
            job.pk, old, Job.State.FINISHED, held="", finished_at=clock.now()
        )
        if finished:
            builder.request_usual_exports(job)
    if finished:
        job.refresh_from_db()
        parts = [f"{wording.rows(job.good_count)} good"]
        if job.attention_count:
            need = "needs" if job.attention_count == 1 else "need"
            parts.append(f"{wording.rows(job.attention_count)} {need} attention")
        if stopped := job.outcome_count(Outcome.CANCELED):
            parts.append(f"{wording.rows(stopped)} stopped")
        holds.log(job.pk, f"Finished: {', '.join(parts)}.")
        job.runs_again().price_anew(clock.now())


def price_stale_drafts() -> None:
    """Drafts whose price is for other prices or for the other mode get a new one: some of them each
    time, however many there are. What else a price depends on has each draft priced anew when it
    changes; should that have been missed, a look at a few of them in turn finds it."""
    price_overrides.load_prices()
    drafts = Job.objects.priced_drafts().order_by("pk")
    # One of an older version does not say by which prices it was worked out.
    others = ~Q(estimate__has_key="prices") | ~Q(estimate__prices=estimates.price_list())
    stale = drafts.filter(others)
    if found := list(stale.values_list("pk", flat=True)[:PRICED_AT_ONCE]):
        Job.objects.filter(pk__in=found).price_anew(clock.now())
        return
    turns = -(-drafts.count() // LOOKED_AT_IN_TURN)
    if turns:
        begin = int(clock.now().timestamp() // 60) % turns * LOOKED_AT_IN_TURN
        some = drafts.select_related("previous")[begin : begin + LOOKED_AT_IN_TURN]
        old = [job.pk for job in some if estimates.current(job) is None]
        Job.objects.filter(pk__in=old).price_anew(clock.now())


def tidy_up() -> None:
    """Remove what broken-off uploads left on the disk, and finished files that nobody needs; look
    for damage among the results."""
    builder.remove_old_exports()
    stored_results.check_some()
    files.remove_old_strays(
        lambda names: set(
            Job.objects.filter(upload_file__in=names).values_list("upload_file", flat=True)
        )
    )


def _is_gone(provider_id: str) -> bool:
    """Whether the provider does not have a batch, by another call than the one that said so."""
    try:
        client.retrieve_batch(provider_id)
    except errors.NotFound:
        return True
    return False


def _delete_all(job: Job, lease: Lease) -> None:
    """Everything of a job goes: at the provider, on disk, in the database. A batch that was made
    elsewhere stays at the provider. Repeatable."""
    theirs: list[str] = []
    if job.practice == settings.PRACTICE:
        late_ones = LateBatch.objects.filter(batch__job=job)
        # Only what is proven to be ours: the results have said so, or the answer to our own POST.
        # What was made elsewhere stays there.
        ours = job.batches.exclude(provider_id=None).exclude(is_external=True)
        proven = ours.exclude(recovered=True, state=Batch.State.LOST)
        theirs += map(str, proven.values_list("provider_id", flat=True))
        theirs += [one.provider_id for one in late_ones if late.is_proven(one)]
    for provider_id in theirs:
        try:
            client.delete_batch(provider_id)
        except errors.NotFound:
            # It was deleted before, or the provider's 29 days are over.
            if not _is_gone(provider_id):
                raise
        except errors.Refused as error:
            if error.is_rate_limit or error.status in (401, 403):
                raise  # it can be done later, and has to be
            # Not ours to force: a batch that is not over yet.
            logger.warning("job %s: the provider keeps %s: %s", job.pk, provider_id, error)
        lease.renew()
    for batch in job.batches.all():
        files.body_path(batch).unlink(missing_ok=True)
        files.results_path(batch).unlink(missing_ok=True)
        files.incomplete_path(batch).unlink(missing_ok=True)
        files.remove_incoming(batch)
    files.remove_stray_bodies(job)
    for path in files.exports_of(job.pk):
        files.remove_export(path)
    files.remove_upload(job.upload_file)
    for rows in (Row.objects, Attempt.objects, Edit.objects):
        delete_rows(rows.filter(job=job), lease)
    FileProblem.objects.filter(job=job).delete()
    with transaction.atomic():
        ledger.keep_spending(job)
        job.delete()
