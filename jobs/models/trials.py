"""Rows of a draft that are answered at once."""

from __future__ import annotations

from typing import NamedTuple, Self

from django.conf import settings
from django.db import models
from django.utils import timezone

from ..rules.answer_formats import AnswerKind
from ..rules.recipes import Recipe, read_recipe
from ..rules.structs import reader_of
from .fields import OptionalStructField, StructField
from .querysets import StateQuerySet
from .results import RowResult


class Length(NamedTuple):
    """Tokens of one answer."""

    text: int
    thinking: int


class TrialQuerySet(StateQuerySet["Trial"]):
    def of_rows(self) -> Self:
        """The tests of rows, without requests for a better prompt."""
        return self.filter(purpose=Trial.Purpose.ROW)

    def of_comparisons(self) -> Self:
        """The tests of rows with several models or prompts at once."""
        return self.filter(purpose=Trial.Purpose.COMPARE)

    def of_prompts(self) -> Self:
        """The requests for a better prompt, the newest first."""
        return self.filter(purpose=Trial.Purpose.PROMPT).order_by("-pk")

    def pending(self) -> Self:
        """Those whose answer is to come."""
        return self.filter(state__in=[Trial.State.WAITING, Trial.State.SENDING])

    def to_learn_from(self) -> Self:
        """Those that were answered by the provider that this site asks now, in their order: what
        the simulator made up says nothing of real answers."""
        about_rows = self.exclude(purpose=Trial.Purpose.PROMPT)
        answered = about_rows.filter(state=Trial.State.ANSWERED, practice=settings.PRACTICE)
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
    """A request that is answered at once, to be looked at: a row of a draft, or a request for a
    better prompt. Charged at the normal rate."""

    class Purpose(models.TextChoices):
        ROW = "row", "Test of a row"
        PROMPT = "prompt", "Request for a better prompt"  # `number` is 0, `cells` are empty
        COMPARE = "match", "Comparison of models and prompts"  # of a row, too

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting"
        SENDING = "sending", "Being answered"
        ANSWERED = "answered", "Answered"
        FAILED = "failed", "Not answered"  # a clear no
        UNKNOWN = "unknown", "Answer lost"  # it was sent, and may have been charged

    job = models.ForeignKey("Job", on_delete=models.CASCADE, related_name="trials")
    round = models.IntegerField()  # 1, 2, ... within the job: those that were asked for together
    # The first round of those that were asked for together to be compared; 0 for any other.
    compared_from = models.IntegerField(default=0, db_default=0)
    purpose = models.CharField(max_length=6, choices=Purpose.choices, default=Purpose.ROW)
    number = models.IntegerField()  # of the row, as the file was read then
    # Column and cell of what the prompt used.
    cells = StructField[list[tuple[str, str]]](reader_of(list[tuple[str, str]]))
    params = models.TextField()  # JSON text: the request, as it is sent
    recipe = OptionalStructField[Recipe](read_recipe)  # as it was then
    recipe_key = models.CharField(max_length=16, default="")  # trial_key
    model = models.CharField(max_length=100)  # as in `params`
    practice = models.BooleanField()  # asked for in practice mode: it must never cost money
    answer_kind = StructField[AnswerKind](reader_of(AnswerKind), default=AnswerKind)
    asked_at = models.DateTimeField(default=timezone.now)
    state = models.CharField(max_length=8, choices=State.choices, default=State.WAITING)
    most_pico = models.BigIntegerField(default=0)  # what it may cost, for as long as it is open

    # A person does not want this answer: of a row, it is used to improve the prompt; of a request
    # for a better prompt, it is not used.
    marked_down = models.BooleanField(default=False)

    objects = TrialQuerySet.as_manager()

    class Meta:
        ordering = ["-round", "number"]
        constraints = [
            models.UniqueConstraint(fields=["job", "round", "number"], name="trial_once_a_round")
        ]

    def __str__(self) -> str:
        return f"trial {self.round} of row {self.number} of job {self.job_id}"
