"""Rows of a finished job that are sent again, as a new round of the same job. What they came to
before is kept as attempts, and they go out by the same path as the first time."""

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
from ..rules.judging import MARKED_DOWN, cause_in_words
from ..rules.recipes import Recipe
from .measurements import CannotRetry, measure_rows
from .selection import EDITED, FOR_NOW, last_round_of, rounds_with_main_recipe, sizes_by_round

# Causes of rows whose answer needed more than the longest that was allowed.
TOO_SHORT = ("cut_off", "empty")
BUSY = "Rows of this job are being changed just now. Nothing was sent. Try again in a moment."


@dataclass(frozen=True)
class RetryChoice:
    """What is to be sent again: which rows, and what of the recipe is different."""

    which: str  # FOR_NOW, EDITED or a cause
    max_tokens: int | None = None  # the longest answer, 0: what suits; None: as it was
    model: str = ""  # "": as it was
    prompt: str | None = None  # None: as it was
    system: str | None = None

    def recipe(self, job: Job, last: int | None = None) -> Recipe:
        """What the rows of a table are to be asked: what they were asked last, and the changes.
        `last`: the round of that, when it is known."""
        before = recipe_of_round(job, last_round_of(job, self.which) if last is None else last)
        return replace(
            before,
            max_tokens=before.max_tokens if self.max_tokens is None else self.max_tokens,
            model=self.model or before.model,
            prompt=before.prompt if self.prompt is None else self.prompt,
            system=before.system if self.system is None else self.system,
        )


@dataclass(frozen=True)
class RetryPlan:
    """What a person is shown before rows are sent again, and confirms."""

    again: RetryChoice
    recipe: Recipe
    bytes: int  # of the rows, as Row.size
    price: PartEstimate
    key: str  # a hash of all this
    earlier: list[int]  # the rounds that its rows were last in; empty: whichever
    contents: dict[str, dict[str, int]]  # as Measured.models

    @property
    def rows(self) -> int:
        return self.price.rows


def find_plan(job: Job, again: RetryChoice) -> RetryPlan | None:
    """As `make_plan`; None when rows cannot be sent so."""
    with suppress(CannotRetry):
        return make_plan(job, again)
    return None


def make_plan(job: Job, again: RetryChoice) -> RetryPlan:
    """What `again` comes to, and costs. Raises CannotBeSent."""
    if job.state != Job.State.FINISHED:
        raise CannotRetry("Rows can be sent again when the job has finished.")
    if job.practice != settings.PRACTICE:
        was, now = ("practice", "not") if job.practice else ("not practice", "practice")
        raise CannotRetry(f"This job was {was}, and this site is {now} now: send it as a new job.")
    if not knows_rows(job):
        raise CannotRetry("The batch came without its file, so its rows are not known here.")
    if RowChange.objects.filter(job=job).exists():
        raise CannotRetry(BUSY)
    found_by_round = sizes_by_round(job, again.which)
    if not found_by_round:
        raise CannotRetry("There are no such rows to be sent again.")
    earlier = rounds_with_main_recipe(job, found_by_round)
    last = max(earlier or found_by_round)
    recipe = again.recipe(job, last)
    _check(job, again, recipe)
    chosen = [found_by_round[number] for number in earlier or found_by_round]
    found = measure_rows(job, again.which, chosen, earlier)
    at_least = _longest_before(job, last, recipe) if again.which in TOO_SHORT else 0
    price = retry_estimates.estimate_retry(job, found, recipe, at_least)
    if price is None:
        raise CannotRetry("The price of sending them again is not known.")
    shown = [job.pk, job.last_round, asdict(again), msgspec.to_builtins(recipe), asdict(found)]
    # Of two rows that are as large, one can be marked, or changed, instead of the other.
    shown.append(job.edits_version if again.which == EDITED else 0)
    shown.append(job.rows_changed if again.which == MARKED_DOWN else 0)
    shown += map(str, asdict(price).values())
    key = hashlib.sha256(json.dumps(shown).encode()).hexdigest()[:32]
    return RetryPlan(again, recipe, found.bytes, price, key, earlier, found.models)


def versions(job: Job) -> tuple[object, ...]:
    """Equal versions of a job mean that a plan made of the one holds for the other."""
    return (
        job.state,
        job.practice,
        job.rows_version,
        job.rows_changed,
        job.edits_version,
    )


def _check(job: Job, again: RetryChoice, recipe: Recipe) -> None:
    """Raises CannotBeSent when they cannot be asked so."""
    if job.kind == Job.Kind.REQUESTS:
        if again != RetryChoice(again.which):
            raise CannotRetry("Ready-made requests say themselves what is asked, and of whom.")
    elif lacks_prompt(job, recipe):
        raise CannotRetry("What these rows were asked is not known here. Write what to ask.")
    elif problems := checks.recipe_problems(recipe, job.columns):
        raise CannotRetry(" ".join(problems))


def knows_rows(job: Job) -> bool:
    """Of a batch that was made elsewhere the rows are known if its file was attached."""
    return not job.is_external or job.upload_bytes > 0


def can_change_prompt(job: Job) -> bool:
    """Whether rows of this job can be asked something else than they were."""
    if job.state != Job.State.FINISHED or job.practice != settings.PRACTICE:
        return False
    return job.kind == Job.Kind.TABLE and knows_rows(job)


def lacks_prompt(job: Job, recipe: Recipe) -> bool:
    """Whether `recipe` is what a table was asked that came with a batch made elsewhere: nobody here
    knows it. The rows can be sent again once somebody has written what to ask."""
    return job.is_external and job.kind == Job.Kind.TABLE and not recipe.prompt


def describe_retry(job: Job, planned: RetryPlan) -> str:
    """Which rows, and what is different, for the log of the job."""
    again = planned.again
    if again.which == EDITED:
        which = "As they were changed"
    elif again.which == FOR_NOW:
        which = "They got no answer for a reason that passes"
    else:
        which = cause_in_words(again.which).title
    changes = []
    if again.max_tokens:
        changes.append(f"answers of up to {again.max_tokens:,} tokens")
    elif again.max_tokens == 0:
        changes.append("answers as long as suits")
    if again.model:
        changes.append(f"model {again.model}")
    if again.prompt is not None or again.system is not None:
        changes.append("asked otherwise")
    return f"{which}{': ' if changes else ''}{', '.join(changes)}."[:200]


def _longest_before(job: Job, last: int, recipe: Recipe) -> int:
    """Tokens that the answers to these rows were allowed, which were not enough."""
    before = recipe_of_round(job, last)
    return before.longest if before.longest < recipe.longest else 0


def create_round(job: Job, planned: RetryPlan, what: str, user: User) -> None:
    """Make the round, inside a transaction. The worker takes its rows, see preparation.py."""
    again = planned.again
    Round.objects.create(
        job=job,
        number=job.last_round + 1,
        recipe=planned.recipe if job.kind == Job.Kind.TABLE else None,
        what=what,
        rows=planned.rows,
        bytes=planned.bytes,
        estimate={name: str(getattr(planned.price, name)) for name in ("low", "high", "most")},
        asked_by=user,
        asked_at=clock.now(),
        step=Round.Step.TAKING,
        which=again.which,
        earlier=planned.earlier,
        asks_otherwise=again.prompt is not None or again.system is not None,
        contents=planned.contents,
    )
