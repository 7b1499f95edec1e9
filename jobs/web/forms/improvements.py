"""Asking Claude for a better prompt."""

from __future__ import annotations

from django import forms

from .styled import StyledForm


class ImproveForm(StyledForm):
    """What a person wants to be different."""

    wish = forms.CharField(
        label="What should be different?",
        required=False,
        max_length=5_000,
        widget=forms.Textarea(
            attrs={"rows": 2, "placeholder": "Optional: “Delivery problems count as negative.”"}
        ),
    )


class SuggestionForm(StyledForm):
    """The suggested texts, as a person edits them."""

    prompt = forms.CharField(
        label="New prompt",
        strip=False,
        max_length=1_000_000,
        widget=forms.Textarea(attrs={"rows": 8, "spellcheck": "true"}),
    )
    system = forms.CharField(
        label="New background",
        required=False,
        strip=False,
        max_length=1_000_000,
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "true"}),
    )

    def texts(self) -> dict[str, str]:
        """Both with line ends as in a text file: a browser sends CRLF."""
        return {name: self.cleaned_data[name].replace("\r\n", "\n") for name in self.fields}
