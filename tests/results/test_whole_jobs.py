"""A file of each format, and of each kind that raises a question: every cell that was read is in
the final files, in its place, as other readers see it. A table and a workbook are sent, too;
sending knows nothing of where rows are from."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import openpyxl
import pytest
import xlwt  # type: ignore[import-untyped]  # has no types
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.test import Client
from django.utils import timezone
from openpyxl.utils.escape import unescape

from jobs.actions import drafts, submissions, uploads
from jobs.ingest.delimiters import ONE_COLUMN
from jobs.ingest.shapes import EMPTY, FILL, FIX, NO_HEADER, SKIP, Choices
from jobs.models import Job, Outcome
from jobs.results import next_step, table, workbook
from jobs.rules.recipes import Recipe
from jobs.rules.rows_wanted import RowsWanted
from jobs.rules.spreadsheet_cells import plain_cell
from jobs.worker import tally

from ..conftest import Simulator, store_job
from ..driven_jobs import priced
from ..ingest.test_corrections import as_csv, bring_back, problem_file
from ..ingest.test_corrections import table_of as csv_rows

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


def styled_file() -> bytes:
    """A row and a column are hidden, cells are merged, and formats carry meaning."""
    book = openpyxl.Workbook()
    sheet = book.active
    for row in (
        ["code", "share", "secret", "group"],
        [2494, 0.075, "x", "North"],
        [17, 0.5, "y", None],
        [300, 1, "z", "South"],
    ):
        sheet.append(row)
    for line in (2, 3, 4):
        sheet.cell(line, 1).number_format = "00000"
        sheet.cell(line, 2).number_format = "0.0%"
    sheet.row_dimensions[4].hidden = True
    sheet.column_dimensions["C"].hidden = True
    sheet.merge_cells("D2:D3")
    raw = io.BytesIO()
    book.save(raw)
    return raw.getvalue()


class Kind(NamedTuple):
    """A file, how a person answers what is asked, and what is read then."""

    content: bytes
    choices: Choices
    columns: list[str]
    rows: list[list[str]]


SHOWN = Choices(hidden=SKIP, merged=FILL, as_shown=("code", "share"))
KINDS: dict[str, Kind] = {
    "hidden and merged.xlsx": Kind(
        styled_file(),
        SHOWN,
        ["code", "share", "group"],
        [["02494", "7.5%", "North"], ["00017", "50.0%", "North"]],
    ),
    "one bad byte.csv": Kind(
        "id,note\n1,Zoë\n2,b\n3,c\n4,d\n".encode().replace(b"2,b", b"2,\xff"),
        Choices(encoding="utf-8"),
        ["id", "note"],
        [["1", "Zoë"], ["3", "c"], ["4", "d"]],
    ),
    "stray quote.csv": Kind(
        b'id;note\n1;a, b\n2;5" long\n3;c, d\n',
        Choices(),
        ["id", "note"],
        [["1", "a, b"], ["2", '5" long'], ["3", "c, d"]],
    ),
    "sentences.txt": Kind(
        b"Boils fast, looks lovely\nBroke after a week\nFine, for the price\n",
        Choices(header=NO_HEADER, delimiter=ONE_COLUMN),
        ["column_1"],
        [["Boils fast, looks lovely"], ["Broke after a week"], ["Fine, for the price"]],
    ),
    "notes and totals.csv": Kind(
        b"Report of May\n\nid,sum\n1,10\n2,20\n3,5\nTotal,35\n",
        Choices(unlike=SKIP, subtotals=SKIP),
        ["id", "sum"],
        [["1", "10"], ["2", "20"], ["3", "5"]],
    ),
    "two tables.csv": Kind(
        b"id,name\n1,Ann\n2,Ben\n3,Cy\n\nplace,size,year\nRome,9,2001\nOslo,8,2002\nBonn,7,2003\n",
        Choices(header=6),
        ["place", "size", "year"],
        [["Rome", "9", "2001"], ["Oslo", "8", "2002"], ["Bonn", "7", "2003"]],
    ),
    "names twice.csv": Kind(
        b"name,name,{x}\nAnn,a,1\nBen,b,2\n",
        Choices(),
        ["name", "name (2)", "x"],
        [["Ann", "a", "1"], ["Ben", "b", "2"]],
    ),
    "nulls.csv": Kind(
        b"id,note\n1,\\N\n2,ok\n3,NULL\n",
        Choices(nulls=EMPTY),
        ["id", "note"],
        [["1", ""], ["2", "ok"], ["3", ""]],
    ),
    "chat.txt": Kind(
        b"[28.11.26, 10:15:01] Ann: Hi, Ben\n[28.11.26, 10:16:09] Ben: Hello\n",
        Choices(),
        ["column_1"],
        [["[28.11.26, 10:15:01] Ann: Hi, Ben"], ["[28.11.26, 10:16:09] Ben: Hello"]],
    ),
    "garbled.csv": Kind(
        "id,note\n1,CafÃ©\n2,Ã¼ber\n".encode(),
        Choices(garbled=FIX),
        ["id", "note"],
        [["1", "Café"], ["2", "über"]],
    ),
    "columns of lists.json": Kind(
        b'{"id": [1, 2], "note": ["a", "b"]}',
        Choices(),
        ["id", "note"],
        [["1", "a"], ["2", "b"]],
    ),
    "formulas after separators.csv": Kind(
        b'id,note\n1,"x;=1+2;y"\n2,"a\t=1+2"\n3,"@SUM(A1)"\n',
        Choices(),
        ["id", "note"],
        [["1", "x;=1+2;y"], ["2", "a\t=1+2"], ["3", "@SUM(A1)"]],
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_every_cell_that_was_read_is_in_the_final_files(
    alice: User, simulator: Simulator, drive: Drive, tmp_path: Path, name: str
) -> None:
    content, expected = FILES[name]
    job = read(alice, drive, content, name)
    assert job.columns == NAMES
    if name in SENT:
        recipe = Recipe("Say something about {{note}}.", "", "claude-haiku-5-5", 300)
        assert drafts.save_recipe(job, recipe, alice)
        job = drive(job, until=priced)
        assert submissions.confirm(job, job.plan_sha256, alice)
        job = drive(job)
    else:
        answer(job)
    check_final_files(job, expected, tmp_path)


@pytest.mark.parametrize("name", KINDS)
def test_what_a_person_chose_to_read_is_in_the_final_files(
    alice: User, drive: Drive, tmp_path: Path, name: str
) -> None:
    kind = KINDS[name]
    job = read(alice, drive, kind.content, name, kind.choices)
    assert job.columns == kind.columns
    answer(job)
    check_final_files(job, kind.rows, tmp_path)


def test_a_file_with_marked_rows_can_be_uploaded_and_corrected(
    alice: User, client_alice: Client, drive: Drive
) -> None:
    """Its marks are cells like others then. The next step of the job has none."""
    good: dict[str, Any] = {"outcome": Outcome.GOOD, "answer": "fine"}
    outcomes = [{**good, "earlier": 3, "earlier_job": 99}, good]
    job = store_job(alice, outcomes=outcomes, only_new=True)
    assert list(next_step.added_columns(job)) == ["answer", "status"]
    assert list(next_step.row_slices(job, RowsWanted())) == [
        [["Ada", "likes it", "fine", "Good"], ["Ben", "does not", "fine", "Good"]]
    ]
    file = b"".join(table.csv_chunks(job))
    again = read(alice, drive, file + b"Cid,too short\r\n", "again.csv")
    assert again.columns == [*job.columns, *table.ANSWER_COLUMNS, "reused"]
    again.recipe = replace(again.recipe, only_new=True)
    again.save()
    [header, *_] = csv_rows(b"".join(table.csv_chunks(again)))
    assert header[-1] == "reused_2"
    header, cid = csv_rows(problem_file(client_alice, again))
    assert header[-1] == "reused" and "reused_2" not in header
    corrected = as_csv([header, [*cid, *[""] * (len(header) - len(cid) - 1), "no"]])
    again = bring_back(client_alice, again, corrected, drive)
    assert [row.content[-1] for row in again.rows.in_order()] == ["yes", "", "no"]
    assert not again.unsent_count


def read(
    owner: User, drive: Drive, content: bytes, name: str, choices: Choices | None = None
) -> Job:
    job = uploads.create_job(owner, ContentFile(content, name), name, choices)
    job = drive(job, until=lambda job: job.state != Job.State.READING)
    assert job.state == Job.State.DRAFT
    return job


def answer(job: Job) -> None:
    for row in job.rows.filter(outcome=Outcome.WAITING):
        job.rows.filter(pk=row.pk).update(outcome=Outcome.GOOD, answer=f"Answer {row.number}")
    Job.objects.filter(pk=job.pk).update(state=Job.State.FINISHED, confirmed_at=timezone.now())
    tally.count_up(job)
    job.refresh_from_db()


def check_final_files(job: Job, rows: list[list[str]], folder: Path) -> None:
    """The good rows of each file are `rows` with their answers, as another reader finds them."""
    names, width = job.columns, len(job.columns) + 2
    good = job.rows.filter(outcome=Outcome.GOOD).order_by("number")
    answers = list(good.values_list("answer", flat=True))
    wanted = [[*cells, said, "Good"] for cells, said in zip(rows, answers, strict=True)]
    text = b"".join(table.csv_chunks(job)).decode("utf-8-sig")
    header, *lines = csv.reader(io.StringIO(text, newline=""))
    assert header[:width] == [*names, "answer", "status"]
    assert len(lines) == job.rows.count()
    found = [line[:width] for line in lines if line[width - 1] == "Good"]
    assert found == [[plain_cell(cell) for cell in row] for row in wanted]

    path = folder / "final.xlsx"
    workbook.write_workbook(job, path)
    header_cells, *sheet = openpyxl.load_workbook(path)["Rows"].iter_rows(values_only=True)
    assert list(header_cells[:width]) == [*names, "answer", "status"]
    cells = [[unescape(str(cell or "")) for cell in line[:width]] for line in sheet]
    assert [line for line in cells if line[-1] == "Good"] == wanted

    objects = [json.loads(line) for line in b"".join(table.jsonl_chunks(job)).splitlines()]
    assert [one["answer"] for one in objects if one["answer"]] == answers
