"""Processes of a run: forked, watched and killed.

They are forked from a process that has imported what takes long: each sets its own environment and
then Django up anew. So a start takes a fraction of what a new interpreter would, and is otherwise
the same.
"""

from __future__ import annotations

import ctypes
import os
import random
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

PATIENCE = 60.0  # seconds for a process to start or to end
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def fork(main: Callable[[], None], log: Path, environment: Mapping[str, str] | None = None) -> int:
    """The id of a new process that runs `main` in a session of its own, writes to `log`, and dies
    with this one."""
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    if pid := os.fork():
        return pid
    status = 1
    try:
        os.setsid()
        die_with(parent)
        _redirect(log)
        if environment is not None:
            os.environ.clear()
            os.environ.update(environment)
            from .. import warm

            warm.begin_anew()
        main()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - it must not return into what the parent was doing
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def die_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def adopt_orphans() -> None:
    """Processes whose parent was killed become children of this one, so that it can end them."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _redirect(log: Path) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    out = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(out, 1)
    os.dup2(out, 2)


def free_port() -> int:
    """Below those that the system gives to outgoing connections, so that none of them takes it."""
    chance = random.SystemRandom()
    while True:
        port = chance.randrange(15_000, 32_000)
        with socket.socket() as attempt, suppress(OSError):
            attempt.bind(("127.0.0.1", port))
            return port


@dataclass
class Process:
    """One part of the site, in its present life."""

    pid: int
    born: float = field(default_factory=time.monotonic)
    sign: Path | None = None  # a file that it makes when it has started
    ready: float | None = None  # when that was seen
    status: int | None = None  # as of waitpid, once it has ended

    def has_ended(self) -> bool:
        # Taken note of at once: a process that is dead but still listed counts as alive.
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = status if pid else None
        return self.status is not None

    @property
    def age(self) -> float:
        """Seconds since it has started: how long that takes depends on the machine."""
        if self.ready is None and (self.sign is None or self.sign.exists()):
            self.ready = time.monotonic()
        return 0.0 if self.ready is None else time.monotonic() - self.ready

    @property
    def ended_by(self) -> str:
        """How it ended, for a report."""
        assert self.status is not None
        if os.WIFSIGNALED(self.status):
            return signal.Signals(os.WTERMSIG(self.status)).name
        return f"status {os.WEXITSTATUS(self.status)}"

    def signal(self, number: signal.Signals, *, group: bool = False) -> None:
        with suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(self.pid, number)

    def wait(self, seconds: float = PATIENCE) -> None:
        """Raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while not self.has_ended():
            if time.monotonic() > deadline:
                raise TimeoutError(f"process {self.pid} did not end within {seconds:.0f} s")
            time.sleep(0.01)


def wait_until(condition: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited in vain until {what}")
        time.sleep(0.02)
