"""The finished file has one line for each line of the upload, in its order, and runs nothing."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from openpyxl.utils.escape import unescape
from python_calamine import CalamineWorkbook

from jobs.cli import export
from jobs.ingest.corrections import EXCEL_CELL, beside
from jobs.models import Batch, Job, Outcome, Row
from jobs.results import saved_rows, table, workbook
from jobs.rules.answer_formats import AnswerColumn, AnswerKind
from jobs.rules.judging import MARKED_DOWN
from jobs.rules.spreadsheet_cells import exact_cell, plain_cell

from ..conftest import store_job
from ..running import SECONDS

# What is in a file is the same on each database.
pytestmark = pytest.mark.no_database

MakeJob = Callable[..., Job]
# What a spreadsheet would make something else of, were it let.
FORMULAS = [
    "=1+1",
    "+1+2",
    "-1+cmd|' /C calc'!A0",
    "@SUM(1)",
    "\t=1",
    "\r=1",
    '=HYPERLINK("http://x")',
]
TEXTS = [
    "007",
    "2024-05-01",
    "1e5",
    "12345678901234567890",
    "1,5",
    "TRUE",
    "#N/A",
    "http://example.com",
    "mailto:a@example.com",
    " blanks ",
    "two\nlines",
    "Zoë 😀",
    "<b>&amp;</b>",
    "'quoted",
    "_x0041_",
    "",
]


def joined(job: Job) -> list[list[str]]:
    text = b"".join(table.csv_chunks(job)).decode("utf-8-sig")
    return list(csv.reader(io.StringIO(text, newline="")))


def answered(job: Job, number: int, **values: Any) -> None:
    Row.objects.filter(job=job, number=number).update(**values)


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+1+1",
        "-1+cmd|' /C calc'!A0",
        "@SUM(1)",
        "  =1",
        "\uff1d1+1",
        '=HYPERLINK("http://x")',
        "\0=1",
    ],
)
def test_a_formula_becomes_plain_text(text: str) -> None:
    assert plain_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["-5", "+49", "-1,234.5", "-1e-5", "a=b", "", "Ann", "-7%", "007"])
def test_what_is_no_formula_stays_as_it_is(text: str) -> None:
    assert plain_cell(text) == text


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("x;=1+2;y", "x;'=1+2;y"),
        ("x\t@SUM(1)", "x\t'@SUM(1)"),
        ("x\n=1", "x\n'=1"),
        ("\t=1", "'\t'=1"),
        ("\r=1", "'\r'=1"),
        ("x\r\n+1+cmd|' /C calc'!A0", "x\r\n'+1+cmd|' /C calc'!A0"),
        ("=1;=2", "'=1;'=2"),
        ('x; "=1+2";y', 'x;\' "=1+2";y'),
        ("x;\uff1d1+1", "x;'\uff1d1+1"),
        ("x\n- 1+cmd|' /C calc'!A0", "x\n'- 1+cmd|' /C calc'!A0"),
        ("x;-5;+7,5;y", "x;-5;+7,5;y"),
        ("All good:\n- one item\n- another", "All good:\n- one item\n- another"),
        ("a;b=c", "a;b=c"),
        ("a;b\tc\nd", "a;b\tc\nd"),
    ],
)
def test_no_part_of_a_cell_is_a_formula(text: str, plain: str) -> None:
    """A spreadsheet with another list separator cuts the cell there."""
    assert plain_cell(text) == plain
    assert exact_cell(plain, text) == text
    for cells in csv.reader(io.StringIO(table._csv_lines([["1", plain_cell(text)]]).decode())):
        assert cells == ["1", plain]
    if plain != text:
        assert exact_cell(f"{plain} z", text) == f"{text} z", "what is added beside it stays"


def test_csv_with_semicolons(
    make_job: Callable[..., Job], client_alice: Client, alice: User
) -> None:
    job = make_job(alice, Job.State.FINISHED)
    url = reverse("download", args=[job.pk, "csv"])
    whole = client_alice.get(f"{url}?semicolons=1").getvalue()
    commas = client_alice.get(url).getvalue()
    assert whole.startswith(b"\xef\xbb\xbf")
    rows = [
        list(csv.reader(io.StringIO(raw.decode("utf-8-sig")), delimiter=one))
        for raw, one in ((whole, ";"), (commas, ","))
    ]
    assert rows[0] == rows[1] and len(rows[0][0]) > 5
    page = client_alice.get(reverse("job", args=[job.pk])).content.decode()
    assert f"{url}?semicolons=1" in page
    output = io.BytesIO()
    output.writelines(
        export.chunks_of(
            job,
            {
                "problem_file": False,
                "format": "csv",
                "only": "all",
                "plain": False,
                "semicolons": True,
            },
        )
    )
    assert output.getvalue() == whole


def test_our_columns_never_take_the_name_of_theirs() -> None:
    names = beside(table.ANSWER_COLUMNS, ["Answer", "status", "status_2"])
    assert names == [
        "answer_2",
        "status_3",
        "problem",
        "attempts",
        "input_tokens",
        "output_tokens",
        "cost_usd",
    ]


@pytest.mark.parametrize("ready_made", [False, True])
def test_answers_of_earlier_jobs_are_marked(
    alice: User, make_job: MakeJob, tmp_path: Path, ready_made: bool
) -> None:
    """Also to who may not know of the earlier job, beside columns of theirs with that name."""
    params = {"model": "claude-haiku-5-5", "max_tokens": 9, "messages": []}
    requests = [{"custom_id": name, "params": params} for name in "abc"]
    rows = {"rows": requests} if ready_made else {"columns": ("reused",), "rows": ["a", "b", "c"]}
    columns = () if ready_made else (AnswerColumn("reused_2", "text"),)
    reuses = make_job(alice, **rows, only_new=True, state=Job.State.WORKING)
    reuses.recipe = replace(reuses.recipe, answer=AnswerKind("columns", columns=columns))
    reuses.save()
    name = "reused" if ready_made else "reused_3"
    before = joined(reuses)
    assert before[0][-1] == name, "the header is the same whatever comes of it"
    assert [line[-1] for line in before[1:]] == ["", "", ""]
    answered(reuses, 2, earlier=7, earlier_job=99, outcome=Outcome.GOOD)
    header, *lines = joined(reuses)
    assert header == before[0] and [line[-1] for line in lines] == ["", "yes", ""]

    path = written(reuses, tmp_path)
    assert [line[-1] for line in sheet_of(path)] == [name, "", True, ""]
    [said] = [line for line in sheet_of(path, "Summary") if line[0] == "Reused answers"]
    assert said[1] == 1 and f"“{name}”" in said[2]
    parts = table.jsonl_chunks(reuses, sees=lambda _job: False)
    objects = [json.loads(line) for line in b"".join(parts).splitlines()]
    assert [one["reused"] for one in objects] == [False, True, False]
    assert {one["earlier_job"] for one in objects} == {None}

    reuses.recipe = replace(reuses.recipe, only_new=False)
    assert joined(reuses)[0] == header[:-1]
    assert "Reused answers" not in summary_of(written(reuses, tmp_path))


def test_the_joined_file_keeps_cells_and_order(alice: User, make_job: MakeJob) -> None:
    rows = [("Ann", 'say "hi", ok'), ("=1+1", "two\nlines"), ("Zoë 😀", "")]
    job = make_job(alice, columns=("name", "text"), rows=rows)
    answered(job, 2, answer="@evil", outcome=Outcome.GOOD, cause="", cost_pico=50_000)
    header, *lines = joined(job)
    assert header[:2] == ["name", "text"]
    assert header[2:] == list(table.ANSWER_COLUMNS)
    assert [line[:2] for line in lines] == [
        ["Ann", 'say "hi", ok'],
        ["'=1+1", "two\nlines"],
        ["Zoë 😀", ""],
    ]
    assert lines[1][2] == "'@evil"


def test_a_row_of_the_wrong_width_is_in_the_file_with_all_its_cells(
    alice: User, make_job: MakeJob
) -> None:
    job = make_job(alice, columns=("a", "b"), rows=[("1", "2"), ("3", "4"), ("5", "6")])
    left_out = {"outcome": Outcome.LEFT_OUT, "cause": "left_out", "batch": None}
    answered(job, 1, source='["1"]', problem="Too few.", **left_out)
    answered(job, 2, source='["1","2","3","4"]', problem="Too many.", **left_out)
    _header, few, many, _good = joined(job)
    assert few[:2] == ["1", ""]
    assert few[3:5] == ["Skipped", "Too few."]
    assert many[:2] == ["1", "2"]
    assert many[4] == "Too many. Extra cells: 3 | 4"


def test_jsonl_is_exact(alice: User, make_job: MakeJob) -> None:
    job = make_job(alice, columns=("name",), rows=[("=1+1",), ("Ann",)])
    answered(job, 1, answer="=2\u2028", outcome=Outcome.GOOD, cause="", cost_pico=1)
    answered(job, 2, answer="", outcome=Outcome.ERRORED, cause="api_error", message="Oops")
    lines = b"".join(table.jsonl_chunks(job)).decode().split("\n")
    first, second = json.loads(lines[0]), json.loads(lines[1])
    assert (first["cells"], first["answer"]) == ({"name": "=1+1"}, "=2\u2028")
    assert first["cost_usd"] == "0.000000000001"
    assert (second["answer"], second["status"]) == (None, "errored")
    assert second["problem"] == "Error at Anthropic: Oops"


def test_the_problem_file_names_every_row_that_is_left_out(alice: User, make_job: MakeJob) -> None:
    job = make_job(alice, columns=("a",), rows=[("1",), ("2",), ("3",)])
    left_out = Row.objects.filter(job=job, number__gt=1)
    left_out.update(outcome=Outcome.LEFT_OUT, problem="Bad.\nMend it.")
    text = b"".join(table.problem_chunks(job)).decode("utf-8-sig")
    lines = list(csv.reader(io.StringIO(text)))
    assert lines[0] == ["row", "problem", "how to fix", "a"]
    assert lines[1:] == [["3", "Bad.", "Mend it.", "2"], ["4", "Bad.", "Mend it.", "3"]]


def test_the_export_reads_a_slice_at_a_time(
    alice: User, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saved_rows, "SLICE", 2)
    job = make_job(alice, columns=("n",), rows=[(str(n),) for n in range(7)])
    assert [line[0] for line in joined(job)[1:]] == [str(n) for n in range(7)]
    assert len(list(table.csv_chunks(job))) == 1 + 4


# --- As a workbook --------------------------------------------------------------------------------


def written(job: Job, folder: Path, only: str = "all") -> Path:
    path = folder / "out.xlsx"
    workbook.write_workbook(job, path, only)
    return path


def sheet_of(path: Path, name: str = "Rows") -> list[list[Any]]:
    return CalamineWorkbook.from_path(path).get_sheet_by_name(name).to_python(skip_empty_area=False)


def summary_of(path: Path) -> dict[str, Any]:
    lines = sheet_of(path, "Summary")
    return {line[0]: line[1] for line in lines if line[0]}


def add_typed_answers(job: Job) -> None:
    """Answers in columns: 1 is whole, 2 has a formula, a long number and nothing left out."""
    kinds = [("mood", "text"), ("score", "number"), ("angry", "yes_no"), ("words", "list")]
    columns = tuple(AnswerColumn(name, kind) for name, kind in kinds)
    job.recipe = replace(job.recipe, answer=AnswerKind("columns", columns=columns))
    job.save()
    batch = Batch.objects.create(
        job=job, number=1, size=2, nonce="n", state="collected", provider_id="x", body_bytes=1
    )
    first = {"mood": "007", "score": 0.5, "angry": True, "words": ["a", "b"]}
    second = {"mood": "=1+1", "score": 12345678901234567890, "angry": False, "words": ["=1"]}
    for number, values in enumerate((first, second), start=1):
        tokens = {"input_tokens": 1200, "output_tokens": 34, "cost_pico": 1_234_567_890}
        good = {"outcome": Outcome.GOOD, "batch": batch, "answer": json.dumps(values)}
        answered(job, number, **good, **tokens)


def test_the_workbook_has_the_cells_that_were_read_as_text(
    alice: User, make_job: MakeJob, tmp_path: Path
) -> None:
    cells = [*FORMULAS, *TEXTS]
    columns = ["plain", "=1+1", "@x", "-x", "007"]
    rows = [[cell, *[cell] * 4] for cell in cells]
    job = make_job(alice, columns=columns, rows=rows)
    path = written(job, tmp_path)

    header, *lines = openpyxl.load_workbook(path)["Rows"].iter_rows()
    assert [cell.value for cell in header[:5]] == columns
    assert len(lines) == len(cells)
    for cell, line in zip(cells, lines, strict=True):
        # A line break is that of Excel.
        values = [unescape(found.value or "") for found in line[:5]]
        assert values == [cell.replace("\r", "\n")] * 5
    for found in (found for line in (header, *lines) for found in line[:5] if found.value):
        assert found.data_type in ("s", "inlineStr")
        assert found.hyperlink is None
        assert found.number_format == "@"  # so it is text also when it is edited
        assert found.quotePrefix == (plain_cell(found.value) != found.value)


def test_nothing_in_the_workbook_is_a_formula_or_a_link(
    alice: User, make_job: MakeJob, tmp_path: Path
) -> None:
    rows = [[cell, cell] for cell in [*FORMULAS, *TEXTS]]
    outcome = {"outcome": Outcome.LOOK, "answer": "=1+1", "message": "=2", "cause": "=3"}
    names = {"name": "=1+1", "upload_name": "=cmd.csv", "model": "=model"}
    job = make_job(alice, columns=FORMULAS[:2], rows=rows, outcomes=[outcome] * len(rows), **names)
    with zipfile.ZipFile(written(job, tmp_path)) as file:
        sheets = [name for name in file.namelist() if name.startswith("xl/worksheets/")]
        assert len(sheets) == 2  # no relations, which links would need
        for name in sheets:
            text = file.read(name).decode()
            assert "<f>" not in text and "<f " not in text and "hyperlink" not in text
            assert 't="str"' not in text


def test_csv_and_workbook_show_the_same_cells(
    alice: User, make_job: MakeJob, tmp_path: Path
) -> None:
    texts = [text for text in [*FORMULAS, *TEXTS] if "\r" not in text]
    job = make_job(alice, columns=("=a", "b"), rows=[[text, "b"] for text in texts])
    add_typed_answers(job)
    answered(job, 3, outcome=Outcome.ERRORED, answer="", cause="api_error", message="Oops")
    table, sheet = joined(job), sheet_of(written(job, tmp_path))
    assert len(sheet) == len(table)
    for line, cells in zip(table, sheet, strict=True):
        for csv_cell, cell in zip(line, cells, strict=True):
            if isinstance(cell, bool):
                assert csv_cell == ("yes" if cell else "no")
            elif isinstance(cell, float):
                assert float(csv_cell) == cell
            else:
                assert csv_cell == plain_cell(cell)


def test_what_we_add_to_the_workbook_has_types(
    alice: User, make_job: MakeJob, tmp_path: Path
) -> None:
    job = make_job(alice)
    add_typed_answers(job)
    sheet = openpyxl.load_workbook(written(job, tmp_path))["Rows"]
    header, first, second = ([cell.value for cell in line] for line in sheet.iter_rows())
    found = dict(zip(header, first, strict=True))
    assert (found["mood"], found["score"], found["angry"]) == ("007", 0.5, True)
    assert (found["words"], found["status"], found["answer"]) == ("a; b", "Good", None)
    assert (found["input_tokens"], found["output_tokens"]) == (1200, 34)
    assert found["cost_usd"] == 0.00123456789
    found = dict(zip(header, second, strict=True))
    # Excel would keep 15 of its digits.
    assert (found["score"], found["angry"]) == ("12345678901234567890", False)
    assert (found["mood"], found["words"]) == ("=1+1", "=1")


def test_an_answer_that_was_marked_down_keeps_its_columns(
    alice: User, make_job: MakeJob, tmp_path: Path
) -> None:
    job = make_job(alice)
    add_typed_answers(job)
    answered(job, 1, outcome=Outcome.LOOK, cause=MARKED_DOWN, message="much too harsh")
    header, first, _second = sheet_of(written(job, tmp_path))
    found = dict(zip(header, first, strict=True))
    assert (found["mood"], found["score"], found["answer"]) == ("007", 0.5, "")
    assert found["status"] == "Check this" and "much too harsh" in found["problem"]
    line = json.loads(next(table.jsonl_chunks(job)).splitlines()[0])
    assert line["answer"] == {"mood": "007", "score": 0.5, "angry": True, "words": ["a", "b"]}


def test_the_workbook_is_ready_to_be_read(alice: User, make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job(alice, columns=("id", "text"), rows=[("1", "long " * 500), ("2", "a\n" * 50)])
    book = openpyxl.load_workbook(written(job, tmp_path))
    assert book.sheetnames == ["Rows", "Summary"]
    sheet = book["Rows"]
    assert sheet.freeze_panes == "A2"
    assert sheet.auto_filter.ref == "A1:I3"
    assert not any(cell.alignment.wrap_text for line in sheet.iter_rows() for cell in line)
    assert sheet.sheet_format.customHeight and sheet.sheet_format.defaultRowHeight < 20
    widths = [sheet.column_dimensions[letter].width for letter in "AB"]
    assert widths[0] < 12 and 50 < widths[1] < 70


def test_the_summary_says_what_the_file_is(alice: User, make_job: MakeJob, tmp_path: Path) -> None:
    outcomes = [Outcome.GOOD, Outcome.LOOK, Outcome.EXPIRED]
    rows = [("a", "b")] * 3
    job = make_job(alice, rows=rows, outcomes=outcomes, name="May", spent_pico=0)
    job.spent_pico = 1_500_000_000_000
    path = written(job, tmp_path, "attention")
    found = summary_of(path)
    assert (found["Job"], found["File"], found["Model"]) == ("May", "reviews.csv", job.recipe.model)
    assert found["Charged, in US dollars"] == 1.5
    assert found["Rows in this file"] == 2
    assert (found["Good"], found["Check this"], found["Not reached in 24 hours"]) == (1, 1, 1)
    assert (found["Input tokens"], found["Output tokens"]) == (20, 5)
    assert "Waiting" not in found and "Shortened cells" not in found
    assert found["Finished (UTC)"].replace(tzinfo=None) is not None
    meanings = {line[0]: line[2] for line in sheet_of(path, "Summary")}
    assert all(meanings[outcome.label] for outcome in Outcome if outcome != Outcome.WAITING)


def test_more_rows_than_a_sheet_holds_go_on_in_the_next(
    alice: User, make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workbook, "SHEET_ROWS", 4)
    job = make_job(alice, columns=("n",), rows=[(str(n),) for n in range(7)])
    path = written(job, tmp_path)
    book = openpyxl.load_workbook(path)
    assert book.sheetnames == ["Rows", "Summary", "Rows 2", "Rows 3"]
    sheets = [sheet_of(path, name) for name in ("Rows", "Rows 2", "Rows 3")]
    assert [line[0] for sheet in sheets for line in sheet[1:]] == [str(n) for n in range(7)]
    assert {tuple(sheet[0]) for sheet in sheets} == {tuple(sheets[0][0])}
    assert [book[name].auto_filter.ref for name in ("Rows", "Rows 3")] == ["A1:H4", "A1:H2"]
    assert summary_of(path)["Sheets with rows"] == 3


@pytest.mark.parametrize("letter", ["x", "😀"])
def test_a_cell_that_is_too_long_for_excel_is_cut_and_that_is_said(
    alice: User, make_job: MakeJob, tmp_path: Path, letter: str
) -> None:
    longest = letter * (EXCEL_CELL // (1 if letter == "x" else 2))  # it counts as UTF-16 does
    job = make_job(alice, columns=("id", "text"), rows=[("1", longest), ("2", longest + letter)])
    path = written(job, tmp_path)
    _, first, second = sheet_of(path)
    assert first[1] == longest
    assert second[1].endswith(workbook.CUT) and second[1].startswith(letter * 16_000)
    assert len(second[1].encode("utf-16-le")) <= 2 * EXCEL_CELL
    assert summary_of(path)["Shortened cells"] == 1
    assert "row 3, column “text”" in [line[2] for line in sheet_of(path, "Summary")]
    assert joined(job)[2][1] == longest + letter


def test_of_many_shortened_cells_the_first_are_named(
    alice: User, make_job: MakeJob, tmp_path: Path
) -> None:
    rows = [("x" * 40_000,)] * (workbook.CUT_SHOWN + 5)
    path = written(make_job(alice, columns=("text",), rows=rows), tmp_path)
    assert summary_of(path)["Shortened cells"] == workbook.CUT_SHOWN + 5
    remarks = [line[2] for line in sheet_of(path, "Summary")]
    assert sum(remark.startswith("row ") for remark in remarks) == workbook.CUT_SHOWN
    assert remarks[-1] == "… and others"


def test_a_table_that_is_too_wide_for_excel_is_refused_in_words(
    alice: User, make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workbook, "MOST_COLUMNS", 9)
    written(make_job(alice, columns=("a", "b"), rows=[("1", "2")]), tmp_path)
    with pytest.raises(workbook.TooWide, match="Download CSV or JSONL"):
        written(make_job(alice, columns=("a", "b", "c"), rows=[("1", "2", "3")]), tmp_path)


def test_what_xml_cannot_hold_is_replaced(alice: User, make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job(alice, columns=("a",), rows=[("x\x00\x0b\x1f\ufffey",), ("a\r\nb\rc",)])
    first, second = sheet_of(written(job, tmp_path))[1:]
    assert first[0] == "x\ufffd\ufffd\ufffd\ufffdy"
    assert second[0] == "a\nb\nc"


def test_a_workbook_that_fails_leaves_nothing_behind(
    alice: User, make_job: MakeJob, tmp_path: Path
) -> None:
    def give_up(_rows: int, _bytes: int) -> None:
        raise OSError(28, "No space left on device")

    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(OSError, match="No space left"):
        workbook.write_workbook(make_job(alice), folder / "out.xlsx", between=give_up)
    assert not list(folder.iterdir())


# --- Which rows, and how --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("only", "names"),
    [
        ("all", "abcdefg"),
        ("good", "ag"),
        ("attention", "bcde"),
    ],
)
def test_some_of_the_rows(
    alice: User, make_job: MakeJob, tmp_path: Path, only: str, names: str
) -> None:
    outcomes = [
        Outcome.GOOD,
        Outcome.LOOK,
        Outcome.ERRORED,
        Outcome.EXPIRED,
        Outcome.CANCELED,
        Outcome.LEFT_OUT,
        Outcome.GOOD,
    ]
    job = make_job(alice, columns=("a",), rows=[(name,) for name in "abcdefg"], outcomes=outcomes)
    text = b"".join(table.csv_chunks(job, only)).decode("utf-8-sig")
    cells = list(csv.reader(io.StringIO(text)))
    lines = b"".join(table.jsonl_chunks(job, only)).splitlines()
    assert "".join(line[0] for line in cells[1:]) == names
    assert "".join(json.loads(line)["cells"]["a"] for line in lines) == names
    assert "".join(line[0] for line in sheet_of(written(job, tmp_path, only))[1:]) == names


def test_a_plain_csv_is_without_the_mark(alice: User, make_job: MakeJob) -> None:
    job = make_job(alice)
    marked = b"".join(table.csv_chunks(job))
    assert marked.startswith(table.BOM)
    assert b"".join(table.csv_chunks(job, plain=True)) == marked.removeprefix(table.BOM)


@pytest.mark.parametrize(
    ("upload_name", "kind", "only", "name"),
    [
        ("reviews.csv", "xlsx", "all", "reviews - with answers.xlsx"),
        ("my reviews-2.csv", "csv", "good", "my reviews-2 - good rows.csv"),
        ("a.b.xlsx", "jsonl", "attention", "a.b - rows that need attention.jsonl"),
        ("=1+1.csv", "csv", "all", "1+1 - with answers.csv"),
        ("-rf.csv", "csv", "all", "rf - with answers.csv"),
        (" @x.csv", "raw", "all", "x - as received.jsonl"),
    ],
)
def test_names_of_files(
    alice: User, make_job: MakeJob, upload_name: str, kind: str, only: str, name: str
) -> None:
    assert table.file_name(make_job(alice, upload_name=upload_name), kind, only) == name


# What a cell may hold in its middle that is a formula where the cell is cut there.
INNER = ["x;=1+2;y", "x,=1+2,y", "x\t=1+2\ty", "one\n=1+2", 'a "b";=1+2', "x,@SUM(1),y"]


@pytest.fixture(scope="module")
def libreoffice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of its settings, which it makes at its first start."""
    return tmp_path_factory.mktemp("libreoffice")


