"""Workbooks are read as they look: cells, lines, sheets; and what is made to do harm is refused."""

from __future__ import annotations

import json
import math
import struct
import tempfile
import zipfile
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.drafts.reading import read_apart
from jobs.ingest.file_formats import open_upload
from jobs.ingest.protocol import Failed, FileRead, ReaderInput, ReaderOutput
from jobs.ingest.shapes import NO_HEADER, Choices, Finding, Limits, ParsedRow, Reader, Unreadable
from jobs.ingest.workbook_cells import number_text

from ..workbooks import (
    BOOK,
    MAIN,
    SMALL,
    declare,
    fill,
    ods,
    ods_cell,
    ods_row,
    pack,
    rename_stream,
    repeated,
    sheet_of,
    workbook,
    xls,
    xlsb,
    xlsx,
)

pytestmark = pytest.mark.no_database

AS_IT_IS = Choices()
USUAL = Limits()


# --- What reads and writes ------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "upload"


def read(path: Path, choices: Choices = AS_IT_IS) -> tuple[Reader, list[ParsedRow]]:
    reader = open_upload(str(path), choices, USUAL)
    return reader, list(reader)


def cells(lines: list[ParsedRow]) -> list[list[str]]:
    return [json.loads(line.source) for line in lines]


def refusal(path: Path, choices: Choices = AS_IT_IS, limits: Limits = USUAL) -> Finding:
    """The first thing that makes a file unreadable."""
    with pytest.raises(Unreadable) as raised:
        list(open_upload(str(path), choices, limits))
    return raised.value.findings[0]


def remarks(reader: Reader, kind: str) -> list[tuple[int | None, str]]:
    return [(remark.line, remark.text) for remark in reader.remarks if remark.kind == kind]


def apart(path: Path, limits: Limits) -> ReaderOutput:
    """The last that the real child says."""
    return list(read_apart(ReaderInput(str(path), AS_IT_IS, limits)))[-1]


# --- Cells ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("date_1904", [False, True])
def test_a_cell_becomes_text_in_one_documented_form(path: Path, date_1904: bool) -> None:
    with workbook(path, date_1904=date_1904) as book:
        sheet = book.add_worksheet("Data")
        fill(sheet, [["text", "number", "moment"]])
        moments = [
            (date(2024, 5, 1), "dd.mm.yyyy"),
            (datetime(2024, 5, 1, 13, 45), "m/d/yy h:mm"),
            (time(13, 45), "h:mm AM/PM"),
            (timedelta(hours=30, minutes=5), "[h]:mm:ss"),
            (datetime(2024, 5, 1, 13, 45, 0, 500_000), "yyyy-mm-dd hh:mm:ss.000"),
        ]
        texts = ["007", "  two\nlines\t", "=1+1", "é 😀", "_x0041_"]
        numbers = [7, 1e14, 0.1 + 0.2, -0.5, 1 / 3]
        rows = zip(texts, numbers, moments, strict=True)
        for line, (text, number, moment) in enumerate(rows, start=1):
            sheet.write_string(line, 0, text)
            sheet.write_number(line, 1, number)
            sheet.write(line, 2, moment[0], book.add_format({"num_format": moment[1]}))
    reader, lines = read(path)
    assert reader.format == "Excel"
    assert cells(lines) == [
        ["007", "7", "2024-05-01"],
        ["  two\nlines\t", "100000000000000", "2024-05-01 13:45:00"],
        ["=1+1", "0.3", "13:45:00"],
        ["é 😀", "-0.5", "30:05:00"],
        ["_x0041_", "0.333333333333333", "2024-05-01 13:45:00.500"],
    ]
    assert reader.remarks == []


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (7, "7"),
        (-12.0, "-12"),
        (1e15, "1000000000000000"),
        (1234567890123456.0, "1234567890123456"),
        (1e20, "100000000000000000000"),
        (1e21, "1E+21"),
        (1.5e300, "1.5E+300"),
        (0.30000000000000004, "0.3"),
        (1.005, "1.005"),
        (123456.789, "123456.789"),
        (0.000001, "0.000001"),
        (0.00000015, "1.5E-7"),
        (-2.5e-10, "-2.5E-10"),
        (math.inf, "#NUM!"),
        (math.nan, "#NUM!"),
    ],
)
def test_a_number_is_written_as_a_spreadsheet_shows_it(number: float, text: str) -> None:
    assert number_text(number) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
