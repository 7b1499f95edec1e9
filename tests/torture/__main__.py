"""The command line: `make torture [RUNS=200] [SEED=…] [PARALLEL=3]`, see --help."""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import FrameType
from unittest import mock

import psycopg
from psycopg.conninfo import conninfo_to_dict

from .. import mutants, prepare
from ..environment import ROOT, clean_environment
from ..running import with_database
from . import hosts, runs, site
from .plans import Plan, drawn
from .processes import Process, adopt_orphans, fork, free_port
from .reports import Report, words_of
from .runs import Result

# A run that takes longer is ended; its own limits come long before.
LONGEST_RUN = 450.0
# A site takes up to 40 connections, and a server gives 100 as a rule.
PARALLEL_ON_POSTGRES = 2
TEMPLATE = "torture_template"  # the name of the database, on PostgreSQL


def main(arguments: Sequence[str]) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.hosts > 1 and (options.database != "postgresql" or os.environ.get("DATABASE_URL")):
        parser.error("Two hosts need --database postgresql and a server of our own.")
    if options.hosts > 1 and not hosts.is_possible():
        parser.error("Two hosts need root and the command ip.")
    os.chdir(ROOT)
    with ExitStack() as stack:
        url = ""
        if options.database == "postgresql":
            url = os.environ.get("DATABASE_URL", "") or stack.enter_context(server(options.hosts))
        parallel = min(options.parallel, PARALLEL_ON_POSTGRES) if url else options.parallel
        folder = Path(tempfile.mkdtemp(prefix="torture-"))
        with mock.patch.dict(os.environ, clean_environment(folder / "warm"), clear=True):
            for name in ("tests.warm", "jobs.web.urls"):  # for what is forked
                import_module(name)
        torture = Torture(_plans(options), parallel, folder, url)
        return torture.run(options.report, keep=options.keep)


def server(hosts_wanted: int) -> AbstractContextManager[str]:
    """A database server of our own, which two machines can reach."""
    if hosts_wanted == 1:
        return prepare.postgres(prepare.get_postgres())
    return prepare.postgres(prepare.get_postgres(), hosts.NETWORK, free_port())


def _plans(options: argparse.Namespace) -> list[Plan]:
    plans: list[Plan] = []
    if options.mutants is not None:
        plans = [plan for plan in mutants.plans() if plan.name in (options.mutants or [plan.name])]
        if options.seed is None:
            return plans
    seed = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    postgres = options.database == "postgresql"
    seeds = range(seed, seed + options.runs)
    # They take longer than mutants, so they begin.
    return [drawn(number, postgres=postgres, hosts=options.hosts) for number in seeds] + plans


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--runs", type=int, default=200, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, help="of the first; the others follow (default: any)")
    parser.add_argument(
        "--parallel", type=int, default=3, help="runs at a time (default: %(default)s)"
    )
    parser.add_argument(
        "--database",
        choices=("sqlite", "postgresql"),
        default="sqlite",
        help="with postgresql: two workers, on the server at DATABASE_URL or one of our own",
    )
    parser.add_argument(
        "--hosts",
        type=int,
        choices=(1, 2),
        default=1,
        help="with 2, on PostgreSQL: a second web server and two of three workers are on another "
        "machine, whose cable is pulled out now and then; needs root and the command ip",
    )
    parser.add_argument(
        "--mutants",
        nargs="*",
        metavar="NAME",
        choices=[plan.name for plan in mutants.plans()],
        help="each mutant of the product (mutant-…), and the same without it (without-…), or only "
        "these; no seeds, unless --seed is given",
    )
    parser.add_argument("--report", type=Path, help="write the report as JSON to this file")
    parser.add_argument("--keep", action="store_true", help="keep the folders of good runs, too")
    return parser


@dataclass
class Running:
    plan: Plan
    process: Process
    folder: Path
    database: str


