"""`manage.py serve`: the whole site in one terminal: web, worker and, in practice mode, the
simulator."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Sequence
from contextlib import suppress
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, connection
from django.db.models import F

from batchsite import __version__

from ...actions import first_account
from ...models import Heartbeat, locks, practice_token, storage, versions
from ...rules import json_log
from ...web.first_visit import is_for_this_machine
from ...worker import supervision
from ...worker.supervision import STOP_SIGNALS, WATCHED_SIGNALS, HeartbeatWatch, Part, Signs

# The worker ends the step it is in; web ends the answers it is giving.
GRACE_SECONDS = 30
HUNG_AFTER_SECONDS = 120.0
LEAST_SECONDS = 30  # a worker that has nothing to do gives a sign every ten seconds


class Command(BaseCommand):
    help = "Start the site: web, worker and, where no API key is set, the simulator."
    # They would import every page, which this process never shows.
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--hung-after",
            type=seconds,
            default=HUNG_AFTER_SECONDS,
            metavar="SECONDS",
            help="restart a worker that gives no sign of life for this long (default: 120)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        lock = take_serve_lock()
        self.complain(tighten(settings.DATA_DIR))
        web = host_and_port(settings.BIND, "BIND", "127.0.0.1:8001")
        refuse_taken_port(*web, "BIND", "127.0.0.1:8001")
        signs = Signs()
        run_worker = [sys.executable, "manage.py", "run_huey"]
        worker = Part("worker", run_worker, settings.BASE_DIR, signs)
        parts = [web_part(), worker]
        if settings.PRACTICE:
            setting, example = "ANTHROPIC_BASE_URL", "http://127.0.0.1:8791"
            provider = host_and_port(urlsplit(settings.ANTHROPIC_BASE_URL).netloc, setting, example)
            refuse_taken_port(*provider, setting, example)
            parts.insert(0, simulator_part(*provider))

        os.environ["BATCHSITE_MODE"] = settings.MODE  # for the parts
        set_up()
        link = set_up_path()
        connection.close()

        signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED_SIGNALS)
        heartbeat = HeartbeatWatch(LookAtWorker(signs), options["hung_after"])
        heartbeat.watch()
        for part in parts:
            part.restart_at = 0.0  # as soon as it is looked after
        try:
            self.watch(parts, web, worker, heartbeat, link)
        finally:
            # The simulator last: the worker may be talking to it.
            others = [part for part in parts if part.name != "simulator"]
            supervision.stop([others, parts], GRACE_SECONDS)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED_SIGNALS)
            lock.close()

    def watch(
        self,
        parts: Sequence[Part],
        web: tuple[str, int],
        worker: Part,
        heartbeat: HeartbeatWatch,
        link: str,
    ) -> None:
        """Keep the parts running until a signal says stop. `link`: see set_up_path."""
        ready = False
        while True:
            for part in parts:
                self.complain(part.look_after())
            self.look_after_hung(worker, heartbeat)
            if not ready and answers(*web):
                ready = True
                with suppress(OSError):  # nobody reads it any more; the site runs all the same
                    self.stdout.write(ready_line(*web, link))
                    self.stdout.flush()
            # The end of a part is a signal, too.
            received = signal.sigtimedwait(WATCHED_SIGNALS, 1.0 if ready else 0.2)
            if received and received.si_signo in STOP_SIGNALS:
                return

    def look_after_hung(self, worker: Part, heartbeat: HeartbeatWatch) -> None:
        if worker.restart_at is not None:
            heartbeat.forget()  # none is running
        elif heartbeat.has_stopped():
            self.complain(
                f"The worker gave no sign of life for {heartbeat.limit:g} seconds and is killed."
            )
            worker.kill()
            heartbeat.forget()

    def complain(self, text: str) -> None:
        if text:
            if settings.LOG_FORMAT == "json":
                text = json_log.line("ERROR", "serve", text)
            with suppress(OSError):
                self.stderr.write(text)


def seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not LEAST_SECONDS <= value < float("inf"):
        raise ArgumentTypeError(f"give a number of seconds, {LEAST_SECONDS} or more")
    return value


def take_serve_lock() -> IO[bytes]:
    """Raises CommandError when the site runs already, or a restore is under way."""
    try:
        return locks.take(locks.SERVE)
    except locks.Taken:
        raise CommandError(
            f"The site runs already, or a backup is being restored: another “manage.py” uses "
            f"{settings.DATA_DIR}. Stop it, or wait for it."
        ) from None


def tighten(folder: Path) -> str:
    """Let nobody else into a folder. Why that was not possible, in words; "" when it was."""
    if not folder.stat().st_mode & 0o077:
        return ""
    try:
        folder.chmod(0o700)
    except OSError as error:
        return (
            f"Other users of this machine may read {folder}, which holds people’s data, and that "
            f"cannot be changed ({error.strerror}). Run: chmod 700 {folder}"
        )
    return ""


def read_heartbeat() -> object:
    """The worker's last sign of life. Raises DatabaseError, also when the database can only be
    read: it is locked, or the disk is full, and then no worker can give one."""
    heartbeat = Heartbeat.row()
    try:
        heartbeat.update(tick_at=F("tick_at"))
        return heartbeat.values_list("tick_at", flat=True).get()
    finally:
        connection.close()


class LookAtWorker:
    """How many signs of life the worker has given. Where there is no new one, raises DatabaseError
    when the database is what keeps it from giving one."""

    QUIET_SECONDS = 15.0  # nothing to ask the database about

    def __init__(self, signs: Signs) -> None:
        self._signs, self._last, self._since = signs, -1, 0.0

    def __call__(self) -> int:
        count, now = self._signs.count(), time.monotonic()
        if count != self._last:
            self._last, self._since = count, now
        elif now - self._since > self.QUIET_SECONDS:
            read_heartbeat()
        return count


def set_up() -> None:
    """Set up a new database, and the static files. Raises CommandError, also for a database of
    another version: an upgrade is a command of its own, because it can go back. A first start that
    was interrupted goes on."""
    storage.give_up_ballast_if_full()  # a site that does not start is of no use to anybody
    try:
        if versions.newest_applied() > versions.NEWEST_HERE:
            raise CommandError(versions.why_other_schema())
        if versions.is_in_use() and versions.pending():
            raise CommandError(versions.OLDER.format(here=__version__))
        call_command("migrate", interactive=False, verbosity=0)
        versions.note()
    except OperationalError as error:
        raise CommandError(f"The database cannot be used: {error}") from error
    finally:
        connection.close()
    try:
        call_command("collectstatic", interactive=False, verbosity=0)
    except OSError as error:
        raise CommandError(f"The static files cannot be written: {error}") from error


def web_part() -> Part:
    command = [sys.executable, "-m", "gunicorn", "batchsite.wsgi", "--bind", settings.BIND]
    # Threads that no slow client can hold.
    command += ["--worker-class", "jobs.web.server.Worker", "--workers", "2", "--threads", "9"]
    command += ["--worker-connections", "800"]
    command += ["--timeout", "120", "--graceful-timeout", str(GRACE_SECONDS)]
    command += ["--log-level", "warning", "--logger-class", "jobs.web.server.Log"]
    command += ["--no-control-socket", "--preload"]
    # Workers are renewed now and then, so that no slow leak can grow.
    command += ["--max-requests", "5000", "--max-requests-jitter", "500"]
    # The sign of life of a worker is a file; on a disk it could block when that is busy.
    if Path("/dev/shm").is_dir():  # noqa: S108 - gunicorn makes a private file in it
        command += ["--worker-tmp-dir", "/dev/shm"]  # noqa: S108 - as above
    return Part("web server", command, settings.BASE_DIR)


def simulator_part(host: str, port: int) -> Part:
    folder = settings.DATA_DIR / "simulator"
    command = [sys.executable, "-m", "jobs.simulator", "--data", str(folder)]
    command += ["--host", host, "--port", str(port)]
    command += ["--token-file", str(practice_token.make(settings.DATA_DIR))]
    return Part("simulator", command, settings.BASE_DIR)


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
    """Raises CommandError when the site cannot listen at `host` and `port`. The parts of a site
    that was killed get their time to end."""
    patience = time.monotonic() + GRACE_SECONDS + 5
    while why := why_not_listening(host, port):
        if locks.is_free(locks.SITE) or time.monotonic() > patience:
            raise CommandError(f"{why}. Choose another port, for example {setting}={example}")
        time.sleep(0.2)


def why_not_listening(host: str, port: int) -> str:
    """Why the site cannot listen at `host` and `port`; "" when it can."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as attempt:
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            attempt.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return f"Port {port} of {host} is taken by another program, or the site runs already"
        return f"The site cannot listen at {host}:{port} ({error.strerror})"
    return ""


