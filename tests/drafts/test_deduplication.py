"""Rows that are the same are sent once, and each of them gets the answer; rows that an earlier job
has answered are not sent again."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from jobs.actions import job_basics, submissions
from jobs.batches import leases
from jobs.batches.leases import Lease
from jobs.drafts import advice, deduplication, estimates, row_cells, row_survey
from jobs.models import Job, Outcome, Row, recipe_of
from jobs.results import table
from jobs.retries import edits, selection
from jobs.worker import advance, tally

from ..conftest import Simulator, change_job, send_again
from .test_draft_settings import priced

MakeJob = Callable[..., Job]
Drive = Callable[..., Job]
# Rows 3, 5 and 6 repeat rows 1 and 2 in what the prompt uses.
ROWS = [("1", "good"), ("2", "bad"), ("3", "good"), ("4", "fine"), ("5", "good"), ("6", "bad")]


@pytest.fixture
def same(alice: User, make_job: MakeJob) -> Job:
    return make_job(
        alice,
        Job.State.DRAFT,
        columns=("id", "text"),
        rows=ROWS,
        prompt="Is this positive? {{text}}",
        skip_duplicates=True,
    )


def sent(job: Job) -> Job:
    priced(job)
    assert submissions.confirm(job, job.plan_sha256, job.owner)
    job.refresh_from_db()
    return job


def claimed(job: Job) -> Lease:
    lease = leases.claim(job.pk)
    assert lease is not None
    return lease


def test_rows_that_are_the_same_are_sent_once_and_all_answered(
    same: Job, drive: Drive, simulator: Simulator
) -> None:
    estimate = priced(same)
    assert estimate.rows == 3
    job = drive(sent(same))
    assert simulator.accepted() == {"0000001": 1, "0000002": 1, "0000004": 1}
    rows = list(job.rows.in_order())
    assert [row.same_as for row in rows] == [None, None, 1, None, 1, 2]
    assert {row.outcome for row in rows} == {Outcome.GOOD}
    assert rows[0].answer and rows[0].answer == rows[2].answer == rows[4].answer
    assert rows[1].answer == rows[5].answer != rows[0].answer
    assert [bool(row.cost_pico) for row in rows] == [True, True, False, True, False, False]
    assert estimate.low <= job.cost <= estimate.most
    assert job.good_count == 6
    table_lines = list(csv.reader(io.StringIO(b"".join(table.csv_chunks(job)).decode("utf-8-sig"))))
    assert [line[:2] for line in table_lines[1:]] == [list(row) for row in ROWS]
    assert [line[2] for line in table_lines[1:]] == [row.answer for row in rows]
    lines = b"".join(table.jsonl_chunks(job)).splitlines()
    assert [json.loads(line)["same_as"] for line in lines] == [None, None, 1, None, 1, 2]


@pytest.mark.no_database
def test_without_that_choice_each_row_is_sent(
    same: Job, drive: Drive, simulator: Simulator
) -> None:
    change_job(same, skip_duplicates=False)
    drive(sent(same))
    assert simulator.truth()["accepted_rows"] == 6


@pytest.mark.no_database
def test_the_price_is_that_of_what_is_sent_and_the_advice_says_so(
    alice: User, make_job: MakeJob, simulator: Simulator, client_alice: Client
) -> None:
    rows = [(str(number), "text " * 50 + str(number % 10)) for number in range(300)]
    job = make_job(alice, Job.State.DRAFT, columns=("id", "t"), rows=rows, prompt="Of {{t}}")
    before = priced(job)
    [found] = [one for one in advice.advice_for(job, before) if one.code == "once"]
    assert found.text.startswith("This file has 290 rows with the same cells as an earlier one")
    client_alice.post(reverse("take_advice", args=[job.pk]), {"code": "once"})
    after = priced(job)
    assert (after.rows, job.recipe.skip_duplicates) == (10, True)
    assert after.most == pytest.approx(before.most / 30)
    page = client_alice.get(reverse("confirm", args=[job.pk])).content.decode()
    assert "Practice with 10 rows" in page
    assert "290 more are the same as one of these and get its answer" in page


@pytest.mark.no_database
@pytest.mark.parametrize("outcome", ["refusal", "errored"])
def test_what_went_wrong_went_wrong_for_all_of_them(
    alice: User,
    make_job: MakeJob,
    drive: Drive,
    simulator: Simulator,
    client_alice: Client,
    outcome: str,
) -> None:
    text = f"[simulate:{outcome}]"
    rows = [("1", text), ("2", "fine"), ("3", text)]
    job = make_job(
        alice,
        Job.State.DRAFT,
        columns=("id", "t"),
        rows=rows,
        prompt="Of {{t}}",
        skip_duplicates=True,
    )
    job = drive(sent(job))
    first, _good, copy = job.rows.in_order()
    assert first.outcome == copy.outcome != Outcome.GOOD
    assert (first.cause, first.message) == (copy.cause, copy.message)
    if not selection.retry_rows(job, selection.FOR_NOW).exists():
        return
    address = reverse("retry", args=[job.pk])
    page = client_alice.get(f"{address}?which=passing").content.decode()
    assert "Retry 1 row?" in page, "only one of the two is sent again"
    problems = client_alice.get(reverse("problems", args=[job.pk])).content.decode()
    assert "Retry 1 row · at most" in problems
    [shown] = re.findall(r'name="key" value="(\w+)"', page)
    client_alice.post(address, {"which": "passing", "key": shown})
    simulator.reset()
    drive(job)
    assert simulator.accepted() == {"0000001": 2, "0000002": 1}


def test_a_stop_keeps_the_answers_for_all_of_them(
    same: Job, drive: Drive, simulator: Simulator, alice: User
) -> None:
    job = sent(same)
    lease = claimed(job)
    deduplication.mark_repeated_rows(job, lease)
    lease.release(None)
    # The first row was answered before the stop; nothing else was sent.
    Row.objects.filter(job=job, number=1).update(outcome=Outcome.GOOD, answer="yes")
    assert submissions.stop_job(job, alice)
    job = drive(job)
    rows = list(job.rows.in_order())
    assert [row.answer for row in rows] == ["yes", "", "yes", "", "yes", ""]
    canceled = {row.number for row in rows if row.outcome == Outcome.CANCELED}
    assert canceled == {2, 4, 6}
    assert simulator.truth()["accepted_rows"] == 0


def test_a_row_does_not_wait_for_one_that_was_stopped(
    same: Job, drive: Drive, simulator: Simulator, alice: User
) -> None:
    """The job was stopped before anything was looked for, and only this row is sent after all."""
    job = sent(same)
    assert submissions.stop_job(job, alice)
    job = drive(job)
    assert edits.edit_row(job.rows.get(number=4), ["4", "good"])
    assert send_again(job, alice, selection.EDITED) == 1
    job = drive(job)
    assert simulator.accepted() == {"0000004": 1}
    assert job.rows.get(number=4).outcome == Outcome.GOOD
    assert job.outcome_count(Outcome.CANCELED) == 5


def test_finding_them_may_be_cut_off_and_begun_anew(
    same: Job, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deduplication, "SLICE", 1)
    monkeypatch.setattr(row_survey, "ROWS_IN_MEMORY", 2)  # several passes
    job = sent(same)
    found = list(row_survey.find_repeated_rows(job, recipe_of(job), False, True, whole=True))
    assert sorted((one.number, one.same_as) for one in found) == [(3, 1), (5, 1), (6, 2)]
    lease = claimed(job)
    Row.objects.filter(job=job, number=5).update(same_as=1)  # before it died
    deduplication.mark_repeated_rows(job, lease)
    deduplication.mark_repeated_rows(job, lease)
    marked = job.rows.in_order().values_list("same_as", flat=True)
    assert list(marked) == [None, None, 1, None, 1, 2]
    job.refresh_from_db()
    assert job.deduplicated


def test_a_row_that_was_sent_before_is_never_made_a_copy(same: Job, simulator: Simulator) -> None:
    """As after a restore, when batches were adopted before this was known."""
    job = sent(same)
    Row.objects.filter(job=job, number=3).update(outcome=Outcome.GOOD, answer="paid")
    deduplication.mark_repeated_rows(job, claimed(job))
    assert Row.objects.get(job=job, number=3).same_as is None


@pytest.mark.no_database
def test_rows_that_are_left_out_are_no_copies(
    alice: User, make_job: MakeJob, drive: Drive, simulator: Simulator
) -> None:
    rows = [("1", ""), ("2", ""), ("3", "x"), ("4", "x")]
    job = make_job(
        alice,
        Job.State.DRAFT,
        columns=("id", "t"),
        rows=rows,
        prompt="Of {{t}}",
        skip_duplicates=True,
        skip_empty=True,
    )
    assert priced(job).rows == 1
    job = drive(sent(job))
    assert [row.outcome for row in job.rows.in_order()] == [
        *[Outcome.LEFT_OUT] * 2,
        *[Outcome.GOOD] * 2,
    ]
    assert simulator.truth()["accepted_rows"] == 1


# --- Only rows that are new or changed ------------------------------------------------------------

MAY = [("1", "good"), ("2", "bad"), ("3", "[simulate:refusal]"), ("4", "fine")]
# Row 2 was changed, row 5 is new, row 3 had no good answer, and their order is another one.
JUNE = [("4", "fine"), ("1", "good"), ("2", "worse"), ("3", "[simulate:refusal]"), ("5", "new")]
WORDS = "Is this positive? {{%s}}"


@pytest.fixture
def may(alice: User, make_job: MakeJob, simulator: Simulator) -> Job:
    """A job that has finished, with one row that Claude declined."""
    good, declined = Outcome.GOOD, {"outcome": Outcome.LOOK, "cause": "refused"}
    return make_job(
        alice,
        columns=("id", "text"),
        rows=MAY,
        outcomes=[good, good, declined, good],
        prompt=WORDS % "text",
        practice=True,
    )


def with_price(job: Job) -> None:
    """As if it had been priced before it was sent."""
    Job.objects.filter(pk=job.pk).update(state=Job.State.DRAFT)
    priced(job)
    Job.objects.filter(pk=job.pk).update(state=Job.State.FINISHED)


def june(make_job: MakeJob, before: Job, **values: object) -> Job:
    """A draft that runs `before` again on a new file, whose column has another name."""
    usual = {"columns": ("no", "review"), "rows": JUNE, "prompt": WORDS % "review"}
    return make_job(
        before.owner, Job.State.DRAFT, **{**usual, "previous": before, "only_new": True, **values}
    )


def cells(job: Job) -> list[list[str]]:
    """The finished file without its heading."""
    text = b"".join(table.csv_chunks(job)).decode("utf-8-sig")
    return list(csv.reader(io.StringIO(text)))[1:]


def test_only_rows_that_are_new_or_changed_are_sent(
    may: Job, make_job: MakeJob, drive: Drive, simulator: Simulator, client_alice: Client
) -> None:
    job = june(make_job, may)
    estimate = priced(job)
    assert (estimate.rows, estimate.basis.survey.known) == (3, 2)
    page = client_alice.get(reverse("confirm", args=[job.pk])).content.decode()
    assert "Practice with 3 rows" in page
    assert f"2 more keep their answers from job {may.pk}" in page
    posts = simulator.truth()["accepted_rows"]
    job = drive(sent(job))
    assert simulator.truth()["accepted_rows"] == posts + 3
    rows = list(job.rows.in_order())
    assert [row.earlier for row in rows] == [4, 1, None, None, None]
    then = dict(may.rows.values_list("number", "answer"))
    assert [row.answer for row in rows[:2]] == [then[4], then[1]]
    assert [row.cost_pico > 0 for row in rows] == [False, False, True, False, True]
    assert job.cost <= estimate.most
    assert [line[:2] for line in cells(job)] == [list(row) for row in JUNE]
    assert [line[3] for line in cells(job)] == ["Good", "Good", "Good", "Check this", "Good"]
    page = client_alice.get(reverse("row", args=[job.pk, 1])).content.decode()
    assert f"row 4 of job {may.pk}" in page and "at no cost" in page


@pytest.mark.no_database
def test_a_third_job_has_the_answers_of_the_first(
    may: Job, make_job: MakeJob, drive: Drive, simulator: Simulator
) -> None:
    second = drive(sent(june(make_job, may)))
    third = june(make_job, second, rows=[("9", "good"), ("8", "new")])
    assert priced(third).rows == 0
    posts = simulator.truth()["posts"]
    third = drive(sent(third))
    assert simulator.truth()["posts"] == posts, "every row had its answer, so nothing was sent"
    assert third.good_count == 2 and not third.cost
    assert [line[2] for line in cells(third)] == [
        may.rows.get(number=1).answer,
        second.rows.get(number=5).answer,
    ]


@pytest.mark.no_database
@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "Is this negative? {{review}}"},
        {"prompt": "Is this positive? {{no}}"},
        {"system": "Be strict."},
        {"model": "claude-sonnet-5-5"},
        {"effort": "none"},
        {"answer": {"kind": "labels", "labels": ["yes", "no"]}},
        {"only_new": False},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_is_asked_otherwise_is_asked_of_every_row(
    may: Job, make_job: MakeJob, change: dict[str, object]
) -> None:
    assert priced(june(make_job, may, **change)).rows == len(JUNE)


@pytest.mark.no_database
@pytest.mark.parametrize(
    "change", [{"state": Job.State.WORKING}, {"state": Job.State.DELETING}, {"practice": False}]
)
def test_only_a_job_that_has_finished_in_this_mode_has_answers(
    may: Job, make_job: MakeJob, change: dict[str, object]
) -> None:
    """What practice made up must never pass for an answer that was paid for."""
    Job.objects.filter(pk=may.pk).update(**change)
    assert priced(june(make_job, may)).rows == len(JUNE)


@pytest.mark.no_database
def test_how_long_an_answer_may_be_does_not_make_it_another_question(
    may: Job, make_job: MakeJob
) -> None:
    assert priced(june(make_job, may, max_tokens=99, skip_duplicates=True, cached=True)).rows == 3


def test_rows_that_are_the_same_and_new_are_sent_once(
    may: Job, make_job: MakeJob, drive: Drive, simulator: Simulator
) -> None:
    rows = [("1", "good"), ("2", "new"), ("3", "good"), ("4", "new")]
    job = june(make_job, may, rows=rows, skip_duplicates=True)
    assert priced(job).rows == 1
    posts = simulator.truth()["accepted_rows"]
    job = drive(sent(job))
    assert simulator.truth()["accepted_rows"] == posts + 1
    found = [(row.earlier, row.same_as) for row in job.rows.in_order()]
    assert found == [(1, None), (None, None), (1, None), (None, 2)]
    assert job.good_count == 4


@pytest.mark.no_database
def test_it_is_said_that_no_row_keeps_its_answer(
    may: Job, make_job: MakeJob, client_alice: Client
) -> None:
    job = june(make_job, may, prompt="Is it positive? {{review}}")
    priced(job)
    page = client_alice.get(reverse("confirm", args=[job.pk])).content.decode()
    assert f"No row keeps its answer from job {may.pk}, so all are sent" in page


@pytest.mark.no_database
def test_the_offer_names_what_it_saves(
    alice: User, make_job: MakeJob, client_alice: Client, simulator: Simulator
) -> None:
    rows = [(str(number), "text " * 500 + str(number)) for number in range(300)]
    values = {"columns": ("id", "t"), "prompt": "Of {{t}}"}
    before = make_job(alice, rows=rows[:290], practice=True, **values)
    job = make_job(alice, Job.State.DRAFT, rows=rows, previous=before, **values)
    estimate = priced(job)
    [found] = [one for one in advice.advice_for(job, estimate) if one.code == "only_new"]
    assert found.text.startswith(f"Job {before.pk} has already answered 290 rows.")
    page = client_alice.get(reverse("job", args=[job.pk])).content.decode()
    assert "290 rows have a good answer from" in page
    client_alice.post(reverse("take_advice", args=[job.pk]), {"code": "only_new"})
    assert (priced(job).rows, job.recipe.only_new) == (10, True)
    [other] = estimates.price_recipes(
        job, priced(job), [replace(recipe_of(job), model="claude-opus-5-5")]
    )
    assert other is not None and other.most > 30 * priced(job).most, "another model is new to all"


def test_answers_that_are_gone_hold_the_job_before_more_is_sent_than_was_agreed(
    may: Job, make_job: MakeJob, alice: User, simulator: Simulator
) -> None:
    job = sent(june(make_job, may))
    posts = simulator.truth()["posts"]
    assert job_basics.delete_job(may, alice)
    advance.advance(job.pk)
    job.refresh_from_db()
    assert job.held == deduplication.GONE and not job.deduplicated
    submissions.resume_job(job, alice)
    advance.advance(job.pk)
    job.refresh_from_db()
    assert job.held == deduplication.GONE
    assert simulator.truth()["posts"] == posts


@pytest.mark.no_database
def test_a_draft_gets_a_new_price_when_the_answers_change(
    may: Job, make_job: MakeJob, alice: User, drive: Drive, simulator: Simulator
) -> None:
    job = june(make_job, may)
    priced(job)
    plan = job.plan_sha256
    Row.objects.filter(job=may, number=3).update(
        outcome=Outcome.ERRORED, cause="overloaded_error", answer=""
    )
    tally.count_up(may)
    with_price(may)
    assert send_again(may, alice) == 1
    assert not submissions.confirm(job, plan, alice), "that job is not finished at the moment"
    drive(may)
    now = drive(job, until=lambda job: estimates.current(job) is not None)
    assert now.plan_sha256 and submissions.confirm(now, now.plan_sha256, alice)


@pytest.mark.no_database
def test_the_offer_appears_when_the_earlier_job_has_finished(
    may: Job, make_job: MakeJob, drive: Drive, simulator: Simulator
) -> None:
    Job.objects.filter(pk=may.pk).update(state=Job.State.WORKING)
    job = june(make_job, may, only_new=False)
    assert priced(job).basis.survey.known == 0
    Job.objects.filter(pk=may.pk).update(next_action_at=timezone.now())
    drive(may)
    now = drive(job, until=lambda job: estimates.current(job) is not None)
    estimate = estimates.current(now)
    assert estimate is not None and estimate.basis.survey.known == 2


@pytest.mark.no_database
def test_a_stop_is_not_kept_waiting(
    may: Job, make_job: MakeJob, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deduplication, "SLICE", 1)
    job = sent(june(make_job, may))
    assert submissions.stop_job(job, alice)
    deduplication.mark_repeated_rows(job, claimed(job))
    assert not job.rows.filter(earlier__isnull=False).exists()


@pytest.mark.no_database
def test_the_lease_is_kept_through_long_passes(
    may: Job, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_cells, "SLICE", 1)
    job = sent(june(make_job, may, rows=[("1", "new"), ("2", "newer"), ("3", "newest")]))
    lease = claimed(job)
    renewed: list[int] = []
    monkeypatch.setattr(Lease, "renew", lambda self: renewed.append(self.job_pk))
    deduplication.mark_repeated_rows(job, lease)
    assert len(renewed) > 3, "for every slice, although no row was found"


@pytest.mark.no_database
def test_the_stop_page_counts_copies_apart(same: Job, client_alice: Client) -> None:
    job = sent(same)
    deduplication.mark_repeated_rows(job, claimed(job))
    tally.count_up(job)
    page = client_alice.get(reverse("stop", args=[job.pk])).content.decode()
    assert "3 rows</strong> were not sent" in page
    assert "3 rows</strong> are duplicates" in page


def test_many_rows_are_looked_through_in_several_passes(
    may: Job, make_job: MakeJob, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_survey, "ROWS_IN_MEMORY", 2)
    monkeypatch.setattr(deduplication, "SLICE", 1)
    job = june(make_job, may)
    assert priced(job).basis.survey.known == 2
    assert [row.earlier for row in drive(sent(job)).rows.in_order()][:2] == [4, 1]
