"""Single sign-on, with a real OpenID Connect provider in a process of its own."""

from __future__ import annotations

import hmac
import json
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
import pytest
from allauth.socialaccount.models import SocialAccount
from allauth.socialaccount.providers import registry
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.openid_connect.provider import OpenIDConnectProvider
from cryptography.hazmat.primitives.asymmetric import rsa
from django.contrib.auth.models import User
from django.test import Client, RequestFactory
from jwt.algorithms import RSAAlgorithm
from jwt.utils import base64url_encode
from pytest_django import Settings

from jobs.actions import invitations, people
from jobs.models import AuditEntry, Role, role_of
from jobs.web.openid_connect import SignedAdapter, nonce_of
from jobs.worker.supervision import prepare_child as end_with_parent

from ..conftest import PASSWORD, signed_in
from ..running import SECONDS

START = "/account/single-sign-on/sso/"


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args: Any, **_options: Any) -> None:
        return None


class Issuer:
    """The provider, and what tests tell it."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "oidc_provider_mock", "--port", str(self.port)]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=end_with_parent,
        )
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        pytest.fail("the provider did not start")

    def person(self, sub: str, **claims: object) -> None:
        self._call(f"/users/{sub}", "PUT", json.dumps(claims).encode(), "application/json")

    def consent(self, address: str, sub: str) -> str:
        """The person agrees there; the address that the browser is sent back to."""
        path = address.removeprefix(self.url)
        return self._call(path, "POST", urlencode({"sub": sub}).encode())

    def _call(self, path: str, method: str, body: bytes, kind: str = "") -> str:
        kind = kind or "application/x-www-form-urlencoded"
        headers = {"Content-Type": kind}
        request = urllib.request.Request(self.url + path, body, headers, method=method)
        try:
            with urllib.request.build_opener(_Stay).open(request, timeout=SECONDS) as answer:
                return str(answer.read())
        except urllib.error.HTTPError as answer:
            assert answer.code == 302, answer.read()
            return str(answer.headers["Location"])


@pytest.fixture(scope="module")
def process() -> Iterator[Issuer]:
    issuer = Issuer()
    yield issuer
    issuer.process.terminate()
    issuer.process.wait(timeout=SECONDS)


@pytest.fixture
def issuer(process: Issuer, settings: Settings, db: None) -> Issuer:
    registry.register(OpenIDConnectProvider)  # as its app does where HAS_SSO is set at the start
    settings.HAS_SSO, settings.OIDC_ALLOWED_GROUPS = True, ["staff"]
    settings.OIDC_ADMIN_GROUP, settings.OIDC_AUDITOR_GROUP = "admins", "auditors"
    use(settings, process, process.url)
    return process


def use(settings: Settings, issuer: Issuer, name: str) -> None:
    """`name`: who has to have issued the tokens."""
    app = {
        "provider_id": "sso",
        "name": "Company",
        "client_id": "batchsite",
        "secret": "a secret",
        "settings": {
            "server_url": issuer.url,
            "openid_configuration_overrides": {"issuer": name},
        },
    }
    settings.SOCIALACCOUNT_PROVIDERS = {
        "openid_connect": {"OAUTH_PKCE_ENABLED": True, "APPS": [app]}
    }


def leave(client: Client, start: str = START) -> str:
    """The address at the issuer to which the site leads."""
    return client.get(start).headers["Location"]


def back(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.path}?{parts.query}"


def sign_in(issuer: Issuer, sub: str, client: Client | None = None, start: str = START) -> Any:
    client = client or Client()
    return client.get(back(issuer.consent(leave(client, start), sub)))


def test_a_person_in_an_allowed_group_gets_an_account_and_comes_back(issuer: Issuer) -> None:
    issuer.person("s1", preferred_username="ada", email="ada@example.com", groups=["staff"])
    client = Client()

    assert sign_in(issuer, "s1", client).headers["Location"] == "/"
    assert client.get("/").status_code == 200
    assert sign_in(issuer, "s1").status_code == 302

    ada = User.objects.get()
    assert ada.username == "ada" and not ada.has_usable_password()
    assert role_of(ada) == Role.MEMBER
    assert SocialAccount.objects.get().extra_data == {"sub": "s1", "name": "ada"}


def test_a_second_person_with_the_same_mail_is_another_one(issuer: Issuer, alice: User) -> None:
    User.objects.update(email="ada@example.com")
    issuer.person(
        "s2",
        preferred_username="alice",
        email="ada@example.com",
        email_verified=True,
        groups=["staff"],
    )

    sign_in(issuer, "s2")

    other = User.objects.exclude(pk=alice.pk).get()
    assert other.username != "alice" and other.email == ""
    assert not SocialAccount.objects.filter(user=alice).exists()


def test_groups_give_the_role_at_each_sign_in(issuer: Issuer, root: User) -> None:
    for groups, role in (
        (["staff", "admins"], Role.ADMINISTRATOR),
        (["auditors"], Role.AUDITOR),
        (["staff"], Role.MEMBER),
    ):
        issuer.person("s3", preferred_username="cy", groups=groups)
        sign_in(issuer, "s3")
        assert role_of(User.objects.get(username="cy")) == role


def test_the_last_administrator_stays_one(issuer: Issuer) -> None:
    issuer.person("s4", preferred_username="dee", groups=["admins"])
    sign_in(issuer, "s4")
    issuer.person("s4", preferred_username="dee", groups=["staff"])
    sign_in(issuer, "s4")
    assert role_of(User.objects.get()) == Role.ADMINISTRATOR


def test_who_is_in_no_allowed_group_is_refused_in_words(issuer: Issuer) -> None:
    issuer.person("s5", preferred_username="eve", groups=["guests"])
    answer = sign_in(issuer, "s5")
    assert answer.status_code == 403 and "not in a group" in answer.content.decode()
    assert not User.objects.exists()


def test_without_groups_only_the_invited_come_in(
    issuer: Issuer, settings: Settings, root: User
) -> None:
    settings.OIDC_ALLOWED_GROUPS, settings.OIDC_ADMIN_GROUP = [], ""
    settings.OIDC_AUDITOR_GROUP = ""
    issuer.person("s6", preferred_username="fay")
    assert "invitation" in sign_in(issuer, "s6").content.decode()
    token = invitations.invite(Role.APPROVER, [], "", root)
    client = Client()
    assert "Continue with" in client.get(f"/invitation/{token}/").content.decode()

    sign_in(issuer, "s6", client)

    assert role_of(User.objects.get(username="fay")) == Role.APPROVER
    assert invitations.find(token) is None


def test_a_token_of_another_issuer_is_refused(issuer: Issuer, settings: Settings) -> None:
    issuer.person("s7", preferred_username="gus", groups=["staff"])
    use(settings, issuer, "https://issuer.example")
    answer = sign_in(issuer, "s7")
    assert answer.status_code == 403 and "Single sign-on failed" in answer.content.decode()
    assert not User.objects.exists()


class Keys(BaseHTTPRequestHandler):
    """Publishes keys in place of the issuer's."""

    keys: ClassVar[list[dict[str, object]]] = []

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"keys": self.keys}).encode())

    def log_message(self, *_arguments: object) -> None:
        return None


