"""The page on which a person stops a job."""

from __future__ import annotations

import re
from typing import Any

from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from jobs.models import Batch, Job, Outcome
from jobs.rules import result_proof

from .test_views_batch_trouble import ESTIMATE, live, with_rows
from .test_views_job_page import MakeJob, text

__all__ = ["live"]  # the fixture


def test_stopping_says_beforehand_what_happens_to_each_row(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    rows = [(f"n{number}", "text") for number in range(1, 22)]
    outcomes: list[Any] = [Outcome.WAITING] * 19
    outcomes += [Outcome.GOOD, {"outcome": Outcome.LEFT_OUT, "problem": "Empty"}]
    job = make_job(
        alice, Job.State.SUBMITTING, rows=rows, outcomes=outcomes, estimate=ESTIMATE, practice=False
    )
    given_up = {"collect_failures": result_proof.TRIES}
    with_rows(job, 1, [1], Batch.State.PLANNED)
    with_rows(job, 2, [2], Batch.State.BLOCKED)
    with_rows(job, 3, [3, 4], Batch.State.UNKNOWN)
    with_rows(job, 4, [5, 6, 7], Batch.State.SUBMITTING)
    with_rows(job, 5, [8, 9, 10, 11], Batch.State.IN_PROGRESS)
    with_rows(job, 6, [12, 13], Batch.State.ENDED)
    with_rows(job, 7, [14, 15, 16], Batch.State.ENDED, **given_up)
    with_rows(job, 8, [20], Batch.State.COLLECTED)
    page = text(client_alice, reverse("stop", args=[job.pk]))
    assert "What happens to the 21 rows:" in page
    said = [
        ("5 rows", "were not sent and will not be. No charge."),  # 3 of them in no batch yet
        ("5 rows", "may have arrived at Anthropic."),
        ("4 rows", "are at Anthropic"),
        ("2 rows", "are finished at Anthropic."),
        ("3 rows", "have answers that we could not fetch"),
        ("1 row", "is done and kept."),
        ("1 row", "is skipped."),
    ]
    for count, words in said:
        assert f">{count}</strong> {words}" in page
    counted = re.findall(r">(\d+) rows?</strong>", page)
    assert " was charged." in page
    assert sum(map(int, counted)) == 21 and len(counted) == len(said)
    assert "at most $30.00" in page
