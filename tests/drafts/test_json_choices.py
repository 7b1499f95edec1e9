"""JSON of the kinds that people have, through the upload page and `job check`: the same words in
both, and one click or flag for each other way to read it."""

from __future__ import annotations

import io
import json
import shlex
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from jobs.actions import submissions, uploads
from jobs.ingest.finding_kinds import asks
from jobs.models import Job, Outcome
from jobs.results import table

from ..conftest import Simulator

Drive = Callable[..., Job]

CASES = Path(__file__).parent.parent / "data" / "json_cases"


def upload(alice: User, drive: Drive, name: str) -> Job:
    content = (CASES / name).read_bytes()
    job = uploads.create_job(alice, ContentFile(content, name))
    return drive(job, until=lambda job: job.state != Job.State.READING)


def click(client: Client, drive: Drive, job: Job, label: str) -> Job:
    """Press the button with this label."""
    page = client.get(reverse("job", args=[job.pk])).content.decode()
    assert label in page
    (name,) = [
        name
        for problem in job.problems.all()
        for _line, _text, options in problem.choices
        for name, option in options
        if option.label == label
    ]
    client.post(reverse("reading", args=[job.pk]), {"option": name})
    return drive(job, until=lambda job: job.state != Job.State.READING)


def checked(name: str, *flags: str) -> dict[str, Any]:
    out = io.StringIO()
    with suppress(SystemExit):  # with a status of its own
        call_command("job", "check", str(CASES / name), "--json", *flags, stdout=out)
    facts: dict[str, Any] = json.loads(out.getvalue())
    return facts


def said(job: Job) -> list[str]:
    return [problem.title for problem in job.problems.all()]


def test_a_wrapped_list_is_read_and_the_object_is_one_click_away(
    alice: User, client_alice: Client, drive: Drive
) -> None:
    job = upload(alice, drive, "data_wrapped_pretty.json")
    facts = checked("data_wrapped_pretty.json")
    assert (job.row_count, job.columns) == (2, ["id", "text"])
    assert said(job) == [problem["message"] for problem in facts["problems"]]
    assert facts["rows"] == 2
    page = client_alice.get(reverse("job", args=[job.pk])).content.decode()
    assert "One object. Its list is in “data” (2 objects). Not read: “success”." in page
    job = click(client_alice, drive, job, "Read the whole object as one row")
    assert (job.row_count, job.columns) == (1, ["success", "data"])
    (option,) = facts["problems"][0]["options"]
    assert checked("data_wrapped_pretty.json", *shlex.split(option["flags"]))["rows"] == 1
    job = click(client_alice, drive, job, "Read 2 objects in “data”")
    assert job.row_count == 2


def test_objects_over_several_lines_are_rows(alice: User, drive: Drive) -> None:
    job = upload(alice, drive, "pretty_objs.json")
    assert (job.state, job.row_count, said(job)) == (Job.State.DRAFT, 3, [])
    assert checked("pretty_objs.json")["rows"] == 3


def test_requests_of_another_service_are_converted_with_one_click(
    alice: User, client_alice: Client, drive: Drive, simulator: Simulator
) -> None:
    job = upload(alice, drive, "openai.jsonl")
    facts = checked("openai.jsonl")
    (problem,) = job.problems.all()
    assert (job.kind, asks(problem.kind)) == (Job.Kind.TABLE, True)
    assert said(job) == [one["message"] for one in facts["problems"]]
    assert facts["problems"][0]["question"]
    job = click(client_alice, drive, job, "Convert them to requests for Claude")
    assert (job.kind, job.row_count, job.skipped_count) == (Job.Kind.REQUESTS, 3, 0)
    flags = shlex.split(facts["problems"][0]["options"][0]["flags"])
    assert said(job) == [one["message"] for one in checked("openai.jsonl", *flags)["problems"]]
    job = click(client_alice, drive, job, "Use Claude Haiku 5.5")
    # The whole job.
    job = drive(job, until=lambda job: bool(job.plan_sha256))
    assert submissions.confirm(job, job.plan_sha256, alice)
    job = drive(job)
    assert job.good_count == 3
    lines = [json.loads(line) for line in b"".join(table.jsonl_chunks(job)).splitlines()]
    assert [line["request"]["custom_id"] for line in lines] == ["r0", "r1", "r2"], lines[0].keys()


def test_faulty_requests_are_named_and_fixed_with_one_click_each(
    alice: User, client_alice: Client, drive: Drive
) -> None:
    job = upload(alice, drive, "requests_params.jsonl")
    facts = checked("requests_params.jsonl")
    assert (job.row_count, job.skipped_count, facts["rows_left_out"]) == (7, 7, 7)
    assert said(job) == [one["message"] for one in facts["problems"]]
    fixes = [problem.fix for problem in job.problems.all() if problem.fix]
    assert len(fixes) == 5
    for fix in fixes:
        client_alice.post(reverse("reading", args=[job.pk]), {"fix": fix})
        job = drive(job, until=lambda job: job.state != Job.State.READING)
    assert job.skipped_count == 2


def test_the_input_of_a_forced_tool_is_a_good_answer(
    alice: User, drive: Drive, simulator: Simulator
) -> None:
    job = upload(alice, drive, "forced_tool.jsonl")
    job = drive(job, until=lambda job: bool(job.plan_sha256))
    assert submissions.confirm(job, job.plan_sha256, alice)
    job = drive(job)
    assert (job.good_count, job.attention_count) == (2, 0)
    for row in job.rows.all():
        assert row.outcome == Outcome.GOOD
        assert "city" in json.loads(row.answer)
    for line in b"".join(table.jsonl_chunks(job)).splitlines():
        assert "city" in json.loads(line)["answer"], line
