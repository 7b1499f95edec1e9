"""What the worker asks every second, and what a click asks under a lock, finds its rows by an
index: what was sent stays for months."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection

from jobs.actions import notifications
from jobs.models import Channel, Delivery, Destination, Notification, clock, outbox
from jobs.notifications import sending
from jobs.spending import cap_notices
from jobs.spending.caps import Used

from .receivers import MailServer

State = Delivery.State


def read_whole(step: Callable[[], object], *tables: str) -> list[str]:
    """The statements of `step` that read one of `tables` from its beginning to its end."""
    asked: list[tuple[str, Any]] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith(("SELECT", "UPDATE", "DELETE")):
            asked.append((sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        step()
    return [sql for sql, params in asked if any(_reads_whole(sql, params, one) for one in tables)]


def _reads_whole(sql: str, params: Any, table: str) -> bool:
    """With the parameters apart, as they are in the end: SQLite uses an index with a condition only
    if it can prove that condition without them."""
    if f'"{table}"' not in sql:
        return False
    is_sqlite = connection.vendor == "sqlite"
    with connection.cursor() as cursor:
        if is_sqlite:
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}", params)
            steps = [str(step[3]) for step in cursor.fetchall()]
            # All of an index is as much as all of the table, except of the one of what is open.
            return any(
                step.startswith(f"SCAN {table}") and "delivery_open" not in step for step in steps
            )
        # Tables as small as a test's are read whole unless that is made dear.
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"EXPLAIN {sql}", params)
        return any(f"Seq Scan on {table}" in step for (step,) in cursor.fetchall())


@pytest.fixture
def history(alice: User, bob: User) -> None:
    """Much was sent, and a little waits."""
    now = clock.now()
    Notification.objects.bulk_create(
        Notification(person=one, event="cap_80", key=f"cap {number}", made_at=now)
        for number in range(500)
        for one in (alice, bob)
    )
    Delivery.objects.bulk_create(
        Delivery(
            notification=one,
            channel=Channel.MAIL,
            state=State.SENT,
            made_at=now,
            due_at=now,
            done_at=now,
        )
        for one in Notification.objects.all()
    )


def test_looking_for_what_is_due_reads_what_is_open(history: None) -> None:
    def look() -> None:
        for channels in (sending.MAIL, sending.OTHERS):
            sending.has_due(channels)
            sending.send_due(channels)
        sending.settle_restored()

    assert not read_whole(look, "jobs_delivery")


def test_sending_reads_what_is_open(history: None, alice: User, mails: MailServer) -> None:
    outbox.tell("cap_80", [alice])
    outbox.tell("approval_wanted", [alice])
    Delivery.objects.open().update(due_at=clock.now())

    assert not read_whole(lambda: sending.send_due(sending.MAIL), "jobs_delivery")

    assert not Delivery.objects.open().exists()
    assert len(mails.mails) == 1, "and the request for approval is not needed"


def test_telling_reads_what_is_of_the_person(history: None, alice: User) -> None:
    place = Destination.objects.create(person=alice, channel=Channel.WEBHOOK, label="a")

    def tell() -> None:
        outbox.tell("cap_80", [alice], key="cap 7")
        outbox.tell("cap_80", [alice], key="another")
        notifications.test_destination(place)
        outbox.stuck_mails()
        now = clock.now()
        near = Used("person", Decimal(10), Decimal(8), whose_pk=alice.pk)
        everyone = Used("everyone", Decimal(10), Decimal(8))
        team = Used("team", Decimal(10), Decimal(8), "Ads", 1)
        cap_notices.tell_if_near([near, everyone, team], now)

    assert not read_whole(tell, "jobs_delivery", "jobs_notification")
