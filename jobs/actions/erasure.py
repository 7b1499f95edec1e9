"""Erase a person: their data through the trash, or their name."""

from __future__ import annotations

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from django.contrib.auth.models import User
from django.db import transaction

from ..models import (
    Invitation,
    Job,
    Membership,
    Profile,
    Role,
    Template,
    audit,
    clock,
    name_of_erased,
    outbox,
)
from . import people
from .job_basics import trash_job


def erase_data(person: User, by: User | None) -> tuple[int, int]:
    """Move all jobs of a person to the trash, with their tests, and delete their templates. How
    many jobs there were, and how many stay because they run: stop those first."""
    running = 0
    trashed = 0
    for job in Job.objects.filter(owner=person, trashed_at=None).exclude(state=Job.State.DELETING):
        if trash_job(job, by):
            trashed += 1
        else:
            running += 1
    with transaction.atomic():
        _all, kinds = Template.objects.filter(owner=person).delete()
        templates = kinds.get(Template._meta.label, 0)  # without their versions
        after = {"jobs": trashed, "still_running": running, "templates": templates}
        audit.record("person_data_erased", who=by, target=audit.person(person), after=after)
    return trashed, running


def erase_name(person: User, by: User | None) -> str:
    """Erase the name, the mail address and the sign-in of a person. Their jobs stay, and what they
    cost. Returns the new user name. Raises NotPossible for the last administrator, and for who is
    erased already."""
    with transaction.atomic():
        people.keep_an_administrator_without(person)
        person.refresh_from_db()
        people.refuse_if_erased(person)
        people.store_role(person, Role.MEMBER)
        Profile.objects.filter(person=person).update(erased_at=clock.now())
        name, named, mail = name_of_erased(person), person.username, person.email
        for model in (Authenticator, SocialAccount, EmailAddress):
            model.objects.filter(user=person).delete()
        Membership.objects.filter(person=person).delete()
        people.end_sessions(person)
        if mail:
            Invitation.objects.filter(mail__iexact=mail).update(mail="")
        person.refresh_from_db()
        person.username, person.email = name, ""
        person.first_name = person.last_name = ""
        person.is_active = False
        person.set_unusable_password()  # ends what may be left of sessions: their hash fits no more
        person.save()
        outbox.forget_person(person, named, mail)
        audit.record("person_name_erased", who=by, target=audit.person(person))
    return name
