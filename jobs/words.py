"""Words that pages, the log of a job and commands share. Pure."""

from __future__ import annotations


def rows(count: int) -> str:
    """1 -> "1 row", 1204 -> "1,204 rows" """
    return f"{count:,} row{'' if count == 1 else 's'}"
