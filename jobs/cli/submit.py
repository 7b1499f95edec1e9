"""`manage.py job submit`: make a job of a file and submit it."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from ..actions import approvals, submissions
from ..drafts import advice, estimates
from ..drafts.shares import count_reused
from ..models import Job, SpendingCaps, recipe_of
from ..rules import pricing, wording
from ..rules.price_estimates import Estimate
from ..spending import caps
from .console import Console, require_confirmation
from .drafts import make_draft
from .options import add_recipe
from .price_words import half, price_in_words
from .worker_waits import wait_for_worker

HELP = "make a job of a file and submit it"


def add_arguments(parser: CommandParser) -> None:
    add_recipe(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask about the price")


def run(console: Console, options: dict[str, Any]) -> None:
    require_confirmation(options)
    job = make_draft(console, options)
    job = wait_for_worker(job, lambda job: estimates.current(job) is not None)
    estimate = estimates.current(job)
    assert estimate is not None  # noqa: S101 - waited for
    if estimate.trouble:
        raise CommandError(f"{estimate.trouble} The draft is saved as job {job.pk}.")
    show_price(console, estimate)
    show_reuse(console, job, estimate)
    if not options["yes"] and not console.ask_to_submit(estimate.rows, estimate.most):
        raise CommandError(f"Not submitted. The draft is saved as job {job.pk}.")
    if caps.needs_approval(job, estimate.most, SpendingCaps.get()):
        approvals.request_approval(job, job.plan_sha256, job.owner)
        raise CommandError(
            f"Not submitted: job {job.pk} needs approval by a second person. An administrator "
            "other than its owner can approve it from the list of jobs. Then its owner submits it "
            f"on its page. {caps.why_nobody_can_approve(job)}".strip()
        )
    try:
        confirmed = submissions.confirm(job, job.plan_sha256, job.owner)
    except caps.NotAllowed as why:
        raise CommandError(f"Not submitted. {why} The draft is saved as job {job.pk}.") from why
    if not confirmed:
        raise CommandError(
            f"Not submitted: job {job.pk} was changed or submitted by someone else just now."
        )
    console.say("Submitted.")
    console.write(str(job.pk))


def show_reuse(console: Console, job: Job, estimate: Estimate) -> None:
    if answered := count_reused(job, recipe_of(job), estimate.basis.survey):
        saved = pricing.format_dollars(advice.saved_by_reuse(job, estimate))
        console.say(
            f"{answered:,} of {wording.rows(job.row_count)} are answered from earlier jobs, at no "
            f"cost. That saves about {saved}."
        )


def show_price(console: Console, estimate: Estimate) -> None:
    console.say(f"Cost in US dollars: {price_in_words(estimate)}{half(estimate)}.")
    if settings.PRACTICE:
        console.say("Practice mode: no API key is set, so nothing is sent or charged.")
