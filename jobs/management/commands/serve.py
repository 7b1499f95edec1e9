"""`manage.py serve`: the whole site in one terminal: web, worker and, in practice mode, the
simulator."""

from __future__ import annotations

import ctypes
import errno
import signal
import socket
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, connection

STOP_SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
WATCHED_SIGNALS = {*STOP_SIGNALS, signal.SIGCHLD}
# The worker ends the step it is in; web ends the answers it is giving.
GRACE_SECONDS = 30
RESTART_SECONDS = 1.0
# So many deaths of one part within a minute are no accident.
DEATHS_A_MINUTE = 5


@dataclass
class Part:
    """A process of the site: how it is started, and when it died."""

    name: str
    command: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    deaths: deque[float] = field(default_factory=lambda: deque(maxlen=DEATHS_A_MINUTE))
    restart_at: float | None = None

    def start(self) -> None:
        self.restart_at = None
        self.process = subprocess.Popen(  # noqa: S603 - our own programs
            self.command,
            cwd=settings.BASE_DIR,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # logs are on stderr
            # A session of its own: Ctrl-C reaches the parent only, which then ends all in order.
            start_new_session=True,
            preexec_fn=prepare_child,
        )

    def signal(self, number: signal.Signals) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(number)

    def has_ended(self) -> bool:
        return self.process is None or self.process.poll() is not None


class Command(BaseCommand):
    help = "Start the site: web, worker and, where no API key is set, the simulator."

    def add_arguments(self, parser: ArgumentParser) -> None:
        pass

    def handle(self, *args: Any, **options: Any) -> None:
        web = host_and_port(settings.BIND, "BIND", "127.0.0.1:8001")
        refuse_taken_port(*web, "BIND", "127.0.0.1:8001")
        parts = [web_part(), Part("worker", [sys.executable, "manage.py", "run_huey"])]
        if settings.PRACTICE:
            setting, example = "ANTHROPIC_BASE_URL", "http://127.0.0.1:8791"
            provider = host_and_port(urlsplit(settings.ANTHROPIC_BASE_URL).netloc, setting, example)
            refuse_taken_port(*provider, setting, example)
            parts.insert(0, simulator_part(*provider))

        set_up()

        signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED_SIGNALS)
        try:
            for part in parts:
                part.start()
            self.watch(parts, web)
        finally:
            stop(parts)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED_SIGNALS)

    def watch(self, parts: list[Part], web: tuple[str, int]) -> None:
        """Keep the parts running until a signal says stop. Raises CommandError when one of them
        dies again and again."""
        ready = False
        while True:
            received = signal.sigtimedwait(WATCHED_SIGNALS, 0.2)
            if received and received.si_signo in STOP_SIGNALS:
                return
            for part in parts:
                self.look_after(part)
            if not ready and answers(*web):
                ready = True
                self.stdout.write(ready_line(*web))
                self.stdout.flush()

    def look_after(self, part: Part) -> None:
        now = time.monotonic()
        if part.restart_at is not None:
            if now >= part.restart_at:
                part.start()
        elif part.has_ended():
            part.deaths.append(now)
            if len(part.deaths) == DEATHS_A_MINUTE and now - part.deaths[0] < 60:
                raise CommandError(
                    f"The {part.name} ended {DEATHS_A_MINUTE} times within a minute, so everything "
                    "was stopped. The lines above say why."
                )
            status = part.process.returncode if part.process else None
            self.stderr.write(f"The {part.name} ended (status {status}) and is started again.")
            part.restart_at = now + RESTART_SECONDS


def set_up() -> None:
    """Bring the database and the static files up to date."""
    try:
        call_command("migrate", interactive=False, verbosity=0)
    except OperationalError as error:
        raise CommandError(f"The database cannot be used: {error}") from error
    finally:
        connection.close()
    call_command("collectstatic", interactive=False, verbosity=0)


def web_part() -> Part:
    command = [sys.executable, "-m", "gunicorn", "batchsite.wsgi", "--bind", settings.BIND]
    # Threads: a slow upload must not keep others waiting.
    command += ["--worker-class", "gthread", "--workers", "2", "--threads", "8"]
    command += ["--timeout", "120", "--graceful-timeout", str(GRACE_SECONDS)]
    command += ["--log-level", "warning", "--no-control-socket"]
    # Workers are renewed now and then, so that no slow leak can grow.
    command += ["--max-requests", "5000", "--max-requests-jitter", "500"]
    # The sign of life of a worker is a file; on a disk it could block when that is busy.
    if Path("/dev/shm").is_dir():  # noqa: S108 - gunicorn makes a private file in it
        command += ["--worker-tmp-dir", "/dev/shm"]  # noqa: S108 - as above
    return Part("web server", command)


def simulator_part(host: str, port: int) -> Part:
    folder = settings.DATA_DIR / "simulator"
    command = [sys.executable, "-m", "jobs.simulator", "--data", str(folder)]
    command += ["--host", host, "--port", str(port)]
    return Part("simulator", command)


def host_and_port(text: str, setting: str, example: str) -> tuple[str, int]:
    """The two parts of `host:port`. Raises CommandError, with `example`, when it is something
    else."""
    parts = urlsplit(f"//{text}")
    try:
        port = parts.port
    except ValueError:
        port = None
    if not parts.hostname or not port or parts.path:
        raise CommandError(f"{setting} is {text}; give it a host and a port, such as {example}.")
    return parts.hostname, port


def refuse_taken_port(host: str, port: int, setting: str, example: str) -> None:
    """Raises CommandError when the site cannot listen at `host` and `port`."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as attempt:
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            attempt.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            why = f"Port {port} of {host} is taken by another program, or the site runs already"
        else:
            why = f"The site cannot listen at {host}:{port} ({error.strerror})"
        raise CommandError(f"{why}. Choose another port, for example {setting}={example}") from None


def answers(host: str, port: int) -> bool:
    """Whether the web server answers a request by now."""
    connection = HTTPConnection(reachable(host), port, timeout=2)
    known = next((name for name in settings.ALLOWED_HOSTS if name != "*"), "localhost")
    try:
        connection.request("HEAD", "/", headers={"Host": known.lstrip(".")})
        connection.getresponse()
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
    return True


def reachable(host: str) -> str:
    """Where this machine finds a server that listens at `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - nothing is bound


def ready_line(host: str, port: int) -> str:
    host = reachable(host)
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    if settings.PRACTICE:
        return (
            f"batchsite is ready at {address} (practice mode: no ANTHROPIC_API_KEY is set, so "
            "nothing is sent and nothing costs money)"
        )
    return f"batchsite is ready at {address}"


def stop(parts: Sequence[Part]) -> None:
    """End web and worker, which may finish what they are doing, then the simulator, which the
    worker may be talking to. A second Ctrl-C does not wait."""
    for group in ([p for p in parts if p.name != "simulator"], parts):
        for part in group:
            part.signal(signal.SIGTERM)
        deadline = time.monotonic() + GRACE_SECONDS
        while not all(part.has_ended() for part in group):
            received = signal.sigtimedwait(WATCHED_SIGNALS, 0.2)
            impatient = received is not None and received.si_signo in STOP_SIGNALS
            if impatient or time.monotonic() > deadline:
                for part in group:
                    part.signal(signal.SIGKILL)


def prepare_child() -> None:
    """Runs in a new process before its program: take signals again, and end when the parent does,
    even when that is killed."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED_SIGNALS)
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
