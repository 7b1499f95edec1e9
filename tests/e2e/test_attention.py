"""Rows that failed are looked after in a real browser: each group by its remedy, until all are good
or were left out on purpose."""

from __future__ import annotations

import csv
import io
import re

from playwright.sync_api import Page, expect

from .conftest import as_csv, assert_fits, download, submit, upload, wait_until_finished

# Without a marker, one row in a hundred fails as in life.
ENDS = ["good", "cut", "refusal", "good", "refusal", "cut", "good"]
ROWS = [[str(number), f"Text no. {number} [simulate:{end}]"] for number, end in enumerate(ENDS, 1)]
SHORTER = "Text no. 2, <b>shorter</b> [simulate:good]"
ASK = "Is {{id}} a number? [simulate:good]"


def send(page: Page, rows: str) -> None:
    page.get_by_role("heading", name=f"Retry {rows}?").wait_for()
    assert_fits(page)
    page.get_by_role("button", name=f"Practice with {rows} – no charge").dblclick()
    page.wait_for_url(re.compile(r"/jobs/\d+/$"))
    wait_until_finished(page)


def look_after(page: Page) -> None:
    page.locator("#look-after").click()
    page.locator("#tab-problems[aria-current=page]").wait_for()
    assert_fits(page)


def ignore_the_last(page: Page) -> None:
    look_after(page)
    last = page.locator("#group-cut_off")
    last.get_by_text("Other options").click()
    assert_fits(page)
    last.get_by_role("link", name="Ignore these rows").click()
    page.get_by_role("heading", name="Ignore 1 row?").wait_for()
    assert_fits(page)
    page.get_by_role("button", name="Ignore 1 row").click()
    expect(page.get_by_role("heading", name="1 row ignored by you")).to_be_visible()
    assert_fits(page)


def change_the_prompt(page: Page) -> None:
    """Seen filled in while it is written, and tested on the rows before they are sent."""
    page.locator("#group-refused").get_by_role("link", name="Change prompt for these rows").click()
    assert_fits(page)
    page.locator("#id_prompt").fill(ASK.replace("id", "idd"))
    expect(page.locator("#notes-prompt")).to_contain_text("no column “idd”")
    page.get_by_role("button", name="Use {{id}}").click()
    expect(page.locator("#preview .inserted")).to_have_text("3")
    page.locator("#id_prompt").press("Control+Enter")
    tested = page.get_by_role("region", name="Answers before and after")
    expect(tested.locator("tbody tr")).to_have_count(2)
    expect(tested).to_contain_text("Declined by Claude")
    expect(page.locator("#test-button")).to_be_enabled()
    expect(page.locator("#id_prompt")).to_have_value(ASK)
    assert_fits(page)
    page.get_by_role("button", name="See the price").click()


def test_everything_is_mended_in_a_few_clicks(page: Page) -> None:
    upload(page, "to mend.csv", as_csv([["id", "text"], *ROWS]))
    page.get_by_role("heading", name="7 rows, 2 columns").wait_for()
    page.locator("#id_prompt").fill("What does it say? {{text}}")
    submit(page)
    wait_until_finished(page)
    job = page.url
    expect(page.locator("#headline")).to_contain_text("3 of 7 answers are good")

    # Longer answers; these rows are cut off again whatever is allowed, and stay in the list.
    look_after(page)
    cut_off = page.locator("#group-cut_off")
    expect(cut_off).to_contain_text("Answer cut off")
    cut_off.get_by_role("link", name=re.compile("Allow answers of .* and retry")).click()
    send(page, "2 rows")
    expect(page.locator("#headline")).to_contain_text("3 of 7 answers are good")

    # One is edited by hand, shown beside what it was, and sent.
    page.goto(f"{job}rows/2/")
    expect(page.locator("#attempt-1")).to_contain_text("Answer cut off")
    page.locator("#edit-row").click()
    assert_fits(page)
    page.get_by_label("text", exact=True).fill(SHORTER)
    page.get_by_role("button", name="Save", exact=True).click()
    changes = page.get_by_role("region", name="Changes")
    expect(changes.locator("ins")).to_have_text(SHORTER)
    expect(changes.locator("del")).to_have_text("Text no. 2 [simulate:cut]")
    assert_fits(page)
    page.get_by_role("link", name=re.compile("^Retry 1 row")).click()
    send(page, "1 row")
    expect(page.locator("#headline")).to_contain_text("4 of 7 answers are good")

    # The refused ones get another prompt: only by their number, which no marker is in.
    look_after(page)
    change_the_prompt(page)
    send(page, "2 rows")

    ignore_the_last(page)
    page.goto(job)
    expect(page.locator("#headline")).to_have_text("All 6 answers are good.")

    lines = list(csv.reader(io.StringIO(download(page, "CSV").decode("utf-8-sig"))))
    header, rows = lines[0], lines[1:]
    assert [row[0] for row in rows] == [row[0] for row in ROWS], "every row, in order"
    place = {name: header.index(name) for name in ("status", "attempts", "problem", "text")}
    assert [row[place["status"]] for row in rows].count("Good") == 6
    assert [row[place["attempts"]] for row in rows] == ["1", "3", "2", "1", "2", "2", "1"]
    assert rows[1][place["text"]] == SHORTER
    assert rows[5][place["problem"]] == "Ignored: Answer cut off"
