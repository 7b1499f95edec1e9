"""`manage.py job`: from the shell what the pages do in the browser, by the same functions. Each
subcommand is a module of jobs/cli.

What a script wants is on stdout; words for people go to stderr. Exit status: 0 done, 1 not done,
2 wrong use; of `check` also 3 some rows cannot be sent; of `check` and `resend` also 4 the file
cannot be read; of `try` and `wait` also 6 rows need attention; of `wait` also 7 the job is held,
8 time-out, 9 the pilot is in and the other rows wait.
"""

from __future__ import annotations

import sys
from typing import Any, Protocol

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ...cli import (
    accuracy,
    adopt,
    attention,
    cancel,
    check,
    estimate,
    export,
    job_list,
    models,
    pilot,
    prices,
    receipt,
    reconcile,
    resend,
    retry,
    status,
    submit,
    templates,
    trial,
    verify,
    wait,
)
from ...cli.console import Console
from ...models import audit
from ...spending import price_overrides


class Subcommand(Protocol):
    """A module of jobs/cli."""

    HELP: str

    def add_arguments(self, parser: CommandParser, /) -> None: ...
    def run(self, console: Console, options: dict[str, Any], /) -> None: ...


SUBCOMMANDS: dict[str, Subcommand] = {
    "check": check,
    "submit": submit,
    "try": trial,
    "estimate": estimate,
    "adopt": adopt,
    "verify": verify,
    "receipt": receipt,
    "prices": prices,
    "models": models,
    "status": status,
    "wait": wait,
    "continue": pilot,
    "export": export,
    "attention": attention,
    "accuracy": accuracy,
    "retry": retry,
    "resend": resend,
    "cancel": cancel,
    "reconcile": reconcile,
    "templates": templates,
    "list": job_list,
}


class Command(BaseCommand):
    help = "Submit a job and follow it from the shell."

    def add_arguments(self, parser: CommandParser) -> None:
        subparsers = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
        for name, subcommand in SUBCOMMANDS.items():
            subcommand.add_arguments(subparsers.add_parser(name, help=subcommand.HELP))

    def handle(self, *args: Any, action: str, **options: Any) -> None:
        console = Console(self.stdout, self.stderr)
        if action != "check":  # which needs no database
            price_overrides.load_prices()
        try:
            with audit.acting_from("shell"):
                SUBCOMMANDS[action].run(console, options)
        except CommandError as error:
            # Not left to Django, which writes "CommandError" before it: that looks like a crash.
            console.say(str(error))
            sys.exit(error.returncode)
        except KeyboardInterrupt:
            console.say("Stopped waiting. The job was not changed.")
            sys.exit(130)
