"""Whether a process has ended is only said of one whose number is counted here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.models import processes

pytestmark = pytest.mark.no_database
NUMBERS = Path("/proc/self/ns/pid")


def named(number: int, host: str = processes.HOST) -> str:
    return f"{host}|{number}|0123abcd"


def test_a_process_of_this_machine_is_known_to_have_ended() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert processes.has_ended(named(ended.pid))
    assert not processes.has_ended(named(os.getppid()))
    assert not processes.has_ended(processes.PROCESS)
    assert processes.has_ended(named(os.getpid()))  # one before us, with our number


def test_a_forked_process_has_a_name_of_its_own() -> None:
    read, write = os.pipe()
    if not (child := os.fork()):
        os.write(write, processes.PROCESS.encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    with os.fdopen(read) as pipe:
        name = pipe.read()

    assert name.startswith(f"{processes.HOST}|{child}|")
    assert name.rpartition("|")[2] != processes.PROCESS.rpartition("|")[2]


@pytest.mark.parametrize(
    "different", ["name", "start of the system", "namespace of process numbers"]
)
def test_a_machine_that_is_like_this_one_is_another(tmp_path: Path, different: str) -> None:
    """Copied machines have one name; numbers of namespaces are the same on many of them."""
    boot, other_boot = tmp_path / "boot", tmp_path / "other"
    boot.write_text("6c1bd8fb\n")
    other_boot.write_text("0a7ce211\n")
    numbers = tmp_path / "pid"
    numbers.symlink_to("pid:[4026532281]")
    host = processes.name_host("web", boot, NUMBERS)
    others = {
        "name": processes.name_host("worker", boot, NUMBERS),
        "start of the system": processes.name_host("web", other_boot, NUMBERS),
        "namespace of process numbers": processes.name_host("web", boot, numbers),
    }
    assert others[different] != host == processes.name_host("web", boot, NUMBERS)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert not processes.has_ended(named(gone.pid, others[different]))


def test_a_name_fits_where_it_is_stored(tmp_path: Path) -> None:
    long = processes.name_host("h" * 64, tmp_path / "none", tmp_path / "none")
    assert len(f"{named(2**22, long)}|01234567") <= 100
