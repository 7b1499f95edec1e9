"""`manage.py upgrade`: a database of an old version comes up to date with what runs in it, or is as
it was before: when a migration fails midway, when the check finds something, after kill -9. What an
upgrade changes, and what not: models/test_migrations.py."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from batchsite import __version__

from ..running import with_database
from .test_restores import (
    ADD_JOB,
    BEFORE,
    Machine,
    make_database,
    name_of,
    remove_database,
    up_to_date_database,
)

# The newest migration of the old version. What comes after it is quickly done, and how it came so
# far is nothing to an upgrade.
OLD = "0062_row_requests"
# Back to it from a new database, which has all in one step. The old version had squashed others.
GO_BACK = f"""
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
squashed = MigrationRecorder.Migration.objects.filter(name__startswith="0001_squashed")
squashed.update(name="0001_squashed_0041_problem_count")
executor = MigrationExecutor(connection)
executor.loader = MigrationLoader(connection, replace_migrations=False)
executor.migrate([("jobs", {OLD!r})])
"""
ROWS_AND_BATCH = """
from jobs.models import Batch
job = Job.objects.get()
for number in (2, 3):
    Row.objects.create(job=job, number=number, line=number, source="[]", size=1, cost_pico=number)
Batch.objects.create(job=job, number=1, nonce="n", size=3, body_bytes=1, practice=False)
"""
# A migration in the middle of those that are applied, after which another one comes.
MIDDLE = """
import sys
from importlib import import_module
from django.core.management import call_command
from django.db import migrations
sys.argv = ["manage.py", "upgrade"]
def step(apps, schema_editor):
    {what}
migration = import_module("jobs.migrations.0064_recent_jobs").Migration
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
# It looks for a worker elsewhere for a moment only.
AT_ONCE = """
from django.core.management import call_command
from jobs.worker import restores
restores.HEARTBEAT_SECONDS = 0.1
call_command("upgrade", {folder!r})
"""
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


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A site of an old version."""
    folder = tmp_path_factory.mktemp("template")
    machine = Machine(with_database(folder / "data"), up_to_date_database())
    machine.script(BEFORE, ADD_JOB, 'add("before")', ROWS_AND_BATCH, GO_BACK)
    yield machine
    remove_database(machine.database)


@pytest.fixture
def old_site(template: Machine, tmp_path: Path) -> Iterator[Machine]:
    """A copy of that site."""
    data = tmp_path / "old" / "data"
    shutil.copytree(template.data, data)
    database = template.database and make_database(name_of(template.database))
    yield Machine(data, database)
    remove_database(database)


def backups_of(machine: Machine) -> Path:
    return machine.data.parent / "backups"


def upgrade_with(machine: Machine, what: str) -> str:
    """What the upgrade says that has `what` as one of its steps; "" if it is killed."""
    said = machine.data.parent / "said"
    said.unlink(missing_ok=True)
    machine.script(MIDDLE.format(what=what, folder=str(backups_of(machine)), said=str(said)))
    return said.read_text() if said.exists() else ""


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (FAILS, "ValueError: (its text is left out: it may quote a cell)"),
        (LOSES_ROWS, "rows, and there are"),
    ],
)
def test_what_goes_wrong_leaves_the_database_as_it_was(
    old_site: Machine, what: str, words: str
) -> None:
    before, tables = facts(old_site), schema(old_site)
    said = upgrade_with(old_site, what)

    assert "The upgrade failed, and the database is as it was before." in said
    assert words in said and "Elm Street" not in said
    assert facts(old_site) == before and schema(old_site) == tables
    assert not (old_site.data / "upgrade.unfinished").exists()
    if not old_site.database:
        (aside,) = old_site.data.glob("failed-upgrade-*")
        with closing(sqlite3.connect(aside / "batchsite.sqlite3")) as failed:
            assert failed.execute("SELECT count(*) FROM jobs_job").fetchone()[0]
    # What was in the way is fixed.
    old_site.manage("upgrade", backups_of(old_site))
    assert facts(old_site)[:-1] == before[:-1]


def test_one_that_is_killed_is_finished_by_the_next_and_nothing_starts_before(
    old_site: Machine,
) -> None:
    before = facts(old_site)
    assert upgrade_with(old_site, IS_KILLED) == ""
    assert "An upgrade was interrupted" in old_site.manage("job", "list", status=1)
    old_site.manage("upgrade", backups_of(old_site))
    assert facts(old_site)[:-1] == before[:-1]
    assert len(list(backups_of(old_site).iterdir())) == 1, "the backup is from before"


# A step that is made when the process is killed, and is not noted yet.
IS_KILLED_UNNOTED = """
    from django.db.migrations.recorder import MigrationRecorder
    MigrationRecorder.record_applied = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    schema_editor.deferred_sql.append("CREATE TABLE jobs_unnoted (id integer)")
