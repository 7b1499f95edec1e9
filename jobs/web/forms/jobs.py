"""The name of a job, and which rows a new one begins with."""

from __future__ import annotations

from typing import Any

from django import forms

from ...models import Job
from ...rules.rows_wanted import ALL, GOOD, SOME
from .styled import StyledForm


class NameForm(StyledForm):
    name = forms.CharField(
        label="Name of the job",
        max_length=Job._meta.get_field("name").max_length,
        error_messages={"required": "A job needs a name."},
    )


class NextStepForm(StyledForm):
    """Which rows of a finished job a new one begins with."""

    which = forms.ChoiceField(
        label="Rows",
        choices=[(ALL, "All rows"), (GOOD, "Only rows with a good answer")],
        widget=forms.RadioSelect,
        error_messages={"required": "Choose which rows to use."},
    )
    name = forms.CharField(
        label="Name of the new job",
        required=False,
        max_length=Job._meta.get_field("name").max_length,
    )

    def __init__(self, *args: Any, filtered: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if filtered:
            field = self.fields["which"]
            field.choices = [(SOME, "The rows of your filter"), *field.choices]  # type: ignore[attr-defined]  # a ChoiceField
