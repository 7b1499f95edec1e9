"""Rows are cut into batches within the provider's limits, and a body is what was planned."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from django.contrib.auth.models import User

from jobs.batches import leases, planning, slices
from jobs.models import Batch, Job, NotMoved, Outcome, Row, files

MakeJob = Callable[..., Job]


def sizes(total: int, limit: int = 99_000) -> list[int]:
    """The sizes of a job's batches, as planning takes them one by one."""
    taken: list[int] = []
    while sum(taken) < total:
        wanted = planning.size_of_batch(total, len(taken) + 1, limit)
        taken.append(min(wanted, total - sum(taken)))
    return taken


def plan_all(job: Job) -> list[Batch]:
    lease = leases.claim(job.pk)
    assert lease is not None
    while planning.plan_next_batch(job, lease):
        pass
    lease.release(None)
    return list(job.batches.all())


def body_of(batch: Batch) -> list[dict[str, Any]]:
    requests: list[dict[str, Any]] = json.loads(files.body_path(batch).read_bytes())["requests"]
    return requests


@pytest.mark.parametrize("total", [1, 2, 99, 100, 250, 1_204, 3_201, 100_000, 250_000, 1_000_000])
def test_every_row_is_in_a_batch_within_the_limit_and_sizes_differ(total: int) -> None:
    cut = sizes(total)
    assert sum(cut) == total
    assert max(cut) <= 99_000
    assert len(set(cut)) == len(cut), "batches in flight are told apart by their size"


def test_there_is_progress_to_see() -> None:
    assert len(sizes(60)) == 1
    for total in (3_201, 100_000, 250_000, 1_000_000):
        assert 10 <= len(sizes(total)) <= 20


@pytest.fixture
def job(alice: User, make_job: MakeJob) -> Job:
    rows = [(f"n{n}", "x" * 40) for n in range(25)]
    return make_job(
        alice,
        state=Job.State.SUBMITTING,
        rows=rows,
        prompt="About {{name}}: {{text}}",
        next_action_at="2020-01-01T00:00:00Z",
    )


def test_the_body_has_the_requests_of_its_rows_and_its_hash(job: Job) -> None:
    (batch,) = plan_all(job)
    requests = body_of(batch)
    assert [r["custom_id"] for r in requests] == [f"{batch.nonce}-{n:07d}" for n in range(1, 26)]
    assert requests[0]["params"]["messages"][0]["content"] == "About n0: " + "x" * 40
    content = files.body_path(batch).read_bytes()
    assert batch.body_sha256 == hashlib.sha256(content).hexdigest()
    assert batch.body_bytes == len(content)
    assert set(Row.objects.filter(job=job).values_list("batch", flat=True)) == {batch.pk}


def test_the_limit_of_requests_holds(job: Job, settings: Any) -> None:
    settings.BATCH_MAX_REQUESTS = 7
    batches = plan_all(job)
    assert sum(batch.size for batch in batches) == 25
    assert all(len(body_of(batch)) == batch.size <= 7 for batch in batches)


def test_the_limit_of_bytes_holds(job: Job, settings: Any) -> None:
    settings.BATCH_MAX_BYTES = 1_000
    batches = plan_all(job)
    assert len(batches) > 3
    assert all(files.body_path(batch).stat().st_size <= 1_000 for batch in batches)
    assert sum(batch.size for batch in batches) == 25


def test_a_row_larger_than_a_batch_is_left_out_and_said(job: Job, settings: Any) -> None:
    Row.objects.filter(job=job, number=3).update(source=json.dumps(["n2", "y" * 5_000]))
    settings.BATCH_MAX_BYTES = 4_000
    plan_all(job)
    row = Row.objects.get(job=job, number=3)
    assert (row.outcome, row.batch) == (Outcome.LEFT_OUT, None)
    assert "larger than a whole batch" in row.problem
    assert not Row.objects.filter(job=job, outcome=Outcome.WAITING, batch=None).exists()


def test_planning_goes_on_where_it_was_cut_off(job: Job, settings: Any) -> None:
    settings.BATCH_MAX_REQUESTS = 10
    stray = files.body_path(Batch(job=job, nonce="x" * 12))
    stray.parent.mkdir(parents=True, exist_ok=True)
    stray.write_text("left by a crash")
    plan_all(job)
    numbers = [int(r["custom_id"][-7:]) for b in job.batches.all() for r in body_of(b)]
    assert numbers == list(range(1, 26))
    assert not stray.exists()


def test_a_batch_that_another_worker_takes_back_is_not_planned_with_some_of_its_rows(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock leapt, so two workers are at the same job. A batch without some of its rows would
    be sent with them all the same, and they once more with the next one."""
    monkeypatch.setattr(slices, "SLICE", 5)
    lease = leases.claim(job.pk)
    assert lease is not None
    fill = planning._fill

    def begin(batch: Batch, numbers: Sequence[int], lease: leases.Lease) -> None:
        Row.objects.filter(job=job, number__in=numbers[:10]).update(batch=batch)
        rest.extend(numbers[10:])

    rest: list[int] = []
    monkeypatch.setattr(planning, "_fill", begin)
    assert planning.plan_next_batch(job, lease)
    (filling,) = job.batches.all()
    begun: list[int] = []

    @contextmanager
    def other_goes_on_after_the_first(_lease: leases.Lease | None) -> Iterator[None]:
        begun.append(1)
        if len(begun) == 2:
            with suppress(leases.LeaseLost, NotMoved):
                fill(filling, rest, lease)
        with slices.slice_transaction(None):
            yield

    monkeypatch.setattr(planning, "slice_transaction", other_goes_on_after_the_first)
    planning.empty(Batch.objects.get(pk=filling.pk))
    assert len(begun) > 1
    for batch in job.batches.all():
        planned = batch.state == Batch.State.PLANNED
        assert not planned or Row.objects.filter(batch=batch).count() == batch.size
    assert not job.batches.exists()
    assert not Row.objects.filter(job=job).exclude(batch=None).exists()
