"""What there is once on a site."""

from __future__ import annotations

import hmac
from datetime import timedelta

from django.conf import settings
from django.db import models
from django.utils import timezone


def key_fingerprint() -> str:
    """Tells one provider key from another and cannot be turned back into it; "" without a key."""
    if settings.PRACTICE:
        return ""
    secret = settings.SECRET_KEY.encode()
    return hmac.digest(secret, settings.ANTHROPIC_API_KEY.encode(), "sha256").hex()[:16]


SPENDING_IS_STOPPED = "An administrator has stopped all spending: nothing new is sent."


class Installation(models.Model):
    """The one row (pk=1, made by a migration) of what there is once: the first account, the
    worker's sign of life, and when the provider may be asked again."""

    set_up_at = models.DateTimeField(null=True)
    tick_at = models.DateTimeField(null=True)  # the worker's last sign of life
    next_tick_at = models.DateTimeField(default=timezone.now)
    next_poll_at = models.DateTimeField(default=timezone.now)
    send_after = models.DateTimeField(default=timezone.now)  # later: the provider asked us to wait
    provider_trouble = models.TextField(default="")  # why the last look at the provider failed
    site_trouble = models.TextField(default="")  # why a step failed here: disk, database
    # Sending is paused for the key with this fingerprint, and why; `send_after` is the next try.
    pause = models.TextField(default="")
    pause_key = models.CharField(max_length=16, default="")
    pauses_in_a_row = models.IntegerField(default=0)
    # The provider had no room at this time, so that jobs take turns.
    crowded_at = models.DateTimeField(null=True)
    # How many bytes of the journal were compared with the database, how many submissions in it the
    # database does not know, and whether somebody asked to look for them at the provider.
    journal_checked = models.BigIntegerField(default=0)
    journal_ahead = models.IntegerField(default=0)
    restore_asked_at = models.DateTimeField(null=True)
    restore_report = models.TextField(default="")
    # What administrators allow, in US dollars; None: as much as one likes. `stopped_at`: nothing at
    # all is sent since then.
    most_a_job = models.DecimalField(max_digits=12, decimal_places=2, null=True)
    most_a_person = models.DecimalField(max_digits=12, decimal_places=2, null=True)
    most_a_month = models.DecimalField(max_digits=12, decimal_places=2, null=True)
    approval_above = models.DecimalField(max_digits=12, decimal_places=2, null=True)
    stopped_at = models.DateTimeField(null=True)
    # provider.ModelInfo of what it offers, since when, to which key, and when to ask again.
    model_list = models.JSONField(default=list)
    model_list_at = models.DateTimeField(null=True)
    model_list_key = models.CharField(max_length=16, default="")
    model_list_due_at = models.DateTimeField(default=timezone.now)
    # adopting.Listed of the batches that it lists and this site does not know, since when, to which
    # key; whether somebody asked for them, and why they could not be had.
    batch_list = models.JSONField(default=list)
    batch_list_at = models.DateTimeField(null=True)
    batch_list_key = models.CharField(max_length=16, default="")
    batch_list_asked_at = models.DateTimeField(null=True)
    batch_list_trouble = models.TextField(default="")

    def __str__(self) -> str:
        return "installation"

    @classmethod
    def get(cls) -> Installation:
        return cls.objects.get(pk=1)

    @property
    def paused_because(self) -> str:
        """Why nothing is sent with the key that this site uses now; "" when it is."""
        return self.pause if self.pause_key == key_fingerprint() else ""

    @property
    def is_behind_journal(self) -> bool:
        """The journal knows of submissions that the database does not."""
        return bool(self.journal_ahead) and not settings.PRACTICE

    @property
    def why_not_sending(self) -> str:
        """Why no job can send anything until somebody has mended it; "" when they can."""
        if self.is_behind_journal:
            return (
                "Nothing is sent: the database of this site is older than its journal, so some "
                "rows may have been sent already. An administrator has to look for them at the "
                "provider first."
            )
        if self.stopped_at:
            return SPENDING_IS_STOPPED
        return f"Sending is paused: {self.paused_because}" if self.paused_because else ""

    @property
    def worker_is_alive(self) -> bool:
        return self.tick_at is not None and timezone.now() - self.tick_at < timedelta(seconds=90)
