"""Several models or prompts tested on the same rows of a draft, and the table that says which is
enough."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from ...actions import drafts
from ...drafts import checks, estimates, model_catalog, trials
from ...models import GoldStandard, Job, Row, dollars, recipe_of
from ...results import accuracy, versions
from ...results.review_sample import format_percent
from ...results.versions import Version, VersionComparison
from ...rules import pricing
from ...rules.pricing import UnknownPrice, format_dollars
from ...rules.recipes import Recipe, with_rows_of
from ...spending import caps
from ..forms.comparisons import ComparisonForm
from ..templatetags.show import at_most
from .access import find_job, person
from .fragments import Part, answer, make_part
from .test_prices import covers, seen_price

LOOK_SECONDS = 2
PROMPTS_SHOWN, PROMPT_SHOWN = 6, 60  # prompts to choose from, and characters of each
SECONDS_A_ROW = 4  # of one test, about


@dataclass(frozen=True)
class PlannedVersion:
    """One way to ask, with its price for the chosen rows, in US dollars."""

    model: str
    prompt: int
    expected: Decimal | None
    most: Decimal


@dataclass(frozen=True)
class ShownVersion:
    """A line of the table."""

    version: Version
    name: str
    share: str  # "92%"; "" without a right answer
    likely: str  # "83–97%"
    cost: str
    is_chosen: bool
    is_as_good: bool


@require_http_methods(["GET", "HEAD", "POST"])
def compare_versions(request: HttpRequest, pk: int) -> HttpResponse:
    """GET with `rows`, `which`, `model`, `prompt` says what the test costs; POST with these and
    the most that was `seen` runs it."""
    job = find_job(request, pk)
    if job.kind != Job.Kind.TABLE or (job.state != Job.State.DRAFT and not job.was_sent):
        return redirect("job", pk)
    gold = accuracy.find_gold(job)
    part = _results(request, job, gold)
    if request.headers.get("HX-Request") and request.method != "POST":
        return answer(request, part)
    prompts = _prompts(job) if job.state == Job.State.DRAFT else []
    given = request.POST if request.method == "POST" else request.GET
    options: dict[str, Any] = {
        "prompts": [(number, _in_short(one)) for number, one in enumerate(prompts, start=1)],
        "has_gold": gold is not None,
    }
    form = ComparisonForm(given, **options) if "rows" in given else None
    priced: dict[str, Any] = {}
    if form and form.is_valid() and job.state == Job.State.DRAFT:
        rows = _rows(job, gold, form.cleaned_data)
        asked = _asked(prompts, form.cleaned_data)
        trouble = "" if rows else "None of these rows can be sent."
        for _prompt, recipe in asked:
            trouble = trouble or " ".join(checks.recipe_problems(recipe, job.columns)[:1])
        if not trouble:
            try:
                priced = _priced(job, rows, asked)
            except UnknownPrice as error:
                trouble = f"There is no price for “{error}”. Choose another model."
        if trouble:
            form.add_error(None, trouble)
        elif request.method == "POST":
            return _start(request, job, rows, [one for _prompt, one in asked], priced["most"])
    initial = {"model": [recipe_of(job).model], "prompt": [1], "rows": 50}
    context = {
        "job": job,
        "gold": gold,
        "form": form or ComparisonForm(initial=initial, **options),
        "can_start": job.state == Job.State.DRAFT and bool(prompts),
        "pending": job.trials.pending().exists(),
        "part": part,
        "seen": accuracy.columns_that_claude_sees(job, gold.choice) if gold else [],
        **priced,
    }
    return render(request, "accuracy/versions.html", context)


def _prompts(job: Job) -> list[Recipe]:
    """The present prompt and those of earlier tests, each once; none while it is unfinished."""
    own = recipe_of(job)
    if checks.problems(job):
        return []
    newest = job.trials.of_rows().exclude(recipe={}).order_by("-round", "number")
    tested = [one.recipe for one in newest.only("recipe", "job_id")[: PROMPTS_SHOWN * 10]]
    found: dict[tuple[object, ...], Recipe] = {}
    for one in [own, *(with_rows_of(own, recipe) for recipe in tested if recipe)]:
        found.setdefault((one.prompt.strip(), one.system.strip(), one.answer), one)
    return list(found.values())[:PROMPTS_SHOWN]


def _in_short(recipe: Recipe) -> str:
    text = " ".join(recipe.prompt.split())
    return text if len(text) <= PROMPT_SHOWN else f"{text[:PROMPT_SHOWN]}…"


def _rows(job: Job, gold: GoldStandard | None, given: dict[str, Any]) -> list[Row]:
    if given["which"] == "gold" and gold:
        return versions.rows_with_gold(job, gold.choice, given["rows"])
    return trials.choose_rows(job, given["rows"], at_random=False)


def _asked(prompts: list[Recipe], given: dict[str, Any]) -> list[tuple[int, Recipe]]:
    """Each version, with the number of its prompt. The chosen models are in their order."""
    return [
        (number, replace(prompts[number - 1], model=model))
        for number in given["prompt"]
        for model in given["model"]
    ]


def _priced(job: Job, rows: list[Row], asked: list[tuple[int, Recipe]]) -> dict[str, Any]:
    """About what the test costs, and at most. Raises UnknownPrice."""
    estimate = estimates.current(job)
    known = estimate if estimate and not estimate.trouble and estimate.rows else None
    recipes = [recipe for _prompt, recipe in asked]
    ranges = estimates.price_recipes(job, known, recipes) if known else [None] * len(asked)
    planned = []
    for (prompt, recipe), price in zip(asked, ranges, strict=True):
        some = trials.plan_trials(job, rows, recipe, 0)
        most = dollars(sum(one.most_pico for one in some))
        each = price.expected / pricing.BATCH / price.rows if price and price.rows else None
        expected = None if each is None else min(each * len(some), most)
        planned.append(PlannedVersion(model_catalog.name_of(recipe.model), prompt, expected, most))
    guesses = [one.expected for one in planned if one.expected is not None]
    return {
        "planned": planned,
        "chosen_rows": len(rows),
        "expected": sum(guesses, Decimal(0)) if len(guesses) == len(planned) else None,
        "most": sum((one.most for one in planned), Decimal(0)),
        "minutes": max(round(len(rows) * len(planned) * SECONDS_A_ROW / 60), 1),
    }


def _start(
    request: HttpRequest, job: Job, rows: list[Row], recipes: list[Recipe], most: Decimal
) -> HttpResponse:
    address = reverse("compare_versions", args=[job.pk])
    if not covers(seen_price(request), most):
        words = f"Nothing was sent. This test now costs {at_most(most)}. Check the price again."
        messages.warning(request, words)
        return redirect(address)
    try:
        started = drafts.start_comparison(job, rows, recipes, person(request))
    except caps.NotAllowed as why:
        messages.warning(request, f"Nothing was sent. {why}")
        return redirect(address)
    if not started:
        messages.info(request, "Nothing was sent: another test is still running.")
    return redirect(address)


# --- What came of it ------------------------------------------------------------------------------


def _results(request: HttpRequest, job: Job, gold: GoldStandard | None) -> Part:
    choice = gold.choice if gold and not accuracy.is_hidden(job, gold.choice) else None
    found = versions.list_comparisons(job, choice)
    context = {
        "job": job,
        "gold": gold,
        "comparisons": [(one, _lines(one), conclusion(one)) for one in found],
    }
    return make_part(
        request,
        "versions",
        "accuracy/_versions.html",
        context,
        url=reverse("compare_versions", args=[job.pk]),
        seconds=LOOK_SECONDS if any(one.is_pending for one in found) else None,
    )


def _lines(found: VersionComparison) -> list[ShownVersion]:
    several = len(set(found.prompts.values())) > 1
    lines = []
    for at, one in enumerate(found.versions):
        name = _name(found, at, several=several)
        share = format_percent(one.correct / one.compared) if one.compared else ""
        least, most = map(format_percent, one.bounds)
        likely = f"{least.rstrip('%')}\N{EN DASH}{most}"
        cost = format_dollars(one.cost_of_1000) if one.rows > one.pending else ""
        chosen, as_good = at == found.cheapest, at in found.as_good
        lines.append(ShownVersion(one, name, share, likely, cost, chosen, as_good))
    return lines


def _name(found: VersionComparison, at: int, *, several: bool) -> str:
    one = found.versions[at]
    model = model_catalog.name_of(one.model)
    return f"{model}, prompt {found.prompts[one.round]}" if several else model


def conclusion(found: VersionComparison) -> str:
    """Which version to use, as a sentence; "" while that is not known."""
    if found.best is None or found.cheapest is None:
        return ""
    several = len(set(found.prompts.values())) > 1
    cheapest, best = (_name(found, at, several=several) for at in (found.cheapest, found.best))
    one = found.versions[found.cheapest]
    cost = f"{format_dollars(one.cost_of_1000)} for 1,000 rows"
    if found.cheapest == found.best:
        others = [at for at, other in enumerate(found.versions) if other.cost < one.cost]
        why = "No cheaper version is as good." if others else "It is also the cheapest."
        return f"{best} is the best, at {cost}. {why}"
    return f"{cheapest} is the cheapest that is as good as {best}, at {cost}."
