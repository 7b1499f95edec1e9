"""Rows that are sent before the others."""

from __future__ import annotations

from django import forms
from django.http import QueryDict

from ...models import Job
from ...rules.pilots import MOST_ROWS, USUAL_RULE, PilotChoice, usual_rows
from .styled import StyledForm

NO_ROWS = f"Send from 1 to {MOST_ROWS:,} rows first."


class PilotForm(StyledForm):
    """How many rows are sent first, which, and whether the others follow by themselves."""

    pilot_rows = forms.IntegerField(
        label="Rows to send first",
        min_value=1,
        max_value=MOST_ROWS,
        error_messages=dict.fromkeys(("required", "invalid", "min_value", "max_value"), NO_ROWS),
    )
    pilot_by = forms.ChoiceField(
        label="Keep the mix of",
        required=False,
        error_messages={"invalid_choice": "This column is not in your file any more."},
    )
    pilot_rule = forms.BooleanField(
        label=f"Send the others automatically if {USUAL_RULE}% are good and the price holds",
        required=False,
    )

    def __init__(self, job: Job, data: QueryDict | None = None, rows: int = 0) -> None:
        """`rows`: how many the job sends."""
        super().__init__(data, initial={"pilot_rows": usual_rows(rows)})
        by = self.fields["pilot_by"]
        assert isinstance(by, forms.ChoiceField)  # noqa: S101 - as above
        by.choices = [("", "No column"), *((name, name) for name in job.columns)]

    def pilot(self) -> PilotChoice:
        """The pilot of a form that was checked."""
        given = self.cleaned_data
        rule = USUAL_RULE if given["pilot_rule"] else 0
        return PilotChoice(given["pilot_rows"], given["pilot_by"], rule)
