"""`manage.py job try`: have a few rows answered at once; submit nothing."""

from __future__ import annotations

import json
import sys
import textwrap
from argparse import ArgumentTypeError
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from ..actions import drafts, job_basics
from ..drafts import estimates
from ..drafts.trials import MOST_ROWS, choose_rows
from ..models import Job, Outcome, Trial
from ..rules.judging import describe_problem
from ..rules.pricing import format_dollars
from ..spending import caps
from .console import Console
from .drafts import make_draft
from .exit_codes import ATTENTION
from .facts import facts_of_trials
from .options import add_recipe
from .price_words import price_in_words
from .worker_waits import wait_for_worker


def add_arguments(parser: CommandParser) -> None:
    add_recipe(parser, of_jobs=False)
    parser.add_argument(
        "--rows", type=rows_to_test, default=3, metavar="N", help=f"1 to {MOST_ROWS} (3)"
    )
    parser.add_argument("--random", action="store_true", help="any rows, not the first ones")
    parser.add_argument("--json", action="store_true", help="for programs")


def run(console: Console, options: dict[str, Any]) -> None:
    job = make_draft(console, options)
    rows = choose_rows(job, options["rows"], at_random=options["random"])
    try:
        asked = job.kind == Job.Kind.TABLE and drafts.start_trials(job, rows, job.owner)
    except caps.NotAllowed as why:
        job_basics.delete_job(job, job.owner)
        raise CommandError(str(why)) from why
    if not asked:
        job_basics.delete_job(job, job.owner)
        raise CommandError(
            "Ready-made requests cannot be tested."
            if job.kind != Job.Kind.TABLE
            else "None of these rows can be sent: their prompt is empty."
        )
    job = wait_for_worker(
        job,
        lambda job: not job.trials.pending().exists() and estimates.current(job) is not None,
    )
    trials = list(job.trials.of_rows())
    if options["json"]:
        found = facts_of_trials(job, trials)
        console.write(json.dumps(found, indent=1, ensure_ascii=False))
    else:
        show_trials(console, trials)
    estimate = estimates.current(job)
    if estimate and not estimate.trouble:
        console.say(f"The whole job: {price_in_words(estimate)}.")
    console.say(f"The draft is saved as job {job.pk}; nothing else was sent.")
    if any(one.outcome != Outcome.GOOD for one in trials):
        sys.exit(ATTENTION)


def show_trials(console: Console, trials: list[Trial]) -> None:
    for one in trials:
        console.write(f"Row {one.number}")
        for name, cell in one.cells:
            console.write(f"  {name}: {shorten(cell)}")
        if problem := describe_problem(one.cause, one.message):
            console.write(f"  {problem}")
        if one.answer:
            console.write(f"  -> {one.answer}")
    cost = sum((one.cost for one in trials), Decimal(0))
    tokens = (
        sum(one.all_input_tokens for one in trials),
        sum(one.output_tokens for one in trials),
    )
    would = "would have been charged: practice mode" if settings.PRACTICE else "charged"
    console.write(
        f"{format_dollars(cost)} (US dollars, normal price) {would}; {tokens[0]:,} tokens read, "
        f"{tokens[1]:,} written"
    )


def shorten(text: str) -> str:
    """One line of a terminal."""
    return textwrap.shorten(text, 100, placeholder=" …")


def rows_to_test(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MOST_ROWS):
        raise ArgumentTypeError(f"{text} is not a number from 1 to {MOST_ROWS}")
    return int(text)
