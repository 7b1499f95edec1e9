"""`manage.py job status`: say how a job is doing."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandParser

from ..drafts import estimates
from ..rules.pricing import format_dollars
from ..rules.row_choices import choice_in_words
from .access import find_job
from .console import Console
from .facts import facts_of_job
from .pilot_words import pilot_in_words
from .price_words import price_in_words


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("id", type=int, metavar="ID")
    parser.add_argument("--json", action="store_true", help="for programs")


def run(console: Console, options: dict[str, Any]) -> None:
    job = find_job(options["id"])
    if options["json"]:
        console.write(json.dumps(facts_of_job(job), indent=1))
        return
    console.write(f"Job {job.pk} “{job.name}”: {job.get_state_display()}")
    if job.held:
        console.write(f"Held: {job.held}")
    if words := pilot_in_words(job):
        console.write(words)
    console.write(
        f"{job.row_count:,} rows: {job.done_count:,} done, {job.good_count:,} good, "
        f"{job.attention_count:,} need attention, {job.unsent_count:,} skipped"
    )
    if not job.row_choice.is_all:
        console.write(
            f"{choice_in_words(job.row_choice)} {job.unselected_count:,} rows not selected"
        )
    if job.was_sent:
        console.write(f"Cost so far: {format_dollars(job.cost)} (US dollars)")
    if (estimate := estimates.current(job)) and not estimate.trouble:
        console.write(f"Estimate: {price_in_words(estimate)}")
