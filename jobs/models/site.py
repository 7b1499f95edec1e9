"""What there is once on a site. Each of these tables has one row (pk=1), made by a migration."""

from __future__ import annotations

import hmac
from datetime import datetime
from functools import cache, cached_property
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.db.models import QuerySet
from django.utils import timezone

from ..rules import site_health
from ..rules.provider_lists import Listed, ModelInfo
from ..rules.structs import reader_of
from . import api_key
from .fields import StructField

SPENDING_IS_STOPPED = "An administrator has stopped all spending: nothing new is sent."
BEHIND_JOURNAL = (
    "Nothing is sent: the database of this site is older than its journal, so some rows may have "
    "been sent already. An administrator has to look for them at the provider first."
)


def key_fingerprint() -> str:
    """Tells the provider key in use from another, and cannot be turned back into it; "" in practice
    mode."""
    return "" if settings.PRACTICE else fingerprint_of(api_key.current())


def fingerprint_of(key: str) -> str:
    """As key_fingerprint, of any key."""
    return hmac.digest(settings.SECRET_KEY.encode(), key.encode(), "sha256").hex()[:16]


def fingerprint_of_owner(team: int | None) -> str:
    """As key_fingerprint, of the key of a team, or of the site."""
    return "" if settings.PRACTICE else fingerprint_of(api_key.key_of(team))


class OneRow(models.Model):
    """A table with one row."""

    class Meta:
        abstract = True

    @classmethod
    def get(cls) -> Self:
        for found in cls._default_manager.raw(*_select(cls)):
            return found
        raise cls.DoesNotExist

    @classmethod
    def row(cls) -> QuerySet[Self]:
        """For updates, and for conditions of them."""
        return cls._default_manager.filter(pk=1)


@cache
def _select(table: type[OneRow]) -> tuple[str, tuple[Any, ...]]:
    """Built once: that takes longer than running it, and each page and step reads several."""
    return table.row().query.sql_with_params()


class Installation(OneRow):
    """When the first account was made."""

    set_up_at = models.DateTimeField(null=True)
    # SHA-256 of the token in the link that may make it; "" for none.
    set_up_token = models.CharField(max_length=64, default="")
    # The version that brought the database up to date; "": one that did not say. See versions.py.
    version = models.CharField(max_length=20, default="", db_default="")

    def __str__(self) -> str:
        return "installation"


class Heartbeat(OneRow):
    """The worker's signs of life, and what it is in trouble with."""

    tick_at = models.DateTimeField(null=True)  # the last sign of life
    next_poll_at = models.DateTimeField(default=timezone.now)
    provider_trouble = models.TextField(default="")  # why the last look at the provider failed
    provider_away_since = models.DateTimeField(null=True)  # it has answered nothing since then
    provider_errors = models.BigIntegerField(default=0, db_default=0)  # since the site was made
    site_trouble = models.TextField(default="")  # why a step failed here: disk, database

    def __str__(self) -> str:
        return f"heartbeat of {self.tick_at}"

    @property
    def worker_is_alive(self) -> bool:
        return site_health.is_alive(self.tick_at, timezone.now())


class SendingState(models.Model):
    """When the provider may be asked again, for all jobs that use the same key."""

    send_after = models.DateTimeField(default=timezone.now)  # later: the provider asked us to wait
    # Sending is paused for the key with this fingerprint, and why; `send_after` is the next try.
    pause = models.TextField(default="")
    pause_key = models.CharField(max_length=16, default="")
    pauses_in_a_row = models.IntegerField(default=0)
    # The provider had no room at this time, so that jobs take turns.
    crowded_at = models.DateTimeField(null=True)

    class Meta:
        abstract = True

    key_team: int | None = None  # whose key it is about; None: the site's

    def __str__(self) -> str:
        return f"sending after {self.send_after}"

    @property
    def paused_because(self) -> str:
        """Why nothing is sent with the key that they use now; "" when it is."""
        if not self.pause:
            return ""
        return self.pause if self.pause_key == fingerprint_of_owner(self.key_team) else ""


