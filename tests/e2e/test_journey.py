"""What a person does from the first start to the finished file, in a real browser."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect
from python_calamine import CalamineWorkbook

from .conftest import (
    PASSWORD,
    USER,
    as_csv,
    assert_fits,
    download,
    submit,
    tab_to,
    upload,
    wait_until_finished,
)

HEADER = ["id", "review", "größe"]
# The simulator lets a few rows fail as in life; here each says what is to become of it.
ROWS = [
    ["1", "Boils fast, looks lovely. [simulate:good]", "S"],
    ["2", 'She said "never again". [simulate:good]', "M"],
    ["3", "First line\nsecond line [simulate:good]", "L"],
    ["4", "Made me smile 🙂 👩‍👩‍👧 [simulate:good]", "XL"],
    ["5", "[simulate:errored] Support never answered.", ""],
    ["6", "<b>bold</b> {{id}} & more [simulate:good]", "S"],
    ["7", "[simulate:refusal] What is in it?", "S"],
    ["8", "Naïve café, 10 % off; très bien [simulate:good]", "M"],
]
WORDS = ("hello", "good bye", "🙂")
FAILING = {"5", "7"}


def test_a_table_goes_in_and_comes_back_with_answers(page: Page) -> None:
    upload(page, "reviews.csv", as_csv([HEADER, *ROWS]))
    page.get_by_role("heading", name="8 rows, 3 columns").wait_for()
    assert_fits(page)

    # The prompt, with a column put in by its chip; what Claude reads follows as one types.
    prompt = page.get_by_label("What should Claude do with each row?", exact=True)
    prompt.press_sequentially("Is this good or bad? ")
    page.get_by_role("button", name="review", exact=True).click()
    expect(prompt).to_have_value("Is this good or bad? {{review}}")
    preview = page.locator("#preview")
    expect(preview).to_contain_text("Is this good or bad? Boils fast, looks lovely.")
    page.get_by_role("button", name="Next row").click()
    expect(preview).to_contain_text('She said "never again".')
    expect(page.locator("#price")).to_contain_text("at most $0.")
    assert_fits(page)
    submit(page)

    wait_until_finished(page)
    assert_fits(page)
    look_through_the_tabs(page)

    # What failed, then one row of it.
    job = urlsplit(page.url).path
    page.goto(f"{job}rows/?outcome=attention")
    expect(page.get_by_role("row")).to_have_count(1 + len(FAILING))
    assert_fits(page)
    page.get_by_role("link", name="Row 5", exact=True).click()
    expect(page.get_by_role("heading", name="Row 5")).to_contain_text("Failed")
    expect(page.locator("body")).to_contain_text("Overloaded")
    assert_fits(page)
    # The next one that failed; then, of all rows, the one between them.
    page.get_by_role("link", name="Next row").click()
    expect(page.get_by_role("heading", name="Row 7")).to_contain_text("Check this")
    page.get_by_role("button", name="Close", exact=True).click()
    page.get_by_role("link", name="All 8", exact=True).click()
    page.get_by_role("link", name="Row 6", exact=True).click()
    drawer = page.locator("#row-drawer")
    expect(drawer.locator(".cells").first).to_contain_text("<b>bold</b> {{id}} & more")
    expect(drawer.locator(".answer")).not_to_be_empty()
    page.get_by_role("button", name="Close", exact=True).click()

    # The finished file: every row of the upload, in its order, with its own answer.
    page.get_by_role("link", name="reviews", exact=True).click()
    finished = list(csv.reader(io.StringIO(download(page, "CSV").decode("utf-8-sig"))))
    assert finished[0][:3] == HEADER
    assert [row[:3] for row in finished[1:]] == ROWS
    workbook = CalamineWorkbook.from_filelike(io.BytesIO(download(page, "Excel")))
    assert workbook.sheet_names == ["Rows", "Summary"]
    sheet = workbook.get_sheet_by_index(0).to_python()
    assert [row[:3] for row in sheet] == [HEADER, *ROWS]
    answers = dict(zip((row[0] for row in ROWS), finished[1:], strict=True))
    answer, status = (finished[0].index(name) for name in ("answer", "status"))
    assert {key for key, row in answers.items() if row[status] != "Good"} == FAILING
    assert all(answers[key][answer] for key in set(answers) - FAILING)

    page.get_by_role("link", name="Jobs").first.click()
    listed = page.get_by_role("row").filter(has=page.locator(f'a[href="{job}"]'))
    expect(listed).to_contain_text("reviews")
    assert_fits(page)


def look_through_the_tabs(page: Page) -> None:
    expect(page.locator("#headline")).to_have_text("6 of 8 answers are good.")
    expect(page.get_by_role("table")).to_contain_text("Boils fast, looks lovely.")
    for tab in ("problems", "cost", "details"):
        page.locator(f"#tab-{tab}").click()
        expect(page.locator(f"#tab-{tab}")).to_have_attribute("aria-current", "page")
        assert_fits(page)
    expect(page.locator(".log")).to_contain_text("Finished")
    assert page.locator(".log").inner_text().count("Submitted") == 1


def test_ready_made_requests_are_sent_as_they_are(page: Page) -> None:
    params = {"model": "claude-haiku-5-5", "max_tokens": 40}
    requests = [
        {
            "custom_id": f"mine-{number}",
            "params": {**params, "messages": [{"role": "user", "content": text}]},
        }
        for number, text in enumerate(f"Say {word}. [simulate:good]" for word in WORDS)
    ]
    upload(page, "requests.jsonl", "".join(json.dumps(r) + "\n" for r in requests).encode())

    page.get_by_role("heading", name="3 rows").wait_for()
    expect(page.locator("#preview")).to_contain_text("Say hello.")
    assert_fits(page)
    submit(page)
    wait_until_finished(page)

    lines = [json.loads(line) for line in download(page, "JSONL").splitlines()]
    assert [line["request"] for line in lines] == requests
    assert all(line["answer"] for line in lines)


def test_a_file_that_cannot_be_read_says_why(page: Page) -> None:
    upload(page, "broken.jsonl", b'{"name": "Ada"}\nnever\n')

    page.get_by_role("heading", name="This file could not be read").wait_for()
    expect(page.locator(".problem-list")).to_contain_text("Line 2")
    assert_fits(page)


def test_a_job_can_be_made_with_the_keyboard_alone(page: Page) -> None:
    # Someone has to listen early: the browser then shows no dialogue of its own.
    page.on("filechooser", lambda _chooser: None)
    page.goto("/jobs/new/")
    tab_to(page, "#id_file")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files({"name": "a.csv", "mimeType": "text/csv", "buffer": b"a,b\n1,2\n"})
    page.get_by_role("heading", name="1 row, 2 columns").wait_for()


def test_signing_in_and_out(open_page: Callable[[Path | None], Page], signed_in: Path) -> None:
    page = open_page(None)
    page.goto("/jobs/new/")
    expect(page).to_have_url(re.compile(r"/login/\?next=/jobs/new/$"))
    assert_fits(page)
    page.get_by_label("User name").fill(USER)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page).to_have_url(re.compile(r"/jobs/new/$"))

    page.get_by_label(f"Your account: {USER}").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


@pytest.mark.parametrize("path", ["/", "/jobs/new/", "/people/", "/password/"])
def test_pages_fit_on_a_desk_and_on_a_phone(path: str, page: Page) -> None:
    page.goto(path)

    assert_fits(page)
