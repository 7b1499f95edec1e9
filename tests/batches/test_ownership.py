"""A batch that was found by listing is disowned only after several looks that agree; then a person
decides, and it is looked at on. One wrong answer of the provider or of a proxy costs nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from jobs.actions import job_basics, submissions, unknown_batches
from jobs.batches import collection, late, ownership
from jobs.models import (
    Batch,
    DisownedBatch,
    Job,
    LateBatch,
    SubmissionEvent,
    clock,
    dollars,
    files,
)
from jobs.provider import client
from jobs.rules import result_proof
from jobs.worker import advance, due_times, sweep

from ..conftest import Simulator, let_pass
from ..driven_jobs import Drive, confirmed
from ..kept_jobs import kept
from .test_submission import ROWS, assert_sent_once, foreign_batch, without_pauses


@pytest.fixture(autouse=True)
def quick(settings: Any) -> None:
    settings.SUBMIT_DEADLINE_SECONDS = 1
    settings.RECONCILE_GRACE_SECONDS = 0.5


def is_asked(job: Job) -> bool:
    return bool(job.held)


def now_due(job: Job) -> None:
    """Batches are looked after at once, and disowned ones when their own time has come."""
    now = timezone.now()
    let_pass(Batch.objects.filter(state=Batch.State.UNKNOWN), timedelta(seconds=1))
    Batch.objects.filter(state__in=due_times.NEED_LOOK).update(next_action_at=now)
    Job.objects.update(next_action_at=now)


def disowned(alice: User, simulator: Simulator, drive: Drive, more_wrong: int = 0) -> Job:
    """A job whose answer to the create was lost; its batch was found, and the looks at its results
    were answered with another batch's, as `more_wrong` others will be."""
    job = kept("disowned", partial(disown, alice, simulator, drive), simulator)
    if more_wrong:
        simulator.faults(results=[{"kind": "foreign_nonce", "times": more_wrong}])
    return job


def disown(alice: User, simulator: Simulator, drive: Drive) -> Job:
    foreign = {"kind": "foreign_nonce", "times": result_proof.TRIES}
    simulator.faults(create=[{"kind": "drop_after_accept"}], results=[foreign])
    job = confirmed(alice, ROWS)

    def asked(job: Job) -> bool:
        now_due(job)
        return bool(job.held)

    job = drive(job, until=asked)
    assert "Somebody has to say" in job.held, "whatever RECONCILE_RESUBMIT says"
    (batch,) = job.batches.all()
    assert (batch.state, batch.provider_id) == (Batch.State.UNKNOWN, None)
    assert batch.asked_at
    assert simulator.truth()["posts"] == 1
    return job


