"""How long the reader of files takes by itself, without storing anything: `make bench` measures CSV
files of 1,000,000 rows against a bare csv.reader over the same file, and workbooks of 100,000 rows
against each other. With `ARGS=--quick` it is a tenth of the rows. Seconds of the processor."""

from __future__ import annotations

import csv
import random
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell

from jobs.ingest.protocol import ReaderInput, frame
from jobs.ingest.reader_process import answers
from jobs.ingest.shapes import Choices, Limits

from .bench import make_csv

TIMES = 2
# A date, a share, a number and a price, as a spreadsheet may show them.
FORMATS = {
    "without formats": ("yyyy-mm-dd", "General", "General", "General"),
    "dates, %, zeros, currency": ("dd.mm.yyyy", "0.00%", "00000", '#,##0.00 "€"'),
    "words, decimals": ("mmm yyyy", "0.0%", '"INV-"00000', "#,##0.00"),
}


def read(path: Path) -> None:
    for answer in answers(ReaderInput(str(path), Choices(), Limits())):
        frame(answer)


def read_bare(path: Path) -> None:
    with path.open(newline="", encoding="utf-8") as file:
        for _row in csv.reader(file):
            pass


def seconds_of(action: Callable[[Path], None], path: Path) -> float:
    times = []
    for _time in range(TIMES):
        began = time.process_time()
        action(path)
        times.append(time.process_time() - began)
    return min(times)


def make_tiny_csv(path: Path, rows: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write("a,b\n")
        file.writelines(f"{number % 97},x\n" for number in range(rows))


def make_workbook(path: Path, rows: int, formats: tuple[str, ...]) -> None:
    chance = random.Random(20)
    book = Workbook(write_only=True)
    sheet = book.create_sheet()
    sheet.append(["id", "text", "date", "share", "zip", "price", "city"])
    for number in range(rows):
        values = (
            datetime(2020, 1, 1) + timedelta(days=chance.randrange(2_000)),
            chance.random(),
            chance.randrange(100, 99_999),
            round(chance.random() * 1_000, 2),
        )
        cells = []
        for value, format in zip(values, formats, strict=True):
            cell = WriteOnlyCell(sheet, value)
            cell.number_format = format
            cells.append(cell)
        sheet.append([number, f"Review number {number}", *cells, "Berlin"])
    book.save(path)


def main() -> None:
    rows = 100_000 if "--quick" in sys.argv else 1_000_000
    with tempfile.TemporaryDirectory(prefix="batchsite-bench-") as scratch:
        path = Path(scratch) / "table"
        print(f"\nReading a CSV of {rows:,} rows, without storing it")
        for name, make in (("reviews of 460 bytes", make_csv), ("rows of 5 bytes", make_tiny_csv)):
            make(path, rows)
            found, bare = seconds_of(read, path), seconds_of(read_bare, path)
            print(f"  {name:<28}{found:>9.2f} s {found / bare:>6.2f} times a bare csv pass")
        print(f"\nReading a workbook of {rows // 10:,} rows, without storing it")
        plain = 0.0
        for name, formats in FORMATS.items():
            make_workbook(path, rows // 10, formats)
            found = seconds_of(read, path)
            plain = plain or found
            print(f"  {name:<28}{found:>9.2f} s {found / plain:>6.2f} times the first")


if __name__ == "__main__":
    main()
