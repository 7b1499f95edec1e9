"""Tests of a draft: a few rows answered at once, beside their cells."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import groupby
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from ...actions import drafts
from ...drafts import checks, estimates, model_catalog, trials
from ...drafts.price_ranges import PriceRange
from ...models import Job, Outcome, Trial, recipe_of
from ...rules import pricing
from ...rules.answer_formats import COLUMNS, TEXT, as_cell, stored_values
from ...rules.judging import Cause, describe_cause
from ...rules.model_capabilities import EFFORTS, efforts_of
from ...rules.recipes import Recipe, with_rows_of
from ...spending import caps
from ..forms.trials import TrialForm
from .access import find_job, person
from .fragments import reload_page, whole_number

ROUNDS_SHOWN = 10


@dataclass(frozen=True)
class Tested:
    """One row of a test, to be shown."""

    one: Trial
    cells: list[tuple[str, str]]
    values: list[tuple[str, str]]  # of an answer in columns
    cause: Cause | None

    @property
    def is_pending(self) -> bool:
        return self.one.state in (Trial.State.WAITING, Trial.State.SENDING)


@dataclass(frozen=True)
class Round:
    """The rows that were tested together."""

    number: int
    rows: list[Tested]

    @property
    def recipe(self) -> Recipe | None:
        """What was asked; None for a test of an older version."""
        return self.rows[0].one.recipe

    @property
    def practice(self) -> bool:
        return self.rows[0].one.practice

    @property
    def model(self) -> str:
        """The name of the model that was asked."""
        return model_catalog.name_of(self.rows[0].one.model)

    @property
    def effort(self) -> str:
        """How much it was to think, in words; "" for as it does by itself."""
        effort = self.recipe.effort if self.recipe else ""
        return EFFORTS[effort] if effort and effort in efforts_of(self.rows[0].one.model) else ""

    @property
    def cost(self) -> Decimal:
        return sum((tested.one.cost for tested in self.rows), Decimal(0))

    @property
    def is_pending(self) -> bool:
        return any(tested.is_pending for tested in self.rows)

    @property
    def numbers(self) -> set[int]:
        return {tested.one.number for tested in self.rows}

    @property
    def row_numbers(self) -> str:
        return ", ".join(str(tested.one.number) for tested in self.rows)


def trials_context(job: Job) -> dict[str, Any]:
    """All tests, the newest first, and what one row costs at most."""
    rounds = _rounds(job)
    comparable = {
        shown.number: earlier.number
        for at, shown in enumerate(rounds)
        for earlier in reversed(rounds[at + 1 :])
        if shown.numbers & earlier.numbers
    }
    return {
        "trial_form": TrialForm(),
        "rounds": rounds,
        "comparable": comparable,
        "also_open": _with_other_model(rounds),
        "trials_pending": any(shown.is_pending for shown in rounds),
        **trial_hint(job),
    }


def _with_other_model(rounds: list[Round]) -> int:
    """The number of the test before the newest if it asked another model the same; else 0."""
    if len(rounds) < 2:
        return 0
    newest, before = rounds[0].recipe, rounds[1].recipe
    same = newest and before and replace(newest, model=before.model) == before != newest
    return rounds[1].number if same and rounds[0].numbers == rounds[1].numbers else 0


def _rounds(job: Job) -> list[Round]:
    """All tests, the newest first."""
    newest = job.trials.defer("params")[: ROUNDS_SHOWN * trials.MOST_ROWS]
    return [
        Round(number, [_tested(one) for one in together])
        for number, together in groupby(newest, key=lambda one: one.round)
    ][:ROUNDS_SHOWN]


def trial_hint(job: Job) -> dict[str, Any]:
    """Whether a draft can be tested, and what that costs a row, with each model."""
    names = {offer.id: offer.name for offer in model_catalog.list_models() if offer.has_price}
    prices = _prices_of_a_row(job, list(names))
    own = prices.pop(job.recipe.model, None)
    others = sorted(prices.items(), key=lambda pair: pair[1])
    named = [(names[model], price) for model, price in others]
    return {
        "can_test": not checks.problems(job),
        "trial_price": own if named else None,
        "cheapest_other": named[0] if named else None,
        "dearest_other": named[-1] if named else None,
    }


def _tested(one: Trial) -> Tested:
    in_columns = one.answer_kind.kind == COLUMNS and one.outcome == Outcome.GOOD
    return Tested(
        one,
        [(name, cell[:500]) for name, cell in one.cells],
        _values(one) if in_columns else [],
        describe_cause(one.cause) if one.cause else None,
    )


def _values(one: Trial) -> list[tuple[str, str]]:
    return [(name, as_cell(value)) for name, value in stored_values(one.answer).items()]


def _prices_of_a_row(job: Job, models: list[str]) -> dict[str, Decimal]:
    """About the most that one row costs at the normal rate, by model; none while there is no
    estimate."""
    estimate = estimates.current(job)
    if estimate is None or estimate.trouble or not estimate.rows:
        return {}
    recipes = [replace(recipe_of(job), model=model) for model in models]
    found = zip(models, estimates.price_recipes(job, estimate, recipes), strict=True)
    return {
        model: prices.most / pricing.BATCH / prices.rows
        for model, prices in found
        if prices and prices.rows
    }


@require_POST
def start_trials(request: HttpRequest, pk: int) -> HttpResponse:
    """`count` rows, `which`: "first" or "random"; or `numbers`: these rows. `also`: another model
    that answers them, too."""
    job = find_job(request, pk)
    form = TrialForm(request.POST)
    if job.state != Job.State.DRAFT or job.kind != Job.Kind.TABLE:
        return _answer(request, job)
    if not form.is_valid():
        errors = " ".join(str(error) for errors in form.errors.values() for error in errors)
        return _answer(request, job, errors)
    if checks.problems(job):
        return _answer(request, job, "Finish the prompt first.")
    if not_there := form.not_there(job):
        words = f"There is no row {not_there[0]:,}: your file has {job.row_count:,}."
        return _answer(request, job, words)
    rows = form.rows(job)
    if not rows:
        return _answer(request, job, "None of these rows can be sent.")
    try:
        asked = drafts.start_trials(job, rows, person(request), form.cleaned_data["also"])
    except caps.NotAllowed as why:
        return _answer(request, job, str(why))
    if not asked:
        words = (
            "Nothing was asked: the last try is not over, or the prompt is empty for these rows."
        )
        return _answer(request, job, words)
    return _answer(request, job)


@require_safe
def show(request: HttpRequest, pk: int) -> HttpResponse:
    """The tests as a part of the draft's page; it comes back until all answers are there."""
    job = find_job(request, pk)
    answer = _answer(request, job)
    if not job.trials.pending().exists():
        answer.headers["HX-Trigger"] = "tried"  # the price may have learned from it
    return answer


