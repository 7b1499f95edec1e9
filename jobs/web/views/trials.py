"""Tests of a draft: a few rows answered at once, beside their cells."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from ...actions import drafts
from ...drafts import checks, estimates
from ...drafts.price_ranges import PriceRange
from ...models import Job, Outcome, recipe_of
from ...results import accuracy
from ...rules.answer_formats import TEXT
from ...rules.recipes import with_rows_of
from ...spending import caps
from ..forms.trials import TrialForm
from .access import find_job, person
from .fragments import reload_page, whole_number
from .tested_rows import Round, Tested, trials_context


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
            "Nothing was sent: the last test is still running, or the prompt is empty for these "
            "rows."
        )
        return _answer(request, job, words)
    return _answer(request, job)


@require_safe
def show(request: HttpRequest, pk: int) -> HttpResponse:
    """All tests as a page; for htmx the grid of the draft, which comes back until all answers are
    there."""
    job = find_job(request, pk)
    if job.kind != Job.Kind.TABLE:
        return redirect("job", job.pk)
    if not request.headers.get("HX-Request"):
        return render(request, "draft/tests.html", {"job": job, **trials_context(job)})
    answer = _answer(request, job)
    if not job.trials.pending().exists():
        answer.headers["HX-Trigger"] = "tested"  # the price may have learned from it
    return answer


@require_POST
def use(request: HttpRequest, pk: int, number: int) -> HttpResponse:
    """Continue with the prompt and settings of test `number`."""
    job = find_job(request, pk)
    if drafts.use_tested_recipe(job, number, person(request)):
        messages.success(request, f"The prompt and settings of test {number} are back.")
    return redirect("job", job.pk)


@require_POST
def example(request: HttpRequest, pk: int, trial_pk: int) -> HttpResponse:
    """Put a tested row and its answer into the background, or remove it (`up`: "yes" or "no")."""
    job = find_job(request, pk)
    one = get_object_or_404(job.trials, pk=trial_pk)
    up = request.POST.get("up") != "no"
    if drafts.use_as_example(job, one, person(request), up=up):
        words = "are now an example" if up else "are no longer an example"
        messages.success(request, f"Row {one.number:,} and its answer {words} in the background.")
    # The page is loaded anew, and the focus returns to the thumb.
    return redirect(f"{reverse('job', args=[job.pk])}#up-{one.pk}")


@require_POST
def mark(request: HttpRequest, pk: int, trial_pk: int) -> HttpResponse:
    """Mark an answer down, or take that back (`down`: "yes" or "no")."""
    job = find_job(request, pk)
    one = get_object_or_404(job.trials, pk=trial_pk)
    drafts.mark_trial(one, down=request.POST.get("down") == "yes")
    return _answer(request, job)


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
        messages.info(request, "There are no two tests of the same rows to compare.")
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
            "both": [
                (shown, prices, _right_in_words(job, shown))
                for shown, prices in _priced(job, [first, second])
            ],
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


def _right_in_words(job: Job, shown: Round) -> str:
    """ "8 of 10 right"; "" where there is nothing to compare with."""
    gold = accuracy.find_gold(job)
    if gold is None or accuracy.is_hidden(job, gold.choice):
        return ""
    trials = [tested.one for tested in shown.rows]
    good = {one.number for one in trials if one.outcome == Outcome.GOOD}
    match = accuracy.compare_trials(job, gold.choice, trials)
    found = [right for number, right in match.items() if number in good and right is not None]
    return f"{sum(found)} of {len(found)} right" if found else ""


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
        return render(request, "draft/_tested.html", context)
    if error:
        messages.error(request, error)
    return redirect(f"{reverse('job', args=[job.pk])}#tests")
