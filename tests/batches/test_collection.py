"""Results are on disk, proven complete, before they count; what contradicts itself is held."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.models import Max
from django.db.models.functions import Length
from django.utils import timezone

from jobs.actions import job_basics, submissions
from jobs.batches import collection, leases, polling, result_rows
from jobs.models import Batch, Job, Outcome, Row, files
from jobs.provider import client, errors
from jobs.provider.replies import BatchInfo
from jobs.rules import result_proof
from jobs.worker import sent_jobs, sweep

from ..conftest import Simulator
from ..driven_jobs import Drive, confirmed, joined
from ..kept_jobs import kept

ROWS = [[f"n{n}", "x"] for n in range(30)]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses between two tries to collect are short."""
    original = collection._try_again

    def soon(*args: Any, **kwargs: Any) -> timedelta:
        original(*args, **kwargs)
        batch: Batch = args[0]
        pause = timedelta(seconds=0.1)
        Batch.objects.filter(pk=batch.pk).update(next_action_at=timezone.now() + pause)
        return pause

    monkeypatch.setattr(collection, "_try_again", soon)
    monkeypatch.setattr(sent_jobs, "PAUSE_OF_A_BATCH", timedelta(seconds=0.1))


def held_for_a_line(alice: User, simulator: Simulator, drive: Drive) -> Job:
    """A job that is held because one result never comes."""
    faults = [{"kind": "missing_line", "times": 1000}]

    def make() -> Job:
        simulator.faults(results=faults)
        return drive(confirmed(alice, ROWS), until=lambda job: bool(job.held))

    job = kept("held for a line", make, simulator)
    simulator.faults(results=faults)
    return job


INCOMPLETE = [
    "cut_at_line",
    "cut_mid_line",
    "clean_early_end",
    "missing_line",
    "unknown_id",
    "foreign_nonce",
    "contradicting_line",
    "cut_gzip",
    "redirect",
    "status_404",
    "status_429",
    "status_500",
]


