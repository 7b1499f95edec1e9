"""`make bench ARGS=--growth`: whether time and memory grow as the rows do. The whole way from the
upload to the joined CSV at 10,000, 100,000 and 1,000,000 rows, beside the plain script, each on a
site of its own; then four uploads of 500 MB at once. With `--picture` the results are drawn into
docs/images/growth.svg as well. The largest takes some minutes; `--rows 10000,100000` leaves it out.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .bench import Bench, check_joined, make_csv, run_plain, show_cpu, simulator
from .environment import ROOT
from .growth_picture import draw
from .running import SECONDS

SIZES = "10000,100000,1000000"
PICTURE = ROOT / "docs" / "images" / "growth.svg"
UPLOADS, UPLOAD_BYTES = 4, 500_000_000


@dataclass(frozen=True)
class Size:
    """What a job of so many rows takes: seconds of all processes' processor time, seconds on the
    clock, MB of memory at the most, and MB on disk when it is over: beside the upload the database,
    the results and the finished CSV file."""

    rows: int
    cpu: float
    seconds: float
    worker_mb: float
    web_mb: float
    disk_mb: float
    script_cpu: float
    script_seconds: float
    script_mb: float


def measure(rows: int) -> Size:
    with tempfile.TemporaryDirectory(prefix="batchsite-bench-") as scratch:
        folder = Path(scratch)
        source = folder / "rows.csv"
        make_csv(source, rows)
        with simulator(folder / "plain-provider") as provider:
            plain = run_plain(source, folder / "plain.jsonl", provider)
        with simulator(folder / "provider") as provider:
            bench = Bench(folder, provider)
            try:
                run = bench.run(source)
                check_joined(source, folder / "joined.csv")
                web, worker = bench.peaks()
                disk = megabytes_in(folder / "data")
            finally:
                bench.site.close()
        show_cpu(run.cpu, plain["cpu"])
    script = plain["cpu"]["all"], plain["all"], plain["peak_mb"]
    return Size(rows, run.cpu["all"], run.seconds["all"], worker, web, disk, *script)


def megabytes_in(folder: Path) -> float:
    """Without what is given up when the disk is full."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "ballast"]
    return sum(path.stat().st_size for path in files) / 1e6


def upload(bench: Bench, source: Path) -> None:
    """Upload a file, again and again while others of this person take all places."""
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            bench.browser.upload("/jobs/new/", source)
        except (OSError, AssertionError):
            assert time.monotonic() < deadline, "it was never taken"
            time.sleep(0.2)
        else:
            return


def upload_at_once() -> float:
    """MB that the largest web process takes at the most with several large uploads at once."""
    with tempfile.TemporaryDirectory(prefix="batchsite-bench-") as scratch:
        folder = Path(scratch)
        source = folder / "large.csv"
        with source.open("wb") as file:
            file.write(b"id,text\n")
            line = b"1," + b"The sound is clear and loud. " * 15 + b"\n"
            file.writelines(line for _ in range(UPLOAD_BYTES // len(line)))
        bench = Bench(folder, "http://127.0.0.1:9")
        try:
            with ThreadPoolExecutor(UPLOADS) as threads:
                list(threads.map(partial(upload, bench), [source] * UPLOADS))
            return bench.peaks()[0]
        finally:
            bench.site.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--growth", action="store_true")
    parser.add_argument("--picture", action="store_true")
    parser.add_argument("--uploads-only", action="store_true")
    parser.add_argument("--rows", default=SIZES)
    chosen, _others = parser.parse_known_args()
    if not chosen.growth:
        return
    if not chosen.uploads_only:
        sizes = [measure(int(rows)) for rows in chosen.rows.split(",")]
        print(f"\n{'rows':>12}{'CPU s':>9}{'a 100k':>9}{'clock s':>9}{'a 100k':>9}", end="")
        print(f"{'worker':>9}{'web':>7}{'disk':>8}  | script: CPU a 100k, clock a 100k, MB")
        for size in sizes:
            times = size.rows / 100_000
            print(
                f"{size.rows:>12,}{size.cpu:>9.1f}{size.cpu / times:>9.1f}{size.seconds:>9.1f}"
                f"{size.seconds / times:>9.1f}{size.worker_mb:>9.0f}{size.web_mb:>7.0f}"
                f"{size.disk_mb:>8.0f}  | "
                f"{size.script_cpu / times:.1f}, {size.script_seconds / times:.1f}, "
                f"{size.script_mb:.0f}"
            )
        if chosen.picture:
            lines = {
                "batchsite": [(size.rows, size.cpu, size.worker_mb) for size in sizes],
                "script": [(size.rows, size.script_cpu, size.script_mb) for size in sizes],
            }
            PICTURE.write_text(draw(lines))
            print(f"Drew {PICTURE.relative_to(ROOT)}.")
    print(f"\nWeb with {UPLOADS} uploads of 500 MB at once: {upload_at_once():.0f} MB")


if __name__ == "__main__":
    main()
