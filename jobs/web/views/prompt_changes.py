"""Change the prompt for some rows of a finished job: write it, see and test it, then its price."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from ...actions import drafts
from ...drafts import model_catalog
from ...models import Job, Row, recipe_of_round
from ...retries import measurements, rounds, selection
from ...retries.selection import EDITED, FOR_NOW
from ...rules import column_matching, recipes
from ...rules.judging import describe_cause
from ...rules.recipes import Recipe
from ...rules.retry_choices import RetryChoice
from ...spending import caps
from ..forms.retries import AskForm
from .access import person
from .problems import find_sent_job, show_plan
from .requests import filled_texts
from .test_prices import higher_price, most_of_a_test
from .tested_rows import Compared, Round, list_rounds

TESTED = 3  # rows of the group, before all of them are sent
LOOKED_AT = 20  # rows, to find some that can be tested
BUSY = "Nothing was sent: an earlier test is still running, or these rows have no text to send."


@require_http_methods(["GET", "HEAD", "POST"])
def change_prompt(request: HttpRequest, pk: int, which: str) -> HttpResponse:
    """The editor for the prompt of the rows with one cause, or EDITED. POST, by `do`: "preview"
    one of these rows, "test" a few of them, or else show what sending all of them costs."""
    job = find_sent_job(request, pk, which)
    count, others = selection.count_for_retry(job, which)
    if not rounds.can_change_prompt(job) or not count:
        return redirect("problems", pk)
    before = rounds.changed_recipe(job, RetryChoice(which))
    rows = _rows_to_test(job, which)
    if request.method == "GET":
        newest = _newest_test(job, rows)
        form = AskForm(initial=_as_initial(job, before, newest))
        return _show(request, job, form, which, before=before, rows=rows, count=(count, others))
    form = AskForm(request.POST)
    do = request.POST.get("do")
    if form.is_valid():
        choice = form.again(which, before)
        recipe = rounds.changed_recipe(job, choice)
        form.add_problems(_problems(recipe, job.columns))
        if do == "test" and not form.errors:
            trouble = higher_price(request, job, rows, recipe)
            if trouble := trouble or _test(request, job, rows, recipe):
                form.add_error(None, trouble)
            else:
                return redirect(f"{request.path}#tests")
        elif do != "preview" and not form.errors:
            try:
                return show_plan(request, job, rounds.make_plan(job, choice))
            except measurements.CannotRetry as why:
                form.add_error(None, str(why))
    return _show(request, job, form, which, before=before, rows=rows, count=(count, others))


def _rows_to_test(job: Job, which: str) -> list[Row]:
    """The first of these rows, as they would be sent: with their edits. Not stored rows, but ones
    that can be tested."""
    found = list(selection.retry_rows(job, which).in_order()[:LOOKED_AT])
    edits = job.edits.filter(number__in=[row.number for row in found])
    sources = dict(edits.values_list("number", "source")) if which == EDITED else {}
    rows = [Row(number=row.number, source=sources.get(row.number, row.source)) for row in found]
    return [row for row in rows if len(row.content) == len(job.columns)][:TESTED]


def _newest_test(job: Job, rows: list[Row]) -> Round | None:
    """The newest test, if it was of these rows and since the job has finished."""
    newest = next(iter(list_rounds(job)), None)
    if newest is None or newest.recipe is None or job.finished_at is None:
        return None
    is_later = newest.rows[0].one.asked_at >= job.finished_at
    return newest if is_later and newest.numbers <= {row.number for row in rows} else None


def _as_initial(job: Job, before: Recipe, newest: Round | None) -> dict[str, object]:
    # A prompt that was written for one group is offered for the next.
    shown = recipe_of_round(job, job.last_round) if rounds.lacks_prompt(job, before) else before
    if newest and newest.recipe:
        shown = newest.recipe
    return {
        "prompt": shown.prompt,
        "system": shown.system,
        "model": shown.model,
        "max_tokens": shown.max_tokens or None,
    }


def _problems(recipe: Recipe, columns: list[str]) -> dict[str, list[str]]:
    """Why `recipe` cannot be sent, as sentences by field."""
    found = recipes.field_problems(recipe, columns)
    return {**found, "model": model_catalog.model_problems(recipe.model)}


def _test(request: HttpRequest, job: Job, rows: list[Row], recipe: Recipe) -> str:
    """Start a test; why that is impossible, or ""."""
    try:
        started = drafts.start_trials(job, rows, person(request), recipe=recipe)
    except caps.NotAllowed as why:
        return str(why)
    return "" if started else BUSY


def _show(
    request: HttpRequest,
    job: Job,
    form: AskForm,
    which: str,
    *,
    before: Recipe,
    rows: list[Row],
    count: tuple[int, int],
) -> HttpResponse:
    typed = form.as_typed(before)
    missing = column_matching.missing_columns(typed, job.columns)
    spare = column_matching.spare_columns(typed, job.columns) if missing else []
    context: dict[str, Any] = {
        "job": job,
        "form": form,
        "columns": job.columns,
        "private_columns": job.private_columns,
        "field_problems": form.errors,
        "likely_columns": list(column_matching.likely_columns(missing, spare).items()),
        **_preview(job, rows, typed),
        **_tests(job, rows, typed),
    }
    if request.POST.get("do") == "preview" and request.headers.get("HX-Request"):
        return render(request, "problems/_ask_preview.html", {**context, "answering": True})
    context |= {
        "count": count[0],
        "others": count[1],  # these had another prompt, so they come after those
        "cause": None if which in (EDITED, FOR_NOW) else describe_cause(which),
        "is_edited": which == EDITED,
        "is_unknown": rounds.lacks_prompt(job, before),
        "answer": before.answer,
        "before": before,
    }
    return render(
        request, "problems/change_prompt.html", context, status=422 if form.errors else 200
    )


def _preview(job: Job, rows: list[Row], recipe: Recipe) -> dict[str, Any]:
    """The first of the rows, as Claude will read it."""
    if not rows:
        return {"preview_texts": []}
    return {"preview_texts": filled_texts(job, rows[0], recipe), "preview_row": rows[0]}


def _tests(job: Job, rows: list[Row], recipe: Recipe) -> dict[str, Any]:
    """The newest test of these rows beside their answers so far, and what one more costs."""
    # Looked at first: what is answered after this is found by the next look.
    is_pending = job.trials.pending().exists()
    newest = _newest_test(job, rows)
    return {
        "test_count": len(rows),
        "test_most": most_of_a_test(job, rows, recipe),
        "is_pending": is_pending,
        "newest": newest,
        "compared": _compared(job, newest) if newest else [],
    }


def _compared(job: Job, newest: Round) -> list[Compared]:
    """Each tested row with what it came to in the job."""
    earlier = {row.number: row for row in job.rows.filter(number__in=newest.numbers)}
    found = []
    for tested in newest.rows:
        row = earlier.get(tested.one.number)
        trouble = describe_cause(row.cause).title if row and row.cause else ""
        found.append(Compared(row.answer if row else "", trouble, tested))
    return found
