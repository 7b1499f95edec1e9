"""The ledger: what is reserved stays reserved whoever counts at the same moment, nothing that may
be charged is forgotten, and caps, receipts, the spending page and deletion say the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.db import connection
from django.test import Client
from django.urls import reverse

from jobs.actions import (
    approvals,
    drafts,
    job_basics,
    retries,
    reviews,
    submissions,
    unknown_batches,
    uploads,
)
from jobs.batches import collection, late, reconciliation
from jobs.drafts import estimates
from jobs.ingest.shapes import Choices
from jobs.models import (
    AWAITS_APPROVAL,
    Batch,
    Job,
    LateBatch,
    PastSpending,
    SpendingCaps,
    Trial,
    clock,
    dollars,
    pico,
    recipe_of,
)
from jobs.provider.replies import BatchInfo
from jobs.retries import preparation, rounds, selection
from jobs.rules.recipes import Recipe
from jobs.rules.retry_choices import RetryChoice
from jobs.spending import caps, ledger, months, receipts
from jobs.worker import sent_jobs, sweep, tally

from ..conftest import CUT, ERRORED, Simulator, drive_job, send_again, store_job
from ..drafts.test_draft_settings import priced
from ..retries.test_rounds_hard import mark_down
from ..web.test_views_draft import with_price

MakeJob = Callable[..., Job]
Drive = Callable[..., Job]
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


class Killed(BaseException):
    """What nobody catches, as nobody catches SIGKILL."""


def allow(**values: object) -> None:
    SpendingCaps.objects.update(**values)


def run_trial(job: Job, rows: int = 1) -> bool:
    job.refresh_from_db()
    return drafts.start_trials(job, list(job.rows.in_order()[:rows]), job.owner)


def delete_all_of(job: Job) -> None:
    assert job_basics.delete_job(job, job.owner)
    while Job.objects.filter(pk=job.pk).exists():
        Job.objects.filter(pk=job.pk).update(next_action_at=clock.now())
        sweep.sweep()


# --- Counting -------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["leave_out", "any count"])
def test_what_a_round_reserves_survives_a_count_that_began_before_it(
    mixed: Job, alice: User, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Rows are counted without a lock, so a round can start in the middle. The count must not
    write what it found before."""
    count = tally._numbers_of
    started: list[int] = []

    def slow(job: Job) -> Any:
        found = count(job)
        if not started:
            started.append(send_again(mixed, alice, "cut_off", max_tokens=1000))
            assert preparation.prepare_next(mixed)
        return found

    monkeypatch.setattr(tally, "_numbers_of", slow)
    if what == "leave_out":
        assert retries.ignore_rows(mixed, "refused", 1, alice)
    else:
        tally.count_up(mixed)
    assert started == [2]
    mixed.refresh_from_db()
    reserved = Decimal(mixed.rounds.get().estimate.most)
    assert dollars(mixed.reserved_pico) == reserved > 0
    assert mixed.outcome_count("waiting") == 2, "and it counted once more"


