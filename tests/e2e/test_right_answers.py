"""A column with the right answers: chosen on the draft, compared when the job has finished, and
written by hand with Claude's answers out of sight."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from .conftest import as_csv, assert_fits, submit, upload, wait_until_finished

# The marker that lets nothing else go wrong is itself a good word.
WORDS = {"positive": "excellent", "negative": "awful, horrible"}
# The right answer, and the one that the simulator gives by the words of the text.
PAIRS = [("positive", "positive"), ("negative", "negative"), ("positive", "negative")] * 4
ROWS = [
    [gold, f"Kettle {number} is {WORDS[said]} [simulate:good]"]
    for number, (gold, said) in enumerate(PAIRS, 1)
]


def choose_the_column(page: Page) -> None:
    page.locator(
        ".draft-head details.menu summary, details.menu summary[aria-label='More actions']"
    ).first.click()
    page.get_by_role("link", name="Right answers").click()
    page.get_by_label("Compare answers with").select_option(label="mood")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Answers are now compared with your column.")).to_be_visible()
    assert_fits(page)


def write_two(page: Page) -> None:
    page.get_by_role("link", name="Write right answers here").click()
    page.get_by_role("button", name="10 rows").click()
    for _ in range(2):
        expect(page.get_by_text("You see Claude’s answer after you save yours.")).to_be_visible()
        expect(page.get_by_role("cell", name=re.compile("positive|negative"))).to_have_count(0)
        page.get_by_label("The right answer").fill("positive")
        assert_fits(page)
        page.get_by_role("button", name="Save and show Claude’s answer").click()
        expect(page.get_by_role("columnheader", name="Claude’s answer")).to_be_visible()
        page.get_by_role("link", name="Next row").click()


def test_answers_beside_the_right_ones(page: Page) -> None:
    upload(page, "with moods.csv", as_csv([["mood", "review"], *ROWS]))
    page.locator("#id_prompt").fill("Answer with one of: positive, negative. {{review}}")
    choose_the_column(page)
    page.locator("nav.crumbs a:last-of-type").click()
    submit(page)
    wait_until_finished(page)

    page.locator("#job-menu summary").click()
    page.get_by_role("link", name="Right answers").click()
    expect(page.get_by_role("heading", name="67% right")).to_be_visible()
    expect(page.get_by_text("8 of 12 compared answers are right.")).to_be_visible()
    assert_fits(page)
    page.get_by_role("link", name="Show the 4 rows that differ").click()
    expect(page.get_by_role("article")).to_have_count(4)
    assert_fits(page)
    page.get_by_role("link", name="Show them as a table").click()
    expect(page.locator(".rows-table .cell-row a")).to_have_count(4)
    page.go_back()
    page.get_by_role("link", name="How many are right").click()
    write_two(page)