class Sending(SendingState, OneRow):
    """Of the site's key."""


class TeamSending(SendingState):
    """Of the key that a team was given."""

    team = models.OneToOneField("Team", on_delete=models.CASCADE, related_name="sending")
    trouble = models.TextField(default="")  # the provider's last no; see Heartbeat.provider_trouble

    @property
    def key_team(self) -> int | None:  # type: ignore[override]
        return self.team_id


def sending_of(team: int | None) -> SendingState:
    """Of the key of a team, or of the site."""
    if team is None:
        return Sending.get()
    return TeamSending.objects.filter(team=team).first() or TeamSending(team_id=team)


def sending_row(team: int | None) -> QuerySet[Any]:
    """As `sending_of`, for updates and for conditions of them."""
    if team is None:
        return Sending.row()
    TeamSending.objects.get_or_create(team_id=team)
    return TeamSending.objects.filter(team=team)


class SpendingCaps(OneRow):
    """What administrators allow, in US dollars. None: any amount."""

    most_a_job = models.DecimalField(max_digits=12, decimal_places=2, null=True)
    most_a_person = models.DecimalField(max_digits=12, decimal_places=2, null=True)
    most_a_month = models.DecimalField(max_digits=12, decimal_places=2, null=True)
    approval_above = models.DecimalField(max_digits=12, decimal_places=2, null=True)
    stopped_at = models.DateTimeField(null=True)  # nothing at all is sent since then

    def __str__(self) -> str:
        return "spending caps"


class ModelCatalog(OneRow):
    """The models that the provider offers."""

    entries = StructField[list[ModelInfo]](reader_of(list[ModelInfo]), derived=True, default=list)
    listed_at = models.DateTimeField(null=True)
    key = models.CharField(max_length=16, default="")  # key_fingerprint of the key that sees them
    due_at = models.DateTimeField(default=timezone.now)  # when to ask again

    def __str__(self) -> str:
        return f"models listed at {self.listed_at}"


class ExternalBatchList(OneRow):
    """Batches that the provider lists and this site does not know."""

    entries = StructField[list[Listed]](reader_of(list[Listed]), derived=True, default=list)
    listed_at = models.DateTimeField(null=True)
    key = models.CharField(max_length=16, default="")  # key_fingerprint of the key that sees them
    asked_at = models.DateTimeField(null=True)  # when somebody asked for the list; None: it is here
    trouble = models.TextField(default="")  # why it could not be had

    def __str__(self) -> str:
        return f"batches listed at {self.listed_at}"


class JournalState(OneRow):
    """How the journal compares with the database."""

    checked = models.BigIntegerField(default=0)  # bytes of it that were compared
    ahead = models.IntegerField(default=0)  # batches in it that the database does not know
    asked_at = models.DateTimeField(null=True)  # when somebody asked to look for them
    report = models.TextField(default="")  # what was found of them

    def __str__(self) -> str:
        return f"journal ahead by {self.ahead}"

    @property
    def is_ahead(self) -> bool:
        """The journal knows of submissions that the database does not."""
        return bool(self.ahead) and not settings.PRACTICE


class Retention(OneRow):
    """How long the cells and answers of jobs are kept, and what Anthropic keeps of them."""

    days = models.IntegerField(null=True)  # from the end of a job; None: for as long as it is here
    changed_at = models.DateTimeField(null=True)  # `days`, by an administrator
    deletes_batches = models.BooleanField(default=False)  # at Anthropic, after they are proven

    def __str__(self) -> str:
        return f"kept for {self.days} days"


class LastBackup(OneRow):
    """The newest backup that was made by `manage.py backup`."""

    made_at = models.DateTimeField(null=True)
    folder = models.TextField(default="")
    troubles = models.IntegerField(default=0)  # files that were missing or damaged on the site

    def __str__(self) -> str:
        return f"backup of {self.made_at}"

    @classmethod
    def note(cls, made_at: datetime, folder: str, troubles: int) -> None:
        cls.row().update(made_at=made_at, folder=folder, troubles=troubles)