class Torture:
    """Runs plans, so many at a time, each in a process and a folder of its own."""

    def __init__(self, plans: Sequence[Plan], parallel: int, folder: Path, url: str) -> None:
        self.waiting = deque(plans)
        self.parallel, self.folder, self.url = parallel, folder, url
        self.running: list[Running] = []
        self.report = Report(len(plans))
        self.interrupted = False

    def run(self, report: Path | None, *, keep: bool) -> int:
        """The exit status: 1 if anything is wrong, 130 after Ctrl-C."""
        began = time.monotonic()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._interrupt)
        adopt_orphans()
        try:
            self._make_template()
            while (self.waiting or self.running) and not self.interrupted:
                while self.waiting and len(self.running) < self.parallel:
                    self._start(self.waiting.popleft())
                for running in list(self.running):
                    self._look_at(running, keep=keep)
                time.sleep(0.05)
        finally:
            self._end_all()
        self.report.seconds = time.monotonic() - began
        prepare.say(f"\n{self.report}")
        if report:
            report.write_text(json.dumps(self.report.as_json(), indent=1))
        if not self.report.failed and not keep:
            shutil.rmtree(self.folder, ignore_errors=True)
        if self.interrupted:
            return 130
        return 1 if self.report.failed else 0

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        self.interrupted = True

    def _make_template(self) -> None:
        folder = self.folder / "template"
        url = database_named(self.url, TEMPLATE) if self.url else ""
        if self.url:
            on_server(self.url, f"DROP DATABASE IF EXISTS {TEMPLATE}")
            on_server(self.url, f"CREATE DATABASE {TEMPLATE}")
        else:
            with_database(folder)
        values = {"DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "batchsite.settings"}
        log = self.folder / "template.log"
        environment = clean_environment(folder, **values)
        process = Process(fork(lambda: site.make_template(url), log, environment))
        process.wait()
        if process.status:
            raise RuntimeError(f"the template could not be made:\n{log.read_text()}")

    def _start(self, plan: Plan) -> None:
        folder = self.folder / plan.name
        folder.mkdir()
        url = ""
        if self.url:
            name = f"torture_{plan.name.replace('-', '_')}"
            on_server(self.url, f"DROP DATABASE IF EXISTS {name}")
            on_server(self.url, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
            url = database_named(self.url, name)
        template = self.folder / "template"
        pid = fork(lambda: run_one(plan, folder, template, url), folder / "run.log")
        self.running.append(Running(plan, Process(pid), folder, url))

    def _look_at(self, running: Running, *, keep: bool) -> None:
        process, plan = running.process, running.plan
        if not process.has_ended():
            if time.monotonic() - process.born < LONGEST_RUN:
                return
            process.signal(signal.SIGKILL)
            process.wait()
        self.running.remove(running)
        result = self._result(running)
        self.report.results.append(result)
        if result.is_good:
            prepare.say(f"{plan.name}: good, {summary(result)}")
        else:
            prepare.say(words_of(result))
        if result.is_good and not keep:
            shutil.rmtree(running.folder, ignore_errors=True)
            self._drop(running)

    def _result(self, running: Running) -> Result:
        path = running.folder / "result.json"
        if path.exists():
            return Result(**json.loads(path.read_text()))
        plan, log = running.plan, running.folder / "run.log"
        result = Result(plan.name, plan.repeat, list(plan.expected), folder=str(running.folder))
        words = f"The run ended without a result: {running.process.ended_by}. {log.read_text()}"
        result.complain("The harness", words)
        return result

    def _drop(self, running: Running) -> None:
        if self.url:
            name = conninfo_to_dict(running.database)["dbname"]
            on_server(self.url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _end_all(self) -> None:
        """Nothing may survive: runs end with their processes, and orphans have come to us."""
        while children := children_of(os.getpid()):
            for pid in children:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(-1, 0)
        if self.url:
            for running in self.running:
                self._drop(running)
            on_server(self.url, f"DROP DATABASE IF EXISTS {TEMPLATE} WITH (FORCE)")


def run_one(plan: Plan, folder: Path, template: Path, url: str) -> None:
    """What the process of one run does."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    adopt_orphans()
    runs.run(plan, folder, template, url)


def summary(result: Result) -> str:
    counts = result.counts
    shown = f"shown by {', '.join(result.expected)}, " if result.expected else ""
    return (
        f"{shown}{result.seconds:.0f} s, {sum(result.kills.values())} kills, "
        f"{sum(result.faults.values())} faults, {counts.get('rows accepted', 0)} rows in "
        f"{counts.get('batches accepted', 0)} batches, {counts.get('adopted', 0)} adopted"
    )


def children_of(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(word) for word in path.read_text().split()] if path.exists() else []


def on_server(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())


def database_named(url: str, name: str) -> str:
    """The address of another database of the same server, as a URL."""
    parts = conninfo_to_dict(url)
    assert parts["dbname"] != name
    beginning, _, rest = url.partition("?")
    base = beginning.rpartition("/")[0]
    return f"{base}/{name}" + (f"?{rest}" if rest else "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
