"""Answers are looked over in a real browser, with the keyboard alone."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from .conftest import as_csv, assert_fits, submit, tab_to, upload, wait_until_finished

ROWS = [[str(number), f"Text no. {number} [simulate:good]"] for number in range(1, 16)]


def go_back_and_change_a_mark(page: Page) -> None:
    progress, title = page.locator("#progress-words"), page.locator("article h2")
    page.keyboard.press("k")
    expect(title).to_contain_text("2 of 10")
    expect(page.locator("article textarea")).to_have_value("yes and no: unjust")
    page.keyboard.press("u")
    expect(progress).to_have_text("1 of 10 checked")
    expect(page.locator("article")).to_be_focused()
    page.keyboard.press("n")
    expect(title).to_contain_text("3 of 10")


def see_the_result(page: Page) -> None:
    tab_to(page, "nav.tabs a[href*=result]")
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Improve the prompt")).to_be_visible()
    bad = page.get_by_role("region", name="Answers that are not good")
    expect(bad.locator("tbody tr")).to_have_count(1)
    expect(bad).to_contain_text("yes and no: unjust")
    assert_fits(page)


def test_ten_answers_with_the_keyboard_alone(page: Page) -> None:
    upload(page, "to review.csv", as_csv([["id", "review"], *ROWS]))
    page.get_by_role("heading", name="15 rows, 2 columns").wait_for()
    page.locator("#id_prompt").fill("Is this good? {{review}}")
    submit(page)
    wait_until_finished(page)

    tab_to(page, "#sample")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="How good are the answers?").wait_for()
    assert_fits(page)
    tab_to(page, "button[name=size][value='10']")
    page.keyboard.press("Enter")
    progress, title = page.locator("#progress-words"), page.locator("article h2")

    # One after the other: the answer that is to be read has the focus, so that the keys are for it.
    expect(title).to_contain_text("1 of 10")
    expect(page.locator("article")).to_be_focused()
    assert_fits(page)
    page.keyboard.press("y")
    expect(title).to_contain_text("2 of 10")
    expect(progress).to_have_text("1 of 10 checked")
    page.keyboard.press("e")
    page.keyboard.type("yes and no: unjust")  # letters, and no marks
    page.keyboard.press("Escape")
    expect(page.locator("article")).to_be_focused()
    page.keyboard.press("n")
    expect(title).to_contain_text("3 of 10")
    expect(progress).to_have_text("2 of 10 checked")
    go_back_and_change_a_mark(page)

    # The rest in the list: the focus goes from row to row, while each is being saved.
    tab_to(page, "nav.tabs a[href*=list]")
    page.keyboard.press("Enter")
    expect(page.locator("article")).to_have_count(10)
    assert_fits(page)
    rows = page.locator("article")
    page.keyboard.press("j")
    expect(rows.nth(0)).to_be_focused()
    page.keyboard.press("j")
    page.keyboard.press("j")
    for place in range(2, 10):
        expect(rows.nth(place)).to_be_focused()
        page.keyboard.press("y")
        expect(rows.nth(place)).to_contain_text(re.compile(r"by root, just now"))
    expect(progress).to_have_text("10 of 10 checked")
    expect(rows.nth(9)).to_be_focused()
    expect(page.locator("#share-words")).to_contain_text(
        "9 of 10 checked answers are good. Likely 60–98%"
    )

    see_the_result(page)

    tab_to(page, "nav.crumbs a:last-of-type")
    page.keyboard.press("Enter")
    expect(page.locator("#sample-share")).to_contain_text("9 of 10 checked answers are good")
    expect(page.locator("#headline")).to_contain_text("14 of 15 answers are good.")
    page.locator("#tab-problems").click()
    expect(page.locator("#tab-problems")).to_be_focused()
    expect(page.get_by_text("Marked as not good")).to_be_visible()
