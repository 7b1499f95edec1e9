"""Recipes that are saved under a name."""

from __future__ import annotations

from typing import Self

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.utils import timezone

from ..rules.recipes import Recipe, read_recipe
from ..rules.right_answers import GoldChoice
from ..rules.structs import reader_of
from .fields import StructField
from .people import Access, is_administrator, only_reads, teams_of

BY_NAME = (Lower("name"), "pk")  # the order of templates


class TemplateQuerySet(models.QuerySet["Template"]):
    def visible_to(self, user: User | AbstractBaseUser | AnonymousUser) -> Self:
        """The templates that `user` may start with: their own, and those that are shared with
        everyone or with a team of theirs. All for auditors, who only look at them."""
        if only_reads(user):
            return self
        shared = Q(shared=True) | Q(team_id__in=teams_of(user))
        return self.filter(Q(owner_id=user.pk) | shared)

    def changeable_by(self, user: User | AbstractBaseUser | AnonymousUser) -> Self:
        """The templates that `user` may rename, share and delete: their own, and those that a team
        of theirs may work on; administrators also those that are shared with everyone or a team."""
        if only_reads(user):
            return self.none()
        if is_administrator(user):
            return self.filter(Q(owner_id=user.pk) | Q(shared=True) | Q(team__isnull=False))
        shared = Q(team_id__in=teams_of(user), team_access=Access.WORK)
        return self.filter(Q(owner_id=user.pk) | shared)

    def by_name(self) -> Self:
        return self.order_by(*BY_NAME)


class Template(models.Model):
    """A recipe that is kept under a name, to begin other jobs with."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT)
    name = models.CharField(max_length=100)
    shared = models.BooleanField(default=False)  # everyone on this site may start with it
    # The team that may start with it, and may change it if it may work on it.
    team = models.ForeignKey("Team", on_delete=models.SET_NULL, null=True, related_name="+")
    team_access = models.CharField(max_length=4, choices=Access.choices, default=Access.READ)
    recipe = StructField[Recipe](read_recipe)  # recipes.Recipe; what is missing is as in Recipe()
    # Which columns of a file hold the right answers: no part of what is asked.
    gold = StructField[GoldChoice](reader_of(GoldChoice), default=GoldChoice)
    changed_at = models.DateTimeField(default=timezone.now)

    objects = TemplateQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["owner", "name"], name="template_once_an_owner"),
        ]

    def __str__(self) -> str:
        return self.name


class TemplateVersion(models.Model):
    """What a template held from one save to the next; the last one is what it holds now."""

    template = models.ForeignKey(Template, on_delete=models.CASCADE, related_name="versions")
    number = models.IntegerField()  # 1, 2, ...
    recipe = StructField[Recipe](read_recipe)
    saved_at = models.DateTimeField(default=timezone.now)
    # None: before there was a history.
    saved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    restored = models.IntegerField(default=0)  # the version that was put back; 0: none

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["template", "number"], name="version_once_a_template")
        ]

    def __str__(self) -> str:
        return f"version {self.number} of template {self.template_id}"