"""


def test_one_that_is_killed_between_a_step_and_its_note_is_finished_by_the_next(
    old_site: Machine,
) -> None:
    before = facts(old_site)
    assert upgrade_with(old_site, f"import os, signal{IS_KILLED_UNNOTED}") == ""
    assert old_site.query("SELECT count(*) FROM jobs_unnoted") == [0]
    old_site.manage("upgrade", backups_of(old_site))
    assert facts(old_site)[:-1] == before[:-1]
    assert not any("jobs_unnoted" in str(one) for one in schema(old_site))
    assert len(list(backups_of(old_site).iterdir())) == 1


def change(machine: Machine, text: str) -> None:
    if machine.database:
        with psycopg.connect(machine.database) as server:
            server.execute(text.encode())
    else:
        with closing(sqlite3.connect(machine.data / "batchsite.sqlite3")) as file:
            file.execute(text)
            file.commit()


def test_an_old_mark_never_brings_back_an_old_database(old_site: Machine) -> None:
    """An upgrade was killed, and the old version, which does not know of its mark, ran on."""
    machine, backups = old_site, backups_of(old_site)
    assert upgrade_with(machine, IS_KILLED) == ""
    mark = machine.data / "upgrade.unfinished"
    for text in (
        "UPDATE jobs_heartbeat SET tick_at = '2031-01-01 00:00:00+00:00'",
        "UPDATE jobs_row SET answer = 'newer' WHERE number = 1",
        "DELETE FROM jobs_row WHERE number = 2",
    ):
        change(machine, text)
    before = facts(machine)
    killed_in_the_migrations = mark.read_text()
    killed_on_the_way_back = {**json.loads(killed_in_the_migrations), "goes_back": "a fault"}
    for left in (killed_in_the_migrations, json.dumps(killed_on_the_way_back)):
        mark.write_text(left)
        said = machine.manage("upgrade", backups, status=1)
        assert "Nothing was changed. An upgrade was interrupted" in said
        assert "the site has run since then" in said and str(mark) in said
        assert facts(machine) == before and mark.exists()
    mark.unlink()
    machine.script(AT_ONCE.format(folder=str(backups)))
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


SET_UP = "from jobs.management.commands import serve; serve.set_up()"
KILLED_WHEN_NOTED = """
import os, signal
from django.db.migrations.recorder import MigrationRecorder
note = MigrationRecorder.record_applied
def note_or_die(recorder, app, name):
    if (app, name) == ("jobs", "0041_problem_count"):
        os.kill(os.getpid(), signal.SIGKILL)
    note(recorder, app, name)
MigrationRecorder.record_applied = note_or_die
"""


def test_a_first_start_that_was_killed_goes_on(tmp_path: Path) -> None:
    """All tables are there, and some of the steps that they stand for are noted."""
    site = Machine(tmp_path / "site", make_database())
    site.data.mkdir()
    assert site.script(KILLED_WHEN_NOTED, SET_UP) == -signal.SIGKILL
    assert site.script(SET_UP) == 0
    assert site.query("SELECT version FROM jobs_installation") == [__version__]
    remove_database(site.database)


@pytest.fixture
def new_site(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(with_database(tmp_path / "site"), up_to_date_database())
    machine.data.mkdir(exist_ok=True)
    yield machine
    remove_database(machine.database)


def test_a_new_site_needs_no_upgrade(tmp_path: Path) -> None:
    """It has no table that could be asked, and its first start makes them all."""
    machine = Machine(tmp_path / "site", make_database())
    asked = "versions.newest_applied(), versions.is_in_use(), bool(versions.pending())"
    is_new = f"assert ({asked}) == ('', False, True)"
    assert machine.script("from jobs.models import versions", is_new) == 0
    remove_database(machine.database)


def test_a_start_leaves_migrations_of_libraries_to_the_upgrade(new_site: Machine) -> None:
    new_site.script(BEFORE)
    change(new_site, "DROP TABLE axes_accessattemptexpiration")
    change(new_site, "DELETE FROM django_migrations WHERE app = 'axes' AND name LIKE '0010%'")
    assert "is of an older version" in new_site.manage("serve", status=1)
    told = json.loads(new_site.manage("upgrade", new_site.data / "b", "--json"))
    assert told["migrations"] == 1 and told["backup"]
    assert new_site.script(SET_UP) == 0


def test_nothing_is_upgraded_while_the_site_runs_or_by_an_older_version(
    old_site: Machine, tmp_path: Path
) -> None:
    machine = old_site
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
