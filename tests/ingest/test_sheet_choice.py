"""The sheet with the table is read, not the cover before it; when that is not sure, it is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jobs.ingest.file_formats import open_upload
from jobs.ingest.finding_kinds import asks
from jobs.ingest.shapes import Choices, Limits, Reader

from ..workbooks import fill, workbook

pytestmark = pytest.mark.no_database

Sheets = dict[str, list[list[Any]]]
DATA: list[list[Any]] = [["id", "text", "n"], *([n, "t", 3] for n in range(20))]
LIST: list[list[Any]] = [["review"], *([f"text {n}"] for n in range(9))]
COVER: list[list[Any]] = [["Report"], ["Made by X"], [], ["Contents"]]


def read(path: Path, sheets: Sheets, **choices: Any) -> tuple[Reader, list[int]]:
    with workbook(path) as book:
        for name, rows in sheets.items():
            fill(book.add_worksheet(name), rows)
    reader = open_upload(str(path), Choices(**choices), Limits())
    return reader, [row.line for row in reader]


@pytest.mark.parametrize(
    ("sheets", "name", "asked"),
    [
        ({"Cover": COVER, "Data": DATA}, "Data", False),
        ({"Sheet1": COVER, "Data": DATA}, "Data", True),
        ({"Read me": COVER[:2], "Data": DATA}, "Data", False),
        ({"Info": [["Author", "Ann"], ["Date", "today"]], "Data": DATA}, "Data", False),
        ({"A": [["Author:", "Ann"], ["Date:", "today"]], "Data": DATA}, "Data", True),
        ({"Deckblatt": COVER, "Inhalt": COVER, "Daten": DATA}, "Daten", False),
        ({"Reviews": LIST, "Codes": DATA}, "Reviews", True),
        ({"Reviews": DATA, "Codes": DATA[:5]}, "Reviews", False),
        ({"Reviews": DATA, "Notes": COVER}, "Reviews", False),
        ({"2023": DATA[:9], "2024": DATA}, "2023", False),
        ({"Summary": DATA[:3], "Data": DATA}, "Summary", True),
        ({"Cover": COVER, "Notes": COVER}, "Cover", False),
        ({"Cover": COVER}, "Cover", False),
        ({"Empty": [], "Data": DATA}, "Data", False),
    ],
)
def test_the_sheet_with_the_table(tmp_path: Path, sheets: Sheets, name: str, asked: bool) -> None:
    reader, lines = read(tmp_path / "upload", sheets)
    assert reader.understood.sheet == name
    said = [remark for remark in reader.remarks if remark.kind in ("sheets", "which_sheet")]
    assert bool(said) == (len(sheets) > 1)
    if said:
        assert asks(said[0].kind) == asked
        assert {option.change["sheet"] for option in said[0].options} >= set(sheets) - {name}
    if asked:
        reader, chosen = read(tmp_path / "upload", sheets, sheet=name)
        assert chosen == lines
        assert not any(asks(remark.kind) for remark in reader.remarks)


def test_all_rows_of_a_sheet_are_read_after_others_were_looked_at(tmp_path: Path) -> None:
    many: list[list[Any]] = [["id", "text"], *([n, "x"] for n in range(500))]
    reader, lines = read(tmp_path / "upload", {"Cover": COVER, "Data": many, "More": DATA})
    assert (reader.understood.sheet, lines) == ("Data", list(range(2, 502)))
    assert reader.blank_lines == 0
    reader, lines = read(tmp_path / "upload", {"Data": DATA, "Other": many})
    assert (reader.understood.sheet, len(lines)) == ("Data", 20)
