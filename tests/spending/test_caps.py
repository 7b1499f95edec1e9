"""How much may be spent: caps that hold however many press at once, approval by a second person,
and the switch."""

from __future__ import annotations

import csv
import io
import threading
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from jobs.actions import approvals, drafts, job_basics, submissions
from jobs.batches import leases
from jobs.drafts import estimates
from jobs.models import (
    SPENDING_IS_STOPPED,
    Batch,
    Job,
    Outcome,
    Row,
    SpendingCaps,
    Trial,
    clock,
    dollars,
)
from jobs.retries import rounds, selection
from jobs.rules.retry_choices import RetryChoice
from jobs.rules.tallies import Tally
from jobs.spending import caps, ledger, months
from jobs.worker import sweep, tally

from ..cli.test_job_command import refusal, run
from ..conftest import Simulator, change_job, signed_in
from ..database_work import counted
from ..drafts.test_draft_settings import priced
from ..pages import squeezed
from ..running import SECONDS
from ..web.test_views_draft import with_price

MakeJob = Callable[..., Job]
Drive = Callable[..., Job]


def allow(**values: object) -> None:
    """What administrators have set."""
    SpendingCaps.objects.update(**values)


def draft(make_job: MakeJob, owner: User, most: str = "3.10") -> Job:
    """A draft that may cost so much; no other digits, so that sums can be written down."""
    return with_price(make_job(owner, Job.State.DRAFT), most=most)


def confirm(job: Job, user: User | None = None) -> bool:
    return submissions.confirm(job, job.plan_sha256, user or job.owner)


def text(client: Client, path: str) -> str:
    answer = client.get(path, follow=True)
    assert answer.status_code == 200
    return squeezed(answer.content)


# --- Caps -----------------------------------------------------------------------------------------


def test_without_a_cap_one_may_spend_as_much_as_one_likes(make_job: MakeJob, alice: User) -> None:
    assert confirm(draft(make_job, alice, "1000000"))


@pytest.mark.parametrize(
    ("amounts", "words"),
    [
        ({"most_a_job": 3}, "may cost up to $3.10, but the limit per job is $3.00."),
        ({"most_a_person": 3}, "Your limit is $3.00 per month, and $3.00 of it is left."),
        (
            {"most_a_month": 3},
            "The limit for all jobs is $3.00 per month, and $3.00 of it is left.",
        ),
        ({"stopped_at": timezone.now()}, SPENDING_IS_STOPPED),
    ],
)
def test_what_is_in_the_way_is_said_before_and_holds(
    make_job: MakeJob,
    alice: User,
    client_alice: Client,
    amounts: dict[str, object],
    words: str,
) -> None:
    job = draft(make_job, alice)
    allow(**amounts)
    with pytest.raises(caps.NotAllowed) as refused:
        confirm(job)
    assert words in str(refused.value)
    page = text(client_alice, reverse("job", args=[job.pk]))
    assert words in page and 'name="go" value="yes" disabled' in page
    assert words in text(client_alice, reverse("confirm", args=[job.pk])), "there is no button"
    answer = client_alice.post(
        reverse("confirm", args=[job.pk]), {"plan_sha256": job.plan_sha256}, follow=True
    )
    assert "Nothing was sent." in answer.content.decode()
    job.refresh_from_db()
    assert job.state == Job.State.DRAFT


@pytest.mark.parametrize("cap", ["most_a_job", "most_a_person", "most_a_month"])
def test_a_cap_is_the_most_that_is_allowed(make_job: MakeJob, alice: User, cap: str) -> None:
    allow(**{cap: Decimal("3.10")})
    assert confirm(draft(make_job, alice))


