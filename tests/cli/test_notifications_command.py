"""`manage.py notifications`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from pytest_django import Settings

from jobs.models import AuditEntry, Destination

from ..notifications.receivers import HookReceiver, hook_receiver


@pytest.fixture
def hooks(settings: Settings) -> Iterator[HookReceiver]:
    settings.NOTIFY_PRIVATE_HOSTS = ["127.0.0.1"]
    with hook_receiver() as receiver:
        yield receiver


def test_it_adds_lists_tests_and_removes(
    alice: User, hooks: HookReceiver, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str) -> str:
        call_command("notifications", *arguments, "--owner", "alice")
        return capsys.readouterr().out

    url, secret = hooks.url, "a secret of the hook"
    number = run("add", "--webhook", url, "--secret", secret, "--event", "cap_80").strip()
    run("add", "--mail", "team@example.com")
    run("add", "--apprise", "ntfys://example.com/topic")

    first, second, third = run("list").splitlines()
    assert first == f"{number}\twebhook\t127.0.0.1\tcap_80\t-"
    assert "mail\tteam@example.com\tall" in second and "apprise\tntfy\tall" in third

    assert run("test", number) == "Sent.\n"
    (received,) = hooks.received
    assert received.json["event"] == "test"
    hooks.status = 403
    with pytest.raises(CommandError, match="The receiver answered with status 403"):
        run("test", number)

    run("remove", number)
    assert Destination.objects.count() == 2
    recorded = AuditEntry.objects.order_by("number").values_list("event", "origin")
    assert list(recorded) == [("destination_added", "shell")] * 3 + [
        ("destination_removed", "shell")
    ]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["add", "--owner", "nobody", "--mail", "a@example.com"], "There is no person"),
        (["add", "--owner", "alice", "--mail", "not an address"], "Enter an email address"),
        (["add", "--owner", "alice", "--webhook", "https://x.example/", "--secret", "s"], "16 to"),
        (["add", "--owner", "alice", "--webhook", "http://10.0.0.1/"], "https://"),
        (["add", "--owner", "alice", "--apprise", "dbus://"], "Slack"),
        (["add", "--owner", "alice", "--mail", "a@example.com", "--event", "x"], "invalid choice"),
        (["remove", "--owner", "alice", "99"], "no destination 99"),
    ],
)
def test_what_makes_no_sense_is_said(alice: User, arguments: list[str], why: str) -> None:
    with pytest.raises(CommandError, match=why):
        call_command("notifications", *arguments)
    assert not Destination.objects.exists()
