"""Files are read as they are: nothing is dropped silently, and what is wrong has its line."""

from __future__ import annotations

import csv
import gzip
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.ingest.descriptions import python_name
from jobs.ingest.file_formats import open_upload
from jobs.ingest.shapes import NO_HEADER, Choices, Limits, ParsedRow, Reader, Unreadable

pytestmark = pytest.mark.no_database


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "upload"


def read(path: Path, content: bytes | str, **choices: Any) -> tuple[Reader, list[ParsedRow]]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    reader = open_upload(str(path), Choices(**choices), Limits())
    return reader, list(reader)


def cells(lines: list[ParsedRow]) -> list[list[str]]:
    return [json.loads(line.source) for line in lines]


def problems(lines: list[ParsedRow]) -> list[str]:
    return [line.problem.kind if line.problem else "" for line in lines]


def remarks(reader: Reader) -> dict[str, str]:
    return {remark.kind: remark.text for remark in reader.remarks}


def refusal(path: Path, content: bytes | str, **choices: Any) -> tuple[int | None, str]:
    """The line and the words of the first thing that makes a file unreadable."""
    with pytest.raises(Unreadable) as raised:
        read(path, content, **choices)
    finding = raised.value.findings[0]
    assert finding.remedy, "it is said how to mend it"
    return finding.line, finding.text


# --- Delimiters, quotes, line ends ----------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_a_table_is_read_whatever_program_wrote_it(
    path: Path, delimiter: str, bom: bytes, newline: str
) -> None:
    rows = ["name{0}text", '"Ann ""A."""{0}"one{0}two"', "007{0}Grüße 😀"]
    content = bom + newline.join(rows).format(delimiter).encode()
    reader, lines = read(path, content)
    understood = reader.understood
    assert (reader.kind, understood.delimiter, understood.header) == ("table", delimiter, 1)
    assert reader.columns == ["name", "text"]
    assert cells(lines) == [['Ann "A."', f"one{delimiter}two"], ["007", "Grüße 😀"]]
    assert [line.line for line in lines] == [2, 3]


def test_line_ends_may_be_mixed(path: Path) -> None:
    _reader, lines = read(path, b"a,b\r\n1,2\n3,4\r5,6")
    assert cells(lines) == [["1", "2"], ["3", "4"], ["5", "6"]]


def test_the_delimiter_is_what_cuts_all_lines_alike_and_can_be_chosen(path: Path) -> None:
    content = "name;text\nAnn;one, two\nBen;four, five\nCid;six\n"
    reader, lines = read(path, content)
    assert (reader.understood.delimiter, cells(lines)[0]) == (";", ["Ann", "one, two"])
    reader, lines = read(path, content, delimiter=",")
    assert reader.columns == ["name;text"]


def test_a_line_that_names_the_delimiter_is_no_row(path: Path) -> None:
    reader, lines = read(path, "sep=;\r\na;b\r\n1;2,3\r\n")
    assert (reader.columns, cells(lines)) == (["a", "b"], [["1", "2,3"]])
    assert [line.line for line in lines] == [2], "a spreadsheet does not show the first one"


def test_single_quotation_marks(path: Path) -> None:
    reader, lines = read(path, "'a','b'\n'1, 2','it''s'\n")
    assert cells(lines) == [["1, 2", "it's"]]
    assert "single_quotes" in remarks(reader)
    for column_names in ("a,b", "'a'"):
        content = f"{column_names}\nit's,'tis\n'007','x'\n"
        reader, lines = read(path, content, delimiter=",", fill=True)
        assert json.loads(lines[-1].source)[0] == "'007'"
        assert not reader.remarks


def test_lines_are_numbered_as_a_spreadsheet_numbers_them(path: Path) -> None:
    reader, lines = read(path, 'a,b\n"x\ny\nz",1\n\n ,\n2,3\n')
    assert [line.line for line in lines] == [2, 5]
    assert reader.blank_lines == 2


def test_odd_line_separators_inside_a_cell_stay_in_it(path: Path) -> None:
    text = "a\u2028b\x0bc\x0cd\x85e"
    _reader, lines = read(path, f"a,b\n1,{text}\n")
    assert cells(lines) == [["1", text]]


@given(
    rows=st.lists(
        st.lists(
            st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\n\r\t")),
            min_size=2,
            max_size=2,
        ).filter(lambda row: any(cell.strip() for cell in row)),
        min_size=1,
        max_size=5,
    ),
    delimiter=st.sampled_from([",", ";", "\t"]),
)
def test_what_a_spreadsheet_writes_is_read_back_cell_for_cell(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], delimiter: str
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerows([["a", "b"], *rows])
    path = tmp_path_factory.mktemp("csv") / "upload"
    reader, lines = read(path, text.getvalue(), delimiter=delimiter)
    assert reader.columns == ["a", "b"]
    assert cells(lines) == rows


# --- Encodings ------------------------------------------------------------------------------------

