"""Erasing a person leaves no name and no data, and what was spent stays."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from allauth.socialaccount.models import SocialAccount
from allauth.usersessions.models import UserSession
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client

from jobs.actions import erasure, people
from jobs.drafts import templates
from jobs.models import AuditEntry, Job, Template, administrators
from jobs.rules.recipes import Recipe

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
