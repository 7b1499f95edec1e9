"""`make bench`: a CSV of 100,000 rows (about 46 MB) in, the joined CSV out, through the simulator,
measured step by step beside a plain script that does the same without this product.

The site is the one that `make run` starts, driven over HTTP. Waiting for the provider is part of
both sides: the simulator ends a batch as soon as it has computed its answers. `make bench
ARGS=--quick` runs a tenth of the rows, `--steps` one job only; with `--million` ten times as many
are exported, too.
"""

from __future__ import annotations

import csv
import http.client
import http.cookiejar
import json
import os
import random
import re
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from .environment import ROOT, clean_environment
from .plain_script import PROMPT
from .processor_time import seconds_by_step, seconds_of_tree, watched
from .running import SECONDS, Site

OPENINGS = ("The sound is clear and loud", "It arrived late and scratched", "Nobody answered me")
MIDDLES = ("after two weeks a button came off", "my mother uses it daily", "the colour is odd")
ENDINGS = ("so I cannot recommend it", "and I would buy it again", "but for the price it is fine")


def make_csv(path: Path, rows: int) -> None:
    """Reviews of about 460 bytes, with quotes and commas as in life."""
    chance = random.Random(20)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "product", "review", "stars"])
        for number in range(rows):
            parts = [chance.choice(part) for _ in range(6) for part in (OPENINGS, MIDDLES, ENDINGS)]
            review = " ".join(parts)
            product = f"Product {chance.randint(1, 999)}"
            writer.writerow([number, product, f'{review}, "{number}"', chance.randint(1, 5)])


