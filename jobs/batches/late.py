"""Batches that turn up at the provider after they counted as never arrived.

How late the provider lists a batch is not documented, so a batch that was given up is looked for on
for two days. One that shows up is ours and not wanted any more: it is canceled at once, because
canceled requests are not charged, and what it had finished by then is said with its cost.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from itertools import takewhile

from django.db import transaction
from django.db.models import F, QuerySet

from ..models import (
    Batch,
    Job,
    JournalState,
    LateBatch,
    Round,
    SubmissionEvent,
    clock,
    dollars,
    job_log,
    note_change,
)
from ..provider import client, errors
from ..provider.replies import BatchInfo
from ..rules import result_proof, wording
from ..rules.pricing import format_dollars
from . import acceptance_windows, batch_keys, collection, journal, ownership, reconciliation
from .isolation import isolated

logger = logging.getLogger(__name__)

# After that, whole results count even if the provider's own numbers still say something else.
COUNTS_COUNT = timedelta(hours=1)
LISTED_LATE = "turned up at Anthropic after all, long after it was sent ({})"


def has_any() -> bool:
    """Whether there is anything to look for."""
    possible = Batch.objects.late_ones_possible(clock.earliest_now())
    return possible.exists() or LateBatch.objects.filter(ended_at=None).exists()


def look() -> None:
    """Compare the provider's list with the batches that counted as never arrived lately, and see
    to those that turned up. One that fails does not stop the others. Raises ProviderError."""
    now = clock.earliest_now()
    missed = Batch.objects.late_ones_possible(now)
    late_ones = LateBatch.objects.filter(ended_at=None)
    teams = {
        *missed.values_list("job__key_team", flat=True),
        *late_ones.values_list("batch__job__key_team", flat=True),
    }
    batch_keys.for_each_key(
        teams,
        lambda team: _look_with_key(
            missed.filter(job__key_team=team), late_ones.filter(batch__job__key_team=team), now
        ),
    )


def _look_with_key(
    missed_ones: QuerySet[Batch], late_ones: QuerySet[LateBatch], now: datetime
) -> None:
    """Look for and at those that were sent with the key in use. Raises ProviderError."""
    troubles: list[errors.ProviderError] = []
    missed = list(missed_ones.select_related("job"))
    try:
        listing = _listed_lately(missed) if missed else []
    except errors.ProviderError as error:
        troubles.append(error)
        missed = []
    for batch in missed:
        with isolated(f"job {batch.job_id} batch {batch.number}: the look for a late one"):
            # In another workspace nothing is ours.
            troubles += _look_for(batch, listing) if batch_keys.can_see(batch) else []
    for late in late_ones.select_related("batch__job"):
        if late.batch.late_until and now < late.batch.late_until + timedelta(days=2):
            with isolated(f"job {late.batch.job_id}: the look at {late.provider_id}"):
                try:
                    follow(late)
                except errors.ProviderError as error:
                    troubles.append(error)
    if troubles:
        raise troubles[-1]


def _look_for(batch: Batch, listing: list[BatchInfo]) -> list[errors.ProviderError]:
    """Look for the missing tries of one batch. What the provider did not answer is returned, so
    that every candidate gets its turn."""
    troubles = []
    disowned = ownership.find_disowned(batch)
    if not (batch.is_final or ownership.was_given_up(batch)):
        return []  # it was sent once, so what turns up is the batch itself
    if disowned:
        _take(batch, disowned, f"is {disowned.id} after all, as its results say now")
    for info in reconciliation.candidates(batch, listing):
        try:
            is_ours = _is_ours(batch, info)
        except errors.ProviderError as error:
            troubles.append(error)
            continue
        if is_ours:
            _take(batch, info, LISTED_LATE.format(info.id))
    return troubles


def _listed_lately(missed: list[Batch]) -> list[BatchInfo]:
    """The provider's list back to when the first of `missed` was sent. That may be long ago: a
    person can take days to answer, and a backup can be old."""
    now = clock.provider_now()
    since = now - ownership.LATE_FOR if now else None
    sent = [batch.intent_at for batch in missed if batch.intent_at]
    since = since and min([since, *sent]) - timedelta(days=1)
    listing = client.list_batches()
    return list(takewhile(lambda info: since is None or info.created_at >= since, listing))


def _is_ours(batch: Batch, info: BatchInfo) -> bool:
    """Whether a batch of the size of `batch`, that nobody here knows, was made by one of its tries.

    Once it has ended, its custom_ids tell. While it runs, two looks have to agree that it was made
    while a try was under way that counted as never arrived and has not been found since. Another
    program's batch of that time would have been in the list before the try was given up, unless it
    was listed late, too.
    """
    if info.status != "ended":
        if not _fits_a_missing_try(batch, info):
            return False
        # It will be canceled, so look again, by another call.
        try:
            info = client.retrieve_batch(info.id)
        except errors.NotFound:
            return False
    if info.status == "ended":
        return ownership.is_proven(batch, info.id)
    return info.total == batch.size and _fits_a_missing_try(batch, info)


def _fits_a_missing_try(batch: Batch, info: BatchInfo) -> bool:
    """Whether a missing try of `batch`, and nothing else of ours, can have made a running batch."""
    now = clock.provider_now()
    # The size is all there is to go by: a batch of that size whose own fate is open comes first.
    # Asked after the list was fetched, so that nothing in it slips through.
    open_ = Batch.objects.whose_fate_is_open().filter(size=batch.size)
    if now is None or open_.listed_beside(batch.workspace).exists():
        return False
    if JournalState.get().ahead:
        return False  # so does one that was sent before the database was restored
    missing = acceptance_windows.missing_tries(batch, now - clock.now())
    return any(window.includes(info.created_at) for window in missing)


def _take(batch: Batch, info: BatchInfo, how: str) -> None:
    with transaction.atomic():
        _late, is_new = LateBatch.objects.get_or_create(
            provider_id=info.id,
            defaults={
                "batch": batch,
                "size": info.total,
                "created_at": info.created_at,
                "found_at": clock.now(),
            },
        )
        if not is_new:
            return
        SubmissionEvent.objects.create(
            job_id=batch.job_id, nonce=batch.nonce, kind="late", provider_id=info.id
        )
        job_log.write(
            batch.job_id,
            f"Batch {batch.number} {how}. "
            + ("It had ended by then." if info.status == "ended" else "We are canceling it."),
        )
    journal.write("late", job=batch.job_id, nonce=batch.nonce, provider_id=info.id)
    logger.warning("job %s batch %s: %s turned up late", batch.job_id, batch.number, info.id)


def follow(late: LateBatch) -> None:
    """Cancel a late batch. Once it has ended, note what it had finished. Raises ProviderError."""
    try:
        info = client.retrieve_batch(late.provider_id)
    except errors.NotFound:
        return  # not visible yet, or deleted; the next look tells
    if info.status == "ended":
        _note_end(late, info)
    elif late.cancel_sent_at is None:
        client.cancel_batch(late.provider_id)
        LateBatch.objects.filter(pk=late.pk).update(cancel_sent_at=clock.now())


def is_proven(late: LateBatch) -> bool:
    """Whether its results say twice in a row that it is ours. One answer can be wrong, and what is
    deleted at Anthropic cannot be had back. Raises ProviderError."""
    ours = f"{late.batch.nonce}-"
    try:
        return all(ownership.first_custom_id(late.provider_id).startswith(ours) for _ in range(2))
    except errors.NotFound:
        return False


def _count_against(late: LateBatch) -> None:
    """Count one look that says its results are another batch's. After enough of them, drop it: we
    do not count its cost, and keep looking for the try it was taken for."""
    with transaction.atomic():
        ownership.count_against(late.batch, late.provider_id)
        disowned = late.batch.disowned.filter(provider_id=late.provider_id)
        if not disowned.filter(looks__gte=ownership.LOOKS).exists():
            return
        late.delete()
        canceled = " We had canceled it by then." if late.cancel_sent_at else ""
        job_log.write(
            late.batch.job_id,
            f"{late.provider_id} was not batch {late.batch.number}: its results belong to another "
            f"batch.{canceled} This job is not charged for it.",
        )


def _note_end(late: LateBatch, info: BatchInfo) -> None:
    # By the results themselves. For an hour they have to be what the provider counts.
    by_counts = clock.now() < late.found_at + COUNTS_COUNT
    if ownership.is_waiting(late.batch, late.provider_id):
        return
    try:
        finished, cost = collection.charged(late.batch, info, by_counts=by_counts)
    except result_proof.NotOurs:
        _count_against(late)
        return
    except result_proof.Incomplete:
        return  # the next look fetches it anew
    with transaction.atomic():
        note_change(late.batch.job_id)
        ended = LateBatch.objects.filter(pk=late.pk, ended_at=None)
        is_new = ended.update(
            ended_at=info.ended_at or clock.now(), finished=finished, cost_pico=cost
        )
        if is_new:
            # tally.count_up comes to the same, but the job may have finished long ago.
            Job.objects.filter(pk=late.batch.job_id).update(spent_pico=F("spent_pico") + cost)
            mine = Round.objects.filter(job=late.batch.job_id, number=late.batch.round)
            mine.update(spent_pico=F("spent_pico") + cost)
            # What this try costs is known now.
            doubtful = Batch.objects.filter(pk=late.batch_id, given_up__gt=0)
            doubtful.update(given_up=F("given_up") - 1)
    if is_new:
        stopped = late.batch.state == Batch.State.CANCELED
        how = "although the job had been stopped" if stopped else "a second time"
        paid = (
            f"It had finished {wording.rows(finished)} by then, which were charged {how}: "
            f"{format_dollars(dollars(cost))}."
            if finished
            else "It had not answered any rows, so nothing was charged."
        )
        job_log.write(late.batch.job_id, f"The late batch {late.batch.number} has ended. {paid}")
