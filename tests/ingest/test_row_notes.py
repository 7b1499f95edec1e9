"""Notes and totals below a table are questioned, and read as rows until a person decides."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from jobs.ingest.file_formats import open_upload
from jobs.ingest.finding_kinds import asks
from jobs.ingest.row_notes import LOOK_AHEAD
from jobs.ingest.shapes import KEEP, SKIP, Choices, Finding, Limits, Reader

from ..workbooks import fill, workbook

pytestmark = pytest.mark.no_database

ROWS = [["id", "text", "n"], ["1", "a", "2"], ["2", "b", "3"], ["3", "c", "4"], ["4", "d", "5"]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "upload"


def read(path: Path, content: str | bytes, **choices: Any) -> tuple[Reader, list[int]]:
    """The reader, and the lines of the rows."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    reader = open_upload(str(path), Choices(**choices), Limits())
    return reader, [row.line for row in reader]


def finding(reader: Reader, kind: str) -> Finding:
    (found,) = [remark for remark in reader.remarks if remark.kind == kind]
    return found


def kinds(reader: Reader) -> list[str]:
    return [remark.kind for remark in reader.remarks]


def table(*below: str, rows: list[list[str]] = ROWS) -> str:
    return "".join(f"{line}\n" for line in [*map(",".join, rows), *below])


@pytest.mark.parametrize(
    "below",
    [
        ["", "Source: internal,,"],
        ["", '"Source: internal, 2024",,', "* provisional,,"],
        ["Total,,14"],
        ["Total:,4 texts,14"],
        ["Grand Total,,14"],
        ["TOTAL,10,14", "", "Printed on Monday,,"],
        ["Summe,,14"],
        ["Итого,,14"],
        ["合計,,14"],
        ["Average,,3.5"],
        ["", ",,14"],
        ["", "Note:,see above,"],
        ["", "Confidential", "For internal use only"],
        ["(4 rows affected)"],
        [",,14"],
        [",,$14.00"],
        [",,14", "Printed on Monday,,"],
        ["* the price is in euros,,"],
        ["", "end of report,,", "", "page 1 of 1,,"],
    ],
)
def test_lines_below_the_table_are_questioned(path: Path, below: list[str]) -> None:
    content = table(*below)
    own = [6 + at for at, line in enumerate(below) if line]
    reader, lines = read(path, content)
    assert lines == [2, 3, 4, 5, *own], "kept until a person decides"
    found = finding(reader, "unlike")
    assert asks("unlike") and found.line == own[0]
    skip, keep = found.options
    reader, lines = read(path, content, **skip.change)
    assert lines == [2, 3, 4, 5]
    said = finding(reader, "left_out_lines")
    assert said.line == own[0] and not asks("left_out_lines")
    assert said.options[0].change == keep.change
    reader, lines = read(path, content, **keep.change)
    assert lines == [2, 3, 4, 5, *own]
    assert not {"unlike", "left_out_lines"} & set(kinds(reader))


@pytest.mark.parametrize(
    "content",
    [
        table(),
        table("5,,"),
        table("5,e,"),
        table(",,5"),
        table(",,"),
        table(",e,14"),
        table("", "5,e,6"),
        table("", "5,,6", "", "6,,7", rows=[*ROWS[:2], ["", "", ""], *ROWS[2:]]),
        "a,b,c\nx,,\ny,,\nz,1,\nw,,2\nq,,\n",  # hardly filled all over
        "name,text\nAnn,x\nBen\nCid\n",  # cells are missing: that has its own words
        "review\ngood\nbad\n\nfine\n",
        "name,answer\nTotally,fine\nSummer,hot\n",
        "a,b\n1,2\n",
        "a,b,c\n1,2,3\nnew,,\n" + "x,,\ny,2,3\n" * 30,
    ],
)
def test_ordinary_rows_are_not_questioned(path: Path, content: str) -> None:
    reader, _lines = read(path, content)
    assert "unlike" not in kinds(reader)
    assert read(path, content, unlike=SKIP)[1] == read(path, content, unlike=KEEP)[1]


@pytest.mark.parametrize(
    ("cells", "total"),
    [
        (["1.5", "2.25", "4"], "7.75"),
        (["1,5", "2,25", "4"], "7,75"),
        (["1.200,50", "0,50", "9"], "1.210,00"),
        (["1,200.50", "0.50", "9"], "1,210"),
        (["€ 5", "€ 6", "€ -1"], "€ 10"),
        (["5 %", "6 %", "7 %"], "18 %"),
    ],
)
def test_sums_without_a_word_are_questioned(path: Path, cells: list[str], total: str) -> None:
    rows = [["a", "b", "c"], *(["x", "y", cell] for cell in cells)]
    content = "".join(";".join(row) + "\n" for row in rows)
    assert "(line 5)" in finding(read(path, f"{content};;{total}\n")[0], "unlike").text
    assert "unlike" not in kinds(read(path, f"{content};;{total}1\n")[0])