def answers(host: str, port: int) -> bool:
    """Whether the web server answers a request by now."""
    connection = HTTPConnection(reachable(host), port, timeout=2)
    try:
        connection.request("HEAD", "/healthz")
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def reachable(host: str) -> str:
    """Where this machine finds a server that listens at `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - nothing is bound


def set_up_path() -> str:
    """The path with which the first account is made. "" when there is one, or when any browser on
    this machine may make it."""
    token = "" if is_for_this_machine() else first_account.make_token()
    return f"/setup/?token={token}" if token else ""


def address_for_browsers(host: str, port: int) -> str:
    """Of a site that listens at `host` and `port`, perhaps in a container or behind a proxy."""
    scheme = "https" if settings.HTTPS else "http"
    is_set = f"http://{settings.BIND}" != settings.SITE_URL
    if is_set and settings.SITE_URL.startswith(f"{scheme}:"):
        return settings.SITE_URL
    host = reachable(host)
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    if settings.HTTPS:  # it answers behind a proxy only
        names = [name for name in settings.ALLOWED_HOSTS if not name.startswith(("*", "."))]
        address = f"https://{names[0]}" if names else address
    return address


def ready_line(host: str, port: int, link: str = "") -> str:
    address = address_for_browsers(host, port)
    line = f"batchsite is ready at {address}"
    if settings.PRACTICE:
        line += " (practice mode: no API key is set, so nothing is sent and nothing costs money)"
    if link:
        line += f"\nCreate the first account at {address}{link}"
    return line
