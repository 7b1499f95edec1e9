"""The tables of a database in lines: one a column, constraint, index and trigger. Those of two
databases are the same however the tables came about; the order of their columns is left out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

SQLITE = "SELECT sql FROM sqlite_master WHERE sql <> '' AND name NOT LIKE 'sqlite%'"
# The queue makes tables of its own, on PostgreSQL in the same database.
POSTGRESQL = (
    "SELECT concat_ws(' ', table_name, column_name, udt_name, character_maximum_length,"
    " numeric_precision, numeric_scale, is_nullable, column_default, is_identity, collation_name)"
    " FROM information_schema.columns"
    " WHERE table_schema = 'public' AND table_name NOT LIKE 'huey%'",
    "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename NOT LIKE 'huey%'",
    "SELECT concat_ws(' ', conrelid::regclass, conname, pg_get_constraintdef(oid))"
    " FROM pg_constraint"
    " WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text NOT LIKE 'huey%'",
    "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal",
)
# After a dump and a restore, PostgreSQL writes these elsewhere in a condition.
CASTS = re.compile(r"::(?:character varying|text)(?:\[\])?|[()]")


def schema(query: Callable[[str], Iterable[object]], is_postgresql: bool) -> set[str]:
    """What `query` finds, which gives the first column."""
    if is_postgresql:
        return {CASTS.sub("", str(line)) for text in POSTGRESQL for line in query(text)}
    return {line for sql in query(SQLITE) for line in _lines(str(sql))}


def _lines(sql: str) -> Iterator[str]:
    """A table has a line for each of its columns and constraints, an index or trigger one."""
    if not sql.startswith("CREATE TABLE"):
        yield sql
        return
    name, _, rest = sql.partition("(")
    line, depth = "", 1
    for letter in rest:
        depth += (letter == "(") - (letter == ")")
        if depth == 0 or (depth == 1 and letter == ","):
            yield f"{name.strip()}: {line.strip()}"
            line = ""
        else:
            line += letter
