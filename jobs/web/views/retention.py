"""How long data is kept: on the site, for administrators, and for one job."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from ...actions import retention
from ...models import Job, Retention, clock
from ...models.retention import SAID_BEFORE, WARNED_BEFORE, concerned_by, deleted_on
from ..forms.retention import JobRetentionForm, SiteRetentionForm, in_words
from .access import everything_readers_only, find_job, person


@require_http_methods(["GET", "HEAD", "POST"])
@everything_readers_only
def site_retention(request: HttpRequest) -> HttpResponse:
    """POST saves, for administrators. A shorter time is saved only by who has seen what it deletes:
    `announced`."""
    site = Retention.get()
    kept = in_words(site.days) if site.days else ""
    context: dict[str, Any] = {"site": site, "kept": kept, "warned_before": WARNED_BEFORE.days}
    initial = {"days": site.days, "deletes_batches": site.deletes_batches}
    form = SiteRetentionForm(request.POST or None, initial=initial)
    if request.method == "POST":
        form = SiteRetentionForm(request.POST)
        if form.is_valid():
            found = form.cleaned_data
            days: int | None = found["days"]
            count, first = concerned_by(days, site, clock.now())
            if not count or request.POST.get("announced") == str(days):
                retention.change_site(days, found["deletes_batches"], person(request))
                messages.success(request, "Retention saved.")
                return redirect("retention")
            context |= {"count": count, "first": first, "days": days}
    status = 422 if form.errors else 200
    return render(request, "retention/site.html", {"form": form, **context}, status=status)


@require_POST
def job_retention(request: HttpRequest, pk: int) -> HttpResponse:
    job = find_job(request, pk)
    form = JobRetentionForm(job, Retention.get(), request.POST)
    changed = form.is_valid() and retention.change_job(
        job, form.cleaned_data["days"], form.cleaned_data["deletes_batches"], person(request)
    )
    if changed:
        messages.success(request, "Retention of this job saved.")
    else:
        messages.error(request, "Not saved: the site does not allow this, or the data is deleted.")
    if job.state == Job.State.DRAFT:
        return redirect("confirm", pk)
    return redirect(f"/jobs/{pk}/?tab=details")


def retention_context(job: Job) -> dict[str, Any]:
    """What the page of a job says of its retention."""
    site = Retention.get()
    on = deleted_on(job, site)
    return {
        "retention_form": None if job.contents_deleted_at else JobRetentionForm(job, site),
        "contents_go_on": on,
        "contents_said_before": SAID_BEFORE,
    }
