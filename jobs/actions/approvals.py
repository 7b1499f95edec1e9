"""Approval by a second person: of a draft, or of rows that are to be sent again.

It is asked for and given for one plan, exactly as it was shown, by its hash. Then the owner sends
it: actions.confirm and actions.send_round look whether it was approved (limits.is_approved).
"""

from __future__ import annotations

from dataclasses import asdict
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction

from ..drafts import estimates
from ..drafts.estimates import Estimate
from ..models import Job, JobEvent, clock
from ..retries import rounds
from ..retries.rounds import RetryChoice
from ..rules import pricing, wording
from ..spending import caps

NOTHING_ASKED: dict[str, Any] = {
    "approval_plan": "",
    "approval_again": None,
    "approval_asked_at": None,
    "approval_asked_by": None,
    "approval_by": None,
}


def planned(job: Job, plan: str) -> Estimate | None:
    """The estimate of a draft whose plan is the one with this hash; None when it has changed."""
    estimate = estimates.current(job)
    if estimate is None or not plan or job.plan_sha256 != plan:
        return None
    return estimate if estimates.plan_of(job, estimate) == plan else None


def again_asked_for(job: Job) -> RetryChoice | None:
    """Which rows of a finished job a second person was asked to approve, and how they are sent."""
    asked = job.approval_again if job.asks_for_approval else None
    return RetryChoice(**asked) if asked else None


def ask(job: Job, plan: str, user: User, again: RetryChoice | None = None) -> bool:
    """Ask a second person to approve a draft, or that rows are sent `again`, exactly as it was
    shown. False when it has changed since."""
    with transaction.atomic():
        job = Job.objects.select_for_update().get(pk=job.pk)
        if _rows_and_most(job, plan, again) is None:
            return False
        Job.objects.filter(pk=job.pk).update(
            approval_plan=plan,
            approval_again=asdict(again) if again else None,
            approval_asked_at=clock.now(),
            approval_asked_by=user,
            approval_by=None,
        )
        JobEvent.objects.create(job=job, text="Asked for approval.", who=user)
    return True


def approve(job: Job, plan: str, user: User) -> bool:
    """Approve what was asked for, exactly as it was shown; nothing is sent by that. False when it
    has changed since, or was withdrawn. Raises limits.NotAllowed when `user` may not."""
    with transaction.atomic():
        job = Job.objects.select_for_update().get(pk=job.pk)
        if not job.asks_for_approval or job.approval_plan != plan:
            return False
        found = _rows_and_most(job, plan, again_asked_for(job))
        if found is None:
            return False
        if not caps.can_approve(job, user):
            raise caps.NotAllowed(
                "You own this job, asked for approval, or changed it last, so another "
                "administrator has to approve it."
                if user.is_superuser
                else "Only an administrator can approve it."
            )
        Job.objects.filter(pk=job.pk).update(approval_by=user)
        rows, most = found
        up_to = pricing.format_dollars(pricing.round_up(most))
        what = f"Approved: {wording.rows(rows)}, at most {up_to}."
        JobEvent.objects.create(job=job, text=what, who=user)
    return True


def withdraw(job: Job, user: User) -> bool:
    """Take back what was asked. False when nothing was."""
    with transaction.atomic():
        asked = Job.objects.filter(pk=job.pk, state__in=[Job.State.DRAFT, Job.State.FINISHED])
        withdrawn = asked.exclude(approval_plan="").update(**NOTHING_ASKED)
        if withdrawn:
            JobEvent.objects.create(job=job, text="Withdrew the request for approval.", who=user)
    return bool(withdrawn)


def _rows_and_most(job: Job, plan: str, again: RetryChoice | None) -> tuple[int, Decimal] | None:
    """How many rows a plan sends, and what that costs at most; None when it has changed."""
    if again is None:
        estimate = planned(job, plan) if job.state == Job.State.DRAFT else None
        return (estimate.rows, estimate.most) if estimate else None
    found = rounds.find_plan(job, again)
    return (found.rows, found.price.most) if found and found.key == plan else None