@pytest.mark.skipif(not shutil.which("soffice"), reason="LibreOffice (soffice) is not installed")
def test_libreoffice_runs_nothing_wherever_it_cuts_the_cells(
    alice: User, db: None, tmp_path: Path, libreoffice: Path
) -> None:
    """A file with commas opened where a semicolon or a tab separates, and the other way round."""
    texts = [*INNER, *(text for text in FORMULAS if "\r" not in text)]
    job = store_job(alice, columns=("a", "b", "c"), rows=[["1", text, text] for text in texts])
    for name in ("commas", "semicolons"):
        chunks = table.csv_chunks(job, semicolons=name == "semicolons")
        (tmp_path / f"{name}.csv").write_bytes(b"".join(chunks))
    both = ["commas", "semicolons"]
    # One start opens all the files that are cut in the same way.
    for separator, names in {";": ["commas"], ",": ["semicolons"], "\t": both}.items():
        out = tmp_path / f"out{ord(separator)}"
        command = ["soffice", f"-env:UserInstallation=file://{libreoffice}/profile", "--headless"]
        command += [f"--infilter=CSV:{ord(separator)},34,76,1", "--convert-to", "ods"]
        command += ["--outdir", str(out), *(str(tmp_path / f"{name}.csv") for name in names)]
        environment = {**os.environ, "HOME": str(libreoffice)}
        subprocess.run(command, check=True, capture_output=True, timeout=SECONDS, env=environment)
        for name in names:
            with zipfile.ZipFile(out / f"{name}.ods") as file:
                assert b"table:formula" not in file.read("content.xml"), (name, separator)


