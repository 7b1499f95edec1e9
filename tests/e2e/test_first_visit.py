"""What a person's first pages weigh, what they know, and how the help works by hand."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect

from .conftest import PASSWORD, USER, OpenPage, as_csv, assert_fits, upload

MOST = 150 * 1024  # bytes that travel, of a page with all that it loads
TOKYO = "Asia/Tokyo"  # without summer time


def weight(page: Page, path: str) -> dict[str, int]:
    """Bytes that travel for a page, by what is loaded, with nothing in the browser's cache."""
    names: dict[str, str] = {}
    sizes: dict[str, int] = {}
    devtools = page.context.new_cdp_session(page)
    devtools.send("Network.enable")
    devtools.send("Network.setCacheDisabled", {"cacheDisabled": True})

    def begin(event: dict[str, Any]) -> None:
        names[event["requestId"]] = event["response"]["url"].rpartition("/")[2]

    def end(event: dict[str, Any]) -> None:
        sizes[names.get(event["requestId"], "")] = int(event["encodedDataLength"])

    devtools.on("Network.responseReceived", begin)
    devtools.on("Network.loadingFinished", end)
    page.goto(path)
    page.wait_for_load_state("networkidle")
    devtools.detach()
    return sizes


def test_a_first_visit_loads_little(open_page: OpenPage, signed_in: Path) -> None:
    stranger = open_page(None)
    weights = {"/login/": weight(stranger, "/login/")}
    page = open_page(signed_in)
    for path in ("/", "/jobs/new/", "/templates/", "/spending/", "/help/", "/help/using/costs/"):
        weights[path] = weight(page, path)
    upload(page, "reviews.csv", as_csv([["id", "review"], ["1", "Boils fast."]]))
    page.locator("#id_prompt").wait_for()
    weights["draft"] = weight(page, page.url)

    # Pictures of the help load on their own when one scrolls to them.
    sums = {
        path: sum(size for name, size in sizes.items() if not name.endswith(".png"))
        for path, sizes in weights.items()
    }
    assert min(sums.values()) > 50_000
    heavy = {path: (total, weights[path]) for path, total in sums.items() if total >= MOST}
    assert not heavy, json.dumps(heavy, indent=1)


def test_the_first_page_shows_the_times_of_this_browser(
    browser: Browser, site: str, signed_in: Path, page: Page
) -> None:
    """Also where scripts may set no cookie."""
    upload(page, "reviews.csv", as_csv([["id", "review"], ["1", "Boils fast."]]))
    page.locator("#id_prompt").wait_for()
    context = browser.new_context(base_url=site, timezone_id=TOKYO)
    visitor = context.new_page()
    visitor.add_init_script(
        "Object.defineProperty(Document.prototype, 'cookie', { get: () => '', set: () => {} })"
    )
    visitor.goto("/")
    visitor.get_by_label("User name").fill(USER)
    visitor.get_by_label("Password").fill(PASSWORD)
    visitor.get_by_role("button", name="Sign in", exact=True).click()
    time = visitor.locator("main time").first
    shown = time.evaluate(
        """(element, zone) => [element.title.slice(-5), new Date(element.dateTime)
          .toLocaleTimeString("en-GB", { timeZone: zone, hour: "2-digit", minute: "2-digit" })]""",
        TOKYO,
    )
    context.close()
    assert shown[0] == shown[1]


def test_the_help_is_read_and_searched(page: Page) -> None:
    page.goto("/spending/")
    page.get_by_role("link", name="Help for this page").click()
    expect(page).to_have_url(re.compile(r"/help/using/costs/#limits$"))
    expect(page.get_by_role("heading", name="Limits", exact=True)).to_be_in_viewport()
    assert_fits(page)
    page.get_by_label("Search the help").fill("wilson")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Check quality: What the sample tells you").click()
    expect(page).to_have_url(re.compile(r"/help/using/quality/#what-the-sample-tells-you$"))


def test_a_term_explains_itself_by_keyboard(page: Page) -> None:
    page.goto("/spending/prices/")
    term = page.get_by_role("button", name="tokens").first
    words = page.get_by_text("A token is a piece of text")
    expect(words).to_be_hidden()
    term.focus()
    page.keyboard.press("Enter")
    expect(words).to_be_visible()
    page.keyboard.press("Escape")
    expect(words).to_be_hidden()
    expect(term).to_be_focused()
