"""Rows that cannot be sent are given out in a file, corrected there, and taken back in place."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from jobs.actions import job_basics, submissions, uploads
from jobs.drafts import estimates, reading
from jobs.ingest import corrections
from jobs.ingest.shapes import Choices
from jobs.models import Job, JobEvent, Outcome, files
from jobs.rules.spreadsheet_cells import exact_cell, plain_cell
from jobs.worker import advance, sweep

from ..conftest import Simulator, change_job, start_reader
from ..workbooks import fill, sheet_of, workbook, xlsx

Drive = Callable[..., Job]
# What is the same on any database.
about_files = pytest.mark.no_database
Table = list[list[str]]
# Ben has a cell too few, Cid one too many.
PEOPLE = b"name,text,city\nAnn,=1+1,Ulm\nBen,red\nCid,a,b,c\nDan,ok,Rom\n"
OURS = ["row", "problem", "how to fix"]


def is_read(job: Job) -> bool:
    return job.state != Job.State.READING


@pytest.fixture
def make(alice: User, drive: Drive) -> Callable[..., Job]:
    def make(content: bytes = PEOPLE, name: str = "people.csv", **choices: Any) -> Job:
        upload = ContentFile(content, name)
        job = uploads.create_job(alice, upload, choices=Choices(**choices))
        return drive(job, until=is_read)

    return make


def problem_file(client: Client, job: Job) -> bytes:
    answer = client.get(reverse("download", args=[job.pk, "problems"]))
    return b"".join(answer.streaming_content)  # type: ignore[attr-defined]  # a stream has it


def table_of(content: bytes, delimiter: str = ",") -> Table:
    return list(
        csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), delimiter=delimiter)
    )


def as_csv(table: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(table)
    return text.getvalue().encode()


def bring_back(client: Client, job: Job, content: bytes, drive: Drive) -> Job:
    upload = SimpleUploadedFile("people - problems.csv", content)
    answer = client.post(reverse("correct", args=[job.pk]), {"file": upload})
    assert answer.status_code == 302
    return drive(job, until=is_read)


def page_of(client: Client, job: Job) -> str:
    return client.get(reverse("job", args=[job.pk])).content.decode()


def contents(job: Job) -> list[list[str]]:
    return [row.content for row in job.rows.in_order()]


def refusal(job: Job) -> str:
    (text,) = job.problems.get(kind="correction").texts
    return str(text)


# --- Out and back ---------------------------------------------------------------------------------


def test_rows_are_given_out_corrected_and_taken_back_in_their_places(
    make: Callable[..., Job], client_alice: Client, drive: Drive
) -> None:
    job = make()
    header, ben, cid = table_of(problem_file(client_alice, job))
    assert header == [*OURS, "name", "text", "city"]
    assert (ben[0], ben[3:]) == ("3", ["Ben", "red"])
    assert (cid[0], cid[3:]) == ("4", ["Cid", "a", "b", "c"])
    assert "2 cells, and there are 3 columns" in ben[1]
    assert "Add the missing cells" in ben[2]
    ben[3:] = ["Ben", "red", "Bonn"]
    cid[3:] = ["Cid", "a, b", "c"]
    job = bring_back(client_alice, job, as_csv([header, ben, cid]), drive)
    assert (job.state, job.row_count, job.unsent_count) == (Job.State.DRAFT, 4, 0)
    assert contents(job) == [
        ["Ann", "=1+1", "Ulm"],
        ["Ben", "red", "Bonn"],
        ["Cid", "a, b", "c"],
        ["Dan", "ok", "Rom"],
    ]
    assert [row.line for row in job.rows.in_order()] == [2, 3, 4, 5]
    assert set(job.rows.values_list("outcome", flat=True)) == {Outcome.WAITING}
    corrected = job.problems.get(kind="corrected")
    assert (corrected.count, corrected.lines, corrected.leaves_out) == (2, [3, 4], False)
    page = page_of(client_alice, job)
    assert "These rows were corrected" in page
    assert "Upload the corrected rows" not in page, "there is nothing left to correct"


@about_files
def test_some_now_others_later_and_what_is_still_wrong_is_said(
    make: Callable[..., Job], client_alice: Client, drive: Drive
) -> None:
    job = make()
    header, _ben, cid = table_of(problem_file(client_alice, job))
    job = bring_back(client_alice, job, as_csv([header, [*cid[:3], "Cid", "a", "b"]]), drive)
    assert (job.unsent_count, contents(job)[2]) == (1, ["Cid", "a", "b"])
    header, ben = table_of(problem_file(client_alice, job))
    job = bring_back(client_alice, job, as_csv([header, [*ben, "Bonn", "more"]]), drive)
    assert (job.unsent_count, contents(job)[1]) == (1, ["Ben", "red", "Bonn", "more"])
    assert job.problems.get(kind="many_cells").lines == [3]
    job = bring_back(client_alice, job, as_csv([header, [*ben, "Bonn"]]), drive)
    assert job.unsent_count == 0
    assert contents(job)[1:3] == [["Ben", "red", "Bonn"], ["Cid", "a", "b"]]


@about_files
def test_what_came_back_unchanged_is_still_left_out(
    make: Callable[..., Job], client_alice: Client, drive: Drive
) -> None:
    """A spreadsheet fills all rows to the width of the widest, and adds columns without a name."""
    job = make()
    table = table_of(problem_file(client_alice, job))
    padded = [[*row, "", "", ""][:7] for row in table]
    job = bring_back(client_alice, job, as_csv(padded), drive)
    assert job.unsent_count == 2
    assert not job.problems.filter(kind="corrected").exists()
    assert job.problems.get(kind="not_corrected").count == 2, "and it is said"
    assert contents(job)[1:3] == [["Ben", "red"], ["Cid", "a", "b", "c"]]


@about_files
def test_the_corrected_file_may_be_a_workbook_with_its_columns_in_another_order(
    make: Callable[..., Job], client_alice: Client, drive: Drive, tmp_path: Path
) -> None:
    job = make()
    with workbook(tmp_path / "corrected") as book:
        rows: list[list[Any]] = [["city", "row"], ["Bonn", 3]]
        fill(book.add_worksheet("Data"), rows)
    job = bring_back(client_alice, job, (tmp_path / "corrected").read_bytes(), drive)
    assert (job.unsent_count, contents(job)[1]) == (1, ["Ben", "red", "Bonn"])


@about_files
def test_a_column_that_is_not_theirs_is_left_out_and_named(
    make: Callable[..., Job], client_alice: Client, drive: Drive
) -> None:
    job = make()
    back = b"note,row,name,text,city\nmine,3,Ben,red,Bonn\n"
    job = bring_back(client_alice, job, back, drive)
    assert (job.unsent_count, contents(job)[1]) == (1, ["Ben", "red", "Bonn"])
    assert "has a column “note”" in job.problems.get(kind="correction_left").title


@about_files
def test_a_column_that_has_another_name_now_is_refused(
    make: Callable[..., Job], client_alice: Client, drive: Drive
) -> None:
    job = make(b"name,2024-01-01,city\nAnn,1,Ulm\nBen,2\n")
    job = bring_back(client_alice, job, b"row,name,01.01.2024,city\n3,Ben,2,Bonn\n", drive)
    assert "no column “2024-01-01”" in refusal(job)
    assert contents(job)[1] == ["Ben", "2"]


@about_files
def test_a_name_that_looks_like_a_formula_is_found_again(
    make: Callable[..., Job], client_alice: Client, drive: Drive
) -> None:
    job = make(b"name,@handle,city\nAnn,a1,Ulm\nBen\n")
    header, ben = table_of(problem_file(client_alice, job))
    assert header[4] == "'@handle"
    job = bring_back(client_alice, job, as_csv([header, [*ben, "b1", "Bonn"]]), drive)
    assert contents(job)[1] == ["Ben", "b1", "Bonn"]


# --- Nothing but what was corrected ---------------------------------------------------------------


@about_files
def test_a_cell_that_is_not_there_leaves_what_was_there(
    make: Callable[..., Job], client_alice: Client, drive: Drive
) -> None:
    job = make()
    back = b'{"row": 3, "city": "Bonn"}\n{"row": 4, "name": "Cid", "text": "a", "city": null}\n'
    job = bring_back(client_alice, job, back, drive)
    assert contents(job)[1] == ["Ben", "red", "Bonn"]
    job = bring_back(client_alice, make(), b"row,name,text,city\n4,Cid\n", drive)
    assert contents(job)[2] == ["Cid", "a", "b", "c"]
    assert job.unsent_count == 2


@about_files
def test_a_row_that_can_be_sent_is_not_overwritten(
    make: Callable[..., Job], client_alice: Client, drive: Drive
) -> None:
    # With the problem file of another upload, say.
    job = make()
    job = bring_back(client_alice, job, b"row,name,text,city\n2,Eve,x,Rom\n3,Ben,x,Rom\n", drive)
    assert contents(job)[:2] == [["Ann", "=1+1", "Ulm"], ["Ben", "x", "Rom"]]
    assert "Row 2 was already valid" in job.problems.get(kind="correction_left").title
    job = bring_back(client_alice, make(), b"row,name,text,city\n3,Eve,x,Rom\n", drive)
    assert "nothing in common" in refusal(job)
    assert contents(job)[1] == ["Ben", "red"]


@about_files
def test_two_copies_of_a_problem_file_add_up(
    make: Callable[..., Job], client_alice: Client, drive: Drive
) -> None:
    job = make()
    header, ben, cid = table_of(problem_file(client_alice, job))
    right = [*cid[:3], "Cid", "a", "b"]
    job = bring_back(client_alice, job, as_csv([header, [*ben, "Bonn"], cid]), drive)
    job = bring_back(client_alice, job, as_csv([header, ben, right]), drive)
    assert contents(job)[1:3] == [["Ben", "red", "Bonn"], ["Cid", "a", "b"]]
    job = bring_back(client_alice, job, b"row,city\n3,Kiel\n", drive)
    assert contents(job)[1:3] == [["Ben", "red", "Kiel"], ["Cid", "a", "b"]]


@pytest.mark.parametrize(
    ("own", "written"),
    [("a\r\nb", "a\nb"), ("x" * 40_000, "x" * 32_767), ("Łukasz", "?ukasz"), ("=1", "'=1")],
)
@pytest.mark.no_database
def test_what_a_spreadsheet_does_by_itself_is_no_correction(own: str, written: str) -> None:
    assert corrections._meant(written, own) == own
    assert corrections._meant("new", own) == "new"


@pytest.mark.parametrize("delimiter", [";", "\t", "|", "^"])
@about_files
def test_the_problem_file_can_be_read_back_whatever_its_widths(
    make: Callable[..., Job], client_alice: Client, drive: Drive, delimiter: str
) -> None:
    lines = ["name;text;city;zip", "Ann;a;b;1", "Ben;x", "Cid;x;y", "Dan;x", "Eve;x;y"]
    sep = f"sep={delimiter}\n" if delimiter == "^" else ""
    job = make((sep + "\n".join(lines).replace(";", delimiter)).encode())
    given = problem_file(client_alice, job)
    job = bring_back(client_alice, job, given, drive)
    assert not job.problems.filter(kind="correction").exists()
    assert job.unsent_count == 4
    corrected = given.replace(
        f"Ben{delimiter}x".encode(), f"Ben{delimiter}x;1;2".replace(";", delimiter).encode()
    )
    job = bring_back(client_alice, job, corrected, drive)
    assert (job.unsent_count, contents(job)[1]) == (3, ["Ben", "x", "1", "2"])


@about_files
def test_the_encoding_of_the_upload_is_that_of_the_corrected_file(
    make: Callable[..., Job], client_alice: Client, drive: Drive
) -> None:
    back = "row;imię;tekst\n3;Łucja;źle\n".encode("cp1250")
    text = "imię;tekst\nAnna;dobrze\nŁucja\n"
    job = make(text.encode("cp1250"), encoding="cp1250")
    job = bring_back(client_alice, job, back, drive)
    assert contents(job)[1] == ["Łucja", "źle"]
    assert not job.problems.filter(kind="correction_note").exists()
    job = make(text.encode())
    job = bring_back(client_alice, job, back.replace("źle".encode("cp1250"), b"ok"), drive)
    assert contents(job)[1] == ["Łucja", "ok"], "it is known by its own letters"


@about_files
def test_columns_without_a_name_are_not_theirs(
    make: Callable[..., Job], client_alice: Client, drive: Drive
) -> None:
    job = make(b"one,two,KEEP,four,five\nx,y\n", header=-1)
    back = b"row,column_5,\n2,5,\n"
    job = bring_back(client_alice, job, back, drive)
    assert contents(job)[1] == ["x", "y", "", "", "5"]


@about_files
def test_the_problem_file_runs_nothing_and_comes_back_exact(
    make: Callable[..., Job], client_alice: Client, drive: Drive
) -> None:
    job = make(b"a,b,c\n=1+1,'=2\n@x,'y\n")
    header, first, second = table_of(problem_file(client_alice, job))
    assert first[3:] == ["'=1+1", "'=2"]
    assert second[3:] == ["'@x", "'y"]
    table = [header, [*first, "'=3"], [*second, "-4"]]
    job = bring_back(client_alice, job, as_csv(table), drive)
    assert contents(job) == [["=1+1", "'=2", "=3"], ["@x", "'y", "-4"]]


@about_files
def test_a_part_that_is_no_formula_comes_back_exact(
    make: Callable[..., Job], client_alice: Client, drive: Drive
) -> None:
    job = make(b'a,b,c\n"x;=1+2;y","don\'t;\'=2"\n')
    header, first = table_of(problem_file(client_alice, job))
    assert first[3:] == ["x;'=1+2;y", "don't;'=2"]
    job = bring_back(client_alice, job, as_csv([header, [*first, "-4"]]), drive)
    assert contents(job) == [["x;=1+2;y", "don't;'=2", "-4"]]


@pytest.mark.parametrize("cell", ["=1", "'=1", "''=1", "-5", "'", "", "x", "'x", "+49 30"])
@pytest.mark.no_database
def test_a_cell_that_nobody_touched_is_the_same(cell: str) -> None:
    assert exact_cell(plain_cell(cell), cell) == cell


@about_files
def test_the_file_has_the_delimiter_of_the_upload_and_never_one_name_twice(
    make: Callable[..., Job], client_alice: Client, drive: Drive
) -> None:
    job = make(b"row;Problem;x\n1;2\n3;4;5\n")
    header, line = table_of(problem_file(client_alice, job), ";")
    assert header == ["row_2", "problem_2", "how to fix", "row", "Problem", "x"]
    job = bring_back(client_alice, job, as_csv([header, [*line, "9"]]), drive)
    assert contents(job) == [["1", "2", "9"], ["3", "4", "5"]]


@about_files
def test_a_formula_without_a_result_gets_one(
    make: Callable[..., Job], client_alice: Client, drive: Drive, tmp_path: Path
) -> None:
    cells = "".join(
        f'<row r="{row}"><c r="A{row}" t="inlineStr"><is><t>{name}</t></is></c>{other}</row>'
        for row, name, other in [
            (1, "name", '<c r="B1" t="inlineStr"><is><t>sum</t></is></c>'),
            (2, "Ann", '<c r="B2"><f>1+1</f></c>'),
            (3, "Ben", '<c r="B3"><f>1+1</f></c>'),
        ]
    )
    cells += '<row r="4"><c r="A4"><f>1+1</f></c></row>'
    xlsx(tmp_path / "file", sheet_of(cells))
    job = make((tmp_path / "file").read_bytes(), "book.xlsx")
    header, ann, ben, cid = table_of(problem_file(client_alice, job))
    table = [header, [*ann[:3], "Ann", "2"], [*ben[:3], "Benjamin", ""], [*cid[:3], "Cid", "3"]]
    job = bring_back(client_alice, job, as_csv(table), drive)
    assert contents(job) == [["Ann", "2"], ["Benjamin", ""], ["Cid", "3"]]
    assert list(job.rows.in_order().values_list("outcome", flat=True)) == [
        Outcome.WAITING,
        Outcome.LEFT_OUT,
        Outcome.WAITING,
    ]


def test_ready_made_requests_come_back_to_the_letter(
    make: Callable[..., Job], client_alice: Client, drive: Drive
) -> None:
    params = {"model": "claude-haiku-5-5", "max_tokens": 9, "messages": "?"}
    right = [{"role": "user", "content": "Grüße"}]
    lines = [{"custom_id": str(n), "params": params} for n in (1, 1, 2)]
    job = make("\n".join(map(json.dumps, lines)).encode(), "requests.jsonl")
    assert (job.kind, job.unsent_count) == (Job.Kind.REQUESTS, 3)
    given = [json.loads(line) for line in problem_file(client_alice, job).splitlines()]
    assert [line["row"] for line in given] == ["1", "2", "3"]
    assert all(line["problem"] and line["how to fix"] for line in given)
    for number, line in enumerate(given):
        line["request"]["params"]["messages"] = right
        line["request"]["custom_id"] = f"my {number}"
    back = "\n".join(json.dumps(line, ensure_ascii=False) for line in given[:2])
    job = bring_back(client_alice, job, back.encode(), drive)
    assert job.unsent_count == 1
    assert [row.content["custom_id"] for row in job.rows.in_order()] == ["my 0", "my 1", "2"]
    assert job.reading.models["claude-haiku-5-5"]["rows"] == 2


@about_files
def test_rows_of_a_json_list_are_told_apart_by_their_number(
    make: Callable[..., Job], client_alice: Client, drive: Drive
) -> None:
    """They can all be in one line."""
    long = "x" * 1_000_001
    job = make(json.dumps([{"a": "1"}, {"a": long}, {"a": "3"}]).encode(), "list.json")
    header, line = table_of_long(problem_file(client_alice, job))
    assert (header, line[0]) == ([*OURS, "a"], "2")
    job = bring_back(client_alice, job, as_csv([header, [*line[:3], "2"]]), drive)
    assert contents(job) == [["1"], ["2"], ["3"]]


def table_of_long(content: bytes) -> Table:
    before = csv.field_size_limit(10_000_000)
    try:
        return table_of(content)
    finally:
        csv.field_size_limit(before)


# --- What cannot be used --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 9, "not a text file"),
        (PEOPLE, "no column “row”"),
        (b"row,name\nthree,Ben\n", "Line 2 of it: The column “row” contains “three”"),
        (b"row,name\n3,Ben\n3,Bob\n", "Line 3 of it: Row 3 appears twice"),
        (b'row,name\n3,"Ben\n', "never closed"),
        (b'{"custom_id": "1", "params": {}}\n', "no column “row”"),
    ],
)
@about_files
def test_a_corrected_file_that_cannot_be_used_changes_nothing_and_it_is_said_why(
    make: Callable[..., Job], client_alice: Client, drive: Drive, content: bytes, words: str
) -> None:
    job = make()
    before = contents(job)
    upload = SimpleUploadedFile("corrected.csv", content)
    answer = client_alice.post(reverse("correct", args=[job.pk]), {"file": upload}, follow=True)
    job = drive(job, until=is_read)
    assert (job.state, job.unsent_count, contents(job)) == (Job.State.DRAFT, 2, before)
    assert job.corrections == []
    page = page_of(client_alice, job) if content else answer.content.decode()
    assert words in page
    assert not content or "Your corrected file was not used." in page


@about_files
def test_a_request_that_is_no_object_is_refused(
    make: Callable[..., Job], client_alice: Client, drive: Drive
) -> None:
    job = make(b'{"custom_id": "1", "params": {}}\n', "requests.jsonl")
    for bad, words in (
        (b'{"row": 1, "request": [1]}\n', "row 1 is not a JSON object"),
        (b'{"row": 1, "requests": {}}\n', "no column “request”"),
    ):
        job = bring_back(client_alice, job, bad, drive)
        assert words in refusal(job)


@about_files
def test_a_row_that_is_not_there_is_named(
    make: Callable[..., Job], client_alice: Client, drive: Drive
) -> None:
    job = make()
    job = bring_back(client_alice, job, b"row,city\n3,Bonn\n4711,Rom\n", drive)
    assert job.unsent_count == 1
    assert "row 4,711" in job.problems.get(kind="correction_left").title


@about_files
def test_a_corrected_file_that_kills_the_process_is_not_used(
    make: Callable[..., Job],
    client_alice: Client,
    drive: Drive,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = make()
    job = bring_back(client_alice, job, b"row,city\n3,Bonn\n", drive)
    settings.READING_MEMORY_BYTES = 150_000_000
    settings.MAX_LINE_BYTES = settings.MAX_CELL_BYTES = 10**9
    job = bring_back(client_alice, job, b"row,city\n4," + b"x" * 60_000_000, drive)
    assert (job.state, job.unsent_count) == (Job.State.DRAFT, 1)
    assert "memory" in refusal(job)
    assert len(job.corrections) == 1, "the earlier one is still there"
    assert contents(job)[1] == ["Ben", "red", "Bonn"]


# --- What else becomes of it ----------------------------------------------------------------------


@about_files
def test_corrections_can_be_taken_back_and_stay_when_a_choice_changes(
    make: Callable[..., Job], client_alice: Client, drive: Drive
) -> None:
    job = make()
    job = bring_back(client_alice, job, b"row,city\n3,Bonn\n", drive)
    address = reverse("reading", args=[job.pk])
    client_alice.post(address, {"reading-delimiter": ",", "reading-encoding": "cp1252"})
    job = drive(job, until=is_read)
    assert (job.unsent_count, contents(job)[1]) == (1, ["Ben", "red", "Bonn"])
    (stored,) = (correction.file for correction in job.corrections)
    assert "Undo the corrected rows" in page_of(client_alice, job)
    client_alice.post(address, {"uncorrected": "yes"})
    job = drive(job, until=is_read)
    assert (job.unsent_count, job.corrections) == (2, [])
    assert not files.stored_path(stored).exists()


def test_the_price_is_for_the_rows_as_they_are_read_now(
    make: Callable[..., Job], client_alice: Client, drive: Drive, simulator: Simulator
) -> None:
    """Whoever confirms the price that was shown before sends nothing."""
    job = make()
    change_job(job, prompt="Greet {{name}}.", next_action_at=timezone.now())
    job = drive(job, until=has_price)
    before, plan = estimates.current(job), job.plan_sha256
    assert before and before.rows == 2
    job = bring_back(client_alice, job, b"row,city\n3,Bonn\n", drive)
    client_alice.post(reverse("confirm", args=[job.pk]), {"plan_sha256": plan})
    job = drive(job, until=has_price)
    after = estimates.current(job)
    assert after and (after.rows, job.state) == (3, Job.State.DRAFT)
    client_alice.post(reverse("reading", args=[job.pk]), {"fill": "yes"})
    job = drive(job, until=has_price)
    assert estimates.current(job) != after
    assert not submissions.confirm(job, plan, job.owner)
    assert submissions.confirm(job, job.plan_sha256, job.owner)


def has_price(job: Job) -> bool:
    return job.state == Job.State.DRAFT and job.plan_sha256 != ""


def test_of_two_tabs_one_is_told_to_look_again(
    make: Callable[..., Job], client_alice: Client, drive: Drive, alice: User
) -> None:
    job = make()
    first, second = (Job.objects.get(pk=job.pk) for _tab in range(2))
    assert uploads.correct_rows(first, ContentFile(b"row,city\n3,Bonn\n", "a.csv"), alice)
    assert not uploads.correct_rows(second, ContentFile(b"row,city\n3,Kiel\n", "b.csv"), alice)
    assert contents(drive(job, until=is_read))[1] == ["Ben", "red", "Bonn"]
    first, second = (Job.objects.get(pk=job.pk) for _tab in range(2))
    assert uploads.replace_upload(first, ContentFile(b"a\nx\n", "a.csv"), alice)
    assert not uploads.replace_upload(second, ContentFile(b"b\nx\n", "b.csv"), alice)
    assert not uploads.correct_rows(second, ContentFile(b"row,city\n3,Kiel\n", "b.csv"), alice)
    assert contents(drive(job, until=is_read)) == [["x"]]
    folder = files.upload_path(job).parent
    assert len([path for path in folder.iterdir() if path.is_file()]) == 1


@about_files
def test_corrections_come_back_with_the_way_the_file_was_read(
    make: Callable[..., Job], client_alice: Client, drive: Drive
) -> None:
    job = make(b"row,name,city\nx,Ann,Ulm\ny,Ben\n")
    job = bring_back(client_alice, job, b"row_2,row,name,city\n3,y,Ben,Bonn\n", drive)
    address = reverse("reading", args=[job.pk])
    client_alice.post(address, {"reading-no_header": "on"})
    job = drive(job, until=is_read)
    assert "was not used" in refusal(job)
    client_alice.post(address, {})
    job = drive(job, until=is_read)
    assert contents(job)[1] == ["y", "Ben", "Bonn"]


@about_files
def test_corrections_are_of_one_sheet(
    make: Callable[..., Job], client_alice: Client, drive: Drive, tmp_path: Path
) -> None:
    with workbook(tmp_path / "file") as book:
        for name in ("One", "Two"):
            fill(book.add_worksheet(name), [["name"], ["Ann"]])
    job = make((tmp_path / "file").read_bytes(), "book.xlsx")
    Job.objects.filter(pk=job.pk).update(corrections=[{"file": "x", "used": True}])
    job.refresh_from_db()
    assert uploads.change_choices(job, Choices(sheet="One"), job.owner), (
        "the one that is read anyway"
    )
    job.refresh_from_db()
    assert job.corrections
    Job.objects.filter(pk=job.pk).update(state=Job.State.DRAFT)
    assert uploads.change_choices(job, Choices(sheet="Two"), job.owner)
    assert drive(job, until=is_read).corrections == []


@about_files
def test_no_problem_file_while_the_file_is_read(
    make: Callable[..., Job], client_alice: Client
) -> None:
    job = make()
    assert uploads.change_choices(job, Choices(fill=True), job.owner)
    answer = client_alice.get(reverse("download", args=[job.pk, "problems"]))
    assert answer.status_code == 404


@about_files
def test_a_reading_that_is_stopped_is_no_fault_of_the_file(
    make: Callable[..., Job], client_alice: Client, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make()

    def stopped(errors: IO[bytes]) -> subprocess.Popen[bytes]:
        child = start_reader(errors)
        child.terminate()
        return child

    with monkeypatch.context() as patch:
        patch.setattr(reading, "start_child", stopped)
        upload = ContentFile(b"row,city\n3,Bonn\n", "corrected.csv")
        assert uploads.correct_rows(job, upload, job.owner)
        advance.advance(job.pk)
    job.refresh_from_db()
    assert (job.state, len(job.corrections)) == (Job.State.READING, 1)
    assert contents(drive(job, until=is_read))[1] == ["Ben", "red", "Bonn"]


def test_a_job_that_was_confirmed_takes_no_corrections(
    make_job: Callable[..., Job], alice: User, client_alice: Client
) -> None:
    job = make_job(alice, Job.State.WORKING)
    for name in ("correct", "replace"):
        upload = SimpleUploadedFile("corrected.csv", b"row,name\n2,Bob\n")
        answer = client_alice.post(reverse(name, args=[job.pk]), {"file": upload}, follow=True)
        assert "The file was not used" in answer.content.decode()
    job.refresh_from_db()
    assert (job.state, job.readings, job.corrections) == (Job.State.WORKING, 0, [])
    folder = files.upload_path(job).parent
    assert [path.name for path in folder.iterdir() if path.is_file()] == [job.upload_file]


@about_files
def test_no_file_and_one_that_is_too_large_are_refused(
    make: Callable[..., Job], client_alice: Client, settings: Settings
) -> None:
    job = make()
    address = reverse("correct", args=[job.pk])
    assert "Choose a file first" in client_alice.post(address, follow=True).content.decode()
    settings.MAX_UPLOAD_BYTES = 10
    upload = SimpleUploadedFile("corrected.csv", b"row,name\n3,Bob\n")
    answer = client_alice.post(address, {"file": upload}, follow=True)
    assert "larger than 10 bytes" in answer.content.decode()
    job.refresh_from_db()
    assert job.readings == 0


@about_files
def test_a_file_takes_the_place_of_another_and_the_prompt_stays(
    make: Callable[..., Job], client_alice: Client, drive: Drive
) -> None:
    job = make(b"a,b\n")
    assert job.state == Job.State.UNREADABLE
    change_job(job, prompt="Greet {{a}}.")
    old = files.upload_path(job)
    assert "Upload the corrected file" in page_of(client_alice, job)
    upload = SimpleUploadedFile("better.csv", b"a,b\nAnn,x\n")
    client_alice.post(reverse("replace", args=[job.pk]), {"file": upload})
    job = drive(job, until=is_read)
    assert (job.state, job.upload_name, job.name, job.recipe.prompt) == (
        Job.State.DRAFT,
        "better.csv",
        "better",
        "Greet {{a}}.",
    )
    assert contents(job) == [["Ann", "x"]]
    assert not old.exists()
    assert files.upload_path(job).read_bytes() == b"a,b\nAnn,x\n"
    log = " ".join(JobEvent.objects.filter(job=job).values_list("text", flat=True))
    assert "Uploaded better.csv in place of people.csv." in log


def test_a_file_that_is_replaced_while_it_is_read_leaves_nothing(
    alice: User, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "SLICE", 10)
    job = uploads.create_job(alice, ContentFile(b"a,b\n" + b"1,2\n" * 100, "people.csv"))
    store = reading._store

    def replace_meanwhile(*args: Any) -> None:
        store(*args)
        now = Job.objects.get(pk=job.pk)
        assert uploads.replace_upload(now, ContentFile(b"c\nx\n", "other.csv"), alice)

    with monkeypatch.context() as patch:
        patch.setattr(reading, "_store", replace_meanwhile)
        advance.advance(job.pk)
    job = drive(job, until=is_read)
    assert (job.columns, contents(job)) == (["c"], [["x"]])


def test_a_job_that_is_deleted_leaves_no_corrected_file(
    make: Callable[..., Job], client_alice: Client, drive: Drive, alice: User
) -> None:
    job = make()
    job = bring_back(client_alice, job, b"row,city\n3,Bonn\n", drive)
    folder = files.upload_path(job).parent
    assert len([path for path in folder.iterdir() if path.is_file()]) == 2
    assert job_basics.delete_job(job, alice)
    sweep.sweep()
    assert not [path for path in folder.iterdir() if path.is_file()]
