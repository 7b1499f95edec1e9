"""The name of a job."""

from __future__ import annotations

from django import forms

from ...models import Job
from .styled import StyledForm


class NameForm(StyledForm):
    name = forms.CharField(
        label="Name of the job",
        max_length=Job._meta.get_field("name").max_length,
        error_messages={"required": "A job needs a name."},
    )
