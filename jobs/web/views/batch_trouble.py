"""What can go wrong with a job that was sent: how its page says it, and what a person can do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import User
from django.db.models import OuterRef, Subquery
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from ...actions import submissions, unknown_batches
from ...batches import absence, stored_results
from ...drafts import estimates
from ...drafts.estimates import PartEstimate
from ...models import Batch, Job, LateBatch, Outcome, Row, SiteState
from ...rules import result_proof
from ...rules.provider_lists import KEPT
from ...spending import caps
from ..forms.external_batches import ProviderIdForm
from .access import find_job_to_change, person

URGENT = 4  # of watching's five warnings: from here on days count
SETTLED = "Batch {} has been settled. Nothing was left to do."


# --- What the page says ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Doubt:
    """A batch of which nobody knows whether it arrived, and a person is to say what is done."""

    batch: Batch
    looked_for: timedelta
    again: PartEstimate | None  # what it costs more if it did arrive; None in practice


@dataclass(frozen=True)
class Waiting:
    """A batch whose answers are ready at the provider and not fetched, since when, and until
    when the provider keeps them."""

    batch: Batch
    since: datetime
    deleted_at: datetime
    days_left: int
    urgent: bool


@dataclass(frozen=True)
class Loss:
    batch: Batch
    why: str
    missing: int  # answers


def trouble_of(job: Job, site: SiteState, batches: Sequence[Batch]) -> dict[str, Any]:
    """All that is wrong with a sent job, for its page. `batches`: those of the job."""
    asked = doubts(job, batches)
    send_after = site.sending.send_after
    incomplete = [batch for batch in batches if is_incomplete(batch)] if job.held else []
    late = late_ones(batches)
    return {
        "paused": _is_paused(job, site) and not job.held,
        "next_try": send_after if send_after > timezone.now() else None,
        "held": "" if _held_only_by(asked, job, batches) else job.held,
        "asked": asked,
        "incomplete": incomplete,
        "missing": sum(batch.size - batch.arrived for batch in incomplete),
        "late": late,
        "late_given_up": all(one.batch.state == Batch.State.CANCELED for one in late),
        "late_cost": sum((one.cost for one in late), Decimal(0)),
        "waiting": sorted(
            (_waiting(batch) for batch in batches if _is_waiting(batch)),
            key=lambda one: one.deleted_at,
        ),
        "losses": _losses(job, batches),
        "can_be_sent_again": can_be_sent_again(job),
    }


def _is_paused(job: Job, site: SiteState) -> bool:
    """Whether the job waits for what keeps all jobs from sending. One that is being stopped waits
    for a restored database, too."""
    if job.state == Job.State.CANCELING:
        return site.journal.is_ahead
    return bool(site.why_not_sending) and job.sends


def is_incomplete(batch: Batch) -> bool:
    """Its results were fetched often enough and were never whole, or the provider does not have
    it: as BatchQuerySet.staying_away."""
    if batch.given_up_at is not None:
        return False
    if batch.state == Batch.State.IN_PROGRESS:
        return batch.missing_since is not None
    return batch.state == Batch.State.ENDED and batch.collect_failures >= result_proof.TRIES


def is_overdue(batch: Batch) -> bool:
    """The provider's 24 hours are over, and it has not said that the batch has ended."""
    return (
        batch.state == Batch.State.IN_PROGRESS
        and batch.expires_at is not None
        and batch.expires_at <= timezone.now()
    )


def has_incomplete_file(batch: Batch) -> bool:
    """There is a file with what did arrive of results that stayed incomplete."""
    return batch.state != Batch.State.COLLECTED and stored_results.has_file(batch)


def checked_until(batch: Batch) -> datetime | None:
    """About when an unknown batch that was not found will count as never arrived; None when that
    is over, or a person is asked."""
    if batch.state != Batch.State.UNKNOWN or batch.asked_at or batch.deadline_at is None:
        return None
    missing = missing_for(batch)
    left = timedelta(seconds=settings.RECONCILE_GRACE_SECONDS) - missing
    return timezone.now() + left if left > timedelta() else None


