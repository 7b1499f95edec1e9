"""One `list` call tells how all batches are doing."""

from __future__ import annotations

from django.utils import timezone

from . import provider
from .models import Batch, Installation, Job
from .provider import BatchInfo


def watch() -> None:
    """Look at the provider's list once and note what has ended; the jobs of those batches are due
    then. Does nothing when no batch is with the provider. Raises ProviderError.
    """
    watched = {
        batch.provider_id: batch for batch in Batch.objects.with_provider().select_related("job")
    }
    if not watched:
        return
    oldest = min(batch.created_at for batch in watched.values() if batch.created_at)
    for info in provider.list_batches():
        batch = watched.pop(info.id, None)
        if batch is not None and info.status == "ended":
            _note_end(batch, info)
        if not watched or info.created_at < oldest:
            break
    Installation.objects.filter(pk=1).exclude(provider_trouble="").update(provider_trouble="")


def _note_end(batch: Batch, info: BatchInfo) -> None:
    now = timezone.now()
    moved = Batch.objects.move(
        batch.pk,
        Batch.State.IN_PROGRESS,
        Batch.State.ENDED,
        ended_at=info.ended_at or now,
        counts=info.counts,
        next_action_at=now,
    )
    if moved:
        Job.objects.filter(pk=batch.job_id).update(next_action_at=now)
