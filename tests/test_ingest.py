"""Files are read as they are: nothing is dropped silently, and what is wrong has its line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs.ingest import Line, Reader, Unreadable, open_upload

pytestmark = pytest.mark.no_database


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "upload"


def read(path: Path, content: bytes | str) -> tuple[Reader, list[Line]]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    reader = open_upload(str(path))
    return reader, list(reader)


def cells(lines: list[Line]) -> list[list[str]]:
    return [json.loads(line.source) for line in lines]


def refusal(path: Path, content: bytes | str) -> tuple[int | None, str]:
    """The line and the words of the first thing that makes a file unreadable."""
    with pytest.raises(Unreadable) as raised:
        read(path, content)
    finding = raised.value.findings[0]
    return finding.line, finding.text


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_a_table_is_read_whatever_program_wrote_it(
    path: Path, delimiter: str, bom: bytes, newline: str
) -> None:
    rows = ["name{0}text", '"Ann ""A."""{0}"one{0}two"', "007{0}Grüße 😀"]
    content = bom + newline.join(rows).format(delimiter).encode()
    reader, lines = read(path, content)
    assert (reader.kind, reader.delimiter, reader.columns) == ("table", delimiter, ["name", "text"])
    assert cells(lines) == [['Ann "A."', f"one{delimiter}two"], ["007", "Grüße 😀"]]
    assert [line.line for line in lines] == [2, 3]


def test_lines_are_numbered_as_a_spreadsheet_numbers_them(path: Path) -> None:
    reader, lines = read(path, 'a,b\n"x\ny\nz",1\n\n ,\n2,3\n')
    assert [line.line for line in lines] == [2, 5]
    assert reader.blank_lines == 2


def test_odd_line_separators_inside_a_cell_stay_in_it(path: Path) -> None:
    text = "a\u2028b\x0bc\x0cd\x85e"
    _reader, lines = read(path, f"a,b\n1,{text}\n")
    assert cells(lines) == [["1", text]]


def test_a_row_with_too_few_or_too_many_cells_is_kept_and_said(path: Path) -> None:
    _reader, lines = read(path, "a,b,c\n1,2,3\n1,2\n1,2,3,4\n1,2,3,,\n")
    assert [bool(line.problem) for line in lines] == [False, True, True, False]
    assert "2 cells, the header has 3" in lines[1].problem
    assert cells(lines)[2] == ["1", "2", "3", "4"]


def test_sizes_are_bytes_of_the_cells(path: Path) -> None:
    _reader, lines = read(path, "a,b\nxy,ü\n")
    assert (lines[0].size, lines[0].cell_sizes) == (4, [2, 2])


def test_a_column_without_a_name_gets_one(path: Path) -> None:
    reader, _lines = read(path, "a,,c\n1,2,3\n")
    assert reader.columns == ["a", "column_2", "c"]
    assert "column_2" in reader.remarks[0].text


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        (b"", None, "empty"),
        (b" \n\n", None, "empty"),
        (b"\xef\xbb\xbf\n", None, "empty"),
        (b'a,b\n1,"x\n2,3\n', 2, "never closed"),
        (b'a,b\n1,2\n"x"y,1\n', 3, "closing quotation mark"),
        (b"a,b\n1,2\n\xe9,2\n", 3, "not UTF-8"),
        (b"a,b\n1,2\n" + b"x" * 70_000 + b",\0\n", 3, "NUL"),
        (b"a,a\n1,2\n", 1, "same name: \u201ca\u201d"),
        (b"a," + b"b" * 201 + b"\n1,2\n", 1, "201 characters"),
        (b",".join(b"c%d" % i for i in range(501)) + b"\n1\n", 1, "501 columns"),
        (b"{{a}},b\n1,2\n", 1, "brace"),
        (b"a\n" + b"x" * 1_000_001 + b"\n", 2, "1,000,000"),
        (b"\x89PNG\r\n\x1a\n\0\0\0", None, "not a text file"),
        (b"PK\x03\x04 and so on", None, "Excel"),
        ("a,b\n1,2".encode("utf-16"), None, "UTF-16"),
    ],
)
def test_a_file_that_cannot_be_read_says_why_and_where(
    path: Path, content: bytes, line: int | None, words: str
) -> None:
    if content.startswith(b"{{"):
        content = b"x" + content  # a brace at the very start would be JSON
    found_line, text = refusal(path, content)
    assert found_line == line
    assert words in text


