"""The column names are where most lines fit them, not in the first line that would pass; and what
was left out for it is said, with the way back."""

from __future__ import annotations

import csv
import io
import json
import random
from pathlib import Path
from typing import Any

import pytest

from jobs.ingest.file_formats import open_upload
from jobs.ingest.finding_kinds import asks
from jobs.ingest.shapes import NO_HEADER, Choices, Finding, Limits, ParsedRow, Reader, Unreadable

from ..workbooks import fill, workbook

pytestmark = pytest.mark.no_database

DATA = Path(__file__).parent.parent / "data"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "upload"


def read(path: Path, content: str, **choices: Any) -> tuple[Reader, list[ParsedRow]]:
    path.write_bytes(content.encode())
    reader = open_upload(str(path), Choices(**choices), Limits())
    return reader, list(reader)


def finding(reader: Reader, kind: str) -> Finding:
    (found,) = [remark for remark in reader.remarks if remark.kind == kind]
    return found


def questions(reader: Reader) -> list[str]:
    return [remark.kind for remark in reader.remarks if asks(remark.kind)]


def cells(lines: list[ParsedRow]) -> list[list[str]]:
    return [json.loads(line.source) for line in lines]


ROWS = "Ann,musician,69,1947-01-08\nBen,actor,60,1956-10-21\nCid,author,89,1926-04-28\n"
NAMES = "name,profession,age,born"


# --- One line of names ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "above",
    [
        "",
        "Report\n",
        "Report,,,\n",
        "Report of May,,,\n,,,\n",
        "Report\nMade by X\n\n",
        "Report,Q3\nAuthor,Ann\n\n",
        "Report:,Q3 2024\nAuthor:,Ann\n",
        "Lots of people,,,\nsimply cannot resist,,,notes\nat,the,,top\nor,,,here\n",
        "at,the,,top\n",
        "Customer,Acme Inc.,,\nPeriod,Q3,,\nPrinted,yesterday,by,\n\n",
        "Query: people\nRun by Ann\nFilter,none\n\n",
        "".join(f"Setting {n},value\n" for n in range(12)) + "\n",
        "\n\n\nTitle,,,\n\n",
        "Name of the list,,,Version\nPeople,,,3\n",
    ],
)
def test_the_names_are_in_the_line_that_fits_the_rows(path: Path, above: str) -> None:
    reader, lines = read(path, above + NAMES + "\n" + ROWS)
    assert reader.columns == NAMES.split(",")
    line = above.count("\n") + 1
    assert reader.understood.header == line
    assert [row.line for row in lines] == [line + 1, line + 2, line + 3]
    said = [remark for remark in reader.remarks if remark.kind == "above_header"]
    assert bool(said) == bool(above.strip())
    if said:
        first = next(n for n, text in enumerate(above.split("\n"), 1) if text.strip(","))
        (option,) = said[0].options
        assert option.change == {"header": first}
        reader, _lines = read(path, above + NAMES + "\n" + ROWS, **option.change)
        assert reader.understood.header == first
        assert not any(one.options for one in reader.remarks if one.kind == "above_header")


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        (",a,b\n0,x,1\n1,y,2\n2,z,3\n", ["column_1", "a", "b"]),  # the index of pandas
        (",a,b\n0,x,q\n1,y,r\n2,z,s\n", ["column_1", "a", "b"]),
        ("a,b,\nx,1,2\ny,3,4\n", ["a", "b", "column_3"]),
        ("name,,city\nAnn,x,Ulm\nBen,y,Rome\n", ["name", "column_2", "city"]),
        ("name,\nAnn,x\nBen,y\nCid,z\n", ["name", "column_2"]),
        ("comment\nok\ngood\nGood, fast, cheap\nfine\nnope\n", ["comment"]),
        ("a,b,c,d\nx,,,\ny,z,,\n,,q,\nw,,,1\n", ["a", "b", "c", "d"]),  # hardly filled
        ("a,b,c\n1,2,3\n", ["a", "b", "c"]),
        ("a,b\n1,2\n", ["a", "b"]),
        ("name,text\n", ["name", "text"]),
        ("Country,2019,2020\nIT,1,2\nDE,3,4\n", ["Country", "2019", "2020"]),
        ("row,problem,a,b\n3,few,x\n4,few,y\n5,many,x,y,z\n", ["row", "problem", "a", "b"]),
        ("Name:,Age:\nAnn,3\nBen,4\n", ["Name:", "Age:"]),
        ("question,answer\nWho?,Ann\nWhat?,It\n", ["question", "answer"]),
        ("a,b,c\nred,x,1\ngreen,y,2\n\nblue,z,3\n", ["a", "b", "c"]),
    ],
)
def test_the_first_line_has_the_names_where_nothing_speaks_against_it(
    path: Path, content: str, columns: list[str]
) -> None:
    reader, _lines = read(path, content)
    assert (reader.columns, reader.understood.header) == (columns, 1)
    assert "above_header" not in {remark.kind for remark in reader.remarks}


