"""Commands import only what they need: a shell script may ask for the status of a job every second,
and nobody likes to wait for a site to start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .environment import ROOT, clean_environment
from .running import with_database

# Slow to import, and used by some commands, pages or steps only.
HEAVY = {
    "anthropic",
    "apprise",
    "boto3",
    "cryptography.x509",
    "fido2",
    "gunicorn",
    "httpx2",
    "huey",
    "jobs.ingest.csv_reader",
    "jobs.ingest.workbook_reader",
    "jobs.web.urls",
    "jobs.worker.advance",
    "jwt",
    "markdown_it",
    "openpyxl",
    "psycopg",
    "pydantic",
    "requests",
    "xlsxwriter",
}
OF_STATUS = """
import sys
from django.core.management import execute_from_command_line
try:
    execute_from_command_line(["manage.py", "job", "list"])
    execute_from_command_line(["manage.py", "job", "status", "1"])
except SystemExit:
    pass  # there is no such job
"""
OF_SERVE = """
import sys, django
django.setup()
from jobs.management.commands import serve
serve.set_up()
serve.set_up_path()
"""


@pytest.mark.parametrize("script", [OF_STATUS, OF_SERVE], ids=["job status", "serve"])
def test_what_is_slow_to_import_is_imported_where_it_is_used(tmp_path: Path, script: str) -> None:
    given = f"{script}\nprint('imported:', *sorted({HEAVY!r} & set(sys.modules)))"
    environment = clean_environment(with_database(tmp_path / "data"))
    environment["DJANGO_SETTINGS_MODULE"] = "batchsite.settings"
    done = subprocess.run(
        [sys.executable, "-c", given],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines()[-1:] == ["imported:"], done.stdout + done.stderr
