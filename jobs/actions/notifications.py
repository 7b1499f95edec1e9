"""What people choose to be told, and where."""

from __future__ import annotations

import secrets
from collections.abc import Collection

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
from ..models.notifications import Choices
from ..notifications import destinations
from ..rules.notification_events import EVENTS


def choose(user: User, *, mail: Collection[str], browser: Collection[str]) -> None:
    """Which events `user` gets by mail, and shown by the browser."""
    chosen = Choices(
        mail=[name for name in EVENTS if name in mail],
        browser=[name for name in EVENTS if name in browser],
    )
    NotificationChoices.objects.update_or_create(person=user, defaults={"choices": chosen})


def add_destination(
    person: User,
    channel: str,
    address: str,
    by: User | None,
    *,
    secret: str = "",
    events: list[str] | None = None,
) -> tuple[Destination, str]:
    """The new destination, and its secret: without one, a webhook gets a random one. `events`:
    None for all. Raises guard.Refused."""
    if channel == Channel.WEBHOOK and not secret:
        secret = secrets.token_urlsafe(32)
    with transaction.atomic():
        added = destinations.add(person, channel, address, secret, events)
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
        if open_tests.filter(state__in=Delivery.OPEN).exists():
            return None
        return outbox.post_test(destination, clock.now())


def follow(job: Job, user: User, *, on: bool) -> None:
    """Tell `user` what becomes of a job, and mail its end in any case."""
    if on:
        Follower.objects.get_or_create(job=job, person=user)
    else:
        Follower.objects.filter(job=job, person=user).delete()
