"""Erasing a person leaves no name and no data, and what was spent stays."""

from __future__ import annotations

import html
import threading
from collections.abc import Callable
from importlib import import_module

import pytest
from allauth.socialaccount.models import SocialAccount
from allauth.usersessions.models import UserSession
from django.apps import apps
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client, RequestFactory
from pytest_django import Settings

from jobs.actions import erasure, invitations, people
from jobs.drafts import templates
from jobs.models import (
    AuditEntry,
    Delivery,
    Invitation,
    Job,
    Profile,
    Role,
    Template,
    administrators,
    clock,
    outbox,
    role_of,
)
from jobs.models.outbox import Facts
from jobs.rules.recipes import Recipe
from jobs.web.account_adapters import AccountAdapter
from jobs.worker import housekeeping

from ..conftest import PASSWORD, signed_in
from ..running import SECONDS

MakeJob = Callable[..., Job]


def test_data_goes_to_the_trash(make_job: MakeJob, alice: User, bob: User, root: User) -> None:
    done, running = make_job(alice, spent_pico=5), make_job(alice, Job.State.WORKING)
    kept = make_job(bob)
    templates.save_template(alice, "Mine", Recipe("x"), shared=True)
    assert erasure.erase_data(alice, root) == (1, 1)
    trashed = dict(Job.objects.values_list("pk", "trashed_at"))
    assert trashed[done.pk] and not trashed[running.pk] and not trashed[kept.pk]
    assert not Template.objects.exists()
    assert AuditEntry.objects.latest("number").detail.after["still_running"] == 1


def test_a_name_is_erased_and_signed_out(make_job: MakeJob, client_alice: Client) -> None:
    alice = User.objects.get(username="alice")
    User.objects.update(email="alice@example.com")
    make_job(alice)
    assert client_alice.get("/").status_code == 200
    call_command("erase", "alice", "--name", "--yes")
    assert client_alice.get("/").status_code == 302
    person = User.objects.get(pk=alice.pk)
    assert (person.username, person.email) == (f"erased-{alice.pk}", "")
    assert not person.check_password(PASSWORD) and not person.is_active
    assert Job.objects.get().owner_id == alice.pk
    entry = AuditEntry.objects.latest("number")
    assert (entry.event, entry.target) == ("person_name_erased", f"person {alice.pk}")
    assert "alice" not in str(list(AuditEntry.objects.values()))


def test_nothing_brings_an_erased_person_back(
    alice: User, bob: User, root: User, client_root: Client
) -> None:
    name = erasure.erase_name(alice, root)
    page = f"/people/{alice.pk}/"
    shown = client_root.get(page).content.decode()
    assert "Erased" in shown and "Reactivate" not in shown and "reset link" not in shown
    before = User.objects.filter(pk=alice.pk).values().get()
    for path, given in (
        ("active/", {"active": "yes"}),
        ("role/", {"role": "administrator"}),
        ("password/", {}),
        ("erase/", {"what": "name"}),
    ):
        answer = client_root.post(f"{page}{path}", given, follow=True)
        said = html.unescape(answer.content.decode())
        assert f"{name} is erased. Nothing can bring this account back." in said, path
    assert User.objects.filter(pk=alice.pk).values().get() == before
    assert role_of(User.objects.get(pk=alice.pk)) == Role.MEMBER
    assert AuditEntry.objects.latest("number").event == "person_name_erased"


def test_a_name_that_is_taken_stops_no_erasing(alice: User, bob: User, root: User) -> None:
    User.objects.filter(pk=bob.pk).update(username=f"Erased-{alice.pk}")
    assert erasure.erase_name(alice, root) == f"erased-{alice.pk}-1"
    invited = Client().post(
        f"/invitation/{invitations.invite(Role.MEMBER, [], '', root)}/",
        {"username": "ERASED-77", "password1": PASSWORD, "password2": PASSWORD},
    )
    assert "for erased accounts" in invited.content.decode()
    assert not User.objects.filter(username__iexact="erased-77").exists()
    adapter = AccountAdapter(RequestFactory().get("/"))
    assert adapter.generate_unique_username(["Erased-78"]) == "user"
    assert adapter.generate_unique_username(["erased"]) == "erased"


