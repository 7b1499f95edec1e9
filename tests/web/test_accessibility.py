"""Every page in a real browser: axe finds nothing, in light and dark and on a phone, and no page
scrolls sideways, however narrow."""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from django.contrib.staticfiles import finders
from playwright.sync_api import Browser, Page, sync_playwright

from .. import prepare
from ..conftest import Simulator
from ..environment import ROOT
from ..every_page import every_page

pytestmark = pytest.mark.browser

SITE = "http://site.test"
AXE_PATH = "/axe.js"
AXE = ROOT / "tests" / "data" / "axe-core-4.14.1" / "axe.min.js"
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
RUN_AXE = """
async (rules) => (await axe.run({
  runOnly: rules, resultTypes: ["violations"], elementRef: false,
})).violations.flatMap((found) => found.nodes.map(
  (node) => `${found.id}: ${node.html.slice(0, 140)} ${(node.any[0] || {}).message || ""}`))
"""
RUN_AXE_IN = """
async ([[selector, number], rules]) => (await axe.run(document.querySelectorAll(selector)[number], {
  runOnly: rules, resultTypes: ["violations"], elementRef: false,
})).violations.flatMap((found) => found.nodes.map(
  (node) => `${found.id}: ${node.html.slice(0, 140)} ${(node.any[0] || {}).message || ""}`))
"""
OPEN_ONE = """
([selector, number]) => {
  const one = document.querySelectorAll(selector)[number];
  if (one.popover) one.showPopover(); else one.open = true;
}
"""
CLOSE_ONE = OPEN_ONE.replace("showPopover", "hidePopover").replace("= true", "= false")
# Of a menu that is open: from where to where, if it does not fit into the window.
CUT_OFF = """
([selector, number]) => {
  const panel = document.querySelectorAll(selector)[number].querySelector(".menu-panel");
  const { left, right } = panel.getBoundingClientRect();
  return left < 0 || right > innerWidth ? `${Math.round(left)} to ${Math.round(right)} px` : "";
}
"""
MENUS = "main details.menu"
OF_ONE = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
OPEN_ALL = (
    "() => { for (const one of document.querySelectorAll('details:not(.menu)')) one.open = true; }"
)
WIDTH = "document.scrollingElement.scrollWidth"
# The elements that stick out to the right, the innermost last.
WIDE = """
[...document.body.querySelectorAll("*")]
  .filter((element) => element.getBoundingClientRect().right > innerWidth + 1)
  .map((element) => element.outerHTML.slice(0, 100)).slice(-2)
"""
LOOKS = (("light", 1280), ("dark", 1280), ("light", 390), ("dark", 390))
# What depends on colors and on the room there is. Everything else is looked at once, on a phone.
OF_LIGHT = ["color-contrast", "link-in-text-block"]
OF_WIDTH = [*OF_LIGHT, "landmark-unique", "region", "scrollable-region-focusable", "target-size"]
ZOOMED, NARROWEST = 640, 320  # 1280 px at 200 %, and at 400 %


class Answers(BaseHTTPRequestHandler):
    """Answers as the site would. What a page asks for later, such as news of a job, is nothing.
    What all pages share is kept by the browser, so it gets and compiles it once."""

    protocol_version = "HTTP/1.1"
    pages: Mapping[str, bytes] = {}

    def do_GET(self) -> None:
        path = self.path.removeprefix(SITE)
        static = path.removeprefix("/static/").partition("?")[0]
        if path in self.pages:
            self.answer(200, self.pages[path], "text/html; charset=utf-8", "no-store")
        elif path == AXE_PATH:
            self.answer(200, AXE.read_bytes(), "text/javascript", "max-age=3600")
        elif path.startswith("/static/") and (found := finders.find(static)):
            kind = mimetypes.guess_type(static)[0] or "application/octet-stream"
            self.answer(200, Path(str(found)).read_bytes(), kind, "max-age=3600")
        else:
            self.answer(204, b"", "", "no-store")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer(204, b"", "", "no-store")

    def answer(self, status: int, body: bytes, kind: str, kept: str) -> None:
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", kept)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@contextmanager
def server(pages: Mapping[str, bytes]) -> Iterator[int]:
    """Its port."""
    handler = type("AnswersWithPages", (Answers,), {"pages": pages})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = Thread(target=running.serve_forever)
        thread.start()
        try:
            yield running.server_port
        finally:
            running.shutdown()
            thread.join()


