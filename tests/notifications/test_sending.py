"""What is in the outbox arrives: as a mail, as a signed webhook, and as a chat message."""

from __future__ import annotations

import hashlib
import hmac
import ssl
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import IO

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from jobs.models import (
    Channel,
    Delivery,
    Job,
    Notification,
    Profile,
    Role,
    clock,
    dollars,
    outbox,
)
from jobs.models.outbox import Facts
from jobs.notifications import destinations, sending
from jobs.notifications.protocol import Chat, Order, Outcome, Webhook
from jobs.worker import sweep

from .receivers import HookReceiver, MailServer, mail_server, make_certificate

MakeJob = Callable[..., Job]
SECRET = "a secret of the hook"


def make_due() -> None:
    Delivery.objects.update(due_at=clock.now() - timedelta(seconds=1))


def states() -> list[tuple[str, str]]:
    return list(Delivery.objects.order_by("pk").values_list("state", "trouble"))


def test_each_channel_gets_the_facts_and_nothing_else(
    alice: User, make_job: MakeJob, hooks: HookReceiver, mails: MailServer
) -> None:
    job = make_job(alice, rows=[["Ada", "secret cell"]], prompt="Private words {{text}}")
    destinations.add(alice, Channel.WEBHOOK, hooks.url, SECRET)
    destinations.add(alice, Channel.APPRISE, f"json://127.0.0.1:{hooks.port}/chat")
    outbox.tell_about_job("job_problems", job, Facts(3, 1, "0.25", seconds=300))

    sweep.sweep()

    assert [state for state, _ in states()] == ["sent"] * 3
    hook, chat = sorted(hooks.received, key=lambda one: one.path, reverse=True)
    told = Notification.objects.get()
    assert hook.json == {
        "id": str(told.uid),
        "event": "job_problems",
        "job": job.pk,
        "name": "reviews",
        "state": "finished",
        "rows": 1,
        "problems": 1,
        "cost": "0.25",
        "url": f"https://batch.example.com/jobs/{job.pk}/",
        "at": told.made_at.isoformat(timespec="seconds"),
    }
    signed = f"{hook.headers['x-batchsite-timestamp']}.{hook.body}".encode()
    signature = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
    assert hook.headers["x-batchsite-signature"] == f"sha256={signature}"
    assert hook.path == "/hook?token=t0p" and hook.headers["host"] == f"127.0.0.1:{hooks.port}"
    assert chat.json["title"] == "“reviews” is finished with problems"
    (mail,) = mails.mails
    assert mail["Subject"] == "“reviews” is finished with problems"
    assert mails.recipients == ["alice@example.org"]
    assert "3 rows good, 1 row needs attention. $0.25 charged." in mail.get_content()
    everything = f"{hook.body}{chat.body}{mail}"
    assert "secret" not in everything and "Private" not in everything


def test_practice_costs_nothing(
    alice: User, make_job: MakeJob, hooks: HookReceiver, settings: Settings
) -> None:
    destinations.add(alice, Channel.WEBHOOK, hooks.url, SECRET)
    for is_practice in (True, False):
        job = make_job(alice, practice=is_practice, confirmed_at=clock.now())
        outbox.tell_about_job("action_needed", job, Facts(cost=str(dollars(125 * 10**11))))
        outbox.tell_about_job("action_needed", job)
    settings.PRACTICE = True
    outbox.tell("cap_80", [alice], facts=Facts(cost="8", limit="10", whose="person"))
    sending.send_due(sending.OTHERS)
    assert [one.json["cost"] for one in hooks.received] == ["0", "0", "12.5", "0", "0"]


def test_it_is_tried_again_while_the_receiver_says_no_and_given_up_after_a_day(
    alice: User, hooks: HookReceiver
) -> None:
    destinations.add(alice, Channel.WEBHOOK, hooks.url, SECRET)
    outbox.tell("cap_80", [alice])
    hooks.status = 500

    sending.send_due(sending.OTHERS)
    one = Delivery.objects.get()
    assert (one.state, one.attempts) == ("waiting", 1)
    assert timedelta(seconds=20) < one.due_at - clock.now() <= sending.FIRST_PAUSE
    sending.send_due(sending.OTHERS)
    assert len(hooks.received) == 1, "not before it is due"

    make_due()
    sending.send_due(sending.OTHERS)
    assert Delivery.objects.get().due_at - clock.now() > sending.FIRST_PAUSE, "ever longer pauses"

    # A clock that leaps ahead makes it due, and ends nothing.
    Delivery.objects.update(made_at=clock.now() - timedelta(days=100))
    make_due()
    sending.send_due(sending.OTHERS)
    assert [state for state, _ in states()] == ["waiting"]

    Delivery.objects.update(attempts=sending.MOST_ATTEMPTS - 1)
    make_due()
    sending.send_due(sending.OTHERS)
    assert states() == [("failed", "The receiver answered with status 500.")]
    assert "Webhook to 127.0.0.1: not sent." in Delivery.objects.get().in_words


