"""Invitations: a link with which one person makes their account."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import timedelta

from django.contrib.auth.models import User
from django.db import transaction

from ..models import Invitation, Membership, Role, Team, audit, clock, hash_token
from . import people

VALID = timedelta(days=7)


def invite(role: Role, teams: Iterable[Team], mail: str, by: User) -> str:
    """The token of a new invitation. It is nowhere else."""
    token = secrets.token_urlsafe(32)
    with transaction.atomic():
        now = clock.now()
        invitation = Invitation.objects.create(
            token_hash=hash_token(token),
            role=role,
            mail=mail,
            made_by=by,
            made_at=now,
            expires_at=now + VALID,
        )
        invitation.teams.set(teams)
        after: dict[str, str | int | bool | None] = {"role": str(role)}
        audit.record("person_invited", who=by, target=f"invitation {invitation.pk}", after=after)
    return token


def find(token: str) -> Invitation | None:
    """The invitation, if it can still be accepted."""
    if not token:
        return None
    return Invitation.objects.open(clock.now()).filter(token_hash=hash_token(token)).first()


def take(token: str, person: User) -> bool:
    """Use up the invitation for a new person, in the transaction that makes their account. False
    if it was used, withdrawn or has expired meanwhile."""
    now = clock.now()
    found = Invitation.objects.open(now).filter(token_hash=hash_token(token))
    if not found.update(used_at=now, mail=""):
        return False
    invitation = Invitation.objects.get(token_hash=hash_token(token))
    people.store_role(person, Role(invitation.role))
    Membership.objects.bulk_create(
        Membership(team=team, person=person) for team in invitation.teams.all()
    )
    audit.record(
        "invitation_accepted",
        who=person,
        target=f"invitation {invitation.pk}",
        after={"role": invitation.role},
    )
    return True


def withdraw(pk: int, by: User) -> bool:
    """False if there is nothing left to withdraw."""
    with transaction.atomic():
        now = clock.now()
        withdrawn = Invitation.objects.open(now).filter(pk=pk).update(withdrawn_at=now, mail="")
        if withdrawn:
            audit.record("invitation_withdrawn", who=by, target=f"invitation {pk}")
    return bool(withdrawn)
