"""Finished files lie ready before somebody asks, are never of a job as it was before, and trouble
with building them does no harm."""

from __future__ import annotations

import errno
import io
import os
import re
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.http import StreamingHttpResponse
from django.test import Client
from django.utils import timezone
from python_calamine import CalamineWorkbook

from jobs.actions import job_basics, retries, reviews
from jobs.models import Batch, Export, Heartbeat, Job, Outcome, Row, checksums, files
from jobs.results import builder, review_sample, table, workbook
from jobs.retries import preparation
from jobs.web import request_limits
from jobs.worker import advance, due_times, housekeeping, sweep, tally

from ..conftest import Simulator, send_again
from ..driven_jobs import Drive, confirmed
from ..pages import squeezed
from ..web.test_views_rows import content

MakeJob = Callable[..., Job]
ROWS = [["Ann", "text"], ["Ben", "two\nlines"]]


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every job is too large for a workbook while the person waits."""
    monkeypatch.setattr(builder, "AT_ONCE", 0)


def built(job: Job) -> list[str]:
    """What lies in the folder of a job, without its stamps."""
    paths = [path for path in files.exports_of(job.pk) if path.suffix != files.FACTS]
    return sorted(path.name.split("-", 2)[2] for path in paths)


def get(client: Client, job: Job, kind: str = "csv", **query: str) -> Any:
    return client.get(f"/jobs/{job.pk}/download/{kind}/", query)


def poll(client: Client, job: Job, **query: str) -> Any:
    url = f"/jobs/{job.pk}/download/xlsx/"
    return client.get(url, query, headers={"HX-Request": "true"})


def cells(file: bytes) -> list[list[Any]]:
    return CalamineWorkbook.from_filelike(io.BytesIO(file)).get_sheet_by_name("Rows").to_python()


def build_usual(job: Job) -> None:
    """As for a large job."""
    for kind in ("csv", "xlsx"):
        builder.request_export(job, kind, "all")
    Job.objects.filter(pk=job.pk).update(next_action_at=timezone.now())
    advance.advance(job.pk)
    job.refresh_from_db()


def seconds_until_due(job: Job) -> float:
    assert job.next_action_at is not None
    return (job.next_action_at - timezone.now()).total_seconds()


def with_batch_at_provider(job: Job) -> Job:
    """Something of the job is still with the provider, so that it waits."""
    values = {"size": 1, "nonce": "n", "provider_id": "x", "body_bytes": 1}
    Batch.objects.create(
        job=job, number=1, state=Batch.State.IN_PROGRESS, cancel_sent_at=timezone.now(), **values
    )
    return job


# --- Ready before somebody asks -------------------------------------------------------------------


def test_a_small_job_needs_no_files_of_its_own(
    alice: User, client_alice: Client, simulator: Simulator, drive: Drive
) -> None:
    job = drive(confirmed(alice, ROWS))
    assert not built(job) and not job.exports.exists()
    assert content(get(client_alice, job)) == b"".join(table.csv_chunks(job))
    assert [line[:2] for line in cells(content(get(client_alice, job, "xlsx")))[1:]] == ROWS


@pytest.mark.usefixtures("large")
def test_a_large_job_that_finishes_has_its_files(
    alice: User, client_alice: Client, simulator: Simulator, drive: Drive
) -> None:
    job = drive(confirmed(alice, ROWS))
    assert built(job) == ["all.csv"]
    assert not job.exports.exists() and job.next_action_at is None
    # Who opens the page of a finished job is likely to take the workbook.
    page = client_alice.get(f"/jobs/{job.pk}/").content.decode()
    assert 'id="is-prepared"' in page
    advance.advance(job.pk)
    assert built(job) == ["all.csv", "all.xlsx"]
    assert 'id="is-prepared"' not in client_alice.get(f"/jobs/{job.pk}/").content.decode()
    assert not job.exports.exists()
    answer = get(client_alice, job)
    csv = b"".join(table.csv_chunks(job))
    assert answer.headers["Content-Length"] == str(len(csv))
    assert content(answer) == csv
    answer = get(client_alice, job, "xlsx")
    assert answer.headers["Content-Type"].endswith("spreadsheetml.sheet")
    assert 'filename="people - with answers.xlsx"' in answer.headers["Content-Disposition"]
    assert [line[:2] for line in cells(content(answer))[1:]] == ROWS


def test_what_lies_ready_is_what_is_downloaded(
    alice: User, client_alice: Client, make_job: MakeJob
) -> None:
    job = make_job(alice)
    build_usual(job)
    part = builder.path_of(job, "csv").with_name("part")
    part.write_bytes(b"ready")
    checksums.keep_with_facts(part, builder.path_of(job, "csv"))
    assert content(get(client_alice, job)) == b"ready"
    # What is not built is written while it is downloaded.
    assert content(get(client_alice, job, plain="1")).startswith(b"name,text")
    assert content(get(client_alice, job, only="good")).startswith(table.BOM)


@pytest.mark.parametrize(
    "change",
    [
        {"finished_at": timezone.now() + timedelta(seconds=1)},
        {"state": Job.State.WORKING},
        {"name": "another"},
        {"tally": {"outcomes": {"good": 1}}},
        {"spent_pico": 5},
        {"rows_changed": 1},
    ],
)
def test_a_file_of_before_is_never_downloaded(
    alice: User, client_alice: Client, make_job: MakeJob, change: dict[str, Any]
) -> None:
    job = make_job(alice)
    build_usual(job)
    for kind in ("csv", "xlsx"):
        builder.path_of(job, kind).write_bytes(b"as it was")
    Job.objects.filter(pk=job.pk).update(**change)
    assert content(get(client_alice, job)).startswith(table.BOM)
    assert content(get(client_alice, job, "xlsx")).startswith(b"PK")


def test_rows_that_are_left_out_are_so_in_the_files_before_they_are_counted(
    alice: User, client_alice: Client, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = {"outcome": Outcome.ERRORED, "cause": "api_error"}
    job = make_job(alice, rows=ROWS, outcomes=[Outcome.GOOD, failed])
    build_usual(job)
    monkeypatch.setattr(tally, "count_up", lambda job: None)
    assert retries.ignore_rows(job, "api_error", 1, alice)
    assert b"Ignored: " in content(get(client_alice, job))


def test_files_are_built_anew_once_nobody_has_marked_an_answer_for_a_while(
    alice: User, client_alice: Client, make_job: MakeJob, large: None
) -> None:
    job = make_job(alice, rows=ROWS)
    build_usual(job)
    reviews.draw_sample(job, 10, alice)
    for number in (1, 2):
        key = review_sample.answer_key(job.rows.get(number=number))
        assert reviews.mark_answer(job, number, key, False, "No.", alice)
        job.refresh_from_db()
        assert 50 < seconds_until_due(job) <= 60
    # Whoever wants them meanwhile does not wait for that.
    poll(client_alice, job)
    job.refresh_from_db()
    assert seconds_until_due(job) <= 0
    advance.advance(job.pk)
    assert built(job) == ["all.csv", "all.xlsx"]
    assert "Marked as not good: No." in cells(content(get(client_alice, job, "xlsx")))[1]


@pytest.mark.usefixtures("large")
def test_rows_that_were_sent_again_are_in_the_files_that_follow(
    alice: User, client_alice: Client, simulator: Simulator, drive: Drive
) -> None:
    job = drive(confirmed(alice, ROWS))
    build_usual(job)
    Row.objects.filter(job=job, number=2).update(
        outcome=Outcome.EXPIRED, cause="expired", answer="", cost_pico=0
    )
    tally.count_up(job)
    old = set(files.exports_of(job.pk))
    assert send_again(job, alice) == 1
    assert preparation.prepare_next(job)
    assert b"Waiting" in content(get(client_alice, job))
    job = drive(job, until=lambda job: job.state == Job.State.FINISHED and job.finished_at)
    assert built(job) == ["all.csv", "all.xlsx"]
    assert not old & set(files.exports_of(job.pk)), "the old ones are of no use any more"
    assert b"Waiting" not in content(get(client_alice, job))


def test_a_job_that_changes_while_its_file_is_built_gets_another(
    alice: User, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(alice)
    stamp = builder.stamp_of(job)
    slices, changes = table.row_slices, iter(["renamed"])

    def slices_of_another(job: Job, only: str = "all") -> Any:
        for rows in slices(job, only):
            yield rows
            for name in changes:
                Job.objects.filter(pk=job.pk).update(name=name)

    monkeypatch.setattr(table, "row_slices", slices_of_another)
    build_usual(job)
    assert built(job) == ["all.csv", "all.xlsx"]
    assert not [path for path in files.exports_of(job.pk) if stamp in path.name]


# --- A workbook that is not ready -----------------------------------------------------------------


def test_a_small_workbook_is_made_at_once(
    alice: User, client_alice: Client, make_job: MakeJob
) -> None:
    job = make_job(alice, state=Job.State.WORKING)
    answer = get(client_alice, job, "xlsx", only="all")
    assert int(answer.headers["Content-Length"]) > 0
    assert [line[3] for line in cells(content(answer))[1:]] == ["Waiting", "Waiting"]
    assert not built(job) and not Export.objects.exists()
    assert not list(files.scratch().iterdir())


@pytest.mark.parametrize("state", [Job.State.FINISHED, Job.State.WORKING])
def test_a_large_workbook_is_made_by_the_worker(
    alice: User, client_alice: Client, make_job: MakeJob, large: None, state: str
) -> None:
    Heartbeat.objects.update(tick_at=timezone.now())
    outcomes = [Outcome.GOOD, Outcome.LOOK]
    job = with_batch_at_provider(make_job(alice, state=state, outcomes=outcomes, practice=True))
    page = get(client_alice, job, "xlsx", only="good").content.decode()
    assert "Building the Excel file" in page and "Good rows only: 1 row" in page
    assert 'hx-trigger="every 2s, look"' in page and "The worker is not running" not in page
    version = page.partition("v=")[2].partition('"')[0]
    assert poll(client_alice, job, only="good", v=version).status_code == 204
    advance.advance(job.pk)
    ready = poll(client_alice, job, only="good", v=version).content.decode()
    assert "The Excel file is ready" in ready and "hx-get" not in ready
    file = content(get(client_alice, job, "xlsx", only="good"))  # also without htmx
    assert [line[0] for line in cells(file)[1:]] == ["Ada"]
    assert built(job) == ["good.xlsx"]


def test_the_page_says_that_a_workbook_waits_for_the_worker(
    alice: User, client_alice: Client, make_job: MakeJob, large: None
) -> None:
    job = make_job(alice)
    assert b"The worker is not running" in get(client_alice, job, "xlsx").content
    page = client_alice.get(f"/jobs/{job.pk}/").content.decode()
    assert 'id="is-prepared"' in page
    build_usual(job)
    page = squeezed(client_alice.get(f"/jobs/{job.pk}/").content)
    assert 'id="is-prepared"' not in page and " KB</span> </a>" in page


def test_no_workbook_of_deleted_answers_is_promised(
    alice: User, client_alice: Client, make_job: MakeJob, large: None
) -> None:
    job = make_job(alice, contents_deleted_at=timezone.now(), contents_are_gone=True)
    page = client_alice.get(f"/jobs/{job.pk}/").content.decode()
    assert 'id="is-prepared"' not in page
    assert not job.exports.exists(), "nobody would ever build it"


def test_only_a_csv_that_stays_is_built(alice: User, make_job: MakeJob) -> None:
    job = with_batch_at_provider(make_job(alice, state=Job.State.CANCELING, practice=True))
    build_usual(job)
    assert built(job) == ["all.xlsx"]


def test_nobody_gets_the_workbook_of_another(
    alice: User, client_bob: Client, make_job: MakeJob, large: None
) -> None:
    job = make_job(alice)
    build_usual(job)
    assert get(client_bob, job, "xlsx").status_code == 404
    assert poll(client_bob, job, only="good").status_code == 404
    assert not Export.objects.exists()


@pytest.mark.parametrize("query", [{"only": "none"}, {"only": ""}, {"only": "../x"}])
def test_there_are_no_other_rows_to_choose(
    alice: User, client_alice: Client, make_job: MakeJob, query: dict[str, str]
) -> None:
    assert get(client_alice, make_job(alice), "xlsx", **query).status_code == 404


# --- The limits of Excel, said before the download ------------------------------------------------


def test_a_table_that_is_too_wide_is_offered_as_csv(
    alice: User, client_alice: Client, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workbook, "MOST_COLUMNS", 3)
    monkeypatch.setattr(builder, "AT_ONCE", 0)
    job = make_job(alice)
    builder.request_usual_exports(job)
    Job.objects.filter(pk=job.pk).update(next_action_at=timezone.now())
    advance.advance(job.pk)
    assert built(job) == ["all.csv"] and not job.exports.exists()
    page = client_alice.get(f"/jobs/{job.pk}/").content.decode()
    assert workbook.TOO_WIDE in page and "download/xlsx" not in page
    assert get(client_alice, job, "xlsx").status_code == 404


def test_more_rows_than_a_sheet_holds_are_said(
    alice: User, client_alice: Client, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(alice)
    assert 'id="more-sheets"' not in client_alice.get(f"/jobs/{job.pk}/").content.decode()
    monkeypatch.setattr(workbook, "SHEET_ROWS", 2)
    page = client_alice.get(f"/jobs/{job.pk}/").content.decode()
    assert "The other rows are in more sheets" in page and "cells at 32,767 characters" in page


# --- Trouble --------------------------------------------------------------------------------------


def full_disk(_folder: Path, _needed: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_said_and_the_files_are_built_later(
    alice: User, client_alice: Client, make_job: MakeJob, large: None, monkeypatch: Any
) -> None:
    job = make_job(alice)
    with monkeypatch.context() as patch:
        patch.setattr(files, "require_room", full_disk)
        build_usual(job)
        build_usual(job)
    assert (job.state, job.held, job.failures_in_a_row) == (Job.State.FINISHED, "", 0)
    assert 0 < seconds_until_due(job) < builder.TROUBLED.total_seconds()
    (said,) = [event.text for event in job.events.all()]
    assert said.startswith("The disk of this site is full.") and "CSV and JSONL" in said
    page = get(client_alice, job, "xlsx").content.decode()
    assert "Building the Excel file" in page
    assert content(get(client_alice, job)).startswith(table.BOM)
    assert not built(job)
    build_usual(job)
    assert built(job) == ["all.csv", "all.xlsx"]


def test_a_page_that_waits_for_a_workbook_shows_how_far_it_is(
    large: None,
    alice: User,
    client_alice: Client,
    make_job: MakeJob,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = make_job(alice, rows=[*ROWS, ["Cid", "text"]])
    slices, pages = table.row_slices, []

    def one_by_one(job: Job, only: str) -> Iterator[list[Any]]:
        for rows in slices(job, only):
            for row in rows:
                yield [row]
                pages.append(squeezed(get(client_alice, job, "xlsx").content))

    Heartbeat.objects.update(tick_at=timezone.now())
    monkeypatch.setattr(workbook, "row_slices", one_by_one)
    monkeypatch.setattr(builder, "OUTDATED_SECONDS", 0.0)
    build_usual(job)
    shown = [re.findall(r"\d of 3 rows written", page) for page in pages]
    assert shown == [[], ["1 of 3 rows written"], ["2 of 3 rows written"]]


def test_a_file_that_cannot_be_built_keeps_none_of_the_others(
    alice: User, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(alice)
    write = workbook.write_workbook

    def write_some(job: Job, path: Path, only: str, between: Any) -> None:
        if only == "all":
            full_disk(path, 0)
        write(job, path, only, between)

    monkeypatch.setattr(workbook, "write_workbook", write_some)
    build_usual(job)
    builder.request_export(job, "xlsx", "good")
    advance.advance(job.pk)
    assert built(job) == ["all.csv", "good.xlsx"]
    assert [export.only for export in job.exports.all()] == ["all"]


def test_a_fault_of_ours_in_building_is_none_of_the_job(
    alice: User, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workbook, "write_workbook", lambda *_: 1 / 0)
    job = with_batch_at_provider(make_job(alice, state=Job.State.WORKING, practice=True))
    build_usual(job)
    assert (job.held, job.failures_in_a_row) == ("", 0)
    assert 0 < seconds_until_due(job) <= due_times.SAFETY.total_seconds()
    (said,) = [event.text for event in job.events.all()]
    assert "finds it in the worker's log" in said


def test_a_full_disk_does_not_keep_a_job_from_finishing(
    alice: User, simulator: Simulator, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builder, "_build", lambda *_: full_disk(Path(), 0), raising=True)
    job = drive(confirmed(alice, ROWS))
    assert (job.state, job.good_count, job.failures_in_a_row) == (Job.State.FINISHED, 2, 0)


def test_a_full_disk_is_said_to_who_wants_a_small_workbook(
    alice: User, client_alice: Client, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(alice)
    monkeypatch.setattr(files, "require_room", full_disk)
    answer = client_alice.get(f"/jobs/{job.pk}/download/xlsx/", follow=True)
    assert "The disk of this site is full. So the Excel file cannot be made now." in (
        answer.content.decode()
    )
    assert isinstance(get(client_alice, job), StreamingHttpResponse)


def test_who_waits_for_a_csv_leaves_the_threads_to_others(
    alice: User,
    client_alice: Client,
    make_job: MakeJob,
    large: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As those who download: else a few clicks would leave no thread for a page."""
    job = make_job(alice)
    builder.request_usual_exports(job)
    leased = timezone.now() + timedelta(minutes=1)
    Job.objects.filter(pk=job.pk).update(lease_until=leased, lease_owner="x|1|y")
    statuses = []

    def click() -> None:
        answer = get(client_alice, job)
        statuses.append(answer.status_code)
        list(answer)  # to its end

    def click_again(_seconds: float) -> None:
        click()
        job.exports.all().delete()  # it could not be built

    monkeypatch.setattr(time, "sleep", click_again)
    click()
    assert statuses == [503, 200, 200], "the third one waits nowhere"
    assert not request_limits.downloads.taken