def test_sums_without_a_word_below_many_rows(path: Path) -> None:
    rows = ROWS + [["x", "y", "1"]] * LOOK_AHEAD * 3
    assert "unlike" in kinds(read(path, table(",,104", rows=rows))[0])
    assert "unlike" not in kinds(read(path, table(",,104", ",,105", rows=rows))[0])
    gaps = [["", "y", "1"] if at % 9 else ["", "", "5"] for at in range(99)]
    assert "unlike" not in kinds(read(path, table(",,104", rows=ROWS + gaps))[0])


def test_notes_below_a_list(path: Path) -> None:
    reader, lines = read(path, "review\ngood\nbad\nfine\n\nSource: the shop\n")
    assert "The last row (line 6)" in finding(reader, "unlike").text
    assert lines == [2, 3, 4, 6]


def test_notes_below_a_sheet(path: Path) -> None:
    with workbook(path) as book:
        rows: list[list[Any]] = [["id", "text", "n"], [1, "a", 2], [2, "b", 3], []]
        fill(book.add_worksheet(), [*rows, ["Source: internal, 2024"], ["* provisional"]])
    reader = open_upload(str(path), Choices(), Limits())
    assert [row.line for row in reader] == [2, 3, 5, 6]
    assert "(lines 5 and 6)" in finding(reader, "unlike").text
    reader = open_upload(str(path), Choices(unlike=SKIP), Limits())
    assert [row.line for row in reader] == [2, 3]
    assert reader.understood.unlike == SKIP


@pytest.mark.parametrize("count", [1, LOOK_AHEAD - 1, LOOK_AHEAD, LOOK_AHEAD + 1, 5_000])
def test_every_row_is_given_out_once_and_in_order(path: Path, count: int) -> None:
    chance = random.Random(count)
    rows = [["id", "a", "b"]]
    rows += [[str(n), chance.choice(["", "x"]), chance.choice(["", "y"])] for n in range(count)]
    rows[-1][1:] = ["x", "y"]
    _reader, lines = read(path, table(rows=rows))
    assert lines == list(range(2, count + 2))
    _reader, lines = read(path, table("", "Total,,9", rows=rows), unlike=SKIP)
    assert lines == list(range(2, count + 2)) or count == 1


# --- Files that were joined or are old ------------------------------------------------------------


@pytest.mark.parametrize("again", ["id,text", "\ufeffid,text", '\ufeff"id",text', '"id","text"'])
def test_names_that_are_repeated_are_no_row(path: Path, again: str) -> None:
    content = f"\ufeffid,text\n1,a\n{again}\n2,b\n{again}\n3,c\n"
    reader, lines = read(path, content)
    assert lines == [2, 4, 6]
    found = finding(reader, "repeated_names")
    assert "Lines 3 and 5 were skipped" in found.text
    reader, lines = read(path, content, **found.options[0].change)
    assert len(lines) == 6


def test_a_single_name_that_is_repeated_may_be_a_cell(path: Path) -> None:
    content = "good\nbad\ngood\ngood\nbad\n"
    reader, lines = read(path, content)
    assert lines == [2, 3, 4, 5]
    found = finding(reader, "unlike")
    assert "Lines 3 and 4 repeat the column name “good”" in found.text
    no_names, skip, keep = found.options
    assert len(read(path, content, **no_names.change)[1]) == 5
    assert read(path, content, **skip.change)[1] == [2, 5]
    reader, lines = read(path, content, **keep.change)
    assert (lines, kinds(reader)) == ([2, 3, 4, 5], [])


def test_a_mark_at_the_beginning_of_a_row_is_removed_and_said(path: Path) -> None:
    reader, lines = read(path, '1,a\n2,b\n\ufeff3,c\n\ufeff"4",d\n', header=-1)
    assert lines == [1, 2, 3, 4]
    assert "lines 3 and 4" in finding(reader, "mark_removed").text
    reader = open_upload(str(path), Choices(header=-1), Limits())
    assert [row.source for row in reader][2:] == ['["3","c"]', '["4","d"]']


@pytest.mark.parametrize("end", ["\x1a", "\r\n\x1a", "\r\n\x1a\x1a\x1a\r\n"])
def test_the_mark_of_the_end_in_old_files_is_left_out(path: Path, end: str) -> None:
    reader, lines = read(path, f"id,text\r\n1,a\r\n2,b{end}")
    assert lines == [2, 3]
    assert "Ctrl-Z" in finding(reader, "control_z").text
    reader = open_upload(str(path), Choices(), Limits())
    assert [row.source for row in reader] == ['["1","a"]', '["2","b"]']


def test_ctrl_z_elsewhere_is_text(path: Path) -> None:
    _reader, lines = read(path, "id,text\n1,a\x1a\n2,b\n")
    assert lines == [2, 3]


@pytest.mark.parametrize(
    "word", ['סה"כ', "المجموع", "Toplam", "Összesen", "I alt", "Tổng cộng", "รวม"]
)
def test_totals_are_known_in_other_languages(tmp_path: Path, word: str) -> None:
    path = tmp_path / "upload"
    path.write_text(f"a;b\nx;5\ny;7\nz;1\n{word};13\n")
    reader = open_upload(str(path), Choices(), Limits())
    assert len(list(reader)) == 4
    (asked,) = [one for one in reader.remarks if one.kind == "unlike"]
    assert asked.line == 5
