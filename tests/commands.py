"""What runs in a process of its own: a command, or some lines of a test."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import django
from django.core.management import execute_from_command_line

from . import forking
from .running import SECONDS


@dataclass
class Ended:
    """What became of a process, and what it said on stdout and stderr."""

    status: int
    out: str
    errors: str


def run(main: Callable[..., None], *arguments: str, environment: Mapping[str, str]) -> Ended:
    """Run one of the functions below in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        said, errors = Path(folder, "out"), Path(folder, "errors")
        process = forking.start(main, str(said), *arguments, environment=environment, errors=errors)
        process.join(2 * SECONDS)
        assert process.exitcode is not None, "it hangs"
        out = said.read_text() if said.exists() else ""
        return Ended(process.exitcode, out, errors.read_text())


def run_command(said: str, *arguments: str) -> None:
    os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT, 0o600), 1)
    sys.argv = ["manage.py", *arguments]
    execute_from_command_line(sys.argv)


def run_script(said: str, text: str) -> None:
    sys.argv = ["script"]
    django.setup()
    run_bare_script(said, text)


def run_bare_script(said: str, text: str) -> None:
    """`text` sets Django up itself."""
    os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT, 0o600), 1)
    script = sys.modules["script"] = ModuleType("script")
    exec(text, vars(script))  # noqa: S102 - of a test
    sys.stdout.flush()