@pytest.mark.parametrize(
    ("cap", "words"),
    [
        ("most_a_person", "Your limit is $3.12 per month, and less than $0.01 of it is left."),
        ("most_a_month", "The limit for all jobs is $3.12 per month, and less than $0.01 of it"),
    ],
)
def test_rows_are_tried_only_as_long_as_the_most_that_they_can_cost_is_left(
    make_job: MakeJob, alice: User, client_alice: Client, cap: str, words: str
) -> None:
    """A row costs up to 1.76 cents: 32,000 tokens to write at 50 cents a million, and a few to
    read, and a tenth more in the US."""
    allow(**{cap: "3.12"})
    assert confirm(draft(make_job, alice))
    job = make_job(alice, Job.State.DRAFT, max_tokens=32_000)
    assert drafts.start_trials(job, list(job.rows.all())[:1], alice)
    lost = job.trials.get()
    assert Decimal("0.0176") < dollars(lost.most_pico) < Decimal("0.0177")
    # It may have been charged, so it stays reserved.
    job.trials.update(state=Trial.State.UNKNOWN)
    answer = client_alice.post(reverse("start_trials", args=[job.pk]), {"count": "1"}, follow=True)
    assert words in squeezed(answer.content)
    assert job.trials.count() == 1
    job.trials.update(state=Trial.State.ANSWERED, cost_pico=10**9)
    assert drafts.start_trials(job, list(job.rows.all())[:1], alice), "what was not charged is free"


def test_what_cannot_be_priced_is_not_tried(make_job: MakeJob, alice: User) -> None:
    job = make_job(alice, Job.State.DRAFT, model="claude-of-tomorrow")
    with pytest.raises(caps.NotAllowed) as refused:
        drafts.start_trials(job, list(job.rows.all())[:1], alice)
    assert "There is no price for “claude-of-tomorrow”" in str(refused.value)


def test_what_is_reserved_is_not_there_for_others(
    make_job: MakeJob, alice: User, bob: User
) -> None:
    allow(most_a_person=Decimal(4), most_a_month=Decimal(7))
    assert confirm(draft(make_job, alice))
    with pytest.raises(caps.NotAllowed, match=r"Your limit is .* \$0.90 of it is left"):
        confirm(draft(make_job, alice, "0.91"))
    assert confirm(draft(make_job, bob)), "his own cap is not touched"
    with pytest.raises(caps.NotAllowed, match=r"The limit for all jobs .* \$0.80 of it is left"):
        confirm(draft(make_job, alice, "0.81"))
    assert confirm(draft(make_job, alice, "0.80"))


def test_last_month_and_the_other_mode_do_not_count(make_job: MakeJob, alice: User) -> None:
    month = ledger.month_of(timezone.now())
    last = {"confirmed_at": month - timedelta(seconds=1)}
    for change in (last, {"practice": False}):
        job = draft(make_job, alice)
        assert confirm(job)
        assert ledger.committed_since(month) == Decimal("3.10")
        Job.objects.filter(pk=job.pk).update(**change)
        assert ledger.committed_since(month) == 0


