"""Processes that start quickly: forked from one that has imported the heavy libraries, but nothing
that knows the settings. Each sets its own environment and only then Django up, so it is otherwise
like a new interpreter.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["tests.heavy"])


def start(
    main: Callable[..., None], *arguments: Any, environment: Mapping[str, str], errors: Path
) -> BaseProcess:
    """A process that runs `main` in `environment` and writes its complaints to `errors`. It is
    killed when this one ends."""
    process = _forks.Process(
        target=_run, args=(main, arguments, dict(environment), str(errors)), daemon=True
    )
    process.start()
    return process


def _run(
    main: Callable[..., None], arguments: tuple[Any, ...], environment: dict[str, str], errors: str
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.dup2(os.open(errors, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), 2)
    main(*arguments)


def _end_with_parent() -> None:
    # Not with the process that it was forked from, which lives as long as this one.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGKILL)