def missing_for(batch: Batch) -> timedelta:
    """Since the time for the answer to its submission was over; negative before that."""
    if batch.absence:
        sent = timedelta(seconds=absence.of(batch).seconds)
        return sent - timedelta(seconds=settings.SUBMIT_DEADLINE_SECONDS)
    now = timezone.now()
    return now - (batch.deadline_at or batch.asked_at or now)


def doubts(job: Job, batches: Sequence[Batch]) -> list[Doubt]:
    """The batches that a person has to decide about, as long as the job still sends."""
    asked = [batch for batch in batches if batch.state == Batch.State.UNKNOWN and batch.asked_at]
    return [doubt_of(job, batch) for batch in asked] if job.sends else []


def doubt_of(job: Job, batch: Batch) -> Doubt:
    rows = Row.objects.filter(batch=batch)
    again = None if job.practice else estimates.estimate_part(job, rows)
    return Doubt(batch, missing_for(batch), again)


def _held_only_by(asked: Sequence[Doubt], job: Job, batches: Sequence[Batch]) -> bool:
    """Whether the job is held for nothing but the batches that a person is asked about, so that
    trying again would do nothing."""
    if any(batch.state == Batch.State.BLOCKED or is_incomplete(batch) for batch in batches):
        return False
    return job.held in {doubt.batch.why_asked for doubt in asked}


def late_ones(batches: Sequence[Batch]) -> list[LateBatch]:
    """Batches that turned up at the provider after all. Only one that counted as never arrived can
    have any, so that most pages need no query."""
    possible = [batch.pk for batch in batches if batch.late_until]
    if not possible:
        return []
    return list(LateBatch.objects.filter(batch__in=possible).select_related("batch"))


def _is_waiting(batch: Batch) -> bool:
    not_fetched = batch.state in (Batch.State.ENDED, Batch.State.IN_PROGRESS)
    return not_fetched and batch.warnings_given > 0 and batch.created_at is not None


def _waiting(batch: Batch) -> Waiting:
    assert batch.created_at is not None  # noqa: S101 - looked at above
    deleted_at = batch.created_at + KEPT
    return Waiting(
        batch,
        batch.ended_at or batch.expires_at or batch.created_at,
        deleted_at,
        max((deleted_at - timezone.now()).days, 0),
        batch.warnings_given >= URGENT,
    )


def _losses(job: Job, batches: Sequence[Batch]) -> list[Loss]:
    lost = [batch for batch in batches if batch.state == Batch.State.LOST]
    if not lost:
        return []
    # The rows of one batch were lost for one reason, so one row of each tells it.
    rows = Row.objects.filter(batch=OuterRef("pk"), outcome=Outcome.ERRORED, cause="lost")
    told = job.batches.filter(pk__in=[batch.pk for batch in lost])
    reasons = dict(told.values_list("pk", Subquery(rows.values("message")[:1])))
    return [
        Loss(batch, reasons.get(batch.pk) or _why_lost(batch), batch.size - batch.arrived)
        for batch in lost
    ]


def _why_lost(batch: Batch) -> str:
    if batch.collect_failures >= result_proof.TRIES:
        return "Anthropic never returned all of its answers, however often we asked."
    return "Anthropic no longer has it."


# --- What a person can do -------------------------------------------------------------------------


@require_POST
def try_again(request: HttpRequest, pk: int) -> HttpResponse:
    """A person says that what held the job is fixed."""
    job = find_job_to_change(request, pk)
    if submissions.resume_job(job, person(request)):
        messages.success(request, "The job is running again.")
    else:
        messages.info(request, "The job did not need anything.")
    return redirect("job", pk)


