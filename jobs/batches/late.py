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
from django.db.models import F

from ..models import Batch, Job, LateBatch, Round, SubmissionEvent, clock, dollars, note_change
from ..provider import client, errors
from ..provider.replies import BatchInfo
from ..rules import wording
from ..rules.pricing import format_dollars
from . import absence, collection, holds, journal, ownership, reconciliation, result_proof

logger = logging.getLogger(__name__)

# After that, whole results count even if the provider's own numbers still say something else.
COUNTS_COUNT = timedelta(hours=1)
LISTED_LATE = "turned up at Anthropic after all, long after it was sent ({})"


def look() -> None:
    """Compare the provider's list with the batches that counted as never arrived lately, and see
    to those that turned up. Raises ProviderError."""
    trouble = None
    now = absence.earliest_now()
    missed = list(Batch.objects.late_ones_possible(now).select_related("job"))
    if missed:
        listing = list(_listed_lately())
        for batch in missed:
            disowned = ownership.find_disowned(batch)
            if not (batch.is_final or ownership.was_given_up(batch)):
                continue  # it was sent once, so what turns up is the batch itself
            if disowned:
                _take(batch, disowned, f"is {disowned.id} after all, as its results say now")
            for info in reconciliation.candidates(batch, listing):
                try:
                    is_ours = _is_ours(batch, info)
                except errors.ProviderError as error:
                    trouble = error  # the others get their turn
                    continue
                if is_ours:
                    _take(batch, info, LISTED_LATE.format(info.id))
    for late in LateBatch.objects.filter(ended_at=None).select_related("batch__job"):
        if late.batch.late_until and now < late.batch.late_until + timedelta(days=2):
            try:
                _follow(late)
            except errors.ProviderError as error:
                trouble = error
    if trouble:
        raise trouble


def _listed_lately() -> list[BatchInfo]:
    now = client.now()
    since = now - ownership.LATE_FOR - timedelta(days=1) if now else None
    listing = client.list_batches()
    return list(takewhile(lambda info: since is None or info.created_at >= since, listing))


def _is_ours(batch: Batch, info: BatchInfo) -> bool:
    """Whether a batch of the size of `batch`, that nobody here knows, was made by one of its tries.

    Once it has ended, its custom_ids say so. While it runs: when it was made in the very time in
    which a try that counted as never arrived was under way, by the provider's clock. One of another
    program from that time would have been in the list that was looked through before the try was
    given up, unless it was listed as late.
    """
    if info.status == "ended":
        return ownership.is_proven(batch, info.id)
    now = client.now()
    # The size is all there is to go by: a batch of that size whose own fate is open comes first.
    # Asked after the list was fetched, so that nothing in it slips through.
    if now is None or Batch.objects.whose_fate_is_open().filter(size=batch.size).exists():
        return False
    tries = _tries_given_up(batch, now - clock.now())
    return batch.late_ones.count() < len(tries) and any(
        earliest <= info.created_at <= latest for earliest, latest in tries
    )


def _tries_given_up(batch: Batch, ahead: timedelta) -> list[tuple[datetime, datetime]]:
    """When each try that counted as never arrived can have been accepted, by the provider's clock,
    which is `ahead` of ours."""
    margin = reconciliation.CLOCK_MARGIN
    tries = []
    for event in SubmissionEvent.objects.filter(nonce=batch.nonce, kind="never_arrived"):
        begin, end = map(datetime.fromisoformat, (event.detail.begin, event.detail.until))
        shift = timedelta() if event.detail.clock == "provider" else ahead
        tries.append((begin + shift - margin, end + shift + margin))
    return tries


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
        holds.log(
            batch.job_id,
            f"Batch {batch.number} {how}. "
            + ("It had ended by then." if info.status == "ended" else "We are canceling it."),
        )
    journal.write("late", job=batch.job_id, nonce=batch.nonce, provider_id=info.id)
    logger.warning("job %s batch %s: %s turned up late", batch.job_id, batch.number, info.id)


def _follow(late: LateBatch) -> None:
    """Cancel a late batch, and note what it had finished when it has ended."""
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
    """Whether its results say that it is ours. Raises ProviderError."""
    try:
        first = ownership.first_custom_id(late.provider_id)
        return first.startswith(f"{late.batch.nonce}-")
    except errors.NotFound:
        return False


def _note_end(late: LateBatch, info: BatchInfo) -> None:
    # By the results themselves. For an hour they have to be what the provider counts.
    by_counts = clock.now() < late.found_at + COUNTS_COUNT
    try:
        finished, cost = collection.charged(late.batch, info, by_counts=by_counts)
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
        holds.log(late.batch.job_id, f"The late batch {late.batch.number} has ended. {paid}")
