"""A database of the last version whose migrations were not squashed comes up to date on both
databases, and everything in it goes on: what runs ends, what was priced can be sent, what failed
can be retried, and every sum is as it was."""

from __future__ import annotations

import json
import os
import sqlite3
import tarfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.loader import MigrationLoader

from ..conftest import Simulator
from ..worker.test_restores import Machine, make_database, remove_database

HERE = Path(__file__).resolve().parent.parent / "data" / "old_sites"

# What each job comes to, and what is allowed and kept besides. Written to the file `to`.
FACTS = """
import json, pathlib
from django.conf import settings
from django.db.models import TextField
from django.db.models.functions import Cast
from jobs.models import *
from jobs.spending import receipts
from jobs.worker import tally
def facts(to):
    # As the sweep does. What an older version has added up comes out the same.
    for job in Job.objects.filter(tally_version=COUNT_ANEW):
        assert tally.count_up(job)
    found = {"jobs": {}, "past": sum(one.spent_pico for one in PastSpending.objects.all())}
    for job in Job.objects.annotate(tally_text=Cast("tally", TextField())):
        rows = job.rows.in_order().values_list(
            "number", "outcome", "cause", "answer", "cost_pico", "attempts"
        )
        found["jobs"][job.name] = {
            "pk": job.pk, "state": job.state, "tally": json.loads(job.tally_text),
            "spent_pico": job.spent_pico, "reserved_pico": job.reserved_pico,
            "charged": str(receipts.receipt_of(job).charged),
            "rows": [list(row) for row in rows],
        }
    caps = SpendingCaps.get()
    found["caps"] = [
        str(caps.most_a_job), str(caps.most_a_person), str(caps.most_a_month),
        str(caps.approval_above), caps.stopped_at,
    ]
    found["set_up"] = Installation.get().set_up_at is not None
    found["prices"] = [one.model for one in PriceOverride.objects.all()]
    found["templates"] = [one.recipe.prompt for one in Template.objects.all()]
    found["sample"] = [[one.job.name, one.good] for one in SampledAnswer.objects.all()]
    found["trials"] = [
        [one.state, one.outcome, one.all_input_tokens, one.cost_pico]
        for one in Trial.objects.order_by("number")
    ]
    found["external"] = [
        [one.name, one.skipped_count, one.stray_count]
        for one in Job.objects.filter(is_external=True)
    ]
    found["problems"] = FileProblem.objects.count()
    found["awaiting"] = [one.name for one in Job.objects.awaiting_approval()]
    found["attempts"] = Attempt.objects.filter(cost_pico__gt=0).count()
    pathlib.Path(to).write_text(json.dumps(found))
"""
# Let the worker do its work, and a person confirm the draft and retry.
GO_ON = """
import time
from jobs.actions import retries, submissions
from jobs.retries import rounds, selection
from jobs.rules.retry_choices import RetryChoice
from jobs.drafts import estimates
from jobs.worker import housekeeping, sweep
def work(job, until):
    end = time.monotonic() + 600
    while not until(Job.objects.get(pk=job.pk)):
        assert time.monotonic() < end, list(job.events.values_list("text", flat=True))
        sweep.sweep()
        time.sleep(0.05)
def finish(job):
    work(job, lambda job: job.state == "finished")
job = Job.objects.get(name="running")
finish(job)
job = Job.objects.get(name="draft")
# A new version may work out other prices.
housekeeping.price_stale_drafts()
work(job, lambda job: job.plan_sha256 and estimates.current(job))
job.refresh_from_db()
assert submissions.confirm(job, job.plan_sha256, job.owner)
finish(job)
job = Job.objects.get(name="finished")
again = RetryChoice(selection.FOR_NOW)
plan = rounds.find_plan(job, again)
assert retries.confirm_retry(job, again, plan.key, job.owner)
finish(job)
"""


class OldSite:
    def __init__(self, folder: Path, provider: Simulator, facts: dict[str, Any]) -> None:
        self.folder, self.provider, self.before = folder, provider, facts
        self.machine = Machine(folder / "data", make_database(), ANTHROPIC_API_KEY="")

    def facts(self) -> dict[str, Any]:
        to = self.folder / "found.json"
        self.machine.script(FACTS, f"facts({str(to)!r})")
        found: dict[str, Any] = json.loads(to.read_text())
        return found

    def go_on(self) -> None:
        use = f"settings.ANTHROPIC_BASE_URL = {self.provider.url!r}"
        assert self.machine.script(FACTS, use, GO_ON) == 0


