"""What a person sees in a workbook is what is read, and what they do not see is said."""

from __future__ import annotations

import json
import random
import zipfile
from datetime import date, datetime
from pathlib import Path
from typing import Any

import openpyxl
import pytest
import xlwt  # type: ignore[import-untyped]

from jobs.ingest.file_formats import open_upload
from jobs.ingest.finding_kinds import asks
from jobs.ingest.shapes import FILL, KEEP, SKIP, Choices, Finding, Limits, Reader, Unreadable

from ..workbooks import (
    BOOK,
    MAIN,
    TYPES,
    fill,
    ods,
    ods_cell,
    ods_row,
    pack,
    relations,
    sheet_of,
    workbook,
    xlsb,
    xlsx,
)

pytestmark = pytest.mark.no_database

DATA = Path(__file__).parent.parent / "data" / "workbooks"
AS_IT_IS = Choices()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "upload"


def read(path: Path, choices: Choices = AS_IT_IS) -> tuple[Reader, list[list[str]]]:
    reader = open_upload(str(path), choices, Limits())
    return reader, [json.loads(line.source) for line in reader]


def finding(reader: Reader, kind: str) -> Finding:
    (found,) = [remark for remark in reader.remarks if remark.kind == kind]
    return found


def kinds(reader: Reader) -> list[str]:
    return [remark.kind for remark in reader.remarks]


