"""The database in one file, as it was at one moment, while the site runs; and putting one back.

Left out: sessions, so that nobody can sign in with what a backup holds, and the queue.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import msgspec
from django.db import connection, transaction

SQLITE_FILE, POSTGRESQL_FILE = "database.sqlite3", "database.dump"
LOCKED_SECONDS = 60
# Where packages put the programs of PostgreSQL that are not on PATH.
PACKAGED = ("/usr/lib/postgresql", "/usr/local/pgsql", "/opt/homebrew/opt", "/usr")
ASIDE = "before_restore_"  # begins the name of the schema that keeps what was there

Query = Callable[[str], list[Any]]


class DumpError(Exception):
    """The database could not be copied or put back; says why."""


class Facts(msgspec.Struct):
    """What is in a copy, and which files belong to it."""

    migrations: list[tuple[str, str]]  # app and name
    counts: dict[str, int]
    uploads: dict[str, str]  # name -> SHA-256; "" when it is not known
    results: dict[str, str]  # as `uploads`, of batches whose answers are in


def is_postgresql() -> bool:
    return connection.vendor == "postgresql"


def file_name() -> str:
    """What the copy of this site's database is called in a backup."""
    return POSTGRESQL_FILE if is_postgresql() else SQLITE_FILE


def write(folder: Path) -> Facts:
    """Copy the database into `folder`, and prove that the copy can be read. Raises DumpError."""
    if is_postgresql():
        return _write_postgresql(folder / POSTGRESQL_FILE)
    return _write_sqlite(folder / SQLITE_FILE)


# What is counted in a copy, and compared after an upgrade.
COUNTED = {
    "jobs": "jobs_job",
    "rows": "jobs_row",
    "batches": "jobs_batch",
    "people": "auth_user",
}


def _facts(query: Query) -> Facts:
    migrations = [(app, name) for app, name in query(_MIGRATIONS)]
    # Of a job that is being deleted, some files are gone already. An upgrade copies databases of
    # older versions, in which no job's contents could be deleted.
    deletes = ("jobs", "0051_retention") in migrations
    return Facts(
        migrations=migrations,
        counts={
            what: query(f"SELECT count(*) FROM {table}")[0][0]  # noqa: S608 - names of ours
            for what, table in COUNTED.items()
        },
        uploads=dict(query(_UPLOADS + (_WITH_CONTENTS if deletes else ""))),
        results={
            f"{job}-{nonce}.jsonl": sha256
            for job, nonce, sha256 in query(_RESULTS + (_WITH_CONTENTS if deletes else ""))
        },
    )


_MIGRATIONS = "SELECT app, name FROM django_migrations ORDER BY app, name"
_UPLOADS = (
    "SELECT upload_file, upload_sha256 FROM jobs_job j "
    "WHERE upload_file <> '' AND j.state <> 'deleting'"
)
_RESULTS = (
    "SELECT job_id, nonce, results_sha256 FROM jobs_batch b JOIN jobs_job j "
    "ON j.id = b.job_id WHERE results_sha256 <> '' AND j.state <> 'deleting'"
)
_WITH_CONTENTS = " AND j.contents_deleted_at IS NULL"


# --- SQLite ---------------------------------------------------------------------------------------


def sqlite_path() -> Path:
    return Path(connection.settings_dict["NAME"])


def _write_sqlite(target: Path) -> Facts:
    path = sqlite_path()
    if not path.exists():
        raise DumpError(f"There is no database at {path}.")
    try:
        with (
            closing(_open(path)) as site,
            closing(_open(target, mode="rwc")) as copy,
        ):
            site.backup(copy)  # in one step, so that what is written meanwhile is not in it
            copy.execute("PRAGMA journal_mode=DELETE")  # so that this file is all of it
            copy.execute("PRAGMA secure_delete=ON")
            copy.execute("DELETE FROM django_session")
            copy.commit()
            found = [str(line) for (line,) in copy.execute("PRAGMA integrity_check(5)")]
            if found != ["ok"]:
                raise DumpError(f"The database of the site is damaged: {'; '.join(found)}")
            return _facts(lambda text: copy.execute(text).fetchall())
    except sqlite3.Error as error:
        raise DumpError(f"The database could not be copied: {error}") from error


def _open(path: Path, mode: str = "rw") -> sqlite3.Connection:
    address = f"file:{quote(str(path))}?mode={mode}"
    return sqlite3.connect(address, uri=True, timeout=LOCKED_SECONDS)


# --- PostgreSQL -----------------------------------------------------------------------------------


def _write_postgresql(target: Path) -> Facts:
    """The dump and what is said of it are of one snapshot of the database."""
    dump, restore = find_program("pg_dump"), find_program("pg_restore")
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")

        def query(text: str) -> list[Any]:
            cursor.execute(text)
            return list(cursor.fetchall())

        ((snapshot,),) = query("SELECT pg_export_snapshot()")
        _run(
            dump,
            "--format=custom",
            "--no-owner",
            "--no-privileges",
            f"--snapshot={snapshot}",
            "--exclude-table=*.huey_*",
            "--exclude-table-data=*.django_session",
            f"--exclude-schema={ASIDE}*",
            f"--file={target}",
        )
        facts = _facts(query)
    # Read to its end: a dump that cannot be read is none.
    _run(restore, "--file=/dev/null", str(target), connects=False)
    return facts