@require_POST
def send_now(request: HttpRequest, pk: int) -> HttpResponse:
    """Try to send at once, although sending is paused."""
    job = find_job_to_change(request, pk)
    if job.sends and submissions.resume_sending(job, person(request)):
        messages.success(request, "Trying to send now. If it fails, this page says why.")
    else:
        messages.info(request, "Sending is no longer paused.")
    return redirect("job", pk)


@require_http_methods(["GET", "HEAD", "POST"])
def finish_without(request: HttpRequest, pk: int) -> HttpResponse:
    """GET says what giving up on missing answers means, POST gives them up."""
    job = find_job_to_change(request, pk)
    if request.method == "POST":
        if submissions.give_up_missing_answers(job, person(request)):
            messages.success(request, "The job continues without the missing answers.")
        else:
            messages.info(request, "No answers are missing anymore.")
        return redirect("job", pk)
    batches = [batch for batch in job.batches.all() if is_incomplete(batch)]
    if not batches or not job.held:
        return redirect("job", pk)
    context = {
        "job": job,
        "batches": batches,
        "missing": sum(batch.size - batch.arrived for batch in batches),
    }
    return render(request, "job_page/finish_without.html", context)


def can_be_sent_again(job: Job) -> int:
    """How many rows of the job can be sent again as they are, by its tally."""
    if job.state != Job.State.FINISHED or job.practice != settings.PRACTICE or not job.estimate:
        return 0
    return job.tally.again


# --- A batch that perhaps arrived -----------------------------------------------------------------


@require_POST
def look_again(request: HttpRequest, pk: int, number: int) -> HttpResponse:
    batch = _find_batch(request, pk, number)
    looking = f"Looking for batch {number} again. The log under “Details” shows the result."
    return _decided(request, batch, unknown_batches.look_again, looking)


@require_http_methods(["GET", "HEAD", "POST"])
def send_again(request: HttpRequest, pk: int, number: int) -> HttpResponse:
    """GET says what is known and what it may cost, POST sends the batch again."""
    batch = _find_batch(request, pk, number)
    if request.method == "POST":
        return _decided(
            request, batch, unknown_batches.send_again, f"Sending batch {number} again."
        )
    if not doubts(batch.job, [batch]):
        messages.info(request, SETTLED.format(number))
        return redirect("job", pk)
    context = {"job": batch.job, "doubt": doubt_of(batch.job, batch)}
    return render(request, "job_page/send_again.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def this_is_it(request: HttpRequest, pk: int, number: int) -> HttpResponse:
    """A form for the id that the provider shows for the batch; the worker checks it."""
    batch = _find_batch(request, pk, number)
    form = ProviderIdForm(request.POST or None)
    if form.is_valid():
        found = form.cleaned_data["provider_id"]

        def suggest(batch: Batch, user: User) -> bool:
            return unknown_batches.identify_batch(batch, found, user)

        checking = f"Checking {found}. The log under “Details” shows the result."
        return _decided(request, batch, suggest, checking)
    if not doubts(batch.job, [batch]):
        messages.info(request, SETTLED.format(number))
        return redirect("job", pk)
    context = {"job": batch.job, "doubt": doubt_of(batch.job, batch), "form": form}
    return render(request, "job_page/this_is_it.html", context, status=422 if form.errors else 200)


def _find_batch(request: HttpRequest, pk: int, number: int) -> Batch:
    batches = find_job_to_change(request, pk).batches.select_related("job")
    return get_object_or_404(batches, number=number)


def _decided(
    request: HttpRequest, batch: Batch, decide: Callable[[Batch, User], bool], words: str
) -> HttpResponse:
    try:
        done = decide(batch, person(request))
    except caps.NotAllowed as why:
        messages.warning(request, f"Nothing was sent. {why}")
        return redirect("job", batch.job_id)
    if done:
        messages.success(request, words)
    else:
        messages.info(request, SETTLED.format(batch.number))
    return redirect("job", batch.job_id)
