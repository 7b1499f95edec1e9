"""What a person submits or approves is what was shown to them, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from jobs.actions import approvals, submissions
from jobs.models import Job, SpendingCaps
from jobs.spending import caps, price_overrides

from ..conftest import change_job
from ..web.test_views_draft import with_price

MakeJob = Callable[..., Job]
OTHER_PROMPT = "Say something else about {{name}}."


@pytest.fixture
def draft(make_job: MakeJob, alice: User) -> Job:
    return with_price(make_job(alice, Job.State.DRAFT))


def asked_for(job: Job, user: User) -> str:
    """The plan that a second person was asked to approve."""
    SpendingCaps.objects.filter(pk=1).update(approval_above=Decimal(0))
    assert approvals.request_approval(job, job.plan_sha256, user)
    return job.plan_sha256


def changed(job: Job) -> Job:
    """The same draft with another prompt and the price of that."""
    change_job(job, prompt=OTHER_PROMPT)
    job.refresh_from_db()
    return with_price(job)


def test_a_draft_that_changed_since_it_was_shown_is_not_submitted(draft: Job, alice: User) -> None:
    shown = draft.plan_sha256
    now = changed(draft)
    assert now.plan_sha256 != shown
    assert not submissions.confirm(now, shown, alice)
    assert not submissions.confirm(now, "", alice)
    assert submissions.confirm(now, now.plan_sha256, alice)


def test_a_draft_is_not_submitted_at_a_price_that_was_not_shown(
    draft: Job, alice: User, root: User
) -> None:
    """A price is entered while a person looks at the draft, and no worker has come by yet."""
    shown = draft.plan_sha256
    today = timezone.now().date()
    price_overrides.add_price("claude-haiku-5-5", today, Decimal(70), Decimal(350), root)
    draft.refresh_from_db()
    Job.objects.filter(pk=draft.pk).update(plan_sha256=shown)
    assert not submissions.confirm(draft, shown, alice)
    draft.refresh_from_db()
    assert draft.state == Job.State.DRAFT


def test_nobody_is_asked_to_approve_what_was_not_shown(draft: Job, alice: User) -> None:
    shown = draft.plan_sha256
    now = changed(draft)
    assert not approvals.request_approval(now, shown, alice)
    now.refresh_from_db()
    assert not now.asks_for_approval


def test_an_approval_is_for_one_plan(draft: Job, alice: User, root: User) -> None:
    asked = asked_for(draft, alice)
    assert approvals.approve(draft, asked, root)
    now = changed(draft)
    with pytest.raises(caps.NotAllowed, match="A second person has to approve it first"):
        submissions.confirm(now, now.plan_sha256, alice)


def test_only_what_was_asked_for_is_approved(draft: Job, alice: User, root: User) -> None:
    asked = asked_for(draft, alice)
    now = changed(draft)
    assert not approvals.approve(now, now.plan_sha256, root), "nobody asked for this one"
    assert not approvals.approve(now, asked, root), "it is no longer what would be sent"
    now.refresh_from_db()
    assert now.approval_by is None
