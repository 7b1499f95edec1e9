"""The sheet with the table is read, not the cover before it; when that is not sure, it is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from jobs.ingest.file_formats import open_upload
from jobs.ingest.finding_kinds import asks
from jobs.ingest.shapes import Choices, Limits, Reader, Unreadable

from ..workbooks import fill, ods, ods_cell, ods_row, workbook

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
        others = {other for other, rows in sheets.items() if rows and other != name}
        assert {option.change["sheet"] for option in said[0].options} >= others
        assert set(reader.sheets) == {name, *others}
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


def said_of(reader: Reader) -> str:
    return " ".join(
        found.text for found in reader.remarks if found.kind.endswith(("sheet", "sheets"))
    )


def test_empty_sheets_are_said_and_not_offered(tmp_path: Path) -> None:
    path = tmp_path / "upload"
    with workbook(path) as book:
        fill(book.add_worksheet("Data"), DATA)
        book.add_worksheet("Sheet2")
        styled = book.add_worksheet("Sheet3")
        styled.set_column(0, 5, 30)
        styled.write_blank(3, 3, None, book.add_format({"bold": True}))
        fill(book.add_worksheet("Zero"), [[0]])
        book.add_worksheet("Formula").write_formula(0, 0, "=1+1")
        book.add_worksheet("Hidden").hide()
    reader = open_upload(str(path), Choices(), Limits())
    assert len(list(reader)) == 20 and list(reader.sheets) == ["Data", "Zero", "Formula"]
    words = "6 sheets; “Data” was read. Not read: “Zero”, “Formula”. "
    words += "Empty: “Sheet2”, “Sheet3”, “Hidden”."
    assert words in said_of(reader)
    assert "Sheet2" not in str([found.options for found in reader.remarks])


@pytest.mark.parametrize("name", ["Data", "More", "Nothing"])
def test_empty_sheets_of_another_format(tmp_path: Path, name: str) -> None:
    path = tmp_path / "upload"
    rows = ods_row(ods_cell("a"), ods_cell("b")) + ods_row(ods_cell("x"), ods_cell("y"))
    sheets = {"Data": rows, "Nothing": ods_row(ods_cell("")), "More": rows, "None": ""}
    ods(
        path, *(f'<table:table table:name="{n}">{rows}</table:table>' for n, rows in sheets.items())
    )
    if name == "Nothing":
        with pytest.raises(Unreadable, match="nothing in “Nothing”"):
            open_upload(str(path), Choices(sheet=name), Limits())
        return
    reader = open_upload(str(path), Choices(sheet=name), Limits())
    assert list(reader) and list(reader.sheets) == ["Data", "More"]
    assert "Empty: “Nothing”, “None”." in said_of(reader)


def test_a_damaged_sheet_beside_the_one_that_is_read_is_not_called_empty(tmp_path: Path) -> None:
    path = tmp_path / "upload"
    with workbook(path) as book:
        fill(book.add_worksheet("Data"), [["a"], *([n] for n in range(90))])
        fill(book.add_worksheet("Bad"), DATA)
    with ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["xl/worksheets/sheet2.xml"] = parts["xl/worksheets/sheet2.xml"][:900]
    with ZipFile(path, "w") as archive:
        for part, content in parts.items():
            archive.writestr(part, content)
    reader = open_upload(str(path), Choices(), Limits())
    assert len(list(reader)) == 90 and "Not read: “Bad”." in said_of(reader)
