"""Every kind of bad file that we know of, through the upload page: what can be read is read, what
cannot is explained with its line, and `job check` says the same in the same words.

The cases are named as in the catalogue: C for CSV and text, J for JSON, X for workbooks.
"""

from __future__ import annotations

import io
import json
import random
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from jobs.batches.leases import Lease
from jobs.drafts import reading
from jobs.ingest.protocol import ReaderInput, ReaderOutput
from jobs.models import Job
from jobs.results import table

from ..pages import squeezed
from ..workbooks import (
    MAIN,
    declare,
    fill,
    ods,
    ods_cell,
    ods_row,
    pack,
    rename_stream,
    sheet_of,
    workbook,
    xls,
    xlsb,
    xlsx,
)

Drive = Callable[..., Job]
Cells = list[list[str]]


@dataclass(frozen=True)
class Case:
    """A file and what becomes of it. `page`: words that the page has, `line`: of the first
    problem."""

    name: str
    content: bytes | Callable[[Path], object]
    page: Sequence[str] = ()
    line: int | None = None
    file: str = "upload.csv"
    columns: Sequence[str] | None = None
    rows: Cells | None = None  # of a file that can be read
    left_out: int = 0
    limits: dict[str, int] = field(default_factory=dict)

    @property
    def is_readable(self) -> bool:
        return self.rows is not None


def readable(name: str, content: Any, rows: Cells, **more: Any) -> Case:
    return Case(name, content, rows=rows, **more)


def refused(name: str, content: Any, *page: str, **more: Any) -> Case:
    return Case(name, content, page=page, **more)


# --- C: CSV and text ------------------------------------------------------------------------------