def test_objects_are_rows_of_a_table_with_the_union_of_their_keys(path: Path) -> None:
    reader, lines = read(
        path, '{"a": 1, "b": "x"}\n\n{"c": null, "a": "Grüße"}\r\n{"__proto__": true}\n'
    )
    assert (reader.kind, reader.columns) == ("table", ["a", "b", "c", "__proto__"])
    assert cells(lines) == [["1", "x", "", ""], ["Grüße", "", "", ""], ["", "", "", "true"]]
    assert reader.blank_lines == 1
    assert [line.line for line in lines] == [1, 3, 4]


def test_numbers_and_nested_values_keep_their_very_characters(path: Path) -> None:
    _reader, lines = read(path, '{"a": 1180591620717411303424, "b": {"x":[1, 2.50]}, "c": 1.0}')
    assert cells(lines) == [["1180591620717411303424", '{"x":[1, 2.50]}', "1.0"]]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ('{"a": 1,}', "not a JSON object"),
        ("{'a': 1}", "not a JSON object"),
        ('{"a": 1} {"a": 2}', "not a JSON object"),
        ('{"a": NaN}', "not a JSON object"),
        ('{"a": 1', "not a JSON object"),
        ("[1]", "not a JSON object"),
        ("null", "not a JSON object"),
        ('{"a":' * 100_000, "nested too deeply"),
        ('{"a": "' + "x" * 5_000_001 + '"}', "5,000,000 bytes"),
        ('{"a": "\\u0000"}', "NUL"),
        ('{"a": "\\ud800"}', "not a JSON object"),
    ],
)
def test_a_bad_line_of_json_is_named(path: Path, bad: str, words: str) -> None:
    line, text = refusal(path, '{"a": 0}\n' + bad + "\n")
    assert line == 2
    assert words in text


def test_all_bad_lines_are_named_not_only_the_first(path: Path) -> None:
    path.write_text('{"a": 0}\nx\n{"a": 1}\ny\n')
    reader = open_upload(str(path))
    with pytest.raises(Unreadable) as raised:
        list(reader)
    assert [finding.line for finding in raised.value.findings] == [2, 4]


def test_a_list_in_brackets_is_explained(path: Path) -> None:
    assert "one object a line" in refusal(path, '[\n{"a": 1}\n]')[1]


def request(**params: object) -> str:
    content = [{"role": "user", "content": "Hi"}]
    body = {"model": "claude-haiku-5-5", "max_tokens": 10, "messages": content, **params}
    return json.dumps({"custom_id": "my id: ü", "params": body})


def test_ready_made_requests_are_kept_to_the_letter(path: Path) -> None:
    original = request().replace('"max_tokens": 10', '"max_tokens":   10')
    reader, lines = read(path, original + "\n")
    assert reader.kind == "requests"
    (line,) = lines
    assert line.source == original
    assert (line.problem, line.model, line.max_tokens) == ("", "claude-haiku-5-5", 10)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"stream": True}, "stream"),
        ({"temperature": 0.5}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"model": None}, "model"),
    ],
)
def test_what_a_batch_would_not_take_is_found_before_it_is_paid(
    path: Path, params: dict[str, object], words: str
) -> None:
    _reader, (line,) = read(path, request(**params))
    assert words in line.problem


def test_a_custom_id_that_is_there_twice_is_found(path: Path) -> None:
    _reader, lines = read(path, f"{request()}\n{request()}\n")
    assert not lines[0].problem
    assert "line 1" in lines[1].problem
