"""Templates."""

from __future__ import annotations

from django import forms

from ...models import Template
from .styled import StyledForm


class TemplateForm(StyledForm):
    """A recipe saved for later."""

    name = forms.CharField(
        label="Name of the template",
        max_length=Template._meta.get_field("name").max_length,
        error_messages={"required": "A template needs a name."},
    )
    shared = forms.BooleanField(
        label="Share with everyone on this site",
        required=False,
        help_text="They can use it and read your prompt, background and examples. "
        "They do not see your file or your answers.",
    )


class TemplateNameForm(StyledForm):
    name = TemplateForm.base_fields["name"]
