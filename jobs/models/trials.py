"""Rows of a draft that are answered at once."""

from __future__ import annotations

from typing import NamedTuple, Self

from django.conf import settings
from django.db import models
from django.utils import timezone

from ..rules.answer_formats import AnswerKind
from ..rules.recipes import Recipe
from ..rules.structs import reader_of
from .fields import OptionalStructField, StructField
from .querysets import StateQuerySet
from .results import RowResult


class Length(NamedTuple):
    """Tokens of one answer."""

    text: int
    thinking: int


class TrialQuerySet(StateQuerySet["Trial"]):
    def pending(self) -> Self:
        """Those whose answer is to come."""
        return self.filter(state__in=[Trial.State.WAITING, Trial.State.SENDING])

    def to_learn_from(self) -> Self:
        """Those that were answered by the provider that this site asks now, in their order: what
        the simulator made up says nothing of real answers."""
        answered = self.filter(state=Trial.State.ANSWERED, practice=settings.PRACTICE)
        return answered.order_by("pk")

    def lengths(self) -> dict[str, list[Length]]:
        """How long the answer to each row was, by the trial_key of what was asked. Of a row that
        was tested several times the last one counts."""
        found: dict[str, dict[int, Length]] = {}
        tokens = ("output_tokens", "thinking_tokens")
        for key, number, output, thinking in self.to_learn_from().values_list(
            "recipe_key", "number", *tokens
        ):
            found.setdefault(key, {})[number] = Length(max(output - thinking, 0), thinking)
        return {key: list(lengths.values()) for key, lengths in found.items()}


class Trial(RowResult):
    """A row of a draft that is answered at once, to be looked at. Charged at the normal rate."""

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting"
        SENDING = "sending", "Being answered"
        ANSWERED = "answered", "Answered"
        FAILED = "failed", "Not answered"  # a clear no
        UNKNOWN = "unknown", "Answer lost"  # it was sent, and may have been charged

    job = models.ForeignKey("Job", on_delete=models.CASCADE, related_name="trials")
    round = models.IntegerField()  # 1, 2, ... within the job: those that were asked for together
    number = models.IntegerField()  # of the row, as the file was read then
    # Column and cell of what the prompt used.
    cells = StructField[list[tuple[str, str]]](reader_of(list[tuple[str, str]]))
    params = models.TextField()  # JSON text: the request, as it is sent
    recipe = OptionalStructField[Recipe](reader_of(Recipe))  # as it was then
    recipe_key = models.CharField(max_length=16, default="")  # trial_key
    model = models.CharField(max_length=100)  # as in `params`
    practice = models.BooleanField()  # asked for in practice mode: it must never cost money
    answer_kind = StructField[AnswerKind](reader_of(AnswerKind), default=AnswerKind)
    asked_at = models.DateTimeField(default=timezone.now)
    state = models.CharField(max_length=8, choices=State.choices, default=State.WAITING)
    most_pico = models.BigIntegerField(default=0)  # what it may cost, for as long as it is open

    objects = TrialQuerySet.as_manager()

    class Meta:
        ordering = ["-round", "number"]
        constraints = [
            models.UniqueConstraint(fields=["job", "round", "number"], name="trial_once_a_round")
        ]

    def __str__(self) -> str:
        return f"trial {self.round} of row {self.number} of job {self.job_id}"
