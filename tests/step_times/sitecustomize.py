"""Python imports this first when its folder is in PYTHONPATH, as `make bench` starts the site: each
call of a step below appends its name and the seconds of the processor that it took, without those
of the steps within it, to the file STEP_TIMES. Nothing of the product knows of it."""

from __future__ import annotations

import functools
import importlib.machinery
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

# Functions of the product, and the step that they are.
STEPS = {
    "jobs.drafts.reading": {"read_upload": "read"},
    "jobs.drafts.estimates": {"estimate_job": "price"},
    "jobs.batches.planning": {"plan_next_batch": "plan"},
    "jobs.batches.submission": {"submit": "send"},
    "jobs.batches.collection": {"collect": "collect"},
    "jobs.worker.tally": {"count_up": "tally"},
    "jobs.results.statistics": {"count_answers": "tally"},
    "jobs.results.builder": {"build_next": "export"},
    "jobs.worker.sweep": {"sweep": "sweep", "take_look": "looks"},
}
_open = threading.local()  # `within`: for each step under way, the seconds of those within it


def _seconds(step: str) -> float:
    seconds = time.thread_time()
    if step == "read":  # by a child
        times = os.times()
        seconds += times.children_user + times.children_system
    return seconds


def _timed(step: str, function: Callable[..., Any], path: str) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        within = _open.__dict__.setdefault("within", [])
        within.append(0.0)
        began = _seconds(step)
        try:
            return function(*arguments, **named)
        finally:
            took = _seconds(step) - began
            own = took - within.pop()
            if within:
                within[-1] += took
            with Path(path).open("a") as file:
                file.write(f"{step} {own:.6f}\n")

    return call


def _watch(path: str) -> None:
    execute = importlib.machinery.SourceFileLoader.exec_module

    def exec_module(self: importlib.machinery.SourceFileLoader, module: ModuleType) -> None:
        execute(self, module)
        for name, step in STEPS.get(module.__name__, {}).items():
            setattr(module, name, _timed(step, getattr(module, name), path))

    importlib.machinery.SourceFileLoader.exec_module = exec_module  # type: ignore


if "STEP_TIMES" in os.environ:
    _watch(os.environ["STEP_TIMES"])
