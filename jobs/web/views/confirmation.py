"""The page on which a person confirms a job: what is sent, what it costs, who approves."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from ...actions import approvals, submissions
from ...drafts import advice, estimates, model_catalog
from ...drafts.shares import sent_requests
from ...models import Job, Outcome, SpendingCaps, answer_kind_of, recipe_of
from ...models.privacy import shown_choice
from ...rules.model_capabilities import AUTOMATIC, EFFORTS, NONE, effort_of, efforts_of
from ...rules.price_estimates import Estimate
from ...rules.row_choices import choice_in_words
from ...spending import caps
from ..forms.pilots import PilotForm
from .access import find_job_to_approve, person
from .draft import format_in_words
from .draft_price import price, request_models
from .requests import filled_texts
from .retention import retention_context


@require_http_methods(["GET", "HEAD", "POST"])
def confirm(request: HttpRequest, pk: int) -> HttpResponse:
    """GET shows everything that is about to be sent, with the sums; POST sends exactly that."""
    job = find_job_to_approve(request, pk)
    return _confirmed(request, job) if request.method == "POST" else _page(request, job)


def _page(request: HttpRequest, job: Job, pilot_form: PilotForm | None = None) -> HttpResponse:
    """`pilot_form`: with errors; then nothing was sent."""
    if job.state != Job.State.DRAFT:
        return redirect("job", job.pk)
    sums = price(job)
    if not sums["can_go_on"]:
        if sums["is_counting"]:
            return render(request, "draft/counting.html", {"job": job})
        messages.warning(request, sums["blocked"])
        return redirect("job", job.pk)
    model, effort = job.recipe.model, job.recipe.effort
    rows = sums["estimate"].rows
    context = {
        "job": job,
        "model_name": model_catalog.name_of(model),
        "effort": EFFORTS[effort if effort in efforts_of(model) else AUTOMATIC],
        "thinks": effort_of(model, effort) != NONE,
        "longest": recipe_of(job).longest,
        **_not_sent(job, sums["estimate"]),
        "answer_kind": answer_kind_of(job),
        "request_models": request_models(sent_requests(job, sums["estimate"].basis.survey)),
        "format": format_in_words(job),
        **_filled(job, sums["estimate"]),
        **_approval(request, job, sums["estimate"]),
        **retention_context(job),
        **sums,
        "pilot_form": pilot_form or (PilotForm(job, rows=rows) if rows > 1 else None),
    }
    return render(request, "draft/confirm.html", context, status=422 if pilot_form else 200)


def _filled(job: Job, estimate: Estimate) -> dict[str, Any]:
    """The texts of the first row that is sent, filled in."""
    first = estimate.basis.survey.first
    row = job.rows.filter(outcome=Outcome.WAITING, number__gte=first).in_order().first()
    if row is None or job.kind != Job.Kind.TABLE:
        return {"filled": []}
    return {"filled": filled_texts(job, row, recipe_of(job)), "filled_row": row.number}


def _approval(request: HttpRequest, job: Job, estimate: Estimate) -> dict[str, Any]:
    """Whether a second person has to approve the job, whether this one can, or somebody has."""
    allowed, user = SpendingCaps.get(), person(request)
    needed = caps.needs_approval(job, estimate.most, allowed)
    approved = needed and caps.is_approved(job, job.plan_sha256)
    return {
        "needs_approval": needed,
        "approval_above": allowed.approval_above,
        "is_approved": approved,
        "can_approve": job.awaits_approval and needed and caps.can_approve(job, user),
        "nobody_can": caps.why_nobody_can_approve(job) if needed and not approved else "",
        "is_owner": job.owner_id == user.pk,
        "can_submit": not needed or (approved and job.owner_id == user.pk),
        "approval_link": request.build_absolute_uri(reverse("confirm", args=[job.pk])),
    }


def _reused(job: Job, estimate: Estimate) -> dict[str, Any]:
    """How many rows have the answer of an earlier job, whether that is the previous one alone, and
    what that saves."""
    survey = estimate.basis.survey
    if not (job.recipe.only_new and survey.answered):
        return {"known": 0}
    return {
        "known": survey.answered,
        "is_previous": not survey.reused,
        "saved": advice.saved_by_reuse(job, estimate),
    }


def _not_sent(job: Job, estimate: Estimate) -> dict[str, Any]:
    """How many rows are left out, how many of them for an empty cell, how many keep the answer of
    an earlier job, how many get that of another row, and how many are not selected, and why."""
    survey = estimate.basis.survey
    return {
        "left_out": job.skipped_count + survey.left_out,
        "left_out_empty": survey.left_out,
        **_reused(job, estimate),
        "same": survey.alike if job.recipe.skip_duplicates else 0,
        "unselected": survey.unselected,
        "chosen": choice_in_words(shown_choice(job)),
    }


def _confirmed(request: HttpRequest, job: Job) -> HttpResponse:
    """`approval`: "ask" for that of a second person, "give" it, or "withdraw" what was asked."""
    plan, user = request.POST.get("plan_sha256", "").replace("\0", ""), person(request)
    approval, to = request.POST.get("approval"), "confirm"
    if approval == "withdraw":
        if approvals.withdraw_request(job, user):
            messages.success(request, "Request withdrawn.")
        return redirect("job", job.pk)
    try:
        if approval == "ask":
            done = approvals.request_approval(job, plan, user)
        elif approval == "give":
            done = approvals.approve(job, plan, user)
            if done:
                messages.success(request, f"Approved. {job.owner.username} can submit it now.")
        else:
            pilot = None
            if "first" in request.POST:
                estimate = estimates.current(job)
                form = PilotForm(job, request.POST, estimate.rows if estimate else 0)
                if not form.is_valid():
                    return _page(request, job, form)
                pilot = form.pilot()
            done, to = submissions.confirm(job, plan, user, pilot), "job"
    except caps.NotAllowed as why:
        messages.warning(request, f"Nothing was sent. {why}")
        return redirect("job", job.pk)
    if done:
        return redirect(to, job.pk)
    job.refresh_from_db()
    if job.state == Job.State.DRAFT:
        messages.warning(
            request,
            "Nothing was sent: the job or its price has changed since you looked. Check it again.",
        )
        return redirect("confirm", job.pk)
    messages.info(request, "This job was submitted before. It was not submitted again.")
    return redirect("job", job.pk)
