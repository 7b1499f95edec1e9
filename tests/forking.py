"""Processes that start quickly: forked from one that has imported what takes long. Each sets its
own environment and then Django up anew, so it is otherwise like a new interpreter.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import threading
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import IO, Any

import msgspec

from jobs.ingest.protocol import ReaderInput
from jobs.ingest.reader_process import run

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["tests.warm"])


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
    from . import warm

    warm.begin_anew()
    main(*arguments)


def _end_with_parent() -> None:
    # Not with the process that it was forked from, which lives as long as this one.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGKILL)


# --- Readers of files -----------------------------------------------------------------------------


class Reader:
    """What drafts/reading.py asks of the child that reads a file, limits and all."""

    def __init__(self, errors: IO[bytes]) -> None:
        order_from, order_to = _forks.Pipe(duplex=False)
        answers_from, answers_to = _forks.Pipe(duplex=False)
        complaints_to = Connection(os.dup(errors.fileno()), readable=False)
        ends = order_from, answers_to, complaints_to
        self.process = _forks.Process(target=_read, args=ends, daemon=True)
        self.process.start()
        for end in ends:
            end.close()
        self.stdin = os.fdopen(os.dup(order_to.fileno()), "wb")
        self.stdout = os.fdopen(os.dup(answers_from.fileno()), "rb")
        order_to.close()
        answers_from.close()

    def kill(self) -> None:
        self.process.kill()

    def wait(self) -> None:
        self.process.join()

    @property
    def returncode(self) -> int | None:
        return self.process.exitcode


_decoder = msgspec.json.Decoder(ReaderInput)
BEGINS_WITH = 32_000_000  # bytes of a new interpreter that has imported what reads


def _read(order_from: Connection, answers_to: Connection, complaints_to: Connection) -> None:
    os.dup2(complaints_to.fileno(), 2)
    with open(order_from.fileno(), "rb", closefd=False) as order:
        wanted = _decoder.decode(order.read())
    # So that it has as much left as the reader of a site.
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    more = pages * resource.getpagesize() - BEGINS_WITH
    limits = msgspec.structs.replace(wanted.limits, memory=wanted.limits.memory + more)
    wanted = msgspec.structs.replace(wanted, limits=limits)
    with open(answers_to.fileno(), "wb", closefd=False) as answers:
        run(wanted, answers)
