"""A file is read by a process of its own, as its owner wants, and a file that kills that process is
only "could not be read"."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.test import Client
from django.urls import reverse

from jobs.actions import job_basics, uploads
from jobs.drafts import reading
from jobs.ingest import protocol
from jobs.ingest.protocol import Failed, FileRead, ReaderInput, RowsRead
from jobs.ingest.shapes import Choices, Limits, Unreadable
from jobs.models import Job, Outcome
from jobs.worker import advance

from ..conftest import start_reader
from ..workbooks import fill, workbook

Drive = Callable[..., Job]
MESSY = "Report\n\nname;text;city\nAnn;grün;Köln\nBen;rot\nCid;a;b;c\n".encode("cp1252")


def order(path: Path, content: bytes, **limits: int) -> ReaderInput:
    path.write_bytes(content)
    return ReaderInput(str(path), Choices(), Limits(**limits))


def read(owner: User, drive: Drive, content: bytes, **choices: Any) -> Job:
    upload = ContentFile(content, "people.csv")
    job = uploads.create_job(owner, upload, choices=Choices(**choices))
    return drive(job, until=lambda job: job.state != Job.State.READING)


# --- The process ----------------------------------------------------------------------------------


@pytest.fixture
def own_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "start_child", start_reader)


with_its_own_interpreter = pytest.mark.usefixtures("own_interpreter")


@pytest.mark.no_database
@with_its_own_interpreter
def test_a_process_of_its_own_reads_and_says_what_it_found(tmp_path: Path) -> None:
    *rows, end = reading.read_apart(order(tmp_path / "file", b"a,b\n1,2\n3,4\n"))
    assert isinstance(end, FileRead)
    assert end.summary.columns == ["a", "b"]
    assert [row[:3] for part in rows if isinstance(part, RowsRead) for row in part.rows] == [
        (2, '["1","2"]', 2),
        (3, '["3","4"]', 2),
    ]


@pytest.mark.no_database
@with_its_own_interpreter
def test_memory_is_limited(tmp_path: Path) -> None:
    line = b"x" * 50_000_000
    too_much = order(tmp_path / "file", b"a\n" + line, memory=120_000_000, line=10**9, cell=10**9)
    with pytest.raises(Unreadable, match="more than 120 MB of memory"):
        for answer in reading.read_apart(too_much):
            if isinstance(answer, Failed):
                raise Unreadable(*answer.findings)


@pytest.mark.no_database
@with_its_own_interpreter
def test_what_comes_of_a_small_file_is_limited(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b",".join(b"c%d" % n for n in range(400)) + b"\n" + b"x\n" * 5_000)
    wide = ReaderInput(str(path), Choices(fill=True), Limits(rows_bytes=1_000_000))
    *_rows, end = reading.read_apart(wide)
    assert isinstance(end, Failed)
    assert "more than 1 MB" in end.findings[0].text


@pytest.mark.no_database
@with_its_own_interpreter
def test_computing_time_is_limited(tmp_path: Path) -> None:
    packed = gzip.compress(b"a,b\n" + b"1,2\n" * 10_000_000, compresslevel=1)
    too_long = order(tmp_path / "file", packed, seconds=1, rows=10**9)
    with pytest.raises(Unreadable, match="longer than 1 seconds"):
        for _answer in reading.read_apart(too_long):
            pass


@pytest.mark.no_database
@with_its_own_interpreter
def test_a_process_that_dies_is_a_file_that_could_not_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    children: list[int] = []
    popen = subprocess.Popen

    def note(*args: Any, **kwargs: Any) -> Any:
        child = popen(*args, **kwargs)
        children.append(child.pid)
        return child

    monkeypatch.setattr(subprocess, "Popen", note)
    found = reading.read_apart(order(tmp_path / "file", b"a,b\n" + b"1,2\n" * 500_000))
    assert isinstance(next(found), RowsRead)
    os.kill(children[0], signal.SIGKILL)
    with pytest.raises(Unreadable, match="memory"):
        list(found)


@pytest.mark.no_database
@with_its_own_interpreter
def test_nobody_reads_on_when_nobody_listens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    children: list[Any] = []
    popen = subprocess.Popen

    def note(*args: Any, **kwargs: Any) -> Any:
        children.append(popen(*args, **kwargs))
        return children[0]

    monkeypatch.setattr(subprocess, "Popen", note)
    found = reading.read_apart(order(tmp_path / "file", b"a,b\n" + b"1,2\n" * 500_000))
    next(found)
    found.close()  # type: ignore[attr-defined]  # a stream has it
    assert children[0].returncode is not None


@pytest.mark.no_database
def test_answers_come_whole_however_they_are_cut() -> None:
    said: list[protocol.ReaderOutput] = [RowsRead([(2, '["1"]', 1, "")], 9), Failed([])]
    raw = b"".join(map(protocol.frame, said))
    assert list(protocol.frames(bytes([byte]) for byte in raw)) == said
    assert list(protocol.frames(iter([raw, raw[:-1]]))) == [*said, said[0]]


def test_a_request_that_can_be_mended_is_mended_in_all_with_one_click(
    alice: User, client_alice: Client, drive: Drive
) -> None:
    content = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9}
    params = {"model": "claude-haiku-5-5", **content, "temperature": 0.5}
    lines = [json.dumps({"custom_id": f"my {n}", "params": params}) for n in range(3)]
    job = read(alice, drive, "\n".join(lines).encode())
    assert (job.kind, job.unsent_count) == (Job.Kind.REQUESTS, 3)
    (problem,) = job.problems.all()
    assert (problem.count, problem.leaves_out) == (3, True)
    page = client_alice.get(reverse("job", args=[job.pk])).content.decode()
    assert problem.fix_label in page
    client_alice.post(reverse("reading", args=[job.pk]), {"fix": problem.fix})
    job = drive(job, until=lambda job: job.state == Job.State.DRAFT)
    assert (job.row_count, job.unsent_count) == (3, 0)
    for row in job.rows.in_order():
        assert "temperature" not in row.source
        assert row.content["custom_id"] == f"my {row.number - 1}"
    client_alice.post(reverse("reading", args=[job.pk]), {"plain": "yes"})
    job = drive(job, until=lambda job: job.state == Job.State.DRAFT)
    assert job.unsent_count == 3


# --- As its owner wants ---------------------------------------------------------------------------


def test_a_messy_file_is_read_and_what_was_made_of_it_is_said(alice: User, drive: Drive) -> None:
    job = read(alice, drive, MESSY)
    assert (job.state, job.columns) == (Job.State.DRAFT, ["name", "text", "city"])
    found = job.reading
    assert (found.encoding, found.delimiter, found.header) == ("cp1252", ";", 3)
    assert (job.row_count, job.unsent_count, found.blank_lines) == (3, 2, 1)
    kinds = {problem.kind: problem.leaves_out for problem in job.problems.all()}
    assert kinds == {
        "few_cells": True,
        "many_cells": True,
        "mostly_skipped": False,
        "above_header": False,
    }
    assert [row.outcome for row in job.rows.in_order()] == [
        Outcome.WAITING,
        Outcome.LEFT_OUT,
        Outcome.LEFT_OUT,
    ]


def test_a_choice_is_applied_and_kept(alice: User, client_alice: Client, drive: Drive) -> None:
    job = read(alice, drive, MESSY)
    page = client_alice.get(reverse("job", args=[job.pk])).content.decode()
    assert "Western European (Windows-1252)" in page
    assert "names in line 3" in page
    choices = {"reading-encoding": "cp850", "reading-header": "1", "reading-fill": "on"}
    answer = client_alice.post(reverse("reading", args=[job.pk]), choices)
    assert answer.status_code == 302
    job = drive(job, until=lambda job: job.state == Job.State.DRAFT)
    assert job.columns == ["Report"]
    assert job.reading.encoding == "cp850"
    assert job.choices.fill
    page = client_alice.get(reverse("job", args=[job.pk])).content.decode()
    assert '<option value="cp850" selected>' in page
    client_alice.post(reverse("reading", args=[job.pk]), {})
    job = drive(job, until=lambda job: job.state == Job.State.DRAFT)
    assert job.columns == ["name", "text", "city"]


def test_short_rows_are_filled_with_one_click(
    alice: User, client_alice: Client, drive: Drive
) -> None:
    job = read(alice, drive, MESSY)
    client_alice.post(reverse("reading", args=[job.pk]), {"fill": "yes"})
    job = drive(job, until=lambda job: job.state == Job.State.DRAFT)
    assert job.unsent_count == 1
    assert job.rows.get(number=2).content == ["Ben", "rot", ""]


def test_an_unreadable_file_can_be_read_otherwise(
    alice: User, client_alice: Client, drive: Drive
) -> None:
    job = read(alice, drive, b"a,a\nAnn,x\n", header=9)
    assert job.state == Job.State.UNREADABLE
    page = client_alice.get(reverse("job", args=[job.pk])).content.decode()
    assert "no column names in line 9" in page
    client_alice.post(reverse("reading", args=[job.pk]), {"reading-no_header": "on"})
    job = drive(job, until=lambda job: job.state == Job.State.DRAFT)
    assert (job.columns, job.row_count) == (["column_1", "column_2"], 2)
    assert not job.problems.exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"reading-encoding": "klingon"},
        {"reading-header": "0"},
        {"reading-header": "x"},
        {"reading-header": "3", "reading-no_header": "on"},
    ],
)
def test_an_impossible_choice_changes_nothing(
    alice: User, client_alice: Client, drive: Drive, wrong: dict[str, str]
) -> None:
    job = read(alice, drive, MESSY)
    answer = client_alice.post(reverse("reading", args=[job.pk]), wrong, follow=True)
    assert "alert" in answer.content.decode()
    job.refresh_from_db()
    assert (job.state, job.readings) == (Job.State.DRAFT, 0)


def test_the_same_choices_read_nothing_anew(
    alice: User, client_alice: Client, drive: Drive
) -> None:
    job = read(alice, drive, MESSY)
    answer = client_alice.post(reverse("reading", args=[job.pk]), {}, follow=True)
    assert "in this very way already" in answer.content.decode()
    job.refresh_from_db()
    assert (job.state, job.readings) == (Job.State.DRAFT, 0)


def test_a_nul_that_is_quoted_is_no_harm(alice: User, drive: Drive) -> None:
    content = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9}
    params = {"model": "claude-haiku-5-5", **content, "odd\0name": 1}
    line = json.dumps({"custom_id": "a\0b", "params": params})
    job = read(alice, drive, f"{line}\n{line}\n".encode())
    assert (job.state, job.unsent_count) == (Job.State.DRAFT, 2)
    assert not any("\0" in row.problem for row in job.rows.all())


def test_a_job_that_was_confirmed_is_not_read_anew(
    alice: User, make_job: Callable[..., Job], client_alice: Client
) -> None:
    job = make_job(alice, Job.State.WORKING)
    assert not uploads.change_choices(job, Choices(fill=True), job.owner)
    client_alice.post(reverse("reading", args=[job.pk]), {"fill": "yes"})
    job.refresh_from_db()
    assert (job.state, job.choices) == (Job.State.WORKING, Choices())


def test_a_choice_while_it_is_read_begins_anew(
    alice: User, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "SLICE", 10)
    rows = b"".join(b"%d,x\n" % n for n in range(100))
    job = uploads.create_job(alice, ContentFile(b"a,b\n" + rows, "people.csv"))
    store = reading._store

    def choose_meanwhile(*args: Any) -> None:
        store(*args)
        uploads.change_choices(job, Choices(header=-1), job.owner)

    with monkeypatch.context() as patch:
        patch.setattr(reading, "_store", choose_meanwhile)
        advance.advance(job.pk)
    job = drive(job, until=lambda job: job.state == Job.State.DRAFT)
    assert (job.row_count, job.rows.count()) == (101, 101)


def test_a_job_that_is_deleted_is_read_no_further(
    alice: User, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "SLICE", 10)
    job = uploads.create_job(alice, ContentFile(b"a,b\n" + b"1,2\n" * 100, "people.csv"))
    store, stored = reading._store, 0

    def delete_meanwhile(*args: Any) -> None:
        nonlocal stored
        store(*args)
        stored += 1
        job_basics.delete_job(job, alice)

    with monkeypatch.context() as patch:
        patch.setattr(reading, "_store", delete_meanwhile)
        advance.advance(job.pk)
    advance.advance(job.pk)
    assert stored == 1
    assert not Job.objects.exists()


def test_cells_can_be_pasted(alice: User, client_alice: Client, drive: Drive) -> None:
    """As a spreadsheet puts them on the clipboard, with a line break in one of them."""
    cells = 'name\ttext\r\nAnn\t"one\ntwo"\r\nBen\t=1+1\r\n'
    answer = client_alice.post(reverse("new_pasted_job"), {"cells": cells})
    assert answer.status_code == 302
    job = drive(Job.objects.get(), until=lambda job: job.state == Job.State.DRAFT)
    assert [row.content for row in job.rows.in_order()] == [["Ann", "one\ntwo"], ["Ben", "=1+1"]]
    answer = client_alice.post(reverse("new_pasted_job"), {"cells": " \n"}, follow=True)
    assert "paste some cells first" in answer.content.decode()
    assert Job.objects.count() == 1


def test_one_pasted_column_is_cut_at_no_comma(client_alice: Client, drive: Drive) -> None:
    cells = "Comment\r\nLate, sadly\r\nFine, but loud, and dear\r\n"
    client_alice.post(reverse("new_pasted_job"), {"cells": cells})
    job = drive(Job.objects.get(), until=lambda job: job.state == Job.State.DRAFT)
    found = [row.content for row in job.rows.in_order()]
    assert found == [["Late, sadly"], ["Fine, but loud, and dear"]]


def test_what_could_not_be_read_can_be_read_again_and_otherwise(
    alice: User, client_alice: Client, drive: Drive, tmp_path: Path
) -> None:
    with workbook(tmp_path / "book") as book:
        fill(book.add_worksheet("Notes"), [["only a line"]])
        fill(book.add_worksheet("More"), [["another"]])
    job = read(alice, drive, (tmp_path / "book").read_bytes())
    assert job.state == Job.State.UNREADABLE
    page = client_alice.get(reverse("job", args=[job.pk])).content.decode()
    assert '<option value="More">' in page, "its sheets are there to choose from"
    assert "in the way that you chose" not in page
    client_alice.post(reverse("reading", args=[job.pk]), {})
    job = drive(job, until=lambda job: job.state != Job.State.READING)
    assert (job.state, job.readings) == (Job.State.UNREADABLE, 1)
    client_alice.post(reverse("reading", args=[job.pk]), {"reading-sheet": "More"})
    job = drive(job, until=lambda job: job.state != Job.State.READING)
    page = client_alice.get(reverse("job", args=[job.pk])).content.decode()
    assert "in the way that you chose" in page and "Detect everything again" in page
    client_alice.post(reverse("reading", args=[job.pk]), {"reading-no_header": "on"})
    job = drive(job, until=lambda job: job.state != Job.State.READING)
    assert (job.state, job.row_count) == (Job.State.DRAFT, 1)


def test_names_that_look_like_cells_are_questioned(alice: User, drive: Drive) -> None:
    job = read(alice, drive, b"1,The parcel was late\n2,Fine\n")
    assert "where one is “1”" in job.problems.get(kind="odd_names").title
    assert not read(alice, drive, b"id,text\n2,Fine\n").problems.exists()
    assert not read(alice, drive, b"1,2\nx,y\n", header=1).problems.exists()


def test_notes_below_a_table_are_skipped_with_one_click(
    alice: User, client_alice: Client, drive: Drive
) -> None:
    job = read(alice, drive, b"id,text,n\n1,a,2\n2,b,3\n\nSource: internal,,\n* provisional,,\n")
    assert job.row_count == 4, "kept until a person decides"
    page = client_alice.get(reverse("job", args=[job.pk])).content.decode()
    assert "Did we read your file correctly?" in page
    assert "The last 2 rows (lines 5 and 6) look unlike the others" in page
    ((name, option), *_others) = job.problems.get(kind="unlike").choices[0][2]
    assert option.label == "Skip them" and f'value="{name}"' in page
    client_alice.post(reverse("reading", args=[job.pk]), {"option": name})
    job = drive(job, until=lambda job: job.state == Job.State.DRAFT)
    assert [row.line for row in job.rows.in_order()] == [2, 3]
    page = client_alice.get(reverse("job", args=[job.pk])).content.decode()
    assert "Did we read your file correctly?" not in page
    assert "Lines 5 and 6 below the table were skipped" in page and "Read them as rows" in page


def test_the_same_file_twice_is_noticed(alice: User, client_alice: Client, drive: Drive) -> None:
    first = read(alice, drive, MESSY)
    second = read(alice, drive, MESSY)
    page = client_alice.get(reverse("job", args=[first.pk])).content.decode()
    assert "this very file" not in page, "it was the first"
    page = client_alice.get(reverse("job", args=[second.pk])).content.decode()
    assert "You already uploaded this file" in page
    assert reverse("job", args=[first.pk]) in page
    root = User.objects.create_superuser("root")
    client_alice.force_login(root)
    theirs = read(root, drive, MESSY)
    page = client_alice.get(reverse("job", args=[theirs.pk])).content.decode()
    assert "this very file" not in page, "somebody else did"
    client_alice.force_login(alice)
    other = read(alice, drive, MESSY + b"Eve;1;2\n")
    page = client_alice.get(reverse("job", args=[other.pk])).content.decode()
    assert "this very file" not in page


def test_more_rows_than_are_allowed(alice: User, drive: Drive, settings: Any) -> None:
    settings.MAX_ROWS = 5
    assert read(alice, drive, b"a\n" + b"1\n" * 5).state == Job.State.DRAFT
    job = read(alice, drive, b"a\n" + b"1\n" * 6)
    assert job.state == Job.State.UNREADABLE
    ((line, text),) = job.problems.get().places
    assert (line, "more than 5 rows" in text) == (7, True)
    assert not job.rows.exists()