@settings(deadline=None, database=None)
def test_a_number_keeps_fifteen_digits(number: float) -> None:
    text = number_text(number)
    assert math.isclose(float(text), number, rel_tol=1e-14, abs_tol=0)
    assert float(text) == number or float(text) == float(f"{number:.15g}")


def test_numbers_that_are_longer_than_excel_keeps_them_are_named(path: Path) -> None:
    with workbook(path) as book:
        fill(book.add_worksheet(), [["card", "n"], [4111111111111111, 1], ["4111111111111111", 2]])
    reader, lines = read(path)
    assert [row[0] for row in cells(lines)] == ["4111111111111111", "4111111111111111"]
    ((line, text),) = remarks(reader, "long_number")
    assert line == 2
    assert "A number has more than 15 digits (line 2)" in text


def test_errors_are_text_and_counted(path: Path) -> None:
    with workbook(path) as book:
        sheet = book.add_worksheet()
        fill(sheet, [["a", "b"], [True, False], ["x", "y"], ["#N/A", "text"]])
        sheet.write_formula(1, 2, "=NA()", None, "#N/A")
        sheet.write_formula(2, 1, "=1/0", None, "#DIV/0!")
        sheet.write_formula(0, 2, '="c"', None, "c")
    reader, lines = read(path)
    assert reader.columns == ["a", "b", "c"]
    assert cells(lines) == [["TRUE", "FALSE", "#N/A"], ["x", "#DIV/0!", ""], ["#N/A", "text", ""]]
    ((line, text),) = remarks(reader, "error_cell")
    assert line == 2
    assert "There are 2 cells with an error: #N/A (1), #DIV/0! (1) (lines 2, 3)." in text


def test_a_row_with_a_formula_without_a_result_is_left_out(path: Path) -> None:
    with workbook(path) as book:
        sheet = book.add_worksheet()
        fill(sheet, [["a", "sum"], ["x"], ["y"], ["z"], []])
        sheet.write_formula(1, 1, "=1+1", None, 2)
        sheet.write_formula(2, 1, "=1+1", None, "")
        # An empty text is a result.
        sheet.write_formula(3, 1, '=""', None, "TEXT")
        sheet.write_formula(5, 1, "=1+1", None, "")
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
        raw = archive.read("xl/worksheets/sheet1.xml")
    parts["xl/worksheets/sheet1.xml"] = raw.replace(b"<v>TEXT</v>", b"<v></v>")
    pack(path, parts)
    _reader, lines = read(path)
    assert cells(lines)[:3] == [["x", "2"], ["y", ""], ["z", ""]]
    assert [(line.line, line.problem and line.problem.kind) for line in lines] == [
        (2, None),
        (3, "no_value"),
        (4, None),
        (6, "no_value"),
    ]
    assert lines[1].problem is not None
    assert "formula in B3 has no result" in lines[1].problem.text


