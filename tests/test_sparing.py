"""Rows that are the same are sent once, and each of them gets the answer."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from jobs import actions, advising, estimates, exports, leases, sparing, surveying
from jobs.leases import Lease
from jobs.models import Job, Outcome, Row, recipe_of

from .conftest import Simulator
from .test_workshop import priced

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
        same_once=True,
    )


def sent(job: Job) -> Job:
    priced(job)
    assert actions.confirm(job, job.plan_sha256, job.owner)
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
    table = list(csv.reader(io.StringIO(b"".join(exports.csv_chunks(job)).decode("utf-8-sig"))))
    assert [line[:2] for line in table[1:]] == [list(row) for row in ROWS]
    assert [line[2] for line in table[1:]] == [row.answer for row in rows]
    lines = b"".join(exports.jsonl_chunks(job)).splitlines()
    assert [json.loads(line)["same_as"] for line in lines] == [None, None, 1, None, 1, 2]


def test_without_that_choice_each_row_is_sent(
    same: Job, drive: Drive, simulator: Simulator
) -> None:
    Job.objects.filter(pk=same.pk).update(same_once=False)
    drive(sent(same))
    assert simulator.truth()["accepted_rows"] == 6


def test_the_price_is_that_of_what_is_sent_and_the_advice_says_so(
    alice: User, make_job: MakeJob, simulator: Simulator, client_alice: Client
) -> None:
    rows = [(str(number), "text " * 50 + str(number % 100)) for number in range(3000)]
    job = make_job(alice, Job.State.DRAFT, columns=("id", "t"), rows=rows, prompt="Of {{t}}")
    before = priced(job)
    [found] = [one for one in advising.advice_for(job, before) if one.code == "once"]
    assert found.text.startswith("2,900 rows repeat an earlier one")
    client_alice.post(reverse("take_advice", args=[job.pk]), {"code": "once"})
    after = priced(job)
    assert (after.rows, job.same_once) == (100, True)
    assert after.most == pytest.approx(before.most / 30)
    page = client_alice.get(reverse("confirm", args=[job.pk])).content.decode()
    assert "Practise with 100 rows" in page
    assert "2,900 more are the same as one of these and get its answer" in page


@pytest.mark.parametrize("outcome", ["refusal", "errored"])
def test_what_went_wrong_went_wrong_for_all_of_them(
    alice: User, make_job: MakeJob, drive: Drive, simulator: Simulator, outcome: str
) -> None:
    text = f"[simulate:{outcome}]"
    rows = [("1", text), ("2", "fine"), ("3", text)]
    job = make_job(
        alice,
        Job.State.DRAFT,
        columns=("id", "t"),
        rows=rows,
        prompt="Of {{t}}",
        same_once=True,
    )
    job = drive(sent(job))
    first, _good, copy = job.rows.in_order()
    assert first.outcome == copy.outcome != Outcome.GOOD
    assert (first.cause, first.message) == (copy.cause, copy.message)
    again = job.rows.worth_sending_again()
    if not again.exists():
        return
    part = estimates.estimate_part(job, again)
    assert part is not None and part.rows == 1, "only one of the two is sent again"
    assert actions.send_rows_again(job, 2, alice)
    simulator.reset()
    drive(job)
    assert simulator.accepted() == {"0000001": 2, "0000002": 1}


def test_a_stop_keeps_the_answers_for_all_of_them(
    same: Job, drive: Drive, simulator: Simulator, alice: User
) -> None:
    job = sent(same)
    lease = claimed(job)
    sparing.find(job, lease)
    lease.release(None)
    # The first row was answered before the stop; nothing else was sent.
    Row.objects.filter(job=job, number=1).update(outcome=Outcome.GOOD, answer="yes")
    assert actions.stop(job, alice)
    job = drive(job)
    rows = list(job.rows.in_order())
    assert [row.answer for row in rows] == ["yes", "", "yes", "", "yes", ""]
    canceled = {row.number for row in rows if row.outcome == Outcome.CANCELED}
    assert canceled == {2, 4, 6}
    assert simulator.truth()["accepted_rows"] == 0


def test_finding_them_may_be_cut_off_and_begun_anew(
    same: Job, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sparing, "SLICE", 1)
    monkeypatch.setattr(surveying, "KEPT_IN_MIND", 2)  # several passes
    job = sent(same)
    found = list(surveying.repeats(job, recipe_of(job), whole=True))
    assert sorted((number, first) for number, first, _ in found) == [(3, 1), (5, 1), (6, 2)]
    lease = claimed(job)
    Row.objects.filter(job=job, number=5).update(same_as=1)  # before it died
    sparing.find(job, lease)
    sparing.find(job, lease)
    marked = job.rows.in_order().values_list("same_as", flat=True)
    assert list(marked) == [None, None, 1, None, 1, 2]
    job.refresh_from_db()
    assert job.spared


def test_a_row_that_was_sent_before_is_never_made_a_copy(same: Job, simulator: Simulator) -> None:
    """As after a restore, when batches were adopted before this was known."""
    job = sent(same)
    Row.objects.filter(job=job, number=3).update(outcome=Outcome.GOOD, answer="paid")
    sparing.find(job, claimed(job))
    assert Row.objects.get(job=job, number=3).same_as is None


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
        same_once=True,
        skip_empty=True,
    )
    assert priced(job).rows == 1
    job = drive(sent(job))
    assert [row.outcome for row in job.rows.in_order()] == [
        *[Outcome.LEFT_OUT] * 2,
        *[Outcome.GOOD] * 2,
    ]
    assert simulator.truth()["accepted_rows"] == 1
