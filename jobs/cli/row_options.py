"""Options that say which rows are sent."""

from __future__ import annotations

from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import CommandError, CommandParser

from ..actions import drafts, job_basics
from ..models import Job
from ..rules.row_choices import (
    MOST_CONDITIONS,
    MOST_SEED,
    NotUnderstood,
    RowChoice,
    choice_in_words,
    choice_problems,
    read_condition,
)
from .console import Console
from .exit_codes import WRONG_USE


def add_row_choice(parser: CommandParser) -> None:
    parser.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="CONDITION",
        help="send only rows that fit: COLUMN=VALUE, COLUMN!=VALUE, COLUMN~PART, COLUMN= (empty), "
        "COLUMN!= (not empty); can be repeated, and all must fit",
    )
    parser.add_argument(
        "--sample", type=count_of_rows, default=0, metavar="N", help="send N random rows of these"
    )
    parser.add_argument(
        "--sample-by", default="", metavar="COLUMN", help="a share of each value of this column"
    )
    parser.add_argument(
        "--seed", type=seed, metavar="S", help="another number draws another sample (0)"
    )


def choose_rows(console: Console, job: Job, options: dict[str, Any]) -> None:
    """Choose the rows of a draft as the options say. Deletes the draft and raises CommandError if
    they do not fit its file."""
    if options["sample"] == 0 and (options["sample_by"] or options["seed"] is not None):
        problems = ["--sample-by and --seed need --sample: how many rows to send."]
    elif len(options["where"]) > MOST_CONDITIONS:
        problems = [f"--where: at most {MOST_CONDITIONS} conditions."]
    elif job.kind != Job.Kind.TABLE and (options["where"] or options["sample"]):
        problems = ["A file of ready-made requests is sent whole: leave out --where and --sample."]
    else:
        choice, problems = _read(job, options)
        if not problems:
            if not choice.is_all:
                console.say(choice_in_words(choice))
                drafts.choose_rows(job, choice, job.owner)
                job.refresh_from_db()
            return
    job_basics.delete_job(job, job.owner)
    raise CommandError("\n".join(problems), returncode=WRONG_USE)


def _read(job: Job, options: dict[str, Any]) -> tuple[RowChoice, list[str]]:
    conditions, problems = [], []
    for text in options["where"]:
        try:
            conditions.append(read_condition(text, job.columns))
        except NotUnderstood as why:
            problems.append(f"--where: {why}")
    seed = options["seed"] or 0
    choice = RowChoice(tuple(conditions), options["sample"], options["sample_by"].strip(), seed)
    return choice, problems or choice_problems(choice, job.columns)


def count_of_rows(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text[:12]) >= 1):
        raise ArgumentTypeError(f"{text} is not a number of rows")
    return int(text[:12])


def seed(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text[:12]) < MOST_SEED):
        raise ArgumentTypeError(f"{text} is not a whole number from 0 to {MOST_SEED - 1}")
    return int(text)
