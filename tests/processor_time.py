"""Seconds of the processor, of all processes of a site: in total, and step by step."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

from .environment import ROOT

HOOK = ROOT / "tests" / "step_times"
TICKS = os.sysconf("SC_CLK_TCK")


def watched(path: Path) -> dict[str, str]:
    """Environment variables with which a site notes the seconds of its steps in the file `path`."""
    return {"PYTHONPATH": str(HOOK), "STEP_TIMES": str(path)}


def seconds_by_step(path: Path) -> dict[str, float]:
    found: dict[str, float] = defaultdict(float)
    lines = path.read_text().splitlines() if path.exists() else []
    for line in lines:
        step, _, seconds = line.partition(" ")
        found[step] += float(seconds)
    return found


def seconds_of_tree(pid: int) -> float:
    """Of a process, its children, theirs, and all that have ended among them."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [c for task in tasks for c in (task / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    own = sum(map(int, fields[11:15])) / TICKS  # user, system, and those of ended children
    return own + sum(map(seconds_of_tree, map(int, children)))
