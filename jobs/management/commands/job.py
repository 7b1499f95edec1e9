"""`manage.py job`: from the shell what the pages do in the browser, by the same functions. Each
subcommand is a module of jobs/cli.

What a script wants is on stdout; words for people go to stderr. Exit status: 0 done, 1 not done,
2 wrong use; of `check` also 3 some rows cannot be sent; of `check` and `resend` also 4 the file
cannot be read; of `try` and `wait` also 6 rows need attention; of `wait` also 7 the job is held,
8 time-out, 9 the pilot is in and the other rows wait.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any, Protocol, cast

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ...cli.console import Console
from ...cli.site_version import require_same_version
from ...models import audit
from ...spending import price_overrides


class Subcommand(Protocol):
    """A module of jobs/cli."""

    def add_arguments(self, parser: CommandParser, /) -> None: ...
    def run(self, console: Console, options: dict[str, Any], /) -> None: ...


# The module of each, and what it does.
SUBCOMMANDS = {
    "check": ("check", "say how a file is read, and what is wrong in it"),
    "submit": ("submit", "make a job of a file and submit it"),
    "try": ("trial", "have a few rows answered at once; submit nothing"),
    "estimate": ("estimate", "say what a job would cost; submit nothing"),
    "adopt": ("adopt", "import a batch that was made elsewhere"),
    "verify": ("verify", "compare the files of jobs with their hashes"),
    "receipt": ("receipt", "say what a job was charged"),
    "prices": ("prices", "list the prices of all models"),
    "models": ("models", "list the models that can be chosen"),
    "status": ("status", "say how a job is doing"),
    "wait": ("wait", "wait until a job has finished"),
    "continue": ("pilot", "send the rows that wait for the pilot"),
    "export": ("export", "write a job's results to a file"),
    "attention": ("attention", "why rows are not good, and what can be done about them"),
    "accuracy": (
        "accuracy",
        "how many answers are right, by a column with the right ones; changes nothing",
    ),
    "retry": ("retry", "send rows again: those that got no answer for a reason that passes"),
    "resend": ("resend", "send the rows again that were changed in a corrected problem file"),
    "cancel": ("cancel", "stop a job"),
    "reconcile": (
        "reconcile",
        "after a database was restored: find what was sent meanwhile, then send on",
    ),
    "templates": ("templates", "list what is kept for other jobs"),
    "list": ("job_list", "list all jobs, newest first"),
}


def find_subcommand(name: str) -> Subcommand:
    """Imported only when it is used: all together would take seconds."""
    module = importlib.import_module(f"jobs.cli.{SUBCOMMANDS[name][0]}")
    return cast("Subcommand", module)


class LateParser(CommandParser):
    """That of a subcommand, which gets its arguments once the subcommand is chosen."""

    def __init__(self, *, subcommand: str, **given: Any) -> None:
        super().__init__(**given)
        self._missing = subcommand

    def load_arguments(self) -> None:
        if self._missing:
            find_subcommand(self._missing).add_arguments(self)
            self._missing = ""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self.load_arguments()
        return super().parse_known_args(args, namespace)


class Command(BaseCommand):
    help = "Submit a job and follow it from the shell."
    # They would import every page.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        subparsers = parser.add_subparsers(
            dest="action", required=True, metavar="ACTION", parser_class=LateParser
        )
        for name, (_module, words) in SUBCOMMANDS.items():
            subparsers.add_parser(name, help=words, subcommand=name)

    def handle(self, *args: Any, action: str, **options: Any) -> None:
        console = Console(self.stdout, self.stderr)
        try:
            if action != "check":  # which needs no database
                require_same_version()
                price_overrides.load_prices()
            with audit.acting_from("shell"):
                find_subcommand(action).run(console, options)
        except CommandError as error:
            # Not left to Django, which writes "CommandError" before it: that looks like a crash.
            console.say(str(error))
            sys.exit(error.returncode)
        except KeyboardInterrupt:
            console.say("Stopped waiting. The job was not changed.")
            sys.exit(130)
