"""Work on many rows is done in short transactions, and after each of them others get their turn:
SQLite has no queue for those who wait to write."""

from __future__ import annotations

import ast
import json
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection

from jobs.actions import submissions, uploads
from jobs.batches import result_rows, slices
from jobs.drafts import estimates, reading
from jobs.models import Job, Row, files
from jobs.rules.result_lines import ResultLine

from ..conftest import Simulator, change_job
from ..environment import ROOT
from .test_external import in_table

# One that is tried anew; one for each alarm; one for each limit that is near.
NOT_SLICES = {"tally.count_up", "alarms.settle", "cap_notices.check_all"}


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long others were let in, each time: after every slice, however short it was."""
    found: list[float] = []
    monkeypatch.setattr(slices, "HELD_SECONDS", 0.0)
    clock = SimpleNamespace(monotonic=time.monotonic, sleep=found.append)
    monkeypatch.setattr(slices, "time", clock)
    return found


def loops_with_transactions() -> Iterator[str]:
    for path in sorted((ROOT / "jobs").rglob("*.py")):
        text = path.read_text()
        for function in ast.walk(ast.parse(text)) if "transaction.atomic()" in text else ():
            if not isinstance(function, ast.FunctionDef):
                continue
            loops = [node for node in ast.walk(function) if isinstance(node, (ast.For, ast.While))]
            for node in (inner for loop in loops for inner in ast.walk(loop)):
                if isinstance(node, ast.With) and "transaction.atomic()" in {
                    ast.unparse(item.context_expr) for item in node.items
                }:
                    yield f"{path.stem}.{function.name}"


@pytest.mark.no_database
def test_a_loop_of_transactions_lets_others_in_between() -> None:
    assert set(loops_with_transactions()) == NOT_SLICES


@pytest.mark.no_database
def test_whoever_has_a_lease_shows_it_in_each_slice() -> None:
    """Else a worker that stood still would change the rows of whoever has the job by now."""
    without = set()
    for path in sorted((ROOT / "jobs").rglob("*.py")):
        text = path.read_text()
        for function in ast.walk(ast.parse(text)) if "slice_transaction(None)" in text else ():
            if isinstance(function, ast.FunctionDef) and "lease: Lease" in ast.unparse(function):
                calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
                without |= {
                    f"{path.stem}.{function.name}"
                    for call in calls
                    if ast.unparse(call) == "slice_transaction(None)"
                }
    assert not without


@pytest.mark.django_db(transaction=True)
def test_others_get_their_turn_after_each_slice_of_a_file_and_of_its_results(
    alice: User,
    simulator: Simulator,
    drive: Callable[..., Job],
    monkeypatch: pytest.MonkeyPatch,
    pauses: list[float],
) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL locks rows, not the database")
    rows = [["text"], *([f"row {number}"] for number in range(20))]
    stored: list[int] = []
    store = reading._store

    def count(*given: object) -> None:
        before = len(pauses)
        store(*given)  # type: ignore[arg-type]  # passed on as they are
        stored.append(len(pauses) - before)

    monkeypatch.setattr(reading, "_store", count)
    job = drive(
        uploads.create_job(alice, in_table(rows)), until=lambda job: job.state == Job.State.DRAFT
    )
    assert stored and set(stored) == {1}
    change_job(job, prompt="Say: {{text}}")
    job.refresh_from_db()
    estimates.estimate_job(job)
    job.refresh_from_db()
    assert submissions.confirm(job, job.plan_sha256, alice)
    monkeypatch.setattr(result_rows, "STORED_AT_ONCE", 2)
    seen: list[int] = []
    store_results = result_rows.store

    def count_results(*given: object) -> int:
        before = len(pauses)
        cost = store_results(*given)  # type: ignore[arg-type]  # passed on as they are
        seen.append(len(pauses) - before)
        return cost

    monkeypatch.setattr(result_rows, "store", count_results)
    order: list[str] = []
    new_results = result_rows._new_results

    def note_order(*given: Any) -> list[ResultLine]:
        found = list(new_results(*given))
        order.extend(one.custom_id for one in found)
        return found

    monkeypatch.setattr(result_rows, "_new_results", note_order)
    job = drive(job)
    assert Row.objects.filter(job=job, outcome="good").count() == 20
    assert seen == [10]
    with files.results_path(job.batches.get()).open() as lines:
        as_received = [json.loads(line)["custom_id"] for line in lines]
    assert order == sorted(as_received) != as_received, "neighbors are stored together"


@pytest.mark.django_db(transaction=True)
def test_short_slices_pause_once_they_have_held_the_database_long_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A writer who waits is never kept for longer than that, and a slice."""
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL locks rows, not the database")
    now, paused_at = 0.0, []

    def sleep(_seconds: float) -> None:
        paused_at.append(now)

    monkeypatch.setattr(slices, "time", SimpleNamespace(monotonic=lambda: now, sleep=sleep))
    monkeypatch.setattr(slices, "_held", 0.0)
    for _ in range(20):
        with slices.slice_transaction(None):
            now += 0.15
    assert paused_at == pytest.approx([0.6, 1.2, 1.8, 2.4, 3.0])
    for gap, pauses in ((0.1, [7.9, 8.9]), (0.2, [])):
        now, paused_at[:] = 7.0, []
        monkeypatch.setattr(slices, "_held", 0.0)
        for _ in range(8):
            with slices.slice_transaction(None):
                now += 0.15
            now += gap  # for something else, as long as a pause or not
        assert paused_at == pytest.approx(pauses)
    assert slices.HELD_SECONDS + slices.PAUSE_SECONDS < 1, "seconds that anybody waits"
