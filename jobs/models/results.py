"""The result of a row: what became of it, what was answered, and what that cost."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.db import models

from ..rules.judging import Judgment
from .money import dollars
from .outcomes import Outcome


class RowResult(models.Model):
    """The columns that rows, their earlier attempts and trials have in common."""

    outcome = models.CharField(max_length=8, choices=Outcome.choices, default=Outcome.WAITING)
    cause = models.CharField(max_length=60, default="")  # judging.CAUSES, or the provider's type
    answer = models.TextField(default="")
    message = models.TextField(default="")  # the provider's words, when it could not be processed
    request_id = models.CharField(max_length=100, default="")
    answered_by = models.CharField(max_length=100, default="")  # the model, as the provider says
    stop_reason = models.CharField(max_length=60, default="")
    input_tokens = models.IntegerField(default=0)  # without those of the cache
    cache_write_tokens = models.IntegerField(default=0)
    cache_read_tokens = models.IntegerField(default=0)
    output_tokens = models.IntegerField(default=0)  # thinking included
    thinking_tokens = models.IntegerField(default=0)
    cost_pico = models.BigIntegerField(default=0)

    class Meta:
        abstract = True

    @property
    def all_input_tokens(self) -> int:
        return self.input_tokens + self.cache_write_tokens + self.cache_read_tokens

    @property
    def cost(self) -> Decimal:
        """US dollars charged for it."""
        return dollars(self.cost_pico)


# The values of these columns before there is a result, by name.
NO_RESULT: dict[str, Any] = {
    field.name: field.get_default() for field in RowResult._meta.local_fields
}


# PostgreSQL takes no NUL in a text; the file as received keeps it.
_TEXTS = tuple(name for name, value in NO_RESULT.items() if isinstance(value, str))


def result_values(judged: Judgment, cost: int) -> dict[str, Any]:
    """The values of all columns of RowResult. `cost`: as cost_pico."""
    usage = judged.usage
    values: dict[str, Any] = {
        "outcome": judged.outcome,
        "cause": judged.cause,
        "answer": judged.answer,
        "message": judged.message,
        "request_id": judged.request_id,
        "answered_by": judged.answered_by,
        "stop_reason": judged.stop_reason,
        "input_tokens": 0,
        "cache_write_tokens": 0,
        "cache_read_tokens": 0,
        "output_tokens": 0,
        "thinking_tokens": 0,
        "cost_pico": cost,
    }
    if usage:
        values["input_tokens"] = usage.input_tokens or 0
        values["cache_write_tokens"] = usage.cache_creation_input_tokens or 0
        values["cache_read_tokens"] = usage.cache_read_input_tokens or 0
        values["output_tokens"] = usage.output_tokens or 0
        values["thinking_tokens"] = usage.thinking_tokens
    for name in _TEXTS:
        if "\0" in values[name]:
            values[name] = values[name].replace("\0", "\ufffd")
    return values