NOISE = random.Random(1).randbytes(4_000)
TWO = [["Ann", "x"], ["Ben", "y"]]
CSV = [
    refused("C2 header only", b"name,text\n", "column names but no rows"),
    refused("C2 header only, again and again", b"a,b\na,b\na,b\n", "All rows of the file repeat"),
    refused("C3 only blank lines", b"\n  \n\t\n", "empty"),
    readable(
        "C4 blank lines between rows",
        b"name,text\n\nAnn,x\n , \nBen,y\n\n",
        TWO,
        page=["3 blank lines skipped"],
    ),
    readable("C5 byte order mark", b"\xef\xbb\xbfname,text\nAnn,x\nBen,y\n", TWO),
    readable(
        "C6 UTF-16 LE",
        "name,text\nAnn,x\nBen,ÿ\n".encode("utf-16"),
        [["Ann", "x"], ["Ben", "ÿ"]],
        page=["UTF-16"],
    ),
    readable(
        "C6 UTF-16 BE",
        b"\xfe\xff" + "name,text\nAnn,x\nBen,y\n".encode("utf-16-be"),
        TWO,
        page=["UTF-16"],
    ),
    readable(
        "C7 Windows-1252",
        "name,text\nAndré,Un café très agréable à la fenêtre\n".encode("cp1252"),
        [["André", "Un café très agréable à la fenêtre"]],
        page=["Western European (Windows-1252)"],
    ),
    refused("C8 random bytes", b"\x01\x02" + NOISE, "not a text file"),
    refused("C8 a picture", b"\x89PNG\r\n\x1a\n" + NOISE, "not a text file"),
    readable(
        "C9 NUL in a cell",
        b"name,text\nAnn,x\nBen,y\0z\nCid,w\n",
        [["Ann", "x"], ["Ben", "y\ufffdz"], ["Cid", "w"]],
        left_out=1,
        page=["This row has a NUL character"],
        line=3,
    ),
    readable(
        "C10 a quotation mark that is never closed",
        b'name,text\n"Eve",x\nAnn,"x\n' + b"Ben,y\n" * 50,
        [["Eve", "x"], ["Ann", '"x'], *[["Ben", "y"]] * 50],
        left_out=1,
        page=["opened in this row and never closed"],
        line=3,
    ),
    readable(
        "C10 a quotation mark in a file without others",
        b'name,text\nAnn,"x\n' + b"Ben,y\n" * 50,
        [["Ann", '"x'], *[["Ben", "y"]] * 50],
        page=["Quotation marks are read as text"],
    ),
    readable(
        "C11 text behind a closing quotation mark",
        b'name,text\n"Ann",x\n"x"y,1\nBen,y\nBen,y\n',
        [["Ann", "x"], ['"x"y', "1"], *[["Ben", "y"]] * 2],
        left_out=1,
        page=["After a closing quotation mark"],
        line=3,
    ),
    readable(
        "C12 line break in a cell", b'name,text\n"An\nn",x\nBen,y\n', [["An\nn", "x"], TWO[1]]
    ),
    readable("C13 CR only", b"name,text\rAnn,x\rBen,y\r", TWO),
    readable("C13 mixed line ends", b"name,text\r\nAnn,x\nBen,y\r", TWO),
    readable("C14 semicolons", b"name;text\nAnn;x\nBen;y\n", TWO, page=["semicolons"]),
    readable("C14 tabs", b"name\ttext\nAnn\tx\nBen\ty\n", TWO, page=["tabs"]),
    readable("C15 sep=", b"sep=;\nname;text\nAnn;x\nBen;y\n", TWO, page=["semicolons"]),
    readable(
        "C16 too few cells",
        b"name,text\nAnn,x\nBen\nCid\n",
        [["Ann", "x"], ["Ben"], ["Cid"]],
        left_out=2,
        line=3,
        page=[
            "These rows have too few cells",
            "missing",
            "Fill short rows with empty cells",
        ],
    ),
    readable(
        "C17 too many cells",
        b"name,text\nAnn,x\nBen,y,z\n",
        [["Ann", "x"], ["Ben", "y", "z"]],
        left_out=1,
        line=3,
        page=["This row has 3 cells, and there are 2 columns", "needs quotation marks"],
    ),
    readable(
        "C18 one name twice",
        b"name,text,name\nAnn,x,y\n",
        [["Ann", "x", "y"]],
        columns=["name", "text", "name (2)"],
        page=["Columns 1 and 3 have the same name. Column 3 is called “name (2)”"],
    ),
    readable(
        "C19 a column without a name",
        b"name,text,\nAnn,x,1\n",
        [["Ann", "x", "1"]],
        columns=["name", "text", "column_3"],
        page=["Column 3 has no name and is called column_3"],
    ),
    readable(
        "C20 odd names",
        "a b,é,😀,x.y\n1,2,3,4\n".encode(),
        [["1", "2", "3", "4"]],
        columns=["a b", "é", "😀", "x.y"],
    ),
    readable(
        "C20 a brace in a name",
        b"{{x}},a{b}\nAnn,x\n",
        [["Ann", "x"]],
        columns=["x", "a(b)"],
        page=["Some column names were changed", "Column 1, “{{x}}”, is called “x”"],
    ),
    readable(
        "C20 a very long name",
        b"n" * 300 + b",text\nAnn,x\n",
        [["Ann", "x"]],
        columns=["n" * 50 + " … " + "n" * 30, "text"],
        page=["has 300 characters and was shortened", "n" * 300],
    ),
    readable(
        "C21 a cell of 131,073 bytes", b"name,text\nAnn," + b"x" * 131_073, [["Ann", "x" * 131_073]]
    ),
    refused(
        "C21 a cell of 2 MB",
        b"name,text\nAnn,x\nBen," + b"x" * 2_000_000,
        "more than 1,000,000 characters",
        line=3,
    ),
    refused(
        "C22 10,001 columns",
        b",".join(b"c%d" % n for n in range(10_001)) + b"\n1\n",
        "10,001 columns; at most 500",
        line=1,
    ),
    refused(
        "C23 more rows than are taken",
        b"name\n" + b"x\n" * 101,
        "more than 100 rows",
        "Split it",
        line=102,
        limits={"MAX_ROWS": 100},
    ),
    readable(
        "C24 formulas",
        b"a,b,c,d\n=cmd|' /C calc'!A0,+1,-5,@x\n",
        [["=cmd|' /C calc'!A0", "+1", "-5", "@x"]],
    ),
    readable(
        "C25 other line separators",
        "name,text\nAnn,a\u2028b\vc\fd\u0085e\n".encode(),
        [["Ann", "a\u2028b\vc\fd\u0085e"]],
    ),
    readable(
        "C28 our names",
        b"custom_id,status,answer\n1,new,x\n",
        [["1", "new", "x"]],
        columns=["custom_id", "status", "answer"],
    ),
]


# --- J: JSON --------------------------------------------------------------------------------------


