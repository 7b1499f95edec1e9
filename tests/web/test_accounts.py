"""The first account, signing in and out, passwords, and who may use the site."""

from __future__ import annotations

import html
import re
import threading

import pytest
from allauth.usersessions.models import UserSession
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from jobs.actions import first_account, invitations
from jobs.models import (
    AuditEntry,
    Delivery,
    Installation,
    Invitation,
    Role,
    Team,
    outbox,
    role_of,
)
from jobs.notifications import messages
from jobs.worker import housekeeping

from ..conftest import PASSWORD, set_up_path, signed_in
from ..running import SECONDS

NEW = {"username": "first", "password1": "a long enough one", "password2": "a long enough one"}


# --- The first account ----------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/jobs/new/", "/jobs/1/", "/people/", "/nowhere/"])
def test_without_an_account_every_page_leads_to_the_set_up(db: None, path: str) -> None:
    assert Client().get(path).headers["Location"] == "/setup/"


def test_the_set_up_makes_an_administrator_and_signs_in(db: None) -> None:
    client = Client()

    assert client.post(set_up_path(), NEW).headers["Location"] == "/"

    user = User.objects.get()
    assert user.username == "first" and user.is_superuser and user.check_password(NEW["password1"])
    assert client.get("/").status_code == 200


def test_the_set_up_says_that_no_key_was_found(db: None, settings: Settings) -> None:
    settings.PRACTICE = True
    assert "no API key was found" in Client().get(set_up_path()).content.decode()


def test_the_set_up_says_that_a_key_was_found(db: None, settings: Settings) -> None:
    settings.PRACTICE = False
    page = Client().get(set_up_path()).content.decode()
    assert "An Anthropic API key was found" in page and "Practice mode" not in page


def test_the_set_up_is_over_once_there_is_an_account(alice: User) -> None:
    assert Client().get("/setup/").headers["Location"] == "/"
    assert Client().post("/setup/", NEW).headers["Location"] == "/"
    assert User.objects.count() == 1


def test_a_bad_first_password_makes_no_account(db: None) -> None:
    page = Client().post(set_up_path(), {**NEW, "password1": "12345678", "password2": "12345678"})

    assert "entirely numeric" in page.content.decode()
    assert not User.objects.exists()
    assert Installation.get().set_up_at is None


@pytest.mark.django_db(transaction=True)
def test_two_set_ups_at_once_make_one_account(monkeypatch: pytest.MonkeyPatch) -> None:
    # Both have seen that there is no account before either has made one.
    both_have_looked = threading.Barrier(2, timeout=SECONDS)

    def look_together() -> bool:
        seen = is_missing()
        both_have_looked.wait()
        return seen

    link, is_missing = set_up_path(), first_account.is_missing
    monkeypatch.setattr("jobs.actions.first_account.is_missing", look_together)
    landed: list[str] = []

    def set_up(name: str) -> None:
        try:
            answer = Client().post(link, {**NEW, "username": name})
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

    assert "Wrong user name or password" in words("alice")
    assert words("alice") == words("nobody")


def test_a_name_that_was_shut_out_looks_the_same_too(alice: User) -> None:
    User.objects.update(is_active=False)
    page = Client().post("/login/", {"username": "alice", "password": PASSWORD}).content.decode()
    assert "Wrong user name or password" in page


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


def test_a_mail_address_signs_in_too(alice: User) -> None:
    User.objects.update(email="alice@example.com")
    for name in ("alice@example.com", "ALICE@example.com", "alice"):
        answer = Client().post("/login/", {"username": name, "password": PASSWORD})
        assert answer.headers["Location"] == "/", name


def test_a_changed_password_ends_all_other_sessions(alice: User) -> None:
    client_alice, elsewhere = traced(alice), signed_in(alice)
    assert elsewhere.get("/").status_code == 200
    new = {"new_password1": "quite another one", "new_password2": "quite another one"}

    client_alice.get("/")
    before = UserSession.objects.get(session_key=client_alice.session.session_key)
    client_alice.post("/password/", {"old_password": PASSWORD, **new})

    assert client_alice.session.session_key != before.session_key
    page = client_alice.get("/account/sessions/").content.decode()
    assert page.count("This device") == 1, "this session is in the list as before"
    assert UserSession.objects.get().pk == before.pk
    assert client_alice.get("/").status_code == 200
    assert elsewhere.get("/").status_code == 302


