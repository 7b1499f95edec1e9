"""`manage.py job check`: say how a file is read, and what is wrong in it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from ..drafts.reading import read_apart
from ..drafts.reading import reading_limits as reading_limits
from ..ingest.descriptions import how_it_is_read
from ..ingest.protocol import Failed, FileRead, ReaderInput, UploadSummary
from ..ingest.shapes import Unreadable
from .console import Console
from .exit_codes import ROWS_LEFT_OUT, UNREADABLE, WRONG_USE
from .facts import facts_of_file
from .options import add_private, require_columns
from .problems import show_group
from .reading_options import add_choices, choices_from


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="CSV, Excel, JSONL, ...")
    add_choices(parser)
    add_private(parser)
    parser.add_argument("--json", action="store_true", help="for programs")


def run(console: Console, options: dict[str, Any]) -> None:
    path: Path = options["file"]
    order = ReaderInput(str(path.resolve()), choices_from(options), reading_limits())
    found = UploadSummary("", "table")
    readable = False
    try:
        with path.open("rb"):
            pass
        for answer in read_apart(order):
            if isinstance(answer, FileRead):
                found, readable = answer.summary, True
            elif isinstance(answer, Failed):
                raise Unreadable(*answer.findings)
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}.", returncode=WRONG_USE) from error
    except Unreadable as error:
        for finding in error.findings:
            found.note(finding, leaves_out=True)
    if readable and found.kind == "table":
        require_columns(options["private"], found.columns)
    if options["json"]:
        console.write(json.dumps(facts_of_file(found), indent=1, ensure_ascii=False))
    else:
        say_how_it_is_read(console, found, readable, options["private"])
    if not readable or found.skipped:
        sys.exit(ROWS_LEFT_OUT if readable else UNREADABLE)


def say_how_it_is_read(
    console: Console, found: UploadSummary, readable: bool, private: list[str]
) -> None:
    if readable:
        console.write(f"{found.rows:,} rows, {found.skipped:,} skipped")
        console.write(f"Columns: {', '.join(found.columns)}")
        if private:
            console.write(f"Private, never sent: {', '.join(private)}")
        chosen = found.understood
        read_as = how_it_is_read(
            found.format, chosen.delimiter, chosen.encoding, chosen.sheet, chosen.header
        )
        console.write(f"Read as {read_as}")
        if found.blank_lines:
            console.write(f"Blank lines skipped: {found.blank_lines:,}")
    for group in found.groups:
        show_group(console, group)
