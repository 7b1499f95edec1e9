"""The finished file as an Excel workbook: the sheet "Rows" as in table.py, and a "Summary".

Rows are written to the disk one by one, so that memory stays the same however many there are. What
a person brought stays the text that was read: never a number, a date, a formula or a link. Only
what this site adds has types: numbers and yes/no of an answer, tokens, cost.

What Excel holds at most is from Microsoft, "Excel specifications and limits". Its characters are
those of UTF-16. More rows go on to further sheets; a longer cell is cut, and the summary says so.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import xlsxwriter
from django.db.models import Sum
from xlsxwriter.exceptions import FileCreateError

from ..batches import external_ids
from ..ingest.corrections import EXCEL_CELL
from ..ingest.shapes import row_name
from ..models import Job, Outcome, clock, dollars
from ..rules.answer_formats import as_cell
from ..rules.spreadsheet_cells import plain_cell
from .saved_rows import SavedRow
from .sheet_rows import SheetRows
from .table import Cell, Table, as_text, row_slices, table_of

SHEET_ROWS = 1_048_576  # with the header
MOST_COLUMNS = 16_384
CUT = " … (shortened)"  # ends a cell that was longer than EXCEL_CELL
CUT_SHOWN = 20
OPTIONS = {
    "constant_memory": True,
    "strings_to_formulas": False,
    "strings_to_urls": False,
    "strings_to_numbers": False,
    "use_zip64": True,
}
# Of a number Excel keeps 15 digits; a longer one would be another number.
LARGEST_NUMBER = 10**15
# A cell that is marked as text stays so when it is edited. Old versions of Excel show a longer one
# that is marked as ####.
LONGEST_MARKED = 255
NARROWEST, WIDEST = 9, 60  # characters of a column
ROW_HEIGHT = 15.5  # points: one line, also where a text has many
MEANINGS = {
    Outcome.GOOD: "Answered.",
    Outcome.LOOK: "Answered, but check it first. The problem is in its row.",
    Outcome.ERRORED: "No answer. The problem is in its row.",
    Outcome.EXPIRED: "Anthropic did not process it within 24 hours. Not charged.",
    Outcome.CANCELED: "You stopped the job before it was answered. Not charged.",
    Outcome.LEFT_OUT: "Skipped, ignored or not selected. The reason is in its row.",
    Outcome.WAITING: "No answer yet.",
}
KINDS_OF_ROWS = {
    "all": "all rows of the file",
    "good": "good rows only",
    "attention": "only rows with a problem",
}
TOO_WIDE = (
    f"Excel allows {MOST_COLUMNS:,} columns, and this file has more. Download CSV or JSONL instead."
)

_BREAK = re.compile(r"\r\n?")
_NOT_IN_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


class TooWide(Exception):
    """The table has more columns than Excel holds; the message says what to take instead."""


def is_too_wide(job: Job) -> bool:
    return len(table_of(job).header) > MOST_COLUMNS


def write_workbook(
    job: Job,
    path: Path,
    only: str = "all",
    between: Callable[[int, int], object] = lambda _rows, _bytes: None,
) -> None:
    """Write the workbook of a job to `path`, with the rows of table.ROW_FILTERS[only].

    `between` is called with the number of rows written so far and 0 before each slice of rows. At
    last it is called with the bytes that are to be packed, which cannot be interrupted. Files on
    the way lie beside `path` and go, whatever happens. Raises TooWide, OSError, and what `between`
    raises.
    """
    table = table_of(job)
    if len(table.header) > MOST_COLUMNS:
        raise TooWide(TOO_WIDE)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f"{path.name}.") as folder:
        book = xlsxwriter.Workbook(str(path), {**OPTIONS, "tmpdir": folder})
        try:
            rows = _Rows(book, job, table)
            summary = book.add_worksheet("Summary")
            for some in row_slices(job, only):
                between(rows.count, 0)
                rows.add(some)
            rows.end()
            _write_summary(book, summary, job, only, rows)
            between(rows.count, sum(file.stat().st_size for file in Path(folder).iterdir()))
            book.close()
        except FileCreateError as error:
            raise error.args[0] from error  # the OSError that it stands for
        finally:
            for sheet in book.worksheets():
                sheet.row_data_fh.close()


class _Rows:
    """The sheets with the rows."""

    def __init__(self, book: Any, job: Job, table: Table) -> None:
        self.count = self.reused = 0
        self.sheets: list[Any] = []
        self.cut: list[str] = []  # the first cells that were too long, in words
        self.cut_count = 0
        self.reused_column = table.reused_column
        self._book, self._job, self._table = book, job, table
        self._header = table.header
        self._widths = [_width([name + "   "]) for name in self._header]  # and its filter's button
        self._formats = _formats(book)
        self._begin_sheet()

    def _begin_sheet(self) -> None:
        number = len(self.sheets) + 1
        sheet = self._book.add_worksheet("Rows" if number == 1 else f"Rows {number}")
        for column, name in enumerate(self._header):
            text = self._fitting(name, "The header")
            kind = "header as text" if plain_cell(text) != text else "header"
            sheet.write_string(0, column, text, self._formats[kind])
        self._line = 0  # of the sheet that was written last
        self.sheets.append(sheet)
        self._out = SheetRows(sheet, len(self._header))

    def add(self, rows: Sequence[SavedRow]) -> None:
        lines = [self._table.cells(row) for row in rows]
        if not self.count:
            samples: Iterator[tuple[Cell, ...]] = zip(*lines, strict=True)
            usual = [_width(map(as_text, cells)) for cells in samples]
            self._widths = list(map(max, self._widths, usual))
        for row, cells in zip(rows, lines, strict=True):
            if self._line == SHEET_ROWS - 1:
                self._begin_sheet()
            self._line += 1
            for column, cell in enumerate(cells):
                if cell is not None and cell != "":
                    self._write(row, column, cell)
            self._out.end_row(self._line)
        self.count += len(rows)
        if self.reused_column:
            self.reused += sum(row.is_reused for row in rows)

    def _write(self, row: SavedRow, column: int, cell: Cell) -> None:
        out, line = self._out, self._line
        if isinstance(cell, str):
            out.add_text(line, column, *self._text(row, column, cell))
        elif isinstance(cell, bool):
            out.add_boolean(line, column, cell)
        elif isinstance(cell, Decimal):
            out.add_number(line, column, float(cell), self._formats["cost"])
        elif isinstance(cell, int | float) and abs(cell) < LARGEST_NUMBER:
            out.add_number(line, column, cell)
        else:
            out.add_text(line, column, *self._text(row, column, as_cell(cell)))

    def _text(self, row: SavedRow, column: int, text: str) -> tuple[str, Any]:
        """A text as Excel can hold it, and its format."""
        if len(text) > EXCEL_CELL // 2 or not text.isprintable():
            name = row_name(self._job.reading.format, row.number, row.line)
            text = self._fitting(text, f"row {name:,}, column “{self._header[column][:80]}”")
        return text, self._format_of(text)

    def _format_of(self, text: str) -> Any:
        kind = "text" if len(text) <= LONGEST_MARKED else ""
        if plain_cell(text) != text:
            kind = f"formula as {kind or 'long text'}"
        return self._formats.get(kind)

    def _fitting(self, text: str, where: str) -> str:
        """`text` as a cell of Excel can hold it."""
        text = _fit(text)
        cut = _cut(text)
        if cut != text:
            self.cut_count += 1
            if self.cut_count <= CUT_SHOWN:
                self.cut.append(where)
        return cut

    def end(self) -> None:
        for number, sheet in enumerate(self.sheets, start=1):
            last = self._line if number == len(self.sheets) else SHEET_ROWS - 1
            sheet.freeze_panes(1, 0)
            sheet.set_default_row(ROW_HEIGHT)
            sheet.autofilter(0, 0, last, len(self._header) - 1)
            for column, width in enumerate(self._widths):
                sheet.set_column(column, column, width)
            # 007 is text here, and Excel need not ask whether that is a mistake.
            sheet.ignore_errors({"number_stored_as_text": f"A1:XFD{SHEET_ROWS}"})


def _formats(book: Any) -> dict[str, Any]:
    marked = {"num_format": "@"}
    header = {**marked, "bold": True, "bottom": 1, "bg_color": "#E9ECEF"}
    as_text = {"quote_prefix": True}
    return {
        "header": book.add_format(header),
        "header as text": book.add_format({**header, **as_text}),
        "text": book.add_format(marked),
        "formula as text": book.add_format({**marked, **as_text}),
        "formula as long text": book.add_format(as_text),
        "cost": book.add_format({"num_format": "0.00##########"}),
    }


def _width(texts: Any) -> int:
    """Characters of a column in which nearly all of `texts` can be seen, by their first lines."""
    lengths = sorted(len(text.partition("\n")[0]) for text in texts)
    return min(max(lengths[len(lengths) * 9 // 10] + 2, NARROWEST), WIDEST)


def _fit(text: str) -> str:
    """`text` without what XML cannot hold; line breaks are those of a cell in Excel."""
    return _NOT_IN_XML.sub("\ufffd", _BREAK.sub("\n", text))


def _cut(text: str) -> str:
    units = text.encode("utf-16-le")
    if len(units) <= 2 * EXCEL_CELL:
        return text
    return units[: 2 * (EXCEL_CELL - len(CUT))].decode("utf-16-le", "ignore") + CUT


# --- The summary ----------------------------------------------------------------------------------

SummaryLine = tuple[str, str | int | Decimal | datetime | None, str]  # what, a value, a remark


def _write_summary(book: Any, sheet: Any, job: Job, only: str, rows: _Rows) -> None:
    bold = book.add_format({"bold": True})
    formats = {
        int: book.add_format({"num_format": "#,##0", "align": "left"}),
        Decimal: book.add_format({"num_format": "0.00##########", "align": "left"}),
        datetime: book.add_format({"num_format": "yyyy-mm-dd hh:mm", "align": "left"}),
    }
    as_text = book.add_format({"num_format": "@", "quote_prefix": True})
    for number, (what, value, remark) in enumerate(_summary_lines(job, only, rows)):
        sheet.write_string(number, 0, what, bold)
        if isinstance(value, datetime):
            utc = value.astimezone(UTC).replace(tzinfo=None)
            sheet.write_datetime(number, 1, utc, formats[datetime])
        elif isinstance(value, str):
            sheet.write_string(number, 1, _cut(_fit(value)), as_text)
        elif value is not None:
            sheet.write_number(number, 1, float(value), formats[type(value)])
        if remark:
            sheet.write_string(number, 2, _cut(remark))
    for column, width in enumerate((30, 30, 70)):
        sheet.set_column(column, column, width)


def _summary_lines(job: Job, only: str, rows: _Rows) -> Iterator[SummaryLine]:
    tested = dollars(int(job.trials.aggregate(pico=Sum("cost_pico"))["pico"] or 0))
    models = [name for name in job.tally.by_model if name] or [job.recipe.model]
    running = job.state != Job.State.FINISHED
    yield "Job", job.name, ""
    yield "File", job.upload_name, ""
    yield "Model", ", ".join(models), ""
    batch = external_ids.external_batch_of(job) if job.is_external else None
    yield (
        "Sent (UTC)",
        batch.created_at if batch else job.confirmed_at,
        "Submitted elsewhere." * bool(batch),
    )
    yield "Finished (UTC)", job.finished_at, "Not finished. These are the answers so far." * running
    yield "File created (UTC)", clock.now(), ""
    yield "Rows in this file", rows.count, KINDS_OF_ROWS[only]
    if rows.reused_column:
        words = f"From earlier jobs, at no cost. Marked in the column “{rows.reused_column}”."
        yield "Reused answers", rows.reused, words
    yield from _charged(job, tested)
    yield "Input tokens", job.tally.input_tokens, ""
    yield "Output tokens", job.tally.output_tokens, "including thinking"
    yield "", None, ""
    yield "Status", None, "What it means"
    for outcome, meaning in MEANINGS.items():
        count = job.outcome_count(outcome)
        if count or outcome != Outcome.WAITING:
            yield outcome.label, count, meaning
    yield from _limits(rows)


def _charged(job: Job, tested: Decimal) -> Iterator[SummaryLine]:
    what, remark = "Charged, in US dollars", ""
    own = dollars(job.spent_pico)
    charged = own + tested
    if job.is_external:
        charged, remark = job.cost, "This batch was submitted and charged elsewhere."
        if own:
            remark += f" Of this, {own:f} is for retries from this site."
    if job.practice:
        what, remark = (
            "Would have been charged, in US dollars",
            f"Practice mode: nothing was charged. {remark}",
        )
    if tested:
        remark += f" Includes {tested:f} for tested rows."
    if unpriced := job.tally.unpriced:
        remark += f" Excludes {unpriced:,} rows whose model has no known price."
    yield what, charged, remark.strip()


def _limits(rows: _Rows) -> Iterator[SummaryLine]:
    if len(rows.sheets) > 1:
        words = (
            f"An Excel sheet holds {SHEET_ROWS:,} rows. The rest are in "
            + ", ".join(f"“{sheet.name}”" for sheet in rows.sheets[1:])
            + "."
        )
        yield "", None, ""
        yield "Sheets with rows", len(rows.sheets), words
    if rows.cut_count:
        words = (
            f"An Excel cell holds {EXCEL_CELL:,} characters. Longer cells end with "
            f"“{CUT.strip()}”; CSV and JSONL contain them in full."
        )
        yield "", None, ""
        yield "Shortened cells", rows.cut_count, words
        for place in rows.cut:
            yield "", None, place
        if rows.cut_count > len(rows.cut):
            yield "", None, "… and others"
