"""What one person may take up, by their role: disk, and rows a month."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from django.conf import settings
from django.contrib.auth.models import User
from django.db import models
from django.db.models import Sum

from .jobs import Job
from .people import Role, is_administrator, role_of
from .rounds import Round

ROLES = (Role.MEMBER, Role.APPROVER, Role.ADMINISTRATOR)  # auditors upload and send nothing


class RoleQuota(models.Model):
    """What administrators have set for a role."""

    role = models.CharField(max_length=20, unique=True)
    most_bytes = models.BigIntegerField(null=True)  # None: MAX_PERSON_BYTES
    most_rows = models.IntegerField(null=True)  # a month; None: any number

    def __str__(self) -> str:
        return f"quota of {self.role}"


@dataclass(frozen=True)
class Quota:
    bytes: int
    rows: int | None


def quota_of(person: User) -> Quota:
    set_for = RoleQuota.objects.filter(role=role_of(person)).first()
    if set_for is None:
        return Quota(settings.MAX_PERSON_BYTES, None)
    most = settings.MAX_PERSON_BYTES if set_for.most_bytes is None else set_for.most_bytes
    return Quota(most, set_for.most_rows)


def rows_this_month(person: User, at: datetime) -> int:
    """The rows that a person has had sent since the first of the month, retries too."""
    begin = at.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    mine = Job.objects.filter(owner=person, practice=settings.PRACTICE, is_external=False)
    sent = mine.filter(confirmed_at__gte=begin).values_list("estimate__rows", flat=True)
    retried = Round.objects.filter(
        job__owner=person, job__practice=settings.PRACTICE, asked_at__gte=begin
    )
    again = retried.aggregate(rows=Sum("rows"))["rows"] or 0
    return sum(int(rows or 0) for rows in sent) + int(again)


def why_too_many_rows(person: User, rows: int, at: datetime) -> str:
    """Why a person cannot have `rows` more sent this month, as a sentence; "" when they can."""
    most = quota_of(person).rows
    if most is None:
        return ""
    used = rows_this_month(person, at)
    if used + rows <= most:
        return ""
    return (
        f"This sends {rows:,} rows, and {used:,} of your quota of {most:,} rows this month are "
        f"used. Send fewer rows, or {how_to_raise(person)}."
    )


def how_to_raise(person: User) -> str:
    """What a person can do for a larger quota, as the end of a sentence."""
    if is_administrator(person):
        return f"raise the quota of {role_of(person).label.lower()}s under Spending, Limits"
    return "ask an administrator for a larger quota"
