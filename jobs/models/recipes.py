"""The recipes of jobs and of their rounds."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import msgspec

from ..rules.answer_formats import COLUMNS, FREE_TEXT, AnswerKind
from ..rules.recipes import Recipe
from .jobs import Job


def answer_kind_of(job: Job) -> AnswerKind:
    """What kind of answer is wanted for each row; ready-made requests say that themselves."""
    if job.kind == Job.Kind.REQUESTS:
        return FREE_TEXT
    return job.recipe.answer


def answer_shape_of(job: Job) -> AnswerKind:
    """How the answers of a job are shown: as they were asked for, and with the columns that the
    inputs of forced tools fill."""
    asked = answer_kind_of(job)
    if not job.answer_columns:
        return asked
    columns = asked.columns if asked.kind == COLUMNS else ()
    names = {column.name for column in columns}
    others = (one for one in job.answer_columns if one.name not in names)
    return AnswerKind(COLUMNS, asked.labels, (*columns, *others))


def recipe_of(job: Job) -> Recipe:
    """What its rows were, or are to be, asked."""
    return replace(job.recipe, answer=answer_kind_of(job), private=tuple(job.private_columns))


def recipe_of_round(job: Job, number: int) -> Recipe:
    """What the rows of a round were, or are to be, asked."""
    one = job.rounds.filter(number=number).first() if number > 1 else None
    if one and one.recipe:
        return replace(one.recipe, private=tuple(job.private_columns))
    return recipe_of(job)


def trial_key(job: Job, recipe: Recipe) -> str:
    """Tells apart what was asked of which file, when the answers may differ, and says nothing of
    what is in it. How long an answer may be does not matter to one that is shorter."""
    texts = [job.upload_sha256, recipe.prompt, recipe.system, recipe.model, recipe.effort]
    text = json.dumps([*texts, msgspec.to_builtins(recipe.answer)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
