"""Passwords cannot be guessed, nobody is shut out for good by strangers, and few passwords are
hashed at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from axes.models import AccessAttempt
from django.contrib.auth.hashers import PBKDF2PasswordHasher, check_password, make_password
from django.contrib.auth.models import User
from django.core.cache import cache
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from jobs.models import AuditEntry
from jobs.web import password_hashing
from jobs.web.sign_in_limits import OF_ACCOUNT, OF_ADDRESS, OF_PAIR

from ..conftest import PASSWORD
from ..running import SECONDS

WRONG = "a wrong one"
HOME, AWAY = "192.0.2.1", "198.51.100.2"
SignIn = Callable[..., HttpResponse]


def sign_in(name: str, password: str = WRONG, address: str = HOME) -> HttpResponse:
    return Client(REMOTE_ADDR=address).post("/login/", {"username": name, "password": password})  # type: ignore[return-value]


def is_in(answer: HttpResponse) -> bool:
    return answer.status_code == 302 and answer.headers["Location"] == "/"


def later(seconds: float) -> None:
    """Let time pass: what was stored becomes older."""
    for row in AccessAttempt.objects.all():
        earlier = row.attempt_time - timedelta(seconds=seconds)
        AccessAttempt.objects.filter(pk=row.pk).update(attempt_time=earlier)


def events() -> list[tuple[str, str, str]]:
    return list(AuditEntry.objects.values_list("event", "target", "origin"))


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every password that was checked."""
    seen: list[str] = []
    check = User.check_password

    def note(user: User, password: str) -> bool:
        seen.append(password)
        return check(user, password)

    monkeypatch.setattr(User, "check_password", note)
    return seen


def test_twelve_wrong_passwords_lock_the_account_for_that_address_only(
    alice: User, bob: User, hashed: list[str]
) -> None:
    answers = [sign_in("alice") for _ in range(12)]

    statuses = [answer.status_code for answer in answers]
    assert statuses == [200] * 5 + [429] * 7
    assert "try again in 30 seconds" in answers[5].content.decode()
    assert "try again in 15 minutes" in answers[9].content.decode()
    assert answers[11].headers["Retry-After"] in {"899", "900"}
    assert len(hashed) == 6, "the others were refused before"

    refused = sign_in("alice", PASSWORD)
    assert refused.status_code == 429 and "Too many failed attempts" in refused.content.decode()
    assert len(hashed) == 6
    assert is_in(sign_in("bob", PASSWORD)), "somebody else from there"
    assert is_in(sign_in("alice", PASSWORD, AWAY)), "the person from elsewhere"
    later(OF_PAIR.lock)
    assert is_in(sign_in("alice", PASSWORD))
    assert sign_in("alice").status_code == 200, "and it starts anew"


def test_a_short_wait_follows_the_sixth_failure(alice: User) -> None:
    for _ in range(6):
        sign_in("alice")
    assert sign_in("alice", PASSWORD).status_code == 429
    later(OF_PAIR.slow)
    assert is_in(sign_in("alice", PASSWORD))


def test_failures_are_forgotten_with_time(alice: User) -> None:
    for _ in range(5):
        sign_in("alice")
    later(OF_PAIR.forget * 5)
    assert [sign_in("alice").status_code for _ in range(5)] == [200] * 5


def test_attempts_during_a_lock_do_not_make_it_longer(alice: User) -> None:
    for _ in range(10):
        sign_in("alice")
    later(OF_PAIR.lock - 60)
    for _ in range(5):
        assert sign_in("alice").status_code == 429
    later(60)
    assert is_in(sign_in("alice", PASSWORD))


def test_many_addresses_do_not_shut_the_person_out(alice: User) -> None:
    assert is_in(sign_in("alice", PASSWORD, HOME))
    addresses = [f"203.0.113.{number}" for number in range(1, OF_ACCOUNT.lock_at + 1)]
    answers = [sign_in("alice", address=address) for address in addresses]

    assert answers[-2].status_code == 200 and answers[-1].status_code == 429
    assert sign_in("alice", PASSWORD, AWAY).status_code == 429, "no more guesses from anywhere new"
    assert is_in(sign_in("alice", PASSWORD, HOME)), "where the person has signed in before"
    later(OF_ACCOUNT.lock)
    assert is_in(sign_in("alice", PASSWORD, AWAY))


def test_one_address_cannot_try_many_accounts(alice: User) -> None:
    answers = [sign_in(f"person{number}") for number in range(OF_ADDRESS.lock_at)]

    assert {answer.status_code for answer in answers[:-1]} == {200}
    assert sign_in("alice", PASSWORD).status_code == 429
    assert is_in(sign_in("alice", PASSWORD, AWAY))
    later(OF_ADDRESS.lock)
    assert is_in(sign_in("alice", PASSWORD))


def test_an_address_is_a_whole_network_of_ipv6(alice: User) -> None:
    for number in range(10):
        sign_in("alice", address=f"2001:db8::{number:x}")

    assert sign_in("alice", PASSWORD, "2001:db8::ffff").status_code == 429
    assert is_in(sign_in("alice", PASSWORD, "2001:db8:0:1::1"))


def test_the_address_is_what_the_proxy_says(alice: User, settings: Settings) -> None:
    settings.HTTPS = True
    settings.SECURE_SSL_REDIRECT = False

    def through_proxy(said: str, password: str) -> int:
        entered = {"username": "alice", "password": password}
        client = Client(headers={"X-Forwarded-For": said}, REMOTE_ADDR="127.0.0.1")
        return client.post("/login/", entered).status_code

    for number in range(10):
        through_proxy(f"10.0.0.{number}, {HOME}", "wrong")

    assert through_proxy(f"10.9.9.9, {HOME}", PASSWORD) == 429
    assert through_proxy(f"{HOME}, {AWAY}", PASSWORD) == 302


