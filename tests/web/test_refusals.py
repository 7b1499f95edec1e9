"""Every address there is, asked for by those who may not: no list here can forget one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from http.cookies import Morsel

import pytest
from allauth.mfa.totp.internal.auth import TOTP
from django.contrib.auth.models import User
from django.test import Client
from django.urls import URLPattern, get_resolver
from pytest_django import Settings

from jobs.actions import people
from jobs.models import Access, AuditEntry, Job, Membership, Role, Team
from jobs.web import account_middleware, middleware
from jobs.web.message_storage import MessageCookie

from ..conftest import PASSWORD, signed_in
from ..environment import ROOT
from .test_security import everything

MakeJob = Callable[..., Job]
# For each kind of argument one that exists, if the test has made it.
ARGUMENTS = {
    "number": "1",
    "trial_pk": "1",
    "kind": "csv",
    "which": "refused",
    "cause": "refused",
    "name": "x",
    "token": "x",
    "provider_id": "sso",
}
FORM = {
    "name": "x",
    "prompt": "x",
    "do": "trash",
    "active": "no",
    "role": "administrator",
    "what": "name",
    "delete": "yes",
    "stop": "yes",
    "most_a_job": "5",
}
OF_PEOPLE = ("people/", "teams/")
PUBLIC = {"robots", "favicon"}  # the same for everyone


def addresses(job: Job | None = None, person: User | None = None) -> Iterator[tuple[str, str]]:
    """Name and path of each address of the site. Those of a job are of `job`, those of a person are
    of `person`."""
    for part in get_resolver().url_patterns:
        for pattern in part.url_patterns:  # type: ignore[union-attr]  # both are lists
            assert isinstance(pattern, URLPattern)
            route = str(pattern.pattern)
            if route.startswith("^"):
                route = "account/password/new/1-abc/"
            found = person if route.startswith(OF_PEOPLE) else job
            values = {**ARGUMENTS, "pk": str(found.pk if found else 1)}
            path = re.sub(r"<(?:\w+:)?(\w+)>", lambda match: values[match[1]], route)  # noqa: B023 - called at once
            yield pattern.name or "", f"/{path}"


def test_an_auditor_is_refused_at_every_address_that_takes_a_post(
    make_job: MakeJob, alice: User, root: User
) -> None:
    auditor = User.objects.create_user("ann", password=PASSWORD)
    people.store_role(auditor, Role.AUDITOR)
    client = signed_in(User.objects.get(pk=auditor.pk))
    job, before = make_job(alice, Job.State.DRAFT, prompt="Say {{text}}"), everything()
    asked = 0
    for name, path in addresses(job, alice):
        own = name in account_middleware.OWN or name.startswith("mfa_")
        if own or name in {"account_change_password", "account_logout"}:
            continue
        answer = client.post(path, FORM)
        assert answer.status_code in (403, 404), (name, path)
        asked += 1
    assert asked > 100
    assert everything() == before


@pytest.mark.parametrize(("role", "shared"), [(Role.MEMBER, True), (Role.APPROVER, False)])
def test_a_person_changes_nothing_of_others(
    make_job: MakeJob, alice: User, bob: User, role: Role, shared: bool
) -> None:
    """`shared`: the job is there to read. test_security asks for one that is not as a member."""
    people.store_role(bob, role)
    bob = User.objects.get(pk=bob.pk)
    job = make_job(alice, Job.State.DRAFT, prompt="Say {{text}}")
    if shared:
        team = Team.objects.create(name="Research")
        Membership.objects.bulk_create(Membership(team=team, person=one) for one in (alice, bob))
        Job.objects.filter(pk=job.pk).update(team=team, team_access=Access.READ)
    client, before = signed_in(bob), everything()
    asked = 0
    for name, path in addresses(job, alice):
        if not path.startswith((f"/jobs/{job.pk}/", "/people/", "/teams/")):
            continue
        if shared and name == "follow":  # they are told of what they may see
            continue
        answer = client.post(path, FORM)
        # An old name of an address leads to the new one, which refuses.
        assert answer.status_code in (403, 404, 405) or not name, (name, path)
        asked += 1
    assert asked > 60
    assert everything() == before


def test_the_password_alone_opens_no_address_where_a_second_step_is_due(alice: User) -> None:
    TOTP.activate(alice, "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP")
    client = Client()
    asked = client.post("/login/", {"username": "alice", "password": PASSWORD})
    assert asked.headers["Location"] == "/account/two-factor/sign-in/"
    number = client.session.session_key
    for name, path in addresses():
        if name in middleware.OPEN or path in ("/login/", "/account/two-factor/sign-in/"):
            continue
        for answer in (client.get(path), client.post(path, FORM)):
            assert answer.status_code == 302, path
            assert answer.headers["Location"].startswith("/login/"), path
    assert client.session.session_key in (number, None)


def test_every_answer_says_how_a_browser_may_use_it(
    make_job: MakeJob, alice: User, client_alice: Client, client_root: Client
) -> None:
    """What a signed-in person sees is stored by no browser or proxy. An administrator, and one
    without an account, ask for everything; a member, who is refused much, for some of it."""
    job, stranger = make_job(alice), Client()
    for client in (stranger, client_alice, client_root):
        for number, (name, path) in enumerate(addresses(job, alice)):
            if client is client_alice and number % 4:
                continue
            if name in {"logout", "account_logout", "openid_connect_callback"}:
                continue
            headers = client.get(path).headers
            assert headers["X-Frame-Options"] == "DENY", path
            assert headers["X-Content-Type-Options"] == "nosniff", path
            assert headers["Referrer-Policy"] == "same-origin", path
            assert "Content-Security-Policy" in headers, path
            is_text = headers.get("Content-Type", "").startswith("text/")
            assert not is_text or "charset=utf-8" in headers["Content-Type"], path
            if client is not stranger and name not in PUBLIC:
                assert "no-store" in headers["Cache-Control"], path


def test_the_words_of_a_search_are_in_no_log(
    make_job: MakeJob,
    alice: User,
    client_alice: Client,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They are in the address, and may be a name in a cell."""
    job = make_job(alice, rows=[["Ada", "a quokka"]])
    client_alice.raise_request_exception = False
    with caplog.at_level("DEBUG"):
        for path in ("/", f"/jobs/{job.pk}/rows/", "/no/such/page/", "/people/"):
            client_alice.get(path, {"q": "quokka"})
            Client().get(path, {"q": "quokka"})

        def fail(*_args: object) -> None:
            raise RuntimeError

        monkeypatch.setattr(Job.objects, "visible_to", fail)
        assert client_alice.get(f"/jobs/{job.pk}/", {"q": "quokka"}).status_code == 500
    logged = [record for record in caplog.records if record.name != "django.db.backends"]
    assert logged and "quokka" not in " ".join(record.getMessage() for record in logged)
    assert "quokka" not in str(list(AuditEntry.objects.values()))


