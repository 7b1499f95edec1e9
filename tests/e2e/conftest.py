"""A real browser in front of the real site: web, worker and simulator as `make run` starts them."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    expect,
    sync_playwright,
)

from .. import prepare
from ..running import Site, with_database

# How long a page may take for what is expected of it, on a busy machine.
MILLISECONDS = 120_000
expect.set_options(timeout=MILLISECONDS)
OpenPage = Callable[..., Page]
# Batches of practice end soon after they are sent: nobody here looks at how they wait.
QUICK = """
import sys
if "jobs.simulator" in sys.orig_argv:
    sys.argv += ["--seconds", "0.2"]
"""
USER, PASSWORD = "root", "correct horse battery"
DESKTOP, PHONE = (1280, 800), (390, 844)
# The elements that stick out to the right.
WIDE = """
[...document.body.querySelectorAll("*")]
  .filter(element => element.getBoundingClientRect().right > innerWidth + 1)
  .map(element => element.outerHTML.slice(0, 120)).slice(-10)
"""

IS_BEFORE = """
element => Boolean(document.activeElement.compareDocumentPosition(element)
  & Node.DOCUMENT_POSITION_PRECEDING) && document.activeElement !== document.body
"""
HAS_FOCUS = "selector => Boolean(document.activeElement?.matches(selector))"


def pytest_itemcollected(item: pytest.Item) -> None:
    """All tests of this folder are run where there is a browser, and with no others."""
    item.add_marker(pytest.mark.browser)


# Playwright's event loop lives in this thread and would forbid other tests the database, so all of
# this ends with the tests of this folder: scope "package".
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    chromium = prepare.find_chromium()
    if chromium is None:
        pytest.skip("no Chromium was found")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-background-networking",
                "--process-per-site",
            ],
        )
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a site that was started for the first time."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "sitecustomize.py").write_text(QUICK)
    data = with_database(folder / "data")
    site = Site(data, DATABASE_URL="", POLL_SECONDS="0.5", PYTHONPATH=str(folder))
    try:
        site.wait_until_ready()
        yield f"http://127.0.0.1:{site.port}"
    finally:
        site.close()
    errors = [line for line in site.complained if "ERROR" in line or "Traceback" in line]
    assert not errors, "".join(site.complained)


def new_context(browser: Browser, site: str, state: Path | None, **options: Any) -> BrowserContext:
    """A browser of its own, with nothing that moves for its looks: each picture of it is work."""
    width, height = DESKTOP
    usual: dict[str, Any] = {
        "base_url": site,
        "viewport": {"width": width, "height": height},
        "reduced_motion": "reduce",
    }
    context = browser.new_context(**usual | options, storage_state=state, accept_downloads=True)
    context.set_default_timeout(MILLISECONDS)
    return context


class Visitor:
    """A page of a browser, and what went wrong in it."""

    def __init__(self, context: BrowserContext) -> None:
        self.context = context
        self.page = context.new_page()
        self.wrong: list[str] = []
        # A breach of the content security policy is an error on the console, too.
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))

    def _note(self, message: ConsoleMessage) -> None:
        # htmx calls it an error when a save overtakes a look at the price.
        if message.text.startswith(("htmx:afterRequest", "htmx:sendAbort")):
            return
        if message.type in ("error", "warning"):
            self.wrong.append(f"{message.text} ({message.location})")


@pytest.fixture(scope="package")
def signed_in(browser: Browser, site: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cookies of the first account, made on the page that a new site shows."""
    visitor = Visitor(new_context(browser, site, None))
    page = visitor.page
    page.goto("/")
    assert page.url.endswith("/setup/")
    assert page.get_by_text("practice mode").first.is_visible()
    assert_fits(page)
    page.get_by_label("User name").fill(USER)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Repeat the password").fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()
    page.get_by_role("heading", name="Ask Claude about every row").wait_for()
    state = tmp_path_factory.mktemp("browser") / "cookies.json"
    visitor.context.storage_state(path=state)
    visitor.context.close()
    assert not visitor.wrong
    return state


