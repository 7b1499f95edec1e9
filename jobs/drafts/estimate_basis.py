"""What an estimate is worked out from: counted tokens, surveyed rows and earlier jobs."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import msgspec
from django.conf import settings

from ..batches.leases import Lease
from ..ingest.shapes import Choices
from ..models import Job, find_sources, recipe_of
from ..rules import recipes
from ..rules.answer_formats import output_format
from ..rules.price_estimates import Basis
from ..rules.row_contents import recipe_key
from . import answer_lengths, request_survey, row_survey, token_counts


def file_version(job: Job) -> list[Any]:
    choices = None if job.choices == Choices() else job.choices
    return [job.upload_sha256, choices or {}, job.corrections]


def chosen_rows(job: Job) -> list[Any]:
    """The choice of rows; nothing if all rows are sent, as in drafts of older versions."""
    return [] if job.row_choice.is_all else [job.row_choice]


def whose_key(job: Job) -> list[Any]:
    """The team whose API key is used, see job_keys.py; nothing for that of the site, as in drafts
    of older versions."""
    if settings.PRACTICE or job.team is None or not job.team.key_file:
        return []
    return ["key of team", job.team.pk]


def reusable_answers(job: Job) -> list[int] | None:
    """Which answers of the previous job can be reused; None without one."""
    before = row_survey.find_previous_job(job)
    return [before.pk, before.good_count] if before else None


def remembered_answers(job: Job) -> list[Any]:
    """Which answers of all earlier jobs can be reused; [] without any."""
    recipe = recipe_of(job)
    sources = find_sources(job, recipe)
    return [recipe_key(recipe), sources] if sources else []


def hash_values(values: list[Any]) -> str:
    text = json.dumps(msgspec.to_builtins(values), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def find_basis(job: Job, lease: Lease | None) -> Basis:
    """Count tokens and survey rows, each only if what it depends on has changed."""
    recipe = recipe_of(job)
    # With repetitions and order: the survey depends on both.
    columns = [recipes.columns_used(text) for text in (recipe.prompt, recipe.system)]
    wordless = not recipes.static_text(recipe.prompt).strip()
    sent = [recipe.skip_empty, recipe.skip_duplicates, recipe.only_new]
    answers = [reusable_answers(job), remembered_answers(job)]
    rows = [file_version(job), columns, wordless, sent, answers]
    rows += chosen_rows(job)
    texts = [recipe.prompt, recipe.system, recipe.model, output_format(recipe.answer)]
    counted = [file_version(job), texts, recipe.effort, settings.PRACTICE, token_counts.SAMPLE]
    counts_key = hash_values(counted)
    survey_key = hash_values(rows)
    basis = job.estimate.basis if job.estimate else Basis()
    if basis.counts_key != counts_key or not basis.counts.tokens:
        basis = replace(basis, counts_key=counts_key, counts=token_counts.count_tokens(job, lease))
    if basis.survey_key != survey_key:
        is_table = job.kind == Job.Kind.TABLE
        survey = row_survey.survey_rows if is_table else request_survey.survey_requests
        basis = replace(basis, survey_key=survey_key, survey=survey(job, recipe, lease))
    return replace(basis, earlier=answer_lengths.earlier_jobs(job))