def test_one_wrong_download_of_a_batch_found_by_listing_is_fetched_again(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    simulator.faults(create=[{"kind": "drop_after_accept"}], results=[{"kind": "foreign_nonce"}])
    job = drive(confirmed(alice, ROWS), until=without_pauses(is_finished))
    assert job.good_count == len(ROWS)
    assert_sent_once(simulator, job)
    assert not SubmissionEvent.objects.filter(kind="given_back").exists()


def is_finished(job: Job) -> bool:
    return job.state == Job.State.FINISHED


def test_looks_have_to_agree_in_a_row_before_a_batch_is_disowned(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    """What else went wrong before is no look that says so."""
    cut = {"kind": "missing_line", "times": result_proof.TRIES - 1}
    simulator.faults(
        create=[{"kind": "drop_after_accept"}], results=[cut, {"kind": "foreign_nonce"}]
    )
    job = drive(confirmed(alice, ROWS), until=without_pauses(is_finished))
    assert_sent_once(simulator, job)


def files_here() -> list[bytes]:
    """What arrived of results, under whatever name."""
    return [path.read_bytes() for path in files.scratch().iterdir()]


def looks_that_say_foreign(number: int) -> Callable[[Job], bool]:
    def seen(job: Job) -> bool:
        now_due(job)
        return job.batches.filter(doubt=result_proof.FOREIGN, doubts=number).exists()

    return seen


@pytest.mark.parametrize("was_proven", [False, True], ids=["downloaded", "proven before"])
def test_a_file_is_removed_only_when_a_second_look_says_that_it_is_another_batchs(
    alice: User,
    simulator: Simulator,
    drive: Drive,
    monkeypatch: pytest.MonkeyPatch,
    was_proven: bool,
) -> None:
    """One look can be wrong, and the file may be all that there is of paid answers."""
    monkeypatch.setattr(advance, "TURN", -due_times.SAFETY)  # one step a sweep
    foreign = {"kind": "foreign_nonce", "times": 3}
    simulator.faults(create=[{"kind": "drop_after_accept"}], results=[foreign])
    job = confirmed(alice, ROWS)
    if was_proven:
        job = drive(job, until=lambda job: job.batches.filter(recovered=True).exists())
        files.scratch()  # makes the folder
        line = b'{"custom_id":"theirs-1","result":{"type":"expired"}}\n'
        files.results_path(job.batches.get()).write_bytes(line * 9_000)
        wrong = b"theirs-1"
    else:
        wrong = b"-0000001"
    job = drive(job, until=looks_that_say_foreign(1))
    (first,) = files_here()
    assert wrong in first
    job = drive(job, until=looks_that_say_foreign(2))
    assert files_here() == []
    job = drive(job, until=without_pauses(is_finished))
    assert_sent_once(simulator, job)
    assert len(files_here()) == 1, "nothing of the wrong downloads is left"


def test_a_disowned_batch_whose_results_prove_it_later_is_taken_back(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    job = disowned(alice, simulator, drive)
    job = drive(job, until=without_pauses(is_finished))
    assert (job.held, job.good_count) == ("", len(ROWS))
    assert_sent_once(simulator, job)
    assert not DisownedBatch.objects.exists()


def test_a_disowned_batch_is_looked_at_once_more_before_its_rows_are_sent_again(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    job = disowned(alice, simulator, drive)
    assert unknown_batches.send_again(job.batches.get(), alice)
    job = drive(job)
    assert_sent_once(simulator, job)


def test_a_disowned_batch_that_proves_to_be_ours_after_all_rows_were_sent_again_is_counted(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    """One more wrong answer, at the last look before sending."""
    job = disowned(alice, simulator, drive, more_wrong=1)
    assert unknown_batches.send_again(job.batches.get(), alice)
    job = drive(job)
    assert simulator.truth()["posts"] == 2
    once = job.cost
    DisownedBatch.objects.update(next_look_at=clock.now())
    late.look()
    found = LateBatch.objects.get()
    assert found.finished == len(ROWS)
    assert found.cost == once > 0
    assert job.events.filter(text__contains=f"is {found.provider_id} after all").exists()
    assert job.events.filter(text__contains="charged a second time").exists()
    job.refresh_from_db()
    assert dollars(job.spent_pico) == 2 * once


def test_a_disowned_batch_is_looked_at_ever_more_seldom(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    job = disowned(alice, simulator, drive, more_wrong=1000)
    batch, asked = job.batches.get(), []
    real = client.result_blocks

    def counted(provider_id: str) -> Any:
        asked.append(provider_id)
        return real(provider_id)

    moment, ahead = clock.now(), timedelta()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "result_blocks", counted)
        patch.setattr(clock, "now", lambda: moment + ahead)
        while ahead < timedelta(hours=48) and len(asked) < 60:
            assert ownership.find_disowned(batch) is None
            ahead = DisownedBatch.objects.get().next_look_at - moment
    assert 40 < len(asked) < 60


def test_of_several_candidates_none_is_excluded_by_one_look(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    """The first look at each of two batches is answered with a third one's results."""
    simulator.faults(
        create=[{"kind": "drop_after_accept"}],
        foreign_batches=1,
        results=[{"kind": "foreign_nonce", "times": 2}],
    )
    job = drive(confirmed(alice, ROWS), until=without_pauses(is_finished))
    assert simulator.truth()["posts"] == 1
    assert job.good_count == len(ROWS)
    assert set(simulator.accepted().values()) == {1}
    assert not SubmissionEvent.objects.filter(kind="given_back").exists()


def test_another_batch_that_is_proven_takes_the_place_of_a_foreign_one_at_once(
    alice: User, simulator: Simulator, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of another program was listed before ours."""
    simulator.faults(create=[{"kind": "drop_after_accept"}])
    job = confirmed(alice, ROWS)
    drive(job, until=lambda job: job.batches.filter(state=Batch.State.UNKNOWN).exists())
    theirs = foreign_batch(len(ROWS))
    listed = client.list_batches
    with monkeypatch.context() as patch:
        patch.setattr(client, "list_batches", lambda: (one for one in listed() if one.id == theirs))
        patch.setattr(collection, "collect", lambda batch, lease: timedelta(seconds=1))
        drive(job, until=lambda job: job.batches.filter(state=Batch.State.ENDED).exists())
    assert job.batches.get().provider_id == theirs
    job = drive(job, until=without_pauses(is_finished))
    batch = job.batches.get()
    assert batch.provider_id != theirs
    assert (job.good_count, batch.collect_failures) == (len(ROWS), 0)
    assert simulator.truth()["posts"] == 1 + 1


def test_a_batch_whose_results_are_missing_while_it_is_there_is_not_given_back(
    alice: User, simulator: Simulator, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collection, "NOT_YET_VISIBLE", -timedelta(minutes=15))
    missing = {"kind": "status_404", "times": result_proof.TRIES}
    simulator.faults(create=[{"kind": "drop_after_accept"}], results=[missing])
    job = drive(confirmed(alice, ROWS), until=without_pauses(is_asked))
    assert "404" in job.held
    assert job.batches.get().provider_id
    assert submissions.resume_job(job, alice)
    assert_sent_once(simulator, drive(job))


def test_a_batch_found_by_listing_that_is_gone_again_is_not_sent_again_by_itself(
    alice: User, simulator: Simulator, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its results and the batch itself are answered with 404, look after look."""
    monkeypatch.setattr(collection, "NOT_YET_VISIBLE", -timedelta(minutes=15))
    simulator.faults(create=[{"kind": "drop_after_accept"}])
    job = confirmed(alice, ROWS)
    ended = {"state": Batch.State.ENDED}
    with monkeypatch.context() as patch:
        patch.setattr(collection, "collect", lambda batch, lease: timedelta(seconds=1))
        drive(job, until=lambda job: job.batches.filter(**ended).exists())
    simulator.faults(retrieve_404_seconds=1e6, list_hide_seconds=1e6)
    for looks in range(result_proof.TRIES):
        assert job.batches.get().doubts == looks
        now_due(job)
        with monkeypatch.context() as patch:
            patch.setattr(advance, "TURN", -due_times.SAFETY)  # one step a sweep
            sweep.sweep()
    job = drive(job, until=without_pauses(is_asked))
    assert "Somebody has to say" in job.held
    assert simulator.truth()["posts"] == 1
    simulator.reset()
    assert_sent_once(simulator, drive(job, until=without_pauses(is_finished)))


# --- What a late batch had finished ---------------------------------------------------------------


@pytest.mark.parametrize("right_in_the_end", [True, False])
def test_what_a_late_batch_cost_does_not_hang_on_one_look_at_its_counts(
    alice: User, simulator: Simulator, drive: Drive, right_in_the_end: bool
) -> None:
    simulator.faults(create=[{"kind": "drop_after_accept"}], list_hide_seconds=600)
    job = confirmed(alice, ROWS)
    drive(job, until=lambda job: job.batches.filter(attempts=2).exists())
    job = drive(job)
    simulator.faults(list_hide_seconds=0, wrong_counts_seconds=1e6)
    late.look()
    found = LateBatch.objects.get()
    assert found.ended_at is None, "the provider says that nothing succeeded; the results differ"
    if right_in_the_end:
        simulator.faults(wrong_counts_seconds=0)
    else:
        LateBatch.objects.update(found_at=clock.now() - late.COUNTS_COUNT)
    late.look()
    found.refresh_from_db()
    assert (found.finished, found.cost) == (len(ROWS), job.cost)


# --- Deleting -------------------------------------------------------------------------------------


def test_one_404_does_not_mean_that_the_copy_at_the_provider_is_deleted(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    job = drive(confirmed(alice, ROWS))
    simulator.faults(delete=[{"kind": "status", "status": 404}])
    assert job_basics.delete_job(job, alice)
    sweep.sweep()
    assert Job.objects.filter(pk=job.pk).exists()
    Job.objects.update(next_action_at=timezone.now())
    sweep.sweep()
    assert not Job.objects.filter(pk=job.pk).exists()
    assert simulator.truth()["batches"][0]["deleted"]
