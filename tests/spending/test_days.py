"""Spending by day, and what each person sees of it: the days add up to what the limits count, a
member sees their own, and looking costs the same for many jobs as for few."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from jobs.models import Job, PastSpending, Round, SpendingCaps, Trial, clock
from jobs.rules.retry_choices import RoundEstimate
from jobs.spending import caps, days, ledger
from jobs.web import spending_chart

from ..conftest import signed_in
from ..database_work import counted
from ..pages import squeezed
from ..web.test_views_job_page import add_batch

MakeJob = Callable[..., Job]
NOON = datetime(2026, 3, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)
DOLLAR = 10**12  # picodollars


def spend(owner: User, make_job: MakeJob, at: datetime, dollars: int) -> Job:
    """A job confirmed at `at`; a retry three days later was half of what it cost."""
    job = make_job(owner, confirmed_at=at, practice=True, name=f"job of {owner.username}")
    Job.objects.filter(pk=job.pk).update(spent_pico=dollars * DOLLAR)
    Round.objects.create(
        job=job,
        number=2,
        what="rows",
        rows=1,
        bytes=1,
        estimate=RoundEstimate(Decimal(0), Decimal(0), Decimal(0)),
        asked_at=at + timedelta(days=3),
        spent_pico=dollars * DOLLAR // 2,
    )
    return job


def test_batches_in_doubt_cost_one_query_and_count_for_the_month_of_their_retry(
    make_job: MakeJob, alice: User
) -> None:
    job = spend(alice, make_job, NOON - timedelta(days=2), 1)  # its retry was a day after NOON
    counts = []
    for number, round_number in ((1, 1), (2, 1), (3, 2), (4, 2)):
        doubt = {"given_up": 1, "most_pico": number * DOLLAR, "late_until": clock.now() + 3 * DAY}
        add_batch(job, number, 2, "collected", practice=True, round=round_number, **doubt)
        with CaptureQueriesContext(connection) as queries:
            found = list(ledger.open_charges(NOON - 9 * DAY))
        counts.append(len(queries))

    assert len(set(counts)) == 1
    assert sorted((one.at - NOON, int(one.amount)) for one in found) == [
        (-2 * DAY, 1), (-2 * DAY, 2), (DAY, 3), (DAY, 4)
    ]  # fmt: skip
    assert sum(one.amount for one in ledger.open_charges(NOON)) == 7


def test_the_days_are_the_charges_and_add_up(make_job: MakeJob, alice: User, bob: User) -> None:
    job = spend(alice, make_job, NOON - timedelta(days=8), 10)
    spend(alice, make_job, NOON - timedelta(days=31), 4)  # only its retry is in the chart
    late = datetime(2026, 3, 19, 23, 59, tzinfo=UTC)
    for _ in range(2):
        spend(bob, make_job, late, 8_000_000)  # SQLite's sum would overflow
    Trial.objects.create(
        job=job, round=1, number=1, cells=[], params="{}", model="m", practice=True,
        asked_at=NOON, cost_pico=DOLLAR,
    )  # fmt: skip
    PastSpending.objects.create(owner=alice, at=NOON, practice=True, spent_pico=2 * DOLLAR)
    PastSpending.objects.create(owner=alice, at=NOON, practice=False, spent_pico=DOLLAR)

    found = days.list_days(NOON, alice)
    by_day = {one.day.isoformat(): one.charged for one in found.days if one.charged}

    assert len(found.days) == days.DAYS
    assert by_day == {"2026-02-20": 2, "2026-03-12": 5, "2026-03-15": 5, "2026-03-20": 3}
    since = datetime(2026, 2, 19, tzinfo=UTC)
    assert found.charged == 15
    for owner in (alice, bob, None):
        sums = ledger.spent_by_day(since, owner)
        assert sum(sums.values()) == ledger.spent_since(since, owner)
    everyone = {one.day: one.charged for one in days.list_days(NOON).days}
    assert everyone[late.date()] == 8_000_000
    assert days.list_days(NOON).top == 10_000_000


def test_the_chart_ends_at_a_round_amount_and_shows_a_cent() -> None:
    for cents, top in (
        (0, "0.02"),
        (1, "0.02"),
        (15, "0.2"),
        (51, "1"),
        (2000, "20"),
        (2001, "50"),
    ):
        charged = Decimal(cents) / 100
        one = days.Days([days.Day(NOON.date(), charged), days.Day(NOON.date(), Decimal(0))])
        assert one.top == Decimal(top)
        bars = spending_chart.draw_chart(one).bars
        assert bars[0].y + bars[0].height == spending_chart.HEIGHT
        assert bool(bars[0].height) == bool(cents) and bars[1].height == 0
    tiny = days.Days([days.Day(NOON.date(), Decimal("0.01")), days.Day(NOON.date(), Decimal(900))])
    assert spending_chart.draw_chart(tiny).bars[0].height == spending_chart.LEAST


def test_members_see_their_own_spending_and_the_limits_that_hold_for_them(
    make_job: MakeJob, alice: User, bob: User, client_root: Client
) -> None:
    now = clock.now()
    for owner, dollars in ((alice, 3), (bob, 400)):
        job = make_job(owner, confirmed_at=now, practice=True)
        Job.objects.filter(pk=job.pk).update(spent_pico=dollars * DOLLAR)
    values = {"most_a_job": 7, "most_a_person": 50, "most_a_month": 500, "approval_above": 6}
    SpendingCaps.objects.update(**values)

    page = squeezed(signed_in(alice).get(reverse("spending")).content)

    assert '<strong class="num">$3.00</strong> of <span class="num">$50.00</span>' in page
    assert '<strong class="num">$403.00</strong> of <span class="num">$500.00</span>' in page
    assert 'Limit per job</dt><dd class="num">$7.00' in page
    assert 'Approval required above</dt><dd class="num">$6.00' in page
    assert "By person" not in page and "bob" not in page and "$400.00" not in page
    assert reverse("spending_limits") not in page and reverse("spending_csv") not in page
    # `tab` is for administrators only.
    assert (
        "By person"
        not in signed_in(alice).get(reverse("spending") + "?tab=everyone").content.decode()
    )
    mine = squeezed(client_root.get(reverse("spending") + "?tab=mine").content)
    assert "$0.00</strong>" in mine and "By person" not in mine
    everyone = squeezed(client_root.get(reverse("spending")).content)
    assert '<dt class="text-break">bob</dt><dd class="num">$400.00</dd>' in everyone


def test_what_holds_for_a_person_is_what_stops_their_job(alice: User) -> None:
    allowed = SpendingCaps.get()
    assert not list(caps.used_caps(alice, allowed, NOON))
    allowed.most_a_person = Decimal(0)
    found = list(caps.used_caps(alice, allowed, NOON))
    assert [(one.whose, one.left) for one in found] == [("person", Decimal(0))]


def test_looking_at_the_spending_takes_as_many_statements_for_many_jobs(
    make_job: MakeJob, alice: User, client_root: Client, client_alice: Client
) -> None:
    def statements(client: Client) -> int:
        with counted() as work:
            assert client.get(reverse("spending")).status_code == 200
        return len(work.statements)

    for client in (client_root, client_alice):
        client.get("/")  # the first page of a session is noted
    spend(alice, make_job, clock.now() - timedelta(days=5), 1)
    few = statements(client_root), statements(client_alice)
    for _ in range(12):
        spend(alice, make_job, clock.now() - timedelta(days=5), 1)

    assert (statements(client_root), statements(client_alice)) == few
    assert max(few) <= 30


def test_of_jobs_only_what_was_charged_is_read(
    make_job: MakeJob, alice: User, client_root: Client
) -> None:
    """To read all of a thousand jobs takes a quarter of a second."""
    spend(alice, make_job, clock.now(), 2)
    with CaptureQueriesContext(connection) as queries:
        assert "$2.00" in client_root.get(reverse("spending")).content.decode()
    # Those of batches in doubt are few.
    of_jobs = [one["sql"].partition(' FROM "jobs_job"') for one in queries]
    read = [columns for columns, found, _where in of_jobs if found]
    assert read and not [columns for columns in read if '"jobs_job"."reading"' in columns]
