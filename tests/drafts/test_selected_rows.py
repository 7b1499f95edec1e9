"""Only some rows of a job are sent: the price, the final file and everything after follow that."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from jobs.actions import drafts, submissions
from jobs.batches import leases
from jobs.drafts import (
    checks,
    deduplication,
    estimates,
    row_cells,
    row_survey,
    selected_rows,
    trials,
)
from jobs.models import Job, Outcome, recipe_of
from jobs.results import table
from jobs.retries import edits, problem_groups, selection
from jobs.rules.judging import IGNORED, NOT_SELECTED
from jobs.rules.price_estimates import Estimate
from jobs.rules.row_choices import CONTAINS, EMPTY, IS, IS_NOT, NOT_EMPTY, Condition, RowChoice
from jobs.worker import tally

from ..conftest import Simulator, change_job, drive_job
from ..driven_jobs import joined

MakeJob = Callable[..., Job]
STATES = ("open", "Open ", "closed", "", "on hold")
ROWS = [(str(n), STATES[n % 5], f"text {n % 7} [simulate:good]") for n in range(1, 41)]
OPEN = RowChoice((Condition("status", IS, "open"),))
CHOICES = {
    "is": (OPEN, 16),
    "is not": (RowChoice((Condition("status", IS_NOT, "open"),)), 24),
    "contains": (RowChoice((Condition("status", CONTAINS, "o"),)), 32),
    "empty": (RowChoice((Condition("status", EMPTY),)), 8),
    "not empty": (RowChoice((Condition("status", NOT_EMPTY),)), 32),
    "two": (RowChoice((*OPEN.where, Condition("id", CONTAINS, "1"))), 7),
    "sample": (RowChoice(sample=7, seed=3), 7),
    "sample of some": (RowChoice(OPEN.where, 5), 5),
    "shares": (RowChoice(sample=10, by="status"), 10),
    "all, as a sample": (RowChoice(sample=40), 40),
}


@pytest.fixture
def draft(alice: User, make_job: MakeJob) -> Job:
    return make_job(
        alice,
        Job.State.DRAFT,
        columns=("id", "status", "text"),
        rows=ROWS,
        prompt="Is this positive? {{text}}",
    )


def chosen(job: Job, choice: RowChoice) -> Job:
    drafts.choose_rows(job, choice, job.owner)
    job.refresh_from_db()
    return job


def priced(job: Job) -> Estimate:
    estimate = estimates.estimate_job(job)
    job.refresh_from_db()
    assert estimate is not None
    return estimate


def marked(job: Job) -> Job:
    """A confirmed job whose rows that are not selected are marked, as the worker does it first."""
    assert submissions.confirm(job, job.plan_sha256, job.owner)
    job.refresh_from_db()
    lease = leases.claim(job.pk)
    assert lease is not None
    deduplication.mark_repeated_rows(job, lease)
    tally.count_up(job)
    lease.release(timezone.now())
    job.refresh_from_db()
    return job


@pytest.mark.parametrize("name", CHOICES)
def test_as_many_rows_are_sent_as_the_price_says_and_none_is_lost(
    draft: Job, simulator: Simulator, name: str
) -> None:
    choice, rows = CHOICES[name]
    whole = priced(draft)
    estimate = priced(chosen(draft, choice))
    assert (estimate.rows, estimate.basis.survey.unselected) == (rows, 40 - rows)
    assert estimate.most < whole.most or rows == 40
    job = marked(draft)
    waiting = {row.number for row in job.rows.filter(outcome=Outcome.WAITING)}
    others = job.rows.filter(outcome=Outcome.LEFT_OUT, cause=NOT_SELECTED)
    assert len(waiting) == rows and others.count() == 40 - rows == job.unselected_count
    assert (job.sendable_count, job.unsent_count, job.skipped_count) == (rows, 0, 0)
    # The worker dies before it has noted that it is done, and another begins anew.
    job.rows.filter(number__in=list(others.values_list("number", flat=True)[:3])).update(
        outcome=Outcome.WAITING, cause="", problem=""
    )
    lease = leases.claim(job.pk)
    assert lease is not None
    assert selected_rows.mark_unselected_rows(job, lease)
    assert waiting == {row.number for row in job.rows.filter(outcome=Outcome.WAITING)}
    assert [line[:3] for line in joined(job)[1:]] == [list(row) for row in ROWS]


def test_a_share_of_each_value_is_a_share_of_each_value(draft: Job, simulator: Simulator) -> None:
    priced(chosen(draft, RowChoice(sample=10, by="status")))
    job = marked(draft)
    found = Counter(
        row.content[1].strip().lower() for row in job.rows.filter(outcome=Outcome.WAITING)
    )
    assert found == {"open": 4, "closed": 2, "": 2, "on hold": 2}


def test_a_job_of_some_rows_from_its_test_to_its_file(draft: Job, simulator: Simulator) -> None:
    change_job(draft, skip_duplicates=True, skip_empty=True)
    draft.rows.filter(number=1).update(source='["1", "open", ""]')
    draft.refresh_from_db()
    chosen(draft, OPEN)
    assert {row.content[1] for row in trials.choose_rows(draft, 4, at_random=False)} <= {
        "open",
        "Open ",
    }
    estimate = priced(draft)
    survey = estimate.basis.survey
    # 16 are open; one of these is empty, and of the other 15 seven are the first of their text.
    assert (survey.unselected, survey.left_out, survey.alike, survey.first) == (24, 1, 8, 1)
    assert estimate.rows == 7
    assert submissions.confirm(draft, draft.plan_sha256, draft.owner)
    job = drive_job(draft)
    assert simulator.truth()["accepted_rows"] == 7
    assert (job.good_count, job.skipped_count, job.unselected_count) == (15, 1, 24)
    assert estimate.low <= job.cost <= estimate.most
    lines = list(csv.DictReader(io.StringIO(b"".join(table.csv_chunks(job)).decode("utf-8-sig"))))
    assert [line["id"] for line in lines] == [row[0] for row in ROWS]
    unsent = [line for line in lines if line["status"] not in ("open", "Open ")]
    assert len(unsent) == 24
    assert {
        (line["answer"], line["status_2"], line["problem"], line["cost_usd"]) for line in unsent
    } == {("", "Skipped", "Not selected to be sent.", "")}
    # They are no problem: not to be corrected, not to be edited, not to be sent again.
    problems = b"".join(table.problem_chunks(job)).decode("utf-8-sig").splitlines()
    assert len(problems) == 2 and "empty" in problems[1]
    assert not problem_groups.find_groups(job)
    assert edits.editable_rows(job).count() == 1
    row = job.rows.get(number=2)
    assert edits.why_not_editable(job, row).endswith(
        "was not selected to be sent, so it cannot be edited."
    )
    for which in (selection.FOR_NOW, NOT_SELECTED, "left_out", IGNORED):
        assert not selection.candidate_rows(job, which).exists()


def test_stopped_at_once_the_others_are_not_stopped_rows(draft: Job, simulator: Simulator) -> None:
    priced(chosen(draft, OPEN))
    assert submissions.confirm(draft, draft.plan_sha256, draft.owner)
    assert submissions.stop_job(draft, draft.owner)
    job = drive_job(draft)
    assert (job.outcome_count(Outcome.CANCELED), job.unselected_count) == (16, 24)
    assert job.reserved_pico == 0


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        (RowChoice((Condition("status", IS, "lost"),)), "No row fits your filter"),
        (RowChoice((Condition("status", IS, "lost"),), 3), "No row fits your filter"),
        (RowChoice(OPEN.where, 17), "a sample of 17 rows, but there are only 16 rows"),
    ],
)
def test_a_choice_that_cannot_be_sent_says_why(
    draft: Job, simulator: Simulator, choice: RowChoice, says: str
) -> None:
    estimate = priced(chosen(draft, choice))
    assert says in estimate.trouble
    assert not draft.plan_sha256


def test_a_column_that_the_next_file_lacks_keeps_it_from_being_sent(draft: Job) -> None:
    chosen(draft, RowChoice((Condition("status", IS, "open"),)))
    Job.objects.filter(pk=draft.pk).update(columns=["id", "state", "text"])
    draft.refresh_from_db()
    [problem] = checks.problems(draft)
    assert "no column “status”" in problem
    assert estimates.estimate_job(draft) is None


def test_a_price_that_was_shown_for_other_rows_is_not_confirmed(
    draft: Job, simulator: Simulator
) -> None:
    priced(draft)
    shown = draft.plan_sha256
    priced(chosen(draft, OPEN))
    assert draft.plan_sha256 not in ("", shown)
    assert not submissions.confirm(draft, shown, draft.owner)
    # Back again, the old price holds.
    priced(chosen(draft, RowChoice()))
    assert draft.plan_sha256 == shown


def test_rows_are_surveyed_slice_by_slice_the_same(
    draft: Job, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen(draft, RowChoice(OPEN.where, 9, "id", 4))
    before = row_survey.survey_rows(draft, recipe_of(draft))
    monkeypatch.setattr(row_cells, "SLICE", 3)
    assert row_survey.survey_rows(draft, recipe_of(draft)) == before
    assert before.unselected == 31
