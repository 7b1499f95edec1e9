"""Use the rows of a job in a new one, and say where the rows of a job come from."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from ...actions import chains
from ...models import storage
from ...results import next_step as step
from ...results.row_browser import count_rows
from ...rules.rows_wanted import ALL, GOOD, SOME, RowsWanted
from ..forms.jobs import NextStepForm
from .access import find_job, find_job_to_change, person
from .rows import is_part, read_wanted


@require_http_methods(["GET", "HEAD", "POST"])
def next_step(request: HttpRequest, pk: int) -> HttpResponse:
    """GET asks which rows, POST makes the job. The address may hold the filter of the page of rows:
    see rows.rows."""
    source = find_job_to_change(request, pk)
    if not chains.can_be_used(source):
        messages.info(request, "Rows can be used in a new job once this job has finished.")
        return redirect("job", pk)
    shown = read_wanted(source, request)
    filtered = is_part(shown)
    some = RowsWanted(
        SOME, shown.outcome, shown.cause, shown.label, shown.model, shown.text, shown.differs
    )
    usual = SOME if filtered else ALL
    form = NextStepForm(request.POST or None, initial={"which": usual}, filtered=filtered)
    status = 200
    if request.method == "POST":
        if form.is_valid():
            which = form.cleaned_data["which"]
            wanted = some if which == SOME else RowsWanted(which)
            try:
                job = chains.use_rows(source, wanted, form.cleaned_data["name"], person(request))
                return redirect("job", job.pk)
            except storage.NoRoom as why:
                form.add_error(None, str(why))
        status = 422
    added = step.added_columns(source)
    context = {
        "job": source,
        "form": form,
        "counts": {ALL: source.row_count, GOOD: source.good_count},
        "filtered": filtered,
        "some": count_rows(source, shown) if filtered else None,
        "added": list(added.values()),
        "renamed": [(name, called) for name, called in added.items() if name != called],
    }
    return render(request, "jobs/next_step.html", context, status=status)


@require_POST
def update_rows(request: HttpRequest, pk: int) -> HttpResponse:
    """Take the answers of the source of a job as they are now."""
    job = find_job(request, pk)
    try:
        updated = chains.update_rows(job, person(request))
    except storage.NoRoom as why:
        messages.error(request, str(why))
        return redirect("job", pk)
    if updated is None:
        messages.warning(
            request, "The job that these rows come from is not available now. Nothing was changed."
        )
        return redirect("job", pk)
    if updated.pk != job.pk:
        text = "This new job has the answers as they are now. Only rows that changed will be sent."
        messages.success(request, text)
    return redirect("job", updated.pk)
