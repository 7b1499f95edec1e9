"""People: their roles, their teams, and invitations of new ones. What a role may do stands here."""

from __future__ import annotations

import hashlib
import re
from datetime import datetime
from typing import Self

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User
from django.db import models
from django.db.models import Q, QuerySet
from django.utils import timezone

AnyUser = User | AbstractBaseUser | AnonymousUser


class Role(models.TextChoices):
    MEMBER = "member", "Member"
    APPROVER = "approver", "Approver"
    ADMINISTRATOR = "administrator", "Administrator"
    AUDITOR = "auditor", "Auditor"


# Who loses rights by a change of role is signed out.
RIGHTS = {Role.AUDITOR: 0, Role.MEMBER: 1, Role.APPROVER: 2, Role.ADMINISTRATOR: 3}


class Access(models.TextChoices):
    """What the people of a team may do with what is shared with it."""

    READ = "read", "Read"
    WORK = "work", "Work on"


class Profile(models.Model):
    """The role of a person. Without one a person is a member, or an administrator made on the
    command line. `User.is_superuser` is true for administrators and for nobody else."""

    person = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="profile"
    )
    role = models.CharField(max_length=13, choices=Role.choices, default=Role.MEMBER)
    erased_at = models.DateTimeField(null=True)  # their name is gone, for good

    def __str__(self) -> str:
        return f"{self.person_id}: {self.role}"


class Team(models.Model):
    name = models.CharField(max_length=100, unique=True)
    # The most that its jobs may cost in a month, in US dollars. None: any amount.
    most_a_month = models.DecimalField(max_digits=12, decimal_places=2, null=True)
    # The file with the API key of its own; "": its jobs use that of the site. See api_key.py.
    key_file = models.CharField(max_length=16, default="", db_default="")
    people: models.ManyToManyField[User, Membership] = models.ManyToManyField(
        settings.AUTH_USER_MODEL, through="Membership", related_name="teams"
    )

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="memberships")
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships"
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["team", "person"], name="once_in_a_team"),
        ]

    def __str__(self) -> str:
        return f"{self.person_id} in {self.team_id}"


# User names of people who were erased; nobody else gets one.
_NAME_OF_ERASED = re.compile(r"erased-\d+(-\d+)?", re.IGNORECASE)


def is_reserved_name(username: str) -> bool:
    return _NAME_OF_ERASED.fullmatch(username) is not None


def name_of_erased(person: User) -> str:
    """A free user name for a person whose own is erased."""
    others = User.objects.exclude(pk=person.pk)
    name, number = f"erased-{person.pk}", 1
    while others.filter(username__iexact=name).exists():
        name, number = f"erased-{person.pk}-{number}", number + 1
    return name


class InvitationQuerySet(models.QuerySet["Invitation"]):
    def open(self, now: datetime) -> Self:
        """Those that can still be accepted."""
        return self.filter(used_at=None, withdrawn_at=None, expires_at__gt=now)

    def forget_mails(self, now: datetime) -> None:
        """The address is for who has not accepted yet."""
        with_mail = self.filter(mail__gt="")
        over = with_mail.exclude(pk__in=with_mail.open(now).values("pk"))
        over.update(mail="")


class Invitation(models.Model):
    """A link with which one person makes their account, once. Only the hash of the link's token is
    stored."""

    token_hash = models.CharField(max_length=64, unique=True)
    role = models.CharField(max_length=13, choices=Role.choices, default=Role.MEMBER)
    teams: models.ManyToManyField[Team, models.Model] = models.ManyToManyField(
        Team, related_name="+"
    )
    mail = models.EmailField(default="")  # "" once it is over
    made_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    made_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)
    withdrawn_at = models.DateTimeField(null=True)

    objects = InvitationQuerySet.as_manager()

    def __str__(self) -> str:
        return f"invitation {self.pk}"


def hash_token(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


# --- What a role may do ---------------------------------------------------------------------------


def role_of(user: AnyUser) -> Role:
    if getattr(user, "is_superuser", False):
        return Role.ADMINISTRATOR
    profile: Profile | None = getattr(user, "profile", None)
    return Role(profile.role) if profile else Role.MEMBER


def is_administrator(user: AnyUser) -> bool:
    return role_of(user) == Role.ADMINISTRATOR


def sees_everything(user: AnyUser) -> bool:
    """Administrators and auditors see every job, the spending of everyone, and all people."""
    return role_of(user) in (Role.ADMINISTRATOR, Role.AUDITOR)


def is_erased(user: AnyUser) -> bool:
    profile: Profile | None = getattr(user, "profile", None)
    return profile is not None and profile.erased_at is not None


def only_reads(user: AnyUser) -> bool:
    return role_of(user) == Role.AUDITOR


def administrators() -> QuerySet[User]:
    """The administrators who can sign in."""
    return User.objects.filter(is_superuser=True, is_active=True)


def approving_people() -> QuerySet[User]:
    """The people who may approve what others want to spend, and can sign in."""
    may = Q(is_superuser=True) | Q(profile__role=Role.APPROVER)
    return User.objects.filter(may, is_active=True)


def teams_of(user: AnyUser) -> QuerySet[Membership, int]:
    """The numbers of the teams that `user` is in, for a condition."""
    return Membership.objects.filter(person_id=user.pk).values_list("team_id", flat=True)