def json_lines(*lines: str) -> bytes:
    return "\n".join(lines).encode()


def bad_line(name: str, line: str, *page: str) -> Case:
    """In line 2 of 3."""
    good = '{"a": "1"}'
    return refused(name, json_lines(good, line, good), *page, line=2, file="upload.jsonl")


def request(custom_id: str = "1", **params: Any) -> str:
    usual = {
        "model": "claude-haiku-5-5",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "Hi"}],
    }
    return json.dumps({"custom_id": custom_id, "params": {**usual, **params}})


JSON = [
    readable("J1 a list", b'[{"a": "1"},\n {"a": "2"}]', [["1"], ["2"]], file="list.json"),
    readable(
        "J2 a mistake in line 7",
        json_lines(*['{"a": "1"}'] * 6, '{"a": "the place" "b"}'),
        [["1"]] * 6 + [['{"a": "the place" "b"}']],
        page=["Column 19", "the place"],
        left_out=1,
        line=7,
        file="upload.jsonl",
    ),
    refused(
        "J3 the last line is cut off",
        json_lines('{"a": "1"}', '{"a": "2'),
        "ends before the object is complete",
        line=2,
    ),
    bad_line("J4 a comma too many", '{"a": 1,}', "comma has nothing"),
    bad_line("J4 single quotation marks", "{'a': 1}", "Use double quotation marks"),
    bad_line("J4 a comment", '{"a": 1 /* so */}', "does not allow comments"),
    bad_line("J5 a number", "5", "object was expected", "a number"),
    bad_line("J5 null", "null", "object was expected"),
    bad_line("J5 a list", "[1]", "object was expected", "a list"),
    bad_line("J6 two objects in a line", '{"a": 1} {"a": 2}', "Put each object on its own line"),
    bad_line("J7 1,100 levels", '{"a":' + "[" * 1_100 + "]" * 1_100 + "}", "nested too deeply"),
    bad_line("J7 100,000 levels", '{"a":' + "[" * 100_000 + "]" * 100_000 + "}", "too deeply"),
    bad_line("J8 NaN", '{"a": NaN}', "Use null"),
    bad_line("J8 Infinity", '{"a": -Infinity}', "Use null"),
    bad_line("J8 1e999", '{"a": 1e999}', "too large"),
    readable("J9 2**70", json_lines(f'{{"a": {2**70}}}'), [[str(2**70)]], file="upload.jsonl"),
    bad_line("J9 5,000 digits", f'{{"a": {"9" * 5_000}}}', "too large"),
    bad_line("J10 a key twice", '{"a": 1, "a": 2}', "The key “a” appears twice"),
    bad_line("J11 half a character", '{"a": "\\ud800"}', "unpaired surrogate"),
    bad_line("J11 NUL", '{"a": "x\\u0000"}', "NUL character"),
    bad_line("J12 a control character", '{"a": "x\x01y"}', "control character"),
    readable(
        "J13 a nested value",
        json_lines('{"a": {"b": [1, 2.50]}}'),
        [['{"b":[1,2.50]}']],
        file="upload.jsonl",
    ),
    readable(
        "J14 other keys",
        json_lines('{"a": "1"}', '{"b": "2"}'),
        [["1", ""], ["", "2"]],
        columns=["a", "b"],
        page=["1 object has no “a”", "1 object has no “b”"],
        file="upload.jsonl",
    ),
    bad_line("J15 a line of 6 MB", json.dumps({"a": "x" * 6_000_000}), "more than 5,000,000"),
    readable(
        "J16 mark, CRLF, blank last line",
        b'\xef\xbb\xbf{"a": "1"}\r\n{"a": "2"}\r\n\r\n',
        [["1"], ["2"]],
        page=["1 blank line skipped"],
        file="upload.jsonl",
    ),
    readable(
        "J18 names that mean something elsewhere",
        json_lines('{"__proto__": "1", "constructor": "2"}'),
        [["1", "2"]],
        columns=["__proto__", "constructor"],
        file="upload.jsonl",
    ),
]


# --- X: workbooks ---------------------------------------------------------------------------------


def book(path: Path, rows: list[list[Any]], **options: Any) -> None:
    with workbook(path, **options) as made:
        fill(made.add_worksheet("Data"), rows)


