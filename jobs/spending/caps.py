"""How much may be spent: caps for a job, a person, a team and a month, approval by a second person,
and the switch that stops it all.

A job takes up what it was charged so far and the most that is still to come. In practice mode the
jobs of practice count, by what they would have cost, so that the caps can be tried out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from django.contrib.auth.models import User
from django.db.models import QuerySet

from ..drafts import estimates
from ..models import MOST, SPENDING_IS_STOPPED, Job, SpendingCaps, Team, approving_people
from ..rules import pricing
from . import ledger

NOBODY = (
    "Nobody can approve it now. Approval takes an approver or administrator other than the owner, "
    "the person who asked, and the person who made the last change. Add another one first."
)
# What to say by the cap that is in the way.
JOB_OVER = {
    "job": (
        "This job may cost up to {total}, but the limit per job is {cap}. Send fewer rows, allow "
        "shorter answers, or ask an administrator."
    ),
    "person": (
        "This job may cost up to {most}. Your limit is {cap} per month, and {left} of it is left. "
        "Send fewer rows, wait for next month, or ask an administrator."
    ),
    "team": (
        "This job may cost up to {most}. The limit of its team is {cap} per month, and {left} of "
        "it is left. Send fewer rows, wait for next month, or ask an administrator."
    ),
    "everyone": (
        "This job may cost up to {most}. The limit for all jobs is {cap} per month, and {left} of "
        "it is left. Send fewer rows, wait for next month, or ask an administrator."
    ),
}
TEST_OVER = {
    "job": (
        "With this test, this job may cost up to {total}, but the limit per job is {cap}. Test "
        "fewer rows, allow shorter answers, or ask an administrator."
    ),
    "person": (
        "This test may cost up to {most}. Your limit is {cap} per month, and {left} of it is left. "
        "Test fewer rows, wait for next month, or ask an administrator."
    ),
    "team": (
        "This test may cost up to {most}. The limit of its team is {cap} per month, and {left} of "
        "it is left. Test fewer rows, wait for next month, or ask an administrator."
    ),
    "everyone": (
        "This test may cost up to {most}. The limit for all jobs is {cap} per month, and {left} of "
        "it is left. Test fewer rows, wait for next month, or ask an administrator."
    ),
    "approval": (
        "This test may cost up to {most}, and this job has already used {so_far}. Above {above}, a "
        "second person must approve the job and rows cannot be tested. Test fewer rows."
    ),
}


class NotAllowed(Exception):
    """It would spend more than is allowed, or nothing is to be spent; the message says why."""


def lock_caps() -> SpendingCaps:
    """The caps, for a transaction that takes some of them up: whoever comes second waits, and sees
    what the first has reserved."""
    return SpendingCaps.objects.select_for_update().get(pk=1)


def why_over_cap(job: Job, most: Decimal, allowed: SpendingCaps, now: datetime) -> str:
    """Why `job` cannot cost `most` US dollars more than it has until now, as a sentence; "" when it
    can."""
    return _look(job, most, allowed, now, JOB_OVER)[0]


def take_up(job: Job, most: Decimal, allowed: SpendingCaps, now: datetime) -> list[Used]:
    """The caps of this month that hold for `job`, with `most` US dollars more taken up. Raises
    NotAllowed if it cannot cost so much more."""
    why, used = _look(job, most, allowed, now, JOB_OVER)
    if why:
        raise NotAllowed(why)
    return used


def take_up_by_trial(job: Job, most: Decimal, allowed: SpendingCaps, now: datetime) -> list[Used]:
    """As `take_up`, for rows of `job` that are tested and cost up to `most` US dollars."""
    why, used = _look(job, most, allowed, now, TEST_OVER)
    if not why and needs_approval(job, most, allowed):
        why = TEST_OVER["approval"].format(
            most=_round_up(most),
            so_far=_format_sum(ledger.committed_to_job(job)),
            above=_format_sum(allowed.approval_above or Decimal(0)),
        )
    if why:
        raise NotAllowed(why)
    return used


def _look(
    job: Job, most: Decimal, allowed: SpendingCaps, now: datetime, messages: dict[str, str]
) -> tuple[str, list[Used]]:
    """Why `job` cannot cost `most` US dollars more, and the caps with so much more taken up when it
    can: the sums are worked out once."""
    if allowed.stopped_at:
        return SPENDING_IS_STOPPED, []
    total = ledger.committed_to_job(job) + most
    if allowed.most_a_job is not None and total > allowed.most_a_job:
        per_job = _format_sum(allowed.most_a_job)
        return messages["job"].format(total=_round_up(total), cap=per_job), []
    if total > MOST:
        return estimates.TOO_MUCH.format(most=_round_up(total)), []
    used = []
    for one in used_caps(job.owner, allowed, now, teams=[job.team] if job.team else []):
        if most > one.left:
            why = messages[one.whose].format(
                most=_round_up(most), cap=_format_sum(one.cap), left=_format_sum(one.left)
            )
            return why, []
        used.append(replace(one, used=one.used + most))
    return "", used


@dataclass(frozen=True)
class Used:
    """A cap of this month and how much of it is taken up, in US dollars."""

    whose: str  # "person", "team" or "everyone"
    cap: Decimal
    used: Decimal
    name: str = ""  # of the team
    whose_pk: int = 0  # the number of the person or team

    @property
    def left(self) -> Decimal:
        return max(self.cap - self.used, Decimal(0))


def used_caps(
    owner: User, allowed: SpendingCaps, now: datetime, teams: Iterable[Team] = ()
) -> Iterator[Used]:
    """The caps that hold for `owner` this month, and for `teams`."""
    month = ledger.month_of(now)
    for whose, cap, user in (
        ("person", allowed.most_a_person, owner),
        ("everyone", allowed.most_a_month, None),
    ):
        if cap is not None:
            yield Used(
                whose, cap, ledger.committed_since(month, user), whose_pk=user.pk if user else 0
            )
    for team in teams:
        if team.most_a_month is not None:
            used = ledger.committed_since(month, team=team)
            yield Used("team", team.most_a_month, used, team.name, team.pk)


def all_used_caps(allowed: SpendingCaps, now: datetime) -> Iterator[Used]:
    """The caps of this month that hold for anyone who took up some of theirs: everyone's, those of
    teams, those of people. A fixed number of queries."""
    month = ledger.month_of(now)
    if allowed.most_a_month is not None:
        yield Used("everyone", allowed.most_a_month, ledger.committed_since(month))
    if teams := Team.objects.exclude(most_a_month=None).in_bulk():
        by_team = ledger.committed_by("team", month)
        for pk, team in teams.items():
            yield Used("team", team.most_a_month or Decimal(0), by_team[pk], team.name, pk)
    if allowed.most_a_person is not None:
        for pk, used in ledger.committed_by("owner", month).items():
            yield Used("person", allowed.most_a_person, used, whose_pk=pk)


def needs_approval(job: Job, most: Decimal, allowed: SpendingCaps) -> bool:
    """Whether a second person has to approve that `job` costs up to `most` more. What nobody has
    approved of it counts together, so that small steps do not lead around it."""
    above = allowed.approval_above
    return above is not None and ledger.unapproved_amount(job) + most > above


def approvers(job: Job) -> QuerySet[User]:
    """Who may approve what the owner of `job` wants to spend: approvers and administrators who
    neither own it nor asked for it nor made the last change to it."""
    involved = [job.owner_id, job.approval_asked_by_id, job.changed_by_id]
    return approving_people().exclude(pk__in=[pk for pk in involved if pk])


def can_approve(job: Job, person: User) -> bool:
    return approvers(job).filter(pk=person.pk).exists()


def is_approved(job: Job, plan: str) -> bool:
    """Whether this very plan was approved by somebody who may do so now."""
    if not plan or job.approval_plan != plan or job.approval_by_id is None:
        return False
    return approvers(job).filter(pk=job.approval_by_id).exists()


def why_nobody_can_approve(job: Job) -> str:
    """As a sentence; "" when somebody can."""
    return "" if approvers(job).exists() else NOBODY


def why_approval_is_short(above: Decimal | None) -> str:
    """What an administrator should know who wants approval above so much, as a sentence; "" when
    there are people enough to give it."""
    if above is None or approving_people().count() > 1:
        return ""
    return (
        "Nobody but you can approve jobs here. A job that you own or have changed cannot be "
        "submitted until you add an approver or another administrator."
    )


def why_approval_is_missing(job: Job, plan: str, user: User) -> str:
    """Why `user` cannot send what a second person has to approve, as a sentence; "" when they
    can."""
    if not is_approved(job, plan):
        return f"A second person has to approve it first. {why_nobody_can_approve(job)}".strip()
    if user.pk != job.owner_id:
        return "It is approved, and only its owner can send it."
    return ""


def _format_sum(amount: Decimal) -> str:
    return pricing.format_dollars(amount)


def _round_up(amount: Decimal) -> str:
    """A most is never rounded down."""
    return pricing.format_dollars(pricing.round_up(amount))
