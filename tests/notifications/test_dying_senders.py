"""A worker is killed with SIGKILL at each step of sending: the message arrives once, or not at all
with a trace that says that it may have been sent."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.db import connection
from pytest_django import Settings

from jobs.models import Channel, Delivery, clock, outbox, processes
from jobs.notifications import destinations, sending
from jobs.worker import sweep

from .. import forking
from ..worker.test_crashes import environment_of_worker
from . import dying_sender
from .receivers import HookReceiver, MailServer

STATE = Delivery.State


def die_in_a_process(folder: Path, server: MailServer, point: str) -> int | None:
    """The exit code of a process that sends, and dies at `point`."""
    folder.mkdir(exist_ok=True)
    environment = {
        **environment_of_worker("http://127.0.0.1:9", folder),
        "ANTHROPIC_API_KEY": "sk-ant-not-a-key",
        "SECRET_KEY": "the same for this process and the other one: 0123456789",
        "EMAIL_URL": f"smtp://127.0.0.1:{server.port}",
        "EMAIL_FROM": "site@example.org",
        "NOTIFY_PRIVATE_HOSTS": "127.0.0.0/8",
    }
    errors = folder / "sender.log"
    process = forking.start(dying_sender.main, point, environment=environment, errors=errors)
    process.join(120)
    if process.exitcode not in (0, -signal.SIGKILL):
        pytest.fail(errors.read_text())
    return process.exitcode


@pytest.mark.parametrize("channel", [Channel.MAIL, Channel.WEBHOOK])
@pytest.mark.parametrize("point", dying_sender.POINTS)
def test_it_arrives_at_most_once_wherever_a_worker_dies(
    transactional_db: None,
    settings: Settings,
    tmp_path: Path,
    alice: User,
    mails: MailServer,
    hooks: HookReceiver,
    point: str,
    channel: str,
) -> None:
    settings.SECRET_KEY = "the same for this process and the other one: 0123456789"
    if channel == Channel.WEBHOOK:
        User.objects.update(email="")
        alice.email = ""
        destinations.add(alice, channel, hooks.url, "a secret of the hook")
    outbox.tell("cap_80", [alice])
    assert Delivery.objects.get().channel == channel

    assert die_in_a_process(tmp_path / "site", mails, point) == -signal.SIGKILL
    left = Delivery.objects.get()
    assert left.state == (STATE.WAITING if point == "before the claim" else STATE.SENDING)
    for _ in range(2):  # as workers that come after it
        sweep.sweep()

    arrived = len(mails.mails) + len(hooks.received)
    told = Delivery.objects.get()
    if point == "before the claim":
        assert (told.state, arrived) == (STATE.SENT, 1)
    else:
        assert (told.state, told.trouble) == (STATE.UNCLEAR, sending.INTERRUPTED)
        assert arrived == 1 if point == "sent, nothing noted" else arrived <= 1
        assert arrived == 0 or dying_sender.POINTS[point]
    connection.close()


def test_what_another_living_worker_sends_is_left_alone(alice: User, mails: MailServer) -> None:
    outbox.tell("cap_80", [alice])
    mine = f"{processes.PROCESS}|abc"
    now = clock.now()
    Delivery.objects.update(state=STATE.SENDING, claimed_by=mine, claimed_at=now)

    sweep.sweep()
    assert Delivery.objects.get().state == STATE.SENDING

    # Unless that was so long ago that its thread must be gone.
    Delivery.objects.update(claimed_at=now - 2 * sending.CLAIM_LASTS)
    sweep.sweep()
    assert Delivery.objects.get().state == STATE.UNCLEAR and not mails.mails


def test_two_workers_never_send_the_same(alice: User, mails: MailServer) -> None:
    """The second one that claims it changes nothing."""
    outbox.tell("cap_80", [alice])
    first, second = Delivery.objects.get(), Delivery.objects.get()
    sending.deliver(first)
    sending.deliver(second)
    assert len(mails.mails) == 1


def test_after_a_restore_nothing_old_is_sent(alice: User, mails: MailServer) -> None:
    outbox.tell("cap_80", [alice])
    sending.settle_restored()
    sweep.sweep()
    assert Delivery.objects.get().state == STATE.UNCLEAR and not mails.mails