def test_a_title_above_two_columns(path: Path) -> None:
    content = "Feedback\nname,score\nAnn,1\nBen,2\n"
    reader, lines = read(path, content)
    assert (reader.columns, cells(lines)[0]) == (["name", "score"], ["Ann", "1"])
    # Nothing tells names from values, so it may be a list.
    reader, _lines = read(path, "Feedback\nname,text\nAnn,fine\nBen,good\n")
    assert (reader.columns, questions(reader)) == (["Feedback"], ["one_column"])
    reader, _lines = read(path, "Feedback,\n\nname,text\nAnn,fine\nBen,good\n")
    assert reader.columns == ["name", "text"]


def test_notes_above_and_below_a_sheet() -> None:
    file = str(DATA / "readxl_deaths.xlsx")
    reader = open_upload(file, Choices(), Limits())
    lines = list(reader)
    assert reader.columns == [
        *("Name", "Profession", "Age", "Has kids", "Date of birth", "Date of death")
    ]
    assert reader.understood.header == 5
    assert [line.line for line in lines] == list(range(6, 20)), "kept until a person decides"
    found = finding(reader, "unlike")
    assert "The last 4 rows (lines 16 to 19) look unlike the others" in found.text
    assert [option.label for option in found.options] == ["Skip them", "Keep them"]
    for sheet in ("arts", "other"):
        reader = open_upload(file, found.options[0].applied(Choices(sheet=sheet)), Limits())
        assert [line.line for line in reader] == list(range(6, 16))
        assert not questions(reader)


def test_a_line_that_looks_like_a_row_is_questioned(path: Path) -> None:
    content = "34,Rome,pizza\n35,Ulm,pasta\n"
    reader, lines = read(path, content)
    found = finding(reader, "odd_names")
    assert questions(reader) == ["odd_names"]
    reader, lines = read(path, content, **found.options[0].change)
    assert (len(lines), questions(reader), reader.columns[0]) == (2, [], "column_1")
    reader, lines = read(path, content, **found.options[1].change)
    assert (len(lines), questions(reader), reader.columns[0]) == (1, [], "34")


# --- Several lines of names -----------------------------------------------------------------------


def joined(path: Path, content: str, names: list[str], *, rows_from: int) -> None:
    """The names are put together from several lines, and a person can choose one of them."""
    reader, lines = read(path, content)
    assert reader.columns == names
    assert lines[0].line == rows_from
    assert questions(reader) == ["header_lines"]
    together, alone = finding(reader, "header_lines").options
    understood = reader.understood
    assert together.change == {
        "header": understood.header,
        "header_lines": understood.header_lines,
    }
    reader, lines = read(path, content, **together.change)
    assert (reader.columns, questions(reader), lines[0].line) == (names, [], rows_from)
    reader, lines = read(path, content, **alone.change)
    assert (reader.understood.header, questions(reader)) == (alone.change["header"], [])
    assert reader.columns != names


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (
            "Before,,After,\nsize,price,size,price\n1,2,3,4\n5,6,7,8\n",
            ["Before - size", "Before - price", "After - size", "After - price"],
        ),
        (
            "id,Before,,After,\n,size,price,size,price\na,1,2,3,4\nb,5,6,7,8\n",
            ["id", "Before - size", "Before - price", "After - size", "After - price"],
        ),
        (
            "Before,,After,\ncity,name,city,name\nUlm,x,Rome,y\nBonn,z,Bern,q\n",
            ["Before - city", "Before - name", "After - city", "After - name"],
        ),
        (
            "id,date,What do you like?,,,comment\n,,pizza,pasta,other,\n1,2024-01-01,x,,,fine\n"
            "2,2024-01-02,,x,,\n3,2024-01-03,,,x,good\n4,2024-01-04,x,x,x,ok\n",
            [
                *("id", "date", "What do you like? - pizza", "What do you like? - pasta"),
                *("What do you like? - other", "comment"),
            ],
        ),
        (
            "2023,,,,2024,,,\nH1,,H2,,H1,,H2,\nn,p,n,p,n,p,n,p\n1,2,3,4,5,6,7,8\n1,2,3,4,5,6,7,8\n",
            [
                f"{year} - {half} - {x}"
                for year in (2023, 2024)
                for half in ["H1", "H2"]
                for x in "np"
            ],
        ),
    ],
)
def test_names_in_several_lines_are_put_together(
    path: Path, content: str, names: list[str]
) -> None:
    joined(path, content, names, rows_from=_first_row(content))


