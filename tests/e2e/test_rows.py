"""The table of rows in a real browser: filters apply at once, and a row opens beside the table, by
mouse and by keyboard, with the next one of the same filter."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from ..environment import ROOT
from .conftest import as_csv, assert_fits, submit, tab_to, upload, wait_until_finished

AXE = ROOT / "tests" / "data" / "axe-core-4.14.1" / "axe.min.js"
RUN_AXE = """
async () => (await axe.run("#row-drawer", { resultTypes: ["violations"] })).violations.flatMap(
  (found) => found.nodes.map((node) => `${found.id}: ${node.html.slice(0, 140)}`))
"""
ENDS = ["good", "cut", "good", "refusal", "good", "refusal", "good", "good"]
LONG = "Boils fast, but the lid is hard to open. " * 20
ROWS = [
    [str(number), f"Kettle {number}. {LONG} [simulate:{end}]", "x" * 60]
    for number, end in enumerate(ENDS, 1)
]


def filter_rows(page: Page, job: str) -> None:
    """Without a button: what is chosen or typed is shown, and the address says so."""
    page.goto(f"{job}rows/")
    numbers = page.locator(".rows-table .cell-row a")
    expect(numbers).to_have_count(8)
    page.get_by_label("Search in cells and answers").type("Kettle 4")
    expect(numbers).to_have_count(1)
    expect(page.get_by_label("Search in cells and answers")).to_be_focused()
    page.wait_for_url(re.compile(r"rows/\?q=Kettle\+4$"))
    page.get_by_role("link", name="Show all rows").click()
    expect(numbers).to_have_count(8)
    page.get_by_label("Cause").select_option("refused")
    expect(numbers).to_have_count(2)
    expect(numbers.first).to_have_text(re.compile("4"))
    page.wait_for_url(re.compile(r"rows/\?cause=refused$"))


def walk_in_the_drawer(page: Page) -> None:
    """Only with the keyboard; the focus comes back to where it was."""
    drawer = page.locator("#row-drawer")
    first = page.locator(".rows-table .cell-row a").first
    first.focus()
    page.keyboard.press("Enter")
    expect(drawer.get_by_role("heading", name=re.compile("^Row 4"))).to_be_visible()
    expect(drawer).to_contain_text("Declined by Claude")
    assert_fits(page)
    page.evaluate(AXE.read_text())
    assert not page.evaluate(RUN_AXE)
    tab_to(page, "#drawer-next")
    page.keyboard.press("Enter")
    expect(drawer.get_by_role("heading", name=re.compile("^Row 6"))).to_be_visible()
    assert drawer.locator("#drawer-next").count() == 0, "the last one of the filter"
    page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()
    expect(first).to_be_focused()


def test_rows_are_filtered_and_looked_at_without_leaving_the_table(page: Page) -> None:
    name = "customer_reviews_of_all_kettles_and_toasters_sold_in_northern_europe_2026_final.csv"
    upload(page, name, as_csv([["id", "text", "code"], *ROWS]))
    page.get_by_role("heading", name="8 rows, 3 columns").wait_for()
    page.locator("#id_prompt").fill("What does it say? {{text}}")
    submit(page)
    wait_until_finished(page)
    job = page.url.partition("?")[0]
    filter_rows(page, job)
    assert_fits(page)
    walk_in_the_drawer(page)

    # As any link it opens a tab with Ctrl, and the page of the row without the drawer.
    with page.context.expect_page() as opened:
        page.locator(".rows-table .cell-row a").first.click(modifiers=["Control"])
    expect(opened.value.get_by_role("heading", level=1)).to_contain_text("Row 4")
    opened.value.close()
    expect(page.locator("#row-drawer")).to_be_hidden()
    page.goto(f"{job}rows/4/")
    assert_fits(page)
    use_the_refused_rows(page, job)


def use_the_refused_rows(page: Page, job: str) -> None:
    """The rows of a filter become those of a new job, and both pages show that."""
    page.goto(f"{job}rows/?cause=refused")
    page.get_by_role("link", name="Use these rows in a new job").click()
    expect(page.get_by_label("The rows of your filter")).to_be_checked()
    page.get_by_label("Name of the new job").fill("Second look")
    page.get_by_role("button", name="Create job").click()
    page.get_by_role("heading", name="2 rows, 5 columns").wait_for()
    chain = page.get_by_role("navigation", name="Chain of jobs")
    expect(chain).to_contain_text("This job has the newest answers from there.")
    assert_fits(page)
    chain.get_by_role("link").click()
    expect(chain.get_by_role("link", name="Second look")).to_be_visible()