def test_who_asks_while_the_csv_is_built_gets_that_one(
    alice: User,
    client_alice: Client,
    make_job: MakeJob,
    large: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = make_job(alice)
    builder.request_usual_exports(job)
    leased = timezone.now() + timedelta(minutes=1)
    Job.objects.filter(pk=job.pk).update(lease_until=leased, lease_owner="x|1|y")
    ready = builder.path_of(job, "csv")

    def pass_time(_seconds: float) -> None:
        """Meanwhile the worker is done."""
        ready.parent.mkdir(exist_ok=True)
        part = ready.with_name("part")
        part.write_bytes(b"built once")
        checksums.keep_with_facts(part, ready)
        job.exports.all().delete()

    monkeypatch.setattr(time, "sleep", pass_time)
    answer = get(client_alice, job)
    assert answer.headers["Content-Length"] == "10"
    assert content(answer) == b"built once"
    output = tmp_path / "out.csv"
    call_command("job", "export", str(job.pk), "--output", str(output))
    assert output.read_bytes() == b"built once"


def test_a_damaged_csv_is_not_exported_but_built_again(
    alice: User, make_job: MakeJob, large: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(alice)
    build_usual(job)
    path = builder.path_of(job, "csv")
    whole = path.read_bytes()
    monkeypatch.setattr(checksums, "BLOCK", 16)  # of several blocks, it is hashed as it is read
    path.chmod(0o600)
    path.write_bytes(whole[:-1] + b"?")
    output = tmp_path / "out.csv"
    with pytest.raises(SystemExit):
        call_command("job", "export", str(job.pk), "--output", str(output))
    assert not output.exists()
    advance.advance(job.pk)
    call_command("job", "export", str(job.pk), "--output", str(output))
    assert output.read_bytes() == whole


def test_one_file_is_built_at_a_time(alice: User, make_job: MakeJob) -> None:
    job = make_job(alice)
    with builder._building:
        build_usual(job)
        assert not built(job) and job.exports.count() == 2
        assert 0 < seconds_until_due(job) < 3
    build_usual(job)
    assert built(job) == ["all.csv", "all.xlsx"]


# --- What is not needed any more ------------------------------------------------------------------


def test_a_job_that_is_deleted_takes_its_files_along(
    alice: User, make_job: MakeJob, settings: Any
) -> None:
    job, other = make_job(alice), make_job(alice)
    build_usual(job)
    build_usual(other)
    folder = settings.DATA_DIR / "exports"
    (folder / f"{job.pk}-x-all.xlsx.1234.part.5678").mkdir()
    assert job_basics.delete_job(job, alice)
    sweep.sweep()
    assert not list(files.exports_of(job.pk))
    assert len(built(other)) == 2


def test_old_files_are_removed(
    alice: User, client_alice: Client, make_job: MakeJob, settings: Any
) -> None:
    job = make_job(alice)
    build_usual(job)
    folder = settings.DATA_DIR / "exports"
    csv, xlsx = builder.path_of(job, "csv"), builder.path_of(job, "xlsx")
    names = [f"{job.pk}-0123-all.csv", f"{csv.name}.1234.part", "999-0123-all.csv"]
    before, begun, gone = (folder / name for name in names)
    for path in (before, begun, gone):
        path.write_bytes(b"")
    for path, days in ((csv, 31), (xlsx, 31), (before, 2), (begun, 2)):
        os.utime(path, (time.time() - days * 24 * 3600,) * 2)
    content(get(client_alice, job, "xlsx"))
    housekeeping.tidy_up()
    assert set(folder.iterdir()) == {xlsx, files.facts_path(xlsx)}, "it was downloaded just now"


# --- From the shell -------------------------------------------------------------------------------


def test_the_shell_writes_a_workbook(alice: User, make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job(alice, outcomes=[Outcome.GOOD, Outcome.LOOK])
    output = tmp_path / "out.xlsx"
    options = ["--format", "xlsx", "--only", "attention", "--output", str(output)]
    call_command("job", "export", str(job.pk), *options)
    assert [line[0] for line in cells(output.read_bytes())[1:]] == ["Ben"]
    assert not [path for path in tmp_path.iterdir() if path not in (output, tmp_path / "data")]
    assert not built(job)


def test_the_shell_writes_to_stdout_as_well(
    alice: User, make_job: MakeJob, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    call_command("job", "export", str(make_job(alice).pk), "--format", "xlsx", "--output", "-")
    assert [line[0] for line in cells(capfdbinary.readouterr().out)[1:]] == ["Ada", "Ben"]


def test_the_shell_says_what_excel_cannot_hold(
    alice: User,
    make_job: MakeJob,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(workbook, "MOST_COLUMNS", 3)
    options = ["--format", "xlsx", "--output", str(tmp_path / "out.xlsx")]
    with pytest.raises(SystemExit):
        call_command("job", "export", str(make_job(alice).pk), *options)
    assert workbook.TOO_WIDE in capsys.readouterr().err
    assert not list(tmp_path.glob("out*"))


def test_the_shell_writes_csv_without_a_mark_and_the_problem_file(
    alice: User, make_job: MakeJob, tmp_path: Path
) -> None:
    job = make_job(alice, outcomes=[Outcome.GOOD, Outcome.LEFT_OUT])
    output = tmp_path / "out.csv"
    call_command("job", "export", str(job.pk), "--plain", "--output", str(output))
    assert output.read_bytes().startswith(b"name,text")
    call_command("job", "export", str(job.pk), "--problem-file", "--output", str(output))
    assert output.read_bytes() == b"".join(table.problem_chunks(job))
    draft = make_job(alice, Job.State.DRAFT)
    call_command("job", "export", str(draft.pk), "--problem-file", "--output", str(output))
    with pytest.raises(SystemExit):
        call_command("job", "export", str(draft.pk), "--output", str(output))
