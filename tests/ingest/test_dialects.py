"""What is between the cells is found out with sense; a stray quotation mark spoils one row."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from jobs.actions import uploads
from jobs.ingest.delimiters import ONE_COLUMN
from jobs.ingest.file_formats import open_upload
from jobs.ingest.shapes import NO_HEADER, Choices, Finding, Limits, ParsedRow, Reader
from jobs.models import Job

from ..pages import squeezed

Drive = Callable[..., Job]
REVIEWS = (
    "review\nGreat product, fast delivery, would buy again\nBad, very bad, never again\nFine\n"
)


def read(path: Path, text: str, **choices: Any) -> tuple[Reader, list[ParsedRow]]:
    file = path / "upload"
    file.write_bytes(text.encode())
    reader = open_upload(str(file), Choices(**choices), Limits())
    return reader, list(reader)


def cells(rows: list[ParsedRow]) -> list[list[str]]:
    return [json.loads(row.source) for row in rows]


def finding(reader: Reader, kind: str) -> Finding | None:
    return next((one for one in reader.remarks if one.kind == kind), None)


@pytest.mark.no_database
@pytest.mark.parametrize(
    ("text", "columns", "first"),
    [
        (REVIEWS, ["review"], ["Great product, fast delivery, would buy again"]),
        ("comment\nGood; cheap; fast\nBad; slow; dear\n", ["comment"], ["Good; cheap; fast"]),
        ("price\n1,5\n2,5\n3,75\n", ["price"], ["1,5"]),
        ("amount\n1,234,567\n2,345,678\n", ["amount"], ["1,234,567"]),
        ("tags\nred,green\nblue,green\n", ["tags"], ["red,green"]),
        ('text\n"a, b"\n"c, d"\n', ["text"], ["a, b"]),
        ("name\nAnn\nBen\n", ["name"], ["Ann"]),
        ("Report\n\nname;text;city\nAnn;x;Ulm\n", ["name", "text", "city"], ["Ann", "x", "Ulm"]),
        ("Report of May\na,b,c\n1,2,3\n4,5,6\n", ["a", "b", "c"], ["1", "2", "3"]),
        ("a,b,c\n1\n2\n", ["a", "b", "c"], ["1"]),
        ('id, text, n\n1, "Hello, world", 3\n2, "x, y", 4\n', ["id", "text", "n"], None),
        ('a,b,c\n ,", ",1\nx, y,2\n', ["a", "b", "c"], [" ", ", ", "1"]),
        ('a,b\n" ""N""",  1\n" ""M""", 2\n', ["a", "b"], [' "N"', "  1"]),
        ("[Id],[Full Name]\n1,Ann\n", ["[Id]", "[Full Name]"], ["1", "Ann"]),
        ("[Name]\nAnn\nBen\n", ["[Name]"], ["Ann"]),
        ('a; b\n"1"; "x; y"\n"2"; "z"\n', ["a", "b"], ["1", "x; y"]),
        ('a,b\n1, he said "x"\n2,y\n', ["a", "b"], ["1", ' he said "x"']),
        ('id\ttext\n1\t"Great" product\n2\tb\n3\t"open\n4\tok\n', ["id", "text"], None),
        ('id|text\n1|5" nail\n2|"open\n', ["id", "text"], ["1", '5" nail']),
    ],
)
def test_a_file_is_cut_as_it_is_meant(
    tmp_path: Path, text: str, columns: list[str], first: list[str] | None
) -> None:
    reader, rows = read(tmp_path, text)
    assert reader.columns == columns
    if first is not None:
        assert cells(rows)[0] == first
        return
    assert not any(row.problem for row in rows)
    said = [one.kind for one in reader.remarks]
    assert ("skipped_blanks" in said) == (len(columns) == 3)
    wanted = {3: ["1", "Hello, world", "3"], 2: ["1", '"Great" product']}[len(columns)]
    assert cells(rows)[0] == wanted


@pytest.mark.no_database
@pytest.mark.parametrize("quoted", [False, True])
def test_a_stray_quotation_mark_spoils_no_other_row(tmp_path: Path, quoted: bool) -> None:
    rows = [f"{n};Good, but {n}" for n in range(60)]
    rows[30] = '30;"Good, but open'
    if quoted:
        rows[5] = '5;"one; two"'
    reader, found = read(tmp_path, "\n".join(["id;text", *rows, ""]))
    assert reader.understood.delimiter == ";"
    wrong = [row.line for row in found if row.problem]
    assert len(found) == 60
    assert wrong == ([32] if quoted else [])
    if not quoted:
        said = finding(reader, "stray_quotes")
        assert said and said.line == 32
        assert reader.understood.no_quotes


