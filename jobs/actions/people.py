"""Roles, deactivation, sessions and handing over jobs. There is always an administrator."""

from __future__ import annotations

from collections.abc import Collection

from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction

from ..models import (
    Installation,
    Job,
    JobEvent,
    Profile,
    Role,
    Template,
    administrators,
    audit,
    is_erased,
    role_of,
)
from ..models.people import RIGHTS

LAST_ADMINISTRATOR = (
    "{name} is the only administrator who can sign in. Make another person administrator first."
)


IS_ERASED = "{name} is erased. Nothing can bring this account back."


class NotPossible(Exception):
    """The message says why."""


def set_role(person: User, role: Role, by: User | None) -> bool:
    """Whether it changed. `by`: None for the groups of single sign-on. Who loses rights is signed
    out. Raises NotPossible for the last administrator, and for who is erased."""
    with transaction.atomic():
        person = _locked(person)
        refuse_if_erased(person)
        before = role_of(person)
        if before == role:
            return False
        if before == Role.ADMINISTRATOR:
            _keep_an_administrator(person)
        store_role(person, role)
        if RIGHTS[role] < RIGHTS[before]:
            end_sessions(person)
        audit.record_change(
            "role_changed",
            {"role": str(before)},
            {"role": str(role)},
            who=by,
            target=audit.person(person),
        )
    return True


def store_role(person: User, role: Role) -> None:
    """In a transaction of the caller, who records it."""
    is_administrator = role == Role.ADMINISTRATOR
    Profile.objects.update_or_create(person=person, defaults={"role": role})
    User.objects.filter(pk=person.pk).update(
        is_superuser=is_administrator, is_staff=is_administrator
    )


def set_active(person: User, active: bool, by: User, new_owner: User | None = None) -> bool:
    """Deactivate or reactivate; whether it changed. Who is deactivated is signed out, and their
    jobs go to `new_owner` if there is one. Raises NotPossible for the last administrator, and for
    who is erased."""
    with transaction.atomic():
        person = _locked(person)
        refuse_if_erased(person)
        if person.is_active == active:
            return False
        if not active and role_of(person) == Role.ADMINISTRATOR:
            _keep_an_administrator(person)
        if new_owner is not None:
            hand_over(person, new_owner, by)
        User.objects.filter(pk=person.pk).update(is_active=active)
        if not active:
            end_sessions(person)
        event = "person_reactivated" if active else "person_deactivated"
        audit.record(event, who=by, target=audit.person(person))
    return True


def _locked(person: User) -> User:
    """The person as they are now. Changes of people wait for each other: of two clicks that take
    away the last two administrators, the second sees what the first has done."""
    Installation.row().select_for_update().get()
    return User.objects.select_related("profile").get(pk=person.pk)


def _keep_an_administrator(person: User) -> None:
    if not administrators().exclude(pk=person.pk).exists():
        raise NotPossible(LAST_ADMINISTRATOR.format(name=person.username))


def refuse_if_erased(person: User) -> None:
    """Raises NotPossible."""
    if is_erased(person):
        raise NotPossible(IS_ERASED.format(name=person.username))


def keep_an_administrator_without(person: User) -> None:
    """In a transaction, before an account goes. Raises NotPossible for the last administrator."""
    if role_of(_locked(person)) == Role.ADMINISTRATOR:
        _keep_an_administrator(person)


# --- Jobs of another person -----------------------------------------------------------------------


def hand_over(person: User, to: User, by: User) -> int:
    """Give all jobs and templates of `person` to another; how many jobs there were. What the jobs
    have cost moves with them. Raises NotPossible while files of both are being read."""
    if to.pk == person.pk or not to.is_active:
        raise NotPossible("Choose another person who can sign in.")
    with transaction.atomic():
        theirs = Job.objects.select_for_update().filter(owner=person)
        keys = list(theirs.values_list("pk", flat=True))
        try:
            with transaction.atomic():
                Job.objects.filter(owner=person).update(owner=to)
        except IntegrityError:
            raise NotPossible("A file is being read. Try again in a minute.") from None
        text = "Handed over to another owner."  # without names: it outlives them
        JobEvent.objects.bulk_create(JobEvent(job_id=pk, text=text, who=by) for pk in keys)
        taken = set(Template.objects.filter(owner=to).values_list("name", flat=True))
        for template in Template.objects.filter(owner=person):
            template.owner, template.name = to, _free_name(template.name, taken)
            template.save(update_fields=["owner", "name"])
        if keys:
            audit.record(
                "jobs_handed_over",
                who=by,
                target=audit.person(person),
                before={"owner": person.pk},
                after={"owner": to.pk, "jobs": len(keys)},
            )
    return len(keys)


def _free_name(name: str, taken: set[str]) -> str:
    """A person has each name of a template once."""
    free, number = name, 2
    while free in taken:
        addition = f" ({number})"
        free, number = f"{name[: 100 - len(addition)]}{addition}", number + 1
    taken.add(free)
    return free


# --- Sessions and the second factor ---------------------------------------------------------------


def end_sessions(person: User, keep: str = "") -> int:
    """Sign `person` out, but not of the session with the key `keep`; how many sessions ended."""
    sessions = list(UserSession.objects.filter(user=person).exclude(session_key=keep))
    for session in sessions:
        session.end()
    return len(sessions)


def remove_two_factor(person: User, by: User | None) -> bool:
    """For a person who has lost their phone; whether there was one."""
    with transaction.atomic():
        count, _ = Authenticator.objects.filter(user=person).delete()
        if count:
            end_sessions(person)
            audit.record("two_factor_reset", who=by, target=audit.person(person))
    return bool(count)


# --- Single sign-on -------------------------------------------------------------------------------


def role_groups() -> dict[str, Role]:
    """Groups of single sign-on that give a role; the strongest role first."""
    named = {
        settings.OIDC_ADMIN_GROUP: Role.ADMINISTRATOR,
        settings.OIDC_APPROVER_GROUP: Role.APPROVER,
        settings.OIDC_AUDITOR_GROUP: Role.AUDITOR,
    }
    return {group: role for group, role in named.items() if group}


def take_role_from_groups(person: User, groups: Collection[str]) -> None:
    """At each sign-in. The last administrator stays one, so that there is a way back."""
    by_group = role_groups()
    if not by_group:
        return
    role = next((role for group, role in by_group.items() if group in groups), Role.MEMBER)
    try:
        set_role(person, role, by=None)
    except NotPossible:
        return
