"""JSON files: lines of objects or a list of them, read to the letter, and what is wrong has its
line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.ingest import json_scanner
from jobs.ingest.column_names import ColumnNames
from jobs.ingest.file_formats import open_upload
from jobs.ingest.finding_kinds import FINDINGS
from jobs.ingest.json_reader import JsonLinesReader, is_json
from jobs.ingest.shapes import Choices, Finding, Limits, ParsedRow, Reader, Unreadable
from jobs.ingest.upload_file import UploadFile

pytestmark = pytest.mark.no_database

LIMITS = Limits()
GOOD = '{"a": 0}\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "upload"


def read(
    path: Path, content: bytes | str, limits: Limits = LIMITS
) -> tuple[Reader, list[ParsedRow]]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    reader = open_upload(str(path), Choices(), limits)
    return reader, list(reader)


def cells(lines: list[ParsedRow]) -> list[list[str]]:
    return [json.loads(line.source) for line in lines]


def refusal(path: Path, content: bytes | str, limits: Limits = LIMITS) -> tuple[Finding, ...]:
    with pytest.raises(Unreadable) as raised:
        read(path, content, limits)
    assert all(finding.kind in FINDINGS for finding in raised.value.findings)
    return raised.value.findings


def request(**params: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "Hi"}]
    return {
        "custom_id": "my id: ü",
        "params": {"model": "claude-haiku-5-5", "max_tokens": 10, "messages": messages, **params},
    }


# --- What is read ---------------------------------------------------------------------------------


def test_objects_are_rows_of_a_table_with_the_union_of_their_keys(path: Path) -> None:
    reader, lines = read(
        path, '{"a": 1, "b": "x"}\n\n{"c": null, "a": "Grüße"}\r\n{"__proto__": true}\n'
    )
    assert (reader.kind, reader.format) == ("table", "JSONL")
    assert reader.columns == ["a", "b", "c", "__proto__"]
    assert cells(lines) == [["1", "x", "", ""], ["Grüße", "", "", ""], ["", "", "", "true"]]
    assert reader.blank_lines == 1
    assert [line.line for line in lines] == [1, 3, 4]


def test_what_some_objects_lack_is_counted(path: Path) -> None:
    reader, _lines = read(path, '{"a": 1}\n{"a": 2, "b": null}\n{"b": 3}\n{"b": 4}')
    said = [(remark.kind, remark.text, remark.line) for remark in reader.remarks]
    assert said == [
        ("missing_key", "1 object has no “b”; the cell is empty there.", 1),
        ("missing_key", "2 objects have no “a”; the cell is empty there.", 3),
    ]


def test_numbers_keep_their_digits_and_nested_values_only_lose_their_blanks(path: Path) -> None:
    number = "9" * 4000
    _reader, lines = read(
        path,
        '{"a": 1180591620717411303424, "b": {"x y":[1, 2.50]}, "c": 1.0, "d": [ ], "e": -0.10, '
        f'"f": {number}}}',
    )
    assert cells(lines) == [
        ["1180591620717411303424", '{"x y":[1,2.50]}', "1.0", "[]", "-0.10", number]
    ]


@pytest.mark.parametrize(
    "content",
    [
        b'\xef\xbb\xbf{"a": "\xc3\xbc"}\r\n{"a": "2"}\r\n\r\n',
        '{"a": "ü"}\r{"a": "2"}'.encode(),
        '[{"a": "ü"}, {"a": "2"}]'.encode(),
        '\ufeff \n[\r\n  {"a":\r\n "ü"}\n,{"a": "2"}\n]\n'.encode(),
        gzip.compress('{"a": "ü"}\n{"a": "2"}'.encode()),
        gzip.compress('[{"a": "ü"},\n{"a": "2"}]'.encode()),
        '{"a": "ü"}\n{"a": "2"}'.encode("cp1252"),
    ],
    ids=["mark", "CR", "list", "list over lines", "packed lines", "packed list", "cp1252"],
)
def test_the_same_objects_are_read_however_they_are_written(path: Path, content: bytes) -> None:
    _reader, lines = read(path, content)
    assert cells(lines) == [["ü"], ["2"]]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(
    "form", ['{{"a": "{0}"}}\n{{"a": "2"}}', '[{{"a": "{0}"}},\n{{"a": "2"}}]']
)
def test_utf_16_with_its_mark_is_json_as_well(path: Path, encoding: str, form: str) -> None:
    mark = "" if encoding == "utf-16" else "\ufeff"
    path.write_bytes((mark + form.format("ü😀")).encode(encoding))
    file = UploadFile(str(path), Limits())
    assert is_json(file.head)
    assert not is_json("a,b".encode("utf-16"))
    reader = JsonLinesReader(file, Choices())
    lines = list(reader)
    assert cells(lines) == [["ü😀"], ["2"]]
    assert reader.understood.encoding == "utf-16"
    assert [line.line for line in lines] == [1, 2]


def test_a_list_in_brackets_is_read_with_the_lines_of_the_file(path: Path) -> None:
    content = '[\n{"a": 1,\n "b": "]}"}\n, {"a": 2},\n\n{"a":\n3}]\n'
    reader, lines = read(path, content)
    assert (reader.kind, reader.format, reader.columns) == ("table", "JSON", ["a", "b"])
    assert cells(lines) == [["1", "]}"], ["2", ""], ["3", ""]]
    assert [line.line for line in lines] == [2, 4, 6]


def test_an_empty_list_has_no_rows(path: Path) -> None:
    reader, lines = read(path, "[ ]")
    assert (lines, reader.columns) == ([], [])


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=250)


@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    objects=st.lists(st.dictionaries(NAMES, TEXTS, min_size=1), min_size=1),
    as_list=st.booleans(),
    ascii_only=st.booleans(),
    block=st.sampled_from([1, 2, 7, 1 << 20]),
)
def test_any_texts_come_back_as_they_were(
    path: Path, objects: list[dict[str, str]], as_list: bool, ascii_only: bool, block: int
) -> None:
    if as_list:
        content = json.dumps(objects, ensure_ascii=ascii_only, indent=block % 3 or None)
    else:
        content = "\n".join(json.dumps(each, ensure_ascii=ascii_only) for each in objects)
    with pytest.MonkeyPatch.context() as patch:
        # Whatever falls on the border of two blocks.
        patch.setattr(json_scanner, "BLOCK", block)
        reader, lines = read(path, content)
    names = list(dict.fromkeys(name for each in objects for name in each))
    assert reader.columns == ColumnNames(names, Limits().name, 1).names
    assert cells(lines) == [[each.get(name, "") for name in names] for each in objects]


def test_a_list_is_read_object_by_object(path: Path) -> None:
    """However long the list is, what comes after an object is not needed for it."""
    path.write_text(
        '[{"custom_id": "a", "params": {}},' + '{"custom_id": "b", "params": {}},' * 99_999
    )
    reader = open_upload(str(path), Choices(), Limits())
    lines = iter(reader)
    next(lines)
    assert 0 < reader.position < path.stat().st_size


# --- What is wrong --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "kind", "words"),
    [
        ('{"a": 1, "b": x, "c": 3}', "json", "Column 15: This is not JSON. It is near"),
        ('{"ü": "ü", "b": x}', "json", "Column 17"),
        ('{"a": 1,}', "json", "Column 9: A comma has nothing"),
        ("{'a': 1}", "json", "Use double quotation marks"),
        ("{\"a\": 'x'}", "json", "Use double quotation marks"),
        ("{a: 1}", "json", "A key must be in quotation marks"),
        ('{"a": 1} // so', "json", "does not allow comments"),
        ('{"a": 1 # so', "json", "does not allow comments"),
        ('{"a": 1} {"a": 2}', "json", "Column 10: There is text after the object"),
        ('{"a": 1 "b": 2}', "json", "missing"),
        ('{"a": NaN}', "json", "Column 7: JSON does not allow NaN"),
        ('{"a": -Infinity}', "json", "does not allow NaN"),
        ('{"a": 1e999}', "json", "too large"),
        ('{"a": {"b": [1e999]}}', "json", "too large"),
        ('{"a": ' + "9" * 5000 + "}", "json", "too large"),
        ('{"a": 1', "json", "before the object is complete"),
        ('{"a": "x', "json", "before the object is complete"),
        ("[1]", "json", "An object was expected here, such as"),
        ("null", "json", "This is null"),
        ('"x"', "json", "This is a text"),
        ("5", "json", "This is a number"),
        ('{"a":' * 1_100 + "1" + "}" * 1_100, "json", "nested too deeply"),
        ('{"a":' * 100_000, "json", "nested too deeply"),
        ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "json", "nested too deeply"),
        ('{"a":' * 201 + "1" + "}" * 201, "json", "more than 200 levels"),
        ('{"a": "' + "x" * 6_000_000 + '"}', "long_line", "5,000,000 characters"),
        ('{"a": "\\u0000"}', "nul", "NUL"),
        ('{"a\\u0000": 1}', "nul", "NUL"),
        ('{"a": [{"b": "\\u0000"}]}', "nul", "NUL"),
        ('{"a": "\\ud800"}', "json", "unpaired surrogate"),
        ('{"a": "\\udc00\\ud800"}', "json", "unpaired surrogate"),
        (
            '{"a": "x\ty"}',
            "json",
            "Column 9: A text contains a line break, tab or control character",
        ),
        ('{"a": "x\x00y"}', "json", "control character"),
        ('{"a": "C:\\Users"}', "json", "Write a backslash twice"),
        ('{"a": 1, "key": 2, "key": 2}', "same_key", "The key “key” appears twice"),
        ('{"a": {"b": [{"deep": 1, "deep": 1}]}}', "same_key", "“deep”"),
        ('{"a": 1, "\\u0061": 2}', "same_key", "“a”"),
    ],
)
def test_a_bad_line_is_named_with_its_place_and_reason(
    path: Path, bad: str, kind: str, words: str
) -> None:
    (finding,) = refusal(path, GOOD + bad + "\n" + GOOD)
    assert (finding.kind, finding.line) == (kind, 2)
    assert words in finding.text
    assert len(finding.text) < 250


@pytest.mark.parametrize(
    "good",
    [
        '{"a":' * 200 + "1" + "}" * 200,
        '{"a": "' + "{[" * 5_000 + '"}',
        '{"a": "\\\\u0000"}',
        '{"a": "\\ud83d\\ude00"}',
        '{"a": {"x": 1}, "b": {"x": 1}}',
        '{"a": 1e308, "b": ' + "9" * 4300 + "}",
        '{"constructor": "x", "__proto__": {}}',
        '{"a": "x\u2028\u0085\x7fy"}',
    ],
)
def test_what_only_looks_bad_is_read(path: Path, good: str) -> None:
    _reader, lines = read(path, GOOD + good + "\n" + GOOD)
    assert [(line.line, line.problem) for line in lines] == [(1, None), (2, None), (3, None)]


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        ('[{"a": 1},\n{"a": 2}', 2, "before the “]”"),
        ('[{"a": 1},\n{"a": 2', 2, "before the object is complete"),
        ('[{"a": 1},\n{"a": "2', 2, "before the object is complete"),
        ('[{"a": 1},\n]', 2, "comma has nothing"),
        ('[{"a": 1},,\n{"a": 2}]', 1, "comma has nothing"),
        ('[{"a": 1}\n{"a": 2}]', 2, "A comma is missing"),
        ('[{"a": 1}]\n{"a": 2}', 2, "text after the end"),
        ('[{"a": 1},\n5]', 2, "An object was expected"),
        ('[{"a": 1},\n["x"]]', 2, "An object was expected"),
        ('[{"a": 1},\n{"a":\n 1,\n "b": tru}]', 4, "Column 7"),
        ('[{"a": 1},\n{"b": 1, "b": 2}]', 2, "“b” appears twice"),
        ("[1, 2]", 1, "An object was expected"),
    ],
)
def test_what_is_wrong_in_a_list_has_the_line_of_the_file(
    path: Path, content: str, line: int, words: str
) -> None:
    (finding,) = refusal(path, content)
    assert finding.line == line
    assert words in finding.text


def test_an_object_of_a_list_that_is_too_long_is_named(path: Path) -> None:
    content = '[{"a": 1},\n{"a": "' + "x" * 6_000_000 + '"}]'
    (finding,) = refusal(path, content)
    assert (finding.kind, finding.line) == ("long_line", 2)


def test_the_lines_after_one_that_is_too_long_keep_their_numbers(path: Path) -> None:
    limits = Limits(line=50)
    findings = refusal(path, GOOD + '{"a": "' + "x" * 500 + '"}\n' + GOOD + "bad\n", limits)
    assert [(finding.kind, finding.line) for finding in findings] == [("long_line", 2), ("json", 4)]
    just_fits = '{"a": "' + "x" * 41 + '"}'
    assert len(just_fits) == 50
    assert len(read(path, f"{just_fits}\r\n{just_fits}", limits)[1]) == 2


def test_all_bad_lines_are_named_up_to_a_hundred(path: Path) -> None:
    findings = refusal(path, GOOD + "x\n" + GOOD + "y\n")
    assert [finding.line for finding in findings] == [2, 4]
    assert len(refusal(path, GOOD + "x\n" * 150)) == 100


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ('{"": 1}', "unnamed"),
        ('{"{{x}}": 1}', "name"),
        ('{"a\\u200b": 1}', "cleaned_name"),
        ('{"%s": 1}' % ("x" * 201), "long_name"),
        ('{"Name": 1, "Name ": 2}', "same_name"),
    ],
)
def test_any_key_becomes_the_name_of_a_column(path: Path, content: str, kind: str) -> None:
    reader, lines = read(path, content)
    assert kind in {remark.kind for remark in reader.remarks}
    assert [len(row) for row in cells(lines)] == [len(reader.columns)]


def test_too_many_keys_are_refused(path: Path) -> None:
    (finding,) = refusal(path, json.dumps({f"c{number}": 1 for number in range(501)}))
    assert finding.kind == "too_many_columns"


def test_a_cell_that_is_too_long_leaves_its_row_out(path: Path) -> None:
    _reader, lines = read(path, '{"a": "1234567"}\n{"a": "üüü"}\n', Limits(cell=6))
    assert [line.problem.kind if line.problem else "" for line in lines] == ["long_cell", ""]
    assert lines[1].cell_sizes == [6]


# --- Ready-made requests --------------------------------------------------------------------------


def test_ready_made_requests_are_kept_to_the_letter(path: Path) -> None:
    original = json.dumps(request()).replace('"max_tokens": 10', '"max_tokens":   10 ')
    reader, (line,) = read(path, f"  {original}\t\r\n")
    assert reader.kind == "requests"
    assert line.source == original
    assert (line.problem, line.model, line.max_tokens) == (None, "claude-haiku-5-5", 10)
    assert line.size == len(original.partition('"params": ')[2]) - 1


def test_ready_made_requests_in_a_list_are_kept_to_the_letter(path: Path) -> None:
    one, two = request(), {**request(), "custom_id": "{[\\"}
    written = [json.dumps(one, indent=3), json.dumps(two)]
    reader, lines = read(path, "[" + ",\n".join(written) + "]")
    assert reader.kind == "requests"
    assert [line.source for line in lines] == written
    assert not any(line.problem for line in lines)


def test_a_line_that_is_no_json_makes_the_requests_unreadable(path: Path) -> None:
    good = json.dumps(request())
    findings = refusal(path, f"{good}\n{good[:-1]}\n{good}\n5\n")
    assert [finding.line for finding in findings] == [2, 4]


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        ('{"custom_id": "b", "params": {"model": "m", "model": "m"}}', "same_key"),
        (json.dumps({**request(), "custom_id": "a\0b"}), "nul"),
        ('{"custom_id": "b"}', "req_params"),
        ('{"custom_id": "b", "params": []}', "req_params"),
        ('{"params": {}}', "req_id"),
        ("{}", "req_id"),
    ],
)
def test_json_that_is_no_request_is_a_row_left_out(path: Path, bad: str, kind: str) -> None:
    good = json.dumps(request())
    _reader, lines = read(path, f"{good}\n{bad}\n")
    problem = lines[1].problem
    assert problem
    assert (lines[0].problem, problem.kind, problem.line) == (None, kind, 2)
    assert lines[1].source == bad


def test_two_keys_that_differ_by_blanks_at_their_ends_are_two_columns(path: Path) -> None:
    """In a prompt, blanks inside the braces mean nothing."""
    reader, lines = read(path, '{" a ": "1", "a": "2"}\n')
    assert (reader.columns, cells(lines)) == (["a", "a (2)"], [["1", "2"]])


@pytest.mark.parametrize("text", ["{}", "{}\n{}\n", "[{}, {}]"])
def test_objects_without_keys_are_no_rows(tmp_path: Path, text: str) -> None:
    path = tmp_path / "upload"
    path.write_text(text)
    with pytest.raises(Unreadable) as raised:
        list(open_upload(str(path), Choices(), Limits()))
    assert "are empty" in raised.value.findings[0].text
