"""One `list` call tells how all batches are doing."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from . import collection, provider, submission
from .models import Batch, Installation, Job
from .provider import BatchInfo

# A new batch can be answered with 404 for a while (seen by users of the API).
NOT_YET_VISIBLE = timedelta(minutes=15)
LOOKED_UP = 10  # single look-ups of one watch


def watch() -> None:
    """Look at the provider's list once and note what has ended; the jobs of those batches are due
    then. Does nothing when no batch is with the provider. Raises ProviderError.
    """
    watched = {
        batch.provider_id: batch for batch in Batch.objects.with_provider().select_related("job")
    }
    if not watched:
        # Nothing is asked of the provider, unless a job tries to.
        if not Job.objects.filter(state__in=[Job.State.SUBMITTING, Job.State.CANCELING]).exists():
            _clear_trouble()
        return
    oldest = min(batch.created_at for batch in watched.values() if batch.created_at)
    for info in provider.list_batches():
        batch = watched.pop(info.id, None)
        if batch is not None and info.status == "ended":
            _note_end(batch, info)
        if not watched or info.created_at < oldest:
            break
    for batch in list(watched.values())[:LOOKED_UP]:
        _look_up(batch)
    _clear_trouble()


def _clear_trouble() -> None:
    Installation.objects.filter(pk=1).exclude(provider_trouble="").update(provider_trouble="")


def _look_up(batch: Batch) -> None:
    """Ask for a batch that the list does not have. One that is not there long after it was made
    needs a person: perhaps the key belongs to another workspace now. It is never sent again."""
    try:
        info = provider.retrieve_batch(str(batch.provider_id))
    except provider.NotThere:
        if may_be_too_new(batch):
            return
        if batch.job.state == Job.State.CANCELING:
            collection.lose(batch)
            Job.objects.filter(pk=batch.job_id).update(next_action_at=timezone.now())
        else:
            submission.hold(
                batch.job_id,
                f"Batch {batch.number} is not to be found at the provider. Perhaps the key of this "
                "site belongs to another workspace now, or somebody deleted the batch. It is not "
                "sent again. If it stays away, stop the job.",
            )
        return
    if info.status == "ended":
        _note_end(batch, info)


def may_be_too_new(batch: Batch) -> bool:
    """Whether the provider may not show a batch yet that it has accepted. By our own clock, which
    may differ from the one that says when the batch was made."""
    return batch.deadline_at is not None and timezone.now() < batch.deadline_at + NOT_YET_VISIBLE


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
