"""The bell, the list of notifications, and what a person chooses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from jobs.models import (
    Channel,
    Delivery,
    Destination,
    Follower,
    Job,
    Notification,
    NotificationChoices,
    Team,
    clock,
    outbox,
)
from jobs.models.notifications import MOST_COUNTED
from jobs.models.outbox import Facts
from jobs.notifications import destinations, messages

MakeJob = Callable[..., Job]
SETTINGS = "/account/notifications/"
HX = {"HX-Request": "true"}


def test_the_bell_counts_what_is_unread(alice: User, bob: User, client_alice: Client) -> None:
    assert "bell-count" not in client_alice.get("/").content.decode()
    outbox.tell("cap_80", [alice, bob])
    outbox.tell("cap_100", [alice])
    assert '<span class="bell-count num">2</span>' in client_alice.get("/").content.decode()

    page = client_alice.get("/notifications/")
    newest = page.context["newest"]
    outbox.tell("cap_100", [alice])  # meanwhile
    client_alice.post("/notifications/read/", {"newest": newest})

    part = client_alice.get("/notifications/bell/", headers=HX).content.decode()
    assert '<span class="bell-count num">1</span>' in part
    assert Notification.objects.of(bob).unread().count() == 1


def test_the_bell_costs_one_bounded_query(alice: User, client_alice: Client) -> None:
    for _ in range(3):
        outbox.tell("cap_80", [alice])
    with CaptureQueriesContext(connection) as found:
        client_alice.get("/")
    mine = [one["sql"] for one in found if "jobs_notification" in one["sql"]]
    assert len(mine) == 1 and f"LIMIT {MOST_COUNTED}" in mine[0]


def test_the_list_leads_to_the_job_and_says_what_was_not_sent(
    alice: User, client_alice: Client, make_job: MakeJob
) -> None:
    job = make_job(alice, name="<b>Kettles</b>")
    destinations.add(
        alice, Channel.APPRISE, "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/"
    )
    outbox.tell_about_job("job_problems", job, Facts(rows=3, problems=1))
    Delivery.objects.update(state=Delivery.State.UNCLEAR, trouble="There was no clear answer.")

    page = client_alice.get("/notifications/").content.decode()

    assert f'href="/jobs/{job.pk}/"' in page
    assert "“&lt;b&gt;Kettles&lt;/b&gt;” is finished with problems" in page
    assert "3 rows good, 1 row needs attention." in page
    assert "Chat to Slack: may have been sent. There was no clear answer." in page


def test_the_list_turns_its_pages(alice: User, client_alice: Client) -> None:
    for _ in range(60):
        outbox.tell("cap_80", [alice])
    first = client_alice.get("/notifications/")
    assert len(first.context["items"]) == 50
    older = client_alice.get("/notifications/", {"before": first.context["older"]})
    assert len(older.context["items"]) == 10 and older.context["older"] is None


def test_an_open_tab_gets_what_is_new_and_wanted(
    alice: User, client_alice: Client, make_job: MakeJob
) -> None:
    outbox.tell("cap_80", [alice])
    before = client_alice.get("/notifications/news/", headers=HX).json()
    assert before["items"] == [], "what was there before the first look is not news"
    job = make_job(alice)
    outbox.tell_about_job("action_needed", job)
    outbox.tell("cap_100", [alice])
    client_alice.post(SETTINGS, {"browser": ["action_needed"]})

    news = client_alice.get("/notifications/news/", {"after": before["newest"]}, headers=HX).json()

    told = Notification.objects.get(event="action_needed")
    assert news == {
        "newest": Notification.objects.latest("pk").pk,
        "items": [
            {
                "id": str(told.uid),
                "title": "Action needed: “reviews”",
                "body": "It can’t continue on its own. Open the job to see what to do.",
                "url": f"/jobs/{job.pk}/",
            }
        ],
    }


def test_the_first_notification_of_all_is_news(alice: User, client_alice: Client) -> None:
    before = client_alice.get("/notifications/news/", headers=HX).json()
    outbox.tell("cap_80", [alice])
    news = client_alice.get("/notifications/news/", {"after": before["newest"]}, headers=HX).json()
    assert before["newest"] == 0 and len(news["items"]) == 1


def test_a_person_chooses_what_comes_by_mail(alice: User, client_alice: Client) -> None:
    page = client_alice.get(SETTINGS).content.decode()
    assert "Something is wrong on this site" not in page, "that is for administrators"
    assert "asks you for approval" not in page
    for group in ("Jobs", "Approval", "Spending", "This site"):
        assert page.count(f'<th scope="rowgroup" colspan="3">{group}</th>') == 1

    client_alice.post(SETTINGS, {"mail": ["cap_80", "nonsense"], "browser": []})

    chosen = NotificationChoices.objects.get(person=alice).choices
    assert [name for name, on in chosen.mail.items() if on] == ["cap_80"]
    assert set(chosen.browser.values()) == {False} and "nonsense" not in chosen.mail
    shown = {name: mail for name, _label, mail, *_ in client_alice.get(SETTINGS).context["events"]}
    assert shown["cap_80"] and not shown["job_finished"]

    # What comes with another role was not chosen yet.
    User.objects.filter(pk=alice.pk).update(is_superuser=True)
    shown = {name: mail for name, _label, mail, *_ in client_alice.get(SETTINGS).context["events"]}
    assert shown["alarm"] and not shown["job_finished"]


def test_a_webhook_is_added_tested_and_removed_and_its_secret_shown_once(
    alice: User, client_alice: Client, client_bob: Client
) -> None:
    every = [name for name, *_ in client_alice.get(SETTINGS).context["events"]]
    values: dict[str, Any] = {"channel": "webhook", "events": every}
    values["address"] = "https://hooks.example.com/path-token"
    secret = client_alice.post(f"{SETTINGS}add/", values).context["secret"]
    added = Destination.objects.get()
    assert len(secret) > 30 and all(map(added.wanted.gets, [*every, "alarm"]))
    assert destinations.unseal(added).secret == secret
    assert not any(part in added.sealed for part in (secret, "path-token", "hooks"))
    page = client_alice.get(SETTINGS).content.decode()
    assert "hooks.example.com" in page and "path-token" not in page and secret not in page

    assert client_bob.post(f"{SETTINGS}{added.pk}/test/").status_code == 404
    assert client_bob.post(f"{SETTINGS}{added.pk}/remove/").status_code == 404
    assert Delivery.objects.count() == 1, "a test was sent when it was added"
    client_alice.post(f"{SETTINGS}{added.pk}/test/")
    assert Delivery.objects.count() == 1, "and is still on its way"
    Delivery.objects.update(state=Delivery.State.SENT, done_at=clock.now())
    client_alice.post(f"{SETTINGS}{added.pk}/test/")
    assert Delivery.objects.count() == 2
    assert not Notification.objects.unread().exists(), "the bell does not count tests"

    client_alice.post(f"{SETTINGS}{added.pk}/remove/")
    assert not Destination.objects.exists() and not Delivery.objects.exists()


@pytest.mark.parametrize(
    ("channel", "address", "why"),
    [
        ("webhook", "http://example.com/", "https://"),
        ("webhook", "https://user:password@example.com/", "user name and the password"),
        ("apprise", "file:///etc/passwd", "Slack, Teams, Discord"),
        ("apprise", "slack://a/b/c/?template=/etc/passwd", "not allowed here"),
        ("mail", "bob@example.com", "Select a valid choice"),
    ],
)
def test_addresses_that_are_refused(
    client_alice: Client, channel: str, address: str, why: str
) -> None:
    values = {"channel": channel, "address": address, "events": ["cap_80"]}
    assert why in client_alice.post(f"{SETTINGS}add/", values).content.decode()
    assert not Destination.objects.exists()


def test_nobody_has_too_many(alice: User, client_alice: Client) -> None:
    values = {"channel": "apprise", "address": "ntfys://example.com/a", "events": ["cap_80"]}
    for _ in range(destinations.MOST + 2):
        answer = client_alice.post(f"{SETTINGS}add/", values)
    assert Destination.objects.count() == destinations.MOST
    assert set(answer.context["form"].errors) == {"__all__"}


def test_what_is_wrong_with_a_secret_stands_beside_it(client_alice: Client) -> None:
    values = {"channel": "webhook", "address": "https://example.com/a", "events": ["cap_80"]}
    answer = client_alice.post(f"{SETTINGS}add/", {**values, "secret": "short"})
    assert set(answer.context["form"].errors) == {"secret"}
    answer = client_alice.post(f"{SETTINGS}add/", {**values, "address": "http://example.com/"})
    assert set(answer.context["form"].errors) == {"address"}


def test_a_job_that_a_person_may_no_longer_see_is_not_named(
    alice: User, bob: User, client_bob: Client, make_job: MakeJob, settings: Settings
) -> None:
    settings.PRACTICE, settings.HAS_MAIL = False, True
    User.objects.filter(pk=bob.pk).update(email="bob@example.org")
    team = Team.objects.create(name="Ads")
    team.people.add(bob)
    job = make_job(alice, name="secret plans", team=team)
    Follower.objects.create(job=job, person=bob)
    client_bob.get("/notifications/news/", headers=HX)
    outbox.tell_about_job("job_problems", job, Facts(rows=3, problems=1, seconds=300))
    assert "secret plans" in client_bob.get("/notifications/").content.decode()

    team.people.remove(bob)

    page = client_bob.get("/notifications/").content.decode()
    assert "A job that you can no longer see is finished with problems" in page
    news = client_bob.get("/notifications/news/", {"after": "0"}, headers=HX).content.decode()
    for shown in (page, news):
        assert not any(one in shown for one in ("secret plans", "3 rows", f"/jobs/{job.pk}/"))
    waiting = Delivery.objects.get(notification__person=bob)
    assert not messages.is_needed(waiting), "and what waits to be sent is not sent"

    Job.objects.filter(pk=job.pk).update(owner=bob, trashed_at=clock.now())
    page = client_bob.get("/notifications/").content.decode()
    assert "secret plans" in page, "the owner knows what is in the trash"


@pytest.mark.parametrize("mail", ["a@example.org", ""])
@pytest.mark.parametrize("has_mail", [True, False])
@pytest.mark.parametrize("practice", [True, False])
def test_notify_me_promises_a_mail_only_if_one_comes(
    alice: User,
    client_alice: Client,
    make_job: MakeJob,
    settings: Settings,
    practice: bool,
    has_mail: bool,
    mail: str,
) -> None:
    settings.HAS_MAIL = has_mail
    User.objects.filter(pk=alice.pk).update(email=mail)
    job = make_job(alice, Job.State.WORKING, practice=practice)
    page = client_alice.post(f"/jobs/{job.pk}/follow/", {"on": "yes"}, follow=True)
    outbox.tell_about_job("job_finished", job, Facts(rows=3, seconds=1))
    assert Delivery.objects.exists() == ("mail you" in page.content.decode())


def test_notify_me_follows_a_job_and_stops(
    alice: User, client_alice: Client, make_job: MakeJob, settings: Settings
) -> None:
    job = make_job(alice, Job.State.WORKING)
    address = f"/jobs/{job.pk}/follow/"
    assert 'aria-pressed="false"' in client_alice.get(f"/jobs/{job.pk}/").content.decode()
    for _ in range(2):
        client_alice.post(address, {"on": "yes"})
    assert Follower.objects.filter(job=job, person=alice).count() == 1
    assert 'aria-pressed="true"' in client_alice.get(f"/jobs/{job.pk}/").content.decode()
    client_alice.post(address, {"on": "no"})
    assert not Follower.objects.exists()