@pytest.fixture(scope="package")
def usual(browser: Browser, site: str, signed_in: Path) -> Iterator[BrowserContext]:
    """The browser of the administrator, with one page open: so it keeps its cache and process."""
    context = new_context(browser, site, signed_in)
    context.new_page().goto("/password/")
    yield context
    context.close()


@pytest.fixture
def open_page(browser: Browser, site: str) -> Iterator[OpenPage]:
    """`open_page(cookies)` opens a browser of its own; no page may complain by the end. Further
    options are those of Playwright's new_context."""
    visitors: list[Visitor] = []

    def start(state: Path | None = None, **options: Any) -> Page:
        visitors.append(Visitor(new_context(browser, site, state, **options)))
        return visitors[-1].page

    yield start
    # Closing breaks off what a page is just asking for, and that is no fault of the page.
    wrong = [wrong for visitor in visitors for wrong in visitor.wrong]
    for visitor in visitors:
        visitor.context.close()
    assert not wrong


@pytest.fixture
def page(usual: BrowserContext) -> Iterator[Page]:
    """A page of the signed-in administrator, who keeps the browser from test to test."""
    visitor = Visitor(usual)
    yield visitor.page
    wrong = list(visitor.wrong)
    visitor.page.close()
    assert not wrong


def assert_fits(page: Page) -> None:
    """No page scrolls sideways, neither on a desk nor on a phone."""
    for width, height in (PHONE, DESKTOP):
        page.set_viewport_size({"width": width, "height": height})
        # After a click the next page may only have begun.
        page.wait_for_function("document.scrollingElement && document.readyState !== 'loading'")
        needed = page.evaluate("document.scrollingElement.scrollWidth")
        assert needed <= width, f"{page.url} is {needed} wide at {width}: {page.evaluate(WIDE)}"


# --- What a person does ---------------------------------------------------------------------------


def tab_to(page: Page, selector: str) -> None:
    """Press Tab, or Shift and Tab where it lies before, until the element has the focus."""
    key = "Shift+Tab" if page.locator(selector).evaluate(IS_BEFORE) else "Tab"
    for _ in range(120):
        # Without the locator, which looks for the element anew and takes thrice as many calls.
        if page.evaluate(HAS_FOCUS, selector):
            return
        page.keyboard.press(key)
    pytest.fail(f"Tab does not reach {selector}")


def upload(page: Page, name: str, content: bytes) -> None:
    """The upload starts as soon as the file is chosen."""
    page.goto("/jobs/new/")
    page.locator("#id_file").set_input_files(
        {"name": name, "mimeType": "text/plain", "buffer": content}
    )
    page.wait_for_url(re.compile(r"/jobs/\d+/"))


def as_csv(rows: list[list[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def submit(page: Page) -> None:
    """From the draft's price to the page that is watched; with the two clicks of the hasty."""
    go_on = page.get_by_text("Review and submit")
    expect(go_on).to_be_enabled()
    go_on.click()
    page.get_by_role("heading", name="Review and submit").wait_for()
    assert_fits(page)
    page.get_by_role("button", name=re.compile(r"^Practice with \d+ rows? – no charge$")).dblclick()
    page.wait_for_url(re.compile(r"/jobs/\d+/$"))


def wait_until_finished(page: Page) -> None:
    page.locator("#download-main.btn-primary").wait_for(timeout=3 * MILLISECONDS)


def download(page: Page, name: str) -> bytes:
    others = page.locator("#other-downloads")
    if not others.evaluate("element => element.open"):
        others.locator("summary").click()
    with page.expect_download() as started:
        others.get_by_role("link", name=re.compile(rf"^{name}\b")).first.click()
    return Path(started.value.path()).read_bytes()
