"""Each event, made to happen for real, is told once to each person in each of their ways."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from jobs.actions import approvals, submissions
from jobs.batches import holds, polling
from jobs.drafts import estimates
from jobs.models import (
    Batch,
    Channel,
    Delivery,
    Destination,
    Job,
    Notification,
    Retention,
    Sending,
    SpendingCaps,
    Team,
    clock,
    outbox,
)
from jobs.provider.errors import Refused
from jobs.rules.notification_events import Facts, detail_of
from jobs.rules.retry_choices import RoundEstimate
from jobs.spending import cap_notices, ledger
from jobs.worker import finishing, housekeeping, retention

from ..conftest import lease_of, store_job
from ..web.test_views_job_page import add_batch

MakeJob = Callable[..., Job]


@pytest.fixture(autouse=True)
def with_mail(settings: Settings) -> None:
    settings.HAS_MAIL = True


@pytest.fixture
def people(alice: User, bob: User, root: User) -> list[User]:
    """Each has a mail address and a webhook that gets everything."""
    for one in (alice, bob, root):
        one.email = f"{one.username}@example.org"
        one.save()
        Destination.objects.create(person=one, channel=Channel.WEBHOOK, label="x", sealed="")
    return [alice, bob, root]


def told() -> dict[str, list[str]]:
    """Who was told of each event. Raises AssertionError when a person was told twice, or in one way
    twice."""
    found: dict[str, list[str]] = {}
    for one in Notification.objects.order_by("pk").select_related("person"):
        found.setdefault(one.event, []).append(one.person.username)
        ways = Counter(one.deliveries.values_list("channel", "destination"))
        assert set(ways.values()) == {1}, (one.event, ways)
        assert one.deliveries.filter(channel=Channel.WEBHOOK).count() == 1, one.event
    return {event: sorted(names) for event, names in found.items()}


def mailed() -> list[str]:
    mails = Delivery.objects.filter(channel=Channel.MAIL, destination=None).order_by("pk")
    return list(mails.values_list("notification__event", flat=True))


@pytest.mark.parametrize(("minutes", "by_mail"), [(1, False), (3, True)])
@pytest.mark.parametrize("outcome", ["good", "errored"])
def test_a_job_that_finishes(people: list[User], outcome: str, minutes: int, by_mail: bool) -> None:
    begun = timezone.now() - timedelta(minutes=minutes)
    job = store_job(people[0], Job.State.WORKING, outcomes=["good", outcome], confirmed_at=begun)

    finishing.finish_job(job, lease_of(job))
    finishing.finish_job(job, lease_of(job))  # by a worker that comes too late

    event = "job_finished" if outcome == "good" else "job_problems"
    assert told() == {event: ["alice"]}
    assert mailed() == [event] * by_mail
    one = Notification.objects.get()
    assert (one.facts.rows, one.facts.problems) == ((2, 0) if outcome == "good" else (1, 1))
    assert one.facts.seconds >= minutes * 60


def test_a_job_of_practice_is_not_mailed(people: list[User]) -> None:
    begun = timezone.now() - timedelta(hours=1)
    job = store_job(people[0], Job.State.WORKING, outcomes=["good"] * 2, confirmed_at=begun)
    Job.objects.update(practice=True)
    job.refresh_from_db()
    finishing.finish_job(job, lease_of(job))
    assert told() == {"job_finished": ["alice"]} and mailed() == []


def test_a_retry_that_finishes(people: list[User]) -> None:
    job = store_job(people[0], Job.State.WORKING, outcomes=["good"] * 2)
    begun = timezone.now() - timedelta(minutes=5)
    price = RoundEstimate(Decimal(1), Decimal(1), Decimal(1))
    job.rounds.create(number=2, what="x", rows=1, bytes=1, asked_at=begun, estimate=price)
    finishing.finish_job(job, lease_of(job))
    assert told() == {"retry_done": ["alice"]} and mailed() == ["retry_done"]


def test_action_needed_and_solved(people: list[User]) -> None:
    job = store_job(people[0], Job.State.SUBMITTING)
    holds.hold(job.pk, "Anthropic refused: secret words")
    holds.hold(job.pk, "Another reason")
    assert told() == {"action_needed": ["alice"]} and mailed() == ["action_needed"]

    assert submissions.resume_job(job, people[0])
    assert not submissions.resume_job(job, people[0])

    assert told() == {"action_needed": ["alice"], "action_solved": ["alice"]}
    assert not any("secret" in f"{one.title} {one.detail}" for one in Notification.objects.all())


@pytest.mark.parametrize(
    ("way", "words"),
    [
        ("release", "The job continues."),
        ("stop", "The job was stopped."),
        ("release while it stops", "The job was stopped."),
        ("finish", "The job is finished."),
    ],
)
def test_each_way_out_of_a_hold_is_told(people: list[User], way: str, words: str) -> None:
    job = store_job(people[0], Job.State.WORKING, outcomes=["good"] * 2)
    holds.hold(job.pk, "A reason")
    if way.startswith("release"):
        if way != "release":
            Job.objects.update(state=Job.State.CANCELING)
        holds.end_hold(job.pk, "A reason", go_on=True)
    elif way == "stop":
        assert submissions.stop_job(job, people[0])
    else:
        finishing.finish_job(job, lease_of(job))
    assert told()["action_solved"] == ["alice"]
    assert not Job.objects.exclude(held="").exists()
    assert Notification.objects.get(event="action_solved").detail == words
    assert ("action_solved" in mailed()) == (way == "release"), "an end has a mail of its own"


def test_sending_that_is_paused(people: list[User]) -> None:
    store_job(people[0], Job.State.SUBMITTING)
    error = Refused(401, "authentication_error", "secret words", None)
    for _ in range(3):
        holds.pause(error)
    holds.end_pause()
    holds.end_pause()
    assert told() == {"sending_paused": ["alice", "root"], "sending_resumed": ["alice", "root"]}
    assert Sending.get().pause == ""


@pytest.fixture
def waiting(people: list[User]) -> Job:
    """A draft of Alice's whose approval she has asked for, twice."""
    job = store_job(people[0], Job.State.DRAFT, rows=[["Ada", "x"]], prompt="Say {{text}}")
    estimates.estimate_job(job)
    job.refresh_from_db()
    for _ in range(2):
        assert approvals.request_approval(job, job.plan_sha256, people[0])
    job.refresh_from_db()
    return job


