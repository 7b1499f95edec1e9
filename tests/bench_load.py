"""A busy site: 200 open tabs ask how a job is doing every two seconds, four people upload 100 MB
each, and four jobs are read, sent and fetched meanwhile. `make bench` shows how long the answers
took, and counts the errors: there may be none, and 95 of 100 answers take less than 200 ms.
ARGS=--tabs=50,--megabytes=20 for less.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import threading
import time
import urllib.error
from dataclasses import dataclass, field
from pathlib import Path

from .bench import Bench, Browser, make_csv, simulator
from .bench_idle import Used

TABS, MEGABYTES, UPLOADS, JOBS, ROWS = 200, 100, 4, 4, 20_000
EVERY, SECONDS = 2.0, 60.0
THREADS = 20  # each plays the tabs of some people


@dataclass
class Seen:
    times: list[float] = field(default_factory=list)  # milliseconds
    errors: list[str] = field(default_factory=list)

    def ask(self, browser: Browser, path: str) -> None:
        began = time.monotonic()
        try:
            browser.get(path, part=True)
        except (OSError, urllib.error.HTTPError) as error:
            self.errors.append(repr(error))
        self.times.append((time.monotonic() - began) * 1000)


def play_tabs(browser: Browser, paths: list[str], tabs: int, seen: Seen, until: float) -> None:
    """So many tabs, one after the other within EVERY seconds."""
    turn = 0
    while (due := time.monotonic()) < until:
        seen.ask(browser, paths[turn % len(paths)])
        turn += 1
        time.sleep(max(due + EVERY / tabs - time.monotonic(), 0))


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


def run(bench: Bench) -> None:
    tabs, megabytes = given("tabs", TABS), given("megabytes", MEGABYTES)
    small, large = bench.folder / "small.csv", bench.folder / "large.csv"
    make_csv(small, ROWS)
    make_csv(large, megabytes * 1_000_000 // 460)
    jobs = [begin_job(bench, small) for _ in range(JOBS)]
    paths = [f"/jobs/{job}/status/" for job in jobs]
    seen = Seen()
    took: list[float] = []
    errors: list[str] = []
    until = time.monotonic() + SECONDS
    threads = [
        threading.Thread(
            target=play_tabs, args=(bench.browser, paths, max(tabs // THREADS, 1), seen, until)
        )
        for _ in range(min(THREADS, tabs))
    ]
    threads += [
        threading.Thread(target=upload, args=(bench.browser, large, took, errors))
        for _ in range(UPLOADS)
    ]
    for thread in threads:
        thread.start()
    for job in jobs:
        plan = bench.look(job, "plan_sha256")
        bench.browser.post(f"/jobs/{job}/confirm/", plan_sha256=plan)
    for thread in threads:
        thread.join()
    percentile = statistics.quantiles(seen.times, n=20)[-1]
    print(
        f"\n{tabs} tabs, {UPLOADS} uploads of {megabytes} MB, {JOBS} jobs, {os.cpu_count()} cores"
    )
    print(f"  {len(seen.times):,} answers, {len(seen.errors)} errors {seen.errors[:3]}")
    print(f"  {statistics.median(seen.times):,.0f} ms median, {percentile:,.0f} ms 95th percentile")
    print(f"  uploads took {', '.join(f'{one:.0f} s' for one in took)}; {errors or 'no error'}")
    for name, used in Used.by(bench.site.process.pid).items():
        print(f"  {name:<12}{used.cpu:>8.1f} s of CPU since the start")
    print(f"  web at most {bench.peaks()[0]:,.0f} MB, worker {bench.peaks()[1]:,.0f} MB")


def begin_job(bench: Bench, file: Path) -> int:
    """A draft with a price."""
    job = bench.upload(file)
    bench.until(job, "state", "draft")
    price_job(bench, job)
    return job


def price_job(bench: Bench, job: int) -> None:
    recipe = {"model": "claude-haiku-5-5", "max_tokens": "200", "system": ""}
    page = f"/jobs/{job}/"
    bench.browser.post(f"{page}recipe/", page, prompt="Sort this: {{review}}", **recipe)
    bench.until(job, "plan_sha256")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="batchsite-bench-") as scratch:
        folder = Path(scratch)
        with simulator(folder / "provider") as provider:
            bench = Bench(folder, provider)
            try:
                run(bench)
            finally:
                bench.site.close()


if __name__ == "__main__":
    main()
