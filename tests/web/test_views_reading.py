"""What the page asks about an uploaded file: first, with a button for each answer, and once."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.test import Client
from django.urls import reverse

from jobs.actions import uploads
from jobs.ingest.shapes import FILL, KEEP, SKIP, Choices
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
_BUTTON = re.compile(r'class="([^"]*)"\s+name="option" value="([^"]*)">\s*(.*?)\s*</button>')


def read(owner: User, drive: Drive, content: bytes, **choices: Any) -> Job:
    job = uploads.create_job(owner, ContentFile(content, "file"), choices=Choices(**choices))
    return drive(job, until=lambda job: job.state != Job.State.READING)


def page_of(client: Client, job: Job) -> str:
    answer = client.get(reverse("job", args=[job.pk]))
    assert answer.status_code == 200
    return " ".join(html.unescape(answer.content.decode()).split())


def options_of(page: str) -> dict[str, str]:
    """The buttons of other ways to read the file: label and name."""
    return {label: name for _css, name, label in _BUTTON.findall(page)}


def choose(client: Client, drive: Drive, job: Job, name: str) -> Job:
    client.post(reverse("reading", args=[job.pk]), {"option": name})
    return drive(job, until=lambda job: job.state != Job.State.READING)


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
    assert page.index(REMARKS) < page.index("Line 7 below the table was left out")
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
    assert page.count("The file is read this way now.") == 1
    assert page.index("this way now") < page.index("Good | fast | cheap")
    first, *others = [css for css, _name, _label in _BUTTON.findall(page)]
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
    assert "We read 12 rows, 3 columns" in page and QUESTION not in page
    none = read(alice, drive, b"a,b,c\n1,2\n3,4\n")
    assert "We read 2 rows, but none can be sent" in page_of(client_alice, none)


def test_a_remark_names_its_line_once(alice: User, client_alice: Client, drive: Drive) -> None:
    page = page_of(client_alice, read(alice, drive, NOTES_BELOW, unlike=SKIP))
    assert page.count("Line 7") == 1
    assert "Line 3" not in page, "where the names are is said in the sentence"
    assert "found in line 3" in page


def test_an_unreadable_file_that_can_be_read_differently_says_so(
    alice: User, client_alice: Client, drive: Drive
) -> None:
    job = read(alice, drive, b'["The parcel was late", "Fine", "Loud"]')
    assert job.state == Job.State.UNREADABLE
    page = page_of(client_alice, job)
    assert "Choose how to read it, or upload another file below." in page
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