@contextmanager
def simulator(folder: Path, seconds: float = 0.01) -> Iterator[str]:
    """Gives its address. Each batch takes at least `seconds`."""
    command = [sys.executable, "-m", "tests.simulator", "--port", "0", "--data", str(folder)]
    process = subprocess.Popen(
        [*command, "--seconds", str(seconds)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().split()[-1]
    finally:
        process.terminate()
        process.communicate(timeout=SECONDS)


# A database that is empty; without one, a file of SQLite.
DATABASE_URL = os.environ.get("BENCH_DATABASE_URL", "")
IDLE_SECONDS = 20


class Browser:
    """Just enough of one: cookies, forms with their token, one streamed upload."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.cookies = http.cookiejar.CookieJar()
        handler = urllib.request.HTTPCookieProcessor(self.cookies)
        self.opener = urllib.request.build_opener(handler)

    def get(self, path: str, *, part: bool = False) -> str:
        """`part`: as the page itself asks for what has changed."""
        headers = {"HX-Request": "true"} if part else {}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=headers)
        with self.opener.open(request, timeout=120) as answer:
            text: str = answer.read().decode()
        return text

    def ask(self, path: str) -> tuple[int, http.client.HTTPMessage, str]:
        """As the page itself asks for what has changed: status, headers, text."""
        address = f"http://127.0.0.1:{self.port}{path}"
        request = urllib.request.Request(address, headers={"HX-Request": "true"})
        with self.opener.open(request, timeout=120) as answer:
            return answer.status, answer.headers, answer.read().decode()

    def token(self, path: str) -> str:
        found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', self.get(path))
        assert found, f"no form at {path}"
        return found[1]

    def post(self, path: str, page: str = "", **fields: str) -> str:
        """Send a form of `page`; the address that the answer leads to."""
        fields["csrfmiddlewaretoken"] = self.token(page or path)
        data = urllib.parse.urlencode(fields).encode()
        with self.opener.open(f"http://127.0.0.1:{self.port}{path}", data, 120) as answer:
            answer.read()
            address: str = urllib.parse.urlsplit(answer.url).path
        return address

    def upload(self, path: str, file: Path) -> str:
        """Upload `file` as a browser does, without holding it in memory."""
        boundary = uuid.uuid4().hex
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="csrfmiddlewaretoken"\r\n\r\n'
            f"{self.token(path)}\r\n"
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; '
            f'filename="{file.name}"\r\nContent-Type: text/csv\r\n\r\n'
        ).encode()
        tail = f"\r\n--{boundary}--\r\n".encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        connection.putrequest("POST", path)
        connection.putheader("Content-Type", f"multipart/form-data; boundary={boundary}")
        connection.putheader("Content-Length", str(len(head) + file.stat().st_size + len(tail)))
        connection.putheader("Cookie", "; ".join(f"{c.name}={c.value}" for c in self.cookies))
        connection.endheaders()
        connection.send(head)
        with file.open("rb") as content:
            connection.send(content)
        connection.send(tail)
        try:
            answer = connection.getresponse()
            assert answer.status in (302, 303), answer.read().decode()
            return str(answer.headers["Location"])
        finally:
            connection.close()

    def download(self, path: str, output: Path) -> None:
        with (
            self.opener.open(f"http://127.0.0.1:{self.port}{path}", timeout=300) as answer,
            output.open("wb") as file,
        ):
            shutil.copyfileobj(answer, file, 1 << 20)


@dataclass(frozen=True)
class Run:
    """A job that was driven from upload to the joined file."""

    job: int
    seconds: dict[str, float]  # by step, on the clock
    cpu: dict[str, float]  # by step, of the processor


class Bench:
    """A site with an account, and jobs driven through it."""

    def __init__(self, folder: Path, provider: str) -> None:
        self.folder = folder
        self.steps_path = folder / "steps"
        self.site = Site(
            folder / "data",
            ANTHROPIC_API_KEY="bench",
            ANTHROPIC_BASE_URL=provider,
            POLL_SECONDS="1",
            DATABASE_URL=DATABASE_URL,
            **watched(self.steps_path),
        )
        self.site.wait_until_ready()
        self.browser = Browser(self.site.port)
        password = uuid.uuid4().hex
        passwords = {"password1": password, "password2": password}
        self.browser.post(self.site.set_up_path(), username="bench", **passwords)
        self.until_quiet()

    def look(self, job: int, column: str) -> str:
        """A column of a job, from the database, so that looking does not burden the site."""
        query = f"SELECT {column} FROM jobs_job WHERE id = {job}"  # noqa: S608 - ours
        database: Any
        if DATABASE_URL:
            database = psycopg.connect(DATABASE_URL)
        else:
            path = self.folder / "data/batchsite.sqlite3"
            database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            return str(database.execute(query).fetchone()[0] or "")
        finally:
            database.close()

    def until(self, job: int, column: str, *values: str, seconds: float = 3600) -> None:
        """Wait until the column has one of `values`, or any where none are given."""
        deadline = time.monotonic() + seconds
        while True:
            found = self.look(job, column)
            if found in values or (found and not values):
                return
            assert time.monotonic() < deadline, f"{column} is still {found!r}"
            time.sleep(0.05)

    def upload(self, source: Path) -> int:
        """The new job."""
        return int(self.browser.upload("/jobs/new/", source).strip("/").split("/")[-1])

    def run(self, source: Path) -> Run:
        """One job from upload to the joined file."""
        cpu_before, of_steps_before = self.processor_seconds(), seconds_by_step(self.steps_path)
        steps: dict[str, float] = {}
        began = last = time.monotonic()

        def lap(step: str) -> None:
            nonlocal last
            now = time.monotonic()
            steps[step], last = now - last, now

        job = self.upload(source)
        lap("upload")
        self.until(job, "state", "draft")
        lap("read and check")
        recipe = {"model": "claude-haiku-5-5", "max_tokens": "200", "system": ""}
        prompt = PROMPT + "{{review}}"
        self.browser.post(f"/jobs/{job}/recipe/", f"/jobs/{job}/", prompt=prompt, **recipe)
        self.until(job, "plan_sha256")
        lap("price")
        plan = self.look(job, "plan_sha256")
        self.browser.post(f"/jobs/{job}/confirm/", plan_sha256=plan)
        self.until(job, "state", "working", "finished")
        lap("send")
        self.until(job, "state", "finished")
        lap("wait and collect")
        self.browser.download(f"/jobs/{job}/download/csv/", self.folder / "joined.csv")
        lap("joined CSV")
        steps["all"] = last - began
        now = seconds_by_step(self.steps_path)
        cpu = {step: now[step] - of_steps_before.get(step, 0.0) for step in now}
        after = self.processor_seconds()
        cpu["web"] = after["gunicorn"] - cpu_before["gunicorn"]
        cpu["all"] = sum(after.values()) - sum(cpu_before.values())
        cpu["queue and rest"] = 2 * cpu["all"] - sum(cpu.values())
        return Run(job, steps, cpu)

    def processor_seconds(self) -> dict[str, float]:
        """Seconds of the processor so far, by part of the site."""
        return {part: seconds_of_tree(pid) for part, pid in self.site.children().items()}

    def until_quiet(self) -> None:
        """Wait until the site has started, or ended its work: it takes less than a tenth of a
        core for two seconds."""
        deadline = time.monotonic() + SECONDS
        took = 1.0
        while took > 0.2 and time.monotonic() < deadline:
            before = sum(self.processor_seconds().values())
            time.sleep(2)
            took = sum(self.processor_seconds().values()) - before

    def idle(self) -> tuple[float, float]:
        """What the site takes with nothing to do: seconds of the processor in a second, and those
        of them that are the sweep."""
        self.until_quiet()
        before, sweeps = self.processor_seconds(), seconds_by_step(self.steps_path)
        time.sleep(IDLE_SECONDS)
        took = sum(self.processor_seconds().values()) - sum(before.values())
        swept = sum(seconds_by_step(self.steps_path).values()) - sum(sweeps.values())
        return took / IDLE_SECONDS, swept / IDLE_SECONDS

    def read(self, source: Path) -> dict[str, float]:
        """Reading a file, and how the site answers meanwhile: seconds, milliseconds, MB."""
        job = self.upload(source)
        began = time.monotonic()
        fragments: list[float] = []
        memory = 0.0
        while self.look(job, "state") == "reading":
            asked = time.monotonic()
            self.browser.get(f"/jobs/{job}/status/", part=True)
            fragments.append((time.monotonic() - asked) * 1000)
            for pid in children_of_all(self.site.children()["run_huey"]):
                with suppress(OSError, AssertionError):
                    memory = max(memory, peak_mb(pid))
            time.sleep(0.05)
        took = time.monotonic() - began
        assert self.look(job, "state") == "draft"
        slowest = statistics.quantiles(fragments, n=20)[-1] if len(fragments) > 1 else 0.0
        return {"read": took, "progress": slowest, "memory": memory}

    def until_built(self, job: int) -> float:
        """Wait until the worker has built the files of a job: seconds."""
        began = time.monotonic()
        waiting = "(SELECT count(*) FROM jobs_export WHERE job_id = jobs_job.id) = 0"
        self.until(job, waiting, "1", seconds=1800)
        return time.monotonic() - began

    def export(self, job: int, kind: str) -> tuple[float, float, float]:
        """Export a job from the shell: seconds, the highest memory and the file's size in MB."""
        output = self.folder / f"exported.{kind}"
        command = [sys.executable, "manage.py", "job", "export", str(job), "--format", kind]
        began = time.monotonic()
        process = subprocess.Popen(
            [*command, "--output", str(output)],
            cwd=ROOT,
            env=clean_environment(self.folder / "data"),
            stderr=subprocess.DEVNULL,
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        took = time.monotonic() - began
        return took, used.ru_maxrss / 1024, output.stat().st_size / 1e6

    def peaks(self) -> tuple[float, float]:
        """The highest memory so far, in MB: of the largest web process, and of the worker."""
        children = self.site.children()
        web = [peak_mb(children["gunicorn"]), *map(peak_mb, children_of(children["gunicorn"]))]
        return max(web), peak_mb(children["run_huey"])

    def page_times(self, job: int, paths: dict[str, str]) -> dict[str, float]:
        """Milliseconds that a page takes, the median of 15 times."""
        times = {}
        for name, path in paths.items():
            seen = []
            for _ in range(15):
                began = time.monotonic()
                self.browser.get(f"/jobs/{job}/{path}")
                seen.append((time.monotonic() - began) * 1000)
            times[name] = statistics.median(seen)
        return times


def children_of(pid: int) -> list[int]:
    return [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def children_of_all(pid: int) -> list[int]:
    """The children of all threads of a process."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def peak_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return int(found[1]) / 1024


def csv_pass(source: Path) -> float:
    """Seconds of a bare pass over a file with Python's own reader."""
    began = time.monotonic()
    with source.open(newline="", encoding="utf-8") as file:
        for _cells in csv.reader(file):
            pass
    return time.monotonic() - began


def check_joined(source: Path, joined: Path) -> None:
    """The joined file has the rows of the upload, all of them, in order."""
    with source.open(newline="") as given, joined.open(newline="", encoding="utf-8-sig") as got:
        pairs = zip(csv.reader(given), csv.reader(got), strict=True)
        for number, (before, after) in enumerate(pairs):
            assert after[: len(before)] == before, f"line {number} differs"


def run_plain(source: Path, output: Path, provider: str) -> dict[str, Any]:
    environment = clean_environment(
        output.parent, ANTHROPIC_API_KEY="bench", ANTHROPIC_BASE_URL=provider
    )
    script = [sys.executable, "-m", "tests.plain_script", str(source), str(output)]
    done = subprocess.run(
        script, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    steps: dict[str, Any] = json.loads(done.stdout)
    return steps


# Which steps of the script are for what the steps of the product are for.
ALIKE = (
    ("start", ()),
    ("read", ("read",)),
    ("price", ("price",)),
    ("send", ("plan", "send")),
    ("wait", ("sweep", "looks")),
    ("results", ("collect", "tally", "export")),
    ("", ("web", "queue and rest")),
    ("all", ("all",)),
)


def show_cpu(ours: dict[str, float], script: dict[str, float]) -> None:
    print("\nSeconds of the processor, all processes")
    print(f"  {'the plain script':<28}{'':>9}   batchsite")
    for theirs, steps in ALIKE:
        left = f"  {theirs:<28}{script[theirs]:>9.2f}" if theirs else " " * 39
        print(f"{left}   " + "  ".join(f"{step} {ours.get(step, 0.0):.2f}" for step in steps))
    print(f"  {'times the script':<28}{ours['all'] / script['all']:>9.2f}")


def show_exports(bench: Bench, job: int, rows: int) -> None:
    print(f"\nThe finished file of {rows:,} rows")
    print(f"  {'CSV and Excel built ahead':<28}{bench.until_built(job):>9,.1f} s after its end")
    for kind in ("csv", "xlsx"):
        seconds, memory, size = bench.export(job, kind)
        print(
            f"  {kind + ' from the shell':<28}{seconds:>9,.1f} s, {memory:,.0f} MB, {size:,.1f} MB"
        )


def show(title: str, values: dict[str, float], unit: str) -> None:
    print(f"\n{title}")
    for name, value in values.items():
        print(f"  {name:<28}{value:>9,.1f} {unit}")


def main() -> None:
    rows = 10_000 if "--quick" in sys.argv else 100_000
    # The processor time of a PostgreSQL server is in no sum.
    database = "PostgreSQL" if DATABASE_URL else "SQLite"
    print(f"{rows:,} rows on {os.cpu_count()} cores, {database}, simulator without delay")
    with tempfile.TemporaryDirectory(prefix="batchsite-bench-") as scratch:
        folder = Path(scratch)
        small, large, huge = (folder / name for name in ("small.csv", "large.csv", "huge.csv"))
        for file, times in ((small, 1), (large, 3), (huge, 10)):
            make_csv(file, times * rows)
        print(f"{small.stat().st_size / 1e6:.0f} MB")
        with simulator(folder / "plain-provider") as provider:
            plain = run_plain(small, folder / "plain.jsonl", provider)
        seconds = {
            step: value for step, value in plain.items() if step not in ("peak_mb", "rows", "cpu")
        }
        show("The plain script", seconds, "s")
        print(f"  {'peak memory':<28}{plain['peak_mb']:>9,.0f} MB")
        with simulator(folder / "provider") as provider:
            measure(Bench(folder, provider), small, large, huge, plain)


def measure(bench: Bench, small: Path, large: Path, huge: Path, plain: dict[str, Any]) -> None:
    try:
        run = bench.run(small)
        job, steps = run.job, run.seconds
        check_joined(small, bench.folder / "joined.csv")
        web, worker = bench.peaks()
        show("batchsite", steps, "s")
        print(f"  {'against the plain script':<28}{steps['all'] / plain['all']:>9.2f} times")
        print(f"  {'peak memory of web':<28}{web:>9,.0f} MB")
        print(f"  {'peak memory of worker':<28}{worker:>9,.0f} MB")
        show_cpu(run.cpu, plain["cpu"])
        if "--steps" in sys.argv:
            return
        show_exports(bench, job, int(plain["rows"]))
        idle, swept = bench.idle()
        print(f"  {'idle, all processes':<28}{idle:>9.2%} of a core, the sweep {swept:.2%}")
        pages = {"job": "", "rows": "rows/", "one row": "rows/777/"}  # bench_rows measures more
        show("Pages of that job", bench.page_times(job, pages), "ms")
        steps = bench.run(large).seconds
        check_joined(large, bench.folder / "joined.csv")
        web_large, worker_large = bench.peaks()
        show("Three times the rows", steps, "s")
        print(f"  {'peak memory of web':<28}{web_large:>9,.0f} MB")
        more = worker_large / worker - 1
        print(f"  {'peak memory of worker':<28}{worker_large:>9,.0f} MB ({more:+.0%})")
        bare, found = csv_pass(huge), bench.read(huge)
        print(f"\nReading a CSV of {huge.stat().st_size / 1e6:.0f} MB, ten times the rows")
        print(f"  {'from upload to draft':<28}{found['read']:>9,.1f} s")
        print(f"  {'against a bare csv pass':<28}{found['read'] / bare:>9.1f} times")
        print(f"  {'progress, 95th percentile':<28}{found['progress']:>9,.0f} ms")
        print(f"  {'peak memory of the reader':<28}{found['memory']:>9,.0f} MB")
        if "--million" in sys.argv:
            job = bench.run(huge).job
            show_exports(bench, job, 10 * int(plain["rows"]))
            print(f"  {'peak memory of worker':<28}{bench.peaks()[1]:>9,.0f} MB")
    finally:
        bench.site.close()


if __name__ == "__main__":
    main()
