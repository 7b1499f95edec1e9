"""The processes of one site: how they start, and how they die."""

from __future__ import annotations

import errno
import json
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections import Counter, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row

from ..environment import clean_environment
from ..notifications import receiver_process
from ..notifications.receiver_process import Arrival
from . import hosts
from .processes import PATIENCE, Process, fork, free_port, wait_until

if TYPE_CHECKING:
    from .plans import Life, Plan, WebDeath

# US dollars a month for all jobs: enough for the dearest job beside what the others have cost and
# what is in doubt, and not for the most that three of them can cost.
CAP = Decimal("0.31")
USER, PASSWORD = "ann", "correct horse battery"


# --- What runs in them ----------------------------------------------------------------------------


def simulator_main(port: int, folder: Path, options: Mapping[str, str]) -> None:
    from ..simulator.__main__ import main

    given = [word for name, value in options.items() for word in (f"--{name}", value)]
    arguments = ["--port", str(port), "--data", str(folder), "--verbose", *given]
    raise SystemExit(main(arguments))


def leap_with(clock: Path) -> None:
    """Let the time of this process be as far off as the file `clock` says, in seconds."""
    from django.utils import timezone

    honest = timezone.now

    def leaping() -> datetime:
        try:
            return honest() + timedelta(seconds=float(clock.read_text()))
        except (FileNotFoundError, ValueError):  # it is being written
            return honest()

    timezone.now = leaping


def manage_main(*arguments: str) -> None:
    import django
    from django.core.management import call_command

    django.setup()
    call_command(*arguments)


def command_main(clock: Path, *arguments: str) -> None:
    leap_with(clock)
    manage_main(*arguments)


def web_main(address: str, clock: Path) -> None:
    leap_with(clock)
    hash_quickly()
    arguments = ["gunicorn", "batchsite.wsgi", "--bind", address, "--threads", "8"]
    arguments += ["--worker-class", "gthread", "--workers", "1", "--graceful-timeout", "10"]
    arguments += ["--log-level", "warning", "--no-control-socket", "--worker-tmp-dir", "/dev/shm"]  # noqa: S108 - memory, not a file
    sys.argv = arguments
    import_module("gunicorn.app.wsgiapp").run()


def hash_quickly() -> None:
    """How passwords are kept is nothing that is asked here, and takes a third of a second each."""
    from django.conf import settings

    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def worker_main(life: Life, mutant: str, sign: Path, clock: Path) -> None:
    import django
    from django.core.management import call_command

    leap_with(clock)

    from .. import dying_worker, mutants

    django.setup()
    quicken()
    if mutant:
        mutants.apply(mutant)
    if life.point:
        dying_worker.arrange(life.point, dying_worker.die_at_pass(life.passes))
    sign.touch()
    call_command("run_huey", max_delay=0.2)


def quicken() -> None:
    """Shorten waits that no setting shortens, so that a run takes seconds. None of them is what
    keeps a batch from being sent twice."""
    from jobs.batches import collection, holds, reconciliation
    from jobs.notifications import sending
    from jobs.provider import client
    from jobs.worker import failures, sent_jobs

    short = timedelta(seconds=1)
    client.READ_SECONDS = 3.0
    holds.FIRST_PAUSE, holds.LONGEST_PAUSE, holds.FIRST_GO = short, 3 * short, short
    holds.USUAL_WAIT = 2.0
    sending.FIRST_PAUSE, sending.LONGEST_PAUSE = short, 3 * short
    sent_jobs.PAUSE_OF_A_BATCH = sent_jobs.LONGEST_PAUSE_OF_A_BATCH = short
    look_again, try_again = reconciliation._look_again, collection._try_again
    after_failure = failures.after_failure

    def looked_at_soon(batch: Any, pause: timedelta, *arguments: Any) -> timedelta:
        return look_again(batch, min(pause, short), *arguments)

    def tried_soon(batch: Any, *arguments: Any, **options: Any) -> timedelta:
        from jobs.models import clock

        try_again(batch, *arguments, **options)
        type(batch).objects.filter(pk=batch.pk).update(next_action_at=clock.now() + short)
        return short

    def taken_again_soon(job_pk: int, longest: timedelta = 3 * short) -> datetime:
        # On a machine that is busy, the simulator is late for READ_SECONDS many times in a row.
        return after_failure(job_pk, min(longest, 3 * short))

    reconciliation._look_again = looked_at_soon  # type: ignore[assignment] # passes the rest on
    collection._try_again = tried_soon
    failures.after_failure = taken_again_soon


# --- The provider ---------------------------------------------------------------------------------


