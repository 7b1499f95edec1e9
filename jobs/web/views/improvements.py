"""A better prompt: Claude suggests one from the rows that were marked down; a person tests it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from ...actions import drafts
from ...drafts import checks, improvements
from ...drafts.improvements import MarkedRow, Suggestion
from ...models import Job, Outcome, Row, Trial, dollars, recipe_of
from ...retries import rounds
from ...retries.marked_rows import good_rows, marked_rows
from ...rules.judging import MARKED_DOWN
from ...rules.pricing import UnknownPrice
from ...rules.recipes import Recipe
from ...rules.text_changes import Piece, compare_texts
from ...spending import caps
from ..forms.improvements import ImproveForm, SuggestionForm
from .access import find_job_to_change, person
from .test_prices import higher_price, most_of_a_test
from .tested_rows import Compared, Tested, list_rounds


@require_http_methods(["GET", "HEAD", "POST"])
def improve(request: HttpRequest, pk: int) -> HttpResponse:
    """GET shows the marked rows, then the suggestion, then its test. POST, by `do`: "ask" Claude;
    "test" the suggestion as it was edited; "use" it; or "drop" it."""
    job = find_job_to_change(request, pk)
    if job.kind != Job.Kind.TABLE or job.state not in drafts.CAN_TEST or job.is_external:
        return redirect("job", pk)
    if request.method == "POST":
        return _do(request, job)
    return render(request, "improve/page.html", _context(job))


def _context(job: Job) -> dict[str, Any]:
    # Looked at first: what is answered after this is found by the next look.
    is_pending = job.trials.pending().exists()
    asked = _open_request(job)
    suggestion = improvements.read_suggestion(asked) if asked else None
    marked = marked_rows(job)
    context: dict[str, Any] = {
        "job": job,
        "marked": marked,
        "ask_most": _ask_most(job, marked),
        "asked": asked,
        "is_pending": is_pending,
        "suggestion": suggestion,
        "form": ImproveForm(),
        "problems": checks.problems(job) if job.state == Job.State.DRAFT else [],
    }
    if asked and suggestion and asked.recipe:
        context |= _suggested(job, asked, suggestion, asked.recipe)
    return context


def _ask_most(job: Job, marked: list[MarkedRow]) -> Decimal | None:
    """What asking costs at most, in US dollars; None if the model has no price."""
    try:
        return dollars(improvements.plan_improvement(job, recipe_of(job), marked, "", 1).most_pico)
    except UnknownPrice:
        return None


def _open_request(job: Job) -> Trial | None:
    """The newest request for a better prompt, unless what it brought was dropped or is used."""
    asked = job.trials.of_prompts().first()
    return None if asked is None or asked.marked_down else asked


def _suggested(job: Job, asked: Trial, suggestion: Suggestion, before: Recipe) -> dict[str, Any]:
    tests = [one for one in list_rounds(job) if one.number > asked.round and one.recipe]
    newest = tests[0] if tests else None
    shown = newest.recipe if newest and newest.recipe else suggestion.recipe
    problems = checks.recipe_problems(shown, job.columns)
    rows = _rows_to_test(job)
    return {
        "changes": _changes(before, shown),
        "edit": SuggestionForm(initial={"prompt": shown.prompt, "system": shown.system}),
        "shown_recipe": shown,
        "suggestion_problems": problems,
        "test_count": len(rows),
        "test_most": most_of_a_test(job, rows, shown),
        "retested": _retested(job, newest.rows) if newest else [],
        "retest": newest,
        "can_use_in_job": job.state == Job.State.DRAFT,
        "can_retry": job.state == Job.State.FINISHED and rounds.can_change_prompt(job),
        "which": MARKED_DOWN,
    }


def _changes(before: Recipe, after: Recipe) -> list[tuple[str, list[Piece]]]:
    texts = [
        ("Prompt", before.prompt, after.prompt),
        ("Background", before.system, after.system),
    ]
    return [(title, compare_texts(old, new)) for title, old, new in texts if old or new]


def _rows_to_test(job: Job) -> list[Row]:
    numbers = [row.number for row in marked_rows(job)] + good_rows(job)
    return list(job.rows.filter(number__in=numbers).in_order())


def _retested(job: Job, rows: list[Tested]) -> list[Compared]:
    """The rows of a test, with the answers that they had before: the marked ones first."""
    marked: dict[int, MarkedRow] = {row.number: row for row in marked_rows(job)}
    numbers = [tested.one.number for tested in rows]
    before = dict(job.rows.filter(number__in=numbers).values_list("number", "answer"))
    earlier = job.trials.of_rows().filter(number__in=numbers, outcome=Outcome.GOOD)
    for number, answer in earlier.filter(round__lt=rows[0].one.round).values_list(
        "number", "answer"
    ):
        before[number] = before.get(number) or answer
    found = [
        Compared(
            marked[number].answer if number in marked else before.get(number, ""),
            "Not good" if number in marked else "",
            tested,
        )
        for number, tested in zip(numbers, rows, strict=True)
    ]
    return sorted(found, key=lambda one: not one.trouble)


def _do(request: HttpRequest, job: Job) -> HttpResponse:
    do = request.POST.get("do")
    try:
        if do == "ask":
            _ask(request, job)
        elif do == "test":
            if why := _test(request, job):
                return _show_again(request, job, why)
        elif do == "use":
            return _use(request, job)
        elif do == "drop" and (asked := _open_request(job)):
            drafts.mark_trial(asked, down=True)
            messages.success(request, "The suggestion was dropped. Your prompt is unchanged.")
            return redirect("job", job.pk)
    except caps.NotAllowed as refused:
        if do == "test":
            return _show_again(request, job, str(refused))
        messages.error(request, str(refused))
    return redirect("improve", job.pk)


def _ask(request: HttpRequest, job: Job) -> None:
    form = ImproveForm(request.POST)
    wish = form.cleaned_data["wish"] if form.is_valid() else ""
    if not drafts.ask_for_better_prompt(job, marked_rows(job), wish, person(request)):
        messages.info(request, "Nothing was sent: no row is marked, or a test is still running.")


def _edited(request: HttpRequest, job: Job) -> Recipe | None:
    """The suggestion as it was edited on the page; None if there is no suggestion."""
    asked, form = _open_request(job), SuggestionForm(request.POST)
    if asked is None or asked.recipe is None or not form.is_valid():
        return None
    texts = form.texts()
    return replace(asked.recipe, prompt=texts["prompt"], system=texts["system"])


def _test(request: HttpRequest, job: Job) -> str:
    """Start a test of the suggestion as it was edited; why that is impossible, or ""."""
    recipe, rows = _edited(request, job), _rows_to_test(job)
    if recipe is None:
        return "Write a prompt first."
    if problems := checks.recipe_problems(recipe, job.columns):
        return " ".join(problems)
    if why := higher_price(request, job, rows, recipe):
        return why
    started = drafts.start_trials(job, rows, person(request), recipe=recipe)
    return "" if started else "Nothing was sent: an earlier test is still running."


def _show_again(request: HttpRequest, job: Job, why: str) -> HttpResponse:
    """The page with the texts as they were typed."""
    messages.warning(request, why)
    context, recipe = _context(job), _edited(request, job)
    if recipe is not None:
        texts = {"prompt": recipe.prompt, "system": recipe.system}
        most = most_of_a_test(job, _rows_to_test(job), recipe)
        context |= {"edit": SuggestionForm(initial=texts), "test_most": most, "is_edited": True}
    return render(request, "improve/page.html", context, status=422)


def _use(request: HttpRequest, job: Job) -> HttpResponse:
    """Only in a draft: the rows of a sent job are retried, on the page that shows the price."""
    asked, recipe = _open_request(job), _edited(request, job)
    if asked is None or recipe is None or job.state != Job.State.DRAFT:
        return redirect("improve", job.pk)
    if problems := checks.recipe_problems(recipe, job.columns):
        return _show_again(request, job, " ".join(problems))
    now = recipe_of(job)
    drafts.save_recipe(
        job, replace(now, prompt=recipe.prompt, system=recipe.system), person(request)
    )
    drafts.mark_trial(asked, down=True)
    messages.success(request, "This job now uses the new prompt.")
    return redirect("job", job.pk)
