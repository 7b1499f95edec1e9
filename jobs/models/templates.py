"""Recipes that are saved under a name."""

from __future__ import annotations

from typing import Self

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.utils import timezone

from ..rules.recipes import Recipe
from ..rules.structs import reader_of
from .fields import StructField

BY_NAME = (Lower("name"), "pk")  # the order of templates


class TemplateQuerySet(models.QuerySet["Template"]):
    def visible_to(self, user: User | AbstractBaseUser | AnonymousUser) -> Self:
        """The templates that `user` may start with: their own, and those that are shared."""
        return self.filter(Q(owner_id=user.pk) | Q(shared=True))

    def changeable_by(self, user: User | AbstractBaseUser | AnonymousUser) -> Self:
        """The templates that `user` may rename, share and delete: their own; administrators also
        those that are shared."""
        if getattr(user, "is_superuser", False):
            return self.visible_to(user)
        return self.filter(owner_id=user.pk)

    def by_name(self) -> Self:
        return self.order_by(*BY_NAME)


class Template(models.Model):
    """A recipe that is kept under a name, to begin other jobs with."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT)
    name = models.CharField(max_length=100)
    shared = models.BooleanField(default=False)  # everyone on this site may start with it
    recipe = StructField[Recipe](
        reader_of(Recipe)
    )  # recipes.Recipe; what is missing is as in Recipe()
    changed_at = models.DateTimeField(default=timezone.now)

    objects = TemplateQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["owner", "name"], name="template_once_an_owner"),
        ]

    def __str__(self) -> str:
        return self.name
