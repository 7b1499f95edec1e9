"""What a site costs on which nothing happens: CPU of all of its processes and what they write, with
1,000 finished jobs and 20 drafts, and then with those drafts sent and waiting for the provider.
`make bench` measures it. The real site, as `make run` starts it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from .bench import Browser, make_csv
from .environment import ROOT, clean_environment
from .plain_script import PROMPT
from .running import Site, wait_for

FINISHED, DRAFTS = 1_000, 20
SETTLE_SECONDS = 30.0  # what is done at a start, and the first minute's checks
PASSWORD = "a password of the bench only"
BUILD = """
import django
django.setup()
from django.contrib.auth.models import User
from django.core.management import call_command
from django.utils import timezone
call_command("migrate", verbosity=0)
from jobs.models import Installation, Job, versions
versions.note()
now = timezone.now()
Installation.row().update(set_up_at=now)
owner = User.objects.create_superuser("bench", password={password!r})
Job.objects.bulk_create(
    Job(owner=owner, name=f"job {{n}}", state="finished", columns=["a"], upload_name="a.csv",
        upload_file=f"idle-{{n}}", upload_bytes=1, row_count=5, confirmed_at=now, finished_at=now,
        next_action_at=None)
    for n in range({finished}))
"""


@dataclass(frozen=True)
class Used:
    """Since the processes began: CPU seconds, bytes given to the disk, bytes written."""

    cpu: float
    disk: int
    written: int

    @classmethod
    def by(cls, root: int) -> dict[str, Used]:
        """Of a process and all below it, by a word of their commands."""
        found: dict[str, Used] = {}
        for pid in family(root):
            try:
                name = word_for(Path(f"/proc/{pid}/cmdline").read_text())
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                lines = Path(f"/proc/{pid}/io").read_text().splitlines()
            except (FileNotFoundError, ProcessLookupError):
                continue
            said = dict(line.split(": ") for line in lines)
            # With what its ended children used.
            cpu = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
            before = found.get(name, cls(0, 0, 0))
            disk = before.disk + int(said["write_bytes"])
            found[name] = cls(before.cpu + cpu, disk, before.written + int(said["wchar"]))
        return found


def family(root: int) -> list[int]:
    pids = [root]
    for pid in pids:
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            pids.extend(map(int, children.read_text().split()))
    return pids


def word_for(command: str) -> str:
    words = {"gunicorn": "web", "run_huey": "worker", "jobs.simulator": "simulator"}
    words |= {"serve": "serve"}
    return next((name for word, name in words.items() if word in command), "readers")


def measure(site: Site, title: str, seconds: float) -> None:
    before, began = Used.by(site.process.pid), time.monotonic()
    time.sleep(seconds)
    after, took = Used.by(site.process.pid), time.monotonic() - began
    print(f"\n{title}, {took:.0f} s")
    cpu = disk = written = 0.0
    for name, now in after.items():
        then = before.get(name, Used(0, 0, 0))
        used = Used(now.cpu - then.cpu, now.disk - then.disk, now.written - then.written)
        cpu, disk, written = cpu + used.cpu, disk + used.disk, written + used.written
        show(name, used.cpu, used.disk, used.written, took)
    show("all", cpu, disk, written, took)


def show(name: str, cpu: float, disk: float, written: float, took: float) -> None:
    print(
        f"  {name:<12}{100 * cpu / took:>8.2f} % of a core{disk / took:>12,.0f} B/s to the disk"
        f"{written / took:>12,.0f} B/s written",
        flush=True,
    )


def run(folder: Path, seconds: float) -> None:
    database = os.environ.get("DATABASE_URL", "")
    data = folder / "data"
    environment = clean_environment(data, DATABASE_URL=database)
    environment["DJANGO_SETTINGS_MODULE"] = "batchsite.settings"
    script = BUILD.format(password=PASSWORD, finished=FINISHED)
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, check=True)
    command = [sys.executable, "-m", "tests.simulator", "--port", "0", "--seconds", "86400"]
    provider = subprocess.Popen(
        [*command, "--data", str(folder / "provider")], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert provider.stdout is not None
    address = provider.stdout.readline().split()[-1]
    site = Site(data, ANTHROPIC_API_KEY="bench", ANTHROPIC_BASE_URL=address)
    try:
        site.wait_until_ready()
        browser = Browser(site.port)
        browser.post("/login/", username="bench", password=PASSWORD)
        jobs = [make_draft(folder, browser) for _ in range(DRAFTS)]
        time.sleep(SETTLE_SECONDS)
        measure(site, f"{FINISHED:,} finished jobs, {DRAFTS} drafts, nothing running", seconds)
        for job in jobs:
            plan = browser.get(f"/jobs/{job}/confirm/").partition('name="plan_sha256" value="')[2]
            browser.post(f"/jobs/{job}/confirm/", plan_sha256=plan.partition('"')[0])
        time.sleep(SETTLE_SECONDS)
        measure(site, f"{DRAFTS} jobs wait for the provider", seconds)
    finally:
        site.close()
        provider.terminate()
        provider.wait()


def make_draft(folder: Path, browser: Browser) -> int:
    source = folder / "reviews.csv"
    make_csv(source, 50)
    job = int(browser.upload("/jobs/new/", source).strip("/").split("/")[-1])
    wait_for(lambda: "plan_sha256" in browser.get(f"/jobs/{job}/") or has_form(browser, job), "it")
    recipe = {"model": "claude-haiku-5-5", "max_tokens": "200", "system": ""}
    browser.post(f"/jobs/{job}/recipe/", f"/jobs/{job}/", prompt=PROMPT + "{{review}}", **recipe)
    wait_for(lambda: "plan_sha256" in browser.get(f"/jobs/{job}/confirm/"), "its price")
    return job


def has_form(browser: Browser, job: int) -> bool:
    return 'name="prompt"' in browser.get(f"/jobs/{job}/")


def main() -> None:
    given = [one.partition("=")[2] for one in sys.argv[1:] if one.startswith("--seconds=")]
    with tempfile.TemporaryDirectory(prefix="batchsite-bench-") as scratch:
        run(Path(scratch), float(given[0]) if given else 60)


if __name__ == "__main__":
    main()
