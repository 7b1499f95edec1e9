"""Columns that are lined up with blanks are split if a person says so, and only if it is certain
where they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs.ingest.delimiters import GAPS, ONE_COLUMN
from jobs.ingest.file_formats import open_upload
from jobs.ingest.finding_kinds import asks
from jobs.ingest.shapes import Choices, Limits, ParsedRow, Reader

pytestmark = pytest.mark.no_database

BANK = """Account statement for ACME Ltd.

Date        Text                       Amount
2024-01-03  Rent January             1,200.00
2024-01-04  Coffee & cake, Bern          7.50
2024-01-09  Salary, thank you        5,000.00
2024-01-10                               1.00
"""
PODS = """NAME                 READY   STATUS    RESTARTS   AGE
api-7d9c             1/1     Running   0          3d
web-5b6f8            0/1     Error     12         5h
"""
SQL = """id          name                 city
----------- -------------------- ----------
          1 Ann Lee              Oslo
          2 Bob                  New York

(2 rows affected)
"""
FILES = "total 48\n" + "".join(
    f"-rw-r--r-- {n % 3 + 1} root staff {n * n:>6} Nov {n:>2} 10:{n:02} {'a' * n} b.csv\n"
    for n in range(1, 14)
)


def read(path: Path, text: str, delimiter: str = "") -> tuple[Reader, list[ParsedRow]]:
    file = path / "upload"
    file.write_text(text)
    reader = open_upload(str(file), Choices(delimiter=delimiter), Limits())
    return reader, list(reader)


def questions(reader: Reader) -> list[str]:
    return [found.kind for found in reader.remarks if asks(found.kind)]


@pytest.mark.parametrize(
    ("text", "columns", "row"),
    [
        (BANK, ["Date", "Text", "Amount"], ["2024-01-04", "Coffee & cake, Bern", "7.50"]),
        (BANK, ["Date", "Text", "Amount"], ["2024-01-10", "", "1.00"]),
        (
            PODS,
            ["NAME", "READY", "STATUS", "RESTARTS", "AGE"],
            ["web-5b6f8", "0/1", "Error", "12", "5h"],
        ),
        (SQL, ["id", "name", "city"], ["2", "Bob", "New York"]),
        (SQL.replace("\n", "\r\n"), ["id", "name", "city"], ["1", "Ann Lee", "Oslo"]),
    ],
)
def test_lined_up_columns_are_offered_and_split(
    tmp_path: Path, text: str, columns: list[str], row: list[str]
) -> None:
    reader, rows = read(tmp_path, text)
    assert len(reader.columns) == 1
    (asked,) = [found for found in reader.remarks if found.kind == "one_column"]
    assert [one.change for one in asked.options] == [{"delimiter": GAPS}, {"delimiter": ONE_COLUMN}]
    assert " | ".join(columns) in asked.options[0].sample
    reader, rows = read(tmp_path, text, GAPS)
    assert reader.columns == columns and row in [json.loads(one.source) for one in rows]
    assert reader.understood.delimiter == GAPS and not reader.understood.no_quotes
    assert "one_column" not in [found.kind for found in reader.remarks]


def test_many_lines_prove_gaps_of_one_blank(tmp_path: Path) -> None:
    _reader, rows = read(tmp_path, FILES, GAPS)
    cells = ["-rw-r--r--", "2", "root", "staff", "169", "Nov", "13", "10:13", "aaaaaaaaaaaaa b.csv"]
    assert json.loads(rows[-1].source) == cells


def test_a_row_that_is_not_lined_up_is_skipped_whole(tmp_path: Path) -> None:
    late = "web-with-a-name-that-is-too-long 0/1     Error     12         5h\n"
    _reader, rows = read(tmp_path, PODS * 2 + PODS.replace("NAME", "NAM1") * 400 + late, GAPS)
    assert [row.problem for row in rows[:3]] == [None] * 3
    problem = rows[-1].problem
    assert problem and problem.kind == "gaps" and "gap between" in problem.text
    assert json.loads(rows[-1].source) == [late.strip()]


@pytest.mark.parametrize(
    "text",
    [
        "review\nVery good  product\nBad\nI like it a lot\n",
        "\n".join(["1. buy milk", "2. sell cows please", "3. do it now", "4. x"] * 5),
        "\n".join(f"{n:>2}. item with words {n * 7}" for n in range(1, 25)),
        "\n".join(["Ann Smith", "Bob Jones", "Tom Brown", "Kim Stone"] * 9),
        "\n".join(["- one two", "- three four five", "- six"] * 9),
        "    indented text\n    more of it here\n    the end of it\n",
        "name\nAnn  Lee\nBob  Roe\nTom  Poe\n",
        "text\n" + "Good, but late\nBad, and early\n" * 9,
        PODS.replace("    ", "\t"),
    ],
)
def test_lists_and_prose_are_not_taken_for_columns(tmp_path: Path, text: str) -> None:
    reader, _rows = read(tmp_path, text)
    options = [one.change for found in reader.remarks for one in found.options]
    assert {"delimiter": GAPS} not in options
    _reader, rows = read(tmp_path, text, GAPS)
    assert all(len(json.loads(row.source)) == 1 for row in rows), "chosen all the same"
