"""The page of a job: by its state another one, at one address."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from ...actions import submissions
from ...batches import external_ids
from ...drafts import estimates, reading_turns
from ...models import Batch, Job, Outcome, Round, SiteState
from ...retries import edits
from ...worker import row_changes
from . import job_tabs
from .access import asked, find_job, find_job_to_change, person
from .batch_trouble import is_incomplete, trouble_of
from .downloads import downloads_of
from .draft import draft_page, file_context
from .external_batches import imported_of
from .fragments import Part, answer, make_part, reload_page
from .job_header import ANSWERS, COST, DETAILS, PROBLEMS, TABS, header_context, tabs_of
from .job_notices import notices_of
from .pilots import pilot_context
from .retention import retention_context

# Batches of which no row waits.
OVER = (Batch.State.COLLECTED, Batch.State.CANCELED, Batch.State.LOST)
ROWS_SECONDS = 2  # between two looks while the worker changes rows


@require_safe
def job(request: HttpRequest, pk: int) -> HttpResponse:
    """`tab`: of a sent job, one of TABS. Of a job in the trash, the trash."""
    try:
        found = find_job(request, pk)
    except Http404:
        if Job.objects.in_trash(request.user).filter(pk=pk).exists():
            return redirect(f"{reverse('trash')}#job-{pk}")
        raise
    if found.state == Job.State.DRAFT:
        return draft_page(request, found)
    if found.state == Job.State.UNREADABLE:
        return render(request, "job_page/unreadable.html", {"job": found, **file_context(found)})
    if found.state == Job.State.READING:
        context = {"job": found, "part": _reading_part(request, found, at_once=True)}
        return render(request, "job_page/reading.html", context)
    return sent_page(request, found, asked(request, "tab"))


def sent_page(request: HttpRequest, job: Job, tab: str = ANSWERS) -> HttpResponse:
    """The page of a sent job, with one of its tabs."""
    site, tab = SiteState(job.key_team), tab if tab in TABS else ANSWERS
    batches = _batches_of(job)
    context = {
        "job": job,
        "tab": tab,
        "part": _sent_part(request, job, site, batches, tab),
        "paused": bool(site.why_not_sending),
        "downloads": downloads_of(job) if _has_answers(job) else None,
        "changing": row_changes.find_change(job) if job.state == Job.State.FINISHED else None,
        "follows": job.is_moving and job.followers.filter(person=person(request)).exists(),
        "can_run_again": job.kind == Job.Kind.TABLE and not job.is_external,
    }
    # These do not change by themselves, and have forms.
    if tab == PROBLEMS:
        context |= job_tabs.problems_context(job)
    elif tab == COST:
        context |= job_tabs.cost_context(job, batches)
    elif tab == DETAILS:
        context |= retention_context(job)
    return render(request, "job_page/sent.html", context)


@require_safe
def status(request: HttpRequest, pk: int) -> HttpResponse:
    """The part of the page that changes while the worker is busy. `v`: the version that the
    browser has; 204 when there is nothing newer. `tab`: as of `job`; `answers`: whether there were
    some when the page was loaded."""
    found = find_job(request, pk)
    if not request.headers.get("HX-Request"):
        return redirect("job", pk)
    if found.state == Job.State.READING:
        return answer(request, _reading_part(request, found))
    is_settled = not found.is_moving and not found.is_stale
    if is_settled and row_changes.find_change(found) is None:
        return reload_page()
    # The first answers bring a download and rows to the page.
    if _has_answers(found) and request.GET.get("answers") == "no":
        return reload_page()
    tab = asked(request, "tab")
    part = _sent_part(
        request,
        found,
        SiteState(found.key_team),
        _batches_of(found),
        tab if tab in TABS else ANSWERS,
    )
    return answer(request, part)


def _reading_part(request: HttpRequest, job: Job, *, at_once: bool = False) -> Part:
    waits = reading_turns.waits_for_turn(job)
    context = {"job": job, "site": SiteState(job.key_team), "waits": waits}
    url, seconds = reverse("status", args=[job.pk]), _seconds(job)
    template = "job_page/_reading.html"
    return make_part(
        request, "status", template, context, url=url, seconds=seconds, at_once=at_once
    )


def _seconds(job: Job) -> int:
    """Between two looks of the browser: often while something is about to happen, ever more
    seldom later."""
    if job.state == Job.State.READING or job.practice:
        return 2
    age = timezone.now() - (job.confirmed_at or job.created_at)
    if age < timedelta(minutes=10):
        return 5
    return 15 if age < timedelta(hours=1) else 30


# --- A job that was sent --------------------------------------------------------------------------


def _sent_part(
    request: HttpRequest, job: Job, site: SiteState, batches: Sequence[Batch], tab: str
) -> Part:
    context = sent_context(job, site, batches, tab)
    has_answers = "yes" if _has_answers(job) else "no"
    soon = ROWS_SECONDS if context["changing"] or job.is_stale else None
    return make_part(
        request,
        "status",
        "job_page/_sent.html",
        context,
        url=f"{reverse('status', args=[job.pk])}?tab={tab}&answers={has_answers}",
        seconds=_seconds(job) if job.is_moving else soon,
    )


def sent_context(
    job: Job, site: SiteState, batches: Sequence[Batch], tab: str = ANSWERS
) -> dict[str, Any]:
    """All that the part of the page shows that changes by itself."""
    is_finished = job.state == Job.State.FINISHED
    has_answers = _has_answers(job)
    found = {
        **trouble_of(job, site, batches),
        "imported": imported_of(job),
        "changing": row_changes.find_change(job) if is_finished else None,
        "edited": edits.count_waiting(job) if is_finished else 0,
    }
    again = job.rounds.order_by("-number").first()
    context: dict[str, Any] = {
        "job": job,
        "site": site,
        "tab": tab,
        "tabs": tabs_of(job),
        "has_answers": has_answers,
        "cost": job.cost,
        **header_context(job, site, batches, again),
        **found,
    }
    external = found["imported"]
    if external and external.asks:
        context["held"] = found["held"] = ""  # its own notice says it, and what to do
        context["headline"] = "Waiting for you"
        context["detail"] = "The answers go to their rows once you say where the IDs are."
    context |= (waiting := pilot_context(job, context))
    found |= {**waiting, "held": context["held"]}
    context |= retention_context(job)
    found["ends"] = _ends_soon(job, context)
    context["notices"] = notices_of(job, site, found)
    if tab == DETAILS:
        context |= job_tabs.details_context(job, batches)
    elif tab == ANSWERS:
        context |= job_tabs.answers_context(job) if has_answers else job_tabs.progress_context(job)
    return context


def _ends_soon(job: Job, context: dict[str, Any]) -> bool:
    """Whether its cells and answers are deleted, or will be within a month."""
    on = context["contents_go_on"]
    soon = on is not None and on - context["contents_said_before"] <= timezone.now()
    return job.contents_deleted_at is not None or soon


def _batches_of(job: Job) -> list[Batch]:
    return list(job.batches.defer("baseline_ids"))  # which can be long


def _has_answers(job: Job) -> bool:
    """Whether there is anything to show and to download."""
    return job.done_count > 0 or not job.is_moving


# --- Stop -----------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
def stop(request: HttpRequest, pk: int) -> HttpResponse:
    """GET says what stopping means and costs, POST stops."""
    job = find_job_to_change(request, pk)
    if request.method == "POST":
        if submissions.stop_job(job, person(request)):
            messages.success(request, "The job is being stopped.")
        else:
            messages.info(request, "There was nothing left to stop.")
        return redirect("job", pk)
    if not job.can_be_stopped:
        return redirect("job", pk)
    fates = _fates(job)
    elsewhere = external_ids.external_batch_of(job) if job.is_external else None
    context = {
        "job": job,
        "fates": fates,
        "preparing": job.rounds.exclude(step=Round.Step.READY).last(),
        "runs_on": fates["sent"] or fates["unsure"],
        "said": None if job.is_external else estimates.total_estimate(job),
        "elsewhere_runs": elsewhere is not None and not elsewhere.is_final,
    }
    return render(request, "job_page/stop.html", context)


def _fates(job: Job) -> Counter[str]:
    """How many rows of a job stopping it would do what to; every row is counted once. From stored
    counts, so that it takes as long for many rows as for few."""
    counted = job.tally.outcomes or {
        Outcome.LEFT_OUT: job.skipped_count,
        Outcome.WAITING: job.row_count - job.skipped_count,
    }
    waiting = counted.get(Outcome.WAITING, 0) - job.tally.copies
    fates: Counter[str] = Counter()
    for batch in job.batches.exclude(state__in=OVER).defer("baseline_ids"):
        fates[_fate(batch)] += batch.size
    in_batches = fates.total()
    fates["unsent"] += max(waiting - in_batches, 0)  # those that are in no batch yet
    # Rows are stored slice by slice: some of an ended batch can be done.
    fates["answered"] -= min(max(in_batches - waiting, 0), fates["answered"])
    fates["copies"] = job.tally.copies
    fates["left_out"] = counted.get(Outcome.LEFT_OUT, 0)
    fates["done"] = sum(counted.values()) - counted.get(Outcome.WAITING, 0) - fates["left_out"]
    return fates


def _fate(batch: Batch) -> str:
    if batch.state in (Batch.State.PLANNING, Batch.State.PLANNED, Batch.State.BLOCKED):
        return "unsent"
    if batch.state in (Batch.State.RESTORING, Batch.State.SUBMITTING, Batch.State.UNKNOWN):
        return "unsure"
    if batch.state == Batch.State.IN_PROGRESS:
        return "sent"
    return "given_up" if is_incomplete(batch) else "answered"
