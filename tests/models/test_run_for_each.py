"""A statement that is run for many rows, on both databases."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib.auth.models import User

from jobs.models import Job, Row
from jobs.models.statements import renew_statistics, run_for_each, update_statement

TEXTS = ["it's", 'a "quote"', "100 % of $1, %s", "back\\slash", "Größe 😀", ""]


def test_each_row_gets_its_own_values_as_they_are(
    alice: User, make_job: Callable[..., Job]
) -> None:
    job = make_job(alice, rows=[("a", "b")] * len(TEXTS))
    before = list(job.rows.order_by("number").values_list("answer", flat=True))
    update = update_statement(Row, ["answer", "same_as"], ["job_id", "number"], ["batch_id"])
    unplanned = [(text, None, job.pk, number, 1) for number, text in enumerate(TEXTS, 1)]
    run_for_each(update, unplanned)
    after = list(job.rows.order_by("number").values_list("answer", flat=True))
    assert after == before, "they are in no batch"

    update = update_statement(Row, ["answer", "same_as"], ["job_id", "number"])
    values = [
        (text, None if number % 2 else 40_000, job.pk, number)
        for number, text in enumerate(TEXTS, 1)
    ]
    run_for_each(update, values)
    run_for_each(update, [])
    renew_statistics(Row)
    found = list(job.rows.order_by("number").values_list("answer", "same_as", "job_id", "number"))
    assert found == values
