"""Whose a batch at the provider is, by what its results say.

A custom_id that begins with a batch's nonce proves that it is that batch. One that begins with
something else proves little: a proxy or the provider may have answered with the wrong results. So a
batch is excluded only after several looks that agree, and then it is still looked at for two days:
should its results turn out to be ours, it can be found again.
"""

from __future__ import annotations

import logging
from datetime import timedelta

import msgspec
from django.db import transaction
from django.db.models import F

from ..models import Batch, DisownedBatch, SubmissionEvent, clock, job_log
from ..provider import client, errors
from ..provider.replies import BatchInfo
from ..rules.result_lines import read_custom_id

logger = logging.getLogger(__name__)

LOOKS = 5  # that have to agree before a batch is excluded
# Between two looks: doubled from the first pause to the longest.
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=10), timedelta(hours=1)
# How long the provider is searched for a batch that was given up or disowned.
LATE_FOR = timedelta(hours=48)


def first_custom_id(provider_id: str) -> str:
    """The custom_id of the first result of an ended batch; "" when it has none that can be read.
    Raises ProviderError."""
    beginning = []
    for block in client.result_blocks(provider_id):
        beginning.append(block)
        if b"\n" in block:
            break
    line = b"".join(beginning).partition(b"\n")[0]
    try:
        return read_custom_id(line)
    except (msgspec.DecodeError, RecursionError):
        return ""


def is_proven(batch: Batch, provider_id: str) -> bool:
    """Whether the results of an ended batch prove that it is `batch`. If they say otherwise, that
    is one more look against it; when the next one is not due yet, none is taken. Raises
    ProviderError."""
    if is_waiting(batch, provider_id):
        return False
    first = first_custom_id(provider_id)
    if first.startswith(f"{batch.nonce}-"):
        _recognize(batch, provider_id)
        return True
    if first:  # a result that cannot be read says nothing
        count_against(batch, provider_id)
    return False


def is_waiting(batch: Batch, provider_id: str) -> bool:
    """Whether a look said that this is not `batch`, and the next one is not due yet."""
    against = batch.disowned.filter(provider_id=provider_id).first()
    return against is not None and clock.is_waiting(against.next_look_at, LONGEST_PAUSE)


def suspects(batch: Batch) -> set[str]:
    """The ids of batches at the provider whose results said at least once that they are not
    `batch`."""
    return set(batch.disowned.values_list("provider_id", flat=True))


def count_against(batch: Batch, provider_id: str, looks: int = 1) -> None:
    """Note that `looks` looks at the results said that this is not `batch`. After LOOKS of them it
    is excluded."""
    with transaction.atomic():
        one, _ = DisownedBatch.objects.get_or_create(
            batch=batch, provider_id=provider_id, defaults={"next_look_at": clock.now()}
        )
        total = one.looks + looks
        DisownedBatch.objects.filter(pk=one.pk).update(
            looks=F("looks") + looks, next_look_at=clock.now() + _pause_after(total)
        )
        if total >= LOOKS:
            _exclude(batch, provider_id)


def find_disowned(batch: Batch, *, at_once: bool = False) -> BatchInfo | None:
    """The one of the batches excluded before that turns out to be `batch` after all; it is
    recognized. Only those are looked at whose next look is due, or all `at_once`. Trouble with one
    is logged."""
    for one in batch.disowned.filter(looks__gte=LOOKS):
        if clock.is_waiting(one.next_look_at, LONGEST_PAUSE) and not at_once:
            continue
        if Batch.objects.filter(provider_id=one.provider_id).exists():
            continue  # it is another one of ours, or was imported
        now = clock.now()
        try:
            info = client.retrieve_batch(one.provider_id)
            if info.status == "ended":
                DisownedBatch.objects.filter(pk=one.pk).update(next_look_at=now)
                if is_proven(batch, info.id):
                    return info
        except errors.ProviderError as error:
            logger.warning("%s could not be looked at again: %s", one.provider_id, error)
        waiting = DisownedBatch.objects.filter(pk=one.pk, next_look_at__lte=now)
        waiting.update(next_look_at=now + _pause_after(one.looks))
    return None


def _pause_after(looks: int) -> timedelta:
    return clock.growing_pause(FIRST_PAUSE, LONGEST_PAUSE, looks - 1)


def _exclude(batch: Batch, provider_id: str) -> None:
    """From now on this batch of the provider's is no candidate for `batch`."""
    same = Batch.objects.select_for_update().get(pk=batch.pk)
    batch.baseline_ids = same.baseline_ids or []
    if provider_id in batch.baseline_ids:
        return
    batch.baseline_ids = [*batch.baseline_ids, provider_id]
    now = clock.latest_now()
    late_until = max(now + LATE_FOR, same.late_until or now)
    Batch.objects.filter(pk=batch.pk).update(baseline_ids=batch.baseline_ids, late_until=late_until)
    _record(batch, "given_back", provider_id)


def _recognize(batch: Batch, provider_id: str) -> None:
    """What its results said before was wrong: it can be found again."""
    with transaction.atomic():
        against = batch.disowned.filter(provider_id=provider_id)
        if not against.exists():
            return
        against.delete()
        same = Batch.objects.select_for_update().get(pk=batch.pk)
        batch.baseline_ids = [one for one in same.baseline_ids or [] if one != provider_id]
        Batch.objects.filter(pk=batch.pk).update(baseline_ids=batch.baseline_ids)
        _record(batch, "recognized", provider_id)
        job_log.write(
            batch.job_id,
            f"Batch {batch.number} is {provider_id} after all: its results prove it now.",
        )


def _record(batch: Batch, kind: str, provider_id: str) -> None:
    SubmissionEvent.objects.create(
        job_id=batch.job_id, nonce=batch.nonce, kind=kind, provider_id=provider_id
    )


def was_given_up(batch: Batch) -> bool:
    """Whether a try of `batch` counted as never arrived, so that its rows may have been sent
    again."""
    return SubmissionEvent.objects.filter(nonce=batch.nonce, kind="never_arrived").exists()


def was_doubted(batch: Batch) -> bool:
    """Whether what the provider lists says nothing for sure of `batch`: one that was taken for it
    is gone or was disowned, or only the journal knew of it."""
    kinds = "restored", "vanished", "given_back"
    return SubmissionEvent.objects.filter(nonce=batch.nonce, kind__in=kinds).exists()
