"""`manage.py job wait`: wait until a job has finished."""

from __future__ import annotations

import time
from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import CommandError, CommandParser

from .. import models
from ..models import Heartbeat, Job, SiteState
from . import worker_waits
from .access import find_job
from .console import Console
from .exit_codes import ATTENTION, HELD, PILOT_IS_IN, TIMED_OUT
from .pilot_words import pilot_in_words
from .worker_waits import is_late


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("id", type=int, metavar="ID")
    parser.add_argument("--timeout", type=seconds, metavar="S", help="give up after S seconds")


def run(console: Console, options: dict[str, Any]) -> None:
    began = time.monotonic()
    warned = False
    while True:
        job = find_job(options["id"])
        if job.state == Job.State.FINISHED:
            break
        if job.state in (Job.State.DRAFT, Job.State.UNREADABLE):
            raise CommandError(f"Job {job.pk} was not submitted: {job.get_state_display()}.")
        if job.held == models.PILOT_IS_IN:
            raise CommandError(pilot_in_words(job), returncode=PILOT_IS_IN)
        if why := job.held or (SiteState(job.key_team).why_not_sending if job.sends else ""):
            raise CommandError(f"Job {job.pk} is held: {why}", returncode=HELD)
        timeout = options["timeout"]
        if timeout is not None and time.monotonic() - began >= timeout:
            raise CommandError(
                f"Job {job.pk} has not finished after {timeout:g} seconds; it continues.",
                returncode=TIMED_OUT,
            )
        if not warned and is_late(began) and not Heartbeat.get().worker_is_alive:
            warned = True
            console.say("The worker is not running, so nothing happens. Start it: make run")
        worker_waits.pause()
    on_purpose = job.ignored_count + job.unselected_count
    if without := job.row_count - job.good_count - on_purpose:
        raise CommandError(
            f"Job {job.pk} has finished; {without:,} of {job.row_count:,} rows have no good "
            "answer.",
            returncode=ATTENTION,
        )
    if job.stray_count:
        raise CommandError(
            f"Job {job.pk} has finished; results of the batch that belong to no row of the "
            f"file: {job.stray_count:,}.",
            returncode=ATTENTION,
        )
    left_out = f"; ignored: {job.ignored_count:,}" if job.ignored_count else ""
    if job.unselected_count:
        left_out += f"; not selected: {job.unselected_count:,}"
    console.say(
        f"Job {job.pk} has finished; all {job.good_count:,} rows have a good answer{left_out}."
    )


def seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value < float("inf"):
        raise ArgumentTypeError(f"{text} is not a number of seconds")
    return value
