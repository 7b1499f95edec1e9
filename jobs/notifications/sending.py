"""Send what is in the outbox: at most once, whatever crashes.

    waiting -> sending -> sent
       ^         |  |
       |         |  +-> unclear: it may have arrived, and is never sent again
       +---------+      failed: given up after about a day, or forbidden
      clearly refused, or not reached

The claim (waiting -> sending) is committed before the first byte leaves. What a crash leaves in
`sending` becomes `unclear`. Each message is sent by a process of its own, which is killed when its
time is over, so that no receiver can hold up the worker, however slowly it answers.
"""

from __future__ import annotations

import logging
import os
import secrets
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import IO

import msgspec
from cryptography.fernet import InvalidToken
from django.conf import settings
from django.db.models import F, Q

from ..models import Channel, Delivery, clock, processes
from . import destinations, messages
from .protocol import (
    BEGINS,
    FORBIDDEN,
    NOT_REACHED,
    SENT,
    UNCLEAR,
    Chat,
    Mail,
    Order,
    Outcome,
    Webhook,
)

logger = logging.getLogger(__name__)

STEP_SECONDS, TOTAL_SECONDS = 10.0, 30.0  # of one message: a step on the network, and all of it
TURN = timedelta(seconds=20)  # of one thread; then others get theirs
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=30), timedelta(hours=2)
# With these pauses, they take a day. Counted, because the clock can leap.
MOST_ATTEMPTS = 20
CLAIM_LASTS = timedelta(minutes=5)  # far longer than a message may take
ANSWER_BYTES = 10_000  # of the process that sends
GATHERED_AT_ONCE = 50
MAIL, OTHERS = (Channel.MAIL,), (Channel.WEBHOOK, Channel.APPRISE)
INTERRUPTED = "We were interrupted while sending it."
NO_MAIL = "Email is not set up on this site."
UNREADABLE = "What was stored cannot be read: the secret key of this site has changed."

_read_outcome = msgspec.json.Decoder(Outcome).decode


def has_due(channels: Sequence[str]) -> bool:
    """Whether something can be sent now, or a crash has left something behind."""
    now = clock.now()
    mine = Delivery.objects.open().filter(channel__in=channels)
    return mine.filter(_is_due(now) | Q(state=Delivery.State.SENDING)).exists()


def _is_due(now: datetime) -> Q:
    return Q(clock.over("due_at", LONGEST_PAUSE, now), state=Delivery.State.WAITING)


def send_due(channels: Sequence[str]) -> None:
    """Send what is due by these channels, for one turn."""
    settle_left_behind()
    turn = clock.Countdown(TURN.total_seconds())
    while not turn.is_over:
        delivery = _next(channels)
        if delivery is None:
            return
        deliver(delivery)


def _next(channels: Sequence[str]) -> Delivery | None:
    """What is due longest. One person's receivers take one thread at a time."""
    busy = Delivery.objects.open().filter(state=Delivery.State.SENDING, channel__in=OTHERS)
    people = busy.values_list("notification__person", flat=True)
    due = Delivery.objects.open().filter(_is_due(clock.now()), channel__in=channels)
    if channels != MAIL:
        due = due.exclude(notification__person__in=list(filter(None, people)))
    return due.order_by("due_at", "pk").first()


# --- One message ----------------------------------------------------------------------------------


def deliver(delivery: Delivery) -> None:
    """Claim it, with what goes into the same mail, send it, and note what became of it. Does
    nothing when another worker has claimed it."""
    token = f"{processes.PROCESS}|{secrets.token_hex(4)}"
    together = [delivery.pk, *_same_mail(delivery)]
    claimed = Delivery.objects.filter(_is_due(clock.now()) | Q(pk__in=together[1:]))
    claimed = claimed.filter(pk__in=together, state=Delivery.State.WAITING)
    if not claimed.update(
        state=Delivery.State.SENDING,
        claimed_at=clock.now(),
        claimed_by=token,
        attempts=F("attempts") + 1,
    ):
        return
    mine = Delivery.objects.filter(pk__in=together, claimed_by=token).order_by("pk")
    found = list(mine.select_related("notification__person", "notification__job", "destination"))
    needed = [one for one in found if messages.is_needed(one)]
    if dropped := [one.pk for one in found if one not in needed]:
        mine.filter(pk__in=dropped).update(
            state=Delivery.State.DROPPED, done_at=clock.now(), sealed=""
        )
    if needed:
        outcome = _send(needed)
        for one in needed:
            _note(one, outcome)


def _same_mail(delivery: Delivery) -> list[int]:
    """Other requests for approval to the same person, which go into one mail."""
    one = delivery.notification
    if one is None or one.event != "approval_wanted" or delivery.channel != Channel.MAIL:
        return []
    others = Delivery.objects.open().filter(
        notification__person=one.person_id,
        notification__event=one.event,
        destination=delivery.destination_id,
        channel=Channel.MAIL,
        state=Delivery.State.WAITING,
    )
    others = others.exclude(pk=delivery.pk).order_by("pk")
    return list(others.values_list("pk", flat=True)[: GATHERED_AT_ONCE - 1])


