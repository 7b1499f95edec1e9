"""`manage.py job export`: write a job's results to a file."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from ..batches import stored_results
from ..batches.stored_results import DamagedResults
from ..models import Job, audit
from ..models.checksums import Damaged
from ..results import builder, table, unmatched, workbook
from .access import find_job
from .console import Console

AWAITED_SECONDS = 300  # for a CSV that the worker is building
FORMATS = ("csv", "xlsx", "jsonl", "raw")


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("id", type=int, metavar="ID")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--format", choices=FORMATS, default="csv")
    what.add_argument(
        "--problem-file", action="store_true", help="the skipped rows, with what is wrong"
    )
    parser.add_argument(
        "--only", choices=table.ROW_FILTERS, default="all", help="which rows; not with raw (all)"
    )
    parser.add_argument(
        "--plain", action="store_true", help="CSV without a byte order mark, for programs"
    )
    parser.add_argument(
        "--semicolons", action="store_true", help="CSV with semicolons, for Excel in Europe"
    )
    parser.add_argument("--output", required=True, metavar="PATH", help="- is stdout")


def run(console: Console, options: dict[str, Any]) -> None:
    job = find_job(options["id"])
    if not job.was_sent and not (options["problem_file"] and job.state != Job.State.READING):
        raise CommandError(f"Job {job.pk} has no results: {job.get_state_display()}.")
    file = "problems" if options["problem_file"] else options["format"]
    after = {"file": file, "rows": options["only"]}
    audit.record("file_downloaded", who=job.owner, job=job.pk, after=after)
    if options["output"] == "-":
        write_to_stdout(console, job, options)
        return
    output = Path(options["output"])
    part = output.with_name(f"{output.name}.part")
    try:
        write_export(job, options, part)
        part.replace(output)
    except DamagedResults as damaged:
        raise refused_because_damaged(damaged) from damaged
    except Damaged as damaged:
        raise refused_because_rebuilt(job, options) from damaged
    except OSError as error:
        raise CommandError(f"{output} cannot be written: {error.strerror}.") from error
    finally:
        part.unlink(missing_ok=True)
    console.say(f"Wrote {output}.")
    say_what_marks_reused(console, job, file)


def say_what_marks_reused(console: Console, job: Job, file: str) -> None:
    if column := table.table_of(job).reused_column:
        if file in ("csv", "xlsx"):
            console.say(f"The column “{column}” marks answers of earlier jobs.")
        elif file == "jsonl":
            console.say('Answers of earlier jobs are marked with "reused": true.')


def write_to_stdout(console: Console, job: Job, options: dict[str, Any]) -> None:
    try:
        if is_workbook(options):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, "rows.xlsx")
                write_export(job, options, path)
                with path.open("rb") as file:
                    shutil.copyfileobj(file, sys.stdout.buffer)
        else:
            for chunk in chunks_of(job, options):
                sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
    except DamagedResults as damaged:
        raise refused_because_damaged(damaged) from damaged
    except Damaged as damaged:
        raise refused_because_rebuilt(job, options) from damaged
    except BrokenPipeError:
        # The reader closed the pipe. Otherwise Python would complain again when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def refused_because_damaged(damaged: DamagedResults) -> CommandError:
    """The error for an export from damaged results: what was written so far is not the file."""
    stored_results.note_damage(damaged)
    return CommandError(f"No complete file was written. {damaged}")


def refused_because_rebuilt(job: Job, options: dict[str, Any]) -> CommandError:
    """The error for a finished file that is damaged; the worker builds it again."""
    builder.rebuild_export(job, options["format"], options["only"])
    return CommandError(
        "No complete file was written. The finished file is damaged and is being built again. "
        "Try again in a few minutes."
    )


def is_workbook(options: dict[str, Any]) -> bool:
    return options["format"] == "xlsx" and not options["problem_file"]


def write_export(job: Job, options: dict[str, Any], path: Path) -> None:
    """Write the export to `path`. Raises OSError, CommandError and Damaged."""
    if not is_workbook(options):
        with path.open("wb") as file:
            file.writelines(chunks_of(job, options))
        return
    try:
        workbook.write_workbook(job, path, options["only"])
    except workbook.TooWide as error:
        raise CommandError(str(error)) from error


def chunks_of(job: Job, options: dict[str, Any]) -> Iterator[bytes]:
    """The bytes of an export other than a workbook."""
    if options["problem_file"]:
        return chain(table.problem_chunks(job), unmatched.unmatched_chunks(job))
    if options["format"] == "raw":
        return table.raw_chunks(job)
    if options["format"] == "jsonl":
        return table.jsonl_chunks(job, options["only"])
    is_usual = not options["plain"] and not options["semicolons"]
    if is_usual and (file := builder.open_or_await(job, options["only"], AWAITED_SECONDS)):
        return file.blocks()
    return table.csv_chunks(
        job, options["only"], plain=options["plain"], semicolons=options["semicolons"]
    )
