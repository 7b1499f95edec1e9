"""Which tests PostgreSQL runs: those with real transactions, and enough others to send nearly all
statements.

The tests in ON_SQLITE_ONLY are left out there. tests/statements.py makes that list; a test that is
not in it, such as a new one, runs on both.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .environment import ROOT

# The folders of what holds SQL and locks.
FOLDERS = (
    "tests/actions",
    "tests/batches",
    "tests/drafts",
    "tests/models",
    "tests/notifications",
    "tests/results",
    "tests/retries",
    "tests/spending",
    "tests/web",
    "tests/worker",
)
CANDIDATES = ("-m", "not browser and not no_database", *FOLDERS)
ON_SQLITE_ONLY = Path(__file__).with_name("on_sqlite_only.txt")


def arguments() -> list[str]:
    """What pytest is to run, with this module as a plugin. Files of which all tests are left out
    are not even imported."""
    names = left_out()
    files = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("test_*.py"))]
    ignored = [f"--ignore={path.relative_to(ROOT)}" for path in files if tests_in(path) <= names]
    return ["-p", __name__, *ignored, *CANDIDATES]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    names = left_out()
    left = [item for item in items if name_of(item) in names]
    items[:] = [item for item in items if name_of(item) not in names]
    config.hook.pytest_deselected(items=left)


def name_of(item: pytest.Item) -> str:
    return item.nodeid.partition("[")[0]


def left_out() -> set[str]:
    """A test with all its parameters is one name, such as `tests/web/test_trash.py::test_x`."""
    lines = ON_SQLITE_ONLY.read_text().splitlines()
    return {line for line in lines if line and not line.startswith("#")}


def tests_in(path: Path) -> set[str]:
    names = re.findall(r"^ *def (test_\w+)", path.read_text(), flags=re.MULTILINE)
    return {f"{path.relative_to(ROOT)}::{name}" for name in names}