# ruff: noqa: RUF001 - letters that look alike are what this is about
TEXTS = {
    "cp1252": "André Müller wohnt in Köln; Straße, façade, naïve – “so”",
    "cp1250": "Pchnąć w tę łódź jeża lub ośm skrzyń fig",
    "cp1254": "İstanbul'da güneşli bir gün; Çankaya, Iğdır, ağaç, öğrenci",
    "mac-roman": "Die Straße ist schön; die Bäume sind grün. Über allem hört man Vögel.",
    "koi8-r": "Это довольно длинный русский текст о том, как работает новая программа",
    "cp1251": "Это довольно длинный русский текст о том, как работает новая программа",
    "gb18030": "这个产品的质量非常好，我很喜欢，下次还会再来购买的，谢谢老板",
    "cp932": "この商品はとても良いです。また買いたいと思います。ありがとうございました。",
}


@pytest.mark.parametrize("encoding", TEXTS)
def test_an_encoding_is_found_out(path: Path, encoding: str) -> None:
    content = f"name,text\nAnn,x\nBen,{TEXTS[encoding].replace(',', '')}\n".encode(encoding)
    reader, lines = read(path, content)
    assert reader.understood.encoding == encoding
    assert cells(lines)[1] == ["Ben", TEXTS[encoding].replace(",", "")]
    assert "guessed" not in remarks(reader) or encoding == "cp1252", "what is certain says nothing"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_unicode_of_other_widths(path: Path, encoding: str) -> None:
    _reader, lines = read(path, "name,text\nAnn,Grüße\n".encode(encoding))
    assert cells(lines) == [["Ann", "Grüße"]]


@pytest.mark.parametrize(
    "word",
    ["grün", "café", "naïve", "piñata", "Ångström", "It’s great – really", "5 €", "£5", "A®"],
)
def test_one_letter_is_most_likely_western(path: Path, word: str) -> None:
    _reader, lines = read(path, f"a,b\n1,{word}\n".encode("cp1252"))
    assert cells(lines) == [["1", word]]


def test_an_encoding_can_be_chosen(path: Path) -> None:
    reader, lines = read(path, "a,b\n1,é\n".encode("cp850"), encoding="cp850")
    assert cells(lines) == [["1", "é"]]
    assert not reader.remarks
    line, words = refusal(path, "a,b\n1,2\n1,é\n".encode("cp1252"), encoding="utf-8")
    assert (line, "not valid UTF-8" in words) == (3, True)


def test_one_letter_far_down_decides(path: Path) -> None:
    content = b"a,b\n" + b"1,2\n" * 300_000 + b"1,\xe9\n"
    reader, lines = read(path, content)
    assert reader.understood.encoding == "cp1252"
    assert json.loads(lines[-1].source) == ["1", "é"]
    assert next(remark.line for remark in reader.remarks) == 300_002


@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        ("UTF8", "utf-8"),
        ("utf-8-sig", "utf-8"),
        ("Latin-1", "cp1252"),
        ("windows-1252", "cp1252"),
        ("Shift_JIS", "cp932"),
        ("GBK", "gb18030"),
        ("Cyrillic (Windows-1251)", "cp1251"),
        ("klingon", ""),
    ],
)
def test_encodings_have_many_names(name: str, encoding: str) -> None:
    assert python_name(name) == encoding


def test_a_compressed_file_is_unpacked(path: Path) -> None:
    _reader, lines = read(path, gzip.compress(b"a,b\n1,2\n"))
    assert cells(lines) == [["1", "2"]]
    _line, words = refusal(path, gzip.compress(b"a,b\n" + b"1,2\n" * 9_000)[:-20])
    assert "damaged or incomplete" in words
    path.write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * 9_000))
    with pytest.raises(Unreadable, match="too large when unpacked"):
        list(open_upload(str(path), Choices(), Limits(unpacked=30_000)))


# --- Column names ---------------------------------------------------------------------------------


def test_a_title_above_the_column_names_is_left_out_and_said(path: Path) -> None:
    content = "Report of May,,\n\nname,text,city\nAnn,x,Ulm\n"
    reader, lines = read(path, content)
    assert reader.columns == ["name", "text", "city"]
    assert [line.line for line in lines] == [4]
    assert reader.understood.header == 3
    assert "line 3" in remarks(reader)["above_header"]


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        ("comment\nok\ngood\nGood, fast, cheap\nfine\nnope\n", ["comment"]),
        ("\n" * 30 + "a,b\n1,2\n", ["a", "b"]),
    ],
)
def test_a_wide_row_is_no_header(path: Path, content: str, columns: list[str]) -> None:
    reader, _lines = read(path, content)
    assert reader.columns == columns
    assert "above_header" not in remarks(reader)


def test_a_chosen_line_that_is_empty_or_not_there_is_said(path: Path) -> None:
    content = "x,y\n1,2\n\n3,4\n"
    assert refusal(path, content, header=3) == (
        3,
        "Line 3, where the column names should be, is empty.",
    )
    assert "no column names in line 9" in refusal(path, content, header=9)[1]


