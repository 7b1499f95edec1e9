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
        label="Id of the batch",
        help_text="It begins with msgbatch_.",
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "autocapitalize": "off", "spellcheck": "false"}
        ),
        error_messages={
            "required": "Paste the id of the batch here.",
            "invalid": "This is no id of a batch. It begins with msgbatch_, and there are only "
            "letters, digits, - and _ in it. Copy it once more.",
        },
    )


class BringInForm(ProviderIdForm):
    """A batch that was made elsewhere, and the file that it was made from."""

    file = forms.FileField(
        label="The file that it was made from",
        required=False,
        help_text="If you have it: the requests that were submitted (JSONL), or the table (CSV, "
        "Excel) from whose rows they were made. Then each answer comes back beside its row. "
        "Without it the finished file has the answers with their ids.",
        widget=forms.FileInput(attrs={"accept": ",".join(FILE_NAMES)}),
        error_messages={"empty": "This file is empty. Choose another one, or none."},
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
            label="Where the ids are",
            choices=ways,
            error_messages={
                "required": "Choose where the ids are.",
                "invalid_choice": "This is not in your file. Choose where the ids are.",
            },
        )
