"""JSON as people have it: objects over several lines, a list in an object, columns of lists. What
was read is said, with the other ways to read it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs.ingest import json_scanner
from jobs.ingest.corrections import read_corrections
from jobs.ingest.file_formats import open_upload
from jobs.ingest.finding_kinds import asks
from jobs.ingest.shapes import Choices, Finding, Limits, ParsedRow, Reader, Unreadable

pytestmark = pytest.mark.no_database

CASES = Path(__file__).parent.parent / "data" / "json_cases"
TWO = [{"id": 1, "text": "a"}, {"id": 2, "text": "b"}]
CELLS = [["1", "a"], ["2", "b"]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "upload"


def read(path: Path, content: object, list_key: str = "") -> tuple[Reader, list[ParsedRow]]:
    """`content`: text, or what is written as JSON."""
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_text(text, encoding="utf-8")
    reader = open_upload(str(path), Choices(list_key=list_key), Limits())
    return reader, list(reader)


def cells(lines: list[ParsedRow]) -> list[list[str]]:
    return [json.loads(line.source) for line in lines]


def said(reader: Reader) -> Finding:
    """The one remark on where the rows are."""
    (finding,) = [one for one in reader.remarks if one.kind != "missing_key"]
    return finding


def options(finding: Finding) -> list[object]:
    return [one.change.get("list_key", one.change.get("convert")) for one in finding.options]


# --- Objects one after the other ------------------------------------------------------------------


def test_pretty_objects_one_after_the_other_are_rows() -> None:
    reader = open_upload(str(CASES / "pretty_objs.json"), Choices(), Limits())
    lines = list(reader)
    assert cells(lines) == [["0", "x"], ["1", "x"], ["2", "x"]]
    assert [line.line for line in lines] == [1, 5, 9]
    assert not reader.remarks


@pytest.mark.parametrize(
    "content",
    [
        '{"id":1,"text":"a"}{"id":2,"text":"b"}',
        '{"id":1,"text":"a"} {"id":2,"text":"b"}\n',
        '{"id":1,"text":"a"}\n{"id":2,\n"text":"b"}'.replace("1,", "1,\n"),
        '{\n"id":1,"text":"a"}\n\n\n{"id":2,"text":"b"}\n\n',
        '{\r\n "id": 1,\r\n "text": "a"\r\n}\r\n{\r\n "id": 2,\r\n "text": "b"\r\n}\r\n',
        '\ufeff{\n"id":1,\n"text":"a"\n}\n{\n"id":2,\n"text":"b"\n}',
        "\n".join(json.dumps(one, indent=4) for one in TWO),
        "\n".join(json.dumps(one, indent="\t") for one in TWO),
    ],
    ids=range(8),
)
@pytest.mark.parametrize("block", [3, 1 << 20])
def test_objects_are_rows_however_the_lines_are_broken(
    path: Path, content: str, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_scanner, "BLOCK", block)
    reader, lines = read(path, content)
    assert (cells(lines), reader.columns) == (CELLS, ["id", "text"])
    assert not reader.remarks


@pytest.mark.parametrize("end", ["", ",", "\n", ",\n"])
def test_a_list_without_its_brackets_is_read_and_said(path: Path, end: str) -> None:
    reader, lines = read(path, ",\n".join(map(json.dumps, TWO)) + end)
    assert cells(lines) == CELLS
    assert said(reader).kind == "bare_commas"


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        ('{\n "a": 1,\n "b": tru\n}\n{\n "a": 2\n}', 3, "Column 7"),
        ('{\n "a": 1\n}\n{\n "a": 2,\n}\n', 6, "comma has nothing"),
        ('{\n "a": 1\n}\n{\n "a": 2\n', 6, "before the object is complete"),
        ('{\n "a": 1\n}\n[]', 4, "An object was expected"),
        ('{\n "a": 1\n "b": 2\n}', 3, "missing"),
        # Lines of which the first is cut off stay lines.
        ('{"a": 1\n{"a": 2}\n{"a": 3}', 1, "before the object is complete"),
    ],
)
def test_a_fault_is_named_once_with_its_line(
    path: Path, content: str, line: int, words: str
) -> None:
    with pytest.raises(Unreadable) as raised:
        read(path, content)
    (finding,) = raised.value.findings
    assert (finding.line, finding.kind) == (line, "json")
    assert words in finding.text


def test_a_row_of_pretty_objects_is_corrected_by_its_number(path: Path, tmp_path: Path) -> None:
    path.write_text('{\n "a": "x"\n}\n{\n "a": "too long"\n}')
    corrected = tmp_path / "corrected"
    # A single row with a list in it is no wrapped list.
    corrected.write_text(json.dumps({"row": 2, "a": "y", "notes": [{"b": 1}, {"b": 2}]}))
    limits = Limits(cell=5)
    reader = open_upload(str(path), Choices(), limits)
    reader.corrections = read_corrections([str(corrected)], limits, reader.understood)
    assert cells(list(reader)) == [["x"], ["y"]]


# --- A list in an object --------------------------------------------------------------------------


def test_the_list_in_an_object_is_read_and_said() -> None:
    reader = open_upload(str(CASES / "data_wrapped_pretty.json"), Choices(), Limits())
    lines = list(reader)
    assert (cells(lines), reader.format) == (CELLS, "JSON")
    assert [line.line for line in lines] == [4, 8]
    assert said(reader).text == (
        "One object. Its list is in “data” (2 objects). Not read: “success”."
    )
    assert not asks(said(reader).kind)
    assert options(said(reader)) == ["."]


@pytest.mark.parametrize(
    ("content", "key"),
    [
        ({"data": TWO}, "data"),
        ({"success": True, "data": TWO, "next": None}, "data"),
        ({"meta": {"count": 2}, "rows": TWO}, "rows"),
        ({"response": {"status": 200, "data": {"items": TWO}}}, "response.data.items"),
        ({"hits": {"total": 2, "hits": TWO}}, "hits.hits"),
        ({"a.b": TWO}, "a.b"),
        ({"empty": [], "value": TWO}, "value"),
        ({'ü ["': TWO}, 'ü ["'),
        ({"@odata.context": "https://example.com/$metadata", "value": TWO}, "value"),
    ],
    ids=str,
)
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("block", [1, 1 << 20])
def test_a_wrapped_list_is_found_pretty_or_on_one_line(
    path: Path,
    content: object,
    key: str,
    indent: int | None,
    block: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(json_scanner, "BLOCK", block)
    text = json.dumps(content, indent=indent, ensure_ascii=False)
    reader, lines = read(path, text)
    assert cells(lines) == CELLS
    assert f"“{key}” (2 objects)" in said(reader).text
    # Chosen, it is the same, and not asked again.
    reader, lines = read(path, text, list_key=key)
    assert cells(lines) == CELLS
    assert not asks(said(reader).kind)
    # The way back.
    reader, lines = read(path, text, list_key=".")
    assert [line.line for line in lines] == [1]
    assert not asks(said(reader).kind)
    assert key in options(said(reader))


def test_several_lists_are_a_question(path: Path) -> None:
    content = {"users": TWO, "orders": [{"n": number} for number in range(3)]}
    reader, lines = read(path, content)
    assert cells(lines) == [["0"], ["1"], ["2"]]
    question = said(reader)
    assert question.text.startswith(
        "One object with several lists: “orders” (3 objects), “users” (2 objects). The first is "
    )
    assert asks(question.kind)
    assert options(question) == ["orders", "users", "."]
    reader, lines = read(path, content, list_key="users")
    assert cells(lines) == CELLS
    assert not asks(said(reader).kind)


def test_a_person_with_one_order_is_one_row_and_a_question(path: Path) -> None:
    content = {"name": "Ann of the long name and the short list", "orders": [{"n": 1}]}
    reader, lines = read(path, content)
    assert cells(lines) == [["Ann of the long name and the short list", '[{"n":1}]']]
    assert asks(said(reader).kind)
    assert options(said(reader)) == ["orders", "."]


def test_a_list_of_texts_can_be_chosen(path: Path) -> None:
    content = {"source": "x", "reviews": ['a "', "b\n", None, 1.50, {"x": [1]}, "[{"]}
    _reader, lines = read(path, content, list_key="reviews")
    assert cells(lines) == [['a "'], ["b\n"], [""], ["1.5"], ['{"x":[1]}'], ["[{"]]


def test_rows_without_keys_in_an_object_can_be_chosen(path: Path) -> None:
    """As Google's API for spreadsheets gives them."""
    content = {"range": "A1:B3", "values": [["id", "text"], ["1", "a"], ["2", "b"]]}
    reader, lines = read(path, content)
    assert (len(lines), options(said(reader))) == (1, ["values", "."])
    reader, lines = read(path, content, list_key="values")
    assert (reader.columns, cells(lines)) == (["id", "text"], CELLS)