# --- A forgotten password -------------------------------------------------------------------------

FORGOTTEN = "/account/password/forgotten/"


def test_without_mail_the_page_says_whom_to_ask(root: User) -> None:
    page = Client().get(FORGOTTEN).content.decode()
    assert "Ask the person who runs this site" in page and "Send link" not in page
    assert "root" not in page, "a stranger learns no name"


@pytest.fixture
def with_mail(settings: Settings) -> None:
    settings.HAS_MAIL, settings.DEFAULT_FROM_EMAIL = True, "site@example.com"


def posted() -> list[outbox.AccountMail]:
    """The mails that the worker would send."""
    waiting = Delivery.objects.filter(state=Delivery.State.WAITING).order_by("pk")
    return [mail for one in waiting if (mail := messages.account_mail(one.sealed))]


def link_of(text: str) -> str:
    """The path of the link in a mail or on a page."""
    found = re.search(r"http://testserver(/\S+?)(?=[\s<])", text)
    assert found, text
    return found[1]


def choose_password(link: str, password: str) -> str:
    """Follow a reset link as a browser does; the page that says how it ended."""
    client = Client()
    page = client.get(link, follow=True)
    if "password1" not in page.content.decode():
        return page.content.decode()
    values = {"password1": password, "password2": password}
    done = client.post(page.redirect_chain[-1][0], values, follow=True)
    return done.content.decode()


def test_a_link_by_mail_changes_a_forgotten_password_once(
    alice: User, client_alice: Client, with_mail: None
) -> None:
    User.objects.update(email="alice@example.com")
    answer = Client().post(FORGOTTEN, {"email": "Alice@example.com"}, follow=True)
    assert "a link is on its way" in answer.content.decode()
    (mail,) = posted()
    assert mail.to == "alice@example.com"
    link = link_of(f"{mail.text}\n")

    assert "Password saved" in choose_password(link, "quite another one")

    alice.refresh_from_db()
    assert alice.check_password("quite another one")
    assert client_alice.get("/").status_code == 302
    assert "This link has expired" in choose_password(link, "a third one, longer")
    assert AuditEntry.objects.filter(event="password_reset", who=alice.pk).exists()


def test_an_unknown_address_looks_the_same_and_gets_no_mail(
    alice: User, bob: User, with_mail: None
) -> None:
    bob.email = "bob@example.com"
    bob.set_unusable_password()  # as after single sign-on
    bob.save()
    for address in ("nobody@example.com", bob.email):
        answer = Client().post(FORGOTTEN, {"email": address}, follow=True)
        assert "a link is on its way" in answer.content.decode()
    assert not posted()


def test_the_work_for_an_address_is_the_same_whether_somebody_has_it(
    alice: User, bob: User, with_mail: None
) -> None:
    """So the time that a page takes tells nobody who has an account: it asks the database the
    same, looks for nobody, and sends nothing itself."""
    User.objects.filter(pk=alice.pk).update(email="alice@example.com")
    bob.email = "bob@example.com"
    bob.set_unusable_password()
    bob.save()
    asked = []
    for number, address in enumerate(("alice@example.com", bob.email, "nobody@example.com")):
        with CaptureQueriesContext(connection) as found:
            Client(REMOTE_ADDR=f"192.0.2.{number}").post(FORGOTTEN, {"email": address})
        asked.append([re.sub(r"'[^']*'|\d+", "?", one["sql"])[:60] for one in found])
    assert asked[0] == asked[1] == asked[2]
    assert not any("auth_user" in one or "account_email" in one for one in asked[0])
    assert [mail.to for mail in posted()] == ["alice@example.com"]


def test_mails_that_wait_are_named_for_administrators(client_root: Client, with_mail: None) -> None:
    page = client_root.post("/people/", {"role": "member", "mail": "new@example.com"})
    assert "/invitation/" in page.content.decode(), "to copy, should the mail not arrive"
    Delivery.objects.update(attempts=1, trouble="The mail server could not be reached.")
    page = client_root.get("/people/")
    assert "The mail server could not be reached." in page.content.decode()


