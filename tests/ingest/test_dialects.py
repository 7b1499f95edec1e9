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
from jobs.ingest.descriptions import ONE_COLUMN
from jobs.ingest.file_formats import open_upload
from jobs.ingest.shapes import Choices, Finding, Limits, ParsedRow, Reader
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