def test_the_pauses_between_all_attempts_take_about_a_day() -> None:
    pauses = [sending.pause_after(number) for number in range(1, sending.MOST_ATTEMPTS)]
    assert timedelta(hours=22) < sum(pauses, timedelta()) < timedelta(hours=26)
    assert pauses == sorted(pauses) and pauses[-1] == sending.LONGEST_PAUSE


@pytest.mark.parametrize(("status", "state"), [(200, "sent"), (500, "unclear"), (504, "unclear")])
def test_what_counts_as_interrupted_meanwhile_is_never_sent_again(
    alice: User, hooks: HookReceiver, monkeypatch: pytest.MonkeyPatch, status: int, state: str
) -> None:
    """Another worker sees a claim that seems old, because a clock has leapt."""
    destinations.add(alice, Channel.WEBHOOK, hooks.url, SECRET)
    outbox.tell("cap_80", [alice])
    hooks.status, send = status, sending.send_apart

    def leap(order: Order) -> Outcome:
        outcome = send(order)
        Delivery.objects.update(claimed_at=clock.now() - timedelta(days=1))
        sending.settle_left_behind()
        assert states() == [("unclear", sending.INTERRUPTED)]
        return outcome

    monkeypatch.setattr(sending, "send_apart", leap)
    sending.send_due(sending.OTHERS)
    assert [state for state, _ in states()] == [state]
    make_due()
    sending.send_due(sending.OTHERS)
    assert len(hooks.received) == 1 and not Delivery.objects.open().exists()


def test_a_gateway_that_does_not_know_leaves_it_unclear(alice: User, hooks: HookReceiver) -> None:
    destinations.add(alice, Channel.WEBHOOK, hooks.url, SECRET)
    outbox.tell("cap_80", [alice])
    hooks.status = 504

    sending.send_due(sending.OTHERS)
    make_due()
    sending.send_due(sending.OTHERS)

    assert [state for state, _ in states()] == ["unclear"] and len(hooks.received) == 1


def test_a_mail_that_is_refused_or_cannot_be_delivered_waits(
    alice: User, mails: MailServer
) -> None:
    outbox.tell("cap_80", [alice])
    mails.refuses = True
    sending.send_due(sending.MAIL)
    assert states() == [("waiting", "The mail server refused the recipient.")]

    mails.refuses = False
    make_due()
    sending.send_due(sending.MAIL)
    assert [state for state, _ in states()] == ["sent"] and len(mails.mails) == 1


