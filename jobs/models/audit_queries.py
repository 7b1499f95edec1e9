"""Entries of the audit log that a person asked for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.contrib.auth.models import User

from .audit import AuditEntry, AuditQuerySet


@dataclass(frozen=True)
class Wanted:
    """Which entries: those that are all of this."""

    person: str = ""  # a user name, or a number of a person; "-" for nobody
    event: str = ""
    job: int | None = None
    since: datetime | None = None


def find_entries(wanted: Wanted) -> AuditQuerySet:
    entries = AuditEntry.objects.order_by("-number")
    if wanted.person == "-":
        entries = entries.filter(who=None)
    elif wanted.person:
        entries = entries.filter(who__in=_people(wanted.person))
    if wanted.event:
        entries = entries.filter(event=wanted.event)
    if wanted.job is not None:
        entries = entries.filter(job=wanted.job)
    if wanted.since is not None:
        entries = entries.filter(at__gte=wanted.since)
    return entries


def _people(name: str) -> list[int]:
    found = list(User.objects.filter(username__iexact=name).values_list("pk", flat=True))
    if not found and name.isascii() and name.isdecimal() and len(name) < 19:
        return [int(name)]
    return found


def names_of(entries: Iterable[AuditEntry]) -> dict[int, str]:
    """The people of some entries by their numbers, as far as they are still here."""
    pks = {entry.who for entry in entries if entry.who is not None}
    return dict(User.objects.filter(pk__in=pks).values_list("pk", "username"))
