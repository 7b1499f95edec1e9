"""The page on which a person chooses which rows of a draft are sent."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from ...actions import drafts
from ...models import Job
from ...rules.row_choices import OPERATORS, RowChoice
from ..forms.row_choices import RowChoiceForm
from .access import find_job_to_change, person


@require_http_methods(["GET", "HEAD", "POST"])
def choose_rows(request: HttpRequest, pk: int) -> HttpResponse:
    """GET shows the filter and the sample, POST saves them; `all`: all rows are sent again."""
    job = find_job_to_change(request, pk)
    if job.state != Job.State.DRAFT or job.kind != Job.Kind.TABLE:
        return redirect("job", pk)
    form = RowChoiceForm(job, request.POST if request.method == "POST" else None)
    if request.method == "POST":
        send_all = "all" in request.POST
        if send_all or form.is_valid():
            choice = RowChoice() if send_all else form.choice()
            if drafts.choose_rows(job, choice, person(request)):
                messages.success(request, "Saved. We are counting the rows for the new price.")
            return redirect("job", pk)
    context = {
        "job": job,
        "form": form,
        "conditions": form.shown_conditions(),
        "operators": OPERATORS.items(),
    }
    return render(request, "draft/choose_rows.html", context, status=422 if form.errors else 200)
