"""Several tables below each other are asked about, and never mixed or lost without a word."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from jobs.ingest.file_formats import open_upload
from jobs.ingest.finding_kinds import asks
from jobs.ingest.shapes import ALL_ROWS, Choices, Finding, Limits, Reader, Unreadable

from ..workbooks import fill, ods, ods_cell, ods_row, workbook

pytestmark = pytest.mark.no_database

Rows = list[list[str]]

PEOPLE = [["Name", "Age"], *([f"Person {n}", str(20 + n)] for n in range(12))]
PLACES = [["City", "Country", "People"], *([f"C{n}", "Norway", str(n * 99)] for n in range(9))]
SAME_WIDTH = [["City", "People"], *([f"C{n}", str(n * 99)] for n in range(5))]
NARROW = [["Código", "Größe"], *([f"k{n}", f"{n},5"] for n in range(4))]
TEXTS = [["Ort", "Land", "Fluss"], *([f"Ort {n}", "Italien", "Po"] for n in range(6))]
SHARED = [["Name", "City"], *([f"Person {n}", "Rome"] for n in range(6))]
JAPANESE = [["商品", "色", "数量"], *([f"品{n}", "赤", str(n)] for n in range(7))]
CONTACTS = [["Firma", "Kontakt"], *([f"Firma {c}", f"{c}@example.com"] for c in "abcdef")]
LINKS = [["Site", "Address"], *([f"Site {c}", f"https://example.com/{c}"] for c in "abcdef")]
CODES = [["Producto", "Código"], *([f"Cosa {c}", f"{c}-00{n}"] for n, c in enumerate("abcdef"))]
WORDS = [["Name", "Color"], *([f"Thing {c}", "red"] for c in "abcdef")]
YEARS = [["Land", "Stadt", "2023", "2024"], *([f"L{n}", "Ulm", "5", "6"] for n in range(6))]
PAIRS = [
    (PEOPLE, PLACES),
    (PEOPLE, SAME_WIDTH),
    (PEOPLE, TEXTS),
    (PEOPLE, SHARED),
    (PEOPLE, YEARS),
    (PLACES, PEOPLE),
    (PLACES, NARROW),
    (TEXTS, SAME_WIDTH),
    (TEXTS, YEARS),
    (JAPANESE, PEOPLE),
    (PEOPLE, JAPANESE),
    (WORDS, CONTACTS),
    (CONTACTS, LINKS),
    (LINKS, CODES),
    (PEOPLE * 9, PLACES),  # the first one is longer than what is looked at for the names
    (
        [["id", "name"], ["1", "Ann"], ["2", "Ben"], ["3", "Cid"]],
        [
            ["place", "size", "year"],
            ["Rome", "9", "2001"],
            ["Oslo", "8", "2002"],
            ["Ulm", "7", "2003"],
        ],
    ),
]


def stacked(tables: tuple[Rows, ...], blanks: int = 1) -> tuple[Rows, list[int], list[int]]:
    """All lines, and the first and the last line of each table."""
    lines: Rows = []
    begins, ends = [], []
    for table in tables:
        lines += [[]] * (blanks if lines else 0)
        begins.append(len(lines) + 1)
        lines += table
        ends.append(len(lines))
    return lines, begins, ends


def write(path: Path, form: str, lines: Rows) -> None:
    """`form`: a delimiter, an encoding, "padded", "xlsx" or "ods"."""
    if form == "xlsx":
        with workbook(path) as book:
            fill(book.add_worksheet(), [[number(cell) for cell in line] for line in lines])
    elif form == "ods":
        rows = [ods_row(*map(ods_cell, line)) if line else ods_row(ods_cell("")) for line in lines]
        ods(path, f'<table:table table:name="Data">{"".join(rows)}</table:table>')
    else:
        if form == "padded":
            width = max(map(len, lines))
            lines = [[*line, *[""] * (width - len(line))] for line in lines]
        text = io.StringIO()
        delimiter = form if len(form) == 1 else ";"
        csv.writer(text, delimiter=delimiter, lineterminator="\n").writerows(lines)
        path.write_bytes(text.getvalue().encode(form if form.startswith("utf") else "utf-8"))


def number(cell: str) -> str | int:
    return int(cell) if cell.isdigit() else cell


def read(path: Path, **choices: Any) -> tuple[Reader, Rows]:
    reader = open_upload(str(path), Choices(**choices), Limits())
    return reader, [json.loads(row.source) for row in reader]


def question(reader: Reader) -> Finding | None:
    return next((found for found in reader.remarks if found.kind == "tables"), None)


def without_end(rows: Rows) -> Rows:
    """Without empty cells at the end, which a workbook and a padded file have."""
    return [row[: max((at + 1 for at, cell in enumerate(row) if cell), default=0)] for row in rows]


@pytest.mark.parametrize("tables", PAIRS)
@pytest.mark.parametrize("form", [",", ";", "\t", "padded", "utf-16", "xlsx", "ods"])
@pytest.mark.parametrize("blanks", [1, 3])
def test_two_tables_are_asked_about_and_each_can_be_read(
    tmp_path: Path, tables: tuple[Rows, Rows], form: str, blanks: int
) -> None:
    path = tmp_path / "upload"
    lines, begins, ends = stacked(tables, blanks)
    write(path, form, lines)
    reader, rows = read(path)
    asked = question(reader)
    assert asked and asks("tables") and "two tables" in asked.text
    for begin, end in zip(begins, ends, strict=True):
        assert f"{begin}–{end}" in asked.text
    for option, table, begin in zip(asked.options[:2], tables, begins, strict=True):
        reader, rows = read(path, **option.change)
        assert question(reader) is None, option.label
        assert reader.columns[: len(table[0])] == table[0], option.label
        assert without_end(rows) == [row for row in table[1:] if row != table[0]], option.label
        assert reader.understood.header == begin
    last = asked.options[2]
    assert (last.label, last.change["last_row"]) == ("All as one", ALL_ROWS)
    reader, rows = read(path, **last.change)
    assert question(reader) is None and reader.columns[:2] == tables[0][0][:2]
    repeated = sum(row == tables[0][0] for row in tables[0][1:])
    assert len(rows) == len(tables[0]) - 1 - repeated + len(tables[1])


def test_three_tables(tmp_path: Path) -> None:
    path = tmp_path / "upload"
    tables = (PEOPLE, SAME_WIDTH, NARROW)
    lines, begins, ends = stacked(tables)
    write(path, ";", lines)
    asked = question(read(path)[0])
    assert asked and "3 tables: lines 1–13, 15–20 and 22–26" in asked.text
    second = asked.options[1]
    assert second.change == {"header": begins[1], "last_row": ends[1]}
    reader, rows = read(path, **second.change)
    assert rows == SAME_WIDTH[1:] and question(reader) is None
    assert "after_rows" in [found.kind for found in reader.remarks]
    reader, _rows = read(path, header=begins[1])
    again = question(reader)
    assert again and "two tables: lines 15–20 and 22–26" in again.text


@pytest.mark.parametrize("form", [",", "padded", "xlsx", "ods"])
def test_tables_with_titles(tmp_path: Path, form: str) -> None:
    path = tmp_path / "upload"
    title = ["People of May", "", ""] if form == "," else ["People of May"]
    lines, _begins, _ends = stacked(([title, *PEOPLE], [["Places"], *TEXTS]))
    write(path, form, lines)
    asked = question(read(path)[0])
    assert asked
    found = [read(path, **option.change) for option in asked.options[:2]]
    assert [without_end(rows) for _reader, rows in found] == [PEOPLE[1:], TEXTS[1:]]


def test_a_title_in_one_piece_does_not_make_tables_one_column_without_a_word(
    tmp_path: Path,
) -> None:
    path = tmp_path / "upload"
    lines, _begins, _ends = stacked(([["People"], *PEOPLE], [["Places"], *TEXTS]))
    write(path, ",", lines)
    (asked,) = [found for found in read(path)[0].remarks if found.kind == "one_column"]
    assert {"delimiter": ","} in [option.change for option in asked.options]
    assert question(read(path, delimiter=",")[0])


TABLE = "name,city,units\n" + "".join(f"Ann {n},Oslo,{n}\n" for n in range(9))


@pytest.mark.parametrize(
    "text",
    [
        TABLE + "\n" + TABLE,
        TABLE + "\nBen,Rome,5\nCid,Bari,6\nDi,Ulm,7\n",
        TABLE + "\nBen,Rome,n/a\nCid,Bari,6\nDi,Ulm,7\n".replace("n/a", ""),
        "name,mail\nAnn,a@x.org\nBen,b@x.org\n\nCid,c@x.org\nDi,d@x.org\nEd,e@x.org\nFay,f@x.org\n",
        "name,city\nAnn,Ulm\nBen,Rom\n\nCid,Bari\nDi,Oslo\nEd,Lyon\nFay,Brest\n",
        TABLE + "\nSource: the office\nPrinted in May\n",
        TABLE + "\nTotal,,36\n",
        TABLE + "\nNorth\nBen,Rome,5\nCid,Bari,6\n",
        "Report,Sales\nRegion,North\nPeriod,May\n\n" + TABLE,
        "Report:,Sales\nRows:,9\nPages:,2\nLines:,3\nSheets:,1\nBooks:,1\n\n" + TABLE,
        "Sales of May\n\n" + TABLE,
        "question,answer\n" + "Why?,Because\n\nHow?,So\nWhen?,Now\nWho?,Me\n\n" * 5,
        "text\nThe first\nof them\n\nThe second, which is longer\nand ends\n\nThird\n",
        "item,kind\nFruit,\nApple,red\nPear,green\n\nVegetables,\nLeek,white\nKale,green\nCress,red\n",
    ],
)
def test_one_table_is_not_asked_about(tmp_path: Path, text: str) -> None:
    path = tmp_path / "upload"
    path.write_text(text)
    assert question(read(path)[0]) is None


def test_rows_end_where_a_person_says(tmp_path: Path) -> None:
    path = tmp_path / "upload"
    path.write_text(TABLE)
    reader, rows = read(path, last_row=4)
    assert len(rows) == 3 and reader.understood.last_row == 4
    (said,) = [found for found in reader.remarks if found.kind == "after_rows"]
    reader, rows = read(path, **said.options[0].change)
    assert len(rows) == 9 and not reader.remarks
    assert not read(path, last_row=10)[0].remarks
    with pytest.raises(Unreadable, match="cannot end in line 3"):
        read(path, header=3, last_row=3)


@pytest.mark.parametrize("line", [50, 150, 1_500])
def test_names_far_below_can_be_chosen(tmp_path: Path, line: int) -> None:
    """Cells are cut at the delimiter of the table above when the line is not looked at."""
    path = tmp_path / "upload"
    path.write_text("a;b\n" + "1;2\n" * (line - 2) + "name;city;n\nAnn;Ulm;1\n")
    reader, rows = read(path, header=line)
    assert reader.columns == ["name", "city", "n"] and rows == [["Ann", "Ulm", "1"]]
