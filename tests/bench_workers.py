"""How much faster several workers are than one, on PostgreSQL: `make bench ARGS=--workers`. Jobs
of several people wait to be read, and then to be sent and collected, while the workers stand still;
then all of them start at once.

Web server, database server, provider and workers share this machine, and on a few cores one worker
keeps them busy. So each worker gets SHARE percent of a core, as on a small machine of its own: then
the rest of the cores is for the servers, and what workers wait for each other shows. This needs
root, and `--share=0` lets each of them take what it can.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import bench as benches
from . import prepare
from .bench import Bench, Browser, make_csv, simulator
from .bench_load import price_job
from .environment import ROOT
from .processor_time import seconds_of_tree

JOBS, ROWS, NUMBERS, SHARE = 6, 20_000, "1,3", 20
GROUPS = Path("/sys/fs/cgroup")
PERIOD = 20_000  # microseconds in which a worker gets its share


@dataclass(frozen=True)
class Measured:
    """Seconds on the clock, and of the processor of all workers together."""

    read: float
    read_cpu: float
    sent: float
    sent_cpu: float


class Workers:
    """The worker of a site, and more beside it, each with `share` percent of a core."""

    def __init__(self, bench: Bench, number: int, share: int) -> None:
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
        self.groups = [limit(pid, share) for pid in self.pids] if share else []

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
        for group in self.groups:
            for pid in (group / "cgroup.procs").read_text().split():
                (group.parent / "cgroup.procs").write_text(pid)
            group.rmdir()


def limit(pid: int, share: int) -> Path:
    """Let a process, its children and theirs have `share` percent of a core; gives their group."""
    is_old = (GROUPS / "cpu").is_dir()
    if not is_old:
        (GROUPS / "cgroup.subtree_control").write_text("+cpu")
    group = GROUPS / ("cpu" if is_old else "") / f"batchsite-bench-{pid}"
    group.mkdir()
    quota = PERIOD * share // 100
    if is_old:
        (group / "cpu.cfs_period_us").write_text(str(PERIOD))
        (group / "cpu.cfs_quota_us").write_text(str(quota))
    else:
        (group / "cpu.max").write_text(f"{quota} {PERIOD}")
    for one in tree(pid):
        (group / "cgroup.procs").write_text(str(one))
    return group


def tree(pid: int) -> list[int]:
    return [pid, *(below for child in benches.children_of_all(pid) for below in tree(child))]


def people(bench: Bench) -> list[Browser]:
    """One for each job, signed in: files of one person are read one after another."""
    found = []
    for number in range(JOBS):
        name, password = f"person-{number}", uuid.uuid4().hex
        command = [sys.executable, "manage.py", "createsuperuser", "--noinput", "--email="]
        environment = {**bench.site.environment, "DJANGO_SUPERUSER_PASSWORD": password}
        subprocess.run(
            [*command, f"--username={name}"],
            cwd=ROOT,
            env=environment,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        browser = Browser(bench.site.port)
        browser.post("/login/", username=name, password=password)
        found.append(browser)
    return found


def measure(number: int, url: str, share: int) -> Measured:
    benches.DATABASE_URL = url
    with tempfile.TemporaryDirectory(prefix="batchsite-bench-") as scratch:
        folder = Path(scratch)
        source = folder / "rows.csv"
        make_csv(source, ROWS)
        with simulator(folder / "provider") as provider:
            bench = Bench(folder, provider)
            workers = Workers(bench, number, share)
            try:
                return _run(bench, workers, source)
            finally:
                workers.end()
                bench.site.close()


def _run(bench: Bench, workers: Workers, source: Path) -> Measured:
    browsers = people(bench)
    with workers.standing_still():
        jobs = []
        for browser in browsers:
            bench.browser = browser
            jobs.append(bench.upload(source))
        began, before = time.monotonic(), workers.cpu()
    for job in jobs:
        bench.until(job, "state", "draft")
    read, read_cpu = time.monotonic() - began, workers.cpu() - before
    for job, browser in zip(jobs, browsers, strict=True):
        bench.browser = browser
        price_job(bench, bench.browser, job)
    with workers.standing_still():
        for job, browser in zip(jobs, browsers, strict=True):
            bench.browser = browser
            plan = bench.look(job, "plan_sha256")
            bench.browser.post(f"/jobs/{job}/confirm/", plan_sha256=plan)
        began, before = time.monotonic(), workers.cpu()
    for job in jobs:
        bench.until(job, "state", "finished")
    return Measured(read, read_cpu, time.monotonic() - began, workers.cpu() - before)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", nargs="?", const=NUMBERS)
    parser.add_argument("--share", type=int, default=SHARE)
    chosen, _others = parser.parse_known_args()
    if not chosen.workers:
        return
    print(f"\n{JOBS} jobs of {ROWS:,} rows on PostgreSQL, {os.cpu_count()} cores")
    print(
        f"each worker with {chosen.share} % of one" if chosen.share else "as much as they can get"
    )
    print(f"{'workers':>9}{'read s':>9}{'CPU s':>8}{'send and collect s':>20}{'CPU s':>8}")
    for number in map(int, chosen.workers.split(",")):
        with prepare.postgres(prepare.get_postgres()) as url:
            found = measure(number, url, chosen.share)
        print(
            f"{number:>9}{found.read:>9.1f}{found.read_cpu:>8.1f}"
            f"{found.sent:>20.1f}{found.sent_cpu:>8.1f}"
        )


if __name__ == "__main__":
    main()
