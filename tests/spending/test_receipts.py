"""The receipt is what adding up every row and attempt comes to, without reading any of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from jobs.models import COUNT_ANEW, Attempt, Job, Outcome, Row, dollars
from jobs.spending import receipts
from jobs.worker import sweep, tally

from ..cli.test_job_command import run
from ..conftest import store_job

MakeJob = Callable[..., Job]
HAIKU, SONNET = "claude-haiku-5-5", "claude-sonnet-5-5"


def result(model: str, number: int, **values: Any) -> dict[str, Any]:
    """What a row or an attempt came to, with other numbers in each column and each row."""
    names = ("input", "cache_write", "cache_read", "output", "thinking")
    tokens = {f"{name}_tokens": number * 10 + place for place, name in enumerate(names)}
    charged = {"outcome": Outcome.GOOD, "answered_by": model, "cost_pico": number * 10**9, **tokens}
    return {**charged, **values}


@pytest.fixture
def job(alice: User) -> Job:
    """With rows of all kinds, two of which had earlier attempts."""
    look = {"outcome": Outcome.LOOK, "cause": "refused"}
    errored = {"outcome": Outcome.ERRORED, "cause": "overloaded_error"}
    outcomes: list[dict[str, Any]] = [
        result(HAIKU, 1),
        result(HAIKU, 2, outcome=Outcome.LOOK, cause="cut_off"),
        result(SONNET, 3, round=2),
        result(HAIKU, 4, cost_pico=0),  # without a price
        errored,
        errored,
        look,
        {"outcome": Outcome.GOOD, "output_tokens": 0},
        {"outcome": Outcome.GOOD, "answered_by": HAIKU, "output_tokens": 0, "same_as": 1},
        {"outcome": Outcome.WAITING, "same_as": 2},
        {"outcome": Outcome.GOOD, "answered_by": HAIKU, "output_tokens": 0, "earlier": 7},
        {"outcome": Outcome.WAITING},
        {"outcome": Outcome.LEFT_OUT, "cause": "left_out"},
    ]
    rows = [(f"n{number}", "text") for number in range(len(outcomes))]
    job = store_job(alice, rows=rows, outcomes=outcomes)
    attempts = [(3, 1, result(HAIKU, 5)), (3, 2, result(SONNET, 6)), (5, 1, errored)]
    for number, attempt, values in attempts:
        Attempt.objects.create(job=job, number=number, attempt=attempt, problem="", **values)
    tally.count_up(job)
    job.refresh_from_db()
    return job


def lines_of(results: list[Any]) -> list[tuple[Any, ...]]:
    """The charges of each model, added up one result after the other."""
    charged = [one for one in results if one.cost_pico]
    return [
        (
            model,
            len(mine := [one for one in charged if one.answered_by == model]),
            *(sum(getattr(one, f"{name}_tokens") for one in mine) for name in NAMES),
            dollars(sum(one.cost_pico for one in mine)),
        )
        for model in sorted({one.answered_by for one in charged})
    ]


NAMES = ("input", "cache_write", "cache_read", "output", "thinking")


def test_it_is_what_adding_up_everything_comes_to(job: Job) -> None:
    found = receipts.receipt_of(job)
    for what, model in ((receipts.ROWS, Row), (receipts.EARLIER, Attempt)):
        lines = [tuple(vars(one).values()) for one in found.lines if one.what == what]
        assert lines == [(what, *line) for line in lines_of(list(model.objects.all()))]
    assert found.charged == job.cost == dollars(job.spent_pico)
    assert found.unpriced == 1
    assert found.not_charged == {
        "Anthropic overloaded": 2,
        "Free of charge": 1,
        "Declined by Claude": 1,
        "Skipped": 1,
        "Answered by an earlier job": 1,
        "The same as another row": 2,
    }
    waiting = Counter(row.outcome for row in job.rows.filter(same_as=None))[Outcome.WAITING]
    counted = sum(one.rows for one in found.lines if one.what == receipts.ROWS)
    assert counted + found.unpriced + sum(found.not_charged.values()) + waiting == job.row_count


def test_looking_at_it_reads_no_row(job: Job, client_alice: Client) -> None:
    with CaptureQueriesContext(connection) as asked:
        page = client_alice.get(reverse("receipt", args=[job.pk])).content.decode()
    assert "Earlier attempts" in page and "2 rows</span>: Anthropic overloaded" in page
    tables = ('FROM "jobs_row"', 'FROM "jobs_attempt"')
    assert not [one["sql"] for one in asked if any(table in one["sql"] for table in tables)]


# --- Jobs that an older version counted -----------------------------------------------------------


def left_by_an_older_version(job: Job) -> None:
    """As migration 0066 leaves it."""
    Job.objects.filter(pk=job.pk).update(tally={}, tally_version=COUNT_ANEW)


def test_until_it_is_counted_anew_the_page_says_so(job: Job, client_alice: Client) -> None:
    before, version = receipts.receipt_of(job), job.rows_version
    left_by_an_older_version(job)
    address = reverse("receipt", args=[job.pk])
    page = client_alice.get(address).content.decode()
    assert "we add up this receipt again" in page and "$" not in page
    sweep.sweep()
    job.refresh_from_db()
    assert receipts.receipt_of(job) == before
    assert job.rows_version == version, "nothing else is renewed, such as the search index"
    assert "we add up this receipt again" not in client_alice.get(address).content.decode()


def test_the_command_counts_it_at_once(job: Job) -> None:
    before = receipts.receipt_of(job)
    left_by_an_older_version(job)
    assert json.loads(run("receipt", job.pk, "--json")[0])["charged"] == format(before.charged, "f")


def test_few_of_them_are_counted_at_once_and_a_changed_job_does_not_wait(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "COUNTED_ANEW_AT_ONCE", 2)
    jobs = [store_job(alice) for _ in range(5)]
    for job in jobs[1:]:
        left_by_an_older_version(job)
    tally.note_change(jobs[0].pk)
    stepped: list[int] = []
    sweep.sweep(step=stepped.append)
    assert sorted(stepped) == [jobs[0].pk, jobs[3].pk, jobs[4].pk]
    for _ in range(3):
        sweep.sweep()
    assert not Job.objects.stale().exists()
