"""Templates."""

from __future__ import annotations

from django import forms

from ...models import Template
from .styled import StyledForm


class TemplateForm(StyledForm):
    """How a recipe is kept for later."""

    name = forms.CharField(
        label="Name of the template",
        max_length=Template._meta.get_field("name").max_length,
        error_messages={"required": "A template needs a name."},
    )
    shared = forms.BooleanField(
        label="Share with everyone on this site",
        required=False,
        help_text="They can start jobs with it, and read what you wrote, with the examples in it. "
        "Your file and the answers stay yours.",
    )


class TemplateNameForm(StyledForm):
    name = TemplateForm.base_fields["name"]
