"""Retries: rows of a finished job that are sent choice, as a new round of the same job. Earlier
results stay as attempts; the rows go out by the same path as the first time."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict, dataclass, replace

import msgspec
from django.conf import settings
from django.contrib.auth.models import User

from ..drafts import checks, retry_estimates
from ..drafts.estimates import PartEstimate
from ..models import (
    Job,
    Round,
    RowChange,
    clock,
    recipe_of_round,
)
from ..rules.judging import MARKED_DOWN, describe_cause
from ..rules.recipes import Recipe
from ..rules.retry_choices import RetryChoice, RoundEstimate
from .measurements import STILL_CHECKING, CannotRetry, measure_rows
from .selection import (
    EDITED,
    FOR_NOW,
    awaits_measuring,
    last_round_of,
    rounds_with_main_recipe,
    sizes_by_round,
)

# Causes of rows whose answers needed more tokens than were allowed.
TOO_SHORT = ("cut_off", "empty")
MADE_IN_PRACTICE = (
    "This job ran in practice mode, and practice mode is now off. Start a new job with this file."
)
MADE_FOR_REAL = (
    "This job ran for real, and the site is now in practice mode. Start a new job with this file."
)
REQUESTS_HAVE_PROMPTS = (
    "Ready-made requests have their own prompt and model. Edit the rows instead."
)
PROMPT_IS_UNKNOWN = "The prompt of this imported batch is unknown. Write a prompt for these rows."
CONTENTS_ARE_DELETED = "The cells and answers of this job were deleted, so nothing can be retried."
BUSY = "Rows of this job are being changed. Nothing was sent. Try again in a moment."


def changed_recipe(job: Job, choice: RetryChoice, last: int | None = None) -> Recipe:
    """The recipe for the rows of a table: their last one, with the changes. `last`: the round that
    their last recipe is from, if known."""
    before = recipe_of_round(job, last_round_of(job, choice.which) if last is None else last)
    return replace(
        before,
        max_tokens=before.max_tokens if choice.max_tokens is None else choice.max_tokens,
        model=choice.model or before.model,
        prompt=before.prompt if choice.prompt is None else choice.prompt,
        system=before.system if choice.system is None else choice.system,
    )


@dataclass(frozen=True)
class RetryPlan:
    """What a person is shown before a retry, and confirms."""

    choice: RetryChoice
    recipe: Recipe
    bytes: int  # of the rows, as Row.size
    price: PartEstimate
    key: str  # a hash of all of this
    earlier: list[int]  # rounds that its rows were last sent in; empty: any
    contents: dict[str, dict[str, int]]  # as RetrySize.models

    @property
    def rows(self) -> int:
        return self.price.rows


def find_plan(job: Job, choice: RetryChoice) -> RetryPlan | None:
    """As `make_plan`; None when the rows cannot be retried like this."""
    with suppress(CannotRetry):
        return make_plan(job, choice)
    return None


def make_plan(job: Job, choice: RetryChoice) -> RetryPlan:
    """Which rows a retry sends with which recipe, and its price. Raises CannotRetry."""
    if job.state != Job.State.FINISHED:
        raise CannotRetry("You can retry rows once the job has finished.")
    if job.practice != settings.PRACTICE:
        raise CannotRetry(MADE_IN_PRACTICE if job.practice else MADE_FOR_REAL)
    if not knows_rows(job):
        raise CannotRetry(
            "This batch was imported without its file, so its rows cannot be retried."
        )
    if RowChange.objects.filter(job=job).exists():
        raise CannotRetry(BUSY)
    if awaits_measuring(job):
        raise CannotRetry(STILL_CHECKING)
    found_by_round = sizes_by_round(job, choice.which)
    if not found_by_round:
        raise CannotRetry("No rows to retry.")
    earlier = rounds_with_main_recipe(job, found_by_round)
    last = max(earlier or found_by_round)
    recipe = changed_recipe(job, choice, last)
    _check(job, choice, recipe)
    chosen = [found_by_round[number] for number in earlier or found_by_round]
    found = measure_rows(job, choice.which, chosen, earlier)
    at_least = _longest_before(job, last, recipe) if choice.which in TOO_SHORT else 0
    price = retry_estimates.estimate_retry(job, found, recipe, at_least)
    if price is None:
        raise CannotRetry("There is no price for this model, so these rows cannot be retried.")
    shown = [job.pk, job.last_round, asdict(choice), msgspec.to_builtins(recipe), asdict(found)]
    # Two rows of the same size may have swapped: one marked, or edited, instead of the other.
    shown.append(job.edits_version if choice.which == EDITED else 0)
    shown.append(job.rows_changed if choice.which == MARKED_DOWN else 0)
    shown += map(str, asdict(price).values())
    key = hashlib.sha256(json.dumps(shown).encode()).hexdigest()[:32]
    return RetryPlan(choice, recipe, found.bytes, price, key, earlier, found.models)


def versions(job: Job) -> tuple[object, ...]:
    """While these are equal, a plan made for the job still holds."""
    return (
        job.state,
        job.practice,
        job.rows_version,
        job.rows_changed,
        job.edits_version,
    )


def _check(job: Job, choice: RetryChoice, recipe: Recipe) -> None:
    """Raises CannotRetry when the rows cannot be sent with this recipe."""
    if job.contents_deleted_at:
        raise CannotRetry(CONTENTS_ARE_DELETED)
    if job.kind == Job.Kind.REQUESTS:
        if choice != RetryChoice(choice.which):
            raise CannotRetry(REQUESTS_HAVE_PROMPTS)
    elif lacks_prompt(job, recipe):
        raise CannotRetry(PROMPT_IS_UNKNOWN)
    elif problems := checks.recipe_problems(recipe, job.columns):
        raise CannotRetry(" ".join(problems))


def knows_rows(job: Job) -> bool:
    """Rows of an imported batch are known only if its file was attached."""
    return not job.is_external or job.upload_bytes > 0


def can_change_prompt(job: Job) -> bool:
    """Whether the prompt can be changed for some rows of this job."""
    if job.state != Job.State.FINISHED or job.practice != settings.PRACTICE:
        return False
    if job.contents_deleted_at:
        return False
    return job.kind == Job.Kind.TABLE and knows_rows(job)


def lacks_prompt(job: Job, recipe: Recipe) -> bool:
    """Whether the prompt is unknown because the table was attached to an imported batch. Its rows
    can be retried once someone has written a prompt."""
    return job.is_external and job.kind == Job.Kind.TABLE and not recipe.prompt


def describe_retry(job: Job, planned: RetryPlan) -> str:
    """Which rows a retry sends and what changes, for the log of the job."""
    choice = planned.choice
    if choice.which == EDITED:
        which = "Edited rows"
    elif choice.which == FOR_NOW:
        which = "Rows that usually work on retry"
    else:
        which = describe_cause(choice.which).title
    changes = []
    if choice.max_tokens:
        changes.append(f"up to {choice.max_tokens:,} tokens per answer")
    elif choice.max_tokens == 0:
        changes.append("recommended maximum answer length")
    if choice.model:
        changes.append(f"model {choice.model}")
    if choice.prompt is not None or choice.system is not None:
        changes.append("changed prompt")
    return f"{which}{': ' if changes else ''}{', '.join(changes)}."[:200]


def _longest_before(job: Job, last: int, recipe: Recipe) -> int:
    """Tokens that these rows were allowed before and that were too few; 0 if the limit stays."""
    before = recipe_of_round(job, last)
    return before.longest if before.longest < recipe.longest else 0


def create_round(job: Job, planned: RetryPlan, what: str, user: User) -> None:
    """Create the round, inside a transaction. The worker takes its rows: see preparation.py."""
    choice = planned.choice
    Round.objects.create(
        job=job,
        number=job.last_round + 1,
        recipe=planned.recipe if job.kind == Job.Kind.TABLE else None,
        what=what,
        rows=planned.rows,
        bytes=planned.bytes,
        estimate=RoundEstimate(planned.price.low, planned.price.high, planned.price.most),
        asked_by=user,
        asked_at=clock.now(),
        step=Round.Step.TAKING,
        which=choice.which,
        earlier=planned.earlier,
        asks_otherwise=choice.prompt is not None or choice.system is not None,
        contents=planned.contents,
    )
