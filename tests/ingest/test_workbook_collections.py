"""Workbooks of public collections are read as they were when somebody last looked at the readings;
see workbook_readings.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ..workbook_readings import READINGS, names, reading_of

pytestmark = pytest.mark.no_database

STORED = json.loads(READINGS.read_text())


@pytest.mark.parametrize(("collection", "name"), list(names()))
def test_a_workbook_is_read_as_before(collection: str, name: str, tmp_path: Path) -> None:
    assert reading_of(collection, name, tmp_path) == STORED[f"{collection}/{name}"]


def test_no_reading_is_left_over() -> None:
    assert set(STORED) == {f"{collection}/{name}" for collection, name in names()}
