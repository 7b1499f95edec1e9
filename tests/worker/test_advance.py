"""A job from its file to its finished file, with a real provider's simulator behind it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.db.models import F
from django.utils import timezone
from huey.contrib.djhuey import HUEY

from jobs.actions import drafts, submissions, uploads
from jobs.batches import journal, planning, slots
from jobs.drafts import checks, estimates, token_counts
from jobs.models import (
    Batch,
    Heartbeat,
    Job,
    Outcome,
    Row,
    Sending,
    SiteState,
    dollars,
    files,
)
from jobs.results import table
from jobs.rules.recipes import Recipe
from jobs.worker import advance, due_times, failures, housekeeping, presence, sweep, tasks

from ..conftest import USUAL_SAMPLE, Simulator
from ..driven_jobs import RECIPE, Drive, confirmed, joined, priced, upload


def test_a_table_comes_back_whole_in_order_each_row_with_its_own_answer(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    rows = [[f"name {n}", 'quote " and, comma'] for n in range(240)]
    rows[3][1], rows[5][1], rows[7][1] = "two\nlines", "😀 Grüße", ""
    job = drive(confirmed(alice, rows))
    assert job.state == Job.State.FINISHED
    assert (job.good_count, job.attention_count) == (240, 0)
    header, *lines = joined(job)
    assert [line[:2] for line in lines] == rows
    for number, line in enumerate(lines):
        assert f"name {number}?" in line[2]  # the simulator's answer repeats the prompt
    truth = simulator.truth(ids=True)
    assert truth["accepted_rows"] == 240
    assert len(truth["batches"]) == job.batches.count() == 2
    assert header[2] == "answer"


def test_what_was_received_is_kept_to_the_letter_and_sums_to_what_it_cost(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    job = drive(confirmed(alice, [["Ann", "a"], ["Ben", "b"]]))
    (batch,) = job.batches.all()
    path = files.results_path(batch)
    assert path.stat().st_mode & 0o777 == 0o440
    assert b"".join(table.raw_chunks(job)) == path.read_bytes()
    assert len(path.read_bytes().splitlines()) == 2
    by_row = sum(Row.objects.filter(job=job).values_list("cost_pico", flat=True))
    assert job.cost == dollars(by_row) == dollars(batch.cost_pico) > 0
    assert not files.body_path(batch).exists()


def test_what_a_look_finds_is_not_left_to_the_next_tick(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    job = drive(confirmed(alice, [["Ann", "a"]]), lambda job: job.state == Job.State.WORKING)
    Job.objects.filter(pk=job.pk).update(next_action_at=None)
    HUEY.storage.flush_queue()

    tasks.look.call_local(slots.WATCHING)

    assert job.batches.get().state == Batch.State.ENDED
    (nudged,) = HUEY.pending()
    assert nudged.args == (job.pk,)


def test_the_estimate_holds_what_it_cost(
    alice: User, simulator: Simulator, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_counts, "SAMPLE", USUAL_SAMPLE)
    rows = [[f"name {n}", "word " * (n % 40)] for n in range(120)]
    job = drive(confirmed(alice, rows))
    estimate = estimates.current(job)
    assert estimate is not None
    assert estimate.counted > 10
    assert estimate.low <= job.cost <= estimate.most
    assert job.tally.input_tokens == pytest.approx(estimate.input_tokens, rel=0.03)
    assert estimate.normal_high == 2 * estimate.high


def test_ready_made_requests_are_sent_as_they_are(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    def line(number: int, **params: Any) -> str:
        messages = [{"role": "user", "content": f"[simulate:good] Hello {number}"}]
        body = {"model": "claude-haiku-5-5", "max_tokens": 50, "messages": messages, **params}
        return json.dumps({"custom_id": f"id/{number} ü", "params": body}, ensure_ascii=False)

    lines = [line(1), line(2, stream=True), line(3)]
    job = uploads.create_job(alice, ContentFile("\n".join(lines).encode(), "requests.jsonl"))
    job = drive(job, until=priced)
    assert (job.kind, job.row_count, job.unsent_count) == (Job.Kind.REQUESTS, 3, 1)
    assert submissions.confirm(job, job.plan_sha256, alice)
    job = drive(job)
    header, *rows = joined(job)
    assert header[0] == "custom_id"
    assert [row[0] for row in rows] == ["id/1 ü", "id/2 ü", "id/3 ü"]
    assert [row[2] for row in rows] == ["Good", "Skipped", "Good"]
    assert simulator.truth()["accepted_rows"] == 2


def test_a_job_is_confirmed_once_and_only_as_it_was_shown(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    job = drive(upload(alice, [["Ann", "a"]]), until=lambda job: job.state == Job.State.DRAFT)
    assert not submissions.confirm(job, "", alice)
    drafts.save_recipe(job, RECIPE, job.owner)
    job = drive(job, until=priced)
    shown = job.plan_sha256
    drafts.save_recipe(job, Recipe("Other {{name}}", "", "claude-haiku-5-5", 300), job.owner)
    assert not submissions.confirm(job, shown, alice), "the recipe is not the one that was shown"
    job = drive(Job.objects.get(pk=job.pk), until=priced)
    assert submissions.confirm(job, job.plan_sha256, alice)
    assert not submissions.confirm(job, job.plan_sha256, alice)
    drive(job)
    assert simulator.truth()["posts"] == 1


def test_a_price_that_was_worked_out_for_an_older_recipe_is_not_kept(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    job = drive(upload(alice, [["Ann", "a"]]), until=lambda job: job.state == Job.State.DRAFT)
    drafts.save_recipe(job, RECIPE, job.owner)
    stale = Job.objects.get(pk=job.pk)
    drafts.save_recipe(stale, Recipe("New {{name}}", "", "claude-haiku-5-5", 300), stale.owner)
    stale.recipe = replace(stale.recipe, prompt=RECIPE.prompt)
    estimates.estimate_job(stale)
    assert Job.objects.get(pk=job.pk).estimate is None


def test_without_a_connection_the_price_is_worked_out_from_the_length(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    simulator.faults(count_tokens=[{"kind": "status", "status": 500, "times": 50}])
    job = drive(upload(alice, [["Ann", "a"]]), until=lambda job: job.state == Job.State.DRAFT)
    drafts.save_recipe(job, RECIPE, job.owner)
    job = drive(job, until=priced)
    estimate = estimates.current(job)
    assert estimate is not None
    assert estimate.counted == 0
    assert estimate.most > 0


def test_a_model_without_a_price_cannot_be_confirmed(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    job = drive(upload(alice, [["Ann", "a"]]), until=lambda job: job.state == Job.State.DRAFT)
    drafts.save_recipe(job, Recipe("Hi {{name}}", "", "claude-unheard-of", 300), job.owner)
    job.refresh_from_db()
    assert checks.problems(job) == ["claude-unheard-of is no longer offered. Choose another model."]
    estimates.estimate_job(job)
    job.refresh_from_db()
    assert estimates.current(job) is None and job.plan_sha256 == ""
    assert not submissions.confirm(job, "", alice)


def test_rows_whose_prompt_is_empty_are_left_out_and_said(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    rows = [["Ann", "a"], ["", "b"], ["Ben", "c"]]
    recipe = Recipe("{{name}}", "", "claude-haiku-5-5", 300)
    job = drive(confirmed(alice, rows, recipe))
    assert simulator.truth()["accepted_rows"] == 2
    assert [line[3] for line in joined(job)[1:]] == ["Good", "Skipped", "Good"]
    assert job.unsent_count == 1


def test_rows_of_the_wrong_width_are_left_out_and_come_back(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    rows = [["Ann", "a"], ["Ben"], ["Cat", "c", "d"], ["Dan", "e"]]
    job = drive(upload(alice, rows), until=lambda job: job.state == Job.State.DRAFT)
    assert drafts.save_recipe(job, RECIPE, alice)
    job = drive(job, until=priced)
    assert submissions.confirm(job, job.plan_sha256, alice)
    job = drive(job)
    assert [line[0] for line in joined(job)[1:]] == ["Ann", "Ben", "Cat", "Dan"]
    assert job.problems.filter(leaves_out=True).count() == 2
    assert simulator.truth()["accepted_rows"] == 2


def test_every_kind_of_failure_is_an_outcome_of_its_row(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    marks = ["good", "errored", "invalid", "refusal", "cut", "empty", "expired"]
    job = drive(confirmed(alice, [["x", f"[simulate:{mark}]"] for mark in marks]))
    outcomes = dict(Row.objects.filter(job=job).values_list("number", "outcome"))
    assert outcomes == {
        1: Outcome.GOOD,
        2: Outcome.ERRORED,
        3: Outcome.ERRORED,
        4: Outcome.LOOK,
        5: Outcome.LOOK,
        6: Outcome.LOOK,
        7: Outcome.EXPIRED,
    }
    assert job.attention_count == 6
    assert sum(count for _, _, count in job.tally.causes) == 7


def test_a_refusal_holds_the_job_in_words_and_one_button_goes_on(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    simulator.faults(create=[{"kind": "reject_400"}])
    job = drive(confirmed(alice, [["Ann", "a"]]), until=lambda job: bool(job.held))
    assert "refused" in job.held
    assert job.batches.get().state == Batch.State.BLOCKED
    sweep.sweep()
    assert simulator.truth()["posts"] == 1, "a held job must not send"
    assert submissions.resume_job(job, alice)
    job = drive(job)
    assert job.good_count == 1
    assert simulator.truth()["accepted_rows"] == 1


def test_a_file_that_cannot_be_read_says_why(alice: User, drive: Drive) -> None:
    job = uploads.create_job(alice, ContentFile(b'{"a": 1}\nx\n', "broken.jsonl"))
    job = drive(job)
    assert job.state == Job.State.UNREADABLE
    (problem,) = job.problems.all()
    ((line, text),) = problem.places
    assert line == 2
    assert "This is not JSON" in text


def test_an_upload_is_kept_under_a_name_of_ours(alice: User, settings: Any) -> None:
    job = uploads.create_job(alice, ContentFile(b"a\n1\n", "x"), name="../../etc/passwd")
    assert files.upload_path(job).parent == Path(settings.DATA_DIR, "uploads")
    assert (job.name, job.upload_name) == ("../../etc/passwd", "x")


def test_one_job_that_cannot_go_on_does_not_stop_the_others(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    broken = upload(alice, [["Ann", "a"]])
    files.upload_path(broken).unlink()
    fine = drive(confirmed(alice, [["Ben", "b"]]))
    assert fine.good_count == 1
    broken.refresh_from_db()
    assert broken.failures_in_a_row > 0
    assert broken.lease_owner == ""


def test_provider_trouble_is_said_and_taken_back(
    alice: User, start_simulator: Callable[..., Simulator], drive: Drive
) -> None:
    simulator = start_simulator(seconds=1, failures="none")
    job = confirmed(alice, [["Ann", "a"]])
    drive(job, until=lambda job: job.state == Job.State.WORKING)
    simulator.faults(list=[{"kind": "status", "status": 500}])
    drive(job, until=lambda job: bool(Heartbeat.get().provider_trouble))
    drive(job)
    assert Heartbeat.get().provider_trouble == ""


def test_a_job_of_practice_mode_is_never_sent_with_a_key(
    alice: User, simulator: Simulator, drive: Drive, settings: Any
) -> None:
    job = confirmed(alice, [["Ann", "a"]])
    settings.PRACTICE, settings.ANTHROPIC_API_KEY = False, "sk-real"
    job = drive(job, until=lambda job: bool(job.held))
    assert "practice mode" in job.held
    assert simulator.truth()["posts"] == 0
    submissions.stop_job(job, alice)
    job = drive(job)
    assert job.outcome_count(Outcome.CANCELED) == 1
    assert simulator.truth()["posts"] == 0


def test_a_job_sent_with_a_key_waits_until_there_is_one_again(
    alice: User, simulator: Simulator, drive: Drive, settings: Any
) -> None:
    settings.PRACTICE, settings.ANTHROPIC_API_KEY = False, "sk-real"
    job = confirmed(alice, [["Ann", "a"]])
    settings.PRACTICE, settings.ANTHROPIC_API_KEY = True, ""
    job = drive(job, until=lambda job: bool(job.held))
    settings.PRACTICE, settings.ANTHROPIC_API_KEY = False, "sk-real"
    submissions.resume_job(job, alice)
    assert drive(job).good_count == 1


def test_a_key_that_is_not_accepted_is_said_in_words(
    alice: User, simulator: Simulator, drive: Drive, settings: Any
) -> None:
    settings.PRACTICE, settings.ANTHROPIC_API_KEY = False, "bad key"
    job = drive(upload(alice, [["Ann", "a"]]), until=lambda job: job.state == Job.State.DRAFT)
    drafts.save_recipe(job, RECIPE, job.owner)
    job = drive(job, until=priced)
    submissions.confirm(job, job.plan_sha256, alice)
    drive(job, until=lambda _job: bool(Sending.get().pause))
    assert "rejected this site’s API key" in SiteState().why_not_sending
    settings.ANTHROPIC_API_KEY = "good key"
    assert not SiteState().why_not_sending, "another key, another answer"
    Job.objects.update(next_action_at=timezone.now())
    assert drive(job).good_count == 1


def test_a_page_shown_in_practice_mode_cannot_confirm_a_job_that_costs_money(
    alice: User, simulator: Simulator, drive: Drive, settings: Any
) -> None:
    job = drive(upload(alice, [["Ann", "a"]]), until=lambda job: job.state == Job.State.DRAFT)
    drafts.save_recipe(job, RECIPE, job.owner)
    shown = drive(job, until=priced).plan_sha256
    settings.PRACTICE, settings.ANTHROPIC_API_KEY = False, "sk-real"
    assert not submissions.confirm(job, shown, alice)
    housekeeping.price_stale_drafts()
    job = drive(job, until=priced)
    assert job.plan_sha256 != shown
    assert submissions.confirm(job, job.plan_sha256, alice)


def test_a_refused_batch_is_not_forgotten_when_the_job_is_held_no_more(
    alice: User, simulator: Simulator, drive: Drive, settings: Any
) -> None:
    """Two things held the job; the other one is over."""
    settings.BATCH_MAX_REQUESTS = 2
    simulator.faults(create=[{"kind": "reject_400"}])
    job = drive(confirmed(alice, [["Ann", "a"]] * 3), until=lambda job: bool(job.held))
    Job.objects.update(held="", next_action_at=timezone.now())
    job = drive(job, until=lambda job: bool(job.held))
    assert "refused" in job.held
    assert simulator.truth()["posts"] == 1


def test_a_refused_batch_is_sent_after_one_went_on_without_another(
    alice: User,
    simulator: Simulator,
    drive: Drive,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The last batch is refused, and the answers of the one before stay incomplete."""
    settings.BATCH_MAX_REQUESTS = 2
    monkeypatch.setattr(advance, "TURN", -due_times.SAFETY)  # one step a sweep
    simulator.faults(stuck=True, create=[{"kind": "reject_400", "after": 1}])
    job = confirmed(alice, [["Ann", "a"]] * 3)
    job = drive(job, until=lambda job: job.batches.filter(state=Batch.State.BLOCKED).exists())
    assert job.held
    simulator.faults(stuck=False, results=[{"kind": "missing_line", "times": 50}])

    def without_pauses(_job: Job) -> None:
        Batch.objects.filter(state=Batch.State.ENDED).update(next_action_at=timezone.now())
        Job.objects.update(next_action_at=timezone.now())

    def is_incomplete(job: Job) -> bool:
        without_pauses(job)
        return job.batches.filter(collect_failures__gte=5).exists()

    def is_finished(job: Job) -> bool:
        without_pauses(job)
        return job.state == Job.State.FINISHED

    job = drive(job, until=is_incomplete)
    assert submissions.give_up_missing_answers(job, alice)
    drive(job, until=lambda job: job.batches.filter(state=Batch.State.LOST).exists())
    job = drive(job, until=lambda job: bool(job.held))
    assert job.state == Job.State.SUBMITTING
    simulator.reset()
    assert submissions.resume_job(job, alice)
    job = drive(job, until=is_finished)
    assert job.batches.filter(state=Batch.State.COLLECTED).count() == 1