def load_postgresql(dump: Path, schema: str) -> None:
    """Replace all tables by those of a dump, in one transaction: whatever happens, the database is
    as it was or as it is in the dump. What was there is moved into a new schema. Raises
    DumpError."""
    restore, psql = find_program("pg_restore"), find_program("psql")
    connection.close()
    with tempfile.TemporaryFile() as errors:
        command, environment = _command(psql, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1")
        with subprocess.Popen(  # noqa: S603 - PostgreSQL's own program
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=errors,
        ) as process:
            assert process.stdin is not None  # noqa: S101 - it is a pipe
            with suppress(BrokenPipeError):  # its own words say more
                _send_dump(restore, dump, _move_all_into(schema), process.stdin, errors)
        if process.returncode:
            raise DumpError(_last_words("psql", errors))


def aside_schemas() -> set[str]:
    """The schemas in which restores have kept what was there."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT nspname FROM pg_namespace")
        return {name for (name,) in cursor.fetchall() if name.startswith(ASIDE)}


def new_aside_schema(stamp: str) -> str:
    names = [f"{ASIDE}{stamp}", *(f"{ASIDE}{stamp}_{number}" for number in range(2, 100))]
    taken = aside_schemas()
    return next(name for name in names if name not in taken)


def _send_dump(restore: Path, dump: Path, before: str, sink: IO[bytes], errors: IO[bytes]) -> None:
    """Without the COMMIT at its end, which is sent once all of the dump was, nothing is changed."""
    sink.write(f"BEGIN;\n{before}".encode())
    sink.flush()
    command = [str(restore), "--no-owner", "--no-privileges", "--file=-", str(dump)]
    sent = subprocess.run(command, stdout=sink, stderr=errors, check=False)  # noqa: S603 - as above
    if sent.returncode:
        raise DumpError(_last_words("pg_restore", errors))
    sink.write(b"\nCOMMIT;\n")
    sink.close()


def _move_all_into(schema: str) -> str:
    return f"""
        SET LOCAL lock_timeout = '{LOCKED_SECONDS}s';
        CREATE SCHEMA {schema};
        DO $$
        DECLARE one record;
        BEGIN
            FOR one IN SELECT tablename FROM pg_tables WHERE schemaname = current_schema() LOOP
                EXECUTE format('ALTER TABLE %I SET SCHEMA {schema}', one.tablename);
            END LOOP;
        END $$;
    """  # noqa: S608 - the name is made of digits


def find_program(name: str) -> Path:
    """The program of PostgreSQL on PATH or where packages put it, not older than the server; a
    DumpError says what to install."""
    server = connection_version()
    found = []
    if on_path := shutil.which(name):
        found.append(Path(on_path))
    for folder in PACKAGED:
        found += sorted(Path(folder).glob(f"*/bin/{name}"), key=_version_in_path, reverse=True)
    for path in found:
        if _version_of(path) >= server:
            return path
    what = (
        f"version {server} or later; there are only older ones" if found else "it is not installed"
    )
    raise DumpError(
        f"This needs PostgreSQL’s program {name}, {what}. Install the package "
        f"postgresql-client-{server}, or postgresql-client."
    )


def connection_version() -> int:
    """The main version of the server."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version_num")
        return int(cursor.fetchone()[0]) // 10_000


def _version_in_path(path: Path) -> int:
    found = re.search(r"\d+", path.parent.parent.name)
    return int(found[0]) if found else 0


def _version_of(program: Path) -> int:
    try:
        said = subprocess.run(  # noqa: S603 - PostgreSQL's own program
            [program, "--version"], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return 0
    found = re.search(r"\) (\d+)", said)
    return int(found[1]) if found else 0


def _command(program: Path, *options: str) -> tuple[list[str], Mapping[str, str]]:
    """A call of one of PostgreSQL's programs for the site's database. The password is in its
    environment, where other people on the machine do not see it."""
    from psycopg import conninfo, pq  # only with PostgreSQL

    given = connection.get_connection_params()
    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    known -= {"client_encoding", "password"}
    address = conninfo.make_conninfo(**{name: given[name] for name in known & set(given)})
    environment = dict(os.environ)
    if password := given.get("password"):
        environment["PGPASSWORD"] = password
    return [str(program), *options, f"--dbname={address}"], environment


def _run(program: Path, *options: str, connects: bool = True) -> None:
    """Raises DumpError with the program's last words."""
    command, environment = _command(program, *options)
    if not connects:
        command, environment = [str(program), *options], os.environ
    with tempfile.TemporaryFile() as errors:
        done = subprocess.run(  # noqa: S603 - PostgreSQL's own program
            command, env=environment, stdout=subprocess.DEVNULL, stderr=errors, check=False
        )
        if done.returncode:
            raise DumpError(_last_words(program.name, errors))


def _last_words(program: str, errors: IO[bytes]) -> str:
    errors.seek(0)
    lines = errors.read().decode(errors="replace").strip().splitlines()
    return f"{program} failed: {' '.join(lines[-3:])}"
