"""`manage.py restore`: an old backup comes back whole, nothing that was there is lost, and nothing
is paid twice: after kill -9, twice in a row, and on both databases."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from psycopg import conninfo, sql
from pytest_django import Settings

from jobs.batches import journal
from jobs.models import locks
from jobs.worker import backups, restores

from .. import commands
from ..conftest import Simulator
from ..environment import clean_environment
from ..running import MIGRATED, SECONDS, Site, wait_for, with_database

# A site with one job, and what happened to it after its backup: a second job, files, a submission.
BEFORE = """
from django.contrib.auth.models import User
from django.core.management import call_command
from jobs.batches import journal
call_command("migrate", verbosity=0)
journal.begin()
alice = User.objects.create_user("alice")
User.objects.create_superuser("root")
from jobs.worker import presence
presence.beat()
"""
ADD_JOB = """
from pathlib import Path
from django.conf import settings
from django.contrib.auth.models import User
from jobs.models import Job, Row
def add(name):
    folder = Path(settings.DATA_DIR, "uploads")
    (folder / name).write_text(name)
    job = Job.objects.create(
        owner=User.objects.get(username="alice"), name=name, upload_name=name, upload_file=name,
        upload_bytes=1,
        state="finished", row_count=1, next_action_at=None,
    )
    Row.objects.create(job=job, number=1, line=1, source="[]", size=1)
"""
AFTER = """
import os, signal
from jobs.batches import journal
from jobs.models import files
add("after")
files.make_folder(Path(settings.DATA_DIR, "results"))
Path(settings.DATA_DIR, "results", "1-later.jsonl").write_text("paid for")
Path(settings.DATA_DIR, "queue.sqlite3-wal").touch()
intent = dict(
    job=1, upload="", number=1, nonce="later", attempt=1, rows=[(1, 2)], size=2, bytes=1,
    sha256="", deadline="2026-01-01T00:00:00Z", baseline=None, baseline_at=None,
)
journal.write("intent", **intent)
os.kill(os.getpid(), signal.SIGKILL)
"""


def make_database(template: str = "template0") -> str:
    """The address of a database of its own, as `template` is; "" for SQLite."""
    server = os.environ["DATABASE_URL"]
    if not server:
        return ""
    name = f"backup_{uuid.uuid4().hex[:12]}"
    command = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(command.format(sql.Identifier(name), sql.Identifier(template)))
    parts = conninfo.conninfo_to_dict(server)
    return f"postgres://{parts['user']}@/{name}?host={parts['host']}"


def up_to_date_database() -> str:
    """As above, if there is one to be copied."""
    return make_database(MIGRATED or "template0")


def name_of(database: str) -> str:
    return str(conninfo.conninfo_to_dict(database)["dbname"])


def remove_database(database: str) -> None:
    if database:
        command = sql.SQL("DROP DATABASE {} WITH (FORCE)")
        with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
            connection.execute(command.format(sql.Identifier(name_of(database))))


class Machine:
    """A DATA_DIR with its database, and programs that run with it."""

    def __init__(self, data: Path, database: str, **values: str) -> None:
        self.data, self.database = data, database
        values = {"ANTHROPIC_API_KEY": "good key", **values}
        self.values = {"ANTHROPIC_BASE_URL": "http://127.0.0.1:9", **values}
        self.environment = clean_environment(
            data,
            DATABASE_URL=database,
            DJANGO_SETTINGS_MODULE="batchsite.settings",
            **self.values,
        )

    def run(self, main: Callable[..., None], *arguments: str) -> tuple[int, str]:
        """The exit status of `main` in a process of its own, and what it says."""
        ended = commands.run(main, *arguments, environment=self.environment)
        return ended.status, ended.out + ended.errors

    def script(self, *parts: str) -> int:
        status, said = self.run(commands.run_script, "\n".join(parts))
        assert status in (0, -signal.SIGKILL), said
        return status

    def manage(self, *arguments: str | Path, status: int = 0) -> str:
        """What a command says."""
        ended, said = self.run(commands.run_command, *map(str, arguments))
        assert ended == status, said
        return said

    def restore_soon(self, folder: Path) -> str:
        """What `restore` says that does not look long for a worker elsewhere."""
        call = f"call_command('restore', {str(folder)!r}, stdout=sys.stderr)"
        status, said = self.run(commands.run_script, "\n".join([DIE, SOON, call]))
        assert status == 0, said
        return said

    def query(self, text: str, schema: str = "public", file: Path | None = None) -> list[object]:
        """The first column of what a query finds."""
        if self.database:
            with psycopg.connect(self.database) as server:
                server.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(schema)))
                return [row[0] for row in server.execute(text.encode())]
        path = file or self.data / "batchsite.sqlite3"
        with closing(sqlite3.connect(path, timeout=20)) as opened:
            return [row[0] for row in opened.execute(text)]

    def jobs(self) -> list[object]:
        return self.query("SELECT name FROM jobs_job ORDER BY id")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A site that was backed up into `b`, went on, and was killed."""
    folder = tmp_path_factory.mktemp("template")
    machine = Machine(with_database(folder / "data"), up_to_date_database())
    machine.script(BEFORE, ADD_JOB, 'add("before")')
    machine.manage("backup", folder / "b")
    assert machine.script(ADD_JOB, AFTER) == -signal.SIGKILL
    yield machine
    remove_database(machine.database)


