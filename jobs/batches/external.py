"""Batches that were made elsewhere - by a script, by another program - and are imported: which
ones there are at the provider, and whether one of them can be.

Nothing of such a batch is ever sent. It becomes a job with one batch that the provider already has,
and from there it is watched, collected, proven and judged like every other. What could be one of
our own batches is not taken: that would hide it from those who look for it (submission.py).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import timedelta
from itertools import islice, takewhile

from ..models import Batch, ExternalBatchList, LateBatch, clock, key_fingerprint
from ..provider import client, errors
from ..provider.replies import BatchInfo
from ..rules import wording
from ..rules.provider_lists import KEPT, Listed
from . import holds, ownership, slots, unknown_submissions

logger = logging.getLogger(__name__)

MOST_LISTED = 300  # of those that are not known here, the newest
TRIED_AGAIN_AFTER = timedelta(minutes=5)
OURS = "This batch is one of this site’s own: batch {} of job {}."
BUSY = "Anthropic is answering slowly. Try again in a minute."


class NotPossible(Exception):
    """This batch cannot be imported; the message says why."""


# --- The provider's list --------------------------------------------------------------------------


def ask() -> None:
    """Let the worker look at the provider's list."""
    ExternalBatchList.row().update(asked_at=clock.now(), trouble="")


def list_if_asked() -> None:
    """What `ask` asked for. Should this process die meanwhile, it is done some minutes later."""
    now = clock.now()
    asked = ExternalBatchList.row().filter(clock.over("asked_at", TRIED_AGAIN_AFTER, now))
    if not asked.update(asked_at=now + TRIED_AGAIN_AFTER):
        return
    key, found, trouble = key_fingerprint(), [], ""
    try:
        found = list(islice(_unknown(), MOST_LISTED))
    except errors.ProviderError as error:
        trouble = _in_words(error)
    ExternalBatchList.row().update(
        entries=found,
        listed_at=None if trouble else now,
        key=key,
        asked_at=None,
        trouble=trouble,
    )


def _unknown() -> Iterator[Listed]:
    """What the provider lists and this site does not know, the newest first, as long as the results
    are there. Raises ProviderError."""
    known = _known_ids()
    now = clock.provider_now_or_ours()
    # What is listed later is older, and its results are gone as well.
    kept = takewhile(lambda info: info.created_at > now - KEPT, client.list_batches())
    for info in kept:
        if info.archived_at is None and info.id not in known:
            yield Listed(info.id, info.total, info.created_at, info.ended_at, info.counts)


def listed(listing: ExternalBatchList) -> list[Listed] | None:
    """What the worker found last and is still not known here; None when it has not looked, or with
    another key."""
    if listing.listed_at is None or listing.key != key_fingerprint():
        return None
    known = _known_ids()
    return [one for one in listing.entries if one.id not in known]


def _known_ids() -> set[str]:
    ours = Batch.objects.exclude(provider_id=None).values_list("provider_id", flat=True)
    return {*map(str, ours), *LateBatch.objects.values_list("provider_id", flat=True)}


# --- One of them ----------------------------------------------------------------------------------


def find(provider_id: str) -> BatchInfo:
    """The batch that the provider calls `provider_id`, if it can be imported. Asks the provider,
    so it has no place in a transaction. Raises NotPossible."""
    refuse_known(provider_id)
    with slots.Slot() as slot:
        if not slot.take(slots.FINDING):
            raise NotPossible(BUSY)
        return _find(provider_id)


def _find(provider_id: str) -> BatchInfo:
    try:
        info = client.retrieve_batch(provider_id)
    except errors.NotFound as error:
        raise NotPossible(
            "Anthropic has no batch with this ID for this site’s API key. Check the ID. If it is "
            "right, the batch was deleted or belongs to another workspace."
        ) from error
    except errors.ProviderError as error:
        raise NotPossible(_in_words(error)) from error
    if info.archived_at or _is_too_old(info):
        day = info.archived_at or info.created_at + KEPT
        raise NotPossible(
            f"Anthropic deleted the results of this batch on {day:%-d %B %Y}. It keeps them for "
            "29 days. They can't be recovered."
        )
    # Looked at after the batch was seen: whatever of ours made it is in the database by now.
    _refuse_ours(info)
    return info


def _in_words(error: errors.ProviderError) -> str:
    if isinstance(error, errors.Refused):
        return holds.in_words(error)
    return f"{error} Try it again in a minute."


def refuse_known(provider_id: str) -> None:
    """Raises NotPossible for a batch that this site has already."""
    batch = Batch.objects.filter(provider_id=provider_id).first()
    late = LateBatch.objects.filter(provider_id=provider_id).select_related("batch").first()
    if late:
        batch = late.batch
    if batch is None:
        return
    if batch.is_external:
        raise NotPossible(f"This batch was imported before: it is job {batch.job_id}.")
    raise NotPossible(OURS.format(batch.number, batch.job_id))


def _is_too_old(info: BatchInfo) -> bool:
    now = clock.provider_now()
    return now is not None and info.created_at <= now - KEPT


def _refuse_ours(info: BatchInfo) -> None:
    """Raises NotPossible for what is, or could be, a batch of this site whose id is not known
    here."""
    if unknown_submissions.submissions_unknown():
        raise NotPossible(
            "The database of this site is older than its journal. First the batches that were sent "
            "since have to be looked for; then others can be imported."
        )
    if info.status == "ended":
        try:
            first = ownership.first_custom_id(info.id)
        except errors.NotFound as error:
            raise NotPossible(
                "The results of this batch are not there yet. Try it again in a minute."
            ) from error
        except errors.ProviderError as error:
            raise NotPossible(_in_words(error)) from error
        ours = Batch.objects.filter(nonce=first.partition("-")[0])
        # One that was stopped before it was sent, by a database that is older than its POST, will
        # never get these answers.
        if own := ours.exclude(state=Batch.State.CANCELED, provider_id=None).first():
            raise NotPossible(OURS.format(own.number, own.job_id))
        if first:
            return
    # Its size is all that tells.
    open_ = Batch.objects.whose_fate_is_open() | Batch.objects.late_ones_possible(
        clock.earliest_now()
    )
    if open_.filter(size=info.total).exists():
        raise NotPossible(
            f"This site has sent a batch of {wording.rows(info.total)} as well and does not know "
            "yet whether it arrived, so this could be that one. Try it again when this batch has "
            "ended."
        )
