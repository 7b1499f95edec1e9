"""Spending limits and prices, for administrators."""

from __future__ import annotations

from django import forms

from .styled import StyledForm


class LimitsForm(StyledForm):
    """How much may be spent, in US dollars; what is empty sets no limit."""

    most_a_job = forms.DecimalField(
        label="Most a job", required=False, min_value=0, max_digits=12, decimal_places=2
    )
    most_a_person = forms.DecimalField(
        label="Most a person and month",
        required=False,
        min_value=0,
        max_digits=12,
        decimal_places=2,
    )
    most_a_month = forms.DecimalField(
        label="Most a month, all together",
        required=False,
        min_value=0,
        max_digits=12,
        decimal_places=2,
    )
    approval_above = forms.DecimalField(
        label="A second person approves above",
        required=False,
        min_value=0,
        max_digits=12,
        decimal_places=2,
        help_text="A job that may cost more waits until an administrator has approved it who does "
        "not own it, did not ask, and did not make the last change. Then its owner submits it.",
    )


class PriceForm(StyledForm):
    """What a model costs from a day on, in US dollars for a million tokens at the normal rate."""

    model_id = forms.RegexField(
        r"^[a-zA-Z0-9._:-]{1,100}\Z",
        label="Model",
        help_text="Its id, such as claude-haiku-5-5.",
        error_messages={"invalid": "An id has only letters, digits, and . _ : - in it."},
    )
    since = forms.DateField(
        label="From this day on", widget=forms.DateInput(attrs={"type": "date"})
    )
    read = forms.DecimalField(
        label="A million tokens read",
        min_value=0,
        max_digits=10,
        decimal_places=4,
        help_text="US dollars at the normal price; a batch costs half of it.",
    )
    written = forms.DecimalField(
        label="A million tokens written", min_value=0, max_digits=10, decimal_places=4
    )
