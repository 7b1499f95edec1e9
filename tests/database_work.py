"""What a click or a look does in the database, so that two of them can be compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.db import connection
from django.db.backends.utils import CursorWrapper


@dataclass
class Work:
    statements: list[str] = field(default_factory=list)
    returned: int = 0
    changed: int = 0
    steps: int = 0  # hundreds of steps of SQLite, within transactions unless all are counted

    @property
    def has_written(self) -> bool:
        # SQLite does not say how many rows an INSERT made that returns their ids.
        return self.changed > 0 or any(one.startswith("INSERT") for one in self.statements)

    def is_more_than(self, other: Work) -> str:
        """What grew, in words; "" when nothing did."""
        found = {
            "statements": (len(self.statements), len(other.statements)),
            "rows that come back": (self.returned, other.returned),
            "rows that are changed": (self.changed, other.changed),
            # Trees of indexes are a level deeper; a look at a thousand rows takes 30 and more.
            "steps": (self.steps, other.steps + 15),
        }
        return "; ".join(f"{what}: {a} > {b}" for what, (a, b) in found.items() if a > b)


@contextmanager
def counted(*, all_steps: bool = False) -> Iterator[Work]:
    work = Work()

    def watch(execute: Any, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        result = execute(sql, params, many, context)
        work.statements.append(sql[:200])
        if not sql.lstrip().upper().startswith(("SELECT", "WITH")):
            work.changed += max(context["cursor"].rowcount, 0)
        return result

    def fetching(name: str) -> Callable[..., Any]:
        def fetch(self: CursorWrapper, *given: Any) -> Any:
            rows = CursorWrapper.__getattr__(self, name)(*given)
            work.returned += len(rows) if name != "fetchone" else rows is not None
            return rows

        return fetch

    def step() -> int:
        work.steps += all_steps or connection.in_atomic_block
        return 0

    connection.ensure_connection()
    with pytest.MonkeyPatch.context() as patched, connection.execute_wrapper(watch):
        for name in ("fetchone", "fetchmany", "fetchall"):
            patched.setattr(CursorWrapper, name, fetching(name), raising=False)
        if connection.vendor == "sqlite":
            connection.connection.set_progress_handler(step, 100)
        try:
            yield work
        finally:
            if connection.vendor == "sqlite":
                connection.connection.set_progress_handler(None, 0)


def grown(few: Work, many: Work) -> str:
    """For whoever looks for the reason: which statements are more."""
    return "\n".join([many.is_more_than(few), *dict.fromkeys(many.statements)])
