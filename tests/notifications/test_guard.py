"""Nothing is sent into the site's own network, however an address is written."""

from __future__ import annotations

import socket
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from jobs.models import Channel, Delivery, outbox
from jobs.notifications import chat, destinations, sending
from jobs.notifications.guard import Guard, Refused, chat_of, check_webhook
from jobs.notifications.protocol import FORBIDDEN, Chat, Order, Webhook
from jobs.notifications.sender_process import send_webhook

from .receivers import HookReceiver, Received

INSIDE = [
    "127.0.0.1",
    "127.1.2.3",
    "10.0.0.1",
    "172.16.5.4",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "0.0.0.0",  # noqa: S104 - it is refused
    "255.255.255.255",
    "224.0.0.1",
    "192.88.99.1",
    "192.0.0.8",
    "::1",
    "::",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "::ffff:0:7f00:1",
    "5f00::1",
    "3fff::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "not an address",
]


@pytest.mark.parametrize("address", INSIDE)
def test_what_is_not_public_is_not_connected_to(address: str) -> None:
    assert not Guard().allows(address)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
)
def test_what_is_public_is(address: str) -> None:
    assert Guard().allows(address)


@pytest.mark.parametrize(
    "host",
    ["localhost", "127.0.0.1", "2130706433", "0x7f000001", "017700000001", "127.1", "0", "::1"],
)
def test_every_spelling_of_this_machine_is_refused(host: str) -> None:
    with pytest.raises((Refused, OSError)):
        Guard().resolve(host, 443)


def resolver(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Names have these addresses, one list after the other. Returns the names that were asked."""
    asked: list[str] = []

    def getaddrinfo(host: str, port: int, *_more: Any, **_named: Any) -> list[Any]:
        found = answers[min(len(asked), len(answers) - 1)]
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in found]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


def test_one_address_inside_is_enough_to_refuse_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver(monkeypatch, ["1.1.1.1", "10.0.0.1"])
    with pytest.raises(Refused):
        Guard().resolve("two.example.com", 443)


def test_a_name_is_asked_for_once_and_the_connection_goes_to_that_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A name that leads inside when it is asked for again leads nobody there."""
    asked = resolver(monkeypatch, ["1.1.1.1"], ["127.0.0.1"])
    went_to: list[str] = []

    def create_connection(address: tuple[str, int], _seconds: float) -> socket.socket:
        went_to.append(address[0])
        raise OSError

    monkeypatch.setattr(socket, "create_connection", create_connection)
    hook = Webhook("https://changes.example.com/", {}, "{}")

    send_webhook(hook, Guard(), 1.0, lambda: None)

    assert (asked, went_to) == (["changes.example.com"], ["1.1.1.1"])


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "https://user:password@example.com/",
        "https://user@example.com/",
        "https://example.com:0/",
        "https://10.0.0.1/",
        "https://[::1]/",
        "https://example.com:99999/",
        "https:///path",
        "https://exa mple.com/",
        "https://example.com\\@127.0.0.1/",
        "https://example.com/\r\nHost: other",
        f"https://example.com/{'x' * 2000}",
        "example.com",
        "",
    ],
)
def test_addresses_of_webhooks_that_are_refused(url: str) -> None:
    with pytest.raises(Refused):
        check_webhook(url, Guard())


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "dbus://",
        "gnome://",
        "syslog://",
        "rsyslog://localhost",
        "windows://",
        "macosx://",
        "mailto://user:password@example.com",
        "https://example.com/",
        "slack://a/b/c/?template=/etc/passwd",
        "slack://a/b/c/?+template=/etc/passwd",
        "json://example.com/?attach=/etc/passwd",
        "jsons://example.com/?verify=no",
        "jsons://example.com/?retry=5",
        "https://hooks.slack.com.example.com/services/a/b/c",
    ],
)
def test_chats_that_are_refused(url: str) -> None:
    with pytest.raises(Refused):
        chat_of(url)


@pytest.mark.parametrize(
    ("url", "scheme"),
    [
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/", "slack"),
        ("https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdn", "slack"),
        ("https://discord.com/api/webhooks/4174216298/JHMHI8qBe7bk2ZwO5", "discord"),
        ("https://prod.westeurope.logic.azure.com:443/workflows/x/triggers", "workflows"),
        ("ntfys://ntfy.example.com/topic", "ntfys"),
    ],
)
def test_chats_that_are_known(url: str, scheme: str) -> None:
    assert chat_of(url) == scheme


@pytest.mark.parametrize(
    "url",
    [
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/",
        "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js",
        "workflows://prod.westeurope.logic.azure.com:443/643e69f83c8944/gv87hguijh",
        "ntfys://ntfy.example.com/topic",
        "gchat://workspace/key/token",
        "mmosts://mm.example.com/3ccdd113474722377935511fc85d3dd4",
        "https://ntfy.sh/topic",
        "https://chat.googleapis.com/v1/spaces/AAAA/messages?key=KEY&token=TOKEN",
    ],
)
def test_each_service_on_our_list_is_understood_by_its_plugin(url: str) -> None:
    assert chat._plugin(url, chat_of(url)) is not None


def redirect(to: str) -> Callable[[Received, BaseHTTPRequestHandler], None]:
    def answer(_one: Received, handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(307)
        handler.send_header("Location", to)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


@pytest.mark.parametrize("channel", [Channel.WEBHOOK, Channel.APPRISE])
def test_redirects_are_not_followed(alice: User, hooks: HookReceiver, channel: str) -> None:
    url = hooks.url if channel == Channel.WEBHOOK else f"json://127.0.0.1:{hooks.port}/chat"
    destinations.add(alice, channel, url, "a secret of the hook")
    hooks.answer = redirect(f"http://127.0.0.1:{hooks.port}/elsewhere")
    outbox.tell("cap_80", [alice])

    sending.send_due(sending.OTHERS)

    assert len(hooks.received) == 1
    told = Delivery.objects.get()
    assert (told.state, told.trouble) == ("waiting", "The receiver answered with status 307.")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433"])
def test_a_chat_inside_is_refused_when_it_is_connected_to(
    hooks: HookReceiver, settings: Settings, host: str
) -> None:
    message = Chat(f"json://{host}:{hooks.port}/", "title", "body")

    assert sending.send_apart(Order(message, [], 5.0)).kind == FORBIDDEN
    assert not hooks.received


def test_an_administrator_can_allow_a_name_inside(hooks: HookReceiver) -> None:
    message = Chat(f"json://localhost:{hooks.port}/", "title", "body")
    hook = Webhook(f"http://localhost:{hooks.port}/", {}, "{}")

    assert sending.send_apart(Order(message, ["localhost"], 5.0)).kind == "sent"
    assert sending.send_apart(Order(hook, ["LOCALHOST"], 5.0)).kind == "sent"
    assert len(hooks.received) == 2


def test_the_guard_is_asked_again_at_each_message(
    alice: User, hooks: HookReceiver, settings: Settings
) -> None:
    """What was allowed when it was added may be forbidden by now; it is given up at once."""
    destinations.add(alice, Channel.WEBHOOK, hooks.url, "a secret of the hook")
    settings.NOTIFY_PRIVATE_HOSTS = []
    outbox.tell("cap_80", [alice])

    sending.send_due(sending.OTHERS)

    assert Delivery.objects.get().state == "failed" and not hooks.received
