"""SQL that writes many rows at once. bulk_create and bulk_update take ten times as long or more:
SQLite allows them 50 rows a statement.

Columns are named as the models declare them; for others a ValueError is raised. So a statement that
is put together when its module is imported cannot name a column that is not there.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Mapping, Sequence
from itertools import count
from typing import Any

from django.db import connection, models


def insert_statement(
    model: type[models.Model],
    columns: Collection[str],
    always: Mapping[str, str | int] | None = None,
) -> str:
    """INSERT of one row, with a parameter for each of these columns. `always`: numbers and empty
    text that are the same in every row, which cost less than parameters."""
    always = always or {}
    names = column_list(model, [*columns, *always])
    values = ", ".join([*["%s"] * len(columns), *map(_constant, always.values())])
    return f"INSERT INTO {model._meta.db_table} ({names}) VALUES ({values})"  # noqa: S608 - our names


def _constant(value: str | int) -> str:
    return "''" if value == "" else str(int(value))


def update_statement(
    model: type[models.Model],
    columns: Collection[str],
    where: Collection[str],
    checked: Collection[str] = (),
) -> str:
    """UPDATE with a parameter for each of these columns, then for each column of `where`, then for
    each that is `checked`. Those of `where` find the row by their index. PostgreSQL would use an
    index of what is checked as well, and read all rows of a batch for each of them."""
    column_list(model, [*columns, *where, *checked])
    changes = ", ".join(f"{column} = %s" for column in columns)
    found = [f"{column} = %s" for column in where]
    which = " AND ".join([*found, *(f"({column} = %s) IS TRUE" for column in checked)])
    return f"UPDATE {model._meta.db_table} SET {changes} WHERE {which}"  # noqa: S608 - as above


def column_list(model: type[models.Model], columns: Collection[str]) -> str:
    """These columns, for SQL."""
    declared = {field.column for field in model._meta.concrete_fields}
    if unknown := [column for column in columns if column not in declared]:
        raise ValueError(f"{model.__name__} has no columns {', '.join(unknown)}.")
    return ", ".join(columns)


def run_for_each(statement: str, rows: Sequence[Sequence[Any]]) -> None:
    """Run a statement with the parameters of each row."""
    if not rows:
        return
    with connection.cursor() as cursor:
        if connection.vendor != "postgresql":
            cursor.executemany(statement, rows)
            return
        # Otherwise it is planned anew for each row, which takes longer than all the rest.
        name, numbers = f"each_{secrets.token_hex(8)}", count(1)
        numbered = re.sub("%s", lambda _: f"${next(numbers)}", statement)
        cursor.execute(f"PREPARE {name} AS {numbered}")
        places = ", ".join(["%s"] * len(rows[0]))
        cursor.executemany(f"EXECUTE {name} ({places})", rows)
        cursor.execute(f"DEALLOCATE {name}")


def renew_statistics(model: type[models.Model]) -> None:
    """Call this after adding many rows. PostgreSQL renews its statistics of a table only when a
    tenth of it has changed. With old ones it can read all rows of a new job for each slice."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"ANALYZE (SKIP_LOCKED) {model._meta.db_table}")
