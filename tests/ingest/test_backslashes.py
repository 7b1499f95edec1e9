"""Backslashes in exports of databases keep tabs and line breaks inside their cells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jobs.ingest.file_formats import open_upload
from jobs.ingest.finding_kinds import asks
from jobs.ingest.shapes import ESCAPES, KEEP, NO_HEADER, Choices, Limits, Reader

pytestmark = pytest.mark.no_database

ROWS = [
    ["id", "text", "note"],
    ["1", "one\ntwo", r"\N"],
    ["2", "tab\there; semi, comma", "a\n\nb\n"],
    ["3", "C:\\new\\table", 'a "word", and more'],
    ["4", r"\N", "süß\\"],
    ["5", "x", '"'],
]


def of_mysql(cell: str, delimiter: str) -> str:
    """SELECT ... INTO OUTFILE"""
    if cell == r"\N":
        return cell
    cell = cell.replace("\\", "\\\\").replace("\n", "\\\n")
    return cell.replace(delimiter, f"\\{delimiter}")


def of_postgres(cell: str, delimiter: str) -> str:
    """COPY ... TO"""
    if cell == r"\N":
        return cell
    cell = cell.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t")
    return cell.replace(delimiter, f"\\{delimiter}")


def read(path: Path, **choices: Any) -> tuple[Reader, list[list[str]]]:
    reader = open_upload(str(path), Choices(**choices), Limits())
    rows = list(reader)
    assert not [row.problem for row in rows if row.problem]
    return reader, [json.loads(row.source) for row in rows]


def kinds(reader: Reader) -> list[str]:
    return [found.kind for found in reader.remarks]


@pytest.mark.parametrize("write", [of_mysql, of_postgres])
@pytest.mark.parametrize("delimiter", ["\t", ";", ",", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("named", [True, False])
def test_cells_are_what_they_were_in_the_database(
    tmp_path: Path, write: Any, delimiter: str, encoding: str, named: bool
) -> None:
    path = tmp_path / "upload"
    rows = ROWS if named else ROWS[1:]
    lines = [delimiter.join(write(cell, delimiter) for cell in row) for row in rows]
    path.write_bytes("".join(f"{line}\n" for line in lines).encode(encoding))
    choices = {} if named else {"header": NO_HEADER}
    reader, cells = read(path, **choices)
    assert cells == rows[named:]
    (asked,) = [found for found in reader.remarks if found.kind == "backslashes"]
    assert asks("backslashes") and "nulls" in kinds(reader)
    escapes, keep = (option.change for option in asked.options)
    assert (escapes, keep) == ({"backslashes": ESCAPES}, {"backslashes": KEEP})
    reader, cells = read(path, **choices, **escapes)
    assert cells == rows[named:] and "backslashes" not in kinds(reader)
    reader = open_upload(str(path), Choices(backslashes=KEEP), Limits())
    assert len(list(reader)) >= len(rows) - 1 and "backslashes" not in kinds(reader)


@pytest.mark.parametrize(
    "text",
    [
        "a\tb\n1\t\\N\n2\tC:\\temp\\x\n",  # nothing is written so
        "a\tb\n1\tone\\\n2\tx\n",  # no missing value
        "a\tb\n1\t\\N\n2\t\\N\n",
        "a,b\n1,x\\N\n2,\\\\server\n",
    ],
)
def test_other_backslashes_are_text(tmp_path: Path, text: str) -> None:
    path = tmp_path / "upload"
    path.write_text(text)
    reader, cells = read(path)
    assert "backslashes" not in kinds(reader)
    delimiter = reader.understood.delimiter
    assert cells == [line.split(delimiter) for line in text.splitlines()[1:]]


def test_cells_in_quotation_marks_stay_so(tmp_path: Path) -> None:
    path = tmp_path / "upload"
    path.write_text('"id","text"\n"1","one\\\ntwo"\n"2",\\N\n')
    reader, cells = read(path)
    assert reader.columns == ["id", "text"] and "backslashes" not in kinds(reader)
    assert cells == [["1", "one\\\ntwo"], ["2", r"\N"]]


def test_a_person_may_say_so(tmp_path: Path) -> None:
    path = tmp_path / "upload"
    path.write_text("a\tb\n1\tone\\\ntwo\n2\tx\\ty\n")
    _reader, cells = read(path, backslashes=ESCAPES)
    assert cells == [["1", "one\ntwo"], ["2", "x\ty"]]
