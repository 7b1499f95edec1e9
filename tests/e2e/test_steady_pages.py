"""What pages are to people who do not see them, and that nothing jumps while one is read."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from playwright.sync_api import Page, Route, expect

from .conftest import MILLISECONDS, OpenPage, as_csv, submit, upload, wait_until_finished

ROWS = [[str(number), f"Boils fast, no. {number}. [simulate:good]"] for number in range(1, 13)]
FILE = as_csv([["id", "review"], *ROWS])
PROMPT = "Is this review positive or negative? {{review}}"
MOST_SHIFT = 0.05
# Cumulative layout shift, as Chromium measures it, without what follows a click or key at once.
WATCH_SHIFTS = """
window.shifts = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifts += entry.value;
}).observe({ type: "layout-shift", buffered: true });
"""
DRAFT = """
- main:
  - region "12 rows, 2 columns":
    - heading "12 rows, 2 columns" [level=2]
  - toolbar "Insert a column into the prompt":
    - button "id"
    - button "review"
  - textbox "What should Claude do with each row?"
  - group "Answer":
    - radio "Text"
    - radio "Label" [checked]
    - radio "Columns"
    - button "Remove positive"
  - group "Model"
  - region "Test":
    - button "Test 3 rows"
    - region "Rows and their answers":
      - table
  - region "What Claude reads":
    - button "Previous row" [disabled]
    - spinbutton "Row"
    - button "Next row"
  - status: All changes saved
  - region "Price":
    - paragraph:
      - button "How the price is worked out"
    - button "Review and submit"
"""
CONFIRM = """
- main:
  - heading "Review and submit" [level=1]
  - region "Price":
    - button "Practice with 12 rows – no charge"
    - link "Back to the draft"
"""
FINISHED = """
- main:
  - heading "steady" [level=1]
  - link "Download Excel"
  - region "All 12 answers are good.":
    - 'img "12 rows: 12 good"'
    - list "Rows by outcome":
      - listitem:
        - link "12 good"
  - navigation "Parts of this job":
    - link "Answers"
    - link "Problems"
    - link "Cost"
    - link "Details"
  - region "Rows and answers":
    - link "Check quality"
    - link "Show all rows"
    - region "Table of answers":
      - table
"""
ROWS_PAGE = """
- main:
  - heading "Rows and answers" [level=1]
  - navigation "Rows by outcome":
    - link "All 12"
  - search:
    - searchbox "Search in cells and answers"
    - combobox "Answer"
    - combobox "Order"
  - region "Rows":
    - table:
      - rowgroup:
        - row:
          - columnheader "Row"
          - columnheader "id"
          - columnheader "review"
          - columnheader "Outcome"
          - columnheader "Answer"
