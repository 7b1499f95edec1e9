"""What stands in the way of sending a draft, and what is odd about it."""

from __future__ import annotations

from collections.abc import Sequence

from . import offers, recipes
from .models import Job, recipe_of
from .recipes import Recipe


def problems(job: Job) -> list[str]:
    """Why a draft cannot be sent yet, each as a sentence; ready-made requests were checked when
    they were read."""
    if job.kind == Job.Kind.REQUESTS:
        return []
    return recipe_problems(recipe_of(job), job.columns)


def recipe_problems(recipe: Recipe, columns: Sequence[str]) -> list[str]:
    """Why `recipe` cannot be sent for a table with `columns`, each as a sentence."""
    found = recipes.recipe_problems(recipe, columns)
    return found + offers.model_problems(recipe.model)


def remarks(job: Job) -> list[str]:
    """What is odd about a draft that can be sent, each as a sentence."""
    recipe = recipe_of(job)
    return recipes.recipe_remarks(recipe) + offers.model_remarks(recipe.model)