def test_approval_wanted_and_given(people: list[User], waiting: Job) -> None:
    alice, _bob, root = people
    assert told() == {"approval_wanted": ["root"]} and mailed() == ["approval_wanted"]
    for _ in range(2):
        assert approvals.approve(waiting, waiting.plan_sha256, root)
    assert told() == {"approval_wanted": ["root"], "approval_given": ["alice"]}
    one = Notification.objects.of(alice).get()
    assert one.title == "root approved “reviews”" and "1 row, at most $" in one.detail


def test_approval_declined_or_withdrawn(people: list[User], waiting: Job) -> None:
    alice, _bob, root = people
    assert approvals.withdraw_request(waiting, root)
    assert not approvals.withdraw_request(waiting, root)
    assert told()["approval_declined"] == ["alice"]

    approvals.request_approval(waiting, waiting.plan_sha256, alice)
    assert approvals.withdraw_request(waiting, alice)
    assert told()["approval_declined"] == ["alice"], "her own withdrawal is no news to her"


def test_results_that_are_about_to_expire(people: list[User]) -> None:
    job = store_job(people[0], Job.State.WORKING)
    made = timezone.now() - timedelta(days=20, hours=1)
    for number in (1, 2):
        add_batch(job, number, 1, Batch.State.ENDED, created_at=made, ended_at=made)
    for _ in range(2):
        polling.warn()
    assert told() == {"results_expiring": ["alice"]}
    assert Notification.objects.get().facts.days == 8

    Batch.objects.update(created_at=made - timedelta(days=7))
    polling.warn()
    assert Notification.objects.filter(event="results_expiring").count() == 2


def test_answers_that_this_site_deletes_soon(people: list[User]) -> None:
    Retention.row().update(days=30)
    store_job(people[0], finished_at=timezone.now() - timedelta(days=28))
    store_job(people[0], finished_at=timezone.now() - timedelta(days=20))
    for _ in range(2):
        housekeeping.tidy_up()
    assert told() == {"results_expiring": ["alice"]}
    assert "This site deletes its cells and answers in 3 days." in Notification.objects.get().detail


def test_a_job_that_ran_again_is_told_of_again(people: list[User]) -> None:
    Retention.row().update(days=30)
    now = timezone.now()
    job = store_job(people[0], finished_at=now - timedelta(days=40))
    retention.warn_due()
    Notification.objects.update(made_at=now - timedelta(days=35))
    Job.objects.filter(pk=job.pk).update(finished_at=now - timedelta(days=29, hours=23))
    for _ in range(2):
        retention.warn_due()
    last = Notification.objects.first()
    assert Notification.objects.count() == 2 and last
    assert "This site deletes its cells and answers in 3 days." in last.detail


@pytest.mark.parametrize(
    ("cap", "who"),
    [("most_a_person", ["alice"]), ("most_a_month", ["root"]), ("team", ["alice", "bob"])],
)
def test_a_limit_at_80_and_at_100_percent(people: list[User], cap: str, who: list[str]) -> None:
    team = Team.objects.create(name="Ads")
    team.people.set(people[:2])
    job = store_job(people[0], Job.State.SUBMITTING, team=team)
    if cap == "team":
        Team.objects.update(most_a_month=Decimal(10))
    else:
        SpendingCaps.row().update(**{cap: Decimal(10)})
    for reserved, event in ((7.9, ""), (8, "cap_80"), (10, "cap_100"), (9, "")):
        Job.objects.filter(pk=job.pk).update(reserved_pico=int(reserved * 10**12))
        before = Notification.objects.count()
        for _ in range(2):
            cap_notices.check_all()
        assert Notification.objects.count() - before == (len(who) if event else 0)
    assert told() == {"cap_80": who, "cap_100": who}


