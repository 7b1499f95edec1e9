"""What the page asks about an uploaded file: first, with a button for each answer, and once."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from jobs.actions import uploads
from jobs.ingest.shapes import ALL_ROWS, FILL, KEEP, SKIP, Choices
from jobs.models import Job
from jobs.web.forms.uploads import ReadingForm

from ..workbooks import fill, workbook

Drive = Callable[..., Job]
QUESTION = "Did we read your file correctly?"
REMARKS = "Worth knowing"
NOTES_BELOW = b"Report\n\nid,text,n\n1,a,2\n2,b,3\n\nSource: internal,,\n"
SHORT = b"id,name,review\n" + b"1,Ann\n2,Ben\n3,Cid,fine\n" * 4
ONE_COLUMN = b"review\nGood, fast, cheap\nBad, very bad, never\nOK, fine, meh\nA, b, c\n"
GREEK = "id;σχόλιο\n1;Πολύ καλό προϊόν\n2;Άσχημο\n".encode("cp1253")
COMMAS = "Commas between cells"
_BUTTON = re.compile(
    r'aria-label="(?:Apply: |Keep: )?([^–"]*) – [^>]*?"\s+class="([^"]*)"'
    r'\s+name="option" value="([^"]*)">'
)


def read(owner: User, drive: Drive, content: bytes, **choices: Any) -> Job:
    job = uploads.create_job(owner, ContentFile(content, "file"), choices=Choices(**choices))
    return drive(job, until=lambda job: job.state != Job.State.READING)


def page_of(client: Client, job: Job) -> str:
    answer = client.get(reverse("job", args=[job.pk]))
    assert answer.status_code == 200
    return " ".join(html.unescape(answer.content.decode()).split())


def options_of(page: str) -> dict[str, str]:
    """The buttons of other ways to read the file: label and name."""
    return {label: name for label, _css, name in _BUTTON.findall(page)}


def choose(client: Client, drive: Drive, job: Job, name: str) -> Job:
    client.post(reverse("reading", args=[job.pk]), {"option": name})
    return drive(job, until=lambda job: job.state != Job.State.READING)


def test_another_reading_is_undone_with_one_click(
    alice: User, client_alice: Client, drive: Drive
) -> None:
    job = read(alice, drive, ONE_COLUMN)
    assert "Read as before" not in page_of(client_alice, job)
    job = choose(client_alice, drive, job, options_of(page_of(client_alice, job))[COMMAS])
    client_alice.post(reverse("reading", args=[job.pk]), {"fill": "yes"})
    job = drive(job, until=lambda job: job.state != Job.State.READING)
    assert (job.choices.delimiter, job.choices.fill) == (",", True)
    assert "Read as before" in page_of(client_alice, job)
    client_alice.post(reverse("reading", args=[job.pk]), {"before": "yes"})
    job = drive(job, until=lambda job: job.state != Job.State.READING)
    assert (job.choices.delimiter, job.choices.fill) == (",", False)


def test_buttons_with_the_same_words_have_different_names(
    alice: User, client_alice: Client, drive: Drive, tmp_path: Path
) -> None:
    path = tmp_path / "shares.xlsx"
    with workbook(path) as book:
        sheet, share = book.add_worksheet(), book.add_format({"num_format": "0%"})
        fill(sheet, [["one", "two"]])
        for line in (1, 2):
            sheet.write_number(line, 0, 0.5, share)
            sheet.write_number(line, 1, 0.25, share)
    page = page_of(client_alice, read(alice, drive, path.read_bytes()))
    names = re.findall(r'aria-label="(As stored [^"]*)"', page)
    assert len(names) == len(set(names)) == 2 and "“one”" in names[0] and "“two”" in names[1]


SAME_WORDS = {
    "one_column": (
        "NAME      READY  AGE\napi-7d9c  1/1    3d\nweb-5b6   0/1    5h\n",
        "Each line is read as one cell. Blanks seem to line up columns in it.",
        "Split into columns at the gaps",
        "--delimiter gaps",
    ),
    "subtotals": (
        "region,city,units\nNorth,Oslo,5\nNorth Total,,5\nSouth,Rome,3\nSouth,Bari,4\n"
        "South Total,,7\nWest,Lyon,1\nWest,Brest,2\n",
        "Lines 3 and 6 look like totals of other rows: “North Total”, “South Total”.",
        "Skip them",
        "--skip-subtotals",
    ),
    "garbled": (
        "id,text\n1,CafÃ©\n2,Tea\n",
        "1 cell seems to be garbled, such as “CafÃ©”, which may have been “Café”.",
        "Repair it",
        "--repair-text",
    ),
    "foreign_requests": (
        '{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "a"}]}\n'
        * 2,
        "These are conversations for fine-tuning a model.",
        "Convert them to requests for Claude",
        "--convert fine-tuning",
    ),
    "tables": (
        "name,age\nAnn,31\nBen,42\nCid,53\n\ncity,people\nOslo,700\nRome,2800\nBari,300\n",
        "This file seems to hold two tables: lines 1–4 and 6–9.",
        "Only the first",
        "--last-row 4",
    ),
    "nulls": (
        "id\ttext\n1\tgood\n2\t\\N\n3\t\\N\n",
        "2 cells have only “\\N”, in “text” (2).",
        "Read as empty",
        "--empty-nulls",
    ),
    "backslashes": (
        "id\ttext\n1\tone\\\ntwo\n2\t\\N\n",
        "Backslashes are read as databases write them",
        "Read them so",
        "--escapes",
    ),
    "chat": (
        "28.11.26, 10:15 - Ann: Hi, you\n28.11.26, 10:16 - Ben: Yes, me\n",
        "The lines begin with a time, as in a chat or a log: “28.11.26, 10:15 - Ann: Hi, you”.",
        "One column: each line is a cell",
        "--delimiter none --no-quotes --header-row -1",
    ),
    "drawn": (
        "| id | name |\n|----|------|\n| 1  | Ann  |\n| 2  | Ben  |\n",
        "The table is drawn with characters.",
        "One column: each line is a cell",
        "--delimiter none",
    ),
    "faulty_names": (
        'id,"name\n1,Ann\n2,"Ben, B."\n3,Cid\n',
        "A quotation mark is opened in the line of the column names and never closed.",
        "No quotation marks",
        "--no-quotes",
    ),
}


@pytest.mark.parametrize("kind", SAME_WORDS)
def test_page_and_command_say_the_same_and_offer_the_same(
    kind: str,
    alice: User,
    client_alice: Client,
    drive: Drive,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    content, words, label, flag = SAME_WORDS[kind]
    job = read(alice, drive, content.encode())
    page = page_of(client_alice, job)
    assert words in page and label in options_of(page)
    path = tmp_path / "upload"
    path.write_text(content)
    with suppress(SystemExit):
        call_command("job", "check", str(path))
    said = " ".join("".join(capsys.readouterr()).split())
    assert words in said and flag in said
    job = choose(client_alice, drive, job, options_of(page)[label])
    assert kind not in [problem.kind for problem in job.problems.all()]
    with suppress(SystemExit):
        call_command("job", "check", str(path), *flag.split())
    assert words not in " ".join("".join(capsys.readouterr()).split())


def test_a_bad_line_of_json_is_one_skipped_row(
    alice: User, client_alice: Client, drive: Drive
) -> None:
    good = '{"id": 1, "text": "a"}\n'
    job = read(alice, drive, (good * 5 + '{"id": 1, "text": "cut\n' + good).encode())
    assert (job.state, job.row_count, job.skipped_count) == (Job.State.DRAFT, 7, 1)
    page = page_of(client_alice, job)
    assert "1 row will be skipped" in page and "Line 6" in page


def test_filling_short_rows_is_offered_once(
    alice: User, client_alice: Client, drive: Drive
) -> None:
    page = page_of(client_alice, read(alice, drive, SHORT))
    assert "Fill short rows with empty cells" in options_of(page)
    assert "Fill them with empty cells" not in page


# --- Questions ------------------------------------------------------------------------------------


def test_a_question_stands_before_what_is_skipped_and_before_the_remarks(
    alice: User, client_alice: Client, drive: Drive
) -> None:
    page = page_of(client_alice, read(alice, drive, SHORT.replace(b"id,", b"name,")))
    places = [page.index(text) for text in (QUESTION, "will be skipped", REMARKS, "The first rows")]
    assert places == sorted(places)


def test_an_answer_is_applied_and_only_a_remark_remains(
    alice: User, client_alice: Client, drive: Drive
) -> None:
    job = read(alice, drive, NOTES_BELOW)
    page = page_of(client_alice, job)
    assert "The last row (line 7) looks unlike the others" in page
    job = choose(client_alice, drive, job, options_of(page)["Skip it"])
    assert (job.choices.unlike, job.row_count) == (SKIP, 2)
    page = page_of(client_alice, job)
    assert QUESTION not in page and "Skip it" not in options_of(page)
    assert page.index(REMARKS) < page.index("Line 7 below the table was skipped")
    job = choose(client_alice, drive, job, options_of(page)["Read it as a row"])
    assert (job.choices.unlike, job.row_count) == (KEEP, 3)
    assert QUESTION not in page_of(client_alice, job), "it was answered"


def test_an_option_of_an_earlier_reading_changes_nothing(
    alice: User, client_alice: Client, drive: Drive
) -> None:
    job = read(alice, drive, NOTES_BELOW)
    outdated = options_of(page_of(client_alice, job))["Skip it"]
    job = choose(client_alice, drive, job, options_of(page_of(client_alice, job))["Keep it"])
    before = (job.choices, job.readings)
    answer = client_alice.post(
        reverse("reading", args=[job.pk]), {"option": outdated}, follow=True
    ).content.decode()
    assert "The file was read again since you looked. Nothing was changed." in answer
    job.refresh_from_db()
    assert (job.state, job.choices, job.readings) == (Job.State.DRAFT, *before)


@pytest.mark.parametrize("name", ["", "x", "1-2", "0-0-0", "9999999999999999999999-0-0"])
def test_an_option_that_was_never_offered_changes_nothing(
    alice: User, client_alice: Client, drive: Drive, name: str
) -> None:
    job = read(alice, drive, NOTES_BELOW)
    client_alice.post(reverse("reading", args=[job.pk]), {"option": name})
    job.refresh_from_db()
    assert (job.state, job.choices) == (Job.State.DRAFT, Choices())


def test_readings_stand_side_by_side_and_the_one_of_now_is_marked(
    alice: User, client_alice: Client, drive: Drive
) -> None:
    job = read(alice, drive, ONE_COLUMN)
    page = page_of(client_alice, job)
    assert list(options_of(page)) == ["One column: each line is a cell", "Commas between cells"]
    assert page.index("Good, fast, cheap") < page.index("Good | fast | cheap")
    assert page.count(">Now</span>") == page.count(">Keep</button>") == 1
    assert page.index(">Now</span>") < page.index("Good, fast, cheap")
    first, *others = [css for _label, css, _name in _BUTTON.findall(page)]
    assert "btn-primary" in first and not any("btn-primary" in css for css in others)


def test_an_encoding_in_doubt_is_shown_as_its_letters_would_be(
    alice: User, client_alice: Client, drive: Drive
) -> None:
    job = read(alice, drive, GREEK)
    page = page_of(client_alice, job)
    assert "Άσχημο" in page, "the right letters are there to choose"
    job = choose(client_alice, drive, job, options_of(page)["Greek (Windows-1253)"])
    assert job.rows.get(number=2).content == ["2", "Άσχημο"]
    assert QUESTION not in page_of(client_alice, job)


def test_a_file_whose_rows_are_mostly_skipped_is_no_success(
    alice: User, client_alice: Client, drive: Drive
) -> None:
    job = read(alice, drive, SHORT)
    page = page_of(client_alice, job)
    assert "We read 12 rows, but only 4 can be sent" in page and "text-green" not in page
    assert next(iter(options_of(page))) == "Fill short rows with empty cells"
    assert "1 | Ann |" in page, "the rows as they would be"
    job = choose(client_alice, drive, job, options_of(page)["Fill short rows with empty cells"])
    page = page_of(client_alice, job)
    assert "12 rows, 3 columns" in page and QUESTION not in page
    none = read(alice, drive, b"a,b,c\n1,2\n3,4\n")
    assert "We read 2 rows, but none can be sent" in page_of(client_alice, none)


def test_a_remark_names_its_line_once(alice: User, client_alice: Client, drive: Drive) -> None:
    page = page_of(client_alice, read(alice, drive, NOTES_BELOW, unlike=SKIP))
    assert re.sub('aria-label="[^"]*"', "", page).count("Line 7") == 1
    assert "Line 3" not in page, "where the names are is said in the sentence"
    assert "found in line 3" in page


def test_an_unreadable_file_that_can_be_read_differently_says_so(
    alice: User, client_alice: Client, drive: Drive
) -> None:
    job = read(alice, drive, b'["The parcel was late", "Fine", "Loud"]')
    assert job.state == Job.State.UNREADABLE
    page = page_of(client_alice, job)
    assert "Choose how to read the file, or upload another one." in page
    assert "Fix this in your file" not in page
    job = choose(client_alice, drive, job, options_of(page)["Read 3 rows"])
    assert (job.state, job.row_count) == (Job.State.DRAFT, 3)


def test_lines_that_make_a_file_unreadable_are_shown_at_once(
    alice: User, client_alice: Client, drive: Drive
) -> None:
    page = page_of(client_alice, read(alice, drive, b'{"a":1}\n{"a":2,}\n{"a"\nhello\n'))
    assert re.search(r"<details class=\"fold-inner\" open><summary>Show the first ones", page)


# --- The form -------------------------------------------------------------------------------------


def test_every_choice_for_a_file_stands_in_one_group(
    alice: User, client_alice: Client, drive: Drive, tmp_path: Path
) -> None:
    job = read(alice, drive, NOTES_BELOW)
    form = ReadingForm(job)
    assert [title for title, _fields in form.groups()] == ["Text", "Column names", "Rows"]
    assert {field.name for _, fields in form.groups() for field in fields} == form.fields.keys()
    page = page_of(client_alice, job)
    assert all(page.count(f'name="reading-{name}"') == 1 for name in form.fields)
    with workbook(tmp_path / "book") as book:
        fill(book.add_worksheet("People"), [["id", "text"], ["1", "a"], ["2", "b"]])
    form = ReadingForm(read(alice, drive, (tmp_path / "book").read_bytes()))
    assert [title for title, _fields in form.groups()] == ["Workbook", "Column names", "Rows"]
    assert {field.name for _, fields in form.groups() for field in fields} == form.fields.keys()


def test_the_form_keeps_what_was_chosen_with_a_button(
    alice: User, client_alice: Client, drive: Drive, tmp_path: Path
) -> None:
    with workbook(tmp_path / "book") as book:
        sheet = book.add_worksheet("People")
        fill(sheet, [["kind", "text"], ["", "a"], ["", "b"], ["", "c"]])
        sheet.merge_range(1, 0, 3, 0, "Fruit")
    job = read(alice, drive, (tmp_path / "book").read_bytes())
    job = choose(client_alice, drive, job, options_of(page_of(client_alice, job))["Leave empty"])
    assert job.choices.merged == KEEP
    form = ReadingForm(job)
    sent = {f"reading-{name}": form[name].value() or "" for name in form.fields}
    sent = {name: value for name, value in sent.items() if value is not False}
    client_alice.post(reverse("reading", args=[job.pk]), {**sent, "reading-unlike": KEEP})
    job = drive(job, until=lambda job: job.state != Job.State.READING)
    assert (job.choices.merged, job.choices.unlike) == (KEEP, KEEP)
    assert QUESTION not in page_of(client_alice, job)
    client_alice.post(reverse("reading", args=[job.pk]), {**sent, "reading-merged": FILL})
    job = drive(job, until=lambda job: job.state != Job.State.READING)
    assert [row.content[0] for row in job.rows.in_order()] == ["Fruit"] * 3


def test_the_form_sets_where_the_rows_end_and_keeps_an_answer(
    alice: User, client_alice: Client, drive: Drive
) -> None:
    job = read(alice, drive, SAME_WORDS["tables"][0].encode())
    job = choose(client_alice, drive, job, options_of(page_of(client_alice, job))["All as one"])
    assert (job.choices.last_row, job.row_count) == (ALL_ROWS, 7)
    form = ReadingForm(job)
    sent = {f"reading-{name}": form[name].value() or "" for name in form.fields}
    sent = {name: value for name, value in sent.items() if value is not False}
    for last, rows in (("", 7), ("3", 2)):
        client_alice.post(reverse("reading", args=[job.pk]), {**sent, "reading-last_row": last})
        job = drive(job, until=lambda job: job.state != Job.State.READING)
        assert job.row_count == rows
    assert "The rows end in line 3, as you chose." in page_of(client_alice, job)


def test_lines_of_one_sheet_are_not_chosen_for_another(
    alice: User, client_alice: Client, drive: Drive, tmp_path: Path
) -> None:
    with workbook(tmp_path / "book") as book:
        for name in ("First", "Second"):
            fill(book.add_worksheet(name), [["a", "b"], *([f"t{n}", "x"] for n in range(9))])
    job = read(alice, drive, (tmp_path / "book").read_bytes(), header=1, last_row=4)
    assert job.row_count == 3
    job = choose(client_alice, drive, job, options_of(page_of(client_alice, job))["Read “Second”"])
    assert (job.reading.sheet, job.choices.last_row, job.row_count) == ("Second", 0, 9)


def test_the_form_has_each_delimiter_that_can_be_chosen(
    alice: User, client_alice: Client, drive: Drive
) -> None:
    """A browser sends a line break in a value as another one, so none has one."""
    job = read(alice, drive, b"id~text\n1~a\n2~b\n", delimiter="~")
    for choice in ("~", "none"):
        form = ReadingForm(job)
        values = [value for value, _label in form.fields["delimiter"].choices]  # type: ignore[attr-defined]  # a ChoiceField
        assert choice in values and not any(set(value) & {"\n", "\r"} for value in values)
        assert form["delimiter"].value() == "~"
        client_alice.post(reverse("reading", args=[job.pk]), {"reading-delimiter": choice})
        job = drive(job, until=lambda job: job.state != Job.State.READING)
        assert job.choices.delimiter == {"none": "\n"}.get(choice, choice)
    assert ReadingForm(job)["delimiter"].value() == "none"
    assert job.columns == ["id~text"]


def test_an_unreadable_file_can_be_read_as_it_was_found(
    alice: User, client_alice: Client, drive: Drive
) -> None:
    """Also when the form has no field for what was chosen."""
    job = read(alice, drive, b'{"data": [{"id": 1}, {"id": 2}]}', list_key="nothing")
    assert job.state == Job.State.UNREADABLE
    assert 'name="detect"' in page_of(client_alice, job)
    client_alice.post(reverse("reading", args=[job.pk]), {"detect": "yes"})
    job = drive(job, until=lambda job: job.state != Job.State.READING)
    assert (job.state, job.row_count, job.choices) == (Job.State.DRAFT, 2, Choices())


# --- Rows that cannot be sent ---------------------------------------------------------------------


def bad_cells(page: str) -> list[str]:
    """The marked cells of the tables of skipped rows, as they are read aloud."""
    found = re.findall(r'<td class="bad-cell">(.*?)</td>', page)
    return [" ".join(re.sub(r"<[^>]*>", " ", cell).split()) for cell in found]


def test_skipped_rows_are_a_table_with_the_faulty_cell_marked(
    alice: User, client_alice: Client, drive: Drive
) -> None:
    content = (
        b"id,name,note\n1,Ann,<b>x</b>,,Oslo\n2,Ben\n3,Cid,fine\n4,Dee,caf\xe9\n"
        + b"5,E,\xc3\xa9\n" * 9
    )
    job = read(alice, drive, content, encoding="utf-8")
    page = page_of(client_alice, job)
    assert bad_cells(page) == [
        "Extra cell: empty",
        "Extra cell: Oslo",
        "missing",
        "caf\ufffd wrong character",
    ]
    assert page.count('"bad-more">No column') == 2
    assert "<b>x</b>" not in client_alice.get(reverse("job", args=[job.pk])).content.decode()
    # The rows of the file beside it say that they are skipped.
    assert page.count(">Skipped</td>") == 3


def test_a_wide_table_shows_the_columns_around_the_fault(
    alice: User, client_alice: Client, drive: Drive
) -> None:
    names = ",".join(f"c{number}" for number in range(1, 31))
    cells = ",".join(["x"] * 30)
    page = page_of(client_alice, read(alice, drive, f"{names}\n{cells},more\n{cells}\n".encode()))
    table = page.partition('class="table-responsive bad-rows"')[2].partition("</table>")[0]
    assert re.findall(r'dir="auto">(c\d+)<', table) == ["c29", "c30"]
    assert bad_cells(page) == ["Extra cell: more"]