def test_a_browser_stores_nothing_of_a_job() -> None:
    """A theme, a time zone, and the number of the last notification."""
    kept = re.compile(r"localStorage\.setItem\(.*|document\.cookie = .*")
    other = re.compile(r"sessionStorage|indexedDB|caches\.|serviceWorker|localStorage\[")
    found = set()
    for path in (ROOT / "static").glob("*.js"):
        text = path.read_text()
        assert not other.search(text), path
        found |= {(path.name, line.partition(";")[0]) for line in kept.findall(text)}
    assert found == {
        ("notifications.js", "localStorage.setItem(SEEN, String(newest))"),
        ("site.js", "document.cookie = `${cookie}"),
        ("theme.js", 'localStorage.setItem("theme", button.dataset.themeChoice)'),
    }


def test_cookies_are_of_this_host_over_https_only(
    alice: User, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = True
    settings.SESSION_COOKIE_NAME, settings.CSRF_COOKIE_NAME = "__Host-session", "__Host-csrf"
    monkeypatch.setattr(MessageCookie, "cookie_name", "__Host-messages")
    client = Client(headers={"X-Forwarded-Proto": "https"})
    seen: dict[str, Morsel[str]] = {}
    client.get("/login/")
    seen |= client.cookies
    client.post("/login/", {"username": "alice", "password": PASSWORD})
    client.get("/account/inactive/")  # which says something on the next page
    seen |= client.cookies
    assert set(seen) == {"__Host-session", "__Host-csrf", "__Host-messages"}
    for name, cookie in seen.items():
        assert cookie["secure"] and cookie["httponly"], name
        assert cookie["samesite"] in ("Lax", "Strict") and cookie["path"] == "/", name
        assert not cookie["domain"], name