@pytest.mark.parametrize("starts_tls", [False, True])
def test_a_mail_server_with_a_certificate_of_its_own_gets_nothing_unless_it_is_trusted(
    alice: User,
    mails: MailServer,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    starts_tls: bool,
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    certificate = make_certificate(tmp_path / "mail.pem")
    settings.EMAIL_USE_SSL, settings.EMAIL_USE_TLS = not starts_tls, starts_tls
    with mail_server(certificate, starts_tls=starts_tls) as server:
        settings.EMAIL_PORT = server.port
        outbox.tell("cap_80", [alice])
        sending.send_due(sending.MAIL)
        assert states() == [("waiting", "The certificate of the mail server was not accepted.")]
        assert not server.mails

        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        make_due()
        sending.send_due(sending.MAIL)
        assert [state for state, _ in states()] == ["sent"] and len(server.mails) == 1


def test_chats_go_by_the_certificates_of_a_company(
    hooks: HookReceiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = make_certificate(tmp_path / "certificate.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    hooks.server.socket = context.wrap_socket(hooks.server.socket, server_side=True)
    chat = Order(Chat(f"jsons://127.0.0.1:{hooks.port}/", "title", "body"), ["127.0.0.1"], 5.0)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)

    assert sending.send_apart(chat).kind == "not_reached"
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    assert sending.send_apart(chat).kind == "sent"


def test_a_receiver_that_never_ends_is_cut_off(
    alice: User, hooks: HookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have got it, so it is not told again."""
    destinations.add(alice, Channel.WEBHOOK, hooks.url, SECRET)
    outbox.tell("cap_80", [alice])
    ended = hooks.has_received.__class__()

    def trickle(_one: object, handler: object) -> None:
        while not ended.wait(0.1):
            handler.wfile.write(b"H")  # type: ignore[attr-defined]  # of http.server

    hooks.answer = trickle
    read = sending._read

    def read_shortly(output: IO[bytes], seconds: float) -> tuple[bytes, bool]:
        assert seconds == sending.TOTAL_SECONDS and hooks.has_received.wait(seconds)
        return read(output, 0.3)

    monkeypatch.setattr(sending, "_read", read_shortly)
    sending.send_due(sending.OTHERS)
    ended.set()

    assert states() == [("unclear", "It took too long.")]


def test_requests_for_approval_come_in_one_mail_and_only_those_that_wait(
    alice: User, bob: User, make_job: MakeJob, mails: MailServer
) -> None:
    Profile.objects.create(person=alice, role=Role.APPROVER)
    for number in range(4):
        job = make_job(bob, Job.State.DRAFT, name=f"job {number}", approval_plan="p")
        Job.objects.filter(pk=job.pk).update(plan_sha256="p" if number else "changed")
        job.refresh_from_db()
        outbox.tell("approval_wanted", [alice], job=job, facts=Facts(2, cost="3", who="bob"))
    sending.send_due(sending.MAIL)
    assert not mails.mails, "others may follow"

    first = Delivery.objects.order_by("pk")[1]
    Delivery.objects.filter(pk=first.pk).update(due_at=clock.now())
    sending.send_due(sending.MAIL)

    (mail,) = mails.mails
    assert mail["Subject"] == "3 jobs are waiting for your approval"
    assert mail.get_content().count("bob asks you to approve") == 3
    make_due()
    sending.send_due(sending.MAIL)
    assert [state for state, _ in states()] == ["dropped", "sent", "sent", "sent"]
    assert len(mails.mails) == 1


def test_a_mail_has_the_form_that_every_mail_server_takes(
    alice: User, make_job: MakeJob, mails: MailServer
) -> None:
    """Some refuse lines that end otherwise, bytes with eight bits, or domains in other letters."""
    job = make_job(alice, name="Größe 尺寸")
    User.objects.filter(pk=alice.pk).update(email="alice@bücher.example")
    alice.refresh_from_db()
    outbox.tell("action_needed", [alice], job=job)

    sweep.sweep()

    (content,), (mail,) = mails.contents, mails.mails
    assert content.isascii() and content.count(b"\n") == content.count(b"\r\n") > 10
    assert mail["Subject"] == "Action needed: “Größe 尺寸”" and "Größe 尺寸" in mail.get_content()
    assert mails.recipients == ["alice@xn--bcher-kva.example"] == [mail["To"]]
    assert mail["Message-ID"].endswith("@example.org>")


def test_the_name_of_a_job_calls_nobody_in_a_chat(
    alice: User, make_job: MakeJob, hooks: HookReceiver
) -> None:
    destinations.add(alice, Channel.APPRISE, f"json://127.0.0.1:{hooks.port}/chat")
    outbox.tell("action_needed", [alice], job=make_job(alice, name="@everyone <!channel>"))

    sweep.sweep()

    (chat,) = hooks.received
    assert chat.json["title"] == "Action needed: “@\u200beveryone <\u200b!channel>”"


def test_an_address_that_no_server_takes_is_given_up_and_said(
    alice: User, mails: MailServer
) -> None:
    User.objects.filter(pk=alice.pk).update(email="jörg@example.org")
    alice.refresh_from_db()
    outbox.tell("cap_80", [alice])

    sweep.sweep()

    assert states() == [("failed", "The mail server takes no such letters in a mail address.")]


def test_a_sender_that_fails_is_not_called_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    outcome = sending.send_apart(Order(Webhook("https://example.com/", {}, ""), [], 1.0))
    assert outcome == Outcome("not_reached", "Something went wrong on this site.")


def test_an_alarm_is_for_those_who_still_are_administrators(root: User, mails: MailServer) -> None:
    User.objects.filter(pk=root.pk).update(email="root@example.org")
    root.refresh_from_db()
    outbox.tell("alarm", [root], facts=Facts(text="The disk is low."))
    User.objects.filter(pk=root.pk).update(is_superuser=False)

    sweep.sweep()

    assert [state for state, _ in states()] == ["dropped"] and not mails.mails


def test_who_was_deactivated_meanwhile_gets_nothing(alice: User, mails: MailServer) -> None:
    outbox.tell("cap_80", [alice])
    User.objects.update(is_active=False)
    sending.send_due(sending.MAIL)
    assert [state for state, _ in states()] == ["dropped"] and not mails.mails


def test_a_reset_link_goes_to_who_has_the_address_and_nowhere_else(
    alice: User, mails: MailServer
) -> None:
    for address in ("Alice@example.org", "nobody@example.org"):
        outbox.post_reset(address, "https://batch.example.com")
    sending.send_due(sending.MAIL)

    assert [state for state, _ in states()] == ["sent", "dropped"]
    (mail,) = mails.mails
    assert mail["To"] == "alice@example.org", "as it is stored, not as it was typed"
    assert "https://batch.example.com/account/password/new/" in mail.get_content()
    assert not Delivery.objects.exclude(sealed="").exists()


def test_an_account_mail_is_forgotten_once_it_is_sent(db: None, mails: MailServer) -> None:
    outbox.post_mail("new@example.org", "Join", "https://batch.example.com/invitation/secret/")
    sending.send_due(sending.MAIL)
    assert mails.recipients == ["new@example.org"]
    assert Delivery.objects.get().sealed == ""
