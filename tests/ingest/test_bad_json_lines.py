"""In a file of JSON lines a few bad ones are rows that are skipped, each with its line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs.ingest.file_formats import open_upload
from jobs.ingest.shapes import Choices, Limits, ParsedRow, Reader, Unreadable

pytestmark = pytest.mark.no_database

GOOD = [json.dumps({"id": n, "text": f"text {n}"}) for n in range(1, 10)]
REQUEST = '{"custom_id": "r%d", "params": {"model": "claude-haiku-5-5", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}}'  # noqa: E501 - one line of a file


def read(folder: Path, lines: list[str]) -> tuple[Reader, list[ParsedRow]]:
    path = folder / "upload"
    path.write_text("\n".join(lines) + "\n")
    reader = open_upload(str(path), Choices(), Limits())
    return reader, list(reader)


@pytest.mark.parametrize("bad", ['{"id": 4, "text": "cut of', "null", "oops", '{"id": 4,}'])
@pytest.mark.parametrize("at", [0, 3, 9])
def test_a_bad_line_is_one_bad_row(tmp_path: Path, bad: str, at: int) -> None:
    lines = [*GOOD[:at], bad, *GOOD[at:]]
    if not lines[0].startswith("{"):
        return  # a line of names
    reader, rows = read(tmp_path, lines)
    assert reader.columns == ["id", "text"]
    (wrong,) = [row for row in rows if row.problem]
    assert wrong.line == at + 1 and wrong.problem and wrong.problem.kind == "json"
    assert json.loads(wrong.source) == [bad, ""]
    assert [json.loads(row.source)[0] for row in rows if not row.problem] == list("123456789")


def test_a_bad_line_among_ready_made_requests_is_one_bad_row(tmp_path: Path) -> None:
    lines = [REQUEST % n for n in range(6)]
    reader, rows = read(tmp_path, [*lines[:3], lines[3][:50], *lines[4:]])
    assert reader.kind == "requests" and len(rows) == 6
    assert [row.line for row in rows if row.problem] == [4]
    assert json.loads(rows[3].source) == {"line": lines[3][:50]}


def test_many_bad_lines_are_no_file_of_lines(tmp_path: Path) -> None:
    with pytest.raises(Unreadable) as raised:
        read(tmp_path, [*GOOD[:3], *["oops"] * 3])
    assert [found.line for found in raised.value.findings] == [4, 5, 6]
    many = [*GOOD, *["oops"] * 5] * 300
    with pytest.raises(Unreadable) as raised:
        read(tmp_path, many)
    assert len(raised.value.findings) == 100
    few = [*GOOD * 3, "oops"] * 150
    _reader, rows = read(tmp_path, few)
    assert sum(row.problem is not None for row in rows) == 150


def test_a_list_with_something_else_in_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unreadable):
        read(tmp_path, ["[", ",\n".join([*GOOD[:8], "oops", GOOD[8]]), "]"])
