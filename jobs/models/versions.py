"""Whether the code of this process and the database are of one version. A worker or web server of
another version would misread what is stored, so it refuses to work.

The schema is compared by the newest migration; each knows all before it. Where that is the same,
the version counts that last brought the database up to date.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from django.contrib.auth.models import User
from django.db import DatabaseError, InterfaceError, ProgrammingError, connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.recorder import MigrationRecorder

from batchsite import __version__

from .site import Installation

logger = logging.getLogger(__name__)

SECONDS = 10.0  # between two looks
_MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"
# The number of the newest migration of the code that this process runs. Read once: when new files
# are put in place, a process that was not started again still runs the old ones.
NEWEST_HERE = max(path.name[:4] for path in _MIGRATIONS.glob("[0-9]*.py"))

NEWER = (
    "The database was upgraded to {there}, and this is batchsite {here}. Install {there}, then "
    "start the site again."
)
OLDER = (
    "The database is of an older version than batchsite {here}. Run “manage.py upgrade DIR”, with "
    "a folder for backups, then start the site again."
)
OTHER = (
    "The site runs batchsite {there}, and this is {here}. Start all parts of the site with one "
    "version. To change it, run “manage.py upgrade DIR” with the new one."
)

# Why this process must not use the database, in words; "" when it may, or nobody has looked.
trouble = ""


def newest_applied() -> str:
    """The number of the newest migration that the database has; "" for an empty database. Raises
    DatabaseError when it cannot be asked."""
    names = MigrationRecorder.Migration.objects.using(connection.alias).filter(app="jobs")
    with _table_may_be_missing():
        return max((name[:4] for name in names.values_list("name", flat=True)), default="")
    return ""


def why_other_schema() -> str:
    """Why this code cannot read the database, in words; "" when it can. Raises DatabaseError."""
    there = newest_applied()
    if there < NEWEST_HERE:
        return OLDER.format(here=__version__)
    if there > NEWEST_HERE:
        there = f"batchsite {stored()}" if stored() else "a newer version"
        return NEWER.format(here=__version__, there=there)
    return ""


def pending() -> list[object]:
    """The migrations that the database lacks, of batchsite and of its libraries."""
    executor = MigrationExecutor(connection)
    return list(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def is_in_use() -> bool:
    """Whether anybody has an account in this database. Without one, there is nothing to lose: it
    is new, or its first start was interrupted."""
    with _table_may_be_missing():
        return User.objects.exists()
    return False


@contextmanager
def _table_may_be_missing() -> Generator[None]:
    try:
        yield
    except ProgrammingError:
        return  # PostgreSQL
    except DatabaseError as error:
        if "no such table" not in str(error):
            raise


def why_not_together() -> str:
    """Why this code must not work with the database, in words; "" when it may. Raises
    DatabaseError when the database cannot be asked."""
    if why := why_other_schema():
        return why
    there = stored()
    return OTHER.format(here=__version__, there=there) if there not in ("", __version__) else ""


def stored() -> str:
    """The version that brought the database up to date; "" where it did not say. Raises
    DatabaseError, also for a database that is older than this."""
    return Installation.row().values_list("version", flat=True).first() or ""


def note() -> None:
    """This version has brought the database up to date."""
    Installation.row().update(version=__version__)


def look() -> str:
    """Look once, and remember in `trouble` what was found. Raises DatabaseError."""
    global trouble
    found = why_not_together()
    if found and found != trouble:
        logger.error("%s", found)
    trouble = found
    return trouble


def begin() -> None:
    """Look at once, and then now and then. A database that is away is no trouble of versions."""
    with suppress(DatabaseError, InterfaceError):
        look()
    with suppress(DatabaseError, InterfaceError):
        connection.close()
    watch()


def watch(beat: Callable[[], None] = lambda: None) -> None:
    """Look every few seconds until this process ends, from a thread; call `beat` each time."""
    threading.Thread(target=_watch, args=(beat,), name="versions", daemon=True).start()


def _watch(beat: Callable[[], None]) -> None:
    while True:
        time.sleep(SECONDS)
        with suppress(DatabaseError, InterfaceError):  # away, locked or full: it says so elsewhere
            look()
            beat()
        with suppress(DatabaseError, InterfaceError):
            connection.close()