@pytest.fixture
def machine(template: Machine, tmp_path: Path) -> Iterator[Machine]:
    """A copy of that site."""
    shutil.copytree(template.data.parent, tmp_path, dirs_exist_ok=True)
    database = template.database and make_database(name_of(template.database))
    yield Machine(tmp_path / "data", database)
    remove_database(database)


def restore(machine: Machine, folder: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(machine.manage("restore", folder, "--json"))
    return told


def add_migration(backup: Path, name: str) -> None:
    """To those that its database has."""
    manifest = backups.read_manifest(backup)
    manifest.migrations.append(("jobs", name))
    (backup / "manifest.json").write_bytes(msgspec.json.encode(manifest))


def assert_restored(machine: Machine, told: dict[str, Any]) -> None:
    """As it was at the backup, and all that came after it is still somewhere."""
    data, aside = machine.data, Path(str(told["aside"]))
    assert machine.jobs() == ["before"]
    assert (data / "uploads" / "before").read_text() == "before"
    assert not (data / "uploads" / "after").exists()
    assert (data / "uploads" / "incoming").is_dir()
    assert (data / "results" / "1-later.jsonl").read_text() == "paid for"
    assert b"later" in (data / "journal.jsonl").read_bytes()
    assert not (data / "queue.sqlite3-wal").exists()
    assert (aside / "uploads" / "after").read_text() == "after"
    names = machine.query(
        "SELECT name FROM jobs_job ORDER BY id",
        schema=str(told["aside_schema"]),
        file=aside / "batchsite.sqlite3",
    )
    assert names == ["before", "after"]
    assert not (data / "restore.part").exists()
    assert not (data / "restore.unfinished").exists()
    assert machine.query("SELECT ahead FROM jobs_journalstate") == [1]
    # The worker of that time would be told to administrators as one that died.
    assert machine.query("SELECT count(*) FROM jobs_workerprocess") == [0]


def test_a_backup_comes_back_twice_and_what_was_there_is_moved_aside(
    machine: Machine, tmp_path: Path
) -> None:
    """After kill -9, with a -wal beside the database, which would destroy the restored one."""
    if not machine.database:
        assert (machine.data / "batchsite.sqlite3-wal").stat().st_size
    (backup,) = backups.find_all(tmp_path / "b")
    # As a backup of 0.1.0 has it, which had squashed other migrations.
    add_migration(backup, "0001_squashed_0035_one_row_models")
    told = restore(machine, tmp_path / "b")
    assert_restored(machine, told)
    assert (told["batches_to_reconcile"], told["rows_to_reconcile"]) == (1, 2)
    assert told["spending_stopped"] is False
    if machine.database:  # several parts of a site that made them at once would fail
        assert machine.query("SELECT count(*) FROM huey_task") == [0]

    said = machine.manage("restore", tmp_path / "b")
    assert_restored(machine, told)
    assert "1 batches (2 rows) were sent after this backup" in said
    assert "manage.py job reconcile" in said
    assert f"{told['aside']}.\n" not in said, "each has a folder of its own"


KILLED_AT = {
    "preparing": "restores._prepare = die",
    "moving": "names = restores._names_of_site(); restores._names_of_site = then_die",
    "moved": "restores._keep_newer_journal = die",
    "putting in place": "restores.shutil.rmtree = lambda *_, **options: options or die()",
    "settling": "restores._settle = die",
}
DIE = """
import os, signal, sys
from django.core.management import call_command
from jobs.worker import restores
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
def then_die():
    yield from names[:3]
    die()
"""
SOON = "restores.HEARTBEAT_SECONDS = 0.1"


@pytest.mark.parametrize("point", KILLED_AT)
def test_a_restore_that_is_killed_can_be_repeated(
    machine: Machine, tmp_path: Path, point: str
) -> None:
    call = f"call_command('restore', {str(tmp_path / 'b')!r})"
    assert machine.script(DIE, KILLED_AT[point], call) == -signal.SIGKILL
    if point == "preparing":
        assert machine.jobs() == ["before", "after"], "nothing was changed"
    else:
        said = machine.manage("serve", status=1)
        assert "A restore was interrupted" in said
        with pytest.raises(AssertionError, match="A restore was interrupted"):
            machine.script("import batchsite.wsgi")
    told = restore(machine, tmp_path / "b")
    assert_restored(machine, told)


def test_a_damaged_backup_is_refused_before_anything_is_touched(
    machine: Machine, tmp_path: Path
) -> None:
    (backup,) = backups.find_all(tmp_path / "b")
    path = backup / "uploads" / "before"
    path.chmod(0o600)
    path.write_text("befoul")

    said = machine.manage("restore", backup, status=1)
    assert "Nothing was changed. This backup is damaged" in said
    assert machine.jobs() == ["before", "after"]
    assert not list(machine.data.glob("before-restore-*"))


def test_a_folder_without_a_backup_is_named(machine: Machine, tmp_path: Path) -> None:
    said = machine.manage("restore", tmp_path / "nothing", status=1)
    assert f"There is no backup in {tmp_path / 'nothing'}" in said


def test_a_backup_of_a_newer_version_is_refused(machine: Machine, tmp_path: Path) -> None:
    (backup,) = backups.find_all(tmp_path / "b")
    add_migration(backup, "9999_of_the_future")
    said = machine.manage("restore", backup, status=1)
    assert "newer version" in said
    assert "jobs.9999_of_the_future" in said


def test_a_backup_of_another_database_is_refused(machine: Machine, tmp_path: Path) -> None:
    (backup,) = backups.find_all(tmp_path / "b")
    manifest = backups.read_manifest(backup)
    kinds = ["database.dump", "database.sqlite3"]
    other = kinds[kinds.index(manifest.database) - 1]
    (backup / manifest.database).rename(backup / other)
    for one in manifest.files:
        one.path = other if one.path == manifest.database else one.path
    manifest.database = other
    (backup / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    said = machine.manage("restore", backup, status=1)
    assert "Nothing was changed. This backup is of a site with" in said
    assert "DATABASE_URL" in said


@pytest.mark.parametrize("part", [locks.SITE, locks.SERVE])
def test_nothing_is_restored_while_a_part_of_the_site_runs(
    machine: Machine, tmp_path: Path, part: str, settings: Settings
) -> None:
    (machine.data / part).touch()
    settings.DATA_DIR = machine.data
    call = f"call_command('restore', {str(tmp_path / 'b')!r})"
    with (
        locks.take(part, shared=part == locks.SITE),
        pytest.raises(AssertionError, match=r"Nothing was changed: .* is running"),
    ):
        machine.script(DIE, "restores.ENDING_SECONDS = 0.5", call)
    assert machine.jobs() == ["before", "after"]


def test_a_worker_on_another_machine_is_noticed(machine: Machine, tmp_path: Path) -> None:
    """It holds no lock that is seen here, but gives its signs of life."""
    site = "Heartbeat.objects.update(tick_at=timezone.now())"
    imports = "from jobs.models import Heartbeat\nfrom django.utils import timezone"
    works = f"restores._prepare = lambda *_: {site}"
    call = f"call_command('restore', {str(tmp_path / 'b')!r})"
    with pytest.raises(AssertionError, match="a worker on another machine is running"):
        machine.script(DIE, imports, site, works, SOON, call)
    assert machine.jobs() == ["before", "after"]


def test_on_a_new_machine_spending_is_stopped(machine: Machine, tmp_path: Path) -> None:
    """What was sent after the backup is in no journal there, and would be sent again."""
    (machine.data / "journal.jsonl").unlink()
    for _ in range(2):
        told = restore(machine, tmp_path / "b")
        assert told["spending_stopped"] is True
        stopped = "SELECT stopped_at IS NOT NULL FROM jobs_spendingcaps"
        assert [bool(value) for value in machine.query(stopped)] == [True]
        assert machine.query("SELECT event FROM jobs_notification") == ["spending_stopped"]
    machine.manage("backup", tmp_path / "later")
    assert restore(machine, tmp_path / "later")["spending_stopped"] is False
    assert "Spending is stopped" in machine.manage("restore", tmp_path / "b")


INTO_THE_TRASH = """
from django.utils import timezone
Job.objects.update(trashed_at=timezone.now())
Job.objects.filter(name="being read").update(state="reading")
"""


def test_a_job_that_is_being_read_comes_back_out_of_the_trash(
    machine: Machine, tmp_path: Path
) -> None:
    """The journal may know of batches that it sent since, and they find it only once it is read."""
    machine.script(ADD_JOB, 'add("being read")', INTO_THE_TRASH)
    machine.manage("backup", tmp_path / "later")
    restore(machine, tmp_path / "later")
    trashed = "SELECT name FROM jobs_job WHERE trashed_at IS NOT NULL ORDER BY id"
    assert machine.query(trashed) == ["before", "after"]
    asked = "SELECT count(*) FROM jobs_job WHERE name = 'being read' AND next_action_at IS NOT NULL"
    assert machine.query(asked) == [1]


def test_the_journals_of_two_lives_are_joined(machine: Machine, tmp_path: Path) -> None:
    """That of the backup has lines that are not here, and the other way round."""
    path = machine.data / "journal.jsonl"
    path.write_bytes(b'{"kind":"late","n":1}\n{"kind":"late","n":2}\n')
    machine.manage("backup", tmp_path / "other")
    path.write_bytes(b'{"kind":"late","n":2}\n{"kind":"late","n":3}\n')
    told = restore(machine, tmp_path / "other")
    lines = path.read_text().splitlines()
    assert [json.loads(line).get("n") for line in lines] == [1, 2, 3, None]
    aside = Path(str(told["aside"]), "journal.jsonl").read_text()
    assert aside.splitlines() == lines[1:3]


# --- A whole site ---------------------------------------------------------------------------------


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[Simulator]:
    simulator = Simulator(tmp_path / "provider", seconds=2, failures="none")
    yield simulator
    simulator.stop()


@pytest.fixture
def database() -> Iterator[str]:
    database = up_to_date_database()
    yield database
    remove_database(database)


@pytest.fixture
def start_site(tmp_path: Path, database: str, provider: Simulator) -> Iterator[Callable[[], Site]]:
    sites: list[Site] = []
    data = with_database(tmp_path / "data")
    values = {
        "ANTHROPIC_API_KEY": "good key",
        "ANTHROPIC_BASE_URL": provider.url,
        "DATABASE_URL": database,
        "POLL_SECONDS": "0.2",
    }

    def start() -> Site:
        sites.append(Site(data, **values))
        sites[-1].wait_until_ready()
        return sites[-1]

    yield start
    for site in sites:
        site.close()


SEND_NOW = """
from django.utils import timezone
from jobs.models import Batch, Sending, Job
Sending.objects.update(send_after=timezone.now())
Batch.objects.update(next_action_at=None)
Job.objects.update(next_action_at=timezone.now())
"""

WRITE_AND_DIE = """
import os, signal
from jobs.models import Heartbeat
Heartbeat.objects.update(provider_trouble="Anthropic cannot be reached.")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_site_that_is_killed_and_restored_twice_pays_for_nothing_twice(
    start_site: Callable[[], Site], provider: Simulator, tmp_path: Path, database: str
) -> None:
    """Its job waits to be sent at the backup, and runs at the provider when the site is killed."""
    machine = Machine(
        tmp_path / "data",
        database,
        ANTHROPIC_BASE_URL=provider.url,
        DJANGO_SUPERUSER_PASSWORD="correct horse",
    )
    site = start_site()
    machine.manage("createsuperuser", "--noinput", "--username=root", "--email=")
    provider.faults(create=[{"kind": "reject_429", "retry_after": 900}])
    table = tmp_path / "names.csv"
    table.write_text("name\n" + "".join(f"n{number}\n" for number in range(20)))
    machine.manage("job", "submit", table, "--prompt=Say {{name}}", "--owner=root", "--yes")
    refused = "SELECT attempts FROM jobs_batch WHERE state = 'planned'"
    wait_for(lambda: machine.query(refused) == [1], "the refusal")
    for _ in range(2):
        machine.manage("backup", tmp_path / "b")
    assert provider.truth()["accepted_rows"] == 0
    assert "Nothing was changed" in machine.manage("restore", tmp_path / "b", status=1)

    machine.script(SEND_NOW)
    # Without the answer in its journal, it would wait for the deadline before it looks.
    written, answered = tmp_path / "data" / "journal.jsonl", '"provider_id": "msgbatch_'
    wait_for(lambda: answered in written.read_text(), "the provider's answer")
    site.lose_power()
    # A worker that is killed while it writes leaves the log of its last transactions.
    assert machine.script(WRITE_AND_DIE) == -signal.SIGKILL
    if not database:
        assert (tmp_path / "data" / "batchsite.sqlite3-wal").exists()
    for _ in range(2):
        assert "were sent after this backup" in machine.restore_soon(tmp_path / "b")
    machine.script(SEND_NOW)
    site = start_site()
    machine.manage("job", "reconcile")
    machine.manage("job", "wait", "1", f"--timeout={SECONDS}")
    answers = machine.manage("job", "export", "1", "--format=csv", "--output=-")
    assert len(answers.strip().splitlines()) == 21
    assert provider.truth()["accepted_rows"] == 20
    assert site.end(signal.SIGTERM) == 0


@pytest.mark.django_db
def test_a_site_that_has_sent_nothing_yet_is_restored_without_a_stop(
    settings: Settings, tmp_path: Path
) -> None:
    """Its journal has begun, so it is known that nothing was sent since."""
    journal.begin()
    backup = tmp_path / "backup"
    backup.mkdir()
    (backup / "journal.jsonl").write_bytes(Path(settings.DATA_DIR, "journal.jsonl").read_bytes())
    assert list(journal.entries()) == [(journal.size(), None)]
    restores._keep_newer_journal(backup, tmp_path)
    assert not restores._has_gap_since(backup)
    Path(settings.DATA_DIR, "journal.jsonl").unlink()
    journal.begin()  # on another machine
    restores._keep_newer_journal(backup, tmp_path)
    assert restores._has_gap_since(backup)


@pytest.mark.django_db
def test_a_backup_without_a_journal_is_not_gone_on_with_by_any_journal(
    settings: Settings, tmp_path: Path
) -> None:
    """It may be of a site whose journal is on a machine that is lost."""
    backup = tmp_path / "backup"
    backup.mkdir()
    journal.begin()  # when the new machine was tried out
    restores._keep_newer_journal(backup, tmp_path)
    assert restores._has_gap_since(backup)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("line", "is_damage"),
    [
        (b'{"kind":"late","at":"2026-01-01T00:00:00Z"}', False),
        (b'{"at": "2026-01-01T00:00:00Z", "kind": "int', False),  # cut off by a full disk
        (b'{"kind":"intent","job":1}', True),
        (b'{"kind":"late"}}', True),
        (b"\0\0\0\0", True),
        (b'{"kind":"\xff"}', True),
    ],
)
def test_what_cannot_be_read_of_the_journal_may_have_been_sent(
    settings: Settings, tmp_path: Path, line: bytes, is_damage: bool
) -> None:
    journal.begin()
    path, backup = Path(settings.DATA_DIR, "journal.jsonl"), tmp_path / "backup"
    backup.mkdir()
    (backup / "journal.jsonl").write_bytes(path.read_bytes())
    with path.open("ab") as file:
        file.write(line + b"\n" + b'{"kind":"late"}\n' + b"begun to be writ")
    restores._keep_newer_journal(backup, tmp_path)
    assert restores._has_gap_since(backup) is is_damage
