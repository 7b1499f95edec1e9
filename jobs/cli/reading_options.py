"""Options for how a file is read. Wrong use raises CommandError with WRONG_USE."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any, NamedTuple

from django.core.management.base import CommandError, CommandParser

from ..ingest import shapes
from ..ingest.delimiters import GAPS, ONE_COLUMN
from ..ingest.descriptions import ENCODINGS, python_name
from ..ingest.shapes import (
    ALL,
    ALL_ROWS,
    EMPTY,
    ESCAPES,
    FILL,
    FIX,
    KEEP,
    NO_HEADER,
    SKIP,
    Choices,
    Option,
)
from .exit_codes import WRONG_USE

DELIMITER_NAMES = {
    "comma": ",",
    "semicolon": ";",
    "tab": "\t",
    "\\t": "\t",
    "bar": "|",
    "none": ONE_COLUMN,
    "gaps": GAPS,
}


class _Flag(NamedTuple):
    """A flag that sets a field of Choices to `value`."""

    name: str
    field: str
    value: str | bool
    help: str


FLAGS = (
    _Flag("--fill", "fill", True, "fill short rows with empty cells"),
    _Flag("--no-quotes", "no_quotes", True, "quotation marks are text"),
    _Flag("--escapes", "backslashes", ESCAPES, "read backslashes as databases write them"),
    _Flag("--keep-backslashes", "backslashes", KEEP, "read backslashes as text"),
    _Flag("--visible-only", "hidden", SKIP, "skip rows and columns that the spreadsheet hides"),
    _Flag("--read-hidden", "hidden", KEEP, "read rows and columns that the spreadsheet hides"),
    _Flag("--fill-merged", "merged", FILL, "all cells of merged ones have their text"),
    _Flag("--keep-merged", "merged", KEEP, "only the first of merged cells has their text"),
    _Flag("--skip-unlike", "unlike", SKIP, "skip notes and totals around the table"),
    _Flag("--repair-text", "garbled", FIX, "repair text such as CafÃ©"),
    _Flag("--keep-text", "garbled", KEEP, "read text such as CafÃ© as it is"),
    _Flag("--empty-nulls", "nulls", EMPTY, r"read cells such as \N and NULL as empty"),
    _Flag("--keep-nulls", "nulls", KEEP, r"read cells such as \N and NULL as text"),
    _Flag("--skip-subtotals", "subtotals", SKIP, "skip totals between the rows"),
    _Flag("--skip-headings", "subtotals", ALL, "skip totals and headings between the rows"),
    _Flag("--keep-subtotals", "subtotals", KEEP, "read totals and headings as rows"),
    _Flag("--keep-unlike", "unlike", KEEP, "read notes and totals around the table as rows"),
)
# With a value: by field of Choices.
VALUES = {
    "encoding": ("--encoding", "NAME", "such as windows-1252"),
    "delimiter": ("--delimiter", "C", "a character, tab, none, or gaps: lined-up columns"),
    "sheet": ("--sheet", "NAME", "of a workbook"),
    "header": ("--header-row", "N", "line of the column names; -1: none"),
    "header_lines": ("--header-lines", "N", "how many lines the column names take"),
    "first_row": ("--first-row", "N", "line of the first row"),
    "last_row": ("--last-row", "N", "line of the last row; -1: also those of further tables"),
    "list_key": ("--list", "KEY", "of a JSON object: where its list is, such as data.items"),
    "convert": ("--convert", "FORM", "requests made for another service, such as openai"),
}
LISTS = {
    "as_shown": ("--as-shown", "COLUMN", "read this column as the spreadsheet shows it"),
    "as_stored": ("--as-stored", "COLUMN", "read this column without its number format"),
}
_NUMBERS = ("header", "header_lines", "first_row", "last_row")


def add_choices(parser: CommandParser) -> None:
    """Add the options for reading the file; anything left out is detected."""
    for field, (name, value, help_text) in VALUES.items():
        kind, default = (int, 0) if field in _NUMBERS else (str, "")
        parser.add_argument(
            name, dest=field, type=kind, default=default, metavar=value, help=help_text
        )
    for field, (name, value, help_text) in LISTS.items():
        parser.add_argument(
            name, dest=field, action="append", default=[], metavar=value, help=help_text
        )
    for flag in FLAGS:
        parser.add_argument(
            flag.name,
            dest=flag.field,
            action="store_const",
            const=flag.value,
            default=False if flag.value is True else "",
            help=flag.help,
        )


def choices_from(options: dict[str, Any]) -> Choices:
    """The options for reading the file."""
    encoding = python_name(options["encoding"]) if options["encoding"] else ""
    if options["encoding"] and not encoding:
        known = ", ".join(ENCODINGS)
        raise CommandError(
            f"Unknown encoding “{options['encoding']}”. Use one of {known}.",
            returncode=WRONG_USE,
        )
    delimiter = DELIMITER_NAMES.get(options["delimiter"], options["delimiter"])
    is_character = len(delimiter) == 1 and delimiter not in '"\r\0'
    if delimiter not in ("", GAPS) and not is_character:
        text = "--delimiter takes one character, tab, none or gaps."
        raise CommandError(text, returncode=WRONG_USE)
    if options["header"] < NO_HEADER:
        raise CommandError("--header-row takes a line from 1 on, or -1.", returncode=WRONG_USE)
    if options["last_row"] < ALL_ROWS:
        raise CommandError("--last-row takes a line from 1 on, or -1.", returncode=WRONG_USE)
    for field in ("header_lines", "first_row"):
        if options[field] < 0:
            name = VALUES[field][0]
            raise CommandError(f"{name} takes a number from 1 on.", returncode=WRONG_USE)
    fields = (*VALUES, *LISTS, *(flag.field for flag in FLAGS))
    given = {field: options[field] for field in fields}
    return shapes.choices_from({**given, "encoding": encoding, "delimiter": delimiter})


def flags_of(option: Option) -> str:
    """What to add to the command to read the file so, for a shell."""
    return shlex.join(_words_of(option))


def _words_of(option: Option) -> Iterator[str]:
    names = {character: name for name, character in DELIMITER_NAMES.items() if name != "\\t"}
    for field, value in option.change.items():
        if field in VALUES:
            yield VALUES[field][0]
            yield names.get(str(value), str(value)) if field == "delimiter" else str(value)
        elif field in LISTS and isinstance(value, list):
            for one in value:
                yield from (LISTS[field][0], one)
        else:
            yield from (flag.name for flag in FLAGS if (flag.field, flag.value) == (field, value))
