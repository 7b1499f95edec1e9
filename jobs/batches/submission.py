"""Sending a batch once, and finding out what became of it when the answer was lost.

Before the one POST the intent is committed and journalled. A clear yes and a clear no settle it;
everything else - a lost connection, a time-out, a 5xx, an answer that does not fit, the death of
the process - makes the batch `unknown`, and that is settled by looking at the provider's list,
never by sending again at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from datetime import timedelta
from functools import partial

import msgspec
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F
from django.db.models.functions import Greatest

from ..models import (
    Batch,
    Job,
    NotMoved,
    api_key,
    clock,
    files,
    job_log,
    key_fingerprint,
    storage,
)
from ..provider import client, errors
from ..provider.replies import BatchInfo
from ..rules import wording
from . import absence, batch_keys, holds, journal, ownership, planning, reconciliation
from .acceptance_windows import window_of_last_try
from .leases import Lease, LeaseLost
from .ownership import LATE_FOR
from .reconciliation import LISTED_LATE
from .submission_records import (
    first_look,
    journal_outcome,
    provider_facts,
    record,
    try_move,
)

logger = logging.getLogger(__name__)
# A POST may take so long, and a second more for so many bytes: a small one that hangs is given up
# before its deadline, so that others can be sent. It is settled like every other lost answer.
POST_SECONDS, POST_BYTES_A_SECOND = 180.0, 20_000
# Until one looks again whether another batch of the same size is settled.
WAIT_FOR_SIZE = timedelta(seconds=15)

# Does other work for the job while a batch goes out. The function that it gets says whether the
# batch is out.
Meanwhile = Callable[[Callable[[], bool]], None]


def submit(batch: Batch, lease: Lease, meanwhile: Meanwhile | None = None) -> timedelta:
    """Send a planned batch. Returns how long to wait before the job's next step. `meanwhile` must
    call `lease.renew` often.

    Raises LeaseLost, and NotMoved when somebody else took it on. ProviderError when the provider
    cannot even be listed; nothing was sent then.
    """
    if _size_is_taken(batch):
        if batch.attempts or batch.size == 1:
            return WAIT_FOR_SIZE
        planning.unplan(batch)  # its rows go into a batch of another size
        return timedelta()
    if batch.attempts and not batch_keys.can_see(batch):
        # Its tries before went to another workspace. They were settled there, or a person decided;
        # what is listed here is not comparable with its baseline.
        planning.unplan(batch)
        return timedelta()
    if batch.attempts and (
        ownership.find_disowned(batch, at_once=True) or reconciliation.candidates(batch)
    ):
        # It was refused before, or a person chose to send it again, but the provider has a batch
        # that may be it.
        if not try_move(
            batch,
            Batch.State.PLANNED,
            Batch.State.UNKNOWN,
            next_action_at=batch.deadline_at,
            # A try that counted as never arrived is looked for again: found, it is paid once.
            given_up=Greatest(F("given_up") - 1, 0),
        ):
            raise NotMoved(f"Batch {batch.pk} is not planned any more.")
        return timedelta()
    if not planning.body_is_whole(batch):
        # Nothing of it was accepted, so its rows can go into another batch.
        planning.unplan(batch)
        return timedelta()
    if batch.baseline_ids is None:
        _take_baseline(batch)
    lease.hold_for(settings.SUBMIT_DEADLINE_SECONDS)
    if not _commit_intent(batch, lease):
        return timedelta(seconds=5)
    try:
        journal.write("intent", **_intent(batch))
    except OSError:
        _not_sent(batch, "This site’s journal could not be written.")
        raise
    pause = _post(batch, lease, meanwhile)
    lease.hold_for(0)
    return pause


def _size_is_taken(batch: Batch) -> bool:
    """Whether another batch of its size is unsettled: which is which could not be told from the
    provider's list."""
    others = Batch.objects.unsettled().filter(size=batch.size, practice=batch.practice)
    others = others.exclude(pk=batch.pk)
    if others.exclude(workspace="").exists():  # it may be of another workspace
        others = others.listed_beside(client.workspace_in_use())
    other = others.first()
    if other is None:
        return False
    job_log.write_once(
        batch.job_id,
        f"Batch {batch.number} waits until it is known whether another one of the same size "
        f"arrived (batch {other.number} of job {other.job_id}).",
    )
    return True


