"""What a person does not see in a workbook is asked on the page and by `job check`, in the same
words, and read as they choose."""

from __future__ import annotations

import html
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from jobs.actions import uploads
from jobs.models import Job

Drive = Callable[..., Job]
DATA = Path(__file__).parent.parent / "data" / "workbooks"
_BUTTON = re.compile(r'name="option" value="([^"]*)">\s*(.*?)\s*</button>')

# The file, a button, what is asked beside it, and column and cells of the first rows after it.
CASES = [
    (
        "hidden_rows.xlsx",
        "Only the visible rows and columns",
        "7 of 10 rows and the column “secret” are hidden in your spreadsheet.",
        ("text", ["text 1", "text 2", "text 3"]),
    ),
    (
        "merged_down.xlsx",
        "Fill down",
        "Cells are merged (A2:A4, A5:A7), so 4 cells in “category” are empty.",
        ("category", ["Fruit", "Fruit", "Fruit", "Veg", "Veg", "Veg"]),
    ),
    (
        "formats.xlsx",
        "As stored",
        "Column “value” has 6 formats: 7.5% (stored as 0.075), 02494 (stored as 2494), ",
        ("value", ["0.075", "2494", "1234.5", "2125551234"]),
    ),
    (
        "before_1900.xlsx",
        "As stored",
        "Column “born” has dates before 1900. The number -30698 was read as 1815-12-13.",
        ("born", ["-30698", "-1", "0", "1900-01-01", "2958466"]),
    ),
]


def draft(owner: User, drive: Drive, name: str) -> Job:
    upload = ContentFile((DATA / name).read_bytes(), name)
    job = uploads.create_job(owner, upload)
    return drive(job, until=lambda job: job.state == Job.State.DRAFT)


def page_of(client: Client, job: Job) -> str:
    return html.unescape(client.get(reverse("job", args=[job.pk])).content.decode())


def cells_of(job: Job, column: str) -> list[str]:
    at = job.columns.index(column)
    return [row.content[at] for row in job.rows.in_order()]


@pytest.mark.parametrize(("name", "button", "text", "after"), CASES)
def test_a_click_reads_the_workbook_as_a_person_means_it(
    alice: User,
    client_alice: Client,
    drive: Drive,
    name: str,
    button: str,
    text: str,
    after: tuple[str, list[str]],
) -> None:
    job = draft(alice, drive, name)
    page = page_of(client_alice, job)
    assert text in page
    options = {label: value for value, label in _BUTTON.findall(page)}
    client_alice.post(reverse("reading", args=[job.pk]), {"option": options[button]})
    job = drive(job, until=lambda job: job.state == Job.State.DRAFT)
    column, cells = after
    assert cells_of(job, column)[: len(cells)] == cells
    if "hidden" in name:
        assert (job.row_count, job.columns) == (3, ["id", "state", "text"])
    asked = [problem.kind for problem in job.problems.all() if problem.asks]
    assert not asked, "the question is not asked again"


def check(path: Path, *options: str) -> dict[str, Any]:
    out = io.StringIO()
    call_command("job", "check", str(path), "--json", *options, stdout=out)
    facts: dict[str, Any] = json.loads(out.getvalue())
    return facts


@pytest.mark.parametrize(("name", "button", "text", "after"), CASES)
def test_check_says_the_same_and_names_the_flag(
    name: str, button: str, text: str, after: tuple[str, list[str]]
) -> None:
    facts = check(DATA / name)
    said = [one for problem in facts["problems"] for one in problem["texts"]]
    assert any(one.startswith(text) for one in said)
    flags = {
        option["label"]: option["flags"]
        for problem in facts["problems"]
        for option in problem["options"]
    }
    expected = {
        "Only the visible rows and columns": "--visible-only",
        "Fill down": "--fill-merged",
        "As stored": f"--as-stored {after[0]}",
    }
    assert flags[button] == expected[button]
    again = check(DATA / name, *flags[button].split())
    assert not any(problem["question"] for problem in again["problems"])
    if button.startswith("Only"):
        assert (again["rows"], again["columns"]) == (3, ["id", "state", "text"])


def test_hidden_rows_stand_first_under_the_question(
    alice: User, client_alice: Client, drive: Drive
) -> None:
    page = page_of(client_alice, draft(alice, drive, "hidden_rows.xlsx"))
    asked = page.index("Did we read your file correctly?")
    assert asked < page.index("7 of 10 rows and the column “secret” are hidden")
