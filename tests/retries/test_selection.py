"""How many rows a retry sends is known without looking at all rows of the job, however many of them
were edited."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User

from jobs.models import Edit, Job, Outcome
from jobs.retries import edits, measurements, rounds, selection
from jobs.retries.selection import EDITED, FOR_NOW
from jobs.rules.judging import IGNORED
from jobs.rules.retry_choices import RetryChoice

from ..conftest import store_job

CUT: dict[str, Any] = {"outcome": Outcome.LOOK, "cause": "cut_off"}
OVERLOADED: dict[str, Any] = {"outcome": Outcome.ERRORED, "cause": "overloaded_error"}
LEFT = {"outcome": Outcome.LEFT_OUT, "cause": IGNORED}
OUTCOMES: list[dict[str, Any]] = [
    CUT,
    CUT,
    {**CUT, "round": 2},
    OVERLOADED,
    OVERLOADED,
    {**OVERLOADED, "same_as": 4},
    {**OVERLOADED, "cause": "rate_limit_error"},
    LEFT,
    LEFT,
    {"outcome": Outcome.GOOD},
]
EDITED_ROWS = (1, 3, 4, 6, 8, 10)


@pytest.fixture
def job(alice: User) -> Job:
    rows = [(f"n{number}", "x" * number) for number in range(len(OUTCOMES))]
    job = store_job(alice, rows=rows, outcomes=OUTCOMES, practice=True)
    Edit.objects.bulk_create(
        Edit(job=job, number=number, source='["a", "b"]') for number in EDITED_ROWS
    )
    return job


@pytest.mark.parametrize("is_many", [False, True], ids=["few", "many"])
def test_edited_rows_are_taken_out_of_each_retry(
    job: Job, monkeypatch: pytest.MonkeyPatch, is_many: bool
) -> None:
    if is_many:
        monkeypatch.setattr(selection, "MEASURED_AT_ONCE", 2)
        assert selection.awaits_measuring(job) and edits.count_waiting(job) == len(EDITED_ROWS)
        for which in ("cut_off", EDITED):
            with pytest.raises(measurements.CannotRetry, match="still being checked"):
                rounds.make_plan(job, RetryChoice(which))
        measurements.measure_edits(job)
        job.refresh_from_db()
    for which in ("cut_off", "overloaded_error", FOR_NOW, IGNORED, EDITED):
        found = selection.sizes_by_round(job, which)
        rows = list(selection.candidate_rows(job, which))
        assert {number: (one.rows, one.bytes) for number, one in found.items()} == {
            number: (len(mine), sum(row.size for row in mine))
            for number in {row.round for row in rows}
            if (mine := [row for row in rows if row.round == number])
        }, which
    assert selection.count_edited_with_cause(job, FOR_NOW) == 1, "its copy is not sent itself"
    assert edits.count_waiting(job) == len(EDITED_ROWS) - 1, "one has a good answer"
    assert [one.row.number for one in edits.changed_rows(job, 4)] == [1, 3, 4, 6]
