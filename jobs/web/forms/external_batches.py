"""Batches that were made elsewhere."""

from __future__ import annotations

from typing import Any

from django import forms

from .styled import StyledForm
from .uploads import FILE_NAMES


class ProviderIdForm(StyledForm):
    provider_id = forms.RegexField(
        r"^[A-Za-z0-9_-]{1,100}\Z",
        strip=True,
        label="Batch ID",
        help_text="Starts with msgbatch_.",
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "autocapitalize": "off", "spellcheck": "false"}
        ),
        error_messages={
            "required": "Paste the batch ID here.",
            "invalid": "This is not a batch ID. It starts with msgbatch_ and has only letters, "
            "digits, - and _. Copy it again.",
        },
    )


class ImportForm(ProviderIdForm):
    """A batch that was made elsewhere, and the file that it was made from."""

    file = forms.FileField(
        label="The file that the batch was made from (optional)",
        required=False,
        help_text="The table (CSV, Excel) or the requests (JSONL). With it, each answer comes "
        "back beside its row. Without it, you get the answers with their IDs.",
        widget=forms.FileInput(attrs={"accept": ",".join(FILE_NAMES)}),
        error_messages={"empty": "This file is empty. Choose another file, or none."},
    )

    def add_refusal(self, why: str) -> None:
        """Say why the upload was stopped; it left no file."""
        self.errors.pop("provider_id", None)  # the form came without its fields
        self.add_error("file", why)


class IdsForm(StyledForm):
    """Which row of the file each result of a batch belongs to. `ways`: the choices, each with its
    words, the best first."""

    def __init__(self, ways: list[tuple[str, str]], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["way"] = forms.ChoiceField(
            label="Where the IDs are",
            choices=ways,
            error_messages={
                "required": "Choose where the IDs are.",
                "invalid_choice": "Your file does not have this. Choose where the IDs are.",
            },
        )
