"""What the docs promise is held by tests that exist."""

from __future__ import annotations

import re

import pytest

from .environment import ROOT
from .run import QUICK

pytestmark = pytest.mark.no_database

TESTS = {
    name
    for path in (ROOT / "tests").rglob("test_*.py")
    for name in re.findall(r"^ *def (test_\w+)\(", path.read_text(), flags=re.MULTILINE)
}


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


def test_the_quick_tests_are_files_that_exist() -> None:
    assert all((ROOT / name).exists() for name in QUICK)
