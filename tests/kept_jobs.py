"""A job that many tests begin with is sent once in a process, and stored again for each of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from django.conf import settings
from django.db import connection

from jobs.models import Job

if TYPE_CHECKING:
    from .conftest import Simulator

Rows = dict[str, set[tuple[Any, ...]]]


class Kept(NamedTuple):
    """What making a job has changed."""

    pk: int
    rows: Rows
    files: dict[Path, bytes]


_kept: dict[object, Kept] = {}


def kept(name: str, make: Callable[[], Job], simulator: Simulator) -> Job:
    """The job that `make` makes, as it was when it was made for the first time: its rows, its
    files, and its batches at the provider. It is made anew where other rows were there before."""
    if connection.vendor != "sqlite":
        return make()
    before = _all_rows()
    place = name, str({table: sorted(row[0] for row in rows) for table, rows in before.items()})
    if place in _kept:
        return _store(_kept[place], simulator, str(place))
    job = make()
    rows = {table: found - before[table] for table, found in _all_rows().items()}
    folder = Path(settings.DATA_DIR)
    files = {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
    _kept[place] = Kept(job.pk, {table: found for table, found in rows.items() if found}, files)
    simulator.keep(str(place))
    return job


def _all_rows() -> Rows:
    """By table, each with its number first."""
    with connection.cursor() as cursor:
        return {
            table: set(cursor.execute(f"SELECT rowid, * FROM {table}").fetchall())  # noqa: S608
            for table in connection.introspection.django_table_names()
        }


def _store(one: Kept, simulator: Simulator, place: str) -> Job:
    with connection.cursor() as cursor:
        for table, rows in one.rows.items():
            marks = ", ".join(["%s"] * (len(next(iter(rows))) - 1))
            statement = f"INSERT OR REPLACE INTO {table} VALUES ({marks})"  # noqa: S608
            cursor.executemany(statement, [row[1:] for row in rows])
    for path, content in one.files.items():
        whole = Path(settings.DATA_DIR, path)
        whole.parent.mkdir(parents=True, exist_ok=True)
        whole.write_bytes(content)
    simulator.bring_back(place)
    return Job.objects.get(pk=one.pk)