# --- Your account ---------------------------------------------------------------------------------


def test_a_mail_address_is_changed_with_the_password_only(
    client_alice: Client, alice: User
) -> None:
    asked = client_alice.get("/account/mail/")
    assert asked.headers["Location"].startswith("/account/confirm/")
    client_alice.post("/account/confirm/", {"password": PASSWORD, "next": "/account/mail/"})

    client_alice.post("/account/mail/", {"mail": "alice@example.com"})

    alice.refresh_from_db()
    assert alice.email == "alice@example.com"


def traced(user: User) -> Client:
    """A browser whose session is in the list of sessions once it opens a page."""
    client = Client()
    client.force_login(user)
    return client


def test_one_session_and_all_others_can_be_ended(alice: User) -> None:
    client_alice, phone, tablet = traced(alice), traced(alice), traced(alice)
    for client in (client_alice, phone, tablet):
        client.get("/", headers={"User-Agent": "Mozilla/5.0 (X11; Linux) Firefox/140.0"})
    page = client_alice.get("/account/sessions/").content.decode()
    assert page.count("Firefox on Linux") >= 3 and "This device" in page
    key = phone.session.session_key
    session = UserSession.objects.get(session_key=key)

    client_alice.post("/account/sessions/", {"session": session.pk})
    assert phone.get("/").status_code == 302
    assert tablet.get("/").status_code == 200
    client_alice.post("/account/sessions/")

    assert tablet.get("/").status_code == 302
    assert client_alice.get("/").status_code == 200


def test_looking_at_the_sessions_changes_none(alice: User) -> None:
    client, gone, old = traced(alice), traced(alice), traced(alice)
    for one in (client, gone, old):
        one.get("/")
    Session.objects.filter(pk=gone.session.session_key).delete()
    Session.objects.filter(pk=old.session.session_key).update(expire_date=timezone.now())
    before = list(UserSession.objects.order_by("pk").values())
    page = client.get("/account/sessions/")
    assert [one.session_key for one, *_ in page.context["sessions"]] == [client.session.session_key]
    assert list(UserSession.objects.order_by("pk").values()) == before
    housekeeping.tidy_up()
    assert UserSession.objects.get().session_key == client.session.session_key
    assert Session.objects.count() == 1


def test_nobody_ends_the_session_of_another(client_alice: Client, bob: User) -> None:
    client_bob = traced(bob)
    client_bob.get("/")
    session = UserSession.objects.get(user=bob)
    assert client_alice.post("/account/sessions/", {"session": session.pk}).status_code == 404
    assert client_bob.get("/").status_code == 200


@pytest.mark.parametrize(("name", "hours"), [("session_seen", 73), ("session_began", 14 * 24 + 1)])
def test_a_session_ends_when_it_is_idle_or_old(client_alice: Client, name: str, hours: int) -> None:
    client_alice.get("/")
    session = client_alice.session
    session[name] -= hours * 3600
    session.save()
    assert client_alice.get("/").headers["Location"] == "/login/?next=/"


def test_a_page_that_renews_itself_keeps_no_session(client_alice: Client) -> None:
    client_alice.get("/")
    session = client_alice.session
    session["session_seen"] -= 3600
    session.save()
    before = session["session_seen"]

    client_alice.get("/", headers={"HX-Request": "true"})
    assert client_alice.session["session_seen"] == before
    client_alice.get("/")

    assert client_alice.session["session_seen"] > before


# --- Invitations ----------------------------------------------------------------------------------


def invite(client: Client, **values: object) -> str:
    """The path of the link that the administrator is shown."""
    page = client.post("/people/", {"role": "member", **values}).content.decode()
    return link_of(html.unescape(page))


