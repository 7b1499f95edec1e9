"""The site as `make run` starts it, on ports of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from jobs.worker.supervision import prepare_child

from .environment import ROOT, clean_environment

# For what a quiet machine does in some seconds. `make mutants` has less patience: code with a fault
# is often waited for in vain.
SECONDS = int(os.environ.get("TEST_PATIENCE", "300"))
# A database that is up to date, made once for all processes of run.py: a file, or on PostgreSQL the
# name of one.
MIGRATED = os.environ.get("MIGRATED", "")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def with_database(folder: Path) -> Path:
    """The new folder of a site, with a database that is up to date if there is one to be copied:
    migrations take a second of processor time."""
    if Path(MIGRATED).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(MIGRATED, folder / "batchsite.sqlite3")
    return folder


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.05)


def _has_program(pid: int) -> bool:
    """False for a process that has ended, also when nobody has asked for its status yet."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except (FileNotFoundError, ProcessLookupError):
        return False


class Site:
    """`manage.py serve` on ports of its own, or on those that `values` name."""

    def __init__(self, data_dir: Path, *options: str, **values: str) -> None:
        self.port, self.provider_port = free_port(), free_port()
        self.data_dir = data_dir
        environment = {
            "BIND": f"127.0.0.1:{self.port}",
            "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{self.provider_port}",
            "DATABASE_URL": os.environ.get("DATABASE_URL", ""),
            **values,
        }
        self.environment = clean_environment(data_dir, **environment)
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "serve", *options],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=prepare_child,
        )
        self.said: list[str] = []
        self.complained: list[str] = []
        self.readers = [
            threading.Thread(target=lines.extend, args=(stream,))
            for lines, stream in (
                (self.said, self.process.stdout),
                (self.complained, self.process.stderr),
            )
        ]
        for reader in self.readers:
            reader.start()

    def wait_until_ready(self) -> None:
        wait_for(lambda: bool(self.said) or self.process.poll() is not None, "the ready line")
        assert self.said, "".join(self.complained)

    def set_up_path(self) -> str:
        """Where the first account is made."""
        wait_for(lambda: any("/setup/" in line for line in self.said), "the link")
        links = (line.partition("/setup/")[2].strip() for line in self.said)
        return "/setup/" + next(filter(None, links))

    def children(self) -> dict[str, int]:
        """Process ids of the site's parts, by a word of their command."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        found = {}
        for pid in map(int, children.split()):
            try:
                command = Path(f"/proc/{pid}/cmdline").read_text()
            except FileNotFoundError:  # it has just ended
                continue
            for word in ("gunicorn", "run_huey", "jobs.simulator"):
                if word in command:
                    found[word] = pid
        return found

    def end(self, number: signal.Signals) -> int:
        """Send the signal to the parent alone, and wait for it to end."""
        self.process.send_signal(number)
        return self.process.wait(timeout=SECONDS)

    def lose_power(self) -> None:
        """Kill all of it at once, so that no part ends in order."""
        parts = self.children().values()
        self.process.send_signal(signal.SIGSTOP)  # it would start them again
        for pid in parts:
            os.killpg(pid, signal.SIGKILL)
        self.end(signal.SIGKILL)
        wait_for(lambda: not any(map(_has_program, parts)), "the end of all parts")

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=SECONDS)
        for reader in self.readers:
            reader.join()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()
