"""An imported batch on the pages and in the shell: choosing it, and matching it with a file."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import msgspec
import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from jobs.actions import external_batches
from jobs.batches import (
    external,
)
from jobs.ingest.shapes import Choices
from jobs.models import (
    Job,
)
from jobs.results.table import jsonl_chunks
from jobs.worker import sweep

from ..cli.test_job_command import refusal, run
from ..conftest import Simulator
from ..driven_jobs import Drive
from .test_external import asks, in_lines, in_table, is_its_own, made_elsewhere, quick, stopped

__all__ = ["quick"]  # a fixture of every test here


def text_of(client: Client, name: str, *arguments: object, **query: str) -> str:
    answer = client.get(reverse(name, args=arguments), query)
    assert answer.status_code == 200
    words: str = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", answer.content.decode()))
    return words


def test_only_administrators_see_what_is_at_the_provider(
    client_alice: Client, client_root: Client, simulator: Simulator
) -> None:
    address = reverse("import_batch")
    for answer in (
        client_alice.get(address),
        client_alice.post(address, {"provider_id": "msgbatch_1"}),
        client_alice.post(reverse("import_batch_look")),
    ):
        assert answer.status_code == 404
    assert address not in client_alice.get(reverse("new_job")).content.decode()
    assert address in client_root.get(reverse("new_job")).content.decode()


def test_one_is_picked_from_the_list(
    client_root: Client, simulator: Simulator, drive: Drive
) -> None:
    older, newer = (made_elsewhere(simulator, ids) for ids in (["a"], ["b", "c"]))
    assert older not in text_of(client_root, "import_batch")
    assert client_root.post(reverse("import_batch_look")).status_code == 302
    assert "going through Anthropic’s list" in text_of(client_root, "import_batch")
    sweep.sweep()
    page = text_of(client_root, "import_batch", id=older)
    assert page.index(newer) < page.index(older)
    assert "2 requests · 2 answered" in page and "results are deleted on" in page
    assert (
        f'value="{older}"'
        in client_root.get(reverse("import_batch"), {"id": older}).content.decode()
    )
    upload = in_lines(["a"])
    answer = client_root.post(
        reverse("import_batch"), {"provider_id": f" {older} ", "file": upload}
    )
    job = Job.objects.get()
    assert answer.headers["Location"] == reverse("job", args=[job.pk])
    assert older not in text_of(client_root, "import_batch")
    page = text_of(client_root, "job", drive(job).pk, tab="details")
    assert "made elsewhere" in page and older in page


def test_why_it_cannot_be_is_said_beside_the_field(
    client_root: Client, simulator: Simulator
) -> None:
    for given, said in (
        ("", "Paste the batch ID"),
        ("no id!", "not a batch ID"),
        ("msgbatch_none", "no batch with this ID"),
    ):
        answer = client_root.post(reverse("import_batch"), {"provider_id": given})
        assert answer.status_code == 422
        assert said in answer.content.decode()


def test_a_list_that_cannot_be_had_says_why(client_root: Client, settings: Settings) -> None:
    settings.ANTHROPIC_BASE_URL = "http://127.0.0.1:9"
    external.ask()
    external.list_if_asked()
    assert "Anthropic cannot be reached." in text_of(client_root, "import_batch")


def test_the_page_asks_where_the_ids_are_and_lists_what_does_not_match(
    root: User, client_root: Client, client_bob: Client, simulator: Simulator, drive: Drive
) -> None:
    batch_id = made_elsewhere(simulator, ["k1", "k2", "bstray"])
    rows = [["key", "text"], ["k1", "anna"], ["k2", "bert"], ["k3", "carl"]]
    job = drive(external_batches.import_batch(root, batch_id, in_table(rows)), until=asks)
    assert "Choose the IDs" in text_of(client_root, "job", job.pk)
    assert client_bob.get(reverse("ids", args=[job.pk])).status_code == 404
    page = text_of(client_root, "ids", job.pk)
    assert "the column “key” – 2 results fit" in page
    address = reverse("ids", args=[job.pk])
    assert client_root.post(address, {"way": "column:none"}).status_code == 422
    assert client_root.post(address, {"way": "column:key"}).status_code == 302
    job = drive(job)
    assert job.name in text_of(client_root, "jobs", state="attention")
    page = text_of(client_root, "job", job.pk)
    assert "Matched by the column “key”" in page
    assert "1 row of the file has no result" in page
    assert "1 result of the batch belongs to no row of the file" in page and "bstray" in page
    assert "2 of 3 answers are good" not in page
    download = client_root.get(reverse("download", args=[job.pk, "problems"]))
    lines = list(csv.reader(io.StringIO(b"".join(download).decode("utf-8-sig"))))
    assert lines[1][0] == "4" and lines[1][3:] == ["k3", "carl"]
    assert "bstray" in lines[2][1] and "What is bstray?" in lines[2][2]
    for name in ("rows", "receipt", "delete", "jobs"):
        text_of(client_root, name, *([job.pk] if name != "jobs" else []))
    for number in (1, 3):
        text_of(client_root, "row", job.pk, number)


@pytest.mark.parametrize("file", [None, in_lines(["a", "b"])])
def test_every_page_of_such_a_job_can_be_shown(
    root: User,
    client_root: Client,
    simulator: Simulator,
    drive: Drive,
    file: ContentFile[bytes] | None,
) -> None:
    simulator.faults(stuck=True)
    if file:
        file.seek(0)
    job = external_batches.import_batch(root, made_elsewhere(simulator, ["a", "b"]), file)
    text_of(client_root, "job", job.pk)
    job = drive(job, until=lambda job: job.state == Job.State.WORKING)
    assert "whoever made it, too" in text_of(client_root, "stop", job.pk)
    text_of(client_root, "row", job.pk, 1)
    job = stopped(job, root, simulator, drive)
    for name in ("job", "rows", "receipt", "delete"):
        page = text_of(client_root, name, job.pk)
    assert "stays at Anthropic until" in page and "Anthropic’s copies" not in page
    assert b"".join(jsonl_chunks(job)).count(b"\n") == 2


def test_a_file_that_was_read_in_the_wrong_way_is_read_again(
    root: User, client_root: Client, simulator: Simulator, drive: Drive
) -> None:
    batch_id = made_elsewhere(simulator, ["k1", "k2"])
    upload = ContentFile(b"k1;anna\nk2;bert\n", "people.csv")
    job = drive(external_batches.import_batch(root, batch_id, upload), until=asks)
    assert "Change how the file is read" in text_of(client_root, "ids", job.pk)
    assert "Action needed: where are the IDs?" in text_of(client_root, "job", job.pk)
    address = reverse("ids", args=[job.pk])
    both = {"again": "yes", "reading-no_header": "on", "reading-header": "1"}
    assert client_root.post(address, both).headers["Location"] == address
    client_root.post(address, {"again": "yes", "reading-no_header": "on"})
    job = drive(job)
    assert (job.row_count, job.good_count, job.ids_are) == (2, 2, "column:column_1")


# --- The shell ------------------------------------------------------------------------------------


def test_from_the_shell(root: User, simulator: Simulator, drive: Drive, tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("rank,text\n2,anna\n1,bert\n")
    batch_id = made_elsewhere(simulator, ["1", "2"])
    out, _err = run("adopt", batch_id, "--file", path, "--id-column", "rank", "--name", "People")
    job = drive(Job.objects.get(pk=int(out)))
    assert (job.name, job.good_count) == ("People", 2)
    assert is_its_own("2", job.rows.get(number=1).answer)
    status, said = refusal("adopt", batch_id)
    assert status == 1 and "was imported before" in said
    assert refusal("adopt", "no id!")[0] == 2
    assert refusal("adopt", batch_id, "--id-column", "rank")[0] == 2
    assert refusal("adopt", batch_id, "--file", tmp_path / "none.csv")[0] == 2
    job.tally = msgspec.structs.replace(job.tally, strays=1)
    job.save()
    assert "belong to no row of the file: 1." in refusal("wait", job.pk)[1]
    facts = json.loads(run("status", job.pk, "--json")[0])
    assert facts["brought_in"] is True


def test_how_the_file_is_read_can_be_chosen(root: User, simulator: Simulator, drive: Drive) -> None:
    upload = ContentFile(b"k1;x\nk2;y\n", "people.csv")
    batch_id = made_elsewhere(simulator, ["k1", "k2"])
    job = drive(external_batches.import_batch(root, batch_id, upload, choices=Choices(header=-1)))
    assert (job.row_count, job.good_count, job.ids_are) == (2, 2, "column:column_1")