def test_an_invited_person_makes_their_account_once(client_root: Client, root: User) -> None:
    team = Team.objects.create(name="Research")
    link = invite(client_root, role="approver", teams=team.pk, mail="new@example.com")
    assert Invitation.objects.get().token_hash not in link

    client = Client()
    assert "root" in client.get(link).content.decode()
    assert client.post(link, NEW).headers["Location"] == "/"

    person = User.objects.get(username="first")
    assert role_of(person) == Role.APPROVER and person.email == "new@example.com"
    assert list(team.people.all()) == [person]
    assert client.get("/").status_code == 200
    assert Client().post(link, {**NEW, "username": "second"}).status_code == 410
    assert User.objects.count() == 2


def test_an_invitation_is_sent_by_mail(client_root: Client, with_mail: None) -> None:
    client_root.post("/people/", {"role": "member", "mail": "new@example.com"})

    (mail,) = posted()
    assert mail.to == "new@example.com"
    assert Client().get(link_of(f"{mail.text}\n")).status_code == 200


def test_an_invitation_is_over_after_a_week_or_when_it_is_withdrawn(client_root: Client) -> None:
    link, other = invite(client_root), invite(client_root)
    first, second = Invitation.objects.order_by("pk")
    Invitation.objects.filter(pk=first.pk).update(expires_at=timezone.now())
    assert client_root.get("/people/").content.decode().count("Withdraw<") == 1

    client_root.post(f"/people/invitations/{second.pk}/withdraw/")

    for path in (link, other, "/invitation/no-such-token/"):
        assert Client().get(path).status_code == 410
        assert Client().post(path, NEW).status_code == 410
    assert User.objects.count() == 1


def test_a_name_is_given_once(client_root: Client, alice: User) -> None:
    page = Client().post(invite(client_root), {**NEW, "username": "alice"}).content.decode()
    assert "already exists" in page
    assert Invitation.objects.get().used_at is None


@pytest.mark.django_db(transaction=True)
def test_two_clicks_at_once_make_one_account(root: User, monkeypatch: pytest.MonkeyPatch) -> None:
    link = invite(signed_in(root))
    both_have_looked = threading.Barrier(2, timeout=SECONDS)
    find = invitations.find

    def look_together(token: str) -> Invitation | None:
        found = find(token)
        both_have_looked.wait()
        return found

    monkeypatch.setattr(invitations, "find", look_together)
    statuses: list[int] = []

    def accept(name: str) -> None:
        try:
            statuses.append(Client().post(link, {**NEW, "username": name}).status_code)
        finally:
            connection.close()

    threads = [threading.Thread(target=accept, args=[name]) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(statuses) == [302, 410]
    assert User.objects.count() == 2


# --- People ---------------------------------------------------------------------------------------


def test_only_administrators_know_of_the_people_page(client_alice: Client, bob: User) -> None:
    assert client_alice.get("/people/").status_code == 404
    assert client_alice.post("/people/", {"role": "administrator"}).status_code == 404
    for name in ("active", "password", "role", "hand-over", "two-factor"):
        path = f"/people/{bob.pk}/{name}/"
        assert client_alice.post(path, {"active": "no"}).status_code == 404, name
    bob.refresh_from_db()
    assert bob.is_active and not Invitation.objects.exists()


def test_a_person_is_shut_out_at_once_and_let_in_again(
    client_root: Client, client_alice: Client, alice: User
) -> None:
    address = reverse("person_active", args=[alice.pk])
    assert client_root.get(address).status_code == 405

    client_root.post(address, {"active": "no"})
    assert client_alice.get("/").status_code == 302
    client_root.post(address, {"active": "yes"})

    assert signed_in(alice).get("/").status_code == 200


def test_nobody_shuts_themselves_out(client_root: Client, root: User) -> None:
    client_root.post(reverse("person_active", args=[root.pk]), {"active": "no"})
    root.refresh_from_db()
    assert root.is_active


def test_an_administrator_makes_a_link_and_knows_no_password(
    client_root: Client, client_alice: Client, alice: User
) -> None:
    page = client_root.post(reverse("person_password", args=[alice.pk])).content.decode()
    alice.refresh_from_db()
    assert alice.check_password(PASSWORD)

    choose_password(link_of(html.unescape(page)), "quite another one")

    alice.refresh_from_db()
    assert alice.check_password("quite another one")
    assert client_alice.get("/").status_code == 302
