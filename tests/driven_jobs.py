"""Jobs that the worker's own sweep drives from the upload on, for tests of all packages."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from typing import Any
from unittest import mock

from django.contrib.auth.models import User
from django.core.files.base import ContentFile

from jobs.actions import submissions, uploads
from jobs.drafts import estimates
from jobs.models import Job
from jobs.provider import client
from jobs.results import table
from jobs.rules.pilots import PilotChoice
from jobs.rules.recipes import Recipe
from jobs.simulator.checks import check_count
from jobs.simulator.wire import decode_params

from .conftest import store_job

Drive = Callable[..., Job]
RECIPE = Recipe("What is {{name}}? {{text}}", "", "claude-haiku-5-5", 300)


def upload(owner: User, rows: list[list[str]], name: str = "people.csv") -> Job:
    """A new job of a table with the columns `name` and `text`."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows([["name", "text"], *rows])
    return uploads.create_job(owner, ContentFile(text.getvalue().encode(), name))


def priced(job: Job) -> bool:
    """Whether the draft can be confirmed."""
    return bool(job.plan_sha256) and estimates.current(job) is not None


def draft(owner: User, rows: list[list[str]], recipe: Recipe = RECIPE) -> Job:
    """A job that was priced. Its rows are stored as if its file had been read, and its tokens are
    those that the simulator would count: to ask it takes longer than all that comes after."""
    job = store_job(
        owner, Job.State.DRAFT, rows=rows, name="people", upload_name="people.csv", recipe=recipe
    )
    with mock.patch.object(client, "count_tokens", counted):
        estimates.estimate_job(job)
    job.refresh_from_db()
    return job


def counted(requests: Sequence[dict[str, Any]]) -> list[int | None]:
    bodies = [
        json.dumps({name: params[name] for name in client._COUNTED if name in params}).encode()
        for params in requests
    ]
    return [check_count(decode_params(body)).tokens for body in bodies]


def confirmed(
    owner: User,
    rows: list[list[str]],
    recipe: Recipe = RECIPE,
    pilot: PilotChoice | None = None,
) -> Job:
    """A job that was priced and confirmed, and not sent yet."""
    job = draft(owner, rows, recipe)
    assert submissions.confirm(job, job.plan_sha256, owner, pilot)
    return job


def joined(job: Job) -> list[list[str]]:
    """The final CSV file, line by line."""
    text = b"".join(table.csv_chunks(job)).decode("utf-8-sig")
    return list(csv.reader(io.StringIO(text, newline="")))