@pytest.mark.django_db(transaction=True)
def test_eight_who_press_at_once_do_not_go_over(make_job: MakeJob, alice: User, bob: User) -> None:
    """Each in a thread and a connection of its own, on SQLite and on PostgreSQL."""
    drafts = [draft(make_job, owner, "1.00") for owner in (alice, bob) * 4]
    allow(most_a_month=Decimal(3))
    ready = threading.Barrier(len(drafts))
    found: list[object] = []

    def press(job: Job) -> None:
        try:
            ready.wait(timeout=SECONDS)
            found.append(confirm(job))
        except caps.NotAllowed as why:
            found.append(str(why))
        finally:
            connection.close()

    threads = [threading.Thread(target=press, args=(job,)) for job in drafts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found.count(True) == 3
    assert len([why for why in found if "The limit for all jobs" in str(why)]) == 5
    assert Job.objects.filter(state=Job.State.SUBMITTING).count() == 3
    assert ledger.committed_since(ledger.month_of(timezone.now())) == 3


def test_what_is_reserved_is_given_back_as_answers_come(
    make_job: MakeJob, alice: User, drive: Drive, simulator: Simulator
) -> None:
    rows = [(f"n{number}", "text") for number in range(20)]
    job = make_job(alice, Job.State.DRAFT, rows=rows)
    most = priced(job).most
    assert confirm(job)
    job.refresh_from_db()
    assert job.spent_pico == 0 and dollars(job.reserved_pico) >= most
    half = {"outcome": Outcome.GOOD, "cost_pico": 1000, "answered_by": job.recipe.model}
    Row.objects.filter(job=job, number__lte=10).update(**half)
    tally.count_up(job)
    job.refresh_from_db()
    assert job.spent_pico == 10_000
    assert most / 2 <= dollars(job.reserved_pico) < most * Decimal("0.6"), "by rows and by bytes"
    Row.objects.filter(job=job).update(outcome=Outcome.WAITING, cost_pico=0)
    job = drive(job)
    assert job.reserved_pico == 0 and dollars(job.spent_pico) == job.cost > 0
    month = ledger.month_of(timezone.now())
    assert ledger.committed_since(month) == ledger.committed_since(month, alice) == job.cost


def test_rows_that_are_sent_again_are_reserved_for(
    make_job: MakeJob, alice: User, client_alice: Client, simulator: Simulator
) -> None:
    job = make_job(alice, Job.State.DRAFT)
    priced(job)
    assert confirm(job)
    Row.objects.filter(job=job).update(outcome=Outcome.ERRORED, cause="overloaded_error")
    Job.objects.filter(pk=job.pk).update(state=Job.State.FINISHED)
    tally.count_up(job)
    job.refresh_from_db()
    assert job.reserved_pico == 0
    allow(most_a_job=0)
    planned = rounds.find_plan(job, RetryChoice(selection.FOR_NOW))
    assert planned is not None and planned.rows == 2
    address = reverse("retry", args=[job.pk])
    again = {"which": selection.FOR_NOW, "key": planned.key}
    answer = client_alice.post(address, again, follow=True).content.decode()
    assert "Nothing was sent." in answer and "the limit per job is $0.00" in answer
    allow(most_a_job=None)
    client_alice.post(address, again)
    job.refresh_from_db()
    assert job.state == Job.State.SUBMITTING and job.reserved_pico > 0


# --- The switch -----------------------------------------------------------------------------------


def test_the_switch_stops_everything_that_costs_money(
    make_job: MakeJob,
    alice: User,
    client_alice: Client,
    client_root: Client,
    drive: Drive,
    simulator: Simulator,
) -> None:
    waiting, tested = make_job(alice, Job.State.DRAFT), make_job(alice, Job.State.DRAFT)
    priced(waiting)
    assert confirm(waiting)
    client_root.post(reverse("spending_switch"), {"stop": "yes"})
    answer = client_alice.post(
        reverse("start_trials", args=[tested.pk]), {"count": "1"}, follow=True
    )
    assert SPENDING_IS_STOPPED in answer.content.decode()
    assert not tested.trials.exists()
    for _ in range(5):
        sweep.sweep()
        Job.objects.filter(pk=waiting.pk).update(next_action_at=clock.now())
    assert simulator.truth()["posts"] == 0, "what was confirmed before is not sent either"
    page = text(client_alice, reverse("job", args=[waiting.pk]))
    assert SPENDING_IS_STOPPED in page and "Try now" not in page
    client_root.post(reverse("spending_switch"), {"stop": "no"})
    Job.objects.filter(pk=waiting.pk).update(next_action_at=clock.now())
    assert drive(waiting).good_count == 2


def test_what_was_to_be_tried_is_not_sent_after_the_switch(
    make_job: MakeJob, alice: User, drive: Drive, simulator: Simulator
) -> None:
    job = make_job(alice, Job.State.DRAFT)
    assert drafts.start_trials(job, list(job.rows.all()), alice)
    allow(stopped_at=timezone.now())
    drive(job, until=lambda job: not job.trials.pending().exists())
    assert {one.message for one in job.trials.all()} == {SPENDING_IS_STOPPED}
    assert {one.state for one in job.trials.all()} == {Trial.State.FAILED}


def test_what_was_sent_before_the_switch_comes_in(
    make_job: MakeJob, alice: User, drive: Drive, simulator: Simulator
) -> None:
    job = make_job(alice, Job.State.DRAFT)
    priced(job)
    assert confirm(job)
    drive(job, until=lambda job: job.batches.filter(state=Batch.State.IN_PROGRESS).exists())
    allow(stopped_at=timezone.now())
    assert drive(job).good_count == 2


# --- Approval -------------------------------------------------------------------------------------


@pytest.fixture
def dear(make_job: MakeJob, alice: User) -> Job:
    allow(approval_above=Decimal(3))
    return draft(make_job, alice)


def test_a_second_person_approves_what_is_dear(
    dear: Job, alice: User, root: User, client_alice: Client, client_root: Client
) -> None:
    address = reverse("confirm", args=[dear.pk])
    page = text(client_alice, address)
    assert "This job needs approval" in page and "Ask for approval of" in page
    assert "Practice with" not in page
    with pytest.raises(caps.NotAllowed, match="A second person"):
        confirm(dear)
    client_alice.post(address, {"plan_sha256": dear.plan_sha256, "approval": "ask"})
    page = text(client_alice, address)
    assert "Waiting for approval" in page and f"http://testserver{address}" in page
    assert "1 job is waiting for your approval" in text(client_root, "/")
    assert "Waiting for approval" in text(client_root, "/?state=approval")
    page = text(client_root, address)
    assert "alice asks for your approval" in page and "Approve 2 rows – at most $3.10" in page
    assert "usually" in page and "Practice with" not in page, "with the estimate in front of them"
    client_root.post(address, {"plan_sha256": dear.plan_sha256, "approval": "give"})
    dear.refresh_from_db()
    assert dear.state == Job.State.DRAFT, "approving sends nothing"
    assert dear.events.filter(text="Approved: 2 rows, at most $3.10.", who=root).exists()
    assert "waiting for your approval" not in text(client_root, "/")
    page = text(client_root, address)
    assert "Only alice can submit it" in page and "Practice with" not in page
    with pytest.raises(caps.NotAllowed, match="only its owner"):
        confirm(dear, root)
    page = text(client_alice, address)
    assert "root approved this job." in page and "Practice with 2 rows" in page
    client_alice.post(address, {"plan_sha256": dear.plan_sha256})
    dear.refresh_from_db()
    assert (dear.state, dear.approved_by) == (Job.State.SUBMITTING, root)


def test_nobody_approves_their_own_job(dear: Job, alice: User, client_alice: Client) -> None:
    User.objects.filter(pk=alice.pk).update(is_superuser=True)
    assert approvals.request_approval(dear, dear.plan_sha256, alice)
    alice.refresh_from_db()
    with pytest.raises(caps.NotAllowed, match="You own this job"):
        approvals.approve(dear, dear.plan_sha256, alice)
    with pytest.raises(caps.NotAllowed):
        confirm(dear, alice)
    page = text(client_alice, reverse("confirm", args=[dear.pk]))
    assert 'value="give"' not in page
    assert "Nobody can approve it now" in page, "alice is the only administrator"


def test_only_an_administrator_approves(dear: Job, alice: User, bob: User) -> None:
    assert approvals.request_approval(dear, dear.plan_sha256, alice)
    with pytest.raises(caps.NotAllowed):
        approvals.approve(dear, dear.plan_sha256, bob)
    assert signed_in(bob).get(reverse("confirm", args=[dear.pk])).status_code == 404


def test_what_nobody_asked_for_or_was_withdrawn_cannot_be_approved(
    dear: Job, alice: User, root: User, client_alice: Client, client_root: Client
) -> None:
    assert not approvals.approve(dear, dear.plan_sha256, root)
    assert approvals.request_approval(dear, dear.plan_sha256, alice)
    client_alice.post(reverse("confirm", args=[dear.pk]), {"approval": "withdraw"})
    give = {"plan_sha256": dear.plan_sha256, "approval": "give"}
    client_root.post(reverse("confirm", args=[dear.pk]), give)
    dear.refresh_from_db()
    assert dear.approval_by is None and not dear.awaits_approval
    assert not approvals.withdraw_request(dear, alice)


def test_a_changed_plan_needs_a_new_approval(
    dear: Job, alice: User, root: User, client_alice: Client
) -> None:
    asked = dear.plan_sha256
    assert approvals.request_approval(dear, asked, alice)
    assert approvals.approve(dear, asked, root)
    change_job(dear, prompt="Other {{name}}", plan_sha256="")
    dear.refresh_from_db()
    with_price(dear, most="3.20")
    assert not dear.awaits_approval
    assert not submissions.confirm(dear, asked, alice), "that plan is gone"
    with pytest.raises(caps.NotAllowed):
        confirm(dear)
    assert not approvals.approve(dear, dear.plan_sha256, root), "this one was not asked for"
    page = text(client_alice, reverse("confirm", args=[dear.pk]))
    assert "The job or its price has changed since approval was last asked for" in page
    assert not approvals.request_approval(dear, asked, alice)
    assert approvals.request_approval(dear, dear.plan_sha256, alice)
    assert approvals.approve(dear, dear.plan_sha256, root)
    assert confirm(dear)


def test_what_is_cheap_needs_nobody(make_job: MakeJob, alice: User) -> None:
    allow(approval_above=Decimal("3.10"))
    assert confirm(draft(make_job, alice))


# --- Pages and the shell --------------------------------------------------------------------------


def test_only_administrators_see_and_set_the_limits(
    client_alice: Client, client_root: Client
) -> None:
    for name in ("spending_limits", "spending_prices", "spending_csv"):
        assert client_alice.get(reverse(name)).status_code == 404
    assert client_alice.post(reverse("spending_switch"), {"stop": "yes"}).status_code == 404
    form = {"most_a_job": "5", "most_a_month": "100.50", "approval_above": ""}
    client_root.post(reverse("spending_limits"), form)
    allowed = SpendingCaps.get()
    assert allowed.most_a_job == 5 and allowed.most_a_month == Decimal("100.50")
    assert allowed.most_a_person is None and allowed.approval_above is None
    for wrong in ("-1", "x", "1.234", "9" * 20):
        answer = client_root.post(reverse("spending_limits"), {"most_a_job": wrong})
        assert answer.status_code == 422
    assert SpendingCaps.get().most_a_job == 5


def test_what_was_spent_is_told_by_person_template_and_model(
    make_job: MakeJob, alice: User, bob: User, client_root: Client
) -> None:
    charged = {"outcome": Outcome.GOOD, "answered_by": "claude-haiku-5-5", "output_tokens": 5}
    for owner, cents in ((alice, 125), (bob, 50)):
        cost = {**charged, "cost_pico": cents * 10**10}
        make_job(owner, outcomes=[cost, cost], practice=True, name=f"={owner.username}")
    make_job(alice, outcomes=[{**charged, "cost_pico": 10**15}] * 2, practice=False)
    allow(most_a_month=Decimal(10))
    page = text(client_root, reverse("spending"))
    assert '$3.50</strong> of <span class="num">$10.00</span>' in page
    assert '<dt class="text-break">alice</dt><dd class="num">$2.50</dd>' in page
    assert '<dt class="text-break">Claude Haiku 5.5</dt><dd class="num">$3.50</dd>' in page
    assert "Batches saved <span" in page and "$3.50</span> against the normal price" in page
    answer = client_root.get(reverse("spending_csv"))
    content = b"".join(answer.streaming_content)  # type: ignore[attr-defined]  # a stream has it
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    assert sum(Decimal(row["usd"]) for row in rows) == Decimal("3.5")
    assert {row["job"] for row in rows} == {"'=alice", "'=bob"}, "no formula"


def test_the_estimates_are_held_against_what_was_charged(
    make_job: MakeJob, alice: User, client_root: Client
) -> None:
    month = ledger.month_of(timezone.now())
    assert months.measure_accuracy(month) is None
    said = draft(make_job, alice).estimate  # usually $1.40 to $1.90
    for cents, outcome in ((165, Outcome.GOOD), (182, Outcome.LOOK), (300, Outcome.GOOD)):
        row = {"outcome": outcome, "cost_pico": cents * 5 * 10**9}
        make_job(alice, outcomes=[row, row], estimate=said, practice=True)
    make_job(alice, outcomes=[Outcome.ERRORED] * 2, estimate=said, practice=True)
    with counted() as work:
        found = months.measure_accuracy(month)
    assert len(work.statements) == 1, "however many jobs there are"
    assert found is not None and (found.jobs, found.in_range, found.within) == (3, 2, 10)
    page = text(client_root, reverse("spending"))
    assert 'Our estimates were right for <strong class="num">2 of 3 jobs</strong>' in page


def test_a_deleted_job_has_cost_what_it_has_cost(
    make_job: MakeJob, alice: User, client_alice: Client, simulator: Simulator, drive: Drive
) -> None:
    job = make_job(alice, Job.State.DRAFT)
    assert drafts.start_trials(job, list(job.rows.all()), alice)
    drive(job, until=lambda job: not job.trials.pending().exists())
    priced(job)
    assert confirm(job)
    job = drive(job)
    month = ledger.month_of(timezone.now())
    before, charges = (
        ledger.committed_since(month),
        sum(one.amount for one in ledger.charges(month)),
    )
    assert before == charges == job.cost + sum(one.cost for one in job.trials.all())
    assert job_basics.delete_job(job, alice)
    assert ledger.committed_since(month) == before, "while it is being deleted"
    while Job.objects.filter(pk=job.pk).exists():
        Job.objects.filter(pk=job.pk).update(next_action_at=clock.now())
        sweep.sweep()
    assert ledger.committed_since(month, alice) == before
    assert sum(one.amount for one in ledger.charges(month)) == before


def test_a_job_that_is_deleted_in_the_other_mode_has_cost_what_it_has_cost(
    make_job: MakeJob, alice: User, simulator: Simulator, drive: Drive, settings: Any
) -> None:
    job = make_job(alice, Job.State.DRAFT)
    assert drafts.start_trials(job, list(job.rows.all()), alice)
    drive(job, until=lambda job: not job.trials.pending().exists())
    priced(job)
    assert confirm(job)
    job = drive(job)
    month, mode = ledger.month_of(timezone.now()), settings.PRACTICE
    before = ledger.committed_since(month)
    settings.PRACTICE = not mode
    ledger.keep_spending(job)
    job.delete()
    assert ledger.committed_since(month) == 0
    settings.PRACTICE = mode
    assert ledger.committed_since(month) == before > 0
    assert sum(one.amount for one in ledger.charges(month)) == before


def test_a_job_from_a_clock_that_was_ahead_is_no_trouble(
    make_job: MakeJob, alice: User, drive: Drive
) -> None:
    job = draft(make_job, alice)
    assert confirm(job)
    ahead = timezone.now() + timedelta(days=40)
    change_job(job, confirmed_at=ahead, cached=True, spent_pico=5, tally=Tally(cache_read_tokens=9))
    assert [month.charged for month in months.list_months(timezone.now())] == [0]


def test_the_shell_says_what_is_in_the_way(
    root: User, worker: None, simulator: Simulator, tmp_path: Any
) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text\n" + "some words\n" * 50)
    command = ["submit", path, "--prompt", "{{text}}", "--yes"]
    allow(most_a_job=0)
    status, said = refusal(*command)
    assert status == 1 and "Not submitted." in said and "the limit per job is" in said
    allow(most_a_job=None, approval_above=0)
    status, said = refusal(*command)
    job = Job.objects.latest("pk")
    assert status == 1 and f"job {job.pk} needs approval by a second person" in said
    assert job.awaits_approval
    allow(approval_above=None, stopped_at=timezone.now())
    assert SPENDING_IS_STOPPED in refusal("try", path, "--prompt", "{{text}}")[1]
    allow(stopped_at=None)
    assert run(*command)[0].strip().isdigit()
    assert estimates.current(job) is not None and leases.claim(job.pk) is None
