"""Columns that the prompt of a draft uses and its file does not have: which of the file's are
meant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from ...actions import drafts
from ...models import Job, recipe_of
from ...models.privacy import shown_content
from ...rules import column_matching
from .access import find_job_to_change, person

MOST = 30  # names asked about at once
CELLS = 3  # of each column, as examples


@dataclass(frozen=True)
class FileColumn:
    """A column of the file with the first of its cells that are not empty."""

    name: str
    cells: list[str]


def missing_context(job: Job) -> dict[str, Any]:
    """`missing`: columns that the prompt uses and the file does not have; `can_match`: perhaps
    others are meant, because it was written for another file; `likely_columns`: pairs of a missing
    name and the column that it most likely means."""
    if job.kind != Job.Kind.TABLE:
        return {}
    recipe = recipe_of(job)
    missing = column_matching.missing_columns(recipe, job.columns)
    spare = missing and column_matching.spare_columns(recipe, job.columns)
    of_another_file = bool(job.template_id or job.previous_id or job.readings)
    likely = column_matching.likely_columns(missing[:MOST], spare) if missing else {}
    return {
        "missing": missing,
        "can_match": bool(spare) and of_another_file,
        "likely_columns": list(likely.items()),
    }


@require_http_methods(["GET", "HEAD", "POST"])
def columns(request: HttpRequest, pk: int) -> HttpResponse:
    """GET asks which column each missing name means; POST takes `name` and `column` as lists, and
    puts the columns into the prompt."""
    job = find_job_to_change(request, pk)
    if job.state != Job.State.DRAFT or job.kind != Job.Kind.TABLE:
        return redirect("job", pk)
    if request.method == "POST":
        return _matched(request, job)
    recipe = recipe_of(job)
    missing = column_matching.missing_columns(recipe, job.columns)
    if not missing:
        messages.info(request, "Your file has every column that the prompt uses.")
        return redirect("job", pk)
    asked = missing[:MOST]
    likely = column_matching.likely_columns(
        asked, column_matching.spare_columns(recipe, job.columns)
    )
    context = {
        "job": job,
        "asked": [(name, likely.get(name, "")) for name in asked],
        "more": len(missing) - len(asked),
        "file_columns": _file_columns(job),
    }
    return render(request, "draft/columns.html", context)


def _file_columns(job: Job) -> list[FileColumn]:
    """The columns that a prompt can name, with examples from the first rows."""
    first = [shown_content(job, row) for row in job.rows.in_order()[: 2 * CELLS]]
    found = []
    for index, name in enumerate(job.columns):
        if column_matching.can_be_named(name):
            cells = [row[index] for row in first if index < len(row)]
            found.append(FileColumn(name, [cell for cell in cells if cell.strip()][:CELLS]))
    return found


def _matched(request: HttpRequest, job: Job) -> HttpResponse:
    recipe = recipe_of(job)
    missing = column_matching.missing_columns(recipe, job.columns)
    pairs = zip(request.POST.getlist("name"), request.POST.getlist("column"), strict=False)
    names = {
        name: column
        for name, column in pairs
        if name in missing and column in job.columns and column_matching.can_be_named(column)
    }
    if not names:
        messages.warning(request, "Nothing was changed, because no column was chosen.")
        return redirect("columns" if missing else "job", job.pk)
    if drafts.save_recipe(job, column_matching.with_columns(recipe, names), person(request)):
        left = len(missing) - len(names)
        use = "now" if not left else f"now, but for {left} that {'is' if left == 1 else 'are'} left"
        messages.success(request, f"The prompt uses the columns of this file {use}.")
    return redirect("job", job.pk)
