"""The outbox: call `tell` in the transaction of what happened, and people are told if and only if
it is committed. The worker sends what is not shown by the bell; see jobs/notifications/.

    outbox.tell("approval_given", [job.owner], job=job, facts=Facts(who=user.username))
    outbox.tell_about_job("action_needed", job)
    outbox.tell("alarm", administrators(), facts=Facts(text="The disk is low."), key="alarm 7")
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec
from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction

from ..rules.notification_events import EVENTS, MAILED_AFTER_SECONDS, Facts
from . import clock
from .encryption import cipher
from .jobs import Job
from .notifications import (
    Channel,
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
NO_FACTS = Facts()
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
        Notification(person=one, event=event, job=job, facts=facts, key=key, made_at=now)
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
            if destination.gets(event):
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
    seen = Job.objects.filter(pk=job.pk)
    people = [one for one in followers if seen.visible_to(one).exists()]
    return tell(event, [job.owner, *people], job=job, facts=facts, key=key)


def _mailed(people: list[User], event: str, job: Job | None, facts: Facts) -> set[int]:
    """The people who get the event by mail."""
    about = EVENTS[event]
    is_practice = settings.PRACTICE if job is None or not job.was_sent else job.practice
    if not settings.HAS_MAIL or (is_practice and about.is_about_work):
        return set()
    chosen = {
        one.person_id: one.choices.mail
        for one in NotificationChoices.objects.filter(person__in=people)
    }
    asked: set[int] = set()
    if job is not None and about.is_end:
        asked.update(Follower.objects.filter(job=job).values_list("person_id", flat=True))
    is_short = about.is_end and facts.seconds <= MAILED_AFTER_SECONDS
    mailed = set()
    for one in people:
        events = chosen.get(one.pk)
        wanted = about.mail if events is None else event in events
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


def forget_person(person: User, username: str) -> None:
    """Delete what a person was told and where, and their name in what others were told."""
    for model in (Notification, Destination, Follower, NotificationChoices):
        model._default_manager.filter(person=person).delete()
    for one in Notification.objects.filter(facts__who=username):
        one.facts = msgspec.structs.replace(one.facts, who="")
        one.save(update_fields=["facts"])


def read_mail(sealed: str) -> AccountMail:
    """Raises cryptography.fernet.InvalidToken if SECRET_KEY has changed since."""
    return _read_mail(cipher(_MAIL).decrypt(sealed.encode()))