@pytest.mark.parametrize("state", [Batch.State.PLANNED, Batch.State.ENDED])
def test_a_batch_with_a_time_of_a_clock_that_was_ahead_is_not_waited_for(
    alice: User, simulator: Simulator, drive: Drive, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    monkeypatch.setattr(advance, "TURN", -due_times.SAFETY)  # one step a sweep
    if state == Batch.State.ENDED:
        simulator.faults(results=[{"kind": "missing_line"}])  # so that it is seen in this state
    job = confirmed(alice, [["Ann", "a"]])
    drive(job, until=lambda job: job.batches.filter(state=state).exists())
    Batch.objects.update(next_action_at=timezone.now() + timedelta(days=300))
    Job.objects.update(next_action_at=timezone.now())
    assert drive(job).good_count == 1


def test_times_of_a_clock_that_was_ahead_are_not_waited_for(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    job = confirmed(alice, [["Ann", "a"]])
    wrong = timezone.now() + timedelta(days=300)
    Job.objects.update(next_action_at=wrong, lease_until=wrong, lease_owner="elsewhere|1|x")
    Heartbeat.objects.update(tick_at=wrong, next_poll_at=wrong)
    Sending.objects.update(send_after=wrong)
    tasks.tick.call_local()
    assert Heartbeat.objects.filter(tick_at__lt=wrong).exists()
    assert drive(job).good_count == 1


def test_one_batch_that_cannot_be_fetched_does_not_keep_the_others(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    simulator.faults(results=[{"kind": "status_500", "times": 2}])
    job = drive(confirmed(alice, [[f"n{n}", "x"] for n in range(330)]))
    assert job.good_count == 330


def test_a_body_that_is_gone_is_planned_anew(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    simulator.faults(create=[{"kind": "reject_429", "retry_after": 2}])
    job = confirmed(alice, [["Ann", "a"], ["Ben", "b"]])
    sweep.sweep()
    files.body_path(job.batches.get()).unlink()
    job = drive(job)
    assert job.good_count == 2
    assert simulator.truth()["accepted_rows"] == 2


def test_a_full_disk_sends_nothing_and_goes_on_when_there_is_room(
    alice: User, simulator: Simulator, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = confirmed(alice, [["Ann", "a"]])

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(journal, "write", full)
        drive(job, until=lambda job: job.failures_in_a_row > 0)
    assert simulator.truth()["posts"] == 0
    assert job.batches.get().state == Batch.State.PLANNED
    assert drive(job).good_count == 1


def test_a_step_that_fails_again_and_again_is_said(
    alice: User, simulator: Simulator, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = confirmed(alice, [["Ann", "a"]])
    monkeypatch.setattr(failures, "after_failure", count_failure)
    with monkeypatch.context() as patch:
        patch.setattr(planning, "plan_next_batch", broken)
        job = drive(job, until=lambda job: bool(job.held))
    assert "keeps failing" in job.held
    submissions.resume_job(job, alice)
    assert drive(job).good_count == 1


def count_failure(job_pk: int) -> Any:
    Job.objects.filter(pk=job_pk).update(failures_in_a_row=F("failures_in_a_row") + 1)
    return timezone.now()


def broken(*_: object) -> bool:
    raise RuntimeError("broken")


def test_a_table_without_a_row_that_can_be_sent_has_no_price_and_no_end_of_trying(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    job = uploads.create_job(alice, ContentFile(b"a,b\n1\n2\n", "ragged.csv"))
    job = drive(job, until=lambda job: job.state == Job.State.DRAFT)
    drafts.save_recipe(job, Recipe("{{a}}", "", "claude-haiku-5-5", 10), job.owner)
    sweep.sweep()
    job.refresh_from_db()
    assert (job.sendable_count, job.estimate, job.failures_in_a_row) == (0, None, 0)


def test_uploads_that_broke_off_are_removed_after_a_day(
    alice: User, make_job: Callable[..., Job], settings: Any
) -> None:
    job = make_job(alice)
    folder = Path(settings.DATA_DIR, "uploads")
    stray, fresh = folder / "incoming" / "tmp.upload", folder / "fresh.part"
    for path in (stray, fresh):
        path.write_text("x")
    for path in (stray, files.upload_path(job)):
        os.utime(path, (0, 0))
    housekeeping.tidy_up()
    assert not stray.exists()
    assert fresh.exists()
    assert files.upload_path(job).exists()


def test_a_nudge_that_waited_for_too_long_does_nothing(
    alice: User, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a stop, or while all threads are busy, a pile of them must not be worked off: the next
    sweep finds what is due."""
    job = confirmed(alice, [["Ann", "a"]])
    Job.objects.update(next_action_at=timezone.now())
    monkeypatch.setattr(HUEY, "_immediate", True)  # a worker would close the test's connection
    nudge = tasks.nudge.s(job.pk)
    nudge.resolve_expires()
    late = nudge.expires_resolved + timedelta(seconds=1)
    assert late - datetime.now(UTC).replace(tzinfo=None) < timedelta(minutes=1)
    HUEY.execute(nudge, timestamp=late)
    assert simulator.truth()["posts"] == 0
    HUEY.execute(nudge, timestamp=nudge.expires_resolved - timedelta(seconds=1))
    assert simulator.truth()["posts"] == 1


def test_a_worker_that_was_told_to_end_ends_with_its_step(
    alice: User, simulator: Simulator, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stop would otherwise wait for the whole turn, and be cut off in the middle of a batch."""
    job = confirmed(alice, [[f"name {n}", "x"] for n in range(240)])
    with monkeypatch.context() as ending:
        ending.setattr(presence, "is_ending", lambda: True)
        while not (sent := simulator.truth()["accepted_rows"]):
            advance.advance(job.pk)
    assert sent < 240, "the other batch is not sent any more"
    job.refresh_from_db()
    assert not job.lease_owner and job.next_action_at and job.next_action_at <= timezone.now()
    assert drive(job).good_count == 240
