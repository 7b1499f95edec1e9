"""Telling people: each gets one notification, and one delivery for each way that they chose."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from pytest_django import DjangoAssertNumQueries, Settings

from jobs.actions import erasure, notifications
from jobs.models import (
    Channel,
    Delivery,
    Destination,
    Follower,
    Job,
    Notification,
    NotificationChoices,
    Team,
    administrators,
    outbox,
)
from jobs.models.notifications import Choices, Wanted
from jobs.models.outbox import Facts
from jobs.rules.notification_events import EVENTS, detail_of, title_of

MakeJob = Callable[..., Job]


@pytest.fixture(autouse=True)
def real_site_with_mail(settings: Settings) -> None:
    settings.PRACTICE, settings.HAS_MAIL = False, True


def give_mail(*people: User) -> None:
    for one in people:
        one.email = f"{one.username}@example.org"
        one.save()


def told(person: User) -> list[tuple[str, list[str]]]:
    """What `person` was told of, with the channels beside the bell."""
    return [
        (one.event, sorted(one.deliveries.values_list("channel", flat=True)))
        for one in Notification.objects.of(person)
    ]


def test_each_person_is_told_once_in_each_way_they_chose(alice: User, bob: User) -> None:
    give_mail(alice, bob)
    Destination.objects.create(person=alice, channel=Channel.WEBHOOK, label="a")
    only = Wanted({"cap_80": True}, others=False)
    Destination.objects.create(person=alice, channel=Channel.APPRISE, label="b", wanted=only)
    choices = Choices(mail={"action_needed": False})
    NotificationChoices.objects.create(person=bob, choices=choices)

    assert outbox.tell("action_needed", [alice, bob, alice]) == 2

    assert told(alice) == [("action_needed", ["mail", "webhook"])]
    assert told(bob) == [("action_needed", [])]


def test_an_event_that_is_newer_than_the_choice_is_told_as_by_default(alice: User) -> None:
    give_mail(alice)
    names = [name for name in EVENTS if name != "cap_80"]
    notifications.choose(alice, names, mail=[], browser=[])
    off = Wanted(dict.fromkeys(names, False))
    Destination.objects.create(person=alice, channel=Channel.WEBHOOK, label="a", wanted=off)

    outbox.tell("cap_80", [alice])
    outbox.tell("cap_100", [alice])

    assert told(alice) == [("cap_100", []), ("cap_80", ["mail", "webhook"])]
    assert NotificationChoices.of(alice).shows("cap_80")
    assert not NotificationChoices.of(alice).shows("cap_100")


def test_nothing_is_told_when_the_transaction_fails(alice: User) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        outbox.tell("cap_80", [alice])
        raise ZeroDivisionError

    assert not Notification.objects.exists()


def test_a_key_is_told_only_once_to_a_person(alice: User, bob: User) -> None:
    give_mail(alice, bob)

    assert outbox.tell("cap_80", [alice], key="month") == 1
    assert outbox.tell("cap_80", [alice, bob], key="month") == 1
    assert outbox.tell("cap_80", [alice, bob], key="next month") == 2

    assert told(alice) == [("cap_80", ["mail"])] * 2
    assert told(bob) == [("cap_80", ["mail"])] * 2


def test_who_is_deactivated_is_not_told(alice: User, root: User) -> None:
    root.is_active = False
    root.save()

    assert outbox.tell("cap_80", [root]) == 0
    assert outbox.tell("alarm", administrators()) == 0


def test_practice_is_never_mailed_but_alarms_are(root: User, settings: Settings) -> None:
    settings.PRACTICE = True
    give_mail(root)

    outbox.tell("action_needed", [root])
    outbox.tell("alarm", administrators(), facts=Facts(text="The disk is full."))

    assert told(root) == [("alarm", ["mail"]), ("action_needed", [])]
    assert Notification.objects.all()[0].title == "The disk is full."


@pytest.mark.parametrize(
    ("seconds", "follows", "mailed"), [(120, False, False), (121, False, True), (5, True, True)]
)
def test_the_end_is_mailed_when_it_took_a_while_or_was_asked_for(
    alice: User, make_job: MakeJob, seconds: int, follows: bool, mailed: bool
) -> None:
    give_mail(alice)
    job = make_job(alice)
    if follows:
        Follower.objects.create(job=job, person=alice)

    outbox.tell_about_job("job_finished", job, Facts(rows=3, seconds=seconds))

    assert told(alice) == [("job_finished", ["mail"] if mailed else [])]


def test_who_follows_a_job_is_told_while_they_may_see_it(
    alice: User, bob: User, root: User, make_job: MakeJob
) -> None:
    job = make_job(alice)
    for one in (bob, root):
        Follower.objects.create(job=job, person=one)

    outbox.tell_about_job("action_needed", job)

    assert (len(told(alice)), len(told(root)), len(told(bob))) == (1, 1, 0)


def test_a_job_takes_as_many_statements_for_many_followers(
    alice: User, root: User, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, team = make_job(alice), Team.objects.create(name="Ads")
    Job.objects.filter(pk=job.pk).update(team=team)
    job.refresh_from_db()

    def follow(number: int) -> User:
        one = User.objects.create_user(f"f{number}")
        Follower.objects.create(job=job, person=one)
        if number % 2:
            team.people.add(one)
        return one

    seeing = [one for one in (follow(number) for number in range(3)) if one.teams.exists()]
    with CaptureQueriesContext(connection) as few:
        assert outbox.tell_about_job("action_needed", job) == 1 + len(seeing)

    seeing += [one for one in (follow(number) for number in range(3, 20)) if one.teams.exists()]
    with CaptureQueriesContext(connection) as many:
        assert outbox.tell_about_job("action_needed", job) == 1 + len(seeing)
    assert len(many) <= len(few)

    monkeypatch.setattr(outbox, "ASKED_AT_ONCE", 4)
    assert outbox.tell_about_job("action_needed", job) == 1 + len(seeing)


def test_telling_takes_the_same_statements_for_many_people(
    django_assert_max_num_queries: DjangoAssertNumQueries, db: None
) -> None:
    people = [User.objects.create_user(f"p{n}", email=f"p{n}@example.org") for n in range(30)]

    with django_assert_max_num_queries(8):
        assert outbox.tell("cap_80", people, key="k") == 30

    assert Delivery.objects.count() == 30


@pytest.mark.parametrize("event", EVENTS)
def test_each_event_has_its_words(event: str) -> None:
    facts = Facts(rows=2, problems=1, cost="1.5", limit="2", whose="team", team="Ads", text="T.")
    title, detail = title_of(event, "reviews", facts), detail_of(event, facts)

    assert title and "\n" not in title + detail
    assert (not detail or detail.endswith(".")) and not title.endswith("..")


def test_an_account_mail_is_stored_encrypted(db: None) -> None:
    outbox.post_mail("ann@example.org", "Set your password", "https://site/reset/secret-token/")

    stored = Delivery.objects.get().sealed
    assert not any(part in stored for part in ("ann", "secret-token", "password"))
    assert outbox.read_mail(stored).to == "ann@example.org"


def test_an_erased_person_is_in_no_notification(alice: User, bob: User, make_job: MakeJob) -> None:
    for _ in range(3):
        facts = Facts(who="bob", cost="1")
        outbox.tell("approval_given", [alice], job=make_job(alice), facts=facts)
    outbox.tell("cap_80", [bob])
    Destination.objects.create(person=bob, channel=Channel.MAIL, label="bob@example.org")

    with CaptureQueriesContext(connection) as queries:
        erasure.erase_name(bob, None)

    left = Notification.objects.first()
    assert left and left.facts == Facts(cost="1") and left.title == "Someone approved “reviews”"
    assert not Notification.objects.filter(facts__has_key="who").exists()
    changed = [one for one in queries.captured_queries if "UPDATE" in one["sql"]]
    assert sum("jobs_notification" in one["sql"] for one in changed) == 1
    assert not Destination.objects.exists()
