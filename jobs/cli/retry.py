"""`manage.py job retry`: send rows again."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from ..actions import approvals, retries
from ..models import Job, SpendingCaps
from ..retries import measurements, rounds
from ..rules import wording
from ..rules.retry_choices import RetryChoice
from ..spending import caps
from .access import find_job
from .console import Console, require_confirmation
from .options import add_prompt, retry_from
from .price_words import price_in_words


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("id", type=int, metavar="ID")
    parser.add_argument("--group", metavar="CAUSE", help="those that `job attention` names so")
    parser.add_argument(
        "--max-tokens", type=int, metavar="N", help="allow answers of up to N tokens"
    )
    add_prompt(parser)
    parser.add_argument("--model", metavar="ID", help="which model answers this time")
    parser.add_argument("--yes", action="store_true", help="do not ask about the price")


def run(console: Console, options: dict[str, Any]) -> None:
    require_confirmation(options)
    job = find_job(options["id"])
    send_rows(console, job, retry_from(options), options)


def send_rows(console: Console, job: Job, again: RetryChoice, options: dict[str, Any]) -> None:
    """Show the price, ask for confirmation and retry the rows. Raises CommandError."""
    try:
        planned = rounds.make_plan(job, again)
    except measurements.CannotRetry as why:
        raise CommandError(str(why)) from why
    console.say(rounds.describe_retry(job, planned))
    console.say(f"Cost in US dollars: {price_in_words(planned.price)}.")
    if not options["yes"] and not console.ask_to_submit(planned.rows, planned.price.most):
        raise CommandError("Nothing was sent.")
    needed = caps.needs_approval(job, planned.price.most, SpendingCaps.get())
    if needed and not caps.is_approved(Job.objects.get(pk=job.pk), planned.key):
        approvals.request_approval(job, planned.key, job.owner, again)
        raise CommandError(
            f"Nothing was sent: a second person has to approve that rows of job {job.pk} are "
            "sent again. An administrator other than its owner finds it in the list of jobs. "
            f"Then its owner sends them. {caps.why_nobody_can_approve(job)}".strip()
        )
    try:
        sent = retries.confirm_retry(job, again, planned.key, job.owner)
    except caps.NotAllowed as why:
        raise CommandError(f"Nothing was sent. {why}") from why
    if not sent:
        raise CommandError("Nothing was sent: the job was changed by someone else just now.")
    console.say(f"Retrying {wording.rows(planned.rows)}.")