def test_utf_16_can_be_chosen_with_and_without_a_mark(path: Path) -> None:
    for encoding, chosen in (("utf-16-le", "utf-16"), ("utf-16", "utf-16-le")):
        reader, _lines = read(path, "имя,б\nЖук,2\n".encode(encoding), encoding=chosen)
        assert reader.columns == ["имя", "б"]
    assert "not valid UTF-16" in refusal(path, b"a,b\n1,2\n3", encoding="utf-16")[1]


def test_the_line_of_the_column_names_can_be_chosen(path: Path) -> None:
    content = "Title,,\nname,text,city\nAnn,x,Ulm\n"
    reader, lines = read(path, content, header=1)
    assert reader.columns == ["Title", "column_2", "column_3"]
    assert len(lines) == 2
    reader, lines = read(path, "Ann,1\nBen,2\n", header=NO_HEADER)
    assert reader.columns == ["column_1", "column_2"]
    assert (len(lines), reader.remarks) == (2, [])


def test_a_column_without_a_name_gets_one(path: Path) -> None:
    reader, _lines = read(path, "a,,c\n1,2,3\n")
    assert reader.columns == ["a", "column_2", "c"]
    assert "column_2" in remarks(reader)["unnamed"]


def test_a_name_that_is_wrapped_in_its_cell_is_one_name(path: Path) -> None:
    reader, _lines = read(path, '"first \r\n name",b\n1,2\n')
    assert reader.columns == ["first name", "b"]


@pytest.mark.parametrize("name", ["a b", "é", "😀", "__proto__", "custom_id", "status", "x" * 200])
def test_nearly_every_name_can_be_used(path: Path, name: str) -> None:
    reader, _lines = read(path, f"{name},b\n1,2\n")
    assert reader.columns == [name, "b"]


# --- Rows -----------------------------------------------------------------------------------------


def test_a_row_with_too_few_or_too_many_cells_is_kept_and_said(path: Path) -> None:
    content = "a,b,c\n1,2,3\n1,2\n1,2,3,4\n1,2,3,,\n"
    _reader, lines = read(path, content)
    assert problems(lines) == ["", "few_cells", "many_cells", ""]
    assert lines[1].problem
    assert "2 cells, and there are 3 columns" in lines[1].problem.text
    assert cells(lines)[2] == ["1", "2", "3", "4"]
    _reader, lines = read(path, content, fill=True)
    assert problems(lines) == ["", "", "many_cells", ""]
    assert cells(lines)[1] == ["1", "2", ""]


def test_sizes_are_bytes_of_the_cells(path: Path) -> None:
    _reader, lines = read(path, "a,b\nxy,ü\n")
    assert (lines[0].size, lines[0].cell_sizes) == (4, [2, 2])


def test_a_formula_is_text(path: Path) -> None:
    evil = ["=cmd|' /C calc'!A0", "+1", "-5", "@x"]
    _reader, lines = read(path, "a\n" + "\n".join(evil) + "\n")
    assert [row[0] for row in cells(lines)] == evil


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        (b"", None, "empty"),
        (b" \n\n", None, "empty"),
        (b"\xef\xbb\xbf\n", None, "empty"),
        (b",,\n,\n", None, "no column names"),
        (b"na\0me,text\nAnn,x\n", 1, "NUL"),
        (b",".join(b"c%d" % i for i in range(501)) + b"\n1\n", 1, "501 columns"),
        (b"a\n" + b"x" * 1_000_001 + b"\n", 2, "1,000,000"),
        (b"a\n" + b"x" * 5_000_001 + b"\n", 2, "5,000,000"),
        (b"\x89PNG\r\n\x1a\n\0\0\0", None, "not a text file"),
        (bytes(range(256)) * 20, None, "not a text file"),
    ],
)
def test_a_file_that_cannot_be_read_says_why_and_where(
    path: Path, content: bytes, line: int | None, words: str
) -> None:
    found_line, text = refusal(path, content)
    assert found_line == line
    assert words in text


@pytest.mark.parametrize("before", [b"", b"x" * 70_000])
def test_a_nul_character_spoils_its_row_only(path: Path, before: bytes) -> None:
    content = b"a,b\n1,2\n" + before + b"y\0z,3\n4,5\n\0\0\0\n"
    _reader, lines = read(path, content)
    assert [line.problem.kind if line.problem else "" for line in lines] == ["", "nul", "", "nul"]
    assert cells(lines)[2] == ["4", "5"]
    assert all("\0" not in cell for row in cells(lines) for cell in row)


def test_a_cell_of_any_allowed_size_is_read(path: Path) -> None:
    _reader, lines = read(path, b"a\n" + b"x" * 131_073 + b"\n" + b"y" * 1_000_000 + b"\n")
    assert [line.size for line in lines] == [131_073, 1_000_000]
    assert problems(lines) == ["", ""]


def test_the_process_that_reads_a_file_starts_with_little_and_without_a_network() -> None:
    """It is started for every file, and what it imports costs more than most files do."""
    look = "import sys, jobs.ingest.reader_process; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert "jobs.ingest.workbook_reader" in found.stdout.split()
    assert not {"ssl", "http", "email", "django", "genai_prices"} & {*found.stdout.split()}
