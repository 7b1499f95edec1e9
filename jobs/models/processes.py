"""The name of this process, and whether a named one has ended."""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
from contextlib import suppress
from pathlib import Path

MACHINE = socket.gethostname()


def name_host(machine: str, boot: Path, numbers: Path) -> str:
    """Names those whose processes have numbers of one kind. Copied machines and containers may
    share a name, and even the id of the namespace in which processes are counted (`numbers`), but
    not the start of the system (`boot`)."""
    parts = [machine]
    with suppress(OSError):
        parts.append(boot.read_text())
    with suppress(OSError):
        parts.append(str(numbers.readlink()))
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]


HOST = name_host(MACHINE, Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid"))
PROCESS = ""


def name_process() -> None:
    """The last part tells it from an earlier process with the same number."""
    global PROCESS
    PROCESS = f"{HOST}|{os.getpid()}|{secrets.token_hex(4)}"


name_process()
os.register_at_fork(after_in_child=name_process)


def is_alive(number: int) -> bool:
    """Whether the process of this machine with that number, which is another one, still runs."""
    if number == os.getpid():
        return False  # our own number, but not our token: a process before us
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def has_ended(name: str) -> bool:
    """Whether a process with a name as PROCESS has ended; False where this cannot be known, because
    it is another machine's."""
    host, number, _token = name.rsplit("|", 2)
    return host == HOST and name != PROCESS and not is_alive(int(number))
