"""The version is one number: in the code, on the command line, on every page, in the changelog."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.template.loader import render_to_string
from django.test import Client

from batchsite import __version__

from .environment import ROOT, clean_environment
from .running import SECONDS

pytestmark = pytest.mark.no_database

HEADING = re.compile(r"^## (.+)$", re.MULTILINE)
RELEASE = re.compile(r"\[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d)")
KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def changelog() -> str:
    return (ROOT / "CHANGELOG.md").read_text()


def test_the_newest_release_in_the_changelog_is_this_version() -> None:
    unreleased, *releases = HEADING.findall(changelog())

    assert unreleased == "[Unreleased]"
    found = [RELEASE.fullmatch(release) for release in releases]
    assert found and all(found), releases
    numbers = [(match[1], date.fromisoformat(match[2])) for match in found if match]
    assert numbers[0][0] == __version__
    days = [day for _, day in numbers]
    assert days == sorted(days, reverse=True)


def test_the_changelog_uses_the_usual_headings_only() -> None:
    assert set(re.findall(r"^### (.+)$", changelog(), re.MULTILINE)) <= KINDS


@pytest.mark.parametrize("argument", ["version", "--version"])
def test_the_command_line_says_the_version(argument: str, tmp_path: Path) -> None:
    said = subprocess.run(
        [sys.executable, "manage.py", argument],
        cwd=ROOT,
        env=clean_environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    )

    assert said.stdout == f"{__version__}\n"


@pytest.mark.parametrize("path", ["/", "/jobs/new/", "/people/", "/nowhere/"])
def test_every_page_shows_the_version_in_its_footer(root: User, path: str) -> None:
    client = Client()
    client.force_login(root)

    assert f">batchsite {__version__}</footer>" in client.get(path).content.decode()


def test_the_page_for_an_error_shows_it_without_a_context(db: None) -> None:
    assert f">batchsite {__version__}</footer>" in render_to_string("errors/500.html")
