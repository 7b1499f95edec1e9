"""Everything that has to hold before a change goes in, one step after the other: `make test`.

A step that fails hides no other. At the end there is one line a step, then what could not be run
on this machine, then the sum of all tests; the exit status says whether everything that ran passed.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from . import on_postgres, prepare, vulnerabilities
from .environment import ROOT, clean_environment

STEP_SECONDS = 3600  # of a step that hangs
MEMORY, MEMORY_BYTES = "/dev/shm", 4_000_000_000  # noqa: S108 - names in it are made up anew
CORES = os.cpu_count() or 1
# The tests of one file stay together: what they start may share something on this machine.
# In the order of conftest.LONGEST_FIRST: a long file that comes last keeps all others waiting.
BY_FILE = ["--dist=loadfile", "--no-loadscope-reorder"]
# Some tests wait for processes, so there is one run more than cores; those on PostgreSQL and in a
# browser run beside them. With more, each takes more of the processor: five took a sixth more on
# two cores than two did.
SIDE_BY_SIDE = [f"--numprocesses={CORES + 1}", *BY_FILE]
# With 0, the run needs no processes beside it.
SIDE_BY_SIDE_ON_POSTGRES = [f"--numprocesses={CORES // 4}", *BY_FILE]
PYTHON = sys.executable
DJADE = Path(PYTHON).with_name("djade")  # it cannot be run with -m
TYPES = ("Types", [PYTHON, "-m", "mypy"])
# What `make test-quick` runs: rules, file readers and models, which start no process and need
# seconds.
QUICK = (
    "tests/rules",
    "tests/ingest",
    "tests/models",
    "tests/test_docs.py",
    "tests/test_layout.py",
    "tests/test_settings.py",
    "tests/test_version.py",
    "tests/test_vulnerabilities.py",
)

# All tests with a browser: collecting the others would take longer than the first of them. In two
# runs, as one would take longer than all the rest.
WITH_BROWSER = {
    "Browser tests": "tests/e2e",
    "Accessibility": "tests/web/test_accessibility.py",
}


@dataclass
class Tests:
    """How many tests came to what."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"

    def add(self, other: Tests) -> None:
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped


