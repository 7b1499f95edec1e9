"""The page of a job: by its state another one, at one address."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from ...actions import submissions
from ...batches import external_ids
from ...drafts import estimates, model_catalog, reading_turns
from ...drafts.estimates import PartEstimate
from ...models import ATTENTION, Batch, Job, Outcome, Round, SiteState, dollars
from ...results import review_sample
from ...retries import edits
from ...rules import pricing
from ...rules.judging import Cause, describe_cause
from ...rules.price_estimates import Estimate
from ...worker import row_changes
from ..templatetags.show import OUTCOME_COLOURS, job_state, rows
from .access import find_job, person
from .batch_trouble import checked_until, has_incomplete_file, is_incomplete, is_overdue, trouble_of
from .downloads import downloads_of
from .draft import draft_page, file_context
from .external_batches import brought_in_of
from .fragments import Part, answer, make_part, reload_page

EVENTS_SHOWN = 100
BATCHES_SHOWN = 200
ROWS_SECONDS = 2  # between two looks while the worker changes rows


@require_safe
def job(request: HttpRequest, pk: int) -> HttpResponse:
    found = find_job(request, pk)
    if found.state == Job.State.DRAFT:
        return draft_page(request, found)
    context: dict[str, Any] = {"job": found}
    if found.state == Job.State.UNREADABLE:
        context |= file_context(found)
        return render(request, "job_page/unreadable.html", context)
    template = "job_page/reading.html" if found.state == Job.State.READING else "job_page/sent.html"
    site = SiteState()
    context["part"] = _part(request, found, site)
    context["paused"] = bool(site.why_not_sending)
    return render(request, template, context)


@require_safe
def status(request: HttpRequest, pk: int) -> HttpResponse:
    """The part of the page that changes while the worker is busy. `v`: the version that the
    browser has; 204 when there is nothing newer."""
    found = find_job(request, pk)
    if not request.headers.get("HX-Request"):
        return redirect("job", pk)
    is_settled = not found.is_moving and not found.is_stale
    if is_settled and row_changes.find_change(found) is None:
        return reload_page()
    return answer(request, _part(request, found, SiteState()))


def _part(request: HttpRequest, job: Job, site: SiteState) -> Part:
    url = reverse("status", args=[job.pk])
    changing = row_changes.find_change(job) if job.state == Job.State.FINISHED else None
    soon = ROWS_SECONDS if changing or job.is_stale else None
    seconds = _seconds(job) if job.is_moving else soon
    context: dict[str, Any]
    if job.state == Job.State.READING:
        waits = reading_turns.waits_for_turn(job)
        template, context = "job_page/_reading.html", {"job": job, "site": site, "waits": waits}
    else:
        template, context = "job_page/_sent.html", sent_context(job, site)
        context |= {"changing": changing}
    return make_part(request, "status", template, context, url=url, seconds=seconds)


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


@dataclass(frozen=True)
class Count:
    """Rows of one outcome, with the table of them."""

    words: str
    rows: int
    colour: str
    url: str
    note: str = ""


@dataclass(frozen=True)
class CauseCount:
    cause: Cause
    rows: int
    url: str


@dataclass(frozen=True)
class BatchLine:
    """A batch as the table of them shows it."""

    batch: Batch
    checked_until: datetime | None  # of one that is being looked for
    is_overdue: bool
    is_incomplete: bool
    has_incomplete_file: bool


def sent_context(job: Job, site: SiteState) -> dict[str, Any]:
    """All that the page of a sent job shows."""
    batches = list(job.batches.defer("baseline_ids"))  # which can be long
    again = job.rounds.order_by("-number").first()
    now = [batch for batch in batches if batch.round == (again.number if again else 1)]
    headline, detail = _headline(job, now, again)
    overdue = [batch for batch in batches if is_overdue(batch)]
    is_external = brought_in_of(job)
    context = {
        "job": job,
        "site": site,
        "headline": headline,
        "detail": detail,
        "colour": job_state(job, bool(site.why_not_sending))[1],
        "batch_count": len(batches),
        "batches_done": sum(batch.is_final for batch in batches),
        "batch_lines": [_line(batch) for batch in batches[:BATCHES_SHOWN]],
        "again": again,
        # Rows of what is being sent now: done, and in all.
        "progress": _progress(now, again) if again else (job.done_count, job.sendable_count),
        "elapsed": _elapsed(job, again),
        "stopped": job.outcome_count(Outcome.CANCELED) if job.state == Job.State.FINISHED else 0,
        "edited": edits.count_waiting(job) if job.state == Job.State.FINISHED else 0,
        "time_left": _time_left(batches),
        "overdue": overdue,
        "no_room_until": site.sending.send_after if _has_no_room(job, site) else None,
        "counts": _counts(job),
        "causes": _causes(job),
        "cost": job.cost,
        "own_cost": dollars(job.spent_pico),  # of an imported one: not charged elsewhere
        "estimate": estimates.current(job),
        "said": _said(job, batches),
        "kept": _kept(job),
        "share": review_sample.summarize_review(job) if job.drawn_from else None,
        **_tested(job),
        "model_name": model_catalog.name_of(job.recipe.model) if job.kind == Job.Kind.TABLE else "",
        "downloads": downloads_of(job),
        "brought_in": is_external,
        "events": job.events.select_related("who").order_by("-pk")[:EVENTS_SHOWN],
        **trouble_of(job, site, batches),
    }
    if is_external and is_external.asks:
        context["held"] = ""  # its own part says it, and what to do
        context["headline"] = "Waiting for you"
        context["detail"] = "The answers go to their rows once you say where the ids are."
    return context


def _progress(now: Sequence[Batch], again: Round) -> tuple[int, int]:
    """Rows that are done, of those of a round; while it is prepared: that it has."""
    done = sum(one.size for one in now if one.is_final)
    return (done if again.step == Round.Step.READY else again.taken), again.rows


def _said(job: Job, batches: Sequence[Batch]) -> Estimate | PartEstimate | None:
    """What was said that the job costs; rounds are looked for only where there are some."""
    again = any(batch.round > 1 for batch in batches)
    return estimates.total_estimate(job) if again else estimates.current(job)


@dataclass(frozen=True)
class Kept:
    """What became of the instructions that were to be kept at the provider."""

    hits: int  # rows that found them
    rows: int  # rows that were answered
    saved: Decimal  # US dollars; below 0: it cost more

    @property
    def cost_more(self) -> Decimal:
        return -self.saved


def _tested(job: Job) -> dict[str, Any]:
    """What was tested before, and what that cost."""
    tested = job.trials.aggregate(rows=models.Count("pk"), pico=models.Sum("cost_pico"))
    return {"tested": tested, "tested_cost": dollars(int(tested["pico"] or 0))}


def _kept(job: Job) -> Kept | None:
    """None when nothing was to be kept, or nothing has been answered yet."""
    written, read = job.tally.cache_write_tokens, job.tally.cache_read_tokens
    if not job.recipe.cached or not (written or read):
        return None
    saved = pricing.caching_savings(job.recipe.model, written, read)
    return Kept(job.tally.cache_hits, job.tally.answered, saved)


def _line(batch: Batch) -> BatchLine:
    return BatchLine(
        batch,
        checked_until(batch),
        is_overdue(batch),
        is_incomplete(batch),
        has_incomplete_file(batch),
    )


def _time_left(batches: Sequence[Batch]) -> timedelta | None:
    """Until the last of the batches that run must have ended; None when that is over or none
    runs."""
    running = [batch for batch in batches if batch.state == Batch.State.IN_PROGRESS]
    left = max((b.expires_at - timezone.now() for b in running if b.expires_at), default=None)
    return left if left and left > timedelta() else None


def _has_no_room(job: Job, site: SiteState) -> bool:
    """The provider said "not now", and the job waits to send on."""
    return (
        job.sends
        and not job.held
        and not site.sending.pause
        and site.sending.send_after > timezone.now()
    )


def _headline(job: Job, now: Sequence[Batch], again: Round | None) -> tuple[str, str]:
    """What the job is doing, in one sentence, and a second one that says more. `now`: the batches
    of the round `again`, or of the first one."""
    if job.state == Job.State.FINISHED:
        return _finished_headline(job, again)
    if job.state == Job.State.CANCELING:
        return (
            "Stopping",
            "Rows that were not sent stay here. Anthropic ends the others as soon as it can, and "
            "we keep every answer that is ready by then.",
        )
    if job.state == Job.State.SUBMITTING and again and again.step != Round.Step.READY:
        return (
            f"Preparing the retry: {again.taken:,} of {rows(again.rows)}",
            "Nothing has been sent yet. Sending starts once all rows are ready.",
        )
    if job.state == Job.State.SUBMITTING:
        sent = sum(batch.size for batch in now if batch.provider_id)
        number = sum(1 for batch in now if batch.provider_id)
        words = f"{number} batch{'' if number == 1 else 'es'} sent so far" if number else ""
        what, wanted = (
            ("Sending the retry", again.rows) if again else ("Sending", job.to_send_count)
        )
        return f"{what}: {sent:,} of {rows(max(wanted, sent))}", words
    done = [batch for batch in now if batch.is_final]
    of_them = f"{sum(batch.size for batch in done):,} of {rows(sum(b.size for b in now))}"
    return (
        f"Working: {len(done)} of {len(now)} batch{'' if len(now) == 1 else 'es'} done, {of_them}",
        "Answers come batch by batch. Most jobs take less than an hour; the limit is 24 hours.",
    )


def _finished_headline(job: Job, again: Round | None) -> tuple[str, str]:
    words, _colour = job_state(job)
    stopped = job.outcome_count(Outcome.CANCELED)
    good, details = job.good_count, []
    if job.is_external and not job.sendable_count:
        details.append("No result of the batch belongs to a row of the file.")
    elif good == job.sendable_count:
        details.append("Its answer is good." if good == 1 else f"All {good:,} answers are good.")
    else:
        details.append(f"{good:,} of {job.sendable_count:,} answers are good.")
    if stopped:
        details.append(f"{rows(stopped)} stopped by you.")
    if without := job.skipped_count:
        why = "without a result in the batch" if job.is_external else "left out from the start"
        details.append(f"{rows(without)} {why}.")
    if job.ignored_count:
        details.append(f"{rows(job.ignored_count)} left out by you.")
    if again:
        good = job.rows.filter(round=again.number, outcome=Outcome.GOOD).count()
        details.append(f"Of {rows(again.rows)} sent again last, {good:,} good now.")
    return words, " ".join(details)


def _elapsed(job: Job, again: Round | None) -> timedelta | None:
    """How long what was sent last has taken."""
    begin = again.asked_at if again else job.confirmed_at
    if begin is None:
        return None
    end: datetime = job.finished_at or timezone.now()
    return end - begin


def rows_url(job: Job, **query: str) -> str:
    address = reverse("rows", args=[job.pk])
    return f"{address}?{urlencode(query)}" if query else address


def _why_left_out(job: Job) -> str:
    why = []
    if job.skipped_count:
        why.append("no result in the batch" if job.is_external else "never sent")
    if job.ignored_count:
        why.append("left out by you")
    return ", or ".join(why)


def _counts(job: Job) -> list[Count]:
    """Rows by outcome: good ones always, the others when there are any."""
    lost = any(cause == "lost" for _outcome, cause, _rows in job.tally.causes)
    notes = {
        Outcome.LOOK: "cut off, declined or not as asked",
        Outcome.ERRORED: "some may have been charged" if lost else "not charged",
        Outcome.EXPIRED: "not charged",
        Outcome.CANCELED: "not charged",
        Outcome.LEFT_OUT: _why_left_out(job),
        Outcome.WAITING: "no answer yet",
    }
    order = [
        Outcome.GOOD,
        Outcome.LOOK,
        Outcome.ERRORED,
        Outcome.EXPIRED,
        Outcome.CANCELED,
        Outcome.LEFT_OUT,
    ]
    counts = [
        Count(
            outcome.label,
            job.outcome_count(outcome),
            OUTCOME_COLOURS[outcome],
            rows_url(job, outcome=outcome.value),
            notes.get(outcome, ""),
        )
        for outcome in order
        if outcome == Outcome.GOOD or job.outcome_count(outcome)
    ]
    if waiting := job.outcome_count(Outcome.WAITING):
        counts.append(
            Count(
                Outcome.WAITING.label,
                waiting,
                "secondary",
                rows_url(job, outcome=Outcome.WAITING.value),
                notes[Outcome.WAITING],
            )
        )
    return counts


def _causes(job: Job) -> list[CauseCount]:
    """Why rows need attention, the most frequent reason first."""
    found = [
        CauseCount(describe_cause(cause), count, rows_url(job, outcome="attention", cause=cause))
        for outcome, cause, count in job.tally.causes
        if outcome in ATTENTION
    ]
    return sorted(found, key=lambda group: -group.rows)


# --- Stop -----------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
def stop(request: HttpRequest, pk: int) -> HttpResponse:
    """GET says what stopping means and costs, POST stops."""
    job = find_job(request, pk)
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
    """How many rows of a job stopping it would do what to; every row is counted once."""
    batches = {batch.pk: batch for batch in job.batches.defer("baseline_ids")}
    fates: Counter[str] = Counter()
    is_copy = models.Q(outcome=Outcome.WAITING, same_as__isnull=False)
    groups = job.rows.exclude(is_copy).values_list("outcome", "batch")
    for outcome, batch, count in groups.annotate(rows=models.Count("pk")).order_by():
        fates[_fate(outcome, batches.get(batch))] += count
    fates["copies"] = job.rows.filter(is_copy).count()
    return fates


def _fate(outcome: str, batch: Batch | None) -> str:
    if outcome == Outcome.LEFT_OUT:
        return "left_out"
    if outcome != Outcome.WAITING:
        return "done"
    unsent = (Batch.State.PLANNING, Batch.State.PLANNED, Batch.State.BLOCKED)
    if batch is None or batch.state in unsent:
        return "unsent"
    if batch.state in (Batch.State.RESTORING, Batch.State.SUBMITTING, Batch.State.UNKNOWN):
        return "unsure"
    if batch.state == Batch.State.IN_PROGRESS:
        return "sent"
    return "given_up" if is_incomplete(batch) else "answered"
