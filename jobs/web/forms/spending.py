"""Spending limits and prices, for administrators."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings

from ...models.quotas import ROLES
from .styled import StyledForm

Quota = tuple[str, forms.BoundField, forms.BoundField]


class LimitsForm(StyledForm):
    """How much may be spent, in US dollars; what is empty sets no limit."""

    most_a_job = forms.DecimalField(
        label="Limit per job", required=False, min_value=0, max_digits=12, decimal_places=2
    )
    most_a_person = forms.DecimalField(
        label="Limit per person per month",
        required=False,
        min_value=0,
        max_digits=12,
        decimal_places=2,
    )
    most_a_month = forms.DecimalField(
        label="Total limit per month",
        required=False,
        min_value=0,
        max_digits=12,
        decimal_places=2,
    )
    approval_above = forms.DecimalField(
        label="Require approval above",
        required=False,
        min_value=0,
        max_digits=12,
        decimal_places=2,
        help_text="A job that can cost more waits for an approver or administrator. They cannot "
        "approve a job that they own, requested or changed last.",
    )


class QuotasForm(StyledForm):
    """What one person may take up, by role; what is empty is as the site has it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for role in ROLES:
            name = role.label.lower()
            whose = f"an {name}" if name[0] in "aeiou" else f"a {name}"
            self.fields[f"{role}_gb"] = forms.DecimalField(
                label=f"Disk of {whose}, in GB",
                required=False,
                min_value=0,
                max_digits=9,
                decimal_places=3,
            )
            self.fields[f"{role}_rows"] = forms.IntegerField(
                label=f"Rows of {whose} per month",
                required=False,
                min_value=0,
                max_value=2_000_000_000,
            )

    @property
    def usual_bytes(self) -> int:
        return settings.MAX_PERSON_BYTES

    def by_role(self) -> list[Quota]:
        """A role in words, with its fields for disk and rows."""
        return [(role.label, self[f"{role}_gb"], self[f"{role}_rows"]) for role in ROLES]


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
