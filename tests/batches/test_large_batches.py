"""What becomes of all rows of a large batch is written in short transactions, and a worker that is
killed between two of them leaves nothing half done."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User

from jobs.batches import collection, external_ids, leases, polling, result_rows
from jobs.models import Batch, Job, Outcome, Row, files
from jobs.provider import client, errors
from jobs.rules import result_proof

from ..many import finished, touched

pytestmark = pytest.mark.django_db(transaction=True)

ROWS = 2 * result_rows.SLICE  # that one transaction may change
STEPS = 1_500  # thousands of steps of SQLite in one transaction: no look at all rows


class Died(BaseException):
    pass


def dies_after(slices: int) -> Callable[[leases.Lease], None]:
    """Lease.renew of a worker that is killed after so many slices."""
    left = [slices]

    def renew(_lease: leases.Lease) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Died

    return renew


def at_provider(alice: User, count: int, state: str) -> tuple[Batch, leases.Lease]:
    """A batch of a working job, with so many rows that wait."""
    job = finished(alice, count, Outcome.WAITING, "")
    Job.objects.filter(pk=job.pk).update(state=Job.State.WORKING)
    batch = job.batches.create(
        number=1, size=count, nonce="n" * 12, state=state, provider_id="msgbatch_1", body_bytes=1
    )
    job.rows.update(batch=batch)
    lease = leases.claim(job.pk) or leases.Lease(job.pk, "", job.created_at)
    return batch, lease


def test_a_large_batch_is_lost_in_slices_and_a_worker_that_died_begins_anew(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, lease = at_provider(alice, 9_000, Batch.State.ENDED)
    with monkeypatch.context() as patched, pytest.raises(Died):
        patched.setattr(leases.Lease, "renew", dies_after(1))
        collection.lose(batch, lease)
    lost = Row.objects.filter(outcome=Outcome.ERRORED, cause="lost")
    batch.refresh_from_db()
    assert 0 < lost.count() < 9_000 and batch.state == Batch.State.ENDED, "it is repeated"
    with touched() as slices:
        collection.lose(batch, lease, "The provider deleted them.")
    batch.refresh_from_db()
    assert batch.state == Batch.State.LOST and lost.count() == 9_000
    assert 0 < slices.rows <= ROWS and slices.steps < STEPS


def test_rows_wait_again_when_a_batch_is_there_after_a_worker_died_calling_it_lost(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else what they may still cost would not be reserved any more."""
    batch, lease = at_provider(alice, 5_000, Batch.State.IN_PROGRESS)
    batch.doubt, batch.doubts = result_proof.GONE, result_proof.TRIES - 1

    class Found:
        id, status, expires_at = "msgbatch_1", "in_progress", None

    with monkeypatch.context() as patched, pytest.raises(Died):
        patched.setattr(
            client,
            "retrieve_batch",
            raises(errors.NotFound(404, "not_found_error", "gone", None)),
        )
        patched.setattr(leases.Lease, "renew", dies_after(1))
        polling.give_up(batch, lease)
    assert Row.objects.filter(cause="lost").exists()
    monkeypatch.setattr(client, "retrieve_batch", lambda _id: Found())
    polling.give_up(batch, lease)
    assert Row.objects.filter(outcome=Outcome.WAITING, cause="", message="").count() == 5_000


def raises(error: Exception) -> Callable[..., None]:
    def call(*_: object) -> None:
        raise error

    return call


def test_what_fits_a_large_batch_from_elsewhere_is_said_in_slices(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, lease = at_provider(alice, 9_000, Batch.State.ENDED)
    answered = batch.job.rows.filter(number__lte=4_000)
    answered.update(outcome=Outcome.GOOD, problem="too long")
    monkeypatch.setattr(external_ids, "ids_of", lambda *_: ["stray"])
    monkeypatch.setattr(external_ids, "numbers", lambda *_: {})
    path = files.results_path(batch)
    with monkeypatch.context() as patched, pytest.raises(Died):
        patched.setattr(leases.Lease, "renew", dies_after(2))
        result_rows.say_what_fits(batch, path, lease)
    with touched() as slices:
        result_rows.say_what_fits(batch, path, lease)
    assert 0 < slices.rows <= ROWS and slices.steps < STEPS
    assert batch.job.rows.filter(outcome=Outcome.GOOD, problem="", batch=batch).count() == 4_000
    without = batch.job.rows.filter(outcome=Outcome.LEFT_OUT, batch=None)
    assert without.filter(problem=external_ids.NO_RESULT, cause="left_out").count() == 5_000
    assert batch.job.problems.get(kind=result_rows.NO_ROW).count == 1