def test_a_limit_that_cannot_be_told_of_stops_no_other(
    people: list[User], monkeypatch: pytest.MonkeyPatch
) -> None:
    team = Team.objects.create(name="Ads", most_a_month=Decimal(10))
    team.people.set(people[1:2])
    SpendingCaps.row().update(most_a_person=Decimal(10), most_a_month=Decimal(20))
    for one in people[:2]:
        store_job(one, Job.State.SUBMITTING, team=team)
    Job.objects.update(reserved_pico=9 * 10**12)
    tell = outbox.tell

    def fail_once(event: str, *arguments: Any, **named: Any) -> int:
        tell(event, *arguments, **named)
        monkeypatch.setattr(outbox, "tell", tell)
        raise ZeroDivisionError

    monkeypatch.setattr(outbox, "tell", fail_once)
    cap_notices.check_all()
    assert told() == {"cap_80": ["alice", "bob"], "cap_100": ["bob"]}

    cap_notices.check_all()
    assert told() == {"cap_80": ["alice", "bob", "root"], "cap_100": ["bob"]}


def test_looking_at_limits_takes_as_many_statements_for_many_people(
    people: list[User], django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    """And nothing is summed within a transaction, in which others would wait for it."""
    SpendingCaps.row().update(most_a_person=Decimal(10), most_a_month=Decimal(10))
    Team.objects.create(name="Ads", most_a_month=Decimal(10))
    for number in range(3):
        store_job(User.objects.create_user(f"p{number}"), Job.State.SUBMITTING)
    with CaptureQueriesContext(connection) as few:
        cap_notices.check_all()
    for number in range(3, 20):
        store_job(User.objects.create_user(f"p{number}"), Job.State.SUBMITTING)
    with django_assert_num_queries(len(few)):
        cap_notices.check_all()
    assert not told() and not any("SAVEPOINT" in one["sql"] for one in few.captured_queries)


def test_a_submission_works_each_sum_out_once(
    people: list[User], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All others who want to spend wait for it."""
    job = store_job(people[0], Job.State.DRAFT, rows=[["Ada", "x"]], prompt="Say {{text}}")
    estimates.estimate_job(job)
    job.refresh_from_db()
    SpendingCaps.row().update(most_a_person=Decimal(10), most_a_month=Decimal(10))
    sums: list[object] = []
    committed = ledger.committed_since

    def count(*arguments: Any, **named: Any) -> Decimal:
        sums.append(arguments)
        return committed(*arguments, **named)

    monkeypatch.setattr(ledger, "committed_since", count)
    assert submissions.confirm(job, job.plan_sha256, people[0])
    assert len(sums) == 2


def test_a_submission_tells_of_the_limit_that_it_takes_up(people: list[User]) -> None:
    """In its own transaction, not only when limits are looked at again."""
    alice = people[0]
    store_job(alice, Job.State.SUBMITTING, reserved_pico=0)
    Job.objects.update(reserved_pico=85 * 10**11)
    job = store_job(alice, Job.State.DRAFT, rows=[["Ada", "x"]], prompt="Say {{text}}")
    estimates.estimate_job(job)
    job.refresh_from_db()
    SpendingCaps.row().update(most_a_person=Decimal(10))

    assert submissions.confirm(job, job.plan_sha256, alice)

    assert told() == {"cap_80": ["alice"]}
    used = Decimal(Notification.objects.get().facts.cost)
    assert used == ledger.committed_since(ledger.month_of(clock.now())) > Decimal("8.5")
    cap_notices.check_all()
    assert told() == {"cap_80": ["alice"]}


def test_spending_that_is_switched_off_and_on(people: list[User], client_root: Client) -> None:
    store_job(people[0], Job.State.SUBMITTING)
    for stop in ("yes", "yes", "no", "no"):
        client_root.post("/spending/switch/", {"stop": stop})
    assert told() == {"spending_stopped": ["alice", "root"], "spending_resumed": ["alice", "root"]}
    assert mailed() == ["spending_stopped"] * 2


@pytest.mark.parametrize(
    ("days", "words"), [(0, "within a day"), (1, "in 1 day."), (3, "in 3 days.")]
)
def test_how_long_answers_are_still_here_is_said_in_words(days: int, words: str) -> None:
    told = detail_of("results_expiring", Facts(days=days, whose="site"))
    assert words in told and "Download the results now." in told
