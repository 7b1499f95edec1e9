"""The form for the API key."""

from __future__ import annotations

from django import forms
from django.core.validators import RegexValidator

from .styled import StyledForm

KEY = RegexValidator(r"^[!-~]{20,500}$", "An API key is one long word that starts with sk-ant-.")


class ApiKeyForm(StyledForm):
    # Hidden while it is typed, and never shown again.
    api_key = forms.CharField(
        label="New API key",
        validators=[KEY],
        widget=forms.PasswordInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