def amounts(path: Path, *formats: str, rows: int = 40) -> None:
    """A column of amounts, each of the formats after the other."""
    with workbook(path) as book:
        sheet = book.add_worksheet()
        fill(sheet, [["item", "price"]])
        known = [book.add_format({"num_format": code}) for code in formats]
        for line in range(1, rows * len(formats) + 1):
            sheet.write(line, 0, f"item {line}")
            sheet.write_number(line, 1, line + 0.5, known[(line - 1) // rows])


def test_several_currencies_in_a_column_are_named_and_asked_about(path: Path) -> None:
    amounts(path, "[$$-409]#,##0.00", '#,##0.00 "€"', "[$£-809]#,##0.00")
    reader, rows = read(path)
    asked = finding(reader, "mixed_formats")
    assert all(sign in asked.text for sign in "$€£") and asks("mixed_formats")
    assert rows[0][1] == "1.5"
    assert labels(asked) == ["As shown"]
    reader, rows = read(path, asked.options[0].applied(AS_IT_IS))
    assert [rows[at][1] for at in (0, 40, 80)] == ["$1.50", "41.50 €", "£81.50"]
    assert "mixed_formats" not in kinds(reader)


def test_one_currency_is_a_remark_and_each_format_of_a_column_is_named(path: Path) -> None:
    amounts(path, '"$"#,##0.00', '"$"#,##0')
    reader, _rows = read(path)
    assert "mixed_formats" not in kinds(reader) and finding(reader, "number_format")
    amounts(path, '"INV-"0.0', '0.0" kg"', "0.0")
    reader, rows = read(path)
    said = finding(reader, "number_format")
    assert "INV-" in said.text and "kg" in said.text and "2 formats" in said.text
    assert [rows[at][1] for at in (0, 40, 80)] == ["INV-1.5", "41.5 kg", "81.5"]


def labels(found: Finding) -> list[str]:
    return [option.label for option in found.options]


def chosen(reader: Reader, kind: str, label: str, choices: Choices = AS_IT_IS) -> Choices:
    """The choices after a click on this button."""
    options = {
        one.label: one for found in reader.remarks if found.kind == kind for one in found.options
    }
    return options[label].applied(choices)


# --- Hidden rows and columns ----------------------------------------------------------------------


def test_hidden_rows_and_columns_are_said_and_can_be_left_out() -> None:
    reader, rows = read(DATA / "hidden_rows.xlsx")
    assert len(rows) == 10
    found = finding(reader, "hidden")
    assert found.text == ("7 of 10 rows and the column “secret” are hidden in your spreadsheet.")
    assert (found.line, labels(found)) == (
        5,
        ["Only the visible rows and columns", "All rows and columns"],
    )
    visible = chosen(reader, "hidden", "Only the visible rows and columns")
    reader, rows = read(DATA / "hidden_rows.xlsx", visible)
    assert reader.columns == ["id", "state", "text"]
    assert rows == [[str(n), "open", f"text {n}"] for n in (1, 2, 3)]
    assert kinds(reader) == ["hidden_left_out"], "the question is not asked again"
    assert reader.understood.hidden == SKIP
    assert reader.blank_lines == 0
    every = chosen(reader, "hidden_left_out", "All rows and columns", visible)
    reader, rows = read(DATA / "hidden_rows.xlsx", every)
    assert (len(rows), kinds(reader)) == (10, ["hidden_read"])


@pytest.mark.parametrize(
    "attributes",
    [
        'hidden="1"',
        "hidden='1'",
        'hidden="true"',
        'ht="0" customHeight="1"',
        'spans="1:1" ht="0.0"',
    ],
)
@pytest.mark.parametrize("numbered", [True, False])
def test_rows_are_hidden_as_any_program_writes_it(
    path: Path, attributes: str, numbered: bool
) -> None:
    rows = ""
    for line in range(1, 7):
        number = f' r="{line}"' if numbered else ""
        more = attributes if line in (3, 5) else 'ht="15"'
        rows += (
            f'<row{number} {more}><c r="A{line}" t="inlineStr"><is><t>t{line}</t></is></c></row>'
        )
    for mark in ("", "x:"):
        marked = rows.replace("<", f"<{mark}").replace(f"<{mark}/", f"</{mark}")
        xlsx(path, sheet_of(marked).replace("<worksheet", f'<worksheet xmlns:x="{MAIN}"'))
        reader, cells = read(path)
        assert finding(reader, "hidden").text == "2 of 5 rows are hidden in your spreadsheet."
        assert len(cells) == 5
        _reader, cells = read(path, Choices(hidden=SKIP))
        assert cells == [["t2"], ["t4"], ["t6"]]


def test_hidden_rows_are_found_everywhere_in_a_large_sheet(path: Path) -> None:
    with workbook(path) as book:
        sheet = book.add_worksheet()
        fill(sheet, [["n", "text"], *([n, "words " * 9] for n in range(2, 30_001))])
        for line in range(2, 30_001, 3):
            sheet.set_row(line - 1, None, None, {"hidden": True})
    reader, rows = read(path)
    assert finding(reader, "hidden").text.startswith("10,000 of 29,999 rows are hidden")
    _reader, rows = read(path, Choices(hidden=SKIP))
    assert [int(row[0]) for row in rows] == [n for n in range(2, 30_001) if n % 3 != 2]


def test_hidden_blank_rows_and_titles_are_no_hidden_rows(path: Path) -> None:
    with workbook(path) as book:
        sheet = book.add_worksheet()
        fill(sheet, [["Report"], [], ["a", "b", "c"], [1, 2, 3], [], [4, 5, 6]])
        for line in (1, 2, 5, 9):
            sheet.set_row(line - 1, None, None, {"hidden": True})
        sheet.set_column(5, 9, None, None, {"hidden": True})
    reader, _rows = read(path)
    assert "hidden" not in kinds(reader)


def test_columns_of_no_width_are_hidden_and_lines_keep_their_numbers(path: Path) -> None:
    with workbook(path) as book:
        sheet = book.add_worksheet()
        fill(sheet, [["a", "b", "c", "d"], *([n, f"b{n}", f"c{n}", f"d{n}"] for n in range(3))])
        sheet.set_column(1, 1, 0)
        sheet.set_column(3, 3, None, None, {"hidden": True})
        sheet.set_row(2, None, None, {"hidden": True})
    reader, _rows = read(path)
    found = finding(reader, "hidden")
    assert found.text.startswith("1 of 3 rows and the columns “b”, “d” are hidden")
    reader = open_upload(str(path), Choices(hidden=SKIP), Limits())
    lines = list(reader)
    assert [(line.line, json.loads(line.source)) for line in lines] == [
        (2, ["0", "c0"]),
        (4, ["2", "c2"]),
    ]
    assert reader.columns == ["a", "c"]
    assert "“b”, “d”" in finding(reader, "hidden_left_out").text


def test_names_in_a_hidden_line_are_names(path: Path) -> None:
    with workbook(path) as book:
        sheet = book.add_worksheet()
        fill(sheet, [["a", "b"], ["x", "y"], ["v", "w"]])
        sheet.set_row(0, None, None, {"hidden": True})
        sheet.set_row(1, None, None, {"hidden": True})
    reader, rows = read(path, Choices(hidden=SKIP))
    assert (reader.columns, rows) == (["a", "b"], [["v", "w"]])
    assert finding(reader, "hidden_left_out").text.startswith("1 of 2 rows is hidden")


def test_a_formula_without_a_result_is_named_right_beside_hidden_columns(path: Path) -> None:
    with workbook(path) as book:
        sheet = book.add_worksheet()
        fill(sheet, [["a", "b", "c"], ["x", "y"]])
        sheet.write_formula(1, 2, "=1+1", None, "")
        sheet.set_column(1, 1, None, None, {"hidden": True})
    (line,) = open_upload(str(path), Choices(hidden=SKIP), Limits())
    assert line.problem and "C2" in line.problem.text


# --- Number formats -------------------------------------------------------------------------------


def test_formats_that_say_something_are_read_as_shown() -> None:
    reader, rows = read(DATA / "formats.xlsx")
    read_as = {row[0]: row[1] for row in rows}
    for name, text in {
        "percent 7.5%": "7.5%",
        "zip 02494": "02494",
        "usd $1,234.50": "1234.5",
        "phone": "(212) 555-1234",
        "acct neg (5)": "-5",
        "thousands K 12K": "12000",
        "id INV-00042": "INV-00042",
        "fraction 1/2": "0.5",
        "sci": "1.23E-7",
        "date": "2023-03-15",
        "yes": "Yes",
        "month Mar 2023": "2023-03-15",
        "year e": "2023-03-15",
        "general red": "5",
        "datetime literal text h in quotes": "5 hours",
        "ssn": "123-45-6789",
        "Euro": "9.99",
        "G/general": "45000",
    }.items():
        assert read_as[name] == text
    texts = [found.text for found in reader.remarks if found.kind == "number_format"]
    assert texts == [
        "Column “value” has 6 formats: 7.5% (stored as 0.075), 02494 (stored as 2494), "
        "INV-00042 (stored as 42), Yes (stored as 1), 5 hours (stored as 5) and 1 more. "
        "They were read as shown.",
        "Column “value”: shown as 2023, stored as 45000. It was read as 2023-03-15, so that no "
        "digit is lost.",
    ]
    assert "$1,234.50 (stored as 1234.5)" in finding(reader, "mixed_formats").text


def test_each_column_can_be_read_as_shown_or_as_stored(path: Path) -> None:
    with workbook(path) as book:
        sheet = book.add_worksheet()
        fill(sheet, [["zip", "price", "rate", "plain"]])
        for line in range(1, 60):
            for column, (value, code) in enumerate(
                [(2494, "00000"), (1234.5, "$#,##0.00"), (0.0751, "0.0%"), (7.5, "0.00")]
            ):
                sheet.write_number(line, column, value, book.add_format({"num_format": code}))
    reader, rows = read(path)
    assert rows == [["02494", "1234.5", "7.51%", "7.5"]] * 59
    texts = [found.text for found in reader.remarks if found.kind == "number_format"]
    assert texts == [
        "Column “zip”: shown as 02494, stored as 2494. It was read as shown.",
        "Column “price”: shown as $1,234.50, stored as 1234.5. It was read as stored.",
        "Column “rate”: shown as 7.5%, stored as 0.0751. It was read as 7.51%, so that no digit "
        "is lost.",
    ]
    assert [labels(found) for found in reader.remarks] == [
        ["As stored"],
        ["As shown"],
        ["As shown", "As stored"],
    ]
    choices = reader.remarks[0].options[0].applied(AS_IT_IS)
    assert choices == Choices(as_stored=("zip",))
    reader, rows = read(path, Choices(as_stored=("zip",), as_shown=("price", "rate", "no such")))
    assert rows == [["2494", "$1,234.50", "7.5%", "7.5"]] * 59
    assert "“no such”" in finding(reader, "no_such_column").text
    again = chosen(reader, "number_format", "As stored", reader.understood)
    assert set(again.as_stored) > {"zip"}, "what was chosen for other columns stays"


def test_a_column_beside_a_hidden_one_is_read_as_chosen(path: Path) -> None:
    with workbook(path) as book:
        sheet = book.add_worksheet()
        fill(sheet, [["hidden", "zip", "price"], ["x"]])
        sheet.write_number(1, 1, 2494, book.add_format({"num_format": "00000"}))
        sheet.write_number(1, 2, 5, book.add_format({"num_format": "$0.00"}))
        sheet.set_column(0, 0, None, None, {"hidden": True})
    reader, rows = read(path, Choices(hidden=SKIP, as_stored=("zip",), as_shown=("price",)))
    assert (reader.columns, rows) == (["zip", "price"], [["2494", "$5.00"]])


@pytest.mark.parametrize("mark", ["", "x:"])
def test_cells_that_do_not_say_where_they_are_have_formats_too(path: Path, mark: str) -> None:
    name = '<c t="inlineStr"><is><t>{}</t></is></c>'
    rows = "<row>" + name.format("a") + name.format("b") + "</row>"
    rows += '<row><c s="1"/><c s="1"><v>0.5</v></c></row>' * 20_000
    rows += '<row r="30000"><c s="1"><v>0.25</v></c><c><v>7</v></c></row>'
    rows = rows.replace("<", f"<{mark}").replace(f"<{mark}/", f"</{mark}")
    sheet = sheet_of(rows).replace("<worksheet", f'<worksheet xmlns:x="{MAIN}"')
    linked = relations(worksheet="worksheets/sheet1.xml", styles="styles.xml")
    xlsx(path, sheet, {"xl/styles.xml": STYLES, "xl/_rels/workbook.xml.rels": linked})
    _reader, cells = read(path)
    assert cells[:-1] == [["", "50%"]] * 20_000
    assert cells[-1] == ["25%", "7"]


def test_text_in_a_format_of_text_and_hidden_numbers(path: Path) -> None:
    with workbook(path) as book:
        sheet = book.add_worksheet()
        fill(sheet, [["name", "secret"]])
        sheet.write_string(1, 0, "Who", book.add_format({"num_format": '"Dr. "@'}))
        sheet.write_number(1, 1, 123, book.add_format({"num_format": ";;;"}))
    reader, rows = read(path)
    assert rows == [["Dr. Who", "123"]]
    found = finding(reader, "format_hides")
    assert "“secret”: shown as an empty cell, stored as 123" in found.text
    assert labels(found) == ["As shown"]
    reader, rows = read(path, chosen(reader, "format_hides", "As shown"))
    assert (rows, "format_hides" in kinds(reader)) == ([["Dr. Who", ""]], False)


def test_an_open_document_is_read_by_its_formats_too(path: Path) -> None:
    head = ods_row(*map(ods_cell, ("zip", "rate", "weight", "price", "flag", "n", "ok", "big")))
    row = ods_row(
        ods_cell("02494", "float", 'value="2494"'),
        ods_cell("8 %", "percentage", 'value="0.075"'),
        ods_cell("5 kg", "float", 'value="5.25"'),
        ods_cell("1.234,50 €", "currency", 'value="1234.5"'),
        ods_cell("Yes", "float", 'value="1"'),
        ods_cell("2,50", "float", 'value="2.5"'),
        ods_cell("TRUE", "float", 'value="1"'),
        ods_cell("1.2E+04", "float", 'value="12345"'),
    )
    ods(path, f'<table:table table:name="Data">{head}{row}{row}</table:table>')
    reader, rows = read(path)
    more = ["TRUE", "12345"]
    assert rows == [["02494", "7.5 %", "5.25 kg", "1234.5", "Yes", "2.5", *more]] * 2
    assert kinds(reader) == ["number_format"] * 7
    _reader, rows = read(path, Choices(as_shown=("price", "rate"), as_stored=("zip", "flag")))
    assert rows == [["2494", "8 %", "5.25 kg", "1.234,50 €", "1", "2.5", *more]] * 2


def old_workbook(path: Path) -> None:
    book = xlwt.Workbook()
    for name in ("Cover", "Data"):
        sheet = book.add_sheet(name)
    sheet.write(0, 0, "rate")
    for column, name in enumerate(("zip", "born", "price", "secret"), start=1):
        sheet.write(0, column, name)
    for line in range(1, 400):
        for column, (value, code) in enumerate(
            [(0.075, "0.0%"), (2494, "00000"), (-30698, "yyyy-mm-dd"), (9.5, '"$"#,##0.00')]
        ):
            sheet.write(line, column, value, xlwt.easyxf(num_format_str=code))
        sheet.write(line, 4, f"s{line}")
        sheet.row(line).hidden = line % 2 == 0
    sheet.col(4).hidden = True
    sheet.write_merge(400, 401, 0, 0, "merged")
    sheet.write(401, 1, "x")
    book.save(str(path))


def test_an_old_workbook_is_read_as_shown_too(path: Path) -> None:
    old_workbook(path)
    reader, rows = read(path)
    assert rows[0] == ["7.5%", "02494", "1815-12-13", "9.5", "s1"]
    assert finding(reader, "hidden").text.startswith("199 of 401 rows and the column “secret” are")
    assert "(A401:A402), so 1 cell in “rate” is empty" in finding(reader, "merged").text
    assert [labels(one) for one in reader.remarks if one.kind == "number_format"] == [
        ["As stored"],
        ["As stored"],
        ["As shown"],
    ]
    choices = Choices(hidden=SKIP, as_shown=("price",), as_stored=("zip", "born"))
    reader, rows = read(path, choices)
    assert rows[:2] == [["7.5%", "2494", "-30698", "$9.50"]] * 2
    assert len(rows) == 202


def test_what_is_not_known_of_a_binary_workbook_is_said(path: Path) -> None:
    xlsb(path, [["name", "n"], ["Ann", 7.0]])
    reader, _rows = read(path)
    assert ".xlsb file we cannot see hidden rows" in finding(reader, "unknown_formats").text


# --- Dates ----------------------------------------------------------------------------------------


def test_days_before_1900_are_dates() -> None:
    reader, rows = read(DATA / "before_1900.xlsx")
    assert [row[1] for row in rows] == [
        "1815-12-13",  # day -30698, counted from 1899-12-30
        "1899-12-29",
        "1899-12-30",
        "1900-01-01",
        "2958466",
        "2023-03-15",
    ]
    assert "dates before 1900" in finding(reader, "early_date").text
    assert "shown as ########, stored as 2958466" in finding(reader, "number_format").text
    _reader, rows = read(DATA / "before_1900.xlsx", Choices(as_stored=("born",)))
    assert [row[1] for row in rows][:3] == ["-30698", "-1", "0"]


def test_a_text_with_the_format_of_a_date_is_a_text(path: Path) -> None:
    with workbook(path) as book:
        form = book.add_format({"num_format": "yyyy-mm-dd"})
        sheet = book.add_worksheet()
        sheet.write_string(0, 0, "the first text", form)
        sheet.write_boolean(1, 0, False, form)
        sheet.write_string(2, 0, "-1", form)
    reader, rows = read(path)
    assert (reader.columns, rows) == (["the first text"], [["FALSE"], ["-1"]])
    assert not reader.remarks


def test_times_of_day_and_durations_stay_what_they_are(path: Path) -> None:
    with workbook(path) as book:
        sheet = book.add_worksheet()
        fill(sheet, [["time", "lasting", "moment"]])
        for line, value in enumerate((0, 0.5, -0.25), start=1):
            for column, code in enumerate(("h:mm", "[h]:mm", "m/d/yy h:mm")):
                sheet.write_number(line, column, value, book.add_format({"num_format": code}))
    _reader, rows = read(path)
    assert rows[:2] == [["00:00:00", "0:00:00", "00:00:00"], ["12:00:00", "12:00:00", "12:00:00"]]
    assert rows[2] == ["-6:00:00", "-6:00:00", "1899-12-29 18:00:00"]


def test_a_date_of_which_a_part_is_shown_is_read_whole_and_said(path: Path) -> None:
    with workbook(path) as book:
        sheet = book.add_worksheet()
        fill(sheet, [["month", "day"]])
        for column, code in enumerate(("mmm yyyy", "dd.mm.yyyy")):
            sheet.write(1, column, date(2023, 3, 15), book.add_format({"num_format": code}))
    reader, rows = read(path)
    assert rows == [["2023-03-15", "2023-03-15"]]
    assert (
        "“month”: shown as Mar 2023, stored as 2023-03-15" in finding(reader, "number_format").text
    )
    _reader, rows = read(path, Choices(as_shown=("month", "day")))
    assert rows == [["Mar 2023", "15.03.2023"]]


def test_iso_dates_of_a_strict_file_are_dates(path: Path) -> None:
    texts = ["2024-05-01", "2024-05-01T00:00:00", "2024-05-01T13:45:00.000", "1815-12-10T00:00:00"]
    rows = "".join(
        f'<row r="{line}"><c r="A{line}" t="d"><v>{text}</v></c></row>'
        for line, text in enumerate(texts, start=2)
    )
    head = '<row r="1"><c r="A1" t="inlineStr"><is><t>d</t></is></c></row>'
    strict = "http://purl.oclc.org/ooxml/spreadsheetml/main"
    xlsx(path, sheet_of(head + rows).replace(MAIN, strict))
    _reader, cells = read(path)
    assert [row[0] for row in cells] == [
        "2024-05-01",
        "2024-05-01",
        "2024-05-01 13:45:00",
        "1815-12-10",
    ]


# --- Merged cells ---------------------------------------------------------------------------------


def test_merged_cells_are_said_and_filled_down() -> None:
    reader, rows = read(DATA / "merged_down.xlsx")
    assert [row[0] for row in rows] == ["Fruit", "", "", "Veg", "", ""]
    found = finding(reader, "merged")
    assert found.text == "Cells are merged (A2:A4, A5:A7), so 4 cells in “category” are empty."
    assert labels(found) == ["Fill down", "Leave empty"]
    filled = chosen(reader, "merged", "Fill down")
    reader, rows = read(DATA / "merged_down.xlsx", filled)
    assert [row[0] for row in rows] == ["Fruit"] * 3 + ["Veg"] * 3
    assert kinds(reader) == ["merged_filled"]
    kept = chosen(reader, "merged_filled", "Leave empty", filled)
    reader, rows = read(DATA / "merged_down.xlsx", kept)
    assert ([row[0] for row in rows][1], kinds(reader)) == ("", ["merged_kept"])


def test_cells_are_filled_right_but_not_above_the_first_row(path: Path) -> None:
    with workbook(path) as book:
        sheet = book.add_worksheet()
        fill(sheet, [[], [], ["a", "b", "c"], [1, 2, 3], [], [7, 8, 9]])
        sheet.merge_range("A1:C1", "Report of 2024")
        sheet.merge_range("A5:C5", "North")
    reader, rows = read(path)
    assert rows[1] == ["North", "", ""]
    found = finding(reader, "merged")
    assert (found.line, labels(found)) == (5, ["Fill right", "Leave empty"])
    assert "(A5:C5), so 2 cells in “b”, “c” are empty" in found.text
    reader, rows = read(path, Choices(merged=FILL))
    assert reader.columns == ["a", "b", "c"]
    assert rows[1] == ["North"] * 3


@pytest.mark.parametrize("merged", ["", KEEP, FILL])
def test_what_lies_under_a_merge_is_not_read(path: Path, merged: str) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in (["group", "n"], ["A", 1], [None, 2], ["B", 3]):
        sheet.append(row)
    sheet.merge_cells("A2:A3")
    book.save(path)
    _put(path, '<c r="B3"', '<c r="A3" t="inlineStr"><is><t>secret</t></is></c><c r="B3"')
    reader, rows = read(path, Choices(merged=merged))
    assert rows[1] == ["A" if merged == FILL else "", "2"]
    assert finding(reader, "covered").text.startswith("1 cell under a merged cell has contents")


def _put(path: Path, old: str, new: str) -> None:
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    name = "xl/worksheets/sheet1.xml"
    text = parts[name].decode()
    assert old in text
    parts[name] = text.replace(old, new).encode()
    pack(path, parts)


def test_merged_cells_and_hidden_rows_of_an_open_document(path: Path) -> None:
    spans = {"number-rows-spanned": "3", "number-columns-spanned": "1"}
    covered = (
        '<table:covered-table-cell office:value-type="string"><text:p>under</text:p>'
        "</table:covered-table-cell>"
    )
    hide = ods_row(covered, ods_cell("y")).replace(
        "<table:table-row ", '<table:table-row table:visibility="filter" '
    )
    ods(
        path,
        '<table:table table:name="Cover"></table:table><table:table table:name="Data">'
        '<table:table-column/><table:table-column table:visibility="collapse"/>'
        + ods_row(ods_cell("a"), ods_cell("b"))
        + ods_row(ods_cell("A", **spans), ods_cell("x"))
        + hide
        + ods_row("<table:covered-table-cell/>", ods_cell("z"))
        + "</table:table>",
    )
    reader, rows = read(path)
    assert rows == [["A", "x"], ["", "y"], ["", "z"]]
    assert finding(reader, "hidden").text.startswith("1 of 3 rows and the column “b” are hidden")
    assert finding(reader, "covered").line == 3
    assert "(A2:A4), so 2 cells" in finding(reader, "merged").text
    _reader, rows = read(path, Choices(hidden=SKIP, merged=FILL))
    assert rows == [["A"], ["A"]]


# --- Workbooks that spreadsheet programs open -----------------------------------------------------


def test_paths_with_backslashes_are_read() -> None:
    _reader, rows = read(DATA / "backslash.xlsx")
    assert rows == [["1", "a"], ["2", "b"]]


SHEET = (
    '<row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1" t="s"><v>1</v></c></row>'
    '<row r="2" ><c r="A2" s="1"><v>0.5</v></c><c r="B2" t="e"><v>#N/A</v></c></row>'
)
TEXTS = f'<sst xmlns="{MAIN}"><si><t>rate</t></si><si><t>b</t></si></sst>'
STYLES = (
    f'<styleSheet xmlns="{MAIN}"><cellXfs><xf numFmtId="0"/><xf numFmtId="9"/></cellXfs>'
    "</styleSheet>"
)


@pytest.mark.parametrize("mark", ["/", "\\"])
@pytest.mark.parametrize(
    ("folder", "book", "texts", "styles"),
    [
        ("xl/", "workbook.xml", "sharedStrings.xml", "styles.xml"),
        ("", "workbook.xml", "sharedStrings.xml", "styles.xml"),
        ("", "book.xml", "strings.xml", "look.xml"),
        ("xl/", "workbook22.xml", "sharedStrings2.xml", "styles2.xml"),
        ("Content/", "Workbook.xml", "SharedStrings.xml", "Styles.xml"),
    ],
)
def test_parts_are_found_wherever_they_are(
    path: Path, mark: str, folder: str, book: str, texts: str, styles: str
) -> None:
    parts = {
        "[Content_Types].xml": TYPES.replace("/xl/workbook.xml", f"/{folder}{book}"),
        "_rels/.rels": relations(officeDocument=folder + book),
        folder + book: BOOK,
        f"{folder}_rels/{book}.rels": relations(
            worksheet="sheet1.xml", sharedStrings=texts, styles=styles
        ),
        f"{folder}sheet1.xml": sheet_of(SHEET),
        folder + texts: TEXTS,
        folder + styles: STYLES,
    }
    pack(path, {name.replace("/", mark): content for name, content in parts.items()})
    reader, rows = read(path)
    assert reader.columns == ["rate", "b"]
    assert rows == [["50%", "#N/A"]]


@pytest.mark.parametrize(
    "before", [b"<table:table-row", b"<table:table-cell", b"<text:p", b"<", b"</"]
)
def test_an_open_document_may_have_line_breaks_between_its_tags(path: Path, before: bytes) -> None:
    rows = ods_row(ods_cell("a"), ods_cell("b")), ods_row(ods_cell("x y"), ods_cell("z"))
    ods(path, f'<table:table table:name="Data">{"".join(rows)}</table:table>')
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    content = parts["content.xml"].replace(b">" + before, b">\n   " + before)
    pack(path, {**parts, "content.xml": content})
    reader, cells = read(path)
    assert (reader.columns, cells) == (["a", "b"], [["x y", "z"]])


def test_an_open_document_without_its_kind_in_front_is_read(path: Path) -> None:
    ods(path, f'<table:table table:name="Data">{ods_row(ods_cell("a"))}</table:table>')
    with zipfile.ZipFile(path) as archive:
        content = archive.read("content.xml")
    kind = '<m full-path="/" type="application/vnd.oasis.opendocument.spreadsheet"/>'
    pack(path, {"META-INF/manifest.xml": kind, "content.xml": content})
    assert read(path)[0].columns == ["a"]


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ({"photo.jpg": "x"}, "This zip file does not contain a workbook."),
        ({}, "This zip file does not contain a workbook."),
        (
            {"sales/table.csv": "a,b"},
            "This zip file does not contain a workbook, but “table.csv”. Unpack it, and upload "
            "that file.",
        ),
    ],
)
def test_unpacking_is_advised_only_if_it_helps(
    path: Path, parts: dict[str, str], text: str
) -> None:
    pack(path, parts)
    with pytest.raises(Unreadable) as raised:
        read(path)
    assert raised.value.findings[0].text == text