class CopyState(OneRow):
    """How copying to object storage is getting on as a whole; see copies.py."""

    find_at = models.DateTimeField(default=timezone.now)  # when to look for what is new or gone
    next_at = models.DateTimeField(default=timezone.now)  # later: the storage cannot be used now
    failures = models.IntegerField(default=0)  # in a row
    failing_since = models.DateTimeField(null=True)
    trouble = models.TextField(default="")  # why, in our words

    def __str__(self) -> str:
        return f"copying, {self.failures} failures"


class AuditHead(OneRow):
    """The last entry of the audit log."""

    number = models.BigIntegerField(default=0)
    entry_hash = models.CharField(max_length=64, default="")

    def __str__(self) -> str:
        return f"audit log up to {self.number}"


class AuditCheck(OneRow):
    """The worker's check of the audit log: how far the one that is under way is, and what the last
    one found."""

    number = models.BigIntegerField(default=0)  # the last entry that was looked at
    entry_hash = models.CharField(max_length=64, default="")
    due_at = models.DateTimeField(default=timezone.now)  # when the next slice is
    checked_at = models.DateTimeField(null=True)  # the end of the last one
    checked = models.BigIntegerField(default=0)  # the entries that there were
    fault = models.CharField(max_length=200, default="")  # in words; "": every entry was there

    def __str__(self) -> str:
        return f"audit log checked at {self.checked_at}"


ONE_ROW_MODELS: tuple[type[OneRow], ...] = (
    Installation,
    Heartbeat,
    Sending,
    SpendingCaps,
    ModelCatalog,
    ExternalBatchList,
    JournalState,
    AuditHead,
    AuditCheck,
    Retention,
    LastBackup,
    CopyState,
)


class SiteState:
    """What pages say of the site as a whole, or to those who use the key of `key_team`. Each part
    is read when it is first asked for."""

    def __init__(self, key_team: int | None = None) -> None:
        self._key_team = key_team

    @cached_property
    def heartbeat(self) -> Heartbeat:
        return Heartbeat.get()

    @cached_property
    def sending(self) -> SendingState:
        return sending_of(self._key_team)

    @cached_property
    def caps(self) -> SpendingCaps:
        return SpendingCaps.get()

    @cached_property
    def journal(self) -> JournalState:
        return JournalState.get()

    @property
    def provider_trouble(self) -> str:
        """Why the last look at the provider failed; "" when it did not."""
        beat, sending = self.heartbeat, self.sending
        if not isinstance(sending, TeamSending):
            return beat.provider_trouble
        # What the provider said of another key says nothing of this one.
        return sending.trouble or (beat.provider_trouble if beat.provider_away_since else "")

    @property
    def why_nobody_sends(self) -> str:
        """Why no job at all can send anything until somebody has fixed it; "" when they can."""
        if self.journal.is_ahead:
            return BEHIND_JOURNAL
        return SPENDING_IS_STOPPED if self.caps.stopped_at else ""

    @cached_property
    def paused_teams(self) -> list[int]:
        """The numbers of the teams whose own keys are paused."""
        paused = TeamSending.objects.exclude(pause="")
        return [one.team_id for one in paused if one.paused_because]

    def is_paused(self, key_team: int | None) -> bool:
        """Whether no job with the key of `key_team` can send. `self` is of the site's key."""
        if key_team is None or self.why_nobody_sends:
            return bool(self.why_not_sending)
        return key_team in self.paused_teams

    @property
    def why_not_sending(self) -> str:
        """Why no job with this key can send anything until somebody has fixed it; "" when they
        can."""
        if why := self.why_nobody_sends:
            return why
        why = self.sending.paused_because
        return f"Sending is paused: {why}" if why else ""
