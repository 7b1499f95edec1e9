"""How long each view of a job's rows takes, asked for as a browser would: `make bench` measures it
for a finished job of 100,000 rows, `make bench ARGS=--million` for one of 1,000,000, too. The rows
are written into the database at once, as the collection leaves them.

A view that says "up to a bound" looks for what is in no index, and stops when its time is up.
"""

from __future__ import annotations

import json
import os
import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import django

from .bench import ENDINGS, MIDDLES, OPENINGS
from .environment import clean_environment

if TYPE_CHECKING:
    from django.test import Client

TIMES = 9
LABELS = ("happy", "cross", "neither", "seldom")
WORDS = [*OPENINGS, *MIDDLES, *ENDINGS, "Größe und Gewicht passen"]
# Of each row that is not good: how often, in a million.
FAILURES = {
    ("look", "cut_off"): 20_000,
    ("look", "not_in_form"): 10_000,
    ("errored", "overloaded_error"): 5_000,
    ("errored", "invalid_request_error"): 1_000,
    ("expired", "expired"): 10_000,
    ("left_out", "left_out"): 500,
}


def rows_of(job: int, count: int) -> Iterator[tuple[str | int, ...]]:
    """Rows of about 460 bytes of cells, as the collection leaves them, in the order of COLUMNS."""
    chance = random.Random(20)
    kinds = [*FAILURES, ("good", "")]
    weights = [*FAILURES.values(), 1_000_000 - sum(FAILURES.values())]
    models = ["claude-haiku-5-5"] * 999 + ["claude-sonnet-5-5"]
    for number in range(1, count + 1):
        (outcome, cause), *_ = chance.choices(kinds, weights)
        cells = [str(number), f"Product {number % 999}", " ".join(chance.choices(WORDS, k=15)), "5"]
        source = json.dumps(cells, ensure_ascii=False)
        answered = outcome in ("good", "look")
        tokens = int(chance.lognormvariate(4, 0.5)) if answered else 0
        label = LABELS[3] if number % 9_999 == 0 else LABELS[number % 3]
        answer = label if outcome == "good" else "Well, I would say" if answered else ""
        message = "Overloaded" if outcome == "errored" else ""
        model = models[number % 1_000] if answered else ""
        texts: list[str | int] = [
            outcome,
            cause,
            answer,
            message,
            "req",
            model,
            "end_turn",
            source,
            "",
            len(source),
        ]
        yield (job, number, number + 1, *texts, 120 if answered else 0, tokens, tokens * 2_500_000)


COLUMNS = (
    "job_id, number, line, outcome, cause, answer, message, request_id, answered_by, stop_reason,"
    " source, problem, size, input_tokens, output_tokens, cost_pico,"
    " cache_write_tokens, cache_read_tokens, thinking_tokens, attempts"
)


def store(count: int) -> int:
    """A finished job with so many rows; its id."""
    from django.contrib.auth.models import User
    from django.db import connection, transaction

    from jobs.ingest.protocol import FileFacts
    from jobs.models import Job
    from jobs.rules.answer_formats import AnswerKind
    from jobs.rules.price_estimates import Estimate
    from jobs.rules.recipes import Recipe
    from jobs.worker import tally

    owner = User.objects.first() or User.objects.create_superuser("bench")
    one = Decimal(1)
    job = Job.objects.create(
        owner=owner,
        name="bench",
        state=Job.State.FINISHED,
        practice=True,  # as the site is
        columns=["id", "product", "review", "stars"],
        upload_name="reviews.csv",
        upload_file=f"bench-{count}",
        upload_bytes=1,
        reading=FileFacts(column_bytes=[count] * 4, text_bytes=4 * count, longest_row=1),
        row_count=count,
        recipe=Recipe(
            "Sort this: {{review}}",
            model="claude-haiku-5-5",
            answer=AnswerKind("labels", tuple(LABELS)),
        ),
        next_action_at=None,
        estimate=Estimate("", one, one, one, one, one, 1, 1, 1, 1, rows=count, counted=0),
    )
    places = ", ".join(["%s"] * 16)
    insert = f"INSERT INTO jobs_row ({COLUMNS}) VALUES ({places}, 0, 0, 0, 0)"  # noqa: S608 - ours
    with transaction.atomic(), connection.cursor() as cursor:
        slice_: list[tuple[str | int, ...]] = []
        for row in rows_of(job.pk, count):
            slice_.append(row)
            if len(slice_) == 5_000:
                cursor.executemany(insert, slice_)
                slice_ = []
        cursor.executemany(insert, slice_)
    tally.count_up(job)
    return job.pk