def test_a_list_that_is_not_there_is_named_with_those_that_are(path: Path) -> None:
    with pytest.raises(Unreadable) as raised:
        read(path, {"data": TWO}, list_key="items")
    (finding,) = raised.value.findings
    assert finding.text == "The file has no list “items”."
    assert options(finding) == ["data", "."]


def test_requests_in_an_object_are_requests(path: Path) -> None:
    """As the API itself takes them."""
    params = {"model": "claude-haiku-5-5", "max_tokens": 9}
    messages = [{"role": "user", "content": "Hi"}, {"role": "user", "content": "Hm"}]
    one = {"custom_id": "a", "params": {**params, "messages": messages}}
    for content in ({"requests": [one, {**one, "custom_id": "b"}]}, one):
        for indent in (None, 2):
            reader, lines = read(path, json.dumps(content, indent=indent))
            assert reader.kind == "requests"
            assert [line.problem for line in lines] == [None] * len(lines)


@pytest.mark.parametrize(
    "content",
    [
        {"a": 1},
        {"a": {"b": 1}, "c": []},
        {"messages": "x", "n": 5},
        {"a": {"b": {"c": {"too deep": TWO}}}},
    ],
    ids=str,
)
def test_an_object_without_a_list_is_one_row_and_nothing_is_said(
    path: Path, content: object
) -> None:
    reader, lines = read(path, content)
    assert len(lines) == 1
    assert not reader.remarks


