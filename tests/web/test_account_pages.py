"""The pages of accounts: which are open, and that all of them are ours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib.auth.models import User
from django.test import Client
from django.urls import URLPattern, get_resolver, reverse

from ..conftest import PASSWORD
from .test_untrusted_text import HX, inspect

ACCOUNT_OPEN = {
    "account_login",
    "account_inactive",
    "account_reset_password",
    "account_reset_password_done",
    "account_reset_password_from_key",
    "account_reset_password_from_key_done",
    "mfa_authenticate",
    "mfa_login_webauthn",
    "openid_connect_login",
    "openid_connect_callback",
    "socialaccount_login_cancelled",
}


def account_pages() -> Iterator[tuple[str, str]]:
    """Name and address of every page of django-allauth's."""
    patterns = get_resolver().url_patterns[1].url_patterns  # type: ignore[union-attr]  # it is there
    for pattern in patterns:
        assert isinstance(pattern, URLPattern)
        name = str(pattern.name)
        given: dict[str, Any] = {
            "provider_id": "sso",
            "uidb36": "1",
            "key": "a-b",
            "pk": 1,
        }
        wanted = pattern.pattern.regex.groupindex
        kwargs = {key: value for key, value in given.items() if key in wanted}
        yield name, reverse(name, kwargs=kwargs)


def test_the_open_pages_of_accounts_say_something_to_strangers(alice: User) -> None:
    for name, path in account_pages():
        if name in ACCOUNT_OPEN:
            answer = Client().get(path, follow=True)
            assert answer.status_code in (200, 404), name  # 404: single sign-on is not set up
            inspect(answer.content.decode())


def test_the_pages_of_accounts_are_ours(client_root: Client, root: User) -> None:
    client_root.post("/account/confirm/", {"password": PASSWORD, "next": "/"})
    for name, path in account_pages():
        answer = client_root.get(path, follow=True)
        assert answer.status_code in (200, 403, 404, 405), name
        inspect(answer.content.decode())


def test_without_signing_in_the_other_pages_of_accounts_are_closed(alice: User) -> None:
    for name, path in account_pages():
        if name not in ACCOUNT_OPEN:
            for method in (Client().get, Client().post):
                answer = method(path)
                assert answer.status_code == 302, name
                assert answer.headers["Location"].startswith("/login/"), name
            assert Client().get(path, headers=HX).status_code == 403, name