def test_no_table_has_the_name_or_the_mail_of_an_erased_person(
    make_job: MakeJob, bob: User, root: User, settings: Settings
) -> None:
    settings.HAS_MAIL = True
    person = User.objects.create_user("zebediah", email="zeb@example.com", password=PASSWORD)
    make_job(person)
    job = make_job(bob)
    templates.save_template(person, "Mine", Recipe("x"), shared=False)
    templates.save_template(bob, "Mine", Recipe("x"), shared=False)
    invitations.take(invitations.invite(Role.MEMBER, [], "zeb@example.com", root), bob)
    invitations.invite(Role.MEMBER, [], "ZEB@example.com", root)
    people.hand_over(person, bob, root)
    people.hand_over(bob, person, root)
    outbox.tell("approval_given", [bob], job=job, facts=Facts(who="zebediah"))
    outbox.post_mail("zeb@example.com", "zebediah", "zebediah")
    outbox.post_mail("bob@example.com", "Hello", "A link")
    Client(REMOTE_ADDR="192.0.2.9").post("/login/", {"username": "zebediah", "password": "x"})
    signed_in(person).get("/")

    erasure.erase_name(person, root)

    for model in apps.get_models():
        stored = str(list(model._default_manager.values())).lower()
        assert "zeb" not in stored, model.__name__
    (kept,) = Delivery.objects.filter(notification=None).exclude(sealed="")
    assert outbox.read_mail(kept.sealed).to == "bob@example.com"


def test_people_who_were_erased_by_an_older_version_stay_erased(alice: User, root: User) -> None:
    name = erasure.erase_name(alice, root)
    Profile.objects.update_or_create(person=root, defaults={"role": Role.ADMINISTRATOR})
    Profile.objects.update(erased_at=None)  # as it was before that was noted
    migration = import_module("jobs.migrations.0056_announced_retention")
    migration.note_erased_people(apps, None)
    assert [one.person.username for one in Profile.objects.exclude(erased_at=None)] == [name]


def test_the_mail_of_an_invitation_is_forgotten_when_it_is_over(root: User) -> None:
    for number in range(4):
        invitations.invite(Role.MEMBER, [], f"{number}@example.com", root)
    first, second, third, _fourth = Invitation.objects.order_by("pk")
    Invitation.objects.filter(pk=first.pk).update(expires_at=clock.now())
    Invitation.objects.filter(pk=second.pk).update(used_at=clock.now())
    assert invitations.withdraw(third.pk, root)
    housekeeping.tidy_up()
    assert list(Invitation.objects.exclude(mail="").values_list("mail", flat=True)) == [
        "3@example.com"
    ]


def test_the_last_administrator_stays(root: User) -> None:
    with pytest.raises(CommandError, match="only administrator"):
        call_command("erase", "root", "--name", "--yes")
    assert User.objects.get().username == "root"


def test_an_administrator_erases_a_person_on_their_page(
    make_job: MakeJob, alice: User, bob: User, root: User, client_root: Client, client_alice: Client
) -> None:
    job, running = make_job(alice), make_job(alice, Job.State.WORKING)
    SocialAccount.objects.create(user=alice, provider="sso", uid="1", extra_data={"name": "alice"})
    client_alice.get("/")
    path = f"/people/{alice.pk}/erase/"
    page = client_root.get(path).content.decode()
    assert "Move 1 job to the trash" in page and "1 job is still running" in page
    assert "cannot be undone" in page
    for client, status in ((client_alice, 404), (signed_in(bob), 404)):
        assert client.post(path, {"what": "name"}).status_code == status

    client_root.post(path, {"what": "data"})
    job.refresh_from_db()
    assert job.trashed_at and User.objects.get(pk=alice.pk).username == "alice"
    client_root.post(path, {"what": "nonsense"})
    answer = client_root.post(path, {"what": "name"}, follow=True)

    assert f"The account is now called erased-{alice.pk}" in answer.content.decode()
    assert client_alice.get("/").status_code == 302
    assert not SocialAccount.objects.exists() and not UserSession.objects.filter(user=alice)
    events = AuditEntry.objects.filter(target=f"person {alice.pk}").order_by("number")
    assert [(one.event, one.who) for one in events] == [
        ("person_data_erased", root.pk),
        ("person_name_erased", root.pk),
    ]
    running.refresh_from_db()
    assert running.trashed_at is None


def test_nobody_erases_themselves_nor_the_last_administrator(
    root: User, client_root: Client, alice: User
) -> None:
    path = f"/people/{root.pk}/erase/"
    assert "own account" in client_root.get(path, follow=True).content.decode()
    assert "own account" in client_root.post(path, {"what": "name"}, follow=True).content.decode()
    assert User.objects.filter(username="root", is_superuser=True).exists()


@pytest.mark.django_db(transaction=True)
def test_two_administrators_who_erase_each_other_leave_one(root: User) -> None:
    other = User.objects.create_superuser("other", password=PASSWORD)
    begin = threading.Barrier(2, timeout=SECONDS)
    refused: list[str] = []

    def erase(person: User, by: User) -> None:
        try:
            begin.wait()
            erasure.erase_name(person, by)
        except people.NotPossible as why:
            refused.append(str(why))
        finally:
            connection.close()

    pairs = ((root, other), (other, root))
    threads = [threading.Thread(target=erase, args=pair) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert administrators().count() == 1 and len(refused) == 1
