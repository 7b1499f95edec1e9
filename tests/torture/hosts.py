"""A second machine: a network of its own behind a cable that can be pulled out, with a name of its
own. It needs root and the command `ip`.

Both machines see the same disk, as with a shared folder; the database and the provider are on the
first.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

NETWORK = "10.213.0.0/16"  # of all cables: one for each run at a time
MOST = 250
_CLONE_NEWNET, _CLONE_NEWUTS = 0x40000000, 0x04000000


@dataclass(frozen=True)
class SecondHost:
    number: int  # of its cable

    @property
    def name(self) -> str:
        return f"torture-{self.number}"

    @property
    def address(self) -> str:
        return f"10.213.{self.number}.2"

    @property
    def first_address(self) -> str:
        """Of the first machine, as seen from this one."""
        return f"10.213.{self.number}.1"

    def run(self, main: Callable[[], None]) -> None:
        """Run `main` there, in a process that was forked for it and has one thread."""
        system = ctypes.CDLL(None, use_errno=True)
        with Path("/run/netns", self.name).open() as network:
            if system.setns(network.fileno(), _CLONE_NEWNET) or system.unshare(_CLONE_NEWUTS):
                raise OSError(ctypes.get_errno(), f"{self.name} cannot be entered")
        socket.sethostname(self.name)
        from .. import warm

        warm.begin_anew()  # as a process of this host
        main()

    def pull_cable(self) -> None:
        _ip("-n", self.name, "link", "set", "cable", "down")

    def plug_cable(self) -> None:
        _ip("-n", self.name, "link", "set", "cable", "up")

    def remove(self) -> None:
        _ip("netns", "delete", self.name)


def is_possible() -> bool:
    return os.geteuid() == 0 and shutil.which("ip") is not None


def connect() -> SecondHost:
    """A new one. Raises OSError if this machine has no more."""
    for number in range(1, MOST + 1):
        host, here = SecondHost(number), f"torture{number}"
        try:
            _ip("netns", "add", host.name)
        except subprocess.CalledProcessError:
            continue  # it is another run's
        try:
            _ip("link", "add", here, "type", "veth", "peer", "name", "cable", "netns", host.name)
        except subprocess.CalledProcessError:  # an earlier one with this name is still going
            host.remove()
            continue
        _ip("address", "add", f"{host.first_address}/24", "dev", here)
        _ip("link", "set", here, "up")
        _ip("-n", host.name, "address", "add", f"{host.address}/24", "dev", "cable")
        _ip("-n", host.name, "link", "set", "lo", "up")
        host.plug_cable()
        return host
    raise OSError("no second machine can be made: is this a container without CAP_SYS_ADMIN?")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def relay(here: str, there: str, *ports: int) -> None:
    """Pass on what is sent to `ports` at the address `here` to the same at `there`, until killed.
    The site speaks plain HTTP only with its own machine."""
    for port in ports:
        listener = socket.create_server((here, port), backlog=100)
        threading.Thread(target=_pass_on_all, args=(listener, (there, port)), daemon=True).start()
    threading.Event().wait()


def _pass_on_all(listener: socket.socket, address: tuple[str, int]) -> None:
    while True:
        near, _ = listener.accept()
        threading.Thread(target=_pass_on, args=(near, address), daemon=True).start()


def _pass_on(near: socket.socket, address: tuple[str, int]) -> None:
    try:
        far = socket.create_connection(address)
    except OSError:
        near.close()
        return
    threading.Thread(target=_copy, args=(near, far), daemon=True).start()
    _copy(far, near)


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while block := source.recv(65_536):
            target.sendall(block)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        source.close()
        target.close()
