"""The outbox: call `tell` in the transaction of what happened, and people are told if and only if
it is committed. The worker sends what is not shown by the bell; see jobs/notifications/.

    outbox.tell("approval_given", [job.owner], job=job, facts=Facts(who=user.username))
    outbox.tell_about_job("action_needed", job)
    outbox.tell("alarm", administrators(), facts=Facts(text="The disk is low."), key="alarm 7")
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import msgspec
from cryptography.fernet import InvalidToken
from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Func, Value
from django.db.models.sql.compiler import SQLCompiler

from ..rules.notification_events import EVENTS, MAILED_AFTER_SECONDS, Facts
from . import clock
from .encryption import cipher
from .jobs import Job
from .notifications import (
    Channel,
    Choices,
    Delivery,
    Destination,
    Follower,
    Notification,
    NotificationChoices,
)

__all__ = [
    "Facts",
    "forget_person",
    "post_mail",
    "post_reset",
    "post_test",
    "read_mail",
    "stuck_mails",
    "tell",
    "tell_about_job",
]

# Requests for approval within so long of the first go into one mail.
GATHERED = timedelta(minutes=5)
ASKED_AT_ONCE = 200  # people in one query; SQLite takes 500
NO_FACTS, NO_CHOICES = Facts(), Choices()
_MAIL = "batchsite: mail about an account"


def tell(
    event: str,
    people: Iterable[User],
    *,
    job: Job | None = None,
    facts: Facts = NO_FACTS,
    key: str = "",
) -> int:
    """Tell `people` of an event: one notification each, and one delivery for each other way that
    they chose. Returns how many people are told.

    Call it in the transaction that makes the event happen, after its conditional UPDATE has
    changed something. It writes rows only, a fixed number of statements; nothing is sent here.
    `event` is a name in EVENTS. People who are deactivated are not told, and each is told once.
    With a `key` (at most 120 characters), a person is told of that key only once, ever: use it for
    what is found again and again, such as "cap_80:person:12:2026-11:50.00".
    """
    now = clock.now()
    told = {one.pk: one for one in people if one.is_active}
    made = [
        Notification(person=one, event=event, job=job, facts=facts, key=key or None, made_at=now)
        for one in told.values()
    ]
    if not made:
        return 0
    with transaction.atomic():
        Notification.objects.bulk_create(made, ignore_conflicts=bool(key))
        if key:
            # Those that were there before are not told again.
            uids = [one.uid for one in made]
            made = list(Notification.objects.filter(uid__in=uids).select_related("person"))
        elsewhere = Destination.objects.filter(person__in=[one.person_id for one in made])
        by_person: dict[int, list[Destination]] = {}
        for destination in elsewhere:
            if destination.wanted.gets(event):
                by_person.setdefault(destination.person_id, []).append(destination)
        mailed = _mailed([one.person for one in made], event, job, facts)
        Delivery.objects.bulk_create(
            delivery
            for one in made
            for delivery in _deliveries(one, by_person.get(one.person_id, ()), mailed, now)
        )
    return len(made)


def tell_about_job(event: str, job: Job, facts: Facts = NO_FACTS, *, key: str = "") -> int:
    """Tell the owner of `job`, and those who follow it and may still see it. As `tell`."""
    followers = [one.person for one in job.followers.select_related("person", "person__profile")]
    return tell(event, [job.owner, *_who_see(job, followers)], job=job, facts=facts, key=key)


def _who_see(job: Job, people: list[User]) -> list[User]:
    """Those of `people` who may see `job`, found by one query for many of them."""
    seen: set[int] = set()
    for begin in range(0, len(people), ASKED_AT_ONCE):
        first, *others = (
            Job.objects.filter(pk=job.pk)
            .visible_to(one)
            .order_by()
            .annotate(person=Value(one.pk))
            .values_list("person", flat=True)
            for one in people[begin : begin + ASKED_AT_ONCE]
        )
        seen.update(first.union(*others, all=True) if others else first)
    return [one for one in people if one.pk in seen]


def is_practice(job: Job | None) -> bool:
    """Whether what is told of `job`, or of the site, is about practice, which costs nothing."""
    return settings.PRACTICE if job is None or not job.was_sent else job.practice


def _mailed(people: list[User], event: str, job: Job | None, facts: Facts) -> set[int]:
    """The people who get the event by mail."""
    about = EVENTS[event]
    if not settings.HAS_MAIL or (is_practice(job) and about.is_about_work):
        return set()
    if event == "action_solved" and facts.ended:
        return set()  # the end of the job has a mail of its own
    chosen = {
        one.person_id: one.choices for one in NotificationChoices.objects.filter(person__in=people)
    }
    asked: set[int] = set()
    if job is not None and about.is_end:
        asked.update(Follower.objects.filter(job=job).values_list("person_id", flat=True))
    is_short = about.is_end and facts.seconds <= MAILED_AFTER_SECONDS
    mailed = set()
    for one in people:
        wanted = chosen.get(one.pk, NO_CHOICES).mails(event)
        if one.email and ((wanted and not is_short) or one.pk in asked):
            mailed.add(one.pk)
    return mailed


def _deliveries(
    notification: Notification,
    destinations: Iterable[Destination],
    mailed: set[int],
    now: datetime,
) -> Iterable[Delivery]:
    gathers = notification.event == "approval_wanted"
    for destination in destinations:
        due_at = now + GATHERED if gathers and destination.channel == Channel.MAIL else now
        yield Delivery(
            notification=notification,
            destination=destination,
            channel=destination.channel,
            made_at=now,
            due_at=due_at,
        )
    if notification.person_id in mailed:
        yield Delivery(
            notification=notification,
            channel=Channel.MAIL,
            made_at=now,
            due_at=now + GATHERED if gathers else now,
        )


def post_test(destination: Destination, now: datetime) -> Delivery:
    """Have the worker send a test message to one destination; the bell does not count it."""
    made = Notification.objects.create(
        person=destination.person, event="test", made_at=now, read_at=now
    )
    return Delivery.objects.create(
        notification=made,
        destination=destination,
        channel=destination.channel,
        made_at=now,
        due_at=now,
    )


# --- Mails about an account -----------------------------------------------------------------------


class AccountMail(msgspec.Struct, frozen=True):
    """An invitation or a reset link, as it is stored: encrypted, and only until it is sent."""

    to: str
    subject: str
    text: str
    # Of a request for a reset link: the address of this site. Text and subject come when it is
    # sent, if somebody has the address.
    site: str = ""


_read_mail = msgspec.json.Decoder(AccountMail).decode


def post_mail(to: str, subject: str, text: str) -> None:
    """Have the worker send a mail about an account. Its link is a secret."""
    _post(AccountMail(to, subject, text))


def post_reset(to: str, site: str) -> None:
    """Have the worker send a reset link to whoever has an account with the mail address `to`."""
    _post(AccountMail(to, "", "", site))


def _post(mail: AccountMail) -> None:
    now = clock.now()
    sealed = cipher(_MAIL).encrypt(msgspec.json.encode(mail)).decode()
    Delivery.objects.create(channel=Channel.MAIL, sealed=sealed, made_at=now, due_at=now)


def stuck_mails() -> str:
    """Why a mail about an account was not sent, or may not have been, on its way or in the last two
    days; "" when all were."""
    state = Delivery.State
    mails = Delivery.objects.filter(notification=None, attempts__gt=0)
    mails = mails.filter(made_at__gte=clock.now() - timedelta(days=2))
    stuck = mails.filter(state__in=[state.WAITING, state.FAILED, state.UNCLEAR]).order_by("-pk")
    return stuck.values_list("trouble", flat=True).first() or ""


class _WithoutWho(Func):
    """Facts without the name of a person, in the database."""

    template = "JSON_REMOVE(%(expressions)s, '$.who')"

    def as_postgresql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> Any:
        return self.as_sql(compiler, connection, template="(%(expressions)s - 'who')")


def forget_person(person: User, username: str, mail: str) -> None:
    """Delete what a person was told and where, mails about their account that were not sent, and
    their name in what others were told."""
    for model in (Notification, Destination, Follower, NotificationChoices):
        model._default_manager.filter(person=person).delete()
    named = Notification.objects.filter(facts__who=username)
    named.update(facts=_WithoutWho("facts"))
    state = Delivery.State
    for delivery in Delivery.objects.filter(notification=None, state=state.WAITING):
        if mail and _is_for(mail, delivery.sealed):
            mine = Delivery.objects.filter(pk=delivery.pk, state=state.WAITING)
            mine.update(state=state.DROPPED, done_at=clock.now(), sealed="")


def _is_for(mail: str, sealed: str) -> bool:
    try:
        return read_mail(sealed).to.casefold() == mail.casefold()
    except InvalidToken:  # of another SECRET_KEY: nobody can read it, nor send it
        return False


def read_mail(sealed: str) -> AccountMail:
    """Raises cryptography.fernet.InvalidToken if SECRET_KEY has changed since."""
    return _read_mail(cipher(_MAIL).decrypt(sealed.encode()))
