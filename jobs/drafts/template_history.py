"""Versions of templates: each save keeps the one before, and an earlier one can be put back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from ..models import Job, Template, TemplateVersion, audit
from ..rules.recipes import Recipe

KEPT = 100  # versions of a template, the newest
JOBS_NAMED = 5  # of those that used a version, the newest


def add_version(template: Template, by: User | None, restored: int = 0) -> bool:
    """Keep what `template` holds now as its newest version. False if it holds the same as the one
    before. Call it in the transaction that saves the template."""
    Template.objects.select_for_update().get(pk=template.pk)
    newest = template.versions.first()
    if newest and newest.recipe == template.recipe:
        return False
    number = (newest.number if newest else 0) + 1
    TemplateVersion.objects.create(
        template=template,
        number=number,
        recipe=template.recipe,
        saved_by=by,
        restored=restored,
    )
    template.versions.filter(number__lte=number - KEPT).delete()
    return True


def restore_version(template: Template, number: int, by: User) -> bool:
    """Put an earlier version back, as a new one. False if there is none, or nothing changes."""
    with transaction.atomic():
        template = Template.objects.select_for_update().get(pk=template.pk)
        one = template.versions.filter(number=number).first()
        if one is None or one.recipe == template.recipe:
            return False
        template.recipe, template.changed_at = one.recipe, timezone.now()
        template.save(update_fields=["recipe", "changed_at"])
        add_version(template, by, restored=number)
        after: dict[str, audit.Value] = {"version": number}
        audit.record("template_restored", who=by, target=f"template {template.pk}", after=after)
    return True


@dataclass(frozen=True)
class Use:
    """The jobs that were started from a version, as far as a person sees them."""

    jobs: list[Job]  # the newest
    count: int


def jobs_by_version(
    template: Template, versions: Sequence[TemplateVersion], user: User
) -> dict[int, Use]:
    """Who used which of these versions, by number. A job used the one that was the newest when it
    was made."""
    found = {}
    for one in versions:
        later = template.versions.filter(number__gt=one.number).order_by("number")
        until: datetime | None = later.values_list("saved_at", flat=True).first()
        jobs = Job.objects.visible_to(user).filter(template=template, created_at__gte=one.saved_at)
        if until:
            jobs = jobs.filter(created_at__lt=until)
        newest = list(jobs.order_by("-pk")[:JOBS_NAMED])
        count = len(newest) if len(newest) < JOBS_NAMED else jobs.count()
        found[one.number] = Use(newest, count)
    return found


def last_number(template: Template) -> int:
    return template.versions.aggregate(last=Max("number"))["last"] or 0


def before(version: TemplateVersion) -> Recipe | None:
    """What the template held before; None for its first version, or if that is no longer kept."""
    earlier = TemplateVersion.objects.filter(
        template=version.template_id, number=version.number - 1
    ).first()
    return earlier.recipe if earlier else None