def _first_row(content: str) -> int:
    starts = ("1,", "a,", "Ulm,")
    return next(n for n, line in enumerate(content.split("\n"), 1) if line.startswith(starts))


def test_names_in_merged_cells_of_a_sheet(path: Path) -> None:
    with workbook(path) as book:
        sheet = book.add_worksheet()
        fill(
            sheet,
            [[], ["", "size", "price", "size", "price"], ["a", 1, 2, 3, 4], ["b", 1, 2, 3, 4]],
        )
        sheet.merge_range("B1:C1", "Before")
        sheet.merge_range("D1:E1", "After")
        sheet.write("A1", "id")
    reader = open_upload(str(path), Choices(), Limits())
    lines = list(reader)
    assert reader.columns == [
        "id",
        "Before - size",
        "Before - price",
        "After - size",
        "After - price",
    ]
    assert [line.line for line in lines] == [3, 4]
    assert reader.understood.header_lines == 2


NUMBERS = [["Oslo", 1, 2, 3, 4], ["Bergen", 5, 6, 7, 8], ["Rome", 1, 1, 1, 1]]
WORDS = [["Oslo", "a", "b", "c", "d"], ["Bergen", "e", "f", "g", "h"], ["Rome", "x", "y", "z", "w"]]
TWO_YEARS = [("B1:C1", "2024"), ("D1:E1", "2025")]
OF_YEARS = ["City", "2024 - Q1", "2024 - Q2", "2025 - H1", "2025 - H2"]


def merged(path: Path, rows: list[list[Any]], spans: list[tuple[str, str]]) -> Reader:
    with workbook(path) as book:
        sheet = book.add_worksheet()
        fill(sheet, rows)
        for place, text in spans:
            sheet.merge_range(place, text)
    reader = open_upload(str(path), Choices(), Limits())
    assert len(list(reader)) == 3
    return reader


@pytest.mark.parametrize(
    ("names", "spans", "columns"),
    [
        ([["City"], ["", "Q1", "Q2", "H1", "H2"]], TWO_YEARS, OF_YEARS),
        ([["City"], ["", "Q1", "Q2", "H1", "H2"]], [("A1:A2", "City"), *TWO_YEARS], OF_YEARS),
        ([[""], ["City", "Q1", "Q2", "H1", "H2"]], TWO_YEARS, OF_YEARS),
        (
            [["City"], ["", "Q1", "Q2", "Q1", "Q2"]],
            TWO_YEARS,
            [*OF_YEARS[:3], "2025 - Q1", "2025 - Q2"],
        ),
        (
            [["City", "", "", "Note", "Sum"], ["", "Q1", "Q2", "", ""]],
            TWO_YEARS[:1],
            ["City", "2024 - Q1", "2024 - Q2", "Note", "Sum"],
        ),
        (
            [["City"], [], ["", "Q1", "Q2", "H1", "H2"]],
            [("A1:A3", "City"), ("B1:E1", "Sales"), ("B2:C2", "2024"), ("D2:E2", "2025")],
            ["City", *(f"Sales - {name}" for name in OF_YEARS[1:])],
        ),
        (
            [["Report"], ["City"], ["", "Q1", "Q2", "H1", "H2"]],
            [("A1:E1", "Report"), ("A2:A3", "City"), ("B2:C2", "2024"), ("D2:E2", "2025")],
            OF_YEARS,
        ),
    ],
)
def test_a_name_that_is_merged_over_others_is_part_of_them(
    path: Path, names: list[list[Any]], spans: list[tuple[str, str]], columns: list[str]
) -> None:
    reader = merged(path, [*names, *NUMBERS], spans)
    assert reader.columns == columns
    assert "merged" not in [found.kind for found in reader.remarks]
    assert questions(reader) == ["header_lines"]