def barriers(page: Page, address: str, name: str) -> Iterator[str]:
    page.goto(SITE + address)
    page.add_script_tag(url=AXE_PATH)
    for scheme, width in LOOKS:
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_function(f"document.documentElement.dataset.bsTheme === '{scheme}'")
        rules: dict[str, Any] = {"type": "tag", "values": TAGS}
        if scheme == "dark":
            rules = {"type": "rule", "values": OF_LIGHT}
        elif width == 1280:
            rules = {"type": "rule", "values": OF_WIDTH}
        for found in page.evaluate(RUN_AXE, rules):
            yield f"{name} ({scheme}, {width}): {found}"
        page.evaluate(OPEN_ALL)  # from the second look on
    yield from covered(page, name)
    for room in (ZOOMED, NARROWEST):
        page.set_viewport_size({"width": room, "height": 900})
        if (width := page.evaluate(WIDTH)) > room:
            yield f"{name}: {width} px wide at {room}: {json.dumps(page.evaluate(WIDE))}"
        yield from cut_off(page, f"{name} at {room} px")


def cut_off(page: Page, name: str) -> Iterator[str]:
    """Menus of which a part is beside the window, where nobody can scroll to."""
    for number in range(page.locator(MENUS).count()):
        page.evaluate(OPEN_ONE, [MENUS, number])
        if where := page.evaluate(CUT_OFF, [MENUS, number]):
            yield f"{name}, menu {number}: {where}"
        page.evaluate(CLOSE_ONE, [MENUS, number])


def covered(page: Page, name: str) -> Iterator[str]:
    """Barriers in what opens above the page: each menu and each window, in light all of it, in dark
    the colors. The header is the same on all pages: it is looked at once."""
    header = ["header details.menu"] if name == "people" else []
    looks = {
        "light": {"type": "tag", "values": OF_ONE},
        "dark": {"type": "rule", "values": OF_LIGHT},
    }
    yield from cut_off(page, name)
    for selector in (MENUS, "main .dialog[popover]", *header):
        for number in range(page.locator(selector).count()):
            page.evaluate(OPEN_ONE, [selector, number])
            for scheme, rules in looks.items():
                page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
                page.wait_for_function(f"document.documentElement.dataset.bsTheme === '{scheme}'")
                for found in page.evaluate(RUN_AXE_IN, [[selector, number], rules]):
                    yield f"{name}, {selector} {number} ({scheme}): {found}"
            page.evaluate(CLOSE_ONE, [selector, number])


def look_at(browser: Browser, names: Mapping[str, str]) -> list[str]:
    page = browser.new_page()  # for all of them: each new one would be a process of the browser
    return [found for address, name in names.items() for found in barriers(page, address, name)]


def test_no_page_has_barriers_or_scrolls_sideways(db: None, simulator: Simulator) -> None:
    chromium = prepare.find_chromium()
    if chromium is None:
        pytest.skip("no Chromium was found")
    # All of them before the browser starts: its event loop would forbid the database.
    shown = list(every_page(simulator))
    pages = {f"/page/{number}/": html for number, (_name, html) in enumerate(shown)}
    names = {f"/page/{number}/": name for number, (name, _html) in enumerate(shown)}
    with server(pages) as port, sync_playwright() as playwright:
        here = f"--host-resolver-rules=MAP site.test 127.0.0.1:{port}"
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu", here]
        )
        found = look_at(browser, names)
        browser.close()

    assert not found, "\n".join(["", *found])
