"""Which answers of earlier jobs a job may reuse: only those that everyone who sees it may see."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from django.conf import settings
from django.db import models
from django.db.models import Q

from ..rules.recipes import Recipe
from ..rules.row_contents import recipe_key
from .jobs import Job, JobQuerySet

MOST_SOURCES = 100  # earlier jobs whose answers are looked for, the newest
READY_MADE = "requests"  # the key of any job of ready-made requests, which bring their own prompts


class AskedRecipe(models.Model):
    """What the rows of a round were asked: found by asked_key(), so that no row has to be looked at
    when no earlier job asked the same."""

    job = models.ForeignKey("Job", on_delete=models.CASCADE, related_name="asked_recipes")
    round = models.IntegerField()
    key = models.CharField(max_length=16, db_index=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["job", "round"], name="asked_recipe_once_a_round")
        ]

    def __str__(self) -> str:
        return f"what round {self.round} of job {self.job_id} was asked"


class Source(NamedTuple):
    """An earlier job whose answers can be reused. The rest changes with its answers."""

    job: int
    changed: int
    finished_at: datetime | None


def asked_key(job: Job, recipe: Recipe) -> str:
    """Of jobs with another one, no row can have been sent the same."""
    return READY_MADE if job.kind == Job.Kind.REQUESTS else recipe_key(recipe)


def note_asked(job: Job, number: int, recipe: Recipe) -> None:
    """Remember what a round was asked."""
    values = {"key": asked_key(job, recipe)}
    AskedRecipe.objects.update_or_create(job=job, round=number, defaults=values)


def reusable_jobs(job: Job) -> JobQuerySet:
    """The jobs whose answers may become those of `job`: its owner sees them now, and so does its
    team; they have finished, in the same mode (practice or not), and keep their answers. Of the
    same kind: an answer in columns is stored in another form than one of a ready-made request."""
    seen = Job.objects.visible_to(job.owner).filter(
        Q(team=job.team_id) if job.team_id else Q(),
        state=Job.State.FINISHED,
        kind=job.kind,
        # Never reuse the simulator's made-up answers in a real job.
        practice=settings.PRACTICE,
        is_external=False,
        contents_deleted_at=None,
    )
    return seen.exclude(pk=job.pk)


def find_sources(job: Job, recipe: Recipe) -> list[Source]:
    """The earlier jobs that were asked the same as `recipe`, and whose answers `job` may reuse: the
    newest MOST_SOURCES, the newest first."""
    if job.kind == Job.Kind.TABLE and not recipe.prompt.strip():
        return []
    asked = AskedRecipe.objects.filter(key=asked_key(job, recipe)).values("job")
    found = reusable_jobs(job).filter(pk__in=asked).order_by("-pk")
    facts = found.values_list("pk", "rows_changed", "finished_at")[:MOST_SOURCES]
    return [Source(*one) for one in facts]