@pytest.fixture
def other_keys(issuer: Issuer, settings: Settings) -> Iterator[list[dict[str, object]]]:
    """What stands at the address of the issuer's keys."""
    with HTTPServer(("127.0.0.1", 0), Keys) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        app = settings.SOCIALACCOUNT_PROVIDERS["openid_connect"]["APPS"][0]
        overrides = app["settings"]["openid_configuration_overrides"]
        overrides["jwks_uri"] = f"http://127.0.0.1:{server.server_port}/"
        with urllib.request.urlopen(f"{issuer.url}/jwks", timeout=30) as answer:
            Keys.keys = json.load(answer)["keys"]
        yield Keys.keys
        server.shutdown()


def another_key(like: dict[str, object]) -> dict[str, object]:
    made = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    return {**like, **json.loads(RSAAlgorithm.to_jwk(made))}


@pytest.mark.parametrize("kind", ["right", "another", "shared secret", "none"])
def test_the_token_has_to_be_signed_with_the_issuers_key(
    issuer: Issuer, other_keys: list[dict[str, object]], kind: str
) -> None:
    (key,) = other_keys
    if kind == "another":
        other_keys[:] = [another_key(key)]
    elif kind == "shared secret":
        other_keys[:] = [{"kty": "oct", "k": "c2VjcmV0", "kid": key["kid"], "alg": "HS256"}]
    elif kind == "none":
        other_keys.clear()
    issuer.person("s11", preferred_username="jo", groups=["staff"])

    answer = sign_in(issuer, "s11")

    assert answer.status_code == (302 if kind == "right" else 403)
    assert User.objects.exists() == (kind == "right")


