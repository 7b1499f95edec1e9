"""Rounds at their edges: what is sent again is priced as it is, counts for the caps, asks each row
its own question, and survives odd rows, odd addresses and two people at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from jobs.actions import retries, reviews, submissions
from jobs.batches import recovery
from jobs.models import (
    Attempt,
    Job,
    Outcome,
    Row,
    SpendingCaps,
    recipe_of_round,
)
from jobs.models.fields import to_json
from jobs.results import builder, review_sample, table
from jobs.retries import edits, preparation, problem_groups, rounds
from jobs.retries.selection import EDITED
from jobs.rules.judging import ASK, IGNORED, LEAVE_OUT, MARKED_DOWN
from jobs.rules.retry_choices import RetryChoice
from jobs.spending import caps, receipts
from jobs.worker import sweep, tally

from ..batches.test_recovery import a_backup_that_comes_back
from ..conftest import (
    CUT,
    ERRORED,
    REFUSED,
    Simulator,
    change_job,
    drive_job,
    send_again,
    sent,
    why_not_again,
)
from ..driven_jobs import Drive
from .test_rounds import outcomes, text

MakeJob = Callable[..., Job]


def let_succeed(job: Job, *numbers: int) -> None:
    """As if the reason why these rows failed had passed."""
    for row in job.rows.filter(number__in=numbers):
        source = row.source
        for mark in (CUT, REFUSED, ERRORED):
            source = source.replace(mark, "")
        Row.objects.filter(pk=row.pk).update(source=source)


def request(number: int, content: str = "hello", **params: Any) -> dict[str, Any]:
    given = {"model": "claude-haiku-4-5", "max_tokens": 50, **params}
    messages = [{"role": "user", "content": content}]
    return {"custom_id": f"r{number}", "params": {**given, "messages": messages}}


def mark_down(job: Job, number: int, user: User, note: str = "") -> None:
    key = review_sample.answer_key(job.rows.get(number=number))
    assert reviews.mark_answer(job, number, key, False, note, user)


# --- What is sent is what was shown ---------------------------------------------------------------


def test_what_was_edited_after_the_price_was_shown_is_not_sent(mixed: Job, alice: User) -> None:
    """Even if it is as long as what was shown."""
    row = mixed.rows.get(number=4)
    edits.edit_row(row, ["n4", "aaaa"])
    planned = rounds.find_plan(mixed, RetryChoice(EDITED))
    assert planned is not None
    edits.edit_row(row, ["n4", "bbbb"])
    assert not retries.confirm_retry(mixed, RetryChoice(EDITED), planned.key, alice)
    assert not Attempt.objects.exists()


def test_an_edit_that_comes_while_a_round_starts_is_not_sent(
    mixed: Job, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = mixed.rows.get(number=4)
    edits.edit_row(row, ["n4", "short"])
    planned = rounds.find_plan(mixed, RetryChoice(EDITED))
    assert planned is not None
    lock = caps.lock_caps

    def slow() -> SpendingCaps:
        edits.edit_row(row, ["n4", "long " * 100_000])
        return lock()

    monkeypatch.setattr(caps, "lock_caps", slow)
    assert not retries.confirm_retry(mixed, RetryChoice(EDITED), planned.key, alice)
    assert not Attempt.objects.exists()


def test_a_round_that_came_and_went_while_one_waited_is_not_sent_a_second_time(
    mixed: Job, alice: User, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = RetryChoice("refused")
    planned = rounds.find_plan(mixed, again)
    assert planned is not None
    lock, key = caps.lock_caps, planned.key

    def slow() -> SpendingCaps:
        monkeypatch.setattr(caps, "lock_caps", lock)
        assert retries.confirm_retry(mixed, again, key, alice)
        drive_job(mixed)
        return lock()

    monkeypatch.setattr(caps, "lock_caps", slow)
    assert not retries.confirm_retry(mixed, again, key, alice)
    assert simulator.accepted()["0000004"] == 2


def test_rows_that_were_changed_wait_to_be_sent_so(
    mixed: Job, alice: User, client_alice: Client, simulator: Simulator, drive: Drive
) -> None:
    edits.edit_row(mixed.rows.get(number=4), ["n4", "written by hand for an hour"])
    edits.edit_row(mixed.rows.get(number=2), ["n2", "and this"])
    longer = {"which": "cut_off", "max_tokens": 1000}
    page = text(client_alice, f"{reverse('retry', args=[mixed.pk])}?{urlencode(longer)}")
    assert "Retry 1 row?" in page and "1</strong> more row that you changed is not part" in page
    assert send_again(mixed, alice, "cut_off", max_tokens=1000) == 1
    job = drive(mixed)
    assert sorted(job.edits.values_list("number", flat=True)) == [2, 4]
    assert job.rows.get(number=2).attempts == 0, "it was not sent as it was before"
    assert send_again(job, alice, EDITED) == 2
    assert "and this" in drive(job).rows.get(number=2).answer
    assert not job.edits.exists()


def test_what_was_left_out_on_purpose_can_be_sent_after_all(
    mixed: Job, alice: User, client_alice: Client, simulator: Simulator, drive: Drive
) -> None:
    cost = mixed.cost
    cause = mixed.rows.get(number=5).cause
    assert retries.ignore_rows(mixed, cause, 1, alice)
    let_succeed(mixed, 5)
    page = text(client_alice, reverse("problems", args=[mixed.pk]))
    assert "1 row ignored by you" in page and "Send 1 row after all · at most" in page
    assert send_again(mixed, alice, IGNORED) == 1
    job = drive(mixed)
    row = job.rows.get(number=5)
    assert (row.outcome, row.attempts, job.ignored_count) == (Outcome.GOOD, 1, 0)
    assert job.cost > cost
    assert "ignored by you" not in text(client_alice, reverse("problems", args=[mixed.pk]))


def test_a_column_that_is_not_there_is_not_asked_for_by_address(
    mixed: Job, alice: User, client_alice: Client, simulator: Simulator
) -> None:
    assert rounds.find_plan(mixed, RetryChoice("refused", prompt="Say {{nothing}}")) is None
    assert send_again(mixed, alice, "refused", prompt="Say {{nothing}}") == 0
    planned = rounds.find_plan(mixed, RetryChoice("refused"))
    assert planned is not None
    given = {"which": "refused", "asks": "prompt", "prompt": "Say {{nothing}}"}
    again, attention = (reverse(name, args=[mixed.pk]) for name in ("retry", "problems"))
    assert client_alice.get(again, given).headers["Location"] == attention
    client_alice.post(again, {**given, "key": planned.key})
    mixed.refresh_from_db()
    assert mixed.state == Job.State.FINISHED and not Attempt.objects.exists()
    assert simulator.truth()["accepted_rows"] == 8


def test_ready_made_requests_are_not_said_to_be_asked_otherwise(
    make_job: MakeJob, alice: User, simulator: Simulator, drive: Drive, client_alice: Client
) -> None:
    job = sent(make_job, alice, drive, [request(1, f"hello {CUT}")])
    assert rounds.find_plan(job, RetryChoice("cut_off")) is not None
    for different in ({"max_tokens": 1000}, {"model": "claude-haiku-5-5"}, {"prompt": "Greet"}):
        assert rounds.find_plan(job, RetryChoice("cut_off", **different)) is None
    given = {"which": "cut_off", "max_tokens": "1000"}
    answer = client_alice.get(reverse("retry", args=[job.pk]), given)
    assert answer.headers["Location"] == reverse("problems", args=[job.pk])


# --- Each row is asked its own question -----------------------------------------------------------


def test_rows_that_were_the_same_as_an_edited_one_do_not_get_its_answer(
    make_job: MakeJob, alice: User, simulator: Simulator, drive: Drive
) -> None:
    rows = [("a", f"same {ERRORED}"), ("b", f"same {ERRORED}"), ("c", "other")]
    job = sent(make_job, alice, drive, rows, skip_duplicates=True, max_tokens=300)
    assert job.rows.get(number=2).same_as == 1
    edits.edit_row(job.rows.get(number=1), ["a", f"quite another question {ERRORED}"])
    assert send_again(job, alice, EDITED) == 1
    job = drive(job)
    [cause] = {group.name for group in problem_groups.find_groups(job)}
    let_succeed(job, 1, 2)
    assert send_again(job, alice, cause) == 2
    job = drive(job)
    assert "Say: quite another question" in job.rows.get(number=1).answer
    assert "Say: same" in job.rows.get(number=2).answer


def test_rows_that_were_the_same_differ_once_another_column_is_asked_for(
    make_job: MakeJob, alice: User, simulator: Simulator, drive: Drive
) -> None:
    rows = [("anna", f"same {REFUSED}"), ("berta", f"same {REFUSED}"), ("c", "other")]
    job = sent(make_job, alice, drive, rows, skip_duplicates=True, max_tokens=300)
    assert job.rows.get(number=2).same_as == 1
    for _ in range(2):
        assert send_again(job, alice, "refused", prompt="Greet {{name}}") == 1
        job = drive(job)
    assert "Greet anna" in job.rows.get(number=1).answer
    assert "Greet berta" in job.rows.get(number=2).answer


def test_rows_with_one_cause_are_each_asked_what_they_were_asked_last(
    mixed: Job, alice: User, client_alice: Client, drive: Drive
) -> None:
    cause = mixed.rows.get(number=5).cause
    mixed.rows.filter(number=4).update(source=json.dumps(["n4", f"text {ERRORED}"]))
    assert send_again(mixed, alice, "refused", prompt="Only for four: {{text}}") == 1
    job = drive(mixed)
    assert job.rows.filter(cause=cause).count() == 2
    for row in job.rows.filter(cause=cause):
        edits.edit_row(row, ["another", row.content[1]])
    page = text(client_alice, reverse("edits", args=[job.pk]))
    assert "2 rows changed" in page and "One retry takes 1 row." in page
    edits.discard_edits(job)
    for _ in range(2):
        assert send_again(job, alice, cause) == 1
        job = drive(job)
    asked = {
        row.number: recipe_of_round(job, row.batch.round).prompt
        for row in job.rows.filter(attempts__gt=0)
        if row.batch
    }
    assert asked == {4: "Only for four: {{text}}", 5: "Say: {{text}}"}


# --- Ready-made requests that are changed ---------------------------------------------------------


def test_a_longer_answer_is_never_shorter_than_a_request_allowed_already(
    make_job: MakeJob, alice: User, simulator: Simulator, drive: Drive
) -> None:
    rows = [request(n, f"hello {CUT}", max_tokens=most) for n, most in ((1, 50), (2, 5000))]
    job = sent(make_job, alice, drive, rows)
    group = problem_groups.find_group(job, "cut_off")
    assert group is not None
    longer = group.remedies[0]
    assert edits.change_rows(job, "cut_off", longer.code, longer.value, int(longer.value)) == 1
    [changed] = edits.changed_rows(job, 5)
    assert [(one.name, one.before, one.after) for one in changed.changes] == [
        ("max_tokens", "50", longer.value)
    ]


def test_a_change_of_a_group_goes_on_from_the_one_before(
    make_job: MakeJob, alice: User, simulator: Simulator, drive: Drive
) -> None:
    job = sent(make_job, alice, drive, [request(1, top_k=5, top_p=0.5)])
    [group] = problem_groups.find_groups(job)
    edits.change_rows(job, group.name, "without", "top_k", 0)
    edits.change_rows(job, group.name, "without", "top_p", 0)
    edit = json.loads(job.edits.get().source)
    assert list(edit["params"]) == ["model", "max_tokens", "messages"]


def test_numbers_of_a_request_stay_to_the_letter_when_it_is_changed(
    make_job: MakeJob, alice: User, simulator: Simulator, drive: Drive
) -> None:
    job = sent(make_job, alice, drive, [request(1, top_k=5)])
    row = job.rows.get()
    source = row.source.replace('"top_k": 5', '"top_k": 5, "x": 12345678901234567890.10')
    Row.objects.filter(pk=row.pk).update(source=source)
    [group] = problem_groups.find_groups(job)
    assert edits.change_rows(job, group.name, "without", "top_k", 0) == 1
    edit = job.edits.get().source
    assert "12345678901234567890.10" in edit and "top_k" not in edit


def test_requests_that_were_left_out_at_the_start_are_not_changed(
    make_job: MakeJob, alice: User, client_alice: Client, simulator: Simulator, drive: Drive
) -> None:
    """They may have no parameters at all."""
    job = sent(make_job, alice, drive, [request(1)])
    left_out = {"outcome": Outcome.LEFT_OUT, "cause": "left_out", "problem": "no params"}
    Row.objects.create(job=job, number=2, line=2, source='{"custom_id":"r2"}', size=2, **left_out)
    address = reverse("change_rows", args=[job.pk, "left_out"])
    assert client_alice.post(address, {"code": "without", "name": "x"}).status_code == 302
    assert not job.edits.exists()


# --- Rows that are edited in the page -------------------------------------------------------------


def test_of_very_many_columns_only_those_that_are_used_are_edited_and_the_others_stay(
    make_job: MakeJob, alice: User, simulator: Simulator, drive: Drive, client_alice: Client
) -> None:
    columns = [f"c{number}" for number in range(1200)]
    rows = [("x",) * 1199 + (REFUSED,)]
    job = sent(make_job, alice, drive, rows, columns=columns, prompt="{{c1199}} and {{c3}}")
    address = reverse("edit_row", args=[job.pk, 1])
    page = text(client_alice, address)
    assert page.count('name="cell"') == 2 and ">c3</label>" in page and ">c1199</label>" in page
    assert client_alice.post(address, {"cell": ["y"] * 1200}).status_code in (400, 404)
    assert not job.edits.exists()
    assert client_alice.post(address, {"cell": ["three", "last"]}).status_code == 302
    assert json.loads(job.edits.get().source) == ["x"] * 3 + ["three"] + ["x"] * 1195 + ["last"]


def test_a_cell_of_some_megabytes_is_edited(
    make_job: MakeJob, alice: User, simulator: Simulator, drive: Drive, client_alice: Client
) -> None:
    job = sent(make_job, alice, drive, [("x", "word " * 700_000 + REFUSED)])
    cells = ["y", "word " * 600_000]
    answer = client_alice.post(reverse("edit_row", args=[job.pk, 1]), {"cell": cells})
    assert answer.status_code == 302
    assert json.loads(job.edits.get().source) == cells


# --- What was left out, marked and stopped --------------------------------------------------------


def test_a_row_that_was_left_out_and_is_edited_is_counted_once(
    make_job: MakeJob, alice: User, simulator: Simulator, drive: Drive
) -> None:
    rows = [("a", ERRORED), ("b", ERRORED)]
    job = sent(make_job, alice, drive, rows, skip_duplicates=True)
    [group] = problem_groups.find_groups(job)
    assert (group.rows, group.own) == (2, 1)
    assert retries.ignore_rows(job, group.name, 2, alice)
    edits.edit_row(job.rows.get(number=1), ["a", "now good"])
    assert send_again(job, alice, EDITED) == 1
    job = drive(job)
    assert outcomes(job) == [Outcome.GOOD, Outcome.LEFT_OUT]
    assert job.tally.outcomes == {Outcome.GOOD: 1, Outcome.LEFT_OUT: 1}


def test_a_file_that_lay_ready_is_not_taken_once_a_note_is_another(
    make_job: MakeJob, alice: User
) -> None:
    job = make_job(alice)
    reviews.draw_sample(job, 10, alice)
    mark_down(job, 1, alice, "first note")
    assert b"first note" in file_of(job)
    mark_down(job, 1, alice, "second note")
    assert b"second note" in file_of(job)


def test_a_file_that_lay_ready_is_not_taken_once_another_row_is_marked(
    make_job: MakeJob, alice: User
) -> None:
    """Even if as many rows are good as before."""
    rows = [("a", "same"), ("a", "same"), ("b", "x")]
    job = make_job(alice, rows=rows)
    reviews.draw_sample(job, 10, alice)
    mark_down(job, 1, alice, "bad")
    before = file_of(job)
    key = review_sample.answer_key(job.rows.get(number=1))
    assert reviews.mark_answer(job, 1, key, None, "", alice)
    mark_down(job, 2, alice, "bad")
    assert file_of(job) != before


def file_of(job: Job) -> bytes:
    """What is downloaded; it is built if it does not lie ready."""
    job.refresh_from_db()
    if ready := builder.open_ready(job, "csv"):
        return b"".join(ready.blocks())
    content = b"".join(table.csv_chunks(job))
    path = builder.path_of(job, "csv")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return content


def test_answers_that_were_left_out_are_not_in_the_summary(
    mixed: Job, alice: User, drive: Drive
) -> None:
    reviews.draw_sample(mixed, 10, alice)
    mark_down(mixed, 1, alice)
    assert retries.ignore_rows(mixed, "marked_down", 1, alice)
    job = drive(mixed, until=lambda job: job.next_action_at is None)
    summary = job.answers
    assert summary is not None
    assert summary.count == job.rows.with_usable_answer().count()


def test_answers_of_a_job_that_an_older_version_counted_are_marked(
    make_job: MakeJob, alice: User
) -> None:
    """Its tally knows no groups."""
    job = make_job(alice)
    tally = {name: value for name, value in to_json(job.tally).items() if name != "groups"}
    Job.objects.filter(pk=job.pk).update(tally=tally)
    reviews.draw_sample(job, 10, alice)
    mark_down(job, 1, alice)
    sweep.sweep()
    job.refresh_from_db()
    assert job.attention_count == 1


def test_a_round_that_was_stopped_is_sent_again_and_adds_up(
    mixed: Job, alice: User, drive: Drive
) -> None:
    cost = mixed.cost
    assert send_again(mixed, alice, "cut_off", max_tokens=1000) == 2
    preparation.prepare_next(mixed)
    assert submissions.stop_job(mixed, alice)
    job = drive(mixed)
    assert job.cost == cost and not job.reserved_pico
    assert Attempt.objects.filter(job=job).count() == 2
    assert send_again(job, alice, "canceled") == 2
    job = drive(job)
    assert receipts.receipt_of(job).charged == job.cost > cost
    for row in job.rows.filter(number__in=(2, 7)):
        assert Attempt.objects.filter(job=job, number=row.number).count() == row.attempts > 0


def test_a_batch_of_a_round_that_comes_back_after_a_backup_is_of_that_round(
    make_job: MakeJob, alice: User, simulator: Simulator, drive: Drive, settings: Settings
) -> None:
    settings.PRACTICE, settings.ANTHROPIC_API_KEY = False, "good key"
    settings.SUBMIT_DEADLINE_SECONDS = settings.RECONCILE_GRACE_SECONDS = 1
    job = sent(make_job, alice, drive, [("a", "x"), ("b", f"y {REFUSED}")])
    assert send_again(job, alice, "refused", prompt="Greet {{name}}") == 1
    assert preparation.prepare_next(job)
    with a_backup_that_comes_back():
        drive(job)
    assert len(recovery.restore()) == 1
    row = drive(job).rows.get(number=2)
    assert "Greet b" in row.answer and row.batch is not None and row.batch.round == 2
    assert simulator.accepted() == {"0000001": 1, "0000002": 2}


# --- Odd addresses --------------------------------------------------------------------------------


@pytest.fixture
def failed(make_job: MakeJob, alice: User) -> Job:
    """A good row, and one that was refused."""
    return make_job(alice, outcomes=["good", {"outcome": Outcome.LOOK, "cause": "refused"}])


def test_causes_with_odd_names_are_only_text(failed: Job, client_alice: Client) -> None:
    attention, again = (reverse(name, args=[failed.pk]) for name in ("problems", "retry"))
    for name in ("new/error type", " ", "a b?c=d&e#f", "<script>x", "..", "%2F", "ä"):
        failed.rows.filter(number=2).update(cause=name)
        tally.count_up(failed)
        page = client_alice.get(attention)
        assert page.status_code == 200 and b"<script>x" not in page.content
        assert client_alice.get(again, {"which": name}).status_code in (200, 302)


@pytest.mark.parametrize(
    "given",
    [
        {"which": "refused", "model": "no-such"},
        {"which": "x\0"},
        {"which": ""},
        {"which": "refused", "max_tokens": "99999999999999999999"},
        {"which": "refused", "asks": "nope"},
    ],
)
def test_what_cannot_be_sent_leads_back_to_the_list(
    failed: Job, client_alice: Client, given: dict[str, str]
) -> None:
    answer = client_alice.get(reverse("retry", args=[failed.pk]), given)
    assert answer.headers["Location"] == reverse("problems", args=[failed.pk])


def test_a_cause_with_a_nul_is_not_there(failed: Job, client_alice: Client) -> None:
    given = {"code": "shorten", "name": "text", "number": "5", "rows": "1"}
    for name in ("ignore_rows", "change_rows"):
        for cause in ("x\0y", "\0"):
            address = reverse(name, args=[failed.pk, cause])
            assert client_alice.post(address, given).status_code == 404


# --- What is asked --------------------------------------------------------------------------------


def test_a_row_that_a_round_left_out_is_asked_what_that_round_asked(
    make_job: MakeJob, alice: User, client_alice: Client, simulator: Simulator, drive: Drive
) -> None:
    rows = [("a", f"x {REFUSED}"), ("", f"y {REFUSED}"), ("c", "z")]
    job = sent(make_job, alice, drive, rows)
    different = {"prompt": "{{name}}", "model": "claude-haiku-5-5", "max_tokens": 700}
    assert send_again(job, alice, "refused", **different) == 2
    job = drive(job)
    assert [row.outcome for row in job.rows.in_order()] == ["good", "left_out", "good"]
    assert edits.edit_row(job.rows.get(number=2), ["Ben", "y"])
    planned = rounds.find_plan(job, RetryChoice(EDITED))
    assert planned is not None
    asked = planned.recipe
    assert (asked.prompt, asked.model, asked.max_tokens) == tuple(different.values())
    assert send_again(job, alice, EDITED) == 1
    job = drive(job)
    row = job.rows.get(number=2)
    assert row.answered_by == "claude-haiku-5-5" and row.round == 3
    assert "claude-haiku-5-5" in text(client_alice, reverse("row", args=[job.pk, 2]))


def test_a_row_that_was_stopped_before_it_was_sent_is_asked_what_it_was_to_be_asked(
    make_job: MakeJob, alice: User, client_alice: Client, simulator: Simulator, drive: Drive
) -> None:
    job = sent(make_job, alice, drive, [("a", f"x {REFUSED}"), ("b", "y")])
    assert send_again(job, alice, "refused", prompt="Greet {{name}}", max_tokens=700) == 1
    job.refresh_from_db()
    preparation.prepare_next(job)
    assert submissions.stop_job(job, alice)
    job = drive(job)
    assert job.rows.get(number=1).cause == "canceled"
    page = text(client_alice, reverse("row", args=[job.pk, 1]))
    assert "Greet a" in page
    planned = rounds.find_plan(job, RetryChoice("canceled"))
    assert planned is not None
    assert (planned.recipe.prompt, planned.recipe.max_tokens) == ("Greet {{name}}", 700)


def test_only_what_is_different_is_changed_and_a_limit_can_be_taken_away(
    make_job: MakeJob, alice: User, client_alice: Client, simulator: Simulator, drive: Drive
) -> None:
    job = sent(make_job, alice, drive, [("a", f"x {REFUSED}")], max_tokens=500)
    address = reverse("change_prompt", args=[job.pk, "refused"])
    given = {
        "prompt": "Greet {{name}}",
        "system": "",
        "model": job.recipe.model,
        "max_tokens": "500",
    }
    assert client_alice.post(address, given).context["planned"].choice.max_tokens is None
    planned = client_alice.post(address, {**given, "max_tokens": ""}).context["planned"]
    assert planned.choice.max_tokens == planned.recipe.max_tokens == 0
    assert planned.recipe.longest > 500
    confirmed = {"which": "refused", "key": planned.key, "max_tokens": "0", "asks": "prompt"}
    client_alice.post(reverse("retry", args=[job.pk]), {**confirmed, "prompt": given["prompt"]})
    assert recipe_of_round(job, 2).max_tokens == 0


def test_a_mark_that_moves_to_another_row_needs_another_look(
    make_job: MakeJob, alice: User, simulator: Simulator, drive: Drive
) -> None:
    job = sent(make_job, alice, drive, [("a", "x"), ("b", "y")])
    reviews.draw_sample(job, 10, alice)
    mark_down(job, 1, alice)
    job.refresh_from_db()
    shown = rounds.find_plan(job, RetryChoice(MARKED_DOWN))
    assert shown is not None
    key = review_sample.answer_key(job.rows.get(number=1))
    assert reviews.mark_answer(job, 1, key, None, "", alice)
    mark_down(job, 2, alice)
    job.refresh_from_db()
    assert not retries.confirm_retry(job, shown.choice, shown.key, alice)


@pytest.mark.parametrize(
    ("again", "why"),
    [
        (RetryChoice("refused", model="claude-unheard-of"), "no longer offered"),
        (RetryChoice("refused", prompt="Say {{nothing}}"), "no column “nothing”"),
        (RetryChoice("refused", prompt=" "), "Write what Claude should do"),
        (RetryChoice("api_error"), "No rows to retry"),
    ],
)
def test_why_rows_cannot_be_sent_so(
    make_job: MakeJob, alice: User, simulator: Simulator, drive: Drive, again: RetryChoice, why: str
) -> None:
    job = sent(make_job, alice, drive, [("a", f"x {REFUSED}")])
    assert rounds.find_plan(job, again) is None
    assert why in why_not_again(job, again)


def test_rows_of_a_model_that_is_not_offered_any_more_can_be_asked_of_another(
    make_job: MakeJob, alice: User, client_alice: Client, simulator: Simulator, drive: Drive
) -> None:
    job = sent(make_job, alice, drive, [("a", f"x {ERRORED}")])
    change_job(job, model="claude-3-haiku-20240307")
    job.refresh_from_db()
    [group] = problem_groups.find_groups(job)
    assert [remedy.code for remedy in group.remedies] == [ASK, LEAVE_OUT]
    address = reverse("change_prompt", args=[job.pk, group.name])
    asked = {"prompt": job.recipe.prompt, "model": "claude-haiku-5-5"}
    planned = client_alice.post(address, asked).context["planned"]
    assert (planned.rows, planned.choice.model) == (1, "claude-haiku-5-5")


def test_a_practice_job_is_not_sent_again_for_money(
    make_job: MakeJob,
    alice: User,
    client_alice: Client,
    simulator: Simulator,
    drive: Drive,
    settings: Settings,
) -> None:
    job = sent(make_job, alice, drive, [("a", f"x {REFUSED}")])
    assert edits.edit_row(job.rows.get(number=1), ["a", "x"])
    settings.PRACTICE = False
    assert rounds.find_plan(job, RetryChoice(EDITED)) is None
    assert "ran in practice mode" in why_not_again(job, RetryChoice(EDITED))
    assert "Retry 1 row" not in text(client_alice, reverse("edits", args=[job.pk]))


def test_a_changed_request_that_would_be_refused_is_named(
    make_job: MakeJob, alice: User, simulator: Simulator, drive: Drive
) -> None:
    job = sent(make_job, alice, drive, [request(0, f"hello {REFUSED}")])
    row = job.rows.get()
    assert edits.save_edits(job, [(row, json.dumps(request(0, "hello", temperature=1)))]) == 1
    assert rounds.find_plan(job, RetryChoice(EDITED)) is None
    why = why_not_again(job, RetryChoice(EDITED))
    assert why.startswith("Row 1 cannot be sent:") and "temperature" in why


def test_what_is_left_out_on_purpose_is_not_called_never_sent(
    mixed: Job, alice: User, client_alice: Client
) -> None:
    edits.edit_row(mixed.rows.get(cause="refused"), ["n", "changed"])
    assert retries.ignore_rows(mixed, "refused", 1, alice)
    assert not mixed.edits.exists(), "what was changed is not sent by and by"
    mixed.refresh_from_db()
    assert mixed.ignored_count == 1
    page = text(client_alice, reverse("job", args=[mixed.pk]))
    assert "1 row ignored by you" in page
    assert "never sent" not in page and "from the start" not in page


def test_only_an_answer_that_needs_a_look_counts_as_marked_down(
    make_job: MakeJob, alice: User
) -> None:
    outcomes = [
        {"outcome": Outcome.ERRORED, "cause": MARKED_DOWN},
        {"outcome": Outcome.LOOK, "cause": MARKED_DOWN},
    ]
    job = make_job(alice, outcomes=outcomes)
    usable = set(job.rows.with_usable_answer())
    assert usable == {row for row in job.rows.all() if row.has_usable_answer}
    assert [row.number for row in usable] == [2]
