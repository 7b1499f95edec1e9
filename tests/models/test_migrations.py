"""A site of release 0.1.0 is upgraded on both databases, and everything in it continues: what
runs ends, what was priced can be sent, what failed can be retried, and every sum is as it was."""

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
from ..database_schema import schema
from ..worker.test_restores import Machine, make_database, remove_database

HERE = Path(__file__).resolve().parent.parent / "data" / "old_sites"


class OldSite:
    def __init__(self, folder: Path, provider: Simulator, facts: dict[str, Any]) -> None:
        self.folder, self.provider, self.before = folder, provider, facts
        # "ask", as it was there: however long this takes, people are waited for.
        values = {"ANTHROPIC_API_KEY": "", "RECONCILE_RESUBMIT": "ask"}
        self.machine = Machine(folder / "data", make_database(), **values)

    def run(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What is there after the upgrade, and when everything has gone on."""
        status = self.machine.script(
            "from tests.first_release import *",
            f"settings.ANTHROPIC_BASE_URL = {self.provider.url!r}",
            f"folder, session = Path({str(self.folder)!r}), {self.before['session']!r}",
            "come_up_to_date(folder / 'backups')",
            "check_stored()",
            "visit(session)",
            "(folder / 'found.json').write_text(json.dumps(facts()))",
            "go_on()",
            "compare_files()",
            "(folder / 'after.json').write_text(json.dumps(facts()))",
        )
        assert status == 0
        found, after = (
            json.loads((self.folder / f"{name}.json").read_text()) for name in ("found", "after")
        )
        return found, after


@pytest.fixture
def old_site(tmp_path: Path) -> Iterator[OldSite]:
    """As it was left, but for the time that has passed since."""
    kind = "postgresql" if os.environ["DATABASE_URL"] else "sqlite"
    with tarfile.open(HERE / f"{kind}.tar.xz") as file:
        file.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11.2 has none
        file.extractall(tmp_path)  # noqa: S202 - ours
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
            " WHERE data_type LIKE 'timestamp%'"
            " AND (table_name LIKE 'jobs_%' OR table_name = 'django_session')"
        ).fetchall()
        for table, column in times:
            change = f"{column} = {column} + make_interval(secs => {passed})"
            server.execute(f"UPDATE {table} SET {change}".encode())  # noqa: S608 - names of ours


def _let_pass(path: Path, passed: int) -> None:
    with closing(sqlite3.connect(path)) as file:
        tables = file.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            for column in file.execute(f"PRAGMA table_info({table})").fetchall():
                if column[2] == "datetime" and table.startswith(("jobs_", "django_session")):
                    later = f"strftime('%Y-%m-%d %H:%M:%f', {column[1]}, '+{passed} seconds')"
                    file.execute(f"UPDATE {table} SET {column[1]} = {later}")  # noqa: S608 - ours
        file.commit()


def as_stored_then(job: dict[str, Any], then: dict[str, Any]) -> dict[str, Any]:
    """A job with what the old version had in its tally, but for the times, which _let_pass moves,
    and for rows that can never be sent, which it counted as part of a round."""
    tally = {key: job["tally"][key] for key in then["tally"]}
    for number, group in enumerate(groups := list(tally.get("groups", ()))):
        rounds = {} if group["cause"] == "left_out" else group["rounds"]
        groups[number] = {**group, "first": None, "last": None, "rounds": rounds}
    return {**job, "tally": {**tally, "groups": groups}}


def query(text: str) -> list[object]:
    """The first column of what a query finds in a new database."""
    with connection.cursor() as cursor:
        cursor.execute(text)
        return [row[0] for row in cursor.fetchall()]


@pytest.mark.django_db
def test_a_site_of_the_first_release_comes_up_to_date_and_everything_goes_on(
    old_site: OldSite,
) -> None:
    """Past all versions between, in one upgrade, which finds nothing wrong. Its tables are then as
    those of a new site."""
    before, sent = old_site.before, old_site.provider.truth()["accepted_rows"]
    found, after = old_site.run()
    is_postgresql = connection.vendor == "postgresql"
    assert schema(old_site.machine.query, is_postgresql) == schema(query, is_postgresql)

    assert found["jobs"].keys() == before["jobs"].keys()
    # Nobody sees its receipt any more.
    before["jobs"]["doomed"]["charged"] = found["jobs"]["doomed"]["charged"] = "0"
    for name, then in before["jobs"].items():
        now = as_stored_then(found["jobs"][name], then)
        assert now == as_stored_then(then, then), f"no state, row or sum of {name} has changed"
    for what in ("past", "attempts", "trials", "late"):
        assert found[what] == before[what], what
    assert found["past"] > 0

    jobs = after["jobs"]
    for name in ("running", "sending", "draft", "blocked", "asked"):
        assert {row[1] for row in jobs[name]["rows"]} == {"good"}, name
        assert jobs[name]["spent_pico"] > 0 == jobs[name]["reserved_pico"], name
    changed = {row[0]: row for row in jobs["changing"]["rows"]}
    assert [changed[number][1] for number in (1, 2, 3)] == ["good", "left_out", "left_out"]
    # Seven of `sending`, two that were refused, five of which nobody knew, twelve of the draft,
    # one of `requests`; of `finished` two that may pass, and the first of two that were edited,
    # because these were asked differently before.
    now_sent = old_site.provider.truth()["accepted_rows"] - sent
    assert now_sent == 7 + 2 + 5 + 12 + 1 + 2 + 1, "nothing was sent twice"
    for name in ("columns", "more", "imported", "stopped", "late", "asked too"):
        assert jobs[name] == found["jobs"][name], name
    doomed = before["jobs"]["doomed"]["spent_pico"]
    assert after["past"] == before["past"] + doomed, "what it cost is remembered"


@pytest.mark.django_db
def test_a_new_database_begins_with_one_step_for_all_that_were_squashed() -> None:
    """And comes to the very same models as one that goes through all steps of before."""
    squashed = MigrationLoader(connection)
    one_by_one = MigrationLoader(connection, replace_migrations=False)
    ((_app, first),) = squashed.graph.root_nodes("jobs")
    assert first.startswith("0001_squashed")
    steps = [key for key in one_by_one.graph.leaf_nodes() if key != ("jobs", first)]
    through, at_once = one_by_one.project_state(steps), squashed.project_state()
    assert MigrationAutodetector(through, at_once).changes(squashed.graph) == {}
    assert MigrationAutodetector(at_once, through).changes(squashed.graph) == {}
