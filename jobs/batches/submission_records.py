"""What is written down of each try to send a batch: its state, an event, a line of the journal."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from ..models import (
    Absence,
    Batch,
    SubmissionDetail,
    SubmissionEvent,
    clock,
)
from ..provider.replies import BatchInfo
from . import absence, journal


def try_move(batch: Batch, old: str, new: str, **values: object) -> bool:
    """Change the state of a batch, unless somebody else did, or sent it once more, meanwhile."""
    mine = Batch.objects.filter(attempts=batch.attempts)
    return mine.try_move(batch.pk, old, new, **values)


def journal_outcome(batch: Batch) -> None:
    journal.write(
        "outcome",
        job=batch.job_id,
        nonce=batch.nonce,
        attempt=batch.attempts,
        state=batch.state,
        provider_id=batch.provider_id,
    )


def first_look(batch: Batch) -> datetime:
    """When an unknown batch is due for the first time."""
    return clock.now() + until_deadline(absence.of(batch))


def until_deadline(absent: Absence) -> timedelta:
    """How long to wait before the next look at a batch whose POST may still be under way."""
    left = timedelta(seconds=settings.SUBMIT_DEADLINE_SECONDS - absent.seconds)
    return min(max(left, timedelta()), absence.LONGEST_PAUSE)


def provider_facts(info: BatchInfo) -> dict[str, object]:
    return {
        "provider_id": info.id,
        "created_at": info.created_at,
        "expires_at": info.expires_at,
        "next_action_at": None,
        "refusal": "",
    }


def record(batch: Batch, kind: str, **detail: Any) -> None:
    """`detail`: of SubmissionDetail."""
    SubmissionEvent.objects.create(
        job_id=batch.job_id,
        nonce=batch.nonce,
        kind=kind,
        provider_id=batch.provider_id or "",
        detail=SubmissionDetail(batch.attempts, **detail),
    )