"""


def assert_steady(page: Page, address: str) -> None:
    page.goto(address)
    page.wait_for_load_state("networkidle")
    shifts = page.evaluate("window.shifts")
    assert shifts < MOST_SHIFT, f"{address} moves by {shifts}"


def press_before_an_earlier_save_is_answered(
    page: Page, button: str, change: Callable[[], None]
) -> None:
    """The answer replaces the button while what was typed is saved once more, for the press."""
    earlier: list[Route] = []
    of_press: list[Route] = []

    def hold(route: Route) -> None:
        # Only htmx says where it is.
        (earlier if "hx-current-url" in route.request.headers else of_press).append(route)

    page.route("**/recipe/", hold)
    change()
    wait_until(page, lambda: bool(earlier))
    old = page.locator(button).element_handle()
    page.locator(button).click()
    wait_until(page, lambda: bool(of_press))
    for route in earlier:
        route.continue_()
    page.wait_for_function("button => !button.isConnected", arg=old)
    for route in of_press:
        route.continue_()
    page.unroute("**/recipe/", hold)


def wait_until(page: Page, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + MILLISECONDS / 1000
    while not condition():
        assert time.monotonic() < deadline
        page.wait_for_timeout(20)


def test_a_job_is_read_aloud_and_stays_where_it_is(
    page: Page, open_page: OpenPage, site: str
) -> None:
    page.emulate_media(reduced_motion="no-preference")
    page.add_init_script(WATCH_SHIFTS)
    upload(page, "steady.csv", FILE)
    draft = page.url
    page.locator("#id_prompt").fill(PROMPT)
    page.locator(".segment", has_text="Label").click()
    page.locator(".label-chip-input").fill("positive, negative")
    enter = page.locator(".label-chip-input")
    press_before_an_earlier_save_is_answered(page, "#test-button", lambda: enter.press("Enter"))
    expect(page.locator("#tests .tested-answer")).to_have_count(3)
    expect(page.locator("#go-on")).to_be_enabled()
    assert_steady(page, draft)
    expect(page.locator("body")).to_match_aria_snapshot(DRAFT)
    page.locator("#go-on").click()
    expect(page.locator("body")).to_match_aria_snapshot(CONFIRM)
    page.go_back()
    submit(page)
    wait_until_finished(page)

    for address in ("/", draft, f"{draft}?tab=details", f"{draft}rows/"):
        assert_steady(page, address)
    expect(page.locator("body")).to_match_aria_snapshot(ROWS_PAGE)
    page.goto(draft)
    expect(page.locator("body")).to_match_aria_snapshot(FINISHED)
    show_progress(page)

    stranger = open_page(None, reduced_motion="no-preference")
    stranger.add_init_script(WATCH_SHIFTS)
    assert_steady(stranger, "/login/")


def show_progress(page: Page) -> None:
    """How far a job is, in the title and the icon of the tab; afterwards both are as before."""
    icon = page.locator("link[rel=icon]")
    expect(icon).to_have_attribute("href", re.compile(r"favicon.*\.svg$"))
    settled = "document.dispatchEvent(new Event('htmx:afterSettle'))"
    page.evaluate(
        f"document.body.dataset.done = 1; document.body.dataset.all = 4; {settled}",
    )
    expect(page).to_have_title(re.compile(r"^\(25%\) Finished: steady"))
    expect(icon).to_have_attribute("href", re.compile(r"^data:image/svg\+xml,.*25%20100"))
    page.evaluate(f"delete document.body.dataset.done; {settled}")
    expect(page).to_have_title(re.compile(r"^Finished: steady"))
    expect(icon).to_have_attribute("href", re.compile(r"favicon.*\.svg$"))


def test_an_upload_can_be_canceled_and_begun_again(page: Page) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route) if route.request.method == "POST" else route.continue_()

    page.goto("/jobs/new/")
    page.route("**/jobs/new/", hold)
    file = {"name": "slow.csv", "mimeType": "text/csv", "buffer": FILE}
    page.locator("#id_file").set_input_files(file)  # type: ignore[arg-type]
    cancel = page.get_by_role("button", name="Cancel")
    expect(cancel).to_be_visible()
    assert held
    cancel.click()
    expect(page.get_by_text("Upload canceled. Nothing was kept.")).to_be_visible()
    expect(cancel).to_be_hidden()
    expect(page).to_have_url(re.compile(r"/jobs/new/$"))

    # The same file can be chosen again.
    page.unroute("**/jobs/new/", hold)
    page.locator("#id_file").set_input_files(file)  # type: ignore[arg-type]
    page.get_by_role("heading", name="12 rows, 2 columns").wait_for()


def test_no_page_goes_on_below_its_end(page: Page) -> None:
    for address in ("/", "/spending/", "/spending/limits/", "/people/", "/audit/", "/system/"):
        page.goto(address)
        footer = page.locator(".site-footer").bounding_box()
        assert footer is not None
        end = max(footer["y"] + footer["height"], page.evaluate("innerHeight"))
        assert page.evaluate("document.scrollingElement.scrollHeight") <= end + 1, address