@pytest.mark.no_database
def test_rows_that_a_quotation_mark_swallowed_are_read(tmp_path: Path) -> None:
    """The mark is far below what is looked at, and another one ends its cell."""
    rows = [f'{n},"x, {n}",a' for n in range(3_000)]
    rows[2_500] = '2500,"open,a'
    rows[2_510] = '2510,ends here",a'
    _reader, found = read(tmp_path, "\n".join(["id,text,c", *rows, ""]))
    assert len(found) == 3_000
    assert [row.line for row in found if row.problem] == [2_502]


@pytest.mark.no_database
def test_a_cell_of_many_lines_is_one_cell(tmp_path: Path) -> None:
    inner = "\n".join(f"{n},x,y" for n in range(9))
    _reader, found = read(tmp_path, f'a,b,c\n1,"{inner}",z\n2,3,4\n')
    assert cells(found) == [["1", inner, "z"], ["2", "3", "4"]]


@pytest.mark.no_database
def test_one_column_and_no_quotation_marks_can_be_chosen(tmp_path: Path) -> None:
    text = 'a,b\n"x",1\n"y" z,2\n'
    reader, rows = read(tmp_path, text, delimiter=ONE_COLUMN, no_quotes=True)
    assert (reader.columns, cells(rows)) == (["a,b"], [['"x",1'], ['"y" z,2']])
    reader, rows = read(tmp_path, text, no_quotes=True)
    assert cells(rows) == [['"x"', "1"], ['"y" z', "2"]]
    assert reader.understood.no_quotes
    assert not reader.remarks


@pytest.mark.no_database
def test_an_even_list_is_asked_about(tmp_path: Path) -> None:
    reader, _rows = read(tmp_path, "tags\nred,green\nblue,green\n")
    asked = finding(reader, "one_column")
    assert asked
    changes = [one.change for one in asked.options]
    assert changes == [{"delimiter": ONE_COLUMN}, {"delimiter": ","}]
    reader, _rows = read(tmp_path, "a~b\n1~2\n3~4\n")
    asked = finding(reader, "one_column")
    assert asked and {"delimiter": "~"} in [one.change for one in asked.options]
    for one in asked.options:
        reader, _rows = read(tmp_path, "a~b\n1~2\n3~4\n", **one.change)
        assert not finding(reader, "one_column"), "who has chosen is not asked again"


@pytest.mark.no_database
def test_a_file_of_which_most_is_skipped_is_asked_about(tmp_path: Path) -> None:
    text = "text, rating\nGood, fast, cheap\nBad, slow, dear\nFine, ok, so, so\n"
    reader, rows = read(tmp_path, text)
    assert sum(row.problem is not None for row in rows) == 3
    asked = finding(reader, "mostly_skipped")
    assert asked and asked.options[0].change == {"delimiter": ONE_COLUMN}
    reader, rows = read(tmp_path, text, **asked.options[0].change)
    assert not any(row.problem for row in rows)
    reader, rows = read(tmp_path, "a,b,c\n1\n2\n")
    asked = finding(reader, "mostly_skipped")
    assert asked and {"fill": True} in [one.change for one in asked.options]


