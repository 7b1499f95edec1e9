"""What runs in a process of its own: a command, or some lines of a test. Nothing here knows the
settings before it runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import django
from django.core.management import execute_from_command_line


def run_command(said: str, *arguments: str) -> None:
    os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT, 0o600), 1)
    sys.argv = ["manage.py", *arguments]
    execute_from_command_line(sys.argv)


def run_script(said: str, text: str) -> None:
    Path(said).touch()
    sys.argv = ["script"]
    django.setup()
    exec(text, {})  # noqa: S102 - of a test