@pytest.mark.parametrize(
    "formula",
    [
        "<f>A1</f>",
        "<f>A1</f><v/>",
        "<f>A1</f><v></v>",
        "<f/>",
        '<f t="shared" si="0"/>',
        '<f t="shared" ref="B2:B9" si="0">A1</f>\n  <v />',
    ],
)
def test_a_formula_without_a_result_is_found_as_any_program_writes_it(
    path: Path, formula: str
) -> None:
    name = '<row r="1"><c r="A1" t="inlineStr"><is><t>a</t></is></c><c r="B1"><v>1</v></c></row>'
    row = f'<row r="2"><c r="A2"><v>7</v></c><c s="0" r="B2">{formula}</c></row>'
    for mark in ("", "x:"):
        sheet = (name + row).replace("<", f"<{mark}").replace(f"<{mark}/", f"</{mark}")
        xlsx(path, sheet_of(sheet).replace("<worksheet", f'<worksheet xmlns:x="{MAIN}"'))
        _reader, lines = read(path)
        assert [line.problem and line.problem.text for line in lines] == [
            "The formula in B2 has no result."
        ]


def test_errors_and_formulas_are_found_everywhere_in_a_large_sheet(path: Path) -> None:
    """It is looked through block by block, and a cell may be in two of them."""
    row = (
        '<row r="{0}"><c r="A{0}" t="e"><f>NA()</f><v>#N/A</v></c>'
        '<c r="B{0}" s="0"><f>SUM(A1,A2,A3,A4,A5,A6)</f></c><c r="C{0}"><v>{0}</v></c></row>'
    )
    names = "".join(f'<c r="{name}1" t="str"><v>{name}</v></c>' for name in "ABC")
    rows = "".join(map(row.format, range(2, 20_002)))
    xlsx(path, sheet_of(f'<row r="1">{names}</row>{rows}'))
    reader, lines = read(path)
    assert cells(lines) == [["#N/A", "", str(line)] for line in range(2, 20_002)]
    assert [line.problem and line.problem.text for line in lines] == [
        f"The formula in B{line} has no result." for line in range(2, 20_002)
    ]
    assert "There are 20,000 cells with an error" in remarks(reader, "error_cell")[0][1]


def test_a_column_name_without_a_result_is_refused(path: Path) -> None:
    with workbook(path) as book:
        sheet = book.add_worksheet()
        fill(sheet, [["a"], ["x", "y"]])
        sheet.write_formula(0, 1, "=A1", None, "")
    found = refusal(path)
    assert (found.kind, found.line) == ("no_value", 1)
    assert "B1" in found.text


@pytest.mark.parametrize("nul", ["a_x0000_b", "a\0b"])
def test_a_nul_character_spoils_its_row_only_and_is_named_with_its_cell(
    path: Path, nul: str
) -> None:
    def row(line: int, text: str) -> str:
        cell = f'<c r="AB{line}" t="inlineStr"><is><t>{text}</t></is></c>'
        return f'<row r="{line}"><c r="AA{line}" t="inlineStr"><is><t>x</t></is></c>{cell}</row>'

    xlsx(path, sheet_of(row(1, "name") + row(7, nul) + row(8, "good")))
    _reader, lines = read(path)
    assert [line.problem.kind if line.problem else "" for line in lines] == ["nul", ""]
    assert lines[0].problem and "AB7" in lines[0].problem.text
    assert cells(lines)[0][1] in ("a\ufffdb", "a\ufffd")


# What .xlsx cannot hold at all: NUL, halves of a pair, and these two.
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0\ufffe\uffff"), max_size=20)


