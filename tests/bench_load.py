"""A busy site: 200 open tabs show how four jobs are doing, four people upload 100 MB each, and the
jobs are sent and fetched meanwhile. Each tab asks as the page that it loaded tells a browser to.
`make bench` shows how long the answers took, and counts the errors: there may be none, and 95 of
100 answers take less than 200 ms. ARGS=--tabs=50,--megabytes=20 for less.
"""

from __future__ import annotations

import html
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from .bench import Bench, Browser, make_csv, simulator
from .bench_idle import Used
from .environment import ROOT

TABS, MEGABYTES, PEOPLE, ROWS = 200, 100, 4, 20_000
SECONDS = 60.0
PROVIDER_SECONDS = 30.0  # a batch takes at least: the tabs have something to wait for
THREADS = 20  # each plays some tabs
PASSWORD = "correct horse battery"
# How a page says what it asks for again, and after how many seconds.
PART = re.compile(r'data-poll\s+hx-get="([^"]+)"\s+hx-trigger="[^"]*every ([0-9]+)s')


@dataclass
class Seen:
    times: list[float] = field(default_factory=list)  # milliseconds
    answers: Counter[int] = field(default_factory=Counter)  # by status
    errors: list[str] = field(default_factory=list)


@dataclass
class Part:
    """A part of a page that a browser asks for again and again."""

    path: str
    seconds: float
    due: float

    @classmethod
    def all_in(cls, text: str) -> list[Part]:
        now = time.monotonic()
        found = ((html.unescape(path), float(seconds)) for path, seconds in PART.findall(text))
        return [cls(path, seconds, now + seconds) for path, seconds in found]


class Tab:
    """The page of a job, as a browser shows it."""

    def __init__(self, browser: Browser, job: int) -> None:
        self.browser, self.page = browser, f"/jobs/{job}/"
        self.load()

    def load(self) -> None:
        self.parts = Part.all_in(self.browser.get(self.page))

    @property
    def due(self) -> float:
        return min((part.due for part in self.parts), default=float("inf"))

    def look(self, seen: Seen) -> None:
        """Ask for the part that is due first."""
        part = min(self.parts, key=lambda one: one.due)
        began = time.monotonic()
        part.due = began + part.seconds
        try:
            status, headers, text = self.browser.ask(part.path)
            seen.times.append((time.monotonic() - began) * 1000)
            seen.answers[status] += 1
            if headers.get("HX-Refresh"):
                self.load()
            elif text:
                self.parts.remove(part)
                self.parts += Part.all_in(text)
        except OSError as error:
            seen.errors.append(repr(error))


def play(tabs: list[Tab], seen: Seen, until: float) -> None:
    """Whatever tab is due, one after the other."""
    while (now := time.monotonic()) < until:
        tab = min(tabs, key=lambda one: one.due)
        if tab.due > now:
            time.sleep(min(tab.due, until) - now)
        else:
            tab.look(seen)


def upload(browser: Browser, file: Path, took: list[float], errors: list[str]) -> None:
    began = time.monotonic()
    try:
        browser.upload("/jobs/new/", file)
    except (OSError, AssertionError) as error:
        errors.append(repr(error)[:200])
    took.append(time.monotonic() - began)


def given(name: str, otherwise: int) -> int:
    found = [one.partition("=")[2] for one in sys.argv[1:] if one.startswith(f"--{name}=")]
    return int(found[0]) if found else otherwise


def sign_in(bench: Bench, name: str) -> Browser:
    """Create an account called `name`, and sign in with a new browser."""
    create = [sys.executable, "manage.py", "createsuperuser", "--noinput"]
    subprocess.run(
        [*create, f"--username={name}", f"--email={name}@example.org"],
        cwd=ROOT,
        env={**bench.site.environment, "DJANGO_SUPERUSER_PASSWORD": PASSWORD},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    browser = Browser(bench.site.port)
    browser.post("/login/", username=name, password=PASSWORD)
    return browser


def run(bench: Bench) -> None:
    tabs, megabytes = given("tabs", TABS), given("megabytes", MEGABYTES)
    small, large = bench.folder / "small.csv", bench.folder / "large.csv"
    make_csv(small, ROWS)
    make_csv(large, megabytes * 1_000_000 // 460)
    people = [sign_in(bench, f"person{number}") for number in range(PEOPLE)]
    jobs = [begin_job(bench, browser, small) for browser in people]
    for browser, job in zip(people, jobs, strict=True):
        plan = bench.look(job, "plan_sha256")
        browser.post(f"/jobs/{job}/confirm/", plan_sha256=plan)
    opened = [Tab(people[number % PEOPLE], jobs[number % PEOPLE]) for number in range(tabs)]
    seen = Seen()
    took: list[float] = []
    errors: list[str] = []
    until = time.monotonic() + SECONDS
    threads = [
        threading.Thread(target=play, args=(opened[number::THREADS], seen, until))
        for number in range(min(THREADS, tabs))
    ]
    threads += [
        threading.Thread(target=upload, args=(browser, large, took, errors)) for browser in people
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    percentile = statistics.quantiles(seen.times, n=20)[-1]
    print(
        f"\n{tabs} tabs, {PEOPLE} uploads of {megabytes} MB, {PEOPLE} jobs, {os.cpu_count()} cores"
    )
    print(f"  {len(seen.times):,} answers {dict(seen.answers)}, {len(seen.errors)} errors")
    print(f"  {seen.errors[:3]}" if seen.errors else "", end="")
    print(f"  {statistics.median(seen.times):,.0f} ms median, {percentile:,.0f} ms 95th percentile")
    print(f"  uploads took {', '.join(f'{one:.0f} s' for one in took)}; {errors or 'no error'}")
    print(f"  jobs: {', '.join(bench.look(job, 'state') for job in jobs)}")
    for name, used in Used.by(bench.site.process.pid).items():
        print(f"  {name:<12}{used.cpu:>8.1f} s of CPU since the start")
    print(f"  web at most {bench.peaks()[0]:,.0f} MB, worker {bench.peaks()[1]:,.0f} MB")


def begin_job(bench: Bench, browser: Browser, file: Path) -> int:
    """A draft with a price."""
    job = int(browser.upload("/jobs/new/", file).strip("/").split("/")[-1])
    bench.until(job, "state", "draft")
    price_job(bench, browser, job)
    return job


def price_job(bench: Bench, browser: Browser, job: int) -> None:
    recipe = {"model": "claude-haiku-5-5", "max_tokens": "200", "system": ""}
    page = f"/jobs/{job}/"
    browser.post(f"{page}recipe/", page, prompt="Sort this: {{review}}", **recipe)
    bench.until(job, "plan_sha256")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="batchsite-bench-") as scratch:
        folder = Path(scratch)
        with simulator(folder / "provider", PROVIDER_SECONDS) as provider:
            bench = Bench(folder, provider)
            try:
                run(bench)
            finally:
                bench.site.close()


if __name__ == "__main__":
    main()
