"""Tell people when a monthly limit is used to 80 % and when it is used up: once a month each, and
again when the limit is changed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet

from ..batches.isolation import isolated
from ..models import Notification, SpendingCaps, administrators, clock, outbox
from ..models.outbox import Facts
from . import caps, ledger
from .caps import Used

NEAR = Decimal("0.8")


def tell_if_near(used: Iterable[Used], now: datetime) -> None:
    """Tell of those that are near, in the transaction that takes some of them up."""
    for one in used:
        if _is_near(one):
            _tell(one, now)


def check_all() -> None:
    """Tell of limits that are near for another reason: a limit was lowered, or a batch that came
    late cost more than was counted. Nothing is summed while others wait for the database, and each
    limit is told of by itself."""
    now = clock.now()
    for one in list(filter(_is_near, caps.all_used_caps(SpendingCaps.get(), now))):
        with isolated(f"the limit of {one.whose} {one.whose_pk}"), transaction.atomic():
            _tell(one, now)


def _is_near(one: Used) -> bool:
    return one.cap > 0 and one.used >= one.cap * NEAR


def _tell(one: Used, now: datetime) -> None:
    mode = "practice" if settings.PRACTICE else "real"
    # The same for everyone whom the limit holds for.
    about = f"{one.whose}:{one.whose_pk}:{ledger.month_of(now):%Y-%m}:{one.cap}:{mode}"
    is_over, people = one.used >= one.cap, _people(one)
    told = Notification.objects.filter(person__in=people, key=f"cap_100:{about}")
    if not is_over and told.exists():
        return  # it was used up for a while
    event = "cap_100" if is_over else "cap_80"
    facts = Facts(cost=str(one.used), limit=str(one.cap), whose=one.whose, team=one.name)
    outbox.tell(event, people, facts=facts, key=f"{event}:{about}")


def _people(one: Used) -> QuerySet[User]:
    """Who is told."""
    if one.whose == "everyone":
        return administrators()
    mine = {"teams" if one.whose == "team" else "pk": one.whose_pk}
    return User.objects.filter(**mine)
