"""Uploading a file, and how it is to be read."""

from __future__ import annotations

from typing import Any

import msgspec
from django import forms
from django.core.files.uploadedfile import UploadedFile
from django.http import QueryDict

from ...ingest.delimiters import DELIMITERS, GAPS, ONE_COLUMN
from ...ingest.descriptions import ENCODINGS
from ...ingest.shapes import ALL, EMPTY, ESCAPES, FILL, FIX, KEEP, NO_HEADER, SKIP, Choices
from ...models import Job
from .styled import StyledForm

# How the names of files end that can be read; what a file is, is told from what is in it.
FILE_NAMES = (
    *(".csv", ".tsv", ".tab", ".txt", ".jsonl", ".ndjson", ".json", ".gz"),
    *(".xlsx", ".xlsm", ".xlsb", ".xls", ".ods"),
)


# --- Jobs -----------------------------------------------------------------------------------------


# The fields of ReadingForm, as they stand together on the page.
_GROUPS = {
    "Text": ("encoding", "delimiter", "no_quotes", "backslashes"),
    "Workbook": ("sheet", "hidden", "merged"),
    "Column names": ("header", "header_lines", "no_header"),
    "Rows": ("first_row", "last_row", "unlike", "subtotals", "nulls", "garbled", "fill"),
}
# ONE_COLUMN in the form: a browser sends a line break in a value as another one.
_NONE = "none"
# Those that have the same values in Choices.
_AS_CHOSEN = (
    *("fill", "no_quotes", "hidden", "merged", "unlike", "subtotals", "garbled", "nulls"),
    "backslashes",
)


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
        label="Encoding",
        required=False,
        help_text="Choose another one if letters such as é or ü look wrong.",
    )
    delimiter = forms.ChoiceField(label="Cells are separated by", required=False)
    no_quotes = forms.BooleanField(
        label="No quotation marks",
        required=False,
        help_text='Read " as text. Each line is one row.',
    )
    backslashes = forms.ChoiceField(
        label="Backslashes",
        required=False,
        choices=[
            ("", "Detect and ask"),
            (ESCAPES, "Read them as databases write them"),
            (KEEP, "Read them as text"),
        ],
    )
    garbled = forms.ChoiceField(
        label="Garbled text",
        required=False,
        choices=[("", "Read it and ask"), (FIX, "Repair it"), (KEEP, "Read it as it is")],
        help_text="Such as CafÃ© instead of Café.",
    )
    sheet = forms.ChoiceField(label="Sheet", required=False)
    hidden = forms.ChoiceField(
        label="Hidden rows and columns",
        required=False,
        choices=[("", "Read them and ask"), (SKIP, "Leave them out"), (KEEP, "Read them")],
    )
    merged = forms.ChoiceField(
        label="Empty cells of a merge",
        required=False,
        choices=[
            ("", "Leave them empty and ask"),
            (FILL, "Fill them with its text"),
            (KEEP, "Leave them empty"),
        ],
    )
    header = forms.IntegerField(
        label="Line",
        required=False,
        min_value=1,
        help_text="As your spreadsheet numbers it. Lines above it are skipped.",
    )
    header_lines = forms.IntegerField(
        label="Number of lines",
        required=False,
        min_value=1,
        max_value=5,
        help_text="2 or 3 if the names take several lines.",
    )
    no_header = forms.BooleanField(
        label="No column names", required=False, help_text="Each line is a row."
    )
    first_row = forms.IntegerField(
        label="Line of the first row",
        required=False,
        min_value=1,
        help_text="Lines between the column names and it are skipped.",
    )
    last_row = forms.IntegerField(
        label="Line of the last row",
        required=False,
        min_value=1,
        help_text="Lines below it are skipped.",
    )
    unlike = forms.ChoiceField(
        label="Notes and totals",
        required=False,
        choices=[("", "Read them and ask"), (SKIP, "Leave them out"), (KEEP, "Read them")],
    )
    subtotals = forms.ChoiceField(
        label="Subtotals between the rows",
        required=False,
        choices=[
            ("", "Read them and ask"),
            (SKIP, "Leave totals out"),
            (ALL, "Leave totals and headings out"),
            (KEEP, "Read them"),
        ],
    )
    nulls = forms.ChoiceField(
        label=r"\N and NULL",
        required=False,
        choices=[("", "Read the text and ask"), (EMPTY, "Read as empty"), (KEEP, "Read the text")],
        help_text="Databases write them for a missing value.",
    )
    fill = forms.BooleanField(
        label="Fill short rows with empty cells",
        required=False,
        help_text="If not, rows with too few cells are skipped.",
    )

    def __init__(self, job: Job, data: QueryDict | None = None) -> None:
        """For the file of `job`; fields that mean nothing for it are not there."""
        chosen = job.choices
        super().__init__(
            data,
            initial={
                "encoding": chosen.encoding,
                "delimiter": _NONE if chosen.delimiter == ONE_COLUMN else chosen.delimiter,
                "sheet": chosen.sheet,
                "header": chosen.header if chosen.header > 0 else None,
                "no_header": chosen.header == NO_HEADER,
                "header_lines": chosen.header_lines or None,
                "first_row": chosen.first_row or None,
                "last_row": chosen.last_row if chosen.last_row > 0 else None,
                **{name: getattr(chosen, name) for name in _AS_CHOSEN},
            },
            prefix="reading",
        )
        self._chosen = chosen
        understood = job.reading
        cells = {**DELIMITERS, _NONE: "nothing: each line is a cell"}
        if chosen.delimiter not in ("", *DELIMITERS, ONE_COLUMN):
            # Offered with a question.
            is_gaps = chosen.delimiter == GAPS
            said = "blanks that line up columns" if is_gaps else f"“{chosen.delimiter}”"
            cells[chosen.delimiter] = said
        cut = _NONE if understood.delimiter == ONE_COLUMN else understood.delimiter
        for name, words, read in (
            ("encoding", ENCODINGS, understood.encoding),
            ("delimiter", cells, cut),
        ):
            found = words.get(read, "")
            empty = f"Detected: {found}" if found and not getattr(chosen, name) else "Detect it"
            self._offer(name, [("", empty), *words.items()])
        sheets = understood.sheets
        first = ("", "The first one with a table")
        self._offer("sheet", [first, *((name, name) for name in sheets)])
        if (line := understood.header) > 0:
            self.fields["header"].widget.attrs["placeholder"] = f"Detected: {line}"
        for name in self.fields.keys() - fields_for(job):
            del self.fields[name]

    def groups(self) -> list[tuple[str, list[forms.BoundField]]]:
        """The fields that there are for this file, under the titles of their groups."""
        found = [
            (title, [self[name] for name in names if name in self.fields])
            for title, names in _GROUPS.items()
        ]
        return [(title, fields) for title, fields in found if fields]

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
        delimiter = data.get("delimiter", "")
        return msgspec.structs.replace(
            self._chosen,
            encoding=data.get("encoding", ""),
            delimiter=ONE_COLUMN if delimiter == _NONE else delimiter,
            sheet=data.get("sheet", ""),
            header=header,
            header_lines=data.get("header_lines") or 0,
            first_row=data.get("first_row") or 0,
            last_row=data.get("last_row") or min(self._chosen.last_row, 0),
            **{name: data[name] for name in _AS_CHOSEN if name in data},
        )


def fields_for(job: Job) -> set[str]:
    """What can be chosen for the file of a job; all of it when nothing is known of it."""
    read = job.reading.format
    table = {
        "header",
        "no_header",
        "header_lines",
        "first_row",
        "last_row",
        "unlike",
        "subtotals",
        "nulls",
        "garbled",
        "fill",
    }
    if read == "CSV" or not read:
        return {"encoding", "delimiter", "no_quotes", "backslashes", *table}
    if job.kind == Job.Kind.TABLE and read not in ("JSONL", "JSON"):
        return {"sheet", "hidden", "merged", *table}
    return set()
