"""Uploading a file, and how it is to be read."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.files.uploadedfile import UploadedFile
from django.http import QueryDict

from ...ingest.descriptions import DELIMITERS, ENCODINGS
from ...ingest.shapes import NO_HEADER, Choices
from ...models import Job
from .styled import StyledForm

# How the names of files end that can be read; what a file is, is told from what is in it.
FILE_NAMES = (
    *(".csv", ".tsv", ".tab", ".txt", ".jsonl", ".ndjson", ".json", ".gz"),
    *(".xlsx", ".xlsm", ".xlsb", ".xls", ".ods"),
)


# --- Jobs -----------------------------------------------------------------------------------------


class UploadForm(StyledForm):
    file = forms.FileField(
        label="Your file",
        allow_empty_file=True,
        widget=forms.FileInput(attrs={"accept": ",".join(FILE_NAMES)}),
        error_messages={"required": "Choose a file first."},
    )

    def clean_file(self) -> UploadedFile[bytes]:
        file: UploadedFile[bytes] = self.cleaned_data["file"]
        if not file.size:
            raise forms.ValidationError(
                "This file is empty. Check that you chose the right one and that it was saved."
            )
        return file

    def add_refusal(self, why: str) -> None:
        """Say why the upload was stopped; it left no file."""
        self.errors.pop("file", None)
        self.add_error("file", why)


class ReadingForm(StyledForm):
    """How a file is to be read: what is left at "found out" is found out."""

    encoding = forms.ChoiceField(
        label="Letters",
        required=False,
        help_text="Choose another one when letters such as é or ü are wrong.",
    )
    delimiter = forms.ChoiceField(label="Cells are separated by", required=False)
    sheet = forms.ChoiceField(label="Sheet", required=False)
    header = forms.IntegerField(
        label="Line with the column names",
        required=False,
        min_value=1,
        help_text="As your spreadsheet numbers it. Lines above it are left out.",
    )
    no_header = forms.BooleanField(
        label="There are no column names", required=False, help_text="Then all lines are rows."
    )
    fill = forms.BooleanField(
        label="Fill short rows with empty cells",
        required=False,
        help_text="Otherwise rows with too few cells are left out.",
    )

    def __init__(self, job: Job, data: QueryDict | None = None) -> None:
        """For the file of `job`; fields that mean nothing for it are not there."""
        chosen = job.choices
        super().__init__(
            data,
            initial={
                "encoding": chosen.encoding,
                "delimiter": chosen.delimiter,
                "sheet": chosen.sheet,
                "header": chosen.header if chosen.header > 0 else None,
                "no_header": chosen.header == NO_HEADER,
                "fill": chosen.fill,
            },
            prefix="reading",
        )
        self._remedies = chosen.remedies
        understood = job.reading
        for name, words in (("encoding", ENCODINGS), ("delimiter", DELIMITERS)):
            found = words.get(getattr(understood, name), "")
            empty = f"Detected: {found}" if found and not getattr(chosen, name) else "Detect it"
            self._offer(name, [("", empty), *words.items()])
        sheets = understood.sheets
        first = ("", "The first one with something in it")
        self._offer("sheet", [first, *((name, name) for name in sheets)])
        if (line := understood.header) > 0:
            self.fields["header"].widget.attrs["placeholder"] = f"Detected: {line}"
        for name in self.fields.keys() - fields_for(job):
            del self.fields[name]

    def _offer(self, name: str, choices: list[tuple[str, str]]) -> None:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101 - as declared above
        field.choices = choices

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("no_header") and cleaned.get("header"):
            self.add_error(
                "header", "Either there are column names in a line, or there are none: clear one."
            )
        return cleaned

    def choices(self) -> Choices:
        """What was chosen, once it is valid."""
        data = self.cleaned_data
        header = NO_HEADER if data.get("no_header") else data.get("header") or 0
        return Choices(
            encoding=data.get("encoding", ""),
            delimiter=data.get("delimiter", ""),
            sheet=data.get("sheet", ""),
            header=header,
            fill=data.get("fill", False),
            remedies=self._remedies,
        )


def fields_for(job: Job) -> set[str]:
    """What can be chosen for the file of a job; all of it when nothing is known of it."""
    read = job.reading.format
    if read == "CSV" or not read:
        return {"encoding", "delimiter", "header", "no_header", "fill"}
    if job.kind == Job.Kind.TABLE and read not in ("JSONL", "JSON"):
        return {"sheet", "header", "no_header", "fill"}
    return set()
