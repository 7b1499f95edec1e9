"""Change the recipe of a draft and test it on a few rows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Max

from ..drafts import improvements, trials
from ..drafts.improvements import MarkedRow
from ..models import Job, Outcome, Row, Trial, audit, clock, dollars, job_log, recipe_of
from ..rules import wording
from ..rules.answer_formats import as_written
from ..rules.pricing import UnknownPrice
from ..rules.recipes import Recipe, with_example, with_rows_of, without_example
from ..rules.row_choices import RowChoice
from ..spending import cap_notices, caps
from .nudges import nudge_worker

# States of a job in which something can be tested.
CAN_TEST = (Job.State.DRAFT, Job.State.FINISHED)


def start_trials(
    job: Job, rows: list[Row], user: User, also: str = "", recipe: Recipe | None = None
) -> bool:
    """Test some rows with `recipe`, or else with the current one, and with the model `also` to
    compare. False if there are no rows, an earlier test is still running, or the job is at work.

    The ceiling is reserved and counts for the job. Raises caps.NotAllowed if that exceeds a limit
    or there is no price.
    """
    asked = [replace(recipe or recipe_of(job), private=tuple(job.private_columns))]
    if also and also != asked[0].model:
        asked.append(replace(asked[0], model=also))

    def plan(first: int) -> list[Trial]:
        return [
            one
            for number, tested in enumerate(asked, start=first)
            for one in trials.plan_trials(job, rows, tested, number)
        ]

    planned = _reserve_trials(job, plan, "rows_tested", user)
    if planned:
        tested = wording.rows(len(planned) // len(asked))
        text = "Testing {} with two models." if len(asked) > 1 else "Testing {}."
        job_log.write(job.pk, text.format(tested), user)
        nudge_worker(job)
    return bool(planned)


def start_comparison(job: Job, rows: list[Row], recipes: Sequence[Recipe], user: User) -> bool:
    """Test the same rows with each of `recipes`, to be compared. False and raises as
    start_trials."""

    def plan(first: int) -> list[Trial]:
        planned = [
            one
            for number, recipe in enumerate(recipes, start=first)
            for one in trials.plan_trials(
                job, rows, replace(recipe, private=tuple(job.private_columns)), number
            )
        ]
        for one in planned:
            one.purpose, one.compared_from = Trial.Purpose.COMPARE, first
        return planned

    planned = _reserve_trials(job, plan, "rows_tested", user)
    if planned:
        text = f"Comparing {len(recipes)} versions on {wording.rows(len(rows))}."
        job_log.write(job.pk, text, user)
        nudge_worker(job)
    return bool(planned)


def ask_for_better_prompt(job: Job, marked: list[MarkedRow], wish: str, user: User) -> bool:
    """Ask Claude for a better prompt, from rows whose answers were marked down. False if there are
    none, a test is still running, or the job is at work. Raises caps.NotAllowed as start_trials
    does."""
    if not marked:
        return False

    def plan(first: int) -> list[Trial]:
        return [improvements.plan_improvement(job, recipe_of(job), marked, wish, first)]

    planned = _reserve_trials(job, plan, "better_prompt_requested", user)
    if planned:
        job_log.write(job.pk, "Asking Claude for a better prompt.", user)
        nudge_worker(job)
    return bool(planned)


def _reserve_trials(
    job: Job, plan: Callable[[int], list[Trial]], event: str, user: User
) -> list[Trial]:
    """Store the tests that `plan` makes for the next round, if nothing is being tested and every
    limit allows them, and record the `event`; none otherwise. Raises caps.NotAllowed."""
    with transaction.atomic():
        allowed, now = caps.lock_caps(), clock.now()
        mine = Job.objects.filter(pk=job.pk, state__in=CAN_TEST, readings=job.readings)
        mine = mine.filter(trashed_at=None, contents_deleted_at=None)
        if not mine.update(next_action_at=clock.now()) or job.trials.pending().exists():
            return []
        last = job.trials.aggregate(last=Max("round"))["last"] or 0
        try:
            planned = plan(last + 1)
        except UnknownPrice as error:
            raise caps.NotAllowed(
                f"There is no price for “{error}”, so the cost of this test is unknown. "
                "Choose another model. Administrators can also enter its price."
            ) from None
        most = dollars(sum(one.most_pico for one in planned))
        used = caps.take_up_by_trial(job, most, allowed, now)
        made = Trial.objects.bulk_create(planned)
        cap_notices.tell_if_near(used, now)
        if made:
            after: dict[str, audit.Value] = {"tests": len(made), "most_usd": format(most, "f")}
            audit.record(event, who=user, job=job.pk, after=after)
        return made


def mark_private(job: Job, names: Collection[str], user: User) -> bool:
    """Mark the columns of a draft that never leave this site: `names`, and no others of its file.
    True if something changed."""
    with transaction.atomic():
        locked = Job.objects.select_for_update().get(pk=job.pk)
        gone = [name for name in locked.private_columns if name not in locked.columns]
        private = [*(name for name in locked.columns if name in names), *gone]
        if private == locked.private_columns:
            return False
        drafts = Job.objects.filter(pk=job.pk, state=Job.State.DRAFT, kind=Job.Kind.TABLE)
        marked = drafts.update(
            private_columns=private, plan_sha256="", changed_by=user, next_action_at=clock.now()
        )
        if marked:
            # Tests that have not been sent may use a column that is private now.
            job.trials.filter(state=Trial.State.WAITING).delete()
            nudge_worker(job)
    return bool(marked)


def choose_rows(job: Job, choice: RowChoice, user: User) -> bool:
    """Choose which rows of a draft are sent; the price follows. True if something changed."""
    if job.row_choice == choice:
        return False
    drafts = Job.objects.filter(pk=job.pk, state=Job.State.DRAFT, kind=Job.Kind.TABLE)
    chosen = drafts.update(
        row_choice=choice, plan_sha256="", changed_by=user, next_action_at=clock.now()
    )
    if chosen:
        nudge_worker(job)
    return bool(chosen)


def save_recipe(job: Job, recipe: Recipe, user: User) -> bool:
    """Save the recipe of a draft and have its price estimated; its private columns stay. True if
    something changed."""
    recipe = replace(recipe, private=tuple(job.private_columns))
    if recipe_of(job) == recipe:
        return False
    return _store_recipe(job, Job.Kind.TABLE, replace(recipe, private=()), user)


def reuse_answers(job: Job, user: User, *, wanted: bool) -> bool:
    """Choose whether a draft of ready-made requests reuses the answers of earlier jobs. True if
    something changed."""
    if job.recipe.only_new == wanted:
        return False
    return _store_recipe(job, Job.Kind.REQUESTS, replace(job.recipe, only_new=wanted), user)


def _store_recipe(job: Job, kind: str, recipe: Recipe, user: User) -> bool:
    drafts = Job.objects.filter(pk=job.pk, state=Job.State.DRAFT, kind=kind)
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


def mark_trial(one: Trial, *, down: bool) -> bool:
    """Mark the answer of a test down, or take that back. False if it already is so."""
    marked = Trial.objects.filter(pk=one.pk, marked_down=not down).update(marked_down=down)
    return bool(marked)


def use_as_example(job: Job, one: Trial, user: User, *, up: bool = True) -> bool:
    """Add a tested row and its answer to the background as an example of a good answer, or remove
    it (not `up`). False if the answer is not good or the job is not a draft."""
    if one.outcome != Outcome.GOOD or job.state != Job.State.DRAFT:
        return False
    if one.practice != settings.PRACTICE:
        return False  # a made-up answer must not get into a real prompt, or the reverse
    recipe = recipe_of(job)
    if {name for name, _cell in one.cells}.intersection(job.private_columns):
        return False  # its cells would leave with the background
    answer = as_written(one.answer_kind, one.answer)
    change = with_example if up else without_example
    system = change(recipe.system, one.cells, answer)
    save_recipe(job, replace(recipe, system=system), user)
    return True
