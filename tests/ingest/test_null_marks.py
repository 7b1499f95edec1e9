"""What databases write for a missing value is asked about: neither text nor empty by itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jobs.ingest.file_formats import open_upload
from jobs.ingest.finding_kinds import asks
from jobs.ingest.shapes import EMPTY, KEEP, Choices, Finding, Limits
from jobs.ingest.upload_file import BLOCK

from ..workbooks import fill, ods, ods_cell, ods_row, workbook

pytestmark = pytest.mark.no_database

MARKS = [r"\N", "NULL", "null", "(null)", "[NULL]", "<null>", "<NULL>"]
FORMS = [",", ";", "\t", "|", "utf-16", "xlsx", "ods"]


def write(path: Path, form: str, lines: list[list[str]]) -> None:
    if form == "xlsx":
        with workbook(path) as book:
            fill(book.add_worksheet(), lines)
    elif form == "ods":
        escaped = [[cell.replace("<", "&lt;") for cell in line] for line in lines]
        rows = "".join(ods_row(*map(ods_cell, line)) for line in escaped)
        ods(path, f'<table:table table:name="Data">{rows}</table:table>')
    else:
        delimiter = form if len(form) == 1 else ";"
        text = "".join(delimiter.join(line) + "\n" for line in lines)
        path.write_bytes(text.encode(form if len(form) > 1 else "utf-8"))


def read(path: Path, **choices: Any) -> tuple[list[Finding], list[list[str]]]:
    reader = open_upload(str(path), Choices(**choices), Limits())
    rows = [json.loads(row.source) for row in reader]
    return [found for found in reader.remarks if found.kind.startswith("nulls")], rows


@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("word", ["plain", "süß"])
def test_a_mark_is_asked_about_and_read_as_a_person_says(
    tmp_path: Path, mark: str, form: str, word: str
) -> None:
    path = tmp_path / "upload"
    rows = [["1", word, mark], ["2", mark, mark], ["3", f"{word} {mark}", "x"], ["4", "y", "z"]]
    write(path, form, [["id", "text", "note"], *rows])
    (asked,), found = read(path)
    assert found == rows
    assert asks(asked.kind) and asked.line == 2
    assert f"3 cells have only “{mark}”, in “text” (1) and “note” (2)." in asked.text
    empty, keep = asked.options
    (said,), found = read(path, **empty.change)
    assert found == [[cell if cell != mark else "" for cell in row] for row in rows]
    assert "3 cells" in said.text and said.options[0].change == keep.change == {"nulls": KEEP}
    assert read(path, **keep.change) == ([], rows)


def test_other_texts_are_no_marks(tmp_path: Path) -> None:
    path = tmp_path / "upload"
    rows = [["Null", r"\n"], ["nullify", r"C:\New"], ["NULL and void", "N"], ['"NULL"', r"\\N"]]
    path.write_text("a\tb\n" + "".join("\t".join(row) + "\n" for row in rows))
    assert read(path, no_quotes=True) == ([], rows)


def test_a_row_of_marks_stays_a_row(tmp_path: Path) -> None:
    path = tmp_path / "upload"
    path.write_text("a,b\n1,2\nNULL,NULL\n3,NULL\n")
    found, rows = read(path, nulls=EMPTY)
    assert rows == [["1", "2"], ["", ""], ["3", ""]]
    assert "“a” (1) and “b” (2)" in found[0].text


def test_many_columns_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "upload"
    path.write_text(",".join(map("c{}".format, range(9))) + "\n" + ("NULL," * 8 + "x\n") * 3)
    (asked,), _rows = read(path)
    assert "24 cells" in asked.text and "“c4” (3) and 3 more columns" in asked.text


@pytest.mark.parametrize("mark", [r"\N", "NULL", "null"])
@pytest.mark.parametrize("before", range(-5, 2))
def test_a_mark_is_found_wherever_a_file_is_cut(tmp_path: Path, mark: str, before: int) -> None:
    path = tmp_path / "upload"
    begin = "a,b\n" + "x,y\n" * 20
    filler = "z" * ((BLOCK + before - len(begin) - len("\n1,\n2,")) // 2)
    odd = "z" * ((BLOCK + before - len(begin) - len("\n1,\n2,")) % 2)
    text = f"{begin}1,{filler}\n2,{filler}{odd}\n"
    path.write_text(f"{text}{mark},3\n")
    assert len(text) == BLOCK + before
    (asked,), _rows = read(path)
    assert mark in asked.text
