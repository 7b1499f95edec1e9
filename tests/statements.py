"""`python -m tests.statements` makes the list of tests that PostgreSQL need not run.

It runs all that can run there, which takes some minutes, and notes which statements each test
sends, with the types of their values and the error they end in. What stays: every test with real
transactions, and of the others enough to send nearly all statements, those that send most in the
least time first. Make the list anew when tests run there that send nothing new.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import resource
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from . import prepare
from .on_postgres import CANDIDATES, ON_SQLITE_ONLY, name_of
from .run import BY_FILE, CORES, Run, migrated_postgres

HEADER = """\
# PostgreSQL does not run these tests: others send it nearly all that they would.
# Made by: python -m tests.statements
"""
NOTES = "STATEMENT_NOTES"  # names the folder in the environment
# New statements that a test must send per second of processor time to run on PostgreSQL as well.
# A tenth of all statements is sent by slower tests only, and so by none there.
WORTH = 5.0
ONE_MORE = 0.1  # seconds that a test takes beside its own
ONE_MORE_FILE = 0.3  # seconds to import it


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="batchsite-statements-") as scratch:
        run, notes = Run(Path(scratch)), Path(scratch, "notes")
        notes.mkdir()
        with prepare.postgres(prepare.get_postgres()) as address:
            environment = {**migrated_postgres(run, address), NOTES: str(notes)}
            options = [f"--numprocesses={CORES}", *BY_FILE, "-p", "tests.statements"]
            run.pytest("All tests on PostgreSQL", [*options, *CANDIDATES], environment)
        if run.failed:
            prepare.say("The list is as it was. Mark what cannot run there as no_database.")
            return 1
        tests = read(notes.iterdir())
    chosen = choose(tests)
    ON_SQLITE_ONLY.write_text(HEADER + "".join(f"{name}\n" for name in sorted({*tests} - chosen)))
    seconds = sum(tests[name].seconds for name in chosen)
    of = sum(test.seconds for test in tests.values())
    prepare.say(f"{len(chosen)} of {len(tests)} tests run there: {seconds:.0f} of {of:.0f} s.")
    return 0


# --- What each test sends, noted by a plugin of pytest --------------------------------------------

_sent: set[str] = set()


def pytest_configure() -> None:
    connection_created.connect(_listen)


def _listen(connection: BaseDatabaseWrapper, **_: object) -> None:
    if _note not in connection.execute_wrappers:
        connection.execute_wrappers.append(_note)


def _note(execute: Callable[..., Any], sql: str, values: Any, many: bool, context: Any) -> Any:
    """Note a statement with the types of its values, and with the error that it ended in."""
    types = sorted({type(value).__name__ for value in values or () if not many})
    ended = ""
    try:
        return execute(sql, values, many, context)
    except Exception as error:
        ended = type(error).__name__
        raise
    finally:
        said = f"{in_general(sql)} {types} {ended}"
        _sent.add(hashlib.blake2b(said.encode(), digest_size=8).hexdigest())


def in_general(sql: str) -> str:
    """The same for statements with other values, another number of them, or other names of
    savepoints and cursors."""
    sql = re.sub(r"'(?:[^']|'')*'|\b\d+\b|%s", "?", str(sql))
    sql = re.sub(r'"s\d+_x\d+"|_django_curs_\w+', "name", sql)
    sql = re.sub(r"\?(, *\?)+", "?", sql)
    return re.sub(r"\(\?\)(, *\(\?\))+", "(?)", sql)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    _sent.clear()
    before = seconds_used()
    result = yield
    mark = item.get_closest_marker("django_db")
    real = mark is not None and (bool(mark.args) or mark.kwargs.get("transaction", False))
    real = real or "transactional_db" in getattr(item, "fixturenames", ())
    note = json.dumps([name_of(item), seconds_used() - before, real, sorted(_sent)])
    with Path(os.environ[NOTES], str(os.getpid())).open("a") as file:
        file.write(f"{note}\n")
    return result


def seconds_used() -> float:
    """Of the processor, by this process and those that it has waited for."""
    both = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    return sum(sum(resource.getrusage(who)[:2]) for who in both)


# --- Which of them stay ---------------------------------------------------------------------------


@dataclass
class Noted:
    """Of a test with all its parameters."""

    seconds: float = ONE_MORE
    real_transactions: bool = False
    statements: set[str] = field(default_factory=set)


def read(paths: Iterable[Path]) -> dict[str, Noted]:
    tests: dict[str, Noted] = {}
    for path in paths:
        for line in path.read_text().splitlines():
            name, seconds, real, statements = json.loads(line)
            test = tests.setdefault(name, Noted())
            test.seconds += seconds
            test.real_transactions = test.real_transactions or real
            test.statements.update(statements)
    return tests


def choose(tests: dict[str, Noted]) -> set[str]:
    chosen = {name for name, test in tests.items() if test.real_transactions}
    missing = set[str]().union(*(test.statements for test in tests.values()))
    missing.difference_update(*(tests[name].statements for name in chosen))
    files = {file_of(name) for name in chosen}

    def worth(name: str) -> float:
        more = 0 if file_of(name) in files else ONE_MORE_FILE
        return len(tests[name].statements & missing) / (tests[name].seconds + more)

    while worth(best := max(sorted(tests), key=worth)) >= WORTH:
        chosen.add(best)
        files.add(file_of(best))
        missing -= tests[best].statements
    return chosen


def file_of(name: str) -> str:
    return name.partition("::")[0]


if __name__ == "__main__":
    sys.exit(main())