VIEWS = {
    "first page": "",
    "last page": "?to=end",
    "in the middle": "?from={middle}",
    "need attention": "?outcome=attention",
    "need attention, last page": "?outcome=attention&to=end",
    "good": "?outcome=good",
    "good, last page": "?outcome=good&to=end",
    "one cause": "?cause=cut_off",
    "no row like that": "?outcome=canceled",
    "label, many": "?label=happy",
    "label, few": "?label=seldom",
    "label, few, by cost": "?label=seldom&sort=-cost",
    "model, few": "?model=claude-sonnet-5-5",
    "dearest first": "?sort=-cost",
    "cheapest first, last page": "?sort=cost&to=end",
    "longest first": "?sort=-output",
    "attention, longest first": "?sort=-output&outcome=attention",
    "by cause": "?sort=cause",
    "by cause, last page": "?sort=cause&to=end",
    "search, many hits": "?q=recommend",
    "search, no hit": "?q=zzzzzz",
    "search, no hit, umlaut": "?q=%C3%84zzzz",
    "search, no hit, last page": "?q=zzzzzz&to=end",
    "search, no hit, by cost": "?q=zzzzzz&sort=-cost",
    "search among attention": "?q=zzzzzz&outcome=attention",
    "row": "{middle}/",
    "row among attention": "{middle}/?outcome=attention&sort=-cost",
    "row in a search, no hit": "{middle}/?q=zzzzzz",
    "what needs attention": "/problems/",
    "sending one cause again": "/problems/retry/?which=overloaded_error",
    "the job": "/",
}


# What is searched for, of the words that rows_of writes.
SEARCHES = {
    "rare": "product 77",
    "in one row": "{middle}",
    "frequent": "recommend",
    "no hit": "zzzzzz",
    "no hit, frequent letters": "recommended nobody",
    "two words": "too small. arrived",
    "two letters": "ob",
}
SEARCHED_TIMES = 50


def show_search(client: Client, job: int, size: int) -> None:
    """What it takes to index the rows for the search, and how long a search takes then."""
    from jobs.models import SearchIndex, clock, files
    from jobs.worker import search_building

    SearchIndex.objects.filter(job=job).update(due_at=clock.now())
    used, began = most_memory(), time.monotonic()
    cpu = time.process_time()
    while search_building.has_due():
        search_building.look()
    took, cpu = time.monotonic() - began, time.process_time() - cpu
    paths = list(files.search_files(job))
    if not paths:
        return  # the job is too small
    stored = sum(path.stat().st_size for path in paths)
    print(
        f"  index of {size:,} rows: {took:.0f} s with its pauses, {cpu:.0f} s of CPU,"
        f" {stored / 1e6:.1f} MB in {len(paths)} files,"
        f" {(most_memory() - used) / 1e6:.0f} MB more memory at most"
    )
    print(f"  95th percentile of {SEARCHED_TIMES}, the longest, CPU of each, and the memory")
    for name, words in SEARCHES.items():
        times, cpu = [], time.process_time()
        for _ in range(SEARCHED_TIMES):
            began = time.monotonic()
            asked = {"q": words.format(middle=size // 2)}
            answer = client.get(f"/jobs/{job}/rows/", asked)
            times.append((time.monotonic() - began) * 1000)
        cpu = (time.process_time() - cpu) * 1000 / SEARCHED_TIMES
        slowest = statistics.quantiles(times, n=20)[-1]
        bound = ", up to a bound" if b"ooked through" in answer.content else ""
        rows = answer.content.count(b'class="cell-outcome"')
        print(
            f"  {name:<28}{slowest:>9,.1f} {max(times):>9,.1f} ms{cpu:>9,.1f} ms{bound},"
            f" {rows} rows shown, {most_memory() / 1e6:.0f} MB"
        )


def most_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    sizes = [100_000, 1_000_000] if "--million" in sys.argv else [100_000]
    if "--quick" in sys.argv:
        sizes = [10_000]
    database = os.environ.get("DATABASE_URL", "")
    with tempfile.TemporaryDirectory(prefix="batchsite-bench-") as scratch:
        environment = clean_environment(Path(scratch), DATABASE_URL=database)
        os.environ.clear()
        os.environ.update(environment, DJANGO_SETTINGS_MODULE="batchsite.settings")
        django.setup()
        for size in sizes:
            measure(size)


def measure(size: int) -> None:
    from django.conf import settings
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.db import connection
    from django.test import Client

    settings.ALLOWED_HOSTS = ["testserver"]
    storage = "django.contrib.staticfiles.storage.StaticFilesStorage"
    settings.STORAGES["staticfiles"] = {"BACKEND": storage}
    settings.STATIC_ROOT.mkdir(exist_ok=True)
    call_command("migrate", verbosity=0)
    job = store(size)
    print(f"\nThe rows of a job of {size:,}, {connection.vendor}: median and longest of {TIMES}")
    client = Client()
    client.force_login(User.objects.get())
    client.get(f"/jobs/{job}/rows/")  # what only the first request of a process has to do
    show_search(client, job, size)
    for name, path in VIEWS.items():
        times = []
        for _ in range(TIMES):
            began = time.monotonic()
            address = path if path.startswith("/") else f"/rows/{path}"
            answer = client.get(f"/jobs/{job}{address.format(middle=size // 2)}")
            times.append((time.monotonic() - began) * 1000)
            assert answer.status_code == 200, path
        bound = ", up to a bound" if b"ooked through" in answer.content else ""
        print(f"  {name:<28}{statistics.median(times):>9,.1f} {max(times):>9,.1f} ms{bound}")


if __name__ == "__main__":
    main()
