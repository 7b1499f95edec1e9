"""How much faster several workers are than one, on PostgreSQL: `make bench ARGS=--workers`. Jobs
wait to be read, and then to be sent and collected, while the workers stand still; then all of them
start at once. Web server, database server, provider and workers share this machine, so what is to
be won is bound by its cores: the processor seconds of each say how far.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import bench as benches
from . import prepare
from .bench import Bench, make_csv, simulator
from .bench_load import begin_job
from .environment import ROOT
from .processor_time import seconds_of_tree

JOBS, ROWS, NUMBERS = 6, 20_000, "1,2,3"


@dataclass(frozen=True)
class Measured:
    """Seconds on the clock, and of the processor of all workers together."""

    read: float
    read_cpu: float
    sent: float
    sent_cpu: float


class Workers:
    """The worker of a site, and more beside it."""

    def __init__(self, bench: Bench, number: int) -> None:
        self.bench = bench
        command = [sys.executable, "manage.py", "run_huey"]
        self.more = [
            subprocess.Popen(
                command,
                cwd=ROOT,
                env=bench.site.environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for _ in range(number - 1)
        ]

    @property
    def pids(self) -> list[int]:
        return [self.bench.site.children()["run_huey"], *(one.pid for one in self.more)]

    def cpu(self) -> float:
        return sum(map(seconds_of_tree, self.pids))

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        self.until_idle()
        for pid in self.pids:
            os.kill(pid, signal.SIGSTOP)
        yield
        for pid in self.pids:
            os.kill(pid, signal.SIGCONT)

    def until_idle(self) -> None:
        took = 1.0
        while took > 0.2:
            before = self.cpu()
            time.sleep(2)
            took = self.cpu() - before

    def end(self) -> None:
        for one in self.more:
            one.terminate()
            one.wait()


def measure(number: int, url: str) -> Measured:
    benches.DATABASE_URL = url
    with tempfile.TemporaryDirectory(prefix="batchsite-bench-") as scratch:
        folder = Path(scratch)
        source = folder / "rows.csv"
        make_csv(source, ROWS)
        with simulator(folder / "provider") as provider:
            bench = Bench(folder, provider)
            workers = Workers(bench, number)
            try:
                return _run(bench, workers, source)
            finally:
                workers.end()
                bench.site.close()


def _run(bench: Bench, workers: Workers, source: Path) -> Measured:
    with workers.standing_still():
        jobs = [bench.upload(source) for _ in range(JOBS)]
        began, before = time.monotonic(), workers.cpu()
    for job in jobs:
        bench.until(job, "state", "draft")
    read, read_cpu = time.monotonic() - began, workers.cpu() - before
    ready = [begin_job(bench, source) for _ in range(JOBS)]
    with workers.standing_still():
        for job in ready:
            plan = bench.look(job, "plan_sha256")
            bench.browser.post(f"/jobs/{job}/confirm/", plan_sha256=plan)
        began, before = time.monotonic(), workers.cpu()
    for job in ready:
        bench.until(job, "state", "finished")
    return Measured(read, read_cpu, time.monotonic() - began, workers.cpu() - before)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", nargs="?", const=NUMBERS)
    chosen, _others = parser.parse_known_args()
    if not chosen.workers:
        return
    print(f"\n{JOBS} jobs of {ROWS:,} rows on PostgreSQL, {os.cpu_count()} cores")
    print(f"{'workers':>9}{'read s':>9}{'CPU s':>8}{'send and collect s':>20}{'CPU s':>8}")
    for number in map(int, chosen.workers.split(",")):
        with prepare.postgres(prepare.get_postgres()) as url:
            found = measure(number, url)
        print(
            f"{number:>9}{found.read:>9.1f}{found.read_cpu:>8.1f}"
            f"{found.sent:>20.1f}{found.sent_cpu:>8.1f}"
        )


if __name__ == "__main__":
    main()