@given(st.lists(st.tuples(TEXTS, TEXTS, TEXTS), min_size=1, max_size=8))
@settings(deadline=None, database=None, max_examples=80)
def test_what_a_spreadsheet_writes_is_read_cell_for_cell(rows: list[tuple[str, str, str]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "upload"
        with workbook(path) as book:
            sheet = book.add_worksheet()
            fill(sheet, [["a", "b", "c"]])
            for line, row in enumerate(rows, start=1):
                for column, text in enumerate(row):
                    sheet.write_string(line, column, text)
        reader, lines = read(path)
    filled = {
        line: list(row)
        for line, row in enumerate(rows, start=2)
        if any(text.strip() for text in row)
    }
    assert dict(zip((line.line for line in lines), cells(lines), strict=True)) == filled
    assert reader.blank_lines == max(filled, default=1) - 1 - len(filled)


# --- Rows and columns -----------------------------------------------------------------------------


def test_lines_are_those_of_the_spreadsheet_wherever_the_table_begins(path: Path) -> None:
    with workbook(path) as book:
        sheet = book.add_worksheet()
        sheet.write_row("C4", ["name", "n"])
        sheet.write_row("C5", ["Ann", 7])
        sheet.write_row("C8", ["Bob", 8])
        # Only looks like something.
        sheet.write_blank("Z500", None, book.add_format({"bold": True}))
        sheet.write_string("C12", "  ")
    reader, lines = read(path)
    assert reader.columns == ["name", "n"]
    assert [line.line for line in lines] == [5, 8]
    assert cells(lines) == [["Ann", "7"], ["Bob", "8"]]
    assert reader.blank_lines == 3 + 2  # above it and in between, not below
    assert (reader.understood.header, reader.understood.sheet) == (4, "Sheet1")
    assert reader.position == path.stat().st_size


def test_a_title_above_the_column_names_and_merged_cells(path: Path) -> None:
    with workbook(path) as book:
        sheet = book.add_worksheet()
        sheet.merge_range("A1:C1", "Sales 2024")
        fill(sheet, [[], [], ["region", "name", "n"], ["North", "Ann", 1], ["", "Bob", 2]])
        sheet.merge_range("A4:A5", "North")
    reader, lines = read(path)
    assert reader.columns == ["region", "name", "n"]
    assert cells(lines) == [["North", "Ann", "1"], ["", "Bob", "2"]]
    assert remarks(reader, "above_header")
    reader, lines = read(path, Choices(header=NO_HEADER))
    assert [line.line for line in lines] == [1, 3, 4, 5]
    assert cells(lines)[0] == ["Sales 2024", "", ""]
    reader, lines = read(path, Choices(header=4, fill=True))
    assert reader.columns == ["North", "Ann", "1"]
    assert reader.understood == Choices(sheet="Sheet1", header=4, fill=True)


# --- Sheets ---------------------------------------------------------------------------------------


@pytest.fixture
def three_sheets(path: Path) -> Path:
    with workbook(path) as book:
        book.add_worksheet("Cover")
        fill(book.add_worksheet("final (2)"), [["a"], ["1"]])
        fill(book.add_worksheet("Notes & <more>"), [["b"], ["2"]])
        hidden = book.add_worksheet("Old")
        fill(hidden, [["c"], ["3"]])
        hidden.hide()
        chart = book.add_chart({"type": "bar"})
        chart.add_series({"values": "=Old!$A$1"})
        book.add_chartsheet("Chart").set_chart(chart)
    return path


def test_the_first_sheet_with_something_in_it_is_read_and_all_are_named(three_sheets: Path) -> None:
    reader, _lines = read(three_sheets)
    assert reader.columns == ["a"]
    assert list(reader.sheets) == ["final (2)", "Notes & <more>"]
    assert reader.understood.sheet == "final (2)"
    assert remarks(reader, "sheets") == [
        (
            None,
            "The workbook has 4 sheets; “final (2)” was read. Not read: “Notes & <more>”. "
            "Hidden: “Old”. Empty: “Cover”.",
        )
    ]


def test_a_sheet_with_rows_comes_before_one_with_a_single_line(path: Path) -> None:
    with workbook(path) as book:
        fill(book.add_worksheet("Notes"), [["Feedback of 2026"]])
        fill(book.add_worksheet("Data"), [["name"], ["Ann"]])
    reader, lines = read(path)
    assert (reader.understood.sheet, cells(lines)) == ("Data", [["Ann"]])
    with workbook(path) as book:
        fill(book.add_worksheet("Notes"), [["Feedback of 2026"]])
        fill(book.add_worksheet("More"), [["nothing"]])
    reader, lines = read(path)
    assert (reader.understood.sheet, cells(lines)) == ("Notes", [])


def test_another_sheet_can_be_chosen_also_a_hidden_one(three_sheets: Path) -> None:
    reader, _lines = read(three_sheets, Choices(sheet="Notes & <more>"))
    assert (reader.columns, reader.understood.sheet) == (["b"], "Notes & <more>")
    reader, _lines = read(three_sheets, Choices(sheet="Old"))
    assert reader.columns == ["c"]
    assert list(reader.sheets) == ["final (2)", "Notes & <more>", "Old"]


def test_a_sheet_that_is_empty_or_not_there_is_refused(three_sheets: Path) -> None:
    found = refusal(three_sheets, Choices(sheet="Data"))
    assert found.kind == "no_such_sheet"
    assert "“Cover”, “final (2)”" in found.text
    assert refusal(three_sheets, Choices(sheet="Cover")).kind == "empty"


def test_a_workbook_without_anything_is_refused(path: Path) -> None:
    with workbook(path) as book:
        book.add_worksheet("One")
        hidden = book.add_worksheet("Two")
        hidden.hide()
    found = refusal(path)
    assert found.kind == "empty"
    assert "“One”. Hidden: “Two”" in found.text


# --- Other kinds ----------------------------------------------------------------------------------


def test_the_kind_is_told_from_the_content_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "upload.xlsx"
    xls(path, [["name", "n"], ["Ann", 7], ["Bob", 1.5]])
    reader, lines = read(path)
    assert (reader.format, reader.columns) == ("Excel", ["name", "n"])
    assert cells(lines) == [["Ann", "7"], ["Bob", "1.5"]]

    xlsb(path, [["name", "n"], ["Ann", 7.0]])
    reader, lines = read(path)
    assert (reader.format, reader.columns) == ("Excel", ["name", "n"])
    assert cells(lines) == [["Ann", "7"]]
    assert "#N/A" in remarks(reader, "error_cell")[0][1]

    rows = ods_row(ods_cell("name")), ods_row(ods_cell("Ann"))
    ods(path, f'<table:table table:name="Data">{"".join(rows)}</table:table>')
    reader, lines = read(path)
    assert (reader.format, reader.columns) == ("OpenDocument", ["name"])
    assert cells(lines) == [["Ann"]]


def test_an_open_document_has_the_same_text_in_its_cells(path: Path) -> None:
    head = ods_row(*(ods_cell(name) for name in "abcdef"))
    row = ods_row(
        ods_cell("two\nlines"),
        ods_cell("0.3", "float", 'value="0.30000000000000004"'),
        ods_cell("1.5.24", "date", 'date-value="2024-05-01"'),
        ods_cell("1.5.24", "date", 'date-value="2024-05-01T13:45:00"'),
        ods_cell("30:05", "time", 'time-value="PT30H05M00.5S"'),
        ods_cell("#N/A", "string", 'string-value="" calcext:value-type="error"'),
    )
    breaks = ods_row(
        ods_cell("a<text:tab/>b<text:line-break/>c"),
        ods_cell("13:45", "time", 'time-value="PT13H45M00S"'),
    )
    below = ods_row('<table:table-cell table:number-columns-repeated="16384"/>', again=1_000_000)
    ods(path, f'<table:table table:name="Data">{head}{row}{breaks}{below}</table:table>')
    reader, lines = read(path)
    assert cells(lines) == [
        ["two\nlines", "0.3", "2024-05-01", "2024-05-01 13:45:00", "30:05:00.500", "#N/A"],
        ["a\tb\nc", "13:45:00", "", "", "", ""],
    ]
    assert "There is 1 cell with an error" in remarks(reader, "error_cell")[0][1]


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (["[Content_Types].xml", "word/document.xml"], "a Word document"),
        (["[Content_Types].xml", "ppt/presentation.xml"], "a PowerPoint presentation"),
        (["Index/Document.iwa", "Metadata/Properties.plist"], "Apple Numbers"),
        (["a.numbers/Index.zip", "a.numbers/preview.jpg"], "Apple Numbers"),
        (["index.xml", "buildVersionHistory.plist"], "Apple Numbers"),
        (["mimetype", "content.xml"], "not a spreadsheet"),
        (["table.csv"], "does not contain a workbook"),
        ([], "does not contain a workbook"),
    ],
)
def test_another_kind_of_zip_file_is_named(path: Path, parts: list[str], words: str) -> None:
    pack(path, dict.fromkeys(parts, "application/vnd.oasis.opendocument.text"))
    found = refusal(path)
    assert found.kind == "not_text"
    assert words in found.text


