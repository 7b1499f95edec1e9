"""`manage.py job estimate`: say what a job would cost; submit nothing."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandError, CommandParser

from ..actions import job_basics
from ..drafts import estimates
from ..rules import wording
from .console import Console
from .drafts import make_draft
from .facts import estimate_in_full
from .options import add_recipe
from .price_words import half, price_in_words
from .worker_waits import wait_for_worker


def add_arguments(parser: CommandParser) -> None:
    add_recipe(parser)
    parser.add_argument("--json", action="store_true", help="for programs")


def run(console: Console, options: dict[str, Any]) -> None:
    job = make_draft(console, options)
    job = wait_for_worker(job, lambda job: estimates.current(job) is not None)
    estimate = estimates.current(job)
    assert estimate is not None  # noqa: S101 - waited for
    found = estimate_in_full(job, estimate)
    job_basics.delete_job(job, job.owner)
    if options["json"]:
        console.write(json.dumps(found, indent=1, ensure_ascii=False))
    elif not estimate.trouble:
        console.write(f"{wording.rows(estimate.rows)}, {found['model']}")
        console.write(f"In US dollars: {price_in_words(estimate)}{half(estimate)}")
        console.write(f"The length of the answers is from: {found['basis']['output']}")
    if estimate.trouble:
        raise CommandError(estimate.trouble)
