"""Tell people when a monthly limit is used to 80 % and when it is used up: once a month each, and
again when the limit is changed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction

from ..models import Job, Notification, SpendingCaps, Team, administrators, clock, outbox
from ..models.outbox import Facts
from . import caps, ledger

NEAR = Decimal("0.8")
CHECKED_AT_ONCE = 200  # people, those with the newest jobs first


def tell_if_near(job: Job, allowed: SpendingCaps, now: datetime) -> None:
    """Tell of the limits that hold for `job`, in the transaction that takes some of them up."""
    _tell(job.owner, [job.team] if job.team else [], allowed, now)


def check_all() -> None:
    """Tell of limits that are near for another reason: a limit was lowered, or a batch that came
    late cost more than was counted."""
    now, allowed = clock.now(), SpendingCaps.get()
    lately = Job.objects.filter(created_at__gte=ledger.month_of(now))
    owners = list(lately.order_by().values_list("owner", flat=True).distinct()[:CHECKED_AT_ONCE])
    teams = list(Team.objects.exclude(most_a_month=None))
    for owner in User.objects.filter(pk__in=owners):
        with transaction.atomic():
            _tell(owner, teams, allowed, now)


def _tell(owner: User, teams: Iterable[Team], allowed: SpendingCaps, now: datetime) -> None:
    by_name = {team.name: team for team in teams}
    for one in caps.used_caps(owner, allowed, now, teams=by_name.values()):
        if not one.cap or one.used < one.cap * NEAR:
            continue
        team = by_name.get(one.name)
        people, whom = _people(one.whose, owner, team)
        mode = "practice" if settings.PRACTICE else "real"
        # The same for everyone whom the limit holds for.
        about = f"{one.whose}:{whom}:{ledger.month_of(now):%Y-%m}:{one.cap}:{mode}"
        is_over = one.used >= one.cap
        if not is_over and Notification.objects.filter(key=f"cap_100:{about}").exists():
            continue  # it was used up for a while
        event = "cap_100" if is_over else "cap_80"
        facts = Facts(cost=str(one.used), limit=str(one.cap), whose=one.whose, team=one.name)
        outbox.tell(event, people, facts=facts, key=f"{event}:{about}")


def _people(whose: str, owner: User, team: Team | None) -> tuple[Iterable[User], int]:
    """Who is told, and the number of the person or team whose limit it is."""
    if whose == "person":
        return [owner], owner.pk
    if team is not None:
        return team.people.all(), team.pk
    return administrators(), 0