def test_another_kind_of_old_office_file_is_named(path: Path) -> None:
    xls(path, [["a"]])
    rename_stream(path, "WordDocument")
    assert "a Word document" in refusal(path).text


def _encrypted_xlsx(path: Path) -> None:
    xls(path, [["a"]])
    rename_stream(path, "EncryptedPackage")


def _encrypted_xls(path: Path) -> None:
    xls(path, [["a"]], inside=struct.pack("<HHH", 0x2F, 2, 0))


def _encrypted_ods(path: Path) -> None:
    ods(path, manifest="<manifest:encryption-data/>")


def _encrypted_zip(path: Path) -> None:
    xlsx(path)
    with zipfile.ZipFile(path) as archive:
        at = archive.start_dir + 8
    raw = bytearray(path.read_bytes())
    raw[at] |= 1
    path.write_bytes(raw)


@pytest.mark.parametrize("make", [_encrypted_xlsx, _encrypted_xls, _encrypted_ods, _encrypted_zip])
def test_a_workbook_with_a_password_is_refused_by_name(
    path: Path, make: Callable[[Path], None]
) -> None:
    make(path)
    found = refusal(path)
    assert found.kind == "password"
    assert "Remove the password" in found.remedy


# --- Damaged, or made to do harm ------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        b"PK\x03\x04 and so on",
        b"PK\x05\x06",
        b"\xd0\xcf\x11\xe0 and so on",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(2_000),
    ],
)
def test_what_only_begins_like_a_workbook_is_damaged(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert refusal(path).kind == "damaged"


def test_a_workbook_that_was_cut_or_changed_is_damaged(path: Path) -> None:
    xlsx(path)
    whole = path.read_bytes()
    for part in (whole[: len(whole) // 2], whole[:-10]):
        path.write_bytes(part)
        assert refusal(path).kind == "damaged"
    pack(path, {"xl/workbook.xml": BOOK})
    assert refusal(path).kind == "damaged"
    # Its checksum is that of another one.
    xlsx(path, stored=True)
    path.write_bytes(path.read_bytes().replace(b">Ann<", b">Ben<"))
    assert refusal(path).kind == "damaged"


def test_a_sheet_that_ends_before_its_end_is_not_read_as_if_it_were_whole(path: Path) -> None:
    xlsx(path, SMALL.partition("</sheetData>")[0])
    found = refusal(path)
    assert found.kind == "damaged"
    assert "“Data”" in found.text


FAR = '<row r="1"><c r="A1"><v>1</v></c></row><row r="1048576"><c r="XFD1048576"{}</row>'


def test_a_cell_far_away_is_named_before_it_takes_all_memory(path: Path) -> None:
    xlsx(path, sheet_of(FAR.format("><v>2</v></c>")))
    found = refusal(path)
    assert found.kind == "far_cell"
    assert "line 1,048,576 and column XFD, but only 2 of its cells" in found.text
    answer = apart(path, USUAL)
    assert isinstance(answer, Failed)
    assert answer.findings == [found]


def test_a_place_that_no_sheet_has_is_not_counted_up_to(path: Path) -> None:
    cell = '<row r="9"><c r="A99999999999"><f>A1</f></c></row>'
    xlsx(path, SMALL.replace("</sheetData>", f"{cell}</sheetData>"))
    assert isinstance(apart(path, USUAL), FileRead | Failed)


def test_an_empty_cell_far_away_does_not_matter(path: Path) -> None:
    xlsx(path, sheet_of(FAR.format(' s="0"/>') + '<row r="2"><c r="A2"><v>3</v></c></row>'))
    _reader, lines = read(path)
    assert cells(lines) == [["3"]]


def test_a_file_that_kills_the_process_could_not_be_read(path: Path) -> None:
    repeated(path, 90_000, 1_000)
    with pytest.raises(Unreadable) as raised:
        apart(path, Limits(memory=500_000_000))
    finding = raised.value.findings[0]
    assert finding.kind == "too_much"
    assert "Save it as CSV" in finding.remedy


def test_more_cells_than_fit_into_any_memory_are_refused(path: Path) -> None:
    repeated(path, 1_048_576, 16_384)
    answer = apart(path, USUAL)
    assert isinstance(answer, Failed)


def test_a_workbook_is_read_in_the_process_apart(path: Path) -> None:
    with workbook(path) as book:
        fill(book.add_worksheet("Data"), [["a", "b"], ["x", 1]])
    answer = apart(path, USUAL)
    assert isinstance(answer, FileRead)
    assert (answer.summary.rows, answer.summary.sheets) == (1, ["Data"])
    assert answer.summary.understood == Choices(sheet="Data", header=1)


def test_a_bomb_is_refused_by_what_it_says_of_itself(path: Path) -> None:
    strings = f'<sst xmlns="{MAIN}"><si><t>x</t></si></sst>'
    xlsx(path, parts={"xl/sharedStrings.xml": strings})
    assert read(path)
    declare(path, "xl/sharedStrings.xml", 530_000_000)
    found = refusal(path)
    assert found.kind == "too_much"
    assert "expands to 530 MB" in found.text
    found = refusal(path, limits=Limits(unpacked=100_000_000))
    assert "expands to 530 MB; at most 100 MB are possible" in found.text


def test_a_bomb_that_lies_about_its_size_is_refused(path: Path) -> None:
    text = "<si><t>x</t></si>" * 200_000
    xlsx(path, parts={"xl/sharedStrings.xml": f'<sst xmlns="{MAIN}">{text}</sst>'})
    declare(path, "xl/sharedStrings.xml", 1_234)
    assert refusal(path).kind == "damaged"


@pytest.mark.parametrize("part", ["xl/sharedStrings.xml", "xl/worksheets/sheet1.xml"])
def test_an_endless_text_is_refused_before_all_of_it_is_read(path: Path, part: str) -> None:
    text = "x" * 5_000_000
    xlsx(path, parts={part: f'<sst xmlns="{MAIN}"><si><t>{text}</t></si></sst>'})
    found = refusal(path)
    assert found.kind == "long_cell"
    assert "1,000,000 bytes" in found.text


@pytest.mark.parametrize(
    "document_type",
    [
        '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>',
        '<?xml version="1.0"?>\n<!-- so -->\n<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_document_type_is_refused(path: Path, document_type: str, encoding: str) -> None:
    xlsx(path, sheet_of("", document_type).encode(encoding))
    found = refusal(path)
    assert found.kind == "damaged"
    assert "DOCTYPE" in found.text


@pytest.mark.parametrize("name", ["../../evil.xml", "/etc/evil", "xl\\..\\..\\evil", "C:\\evil"])
def test_a_part_that_leads_out_of_the_workbook_is_refused(path: Path, name: str) -> None:
    xlsx(path, parts={name: "evil"})
    found = refusal(path)
    assert found.kind == "damaged"
    assert "leads out of it" in found.text


def test_a_workbook_with_very_many_parts_is_refused(path: Path) -> None:
    xlsx(path, parts={f"xl/media/{number}": b"" for number in range(5_000)})
    found = refusal(path)
    assert found.kind == "too_much"
    assert "5,005 parts" in found.text