def test_an_incomplete_download_is_fetched_again(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    simulator.faults(stuck=True)
    job = drive(confirmed(alice, ROWS), until=lambda job: job.state == Job.State.WORKING)
    simulator.faults(stuck=False)
    polling.watch()
    for kind in INCOMPLETE:
        simulator.faults(results=[{"kind": kind}])
        Batch.objects.update(collect_failures=0, next_action_at=None)
        with suppress(errors.ProviderError):
            assert fetched(job.batches.get()), f"{kind} is taken as complete"
        assert not job.rows.exclude(outcome=Outcome.WAITING).exists(), kind
    job = drive(job)
    assert job.good_count == len(ROWS)
    results = files.results_path(job.batches.get())
    assert list(results.parent.iterdir()) == [results], "nothing half-received is left"


def test_what_arrived_stays_until_more_has_arrived(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    """The provider may never give the results again."""
    simulator.faults(results=[{"kind": "missing_line"}, {"kind": "cut_at_line", "times": 10}])
    job = drive(confirmed(alice, ROWS), until=lambda job: bool(job.held))
    assert job.good_count == len(ROWS) - 1, "what arrived first can be used"
    simulator.faults(results=[])
    assert submissions.resume_job(job, alice)
    assert drive(job).good_count == len(ROWS)
    results = files.results_path(job.batches.get())
    assert list(results.parent.iterdir()) == [results]


def test_what_is_odd_but_whole_is_taken(
    alice: User, simulator: Simulator, drive: Drive, settings: Any
) -> None:
    """Each batch of the job arrives in another way; a line that comes twice is paid once."""
    settings.BATCH_MAX_REQUESTS = 5
    kinds = ["duplicate_line", "crlf", "blank_tail", "byte_order_mark", "half_character"]
    rows = ROWS[:23]
    simulator.faults(stuck=True)
    job = drive(confirmed(alice, rows), until=lambda job: job.state == Job.State.WORKING)
    simulator.faults(stuck=False)
    polling.watch()
    batches = list(job.batches.order_by("number"))
    assert len(batches) == len(kinds)
    for kind, batch in zip(kinds, batches, strict=True):
        simulator.faults(results=[{"kind": kind}])
        assert not fetched(batch), kind
        batch.refresh_from_db()
        assert (batch.state, batch.collect_failures) == (Batch.State.COLLECTED, 0), kind
        mine = job.rows.filter(batch=batch)
        assert mine.filter(outcome=Outcome.GOOD).count() == batch.size, kind
        halves = [row.answer for row in mine if "\ufffd" in row.answer]
        assert len(halves) == (kind == "half_character")
    job = drive(job)
    assert job.good_count == len(rows)
    assert sum(batch.cost_pico for batch in job.batches.all()) == job.tally.cost_pico > 0


@pytest.mark.parametrize("kind", ["unknown_type", "no_message"])
def test_a_result_of_an_unknown_kind_is_kept_raw_and_shown_when_it_stays(
    alice: User, simulator: Simulator, drive: Drive, kind: str
) -> None:
    simulator.faults(results=[{"kind": kind, "times": 10}])
    job = drive(confirmed(alice, ROWS))
    unknown = Row.objects.get(job=job, cause="unknown_result")
    assert unknown.outcome == Outcome.LOOK
    assert (job.good_count, job.attention_count) == (len(ROWS) - 1, 1)
    assert job.batches.get().collect_failures == result_proof.TRIES - 1


def test_a_last_line_without_an_end_is_taken_when_it_stays_so(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    simulator.faults(results=[{"kind": "open_end", "times": 10}])
    job = drive(confirmed(alice, ROWS))
    assert job.good_count == len(ROWS)
    assert job.batches.get().collect_failures == result_proof.TRIES - 1


@pytest.mark.parametrize("kind", ["unknown_type", "no_message"])
def test_a_result_that_is_not_understood_is_not_final_when_another_download_differs(
    alice: User, simulator: Simulator, drive: Drive, kind: str
) -> None:
    """Other trouble before it does not count: looks in a row have to agree."""
    cut = [{"kind": "missing_line", "times": result_proof.TRIES - 1}]
    simulator.faults(results=[*cut, {"kind": kind}])
    job = drive(confirmed(alice, ROWS))
    assert job.good_count == len(ROWS)
    assert job.batches.get().collect_failures == result_proof.TRIES


# --- The provider's own numbers -----------------------------------------------------------------


def with_wrong_counts(alice: User, simulator: Simulator, drive: Drive) -> Job:
    """A job whose batch was seen to have ended while the provider showed wrong counts."""
    simulator.faults(wrong_counts_seconds=1e6, stuck=True)
    job = confirmed(alice, ROWS)
    drive(job, until=lambda job: job.state == Job.State.WORKING)
    simulator.faults(stuck=False)
    polling.watch()
    assert job.batches.get().counts["errored"] == len(ROWS)
    return job


def test_counts_are_read_again_before_they_condemn_a_download(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    job = with_wrong_counts(alice, simulator, drive)
    simulator.faults(wrong_counts_seconds=0)
    job = drive(job)
    batch = job.batches.get()
    assert (job.good_count, batch.collect_failures) == (len(ROWS), 0)
    assert batch.counts["succeeded"] == len(ROWS), "the right ones are stored"


@pytest.mark.parametrize("action", [submissions.resume_job, submissions.give_up_missing_answers])
def test_whatever_a_person_does_about_wrong_counts_good_answers_are_taken(
    alice: User,
    simulator: Simulator,
    drive: Drive,
    action: Callable[[Job, User], bool],
) -> None:
    """They were wrong for so long that the job was held; then they are right."""
    job = with_wrong_counts(alice, simulator, drive)
    job = drive(job, until=lambda job: bool(job.held))
    assert "the provider counts" in job.held
    simulator.faults(wrong_counts_seconds=0)
    assert action(job, alice)
    job = drive(job)
    batch = job.batches.get()
    assert (job.good_count, batch.state) == (len(ROWS), Batch.State.COLLECTED)


def test_a_batch_that_has_not_ended_after_all_is_watched_on(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    """One look at the list said so, and was wrong."""
    simulator.faults(stuck=True)
    job = confirmed(alice, ROWS)
    drive(job, until=lambda job: job.state == Job.State.WORKING)
    wrong = {"state": Batch.State.ENDED, "ended_at": timezone.now()}
    job.batches.update(**wrong, next_action_at=timezone.now())
    Job.objects.update(next_action_at=timezone.now())
    drive(job, until=lambda job: job.batches.filter(collect_failures=1).exists())
    batch = job.batches.get()
    assert (batch.state, batch.ended_at) == (Batch.State.IN_PROGRESS, None)
    simulator.faults(stuck=False)
    job = drive(job)
    assert (job.good_count, job.held) == (len(ROWS), "")


def test_a_batch_that_turns_out_to_run_is_not_lost_when_a_person_gave_it_up(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    simulator.faults(stuck=True)
    job = confirmed(alice, ROWS)
    drive(job, until=lambda job: job.state == Job.State.WORKING)
    wrong = {"state": Batch.State.ENDED, "collect_failures": result_proof.TRIES}
    job.batches.update(**wrong, next_action_at=timezone.now())
    Job.objects.update(held="Its results stay incomplete.")
    assert submissions.give_up_missing_answers(job, alice)
    drive(job, until=lambda job: job.batches.filter(state=Batch.State.IN_PROGRESS).exists())
    simulator.faults(stuck=False)
    assert drive(job).good_count == len(ROWS)


# --- Going on without ---------------------------------------------------------------------------


def test_going_on_without_answers_while_they_arrive_after_all_takes_them(
    alice: User, simulator: Simulator, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = held_for_a_line(alice, simulator, drive)
    simulator.reset()
    store = result_rows.store

    def gives_up_meanwhile(*args: Any, **kwargs: Any) -> int:
        assert submissions.give_up_missing_answers(job, alice)
        return store(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(result_rows, "store", gives_up_meanwhile)
        drive(job, until=lambda job: job.batches.filter(state=Batch.State.COLLECTED).exists())
    job = drive(job)
    assert (job.good_count, job.state) == (len(ROWS), Job.State.FINISHED)


def look_now(job: Job) -> None:
    Batch.objects.update(next_action_at=timezone.now())
    Job.objects.update(next_action_at=timezone.now())
    sweep.sweep()


@pytest.mark.parametrize("answer", ["unreachable", "status_500", "status_404"])
def test_no_single_look_after_a_person_gave_up_loses_a_batch(
    alice: User,
    simulator: Simulator,
    drive: Drive,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
) -> None:
    job = held_for_a_line(alice, simulator, drive)
    simulator.reset()
    if answer == "unreachable":
        settings.ANTHROPIC_BASE_URL = "http://127.0.0.1:9"
    else:
        simulator.faults(results=[{"kind": answer, "times": 1000}])
    assert submissions.give_up_missing_answers(job, alice)
    assert not submissions.give_up_missing_answers(job, alice), "a second click changes nothing"
    monkeypatch.setattr(result_proof, "TRIES", 50)  # looks come quickly here
    for _ in range(2):
        look_now(job)
    assert job.batches.get().state == Batch.State.ENDED
    settings.ANTHROPIC_BASE_URL = simulator.url
    simulator.reset()
    look_now(job)
    assert drive(job).good_count == len(ROWS)


def test_a_person_is_told_what_is_still_unknown_before_a_batch_is_lost(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    job = held_for_a_line(alice, simulator, drive)
    simulator.reset()
    simulator.faults(results=[{"kind": "status_500", "times": 1000}])
    assert submissions.give_up_missing_answers(job, alice)
    for _ in range(result_proof.TRIES):
        look_now(job)
    job.refresh_from_db()
    assert collection.STILL_UNKNOWN in job.held
    assert job.batches.get().state == Batch.State.ENDED
    assert submissions.give_up_missing_answers(job, alice)
    look_now(job)
    assert job.batches.get().state == Batch.State.LOST


def test_results_that_stay_incomplete_hold_the_job_in_words(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    job = held_for_a_line(alice, simulator, drive)
    assert "29 of 30 results arrived" in job.held
    assert job.state != Job.State.FINISHED
    simulator.reset()
    assert submissions.resume_job(job, alice)
    assert drive(job).good_count == len(ROWS)


def test_a_job_whose_results_stay_away_can_be_stopped_and_says_what_is_lost(
    alice: User, simulator: Simulator, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collection, "NOT_YET_VISIBLE", -timedelta(minutes=15))
    simulator.faults(results=[{"kind": "status_404", "times": 1000}])
    job = drive(confirmed(alice, ROWS), until=lambda job: bool(job.held))
    assert submissions.stop_job(job, alice)
    job = drive(job, until=lambda job: bool(job.held))
    assert submissions.give_up_missing_answers(job, alice)
    job = drive(job)
    assert job.tally.causes == [("errored", "lost", len(ROWS))]
    assert job_basics.delete_job(job, alice)


@pytest.mark.parametrize("kind", ["unknown_id", "missing_line", "cut_mid_line"])
def test_a_strange_line_does_not_make_an_adopted_batch_somebody_elses(
    alice: User, simulator: Simulator, drive: Drive, settings: Any, kind: str
) -> None:
    settings.SUBMIT_DEADLINE_SECONDS = 1
    simulator.faults(create=[{"kind": "drop_after_accept"}], results=[{"kind": kind}])
    job = drive(confirmed(alice, ROWS))
    assert job.batches.get().recovered
    assert job.good_count == len(ROWS)
    assert simulator.truth()["posts"] == 1


def test_what_did_arrive_of_incomplete_results_can_be_used_at_once(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    simulator.faults(results=[{"kind": "cut_mid_line", "times": 1000}])
    job = drive(confirmed(alice, ROWS), until=lambda job: bool(job.held))
    batch = job.batches.get()
    assert 0 < batch.arrived < len(ROWS)
    assert job.good_count == batch.arrived
    assert files.incomplete_path(batch).read_bytes().count(b"\n") == batch.arrived
    lines = [line for line in joined(job)[1:] if line[2]]
    assert len(lines) == batch.arrived
    assert all(f"What is {line[0]}?" in line[2] for line in lines)
    # Whole results replace them.
    simulator.reset()
    assert submissions.resume_job(job, alice)
    job = drive(job)
    assert job.good_count == len(ROWS)
    assert not files.incomplete_path(batch).exists()


def test_of_contradicting_results_none_is_taken(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    simulator.faults(results=[{"kind": "contradicting_line", "times": 1000}])
    job = drive(confirmed(alice, ROWS), until=lambda job: bool(job.held))
    assert "two different results" in job.held
    assert job.batches.get().arrived == len(ROWS) - 1
    assert job.outcome_count(Outcome.WAITING) == 1


def test_a_person_may_go_on_without_the_answers_that_stay_away(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    job = confirmed(alice, ROWS)
    simulator.faults(results=[{"kind": "missing_line", "times": 1000}])
    assert not submissions.give_up_missing_answers(job, alice), "nothing is missing yet"
    job = drive(job, until=lambda job: bool(job.held))
    assert submissions.give_up_missing_answers(job, alice)
    job = drive(job)
    assert (job.state, job.held) == (Job.State.FINISHED, "")
    assert job.good_count == len(ROWS) - 1
    (lost,) = Row.objects.filter(job=job, cause="lost")
    assert lost.outcome == Outcome.ERRORED
    assert job.batches.get().state == Batch.State.LOST


def test_the_key_goes_to_no_other_address_than_the_apis_own(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    """Whatever an answer names as the address of the results."""
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        elsewhere.settimeout(0.2)
        address = f"http://127.0.0.1:{elsewhere.getsockname()[1]}"
        simulator.faults(
            results_host=address, results=[{"kind": "redirect", "other_host": address}]
        )
        job = drive(confirmed(alice, ROWS))
        assert job.good_count == len(ROWS)
        with pytest.raises(TimeoutError):
            elsewhere.accept()


def test_a_line_of_20_megabytes_comes_over_the_wire(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    simulator.faults(results=[{"kind": "long_line"}])
    job = drive(confirmed(alice, ROWS))
    assert job.good_count == len(ROWS)
    assert job.rows.aggregate(longest=Max(Length("answer")))["longest"] == 20_000_000


# --- What counts as complete, without a provider ------------------------------------------------


@pytest.fixture
def ended(alice: User, make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch) -> Batch:
    """An ended batch of three rows whose results are about to be looked at."""
    job = make_job(alice, state=Job.State.WORKING, rows=[("a", "b")] * 3)
    batch = Batch.objects.create(
        job=job,
        number=1,
        size=3,
        nonce="abc123",
        state=Batch.State.ENDED,
        provider_id="msgbatch_1",
        body_sha256="",
        body_bytes=0,
        counts={"processing": 0, "succeeded": 3, "errored": 0, "canceled": 0, "expired": 0},
    )
    Row.objects.filter(job=job).update(batch=batch)
    now = timezone.now()
    info = BatchInfo("msgbatch_1", "ended", 3, batch.counts, now, now, now)
    monkeypatch.setattr(client, "retrieve_batch", lambda pk: info)
    return batch


def line(number: int, answer: str = "Yes", nonce: str = "abc123") -> bytes:
    message = {
        "model": "claude-haiku-5-5",
        "content": [{"type": "text", "text": answer}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 10, "output_tokens": 2},
    }
    result = {"type": "succeeded", "message": message}
    return json.dumps({"custom_id": f"{nonce}-{number:07d}", "result": result}).encode() + b"\n"


def received(batch: Batch, content: bytes) -> timedelta:
    """Collect `batch` with `content` as the file that was received; how long to wait then."""
    path = files.results_path(batch)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return fetched(batch)


def fetched(batch: Batch) -> timedelta:
    """Collect `batch`; how long to wait then."""
    Job.objects.filter(pk=batch.job_id).update(next_action_at=timezone.now())
    lease = leases.claim(batch.job_id)
    assert lease is not None
    try:
        return collection.collect(batch, lease)
    finally:
        lease.release(timezone.now())


def test_any_order_is_complete_and_collecting_twice_changes_nothing(ended: Batch) -> None:
    content = line(3, "three") + line(1, "one") + line(2, "two")
    for _ in range(2):
        Batch.objects.filter(pk=ended.pk).update(state=Batch.State.ENDED)
        files.results_path(ended).unlink(missing_ok=True)
        assert not received(ended, content)
        rows = Row.objects.filter(batch=ended).order_by("number")
        assert list(rows.values_list("answer", flat=True)) == ["one", "two", "three"]
        assert set(rows.values_list("outcome", flat=True)) == {Outcome.GOOD}
    ended.refresh_from_db()
    assert ended.state == Batch.State.COLLECTED
    # 30 tokens in at $0.05 and 6 out at $0.25 a million, batch rate.
    assert ended.cost_pico == (30 * 50_000) + (6 * 250_000)


@pytest.mark.parametrize(
    "content",
    [
        line(1) + line(2),
        line(1) + line(2) + line(3)[:-5],
        line(1) + line(2) + line(3).rstrip(),
        line(1) + line(2) + line(3) + line(4),
        line(1) + line(2) + line(3) + line(3, "another"),
        line(1) + line(2) + line(3, nonce="other0"),
        line(1) + b"<html>\n" + line(2) + line(3),
        line(1) + line(2) + b'{"custom_id":"abc123-0000003","result":{"type":"expired"}}\n',
    ],
)
def test_what_is_not_exactly_what_was_sent_is_not_taken(ended: Batch, content: bytes) -> None:
    assert received(ended, content)
    ended.refresh_from_db()
    assert ended.state == Batch.State.ENDED
    assert ended.collect_failures == 1
    assert not files.results_path(ended).exists(), "it must be fetched anew"
    assert not Row.objects.exclude(outcome=Outcome.WAITING).exists()


def test_a_line_of_20_megabytes_is_read(ended: Batch) -> None:
    long = "x" * 20_000_000
    assert not received(ended, line(1) + line(2, long) + line(3))
    assert len(Row.objects.get(number=2, job=ended.job).answer) == 20_000_000


def test_a_nul_in_an_answer_is_kept_in_the_file_and_replaced_in_the_row(ended: Batch) -> None:
    assert not received(ended, line(1, "a\0b") + line(2) + line(3))
    assert Row.objects.get(number=1, job=ended.job).answer == "a\ufffdb"
    assert b"a\\u0000b" in files.results_path(ended).read_bytes()


def test_a_worker_that_lost_the_job_leaves_the_file_of_the_one_that_collected(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    """It stood still, say, since it saw results that were not complete."""
    job = drive(confirmed(alice, ROWS[:3]))
    batch = job.batches.get()
    late = leases.Lease(job.pk, "another|0", timezone.now())
    for step in (
        lambda: collection._try_again(batch, result_proof.Incomplete("cut off"), late),
        lambda: collection._remove_foreign(batch, late),
    ):
        with pytest.raises(leases.LeaseLost):
            step()
        assert files.results_path(batch).exists()
