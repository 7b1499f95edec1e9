"""Two-factor sign-in: app, recovery codes and passkeys, and who has to have it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal import auth
from asgiref.local import Local
from django.contrib.auth.models import User
from django.core.cache import caches
from django.test import Client
from pytest_django import Settings

from jobs.actions import people
from jobs.models import AuditEntry, audit
from jobs.web import shared_cache
from jobs.web.shared_cache import SharedCache

from ..conftest import PASSWORD, signed_in

APP = "/account/two-factor/app/"
NOW = time.time()


@pytest.fixture(autouse=True)
def phone_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time by which codes are valid stands still: on a busy machine a step of 30 seconds may
    end between making a code and giving it."""
    monkeypatch.setattr(auth, "time", SimpleNamespace(time=lambda: NOW))


def code_of(secret: str, steps: int = 0) -> str:
    """What an authenticator app shows: RFC 6238. `steps`: its clock is ahead by so many times 30
    seconds."""
    counter = struct.pack(">Q", int(NOW) // 30 + steps)
    digest = hmac.new(base64.b32decode(secret), counter, hashlib.sha1).digest()
    start = digest[-1] & 15
    number = int.from_bytes(digest[start : start + 4]) & 0x7FFFFFFF
    return f"{number % 1_000_000:06}"


def confirmed(user: User) -> Client:
    """A browser in which the person has just given their password once more."""
    client = signed_in(user)
    client.post("/account/confirm/", {"password": PASSWORD, "next": "/account/"})
    return client


def add_app(client: Client) -> str:
    """The secret of the app that is added."""
    page = client.get(APP)
    secret: str = page.context["form"].secret
    assert secret in page.content.decode()
    done = client.post(APP, {"code": code_of(secret, -1)})
    assert done.headers["Location"] == "/account/two-factor/codes/"
    return secret


def give_password(client: Client) -> Any:
    return client.post("/login/?next=/templates/", {"username": "alice", "password": PASSWORD})


def test_an_app_is_added_only_with_the_password(client_alice: Client) -> None:
    assert client_alice.get(APP).headers["Location"].startswith("/account/confirm/")


def test_with_an_app_the_password_alone_opens_nothing(alice: User) -> None:
    secret = add_app(confirmed(alice))
    stored = Authenticator.objects.get(type="totp").data["secret"]
    assert secret not in stored  # it is encrypted
    client = Client()

    assert give_password(client).headers["Location"] == "/account/two-factor/sign-in/"
    assert client.get("/").headers["Location"] == "/login/?next=/"
    wrong = client.post("/account/two-factor/sign-in/", {"code": "000000"})
    assert "Wrong code" in wrong.content.decode()
    right = client.post("/account/two-factor/sign-in/", {"code": code_of(secret)})

    assert right.headers["Location"] == "/templates/"
    assert client.get("/").status_code == 200


def test_wrong_codes_are_counted(alice: User) -> None:
    secret = add_app(confirmed(alice))
    client = Client()
    give_password(client)
    for _ in range(10):
        client.post("/account/two-factor/sign-in/", {"code": "000000"})
    late = client.post("/account/two-factor/sign-in/", {"code": code_of(secret)})
    assert "Wait five minutes" in late.content.decode()


def test_wrong_codes_are_on_record(alice: User) -> None:
    client = confirmed(alice)
    add_app(client)
    browser = Client()
    give_password(browser)
    browser.post("/account/two-factor/sign-in/", {"code": "314159"})
    passkey = {"credential": '{"id": "314159"}'}
    browser.post("/account/two-factor/sign-in/", passkey)
    client.post("/account/two-factor/confirm/", {"code": "314159"})
    Authenticator.objects.create(user=alice, type="webauthn", data={})
    client.post("/account/passkeys/confirm/", passkey)
    Authenticator.objects.filter(type="webauthn").delete()
    Client().post("/account/passkeys/sign-in/", passkey)
    wrong = [
        (one.event, one.who, one.target)
        for one in AuditEntry.objects.order_by("number")
        if "step" in one.event or "passkey" in one.event
    ]
    person = f"person {alice.pk}"
    assert wrong == [
        *[("second_step_failed", None, person)] * 2,
        *[("second_step_not_confirmed", alice.pk, person)] * 2,
        ("passkey_refused", None, ""),
    ]
    assert "314159" not in str(list(AuditEntry.objects.values()))
    for _ in range(12):
        browser.post("/account/two-factor/sign-in/", {"code": "000000"})
    assert AuditEntry.objects.filter(event="second_step_failed").count() == 10, "then it ends"


def test_a_code_of_an_app_signs_in_once_in_all_processes(alice: User) -> None:
    secret = add_app(confirmed(alice))
    code = code_of(secret)
    first, second = Client(), Client()
    for browser in (first, second):
        give_password(browser)
    assert first.post("/account/two-factor/sign-in/", {"code": code}).status_code == 302

    # Another process of the web server, as far as the cache goes.
    caches._connections = Local(caches.thread_critical)  # type: ignore[attr-defined]  # Django's
    again = second.post("/account/two-factor/sign-in/", {"code": code})

    assert "Wrong code" in again.content.decode()


def test_of_many_who_add_a_key_at_once_one_does(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        for number in range(50):
            caches_of_each = [SharedCache(str(tmp_path), {}) for _ in range(8)]
            added = pool.map(lambda one, key=number: one.add(key, "y", 60), caches_of_each)
            assert sum(added) == 1
    cache = SharedCache(str(tmp_path), {})
    assert cache.add("short", "y", 0.01)
    while "short" in cache:
        time.sleep(0.01)
    assert cache.add("short", "y"), "its time is over"


def test_whoever_fills_the_cache_makes_it_forget_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_cache, "CULLED_EVERY", 0.0)
    cache = SharedCache(str(tmp_path), {"OPTIONS": {"MAX_ENTRIES": 5}})
    cache.set("wrong-codes", [1, 2, 3], 300)
    assert cache.add("a-used-code", "y", 90)
    for number in range(100):
        cache.set(f"mine-{number}", "x", 300)
        cache.set(f"over-{number}", "x", -1)
    assert cache.get("wrong-codes") == [1, 2, 3] and not cache.add("a-used-code", "y", 90)
    cache.set("one-more", "x", 300)
    assert len(list(tmp_path.glob("*.djcache"))) <= 104, "what is over is gone"


def test_a_change_of_a_factor_and_its_record_are_one(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = confirmed(alice)
    client.raise_request_exception = False

    def fail(*_arguments: object, **_options: object) -> None:
        raise RuntimeError

    secret: str = client.get(APP).context["form"].secret
    with monkeypatch.context() as patched:
        patched.setattr(audit, "record", fail)
        assert client.post(APP, {"code": code_of(secret, -1)}).status_code == 500
    assert not Authenticator.objects.exists(), "without a record there is no change"
    add_app(client)
    with monkeypatch.context() as patched:
        patched.setattr(audit, "record", fail)
        assert client.post(f"{APP}remove/").status_code == 500
    assert Authenticator.objects.filter(type="totp").exists()
    client.post("/account/two-factor/codes/new/")
    client.post(f"{APP}remove/")

    assert not Authenticator.objects.exists()
    events = AuditEntry.objects.filter(who=alice.pk).order_by("number")
    mine = [event for event in events.values_list("event", flat=True) if "sign" not in event]
    assert sorted(mine[:2]) == ["recovery_codes_created", "two_factor_added"]
    assert mine[2:] == ["recovery_codes_created", "two_factor_removed"]


def test_a_recovery_code_signs_in_once(alice: User) -> None:
    client = confirmed(alice)
    add_app(client)
    codes = client.get("/account/two-factor/codes/").context["unused_codes"]
    assert len(codes) == 10
    for status in (302, 200):
        browser = Client()
        give_password(browser)
        answer = browser.post("/account/two-factor/sign-in/", {"code": codes[0]})
        assert answer.status_code == status


def test_an_administrator_helps_who_has_lost_the_phone(
    alice: User, root: User, client_root: Client
) -> None:
    add_app(confirmed(alice))
    assert "Remove two-factor" in client_root.get(f"/people/{alice.pk}/").content.decode()

    client_root.post(f"/people/{alice.pk}/two-factor/")

    assert give_password(Client()).headers["Location"] == "/templates/"
    assert AuditEntry.objects.filter(event="two_factor_reset", who=root.pk).exists()


@pytest.mark.parametrize(
    ("required", "as_alice", "as_root"),
    [("off", 200, 200), ("administrators", 200, 302), ("all", 302, 302)],
)
def test_it_can_be_required(
    alice: User, root: User, settings: Settings, required: str, as_alice: int, as_root: int
) -> None:
    settings.REQUIRE_TWO_FACTOR = required
    assert signed_in(alice).get("/").status_code == as_alice
    client = confirmed(root)
    assert client.get("/").status_code == as_root
    if as_root == 302:
        page = client.get("/", follow=True)
        assert "Your administrator requires it" in page.content.decode()
        assert client.get("/", headers={"HX-Request": "true"}).status_code == 403
        add_app(client)
        assert client.get("/").status_code == 200


def test_the_command_line_is_a_way_back(alice: User) -> None:
    add_app(confirmed(alice))
    assert people.remove_two_factor(alice, None)
    assert not people.remove_two_factor(alice, None)