class Provider:
    """The simulator, as the test tells it and asks it."""

    def __init__(self, port: int, key: str, log: Path) -> None:
        self.url, self.key, self.log = f"http://127.0.0.1:{port}", key, log

    def answered(self, beginning: str) -> int:
        """How many requests that begin so, such as "GET /v1/models ", it has answered."""
        lines = self.log.read_text().splitlines()
        return sum(line.startswith(beginning) for line in lines)

    def is_up(self) -> bool:
        try:
            self.faults()
        except OSError:
            return False
        return True

    def order(self, **order: Any) -> None:
        """Faults to come, and knobs to turn: see tests/simulator/faults.py and knobs.py."""
        self._call("/_faults", json.dumps(order).encode())

    def faults(self) -> dict[str, Any]:
        """Faults that wait, how the knobs stand, and what fell so far."""
        return self._json("/_faults")

    def reset(self) -> None:
        self._call("/_reset", b"")

    def truth(self, ids: bool = False) -> dict[str, Any]:
        return self._json(f"/_truth?ids={int(ids)}")

    def results(self, provider_id: str) -> bytes:
        return self._call(f"/v1/messages/batches/{provider_id}/results")

    def _json(self, path: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._call(path))
        return found

    def _call(self, path: str, body: bytes | None = None) -> bytes:
        request = urllib.request.Request(f"{self.url}{path}", body, {"x-api-key": self.key})
        with urllib.request.urlopen(request, timeout=30) as answer:
            content: bytes = answer.read()
        return content


# --- The database ---------------------------------------------------------------------------------


class CannotBeRead(Exception):
    """The database cannot be opened, because its disk is full."""


class Database:
    """What the site has stored, read with plain SQL. A connection for each look: one that is open
    while a process is forked would do harm in the child."""

    def __init__(self, address: str | Path) -> None:
        self.address = address

    def read(self, query: str) -> list[dict[str, Any]]:
        if isinstance(self.address, str):
            with psycopg.connect(self.address, row_factory=dict_row) as server:
                return server.execute(query.encode()).fetchall()
        connection = sqlite3.connect(f"file:{self.address}?mode=ro", uri=True, timeout=20)
        connection.row_factory = sqlite3.Row
        try:
            return [dict(row) for row in connection.execute(query)]
        except sqlite3.OperationalError as error:
            raise CannotBeRead(str(error)) from error
        finally:
            connection.close()

    def table(self, name: str) -> list[dict[str, Any]]:
        return self.read(f"SELECT * FROM {name} ORDER BY id")  # noqa: S608 - ours


def as_json(value: Any) -> Any:
    """A column of JSON, which SQLite gives as text."""
    return json.loads(value) if isinstance(value, str) else value


# --- A template, made once ------------------------------------------------------------------------


def make_template(database_url: str) -> None:
    """A migrated database with an account, and the static files; runs in a process of its own."""
    import django
    from django.core.management import call_command

    django.setup()
    hash_quickly()
    from django.contrib.auth.models import User

    from jobs.models import SpendingCaps

    call_command("migrate", interactive=False, verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0)
    User.objects.create_superuser(USER, password=PASSWORD)
    SpendingCaps.objects.filter(pk=1).update(most_a_month=CAP)
    if database_url:
        return
    from django.db import connection

    with connection.cursor() as cursor:  # so that the file alone is the database
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")


# --- The site -------------------------------------------------------------------------------------


