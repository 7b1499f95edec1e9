"""The problem file of a finished job is corrected, uploaded back, and what is different in it is
shown and sent again."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from jobs.actions import drafts, job_basics, retries, submissions, uploads
from jobs.batches import leases
from jobs.batches.leases import LeaseLost
from jobs.cli.options import EMPTY
from jobs.ingest.corrected_rows import Findings
from jobs.models import Attempt, CorrectedUpload, Edit, Job, Outcome, Row, files
from jobs.results import table
from jobs.retries import corrected_files, edits
from jobs.retries.selection import EDITED
from jobs.worker import sweep

from ..cli.test_job_command import refusal, run
from ..conftest import Simulator, send_again, sent
from ..driven_jobs import Drive
from ..ingest.test_corrections import as_csv, is_read, problem_file, table_of
from ..kept_jobs import kept
from ..pages import squeezed

# What is in a file, and what is said of it, is the same on each database.
pytestmark = pytest.mark.no_database

HX = {"HX-Request": "true"}
# Good, cut off, refused, an error, left out because of a cell too few, good.
UPLOAD = (
    "name,text\nAda,likes it\nBen,über [simulate:cut]\nCid,=1+1 [simulate:refusal]\n"
    "Dan,[simulate:errored]\nEve\nFay,“quite” nice\n"
)


@pytest.fixture
def make(alice: User, drive: Drive, simulator: Simulator) -> Callable[..., Job]:
    """A job of an upload that was sent and has finished."""

    def make(content: bytes = UPLOAD.encode(), name: str = "people.csv") -> Job:
        job = drive(uploads.create_job(alice, ContentFile(content, name)), until=is_read)
        if job.kind == Job.Kind.TABLE:
            drafts.save_recipe(
                job, replace(EMPTY, prompt="Say: {{text}}", model="claude-haiku-4-5"), alice
            )
        job = drive(job, until=lambda job: bool(job.plan_sha256))
        assert submissions.confirm(job, job.plan_sha256, alice)
        return drive(job)

    return make


@pytest.fixture
def job(make_job: Callable[..., Job], alice: User, drive: Drive, simulator: Simulator) -> Job:
    """That of UPLOAD, stored as if its file had been read."""
    return kept("of corrected files", partial(send, make_job, alice, drive), simulator)


def send(make_job: Callable[..., Job], alice: User, drive: Drive) -> Job:
    columns, *rows = csv.reader(io.StringIO(UPLOAD))
    outcomes: list[Any] = [Outcome.WAITING] * len(rows)
    outcomes[4] = {"outcome": "left_out", "cause": "left_out", "problem": "A cell is missing."}
    values = {"name": "people", "upload_name": "people.csv", "max_tokens": 0}
    return sent(make_job, alice, drive, rows, columns=columns, outcomes=outcomes, **values)


def upload(client: Client, job: Job, content: bytes, drive: Drive, name: str = "p.csv") -> Findings:
    """What came of a corrected file."""
    file = SimpleUploadedFile(name, content)
    answer = client.post(reverse("upload_edits", args=[job.pk]), {"file": file})
    assert answer.status_code == 302 and answer.headers["Location"] == edits_of(job)
    assert "Reading the corrected rows" in page_of(client, job)
    drive(job, until=was_read)
    return found_of(job)


def was_read(job: Job) -> bool:
    return not CorrectedUpload.objects.filter(job=job, found__isnull=True).exists()


def found_of(job: Job) -> Findings:
    found = CorrectedUpload.objects.get(job=job).found
    assert found is not None
    return found


def edits_of(job: Job) -> str:
    return reverse("edits", args=[job.pk])


def page_of(client: Client, job: Job) -> str:
    answer = client.get(edits_of(job))
    assert answer.status_code == 200
    return squeezed(answer.content)


def changed(job: Job) -> dict[int, Any]:
    return {edit.number: json.loads(edit.source) for edit in Edit.objects.filter(job=job)}


def final_file(job: Job) -> list[list[str]]:
    return table_of(b"".join(table.csv_chunks(job)))


def test_the_way_out_and_back_through_a_csv_library(
    job: Job, client_alice: Client, drive: Drive, simulator: Simulator
) -> None:
    assert [row.outcome for row in job.rows.in_order()] == ["good", *["look"] * 2, "errored",
                                                           "left_out", "good"]  # fmt: skip
    sent = simulator.truth()["accepted_rows"]
    page = page_of(client_alice, job)
    assert reverse("download", args=[job.pk, "problems"]) in page and "Download 4 rows" in page
    header, ben, cid, dan, eve = table_of(problem_file(client_alice, job))
    assert header == ["row", "problem", "how to fix", "name", "text"]
    assert [row[0] for row in (ben, cid, dan, eve)] == ["3", "4", "5", "6"]
    assert cid[4] == "'=1+1 [simulate:refusal]" and eve[3:] == ["Eve"]
    ben[4], cid[4], eve[3:] = "über alles", "'=2+2", ["Eve", "hello, you"]
    found = upload(client_alice, job, as_csv([header, eve, ben, dan, cid]), drive)
    assert (found.changed, found.unchanged, found.notes, found.trouble) == (3, 1, [], [])
    assert changed(job) == {
        2: ["Ben", "über alles"],
        3: ["Cid", "=2+2"],
        5: ["Eve", "hello, you"],
    }
    page = page_of(client_alice, job)
    assert "“p.csv”: 3 changed, 1 not changed." in page
    assert ">über alles</ins>" in page and ">über [simulate:cut]</del>" in page
    assert "Retry 3 rows · at most" in page
    again = reverse("retry", args=[job.pk])
    shown = client_alice.get(f"{again}?which=edited").content.decode()
    [key] = re.findall(r'name="key" value="(\w+)"', shown)
    client_alice.post(again, {"which": "edited", "key": key})
    job = drive(job)
    assert simulator.truth()["accepted_rows"] == sent + 3, "only these"
    names, *rows = final_file(job)
    assert [row[:2] for row in rows] == [
        ["Ada", "likes it"],
        ["Ben", "über alles"],
        ["Cid", "'=2+2"],
        ["Dan", "[simulate:errored]"],
        ["Eve", "hello, you"],
        ["Fay", "“quite” nice"],
    ]
    status = names.index("status")
    assert [row[status] for row in rows].count("Good") == 5 and rows[3][status] != "Good"
    assert [one.number for one in Attempt.objects.filter(job=job)] == [2, 3], "5 was never sent"
    assert not Edit.objects.filter(job=job).exists()


def test_a_workbook_comes_back(
    job: Job, client_alice: Client, drive: Drive, alice: User, tmp_path: Path
) -> None:
    book = openpyxl.Workbook()
    for row in table_of(problem_file(client_alice, job)):
        book.active.append([int(cell) if cell.isdigit() else cell for cell in row])
    book.save(tmp_path / "same.xlsx")
    same = (tmp_path / "same.xlsx").read_bytes()
    found = upload(client_alice, job, same, drive, "same.xlsx")
    assert (found.changed, found.unchanged, found.notes) == (0, 4, [])
    assert "Nothing was changed by it" in page_of(client_alice, job) and not changed(job)
    book.active["E3"] = "kinder"
    book.active.delete_rows(2)
    book.save(tmp_path / "changed.xlsx")
    found = upload(client_alice, job, (tmp_path / "changed.xlsx").read_bytes(), drive, "c.xlsx")
    assert (found.changed, found.unchanged) == (1, 2)
    assert changed(job) == {3: ["Cid", "kinder"]}
    assert send_again(job, alice, EDITED) == 1
    assert drive(job).rows.get(number=3).outcome == Outcome.GOOD


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_semicolons_and_the_letters_of_windows(
    make: Callable[..., Job], client_alice: Client, drive: Drive, encoding: str
) -> None:
    text = "Schöne Grüße für Jörg [simulate:cut]"
    upload_text = UPLOAD.replace(",", ";").replace("über [simulate:cut]", text)
    job = make(upload_text.encode(encoding))
    delimiter = ";"
    lines = table_of(problem_file(client_alice, job), delimiter)

    def saved() -> bytes:
        file = io.StringIO(newline="")
        csv.writer(file, delimiter=delimiter).writerows(lines)
        return file.getvalue().encode("cp1252", "replace")

    found = upload(client_alice, job, saved(), drive)
    assert (found.changed, found.unchanged, found.trouble) == (0, 4, [])
    lines[1][4] = "Schöne Grüße; für Jörg"
    delimiter = ","
    found = upload(client_alice, job, saved(), drive)
    assert (found.changed, changed(job)) == (1, {2: ["Ben", "Schöne Grüße; für Jörg"]})


def test_what_a_row_of_the_file_cannot_change_is_said(
    job: Job, client_alice: Client, drive: Drive
) -> None:
    header, ben, cid, _dan, eve = table_of(problem_file(client_alice, job))
    rows = [
        [*ben[:3], "Ben", "good"],
        ["2", "", "", "Ada", "hates it"],
        ["99", "", "", "Zoe", "new"],
        [*eve[:3], "Eve", "a", "b"],
        cid,
    ]
    found = upload(client_alice, job, as_csv([header, *rows]), drive)
    assert found.in_short == "1 changed, 1 not changed, 1 good by now, 1 cannot be sent, 1 unknown"
    assert found.notes == [
        "Line 6 cannot be sent as you corrected it: This row has 3 cells, and there are 2 columns.",
        "Line 2 already has a good answer, so it was not changed.",
        "Line 99 of the corrected file is not in your upload.",
    ]
    assert changed(job) == {2: ["Ben", "good"]}
    page = page_of(client_alice, job)
    assert all(note in page for note in found.notes)
    assert job.rows.get(number=1).content == ["Ada", "likes it"]


def test_a_later_file_replaces_what_it_changes_and_nothing_else(
    job: Job, client_alice: Client, drive: Drive
) -> None:
    header, ben, cid, dan, _eve = table_of(problem_file(client_alice, job))
    edits.edit_row(job.rows.get(number=4), ["Dan", "by hand"])
    first = as_csv([header, [*ben[:4], "one"], [*cid[:4], "two"]])
    upload(client_alice, job, first, drive)
    found = upload(client_alice, job, as_csv([header, [*ben[:4], "three"], dan]), drive)
    assert (found.changed, found.unchanged) == (1, 1)
    assert found.notes == ["Earlier edits that still wait to be sent: 1."]
    assert changed(job) == {2: ["Ben", "three"], 3: ["Cid", "two"], 4: ["Dan", "by hand"]}
    assert len(list((files.stored_path(job.upload_file)).parent.glob(f"{job.upload_file}.*"))) == 1


USELESS = [
    (b"row,problem,how to fix,name,text\n3,,,a,b\n4,,,c,d\n3,,,e,f\n", "Line 4: Row 3 appears"),
    (b"row,problem,how to fix,name,text\nx,,,a,b\n", "Line 2: The column “row” contains “x”"),
    (b"row,problem,how to fix,name,txt\n3,,,Ben,b\n", "has a column “txt”"),
    (b"name,text\nBen,b\n", "It has no column “row”"),
    (b"row,problem,how to fix,name,text\n3,,,Zoe,else\n", "nothing in common"),
    (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 9, "This is not a text file."),
    (b"PK\x03\x04 no workbook", ""),
    (b"{\n", ""),
    (b"<html><table></table></html>", "This is a web page"),
]


def test_a_file_that_cannot_be_used_changes_nothing_and_says_why(
    job: Job, client_alice: Client, drive: Drive
) -> None:
    for content, why in USELESS:
        found = upload(client_alice, job, content, drive)
        assert found.trouble and why in found.trouble[0] and not changed(job), content
        page = page_of(client_alice, job)
        assert "was not used" in page and found.trouble[0] in page, content
        assert "Use another file instead" not in page, "there is no such button"


def test_ready_made_requests_come_back_as_lines_of_json(
    make: Callable[..., Job], client_alice: Client, drive: Drive, alice: User
) -> None:
    def request(number: int, text: str, **more: Any) -> str:
        messages = [{"role": "user", "content": text}]
        params = {"model": "claude-haiku-4-5", "max_tokens": 50, "messages": messages, **more}
        return json.dumps({"custom_id": f"r{number}", "params": params}) + "\n"

    texts = ["hello", "[simulate:refusal]", "[simulate:cut]", "[simulate:errored]"]
    job = make("".join(map(request, range(4), texts)).encode(), "r.jsonl")
    given = list(map(json.loads, problem_file(client_alice, job).decode().splitlines()))
    assert [one["row"] for one in given] == ["2", "3", "4"]
    same = "".join(json.dumps(one, indent=None) + "\n" for one in given).encode()
    found = upload(client_alice, job, same, drive, "r.jsonl")
    assert (found.changed, found.unchanged) == (0, 3)
    given[0]["request"]["params"]["messages"][0]["content"] = "be kind"
    given[1]["request"]["params"]["stream"] = True
    content = "".join(json.dumps(one) + "\n" for one in given).encode()
    found = upload(client_alice, job, content, drive, "r.jsonl")
    assert found.in_short == "1 changed, 1 not changed, 1 cannot be sent"
    assert found.notes == [
        "Line 3 cannot be sent as you corrected it: Batches do not support streaming."
    ]
    assert "be kind" in page_of(client_alice, job)
    given[2]["request"]["custom_id"] = "r0"
    found = upload(client_alice, job, (json.dumps(given[2]) + "\n").encode(), drive, "r.jsonl")
    assert found.notes == [
        "Line 4 cannot be sent as you corrected it: another request has the same custom_id."
    ]
    assert list(changed(job)) == [2]
    assert send_again(job, alice, EDITED) == 1
    job = drive(job)
    row = job.rows.get(number=2)
    assert row.outcome == Outcome.GOOD
    assert row.content["params"]["messages"] == [{"role": "user", "content": "be kind"}]
    found = upload(client_alice, job, b'{"row": 3, "request": "{"}\n', drive, "r.jsonl")
    assert found.trouble == ["Line 1: The corrected request of row 3 is not a JSON object."]
    deep = json.dumps({"row": 3, "request": '{"a":' * 900 + "1" + "}" * 900})
    found = upload(client_alice, job, deep.encode(), drive, "r.jsonl")
    assert found.trouble or found.wrong == 1


def test_a_worker_that_dies_begins_anew_and_one_that_comes_late_changes_nothing(
    job: Job, client_alice: Client, drive: Drive, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    header, ben, *_ = table_of(problem_file(client_alice, job))
    content = as_csv([header, [*ben[:4], "kinder"]])
    assert retries.upload_corrections(job, ContentFile(content, "a.csv"), alice)
    keep = corrected_files.save_changes

    def dies(*_: Any) -> None:
        keep(job, {2: '["Ben","kinder"]'})
        raise LeaseLost

    with monkeypatch.context() as patched:
        patched.setattr(corrected_files, "save_changes", dies)
        sweep.sweep()
    assert not was_read(job) and not changed(job), "all of it or nothing"
    drive(job, until=was_read)
    assert changed(job) == {2: ["Ben", "kinder"]}

    # Another file is uploaded while one is read: what came of the first is not kept.
    edits.discard_edits(job)
    assert retries.upload_corrections(job, ContentFile(content, "b.csv"), alice)
    match = corrected_files.match_rows

    def is_late(*given: Any) -> Any:
        retries.upload_corrections(job, ContentFile(as_csv([header, ben]), "c.csv"), alice)
        return match(*given)

    with monkeypatch.context() as patched:
        patched.setattr(corrected_files, "match_rows", is_late)
        lease = leases.claim(job.pk)
        assert lease is not None
        corrected_files.read_next(job, lease)
        lease.release(None)
    assert not changed(job) and not was_read(job)
    Job.objects.filter(pk=job.pk).update(next_action_at=None)
    client_alice.post(reverse("upload_edits", args=[job.pk]), {"file": ContentFile(content, "d")})
    drive(job, until=was_read)
    assert changed(job) == {2: ["Ben", "kinder"]}


def test_what_is_uploaded_is_taken_of_a_finished_job_only_and_goes_with_it(
    job: Job, client_alice: Client, client_bob: Client, drive: Drive, alice: User,
    settings: Settings,
) -> None:  # fmt: skip
    address = reverse("upload_edits", args=[job.pk])
    content = problem_file(client_alice, job)
    assert client_bob.post(address, {"file": ContentFile(content, "p.csv")}).status_code == 404
    assert client_alice.post(address).status_code == 302
    client_alice.post(address, {"file": ContentFile(b"", "p.csv")})
    with_page = client_alice.get(edits_of(job)).content.decode()
    assert "This file is empty" in with_page and not CorrectedUpload.objects.exists()
    Job.objects.filter(pk=job.pk).update(state=Job.State.WORKING)
    assert not retries.upload_corrections(job, ContentFile(content, "p.csv"), alice)
    folder = files.stored_path(job.upload_file).parent
    assert not list(folder.glob(f"{job.upload_file}.*"))
    Job.objects.filter(pk=job.pk).update(state=Job.State.FINISHED)
    upload(client_alice, job, content, drive)
    [stored] = folder.glob(f"{job.upload_file}.*")
    stored.unlink()
    CorrectedUpload.objects.update(found=None)
    assert retries.upload_corrections(job, ContentFile(content, "p.csv"), alice)
    [stored] = folder.glob(f"{job.upload_file}.*")
    stored.unlink()
    drive(job, until=was_read)
    assert found_of(job).trouble == [corrected_files.GONE]
    upload(client_alice, job, content, drive)
    assert job_basics.delete_job(job, alice)
    sweep.sweep()
    assert not Job.objects.exists() and not CorrectedUpload.objects.exists()
    assert not list(folder.glob(f"{job.upload_file}*"))


def test_the_page_asks_again_until_the_file_is_read(
    job: Job, client_alice: Client, drive: Drive, alice: User
) -> None:
    content = problem_file(client_alice, job)
    assert retries.upload_corrections(job, ContentFile(content, "<b>.csv"), alice)
    page = client_alice.get(edits_of(job)).content.decode()
    assert "data-poll" in page and "<b>.csv" not in page and "&lt;b&gt;.csv" in page
    [watched] = re.findall(r'hx-get="([^"]+)"', page.partition("<main")[2])
    assert client_alice.get(watched, headers=HX).status_code == 204
    drive(job, until=was_read)
    assert client_alice.get(watched, headers=HX).headers["HX-Refresh"] == "true"
    page = client_alice.get(edits_of(job)).content.decode()
    assert "data-poll" not in page.partition("<main")[2]


def test_what_is_sent_meanwhile_is_read_when_the_job_has_finished_again(
    job: Job, client_alice: Client, drive: Drive, alice: User
) -> None:
    header, ben, cid, *_ = table_of(problem_file(client_alice, job))
    content = as_csv([header, [*ben[:4], "kinder"], [*cid[:4], "kinder"]])
    Row.objects.filter(job=job, number=2).update(source='["Ben","fine"]')
    assert send_again(job, alice, "cut_off", max_tokens=9000) == 1
    Job.objects.filter(pk=job.pk).update(state=Job.State.FINISHED)
    assert retries.upload_corrections(job, ContentFile(content, "p.csv"), alice)
    Job.objects.filter(pk=job.pk).update(state=Job.State.SUBMITTING)
    job = drive(job, until=lambda job: job.state == Job.State.FINISHED and was_read(job))
    found = found_of(job)
    assert (found.changed, found.good) == (1, 1) and list(changed(job)) == [3]


# --- The shell ------------------------------------------------------------------------------------


def test_the_shell_sends_what_is_different(
    job: Job, client_alice: Client, drive: Drive, tmp_path: Path
) -> None:
    path = tmp_path / "problems.csv"
    header, ben, cid, *_ = table_of(problem_file(client_alice, job))
    path.write_bytes(as_csv([header, ben]))
    assert refusal("resend", job.pk, path)[0] == 2, "nobody can be asked"
    assert refusal("resend", job.pk, tmp_path / "no.csv", "--yes")[0] == 2
    status, why = refusal("resend", job.pk, path, "--yes")
    assert status == 1 and "no row is different" in why
    path.write_bytes(as_csv([header, ben, ben]))
    status, why = refusal("resend", job.pk, path, "--yes")
    assert status == 4 and "Line 3: Row 3 appears twice." in why
    assert not changed(job)
    edits.edit_row(job.rows.get(number=4), ["Dan", "by hand"])
    path.write_bytes(as_csv([header, [*ben[:4], "kinder"], cid]))
    _, err = run("resend", job.pk, path, "--yes")
    assert "Rows: 1 changed, 1 not changed." in err and "at most $" in err
    assert "Also sent, because they were changed earlier: 1 row." in err
    assert "Retrying 2 rows." in err
    assert refusal("resend", job.pk, path, "--yes")[0] == 1, "it has not finished"
    job = drive(job)
    assert job.rows.get(number=2).content == ["Ben", "kinder"]
    assert job.good_count == 4


def test_rows_that_were_the_same_as_a_changed_one_are_so_no_more(
    make_job: Callable[..., Job], alice: User, drive: Drive, simulator: Simulator
) -> None:
    rows = [["a", "hello"], *[["b", "[simulate:cut]"]] * 3]
    values = {"prompt": "Say: {{text}}", "model": "claude-haiku-4-5", "max_tokens": 500}
    job = sent(make_job, alice, drive, rows, skip_duplicates=True, **values)
    assert list(job.rows.in_order().values_list("same_as", flat=True)) == [None, None, 2, 2]
    edits.edit_row(job.rows.get(number=2), ["b", "changed"])
    assert send_again(job, alice, EDITED) == 1
    job = drive(job)
    assert [row.outcome for row in job.rows.in_order()] == ["good", "good", "look", "look"]
    assert list(job.rows.in_order().values_list("same_as", flat=True)) == [None, None, None, 3]
    accepted = simulator.truth()["accepted_rows"]
    assert send_again(job, alice, "cut_off", max_tokens=900) == 1, "one of the two stands for both"
    job = drive(job)
    assert simulator.truth()["accepted_rows"] == accepted + 1
    assert job.rows.get(number=4).answer == job.rows.get(number=3).answer
