"""Workbooks that spreadsheet programs open, and that our library would read wrong or not at all."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest
import xlwt  # type: ignore[import-untyped]  # has no types

from jobs.ingest.file_formats import open_upload
from jobs.ingest.shapes import Choices, Finding, Limits, Reader, Unreadable

from ..workbooks import (
    BOOK,
    OFFICE,
    SMALL,
    ods,
    ods_cell,
    ods_row,
    ole,
    relations,
    sheet_of,
    xls,
    xls_stream,
    xlsx,
)

pytestmark = pytest.mark.no_database

LONG = [[f"row {number}"] for number in range(200)]  # more than fits in small sectors


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "upload"


def read(path: Path) -> tuple[Reader, list[list[str]]]:
    reader = open_upload(str(path), Choices(), Limits())
    rows = list(reader)
    assert [row.problem for row in rows] == [None] * len(rows)
    return reader, [json.loads(row.source) for row in rows]


def said(reader: Reader, kind: str) -> list[str]:
    return [one.text for one in reader.remarks if one.kind == kind]


def refusal(path: Path) -> Finding:
    with pytest.raises(Unreadable) as raised:
        open_upload(str(path), Choices(), Limits())
    return raised.value.findings[0]


# --- .xls -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [[], LONG], ids=["small", "large"])
@pytest.mark.parametrize("code_page", [1252, 1251, 936, 10029])
def test_texts_of_an_xls_are_utf_16_whatever_its_code_page(
    path: Path, code_page: int, more: list[list[str]]
) -> None:
    rows = [["name"], ["Ann"], ["Zoë"], ["Анна"], ["安娜"], *more]
    raw = xls_stream(rows)
    named = struct.pack("<HHH", 0x42, 2, 1200)
    assert raw.count(named) == 1
    ole(path, {"Workbook": raw.replace(named, struct.pack("<HHH", 0x42, 2, code_page))}, {})
    assert read(path)[1] == rows[1:]


@pytest.mark.parametrize("name", ["Workbook", "WORKBOOK"])
def test_a_workbook_that_is_embedded_in_another_is_not_read(path: Path, name: str) -> None:
    other = {"Workbook": xls_stream([["name"], ["embedded"]])}
    ole(path, {name: xls_stream([["name"], ["Ann"]])}, other)
    assert read(path)[1] == [["Ann"]]
    ole(path, {"WordDocument": b"text"}, other)
    assert "a Word document" in refusal(path).text


def with_results(path: Path, results: list[bytes], more: list[list[str]]) -> None:
    """An .xls with formulas that have these results, as dates; and a cell with an error."""
    book = xlwt.Workbook()
    sheet = book.add_sheet("Data")
    day = xlwt.easyxf(num_format_str="yyyy-mm-dd")
    sheet.write(0, 0, "day")
    for line in range(1, 1 + len(results)):
        sheet.write(line, 0, xlwt.Formula("1/0"), day)
    sheet.row(len(results) + 1).set_cell_error(0, 0x2A)
    for line, row in enumerate(more, start=len(results) + 2):
        sheet.write(line, 0, row[0])
    raw = book.get_biff_data()
    none = struct.pack("<Q", 0xFFFF000000000003)
    assert raw.count(none) == len(results)
    for result in results:
        raw = raw.replace(none, result, 1)
    ole(path, {"Workbook": raw}, {})


@pytest.mark.parametrize("more", [[], LONG], ids=["small", "large"])
def test_errors_of_an_xls_and_days_before_1900_are_read(path: Path, more: list[list[str]]) -> None:
    error = struct.pack("<Q", 0xFFFF000000070002)
    with_results(path, [struct.pack("<d", 45_000), struct.pack("<d", -30_698), error], more)
    reader, rows = read(path)
    assert rows == [["2023-03-15"], ["1815-12-13"], ["#DIV/0!"], ["#N/A"], *more]
    assert ["#DIV/0! (1), #N/A (1)" in text for text in said(reader, "error_cell")] == [True]
    xls(path, [["name"], ["Ann"]])
    assert not said(read(path)[0], "error_cell")


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"\x09\0\x04\0" + b"\0\0\x10\0\0\0" * 20, "of Excel 4 or older"),
        (b"\x09\x02\x06\0" + b"\0\0\x10\0\0\0" * 20, "of Excel 4 or older"),
        (b"\x09\x04\x06\0" + b"\0\0\x10\0\0\0" * 20, "of Excel 4 or older"),
        (b'ID;PWXL;N;E\r\nP;PGeneral\r\nC;Y1;X1;K"name"\r\nC;Y2;K"Ann"\r\nE\r\n', "as SYLK"),
        (b'TABLE\r\n0,1\r\n"EXCEL"\r\nVECTORS\r\n0,1\r\n""\r\n', "as DIF"),
        (
            b'<?xml version="1.0"?><Workbook xmlns="urn:schemas-microsoft-com:office:spreadsheet"',
            "XML",
        ),
    ],
)
def test_a_workbook_of_another_kind_is_named(path: Path, content: bytes, name: str) -> None:
    path.write_bytes(content)
    found = refusal(path)
    assert name in found.text
    assert "save it as .xlsx" in found.remedy


@pytest.mark.parametrize("text", ["ID;PRICE\nC;5\nB;6\n", "TABLE\n0,1\n2,3\n"])
def test_a_table_that_begins_like_another_workbook_is_read(path: Path, text: str) -> None:
    path.write_text(text)
    assert len(read(path)[1]) == 2


# --- .xlsx ----------------------------------------------------------------------------------------


def test_sheets_that_hold_no_table_do_not_matter(path: Path) -> None:
    others = (
        '<sheet name="Macro" sheetId="2" r:id="rId2"/><sheet name="A > B" sheetId="3" r:id=""/>'
        '<sheet name="Module" sheetId="4"/></sheets>'
    )
    parts = relations(worksheet="worksheets/sheet1.xml").replace(
        "</Relationships>",
        '<Relationship Id="rId2" Target="macrosheets/sheet1.xml" Type="http://schemas.microsoft.com'
        '/office/2006/relationships/xlMacrosheet"/></Relationships>',
    )
    xlsx(
        path,
        parts={
            "xl/workbook.xml": BOOK.replace("</sheets>", others),
            "xl/_rels/workbook.xml.rels": parts,
            "xl/macrosheets/sheet1.xml": f'<macrosheet xmlns:r="{OFFICE}"/>',
        },
    )
    reader, rows = read(path)
    assert rows == [["Ann"]]
    assert said(reader, "other_sheets") == [
        "Sheets without a table were not read: “Macro”, “A > B”, “Module”."
    ]


def test_what_other_programs_say_of_a_sheet_does_not_matter(path: Path) -> None:
    sized = SMALL.replace("<sheetData>", '<dimension ref="1:2"/><sheetData>')
    shown = BOOK.replace('sheetId="1"', 'sheetId="1" state="show"')
    xlsx(path, sized, {"xl/workbook.xml": shown})
    assert read(path)[1] == [["Ann"]]


def test_cells_that_do_not_say_where_they_are(path: Path) -> None:
    def text(value: str) -> str:
        return f'<c t="inlineStr"><is><t>{value}</t></is></c>'

    names = f"<row>{text('name')}{text('n')}</row>"
    error = f"<row>{text('Ann')}<c t='e'><v>#N/A</v></c></row>"
    alone = "<row r='4'><c r='B4' t='e'><v>#REF!</v></c></row>"
    xlsx(path, sheet_of(names + error + alone))
    assert read(path)[1] == [["Ann", "#N/A"], ["", "#REF!"]]
    xlsx(path, sheet_of(f"{names}<row>{text('Ann')}<c><f>1+1</f></c></row>"))
    (row,) = open_upload(str(path), Choices(), Limits())
    assert row.problem is not None
    assert row.problem.text == "The formula in B2 has no result."


def test_durations_of_strict_open_xml(path: Path) -> None:
    durations = ["PT0H11M0.000S", "PT30H5M0.500S"]
    cells = [f'<c r="B{line}" t="d"><v>{text}</v></c>' for line, text in enumerate(durations, 2)]
    names = "".join(
        f'<c r="{letter}1" t="inlineStr"><is><t>{name}</t></is></c>'
        for letter, name in (("A", "id"), ("B", "time"))
    )
    rows = "".join(
        f'<row r="{line}"><c r="A{line}"><v>1</v></c>{cell}</row>'
        for line, cell in enumerate(cells, 2)
    )
    xlsx(path, sheet_of(f'<row r="1">{names}</row>{rows}'))
    assert read(path)[1] == [["1", "0:11:00"], ["1", "30:05:00.500"]]


# --- .ods -----------------------------------------------------------------------------------------

NOTE = "<office:annotation><dc:date>2026</dc:date><text:p>a note</text:p></office:annotation>"
SHAPE = "<draw:custom-shape><text:p>a shape</text:p></draw:custom-shape>"
PICTURE = '<draw:frame><draw:image xlink:href="a.png"><text:p/></draw:image></draw:frame>'


@pytest.mark.parametrize("over", [NOTE, SHAPE, PICTURE, f"<draw:g>{SHAPE}{SHAPE}</draw:g>{NOTE}"])
def test_what_lies_over_a_cell_is_no_text_of_it(path: Path, over: str) -> None:
    names = ods_row(ods_cell("name"), ods_cell("n"), ods_cell("share"))
    cells = (
        ods_cell("Ann"),
        ods_cell("7", "float", 'value="7"'),
        ods_cell("7.5%", "percentage", 'value="0.075"'),
    )
    before = [cell.replace("<text:p>", f"{over}<text:p>", 1) for cell in cells]
    behind = [cell.replace("</text:p>", f"</text:p>{over}") for cell in cells]
    table = f"{names}{ods_row(*before)}{ods_row(*behind)}"
    ods(path, f'<table:table table:name="Data">{table}</table:table>')
    assert read(path)[1] == [["Ann", "7", "7.5%"]] * 2


def test_a_workbook_with_macros_is_harmless(path: Path) -> None:
    rows = f"{ods_row(ods_cell('name'))}{ods_row(ods_cell('Ann'))}"
    macro = '<!DOCTYPE script:module PUBLIC "-//OpenOffice.org//DTD" "module.dtd"><script:module/>'
    ods(
        path,
        f'<table:table table:name="Data">{rows}</table:table>',
        parts={"Basic/Standard/Module1.xml": macro, "Dialogs/dialog-lc.xml": macro},
    )
    assert read(path)[1] == [["Ann"]]


# --- Encodings ------------------------------------------------------------------------------------


def in_encoding(path: Path, encoding: str, said: str) -> None:
    """Write all parts of a workbook anew, in an encoding that they say is `said`."""
    with zipfile.ZipFile(path) as archive:
        texts = {name: archive.read(name).decode() for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in texts.items():
            declared = f'<?xml version="1.0" encoding="{said}"?>\n{text}'
            is_xml = name.endswith((".xml", ".rels"))
            archive.writestr(name, declared.encode(encoding) if is_xml else text)


def named(names: Iterable[str]) -> str:
    """A sheet with one column: its name, and a cell a line."""
    return sheet_of(
        "".join(
            f'<row r="{line}"><c r="A{line}" t="inlineStr"><is><t>{name}</t></is></c></row>'
            for line, name in enumerate(names, 1)
        )
    )


ENCODINGS = [
    ("utf-16", "UTF-16"),
    ("utf-16-le", "utf-16"),
    ("utf-16-be", "UTF-16BE"),
    ("utf-8", "utf-16"),
    ("utf-8", "windows-1252"),
    ("utf-8-sig", "UTF-8"),
    ("windows-1252", "windows-1252"),
    ("iso-8859-1", "ISO-8859-1"),
]


@pytest.mark.parametrize(("encoding", "said"), ENCODINGS)
@pytest.mark.parametrize("program", ["xlsx", "ods"])
def test_a_workbook_is_read_in_whatever_encoding_its_parts_are(
    path: Path, program: str, encoding: str, said: str
) -> None:
    if program == "xlsx":
        xlsx(path, named(["Größe", "année"]))
    else:
        rows = [ods_row(ods_cell(text)) for text in ("Größe", "année")]
        ods(path, f'<table:table table:name="A">{"".join(rows)}</table:table>')
    in_encoding(path, encoding, said)
    reader, rows_read = read(path)
    assert reader.columns == ["Größe"]
    assert rows_read == [["année"]]


def test_a_workbook_in_another_encoding_is_read_over_the_borders_of_its_blocks(path: Path) -> None:
    names = [f"n{'é' * (number % 3)}{number}" for number in range(10_000)]
    xlsx(path, named(["Größe", *names]))
    in_encoding(path, "utf-16", "utf-16")
    _reader, rows_read = read(path)
    assert rows_read == [[name] for name in names]


def test_an_encoding_hides_no_document_type(path: Path) -> None:
    xlsx(path, f"<!DOCTYPE x>{SMALL}")
    in_encoding(path, "utf-7", "utf-7")
    assert "DOCTYPE" in refusal(path).text


@pytest.mark.parametrize("said", ["klingon", "zlib", "rot13", "ascii", "utf-16", "utf-7"])
def test_text_that_does_not_fit_its_encoding_is_refused(path: Path, said: str) -> None:
    xlsx(path, named(["Größe", "année"]))
    in_encoding(path, "windows-1252", said)
    assert "damaged" in refusal(path).text