def _intent(batch: Batch) -> dict[str, object]:
    """All that is needed to find the batch at the provider, and to give it its rows again, when
    the database is gone."""
    assert batch.deadline_at is not None  # noqa: S101 - set with the intent
    return {
        "job": batch.job_id,
        "upload": batch.job.upload_sha256,
        "practice": batch.practice,
        "key_team": batch.job.key_team,
        "key": batch.key,
        "workspace": batch.workspace,
        "number": batch.number,
        "nonce": batch.nonce,
        "attempt": batch.attempts,
        "rows": planning.ranges_of(batch),
        "places": planning.places_hash(batch.job, [batch.rows.all()]),
        "recipe": planning.recipe_hash(batch.job, batch.round),
        "size": batch.size,
        "bytes": batch.body_bytes,
        "sha256": batch.body_sha256,
        "deadline": batch.deadline_at.isoformat(),
        "begun": msgspec.to_builtins(absence.of(batch).begun),
        "baseline": batch.baseline_ids,
        "baseline_at": batch.baseline_at and batch.baseline_at.isoformat(),
    }


def _take_baseline(batch: Batch) -> None:
    """Note what the provider lists before the first attempt. By the provider's own clock: ours may
    be wrong. Never renewed: a later one would hide a batch of the first attempt that is listed
    late."""
    batch.baseline_ids = []
    for info in client.list_batches():
        if batch.baseline_at is None:
            batch.baseline_at = info.created_at
        if info.created_at < batch.baseline_at - 2 * LISTED_LATE:
            break
        if info.total == batch.size:
            batch.baseline_ids.append(info.id)


def _post(
    batch: Batch, lease: Lease | None = None, meanwhile: Meanwhile | None = None
) -> timedelta:
    """The one POST of an attempt. How long to wait before the job's next step."""
    # This process may have stood still since the intent (a suspended machine, a slow disk), and
    # somebody else may have looked for the batch and sent it meanwhile.
    seconds = absence.time_left_to_send(batch)
    ours = Batch.objects.filter(pk=batch.pk, state=Batch.State.SUBMITTING, attempts=batch.attempts)
    if not ours.exists():
        raise LeaseLost
    if seconds < settings.SUBMIT_DEADLINE_SECONDS / 2:
        pause = _not_sent(batch, "Sending was interrupted before anything was sent.")
        journal_outcome(batch)
        return pause
    seconds = min(seconds, POST_SECONDS + batch.body_bytes / POST_BYTES_A_SECOND)
    send = partial(client.create_batch, files.body_path(batch), batch.size, seconds)
    if lease and meanwhile:
        return _send_beside(batch, lease, send, meanwhile)
    return _store_answer(batch, send)


def _send_beside(
    batch: Batch, lease: Lease, send: Callable[[], BatchInfo], meanwhile: Meanwhile
) -> timedelta:
    """Send in a thread of its own, which does not use the database, while this one does something
    else. The answer is stored as soon as it is there, even if `meanwhile` goes on or fails."""
    stored: Future[timedelta] = Future()

    def store_if_there(answer: Future[BatchInfo]) -> None:
        if answer.done() and not stored.done():
            try:
                stored.set_result(_store_answer(batch, answer.result))
            except Exception as error:  # noqa: BLE001 - raised below, as it is not about `meanwhile`
                stored.set_exception(error)

    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(copy_context().run, send)
        lease.look_after = partial(store_if_there, answer)
        try:
            meanwhile(answer.done)
        finally:
            lease.look_after = None
            wait([answer])
            store_if_there(answer)
            pause = stored.result()
    return pause


def _store_answer(batch: Batch, get: Callable[[], BatchInfo]) -> timedelta:
    """What came of the POST, into database and journal."""
    pause = _settle_by(batch, get)
    journal_outcome(batch)  # the answer holds even if another worker has the job by now
    return pause


def _settle_by(batch: Batch, get: Callable[[], BatchInfo]) -> timedelta:
    try:
        accepted = get()
    except errors.Unreachable as error:
        return _not_sent(batch, str(error))
    except errors.Refused as error:
        return _refused(batch, error)
    except errors.Unclear as error:
        return _unclear(batch, str(error))
    return _accepted(batch, accepted)


