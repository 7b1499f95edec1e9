"""What becomes of a batch that only the journal knew, once it has its rows back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import F

from ..models import Batch, LateBatch, SubmissionDetail, SubmissionEvent, clock
from ..provider.replies import BatchInfo
from . import absence, holds
from .journaled_batches import CLEAR_NO, JournaledBatch
from .ownership import LATE_FOR
from .restored_rows import NotYet

# States in the database of a batch of which the journal may know more.
UNSETTLED = (*CLEAR_NO, Batch.State.RESTORING, Batch.State.SUBMITTING, Batch.State.UNKNOWN)


def settle(
    batch: Batch, journaled: JournaledBatch, provider_id: str, info: BatchInfo | None
) -> None:
    """A batch goes on as the one that the provider calls `provider_id`, and of which its list says
    `info`; without an id it is looked for. Raises NotYet."""
    values = of_last_attempt(journaled)
    values["attempts"] = max(batch.attempts, values["attempts"])
    values["intent_at"] = batch.intent_at or values["intent_at"]
    if provider_id:
        made = info.created_at if info else journaled.last.at
        values |= {
            "state": Batch.State.IN_PROGRESS,
            "provider_id": provider_id,
            "created_at": made,
            "expires_at": info.expires_at if info else made + timedelta(hours=24),
            "recovered": True,
            "next_action_at": None,
            "refusal": "",
            "asked_at": None,
            "suggested_id": "",
        }
    else:
        values |= {"state": Batch.State.UNKNOWN, "next_action_at": clock.now(), "empty_looks": 0}
    same = Batch.objects.filter(pk=batch.pk, state=batch.state, attempts=batch.attempts)
    if not same.update(**values):
        raise NotYet("it is being worked on")
    holds.end_hold(batch.job_id, batch.why_asked)


def of_last_attempt(journaled: JournaledBatch) -> dict[str, Any]:
    """The columns of a batch that its last intent had committed."""
    last = journaled.last
    return {
        "attempts": last.attempt,
        "intent_at": journaled.intents[0].at,
        "deadline_at": last.deadline,
        "absence": absence.begin_at(last.begun) if last.begun else None,
        "baseline_ids": last.baseline,
        "baseline_at": last.baseline_at,
        "key": last.key,
        "workspace": last.workspace,
    }


def find_free_id(batch: Batch, journaled: JournaledBatch) -> str:
    """The id that the provider gave it last; "" if that turned out to be another batch of ours. A
    batch that appeared late does not count: its charge is noted already."""
    late = LateBatch.objects.filter(provider_id__in=journaled.ids)
    known_late = set(late.values_list("provider_id", flat=True))
    ids = [one for one in journaled.ids if one not in known_late]
    others = Batch.objects.filter(provider_id__in=ids[-1:]).exclude(pk=batch.pk)
    return ids[-1] if ids and not others.exists() else ""


def doubt_other_tries(
    batch: Batch, journaled: JournaledBatch, provider_id: str | None, most_pico: int
) -> None:
    """Have the late watch look for the tries that were given up without the database knowing it.
    `provider_id` is the id of the batch, None while it is looked for; `most_pico` is the most that
    one try costs."""
    own = journaled.attempt_of(provider_id)
    in_doubt = journaled.attempts_in_doubt(batch.attempts if own is None else own)
    events = SubmissionEvent.objects.filter(nonce=batch.nonce, kind="never_arrived")
    known = {event.detail.attempt for event in events}
    new = [attempt for attempt in in_doubt if attempt not in known]
    if not new:
        return
    SubmissionEvent.objects.bulk_create(
        SubmissionEvent(
            job_id=batch.job_id,
            nonce=batch.nonce,
            kind="never_arrived",
            detail=SubmissionDetail(attempt, **journaled.window_of(attempt).detail),
        )
        for attempt in new
    )
    # Nobody knows how long they were looked for before the database was lost.
    until = clock.latest_now() + LATE_FOR
    Batch.objects.filter(pk=batch.pk).update(
        given_up=F("given_up") + len(new), most_pico=most_pico, late_until=until
    )
