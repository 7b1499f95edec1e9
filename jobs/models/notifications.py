"""What people are told: a Notification for each person, which the bell shows, and a Delivery for
each other way in which they get it. See outbox.py for how they are made."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from datetime import datetime
from typing import Self

import msgspec
from django.conf import settings
from django.contrib.auth.models import User
from django.db import models
from django.db.models import Q
from django.utils import timezone

from ..rules.notification_events import EVENTS, Facts, detail_of, title_of
from ..rules.structs import reader_of
from .fields import StructField
from .jobs import Job

MOST_COUNTED = 100  # unread ones; the bell says "99+"


class Choices(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whether a person gets an event, by its name. For one that is missing, the default holds: it
    may be newer than the choice, or come with a role that the person got later."""

    mail: dict[str, bool] = {}
    browser: dict[str, bool] = {}

    def mails(self, event: str) -> bool:
        return self.mail.get(event, EVENTS[event].mail)

    def shows(self, event: str) -> bool:
        """Whether the browser shows it."""
        return self.browser.get(event, True)


class Wanted(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whether a destination gets an event, by its name; `others`: one that is missing."""

    events: dict[str, bool] = {}
    others: bool = True

    def gets(self, event: str) -> bool:
        return self.events.get(event, self.others)


class NotificationChoices(models.Model):
    """What a person chose. Without one, the defaults hold."""

    person = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+"
    )
    choices = StructField[Choices](reader_of(Choices), default=Choices)

    def __str__(self) -> str:
        return f"choices of {self.person_id}"

    @classmethod
    def of(cls, person: User) -> Choices:
        stored = cls.objects.filter(person=person).first()
        return stored.choices if stored else Choices()


class Follower(models.Model):
    """A person who pressed "Notify me" on the page of a job."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="followers")
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["job", "person"], name="follows_a_job_once"),
        ]

    def __str__(self) -> str:
        return f"{self.person_id} follows {self.job_id}"


class Channel(models.TextChoices):
    MAIL = "mail", "Mail"
    WEBHOOK = "webhook", "Webhook"
    APPRISE = "apprise", "Chat"


class Destination(models.Model):
    """Where a person gets notifications beside the bell and their own mail address."""

    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="destinations"
    )
    channel = models.CharField(max_length=7, choices=Channel.choices)
    # What is shown of it: a mail address, the host of a webhook, the service of a chat.
    label = models.CharField(max_length=200)
    # Address and secret, encrypted: see destinations.py.
    sealed = models.TextField()
    wanted = StructField[Wanted](reader_of(Wanted), default=Wanted)
    made_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"{self.channel}: {self.label}"


class NotificationQuerySet(models.QuerySet["Notification"]):
    def of(self, person: User) -> Self:
        return self.filter(person=person)

    def unread(self) -> Self:
        return self.filter(read_at=None)

    def count_unread(self, person: User) -> int:
        """How many `person` has not read, up to MOST_COUNTED: it is on every page."""
        return self.of(person).unread()[:MOST_COUNTED].count()

    def mark_read(self, now: datetime) -> int:
        return self.unread().update(read_at=now)


class Notification(models.Model):
    """One thing that one person is told."""

    uid = models.UUIDField(default=uuid.uuid4, unique=True)  # what receivers know it by
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="notifications"
    )
    event = models.CharField(max_length=20)  # a name in rules/notification_events.py
    job = models.ForeignKey(Job, on_delete=models.CASCADE, null=True, related_name="+")
    facts = StructField[Facts](reader_of(Facts), default=Facts)
    key = models.CharField(max_length=120, null=True)  # noqa: DJ001 - None: not told only once
    made_at = models.DateTimeField(db_index=True)
    read_at = models.DateTimeField(null=True)

    objects = NotificationQuerySet.as_manager()
    hides_job = False  # set by hide_jobs

    class Meta:
        ordering = ["-pk"]
        indexes = [
            models.Index(fields=["person"], condition=Q(read_at=None), name="notification_unread"),
            models.Index(fields=["person", "-id"], name="notification_newest"),
        ]
        constraints = [
            # Without a condition, which SQLite would have to prove of a parameter.
            models.UniqueConstraint(fields=["person", "key"], name="told_once_by_key"),
        ]

    def __str__(self) -> str:
        return f"{self.event} to {self.person_id}"

    @property
    def title(self) -> str:
        name = self.job.name if self.job and not self.hides_job else ""
        return title_of(self.event, name, self.facts)

    @property
    def detail(self) -> str:
        return "" if self.hides_job else detail_of(self.event, self.facts)


def hide_jobs(found: Collection[Notification], person: User) -> None:
    """Have those about a job that `person` may no longer see say nothing of it."""
    about = {one.job_id for one in found if one.job_id}
    seen = Job.objects.visible_to(person) | Job.objects.filter(owner_id=person.pk)
    left = set(seen.filter(pk__in=about).values_list("pk", flat=True)) if about else set()
    for one in found:
        one.hides_job = one.job_id is not None and one.job_id not in left


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    def open(self) -> Self:
        """Those that wait or are being sent: few among all that were sent. By the condition of an
        index, which SQLite uses only for a query that has the same one without a parameter."""
        return self.filter(done_at=None)


class Delivery(models.Model):
    """One notification, or one mail about an account, on its way to one address. Sent at most once:
    it is claimed by a conditional UPDATE before it is sent, and a claim that a crash left behind is
    never sent again."""

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting"
        SENDING = "sending", "Sending"
        SENT = "sent", "Sent"
        UNCLEAR = "unclear", "May have been sent"
        FAILED = "failed", "Not sent"
        DROPPED = "dropped", "No longer needed"

    # None: a mail about an account, whose address and text are in `sealed` until it is sent.
    notification = models.ForeignKey(
        Notification, on_delete=models.CASCADE, null=True, related_name="deliveries"
    )
    # None: the person's own mail address.
    destination = models.ForeignKey(
        Destination, on_delete=models.CASCADE, null=True, related_name="deliveries"
    )
    channel = models.CharField(max_length=7, choices=Channel.choices)
    sealed = models.TextField(default="")
    state = models.CharField(max_length=7, choices=State.choices, default=State.WAITING)
    made_at = models.DateTimeField()
    due_at = models.DateTimeField()
    attempts = models.IntegerField(default=0)
    claimed_at = models.DateTimeField(null=True)
    claimed_by = models.CharField(max_length=120, default="")  # a process, as leases name it
    done_at = models.DateTimeField(null=True)  # None: waiting, or being sent
    trouble = models.CharField(max_length=300, default="")  # why it was not sent, in our words

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["due_at"], condition=Q(done_at=None), name="delivery_open"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["notification", "destination"],
                condition=Q(destination__isnull=False),
                name="delivered_once_to_a_destination",
            ),
            models.UniqueConstraint(
                fields=["notification"],
                condition=Q(destination=None, notification__isnull=False),
                name="mailed_once_to_a_person",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.channel} {self.pk}: {self.state}"

    @property
    def in_words(self) -> str:
        """ "Mail: not sent. The mail server refused it." """
        where = f" to {self.destination.label}" if self.destination else ""
        state = self.get_state_display().lower()
        return f"{self.get_channel_display()}{where}: {state}. {self.trouble}".strip()