def test_a_name_that_is_no_account_is_locked_alike(alice: User) -> None:
    def words(name: str) -> list[tuple[int, str]]:
        answers = [sign_in(name, address=AWAY) for _ in range(11)]
        texts = (answer.content.decode().partition("<main")[2] for answer in answers)
        return [
            (answer.status_code, text.partition('role="alert"')[2].partition("</div>")[0])
            for answer, text in zip(answers, texts, strict=True)
        ]

    assert words("nobody") == words("alice")


def test_what_was_typed_is_neither_logged_nor_stored(
    alice: User, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        sign_in("my-password-typed-as-a-name", "another-secret")
        sign_in("alice", "a-wrong-secret")
        sign_in("alice", PASSWORD)

    stored = str(list(AccessAttempt.objects.values())) + str(list(AuditEntry.objects.values()))
    for secret in ("my-password", "another-secret", "a-wrong-secret", PASSWORD):
        assert secret not in caplog.text
        assert secret not in stored
    assert f"Sign-in failed: no such account, from {HOME}" in caplog.text
    assert f"Sign-in failed: person {alice.pk}, from {HOME}" in caplog.text
    assert f"Signed in: person {alice.pk}, from {HOME}" in caplog.text


def test_every_sign_in_is_audited(alice: User) -> None:
    for _ in range(12):
        sign_in("alice")
    sign_in("nobody")
    sign_in("alice", PASSWORD, AWAY)

    who = f"person {alice.pk}"
    assert events() == [
        *[("sign_in_failed", who, HOME)] * 9,
        ("sign_in_locked", who, HOME),
        ("sign_in_failed", "no such account", HOME),
        ("signed_in", who, AWAY),
    ]
    assert AuditEntry.objects.get(event="signed_in").who == alice.pk


@pytest.mark.parametrize(
    ("page", "given"),
    [
        ("/password/", {"new_password1": "quite another", "new_password2": "quite another"}),
        ("/account/confirm/", {"next": "/account/"}),
    ],
)
def test_who_is_signed_in_cannot_guess_the_password_either(
    alice: User, hashed: list[str], page: str, given: dict[str, str]
) -> None:
    """Somebody has found a browser in which alice is signed in."""
    field = "password" if page == "/account/confirm/" else "old_password"
    client = Client(REMOTE_ADDR=HOME)
    client.force_login(alice)
    answers = [client.post(page, {field: WRONG, **given}) for _ in range(OF_PAIR.lock_at)]

    assert [one.status_code for one in answers] == [200] * 5 + [429] * 5
    assert client.post(page, {field: PASSWORD, **given}).status_code == 429
    assert hashed.count(WRONG) == 6 and PASSWORD not in hashed
    alice.refresh_from_db()
    assert alice.check_password(PASSWORD)
    entries = AuditEntry.objects.filter(who=alice.pk).exclude(event="signed_in")
    assert {(one.event, one.target) for one in entries} == {
        ("password_not_confirmed", f"person {alice.pk}"),
        ("sign_in_locked", f"person {alice.pk}"),
    }
    later(OF_PAIR.lock)
    cache.clear()  # in which the page to confirm counts a minute's attempts, too
    assert client.post(page, {field: PASSWORD, **given}).status_code == 302


def test_a_clock_that_was_ahead_locks_nobody_out(alice: User) -> None:
    for _ in range(10):
        sign_in("alice")
    AccessAttempt.objects.update(attempt_time=timezone.now() + timedelta(days=300))

    assert int(sign_in("alice", PASSWORD).headers["Retry-After"]) <= OF_PAIR.lock


# --- Hashing --------------------------------------------------------------------------------------


@pytest.fixture
def real_hasher(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a site, but for how often it hashes."""
    settings.PASSWORD_HASHERS = ["jobs.web.password_hashing.BoundedHasher"]
    monkeypatch.setattr(password_hashing.BoundedHasher, "iterations", 1_000)


def test_few_passwords_are_hashed_at_once_and_the_others_are_refused(
    real_hasher: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = make_password(PASSWORD)
    at_work, most, lock = 0, 0, threading.Lock()
    all_here = threading.Barrier(24, timeout=SECONDS)
    go_on = threading.Event()
    encode = PBKDF2PasswordHasher.encode

    def slow_encode(*arguments: object) -> str:
        nonlocal at_work, most
        with lock:
            at_work += 1
            most = max(most, at_work)
        go_on.wait(60)
        with lock:
            at_work -= 1
        return encode(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(PBKDF2PasswordHasher, "encode", slow_encode)
    refused: list[int] = []

    def check(number: int) -> bool:
        all_here.wait()
        try:
            return check_password(PASSWORD, stored)
        except password_hashing.TooManySignIns:
            refused.append(number)
            if len(refused) == 21:
                go_on.set()
            return False

    with ThreadPoolExecutor(24) as threads:
        right = list(threads.map(check, range(24)))

    assert most == password_hashing.AT_ONCE
    assert len(refused) == 21 and sum(right) == 3
    monkeypatch.undo()
    assert check_password(PASSWORD, stored), "places are given back"


def test_a_refused_hashing_is_a_sentence_and_no_failure(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> bool:
        raise password_hashing.TooManySignIns

    monkeypatch.setattr(User, "check_password", refuse)
    answer = sign_in("alice")

    assert answer.status_code == 503 and "Too many people are signing in" in answer.content.decode()
    assert not AccessAttempt.objects.exists() and not events()
