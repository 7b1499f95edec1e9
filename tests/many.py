"""Jobs with many rows, written into the database at once, and what statements do to them."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction

from jobs.drafts import estimates
from jobs.models import Installation, Job, Row
from jobs.worker import tally

from .conftest import store_job
from .running import SECONDS

# Statements that change rows of these tables, which grow with the rows of a job.
_GROWING = re.compile(
    r'^\s*(?:INSERT INTO|UPDATE|DELETE FROM)\s+"?(jobs_row|jobs_attempt|jobs_edit)\b', re.IGNORECASE
)


def many_rows(job: Job, count: int, outcome: str = "", cause: str = "") -> Job:
    """Give a job of `store_job` so many rows: copies of its first, by SQL."""
    row = job.rows.order_by("number").first()
    assert row is not None
    job.rows.exclude(pk=row.pk).delete()
    if outcome:
        job.rows.update(outcome=outcome, cause=cause)
    fields = (field.get_attname() for field in Row._meta.concrete_fields)
    columns = [name for name in fields if name not in ("id", "number")]
    names = ", ".join(columns)
    with connection.cursor() as cursor:
        cursor.execute(
            # Only names of columns are put together here.
            f"INSERT INTO jobs_row (number, {names})"  # noqa: S608 - names of ours
            f" WITH RECURSIVE n(number) AS (SELECT 2 UNION ALL SELECT number + 1 FROM n"
            f" WHERE number < %s) SELECT n.number, {names} FROM n, jobs_row WHERE jobs_row.id = %s",
            [count, row.pk],
        )
    Job.objects.filter(pk=job.pk).update(row_count=count)
    tally.count_up(job)
    job.refresh_from_db()
    return job


def finished(owner: User, count: int, outcome: str, cause: str, **values: Any) -> Job:
    """A finished job of so many rows with one outcome, of which it is known what they cost."""
    job = store_job(owner, Job.State.DRAFT, prompt="Say: {{text}}", **values)
    job = many_rows(job, count)
    estimates.estimate_job(job)
    Job.objects.filter(pk=job.pk).update(
        state=Job.State.FINISHED, confirmed_at=job.created_at, practice=True
    )
    job.rows.update(outcome=outcome, cause=cause, output_tokens=5)
    tally.count_up(job)
    job.refresh_from_db()
    return job


@dataclass
class Touched:
    """What was done within a block."""

    statements: int = 0
    rows: int = 0  # that the largest transaction changed, of what grows with a job
    steps: int = 0  # of SQLite in the longest transaction, in units of `every`: what it looked at


@contextmanager
def touched(every: int = 1_000) -> Iterator[Touched]:
    """Count statements, and what the transactions of the block touch. Its `steps` are in units of
    `every`."""
    found, rows, steps = Touched(), 0, 0

    def watch(execute: Any, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        nonlocal rows
        found.statements += 1
        result = execute(sql, params, many, context)
        if _GROWING.match(sql):
            rows += max(context["cursor"].rowcount, 0)
            if not connection.in_atomic_block:
                end()
        return result

    def step() -> int:
        nonlocal steps
        steps += connection.in_atomic_block
        return 0

    def end() -> None:
        nonlocal rows, steps
        found.rows, found.steps = max(found.rows, rows), max(found.steps, steps)
        rows = steps = 0

    leave = transaction.Atomic.__exit__

    def leave_and_count(self: Any, *args: Any) -> Any:
        result = leave(self, *args)
        if not connection.in_atomic_block:
            end()
        return result

    connection.ensure_connection()
    with pytest.MonkeyPatch.context() as patched, connection.execute_wrapper(watch):
        patched.setattr(transaction.Atomic, "__exit__", leave_and_count)
        if connection.vendor == "sqlite":
            connection.connection.set_progress_handler(step, every)
        try:
            yield found
        finally:
            if connection.vendor == "sqlite":
                connection.connection.set_progress_handler(None, 0)


def at_once(*acts: Callable[[], object]) -> list[object]:
    """What each comes to, in threads and connections of their own."""
    ready = threading.Barrier(len(acts), timeout=SECONDS)
    results: list[object] = [None] * len(acts)

    def run(place: int) -> None:
        try:
            Installation.get()  # the connection is there before it counts
            ready.wait()
            results[place] = acts[place]()
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    return results