@pytest.mark.parametrize(
    ("names", "spans"),
    [
        ([["City", "", "", "X", "Y"]], [("B1:C1", "Address")]),
        ([["Report"], ["City", "Q1", "Q2", "H1", "H2"]], [("A1:E1", "Report 2024")]),
    ],
)
@pytest.mark.parametrize("rows", [NUMBERS, WORDS])
def test_other_merged_cells_leave_one_line_of_names(
    path: Path, names: list[list[Any]], spans: list[tuple[str, str]], rows: list[list[Any]]
) -> None:
    reader = merged(path, [*names, *rows], spans)
    assert reader.understood.header_lines == 0
    assert reader.columns[0] == "City"


def test_the_number_of_lines_with_names_can_be_chosen(path: Path) -> None:
    content = "weight,height\nkg,cm\n60,170\n70,180\n"
    reader, lines = read(path, content, header_lines=2)
    assert reader.columns == ["weight - kg", "height - cm"]
    assert (reader.understood.header, reader.understood.header_lines) == (1, 2)
    assert not questions(reader)
    reader, lines = read(path, "Title\n" + content, header=2, header_lines=2)
    assert (reader.columns[0], lines[0].line) == ("weight - kg", 4)


# --- Lines between the names and the rows ---------------------------------------------------------

SURVEY = (
    'Q1,Q2,Q3\nHow old are you?,Where do you live?,"What, if anything, do you like?"\n'
    '"{""ImportId"":""QID1""}","{""ImportId"":""QID2""}","{""ImportId"":""QID3""}"\n34,Rome,pizza\n'
)


def test_the_lines_of_a_survey_program_are_no_rows(path: Path) -> None:
    reader, lines = read(path, SURVEY)
    assert (reader.columns, [line.line for line in lines]) == (["Q1", "Q2", "Q3"], [4])
    assert (reader.understood.header, reader.understood.first_row) == (1, 4)
    found = finding(reader, "survey_lines")
    assert "Lines 2 and 3" in found.text and not questions(reader)
    as_rows, other_names = found.options
    reader, lines = read(path, SURVEY, **as_rows.change)
    assert [line.line for line in lines] == [2, 3, 4]
    reader, lines = read(path, SURVEY, **other_names.change)
    assert reader.columns[2] == "What, if anything, do you like?"
    assert [line.line for line in lines] == [4]
    assert not [one for one in reader.remarks if one.kind == "survey_lines"]


@pytest.mark.parametrize(
    ("lines", "count"),
    [
        ("kg,cm,text", 1),
        ("Start Date,End Date,Comment", 1),
        ("How heavy?,How tall?,What else?\n(kg),(cm),", 2),
        ("---,---,---", 1),
        ("=====,======,====", 1),
        ("numeric,numeric,string", 1),
        ("required,required,optional", 1),
    ],
)
def test_lines_unlike_the_rows_below_are_questioned(path: Path, lines: str, count: int) -> None:
    content = f"weight,height,note\n{lines}\n60,170,x\n70,180,y\n80,190,z\n"
    reader, rows = read(path, content)
    assert reader.columns == ["weight", "height", "note"]
    assert len(rows) == 3 + count, "kept until a person decides"
    assert questions(reader) == ["unlike_below"]
    skip, keep, *names = finding(reader, "unlike_below").options
    reader, rows = read(path, content, **skip.change)
    assert (rows[0].line, questions(reader)) == (2 + count, [])
    assert f"line {2 + count}" in finding(reader, "before_rows").text
    reader, rows = read(path, content, **keep.change)
    assert (len(rows), questions(reader), reader.remarks) == (3 + count, [], [])
    if names:
        reader, rows = read(path, content, **names[0].change)
        assert (len(rows), questions(reader)) == (3, [])
        assert reader.columns[0] == "weight - " + " - ".join(
            line.split(",")[0] for line in lines.split("\n")
        )


