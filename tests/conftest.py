"""What all tests share: a scratch environment, the cast (alice, bob, root), jobs, and the
provider's simulator."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from jobs.rules.answer_formats import AnswerKind
from jobs.rules.recipes import PLAIN_FIELDS, Recipe
from jobs.rules.retry_choices import RetryChoice

from .environment import ROOT, clean_environment

# The environment decides the settings, so it is set before anything of Django is imported.
# Of the machine's own only DATABASE_URL is kept: where the tests run.
SCRATCH = Path(tempfile.mkdtemp(prefix="batchsite-tests-"))
atexit.register(shutil.rmtree, SCRATCH, ignore_errors=True)
_environment = clean_environment(
    SCRATCH,
    DATABASE_URL=os.environ.get("DATABASE_URL", ""),
    DJANGO_SETTINGS_MODULE="batchsite.settings",
    POLL_SECONDS="0.1",
)
os.environ.clear()
os.environ.update(_environment)

import gc

gc.disable()  # until all is imported and collected

import csv
import hashlib
import io
import json
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import timedelta
from functools import partial
from itertools import count
from types import SimpleNamespace
from typing import Any

import django
import hypothesis
import msgspec
import pytest

django.setup()

from django.conf import settings as site_settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.core.cache import cache
from django.db import connection, transaction
from django.db.models import F, Min, QuerySet
from django.test import Client, TransactionTestCase
from django.utils import timezone
from huey.contrib.djhuey import HUEY
from pytest_django import Settings

from jobs.actions import first_account, retries, submissions
from jobs.batches import late, polling
from jobs.batches.leases import Lease
from jobs.cli import worker_waits
from jobs.drafts import estimates, reading, token_counts
from jobs.ingest.input_sizes import AROUND
from jobs.ingest.protocol import MODEL_FACTS, FileFacts
from jobs.models import (
    ONE_ROW_MODELS,
    Batch,
    Heartbeat,
    Job,
    Outcome,
    Row,
    Sending,
    clock,
    files,
)
from jobs.retries import measurements, rounds, selection
from jobs.rules import pricing
from jobs.rules.pricing import LONG_FROM
from jobs.web import account_middleware, request_limits
from jobs.web.request_limits import Places
from jobs.worker import advance, sweep, tally
from jobs.worker.supervision import prepare_child as end_with_parent

from . import forking, kept_jobs
from .running import MIGRATED, SECONDS

PASSWORD = "correct horse"
# Files whose tests wait for processes or for each other, and others that take long.
LONGEST_FIRST = (
    "test_serve",
    "test_crashes",
    "test_torture",
    "test_restores",
    "test_migrations",
    "test_upgrades",
    "test_copies",
    "test_open_pages",
    "test_bounds",
    "test_collection",
    "test_pilots",
    "test_late",
    "test_submission",
)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes() -> None:
    """The processes beside this one load the settings as this one did: after each has a folder of
    its own. With their name in the environment they would load them before, for our folder."""
    os.environ.pop("DJANGO_SETTINGS_MODULE", None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the files that take longest, so that none of them is left for the end."""
    order = {name: index for index, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


def pytest_collection_finish() -> None:
    """What has been imported and collected stays, so nobody has to look through it for garbage.
    What tests make is looked through seldom, which took a fifteenth of their time."""
    gc.enable()
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


# How long an example takes says nothing but how busy the machine is.
hypothesis.settings.register_profile(
    "patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("patient")
# The static files as they lie in the source: no test needs collectstatic.
site_settings.STORAGES["staticfiles"] = {
    "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
}
site_settings.STATIC_ROOT = SCRATCH / "static"
site_settings.STATIC_ROOT.mkdir()
# A real one takes a third of a second for every account.
site_settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DATABASE = site_settings.DATABASES["default"].setdefault("TEST", {})
# In a file, so that a worker in a process of its own works on the same database.
if not os.environ["DATABASE_URL"]:
    DATABASE["NAME"] = str(SCRATCH / "tests.sqlite3")


@pytest.fixture(scope="session")
def django_db_keepdb() -> bool:
    """What django_db_modify_db_settings has copied is there already."""
    return not os.environ["DATABASE_URL"]


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> None:
    """Begin with a copy of the database that is up to date."""
    if MIGRATED and os.environ["DATABASE_URL"]:
        DATABASE["TEMPLATE"] = MIGRATED
    elif Path(MIGRATED).is_file():
        shutil.copy(MIGRATED, DATABASE["NAME"])


# Each is a call to the simulator, and hardly any test asks what they come to.
USUAL_SAMPLE, token_counts.SAMPLE = token_counts.SAMPLE, 3

# A new interpreter for each file takes longer than to read it.
start_reader, reading.start_child = reading.start_child, forking.Reader  # type: ignore[assignment]

# What migrations have stored, and no test changes.
STORED_BY_MIGRATIONS = ("django_migrations", "django_content_type", "auth_permission")


def empty_tables(_case: TransactionTestCase | None = None) -> None:
    """What Django does after a test of transactions, but only with tables that have rows: it would
    take PostgreSQL half a second to empty all of them."""
    tables = set(connection.introspection.django_table_names()).difference(STORED_BY_MIGRATIONS)
    find = (f"SELECT '{name}' WHERE EXISTS (SELECT 1 FROM {name})" for name in sorted(tables))  # noqa: S608
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(find))
        for (name,) in cursor.fetchall():
            cursor.execute(f"DELETE FROM {name}")  # noqa: S608 - names of ours
    for model in ONE_ROW_MODELS:
        model._default_manager.get_or_create(pk=1)


TransactionTestCase._fixture_teardown = empty_tables  # type: ignore[attr-defined]  # not public


@pytest.fixture(autouse=True)
def own_folder(settings: Settings, tmp_path: Path) -> Iterator[None]:
    """A data folder of its own for each test: after a rollback, ids are used again."""
    settings.DATA_DIR = tmp_path / "data"
    settings.FILE_UPLOAD_TEMP_DIR = tmp_path / "data" / "uploads" / "incoming"
    settings.FILE_UPLOAD_TEMP_DIR.mkdir(parents=True)
    cache.clear()  # of what was counted for people with the same ids
    pricing.use_prices([])
    # What the last test did not read to its end still holds its place in the old ones.
    request_limits.uploads = Places(request_limits.UPLOADS)
    request_limits.downloads = Places(request_limits.DOWNLOADS)
    yield
    if HUEY.pending_count():
        HUEY.storage.flush_queue()


@pytest.fixture(scope="session")
def empty_database(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file that is up to date and has no accounts and jobs, to be copied."""
    path = tmp_path_factory.mktemp("database") / "empty.sqlite3"
    name = site_settings.DATABASES["default"]["TEST"]["NAME"]
    with closing(sqlite3.connect(name)) as source, closing(sqlite3.connect(path)) as target:
        source.backup(target)
        target.execute("PRAGMA journal_mode=wal")
    return path


# --- The cast -------------------------------------------------------------------------------------


@pytest.fixture
def alice(db: None) -> User:
    return User.objects.create_user("alice", password=PASSWORD)


@pytest.fixture
def bob(db: None) -> User:
    return User.objects.create_user("bob", password=PASSWORD)


@pytest.fixture
def root(db: None) -> User:
    return User.objects.create_superuser("root", password=PASSWORD)


@pytest.fixture
def client_alice(alice: User) -> Client:
    return signed_in(alice)


@pytest.fixture
def client_bob(bob: User) -> Client:
    return signed_in(bob)


@pytest.fixture
def client_root(root: User) -> Client:
    return signed_in(root)


def set_up_path() -> str:
    """The link that `serve` shows while there is no account."""
    return f"/setup/?token={first_account.make_token()}"


def signed_in(user: User) -> Client:
    """A client with a session of `user` that is in use, as from a sign-in that nobody recorded."""
    client, session, now = Client(), SessionStore(), time.time()
    session[SESSION_KEY], session[HASH_SESSION_KEY] = str(user.pk), user.get_session_auth_hash()
    session[BACKEND_SESSION_KEY] = site_settings.AUTHENTICATION_BACKENDS[-1]
    session[account_middleware.BEGAN] = session[account_middleware.SEEN] = now
    session.create()
    client.cookies[site_settings.SESSION_COOKIE_NAME] = session.session_key or ""
    return client


# --- Jobs -----------------------------------------------------------------------------------------

Cells = Sequence[str]
Request = Mapping[str, Any]


@pytest.fixture
def make_job(db: None) -> Callable[..., Job]:
    """`make_job(owner, ...)` stores a job with its rows, as if it had come so far by itself."""
    return store_job


def store_job(
    owner: User,
    state: str = Job.State.FINISHED,
    columns: Sequence[str] = ("name", "text"),
    rows: Sequence[Cells | Request] = (("Ada", "likes it"), ("Ben", "does not")),
    outcomes: Sequence[str | Mapping[str, Any]] | None = None,
    **values: Any,
) -> Job:
    """A job in `state` with `rows`: cells of a table, or ready-made requests.

    `outcomes` says what became of each row: an Outcome, or the values of its Row. Without it every
    row of a finished job is good and every other row waits. `values` are those of the Job and of
    its recipe.
    """
    ready_made = bool(rows) and isinstance(rows[0], Mapping)
    usual_prompt = "" if ready_made else f"Say something about {{{{{columns[0]}}}}}."
    values = with_recipe(Recipe(usual_prompt, model="claude-haiku-5-5"), values)
    lines = [line_of(row) for row in rows] if ready_made else csv_lines([columns, *rows])
    upload = "".join(lines).encode()
    defaults: dict[str, Any] = {
        "name": "reviews",
        "kind": Job.Kind.REQUESTS if ready_made else Job.Kind.TABLE,
        "columns": [] if ready_made else list(columns),
        "upload_name": "reviews.jsonl" if ready_made else "reviews.csv",
        "upload_file": f"upload-{Job.objects.count() + 1}",
        "upload_bytes": len(upload),
        "upload_sha256": hashlib.sha256(upload).hexdigest(),
        "read_bytes": len(upload),
        "row_count": len(rows),
        "next_action_at": None,
        "reading": reading_of(rows, len(columns), ready_made),
    }
    if state in Job.SENT:
        defaults["confirmed_at"] = timezone.now()
    if state == Job.State.FINISHED:
        defaults["finished_at"] = timezone.now()
    job = Job.objects.create(owner=owner, state=state, **{**defaults, **values})
    path = files.upload_path(job)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(upload)

    usual = Outcome.GOOD if state == Job.State.FINISHED else Outcome.WAITING
    Row.objects.bulk_create(
        new_row(job, number, row, outcome)
        for number, (row, outcome) in enumerate(
            zip(rows, outcomes or [usual] * len(rows), strict=True), start=1
        )
    )
    tally.count_up(job)
    job.refresh_from_db()
    return job


def with_recipe(recipe: Recipe, values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` for a Job, with those of a recipe put into `recipe`; `answer`: an AnswerKind, or as
    it is stored."""
    asked = {name: values[name] for name in (*PLAIN_FIELDS, "answer") if name in values}
    if "answer" in asked:
        asked["answer"] = msgspec.convert(asked["answer"], AnswerKind)
    others = {name: value for name, value in values.items() if name not in asked}
    return {"recipe": replace(recipe, **asked), **others}


def change_job(job: Job, **values: Any) -> None:
    """Change what is stored of a job: columns, and values of its recipe."""
    stored = Job.objects.filter(pk=job.pk)
    stored.update(**with_recipe(stored.get().recipe, values))


def new_row(job: Job, number: int, row: Cells | Request, outcome: str | Mapping[str, Any]) -> Row:
    values = {"outcome": outcome} if isinstance(outcome, str) else dict(outcome)
    if values["outcome"] == Outcome.GOOD:
        values = {"answer": f"Answer {number}", "input_tokens": 20, "output_tokens": 5, **values}
    source = json.dumps(row if isinstance(row, Mapping) else list(row), ensure_ascii=False)
    line = number if isinstance(row, Mapping) else number + 1
    return Row(job=job, number=number, line=line, source=source, size=size_of(row), **values)


def size_of(row: Cells | Request) -> int:
    if isinstance(row, Mapping):
        return len(json.dumps(row["params"], ensure_ascii=False).encode())
    return sum(len(cell.encode()) for cell in row)


def reading_of(rows: Sequence[Cells | Request], width: int, ready_made: bool) -> FileFacts:
    """What the reader would have stored in `Job.reading`."""
    models: dict[str, dict[str, int]] = {}
    column_bytes = [0] * (0 if ready_made else width)
    for row in rows:
        if isinstance(row, Mapping):
            params = row["params"]
            facts = models.setdefault(params["model"], dict.fromkeys(MODEL_FACTS, 0))
            facts["rows"] += 1
            facts["bytes"] += size_of(row)
            most = size_of(row) + AROUND
            facts["most"] += most
            facts["most_row"] = max(facts["most_row"], most)
            facts["surplus"] = AROUND
            facts["max_tokens_sum"] += params["max_tokens"]
            if most > LONG_FROM:
                facts["long"] += 1
                facts["long_most"] += most
                facts["long_bytes"] += size_of(row)
                facts["long_max_tokens_sum"] += params["max_tokens"]
            facts["max_tokens_most"] = max(facts["max_tokens_most"], params["max_tokens"])
        else:
            for index, cell in enumerate(row[:width]):
                column_bytes[index] += len(cell.encode())
    sizes = [size_of(row) for row in rows]
    return FileFacts(
        format="JSONL" if ready_made else "CSV",
        encoding="UTF-8",
        delimiter="" if ready_made else ",",
        text_bytes=sum(sizes),
        column_bytes=column_bytes,
        longest_row=sizes.index(max(sizes)) + 1 if sizes else 0,
        models=models,
    )


def line_of(row: Cells | Request) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"


def csv_lines(rows: Sequence[Cells | Request]) -> list[str]:
    lines: list[str] = []
    for row in rows:
        text = io.StringIO()
        csv.writer(text).writerow(row)
        lines.append(text.getvalue())
    return lines


@pytest.fixture
def drive(db: None) -> Callable[..., Job]:
    """`drive(job)` does the worker's work until the job has come to its end."""
    return drive_job


def lease_of(job: Job) -> Lease:
    """The current lease on a job; one without an owner if the job is free."""
    owner = Job.objects.values_list("lease_owner", flat=True).get(pk=job.pk)
    return Lease(job.pk, owner, clock.now())


def is_over(job: Job) -> bool:
    return job.state in (Job.State.FINISHED, Job.State.UNREADABLE)


def drive_job(
    job: Job, until: Callable[[Job], bool] = is_over, seconds: float = 2 * SECONDS
) -> Job:
    """Take the steps that are due, and sweep when none is, until `until(job)` is true, and return
    the job as it is then. Fails with the job's log when it does not come so far, however slow the
    machine is."""
    deadline, looks = time.monotonic() + 2 * SECONDS, 0
    for number in count(1):
        # A sweep costs more than a step, so it waits for those that are soon due: not for ever.
        if not number % 8 or not take_steps(number):
            if not number % 8 or is_at_provider() or not leap():
                time.sleep(min(0.005 * looks, 0.1))
                put_off_look(0)
                looks += 1
            sweep.sweep()
        now = Job.objects.get(pk=job.pk)
        if until(now):
            break
        if time.monotonic() > deadline:
            log = "\n".join(event.text for event in job.events.all())
            pytest.fail(f"The job is {now.state} (held: {now.held!r}). Its log:\n{log}")
    return now


SOON = timedelta(seconds=0.5)


def take_steps(number: int) -> bool:
    """The steps of jobs that are due, as a sweep takes them; False if none is, or will be soon.
    This is turn `number`: who has taken many lets others do something."""
    time.sleep(min(0.005 * max(number - 8, 0), 0.1))
    taken: list[int] = []

    def step(pk: int) -> None:
        taken.append(pk)
        advance.advance(pk)

    sweep.step_due(step)
    if taken:
        return True
    first = Job.objects.aggregate(first=Min("next_action_at"))["first"]
    left = first - clock.now() if first else timedelta.max
    if not timedelta() <= left <= SOON:  # one that is due and was not taken waits for a sweep
        return False
    time.sleep(left.total_seconds())
    return True


def is_at_provider() -> bool:
    """Whether a look at the provider can change anything."""
    return polling.has_any() or late.has_any()


def leap() -> bool:
    """Let the time pass until the first job is due, for all that waits in the database: nobody has
    to wait for it. False if none will be."""
    first = Job.objects.aggregate(first=Min("next_action_at"))["first"]
    if first is None:
        return False
    by = max(first - clock.now(), timedelta())
    for model in (Job, Batch):
        waiting = model._default_manager.exclude(next_action_at=None)
        waiting.update(next_action_at=F("next_action_at") - by)
    Sending.objects.update(send_after=F("send_after") - by)
    let_pass(Batch.objects.filter(state=Batch.State.UNKNOWN), by)
    return True


def put_off_look(seconds: float) -> None:
    """The next look at the provider is due in `seconds`."""
    Heartbeat.row().update(next_poll_at=clock.now() + timedelta(seconds=seconds))


# --- The provider ---------------------------------------------------------------------------------


class Simulator:
    """A pretend provider in a process of its own, and what tests tell it and ask it."""

    def __init__(self, folder: Path, **options: object) -> None:
        """`options` are those of `python -m tests.simulator`: seconds=0, failures="none", ..."""
        command = [sys.executable, "-m", "tests.simulator", "--port", "0", "--data", str(folder)]
        for name, value in options.items():
            command += [f"--{name}", str(value)]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, text=True, preexec_fn=end_with_parent
        )
        assert self.process.stdout is not None
        ready = self.process.stdout.readline()
        assert ready.startswith("simulator listening on "), f"the simulator did not start: {ready}"
        self.url = ready.split()[-1]

    def faults(self, **order: object) -> None:
        """What is to go wrong, such as `create=[{"kind": "drop_after_accept"}]`."""
        self._call("/_faults", json.dumps(order).encode())

    def reset(self) -> None:
        """Nothing more is to go wrong."""
        self._call("/_reset", b"")

    def begin_anew(self) -> None:
        """It forgets everything that was sent, and what was to go wrong."""
        self._call("/_begin_anew", b"")

    def keep(self, name: str) -> None:
        """It remembers the batches there are."""
        self._call("/_keep", name.encode())

    def bring_back(self, name: str) -> None:
        """These batches are there again, and no others."""
        self._call("/_bring_back", name.encode())

    def truth(self, ids: bool = False) -> dict[str, Any]:
        """What it accepted, whatever it answered: {"posts", "accepted_rows", "batches": [...]}."""
        truth: dict[str, Any] = json.loads(self._call(f"/_truth?ids={int(ids)}"))
        return truth

    def revoke(self, *keys: str) -> None:
        """These keys, and no others, are refused from now on."""
        self._call("/_revoke", json.dumps(keys).encode())

    def calls(self, key: str) -> set[str]:
        """What was asked for with a key so far, such as "POST /v1/messages/batches"."""
        return set(json.loads(self._call("/_calls")).get(key, []))

    def accepted(self) -> Counter[str]:
        """How often each row of the one job was accepted, by its number as in the custom_id."""
        return Counter(
            custom_id.rpartition("-")[2]
            for batch in self.truth(ids=True)["batches"]
            if not batch["foreign"]
            for custom_id in batch["custom_ids"]
        )

    def stop(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=SECONDS)

    def _call(self, path: str, body: bytes | None = None) -> bytes:
        with urllib.request.urlopen(f"{self.url}{path}", body, timeout=SECONDS) as answer:
            content: bytes = answer.read()
        return content


@pytest.fixture
def start_simulator(settings: Settings) -> Callable[..., Simulator]:
    """`start_simulator(seconds=3, ...)` makes one with these options the provider for this test; it
    knows of nothing that was sent before."""

    def start(**options: object) -> Simulator:
        simulator = _SHARED.get(str(options))
        if simulator is None or simulator.process.poll() is not None:
            simulator = Simulator(SCRATCH / f"simulator-{time.monotonic_ns()}", **options)
            _SHARED[str(options)] = simulator
        simulator.begin_anew()
        settings.ANTHROPIC_BASE_URL = simulator.url
        return simulator

    return start


@pytest.fixture
def simulator(start_simulator: Callable[..., Simulator]) -> Simulator:
    """A provider whose batches end at once and whose answers are all good."""
    return start_simulator(seconds=0, failures="none")


# Starting one takes a third of a second, so the tests of a process share those with equal options.
_SHARED: dict[str, Simulator] = {}


def pytest_sessionfinish() -> None:
    for simulator in _SHARED.values():
        simulator.stop()


@pytest.fixture
def worker(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that does its work whenever the command waits."""
    fake = SimpleNamespace(monotonic=time.monotonic, sleep=lambda _seconds: sweep.sweep())
    monkeypatch.setattr(worker_waits, "time", fake)


def let_pass(batches: QuerySet[Batch], by: timedelta) -> None:
    """From now on `by` more has passed since `batches` were sent, by every clock."""
    for batch in batches.exclude(deadline_at=None):
        assert batch.deadline_at is not None
        batch.deadline_at -= by
        if batch.absence:
            seconds = batch.absence.seconds + by.total_seconds()
            batch.absence = msgspec.structs.replace(batch.absence, seconds=seconds)
        batch.save(update_fields=["deadline_at", "absence"])


def send_again(job: Job, user: User, which: str = selection.FOR_NOW, **different: Any) -> int:
    """Send rows of a finished job again as a person does, who was shown the price just now; how
    many there were, 0: nothing was sent."""
    job.refresh_from_db()
    again = RetryChoice(which, **different)
    planned = rounds.find_plan(job, again)
    if planned is None or not retries.confirm_retry(job, again, planned.key, user):
        return 0
    return planned.rows


def why_not_again(job: Job, again: RetryChoice) -> str:
    """Why rows cannot be sent again so, as a person is told."""
    with pytest.raises(measurements.CannotRetry) as caught:
        rounds.make_plan(job, again)
    return str(caught.value)


# What makes the simulator answer a row so.
CUT, REFUSED, ERRORED = "[simulate:cut]", "[simulate:refusal]", "[simulate:errored]"


def sent(
    make_job: Callable[..., Job],
    alice: User,
    drive: Callable[..., Job],
    rows: list[Any],
    **values: Any,
) -> Job:
    """A job that was priced, confirmed and has finished."""
    values = {"prompt": "Say: {{text}}", "model": "claude-haiku-4-5", **values}
    job = make_job(alice, Job.State.DRAFT, rows=rows, **values)
    estimates.estimate_job(job)
    job.refresh_from_db()
    assert submissions.confirm(job, job.plan_sha256, alice)
    return drive(job)


@pytest.fixture
def mixed(
    make_job: Callable[..., Job],
    alice: User,
    drive: Callable[..., Job],
    simulator: Simulator,
    request: pytest.FixtureRequest,
) -> Job:
    """Four good rows, two cut off, one refused and one with an error."""
    ends = ["", CUT, "", REFUSED, ERRORED, "", CUT, ""]
    rows = [(f"n{number}", f"text {number} {end}") for number, end in enumerate(ends, 1)]
    make = partial(sent, make_job, alice, drive, rows, max_tokens=500)
    return kept_jobs.kept(f"mixed in {request.module.__name__}", make, simulator)
