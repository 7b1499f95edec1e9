"""Prices that administrators entered, and what deleted jobs had cost."""

from __future__ import annotations

from decimal import Decimal

from django.conf import settings
from django.db import models
from django.utils import timezone

from ..rules.structs import reader_of
from .fields import StructField


class PriceOverride(models.Model):
    """The price of a model that an administrator has entered, in US dollars for a million tokens at
    the normal rate, from a day on. Rows are never changed: a new price is a new one."""

    model = models.CharField(max_length=100)
    since = models.DateField()
    input = models.DecimalField(max_digits=12, decimal_places=6)
    output = models.DecimalField(max_digits=12, decimal_places=6)
    cache_write_5m = models.DecimalField(max_digits=12, decimal_places=6)
    cache_write_1h = models.DecimalField(max_digits=12, decimal_places=6)
    cache_read = models.DecimalField(max_digits=12, decimal_places=6)
    entered_at = models.DateTimeField(default=timezone.now)
    entered_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    withdrawn_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["model", "since", "pk"]

    def __str__(self) -> str:
        return f"{self.model} from {self.since}"


class PastSpending(models.Model):
    """What a job had cost that was deleted: its rows are gone, the money is spent all the same."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT)
    team = models.ForeignKey("Team", on_delete=models.SET_NULL, null=True, related_name="+")
    at = models.DateTimeField()  # when it was confirmed, or tested
    practice = models.BooleanField()
    template = models.CharField(max_length=100, default="")
    # US dollars by model.
    models_used = StructField[dict[str, Decimal]](reader_of(dict[str, Decimal]), default=dict)
    spent_pico = models.BigIntegerField()
    # What may have been charged besides: for tries whose answer was lost, for good, and until
    # `open_until` for batches that may still turn up.
    open_pico = models.BigIntegerField(default=0, db_default=0)
    open_until = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.spent_pico} at {self.at}"
