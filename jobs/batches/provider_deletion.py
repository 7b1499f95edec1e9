"""Delete batches at the provider once their results are safe here, where that is wanted.

Nothing is deleted there unless the file with the results is whole on our disk, by the hash that was
taken when it was proven complete, and no row of the batch waits for its answer.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from django.db import transaction

from ..models import (
    Batch,
    BatchQuerySet,
    Outcome,
    Retention,
    SubmissionEvent,
    api_key,
    audit,
    clock,
    job_log,
    key_fingerprint,
)
from ..provider import client, errors
from . import stored_results
from .isolation import isolated

logger = logging.getLogger(__name__)

AT_ONCE = 10  # batches a look
BYTES_AT_ONCE = 1_000_000_000
FIRST_PAUSE, LONGEST_PAUSE = timedelta(minutes=1), timedelta(hours=12)
GONE = "was gone already"  # in place of the ID of an answer


def has_any() -> bool:
    """Whether a batch can be deleted now."""
    return _due().exists()


def _due() -> BatchQuerySet:
    by_default = Retention.get().deletes_batches
    return Batch.objects.to_delete_at_provider(clock.now(), by_default=by_default)


def delete_some() -> None:
    """Delete the next few. One that cannot be deleted is tried again later."""
    left = BYTES_AT_ONCE
    for batch in _due().select_related("job").order_by("pk")[:AT_ONCE]:
        if left <= 0:
            return
        left -= batch.results_bytes
        what = f"job {batch.job_id} batch {batch.number}: deleting it at the provider"
        with isolated(what), api_key.held(batch.job.key_team):
            _delete(batch)


def _delete(batch: Batch) -> None:
    try:
        answer = _delete_there(batch)
    except errors.ProviderError as error:
        logger.warning("job %s batch %s: not deleted: %s", batch.job_id, batch.number, error)
        answer = ""
    if not answer:
        _try_later(batch)
        return
    with transaction.atomic():
        mine = Batch.objects.filter(pk=batch.pk, deleted_at=None)
        if mine.update(deleted_at=clock.now(), deletion_id=answer, delete_after=None):
            text = f"Batch {batch.number} is deleted at Anthropic ({batch.provider_id}: {answer})."
            job_log.write(batch.job_id, text)
            audit.record(
                "batch_deleted_at_provider",
                job=batch.job_id,
                target=f"batch {batch.number}",
                after={"id": batch.provider_id, "answer": answer, "sha256": batch.results_sha256},
            )


def _delete_there(batch: Batch) -> str:
    """The ID of the answer, or GONE; "" if it must not be deleted now. Raises ProviderError."""
    provider_id = str(batch.provider_id)
    try:
        if client.retrieve_batch(provider_id).status != "ended" or not _is_safe_here(batch):
            return ""
        return client.delete_batch(provider_id)
    except errors.NotFound:
        # Look again, by another call. With another key than it was sent with, a 404 says nothing.
        is_gone = _was_sent_with_this_key(batch) and is_absent(provider_id)
        return GONE if is_gone and _is_safe_here(batch) else ""


def is_absent(provider_id: str) -> bool:
    """Confirm by another call that the provider does not have a batch. Raises ProviderError."""
    try:
        client.retrieve_batch(provider_id)
    except errors.NotFound:
        return True
    return False


def _is_safe_here(batch: Batch) -> bool:
    """Whether its results are whole on our disk, and then still: every row has its own, and it is
    to be deleted. The list that `batch` is from may be old."""
    if not batch.results_sha256 or stored_results.check(batch):
        return False
    same = _due().filter(pk=batch.pk, results_sha256=batch.results_sha256)
    return same.exists() and not batch.rows.filter(outcome=Outcome.WAITING).exists()


def _was_sent_with_this_key(batch: Batch) -> bool:
    sent = SubmissionEvent.objects.filter(nonce=batch.nonce, kind="intent").last()
    return sent is not None and sent.detail.key == key_fingerprint()


def _try_later(batch: Batch) -> None:
    pause = clock.growing_pause(FIRST_PAUSE, LONGEST_PAUSE, batch.deletion_failures)
    Batch.objects.filter(pk=batch.pk).update(
        deletion_failures=batch.deletion_failures + 1, delete_after=clock.now() + pause
    )
