"""What prevents a draft from being sent, and what looks odd about it."""

from __future__ import annotations

from collections.abc import Sequence

from ..models import Job, recipe_of, trial_key
from ..rules import recipes, row_choices, wording
from ..rules.recipes import Recipe
from . import model_catalog


def problems(job: Job) -> list[str]:
    """Why a draft cannot be sent yet, as sentences. Ready-made requests are checked when the file
    is read."""
    if job.kind == Job.Kind.REQUESTS:
        return []
    chosen = row_choices.choice_problems(job.row_choice, job.columns)
    return recipe_problems(recipe_of(job), job.columns) + chosen


def recipe_problems(recipe: Recipe, columns: Sequence[str]) -> list[str]:
    """Why `recipe` cannot be sent for a table with `columns`, each as a sentence."""
    found = recipes.recipe_problems(recipe, columns)
    return found + model_catalog.model_problems(recipe.model)


def field_problems(job: Job) -> dict[str, list[str]]:
    """The same of a table, by the field of the recipe that each is about."""
    recipe = recipe_of(job)
    found = recipes.field_problems(recipe, job.columns)
    return {**found, "model": model_catalog.model_problems(recipe.model)}


def remarks(job: Job) -> list[str]:
    """What looks odd about a draft that can be sent, as sentences."""
    recipe = recipe_of(job)
    return [
        *recipes.recipe_remarks(recipe, job.columns),
        *model_catalog.model_remarks(recipe.model),
        *_tested_remarks(job, recipe),
    ]


def _tested_remarks(job: Job, recipe: Recipe) -> list[str]:
    """Warn that test answers were cut off: all other rows would be charged as well."""
    tested = job.trials.to_learn_from().filter(recipe_key=trial_key(job, recipe))
    # Only if they would be cut off at the current limit, too.
    long = tested.filter(cause="cut_off", output_tokens__gte=recipe.longest)
    all_rows = tested.values("number").distinct().count()
    if not (cut_off := long.values("number").distinct().count()):
        return []
    return [
        f"Answers cut off at {recipe.longest:,} tokens: {cut_off} of {wording.rows(all_rows)} that "
        "you tested. Cut-off answers are charged. Allow longer answers, or ask for shorter ones."
    ]
