"""Every page in a real browser: axe finds nothing, in light and dark and on a phone, and no page
scrolls sideways, however narrow."""

from __future__ import annotations

import itertools
import json
import mimetypes
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html.parser import HTMLParser
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
OF_ONE = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
TAGS = [*OF_ONE, "best-practice"]  # which is about whole pages
RUN_AXE = """
async (options) => (await axe.run({
  ...options, resultTypes: ["violations"], elementRef: false,
})).violations.flatMap((found) => found.nodes.map(
  (node) => `${found.id}: ${node.html.slice(0, 140)} ${(node.any[0] || {}).message || ""}`))
"""
RUN_AXE_IN = """
async ([selector, numbers, options]) => {
  const found = [];
  for (const number of numbers) {
    const one = document.querySelectorAll(selector)[number];
    if (one.popover) one.showPopover(); else one.open = true;
    const { violations } = await axe.run(one, {
      ...options, resultTypes: ["violations"], elementRef: false,
    });
    found.push(...violations.flatMap((found) => found.nodes.map((node) =>
      `${number}: ${found.id}: ${node.html.slice(0, 140)} ${(node.any[0] || {}).message || ""}`)));
    if (one.popover) one.hidePopover(); else one.open = false;
  }
  return found;
}
"""
# Menus of which a part is beside the window, where nobody can scroll to: from where to where.
CUT_OFF = """
(selector) => [...document.querySelectorAll(selector)].flatMap((menu, number) => {
  menu.open = true;
  const { left, right } = menu.querySelector(".menu-panel").getBoundingClientRect();
  menu.open = false;
  const isCut = left < 0 || right > innerWidth;
  return isCut ? [`menu ${number}: ${Math.round(left)} to ${Math.round(right)} px`] : [];
})
"""
HTML_OF = "(selector) => [...document.querySelectorAll(selector)].map((one) => one.outerHTML)"
MENUS = "main details.menu"
# What opens above the page. The header is the same on all pages.
ABOVE = (MENUS, "main .dialog[popover]", "header details.menu")
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
# 640 and 320 px are 1280 at 200 % and at 400 %. Pages take turns, so that half of them are looked
# at in dark on a desk, and half on a phone; in this order a window changes seldom.
LOOKS = (
    (("light", 320), ("light", 390), ("light", 640), ("dark", 1280)),
    (("dark", 1280), ("dark", 640), ("light", 390), ("light", 320)),
    (("dark", 320), ("dark", 390), ("dark", 640), ("light", 1280)),
    (("light", 1280), ("light", 640), ("dark", 390), ("dark", 320)),
)
WITH_AXE = (390, 1280)
# What depends on colors and on the room there is. Everything else is looked at once, in light.
OF_LIGHT = ["color-contrast", "link-in-text-block"]
OF_WIDTH = [*OF_LIGHT, "landmark-unique", "region", "scrollable-region-focusable", "target-size"]
# Whether the page has the colors that the browser asks for; a new window shows none.
HAS_SCHEME = """
(scheme) => !document.body.children.length || document.documentElement.dataset.bsTheme === scheme
"""


def rules_of(*rules: str) -> dict[str, Any]:
    return {"runOnly": {"type": "rule", "values": rules}}


def tagged(*tags: str) -> dict[str, Any]:
    """The rules with these tags, without the one that looks at nothing but the style sheets."""
    return {
        "runOnly": {"type": "tag", "values": tags},
        "rules": {"css-orientation-lock": {"enabled": False}},
    }


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


class Shapes(HTMLParser):
    """The elements of a page with their attributes, and whether there are words, but not which."""

    WORDS = re.compile(r"hx-|action|alt|aria-label|content|data-|href|src|title|value")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(f"<{tag}")
        for name, value in attrs:
            is_words = tag != "link" and self.WORDS.match(name)
            what = bool(value) if is_words else re.sub("[0-9]+", "0", value or "")
            self.found.append(f"{name}={what}")

    def handle_endtag(self, tag: str) -> None:
        self.found.append(f"</{tag}")

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.found.append("words")


class Looks:
    """Looks at one page after the other, and with axe only at what it has not seen yet: pages and
    menus that differ in nothing but words have the same barriers."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.seen: set[str] = set()
        self.scheme = ""
        self.turns = itertools.cycle(LOOKS)

    def is_new(self, html: str) -> bool:
        shape = "\n".join(Shapes(html).found)
        is_new = shape not in self.seen
        self.seen.add(shape)
        return is_new

    def barriers(self, address: str, name: str, html: str) -> Iterator[str]:
        is_new, looks = self.is_new(html), next(self.turns)
        self.change(*looks[0])
        self.page.goto(SITE + address)
        self.page.evaluate(OPEN_ALL)
        above = {}
        if is_new:
            self.page.add_script_tag(url=AXE_PATH)
            above = self.new_above()
            sheets = " ".join(re.findall(r"<link [^>]*stylesheet[^>]*>", html))
            if sheets not in self.seen:
                self.seen.add(sheets)
                found = self.page.evaluate(RUN_AXE, rules_of("css-orientation-lock"))
                yield from (f"{name}: {one}" for one in found)
        for scheme, width in looks:
            self.change(scheme, width)
            if (needed := self.page.evaluate(WIDTH)) > width:
                yield f"{name}: {needed} px wide at {width}: {json.dumps(self.page.evaluate(WIDE))}"
            found = self.page.evaluate(CUT_OFF, MENUS)
            if is_new and width in WITH_AXE:
                found += self.page.evaluate(
                    RUN_AXE, tagged(*TAGS) if scheme == "light" else rules_of(*OF_WIDTH)
                )
                rules = tagged(*OF_ONE) if scheme == "light" else rules_of(*OF_LIGHT)
                for selector, numbers in above.items():
                    found += self.page.evaluate(RUN_AXE_IN, [selector, numbers, rules])
            yield from (f"{name} ({scheme}, {width}): {one}" for one in found)

    def change(self, scheme: str, width: int) -> None:
        self.page.set_viewport_size({"width": width, "height": 900})
        if scheme != self.scheme:
            self.scheme = scheme
            self.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
            self.page.wait_for_function(HAS_SCHEME, arg=scheme)

    def new_above(self) -> dict[str, list[int]]:
        """The numbers of the menus and windows that are new, by selector."""
        shown = {selector: self.page.evaluate(HTML_OF, selector) for selector in ABOVE}
        new = {
            selector: [number for number, html in enumerate(all_of) if self.is_new(html)]
            for selector, all_of in shown.items()
        }
        return {selector: numbers for selector, numbers in new.items() if numbers}


def look_at(browser: Browser, pages: Mapping[str, tuple[str, bytes]]) -> list[str]:
    looks = Looks(browser.new_page())  # one for all: each new one would be a process of the browser
    return [
        found
        for address, (name, html) in pages.items()
        for found in looks.barriers(address, name, html.decode())
    ]


def test_no_page_has_barriers_or_scrolls_sideways(db: None, simulator: Simulator) -> None:
    chromium = prepare.find_chromium()
    if chromium is None:
        pytest.skip("no Chromium was found")
    # All of them before the browser starts: its event loop would forbid the database.
    pages = {f"/page/{number}/": one for number, one in enumerate(every_page(simulator))}
    with (
        server({address: html for address, (_name, html) in pages.items()}) as port,
        sync_playwright() as playwright,
    ):
        here = f"--host-resolver-rules=MAP site.test 127.0.0.1:{port}"
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu", here]
        )
        found = look_at(browser, pages)
        browser.close()

    assert not found, "\n".join(["", *found])
