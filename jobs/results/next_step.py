"""The rows of a finished job with their answers, as the file of another job: a table in CSV whose
cells are exact, and never blank lines, since each has its status."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from ..ingest.corrections import beside
from ..ingest.shapes import ALL_ROWS, KEEP, Choices
from ..models import (
    ATTENTION,
    Difference,
    Job,
    Outcome,
    Row,
    RowQuerySet,
    answer_shape_of,
    containing,
)
from ..rules.answer_formats import COLUMNS
from ..rules.rows_wanted import GOOD, SOME, RowsWanted
from .accuracy import shown_gold
from .saved_rows import SavedRow, saved_rows
from .table import Table, as_text, table_of

# How it is read: nothing is guessed, skipped or repaired.
CHOICES = Choices(
    encoding="utf-8",
    delimiter=",",
    header=1,
    header_lines=1,
    first_row=2,
    last_row=ALL_ROWS,
    backslashes=KEEP,
    unlike=KEEP,
    subtotals=KEEP,
    garbled=KEEP,
    nulls=KEEP,
)


def added_columns(job: Job) -> dict[str, str]:
    """The columns beside those of the upload, by the name that each would have if that were not
    taken there."""
    table = table_of(job)
    wanted = [*(table.filled or ["answer"]), "status"]
    return dict(zip(wanted, beside(wanted, table.theirs), strict=True))


def are_known(job: Job, wanted: RowsWanted) -> bool:
    """Whether it is known which rows these are: of those that differ, once they were compared as
    they are now, and only to who may see it."""
    return not wanted.differs or shown_gold(job) is not None


def wanted_rows(job: Job, wanted: RowsWanted) -> RowQuerySet:
    rows = Row.objects.filter(job=job)
    if wanted.which == GOOD:
        return rows.filter(outcome=Outcome.GOOD)
    if wanted.which != SOME:
        return rows
    if wanted.outcome:
        several = ATTENTION if wanted.outcome == "attention" else [wanted.outcome]
        rows = rows.filter(outcome__in=several)
    if wanted.cause:
        rows = rows.filter(cause=wanted.cause)
    if wanted.label:
        rows = rows.filter(outcome=Outcome.GOOD, answer=wanted.label)
    if wanted.model:
        rows = rows.filter(answered_by=wanted.model)
    if wanted.differs:
        rows = rows.filter(number__in=Difference.objects.filter(job=job).values("number"))
    if wanted.text:
        is_json = answer_shape_of(job).kind == COLUMNS
        rows = rows.filter(containing(wanted.text, answers_are_json=is_json))
    return rows


def row_slices(job: Job, wanted: RowsWanted) -> Iterator[list[list[str]]]:
    """The cells of the wanted rows in order, slice by slice."""
    table = table_of(job)
    for rows in saved_rows(job, wanted_rows(job, wanted)):
        yield [_cells(table, row) for row in rows]


def _cells(table: Table, row: SavedRow) -> list[str]:
    width, filled = len(table.theirs), len(table.filled)
    cells = [as_text(cell) for cell in table.cells(row)]
    answer = cells[width : width + filled] if filled else [cells[width]]
    return [_storable(cell) for cell in (*cells[:width], *answer, cells[width + filled + 1])]


def _storable(text: str) -> str:
    # Half a character cannot be written, and PostgreSQL takes no NUL.
    return text.encode(errors="replace").decode().replace("\0", "\ufffd")


def csv_blocks(job: Job, wanted: RowsWanted) -> Iterator[bytes]:
    """The file, in UTF-8."""
    yield _lines([[*table_of(job).theirs, *added_columns(job).values()]])
    for rows in row_slices(job, wanted):
        yield _lines(rows)


def _lines(rows: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO(newline="")
    # All quoted: the first line must not look like JSON, nor a row like none.
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows(rows)
    return text.getvalue().encode()
