"""How long the site takes to answer for each page: the 95th percentile of 50 requests, with a job
of 100,000 rows (ARGS=--million: of 1,000,000, too) among 1,000 finished ones. `make bench` shows
it. A page may take 100 ms, and 300 ms with 1,000,000 rows; what takes longer is marked.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import django

from .bench_clicks import failed_job, sizes
from .bench_rows import VIEWS
from .environment import clean_environment

if TYPE_CHECKING:
    from django.test import Client

TIMES, OTHERS = 50, 1_000
MOST_MS = {100_000: 100, 1_000_000: 300}
PARTS = ("/status/", "/price/")  # of pages, asked for by a script
OF_SITE = [
    "/",
    "/?q=bench",
    "/?state=finished",
    "/jobs/new/",
    "/jobs/new/?paste",
    "/jobs/import/",
    "/trash/",
    "/templates/",
    "/spending/",
    "/spending/limits/",
    "/spending/prices/",
    "/spending/key/",
    "/people/",
    "/people/1/",
    "/teams/",
    "/teams/new/",
    "/audit/",
    "/system/",
    "/retention/",
    "/notifications/",
    "/notifications/bell/",
    "/account/notifications/",
    "/account/notifications/add/",
    "/password/",
    "/help/",
    "/help/?q=rows",
    "/help/using/files/",
    "/examples/reviews/",
    "/healthz",
    "/readyz",
]
OF_JOB = [
    "/",
    "/status/",
    "/?tab=problems",
    "/?tab=cost",
    "/?tab=details",
    "/problems/",
    "/problems/edits/",
    "/problems/overloaded_error/ignore/",
    "/rows/{middle}/edit/",
    "/receipt/",
    "/share/",
    "/delete/",
    "/review/",
    "/review/counts/",
    "/next/",
    "/accuracy/",
    "/accuracy/write/",
    "/save-as-template/",
    "/tests/",
]
OF_DRAFT = [
    "/",
    "/status/",
    "/price/",
    "/choose-rows/",
    "/tests/",
    "/tests/versions/",
    "/confirm/",
    "/improve/",
]


def measure(size: int) -> None:
    from django.contrib.auth.models import User
    from django.db import connection
    from django.test import Client

    from jobs.models import Job

    pk = failed_job(size)
    values = Job.objects.get(pk=pk)
    made_at = values.created_at
    if Job.objects.count() < OTHERS:
        Job.objects.bulk_create(
            Job(
                owner=values.owner,
                name=f"bench {number}",
                state=Job.State.FINISHED,
                practice=True,
                upload_name="reviews.csv",
                upload_file=f"other-{number}",
                upload_bytes=1,
                columns=values.columns,
                recipe=values.recipe,
                tally=values.tally,
                spent_pico=values.spent_pico,
                estimate=values.estimate,
                row_count=size,
                next_action_at=None,
                confirmed_at=made_at,
                finished_at=made_at,
            )
            for number in range(OTHERS)
        )
    client = Client()
    client.force_login(User.objects.get())
    print(f"\nPages with a job of {size:,} rows, {connection.vendor}: 95th percentile of {TIMES}")
    for path in OF_SITE:
        show(client, path, size)
    for path in [*OF_JOB, *(f"/rows/{view}" for view in VIEWS.values() if view[:1] != "/")]:
        show(client, f"/jobs/{pk}{path.format(middle=size // 2)}", size)
    Job.objects.filter(pk=pk).update(state=Job.State.DRAFT, confirmed_at=None, finished_at=None)
    for path in OF_DRAFT:
        show(client, f"/jobs/{pk}{path}", size)
    Job.objects.filter(pk=pk).update(state=Job.State.FINISHED, confirmed_at=made_at)


def show(client: Client, path: str, size: int) -> None:
    times, cpu = [], time.process_time()
    headers = {"HX-Request": "true"} if path.endswith(PARTS) else {}
    client.get(path, headers=headers)  # what only the first request of a process has to do
    for _ in range(TIMES):
        began = time.monotonic()
        answer = client.get(path, headers=headers)
        times.append((time.monotonic() - began) * 1000)
    cpu = (time.process_time() - cpu) * 1000 / (TIMES + 1)
    slowest = statistics.quantiles(times, n=20)[-1]
    mark = "  <-- slow" if slowest > MOST_MS.get(size, 100) else ""
    status = "" if answer.status_code == 200 else f"  {answer.status_code}"
    print(f"  {path:<52}{slowest:>9,.1f} ms{cpu:>9,.1f} ms of CPU{status}{mark}", flush=True)


def main() -> None:
    database = os.environ.get("DATABASE_URL", "")
    with tempfile.TemporaryDirectory(prefix="batchsite-bench-") as scratch:
        environment = clean_environment(Path(scratch), DATABASE_URL=database)
        os.environ.clear()
        os.environ.update(environment, DJANGO_SETTINGS_MODULE="batchsite.settings")
        django.setup()
        from django.conf import settings
        from django.core.management import call_command

        settings.ALLOWED_HOSTS = ["testserver"]
        storage = "django.contrib.staticfiles.storage.StaticFilesStorage"
        settings.STORAGES["staticfiles"] = {"BACKEND": storage}
        settings.STATIC_ROOT.mkdir(exist_ok=True)
        call_command("migrate", verbosity=0)
        for size in sizes():
            measure(size)


if __name__ == "__main__":
    main()
