"""What the docs promise is held by tests that exist, and what they link to and name is there."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest
from django.core.management import CommandError, load_command_class

from .environment import OF_BOTO3, ROOT, setting_names
from .run import QUICK

pytestmark = pytest.mark.no_database

TESTS = {
    name
    for path in (ROOT / "tests").rglob("test_*.py")
    for name in re.findall(r"^ *def (test_\w+)\(", path.read_text(), flags=re.MULTILINE)
}
GUIDES = [page for name in ("running", "using") for page in (ROOT / "docs" / name).glob("*.md")]
OURS = {path.stem for path in (ROOT / "jobs" / "management" / "commands").glob("[a-z]*.py")}


def test_every_guarantee_names_the_tests_that_hold_it() -> None:
    text = (ROOT / "docs" / "guarantees.md").read_text()
    promises = text.partition("## What is not promised")[0]
    rows = [line for line in promises.splitlines() if line.startswith("| ")]
    held = [row for row in rows if not row.startswith("| If |")]
    assert len(held) > 20
    for row in held:
        names = re.findall(r"`(test_\w+)`", row.rpartition("| ")[2] or row)
        assert names, f"nothing holds: {row}"
        assert set(names) <= TESTS, f"no such test: {set(names) - TESTS}"


def test_each_requirement_of_asvs_is_answered_once_and_shown() -> None:
    """Met: with tests, pages or files that exist. Open ones are in the list at the top."""
    page = ROOT / "docs" / "running" / "asvs.md"
    opened, _, chapters = page.read_text().partition("## What is open")[2].partition("\n## ")
    rows = [line.split(" | ") for line in chapters.splitlines() if re.match(r"\| \d", line)]
    answers = {name: row for row in rows for name in row[0].strip("| ").split(", ")}
    list_of_both = (ROOT / "tests" / "data" / "asvs-5.0.0.txt").read_text()
    wanted = [line.split()[0] for line in list_of_both.splitlines()]
    assert sorted(answers) == sorted(wanted)
    assert sum(row[0].count(",") + 1 for row in rows) == len(wanted), "one is there twice"
    for row in rows:
        state, shown = row[1].partition(":")[0].partition(",")[0].strip("| "), row[2]
        files = re.findall(r"`([\w./-]+\.\w+)`", shown)
        names = re.findall(r"`(test_\w+)`", shown)
        assert set(names) <= TESTS, f"no such test: {set(names) - TESTS}"
        assert all((ROOT / file).exists() for file in files), row
        assert state in {"met", "no", "open"}, row
        assert state != "met" or names or files or "](" in shown or "above" in row[1], row
    said = set(re.findall(r"\d+\.\d+\.\d+", opened))
    assert said == {name for name, row in answers.items() if row[1].strip("| ").startswith("open")}


def test_the_quick_tests_are_files_that_exist() -> None:
    assert all((ROOT / name).exists() for name in QUICK)


def pages() -> list[Path]:
    return [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


def without_code(page: Path) -> str:
    return re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of the headings of a page."""
    titles = re.findall(r"^#+ (.+)$", without_code(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_link_leads_to_a_page_and_a_heading_that_exist() -> None:
    found, broken = 0, []
    for page in pages():
        for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page)):
            if target.startswith(("https://", "http://")):
                continue
            found += 1
            name, _, anchor = target.partition("#")
            other = (page.parent / name).resolve() if name else page
            if not other.exists() or (anchor and anchor not in anchors(other)):
                broken.append((page.name, target))
    assert found > 60
    assert not broken


def test_pages_for_contributors_name_files_and_code_that_exist() -> None:
    text = "\n".join(
        (ROOT / name).read_text()
        for name in ("docs/contributing.md", "docs/guarantees.md", "CONTRIBUTING.md")
    )
    named = set(re.findall(r"`((?:jobs|tests|docs|templates|static)/[\w./-]*)`", text))
    assert len(named) > 40
    assert not {name for name in named if not (ROOT / name).exists()}
    rows = re.findall(r"^\|[^|\n]+\| `([\w/]+\.py)`: `(\w+)`", text, flags=re.MULTILINE)
    assert len(rows) > 8
    for module, name in rows:
        assert re.search(rf"\b{name}\b", (ROOT / module).read_text()), (module, name)


def test_the_command_line_page_has_every_subcommand_and_option() -> None:
    page = (ROOT / "docs" / "using" / "command-line.md").read_text()
    parser = load_command_class("jobs", "job").create_parser("manage.py", "job")
    (actions,) = (
        action.choices
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    assert len(actions) > 15
    assert not {name for name in actions if f"`job {name}" not in page}
    for one in actions.values():
        one.load_arguments()
    options = {
        option
        for one in actions.values()
        for action in one._actions
        for option in action.option_strings
        if option.startswith("--")
    }
    assert set(re.findall(r"--[a-z][a-z-]+", page)) == options


def commands_of(page: Path) -> list[list[str]]:
    """Calls of manage.py within sentences. Blocks are run by test_book.py."""
    return [call.split() for call in re.findall(r"manage\.py ([a-z][^`|\n]*)`", without_code(page))]


def test_every_command_that_a_page_names_is_understood() -> None:
    found = [one for page in GUIDES for one in commands_of(page)]
    known = [one for one in found if one[0] in OURS and not any("[" in word for word in one)]
    assert len(known) > 15
    for name, *arguments in known:
        parser = load_command_class("jobs", name).create_parser("manage.py", name)
        try:
            parser.parse_args(arguments)
        except CommandError as error:
            # A sentence may name no more than the command, or its place.
            assert re.search(r"required: |expected one", str(error)), (name, arguments, str(error))


def test_every_setting_that_a_page_names_exists() -> None:
    known = {*setting_names(), "DATA_DIR"}
    for page in (ROOT / "docs").rglob("*.md"):
        named = set(re.findall(r"`([A-Z][A-Z0-9]*_[A-Z_]+)(?:=[^`]*)?`", without_code(page)))
        unknown = named - known - OF_BOTO3
        unknown -= {"ANSWER_COLUMNS", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE"}  # of libraries
        unknown -= {"REQUESTS_CA_BUNDLE"}
        assert not unknown, page.name
