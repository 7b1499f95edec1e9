"""A file of each kind: every cell that was read is in the final files, in its place, as other
readers see it. A table and a workbook are sent, too; sending knows nothing of where rows are from.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from datetime import date
from pathlib import Path

import openpyxl
import pytest
import xlwt  # type: ignore[import-untyped]  # has no types
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.utils import timezone
from openpyxl.utils.escape import unescape

from jobs.actions import drafts, submissions, uploads
from jobs.models import Job, Outcome
from jobs.results import table, workbook
from jobs.rules.recipes import Recipe
from jobs.rules.spreadsheet_cells import plain_cell
from jobs.worker import tally

from ..conftest import Simulator
from ..driven_jobs import priced

Drive = Callable[..., Job]
NAMES = ["id", "name", "note"]
ROWS = [
    ["007", "Zoë Müller", "two\nlines, and a comma"],
    ["8", 'say "hello"', "=1+1"],
    ["9", "", "last; one"],
]
# What a number is in a workbook: its text.
TYPED = [["7.5", "2024-05-01", "TRUE"], ["8", "", "x"], ["-3", "1999-12-31", "FALSE"]]


def csv_file(delimiter: str, encoding: str, end: str = "\r\n") -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, lineterminator=end).writerows([NAMES, *ROWS])
    return text.getvalue().encode(encoding)


def xlsx_file() -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    for row in (
        NAMES,
        [7.5, date(2024, 5, 1), True],
        [8, None, "x"],
        [-3, date(1999, 12, 31), False],
    ):
        sheet.append(row)
    raw = io.BytesIO()
    book.save(raw)
    return raw.getvalue()


def xls_file() -> bytes:
    book = xlwt.Workbook()
    sheet = book.add_sheet("Data")
    for line, row in enumerate([NAMES, *ROWS]):
        for column, cell in enumerate(row):
            sheet.write(line, column, cell)
    raw = io.BytesIO()
    book.save(raw)
    return raw.getvalue()


def objects() -> list[dict[str, str]]:
    return [dict(zip(NAMES, row, strict=True)) for row in ROWS]


FILES: dict[str, tuple[bytes, list[list[str]]]] = {
    "commas.csv": (csv_file(",", "utf-8"), ROWS),
    "excel.csv": (csv_file(";", "utf-8-sig"), ROWS),
    "western.csv": (csv_file(";", "cp1252"), ROWS),
    "unix.tsv": (csv_file("\t", "utf-8", "\n"), ROWS),
    "unicode text.txt": (csv_file("\t", "utf-16"), ROWS),
    "packed.csv.gz": (gzip.compress(csv_file(",", "utf-8")), ROWS),
    "book.xlsx": (xlsx_file(), TYPED),
    "old.xls": (xls_file(), ROWS),
    "lines.jsonl": ("\n".join(json.dumps(one) for one in objects()).encode(), ROWS),
    "list.json": (json.dumps(objects(), indent=2).encode(), ROWS),
}


SENT = ("excel.csv", "book.xlsx")


@pytest.mark.parametrize("name", FILES)
def test_every_cell_that_was_read_is_in_the_final_files(
    alice: User, simulator: Simulator, drive: Drive, tmp_path: Path, name: str
) -> None:
    content, expected = FILES[name]
    job = uploads.create_job(alice, ContentFile(content, name), name)
    job = drive(job, until=lambda job: job.state == Job.State.DRAFT)
    assert job.columns == NAMES
    if name in SENT:
        recipe = Recipe("Say something about {{note}}.", "", "claude-haiku-5-5", 300)
        assert drafts.save_recipe(job, recipe, alice)
        job = drive(job, until=priced)
        assert submissions.confirm(job, job.plan_sha256, alice)
        job = drive(job)
    else:
        for row in job.rows.all():
            job.rows.filter(pk=row.pk).update(outcome=Outcome.GOOD, answer=f"Answer {row.number}")
        Job.objects.filter(pk=job.pk).update(state=Job.State.FINISHED, confirmed_at=timezone.now())
        tally.count_up(job)
        job.refresh_from_db()

    answers = dict(job.rows.values_list("number", "answer"))
    wanted = [[*cells, answers[number], "Good"] for number, cells in enumerate(expected, start=1)]
    text = b"".join(table.csv_chunks(job)).decode("utf-8-sig")
    header, *lines = csv.reader(io.StringIO(text, newline=""))
    assert header[:5] == [*NAMES, "answer", "status"]
    assert [line[:5] for line in lines] == [[plain_cell(cell) for cell in row] for row in wanted]

    path = tmp_path / "final.xlsx"
    workbook.write_workbook(job, path)
    header_cells, *sheet = openpyxl.load_workbook(path)["Rows"].iter_rows(values_only=True)
    assert list(header_cells[:5]) == [*NAMES, "answer", "status"]
    assert [[unescape(str(cell or "")) for cell in line[:5]] for line in sheet] == wanted

    found = [json.loads(line) for line in b"".join(table.jsonl_chunks(job)).splitlines()]
    assert [line["answer"] for line in found] == [row[3] for row in wanted]