def _commit_intent(batch: Batch, lease: Lease) -> bool:
    """Say in the database that this batch is being sent; False if it may not be now."""
    now = clock.now()
    batch.absence = absence.begin()
    batch.attempts += 1
    batch.intent_at = batch.intent_at or now
    # Known: the provider was asked for its list before.
    batch.key, batch.workspace = key_fingerprint(), api_key.workspace_in_use()
    batch.deadline_at = now + timedelta(seconds=settings.SUBMIT_DEADLINE_SECONDS)
    try:
        with transaction.atomic():
            # The job must still be wanted and ours at this very moment.
            mine = Job.objects.filter(
                pk=batch.job_id, state=Job.State.SUBMITTING, held="", lease_owner=lease.owner
            ).filter(key_team=api_key.team_in_use())
            if mine.update(failures_in_a_row=0) != 1:
                raise LeaseLost
            moved = Batch.objects.filter(attempts=batch.attempts - 1).try_move(
                batch.pk,
                Batch.State.PLANNED,
                Batch.State.SUBMITTING,
                attempts=batch.attempts,
                intent_at=batch.intent_at,
                deadline_at=batch.deadline_at,
                baseline_ids=batch.baseline_ids,
                baseline_at=batch.baseline_at,
                absence=batch.absence,
                key=batch.key,
                workspace=batch.workspace,
                empty_looks=0,
            )
            if not moved:
                raise LeaseLost
            record(
                batch,
                "intent",
                size=batch.size,
                sha256=batch.body_sha256,
                deadline=batch.deadline_at.isoformat(),
                key=batch.key,
                workspace=batch.workspace,
            )
    except IntegrityError:
        # Another batch of the same size is unsettled; which is which could not be told.
        return False
    batch.state = Batch.State.SUBMITTING
    return True


def _accepted(batch: Batch, info: BatchInfo) -> timedelta:
    _settle(batch, Batch.State.IN_PROGRESS, "accepted", **provider_facts(info))
    holds.end_trouble()
    holds.end_pause()
    job_log.write(batch.job_id, f"Batch {batch.number} was sent: {wording.rows(batch.size)}.")
    return timedelta()


def _not_sent(batch: Batch, why: str) -> timedelta:
    wait = _backoff(batch.attempts)
    _settle(batch, Batch.State.PLANNED, "not_sent", next_action_at=clock.now() + wait)
    holds.note_trouble(why)
    return wait


def _refused(batch: Batch, error: errors.Refused) -> timedelta:
    # The first two refusals are not about this batch, so it is planned again, unchanged.
    if error.is_rate_limit:
        _settle(batch, Batch.State.PLANNED, "refused")
        return holds.wait_for_room(error)
    if error.is_about_account:
        _settle(batch, Batch.State.PLANNED, "refused")
        return holds.pause(error)
    said = error.message or f"status {error.status}"
    with transaction.atomic():
        _settle(batch, Batch.State.BLOCKED, "refused", refusal=said)
        holds.hold(batch.job_id, holds.in_words(error))
    return timedelta()


def _unclear(batch: Batch, why: str) -> timedelta:
    _settle(batch, Batch.State.UNKNOWN, "unknown", next_action_at=first_look(batch))
    job_log.write(
        batch.job_id,
        f"Batch {batch.number}: {why} We are checking whether it arrived; nothing is sent twice.",
    )
    return timedelta()


def _settle(batch: Batch, state: str, kind: str, **values: object) -> None:
    """The end of a POST: the batch leaves `submitting`, and the event says how. That is worth the
    ballast: an answer that a full disk does not store must be looked for at the provider."""
    storage.give_up_ballast_if_full()
    with transaction.atomic():
        if try_move(batch, Batch.State.SUBMITTING, state, **values):
            batch.state = state
        batch.provider_id = str(values.get("provider_id") or "") or None
        if batch.provider_id and batch.state != state:
            _answered_late(batch, state, values)
        record(batch, kind)


def _answered_late(batch: Batch, state: str, values: dict[str, object]) -> None:
    """The batch was marked unknown before this answer arrived. If it was sent again, the second one
    is a duplicate, to be found and canceled."""
    open_ = Batch.objects.filter(pk=batch.pk, provider_id=None)
    open_ = open_.filter(state__in=[Batch.State.UNKNOWN, Batch.State.PLANNED])
    later = open_.select_for_update().filter(state=Batch.State.UNKNOWN).first()
    if later is not None and later.attempts > batch.attempts:
        record(later, "never_arrived", **window_of_last_try(later).detail)
        # It is in doubt now, instead of the try that is known.
        values = {**values, "late_until": clock.latest_now() + LATE_FOR}
    open_.filter(state=Batch.State.PLANNED, given_up__gt=0).update(given_up=F("given_up") - 1)
    open_.update(state=state, asked_at=None, **values)


def doubt(batch: Batch) -> None:
    """A batch that is `submitting` while somebody new holds the job: its sender died, and whether
    the POST arrived is not known."""
    first = first_look(batch)
    if try_move(batch, Batch.State.SUBMITTING, Batch.State.UNKNOWN, next_action_at=first):
        record(batch, "unknown")
        job_log.write(
            batch.job_id,
            f"Batch {batch.number}: sending was interrupted. We are checking whether it arrived; "
            "nothing is sent twice.",
        )


def _backoff(failures: int) -> timedelta:
    return timedelta(seconds=min(2.0 ** min(failures, 8), 300.0))
