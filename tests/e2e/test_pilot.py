"""Only some rows of a file, and of these a few first: from the draft to the finished file."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from .conftest import as_csv, upload

ROWS = [[str(n), "Oslo" if n % 2 else "Rome", f"Text {n}. [simulate:good]"] for n in range(1, 25)]


def test_some_rows_and_of_these_a_few_first(page: Page) -> None:
    upload(page, "shops.csv", as_csv([["id", "shop", "text"], *ROWS]))
    page.locator("#id_prompt").fill("Is this good? ")
    page.locator(".chip", has_text="text").click()
    expect(page.locator("#price")).to_contain_text("24 rows")
    page.get_by_label("More actions").first.click()
    page.get_by_role("link", name="Send only some rows").first.click()
    page.get_by_label("Column of condition 1").select_option("shop")
    page.get_by_label("Value of condition 1").fill("oslo")
    page.get_by_label("Rows in the sample").fill("10")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#price")).to_contain_text("10 rows of 24")
    expect(page.locator("#price")).to_contain_text("at most")
    page.locator("#go-on").click()
    expect(page.locator("main")).to_contain_text("14 of 24 not selected")
    page.get_by_text("Send some rows first").click()
    page.get_by_label("Rows to send first").fill("4")
    page.get_by_role("button", name="Send these rows first").click()
    expect(page.locator("#pilot")).to_contain_text("4 of 4 rows are good")
    page.get_by_role("button", name=re.compile("^Send the other 6 rows")).click()
    page.locator("#download-main.btn-primary").wait_for()
    expect(page.locator("#headline")).to_have_text("All 10 answers are good.")
    expect(page.locator(".outcome-legend")).to_contain_text("14 not selected")
