"""The name of this process, and whether a named one has ended."""

from __future__ import annotations

import os
import secrets
import socket
from contextlib import suppress
from pathlib import Path

MACHINE = socket.gethostname()
HOST = MACHINE
with suppress(OSError):
    # Containers may share a name; their process numbers are counted apart.
    HOST += f"/{Path('/proc/self/ns/pid').readlink()}"
# The last part tells it from an earlier process with the same number.
PROCESS = f"{HOST}|{os.getpid()}|{secrets.token_hex(4)}"


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
