"""Templates: saved recipes. A new job starts from a template or from the recipe of an earlier
job."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.utils import timezone

from ..models import GoldStandard, Job, Template, audit, recipe_of
from ..rules.recipes import Recipe
from ..rules.right_answers import GoldChoice
from . import template_history

LONGEST_ID = 18  # digits


class NothingToStartWith(Exception):
    """The template or job to start from does not exist; the message says so."""


@dataclass(frozen=True)
class Start:
    """What a new job starts from: the recipe of a template or of an earlier job."""

    recipe: Recipe
    template: Template | None = None
    previous: Job | None = None
    example: str = ""  # the title of a finished example
    gold: GoldChoice = field(default_factory=GoldChoice)  # where the right answers are

    @property
    def values(self) -> dict[str, Any]:
        """The columns of the Job."""
        return {
            "recipe": replace(self.recipe, private=()),
            "private_columns": list(self.recipe.private),
            "template": self.template,
            "previous": self.previous,
        }

    @property
    def in_words(self) -> str:
        """For the log of the job, which others read who may not see the previous one."""
        if self.previous:
            return f"Started from job {self.previous.pk}."
        if self.example:
            return f"Started from the example “{self.example}”."
        if self.template is None:
            return "Started from the prompt of an earlier job."
        return f"Started from the template “{self.template}”."


def template_recipe(template: Template) -> Recipe:
    return template.recipe


def find_start(user: User, template: str, like: str) -> Start | None:
    """What `user` chose: `template` and `like` are the id of a template or of a job, as text. None
    if both are empty. Raises NothingToStartWith."""
    if template:
        kept = Template.objects.visible_to(user).filter(pk=_id(template)).first()
        if kept is None:
            raise NothingToStartWith("This template no longer exists. Choose another one.")
        return Start(template_recipe(kept), template=kept, gold=kept.gold)
    if like:
        jobs = Job.objects.visible_to(user).filter(pk=_id(like), kind=Job.Kind.TABLE)
        job = jobs.exclude(recipe__prompt="").first()
        if job and job.contents_deleted_at:
            return Start(recipe_of(job))  # its answers are of no use any more
        if job is None:
            raise NothingToStartWith("The job to start from no longer exists. Choose another one.")
        return Start(recipe_of(job), previous=job, gold=gold_columns(job))
    return None


def _id(text: str) -> int:
    """The id in `text`; 0, which nothing has, if it is not a number."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= LONGEST_ID else 0


# --- Templates ------------------------------------------------------------------------------------


def gold_columns(job: Job) -> GoldChoice:
    """The columns with right answers of a job, for another file: none that people write here."""
    gold = GoldStandard.objects.filter(job=job).first()
    return msgspec.structs.replace(gold.choice, by_hand=False) if gold else GoldChoice()


def save_template(
    owner: User, name: str, recipe: Recipe, *, shared: bool, gold: GoldChoice | None = None
) -> bool:
    """Save `recipe` as the template `name` of `owner`, with the columns of right answers. True if
    it replaced one of that name."""
    values = {
        "recipe": recipe,
        "gold": gold or GoldChoice(),
        "shared": shared,
        "changed_at": timezone.now(),
    }
    with transaction.atomic():
        was = Template.objects.filter(owner=owner, name=name).values_list("shared", flat=True)
        before = was.first() or False
        template, is_new = Template.objects.update_or_create(
            owner=owner, name=name, defaults=values
        )
        template_history.add_version(template, owner)
        _audit_sharing(template, before, shared, owner)
    return not is_new


def rename_template(template: Template, name: str) -> bool:
    """False if its owner has another template of that name."""
    try:
        with transaction.atomic():
            Template.objects.filter(pk=template.pk).update(name=name, changed_at=timezone.now())
    except IntegrityError:
        return False
    return True


def share_template(template: Template, shared: bool, user: User) -> None:
    with transaction.atomic():
        changed = Template.objects.filter(pk=template.pk, shared=not shared).update(shared=shared)
        if changed:
            _audit_sharing(template, not shared, shared, user)


def delete_template(template: Template, user: User) -> None:
    with transaction.atomic():
        pk = template.pk
        template.delete()
        audit.record("template_deleted", who=user, target=f"template {pk}")


def _audit_sharing(template: Template, before: bool, after: bool, user: User) -> None:
    audit.record_change(
        "template_sharing_changed",
        {"shared": before},
        {"shared": after},
        who=user,
        target=f"template {template.pk}",
    )
