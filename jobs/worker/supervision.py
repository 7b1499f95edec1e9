"""Keeping the processes of the site running: each in a group of its own, started again when it ends
or hangs, ever more slowly when it does so again and again. What is healthy is never stopped."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

STOP_SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
WATCHED_SIGNALS = {*STOP_SIGNALS, signal.SIGCHLD}
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds before a part is started again
STEADY_SECONDS = 60.0  # one that lived this long is started again after the first pause
SIGN = "BATCHSITE_SIGN"  # the variable that names the pipe to a new process
# Loaded once: a new process must do as little as it can before its program runs.
_libc = ctypes.CDLL(None)


class Signs:
    """Signs of life of a process, through a pipe: they cost nothing, and need no database."""

    def __init__(self) -> None:
        self._pipe: int | None = None
        self._count = 0
        self._lock = threading.Lock()

    def open(self) -> int:
        """For a new process: what it writes its signs into, to be closed here once it has it."""
        read, write = os.pipe()
        os.set_blocking(read, False)
        with self._lock:
            if self._pipe is not None:
                os.close(self._pipe)
            self._pipe = read
        return write

    def count(self) -> int:
        """How many there were so far."""
        with self._lock, suppress(BlockingIOError):
            while self._pipe is not None and (signs := os.read(self._pipe, 4096)):
                self._count += len(signs)
        return self._count


@dataclass
class Part:
    """A process of the site, with all that it starts."""

    name: str
    command: Sequence[str]
    folder: Path  # in which it runs
    signs: Signs | None = None  # those of life that it gives
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0  # by the monotonic clock
    restart_at: float | None = None
    deaths: int = 0  # since it last lived for STEADY_SECONDS

    def start(self) -> None:
        """Raises OSError when the system cannot start one now."""
        self.started_at, self.restart_at = time.monotonic(), None
        sign = self.signs.open() if self.signs else None
        try:
            self._start(sign)
        finally:
            if sign is not None:
                os.close(sign)

    def _start(self, sign: int | None) -> None:
        self.process = subprocess.Popen(  # noqa: S603 - our own programs
            self.command,
            cwd=self.folder,
            env=None if sign is None else {**os.environ, SIGN: str(sign)},
            pass_fds=() if sign is None else (sign,),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # logs are on stderr
            # A session of its own: Ctrl-C reaches the parent only, which then ends all in order.
            start_new_session=True,
            preexec_fn=prepare_child,
        )

    def look_after(self) -> str:
        """Start the part again if it has ended and its pause is over. What happened, in words; ""
        for nothing."""
        now = time.monotonic()
        if self.restart_at is None:
            return self._note_death(now) if self.has_ended() else ""
        if now < self.restart_at:
            return ""
        try:
            self.start()
        except OSError as error:
            self.process = None
            return self._pause(now, f"The {self.name} cannot be started ({error.strerror}).")
        return ""

    def _note_death(self, now: float) -> str:
        status = self.process.returncode if self.process else None
        if now - self.started_at >= STEADY_SECONDS:
            self.deaths = 0
        return self._pause(now, f"The {self.name} ended (status {status}).")

    def _pause(self, now: float, what: str) -> str:
        seconds = min(FIRST_PAUSE * 2**self.deaths, LONGEST_PAUSE)
        self.restart_at = now + seconds
        self.deaths = min(self.deaths + 1, 10)
        return f"{what} It starts again in {seconds:g} s."

    def has_ended(self) -> bool:
        """Whether its main process has ended. What that left behind is ended, too: it may hold the
        port, or go on with work that the next one begins anew."""
        if self.process is None or self.process.returncode is not None:
            return True
        seen = os.WEXITED | os.WNOHANG | os.WNOWAIT
        if os.waitid(os.P_PID, self.process.pid, seen) is None:
            return False
        # Before its end is taken note of: until then its number cannot become another process's.
        self.kill()
        self.process.wait()
        return True

    def terminate(self) -> None:
        """Ask the main process to end, which sees to those that it started."""
        if self.process and self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the whole group at once."""
        if self.process and self.process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)


def prepare_child() -> None:
    """Runs in a new process before its program: take signals again, and end when the parent does,
    even when that is killed."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED_SIGNALS)
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        _libc.prctl(pr_set_pdeathsig, signal.SIGTERM)


def stop(groups: Sequence[Sequence[Part]], seconds: float) -> None:
    """End the parts, one group after the other; each may take `seconds` for what it is doing. A
    second Ctrl-C does not wait."""
    for parts in groups:
        for part in parts:
            part.terminate()
        deadline = time.monotonic() + seconds
        while not all(part.has_ended() for part in parts):
            received = signal.sigtimedwait(WATCHED_SIGNALS, 0.2)
            impatient = received is not None and received.si_signo in STOP_SIGNALS
            if impatient or time.monotonic() > deadline:
                for part in parts:
                    part.kill()


class HeartbeatWatch:
    """Whether a sign of life still changes. By the monotonic clock, so that one that leaps fools
    nobody; only looks that follow each other closely count, so that neither a database that cannot
    be asked nor a process that stood still makes a healthy worker look dead. A worker that has
    just been started has STARTS_IN limits for its first sign: on a busy machine it needs long for
    that, and one that is killed before would never get there."""

    STARTS_IN = 4

    def __init__(self, read: Callable[[], object], limit: float) -> None:
        """`read` returns the sign; whatever it raises is no look at it. `limit`: seconds."""
        self.limit = limit
        self.pause = min(5.0, limit / 8)
        self._read = read
        self._sign: object = None
        self._since = self._seen_at = float("-inf")
        self._starting = True
        self._lock = threading.Lock()

    def watch(self) -> None:
        """Look at it from a thread, which may hang with the database, until this process ends."""
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            try:
                sign = self._read()
            except Exception:  # noqa: BLE001 - the worker has the same trouble, and says so
                self._begin_anew(self._starting)
            else:
                self.note(sign, time.monotonic())
            time.sleep(self.pause)

    def note(self, sign: object, now: float) -> None:
        """The sign was `sign` at `now`."""
        with self._lock:
            looked_lately = now - self._seen_at <= self.limit / 2
            if sign != self._sign or not looked_lately:
                self._since = now
                self._starting = self._starting and not looked_lately
            self._sign, self._seen_at = sign, now

    def forget(self) -> None:
        """Another process is started, or none is running."""
        self._begin_anew(starting=True)

    def _begin_anew(self, starting: bool) -> None:
        with self._lock:
            self._seen_at = self._since = float("-inf")
            self._starting = starting

    def has_stopped(self) -> bool:
        """Whether the sign has not changed for the limit."""
        with self._lock:
            limit = self.limit * (self.STARTS_IN if self._starting else 1)
            return self._seen_at - self._since >= limit
