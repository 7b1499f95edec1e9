"""Files as R, databases, chat programs and authorities write them."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from jobs.ingest.file_formats import open_upload
from jobs.ingest.finding_kinds import asks
from jobs.ingest.shapes import NO_HEADER, Choices, Finding, Limits, Reader, Unreadable

from ..workbooks import fill, workbook

pytestmark = pytest.mark.no_database


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "upload"


def read(path: Path, text: str = "", **choices: Any) -> tuple[Reader, list[list[str]]]:
    if text:
        path.write_text(text)
    reader = open_upload(str(path), Choices(**choices), Limits())
    rows = list(reader)
    assert [row.problem for row in rows] == [None] * len(rows)
    return reader, [json.loads(row.source) for row in rows]


def finding(reader: Reader, kind: str) -> Finding:
    (found,) = [one for one in reader.remarks if one.kind == kind]
    return found


# --- R and databases ------------------------------------------------------------------------------


@pytest.mark.parametrize("between", [",", "\t", ";", " "])
@pytest.mark.parametrize("has_row_names", [True, False])
def test_a_table_that_r_has_written(path: Path, between: str, has_row_names: bool) -> None:
    lines = [['"name"', '"score"'], ['"1"', '"Ann, Jr"', "1.5"], ['"2"', '"Bob; Lee"', "NA"]]
    if not has_row_names:
        lines = [[lines[0][0], lines[0][1]], *(line[1:] for line in lines[1:])]
    reader, rows = read(path, "".join(between.join(line) + "\n" for line in lines))
    assert reader.understood.delimiter == between
    assert [row[-2:] for row in rows] == [["Ann, Jr", "1.5"], ["Bob; Lee", "NA"]]
    assert reader.columns == ["column_1", "name", "score"][not has_row_names :]


@pytest.mark.parametrize(
    "text",
    [
        '"name","score"\n"a","1",\n"b","2",\n',  # a comma at the end is no cell
        '"text"\n"She said ""hi"""\n"b c"\n',
        'He said "hello" to "us"\nand "left" then\n',
    ],
)
def test_other_quoted_texts_have_no_row_names(path: Path, text: str) -> None:
    reader, _rows = read(path, text)
    assert "column_1" not in reader.columns and reader.understood.delimiter != " "


def test_control_characters_of_databases_cut_cells(path: Path) -> None:
    for control in "\x1f\x01":
        reader, rows = read(path, f"id{control}text\n1{control}a, b\n2{control}c\n")
        assert reader.columns == ["id", "text"] and rows[0] == ["1", "a, b"]


# --- Chat programs --------------------------------------------------------------------------------


def test_a_table_of_markdown_has_bars_within_cells(path: Path) -> None:
    text = "Here it is:\n\n| Product | Review |\n|:---|---:|\n| A | Good \\| nice |\n| B | Bad |\n"
    reader, rows = read(path, text)
    assert reader.columns == ["Product", "Review"]
    assert rows == [["A", "Good | nice"], ["B", "Bad"]]


def test_a_sentence_above_a_list_may_be_a_row(path: Path) -> None:
    reader, rows = read(path, "I really love it.\nWell, it broke.\nFine\n")
    assert len(rows) == 2
    asked = finding(reader, "odd_names")
    assert asks("odd_names") and asked.options[0].change == {"header": NO_HEADER}
    for name in ("How satisfied are you?", "Review", "Q1.", "e.g. this ..."):
        reader, _rows = read(path, f"{name}\nIt was good.\nBad\n")
        assert "odd_names" not in [one.kind for one in reader.remarks]


# --- JSON -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("comment", ["// made by x\n", "/* a\n b */\n", " // a\n/* b */ // c\n"])
def test_comments_do_not_make_a_table_of_json(path: Path, comment: str) -> None:
    with pytest.raises(Unreadable) as raised:
        read(path, f'{comment}{{"data": [{{"a": 1}}]}}')
    assert "comments" in raised.value.findings[0].text
    reader, _rows = read(path, "// a note\nname\nAnn\n")
    assert reader.format == "CSV"


def test_lists_below_each_other_are_offered_as_rows(path: Path) -> None:
    text = '["id","text"]\n[1,"a, b"]\n\n[2,"c"]\n'
    with pytest.raises(Unreadable) as raised:
        read(path, text)
    (option,) = raised.value.findings[0].options
    reader, rows = read(path, text, **option.change)
    assert reader.columns == ["id", "text"] and rows == [["1", "a, b"], ["2", "c"]]


# --- Workbooks ------------------------------------------------------------------------------------


def test_months_and_weekdays_are_no_units(path: Path) -> None:
    with workbook(path) as book:
        sheet = book.add_worksheet()
        fill(sheet, [["month", "day"]])
        for at, form in enumerate(("mmmm yyyy", "dddd")):
            format = book.add_format({"num_format": form})
            for row in (1, 2, 3):
                sheet.write_datetime(row, at, datetime(2024, 4 + row, row), format)
    reader, rows = read(path)
    assert rows[0] == ["2024-05-01", "2024-05-01"]
    said = [one for one in reader.remarks if "format" in one.kind]
    assert [one.kind for one in said] == ["number_format"] * 2
    assert "shown as May 2024" in said[0].text


def test_names_below_a_pair_and_above_numbers_of_columns(path: Path) -> None:
    rows: list[list[Any]] = [
        ["Company X"],
        [],
        ["Period", "2024"],
        [],
        ["No", "Comment", "Score"],
        ["(1)", "(2)", "(3)"],
        [1, "good", 5],
        [2, "bad", 1],
        [3, "fine", 4],
    ]
    with workbook(path) as book:
        fill(book.add_worksheet(), rows)
    reader, _rows = read(path)
    assert reader.columns == ["No", "Comment", "Score"]
    asked = finding(reader, "unlike_below")
    assert asked.options[0].change == {"first_row": 7}
    reader, found = read(path, "", first_row=7)
    assert found[0] == ["1", "good", "5"]


def test_a_pivot_table_is_not_sure_to_be_what_is_meant(path: Path) -> None:
    with workbook(path) as book:
        fill(book.add_worksheet("Overview"), [["Row Labels", "Sum of x"], ["North", 5]])
        fill(book.add_worksheet("Answers"), [["id", "text"], [1, "a"], [2, "b"]])
    reader, _rows = read(path)
    asked = finding(reader, "which_sheet")
    assert asks("which_sheet") and {"sheet": "Answers"} in [one.change for one in asked.options]