def test_page_and_shell_ask_in_the_same_words(
    alice: User,
    client_alice: Client,
    drive: Drive,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = "text, rating\nGood, fast, cheap\nBad, slow, dear\nFine, ok, so, so\n"
    job = uploads.create_job(alice, ContentFile(text.encode(), "people.csv"))
    job = drive(job, until=lambda job: job.state != Job.State.READING)
    page = squeezed(client_alice.get(reverse("job", args=[job.pk])).content.decode())
    words = "3 of 3 rows cannot be sent as the file is read now."
    assert words in page and "text-red" in page
    assert "One column: each line is a cell" in page
    file = tmp_path / "people.csv"
    file.write_text(text)
    with pytest.raises(SystemExit):
        call_command("job", "check", str(file))
    said = "".join(capsys.readouterr())
    assert words in said and "--delimiter none" in said
    problem = job.problems.get(kind="mostly_skipped")
    name = problem.choices[0][2][0][0]
    client_alice.post(reverse("reading", args=[job.pk]), {"option": name})
    job = drive(job, until=lambda job: job.state == Job.State.DRAFT)
    assert (job.columns, job.skipped_count) == (["text, rating"], 0)


@pytest.mark.no_database
def test_lines_in_quotation_marks_as_a_whole_are_a_table(tmp_path: Path) -> None:
    text = '"id,name,""text, long"""\n"1,Anna,""hello, you"""\n"2,Ben,bye"\n'
    reader, rows = read(tmp_path, text)
    assert reader.columns == ["id", "name", "text, long"]
    assert cells(rows) == [["1", "Anna", "hello, you"], ["2", "Ben", "bye"]]
    said = finding(reader, "whole_quotes")
    assert said
    table, one = said.options
    again, rows = read(tmp_path, text, **table.change)
    assert cells(rows)[1] == ["2", "Ben", "bye"]
    assert not finding(again, "whole_quotes")
    _again, rows = read(tmp_path, text, **one.change)
    assert cells(rows)[1] == ["2,Ben,bye"]


@pytest.mark.no_database
def test_quoted_texts_with_commas_stay_one_column(tmp_path: Path) -> None:
    reader, _rows = read(tmp_path, '"text"\n"Hello, world"\n"Good, bye"\n')
    assert reader.columns == ["text"]
    assert not finding(reader, "whole_quotes")


@pytest.mark.no_database
def test_quotation_marks_behind_a_backslash_are_inside_a_cell(tmp_path: Path) -> None:
    text = 'id,text\n1,"He said \\"hi\\", ok"\n2,"C:\\\\dir"\n3,fine\n'
    reader, rows = read(tmp_path, text)
    assert cells(rows) == [["1", 'He said "hi", ok'], ["2", "C:\\dir"], ["3", "fine"]]
    assert finding(reader, "backslash_quotes")
    _reader, rows = read(tmp_path, 'id,text\n1,"C:\\dir"\n2,"a\\nb"\n')
    assert cells(rows) == [["1", "C:\\dir"], ["2", "a\\nb"]]


@pytest.mark.no_database
@pytest.mark.parametrize(
    ("text", "is_asked"),
    [
        ("I like this, a lot\nNot for me, sorry\nBad, bad, bad\n", True),
        ("I like this, a lot\nNot for me, so sorry\nGood value, good price\n", True),
        ("id, name\n1, Ann\n2, Ben\n", False),
        ("city, name\nUlm, Ann\nBonn, Ben\n", False),
        ('city,text\nUlm,"Good, cheap"\nBonn,Fine\n', False),
    ],
)
def test_commas_of_sentences_are_asked_about(tmp_path: Path, text: str, is_asked: bool) -> None:
    reader, _rows = read(tmp_path, text)
    said = finding(reader, "one_column")
    assert bool(said) == is_asked
    if said:
        again, rows = read(tmp_path, text, **said.options[0].change)
        assert len(again.columns) == 1
        assert not any(row.problem for row in rows)


@pytest.mark.no_database
def test_titles_in_quotation_marks_are_text_where_no_cell_needs_them(tmp_path: Path) -> None:
    rows = ['12" Pan "Pro"\tgood', '"Best" ever\tbad', "Cup\tfine"] * 5
    reader, found = read(tmp_path, "\n".join(["name\ttext", *rows, ""]))
    assert not any(row.problem for row in found)
    assert cells(found)[1] == ['"Best" ever', "bad"]
    assert finding(reader, "stray_quotes")


@pytest.mark.no_database
@pytest.mark.parametrize("between", ["\t", ",", ";"])
@pytest.mark.parametrize("end", ["", 'pipe 5"', '"c"'])
def test_a_stray_quotation_mark_is_one_bad_cell(tmp_path: Path, between: str, end: str) -> None:
    lines = ["id|name|text|n", '1|a|"quoted | cell"|2', '2|"open only|x|3', f"3|{end}|y|4"]
    lines += [f"{n}|b|z|5" for n in range(4, 20)]
    if end and between != "\t":
        lines[3] = "3|b|y|4"
    text = "".join(f"{line}\n" for line in lines).replace("|", between)
    _reader, rows = read(tmp_path, text)
    assert len(rows) == 19
    assert [row.line for row in rows if row.problem] in ([3], [3, 4])
    assert cells(rows)[3][0] == "4"


@pytest.mark.no_database
def test_line_breaks_in_cells_of_a_file_with_tabs_are_read(tmp_path: Path) -> None:
    text = 'id\tname\ttext\n1\tAnn\t"two\nlines"\n2\t"Ben\nB."\t"and\n\nmore"\n'
    _reader, rows = read(tmp_path, text)
    assert cells(rows) == [["1", "Ann", "two\nlines"], ["2", "Ben\nB.", "and\n\nmore"]]


@pytest.mark.no_database
def test_a_fault_in_the_line_of_names_is_told(tmp_path: Path) -> None:
    rows = "".join(f"{n},Größe\n" for n in range(20))
    file = tmp_path / "upload"
    file.write_bytes(b"id,na\xefve\n" + rows.encode())
    reader = open_upload(str(file), Choices(), Limits())
    list(reader)
    said = finding(reader, "faulty_names")
    assert said and said.line == 1 and "column names" in said.text
    keep, rows_only = said.options
    reader = open_upload(str(file), keep.applied(Choices()), Limits())
    list(reader)
    assert not finding(reader, "faulty_names") and finding(reader, "kept_names")
    reader = open_upload(str(file), rows_only.applied(Choices()), Limits())
    assert len(list(reader)) == 21


@pytest.mark.no_database
@pytest.mark.parametrize("order", ["utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("text", ["name\ttext\nAnn\thi\n", "名前\t感想\n田中\t良い\n"])
def test_utf_32_without_a_mark_is_known(tmp_path: Path, order: str, text: str) -> None:
    file = tmp_path / "upload"
    file.write_bytes(text.encode(order))
    reader = open_upload(str(file), Choices(), Limits())
    assert len(list(reader)) == 1
    assert reader.understood.encoding == order
    assert len(reader.columns) == 2


@pytest.mark.no_database
def test_one_bad_byte_beside_one_good_letter_leaves_utf_8_to_choose(tmp_path: Path) -> None:
    file = tmp_path / "upload"
    file.write_bytes(b"id,text\n1,caf\xc3\xa9\n2,caf\xe9\n3,x\n")
    reader = open_upload(str(file), Choices(), Limits())
    list(reader)
    said = finding(reader, "guessed")
    assert said and said.options[0].change == {"encoding": "utf-8"}
    again = open_upload(str(file), Choices(encoding="utf-8"), Limits())
    assert [row.line for row in again if row.problem] == [3]


DRAWN = {
    "sap": (
        "28.11.2026        Dynamic list display        1\n-----------------\n"
        "|Material|Name   |\n-----------------\n|1-1     |Case   |\n|1-2     |Plate  |\n"
        "-----------------\n"
    ),
    "mysql": (
        "+----------+-------+\n| Material | Name  |\n+----------+-------+\n|      1-1 | Case  |\n"
        "|      1-2 | Plate |\n+----------+-------+\n"
    ),
    "psql": " Material | Name  \n----------+-------\n 1-1      | Case\n 1-2      | Plate\n",
    "markdown": "| Material | Name |\n|---|:---|\n| 1-1 | Case |\n| 1-2 | Plate |\n",
}


@pytest.mark.no_database
@pytest.mark.parametrize("name", DRAWN)
def test_a_table_drawn_with_characters_is_a_table(tmp_path: Path, name: str) -> None:
    reader, rows = read(tmp_path, DRAWN[name])
    assert reader.columns == ["Material", "Name"]
    assert cells(rows) == [["1-1", "Case"], ["1-2", "Plate"]]
    assert not any(row.problem for row in rows)
    said = finding(reader, "drawn")
    assert said and said.options[0].change == {"delimiter": ONE_COLUMN}
    lines = DRAWN[name].split("\n")
    assert [lines[row.line - 1].count("1-") for row in rows] == [1, 1], "the lines are the file's"


@pytest.mark.no_database
@pytest.mark.parametrize("text", ["a|b\n1|2\n--|--\n", "id,text\n1,a|b\n2,--\n3,c|d\n"])
def test_bars_and_dashes_alone_draw_no_table(tmp_path: Path, text: str) -> None:
    _reader, rows = read(tmp_path, text)
    assert len(rows) == text.count("\n") - 1


@pytest.mark.no_database
def test_a_chat_is_no_list(tmp_path: Path) -> None:
    text = "[28.11.26, 10:15:01] Ann: Hi\n[28.11.26, 10:15:20] Ben: Hello, how are you?\n"
    reader, rows = read(tmp_path, text, header=NO_HEADER)
    assert reader.format == "CSV" and len(rows) == 2
