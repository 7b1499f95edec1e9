"""What people do to jobs with many rows: a click does the same little work whether there are ten
rows or thousands, and the worker changes them in short transactions, so that nobody else waits."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from jobs.actions import job_basics, retries, reviews, submissions
from jobs.batches import attempts, leases
from jobs.drafts import reading
from jobs.ingest.corrected_rows import Findings
from jobs.models import (
    Attempt,
    CorrectedUpload,
    Edit,
    Job,
    Outcome,
    Round,
    Row,
    RowChange,
    files,
    pico,
)
from jobs.results import review_sample
from jobs.retries import corrected_files, edits, measurements, preparation, rounds, selection
from jobs.retries.selection import EDITED
from jobs.rules.judging import IGNORED, MARKED_DOWN
from jobs.rules.retry_choices import RetryChoice
from jobs.worker import advance, due_times, row_changes, sweep, tally

from ..conftest import Simulator, lease_of, send_again
from ..many import at_once, finished, touched

pytestmark = pytest.mark.django_db(transaction=True)

MANY, AT_ONCE = 900, 100  # a tenth of what is many elsewhere, see below
ROWS = 4 * AT_ONCE  # that one transaction may change: a slice, with its attempts and edits
# Hundreds of steps of SQLite in one transaction: a click looks through no rows (to count these
# takes 27), a slice not through all of them.
CLICK_STEPS, STEPS = 15, 375
CLICK = 60  # statements of a click


@pytest.fixture(autouse=True)
def few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_changes, "COUNTED_AT_ONCE", MANY - 100)
    monkeypatch.setattr(row_changes, "AT_ONCE", AT_ONCE)
    monkeypatch.setattr(selection, "MEASURED_AT_ONCE", 2 * AT_ONCE)
    for module in (row_changes, corrected_files, measurements):
        monkeypatch.setattr(module, "SLICE", AT_ONCE)
    monkeypatch.setattr(preparation, "SLICE", AT_ONCE // 2)


@pytest.fixture
def failed(alice: User) -> Job:
    """A finished job of many rows that all failed for a reason that passes."""
    return finished(alice, MANY, Outcome.ERRORED, "overloaded_error")


def plan_of(job: Job, which: str) -> rounds.RetryPlan:
    planned = rounds.find_plan(job, RetryChoice(which))
    assert planned is not None
    return planned


def work(job: Job, until: Callable[[], bool]) -> None:
    for _ in range(200):
        if until():
            return
        assert preparation.prepare_next(job) or row_changes.change_next_slice(job)
    raise AssertionError("it came to no end")


# --- Sending again --------------------------------------------------------------------------------


def test_sending_many_rows_again_is_one_short_click_and_slices(
    failed: Job, alice: User, client_alice: Client
) -> None:
    key = plan_of(failed, "overloaded_error").key
    with touched(every=100) as click:
        address = reverse("retry", args=[failed.pk])
        client_alice.post(address, {"which": "overloaded_error", "key": key})
    assert click.statements < CLICK and click.rows == 0 and click.steps < CLICK_STEPS
    failed.refresh_from_db()
    assert failed.state == Job.State.SUBMITTING and not Attempt.objects.exists()
    reserved = failed.reserved_pico
    assert reserved == pico(plan_cost(failed))
    with touched(every=100) as slices:
        work(failed, lambda: failed.rounds.get().taken >= 400)
    assert 0 < slices.rows <= ROWS and slices.steps < STEPS
    tally.count_up(failed)
    failed.refresh_from_db()
    assert failed.reserved_pico == reserved, "all of it, while it is prepared"
    page = client_alice.get(reverse("job", args=[failed.pk])).content.decode()
    assert "Preparing the retry: 400 of 900 rows" in page


def plan_cost(job: Job) -> Decimal:
    return Decimal(job.rounds.get().estimate.most)


def test_a_round_is_prepared_whole_and_each_row_is_taken_once(alice: User) -> None:
    job = finished(alice, 600, Outcome.ERRORED, "overloaded_error", skip_duplicates=True)
    job.rows.filter(number__gt=500).update(same_as=1)  # copies of the first
    job.rows.filter(number__gt=550).update(outcome=Outcome.GOOD, cause="")
    batch = job.batches.create(
        number=1, size=500, nonce="n" * 12, state="collected", provider_id="b", body_bytes=1
    )
    job.rows.filter(number__lte=500).update(batch=batch)
    tally.count_up(job)
    assert send_again(job, alice, "overloaded_error") == 500
    old, other = job.rounds.get(), job.rounds.get()
    work(job, lambda: not attempts.is_preparing(job))
    assert (old.done_to, other.step) == (0, Round.Step.TAKING)
    waiting = job.rows.filter(outcome=Outcome.WAITING, round=2, batch=None)
    assert waiting.filter(same_as=None).count() == 500
    assert waiting.filter(same_as=1).count() == 50, "copies wait with what they are like"
    assert job.rows.filter(outcome=Outcome.GOOD, same_as=1).count() == 50
    assert Attempt.objects.filter(job=job).count() == 500
    assert set(job.rows.filter(same_as=None).values_list("attempts", flat=True)) == {1}
    one = job.rounds.get()
    assert (one.step, one.rows, one.taken) == (Round.Step.READY, 500, 500)
    assert not preparation.prepare_next(job)


def test_nothing_is_sent_before_a_round_is_prepared(failed: Job, alice: User) -> None:
    assert send_again(failed, alice, "overloaded_error")
    failed.refresh_from_db()
    lease = leases.claim(failed.pk)
    assert lease is not None
    for _ in range(5):
        advance._step(Job.objects.get(pk=failed.pk), lease, "")
    assert not failed.batches.exists()
    assert 0 < failed.rounds.get().taken < MANY


def test_rows_that_a_stopped_round_had_not_taken_stay_as_they_were(
    alice: User, simulator: Simulator, drive: Callable[..., Job]
) -> None:
    job = finished(alice, 500, Outcome.ERRORED, "overloaded_error")
    assert send_again(job, alice, "overloaded_error") == 500
    assert preparation.prepare_next(job)
    job.refresh_from_db()
    assert submissions.stop_job(job, alice)
    job = drive(job)
    counts, taken = job.tally.outcomes, preparation.SLICE
    assert counts == {"canceled": taken, "errored": 500 - taken} and not job.reserved_pico
    assert (job.rounds.get().rows, job.rounds.get().step) == (taken, Round.Step.READY)
    assert send_again(job, alice, "canceled") == taken
    job = Job.objects.get(pk=job.pk)
    assert submissions.stop_job(job, alice)
    assert drive(job).rounds.count() == 1, "one that took no row leaves nothing"
    assert simulator.truth()["posts"] == 0


def test_while_a_round_is_prepared_nothing_else_changes_its_rows(alice: User) -> None:
    job = finished(alice, 300, Outcome.ERRORED, "overloaded_error")
    job.rows.filter(number=300).update(outcome=Outcome.GOOD, cause="", answer="yes")
    tally.count_up(job)
    job.refresh_from_db()
    assert reviews.draw_sample(job, 1, alice) == 1
    assert send_again(job, alice, "overloaded_error") == 299
    key = review_sample.answer_key(job.rows.get(number=300))
    assert not reviews.mark_answer(job, 300, key, False, "", alice)
    assert not retries.ignore_rows(job, "overloaded_error", 299, alice)
    assert not edits.edit_row(job.rows.get(number=290), ["a", "b"])
    work(job, lambda: not attempts.is_preparing(job))
    assert job.rows.filter(outcome=Outcome.WAITING).count() == 299


def test_copies_of_a_changed_row_part_with_it_however_far_away_they_are(alice: User) -> None:
    """Across slices, and when the worker dies after each of them."""
    job = finished(alice, 900, Outcome.ERRORED, "overloaded_error", skip_duplicates=True)
    job.rows.filter(number__in=[300, 500, 700, 899]).update(same_as=1)
    job.rows.filter(number=500).update(outcome=Outcome.GOOD)
    assert edits.edit_row(job.rows.get(number=1), ["changed", "row"])
    assert send_again(job, alice, EDITED) == 1
    work(job, lambda: not attempts.is_preparing(job))
    found = dict(job.rows.exclude(same_as=None).values_list("number", "same_as"))
    assert found == {500: 1, 700: 300, 899: 300}
    assert not Edit.objects.exists() and job.rows.get(number=1).content == ["changed", "row"]


def test_many_edits_are_measured_by_the_worker_and_priced_by_that(alice: User) -> None:
    job = finished(alice, 500, Outcome.ERRORED, "overloaded_error")
    Edit.objects.bulk_create(
        Edit(job=job, number=number, source='["a", "bb"]') for number in range(1, 501)
    )
    assert rounds.find_plan(job, RetryChoice(EDITED)) is None
    with pytest.raises(measurements.CannotRetry, match="still being checked"):
        rounds.make_plan(job, RetryChoice(EDITED))
    measurements.measure_edits(job)
    job.refresh_from_db()
    with touched(every=100) as click:
        planned = plan_of(job, EDITED)
        assert retries.confirm_retry(job, RetryChoice(EDITED), planned.key, alice)
    assert (planned.rows, planned.bytes) == (500, 1_500) and click.rows == 0


# --- Leaving out, changing, taking back -----------------------------------------------------------


def test_leaving_many_rows_out_is_one_short_click_and_slices(
    failed: Job, alice: User, client_alice: Client
) -> None:
    address = reverse("ignore_rows", args=[failed.pk, "overloaded_error"])
    with touched(every=100) as click:
        answer = client_alice.post(address, {"rows": MANY}, follow=True)
    assert click.rows == 0 and click.steps < CLICK_STEPS
    assert "Leaving rows out: 0 of 900 rows so far." in answer.content.decode()
    with touched(every=100) as slices:
        assert row_changes.change_next_slice(failed) and row_changes.change_next_slice(failed)
    assert 0 < slices.rows <= ROWS and slices.steps < STEPS
    # Meanwhile, whatever else would change rows is refused.
    failed.refresh_from_db()
    assert not retries.ignore_rows(failed, "overloaded_error", MANY - 200, alice)
    assert send_again(failed, alice, "overloaded_error") == 0
    assert not edits.edit_row(failed.rows.get(number=900), ["a", "b"])
    with pytest.raises(measurements.CannotRetry, match="being changed"):
        rounds.make_plan(failed, RetryChoice("overloaded_error"))
    work(failed, lambda: not RowChange.objects.exists())
    failed.refresh_from_db()
    assert failed.ignored_count == MANY
    assert failed.rows.filter(outcome=Outcome.LEFT_OUT, cause=IGNORED).count() == MANY
    assert failed.events.filter(text__startswith="Ignored 900 rows").count() == 1


def test_few_rows_are_left_out_by_the_click_itself(alice: User, client_alice: Client) -> None:
    job = finished(alice, 30, Outcome.ERRORED, "overloaded_error")
    assert edits.edit_row(job.rows.get(number=3), ["a", "b"])
    assert retries.ignore_rows(job, "overloaded_error", 30, alice)
    job.refresh_from_db()
    assert job.ignored_count == 30 and not RowChange.objects.exists()
    assert not Edit.objects.exists()


def test_changing_many_rows_and_taking_it_back_are_short_clicks_and_slices(
    failed: Job, alice: User, client_alice: Client
) -> None:
    given = {"code": "shorten", "name": "text", "number": "2"}
    address = reverse("change_rows", args=[failed.pk, "overloaded_error"])
    with touched(every=100) as click:
        page = client_alice.post(address, given, follow=True).content.decode()
    assert click.rows == 0 and click.steps < CLICK_STEPS
    assert "Changing rows: 0 of 900 rows so far." in page
    with touched(every=100) as slices:
        work(failed, lambda: not RowChange.objects.exists())
    assert slices.rows <= ROWS and slices.steps < STEPS
    assert Edit.objects.count() == MANY
    with touched(every=100) as click:
        page = client_alice.post(reverse("edits", args=[failed.pk]), follow=True).content.decode()
    assert click.rows == 0 and "Undoing changes: 0 of" in page
    with touched(every=100) as slices:
        work(failed, lambda: not RowChange.objects.exists())
    assert slices.rows <= ROWS
    assert not Edit.objects.exists()


def test_many_corrected_rows_are_kept_in_slices_and_a_worker_that_died_begins_anew(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = finished(alice, 500, Outcome.ERRORED, "overloaded_error")
    upload = CorrectedUpload.objects.create(job=job, name="x.csv", file="x")
    files.stored_path("x").write_bytes(b"")
    changed = dict.fromkeys(range(1, 501), '["a", "new"]')
    monkeypatch.setattr(reading, "read_corrected", lambda *_: None)
    monkeypatch.setattr(
        corrected_files,
        "match_rows",
        lambda *_: (Findings(changed=500), dict(changed)),
    )
    lease = lease_of(job)
    put = edits.store_sources

    def dies(job: Job, sources: dict[int, str]) -> None:
        if Edit.objects.exists():
            raise KeyboardInterrupt
        put(job, sources)

    monkeypatch.setattr(edits, "store_sources", dies)
    with pytest.raises(KeyboardInterrupt):
        corrected_files.read_next(job, lease)
    assert Edit.objects.count() == corrected_files.SLICE
    assert rounds.find_plan(job, RetryChoice(EDITED)) is None, "not half of them"
    monkeypatch.setattr(edits, "store_sources", put)
    with touched(every=100) as slices:
        assert corrected_files.read_next(job, lease)
    assert Edit.objects.count() == 500 and slices.rows <= ROWS
    upload.refresh_from_db()
    assert upload.found and not RowChange.objects.exists()


def test_few_rows_of_a_large_job_are_left_out_by_the_worker_that_counts_it(
    failed: Job, alice: User
) -> None:
    """Counting a large job takes too long for a click, however few of its rows are left out."""
    failed.rows.filter(number__lte=3).update(cause="too_long")
    tally.count_up(failed)
    with touched(every=100) as click:
        assert retries.ignore_rows(failed, "too_long", 3, alice)
    assert click.rows == 0 and click.steps < CLICK_STEPS
    assert RowChange.objects.exists(), "nothing was counted by the click"
    assert row_changes.change_next_slice(failed) and not RowChange.objects.exists(), (
        "one slice does it"
    )
    failed.refresh_from_db()
    assert failed.ignored_count == 3 and failed.tally_version == failed.rows_version


# --- Marking an answer that many rows have a copy of ----------------------------------------------


def answered_once(alice: User, count: int) -> tuple[Job, str]:
    """A finished job whose rows are all the same, and the key of their answer; it is in the
    sample."""
    job = finished(alice, count, Outcome.GOOD, "", skip_duplicates=True)
    job.rows.update(answer="yes")
    job.rows.filter(number__gt=1).update(same_as=1, output_tokens=0)
    tally.count_up(job)
    assert reviews.draw_sample(job, 1, alice) == 1
    return job, review_sample.answer_key(job.rows.get(number=1))


def test_an_answer_that_many_rows_have_is_marked_by_one_short_click_and_slices(
    alice: User,
) -> None:
    job, key = answered_once(alice, MANY)
    job.rows.filter(number=MANY // 2).update(answer="another", same_as=None)
    with touched(every=100) as click:
        assert reviews.mark_answer(job, 1, key, False, "No.", alice)
    assert click.rows == 1 and click.statements < CLICK and click.steps < CLICK_STEPS
    # Nothing else changes these rows, or sends them, before all of them are marked.
    assert not reviews.mark_answer(job, 1, key, True, "", alice)
    with pytest.raises(measurements.CannotRetry, match="being changed"):
        rounds.make_plan(Job.objects.get(pk=job.pk), RetryChoice(MARKED_DOWN))
    with touched(every=100) as slices:
        work(job, lambda: not RowChange.objects.exists())
    assert 0 < slices.rows <= ROWS and slices.steps < STEPS
    marked = job.rows.filter(outcome=Outcome.LOOK, cause=MARKED_DOWN, message="No.")
    assert marked.count() == MANY - 1
    assert job.rows.get(number=MANY // 2).outcome == Outcome.GOOD
    job.refresh_from_db()
    assert job.outcome_count(Outcome.LOOK) == MANY - 1
    with touched(every=100) as click:
        assert reviews.mark_answer(job, 1, key, None, "", alice)
    assert click.rows == 1 and click.steps < CLICK_STEPS
    work(job, lambda: not RowChange.objects.exists())
    assert job.rows.filter(outcome=Outcome.GOOD, cause="", message="").count() == MANY


def test_marking_goes_on_while_other_rows_are_still_at_the_provider(
    alice: User, simulator: Simulator
) -> None:
    job, key = answered_once(alice, 300)
    Job.objects.filter(pk=job.pk).update(state=Job.State.WORKING, finished_at=None)
    assert reviews.mark_answer(job, 1, key, False, "No.", alice)
    lease = leases.claim(job.pk)
    assert lease is not None
    while RowChange.objects.exists():
        assert advance._step(Job.objects.get(pk=job.pk), lease, "") == due_times.NOW
    assert job.rows.filter(outcome=Outcome.LOOK).count() == 300


# --- Two people at once ---------------------------------------------------------------------------


@pytest.mark.parametrize("count", [50, 300])
def test_leaving_out_and_sending_again_at_once_is_one_of_the_two(alice: User, count: int) -> None:
    job = finished(alice, count, Outcome.ERRORED, "overloaded_error")
    again = RetryChoice("overloaded_error")
    key = plan_of(job, "overloaded_error").key
    left, sent = at_once(
        lambda: retries.ignore_rows(job, "overloaded_error", count, alice),
        lambda: retries.confirm_retry(job, again, key, alice),
    )
    assert [left, sent].count(True) == 1
    if sent:
        work(job, lambda: not attempts.is_preparing(job))
        assert job.rows.filter(outcome=Outcome.WAITING).count() == count
    else:
        work(job, lambda: not RowChange.objects.exists())
        assert job.rows.filter(outcome=Outcome.LEFT_OUT).count() == count


def test_deleting_and_leaving_out_at_once_leaves_nothing_half_done(alice: User) -> None:
    job = finished(alice, 300, Outcome.ERRORED, "overloaded_error")
    deleted, left = at_once(
        lambda: job_basics.delete_job(job, alice),
        lambda: retries.ignore_rows(job, "overloaded_error", 300, alice),
    )
    assert deleted and left in (True, False)
    assert not row_changes.change_next_slice(job), "what is being deleted is not changed"
    sweep.sweep()
    assert not Row.objects.exists() and not RowChange.objects.exists()


def test_two_workers_prepare_a_round_once(alice: User) -> None:
    job = finished(alice, 900, Outcome.ERRORED, "overloaded_error")
    assert send_again(job, alice, "overloaded_error") == 900

    def prepare() -> None:
        while preparation.prepare_next(job):
            pass

    at_once(prepare, prepare)
    assert job.rounds.get().taken == 900
    assert job.rows.filter(outcome=Outcome.WAITING, round=2).count() == 900
