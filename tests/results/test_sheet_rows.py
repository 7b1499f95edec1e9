"""Rows are written as XlsxWriter and csv.writer themselves would write them, to the letter."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path
from typing import Any

import xlsxwriter
from hypothesis import given
from hypothesis import strategies as st

from jobs.results import workbook
from jobs.results.sheet_rows import SheetRows
from jobs.rules.spreadsheet_cells import csv_line

TEXTS = [
    "plain",
    "=1+1",
    "https://example.org",
    "a & b < c > d",
    "_x0041_ and _xyz_ and _x00e9_",
    " blank before",
    "blank after ",
    "two\nlines\n",
    "\tat a tab",
    "Grüße 東京 😀",
    "<r><t>rich</t></r>x",
    "7",
]
NUMBERS: list[float] = [0, 1, -3, 0.1, 1 / 3, 1e-12, 123456789012345, 2.5e14, 1e-300]


def sheet_of(path: Path) -> str:
    with zipfile.ZipFile(path) as package:
        return package.read("xl/worksheets/sheet1.xml").decode()


def test_a_sheet_is_what_xlsxwriter_writes(tmp_path: Path) -> None:
    found = []
    for is_ours in (False, True):
        path = tmp_path / f"{is_ours}.xlsx"
        book = xlsxwriter.Workbook(str(path), {**workbook.OPTIONS, "tmpdir": str(tmp_path)})
        sheet, other = book.add_worksheet(), book.add_worksheet()
        styles: list[Any] = [None, book.add_format({"num_format": "@"}), book.add_format()]
        sheet.write_string(0, 0, "name")
        out = SheetRows(sheet, 30)
        for line, style in enumerate(styles, start=1):
            for column, text in enumerate(TEXTS):
                if is_ours:
                    out.add_text(line, column, text, style)
                else:
                    sheet.write_string(line, column, text, style)
            for column, number in enumerate(NUMBERS, start=len(TEXTS)):
                if is_ours:
                    out.add_number(line, column, number, style)
                else:
                    sheet.write_number(line, column, number, style)
            if is_ours:
                out.add_boolean(line, 29, True)
                out.end_row(line)
            else:
                sheet.write_boolean(line, 29, True)
        other.write_string(0, 0, "a sheet that is written in between")
        sheet.freeze_panes(1, 0)
        book.close()
        found.append(sheet_of(path))
    theirs, ours = found
    assert ours == theirs


@given(st.lists(st.text(st.sampled_from("ab,;\t\"\r\n' é")), min_size=2), st.sampled_from(",;\t"))
def test_a_line_is_what_the_csv_writer_writes(cells: list[str], delimiter: str) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter).writerow(cells)
    assert csv_line(cells, delimiter) == text.getvalue()
