"""Rows that are sent before the others."""

from __future__ import annotations

from django import forms
from django.http import QueryDict

from ...models import Job
from ...rules import wording
from ...rules.pilots import LEAST_RULE, MOST_ROWS, USUAL_RULE, PilotChoice, usual_rows
from .styled import StyledForm

NO_ROWS = f"Send from 1 to {MOST_ROWS:,} rows first."
NO_SHARE = f"Enter a whole number from {LEAST_RULE} to 100."


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
        label="Send the others automatically if enough are good and the price holds",
        required=False,
    )
    # Checked only with the rule; else whatever it holds does not matter.
    pilot_share = forms.CharField(
        label="Share that must be good, in percent",
        required=False,
        widget=forms.NumberInput(attrs={"min": LEAST_RULE, "max": 100, "step": 1}),
    )

    def __init__(self, job: Job, data: QueryDict | None = None, rows: int = 0) -> None:
        """`rows`: how many the job sends."""
        super().__init__(data, initial={"pilot_rows": usual_rows(rows), "pilot_share": USUAL_RULE})
        self.rows = rows
        by = self.fields["pilot_by"]
        assert isinstance(by, forms.ChoiceField)  # noqa: S101 - as above
        by.choices = [("", "No column"), *((name, name) for name in job.columns)]

    def clean_pilot_rows(self) -> int:
        first: int = self.cleaned_data["pilot_rows"]
        if self.rows and first >= self.rows:
            raise forms.ValidationError(
                f"This job sends {wording.rows(self.rows)}. Send fewer than that first."
            )
        return first

    def clean_pilot_share(self) -> int:
        """0 without the rule."""
        if not self.cleaned_data.get("pilot_rule"):
            return 0
        text = self.cleaned_data["pilot_share"].strip()
        share = int(text) if text.isascii() and text.isdigit() and len(text) <= 3 else 0
        if not LEAST_RULE <= share <= 100:
            raise forms.ValidationError(NO_SHARE)
        return share

    def pilot(self) -> PilotChoice:
        """The pilot of a form that was checked."""
        given = self.cleaned_data
        return PilotChoice(given["pilot_rows"], given["pilot_by"], given["pilot_share"])
