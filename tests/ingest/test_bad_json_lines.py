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


# What a file of objects can look like, by how they are joined.
JOINED = {
    "lines": ("", "\n", "\n"),
    "list": ("[", ",\n", "]\n"),
    "pretty": ("", "\n\n", "\n"),
    "inside": ('{"meta": 1, "data": [\n', ",\n", "]}\n"),
}


def joined(form: str, objects: list[str], encoding: str) -> bytes:
    begin, between, end = JOINED[form]
    if form == "pretty":
        objects = [json.dumps(json.loads(one), indent=1, ensure_ascii=False) for one in objects]
    return (begin + between.join(objects) + end).encode(encoding)


@pytest.mark.parametrize("form", JOINED)
@pytest.mark.parametrize("at", [0, 5, 8])
@pytest.mark.parametrize(
    ("encoding", "word", "bad", "name"),
    [
        ("utf-8", "Café", b"Caf\xff", "UTF-8"),
        ("utf-8", "Слово", "Слово".encode()[:-1], "UTF-8"),
        ("cp932", "日本語", b"\x81", "Japanese (Shift-JIS)"),
    ],
)
def test_a_bad_byte_is_one_bad_row(
    tmp_path: Path, form: str, at: int, encoding: str, word: str, bad: bytes, name: str
) -> None:
    objects = [f'{{"id": {n}, "text": "{word} {n}"}}' for n in range(1, 10)]
    raw = joined(form, objects, encoding)
    file = tmp_path / "upload"
    file.write_bytes(raw.replace(f"{word} {at + 1}".encode(encoding), bad + b" here"))
    chosen = "" if encoding == "utf-8" else encoding
    reader = open_upload(str(file), Choices(encoding=chosen), Limits())
    rows = list(reader)
    assert reader.columns == ["id", "text"] and len(rows) == 9
    assert [row.problem is not None for row in rows].index(True) == at
    (wrong,) = [row for row in rows if row.problem]
    assert wrong.problem and wrong.problem.kind == "bad_character"
    assert name in wrong.problem.text and "here" in wrong.problem.text
    named = raw.decode(encoding)[: raw.decode(encoding).index(f"{word} {at + 1}")]
    assert wrong.problem.line == named.count("\n") + 1
    assert "\ufffd" in wrong.source and "\\ud" not in wrong.source
    good = [json.loads(row.source) for row in rows if not row.problem]
    assert good == [[str(n), f"{word} {n}"] for n in range(1, 10) if n != at + 1]
    assert not [found for found in reader.remarks if found.kind == "guessed"]


@pytest.mark.parametrize("form", ["lines", "list"])
def test_a_bad_byte_in_a_ready_made_request_is_one_bad_row(tmp_path: Path, form: str) -> None:
    raw = joined(form, [(REQUEST % n).replace("Hi", "Café") for n in range(6)], "utf-8")
    file = tmp_path / "upload"
    file.write_bytes(raw[:-30] + raw[-30:].replace("é".encode(), b"\xe9"))
    reader = open_upload(str(file), Choices(), Limits())
    rows = list(reader)
    assert reader.kind == "requests" and len(rows) == 6
    assert [row.problem.kind for row in rows if row.problem] == ["bad_character"]
    assert rows[5].problem


def test_a_bad_byte_between_the_objects_of_a_list_is_a_fault_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "upload"
    file.write_bytes(joined("list", ['{"a": "é"}'] * 4, "utf-8").replace(b"},\n", b"}\xff,\n", 1))
    with pytest.raises(Unreadable):
        list(open_upload(str(file), Choices(), Limits()))


def test_columns_of_values_with_a_bad_byte_are_refused(tmp_path: Path) -> None:
    """No row can be named there."""
    file = tmp_path / "upload"
    file.write_bytes('{"a": ["é", "é", "x"], "b": [1, 2, 3]}'.encode().replace(b"x", b"\xff"))
    with pytest.raises(Unreadable) as raised:
        list(open_upload(str(file), Choices(), Limits()))
    assert [found.kind for found in raised.value.findings] == ["encoding"]
