"""What went wrong in a finished job, and the ways to fix it."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from ...actions import approvals, retries
from ...drafts import model_catalog
from ...models import CorrectedUpload, Job, SiteState, SpendingCaps
from ...models.clock import now
from ...models.privacy import shown_content
from ...retries import edits as editing
from ...retries import measurements, problem_groups, rounds, selection
from ...retries.selection import CAN_BE_EDITED, EDITED, FOR_NOW
from ...rules.judging import describe_cause
from ...rules.retry_choices import RetryChoice
from ...spending import caps
from ...worker import row_changes
from ..forms.retries import AgainForm, ChangeForm
from ..forms.uploads import FILE_NAMES
from .access import find_job, find_job_to_approve, find_job_to_change, person
from .draft import take_file
from .fragments import Part, answer, make_part, reload_page, whole_number
from .job_header import PROBLEMS
from .job_page import sent_page

SHOWN = 50  # changed rows on a page
MOST_TEXT = 300  # characters of a row in a list
LOOK_SECONDS = 2  # between two looks whether a corrected file was read
BUSY = "Nothing was changed, because another change of this job is still running. Try again later."
CHANGED = "Nothing was sent, because the rows or their price have changed. Check them again."


@require_safe
def problems(request: HttpRequest, pk: int) -> HttpResponse:
    """The page of the job with the tab of its problems."""
    return sent_page(request, find_sent_job(request, pk, find=find_job), PROBLEMS)


@require_http_methods(["GET", "HEAD", "POST"])
def retry(request: HttpRequest, pk: int) -> HttpResponse:
    """Says which rows are sent again, how, and what that costs; without which, those that a second
    person was asked to approve. POST with the `key` of what was shown sends them, or with
    `approval` does that."""
    job = find_sent_job(request, pk, find=find_job_to_approve)
    asked = approvals.requested_retry(job)
    if request.method == "GET" and not request.GET and asked:
        wanted = asked  # the address that an approver is given
    else:
        form = AgainForm(request.POST if request.method == "POST" else request.GET)
        if not form.is_valid():
            return redirect("problems", pk)
        wanted = form.again
        if request.method == "POST" and (key := form.cleaned_data["key"]):
            if approval := request.POST.get("approval"):
                return _approve(request, job, approval, wanted, key)
            return _send(request, job, wanted, key)
    try:
        planned = rounds.make_plan(job, wanted)
    except measurements.CannotRetry as why:
        messages.info(request, str(why))
        return redirect("problems", pk)
    return show_plan(request, job, planned)


def _send(request: HttpRequest, job: Job, wanted: RetryChoice, key: str) -> HttpResponse:
    try:
        sent = retries.confirm_retry(job, wanted, key, person(request))
    except caps.NotAllowed as why:
        messages.warning(request, f"Nothing was sent. {why}")
        return redirect("problems", job.pk)
    if not sent:
        messages.info(request, CHANGED)
        return redirect("problems", job.pk)
    messages.success(request, "The retry has started.")
    return redirect("job", job.pk)


def _approve(
    request: HttpRequest, job: Job, approval: str, wanted: RetryChoice, key: str
) -> HttpResponse:
    """`approval`: "ask" for that of a second person, "give" it, or "withdraw" what was asked."""
    user = person(request)
    try:
        if approval == "ask":
            done = approvals.request_approval(job, key, user, wanted)
        elif approval == "give":
            done = approvals.approve(job, key, user)
        else:
            done = approvals.withdraw_request(job, user)
    except caps.NotAllowed as why:
        messages.warning(request, str(why))
        return redirect("problems", job.pk)
    if not done:
        messages.info(request, CHANGED)
    elif approval == "give":
        messages.success(request, f"Approved. {job.owner.username} can send the rows now.")
    to = "problems" if approval == "withdraw" or not done else "retry"
    return redirect(to, job.pk)


def _approval(request: HttpRequest, job: Job, planned: rounds.RetryPlan) -> dict[str, object]:
    """Whether a second person has to approve these rows, whether this one can, or somebody has."""
    user = person(request)
    if not caps.needs_approval(job, planned.price.most, SpendingCaps.get()):
        return {"needs_approval": False}
    asked = job.asks_for_approval and job.approval_plan == planned.key
    approved = asked and caps.is_approved(job, planned.key)
    return {
        "needs_approval": True,
        "was_asked": asked,
        # Upgrades and new prices do that, too.
        "is_outdated": not asked and approvals.requested_retry(job) == planned.choice,
        "is_approved": approved,
        "can_approve": asked and not approved and caps.can_approve(job, user),
        "nobody_can": "" if approved else caps.why_nobody_can_approve(job),
        "is_owner": job.owner_id == user.pk,
        "approval_link": request.build_absolute_uri(reverse("retry", args=[job.pk])),
    }


def show_plan(request: HttpRequest, job: Job, planned: rounds.RetryPlan) -> HttpResponse:
    why = caps.why_over_cap(job, planned.price.most, SpendingCaps.get(), now())
    which = planned.choice.which
    context = {
        "job": job,
        "planned": planned,
        "again": planned.choice,
        "changed_rows": selection.count_edited_with_cause(job, which),
        "cause": None if which in (EDITED, FOR_NOW) else describe_cause(which),
        "passing": which == FOR_NOW,
        "edited": editing.changed_rows(job, SHOWN) if which == EDITED else [],
        "asked_otherwise": planned.choice.prompt is not None or planned.choice.system is not None,
        "model": model_catalog.name_of(planned.choice.model) if planned.choice.model else "",
        "in_the_way": why,
        **_approval(request, job, planned),
    }
    return render(request, "problems/retry.html", context)


@require_POST
def change(request: HttpRequest, pk: int, cause: str) -> HttpResponse:
    """Change all rows with one cause in the same way; then the changes are shown."""
    job = find_sent_job(request, pk, cause)
    if row_changes.find_change(job):
        return say_busy(request, job)
    form = ChangeForm(request.POST)
    changed = 0
    retries.note_changer(job, person(request))
    if form.is_valid():
        changed = retries.change_rows(job, cause, person(request), **form.cleaned_data)
    if row_changes.find_change(job):
        return redirect("job", pk)
    if not changed:
        messages.info(request, "These rows are already like that.")
        return redirect("problems", pk)
    return redirect("edits", pk)


@require_http_methods(["GET", "HEAD", "POST"])
def edits(request: HttpRequest, pk: int) -> HttpResponse:
    """The rows that were changed, beside what they were, and what came of a corrected file; POST
    takes back the `number`, or all."""
    job = find_sent_job(request, pk, find=find_job)
    corrected = _corrected_part(request, job)
    if request.headers.get("HX-Request") and request.method != "POST":
        waits = corrected and corrected.seconds
        return answer(request, corrected) if corrected and waits else reload_page()
    if request.method == "POST":
        if row_changes.find_change(job):
            return say_busy(request, job)
        number = request.POST.get("number")
        retries.note_changer(job, person(request))
        one = None if number is None else whole_number(number)
        retries.undo_edits(job, person(request), one)
        if row_changes.find_change(job):
            return redirect("job", pk)
        messages.success(request, "Changes undone.")
        return redirect("edits", pk)
    planned, why_not = None, ""
    try:
        planned = rounds.make_plan(job, RetryChoice(EDITED))
    except measurements.CannotRetry as why:
        why_not = str(why)
    cause = request.GET.get("cause", "")
    context = {
        "job": job,
        "changing": row_changes.find_change(job),
        "cause": describe_cause(cause) if cause else None,
        "to_edit": _to_edit(job, cause) if cause else [],
        "first": SHOWN,
        "changed": editing.changed_rows(job, SHOWN),
        "count": editing.count_waiting(job),
        "planned": planned,
        "why_not": why_not,
        "can_ask": rounds.can_change_prompt(job),
        "part": corrected,
        "failed": job.outcome_count(*CAN_BE_EDITED),
        "can_upload": job.state == Job.State.FINISHED,
        "file_names": ",".join(FILE_NAMES),
    }
    return render(request, "problems/edits.html", context)


def _to_edit(job: Job, cause: str) -> list[tuple[int, str]]:
    """Number and cells of the first rows with one cause that can be edited in the page."""
    if job.kind != Job.Kind.TABLE:
        return []
    rows = editing.editable_rows(job).filter(cause=cause.replace("\0", "")).in_order()
    rows = rows.exclude(number__in=job.edits.values("number"))[:SHOWN]
    return [(row.number, " | ".join(shown_content(job, row))[:MOST_TEXT]) for row in rows]


def _corrected_part(request: HttpRequest, job: Job) -> Part | None:
    """What came of the corrected file that was uploaded last; it is asked for again until the
    worker has read it."""
    corrected = CorrectedUpload.objects.filter(job=job).first()
    if corrected is None:
        return None
    found = corrected.found
    context = {
        "job": job,
        "corrected": corrected,
        "found": found,
        "site": SiteState(job.key_team),
    }
    return make_part(
        request,
        "corrected",
        "problems/_corrected.html",
        context,
        url=reverse("edits", args=[job.pk]),
        seconds=None if found else LOOK_SECONDS,
    )


@require_POST
def upload_edits(request: HttpRequest, pk: int) -> HttpResponse:
    """`file`: the problem file, corrected."""
    job = find_sent_job(request, pk)
    take_file(request, job, retries.upload_corrections)
    return redirect("edits", pk)


@require_http_methods(["GET", "HEAD", "POST"])
def ignore_rows(request: HttpRequest, pk: int, cause: str) -> HttpResponse:
    """GET says what leaving rows out means, POST leaves out as many as were shown."""
    job = find_sent_job(request, pk, cause)
    if row_changes.find_change(job):
        return say_busy(request, job)
    group = problem_groups.find_group(job, cause)
    if request.method == "POST":
        count = whole_number(request.POST.get("rows", ""))
        if retries.ignore_rows(job, cause, count, person(request)):
            if row_changes.find_change(job):
                return redirect("job", pk)
            messages.success(request, "These rows are now ignored.")
        else:
            messages.info(
                request, "Nothing was changed, because these rows have changed meanwhile."
            )
        return redirect("problems", pk)
    if group is None or job.state != Job.State.FINISHED:
        return redirect("problems", pk)
    return render(request, "problems/ignore.html", {"job": job, "group": group})


def say_busy(request: HttpRequest, job: Job) -> HttpResponse:
    messages.info(request, BUSY)
    return redirect("job", job.pk)


def find_sent_job(
    request: HttpRequest,
    pk: int,
    cause: str = "",
    find: Callable[[HttpRequest, int], Job] = find_job_to_change,
) -> Job:
    job = find(request, pk)
    if not job.was_sent or "\0" in cause:
        raise Http404
    return job
