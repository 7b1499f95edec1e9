"""Settle a batch that may or may not have reached the provider."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.db import transaction

from ..batches import ceilings, holds, reconciliation
from ..models import Batch, Job, audit, clock, job_log
from ..rules import pricing
from ..spending import cap_notices, caps
from .nudges import nudge_worker

# --- A batch of which we do not know whether it arrived ------------------------------------------


def look_again(batch: Batch, user: User) -> bool:
    """Look for an unknown batch in the provider's list now. False if it is settled."""
    what = f"Batch {batch.number}: looking again."
    return _about_unknown(batch, user, "batch_looked_for", what)


def send_again(batch: Batch, user: User) -> bool:
    """Send a batch again that was not found, as a person decides: it may be charged twice. False
    if it was settled meanwhile, or nobody was asked.

    The second charge counts for limits and approval. Raises caps.NotAllowed.
    """
    asked = Batch.objects.filter(pk=batch.pk).exclude(asked_at=None)
    most = ceilings.ceiling_of_batch(batch)
    with transaction.atomic():
        allowed, job, now = caps.lock_caps(), batch.job, clock.now()
        if not asked.exists():
            return False
        used = caps.take_up(job, most, allowed, now)
        if caps.needs_approval(job, most, allowed) and not caps.can_approve(job, user):
            raise caps.NotAllowed(
                f"It may cost {pricing.format_dollars(pricing.round_up(most))} a second time. "
                "An administrator who does not own this job has to send it again."
            )
        if not reconciliation.plan_again(batch, decided_by=user.pk):
            return False
        holds.end_hold(batch.job_id, batch.why_asked)
        Job.objects.filter(pk=batch.job_id).update(next_action_at=now)
        job_log.write(batch.job_id, f"Batch {batch.number} will be sent again, as requested.", user)
        cap_notices.tell_if_near(used, now)
        nudge_worker(batch.job)
        audit.record(
            "batch_sent_again",
            who=user,
            job=batch.job_id,
            target=f"batch {batch.number}",
            after={"rows": batch.size, "most_usd": format(most, "f")},
        )
    return True


def identify_batch(batch: Batch, provider_id: str, user: User) -> bool:
    """Say which of the provider's batches an unknown batch is; the worker checks it. False if it
    was settled meanwhile."""
    return _about_unknown(
        batch,
        user,
        "batch_identified",
        f"Batch {batch.number}: checking whether it is {provider_id}.",
        suggested_id=provider_id,
    )


def _about_unknown(batch: Batch, user: User, event: str, what: str, **values: str) -> bool:
    now = clock.now()
    with transaction.atomic():
        unknown = Batch.objects.filter(pk=batch.pk, state=Batch.State.UNKNOWN)
        if not unknown.update(next_action_at=now, **values):
            return False
        Job.objects.filter(pk=batch.job_id).update(next_action_at=now)
        job_log.write(batch.job_id, what, user)
        nudge_worker(batch.job)
        target = f"batch {batch.number}"
        audit.record(event, who=user, job=batch.job_id, target=target, after=values)
    return True
