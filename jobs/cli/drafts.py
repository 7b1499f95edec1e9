"""A draft made of a file, for the subcommands that need one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.core.management.base import CommandError

from ..actions import drafts, job_basics
from ..drafts import checks
from ..models import Job, recipe_of
from ..rules.recipes import Recipe
from .console import Console
from .exit_codes import WRONG_USE
from .options import (
    EMPTY,
    checked_recipe,
    make_job_of,
    owner_of,
    recipe_was_given,
    require_columns,
    start_from,
)
from .problems import show_problems
from .reading_options import choices_from
from .row_options import choose_rows
from .worker_waits import wait_for_worker


def make_draft(console: Console, options: dict[str, Any]) -> Job:
    """Create a draft from the file and recipe. If they do not fit together, the draft is deleted.
    Raises CommandError."""
    owner, choices = owner_of(options["owner"]), choices_from(options)
    start = start_from(options, owner)
    recipe = checked_recipe(options, start.recipe if start else EMPTY)
    if start:
        start = replace(start, recipe=recipe)
    job = make_job_of(options, owner, choices, start)
    console.say(f"Job {job.pk} “{job.name}”: reading the file.")
    job = wait_for_worker(job, lambda job: job.state != Job.State.READING)
    show_problems(console, job)
    if job.state != Job.State.DRAFT:
        job_basics.delete_job(job, job.owner)
        raise CommandError("The file could not be read.")
    console.say(f"{job.row_count:,} rows, {job.skipped_count:,} skipped.")
    if job.kind == Job.Kind.TABLE:
        _mark_private(job, recipe, options["private"])
        recipe = replace(recipe, private=tuple(job.private_columns))
    if start:
        recipe = recipe_of(job)  # with the columns as the file writes them
    if problems := plan_problems(job, recipe, recipe_was_given(options)):
        job_basics.delete_job(job, job.owner)
        raise CommandError("\n".join(problems), returncode=WRONG_USE)
    choose_rows(console, job, options)
    if job.kind == Job.Kind.TABLE:
        drafts.save_recipe(job, recipe, job.owner)
        job.refresh_from_db()
        for remark in checks.remarks(job):
            console.say(remark)
    elif drafts.reuse_answers(job, job.owner, wanted=options["only_new"]):
        job.refresh_from_db()
    return job


def _mark_private(job: Job, recipe: Recipe, given: list[str]) -> None:
    try:
        require_columns(given, job.columns)
    except CommandError:
        job_basics.delete_job(job, job.owner)
        raise
    drafts.mark_private(job, {*job.private_columns, *recipe.private}, job.owner)
    job.refresh_from_db()


def plan_problems(job: Job, recipe: Recipe, was_given: bool) -> list[str]:
    """Why the recipe does not fit the file, each as a sentence."""
    if job.kind == Job.Kind.TABLE:
        return checks.recipe_problems(recipe, job.columns)
    if was_given:
        return [
            "The file holds ready-made requests, which are sent as they are: leave out --prompt "
            "and the other options that say what to do with a row."
        ]
    return []
