"""What stands in the way of sending a draft, and what is odd about it."""

from __future__ import annotations

from collections.abc import Sequence

from ..models import Job, recipe_of, trial_key
from ..rules import recipes, wording
from ..rules.recipes import Recipe
from . import model_catalog


def problems(job: Job) -> list[str]:
    """Why a draft cannot be sent yet, each as a sentence; ready-made requests were checked when
    they were read."""
    if job.kind == Job.Kind.REQUESTS:
        return []
    return recipe_problems(recipe_of(job), job.columns)


def recipe_problems(recipe: Recipe, columns: Sequence[str]) -> list[str]:
    """Why `recipe` cannot be sent for a table with `columns`, each as a sentence."""
    found = recipes.recipe_problems(recipe, columns)
    return found + model_catalog.model_problems(recipe.model)


def remarks(job: Job) -> list[str]:
    """What is odd about a draft that can be sent, each as a sentence."""
    recipe = recipe_of(job)
    return [
        *recipes.recipe_remarks(recipe, job.columns),
        *model_catalog.model_remarks(recipe.model),
        *_tested_remarks(job, recipe),
    ]


def _tested_remarks(job: Job, recipe: Recipe) -> list[str]:
    """That answers were cut off when the rows were tried: all the others would be paid for, too."""
    tested = job.trials.to_learn_from().filter(recipe_key=trial_key(job, recipe))
    # Those that were as long as is allowed now: it may have been changed since.
    long = tested.filter(cause="cut_off", output_tokens__gte=recipe.longest)
    all_rows = tested.values("number").distinct().count()
    if not (cut_off := long.values("number").distinct().count()):
        return []
    return [
        f"{cut_off} of {wording.rows(all_rows)} that you tried "
        f"{'was' if cut_off == 1 else 'were'} cut off at {recipe.longest:,} tokens. Answers that "
        "are cut off are charged: allow longer ones, or ask for shorter ones."
    ]
