"""Words that pages, the log of a job and commands share. Pure."""

from __future__ import annotations


def rows(count: int) -> str:
    """1 -> "1 row", 1204 -> "1,204 rows" """
    return f"{count:,} row{'' if count == 1 else 's'}"


def jobs(count: int) -> str:
    """1 -> "1 job", 1204 -> "1,204 jobs" """
    return f"{count:,} job{'' if count == 1 else 's'}"


def outcome(good: int, attention: int, stopped: int = 0) -> str:
    """How a job ended: "1,998 rows good, 2 rows need attention" """
    parts = [f"{rows(good)} good"]
    if attention:
        need = "needs" if attention == 1 else "need"
        parts.append(f"{rows(attention)} {need} attention")
    if stopped:
        parts.append(f"{rows(stopped)} stopped")
    return ", ".join(parts)


def size(count: int) -> str:
    """Bytes as people count them: 1000000000 -> "1 GB", 7830 -> "7.8 KB" """
    amount = float(count)
    if amount < 1000:
        return f"{count} bytes"
    for unit in ("KB", "MB", "GB"):
        amount /= 1000
        if amount < 999.95 or unit == "GB":
            break
    return f"{amount:.1f} {unit}".replace(".0 ", " ")
