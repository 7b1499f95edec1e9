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
from ..rules.pilots import PilotChoice, choice_problems
from ..rules.price_estimates import Estimate
from ..spending import caps
from .console import Console, require_confirmation
from .drafts import make_draft
from .exit_codes import WRONG_USE
from .options import add_recipe
from .price_words import half, price_in_words
from .row_options import count_of_rows
from .worker_waits import wait_for_worker


def add_arguments(parser: CommandParser) -> None:
    add_recipe(parser)
    parser.add_argument(
        "--pilot", type=count_of_rows, metavar="N", help="send N rows first; the others wait"
    )
    parser.add_argument(
        "--pilot-by", metavar="COLUMN", help="give each value of this column its share of the pilot"
    )
    parser.add_argument(
        "--pilot-rule",
        type=count_of_rows,
        metavar="PERCENT",
        help="send the others without asking if at least PERCENT are good and the price holds",
    )
    parser.add_argument("--yes", action="store_true", help="do not ask about the price")


def run(console: Console, options: dict[str, Any]) -> None:
    require_confirmation(options)
    pilot = pilot_of(options)
    job = make_draft(console, options)
    job = wait_for_worker(job, lambda job: estimates.current(job) is not None)
    estimate = estimates.current(job)
    assert estimate is not None  # noqa: S101 - waited for
    if estimate.trouble:
        raise CommandError(f"{estimate.trouble} The draft is saved as job {job.pk}.")
    columns = job.columns if job.kind == Job.Kind.TABLE else None
    for problem in choice_problems(pilot, estimate.rows, columns) if pilot else []:
        raise CommandError(
            f"--pilot: {problem} The draft is saved as job {job.pk}.", returncode=WRONG_USE
        )
    show_price(console, estimate)
    show_reuse(console, job, estimate)
    if pilot:
        console.say(f"{wording.rows(pilot.rows)} are sent first. The others wait.")
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
        confirmed = submissions.confirm(job, job.plan_sha256, job.owner, pilot)
    except caps.NotAllowed as why:
        raise CommandError(f"Not submitted. {why} The draft is saved as job {job.pk}.") from why
    if not confirmed:
        raise CommandError(
            f"Not submitted: job {job.pk} was changed or submitted by someone else just now."
        )
    console.say("Submitted.")
    console.write(str(job.pk))


def pilot_of(options: dict[str, Any]) -> PilotChoice | None:
    """The pilot that was asked for."""
    if options["pilot"]:
        rule = options["pilot_rule"] or 0
        return PilotChoice(options["pilot"], options["pilot_by"] or "", rule)
    if options["pilot_by"] or options["pilot_rule"]:
        raise CommandError(
            "--pilot-by and --pilot-rule need --pilot: how many rows to send first.",
            returncode=WRONG_USE,
        )
    return None


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
