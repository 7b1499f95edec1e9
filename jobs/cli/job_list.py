"""`manage.py job list`: list all jobs, newest first."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandParser

from ..rules.pricing import format_dollars
from .access import visible_jobs
from .console import Console
from .facts import facts_of_job


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--trash", action="store_true", help="the jobs in the trash instead")


def run(console: Console, options: dict[str, Any]) -> None:
    jobs = visible_jobs(trashed=options["trash"]).order_by("-created_at", "-pk")
    if options["json"]:
        console.write(json.dumps([facts_of_job(job) for job in jobs], indent=1))
        return
    for job in jobs:
        state = "Held" if job.held else job.get_state_display()
        console.write(
            f"{job.pk:>6}  {state:<18} {job.good_count:>9,} of {job.row_count:>9,} good  "
            f"{format_dollars(job.cost):>14}  {job.owner.username}  {job.name}"
        )