def numbers_file(path: Path) -> None:
    pack(path, {"index/document.iwa": b"x", "metadata/properties.plist": b"x"})


def word_document(path: Path) -> None:
    pack(path, {"[Content_Types].xml": "<Types/>", "word/document.xml": "<document/>"})


def with_password(path: Path) -> None:
    xls(path, [["a"]])
    rename_stream(path, "EncryptedPackage")


def cut(path: Path) -> None:
    book(path, [["name"], *([f"row {n}"] for n in range(100))])
    path.write_bytes(path.read_bytes()[:-200])


def without_workbook(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "nothing")


def far_cell(path: Path) -> None:
    xlsx(
        path,
        sheet_of(
            '<row r="1"><c r="A1"><v>1</v></c></row>'
            '<row r="1048576"><c r="XFD1048576"><v>2</v></c></row>'
        ),
    )


def bomb(path: Path) -> None:
    xlsx(path, parts={"xl/sharedStrings.xml": f'<sst xmlns="{MAIN}"><si><t>x</t></si></sst>'})
    declare(path, "xl/sharedStrings.xml", 530_000_000)


def lying_bomb(path: Path) -> None:
    text = "<si><t>x</t></si>" * 200_000
    xlsx(path, parts={"xl/sharedStrings.xml": f'<sst xmlns="{MAIN}">{text}</sst>'})
    declare(path, "xl/sharedStrings.xml", 1_234)


def laughs(path: Path) -> None:
    xlsx(path, sheet_of("", '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>'))


def outside(path: Path) -> None:
    xlsx(path, sheet_of("", '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'))


def two_sheets(path: Path) -> None:
    with workbook(path) as made:
        fill(made.add_worksheet("final (2)"), [["name"], ["Ann"]])
        hidden = made.add_worksheet("Old")
        fill(hidden, [["name"], ["Ben"]])
        hidden.hide()


def title_and_merged_cells(path: Path) -> None:
    with workbook(path) as made:
        sheet = made.add_worksheet("Data")
        sheet.merge_range("A1:C1", "Report")
        fill(sheet, [[], ["name", "text", "city"], ["Ann", "x", "Ulm"], ["", "y", "Rom"]])
        sheet.merge_range("A3:A4", "Ann")


def formulas(path: Path) -> None:
    cells = [
        (1, '<c r="A1" t="inlineStr"><is><t>sum</t></is></c>'),
        (2, '<c r="A2"><f>1+1</f><v>2</v></c>'),
        (3, '<c r="A3"><f>1+1</f></c>'),
    ]
    xlsx(path, sheet_of("".join(f'<row r="{row}">{cell}</row>' for row, cell in cells)))


def kinds_of_cells(path: Path) -> None:
    with workbook(path, date_1904=True) as made:
        sheet = made.add_worksheet("Data")
        fill(sheet, [["day", "sum", "long", "code"]])
        sheet.write_datetime(1, 0, date(2024, 5, 1), made.add_format({"num_format": "d.m.yy"}))
        fill_from(sheet, 1, 1, [0.1 + 0.2, 1_234_567_890_123_456, "007"])


def fill_from(sheet: Any, row: int, column: int, values: list[Any]) -> None:
    for index, value in enumerate(values):
        (sheet.write_string if isinstance(value, str) else sheet.write_number)(
            row, column + index, value
        )


def errors_and_booleans(path: Path) -> None:
    with workbook(path) as made:
        sheet = made.add_worksheet("Data")
        fill(sheet, [["name", "ok"]])
        sheet.write_formula(1, 0, "=NA()", None, "#N/A")
        sheet.write_boolean(1, 1, True)


def way_out(path: Path) -> None:
    xlsx(path, parts={"../../evil": "evil"})


def many_parts(path: Path) -> None:
    xlsx(path, parts={f"xl/media/{number}": b"" for number in range(6_000)})


