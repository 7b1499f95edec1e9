"""What a person decides when the pilot of a job is in."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from ...actions import pilots
from ...models import PILOT_IS_IN, Job, Outcome, Pilot, find_pilot
from ...spending import caps
from ..templatetags.show import rows
from .access import find_job, find_job_to_change, person
from .accuracy import accuracy_of_pilot

DECIDED = "Nothing was changed. Someone has already decided, or the pilot is still running."


def pilot_context(job: Job, context: dict[str, Any]) -> dict[str, Any]:
    """What changes in the head of a job's page while other rows wait for its pilot. `context`: what
    the page shows without one."""
    pilot = find_pilot(job)
    is_at_work = job.state in (Job.State.SUBMITTING, Job.State.WORKING)
    if pilot is None or not pilot.is_open or not is_at_work:
        return {"pilot": None, "changes_prompt": rows_for_another_prompt(job, pilot)}
    if pilot.is_waiting:
        held = "" if context["held"] == PILOT_IS_IN else context["held"]
        said = {"headline": "The pilot is in", "detail": "", "eta": ""}
        right = accuracy_of_pilot(job)
        return {"pilot": pilot, "pilot_right": right, "changes_prompt": 0, "held": held, **said}
    first, share = len(pilot.numbers) or pilot.rows, pilot.least_good
    by_rule = f"The other rows follow if {share}% of these are good and the price holds."
    return {
        "pilot": pilot,
        "changes_prompt": 0,
        "eta": "",
        "headline": f"Pilot: {min(job.done_count, first):,} of {rows(first)} done",
        "detail": by_rule if share else "The other rows wait until you have seen the answers.",
    }


def rows_for_another_prompt(job: Job, pilot: Pilot | None) -> int:
    """How many rows of a job that was stopped after its pilot wait for another prompt; 0 if it was
    not stopped for that."""
    if job.state != Job.State.FINISHED or pilot is None or pilot.decided_at is None:
        return 0
    is_ended = pilot.step == Pilot.Step.ENDED and job.kind == Job.Kind.TABLE
    return job.outcome_count(Outcome.CANCELED) if is_ended else 0


def waits_for_decision(pilot: Pilot | None) -> bool:
    return pilot is not None and pilot.is_waiting and pilot.result is not None


@require_POST
def continue_job(request: HttpRequest, pk: int) -> HttpResponse:
    """Send the rows that wait for the pilot."""
    job = find_job(request, pk)
    try:
        if pilots.continue_job(job, person(request)):
            messages.success(request, "The other rows are being sent.")
        else:
            messages.info(request, DECIDED)
    except caps.NotAllowed as why:
        messages.warning(request, f"Nothing was sent. {why}")
    return redirect("job", pk)


@require_http_methods(["GET", "HEAD", "POST"])
def end_pilot(request: HttpRequest, pk: int) -> HttpResponse:
    """GET says what changing the prompt means, POST stops the job for that; `again`: "yes" when the
    rows of the pilot are to be asked again."""
    job = find_job_to_change(request, pk)
    pilot = find_pilot(job)
    if request.method == "POST":
        again = request.POST.get("again") == "yes"
        if pilots.end_pilot(job, ask_again=again, user=person(request)):
            messages.success(request, "Stopped. Now change the prompt for the rows that wait.")
        else:
            messages.info(request, DECIDED)
        return redirect("job", pk)
    if job.state != Job.State.WORKING or pilot is None or not waits_for_decision(pilot):
        return redirect("job", pk)
    context = {"job": job, "pilot": pilot, "result": pilot.result}
    return render(request, "job_page/end_pilot.html", context)
