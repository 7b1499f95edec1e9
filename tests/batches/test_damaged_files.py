"""Nothing damaged on our disk is given out as good: finished files are built anew, the provider's
results are fetched again, and what cannot be restored is said in words."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from jobs.actions import external_batches, job_basics, retries, uploads
from jobs.batches import stored_results
from jobs.batches.stored_results import DamagedResults
from jobs.ingest.shapes import Choices
from jobs.models import Batch, CorrectedUpload, Export, Job, Outcome, checksums, files
from jobs.results import builder, table
from jobs.worker import advance, housekeeping

from ..cli.test_job_command import refusal, run
from ..conftest import Simulator
from ..driven_jobs import Drive, confirmed, upload
from ..kept_jobs import kept
from ..results.test_builder import build_usual, built, cells, get, large  # noqa: F401 - a fixture
from ..web.test_views_rows import content
from .test_external import in_table, made_elsewhere

MakeJob = Callable[..., Job]
ROWS = [["Ann", "text"], ["Ben", "two\nlines"], ["Cid", "x"]]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_results, "FIRST_PAUSE", timedelta(milliseconds=1))
    monkeypatch.setattr(checksums, "BLOCK", 16)  # every file is a large one


def truncate(path: Path) -> None:
    write(path, path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    """Another byte, in a file of the same size, that is as old as it was."""
    content, when = bytearray(path.read_bytes()), path.stat()
    content[len(content) // 2] ^= 1
    write(path, bytes(content))
    os.utime(path, ns=(when.st_atime_ns, when.st_mtime_ns))


def write(path: Path, content: bytes) -> None:
    path.chmod(0o600)
    path.write_bytes(content)


def delete(path: Path) -> None:
    path.unlink()


Damage = Callable[[Path], None]
DAMAGES: list[Damage] = [truncate, flip, delete]
any_damage = pytest.mark.parametrize("damage", DAMAGES)


def finished(alice: User, drive: Drive, simulator: Simulator) -> Job:
    return kept("of damaged files", lambda: drive(confirmed(alice, ROWS)), simulator)


def received(job: Job) -> Path:
    return files.results_path(job.batches.get())


def is_restored(job: Job) -> bool:
    return not job.batches.exclude(damaged_at=None).exists()


def said(client: Client, answer: Any) -> str:
    """What the page says to which somebody is sent instead of a download."""
    assert answer.status_code == 302
    page: str = client.get(answer.url).content.decode()
    return page


# --- Finished files -------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", [truncate, delete])
@pytest.mark.parametrize("kind", ["csv", "xlsx"])
def test_a_finished_file_of_another_size_is_not_given_out(
    alice: User,
    client_alice: Client,
    make_job: MakeJob,
    damage: Damage,
    kind: str,
) -> None:
    job = make_job(alice, rows=ROWS)
    build_usual(job)
    whole = content(get(client_alice, job, kind))
    damage(builder.path_of(job, kind))
    again = content(get(client_alice, job, kind))
    assert again == whole if kind == "csv" else cells(again) == cells(whole)


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
def test_a_finished_file_with_other_content_breaks_off_and_is_built_anew(
    alice: User, client_alice: Client, make_job: MakeJob, kind: str
) -> None:
    job = make_job(alice, rows=ROWS)
    build_usual(job)
    whole = content(get(client_alice, job, kind))
    flip(builder.path_of(job, kind))
    answer = get(client_alice, job, kind)
    blocks = []
    with pytest.raises(checksums.Damaged):
        blocks += answer.streaming_content
    assert len(b"".join(blocks)) < int(answer.headers["Content-Length"])
    again = content(get(client_alice, job, kind))
    assert again == whole if kind == "csv" else cells(again) == cells(whole)
    assert Export.objects.get().kind == kind, "the worker is to build it"
    advance.advance(job.pk)
    assert not Export.objects.exists()
    ready = builder.open_ready(job, kind)
    assert ready is not None
    ready.require_whole()


def test_a_small_file_is_checked_before_it_is_sent(
    alice: User, client_alice: Client, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checksums, "BLOCK", 1 << 20)
    job = make_job(alice, rows=ROWS)
    build_usual(job)
    whole = content(get(client_alice, job))
    flip(builder.path_of(job, "csv"))
    assert content(get(client_alice, job)) == whole
    assert Export.objects.get().kind == "csv"


@any_damage
def test_a_damaged_workbook_of_a_large_job_is_built_anew_by_the_worker(
    alice: User,
    client_alice: Client,
    make_job: MakeJob,
    large: None,  # noqa: F811 - a fixture
    damage: Damage,
) -> None:
    job = make_job(alice, rows=ROWS)
    build_usual(job)
    whole = cells(content(get(client_alice, job, "xlsx")))
    damage(builder.path_of(job, "xlsx"))
    if damage is flip:
        with pytest.raises(checksums.Damaged):
            content(get(client_alice, job, "xlsx"))
    waiting = get(client_alice, job, "xlsx")
    assert b"Building the Excel file" in waiting.content
    advance.advance(job.pk)
    assert cells(content(get(client_alice, job, "xlsx"))) == whole


def test_a_file_without_its_facts_is_as_good_as_none(
    alice: User, client_alice: Client, make_job: MakeJob
) -> None:
    job = make_job(alice, rows=ROWS)
    build_usual(job)
    path = builder.path_of(job, "csv")
    files.facts_path(path).unlink()
    assert content(get(client_alice, job)) == b"".join(table.csv_chunks(job))
    advance.advance(job.pk)
    assert built(job) == ["all.csv", "all.xlsx"] and files.facts_path(path).exists()


def test_the_worker_does_not_take_a_damaged_file_for_one_that_is_built(
    alice: User, make_job: MakeJob
) -> None:
    job = make_job(alice, rows=ROWS)
    build_usual(job)
    flip(builder.path_of(job, "csv"))
    build_usual(job)
    ready = builder.open_ready(job, "csv")
    assert ready is not None
    assert b"".join(ready.blocks()) == b"".join(table.csv_chunks(job))


def test_what_is_noted_of_files_goes_with_them(alice: User, make_job: MakeJob) -> None:
    job = make_job(alice, rows=ROWS)
    build_usual(job)
    folder = builder.path_of(job, "csv").parent
    assert len(list(folder.iterdir())) == 4
    Job.objects.filter(pk=job.pk).update(name="another")
    build_usual(job)
    assert len(list(folder.iterdir())) == 4
    assert len(built(job)) == 2
    job_basics.delete_job(job, alice)
    advance.advance(job.pk)
    assert not list(folder.iterdir())


# --- Results as received --------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["joined", "batch"])
def test_damaged_results_are_said_and_fetched_again(
    alice: User,
    client_alice: Client,
    simulator: Simulator,
    drive: Drive,
    address: str,
) -> None:
    job = finished(alice, drive, simulator)
    whole = received(job).read_bytes()
    before = list(job.rows.order_by("number").values())
    url = {
        "joined": reverse("download", args=[job.pk, "raw"]),
        "batch": reverse("batch_raw", args=[job.pk, 1]),
    }[address]
    for damage in DAMAGES:
        damage(received(job))
        answer = client_alice.get(url)
        if damage is flip:
            with pytest.raises(DamagedResults):
                content(answer)
        else:
            page = said(client_alice, answer)
            assert "The results file of batch 1" in page and "fetching it again" in page, damage
        details = client_alice.get(f"/jobs/{job.pk}/?tab=details").content.decode()
        assert "We’re fetching it again." in details
        job = drive(job, until=is_restored)
        assert content(client_alice.get(url)) == whole, damage
        assert list(job.rows.order_by("number").values()) == before, "rows are left alone"
        assert received(job).stat().st_mode & 0o777 == 0o440
        assert "was fetched again and is whole" in job.events.last().text  # type: ignore[union-attr]  # it is there
    assert simulator.truth()["posts"] == 1, "nothing is sent"


def test_the_command_fails_on_damaged_results_and_leaves_no_file(
    alice: User, simulator: Simulator, drive: Drive, tmp_path: Path
) -> None:
    job = finished(alice, drive, simulator)
    whole = received(job).read_bytes()
    output = tmp_path / "out.jsonl"
    for damage in DAMAGES:
        damage(received(job))
        status, why = refusal("export", job.pk, "--format", "raw", "--output", output)
        assert status == 1, damage
        assert "The results file of batch 1" in why and "fetching it again" in why
        assert not list(tmp_path.glob("out*"))
        drive(job, until=is_restored)
        run("export", job.pk, "--format", "raw", "--output", output)
        assert output.read_bytes() == whole
        output.unlink()


def test_what_goes_to_stdout_ends_with_an_error(
    alice: User, simulator: Simulator, drive: Drive, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    job = finished(alice, drive, simulator)
    whole = received(job).read_bytes()
    flip(received(job))
    status, why = refusal("export", job.pk, "--format", "raw", "--output", "-")
    assert status == 1 and "No complete file was written" in why
    assert len(capfdbinary.readouterr().out) < len(whole)


def test_a_target_that_cannot_be_written_is_still_said(
    alice: User, simulator: Simulator, drive: Drive, tmp_path: Path
) -> None:
    job = finished(alice, drive, simulator)
    output = tmp_path / "nowhere" / "out.jsonl"
    status, why = refusal("export", job.pk, "--format", "raw", "--output", output)
    assert status == 1 and why.startswith(f"{output} cannot be written")


def test_what_the_provider_no_longer_has_is_said_plainly(
    alice: User, client_alice: Client, simulator: Simulator, drive: Drive
) -> None:
    job = finished(alice, drive, simulator)
    delete(received(job))
    simulator.begin_anew()
    url = reverse("batch_raw", args=[job.pk, 1])
    client_alice.get(url)
    job = drive(job, until=lambda job: job.batches.exclude(damage="").exists())
    assert stored_results.NO_LONGER_THERE in said(client_alice, client_alice.get(url))
    job.refresh_from_db()
    assert (job.state, job.good_count) == (Job.State.FINISHED, len(ROWS))
    texts = [event.text for event in job.events.all()]
    assert sum("cannot be restored" in text for text in texts) == 1
    # The person asked once more, and that ends, too.
    drive(job, until=lambda job: job.batches.exclude(damage="").exists())


def test_only_the_very_file_that_was_stored_takes_its_place(
    alice: User, client_alice: Client, simulator: Simulator, drive: Drive
) -> None:
    job = finished(alice, drive, simulator)
    whole = received(job).read_bytes()
    url = reverse("batch_raw", args=[job.pk, 1])
    for kind in ("missing_line", "clean_early_end", "foreign_nonce"):
        truncate(received(job))
        half = received(job).read_bytes()
        simulator.faults(results=[{"kind": kind}] * stored_results.TRIES)
        client_alice.get(url)
        drive(job, until=lambda job: job.batches.exclude(damage="").exists())
        assert received(job).read_bytes() == half, f"what is left of it is kept ({kind})"
        assert list(received(job).parent.iterdir()) == [received(job)]
        assert stored_results.OTHERS_NOW in said(client_alice, client_alice.get(url))
        # The person asked once more, and now the provider has it.
        drive(job, until=is_restored)
        assert content(client_alice.get(url)) == whole


def test_a_provider_that_cannot_be_asked_is_asked_until_it_can(
    alice: User, client_alice: Client, simulator: Simulator, drive: Drive
) -> None:
    job = finished(alice, drive, simulator)
    delete(received(job))
    simulator.faults(results=[{"kind": "status_500"}] * (stored_results.TRIES + 2))
    client_alice.get(reverse("batch_raw", args=[job.pk, 1]))
    drive(job, until=is_restored)


def test_a_file_that_was_put_back_is_whole_again(
    alice: User, client_alice: Client, simulator: Simulator, drive: Drive
) -> None:
    job = finished(alice, drive, simulator)
    whole = received(job).read_bytes()
    delete(received(job))
    client_alice.get(reverse("batch_raw", args=[job.pk, 1]))
    received(job).write_bytes(whole)
    simulator.begin_anew()
    drive(job, until=is_restored)


def test_what_arrived_of_incomplete_results_is_not_given_out_damaged(
    alice: User,
    client_alice: Client,
    simulator: Simulator,
    drive: Drive,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    simulator.faults(results=[{"kind": "clean_early_end"}] * 50)
    monkeypatch.setattr("jobs.rules.result_proof.TRIES", 1)
    job = drive(confirmed(alice, ROWS), until=lambda job: bool(job.held))
    batch = job.batches.get()
    url = reverse("batch_raw", args=[job.pk, 1])
    part = content(client_alice.get(url))
    assert part == files.incomplete_path(batch).read_bytes()
    assert content(client_alice.get(reverse("download", args=[job.pk, "raw"]))) == part
    assert batch.results_sha256
    for damage in DAMAGES:
        damage(files.incomplete_path(batch))
        if damage is flip:
            with pytest.raises(DamagedResults):
                content(client_alice.get(url))
        else:
            page = said(client_alice, client_alice.get(url))
            assert "The file with what arrived of batch 1" in page and "cannot be restored" in page
        status, why = refusal("export", job.pk, "--format", "raw", "--output", "-")
        assert status == 1 and "what arrived of batch 1" in why, damage
        files.incomplete_path(batch).unlink(missing_ok=True)
        files.incomplete_path(batch).write_bytes(part)


def test_results_that_fit_no_row_are_not_read_from_a_damaged_file(
    root: User, client_root: Client, simulator: Simulator, drive: Drive
) -> None:
    batch_id = made_elsewhere(simulator, ["k1", "k2", "stray"])
    rows = [["name", "key"], ["Ann", "k1"], ["Ben", "k2"]]
    job = drive(external_batches.import_batch(root, batch_id, in_table(rows), id_column="key"))
    url = reverse("download", args=[job.pk, "problems"])
    whole = content(client_root.get(url))
    assert b"stray" in whole
    for damage in DAMAGES:
        damage(received(job))
        if damage is flip:
            with pytest.raises(DamagedResults):
                content(client_root.get(url))
        else:
            assert "The results file of batch 1" in said(client_root, client_root.get(url))
        status, why = refusal("export", job.pk, "--problem-file", "--output", "-")
        assert status == 1 and "The results file of batch 1" in why, damage
        job = drive(job, until=is_restored)
        assert content(client_root.get(url)) == whole


# --- Uploads --------------------------------------------------------------------------------------


@any_damage
def test_a_damaged_upload_is_not_read(alice: User, drive: Drive, damage: Damage) -> None:
    job = upload(alice, ROWS)
    damage(files.upload_path(job))
    job = drive(job)
    assert job.state == Job.State.UNREADABLE
    problem = job.problems.get()
    word = "missing" if damage is delete else "damaged"
    assert problem.title == f"Our copy of your file is {word}."
    assert problem.remedy.startswith("Upload it again.")
    assert not job.rows.exists()


@any_damage
def test_damaged_corrections_are_left_out_and_said(
    alice: User, drive: Drive, damage: Damage
) -> None:
    job = drive(upload(alice, [["Ann", "text"], ["Ben"]]), until=lambda job: job.state == "draft")
    corrected = ContentFile(b"row,name,text\n3,Ben,now\n", "corrected.csv")
    assert uploads.correct_rows(job, corrected, alice)
    job.refresh_from_db()
    (correction,) = job.corrections
    damage(files.stored_path(correction.file))
    job = drive(job, until=lambda job: job.state == "draft")
    assert job.row_count == 2 and job.unsent_count == 1
    texts = [text for problem in job.problems.all() for text in problem.texts]
    word = "missing" if damage is delete else "damaged"
    assert f"Our copy of your corrected file is {word}, so it was not used." in texts


@pytest.mark.parametrize("damage", [truncate, flip])
def test_a_damaged_corrected_file_of_a_finished_job_changes_nothing(
    alice: User, make_job: MakeJob, damage: Damage
) -> None:
    outcomes = [Outcome.GOOD, {"outcome": Outcome.ERRORED, "cause": "api_error"}]
    job = make_job(alice, outcomes=outcomes)
    corrected = ContentFile(b"row,name,text\n3,Ben,now\n", "corrected.csv")
    assert retries.upload_corrections(job, corrected, alice)
    (path,) = files.upload_path(job).parent.glob(f"{job.upload_file}.*")
    damage(path)
    advance.advance(job.pk)

    found = CorrectedUpload.objects.get(job=job).found
    assert found and found.trouble == [
        "Our copy of the corrected file is damaged. Upload it again."
    ]
    assert not job.edits.exists()


def test_a_file_is_read_anew_from_a_whole_copy_only(alice: User, drive: Drive) -> None:
    job = drive(upload(alice, ROWS), until=lambda job: job.state == "draft")
    flip(files.upload_path(job))
    assert uploads.change_choices(job, Choices(delimiter=";"), alice)
    assert drive(job).state == Job.State.UNREADABLE


# --- Looking for damage ---------------------------------------------------------------------------


def test_damage_is_found_while_the_provider_still_has_the_results(
    alice: User, simulator: Simulator, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = finished(alice, drive, simulator)
    flip(received(job))
    housekeeping.tidy_up()
    assert is_restored(job), "it was checked when it arrived"
    monkeypatch.setattr(stored_results, "CHECKED_EVERY", timedelta())
    housekeeping.tidy_up()
    assert not is_restored(job)
    drive(job, until=is_restored)
    housekeeping.tidy_up()
    assert is_restored(job)


def test_an_hour_of_checking_has_an_end(
    alice: User, simulator: Simulator, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [drive(confirmed(alice, ROWS)) for _ in range(3)]
    Batch.objects.update(results_checked_at=None)
    monkeypatch.setattr(stored_results, "BYTES_AN_HOUR", jobs[0].batches.get().results_bytes + 1)
    for left in (1, 0):
        housekeeping.tidy_up()
        assert Batch.objects.filter(results_checked_at=None).count() == left


def test_verify_names_every_damaged_file(
    alice: User, simulator: Simulator, drive: Drive, capsys: pytest.CaptureFixture[str]
) -> None:
    job = finished(alice, drive, simulator)
    assert "All 2 files are intact" in run("verify", job.pk)[1]
    flip(received(job))
    truncate(files.upload_path(job))
    with pytest.raises(SystemExit) as caught:
        call_command("job", "verify")
    assert caught.value.code == 1
    text = capsys.readouterr()
    assert "results file of batch 1 does not hold" in text.out
    assert "The upload has changed" in text.out
    drive(job, until=is_restored)


def test_it_says_it_to_programs(alice: User, simulator: Simulator, drive: Drive) -> None:
    job = finished(alice, drive, simulator)
    out, _err = run("verify", job.pk, "--json")
    assert json.loads(out) == []
