"""`manage.py upgrade`: a database of an old version comes up to date with what runs in it, or is as
it was before: when a migration fails midway, when the check finds something, after kill -9."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from batchsite import __version__

from ..models.test_migrations import OldSite, old_site
from .test_restores import BEFORE, Machine, make_database, remove_database

__all__ = ["old_site"]

# A migration in the middle of those that are applied, after which others come.
MIDDLE = """
import sys
from importlib import import_module
from django.core.management import call_command
from django.db import migrations
sys.argv = ["manage.py", "upgrade"]
def step(apps, schema_editor):
    {what}
migration = import_module("jobs.migrations.0051_retention").Migration
migration.operations = [*migration.operations, migrations.RunPython(step)]
try:
    call_command("upgrade", {folder!r})
except Exception as error:
    import pathlib
    pathlib.Path({said!r}).write_text(str(error))
"""
FAILS = 'raise ValueError("12 Elm Street")'
LOSES_ROWS = 'apps.get_model("jobs", "Row").objects.filter(number=1).delete()'
IS_KILLED = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
FACTS = (
    "SELECT count(*) FROM jobs_row",
    "SELECT count(*) FROM jobs_batch",
    "SELECT state FROM jobs_job ORDER BY id",
    "SELECT upload_sha256 FROM jobs_job ORDER BY id",
    "SELECT cost_pico FROM jobs_row ORDER BY id",
    "SELECT name FROM django_migrations ORDER BY app, name",
)


def facts(machine: Machine) -> list[list[object]]:
    return [machine.query(query) for query in FACTS]


def schema(machine: Machine) -> list[object]:
    if machine.database:
        return machine.query(
            "SELECT table_name || '.' || column_name FROM information_schema.columns"
            " WHERE table_schema = 'public' AND table_name NOT LIKE 'huey%' ORDER BY 1"
        )
    return machine.query("SELECT sql FROM sqlite_master ORDER BY name")


def upgrade_with(site: OldSite, what: str) -> str:
    """What the upgrade says that has `what` as one of its steps; "" if it is killed."""
    said = site.folder / "said"
    said.unlink(missing_ok=True)
    folder = str(site.folder / "backups")
    site.machine.script(MIDDLE.format(what=what, folder=folder, said=str(said)))
    return said.read_text() if said.exists() else ""


def test_an_old_site_is_upgraded_and_what_runs_goes_on(old_site: OldSite) -> None:
    """From a version whose migrations were not squashed, past all versions between."""
    said = old_site.machine.manage("upgrade", old_site.folder / "backups", "--json")
    told = json.loads(said)
    assert told["after"] == __version__ and told["migrations"] > 5
    assert (Path(told["backup"]) / "manifest.json").exists()
    assert old_site.facts()["jobs"] == old_site.before["jobs"], "no state, row or sum has changed"
    machine = old_site.machine
    assert machine.query("SELECT version FROM jobs_installation") == [__version__]
    assert machine.query("SELECT folder FROM jobs_lastbackup") == [told["backup"]]
    assert "site_upgraded" in machine.query("SELECT event FROM jobs_auditentry")
    assert not (machine.data / "upgrade.unfinished").exists()

    sent = old_site.provider.truth()["accepted_rows"]
    old_site.go_on()
    assert old_site.provider.truth()["accepted_rows"] == sent + 12 + 1, "nothing was sent twice"
    again = machine.manage("upgrade", old_site.folder / "backups")
    assert "up to date" in again and len(list((old_site.folder / "backups").iterdir())) == 1


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (FAILS, "ValueError: (its text is left out: it may quote a cell)"),
        (LOSES_ROWS, "rows, and there are"),
    ],
)
def test_what_goes_wrong_leaves_the_database_as_it_was(
    old_site: OldSite, what: str, words: str
) -> None:
    machine = old_site.machine
    before, tables = facts(machine), schema(machine)
    said = upgrade_with(old_site, what)

    assert "The upgrade failed, and the database is as it was before." in said
    assert words in said and "Elm Street" not in said
    assert facts(machine) == before and schema(machine) == tables
    assert not (machine.data / "upgrade.unfinished").exists()
    if not machine.database:
        (aside,) = machine.data.glob("failed-upgrade-*")
        with closing(sqlite3.connect(aside / "batchsite.sqlite3")) as failed:
            assert failed.execute("SELECT count(*) FROM jobs_job").fetchone()[0]
    # What was in the way is fixed.
    machine.manage("upgrade", old_site.folder / "backups")
    assert old_site.facts()["jobs"] == old_site.before["jobs"]


def test_one_that_is_killed_is_finished_by_the_next_and_nothing_starts_before(
    old_site: OldSite,
) -> None:
    machine = old_site.machine
    assert upgrade_with(old_site, IS_KILLED) == ""
    assert "An upgrade was interrupted" in machine.manage("job", "list", status=1)
    machine.manage("upgrade", old_site.folder / "backups")
    assert old_site.facts()["jobs"] == old_site.before["jobs"]
    assert len(list((old_site.folder / "backups").iterdir())) == 1, "the backup is from before"


def change(machine: Machine, text: str) -> None:
    if machine.database:
        with psycopg.connect(machine.database) as server:
            server.execute(text.encode())
    else:
        with closing(sqlite3.connect(machine.data / "batchsite.sqlite3")) as file:
            file.execute(text)
            file.commit()


@pytest.mark.parametrize("went_back", [False, True])
def test_an_old_mark_never_brings_back_an_old_database(old_site: OldSite, went_back: bool) -> None:
    """An upgrade was killed, and the old version, which does not know of its mark, ran on."""
    machine, backups = old_site.machine, old_site.folder / "backups"
    assert upgrade_with(old_site, IS_KILLED) == ""
    mark = machine.data / "upgrade.unfinished"
    if went_back:
        mark.write_text(json.dumps({**json.loads(mark.read_text()), "goes_back": "a fault"}))
    for text in (
        "UPDATE jobs_heartbeat SET tick_at = '2031-01-01 00:00:00+00:00'",
        "UPDATE jobs_row SET answer = 'newer' WHERE number = 1",
        "DELETE FROM jobs_row WHERE number = 2",
    ):
        change(machine, text)
    before = facts(machine)

    said = machine.manage("upgrade", backups, status=1)
    assert "Nothing was changed. An upgrade was interrupted" in said
    assert "the site has run since then" in said and str(mark) in said
    assert facts(machine) == before and mark.exists()
    mark.unlink()
    machine.manage("upgrade", backups)
    answers = machine.query("SELECT DISTINCT answer FROM jobs_row WHERE number = 1")
    assert answers == ["newer"] and len(list(backups.iterdir())) == 2


def test_a_database_that_is_missing_is_not_made_anew(tmp_path: Path) -> None:
    if os.environ["DATABASE_URL"]:
        pytest.skip("several machines begin with an upgrade of an empty database")
    machine = Machine(tmp_path / "site", "")
    machine.data.mkdir()
    said = machine.manage("upgrade", tmp_path / "b", status=1)
    assert "Nothing was changed. There is no database at" in said and "Check DATA_DIR" in said
    assert not (machine.data / "batchsite.sqlite3").exists()
    # Nor when somebody has looked into it, which makes an empty file.
    (machine.data / "batchsite.sqlite3").touch()
    assert "There is no database" in machine.manage("upgrade", tmp_path / "b", status=1)


@pytest.fixture
def new_site(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path / "site", make_database())
    machine.data.mkdir()
    yield machine
    remove_database(machine.database)


SET_UP = "from jobs.management.commands import serve; serve.set_up()"


def test_a_first_start_that_was_interrupted_goes_on(new_site: Machine) -> None:
    new_site.manage("migrate", "jobs", "0044", "--verbosity", "0")
    assert new_site.script(SET_UP) == 0
    assert new_site.query("SELECT version FROM jobs_installation") == [__version__]
    pending = "from jobs.models import versions; assert not versions.pending()"
    assert new_site.script(pending) == 0


def test_a_start_leaves_migrations_of_libraries_to_the_upgrade(new_site: Machine) -> None:
    new_site.script(BEFORE)
    change(new_site, "DROP TABLE axes_accessattemptexpiration")
    change(new_site, "DELETE FROM django_migrations WHERE app = 'axes' AND name LIKE '0010%'")
    assert "is of an older version" in new_site.manage("serve", status=1)
    told = json.loads(new_site.manage("upgrade", new_site.data / "b", "--json"))
    assert told["migrations"] == 1 and told["backup"]
    assert new_site.script(SET_UP) == 0


def test_nothing_is_upgraded_while_the_site_runs_or_by_an_older_version(
    old_site: OldSite, tmp_path: Path
) -> None:
    machine = old_site.machine
    machine.manage("upgrade", tmp_path / "b")
    shutil.rmtree(tmp_path / "b")
    machine.script(
        "from jobs.models import Installation",
        "from django.db import connection",
        "from django.db.migrations.recorder import MigrationRecorder",
        "MigrationRecorder(connection).record_applied('jobs', '9999_later')",
        "Installation.objects.update(version='9.0.0')",
    )
    said = machine.manage("upgrade", tmp_path / "b", status=1)
    assert "Nothing was changed. The database was upgraded to batchsite 9.0.0" in said
    for command in (("serve",), ("run_huey",)):
        ended = machine.manage(*command, status=1)
        assert "9.0.0" in ended, command
    assert not (tmp_path / "b").exists()
