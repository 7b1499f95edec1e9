"""Which rows of a draft are sent."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import QueryDict

from ...models import Job
from ...rules.row_choices import (
    CONTAINS,
    EMPTY,
    IS,
    IS_NOT,
    LONGEST_VALUE,
    MOST_CONDITIONS,
    MOST_SEED,
    NOT_EMPTY,
    OPERATORS,
    Condition,
    RowChoice,
)
from .styled import StyledForm, shorten

NO_NUMBER = "Write how many rows the sample has, such as 500."
NO_SEED = f"The seed is a whole number from 0 to {MOST_SEED - 1}."
SPARE = 2  # empty conditions at the end of the form
# What a condition without a value means.
_WITHOUT_VALUE = {IS: EMPTY, IS_NOT: NOT_EMPTY}


class RowChoiceForm(StyledForm):
    """The filter and the sample. The conditions come as lists: `column` (its name; "" for none),
    `operator` and `value`."""

    sample = forms.IntegerField(
        label="Rows in the sample",
        required=False,
        min_value=1,
        max_value=100_000_000,
        widget=forms.NumberInput(attrs={"placeholder": "All rows"}),
        error_messages=dict.fromkeys(("invalid", "min_value", "max_value"), NO_NUMBER),
    )
    by = forms.ChoiceField(
        label="Keep the mix of",
        required=False,
        error_messages={"invalid_choice": "This column is not in your file any more."},
    )
    seed = forms.IntegerField(
        label="Seed",
        required=False,
        min_value=0,
        max_value=MOST_SEED - 1,
        help_text="Change this number to draw other rows.",
        error_messages=dict.fromkeys(("invalid", "min_value", "max_value"), NO_SEED),
    )

    def __init__(self, job: Job, data: QueryDict | None = None) -> None:
        chosen = job.row_choice
        super().__init__(
            data,
            initial={"sample": chosen.sample or None, "by": chosen.by, "seed": chosen.seed},
        )
        self.job = job
        by = self.fields["by"]
        assert isinstance(by, forms.ChoiceField)  # noqa: S101 - as above
        by.choices = [("", "No column"), *((name, name) for name in job.columns)]

    def shown_conditions(self) -> list[Condition]:
        """The conditions that are chosen or were typed in, and some empty ones."""
        found = self._typed() if self.is_bound else list(self.job.row_choice.where)
        return [*found, *[Condition("", IS)] * max(min(SPARE, MOST_CONDITIONS - len(found)), 0)]

    def _typed(self) -> list[Condition]:
        if not isinstance(self.data, QueryDict):
            return []
        lists = [self.data.getlist(name) for name in ("column", "operator", "value")]
        some = list(zip(*lists, strict=False))[: MOST_CONDITIONS + 1]
        return [
            Condition(
                column, operator if operator in OPERATORS else IS, shorten(value, LONGEST_VALUE)
            )
            for column, operator, value in some
            if column
        ]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        typed = self._typed()
        if len(typed) > MOST_CONDITIONS:
            self.add_error(None, f"Choose rows by at most {MOST_CONDITIONS} conditions.")
        for one in typed:
            if one.column not in self.job.columns:
                self.add_error(None, "One of these columns is not in your file any more.")
            elif one.operator == CONTAINS and not one.value:
                self.add_error(None, f"Say what “{one.column}” contains.")
            elif len(one.value) > LONGEST_VALUE:
                self.add_error(None, f"A value has at most {LONGEST_VALUE:,} characters.")
        if cleaned.get("by") and not cleaned.get("sample") and "sample" not in self.errors:
            self.add_error("sample", "Say how many rows the sample has.")
        return cleaned

    def choice(self) -> RowChoice:
        """The choice of a form that was checked."""
        given = self.cleaned_data
        where = []
        for one in self._typed():
            operator = one.operator if one.value else _WITHOUT_VALUE.get(one.operator, one.operator)
            value = "" if operator in (EMPTY, NOT_EMPTY) else one.value
            where.append(Condition(one.column, operator, value))
        if not given["sample"]:
            return RowChoice(tuple(where))
        return RowChoice(tuple(where), given["sample"], given["by"], given["seed"] or 0)