def test_a_wrapped_list_may_be_longer_than_a_line(path: Path) -> None:
    """On one line that is longer than a line may be; each object is held by itself."""
    content = {"note": "x", "data": [{"a": "y" * 900} for _ in range(50)]}
    path.write_text(json.dumps(content))
    reader = open_upload(str(path), Choices(), Limits(line=1_000))
    assert len(list(reader)) == 50


def test_lines_stay_lines(path: Path) -> None:
    reader, lines = read(path, f"{json.dumps({'data': TWO})}\n{json.dumps({'data': TWO})}\n")
    assert (reader.format, len(lines), reader.columns) == ("JSONL", 2, ["data"])


# --- Tables in one object -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        {"id": [1, 2], "text": ["a", "b"]},
        {"columns": ["id", "text"], "index": [0, 1], "data": [[1, "a"], [2, "b"]]},
        {"columns": ["id", "text"], "data": [[1, "a"], [2, "b"]]},
        {"id": {"0": 1, "1": 2}, "text": {"0": "a", "1": "b"}},
    ],
    ids=str,
)
@pytest.mark.parametrize("indent", [None, 1])
def test_columns_of_values_are_a_table(path: Path, content: object, indent: int | None) -> None:
    text = json.dumps(content, indent=indent)
    reader, lines = read(path, text)
    assert (cells(lines), reader.columns) == (CELLS, ["id", "text"])
    assert said(reader).text == "One object with 2 columns of 2 values each."
    assert not asks(said(reader).kind)
    _reader, lines = read(path, text, list_key=".")
    assert len(lines) == 1


def test_values_of_columns_keep_their_digits(path: Path) -> None:
    _reader, lines = read(path, '{"a": [1.50, 12345678901234567890], "b": [null, {"x": 1.0}]}')
    assert cells(lines) == [["1.50", ""], ["12345678901234567890", '{"x":1.0}']]


def test_objects_under_keys_are_rows_and_a_question(path: Path) -> None:
    content = {"-Mx1": TWO[0], "-Mx2": {**TWO[1], "key": True}}
    reader, lines = read(path, content)
    assert reader.columns == ["key_2", "id", "text", "key"]
    assert cells(lines) == [["-Mx1", "1", "a", ""], ["-Mx2", "2", "b", "true"]]
    assert asks(said(reader).kind)
    for choice, count in (("*", 2), (".", 1)):
        reader, lines = read(path, content, list_key=choice)
        assert len(lines) == count
        assert not any(asks(remark.kind) for remark in reader.remarks)


@pytest.mark.parametrize(
    "content",
    [
        {"a": [1, 2], "b": [3]},
        {"a": [1], "b": [2]},
        {"person": {"name": "Ann"}, "address": {"city": "Rome", "street": "x"}},
        {"columns": ["a", "b"], "data": [[1, 2], [3]]},
        {"a": {"0": 1}, "b": {"1": 2}},
    ],
    ids=str,
)
def test_what_is_no_table_is_one_row(path: Path, content: object) -> None:
    _reader, lines = read(path, content)
    assert len(lines) == 1


@pytest.mark.parametrize(
    ("content", "columns", "rows"),
    [
        (["a", 'b "'], ["value"], [["a"], ['b "']]),
        ([1.5, None, True, "x"], ["value"], [["1.5"], [""], ["true"], ["x"]]),
        ([["id", "text"], [1, "a"], [2, "b"]], ["id", "text"], CELLS),
        ([["id", "text"], [1, "a"], [2]], ["id", "text"], [["1", "a"], ["2", ""]]),
    ],
    ids=str,
)
def test_a_list_without_objects_can_be_read(
    path: Path, content: object, columns: list[str], rows: list[list[str]]
) -> None:
    for indent in (None, 2):
        text = json.dumps(content, indent=indent)
        with pytest.raises(Unreadable) as raised:
            read(path, text)
        (finding,) = raised.value.findings
        assert options(finding) == ["*"]
        assert "An object was expected" in finding.text
        reader, lines = read(path, text, list_key="*")
        assert (reader.columns, cells(lines)) == (columns, rows)


@pytest.mark.parametrize(
    "content",
    ['["a", {"b": 1}]', "[abc]", "[1, 2", '[["a"], [1, 2]]', '[["a", "a"], [1, 2]]', "[[1], [2]]"],
)
def test_a_list_that_is_no_table_is_refused_either_way(path: Path, content: str) -> None:
    for list_key in ("", "*"):
        with pytest.raises(Unreadable) as raised:
            read(path, content, list_key)
        assert not raised.value.findings[0].options


@pytest.mark.parametrize("key", [".", "*"])
def test_a_list_whose_key_means_something_else_is_not_offered(path: Path, key: str) -> None:
    reader, lines = read(path, {key: TWO, "n": 1})
    assert (len(lines), reader.remarks) == (1, [])