WORKBOOKS = [
    readable("X1 .xls called .xlsx", lambda path: xls(path, [["a"], ["x"]]), [["x"]]),
    readable("X1 .xlsb called .xlsx", lambda path: xlsb(path, [["a"], ["x"]]), [["x"]]),
    readable(
        "X1 .ods called .xlsx",
        lambda path: ods(
            path,
            f'<table:table table:name="D">{ods_row(ods_cell("a"))}{ods_row(ods_cell("x"))}'
            "</table:table>",
        ),
        [["x"]],
    ),
    refused("X1 .numbers called .xlsx", numbers_file, "an Apple Numbers"),
    refused("X1 .docx called .xlsx", word_document, "a Word document"),
    refused("X1 a text document called .xls", b"{\\rtf1\\ansi a}", "text document"),
    refused("X1 a web page called .xls", b"<html><table><tr><td>a</td></tr></table>", "web page"),
    refused(
        "X1 XML called .xls",
        '\ufeff<?xml version="1.0"?><Workbook/>'.encode("utf-16-le"),
        "save it as .xlsx",
        file="upload.xls",
    ),
    refused("X2 with a password", with_password, "password-protected", "Remove the password"),
    refused("X3 not a workbook", b"PK\x03\x04" + NOISE, "damaged or incomplete"),
    refused("X3 cut off", cut, "damaged or incomplete"),
    refused(
        "X3 a zip without a workbook", without_workbook, "zip file does not contain a workbook"
    ),
    refused("X4 a cell far away", far_cell, "line 1,048,576 and column XFD"),
    refused("X5 a bomb", bomb, "expands to 530 MB"),
    refused("X5 a bomb that lies", lying_bomb, "damaged"),
    refused("X6 laughs", laughs, "DOCTYPE"),
    refused("X6 a file from outside", outside, "DOCTYPE"),
    readable(
        "X7 two sheets, one hidden", two_sheets, [["Ann"]], page=["sheet “final (2)”", "“Old”"]
    ),
    readable(
        "X8 a title and merged cells",
        title_and_merged_cells,
        [["Ann", "x", "Ulm"], ["", "y", "Rom"]],
        columns=["name", "text", "city"],
        page=["names in line 2", "The line above it was skipped"],
    ),
    readable(
        "X9 formulas",
        formulas,
        [["2"], ["="]],
        left_out=1,
        line=3,
        page=["The formula in A3 has no result"],
    ),
    readable(
        "X10 dates, sums, long numbers",
        kinds_of_cells,
        [["2024-05-01", "0.3", "1234567890123456", "007"]],
        page=["more than 15 digits"],
    ),
    readable(
        "X11 errors and yes/no", errors_and_booleans, [["#N/A", "TRUE"]], page=["with an error"]
    ),
    refused("X12 a way out", way_out, "leads out of it"),
    refused("X12 6,000 parts", many_parts, "6,005 parts"),
]