def _send(found: Sequence[Delivery]) -> Outcome:
    try:
        message = _message(found)
    except InvalidToken:
        return Outcome(FORBIDDEN, UNREADABLE)
    except Exception:
        logger.exception("notification %s could not be written", found[0].pk)
        return Outcome(NOT_REACHED, "Something went wrong on this site.")
    if message is None:
        return Outcome(NOT_REACHED, NO_MAIL)
    try:
        return send_apart(Order(message, settings.NOTIFY_PRIVATE_HOSTS, STEP_SECONDS))
    except OSError:  # no process could be started
        logger.exception("notification %s could not be sent", found[0].pk)
        return Outcome(NOT_REACHED, "Something went wrong on this site.")


def _message(found: Sequence[Delivery]) -> Mail | Webhook | Chat | None:
    """None when it is a mail and there is no mail server. Raises InvalidToken."""
    first = found[0]
    place = destinations.unseal(first.destination) if first.destination else None
    one = first.notification
    if first.channel == Channel.MAIL:
        if not settings.HAS_MAIL:
            return None
        if one is None:
            content = messages.account_mail(first.sealed)
            return messages.mail(content) if content else None
        shown = [each.notification for each in found if each.notification]
        return messages.notification_mail(shown, place.address if place else one.person.email)
    assert one is not None and place is not None  # noqa: S101 - only mails come without them
    if first.channel == Channel.WEBHOOK:
        return messages.webhook(one, place)
    return messages.chat(one, place)


def _note(one: Delivery, outcome: Outcome) -> None:
    """What became of it. One that counted as interrupted meanwhile is never sent again, but what is
    known of it by now is noted."""
    state, now = Delivery.State, clock.now()
    claimed = Delivery.objects.filter(pk=one.pk, claimed_by=one.claimed_by)
    mine = claimed.filter(state=state.SENDING)
    if outcome.kind == SENT:
        arrived = claimed.filter(state__in=[state.SENDING, state.UNCLEAR])
        arrived.update(state=state.SENT, done_at=now, trouble="", sealed="")
    elif outcome.kind == UNCLEAR:
        mine.update(state=state.UNCLEAR, done_at=now, trouble=outcome.why, sealed="")
    elif outcome.kind == FORBIDDEN or _is_given_up(one):
        mine.update(state=state.FAILED, done_at=now, trouble=outcome.why, sealed="")
    else:
        due_at = now + pause_after(one.attempts)
        mine.update(state=state.WAITING, due_at=due_at, trouble=outcome.why)
    if outcome.kind != SENT:
        logger.warning("notification %s (%s): %s", one.pk, one.channel, outcome.why)


def pause_after(attempts: int) -> timedelta:
    """How long to wait after this many attempts."""
    return clock.growing_pause(FIRST_PAUSE, LONGEST_PAUSE, attempts - 1)


def _is_given_up(one: Delivery) -> bool:
    is_test = one.notification is not None and one.notification.event == "test"
    return is_test or one.attempts >= MOST_ATTEMPTS


def settle_left_behind() -> None:
    """What a process that is gone was sending may have arrived: it is not sent again."""
    now = clock.now()
    sending = Delivery.objects.open().filter(state=Delivery.State.SENDING)
    fresh = clock.near("claimed_at", CLAIM_LASTS, now)
    recent = set(sending.filter(fresh).values_list("pk", flat=True))
    for pk, claimed_by in sending.values_list("pk", "claimed_by"):
        if pk not in recent or processes.has_ended(claimed_by.rpartition("|")[0]):
            mine = sending.filter(pk=pk, claimed_by=claimed_by)
            mine.update(state=Delivery.State.UNCLEAR, done_at=now, trouble=INTERRUPTED, sealed="")


def settle_restored() -> None:
    """After a restore: what waited when the backup was made was probably sent since."""
    Delivery.objects.open().update(
        state=Delivery.State.UNCLEAR,
        done_at=clock.now(),
        trouble="The site was restored from a backup.",
        sealed="",
    )


# --- The process that sends -----------------------------------------------------------------------

_CHILD = {"PYTHONIOENCODING": "utf-8", "MALLOC_ARENA_MAX": "1", "HOME": "/nonexistent"}
# Where OpenSSL and requests find the certificates that a company signs its servers with.
_PASSED_ON = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")


def send_apart(order: Order, seconds: float = TOTAL_SECONDS) -> Outcome:
    """Send one message in a process of its own, which gets nothing of this one's environment but
    _PASSED_ON, and is killed after `seconds`."""
    child = subprocess.Popen(
        [sys.executable, "-m", "jobs.notifications"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # libraries may quote addresses and answers
        cwd=settings.BASE_DIR,
        env={**_CHILD, **{name: os.environ[name] for name in _PASSED_ON if name in os.environ}},
        start_new_session=True,
    )
    assert child.stdin is not None and child.stdout is not None  # noqa: S101 - asked for
    try:
        with suppress(BrokenPipeError), child.stdin as orders:
            orders.write(msgspec.json.encode(order))
        said, is_late = _read(child.stdout, seconds)
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    *_begun, last = said.split(b"\n")[:-1] or [b""]
    with suppress(msgspec.DecodeError):
        return _read_outcome(last)
    why = "It took too long." if is_late else "Something went wrong on this site."
    return Outcome(UNCLEAR if BEGINS in said else NOT_REACHED, why)


def _read(output: IO[bytes], seconds: float) -> tuple[bytes, bool]:
    """What the process says until it ends or its time is over; and whether it is over."""
    said, until = b"", time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0 and len(said) < ANSWER_BYTES:
        if select.select([output], [], [], left)[0]:
            block = os.read(output.fileno(), ANSWER_BYTES)
            if not block:
                break
            said += block
    return said, time.monotonic() >= until
