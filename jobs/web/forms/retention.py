"""How long data is kept."""

from __future__ import annotations

from django import forms
from django.http import QueryDict

from ...models import Job, Retention
from ...models.retention import DAYS, choices
from .styled import StyledForm

NEVER = "Never"


def in_words(days: int) -> str:
    return "1 year" if days == 365 else f"{days} days"


class SiteRetentionForm(StyledForm):
    days = forms.TypedChoiceField(
        label="Delete cells and answers",
        required=False,
        coerce=int,
        empty_value=None,
        choices=[("", NEVER), *((days, f"{in_words(days)} after a job ends") for days in DAYS)],
        help_text="Owners can choose a shorter time for a job. Counts and costs stay.",
    )
    deletes_batches = forms.BooleanField(
        label="Delete batches at Anthropic once their results are safe here",
        required=False,
        help_text="Without this, Anthropic keeps them for 29 days. We delete a batch only after "
        "all its results are stored and checked here.",
    )


class JobRetentionForm(StyledForm):
    days = forms.TypedChoiceField(
        label="Delete cells and answers", required=False, coerce=int, empty_value=None
    )
    deletes_batches = forms.TypedChoiceField(
        label="Delete the batches at Anthropic",
        required=False,
        coerce=lambda text: text == "yes",
        empty_value=None,
    )

    def __init__(self, job: Job, site: Retention, data: QueryDict | None = None) -> None:
        chosen = "" if job.deletes_batches is None else "yes" if job.deletes_batches else "no"
        initial = {"days": job.retention_days, "deletes_batches": chosen}
        super().__init__(data, initial=initial)
        usual = f"{in_words(site.days)} after it ends" if site.days else NEVER
        self.fields["days"].choices = [  # type: ignore[attr-defined]  # a ChoiceField
            ("", f"Site default: {usual.lower()}"),
            *((days, f"{in_words(days)} after it ends") for days in choices(site)),
        ]
        default = "yes" if site.deletes_batches else "no"
        self.fields["deletes_batches"].choices = [  # type: ignore[attr-defined]  # a ChoiceField
            ("", f"Site default: {default}"),
            ("yes", "Yes, once the results are safe here"),
            ("no", "No"),
        ]