@pytest.fixture
def read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for the same reading of the same file gets the same answers: a process for each
    takes longer than all the rest."""
    real, known = reading.read_apart, dict[tuple[bytes, bytes], list[ReaderOutput]]()

    def read(order: ReaderInput, lease: Lease | None = None) -> Iterator[ReaderOutput]:
        alike = msgspec.structs.replace(order, path="")
        key = Path(order.path).read_bytes(), msgspec.json.encode(alike)
        if key not in known:
            known[key] = list(real(order, lease))
        yield from known[key]

    monkeypatch.setattr(reading, "read_apart", read)
    monkeypatch.setattr("jobs.cli.check.read_apart", read)


# About files, not about the database.
@pytest.mark.no_database
@pytest.mark.usefixtures("read_once")
@pytest.mark.parametrize("case", [*CSV, *JSON, *WORKBOOKS], ids=lambda case: case.name)
def test_a_file_of_the_catalogue(
    case: Case,
    alice: User,
    client_alice: Client,
    drive: Drive,
    settings: Settings,
    tmp_path: Path,
) -> None:
    for name, value in case.limits.items():
        setattr(settings, name, value)
    path = tmp_path / (case.file if isinstance(case.content, bytes) else "upload.xlsx")
    if isinstance(case.content, bytes):
        path.write_bytes(case.content)
    else:
        case.content(path)

    job = upload(client_alice, path, drive)
    page = squeezed(client_alice.get(reverse("job", args=[job.pk])).content)
    for words in case.page:
        assert words in page
    if case.rows is None:
        assert job.state == Job.State.UNREADABLE
        assert "This file could not be read" in page
        assert not job.rows.exists()
    else:
        assert job.state == Job.State.DRAFT
        assert [row.content for row in job.rows.in_order()] == case.rows
        assert job.unsent_count == case.left_out
    if case.columns is not None:
        assert job.columns == case.columns
    problems = list(job.problems.all())
    if case.line is not None:
        assert problems[0].lines[0] == case.line
    for problem in problems:
        assert not problem.leaves_out or problem.remedy, "it is said how to mend it"

    status, facts = check(path)
    assert status == (4 if not case.is_readable else 3 if case.left_out else 0)
    said = {(problem["message"], problem["remedy"], problem["count"]) for problem in facts}
    assert said == {(problem.title, problem.remedy, problem.count) for problem in problems}


def upload(client: Client, path: Path, drive: Drive) -> Job:
    file = SimpleUploadedFile(path.name, path.read_bytes())
    answer = client.post(reverse("new_job"), {"file": file})
    assert answer.status_code == 302
    return drive(Job.objects.latest("pk"), until=lambda job: job.state != Job.State.READING)


def check(path: Path) -> tuple[int, list[dict[str, Any]]]:
    """The exit status of `job check`, and the problems that it names."""
    output = io.StringIO()
    try:
        call_command("job", "check", str(path), "--json", stdout=output)
    except SystemExit as error:
        return int(str(error.code)), json.loads(output.getvalue())["problems"]
    return 0, json.loads(output.getvalue())["problems"]


# --- What is more than one file -------------------------------------------------------------------


def test_c1_a_file_of_0_bytes_is_refused_at_once(client_alice: Client, tmp_path: Path) -> None:
    answer = client_alice.post(reverse("new_job"), {"file": SimpleUploadedFile("a.csv", b"")})
    assert answer.status_code == 422
    assert "This file is empty" in answer.content.decode()
    assert not Job.objects.exists()
    (tmp_path / "a.csv").touch()
    assert check(tmp_path / "a.csv")[0] == 4


def test_c7_another_encoding_is_one_choice_away(
    client_alice: Client, drive: Drive, tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("name,text\nZoë,Привет, мир\n".encode("cp1251", errors="replace"))
    job = upload(client_alice, path, drive)
    client_alice.post(reverse("reading", args=[job.pk]), {"reading-encoding": "cp1251"})
    job = drive(job, until=lambda job: job.state != Job.State.READING)
    assert job.rows.get().content[1] == "Привет"


def test_c24_formulas_run_nowhere_and_stay_exact(
    client_alice: Client, make_job: Callable[..., Job], alice: User
) -> None:
    cells = ("=cmd|' /C calc'!A0", "+1", "-5", "@x")
    job = make_job(alice, columns=("a", "b", "c", "d"), rows=[cells])
    text = b"".join(table.csv_chunks(job)).decode("utf-8-sig")
    assert text.splitlines()[1].startswith("'=cmd|' /C calc'!A0,+1,-5,'@x,")
    (line,) = b"".join(table.jsonl_chunks(job)).decode().splitlines()
    assert tuple(json.loads(line)["cells"].values()) == cells


def test_c27_the_same_file_twice(client_alice: Client, drive: Drive, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"a\nx\n")
    upload(client_alice, path, drive)
    job = upload(client_alice, path, drive)
    page = client_alice.get(reverse("job", args=[job.pk])).content.decode()
    assert "You already uploaded this file" in page


def test_c28_their_columns_stay_beside_ours(alice: User, make_job: Callable[..., Job]) -> None:
    job = make_job(alice, columns=("custom_id", "status", "answer"), rows=[("1", "new", "x")])
    text = b"".join(table.csv_chunks(job)).decode("utf-8-sig")
    assert text.startswith("custom_id,status,answer,answer_2,status_2,")
    assert text.splitlines()[1].startswith("1,new,x,Answer 1,Good,")


def test_j17_ready_made_requests_are_recognised_and_checked(
    client_alice: Client, drive: Drive, tmp_path: Path
) -> None:
    path = tmp_path / "requests.jsonl"
    lines = [request("1"), request("1"), request("3", stream=True), request("any id, ü")]
    path.write_bytes(json_lines(*lines))
    job = upload(client_alice, path, drive)
    assert (job.kind, job.row_count, job.unsent_count) == (Job.Kind.REQUESTS, 4, 2)
    page = squeezed(client_alice.get(reverse("job", args=[job.pk])).content)
    assert "The custom_id “1” is already used on line 1" in page
    assert "Batches do not support streaming." in page
    assert check(path)[0] == 3