@require_POST
def use(request: HttpRequest, pk: int, number: int) -> HttpResponse:
    """Continue with the prompt and settings of test `number`."""
    job = find_job(request, pk)
    if drafts.use_tested_recipe(job, number, person(request)):
        messages.success(request, f"Prompt and settings are those of try {number} again.")
    return redirect("job", job.pk)


@require_POST
def example(request: HttpRequest, pk: int, trial_pk: int) -> HttpResponse:
    """Put a tested row and its answer into the background."""
    job = find_job(request, pk)
    one = get_object_or_404(job.trials, pk=trial_pk)
    if drafts.use_as_example(job, one, person(request)):
        words = f"Row {one.number:,} and its answer are an example in the instructions now."
        messages.success(request, words)
    return redirect(f"{reverse('job', args=[job.pk])}#instructions")


@dataclass(frozen=True)
class Pair:
    """The answers to one row in two tests."""

    first: Tested
    second: Tested

    @property
    def agree(self) -> bool:
        both = self.first.one, self.second.one
        return all(one.outcome == Outcome.GOOD for one in both) and both[0].answer == both[1].answer


@require_safe
def compare(request: HttpRequest, pk: int) -> HttpResponse:
    """Two tests side by side, on the rows that are in both: `first` and `second` are their numbers;
    without them the newest two that can be compared."""
    job = find_job(request, pk)
    context = trials_context(job)
    rounds = {shown.number: shown for shown in context["rounds"]}
    if not context["comparable"]:
        messages.info(request, "There are no two tries of the same rows to compare.")
        return redirect("job", job.pk)
    newest = max(context["comparable"])
    second = rounds.get(whole_number(request.GET.get("second")), rounds[newest])
    usual = context["comparable"].get(second.number, newest)
    first = rounds.get(whole_number(request.GET.get("first")), rounds[usual])
    in_second = {tested.one.number: tested for tested in second.rows}
    pairs = [
        Pair(tested, in_second[tested.one.number])
        for tested in first.rows
        if tested.one.number in in_second
    ]
    return render(
        request,
        "draft/compare.html",
        {
            "job": job,
            "rounds": sorted(rounds.values(), key=lambda shown: shown.number),
            "both": _priced(job, [first, second]),
            "pairs": pairs,
            "agreeing": sum(pair.agree for pair in pairs),
            "by_column": _agreement(pairs),
            "is_free_text": first.rows[0].one.answer_kind.kind == TEXT,
        },
    )


def _agreement(pairs: list[Pair]) -> list[tuple[str, int]]:
    """Of answers in several columns: how many rows have the same in each of them."""
    same: Counter[str] = Counter()
    for pair in pairs:
        both = dict(pair.first.values), dict(pair.second.values)
        for name in both[0].keys() & both[1].keys():
            same[name] += both[0][name] == both[1][name]
    names = [name for pair in pairs for name, _cell in pair.first.values]
    return [(name, same[name]) for name in dict.fromkeys(names) if name in same]


def _priced(job: Job, both: list[Round]) -> list[tuple[Round, PriceRange | None]]:
    """Each with about what the whole job would cost so."""
    estimate = estimates.current(job)
    known = [with_rows_of(recipe_of(job), shown.recipe) for shown in both if shown.recipe]
    if estimate is None or estimate.trouble or len(known) < len(both):
        return [(shown, None) for shown in both]
    return list(zip(both, estimates.price_recipes(job, estimate, known), strict=True))


def _answer(request: HttpRequest, job: Job, error: str = "") -> HttpResponse:
    if request.headers.get("HX-Request"):
        if job.state != Job.State.DRAFT:
            return reload_page()
        context = {"job": job, "trial_error": error, **trials_context(job)}
        return render(request, "draft/_trials.html", context)
    if error:
        messages.error(request, error)
    return redirect("job", job.pk)
