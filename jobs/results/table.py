"""The finished file: every line of the upload once, in its order, with its answer beside it.

Written a slice of rows at a time, while it is downloaded or ahead of that (builder.py), so its
length does not matter. Text that a spreadsheet would run as a formula is made plain text in CSV and
stays exact in JSONL; workbook.py writes the same cells as a workbook.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import PurePath
from typing import Any

from ..batches import stored_results
from ..ingest.corrected_rows import OURS
from ..ingest.corrections import beside
from ..ingest.delimiters import GAPS, ONE_COLUMN
from ..ingest.json_reader import REQUEST
from ..ingest.shapes import row_name
from ..models import NOT_GOOD, Batch, Job, Outcome, Row, answer_shape_of
from ..models.privacy import shown_content
from ..rules.answer_formats import COLUMNS, AnswerKind, Value, as_cell, stored_values, values_in
from ..rules.judging import NOT_SELECTED, describe_cause, describe_problem
from ..rules.spreadsheet_cells import (
    csv_line,
    plain_cell,
    plain_cell_among_semicolons,
    plain_number,
)
from .accuracy import Matcher, matcher_of
from .saved_rows import SavedRow, saved_rows

BOM = b"\xef\xbb\xbf"  # tells Excel that the file is UTF-8
# Beside the columns of their file. With an answer in columns, `answer` has what is not in them.
# Tokens and cost are those of all attempts, so that their sum is what the job has cost.
ANSWER_COLUMNS = (
    "answer",
    "status",
    "problem",
    "attempts",
    "input_tokens",
    "output_tokens",
    "cost_usd",
)
# After these, if the job reuses answers. Also if no row got one: so the header never changes.
REUSED = "reused"
# At last, when right answers were chosen: whether the answer is the right one.
MATCHES = "matches"
# Which rows are wanted, by what became of them.
ROW_FILTERS: dict[str, tuple[str, ...]] = {
    "all": tuple(Outcome),
    "good": (Outcome.GOOD,),
    "attention": NOT_GOOD,
}
# What begins a formula, or an option of a command, has no place at the start of a file's name.
_RISKY_START = re.compile(r"\A[\s=+\-@\0\uff1d\uff0b\uff0d\uff20]+")

_LABELS = {outcome.value: str(outcome.label) for outcome in Outcome}
Cell = Value | Decimal  # US dollars are Decimal


def file_name(job: Job, kind: str, only: str = "all") -> str:
    """What the download of `kind` ("csv", "xlsx", "jsonl", "raw" or "problems") is called, with
    the rows that are `only` wanted."""
    stem = _RISKY_START.sub("", PurePath(job.upload_name).stem) or f"job {job.pk}"
    if kind == "raw":
        return f"{stem} - as received.jsonl"
    if kind == "problems":
        as_json = job.kind == Job.Kind.REQUESTS and job.state != Job.State.UNREADABLE
        return f"{stem} - problems.{'jsonl' if as_json else 'csv'}"
    what = {"all": "with answers", "good": "good rows", "attention": "rows that need attention"}
    return f"{stem} - {what[only]}.{kind}"


@dataclass(frozen=True)
class Table:
    """What the joined file of a job looks like as a table."""

    theirs: list[str]  # the columns of the upload; of ready-made requests their custom_id
    filled: list[str]  # the columns that the answers fill
    job: Job | None = None  # whose masked columns are masked
    matcher: Matcher | None = None  # where right answers were chosen
    marks_reused: bool = False  # where the answers of earlier jobs are reused

    @property
    def header(self) -> list[str]:
        ours = [*self.filled, *ANSWER_COLUMNS]
        ours += [REUSED] if self.marks_reused else []
        ours += [MATCHES] if self.matcher else []
        return [*self.theirs, *beside(ours, self.theirs)]

    @property
    def reused_column(self) -> str:
        """What the column that marks reused answers is called here; "" without one."""
        place = len(self.theirs) + len(self.filled) + len(ANSWER_COLUMNS)
        return self.header[place] if self.marks_reused else ""

    def cells(self, row: SavedRow) -> list[Cell]:
        """A row in the order of the header. The cells of the upload are text, as they were read."""
        content = shown_content(self.job, row) if self.job and self.job.masked else row.content
        if isinstance(content, dict):
            content = [str(content.get("custom_id") or "")]
        problem = problem_text(row)
        # A row with too few or too many cells is left out of the job, and said so, but it is here.
        width = len(self.theirs)
        if len(content) > width:
            problem += " Extra cells: " + " | ".join(content[width:])
            content = content[:width]
        cells: list[Cell] = [*content, *[""] * (width - len(content))]
        values = {}
        if self.filled:
            values = values_in(self.filled, row.answer) if row.has_usable_answer else {}
            cells += [values.get(name) for name in self.filled]
        cells += ["" if values else row.answer, status_label(row), problem]
        if attempts := row.attempts + (row.batch_id is not None):
            cells += [attempts, row.all_input_tokens, row.output_tokens, row.cost]
        else:
            cells += [None, None, None, None]
        if self.marks_reused:
            cells.append(True if row.is_reused else None)
        if self.matcher:
            cells.append(self.matcher.is_match(row))
        return cells


def table_of(job: Job) -> Table:
    theirs = job.columns if job.kind == Job.Kind.TABLE else ["custom_id"]
    filled = answer_shape_of(job).column_names
    return Table(theirs, filled, job, matcher_of(job), job.recipe.only_new)


def csv_chunks(
    job: Job, only: str = "all", *, plain: bool = False, semicolons: bool = False
) -> Iterator[bytes]:
    """The joined CSV of a job in UTF-8. Excel takes it for that by the byte order mark at its
    start, which programs may trip over: `plain` is without. `semicolons`: between the cells, as
    Excel wants them where a comma is in numbers."""
    table = table_of(job)
    delimiter = ";" if semicolons else ","
    safe = plain_cell_among_semicolons if semicolons else plain_cell
    yield (b"" if plain else BOM) + _csv_lines([map(safe, table.header)], delimiter)
    for rows in row_slices(job, only):
        lines = (csv_line(cells, delimiter) for cells in _safe_lines(table, rows, safe))
        yield "".join(lines).encode(errors="replace")


def _safe_lines(
    table: Table, rows: Iterable[SavedRow], safe: Callable[[str], str]
) -> Iterator[list[str]]:
    """The cells of `rows` as CSV writes them. Quick, because there may be a million rows."""
    for row in rows:
        yield [
            safe(cell) if type(cell) is str else "" if cell is None else _safe_value(cell, safe)
            for cell in table.cells(row)
        ]


def _safe_value(cell: Cell, safe: Callable[[str], str]) -> str:
    # A number is no formula, with its sign or not.
    return str(cell) if type(cell) is int else safe(as_text(cell))


def as_text(cell: Cell) -> str:
    """A cell as CSV writes it."""
    return plain_number(cell) if isinstance(cell, Decimal) else as_cell(cell)


def status_label(row: SavedRow) -> str:
    return _LABELS[row.outcome]


def problem_text(row: SavedRow) -> str:
    """What is the matter with a row; "" for a good one."""
    if row.problem:
        return row.problem.replace("\n", " ")
    return describe_problem(row.cause, row.message) if row.cause else ""


def jsonl_chunks(
    job: Job, only: str = "all", *, sees: Callable[[int], bool] = lambda _job: True
) -> Iterator[bytes]:
    """The joined JSONL of a job: one object for each line of the upload, everything exact. `sees`:
    whether its reader may know of another job, whose answers rows may have; asked once a job."""
    wanted, matcher, sees = answer_shape_of(job), matcher_of(job), cache(sees)
    for rows in row_slices(job, only):
        lines = [
            json.dumps(_json_row(job, row, wanted, matcher, sees), ensure_ascii=False)
            for row in rows
        ]
        yield ("\n".join(lines) + "\n").encode(errors="replace")


def _json_row(
    job: Job,
    row: SavedRow,
    wanted: AnswerKind,
    matcher: Matcher | None,
    sees: Callable[[int], bool],
) -> dict[str, Any]:
    content = shown_content(job, row)
    earlier_job = (row.earlier_job or job.previous_id) if row.is_reused else None
    is_known = earlier_job is not None and sees(earlier_job)
    original: dict[str, Any]
    if isinstance(content, dict):
        original = {"request": content}
    else:
        original = {"cells": dict(zip(job.columns, content, strict=False))}
        if len(content) != len(job.columns):
            original["cells_as_read"] = content
    return {
        "row": row.number,
        "line": row.line,
        **original,
        "answer": _json_answer(row, wanted),
        **({MATCHES: matcher.is_match(row)} if matcher else {}),
        "same_as": row.same_as,
        "reused": row.is_reused,
        "earlier_row": row.earlier if is_known else None,
        "earlier_job": earlier_job if is_known else None,
        "status": row.outcome,
        "cause": row.cause or None,
        "problem": problem_text(row) or None,
        "model": row.answered_by or None,
        "stop_reason": row.stop_reason or None,
        "request_id": row.request_id or None,
        "attempts": row.attempts + (row.batch_id is not None),
        "usage": {
            "input_tokens": row.input_tokens,
            "cache_write_tokens": row.cache_write_tokens,
            "cache_read_tokens": row.cache_read_tokens,
            "output_tokens": row.output_tokens,
            "thinking_tokens": row.thinking_tokens,
        },
        "cost_usd": plain_number(row.cost),
    }


def _json_answer(row: SavedRow, wanted: AnswerKind) -> Any:
    """The values of an answer in columns, with their types; else its text."""
    if not row.has_usable_answer:
        return row.answer or None
    values = stored_values(row.answer) if wanted.kind == COLUMNS else {}
    return values or row.answer


def raw_chunks(job: Job) -> Iterator[bytes]:
    """The provider's result files of a job as received, one after the other; of one that stayed
    incomplete, what did arrive. Raises DamagedResults: at once for a file that is missing or cut
    off, and before the last block of one that does not fit its hash."""
    batches = [batch for batch in job.batches.order_by("number") if stored_results.has_file(batch)]
    for batch in batches:
        stored_results.open_results(batch).file.close()
    return _raw_chunks(batches)


def _raw_chunks(batches: Sequence[Batch]) -> Iterator[bytes]:
    for batch in batches:
        last = b"\n"
        for block in stored_results.blocks(batch):
            yield block
            last = block[-1:]
        if last != b"\n":
            yield b"\n"  # its last line ends here, and not in the next file


def problem_chunks(job: Job) -> Iterator[bytes]:
    """The rows that are left out, and of a job that was sent those that are not good, each with
    what is wrong and how to fix it, to be corrected and uploaded back: a table as CSV with the
    delimiter of the upload, ready-made requests as JSONL. Of an upload that could not be read there
    are no rows, only the places where something is wrong."""
    wanted = [Outcome.LEFT_OUT, *(NOT_GOOD if job.was_sent else ())]
    # Rows that are not selected have nothing to be corrected.
    mine = Row.objects.filter(job=job, outcome__in=wanted).exclude(cause=NOT_SELECTED)
    if job.state == Job.State.UNREADABLE:
        yield from _file_problems(job)
    elif job.kind == Job.Kind.REQUESTS:
        for rows in saved_rows(job, mine):
            yield "".join(_problem_line(job, row) for row in rows).encode(errors="replace")
    else:
        delimiter = problem_delimiter(job)
        header = [*beside(OURS, job.columns), *job.columns]
        yield BOM + _csv_lines([map(plain_cell, header)], delimiter)
        for rows in saved_rows(job, mine):
            lines = (
                map(plain_cell, [*_what_is_wrong(job, row), *shown_content(job, row)])
                for row in rows
            )
            yield _csv_lines(lines, delimiter)


def problem_delimiter(job: Job) -> str:
    """Between the cells of the problem file: as in the upload, if that had several columns."""
    read = job.reading.delimiter
    return "," if read in ("", ONE_COLUMN, GAPS) else read


def _file_problems(job: Job) -> Iterator[bytes]:
    yield BOM + _csv_lines([OURS])
    for problem in job.problems.all():
        yield _csv_lines(
            map(plain_cell, [str(line or ""), text, problem.remedy])
            for line, text in problem.places
        )


def _problem_line(job: Job, row: SavedRow) -> str:
    said = zip(OURS, _what_is_wrong(job, row), strict=True)
    ours = ", ".join(
        f"{json.dumps(name)}: {json.dumps(text, ensure_ascii=False)}" for name, text in said
    )
    # The request is as it was uploaded, to the letter, but for line breaks between its parts.
    request = row.source.replace("\r", " ").replace("\n", " ")
    return f'{{{ours}, "{REQUEST}": {request}}}\n'


def _what_is_wrong(job: Job, row: SavedRow) -> list[str]:
    """For the columns OURS."""
    text, _, remedy = row.problem.partition("\n")
    if row.cause and row.outcome != Outcome.LEFT_OUT:
        text, remedy = problem_text(row), describe_cause(row.cause).advice
    name = row_name(job.reading.format, row.number, row.line)
    return [str(name), text, remedy]


def row_slices(job: Job, only: str = "all") -> Iterator[list[SavedRow]]:
    """The job's rows of ROW_FILTERS[only] in order, slice by slice."""
    if only == "all":
        return saved_rows(job)
    return saved_rows(job, Row.objects.filter(job=job, outcome__in=ROW_FILTERS[only]))


def _csv_lines(rows: Iterable[Iterable[str]], delimiter: str = ",") -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL).writerows(rows)
    return text.getvalue().encode(errors="replace")