@pytest.mark.parametrize(
    "content",
    [
        "weight,height\n60,170\n70,180\n",
        "weight,height\nn/a,n/a\n70,180\n71,181\n72,182\n",
        "weight,height\n,\n70,180\n71,181\n72,182\n",
        "name,text\nAnn,fine\nBen,good\n",
        "name,age\nAnn,unknown\nBen,3\nCid,ten\nDan,5\n",
        "id,when\nx1,2024-01-01\nx2,2024-01-02\n",
        "a,b\n1,x\n",
        "a,b\nx,y\n1,2\n",
    ],
)
def test_an_ordinary_first_row_is_not_questioned(path: Path, content: str) -> None:
    reader, _lines = read(path, content)
    assert questions(reader) == []


def test_the_line_of_the_first_row_can_be_chosen(path: Path) -> None:
    content = "Report\n\nname,text\nx,y\nz,w\nAnn,fine\nBen,good\n"
    reader, lines = read(path, content, first_row=6)
    assert (reader.columns, [line.line for line in lines]) == (["name", "text"], [6, 7])
    assert "Lines 4 and 5 were skipped" in finding(reader, "before_rows").text
    assert reader.understood.first_row == 6
    reader, lines = read(path, content, first_row=1)
    assert (reader.understood.header, len(lines)) == (NO_HEADER, 6)
    reader, lines = read(path, content, header=NO_HEADER, first_row=6)
    assert (reader.columns, len(lines)) == (["column_1", "column_2"], 2)
    with pytest.raises(Unreadable, match="names are in line 4"):
        read(path, content, header=4, first_row=3)


# --- A table of any width below notes of any kind -------------------------------------------------


