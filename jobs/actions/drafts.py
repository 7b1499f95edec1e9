"""Change the recipe of a draft and test it on a few rows."""

from __future__ import annotations

from dataclasses import replace

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Max

from ..drafts import trials
from ..models import Job, Outcome, Row, Trial, clock, dollars, job_log, recipe_of
from ..rules import wording
from ..rules.answer_formats import as_written
from ..rules.pricing import UnknownPrice
from ..rules.recipes import Recipe, with_example, with_rows_of
from ..spending import caps
from .nudges import nudge_worker


def start_trials(job: Job, rows: list[Row], user: User, also: str = "") -> bool:
    """Test some rows of a draft with its current recipe, and with the model `also` to compare.
    False if there are no rows, an earlier test is still running, or the job is not a draft.

    The ceiling is reserved and counts for the job. Raises caps.NotAllowed if that exceeds a limit
    or there is no price.
    """
    asked = [recipe_of(job)]
    if also and also != job.recipe.model:
        asked.append(replace(asked[0], model=also))
    with transaction.atomic():
        allowed, now = caps.lock_caps(), clock.now()
        draft = Job.objects.filter(pk=job.pk, state=Job.State.DRAFT, readings=job.readings)
        if not draft.update(next_action_at=clock.now()) or job.trials.pending().exists():
            return False
        last = job.trials.aggregate(last=Max("round"))["last"] or 0
        rounds = enumerate(asked, start=last + 1)
        try:
            planned = [
                one
                for number, recipe in rounds
                for one in trials.plan_trials(job, rows, recipe, number)
            ]
        except UnknownPrice as error:
            raise caps.NotAllowed(
                f"There is no price for “{error}”, so the cost of this test is unknown. "
                "Choose another model. Administrators can also enter its price."
            ) from None
        most = dollars(sum(one.most_pico for one in planned))
        if why := caps.why_trial_over_cap(job, most, allowed, now):
            raise caps.NotAllowed(why)
        Trial.objects.bulk_create(planned)
        if planned:
            tested = wording.rows(len(planned) // len(asked))
            text = "Testing {} with two models." if len(asked) > 1 else "Testing {}."
            job_log.write(job.pk, text.format(tested), user)
            nudge_worker(job)
    return bool(planned)


def save_recipe(job: Job, recipe: Recipe, user: User) -> bool:
    """Save the recipe of a draft and have its price estimated. True if something changed."""
    if recipe_of(job) == recipe:
        return False
    drafts = Job.objects.filter(pk=job.pk, state=Job.State.DRAFT, kind=Job.Kind.TABLE)
    # Without delay: the page already waits until typing stops.
    saved = drafts.update(
        recipe=recipe, plan_sha256="", changed_by=user, next_action_at=clock.now()
    )
    if saved:
        nudge_worker(job)
    return bool(saved)


def use_tested_recipe(job: Job, round_number: int, user: User) -> bool:
    """Restore the recipe of an earlier test. False if there is none or the job is not a draft."""
    found = (one.recipe for one in job.trials.filter(round=round_number))
    recipe = next(filter(None, found), None)
    if recipe is None or job.state != Job.State.DRAFT:
        return False
    save_recipe(job, with_rows_of(recipe_of(job), recipe), user)
    return True


def use_as_example(job: Job, one: Trial, user: User) -> bool:
    """Add a tested row and its answer to the background as an example of a good answer. False if
    the answer is not good or the job is not a draft."""
    if one.outcome != Outcome.GOOD or job.state != Job.State.DRAFT:
        return False
    if one.practice != settings.PRACTICE:
        return False  # a made-up answer must not get into a real prompt, or the reverse
    recipe = recipe_of(job)
    answer = as_written(one.answer_kind, one.answer)
    system = with_example(recipe.system, one.cells, answer)
    save_recipe(job, replace(recipe, system=system), user)
    return True
