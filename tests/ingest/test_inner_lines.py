"""Subtotals and headings between the rows are rows until a person decides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jobs.ingest.file_formats import open_upload
from jobs.ingest.finding_kinds import asks
from jobs.ingest.shapes import ALL, KEEP, SKIP, Choices, Limits, Reader

pytestmark = pytest.mark.no_database

SUBTOTALS = """region,city,units
North,Oslo,5
North,Bergen,7
North Total,,12
South,Rome,3
South,Bari,4
South Total,,7
West,Lyon,1
West,Brest,2
West,Nantes,2
"""
HEADINGS = """item,price,stock
Fruit,,
Apple,1.20,5
Pear,1.30,8
Plum,1.10,2
Vegetables,,
Leek,0.90,4
Kale,1.90,3
Cress,0.50,9
"""


def read(folder: Path, content: str, **choices: Any) -> tuple[Reader, list[int]]:
    """The reader, and the lines of the rows."""
    path = folder / "upload"
    path.write_text(content)
    reader = open_upload(str(path), Choices(**choices), Limits())
    return reader, [row.line for row in reader]


def asked_about(reader: Reader) -> str:
    return " ".join(found.text for found in reader.remarks if found.kind == "subtotals")


@pytest.mark.parametrize(
    ("content", "lines", "choice"),
    [
        (SUBTOTALS, [4, 7], SKIP),
        (SUBTOTALS.replace("North Total", "Subtotal:").replace("South Total", "Sum"), [4, 7], SKIP),
        (SUBTOTALS.replace("North Total,", "Total,all"), [4, 7], SKIP),
        (SUBTOTALS.replace("North Total,,", ",Zwischensumme,"), [4, 7], SKIP),
        (HEADINGS, [2, 6], ALL),
    ],
)
def test_lines_between_the_rows_are_asked_about(
    tmp_path: Path, content: str, lines: list[int], choice: str
) -> None:
    reader, rows = read(tmp_path, content)
    (asked,) = [found for found in reader.remarks if found.kind == "subtotals"]
    assert asks("subtotals") and f"Lines {lines[0]} and {lines[1]}" in asked.text
    assert set(lines) <= {*rows}, "they are rows until a person decides"
    skip, keep = asked.options
    assert skip.change == {"subtotals": choice}
    reader, rows = read(tmp_path, content, **skip.change)
    assert not {*lines} & {*rows} and len(rows) == content.count("\n") - 3
    (said,) = [found for found in reader.remarks if found.kind == "left_out_lines"]
    assert said.options[0].change == keep.change == {"subtotals": KEEP}
    reader, rows = read(tmp_path, content, **keep.change)
    assert not asked_about(reader) and len(rows) == content.count("\n") - 1


def test_many_rows_keep_their_order_and_all_subtotals_are_found(tmp_path: Path) -> None:
    block = "".join(f"North,{n},1\n" for n in range(99)) + "North Total,,99\n"
    content = "region,city,units\n" + block * 5 + "North,x,1\n" * 3
    reader, rows = read(tmp_path, content)
    assert "Lines 101, 201, 301, 401 and 501" in asked_about(reader)
    reader, left = read(tmp_path, content, subtotals=SKIP)
    assert left == [line for line in rows if line not in (101, 201, 301, 401, 501)]


def test_a_total_at_the_end_is_a_question_of_its_own(tmp_path: Path) -> None:
    content = f"{SUBTOTALS}Grand total,,24\n"
    reader, _rows = read(tmp_path, content)
    assert "line 11" in next(found.text for found in reader.remarks if found.kind == "unlike")
    assert "11" not in asked_about(reader)
    _reader, rows = read(tmp_path, content, subtotals=SKIP)
    assert 11 in rows
    _reader, rows = read(tmp_path, content, subtotals=SKIP, unlike=SKIP)
    assert rows == [2, 3, 5, 6, 8, 9, 10]


def test_totals_of_an_advertising_report_are_asked_about(tmp_path: Path) -> None:
    rows = "Enabled,Brand,10.00\nPaused,Generic,20.00\nEnabled,Other,5\n"
    totals = "Total: Account, --,35.00\nTotal: Search, --,35.00\n"
    reader, _rows = read(tmp_path, f"Campaign state,Campaign,Cost\n{rows}{totals}")
    (asked,) = [found for found in reader.remarks if found.kind == "unlike"]
    assert "lines 5 and 6" in asked.text
    reader, _rows = read(tmp_path, f"Campaign state,Campaign,Cost\n{rows}{totals}{rows}")
    assert "Lines 5 and 6" in asked_about(reader)


@pytest.mark.parametrize(
    "content",
    [
        "game,text\nTotal War,good\nTotal Recall,bad\nSum of all fears,fine\nDune,fine\n",
        "title,genre,stars\nTotal War,,5\nTotal Recall,film,4\nDune,film,3\nAlien,film,1\n",
        "name,a,b,c\nAnn,1,,\nBen,,,\nCid,1,2,\nDan,,,\nEve,,2,\nFay,1,,3\n",
        "id,text,n\n1,,\n2,a,1\n3,,\n4,b,2\n5,c,3\n6,d,4\n",
        "question,answer\nTotal,What is it?\nSum,What is it?\nName,x\nAge,y\nZip,z\nEnd,w\n",
        "word\ntotal\nsum\nmean\nother\n",
        "mail,name\nann@example.com,\nben@example.com,Ben\ncid@example.com,\nd@e.com,D\n",
    ],
)
def test_ordinary_rows_are_not_asked_about(tmp_path: Path, content: str) -> None:
    reader, rows = read(tmp_path, content)
    if "Total War,,5" not in content:
        assert not asked_about(reader)
    assert len(rows) == content.count("\n") - 1


SHORT = HEADINGS.replace("Fruit,,", "Fruit").replace("Vegetables,,", "Vegetables")


@pytest.mark.parametrize("content", [SHORT, SHORT + "Bread\nRye,2,3\nSum of bread,9\n"])
def test_headings_in_lines_that_are_too_short_are_asked_about(tmp_path: Path, content: str) -> None:
    reader, lines = read(tmp_path, content)
    assert lines == [*range(2, len(content.splitlines()) + 1)]
    asked = next(one for one in reader.remarks if one.kind == "subtotals")
    assert "“Fruit”, “Vegetables”" in asked.text
    assert [one.change for one in asked.options] == [{"subtotals": ALL}, {"subtotals": KEEP}]
    assert "mostly_skipped" not in [one.kind for one in reader.remarks]
    path = tmp_path / "upload"
    kept = list(open_upload(str(path), Choices(subtotals=KEEP), Limits()))
    assert kept[0].source == '["Fruit","",""]' and not kept[0].problem
    _reader, lines = read(tmp_path, content, subtotals=ALL)
    assert not {2, 6} & {*lines}


def test_a_short_total_is_never_filled(tmp_path: Path) -> None:
    """Nobody knows in which column its sum is."""
    path = tmp_path / "upload"
    path.write_text("city,jan,feb\nOslo,1,2\nBari,1,2\nNorth Total,6\n")
    row = list(open_upload(str(path), Choices(subtotals=KEEP), Limits()))[2]
    assert row.problem and row.problem.kind == "few_cells"
