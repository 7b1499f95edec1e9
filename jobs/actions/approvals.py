"""Approval by a second person, of a draft or of a retry.

Approval is for one plan, by its hash, exactly as shown. Then the owner submits it:
`submissions.confirm` and `retries.confirm_retry` check `caps.is_approved`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction

from ..drafts import estimates
from ..models import Job, Role, audit, clock, job_log, outbox, role_of
from ..models.outbox import Facts
from ..retries import rounds
from ..rules import pricing, wording
from ..rules.price_estimates import Estimate
from ..rules.retry_choices import RetryChoice
from ..spending import caps

NOTHING_ASKED: dict[str, Any] = {
    "approval_plan": "",
    "approval_again": None,
    "approval_asked_at": None,
    "approval_asked_by": None,
    "approval_by": None,
}


def estimate_of_plan(job: Job, plan: str) -> Estimate | None:
    """The estimate of a draft whose plan has this hash; None if the plan has changed."""
    estimate = estimates.current(job)
    if estimate is None or not plan or job.plan_sha256 != plan:
        return None
    return estimate if estimates.plan_of(job, estimate) == plan else None


def requested_retry(job: Job) -> RetryChoice | None:
    """The retry that a second person was asked to approve."""
    return job.approval_again if job.asks_for_approval else None


def request_approval(job: Job, plan: str, user: User, again: RetryChoice | None = None) -> bool:
    """Ask a second person to approve a draft, or the retry `again`, exactly as shown. False if it
    has changed since."""
    with transaction.atomic():
        job = Job.objects.select_for_update().get(pk=job.pk)
        found = _rows_and_most(job, plan, again)
        if found is None:
            return False
        Job.objects.filter(pk=job.pk).update(
            approval_plan=plan,
            approval_again=again,
            approval_asked_at=clock.now(),
            approval_asked_by=user,
            approval_by=None,
        )
        job_log.write(job.pk, "Asked for approval.", user)
        is_new = not (job.awaits_approval and job.approval_plan == plan)
        job.refresh_from_db()
        if is_new:
            facts = _facts(found, user)
            outbox.tell("approval_wanted", caps.approvers(job), job=job, facts=facts)
        _audit("approval_requested", job, plan, found, user)
    return True


def approve(job: Job, plan: str, user: User) -> bool:
    """Approve a request, exactly as shown; this sends nothing. False if the plan has changed or
    the request was withdrawn. Raises caps.NotAllowed if `user` may not approve it."""
    with transaction.atomic():
        job = Job.objects.select_for_update().get(pk=job.pk)
        if not job.asks_for_approval or job.approval_plan != plan:
            return False
        found = _rows_and_most(job, plan, requested_retry(job))
        if found is None:
            return False
        if not caps.can_approve(job, user):
            raise caps.NotAllowed(
                "You own this job, asked for the approval, or made the last change. Another "
                "approver or administrator has to approve it."
                if role_of(user) in (Role.ADMINISTRATOR, Role.APPROVER)
                else "Only an approver or administrator can approve this job."
            )
        Job.objects.filter(pk=job.pk).update(approval_by=user)
        rows, most = found
        up_to = pricing.format_dollars(pricing.round_up(most))
        what = f"Approved: {wording.rows(rows)}, at most {up_to}."
        job_log.write(job.pk, what, user)
        if job.approval_by_id is None:
            outbox.tell("approval_given", _askers(job), job=job, facts=_facts(found, user))
        _audit("approval_given", job, plan, found, user)
    return True


def withdraw_request(job: Job, user: User) -> bool:
    """Withdraw the request; whoever did not make it declines it. False if there is none."""
    with transaction.atomic():
        asked = Job.objects.filter(pk=job.pk, state__in=[Job.State.DRAFT, Job.State.FINISHED])
        before = asked.select_for_update().exclude(approval_plan="").first()
        withdrawn = asked.exclude(approval_plan="").update(**NOTHING_ASKED)
        if withdrawn and before:
            job_log.write(job.pk, "Withdrew the request for approval.", user)
            is_own = user.pk in (before.approval_asked_by_id, before.owner_id)
            if not is_own:
                facts = Facts(who=user.username)
                outbox.tell("approval_declined", _askers(before), job=before, facts=facts)
            event = "approval_withdrawn" if is_own else "approval_declined"
            audit.record(event, who=user, job=job.pk, before={"plan": before.approval_plan})
    return bool(withdrawn)


def _askers(job: Job) -> list[User]:
    """The owner of a job and whoever asked for its approval."""
    return [job.owner, *([job.approval_asked_by] if job.approval_asked_by else [])]


def _facts(found: tuple[int, Decimal], user: User) -> Facts:
    rows, most = found
    return Facts(rows=rows, cost=str(most), who=user.username)


def _audit(event: str, job: Job, plan: str, found: tuple[int, Decimal], user: User) -> None:
    rows, most = found
    after: dict[str, audit.Value] = {"plan": plan, "rows": rows, "most_usd": format(most, "f")}
    audit.record(event, who=user, job=job.pk, after=after)


def _rows_and_most(job: Job, plan: str, again: RetryChoice | None) -> tuple[int, Decimal] | None:
    """How many rows a plan sends and its ceiling; None if the plan has changed."""
    if again is None:
        estimate = estimate_of_plan(job, plan) if job.state == Job.State.DRAFT else None
        return (estimate.rows, estimate.most) if estimate else None
    found = rounds.find_plan(job, again)
    return (found.rows, found.price.most) if found and found.key == plan else None