@dataclass
class Run:
    """The steps so far."""

    scratch: Path
    lines: list[str] = field(default_factory=list)
    not_run: list[str] = field(default_factory=list)
    failed: bool = False
    tests: Tests = field(default_factory=Tests)

    def step(
        self, name: str, *commands: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> None:
        """Run `commands` one after the other; all of them have to end with 0."""
        started = heading(name)
        values = clean_environment(self.scratch / "data", **(environment or {}))
        results = [succeeds(command, values) for command in commands]
        good = all(results)
        self.note(name, good, "passed" if good else "FAILED", started)

    def pytest(self, name: str, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        started = heading(name)
        report = self.scratch / f"{name}.xml"
        values = clean_environment(self.scratch / "data", **environment)
        good = succeeds(pytest_command(report, arguments), values)
        self.add(name, good, report, started)

    @contextmanager
    def pytest_aside(
        self, name: str, arguments: Sequence[str], environment: Mapping[str, str]
    ) -> Iterator[None]:
        """Run tests beside what is done meanwhile."""
        report = self.scratch / f"{name}.xml"
        with self.aside(name, pytest_command(report, arguments), environment) as process:
            yield
        self.add(name, process.returncode == 0, report)

    @contextmanager
    def step_aside(self, name: str, command: Sequence[str]) -> Iterator[None]:
        """Run a command beside what is done meanwhile."""
        with self.aside(name, command, {}) as process:
            yield
        # How long it took is not known, and nobody waited for it.
        good = process.returncode == 0
        self.note(name, good, "passed" if good else "FAILED", time.monotonic())

    @contextmanager
    def aside(
        self, name: str, command: Sequence[str], environment: Mapping[str, str]
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Run a command beside the block, and then wait for it and show what it says."""
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=clean_environment(self.scratch / "aside", **environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
            try:
                yield process
                heading(name)
                process.wait(timeout=STEP_SECONDS)
            except subprocess.TimeoutExpired:
                prepare.say(f"Not done after {STEP_SECONDS} seconds, so it was stopped.")
            finally:
                process.terminate()
                process.wait()
            output.seek(0)
            prepare.say(output.read().decode(errors="replace"))

    def add(self, name: str, good: bool, report: Path, started: float | None = None) -> None:
        tests, seconds = read_report(report)
        if not good and not tests.failed:
            tests.failed = 1  # pytest itself failed, and says nothing of tests
        self.tests.add(tests)
        # What ran aside took as long as it says itself.
        self.note(name, good, str(tests), started or time.monotonic() - seconds)

    def note(self, name: str, good: bool, result: str, started: float) -> None:
        self.failed = self.failed or not good
        self.lines.append(f"{name:<22} {result}  ({time.monotonic() - started:.0f} s)")


def main() -> int:
    # Being told to stop is an exception, so that servers are stopped and scratch files removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if has_room(MEMORY):  # tests write many files, and most are never read again
        os.environ["TMPDIR"] = MEMORY
    with tempfile.TemporaryDirectory(prefix="batchsite-tests-") as scratch:
        run = Run(Path(scratch))
        if sys.argv[1:] == ["lint"]:
            lint(run)
            run.step(*TYPES)
        elif sys.argv[1:] == ["quick"]:
            lint(run)
            run.step(*TYPES)
            run.pytest("Quick tests", [f"--numprocesses={CORES}", *QUICK], {})
        else:
            # Nothing needs the types, which take a processor for half a minute.
            with run.step_aside(*TYPES):
                with warm_up():
                    lint(run)
                    checks(run)
                    libraries(run)
                    migrated = migrate(run)
                tests(run, migrated)
        show(run)
    return 1 if run.failed else 0


@contextmanager
def warm_up() -> Iterator[None]:
    """Have the tests and all that they import compiled by the processor that is idle meanwhile.
    In a fresh clone, each of the runs would do that by itself. Elsewhere it would only take ten
    seconds of a processor."""
    if is_compiled():
        yield
        return
    with tempfile.TemporaryDirectory() as scratch:
        process = subprocess.Popen(
            [PYTHON, "-m", "pytest", "-q", "--collect-only"],
            cwd=ROOT,
            env=clean_environment(Path(scratch)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield
            process.wait(timeout=STEP_SECONDS)
        finally:
            process.kill()
            process.wait()


def is_compiled() -> bool:
    """Whether pytest has kept what it made of every file of tests."""
    tests = (ROOT / "tests").rglob("test_*.py")
    return all(any((path.parent / "__pycache__").glob(f"{path.stem}.*-pytest-*")) for path in tests)


def has_room(folder: str) -> bool:
    """Whether it is there, with enough room for all that tests write at a time."""
    with suppress(OSError):
        return os.access(folder, os.W_OK) and shutil.disk_usage(folder).free >= MEMORY_BYTES
    return False


def lint(run: Run) -> None:
    ruff = [PYTHON, "-m", "ruff"]
    run.step(
        "Lint",
        [*ruff, "check", "--output-format=concise", "."],
        [*ruff, "format", "--check", "--output-format=concise", "."],
    )
    templates = sorted(str(path) for path in (ROOT / "templates").rglob("*.html"))
    run.step("Templates", [str(DJADE), "--check", "--target-version", "5.2", *templates])


def checks(run: Run) -> None:
    manage = [PYTHON, "manage.py"]
    run.step("Migrations", [*manage, "makemigrations", "--check", "--dry-run"])
    run.step(
        "Production settings",
        [*manage, "check", "--deploy", "--fail-level", "WARNING"],
        environment={"HTTPS": "on", "ALLOWED_HOSTS": "example.org"},
    )


def libraries(run: Run) -> None:
    """A machine without a network, or behind a mirror, fails no test."""
    name = "Vulnerable libraries"
    started = heading(name)
    asking = vulnerabilities.command(ROOT / "requirements.txt")
    answer = vulnerabilities.ask(asking, clean_environment(run.scratch / "data"), ROOT)
    if answer is None:
        run.not_run.append(f"{name} not run: PyPI's list of vulnerabilities does not answer.")
        return
    for line in answer.found:
        prepare.say(line)
    if answer.unknown:
        run.not_run.append(f"{name}: PyPI does not know {answer.unknown} of the libraries.")
    good = not answer.found
    run.note(name, good, f"none in {answer.known}" if good else "FAILED", started)


def migrate(run: Run, address: str = "") -> str:
    """Bring the database at `address` up to date, or a new file; gives the file. Each process of
    tests takes a copy, which costs less than all migrations."""
    folder = run.scratch / "migrated"
    environment = clean_environment(folder, DATABASE_URL=address)
    if not succeeds(
        [PYTHON, "manage.py", "migrate", "--verbosity=0", "--skip-checks"], environment
    ):
        prepare.say("So each process of tests runs the migrations.")
    return str(folder / "batchsite.sqlite3")


def tests(run: Run, migrated: str) -> None:
    """All at once: each waits for something most of the time, and for something else."""
    with ExitStack() as stack:
        browser_tests_aside(run, stack, migrated)
        postgres_tests_aside(run, stack)
        try:
            prepare.get_libreoffice()
        except prepare.NotAvailable as error:
            run.not_run.append(f"The test that opens files with LibreOffice not run: {error}.")
        arguments = [*SIDE_BY_SIDE, "-m", "not browser", "--ignore=tests/e2e"]
        run.pytest("Tests on SQLite", arguments, {"MIGRATED": migrated})


def browser_tests_aside(run: Run, stack: ExitStack, migrated: str) -> None:
    try:
        chromium = str(prepare.get_chromium())
    except prepare.NotAvailable as error:
        run.not_run.append(f"{' and '.join(WITH_BROWSER)} not run: {error}.")
        return
    environment = {"CHROMIUM": chromium, "MIGRATED": migrated}
    for name, path in WITH_BROWSER.items():
        stack.enter_context(run.pytest_aside(name, ["-m", "browser", path], environment))


def postgres_tests_aside(run: Run, stack: ExitStack) -> None:
    name = "Tests on PostgreSQL"
    try:
        address = stack.enter_context(prepare.postgres(prepare.get_postgres()))
    except prepare.NotAvailable as error:
        run.not_run.append(f"{name} not run: {error}.")
        return
    arguments = [*SIDE_BY_SIDE_ON_POSTGRES, *on_postgres.arguments()]
    stack.enter_context(run.pytest_aside(name, arguments, migrated_postgres(run, address)))


def migrated_postgres(run: Run, address: str) -> dict[str, str]:
    """The environment of tests on the server at `address`."""
    migrate(run, address.replace("/batchsite?", f"/{prepare.MIGRATED}?"))
    return {"DATABASE_URL": address, "MIGRATED": prepare.MIGRATED}


def pytest_command(report: Path, arguments: Sequence[str]) -> list[str]:
    return [PYTHON, "-m", "pytest", "-q", f"--junit-xml={report}", *arguments]


def heading(name: str) -> float:
    prepare.say(f"\n=== {name} ===")
    return time.monotonic()


def succeeds(command: Sequence[str], environment: Mapping[str, str]) -> bool:
    try:
        return (
            subprocess.run(
                command,
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                timeout=STEP_SECONDS,
                check=False,
            ).returncode
            == 0
        )
    except subprocess.TimeoutExpired:
        prepare.say(f"Not done after {STEP_SECONDS} seconds, so it was stopped.")
        return False


def read_report(path: Path) -> tuple[Tests, float]:
    """The counts of pytest's report and its seconds; all 0 when it wrote none."""
    if not path.exists():
        return Tests(), 0
    total, seconds = Tests(), 0.0
    for suite in ET.parse(path).getroot().iter("testsuite"):  # noqa: S314 - pytest's own file
        failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        skipped = int(suite.get("skipped", 0))
        total.add(Tests(int(suite.get("tests", 0)) - failed - skipped, failed, skipped))
        seconds += float(suite.get("time", 0))
    return total, seconds


def show(run: Run) -> None:
    heading("Summary")
    for line in (*run.lines, *run.not_run):
        prepare.say(line)
    if any((run.tests.passed, run.tests.failed, run.tests.skipped)):
        prepare.say(str(run.tests))


if __name__ == "__main__":
    sys.exit(main())
