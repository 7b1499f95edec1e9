"""The terminal: what scripts want goes to stdout, words for people go to stderr."""

from __future__ import annotations

import sys
from decimal import Decimal
from typing import Any, cast

from django.core.management.base import CommandError, OutputWrapper

from ..rules.plain_text import PlainStream
from ..web.templatetags.show import at_most
from .exit_codes import WRONG_USE


class Console:
    """No control characters of cells, answers or messages reach the terminal."""

    def __init__(self, stdout: OutputWrapper, stderr: OutputWrapper) -> None:
        self.stdout, self.stderr = _plain(stdout), _plain(stderr)

    def write(self, text: str) -> None:
        """A line for scripts, on stdout."""
        self.stdout.write(text)

    def say(self, text: str) -> None:
        """A line for people, on stderr."""
        self.stderr.write(text, style_func=str)

    def ask_to_submit(self, rows: int, most: Decimal) -> bool:
        self.stderr.write(
            f"Submit {rows:,} rows for {at_most(most)}? [y/N] ", style_func=str, ending=""
        )
        self.stderr.flush()
        return sys.stdin.readline().strip().lower() in {"y", "yes"}


def require_confirmation(options: dict[str, Any]) -> None:
    """Raise CommandError when nobody can be asked about the price and --yes is missing."""
    if not options["yes"] and not sys.stdin.isatty():
        raise CommandError(
            "There is no terminal to confirm the price. Add --yes to submit without asking.",
            returncode=WRONG_USE,
        )


def _plain(output: OutputWrapper) -> OutputWrapper:
    return OutputWrapper(cast("Any", PlainStream(cast("Any", output)._out)), output.ending)