@pytest.mark.skipif(not shutil.which("soffice"), reason="LibreOffice (soffice) is not installed")
def test_libreoffice_opens_both_and_runs_nothing(
    alice: User, db: None, tmp_path: Path, libreoffice: Path
) -> None:
    texts = [text for text in [*FORMULAS, *TEXTS] if "\r" not in text and text != "\t=1"]
    job = store_job(alice, columns=("=a", "b"), rows=[[text, text] for text in texts])
    (tmp_path / "in.csv").write_bytes(b"".join(table.csv_chunks(job)))
    workbook.write_workbook(job, tmp_path / "in.xlsx")
    for name in ("in.csv", "in.xlsx"):
        command = ["soffice", f"-env:UserInstallation=file://{libreoffice}/profile", "--headless"]
        # Comma, quotation mark, UTF-8, from line 1; column 1 as text, column 2 as it likes.
        command += ["--infilter=CSV:44,34,76,1,1/2/2/1"] if name == "in.csv" else []
        command += ["--convert-to", "ods", "--outdir", str(tmp_path / name[3:])]
        command += [str(tmp_path / name)]
        environment = {**os.environ, "HOME": str(libreoffice)}
        subprocess.run(command, check=True, capture_output=True, timeout=SECONDS, env=environment)
    from_csv = CalamineWorkbook.from_path(tmp_path / "csv" / "in.ods").get_sheet_by_index(0)
    from_xlsx = CalamineWorkbook.from_path(tmp_path / "xlsx" / "in.ods").get_sheet_by_index(0)
    cells = from_csv.to_python(skip_empty_area=False)
    assert [
        exact_cell(str(line[0]), text) for line, text in zip(cells[1:], texts, strict=True)
    ] == texts
    assert [line[0] for line in from_xlsx.to_python(skip_empty_area=False)[1:]] == texts
    for name in ("csv", "xlsx"):
        with zipfile.ZipFile(tmp_path / name / "in.ods") as file:
            assert b"table:formula" not in file.read("content.xml")
