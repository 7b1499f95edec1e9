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

import csv
import hashlib
import io
import json
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import django
import hypothesis
import msgspec
import pytest

django.setup()

from django.conf import settings as site_settings
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.db.models.signals import post_migrate
from django.test import Client
from django.utils import timezone
from huey.contrib.djhuey import HUEY
from pytest_django import Settings

from jobs.actions import retries, submissions
from jobs.cli import worker_waits
from jobs.drafts import estimates
from jobs.ingest.input_sizes import AROUND
from jobs.ingest.protocol import MODEL_FACTS, FileFacts
from jobs.models import ONE_ROW_MODELS, Batch, Job, Outcome, Row, files
from jobs.retries import measurements, rounds, selection
from jobs.rules import pricing
from jobs.rules.pricing import LONG_FROM
from jobs.worker import sweep, tally
from jobs.worker.supervision import prepare_child as end_with_parent

PASSWORD = "correct horse"
# Files of few tests that take long each.
LONGEST_FIRST = ("test_torture", "test_crashes", "test_serve", "test_late", "test_submission")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the files that take longest, so that none of them is left for the end."""
    order = {name: index for index, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


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
# In a file, so that a worker in a process of its own works on the same database.
if not os.environ["DATABASE_URL"]:
    database = site_settings.DATABASES["default"]
    database.setdefault("TEST", {})["NAME"] = str(SCRATCH / "tests.sqlite3")


def make_installation(**_: object) -> None:
    """The rows that a migration made are gone once a transactional test has emptied the tables."""
    for model in ONE_ROW_MODELS:
        model._default_manager.get_or_create(pk=1)


post_migrate.connect(make_installation, dispatch_uid="tests.installation")


@pytest.fixture(autouse=True)
def own_folder(settings: Settings, tmp_path: Path) -> Iterator[None]:
    """A data folder of its own for each test: after a rollback, ids are used again."""
    settings.DATA_DIR = tmp_path / "data"
    settings.FILE_UPLOAD_TEMP_DIR = tmp_path / "data" / "uploads" / "incoming"
    settings.FILE_UPLOAD_TEMP_DIR.mkdir(parents=True)
    pricing.use_prices([])
    yield
    if HUEY.pending_count():
        HUEY.storage.flush_queue()


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


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
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


def is_over(job: Job) -> bool:
    return job.state in (Job.State.FINISHED, Job.State.UNREADABLE)


def drive_job(job: Job, until: Callable[[Job], bool] = is_over, seconds: float = 240) -> Job:
    """Sweep until `until(job)` is true, and return the job as it is then. Raises AssertionError
    with the job's log when it does not come so far within `seconds`."""
    deadline, pause = time.monotonic() + seconds, 0.005
    while True:
        sweep.sweep()
        now = Job.objects.get(pk=job.pk)
        if until(now):
            return now
        if time.monotonic() > deadline:
            log = "\n".join(event.text for event in job.events.all())
            pytest.fail(f"The job is {now.state} (held: {now.held!r}). Its log:\n{log}")
        # Between two looks at whether something is due: most soon is, the rest may take long.
        time.sleep(pause)
        pause = min(1.3 * pause, 0.1)


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

    def truth(self, ids: bool = False) -> dict[str, Any]:
        """What it accepted, whatever it answered: {"posts", "accepted_rows", "batches": [...]}."""
        truth: dict[str, Any] = json.loads(self._call(f"/_truth?ids={int(ids)}"))
        return truth

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
        self.process.communicate(timeout=30)

    def _call(self, path: str, body: bytes | None = None) -> bytes:
        with urllib.request.urlopen(f"{self.url}{path}", body, timeout=30) as answer:
            content: bytes = answer.read()
        return content


@pytest.fixture
def start_simulator(settings: Settings, tmp_path: Path) -> Iterator[Callable[..., Simulator]]:
    """`start_simulator(seconds=0, ...)` starts one, and makes it the provider for this test."""
    started: list[Simulator] = []

    def start(**options: object) -> Simulator:
        simulator = Simulator(tmp_path / "simulator", **options)
        started.append(simulator)
        settings.ANTHROPIC_BASE_URL = simulator.url
        return simulator

    yield start
    for simulator in started:
        simulator.stop()


@pytest.fixture
def simulator(settings: Settings) -> Simulator:
    """A provider whose batches end at once and whose answers are all good; it knows of nothing
    that was sent before."""
    if not _SHARED or _SHARED[-1].process.poll() is not None:
        _SHARED.append(Simulator(SCRATCH / "simulator", seconds=0, failures="none"))
    _SHARED[-1].begin_anew()
    settings.ANTHROPIC_BASE_URL = _SHARED[-1].url
    return _SHARED[-1]


# Starting one takes a third of a second, so the tests of a process share it; the last one counts.
_SHARED: list[Simulator] = []


@pytest.fixture
def worker(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that does its work whenever the command waits."""
    clock = SimpleNamespace(monotonic=time.monotonic, sleep=lambda _seconds: sweep.sweep())
    monkeypatch.setattr(worker_waits, "time", clock)


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
    make_job: Callable[..., Job], alice: User, drive: Callable[..., Job], simulator: Simulator
) -> Job:
    """Four good rows, two cut off, one refused and one with an error."""
    ends = ["", CUT, "", REFUSED, ERRORED, "", CUT, ""]
    rows = [(f"n{number}", f"text {number} {end}") for number, end in enumerate(ends, 1)]
    return sent(make_job, alice, drive, rows, max_tokens=500)