@pytest.mark.parametrize(
    "change", ["", "HS256", "none", "kid", "aud", "iss", "nonce", "exp", "no sub"]
)
def test_a_forged_token_is_refused(
    issuer: Issuer, other_keys: list[dict[str, object]], change: str
) -> None:
    """Whoever knows the public key, and the secret of the site at the issuer."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = RSAAlgorithm.to_jwk(private.public_key())
    other_keys[:] = [{**json.loads(public), "kid": "k", "use": "sig", "alg": "RS256"}]
    claims = {"iss": issuer.url, "sub": "s", "aud": "batchsite", "iat": time.time()}
    claims["exp"] = time.time() + (-3600 if change == "exp" else 3600)
    claims["nonce"] = nonce_of("a state")
    claims |= {change: "somebody else"} if change in ("aud", "iss", "nonce") else {}
    if change == "no sub":
        del claims["sub"]
    name = {"kid": "other" if change == "kid" else "k"}
    if change == "none":
        token = jwt.encode(claims, "", "none", headers=name)
    else:
        token = jwt.encode(claims, private, "RS256", headers=name)
    if change == "HS256":
        parts = [json.dumps({"alg": "HS256", "kid": "k"}).encode(), token.split(".")[1].encode()]
        signed = base64url_encode(parts[0]) + b"." + parts[1]
        digest = hmac.digest(public.encode(), signed, "sha256")
        token = (signed + b"." + base64url_encode(digest)).decode()
    request = RequestFactory().get("/", {"state": "a state"})
    adapter = SignedAdapter(request, "sso")
    app = adapter.get_provider().app
    if not change:
        assert adapter._decode_id_token(app, token)["sub"] == "s"
        return
    with pytest.raises(OAuth2Error):
        adapter._decode_id_token(app, token)


def test_an_answer_counts_once_and_for_its_browser_only(issuer: Issuer) -> None:
    issuer.person("s8", preferred_username="hal", groups=["staff"])
    client = Client()
    address = back(issuer.consent(leave(client), "s8"))

    stolen = Client().get(address)  # a browser that did not ask
    assert stolen.status_code == 403
    assert client.get(address).status_code == 302
    client.post("/logout/")
    replayed = client.get(address)

    assert replayed.status_code == 403
    assert client.get("/").status_code == 302
    # The code alone, with a state that is fresh.
    state = re.search(r"[?&]state=([^&]+)", leave(client))
    code = re.search(r"[?&]code=([^&]+)", address)
    assert state and code
    again = client.get(f"{START}callback/?code={code[1]}&state={state[1]}")
    assert again.status_code == 403


def test_a_token_for_another_sign_in_is_refused(issuer: Issuer) -> None:
    issuer.person("s11", preferred_username="kim", groups=["staff"])
    client = Client()
    address = leave(client)
    nonce = parse_qs(urlsplit(address).query)["nonce"][0]
    assert len(nonce) == 64 and nonce not in leave(client), "another one each time"
    answer = client.get(back(issuer.consent(address.replace(nonce, "0" * 64), "s11")))
    assert answer.status_code == 403 and not User.objects.exists()
    assert sign_in(issuer, "s11", client).status_code == 302


def test_a_person_links_their_account_with_the_password_only(issuer: Issuer, alice: User) -> None:
    issuer.person("s12", preferred_username="someone-else", groups=["staff"])
    client = signed_in(alice)
    link = f"{START}?process=connect"
    assert client.get(link).headers["Location"].startswith("/account/confirm/?next=")
    confirm = {"password": PASSWORD, "next": link}
    address = leave(client, client.post("/account/confirm/", confirm).headers["Location"])
    session = client.session
    session["account_authentication_methods"] = []  # too long ago, when the browser comes back
    session.save()
    asked = client.get(back(issuer.consent(address, "s12")))
    assert asked.headers["Location"].startswith("/account/confirm/")
    assert not SocialAccount.objects.exists()
    client.post("/account/confirm/", {"password": PASSWORD})
    assert SocialAccount.objects.get().user == alice
    assert AuditEntry.objects.filter(event="single_sign_on_linked", who=alice.pk).count() == 1

    session = client.session
    session["account_authentication_methods"] = []
    session.save()
    given = {"account": str(SocialAccount.objects.get().pk)}
    asked = client.post("/account/single-sign-on/", given)
    assert asked.headers["Location"].startswith("/account/confirm/")
    assert SocialAccount.objects.exists()


def test_who_is_refused_or_deactivated_is_on_record(issuer: Issuer, root: User) -> None:
    issuer.person("s13", preferred_username="lou", groups=["guests"])
    sign_in(issuer, "s13")
    issuer.person("s13", preferred_username="lou", groups=["staff"])
    sign_in(issuer, "s13")
    lou = User.objects.get(username="lou")
    people.set_active(lou, False, root)
    sign_in(issuer, "s13")
    Client().get(f"{START}callback/?code=1&state=2")
    entries = AuditEntry.objects.filter(event__endswith="_refused").order_by("number")
    assert [(one.event, one.target) for one in entries] == [
        ("single_sign_on_refused", ""),
        ("deactivated_refused", f"person {lou.pk}"),
    ], "a stranger's request is in the log of the site only"


def test_a_person_links_their_account_themselves(issuer: Issuer, alice: User) -> None:
    issuer.person("s9", preferred_username="someone-else", groups=["staff"])
    client = signed_in(alice)
    confirm = {"password": PASSWORD, "next": "/account/"}
    assert client.post("/account/confirm/", confirm).headers["Location"] == "/account/"

    assert sign_in(issuer, "s9", client, f"{START}?process=connect").status_code == 302
    assert SocialAccount.objects.get().user == alice
    sign_in(issuer, "s9")

    assert User.objects.count() == 1


def test_a_deactivated_person_does_not_come_in(issuer: Issuer, root: User) -> None:
    issuer.person("s10", preferred_username="ida", groups=["staff"])
    sign_in(issuer, "s10")
    people.set_active(User.objects.get(username="ida"), False, root)
    client = Client()

    sign_in(issuer, "s10", client)

    assert "deactivated" in client.get("/account/inactive/", follow=True).content.decode()
    assert client.get("/").status_code == 302


def test_an_issuer_that_is_down_is_said_in_words(issuer: Issuer, settings: Settings) -> None:
    app = settings.SOCIALACCOUNT_PROVIDERS["openid_connect"]["APPS"][0]
    app["settings"]["server_url"] = "http://127.0.0.1:9"
    answer = Client().get(START)
    assert answer.status_code == 403 and "Single sign-on failed" in answer.content.decode()