@pytest.mark.parametrize("seed", range(40))
def test_names_are_found_below_whatever_notes(path: Path, seed: int) -> None:
    """Notes that fill at most half of the columns, or one, and a table with a column of numbers."""
    chance = random.Random(seed)
    width = chance.randint(4, 12)
    words = [
        "at",
        "the",
        "top",
        "some",
        "people",
        "write",
        "many",
        "different",
        "notes",
        "about",
        "it",
    ]
    notes = []
    for _ in range(chance.randint(0, 8)):
        line = [""] * width
        for at in chance.sample(range(width), chance.randint(1, width // 2)):
            line[at] = chance.choice(words)
        notes.append(line)
    names = [f"name {n}" for n in range(width)]
    values = sorted(chance.sample(range(width), chance.randint(1, width - 1)))
    rows = [
        [
            str(chance.randint(0, 9_999)) if at in values else chance.choice(words)
            for at in range(width)
        ]
        for _ in range(chance.randint(8, 30))
    ]
    text = io.StringIO()
    csv.writer(text).writerows([*notes, names, *rows])
    reader, lines = read(path, text.getvalue())
    assert reader.columns == names
    assert cells(lines) == rows


def test_the_two_lines_of_surveymonkey_are_joined_however_full_the_rows_are(path: Path) -> None:
    content = (
        "id,Have you seen it?,Which parts?,,,Why?\n"
        ",Response,Part I,Part II,Part III,Open-Ended Response\n"
        "3292879998,Yes,Part I,Part II,,\n"
        "3292879538,No,,,,\n"
        "3292765271,Yes,Part I,Part II,Part III,all of it\n"
        "3292763116,Yes,,,Part III,\n"
    )
    reader, lines = read(path, content)
    assert reader.columns[:3] == ["id", "Have you seen it? - Response", "Which parts? - Part I"]
    assert (lines[0].line, questions(reader)) == (3, ["header_lines"])


def test_a_full_row_is_not_taken_for_the_names(path: Path) -> None:
    """Rows of a table that is hardly filled; the first full one comes late, and is all words."""
    content = "name,city,,\nAnn,,x,\nBen,Ulm,,\nCid,,,z\nDan,Rome,x,z\nEve,Bonn,y,z\nFay,Bern,x,q\n"
    reader, lines = read(path, content)
    assert (reader.understood.header, len(lines)) == (1, 6)


# --- Other heads, notes and names -----------------------------------------------------------------


def test_a_head_with_fewer_cells_than_the_rows_has_no_names(path: Path) -> None:
    """Were its first line the names, no row could be sent."""
    rows = "".join(f"{n};Anna {n};{n}\n" for n in range(9))
    reader, lines = read(path, f"Account;12345\nCurrency;EUR\n\nid;name;qty\n{rows}")
    assert reader.columns == ["id", "name", "qty"]
    assert [line.line for line in lines] == list(range(5, 14))
    assert not any(line.problem for line in lines)
    assert finding(reader, "above_header").options


def test_names_with_a_cell_missing_stay_the_names(path: Path) -> None:
    reader, lines = read(path, "name,text\nAnn,likes,tea\nBen,likes,coffee\nCid,likes,milk\n")
    assert reader.columns == ["name", "text"]
    assert all(line.problem for line in lines)


@pytest.mark.parametrize("kind", ["Open-Ended Response", "Response"])
def test_the_kinds_of_answers_of_a_survey_are_no_row(path: Path, kind: str) -> None:
    rows = "".join(f'{n},2024-01-01,"More tea, please"\n' for n in range(8))
    reader, lines = read(path, f"ID,Date,What should we improve?\n,,{kind}\n{rows}")
    assert len(lines) == 8
    (option,) = finding(reader, "survey_lines").options
    again, lines = read(path, path.read_text(), **option.change)
    assert len(lines) == 9
    assert cells(lines)[0] == ["", "", kind]
    assert not questions(again)


def test_names_that_repeat_in_another_case_are_no_row(path: Path) -> None:
    reader, lines = read(path, f"{NAMES}\n{ROWS}{NAMES.title()} \n{ROWS}")
    assert len(lines) == 6
    assert finding(reader, "repeated_names").line == 5


def test_a_single_name_in_another_case_is_a_row(path: Path) -> None:
    reader, lines = read(path, "answer\nyes\nAnswer\nno\n")
    assert len(lines) == 3
    assert not questions(reader)


def test_a_note_with_commas_below_the_table_is_asked_about(path: Path) -> None:
    reader, _lines = read(path, f"{NAMES}\n{ROWS}Note: preliminary, unaudited, subject to change\n")
    assert "unlike" in questions(reader)


@pytest.mark.parametrize(
    ("first", "is_asked"),
    [
        ("country,2019,2020,2021\nFrance,1,2,3\nItaly,3,4,5\n", False),
        ("country,2024,2019,2014\nFrance,1,2,3\nItaly,3,4,5\n", False),
        ("country,2019,7\nFrance,2020,2\nItaly,2021,4\n", True),
        ("2019,2020,2021\n1,2,3\n3,4,5\n", True),
        ("ann@example.com\nben@example.org\ncid@example.net\n", True),
        ("email\nben@example.org\ncid@example.net\n", False),
        ("https://a.example/x\nhttps://b.example/y\n", True),
        ("Ann,2024-01-31,tea\nBen,2024-02-01,milk\n", True),
        ("Ann,31.01.2024,tea\nBen,01.02.2024,milk\n", True),
        ("INV-1001,tea\nINV-1002,milk\n", True),
        ("Q1,Q2\nyes,no\nno,yes\n", False),
        ("2024-01-31,2024-02-29\nyes,no\nno,yes\n", False),
    ],
)
def test_names_are_odd_when_they_look_like_what_is_in_the_rows(
    path: Path, first: str, is_asked: bool
) -> None:
    reader, _lines = read(path, first)
    assert questions(reader) == (["odd_names"] if is_asked else [])


def test_a_row_with_more_cells_than_one_column_is_told_in_plain_words(path: Path) -> None:
    _reader, lines = read(path, "text\na,b\n", delimiter=",")
    assert lines[0].problem
    assert lines[0].problem.text == "This row has 2 cells, and there is 1 column."