def test_a_count_writes_nothing_while_rows_are_changed_all_the_time(
    mixed: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = tally._numbers_of

    def changing(job: Job) -> Any:
        found = count(job)
        tally.note_change(job.pk)
        return found

    monkeypatch.setattr(tally, "_numbers_of", changing)
    Job.objects.filter(pk=mixed.pk).update(spent_pico=7)
    assert not tally.count_up(mixed)
    mixed.refresh_from_db()
    assert mixed.spent_pico == 7


def test_what_a_crash_left_uncounted_is_counted_by_the_next_sweep(
    mixed: Job, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(_job: Job) -> bool:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(tally, "count_up", dies)
        with pytest.raises(Killed):
            retries.ignore_rows(mixed, "refused", 1, alice)
    assert [job.pk for job in Job.objects.stale()] == [mixed.pk]
    sweep.sweep()
    mixed.refresh_from_db()
    assert mixed.ignored_count == 1 and not Job.objects.stale().exists()


def test_looking_for_uncounted_jobs_reads_no_others(make_job: MakeJob, alice: User) -> None:
    make_job(alice)
    query = Job.objects.stale().filter(lease_until=None).values_list("pk")
    if connection.vendor == "sqlite":
        assert "job_stale" in query.explain()


def test_a_mark_keeps_a_true_tally_true_and_a_stale_one_stale(mixed: Job, alice: User) -> None:
    reviews.draw_sample(mixed, 10, alice)
    mark_down(mixed, 1, alice)
    assert not Job.objects.stale().exists()
    tally.note_change(mixed.pk)
    mark_down(mixed, 3, alice)
    assert Job.objects.stale().get() == mixed


# --- Nothing is forgotten -------------------------------------------------------------------------


def test_trying_and_deleting_does_not_lead_around_the_caps(make_job: MakeJob, alice: User) -> None:
    """A test whose answer was lost may have been charged, whether its draft is there or not."""
    most = 0
    for _ in range(2):
        job = make_job(alice, Job.State.DRAFT, max_tokens=32_000)
        assert run_trial(job)
        most = job.trials.get().most_pico
        job.trials.update(state=Trial.State.UNKNOWN)
        before = ledger.committed_since(EPOCH)
        delete_all_of(job)
        assert ledger.committed_since(EPOCH) == ledger.committed_since(EPOCH, alice) == before > 0
    allow(most_a_person=Decimal("0.04"))
    job = make_job(alice, Job.State.DRAFT, max_tokens=32_000)
    with pytest.raises(caps.NotAllowed, match="Your limit is"):
        run_trial(job)
    assert ledger.committed_since(EPOCH) == dollars(2 * most)


def test_the_answer_to_a_test_whose_draft_is_being_deleted_counts(
    make_job: MakeJob, alice: User
) -> None:
    job = make_job(alice, Job.State.DRAFT)
    assert run_trial(job, 2)
    first, second = job.trials.order_by("number")
    Trial.objects.move(first.pk, Trial.State.WAITING, Trial.State.SENDING)
    assert job_basics.delete_job(job, alice)
    assert not Trial.objects.filter(pk=second.pk).exists(), "it is not asked for any more"
    assert ledger.committed_since(EPOCH) == dollars(first.most_pico)
    cost = {"state": Trial.State.ANSWERED, "cost_pico": 3 * 10**12}
    Trial.objects.filter(pk=first.pk).update(**cost)
    while Job.objects.filter(pk=job.pk).exists():
        sweep.sweep()
    assert ledger.committed_since(EPOCH) == ledger.spent_since(EPOCH) == 3


# --- Every way to spend passes every gate ---------------------------------------------------------


def test_tests_count_towards_the_limits_of_their_job(make_job: MakeJob, alice: User) -> None:
    job = make_job(alice, Job.State.DRAFT, max_tokens=32_000)  # 1.6 cents a row
    allow(most_a_job=Decimal("0.02"))
    with pytest.raises(caps.NotAllowed, match="the limit per job is"):
        run_trial(job, 2)
    assert run_trial(job)
    job.trials.update(state=Trial.State.ANSWERED, cost_pico=10**10)
    with pytest.raises(caps.NotAllowed, match="the limit per job is"):
        run_trial(job)
    with_price(job, most="0.011")
    with pytest.raises(caps.NotAllowed, match="the limit per job is"):
        submissions.confirm(job, job.plan_sha256, alice)
    allow(most_a_job=None, approval_above=Decimal("0.02"))
    with pytest.raises(caps.NotAllowed, match="second person"):
        run_trial(job)
    with pytest.raises(caps.NotAllowed, match="second person"):
        submissions.confirm(job, job.plan_sha256, alice)
    allow(approval_above=Decimal("0.03"))
    assert submissions.confirm(job, job.plan_sha256, alice)


@pytest.fixture
def doubtful(make_job: MakeJob, alice: User) -> Batch:
    """A batch of which a person has to say whether it is sent again; it costs up to $3.10."""
    job = with_price(make_job(alice, Job.State.DRAFT))
    assert submissions.confirm(job, job.plan_sha256, alice)
    now = clock.now()
    batch = Batch.objects.create(
        job=job,
        number=1,
        size=2,
        nonce="abc",
        state=Batch.State.UNKNOWN,
        practice=True,
        body_bytes=1,
        attempts=1,
        deadline_at=now,
        asked_at=now,
    )
    job.rows.update(batch=batch)
    return batch


def test_what_is_sent_again_in_doubt_may_be_charged_twice_and_counts_twice(
    doubtful: Batch, alice: User, root: User
) -> None:
    most = Decimal("3.10")
    for amounts in ({"most_a_job": 6}, {"most_a_person": 6}, {"most_a_month": 6}):
        allow(most_a_job=None, most_a_person=None, most_a_month=None)
        allow(**amounts)
        with pytest.raises(caps.NotAllowed):
            unknown_batches.send_again(doubtful, alice)
    allow(most_a_job=Decimal("6.20"), most_a_month=None, approval_above=Decimal("3.20"))
    with pytest.raises(caps.NotAllowed, match="An administrator who does not own this job"):
        unknown_batches.send_again(doubtful, alice)
    assert unknown_batches.send_again(doubtful, root)
    assert ledger.committed_since(EPOCH) == ledger.committed_to_job(doubtful.job) == 2 * most
    assert ledger.possible_charges(doubtful.job) == most
    # It did not turn up for two days.
    Batch.objects.update(late_until=clock.now())
    assert ledger.committed_since(EPOCH) == most


def test_a_late_batch_costs_what_it_costs_and_is_in_doubt_no_more(doubtful: Batch) -> None:
    assert reconciliation.plan_again(doubtful)
    job = doubtful.job
    late_one = LateBatch.objects.create(
        batch=doubtful, provider_id="x", size=2, created_at=clock.now(), found_at=clock.now()
    )
    Batch.objects.update(late_until=clock.now())
    assert ledger.possible_charges(job) == Decimal("3.10"), "until it has ended"
    end_late(late_one, 5 * 10**11)
    assert ledger.possible_charges(job) == 0
    assert ledger.spent_since(EPOCH) == Decimal("0.5")
    tally.count_up(job)
    assert ledger.spent_since(EPOCH) == Decimal("0.5")
    assert sum(one.amount for one in ledger.charges(EPOCH)) == Decimal("0.5")


def end_late(late_one: LateBatch, cost: int) -> None:
    """As when the watch finds that it has ended, and that one of its rows was answered."""
    counts = {"succeeded": 1}
    info = BatchInfo("x", "ended", 2, counts, clock.now(), clock.now(), clock.now())
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(collection, "charged", lambda *_, **_by: (1, cost))
        late._note_end(late_one, info)


def test_a_retry_of_an_older_job_counts_for_its_own_month_everywhere(
    mixed: Job, alice: User, drive: Drive
) -> None:
    first = ledger.spent_since(EPOCH)
    long_ago = clock.now() - timedelta(days=62)
    Job.objects.filter(pk=mixed.pk).update(confirmed_at=long_ago)
    assert send_again(mixed, alice, "cut_off", max_tokens=1000) == 2
    job = drive(mixed)
    by_month = {month.begins: month.charged for month in months.list_months(clock.now())}
    now, then = ledger.month_of(clock.now()), ledger.month_of(long_ago)
    assert by_month[then] == first > 0
    assert by_month[now] == ledger.committed_since(now) == ledger.spent_since(EPOCH) - first > 0
    assert {one.what for one in ledger.charges(now)} == {"retry"}
    delete_all_of(job)
    assert {month.begins: month.charged for month in months.list_months(clock.now())} == by_month


# --- Sums that are too large ----------------------------------------------------------------------


def test_what_is_too_dear_to_be_stored_is_refused_in_words(
    make_job: MakeJob, alice: User, simulator: Simulator
) -> None:
    job = with_price(make_job(alice, Job.State.DRAFT), most="9223373")
    with pytest.raises(caps.NotAllowed, match=r"No job can cost more than \$9,000,000"):
        submissions.confirm(job, job.plan_sha256, alice)


def test_the_price_says_that_it_is_too_dear(
    make_job: MakeJob, alice: User, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimates, "MOST", Decimal("0.00001"))
    job = make_job(alice, Job.State.DRAFT)
    assert "No job can cost more than" in priced(job).trouble
    assert not job.plan_sha256


def test_many_large_jobs_add_up(make_job: MakeJob, alice: User) -> None:
    """Three of them are more than the database adds up in one column."""
    for _ in range(3):
        job = with_price(make_job(alice, Job.State.DRAFT), most="5000000")
        assert submissions.confirm(job, job.plan_sha256, alice)
    assert ledger.committed_since(EPOCH) == 15_000_000
    Job.objects.update(spent_pico=pico(Decimal(5_000_000)) + 1, reserved_pico=0)
    assert ledger.spent_since(EPOCH) == Decimal("15000000.000000000003")


# --- Four eyes are two pairs ----------------------------------------------------------------------


@pytest.fixture
def other(db: None) -> User:
    return User.objects.create_superuser("other", password="correct horse")


CHANGES: dict[str, Callable[[Job, User], object]] = {
    "the prompt": lambda job, user: drafts.save_recipe(
        job, Recipe("Other {{name}}", "", job.recipe.model, 0), user
    ),
    "the file": lambda job, user: uploads.replace_upload(
        job, ContentFile(b"name,text\nx,y\n", "b.csv"), user
    ),
    "corrected rows": lambda job, user: uploads.correct_rows(
        job, ContentFile(b"row,name\n1,z\n", "c.csv"), user
    ),
    "how it is read": lambda job, user: uploads.change_choices(job, Choices(fill=True), user),
    "a test's prompt": lambda job, user: drafts.use_tested_recipe(job, 1, user),
    "an example": lambda job, user: drafts.use_as_example(job, job.trials.get(), user),
}


@pytest.mark.parametrize("what", CHANGES)
def test_whoever_changed_a_draft_last_does_not_approve_it(
    make_job: MakeJob, alice: User, root: User, other: User, what: str
) -> None:
    job = make_job(alice, Job.State.DRAFT)
    assert run_trial(job)
    recipe = replace(recipe_of(job), prompt="Earlier {{name}}")
    good = {"state": Trial.State.ANSWERED, "outcome": "good", "answer": "Yes", "recipe": recipe}
    job.trials.update(**good)
    CHANGES[what](job, root)
    job.refresh_from_db()
    assert job.changed_by == root
    Job.objects.filter(pk=job.pk).update(state=Job.State.DRAFT, row_count=2)
    job.refresh_from_db()
    with_price(job)
    allow(approval_above=Decimal(3))
    assert approvals.request_approval(job, job.plan_sha256, alice)
    assert Job.objects.awaiting_approval(other).exists()
    assert not Job.objects.awaiting_approval(root).exists()
    with pytest.raises(caps.NotAllowed, match="made the last change"):
        approvals.approve(job, job.plan_sha256, root)
    assert approvals.approve(job, job.plan_sha256, other)
    assert submissions.confirm(job, job.plan_sha256, alice)


def test_whoever_asked_does_not_approve(
    make_job: MakeJob, alice: User, root: User, other: User
) -> None:
    job = with_price(make_job(alice, Job.State.DRAFT))
    allow(approval_above=Decimal(3))
    assert approvals.request_approval(job, job.plan_sha256, root)
    with pytest.raises(caps.NotAllowed, match="asked for the approval"):
        approvals.approve(job, job.plan_sha256, root)
    assert approvals.approve(job, job.plan_sha256, other)


@pytest.mark.parametrize("change", [{"is_superuser": False}, {"is_active": False}])
def test_an_approval_holds_as_long_as_its_giver_may_give_it(
    make_job: MakeJob, alice: User, root: User, change: dict[str, bool]
) -> None:
    job = with_price(make_job(alice, Job.State.DRAFT))
    allow(approval_above=Decimal(3))
    assert approvals.request_approval(job, job.plan_sha256, alice)
    assert approvals.approve(job, job.plan_sha256, root)
    User.objects.filter(pk=root.pk).update(**change)
    with pytest.raises(caps.NotAllowed, match="A second person"):
        submissions.confirm(job, job.plan_sha256, alice)


def test_an_approver_who_then_changes_the_draft_has_not_approved_it(
    make_job: MakeJob, alice: User, root: User
) -> None:
    """Not even when the change is taken back, so that the plan is the same again."""
    job = with_price(make_job(alice, Job.State.DRAFT))
    allow(approval_above=Decimal(3))
    assert approvals.request_approval(job, job.plan_sha256, alice)
    assert approvals.approve(job, job.plan_sha256, root)
    before = recipe_of(job)
    for recipe in (Recipe("Other {{name}}", "", job.recipe.model, 0), before):
        job.refresh_from_db()
        assert drafts.save_recipe(job, recipe, root)
    job.refresh_from_db()
    with_price(job)
    with pytest.raises(caps.NotAllowed, match="Nobody can approve it now"):
        submissions.confirm(job, job.plan_sha256, alice)


def test_that_nobody_can_approve_is_said_when_the_limit_is_saved(
    client_root: Client, other: User
) -> None:
    alone = "Nobody but you can approve jobs here"
    User.objects.filter(pk=other.pk).update(is_active=False)
    form = {"approval_above": "3"}
    answer = client_root.post(reverse("spending_limits"), form, follow=True).content.decode()
    assert "Limits saved." in answer and alone in answer
    User.objects.filter(pk=other.pk).update(is_active=True)
    assert (
        alone
        not in client_root.post(reverse("spending_limits"), form, follow=True).content.decode()
    )


def test_whoever_edited_rows_does_not_approve_that_they_are_sent(
    mixed: Job, alice: User, root: User, other: User, client_root: Client
) -> None:
    allow(approval_above=0)
    address = reverse("edit_row", args=[mixed.pk, 4])
    client_root.post(address, {"cell": ["n4", "written by root"]})
    mixed.refresh_from_db()
    assert mixed.changed_by == root
    again = RetryChoice(selection.EDITED)
    planned = rounds.find_plan(mixed, again)
    assert planned is not None
    assert approvals.request_approval(mixed, planned.key, alice, again)
    assert Job.objects.filter(AWAITS_APPROVAL).get().awaits_approval
    with pytest.raises(caps.NotAllowed, match="made the last change"):
        approvals.approve(mixed, planned.key, root)
    assert approvals.approve(mixed, planned.key, other)
    assert retries.confirm_retry(mixed, again, planned.key, alice)


def test_whoever_left_rows_out_does_not_approve_that_the_others_are_sent(
    mixed: Job, alice: User, root: User, other: User, client_root: Client
) -> None:
    allow(approval_above=0)
    assert retries.ignore_rows(mixed, "refused", 1, root)
    mixed.refresh_from_db()
    assert mixed.changed_by == root
    again = RetryChoice("cut_off", max_tokens=1000)
    planned = rounds.find_plan(mixed, again)
    assert planned is not None
    assert approvals.request_approval(mixed, planned.key, alice, again)
    with pytest.raises(caps.NotAllowed, match="made the last change"):
        approvals.approve(mixed, planned.key, root)
    assert approvals.approve(mixed, planned.key, other)
    # A plan of before an upgrade, or of other prices, is another one.
    address, outdated = reverse("retry", args=[mixed.pk]), "since approval was last asked for"
    assert outdated not in client_root.get(address).content.decode()
    Job.objects.filter(pk=mixed.pk).update(approval_plan="older")
    assert outdated in client_root.get(address).content.decode()


# --- All of it agrees -----------------------------------------------------------------------------

# What happens, one after the other, each to the newest job that it can happen to.
HISTORIES = {
    "the worker dies": "draft start_trials work confirm kill work mark round kill work late "
    "leave_out month delete",
    "people stop jobs": "draft start_trials lose confirm stop draft start_trials work confirm "
    "work round stop work late lose mark leave_out month delete",
}


class History:
    """What people and the worker do, and what must then be true."""

    def __init__(self, user: User) -> None:
        self.user = user
        self.spent = Decimal(0)

    def jobs(self, *states: str) -> list[Job]:
        return list(Job.objects.filter(state__in=states).order_by("pk"))

    def take(self, what: str) -> None:
        states = {
            "start_trials": [Job.State.DRAFT],
            "confirm": [Job.State.DRAFT],
            "work": [Job.State.DRAFT, Job.State.SUBMITTING, Job.State.WORKING, Job.State.CANCELING],
            "kill": [Job.State.SUBMITTING, Job.State.WORKING],
            "stop": [Job.State.SUBMITTING, Job.State.WORKING],
            "delete": [Job.State.DRAFT, Job.State.FINISHED],
            "lose": [Job.State.DRAFT, Job.State.FINISHED],
        }
        if what == "draft":
            self.make_draft()
        elif found := self.jobs(*states.get(what, [Job.State.FINISHED])):
            getattr(self, what)(found[-1])

    def make_draft(self) -> None:
        rows = [("a", "x"), ("b", f"y {CUT}"), ("c", f"z {ERRORED}"), ("a", "x")]
        recipe: dict[str, Any] = {"prompt": "Say: {{text}}", "model": "claude-haiku-4-5"}
        recipe |= {"max_tokens": 500, "skip_duplicates": True}
        store_job(self.user, Job.State.DRAFT, rows=rows, **recipe)

    def start_trials(self, job: Job) -> None:
        run_trial(job, 2)

    def lose(self, job: Job) -> None:
        answered = job.trials.filter(state=Trial.State.ANSWERED, cost_pico=0)
        answered.update(state=Trial.State.UNKNOWN)
        job.trials.filter(state=Trial.State.WAITING).update(state=Trial.State.UNKNOWN)

    def confirm(self, job: Job) -> None:
        priced(job)
        job.refresh_from_db()
        assert submissions.confirm(job, job.plan_sha256, self.user)

    def work(self, job: Job) -> None:
        if job.state == Job.State.DRAFT:
            drive_job(job, until=lambda job: not job.trials.pending().exists())
        else:
            drive_job(job)

    def kill(self, job: Job) -> None:
        """The worker dies between a change and its count."""

        def dies(_job: Job) -> bool:
            raise Killed

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(tally, "count_up", dies)
            try:
                drive_job(job)
            except Killed:
                Job.objects.update(lease_until=None, lease_owner="", next_action_at=clock.now())

    def stop(self, job: Job) -> None:
        assert submissions.stop_job(job, self.user)

    def round(self, job: Job) -> None:
        send_again(job, self.user, "cut_off", max_tokens=500 + 10 * job.last_round)

    def leave_out(self, job: Job) -> None:
        count = job.rows.failed().filter(cause="cut_off").count()
        retries.ignore_rows(job, "cut_off", count, self.user)

    def mark(self, job: Job) -> None:
        reviews.draw_sample(job, 1, self.user)
        if sample := job.sample.first():
            row = job.rows.get(number=sample.number)
            if row.outcome == "good":
                mark_down(job, row.number, self.user)

    def late(self, job: Job) -> None:
        batch = job.batches.exclude(provider_id=None).last()
        if batch is None:
            return
        now = clock.now()
        doubt = {"given_up": 1, "most_pico": 10**9, "late_until": now + timedelta(hours=1)}
        Batch.objects.filter(pk=batch.pk).update(**doubt)
        late_one = LateBatch.objects.create(
            batch=batch,
            provider_id=f"late-{LateBatch.objects.count()}-{job.pk}",
            size=1,
            created_at=now,
            found_at=now,
        )
        self.check(settled=False)
        end_late(late_one, 777_000)

    def delete(self, job: Job) -> None:
        assert job_basics.delete_job(job, self.user)
        self.check(settled=False)
        while Job.objects.filter(pk=job.pk).exists():
            Job.objects.filter(pk=job.pk).update(next_action_at=clock.now())
            sweep.sweep()

    def month(self, job: Job) -> None:
        """It was confirmed last month."""
        ago = ledger.month_of(clock.now()) - timedelta(days=3)
        Job.objects.filter(pk=job.pk).update(confirmed_at=ago)

    def check(self, *, settled: bool) -> None:
        spent, all_ = ledger.spent_since(EPOCH), ledger.committed_since(EPOCH)
        assert spent == sum((one.amount for one in ledger.charges(EPOCH)), Decimal(0))
        by_month = months.list_months(clock.now())
        assert spent == sum((month.charged for month in by_month), Decimal(0))
        assert all_ - spent == sum((month.reserved for month in by_month), Decimal(0))
        for month in by_month:
            assert sum(month.by_person.values(), Decimal(0)) == month.charged
        since = by_month[0].begins
        assert ledger.committed_since(since) == by_month[0].charged + by_month[0].reserved
        for one in (EPOCH, since):
            found = ledger.committed_by("owner", one)
            assert found[self.user.pk] == sum(found.values()) == ledger.committed_since(one)
            assert not ledger.committed_by("team", one)
        there = Job.objects.all()
        # A draft has no receipt yet.
        sent = there.filter(state__in=[*Job.SENT, Job.State.DELETING]).exclude(confirmed_at=None)
        tested = Trial.objects.exclude(job__in=sent)
        receipts_ = sum((receipts.receipt_of(job).charged for job in sent), Decimal(0))
        receipts_ += sum((one.cost for one in tested), Decimal(0))
        past = sum((dollars(one.spent_pico) for one in PastSpending.objects.all()), Decimal(0))
        # What is in the rows and not counted yet is reserved.
        assert receipts_ + past <= all_
        if settled and not Job.objects.stale().exists():
            assert receipts_ + past == spent
        by_job = sum((ledger.committed_to_job(job) for job in there), Decimal(0))
        forgotten = PastSpending.objects.filter(open_pico__gt=0)
        open_ = sum((dollars(one.open_pico) for one in forgotten), Decimal(0))
        assert by_job + past + open_ == all_
        assert spent >= self.spent, "what was charged once is never forgotten"
        self.spent = spent


@pytest.mark.parametrize("name", HISTORIES)
def test_after_any_history_everyone_says_the_same(
    alice: User, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(sent_jobs, "PAUSE_OF_A_BATCH", timedelta())
    history = History(alice)
    for what in HISTORIES[name].split():
        history.take(what)
        history.check(settled=what not in ("kill", "stop"))
    for job in history.jobs(Job.State.SUBMITTING, Job.State.WORKING, Job.State.CANCELING):
        drive_job(job)
    sweep.sweep()
    assert not Job.objects.stale().exists()
    history.check(settled=True)
    for job in history.jobs(Job.State.DRAFT, Job.State.FINISHED):
        history.take("delete")
        assert not Job.objects.filter(pk=job.pk).exists()
    history.check(settled=True)
