"""What people choose to be told, and where."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable

from django.contrib.auth.models import User
from django.db import transaction

from ..models import (
    Channel,
    Delivery,
    Destination,
    Follower,
    Job,
    NotificationChoices,
    audit,
    clock,
    outbox,
)
from ..models.notifications import Choices, Wanted
from ..notifications import destinations
from ..notifications.destinations import ALL


def choose(
    user: User, shown: Iterable[str], *, mail: Collection[str], browser: Collection[str]
) -> None:
    """Which of the events that were `shown` the person gets by mail, and shown by the browser."""
    names = list(shown)
    chosen = Choices(
        mail={name: name in mail for name in names},
        browser={name: name in browser for name in names},
    )
    NotificationChoices.objects.update_or_create(person=user, defaults={"choices": chosen})


def add_destination(
    person: User,
    channel: str,
    address: str,
    by: User | None,
    *,
    secret: str = "",
    wanted: Wanted = ALL,
) -> tuple[Destination, str]:
    """The new destination, and its secret: without one, a webhook gets a random one. Raises
    guard.Refused."""
    if channel == Channel.WEBHOOK and not secret:
        secret = secrets.token_urlsafe(32)
    with transaction.atomic():
        added = destinations.add(person, channel, address, secret, wanted)
        target = f"{channel} {added.label} of {audit.person(person)}"
        audit.record("destination_added", who=by, target=target)
    return added, secret


def remove_destination(destination: Destination, by: User | None) -> None:
    """What waits to be sent to it is not sent any more."""
    target = f"{destination.channel} {destination.label} of {audit.person(destination.person)}"
    with transaction.atomic():
        if Destination.objects.filter(pk=destination.pk).delete()[0]:
            audit.record("destination_removed", who=by, target=target)


def test_destination(destination: Destination) -> Delivery | None:
    """Have the worker send a test message. None while another one is on its way."""
    with transaction.atomic():
        Destination.objects.select_for_update().get(pk=destination.pk)
        open_tests = destination.deliveries.filter(notification__event="test")
        if open_tests.open().exists():
            return None
        return outbox.post_test(destination, clock.now())


def follow(job: Job, user: User, *, on: bool) -> None:
    """Tell `user` what becomes of a job, and mail its end in any case."""
    if on:
        Follower.objects.get_or_create(job=job, person=user)
    else:
        Follower.objects.filter(job=job, person=user).delete()