class Site:
    """Web, workers and provider of one run. `look_after` brings the deaths of the plan, and starts
    again what has died."""

    def __init__(self, plan: Plan, folder: Path, template: Path, database_url: str) -> None:
        self.plan, self.folder = plan, folder
        self.data = folder / "data"
        self.logs = folder / "logs"
        self._arrivals = folder / "arrivals"
        self.web_port, self.provider_port = free_port(), free_port()
        self.provider = Provider(self.provider_port, plan.key, self.logs / "provider.log")
        self.kills: Counter[str] = Counter()
        self.troubles: Counter[str] = Counter()
        self.fell: Counter[str] = (
            Counter()
        )  # faults, as far as an earlier life of the provider knew
        self.complaints: list[str] = []
        self.chaos = True
        self._lives = [deque(lives) for lives in plan.workers]
        self._workers: list[tuple[Process, Life] | None] = [None for _ in plan.workers]
        self._started = 0  # workers so far
        self._told: dict[int, float] = {}  # process -> when it was told to stop
        self._web_deaths = deque(sorted(plan.web_deaths, key=lambda death: death.at))
        self._web: Process | None = None
        self._simulator: Process | None = None
        self._provider_deaths = deque(sorted(plan.provider_deaths))
        self._clock_leaps = deque(sorted(plan.clock_leaps))
        self._clock = folder / "clock"
        self._disk_full = plan.disk_full
        self._disk_free_at: float | None = None
        self._restore = plan.restore
        self._backup: Process | None = None
        self._second = hosts.connect() if plan.second_host else None
        self._second_web: Process | None = None
        # The provider and the webhook listen to their own machine only.
        self._relays: list[Process] = []
        self._receiver: Process | None = None
        self._cable_out = deque(plan.cable_out)
        self._cable_in_at: float | None = None
        self.has_small_disk = False
        self._began = time.monotonic()
        values = {
            "ANTHROPIC_API_KEY": plan.key,
            "ANTHROPIC_BASE_URL": self.provider.url,
            "DATABASE_URL": database_url,
            "DJANGO_SETTINGS_MODULE": "batchsite.settings",
            "NOTIFY_PRIVATE_HOSTS": "127.0.0.0/8",
            **plan.environment,
        }
        self.environment = clean_environment(self.data, **values)
        if self._second:
            found = conninfo_to_dict(database_url)
            server = f"{self._second.first_address}:{found['port']}"
            values["DATABASE_URL"] = f"postgres://{found['user']}@{server}/{found['dbname']}"
        self._second_environment = clean_environment(self.data, **values)
        self.data.mkdir(parents=True)
        if plan.disk_full:
            self.has_small_disk = mount_small_disk(self.data)
        (self.data / "static").symlink_to(template / "static")
        if not database_url:
            file = self.data / "batchsite.sqlite3"
            file.write_bytes((template / "batchsite.sqlite3").read_bytes())
        self.database = Database(database_url or self.data / "batchsite.sqlite3")

    # ---------------------------------------------------------------------------- starting, ending

    def start(self) -> None:
        """Raises TimeoutError."""
        self._start_simulator()
        self._start_webs()
        self._start_receiver()
        wait_until(self.provider.is_up, "the simulator answers")
        wait_until(self.web_is_up, "the web servers answer")
        self._began = time.monotonic()

    def start_workers(self, dies_at: str = "") -> None:
        """`dies_at`: the point at which the first of them dies once."""
        from .plans import Life

        if dies_at:
            self._lives[0].append(Life("point", PATIENCE, dies_at))
        for number in range(len(self._workers)):
            self._start_worker(number)

    def stop(self) -> None:
        """End everything, at once."""
        running = [worker for worker, _life in filter(None, self._workers)]
        others = [self._web, self._second_web, self._simulator, self._receiver, *self._relays]
        for process in [*running, *others]:
            if process and not process.has_ended():
                process.signal(signal.SIGKILL, group=True)
                process.wait()
        if self._second:
            self._second.remove()
        if self.has_small_disk:
            subprocess.run(["umount", "--lazy", str(self.data)], check=False)

    def stop_workers(self) -> None:
        """Let the workers finish what they do. Raises TimeoutError."""
        for worker, _life in filter(None, self._workers):
            worker.signal(signal.SIGTERM)
        for worker, _life in filter(None, self._workers):
            worker.wait()
        self._workers = [None for _ in self._workers]

    def calm(self) -> None:
        """Faults and kills are over. The workers die one last time, so that nobody asks the
        provider anything while it is put right; its clock stays as wrong as it was."""
        if not self.chaos:
            return
        self.chaos = False
        self._make_room()
        self._plug_cable()
        self._start_what_is_missing()
        for number, running in enumerate(self._workers):
            self._lives[number].clear()
            if running:
                self._kill_worker(running[0], "worker, SIGKILL at some time")
                running[0].wait()
        clock = self.provider.faults()["clock_ahead_seconds"]
        self.provider.reset()
        self.provider.order(clock_ahead_seconds=clock)

    def web_addresses(self) -> list[tuple[str, int]]:
        """Of the web servers that can be reached."""
        found = [("127.0.0.1", self.web_port)]
        if self._second and self._cable_in_at is None:
            found.append((self._second.address, self.web_port))
        return found

    def web_is_up(self) -> bool:
        try:
            for address in self.web_addresses():
                socket.create_connection(address, timeout=1).close()
            return True
        except OSError as error:
            if error.errno not in (errno.ECONNREFUSED, errno.ECONNRESET):
                raise
            return False

    def _start_simulator(self) -> None:
        folder, options = self.folder / "provider", self.plan.simulator
        self._simulator = Process(
            fork(
                lambda: simulator_main(self.provider_port, folder, options),
                self.provider.log,
                self.environment,
            )
        )

    def _start_receiver(self) -> None:
        """The webhook of the person."""
        ports = self.folder / "ports"
        main = partial(receiver_process.main, str(self._arrivals), str(ports))
        self._receiver = Process(fork(main, self.logs / "receiver.log", self.environment))
        wait_until(ports.exists, "the receiver of the webhook listens")
        url, _mail_port = json.loads(ports.read_text())
        adding = self.manage("notifications", "add", f"--owner={USER}", f"--webhook={url}")
        adding.wait()
        if adding.status:
            raise RuntimeError((self.logs / "command.log").read_text())
        if self._second:
            here, local = self._second.first_address, "127.0.0.1"
            port = urlsplit(url).port or 0
            reached = partial(hosts.relay, here, local, self.provider_port, port)
            asked = partial(hosts.relay, local, here, self.provider_port, port)
            log = self.logs / "relay.log"
            self._relays = [
                Process(fork(reached, log, self.environment)),
                self._fork_there(asked, "relay.log"),
            ]

    def arrivals(self) -> list[Arrival]:
        """What the webhook got."""
        return receiver_process.arrivals_in(self._arrivals)

    def _start_webs(self) -> None:
        self._start_web()
        if self._second:
            self._start_second_web()

    def _start_web(self) -> None:
        main = partial(web_main, f"127.0.0.1:{self.web_port}", self._clock)
        self._web = Process(fork(main, self.logs / "web.log", self.environment))

    def _start_second_web(self) -> None:
        assert self._second is not None
        main = partial(web_main, f"{self._second.address}:{self.web_port}", self._clock)
        self._second_web = self._fork_there(main, "second-web.log")

    def _fork_there(self, main: Callable[[], None], log: str, sign: Path | None = None) -> Process:
        """A process of the second host."""
        assert self._second is not None
        second = self._second
        pid = fork(lambda: second.run(main), self.logs / log, self._second_environment)
        return Process(pid, sign=sign)

    def _start_worker(self, number: int) -> None:
        from .plans import Life

        lives = self._lives[number]
        life = lives.popleft() if lives else Life("rest")
        self._started += 1
        sign = self.folder / f"worker-{self._started}-has-started"
        main = partial(worker_main, life, self.plan.mutant, sign, self._clock)
        log = f"worker-{number + 1}.log"
        if self._second and number:
            process = self._fork_there(main, log, sign)
        else:
            process = Process(fork(main, self.logs / log, self.environment), sign=sign)
        self._workers[number] = (process, life)

    # --------------------------------------------------------------------------------------- deaths

    def look_after(self) -> None:
        self._look_after_web()
        for number, running in enumerate(self._workers):
            if running:
                self._look_after_worker(number, *running)
        if self._simulator and self._simulator.has_ended():
            raise RuntimeError(f"the simulator ended by itself: {self._simulator.ended_by}")
        if self.chaos:
            self._bring_troubles(time.monotonic() - self._began)

    def _bring_troubles(self, now: float) -> None:
        """What happens to the whole site, or to the provider."""
        if self._provider_deaths and now > self._provider_deaths[0]:
            self._provider_deaths.popleft()
            assert self._simulator is not None
            self.kills["provider, SIGKILL"] += 1
            with suppress(OSError):  # it forgets them
                self.fell.update(self.provider.faults()["fell"])
            self._simulator.signal(signal.SIGKILL, group=True)
            self._simulator.wait()
            self._start_simulator()
        if self._clock_leaps and now > self._clock_leaps[0][0]:
            _at, seconds = self._clock_leaps.popleft()
            self.troubles["clock leaps"] += 1
            before = float(self._clock.read_text()) if self._clock.exists() else 0.0
            self._clock.write_text(str(before + seconds))
        if self.has_small_disk and self._disk_full and now > self._disk_full[0]:
            self._disk_free_at, self._disk_full = sum(self._disk_full), None
            self.troubles["disk full"] += 1
            fill(self.data / "filler")
        if self._disk_free_at is not None and now > self._disk_free_at:
            self._make_room()
        if self._restore:
            self._back_up_or_restore(now, *self._restore)
        if self._second and self._cable_out and now > self._cable_out[0][0]:
            self._cable_in_at = sum(self._cable_out.popleft())
            self.troubles["cable pulled out"] += 1
            self._second.pull_cable()
        if self._cable_in_at is not None and now > self._cable_in_at:
            self._plug_cable()

    def _plug_cable(self) -> None:
        if self._second and self._cable_in_at is not None:
            self._second.plug_cable()
            self._cable_in_at = None

    def _make_room(self) -> None:
        self._disk_free_at = None
        (self.data / "filler").unlink(missing_ok=True)

    def _back_up_or_restore(self, now: float, backup_at: float, restore_at: float) -> None:
        backups, log = self.folder / "backups", self.logs / "backup.log"
        if self._backup is None and now > backup_at:
            if len(self.database.table("jobs_job")) < len(self.plan.jobs):
                return  # on a slow machine: what is not in the backup would be gone
            self._backup = Process(
                fork(lambda: manage_main("backup", str(backups)), log, self.environment)
            )
        if self._backup is None or now < restore_at or not self._backup.has_ended():
            return
        self._restore = None
        if self._backup.status:
            self.complaints.append(f"The backup failed: {log.read_text()[-2000:]}")
            return
        self.troubles["restored a backup"] += 1
        workers = [one for one, _life in filter(None, self._workers)]
        for process in [*workers, self._web, self._second_web]:
            if process and not process.has_ended():
                process.signal(signal.SIGKILL, group=True)
                process.signal(signal.SIGKILL)  # one that was forked just now has no group yet
                process.wait()
        restoring = Process(
            fork(lambda: manage_main("restore", str(backups)), log, self.environment)
        )
        restoring.wait()
        if restoring.status:
            self.complaints.append(f"The restore failed: {log.read_text()[-2000:]}")
        self._start_webs()
        wait_until(self.web_is_up, "the web servers answer")
        self.start_workers()

    def manage(self, *arguments: str) -> Process:
        """A command that somebody at the shell of this site has just started."""
        log = self.logs / "command.log"
        return Process(fork(lambda: command_main(self._clock, *arguments), log, self.environment))

    @property
    def is_full(self) -> bool:
        return self._disk_free_at is not None

    def _start_what_is_missing(self) -> None:
        wait_until(self.provider.is_up, "the simulator answers")

    def _look_after_worker(self, number: int, process: Process, life: Life) -> None:
        if process.has_ended():
            if process.pid not in self._told:
                if life.point and process.ended_by == "SIGKILL":
                    self.kills[f"worker, SIGKILL at “{life.point}”"] += 1
                else:
                    self.complaints.append(f"A worker ended by itself: {process.ended_by}.")
            elif process.ended_by not in ("SIGKILL", "SIGTERM", "status 0"):
                # By SIGTERM: it was told before it could take note of it.
                self.complaints.append(f"A worker that was told to end: {process.ended_by}.")
            self._start_worker(number)
        elif process.pid in self._told:
            self._be_patient(process, "A worker")
        elif self.chaos and life.end != "rest" and process.age > life.seconds:
            if life.end == "deploy":
                self.kills["worker, SIGTERM"] += 1
                self._told[process.pid] = time.monotonic()
                process.signal(signal.SIGTERM)
            else:
                self._kill_worker(process, "worker, SIGKILL at some time")

    def _kill_worker(self, process: Process, kind: str) -> None:
        self.kills[kind] += 1
        self._told[process.pid] = time.monotonic()
        process.signal(signal.SIGKILL)

    def _look_after_web(self) -> None:
        assert self._web is not None
        if self._second_web and self._second_web.has_ended():
            self.complaints.append(f"The second web server ended: {self._second_web.ended_by}.")
            self._start_second_web()
        if self._web.has_ended():
            if self._web.pid not in self._told:
                self.complaints.append(f"The web server ended by itself: {self._web.ended_by}.")
            self._start_web()
            return
        if self._web.pid in self._told:
            self._be_patient(self._web, "The web server")
        elif self.chaos and self._web_deaths:
            if time.monotonic() - self._began < self._web_deaths[0].at:
                return
            self._end_web(self._web, self._web_deaths.popleft())

    def _end_web(self, web: Process, death: WebDeath) -> None:
        self._told[web.pid] = time.monotonic()
        if death.end == "deploy":
            self.kills["web, SIGTERM"] += 1
            web.signal(signal.SIGTERM)
        else:
            self.kills["web, SIGKILL"] += 1
            web.signal(signal.SIGKILL, group=death.end == "kill")

    def _be_patient(self, process: Process, what: str) -> None:
        if time.monotonic() - self._told[process.pid] > PATIENCE:
            self.complaints.append(f"{what} did not end within {PATIENCE:.0f} s of SIGTERM.")
            process.signal(signal.SIGKILL, group=True)


SMALL_DISK = "400m"  # more than what new files leave free


def mount_small_disk(folder: Path) -> bool:
    """Whether there is a disk of its own at `folder` now: only root can make one."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}", "tmpfs", str(folder)]
    return subprocess.run(mount, capture_output=True, check=False).returncode == 0


def fill(path: Path) -> None:
    """Write to `path` until the disk has not a byte left."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(1 << 20)):
            pass
