"""The first account, signing in and out, passwords, and who may use the site."""

from __future__ import annotations

import threading

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from jobs.models import Installation
from jobs.web.middleware import needs_set_up

from ..conftest import PASSWORD

NEW = {"username": "first", "password1": "a long enough one", "password2": "a long enough one"}


# --- The first account ----------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/jobs/new/", "/jobs/1/", "/people/", "/nowhere/"])
def test_without_an_account_every_page_leads_to_the_set_up(db: None, path: str) -> None:
    assert Client().get(path).headers["Location"] == "/setup/"


def test_the_set_up_makes_an_administrator_and_signs_in(db: None) -> None:
    client = Client()

    assert client.post("/setup/", NEW).headers["Location"] == "/"

    user = User.objects.get()
    assert user.username == "first" and user.is_superuser and user.check_password(NEW["password1"])
    assert client.get("/").status_code == 200


def test_the_set_up_says_that_no_key_was_found(db: None, settings: Settings) -> None:
    settings.PRACTICE = True
    assert "No key was found" in Client().get("/setup/").content.decode()


def test_the_set_up_says_that_a_key_was_found(db: None, settings: Settings) -> None:
    settings.PRACTICE = False
    page = Client().get("/setup/").content.decode()
    assert "An Anthropic key was found" in page and "Practice mode" not in page


def test_the_set_up_is_over_once_there_is_an_account(alice: User) -> None:
    assert Client().get("/setup/").headers["Location"] == "/"
    assert Client().post("/setup/", NEW).headers["Location"] == "/"
    assert User.objects.count() == 1


def test_a_bad_first_password_makes_no_account(db: None) -> None:
    page = Client().post("/setup/", {**NEW, "password1": "12345678", "password2": "12345678"})

    assert "entirely numeric" in page.content.decode()
    assert not User.objects.exists()
    assert Installation.get().set_up_at is None


@pytest.mark.django_db(transaction=True)
def test_two_set_ups_at_once_make_one_account(monkeypatch: pytest.MonkeyPatch) -> None:
    # Both have seen that there is no account before either has made one.
    both_have_looked = threading.Barrier(2, timeout=20)

    def look_together() -> bool:
        seen = needs_set_up()
        both_have_looked.wait()
        return seen

    monkeypatch.setattr("jobs.web.views.accounts.needs_set_up", look_together)
    landed: list[str] = []

    def set_up(name: str) -> None:
        try:
            answer = Client().post("/setup/", {**NEW, "username": name})
            landed.append(answer.headers["Location"])
        finally:
            connection.close()

    threads = [threading.Thread(target=set_up, args=[name]) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert User.objects.count() == 1
    assert sorted(landed) == ["/", "/login/"]


# --- Signing in and out ---------------------------------------------------------------------------


def test_signing_in_leads_to_the_page_that_was_wanted(alice: User) -> None:
    client = Client()
    assert client.get("/jobs/new/").headers["Location"] == "/login/?next=/jobs/new/"

    answer = client.post("/login/?next=/jobs/new/", {"username": "alice", "password": PASSWORD})

    assert answer.headers["Location"] == "/jobs/new/"


@pytest.mark.parametrize(
    "elsewhere",
    ["//evil.example/", "https://evil.example/", "/\\evil.example", "javascript:alert(1)"],
)
def test_signing_in_never_leads_away_from_the_site(alice: User, elsewhere: str) -> None:
    values = {"username": "alice", "password": PASSWORD, "next": elsewhere}
    assert Client().post("/login/", values).headers["Location"] == "/"


def test_a_wrong_name_and_a_wrong_password_look_the_same(alice: User) -> None:
    def words(name: str) -> str:
        page = Client().post("/login/", {"username": name, "password": "wrong"}).content.decode()
        return page.partition('role="alert"')[2].partition("</div>")[0]

    assert "do not go together" in words("alice")
    assert words("alice") == words("nobody")


def test_a_name_that_was_shut_out_looks_the_same_too(alice: User) -> None:
    User.objects.update(is_active=False)
    page = Client().post("/login/", {"username": "alice", "password": PASSWORD}).content.decode()
    assert "do not go together" in page


def test_signing_out_is_a_post(client_alice: Client) -> None:
    assert client_alice.get("/logout/").status_code == 405
    assert client_alice.get("/").status_code == 200

    assert client_alice.post("/logout/").headers["Location"] == "/login/"

    assert client_alice.get("/").headers["Location"] == "/login/?next=/"


def test_a_password_can_be_changed(client_alice: Client, alice: User) -> None:
    new = {"new_password1": "quite another one", "new_password2": "quite another one"}

    wrong = client_alice.post("/password/", {"old_password": "not it", **new})
    assert wrong.status_code == 200 and "is-invalid" in wrong.content.decode()
    client_alice.post("/password/", {"old_password": PASSWORD, **new})

    alice.refresh_from_db()
    assert alice.check_password("quite another one")
    assert "Your password was changed" in client_alice.get("/password/").content.decode()


# --- People ---------------------------------------------------------------------------------------


def test_only_administrators_know_of_the_people_page(client_alice: Client, bob: User) -> None:
    assert client_alice.get("/people/").status_code == 404
    assert client_alice.post("/people/", NEW).status_code == 404
    assert client_alice.post(f"/people/{bob.pk}/active/", {"active": "no"}).status_code == 404
    assert client_alice.get(f"/people/{bob.pk}/password/").status_code == 404
    bob.refresh_from_db()
    assert bob.is_active and User.objects.count() == 2


@pytest.mark.parametrize("administrator", [False, True])
def test_an_administrator_adds_a_person(client_root: Client, administrator: bool) -> None:
    values = {**NEW, **({"administrator": "on"} if administrator else {})}

    assert client_root.post("/people/", values).headers["Location"] == "/people/"

    person = User.objects.get(username="first")
    assert person.is_superuser is administrator
    assert "first" in client_root.get("/people/").content.decode()


def test_a_name_is_given_once(client_root: Client, alice: User) -> None:
    page = client_root.post("/people/", {**NEW, "username": "alice"}).content.decode()
    assert "already exists" in page


def test_a_person_is_shut_out_at_once_and_let_in_again(
    client_root: Client, client_alice: Client, alice: User
) -> None:
    address = reverse("person_active", args=[alice.pk])
    assert client_root.get(address).status_code == 405

    client_root.post(address, {"active": "no"})
    assert client_alice.get("/").status_code == 302
    client_root.post(address, {"active": "yes"})

    assert client_alice.get("/").status_code == 200


def test_nobody_shuts_themselves_out(client_root: Client, root: User) -> None:
    client_root.post(reverse("person_active", args=[root.pk]), {"active": "no"})
    root.refresh_from_db()
    assert root.is_active


def test_a_new_password_signs_the_person_out(
    client_root: Client, client_alice: Client, alice: User
) -> None:
    values = {"new_password1": "quite another one", "new_password2": "quite another one"}

    answer = client_root.post(reverse("person_password", args=[alice.pk]), values)

    assert answer.headers["Location"] == "/people/"
    alice.refresh_from_db()
    assert alice.check_password("quite another one")
    assert client_alice.get("/").status_code == 302
