"""Every page in a real browser: axe finds nothing, in light and dark and on a phone, and no page
scrolls sideways, however narrow."""

from __future__ import annotations

import itertools
import mimetypes
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from django.contrib.staticfiles import finders
from playwright.sync_api import Browser, Page, sync_playwright

from .. import prepare
from ..conftest import Simulator
from ..environment import ROOT
from ..every_page import every_page

pytestmark = pytest.mark.browser

SITE = "http://site.test"
AXE_PATH, BARRIERS_PATH = "/axe.js", "/barriers.js"
AXE = ROOT / "tests" / "data" / "axe-core-4.14.1" / "axe.min.js"
BARRIERS = Path(__file__).with_name("barriers.js")
START_PATH = "/start/"
OURS = {AXE_PATH: AXE, BARRIERS_PATH: BARRIERS}
START = f'<!doctype html><script src="{AXE_PATH}"></script><script src="{BARRIERS_PATH}"></script>'
OPEN = "([address, scheme]) => barriers.open(address, scheme)"
LOOK = "([scheme, width]) => barriers.look(scheme, width)"
# 640 and 320 px are 1280 at 200 % and at 400 %. Pages take turns, so that half of them are looked
# at in dark on a desk, and half on a phone; in this order a window changes seldom.
LOOKS = (
    (("light", 320), ("light", 390), ("light", 640), ("dark", 1280)),
    (("dark", 1280), ("dark", 640), ("light", 390), ("light", 320)),
    (("dark", 320), ("dark", 390), ("dark", 640), ("light", 1280)),
    (("light", 1280), ("light", 640), ("dark", 390), ("dark", 320)),
)


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
        elif path == START_PATH:
            self.answer(200, START.encode(), "text/html; charset=utf-8", "no-store")
        elif path in OURS:
            self.answer(200, OURS[path].read_bytes(), "text/javascript", "no-store")
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


class Looks:
    """Looks at one page after the other."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.scheme = ""
        self.turns = itertools.cycle(LOOKS)
        self.page.goto(SITE + START_PATH)

    def barriers(self, address: str, name: str) -> Iterator[str]:
        looks = next(self.turns)
        self.change(*looks[0])
        found = self.page.evaluate(OPEN, [address, self.scheme])
        yield from (f"{name}: {one}" for one in found)
        for scheme, width in looks:
            self.change(scheme, width)
            found = self.page.evaluate(LOOK, [scheme, width])
            yield from (f"{name} ({scheme}, {width}): {one}" for one in found)

    def change(self, scheme: str, width: int) -> None:
        self.page.set_viewport_size({"width": width, "height": 900})
        if scheme != self.scheme:
            self.scheme = scheme
            self.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]


def look_at(browser: Browser, pages: Mapping[str, tuple[str, bytes]]) -> list[str]:
    looks = Looks(browser.new_page())  # one for all: each new one would be a process of the browser
    return [
        found for address, (name, _html) in pages.items() for found in looks.barriers(address, name)
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