# --- Compared with another reader -----------------------------------------------------------------


def test_cells_are_those_that_another_reader_finds(path: Path) -> None:
    chance = random.Random(3)
    rows: list[list[Any]] = [["id", "zip", "day", "price", "text"]]
    with workbook(path) as book:
        sheet = book.add_worksheet()
        codes = ["0", "00000", "yyyy-mm-dd", "$#,##0.00", "@"]
        forms = [book.add_format({"num_format": code}) for code in codes]
        sheet.write_row(0, 0, rows[0])
        for line in range(1, 300):
            row = [
                line,
                chance.randint(1, 99_999),
                datetime(2024, 1, 1 + line % 28),
                chance.randint(1, 10**6) / 100,
                f"text {line}",
            ]
            rows.append(row)
            for column, value in enumerate(row):
                sheet.write(line, column, value, forms[column])
    _reader, cells = read(path)
    with path.open("rb") as stream:
        (sheet,) = openpyxl.load_workbook(stream).worksheets
    for line, row in enumerate(sheet.iter_rows(min_row=2, values_only=True)):
        number, zip_code, day, price, text = row
        assert isinstance(day, datetime)
        assert cells[line] == [
            str(number),
            f"{zip_code:05}",
            day.date().isoformat(),
            f"{price:.15g}",
            text,
        ]