@pytest.fixture
def old_site(tmp_path: Path) -> Iterator[OldSite]:
    """As it was left, but for the time that has passed since."""
    kind = "postgresql" if os.environ["DATABASE_URL"] else "sqlite"
    with tarfile.open(HERE / f"{kind}.tar.xz") as file:
        file.extractall(tmp_path, filter="data")
    facts = json.loads((tmp_path / "facts.json").read_text())
    with closing(sqlite3.connect(tmp_path / "simulator" / "simulator.sqlite3")) as provider:
        (made_at,) = provider.execute("SELECT max(created_at) FROM batch").fetchone()
        passed = int(time.time()) - made_at // 1_000_000
        for column in ("created_at", "due_at", "ended_at"):
            provider.execute(f"UPDATE batch SET {column} = {column} + ?", [passed * 1_000_000])  # noqa: S608 - names of ours
        provider.execute("UPDATE batch SET due_at = ? WHERE ended_at IS NULL", [made_at])
        provider.commit()
    simulator = Simulator(tmp_path / "simulator", seconds=0, failures="none")
    site = OldSite(tmp_path, simulator, facts)
    if site.machine.database:
        _load(site.machine.database, (tmp_path / "dump.sql").read_text(), passed)
    else:
        (tmp_path / "batchsite.sqlite3").rename(tmp_path / "data" / "batchsite.sqlite3")
        _let_pass(tmp_path / "data" / "batchsite.sqlite3", passed)
    yield site
    simulator.stop()
    remove_database(site.machine.database)


def _load(database: str, dump: str, passed: int) -> None:
    with psycopg.connect(database, autocommit=True) as server:
        server.execute(dump.encode())
        server.execute("SET search_path TO public")
        times = server.execute(
            "SELECT table_name, column_name FROM information_schema.columns"
            " WHERE data_type LIKE 'timestamp%' AND table_name LIKE 'jobs_%'"
        ).fetchall()
        for table, column in times:
            change = f"{column} = {column} + make_interval(secs => {passed})"
            server.execute(f"UPDATE {table} SET {change}".encode())  # noqa: S608 - names of ours


def _let_pass(path: Path, passed: int) -> None:
    with closing(sqlite3.connect(path)) as file:
        tables = file.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            for column in file.execute(f"PRAGMA table_info({table})").fetchall():
                if column[2] == "datetime" and table.startswith("jobs_"):
                    later = f"strftime('%Y-%m-%d %H:%M:%f', {column[1]}, '+{passed} seconds')"
                    file.execute(f"UPDATE {table} SET {column[1]} = {later}")  # noqa: S608 - ours
        file.commit()


def as_stored_then(job: dict[str, Any], then: dict[str, Any]) -> dict[str, Any]:
    """A job with what the old version had in its tally, but for the times: _let_pass moves them."""
    tally = {key: job["tally"][key] for key in then["tally"]}
    for group in tally["groups"]:
        group |= {"first": None, "last": None}
    return {**job, "tally": tally}


def test_a_site_of_before_comes_up_to_date_and_everything_goes_on(old_site: OldSite) -> None:
    """Past all versions between, in one upgrade, which finds nothing wrong."""
    told = json.loads(old_site.machine.manage("upgrade", old_site.folder / "backups", "--json"))
    assert told["migrations"] > 5
    found = old_site.facts()
    assert {name: as_stored_then(job, job) for name, job in old_site.before["jobs"].items()} == {
        name: as_stored_then(job, old_site.before["jobs"][name])
        for name, job in found["jobs"].items()
    }, "no state, row or sum has changed"
    assert found["past"] == old_site.before["past"] > 0
    assert found["caps"] == ["50.00", "200.50", "1000.00", "20.00", None]
    assert found["set_up"] and found["prices"] == ["claude-haiku-9"]
    assert found["templates"] == ["Say: {{text}}"]
    assert found["sample"][0] == ["finished", False] and len(found["sample"]) == 2
    assert [one[:2] for one in found["trials"]] == [["answered", "good"]] * 3
    assert all(tokens and cost for _state, _outcome, tokens, cost in found["trials"])
    assert found["external"] == [["sent", 1, 1]] and found["problems"] == 1
    assert found["awaiting"] == ["ask"] and found["attempts"] == 2

    sent = old_site.provider.truth()["accepted_rows"]
    old_site.go_on()
    after = old_site.facts()["jobs"]
    assert {row[1] for row in after["running"]["rows"]} == {"good"}
    assert len(after["draft"]["rows"]) == 12 and {row[1] for row in after["draft"]["rows"]} == {
        "good"
    }
    assert not after["running"]["reserved_pico"] and after["running"]["spent_pico"] > 0
    retried = after["finished"]["rows"][4]
    assert retried[5] == 1, "what it came to before is kept as an attempt"
    assert old_site.provider.truth()["accepted_rows"] == sent + 12 + 1, "nothing was sent twice"
    for name in ("ask", "sent"):
        assert after[name] == found["jobs"][name]


@pytest.mark.django_db
def test_a_new_database_begins_with_one_step_for_all_that_were_squashed() -> None:
    """And comes to the very same tables as one that goes through all steps of before."""
    squashed = MigrationLoader(connection)
    whole = MigrationLoader(connection, replace_migrations=False)
    (last,) = [
        name for app, name in whole.graph.leaf_nodes() if app == "jobs" and "squashed" not in name
    ]
    ((_app, first),) = squashed.graph.root_nodes("jobs")
    ((_app, newest),) = squashed.graph.leaf_nodes("jobs")
    assert first.startswith("0001_squashed")
    through = whole.project_state([("jobs", last)])
    at_once = squashed.project_state([("jobs", newest)])
    assert MigrationAutodetector(through, at_once).changes(squashed.graph) == {}
    assert MigrationAutodetector(at_once, through).changes(squashed.graph) == {}
