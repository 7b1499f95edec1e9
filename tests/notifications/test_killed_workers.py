"""A worker is killed with SIGKILL again and again while it tells people things, at each step of
sending, and started again. Each event reaches a person at most once in each way, and the outbox
says where one may be missing."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.db import connection
from pytest_django import Settings

from jobs.batches import holds
from jobs.models import Channel, Delivery, Follower, Job, Notification, Team, outbox
from jobs.notifications import destinations, sending

from .. import forking
from ..conftest import store_job
from ..running import SECONDS, wait_for
from ..worker.test_crashes import environment_of_worker
from . import dying_sender, receiver_process
from .receiver_process import Arrival

STATE = Delivery.State
KEY = "the same for this process and the other ones: 0123456789"
# Where each life of the worker ends, and at which pass of that point: the first or second message.
# test_dying_senders has each of POINTS with each kind of message.
DEATHS = [
    *((point, 1 + number % 2) for number, point in enumerate(dying_sender.POINTS)),
    *((point, wanted) for wanted in (1, 2) for point in dying_sender.MORE_POINTS),
]


@dataclass
class Receivers:
    """The two servers, in a process of their own."""

    log: Path
    url: str
    port: int

    @property
    def arrivals(self) -> list[Arrival]:
        return receiver_process.arrivals_in(self.log)


@pytest.fixture
def receivers(tmp_path: Path) -> Iterator[Receivers]:
    log, ports = tmp_path / "arrivals", tmp_path / "ports"
    log.touch()
    errors = tmp_path / "receivers.log"
    process = forking.start(
        receiver_process.main,
        str(log),
        str(ports),
        environment=environment_of_worker("http://127.0.0.1:9", tmp_path),
        errors=errors,
    )
    wait_for(lambda: ports.exists() or not process.is_alive(), "the receivers")
    assert process.is_alive(), errors.read_text()
    url, port = json.loads(ports.read_text())
    yield Receivers(log, url, port)
    process.kill()
    process.join()


def live(folder: Path, receivers: Receivers, point: str = "", wanted: int = 0) -> int | None:
    """The exit code of one life of the worker."""
    environment = {
        **environment_of_worker("http://127.0.0.1:9", folder),
        "ANTHROPIC_API_KEY": "sk-ant-not-a-key",
        "SECRET_KEY": KEY,
        "EMAIL_URL": f"smtp://127.0.0.1:{receivers.port}",
        "EMAIL_FROM": "site@example.org",
        "NOTIFY_PRIVATE_HOSTS": "127.0.0.0/8",
    }
    errors = folder / "worker.log"
    logs = str(receivers.log), str(folder / "children")
    process = forking.start(
        dying_sender.work, point, wanted, *logs, environment=environment, errors=errors
    )
    process.join(SECONDS)
    if process.exitcode not in (0, -signal.SIGKILL):
        pytest.fail(f"{process.exitcode}: {errors.read_text()}")
    return process.exitcode


def tell_of_something(job: Job) -> None:
    """An event for the owner and a follower, and an invitation."""
    holds.hold(job.pk, "A reason")
    outbox.post_mail(f"new-{job.pk}@example.org", "Join", "https://batch.example.com/secret/")


def key_of(one: Delivery) -> tuple[str, str]:
    """What the receivers know a delivery by."""
    told = one.notification
    assert told is not None
    if one.channel == Channel.WEBHOOK:
        return "webhook", str(told.uid)
    return "mail", f"{told.person.email} {told.title}"


def test_each_event_arrives_at_most_once_in_each_way_or_leaves_a_trace(
    transactional_db: None,
    settings: Settings,
    tmp_path: Path,
    alice: User,
    bob: User,
    receivers: Receivers,
) -> None:
    settings.SECRET_KEY, settings.HAS_MAIL = KEY, True
    team = Team.objects.create(name="Ads")
    for person in (alice, bob):
        person.email = f"{person.username}@example.org"
        person.save()
        team.people.add(person)
        destinations.add(person, Channel.WEBHOOK, receivers.url, "a secret of the hook")

    for number, (point, wanted) in enumerate(DEATHS):
        job = store_job(
            alice, Job.State.WORKING, name=f"job {number}", team=team, next_action_at=None
        )
        Follower.objects.create(job=job, person=bob)
        tell_of_something(job)
        assert live(tmp_path, receivers, point, wanted) == -signal.SIGKILL, point
    assert live(tmp_path, receivers) == 0
    children = list(map(int, (tmp_path / "children").read_text().split()))
    wait_for(lambda: all(map(dying_sender.pid_is_gone, children)), "the last message")

    arrived = Counter((one.channel, one.id) for one in receivers.arrivals if one.taken)
    assert set(arrived.values()) == {1}, "something arrived twice"
    deliveries = Delivery.objects.select_related("notification__person", "notification__job")
    events = list(deliveries.exclude(notification=None))
    assert Notification.objects.count() == 2 * len(DEATHS)
    assert len(events) == 2 * Notification.objects.count()
    for one in events:
        assert one.state in (STATE.SENT, STATE.UNCLEAR), one
        if one.state == STATE.SENT:
            assert arrived[key_of(one)] == 1, one
        else:
            assert one.trouble == sending.INTERRUPTED, one
    # What is in a mail about an account is forgotten, so they can only be counted.
    invitations = deliveries.filter(notification=None)
    came = sum(arrived[("mail", f"new-{job.pk}@example.org Join")] for job in Job.objects.all())
    sent = invitations.filter(state=STATE.SENT).count()
    assert sent <= came <= sent + invitations.filter(state=STATE.UNCLEAR).count()
    assert invitations.count() == len(DEATHS)
    # Each death leaves one message in doubt at most, and the refused ones came in the end.
    unclear = Delivery.objects.filter(state=STATE.UNCLEAR).count()
    deadly = [point for point, _ in DEATHS if point not in ("before the claim", "noted")]
    assert unclear == len(deadly), "and no other"
    assert any(not one.taken for one in receivers.arrivals)
    connection.close()
