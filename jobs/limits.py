"""How much may be spent: caps for a job, a person and a month, approval by a second person, and the
switch that stops it all.

A job takes up what it was charged so far and the most that is still to come. In practice mode the
jobs of practice count, by what they would have cost, so that the caps can be tried out.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import Sum
from django.db.models.functions import Coalesce

from . import pricing
from .models import (
    SPENDING_IS_STOPPED,
    Batch,
    Installation,
    Job,
    JobQuerySet,
    PastSpending,
    Round,
    Try,
    dollars,
)


class NotAllowed(Exception):
    """It would spend more than is allowed, or nothing is to be spent; the message says why."""


def lock() -> Installation:
    """The caps, for a transaction that takes some of them up: whoever comes second waits, and sees
    what the first has reserved."""
    return Installation.objects.select_for_update().get(pk=1)


def month_of(moment: datetime) -> datetime:
    """When the month of `moment` begins; by UTC, so that it is the same for everybody."""
    there = moment.astimezone(UTC)
    return there.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def taken_up(since: datetime, owner: User | None = None) -> Decimal:
    """US dollars that jobs confirmed since then, and rows tried, were charged or may still be."""
    mine = {} if owner is None else {"owner": owner}
    job_mine = {} if owner is None else {"job__owner": owner}
    here = {"practice": settings.PRACTICE}
    # What a job cost that is being deleted is written down with the past already.
    jobs = Job.objects.filter(confirmed_at__gte=since, **here, **mine)
    jobs = jobs.exclude(state=Job.State.DELETING)
    # Of older ones, what was sent again since.
    again = Round.objects.filter(asked_at__gte=since).values("job")
    older = Job.objects.filter(pk__in=again, confirmed_at__lt=since, **here, **mine)
    past = PastSpending.objects.filter(at__gte=since, **here, **mine)
    tries = Try.objects.filter(asked_at__gte=since, **here, **job_mine)
    tries = tries.exclude(job__state=Job.State.DELETING)
    # One whose answer was lost may have been charged.
    may_cost = tries.filter(state__in=[Try.State.WAITING, Try.State.SENDING, Try.State.UNKNOWN])
    sums = [
        jobs.aggregate(pico=Sum("spent_pico"))["pico"],
        jobs.aggregate(pico=Sum("reserved_pico"))["pico"],
        older.aggregate(pico=Sum("reserved_pico"))["pico"],
        _sent_again(older, since),
        past.aggregate(pico=Sum("spent_pico"))["pico"],
        tries.aggregate(pico=Sum("cost_pico"))["pico"],
        may_cost.aggregate(pico=Sum("most_pico"))["pico"],
    ]
    return dollars(sum(int(pico or 0) for pico in sums))


def _sent_again(jobs: JobQuerySet, since: datetime) -> int:
    """What rows of `jobs` were charged that were sent again since then, as it is stored."""
    rounds = Round.objects.filter(job__in=jobs, asked_at__gte=since).values_list("job", "number")
    return sum(
        Batch.objects.filter(job=job, round=number).aggregate(pico=Coalesce(Sum("cost_pico"), 0))[
            "pico"
        ]
        for job, number in rounds
    )


def in_the_way(
    owner: User,
    most: Decimal,
    site: Installation,
    now: datetime,
    so_far: Decimal = Decimal(0),
) -> str:
    """Why `most` US dollars more cannot be spent for `owner`, as a sentence; "" when they can.
    `so_far`: what the job has cost whose rows are sent again."""
    if site.stopped_at:
        return SPENDING_IS_STOPPED
    if site.most_a_job is not None and so_far + most > site.most_a_job:
        return (
            f"This job may cost up to {_up(so_far + most)}, and no job may cost more than "
            f"{_sum(site.most_a_job)} here. Send fewer rows, allow shorter answers, or ask an "
            "administrator."
        )
    for cap, left, words in _left(owner, site, now):
        if most > left:
            return (
                f"This job may cost up to {_up(most)}. {words} may cost {_sum(cap)} a month, and "
                f"{_sum(left)} of it is left. Send fewer rows, wait, or ask an administrator."
            )
    return ""


def in_the_way_of_trying(owner: User, most: Decimal, site: Installation, now: datetime) -> str:
    """Why rows that cost up to `most` US dollars cannot be tried for `owner`, as a sentence; ""
    when they can."""
    if site.stopped_at:
        return SPENDING_IS_STOPPED
    for cap, left, words in _left(owner, site, now):
        if most > left:
            return (
                f"Trying this may cost up to {_up(most)}. {words} may cost {_sum(cap)} a month, "
                f"and {_sum(left)} of it is left. Try fewer rows, wait for the next month, or ask "
                "an administrator."
            )
    return ""


def _left(owner: User, site: Installation, now: datetime) -> Iterator[tuple[Decimal, Decimal, str]]:
    """The caps of this month, what is left of each, and whose it is."""
    for cap, whose, words in (
        (site.most_a_person, owner, "Your jobs"),
        (site.most_a_month, None, "All jobs together"),
    ):
        if cap is not None:
            yield cap, max(cap - taken_up(month_of(now), whose), Decimal(0)), words


def needs_approval(most: Decimal, site: Installation) -> bool:
    return site.approval_above is not None and most > site.approval_above


def can_approve(job: Job, person: User) -> bool:
    """Whether `person` may approve what the owner of `job` wants to spend: never the owner."""
    return person.is_superuser and person.pk != job.owner_id


def _sum(amount: Decimal) -> str:
    return pricing.in_words(amount)


def _up(amount: Decimal) -> str:
    """A most is never rounded down."""
    return pricing.in_words(pricing.rounded_up(amount))
