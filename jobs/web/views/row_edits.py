"""Edit the cells of a row that has no good answer, with a look at what Claude will read."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods

from ...actions import retries
from ...models import Job, Row, recipe_of_round
from ...retries import edits as editing
from ...retries import rounds
from ...rules import recipes
from ...rules.judging import describe_cause
from ...worker import row_changes
from .access import person
from .fragments import whole_number
from .problems import find_sent_job, say_busy
from .requests import filled_texts

MOST_CELLS = 100  # of a row that is edited in the page
LOOKED_AT = 200  # rows, to find the next one that was not edited yet


@require_http_methods(["GET", "HEAD", "POST"])
def edit_row(request: HttpRequest, pk: int, number: int) -> HttpResponse:
    """The cells of a row without a good answer, those that the prompt uses first. POST saves them,
    with `next` goes on to the next row with the same cause, and with `preview` only shows what
    Claude will read."""
    job = find_sent_job(request, pk)
    if job.kind != Job.Kind.TABLE:
        raise Http404
    row = get_object_or_404(job.rows, number=number)
    if job.masked:
        messages.info(request, "This job has private columns, so only its owner can edit rows.")
        return redirect("row", pk, number)
    if row_changes.find_change(job):
        return say_busy(request, job)
    if not editing.editable_rows(job).filter(pk=row.pk).exists():
        messages.info(request, editing.why_not_editable(job, row))
        return redirect("row", pk, number)
    waiting = job.edits.filter(number=number).first()
    cells: list[str] = Row(source=waiting.source).content if waiting else row.content
    width = len(job.columns)
    cells, beyond = [*cells, *[""] * (width - len(cells))][:width], cells[width:]
    used, others = _places(job, row)
    if request.method == "POST":
        cells = _changed(request, cells, used + others)
        if "preview" not in request.POST:
            return _save(request, job, row, cells)
        if request.headers.get("HX-Request"):
            return render(request, "problems/_edit_preview.html", _preview(job, row, cells))
    context = {
        "job": job,
        "row": row,
        "used": [(at, job.columns[at], cells[at]) for at in used],
        "others": [(at, job.columns[at], cells[at]) for at in others],
        "hidden": len(cells) - len(used) - len(others),
        "beyond": beyond,
        "cause": describe_cause(row.cause) if row.cause else None,
        "next_row": _next_row(job, row),
        **_preview(job, row, cells),
    }
    return render(request, "problems/edit_row.html", context)


def _changed(request: HttpRequest, cells: list[str], shown: list[int]) -> list[str]:
    """`cells` with what was typed for the columns that are `shown`. `place`: the number of each
    column from 0; without them the order is that of the file."""
    given, order = request.POST.getlist("cell"), sorted(shown)
    places = [whole_number(text, -1) for text in request.POST.getlist("place")] or order
    if sorted(places) != order or len(given) != len(places):
        raise Http404
    typed = dict(zip(places, given, strict=True))
    return [_as_it_was(typed.get(at, old), old) for at, old in enumerate(cells)]


def _save(request: HttpRequest, job: Job, row: Row, cells: list[str]) -> HttpResponse:
    retries.note_changer(job, person(request))
    if editing.edit_row(row, cells):
        messages.success(request, f"Row {row.number:,} is saved. Nothing is sent yet.")
    else:
        messages.info(request, f"Row {row.number:,} is unchanged.")
    following = _next_row(job, row) if "next" in request.POST else None
    if following:
        return redirect("edit_row", job.pk, following)
    return redirect("edits", job.pk)


def _next_row(job: Job, row: Row) -> int | None:
    """The next row with the same cause and outcome that was not edited yet."""
    alike = editing.editable_rows(job).filter(outcome=row.outcome, cause=row.cause)
    later = alike.filter(number__gt=row.number).in_order()
    numbers = list(later.values_list("number", flat=True)[:LOOKED_AT])
    edited = set(job.edits.filter(number__in=numbers).values_list("number", flat=True))
    return next((number for number in numbers if number not in edited), None)


def _recipe(job: Job, row: Row) -> recipes.Recipe:
    return recipe_of_round(job, row.round)


def _preview(job: Job, row: Row, cells: list[str]) -> dict[str, Any]:
    recipe = _recipe(job, row)
    if rounds.lacks_prompt(job, recipe):
        return {"preview_texts": []}
    filled = Row(source=editing.as_source(cells))
    return {"preview_texts": filled_texts(job, filled, recipe)}


def _places(job: Job, row: Row) -> tuple[list[int], list[int]]:
    """The places of the columns that the prompt uses, and of the others; if these are too many for
    a form, none of them. All are `used` if the prompt uses none."""
    names = set(recipes.columns_used(_recipe(job, row).template))
    every = range(len(job.columns))
    used = [at for at in every if job.columns[at] in names]
    others = [at for at in every if at not in used]
    if not used:
        used, others = others, []
    return used[:MOST_CELLS], others if len(every) <= MOST_CELLS else []


def _as_it_was(new: str, old: str) -> str:
    # A browser sends every line break as two characters.
    new = new.replace("\0", "\ufffd")
    plain = new.replace("\r\n", "\n")
    return old if plain == old.replace("\r\n", "\n") else plain
