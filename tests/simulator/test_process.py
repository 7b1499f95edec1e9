"""The process: what outlives it, how it starts and stops."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import anthropic
import httpx2
import pytest

from jobs.models import practice_token

from ..conftest import Simulator
from ..environment import ROOT
from .asking import DEADLINE, client_of, message_of, params, requests_of, results_of, wait_for_end

pytestmark = pytest.mark.no_database


def test_what_was_accepted_outlives_a_kill(tmp_path: Path) -> None:
    folder = tmp_path / "provider"
    before = Simulator(folder, seconds=1, failures="none")
    with contextlib.closing(client_of(before.url)) as api:
        done = api.messages.batches.create(requests=requests_of(params("One.")))
        answers = {line.custom_id: line for line in results_of(api, done)}
        at_work = api.messages.batches.create(requests=requests_of(params("Two."), params("3.")))
    before.process.kill()
    before.process.communicate(timeout=DEADLINE)
    left_behind = folder / "incoming" / "half.part"
    left_behind.write_text("{")

    after = Simulator(folder, seconds=1, failures="none")
    with contextlib.closing(client_of(after.url)) as api:
        listed = [batch.id for batch in api.messages.batches.list()]
        same = {line.custom_id: line for line in results_of(api, done)}
        finished = wait_for_end(api, at_work)
    truth = after.truth(ids=True)
    after.stop()

    assert listed == [at_work.id, done.id]
    assert same == answers
    assert finished.created_at == at_work.created_at
    assert finished.request_counts.succeeded == 2
    assert (truth["posts"], truth["accepted_rows"]) == (2, 3)
    assert [batch["custom_ids"] for batch in truth["batches"]] == [["row-0"], ["row-0", "row-1"]]
    assert not left_behind.exists()


def test_the_truth_outlives_a_kill(tmp_path: Path) -> None:
    before = Simulator(tmp_path / "provider", seconds=3600, failures="none")
    with contextlib.closing(client_of(before.url)) as api:
        batches = [
            api.messages.batches.create(requests=requests_of(params(), params())) for _ in range(3)
        ]
        before.faults(canceling_seconds=0.01)
        wait_for_end(api, api.messages.batches.cancel(batches[0].id))
        api.messages.batches.delete(batches[0].id)
        before.faults(canceling_seconds=3600, foreign_batches=1)
        api.messages.batches.cancel(batches[1].id)
        api.messages.batches.create(requests=requests_of(params()))
    known = before.truth(ids=True)
    before.process.kill()
    before.process.communicate(timeout=DEADLINE)

    after = Simulator(tmp_path / "provider", seconds=3600)
    still_known = after.truth(ids=True)
    after.stop()

    assert still_known == known
    words = ("ended", "deleted", "cancel_requested", "foreign")
    assert [[word for word in words if batch[word]] for batch in known["batches"]] == [
        ["ended", "deleted", "cancel_requested"],
        ["cancel_requested"],
        [],
        [],
        ["foreign"],
    ]


def test_a_folder_of_an_older_version_can_still_be_opened(tmp_path: Path) -> None:
    folder = tmp_path / "provider"
    before = Simulator(folder, seconds=0)
    with contextlib.closing(client_of(before.url)) as api:
        batch = wait_for_end(api, api.messages.batches.create(requests=requests_of(params())))
    before.stop()
    with contextlib.closing(sqlite3.connect(folder / "simulator.sqlite3")) as database, database:
        database.execute("ALTER TABLE batch DROP COLUMN finished_share")
        for name in ("ahead", "is_foreign"):
            database.execute(f"ALTER TABLE batch ADD COLUMN {name} INTEGER NOT NULL DEFAULT 0")

    after = Simulator(folder, seconds=0)
    with contextlib.closing(client_of(after.url)) as api:
        again = api.messages.batches.retrieve(batch.id)
        new = wait_for_end(api, api.messages.batches.create(requests=requests_of(params())))
        listed = [one.id for one in api.messages.batches.list()]
    after.stop()

    assert again == batch.model_copy(update={"results_url": again.results_url})
    assert new.request_counts.succeeded == 1
    assert listed == [new.id, batch.id]


def test_results_are_gone_after_29_days(tmp_path: Path) -> None:
    folder = tmp_path / "provider"
    before = Simulator(folder, seconds=0)
    with contextlib.closing(client_of(before.url)) as api:
        batch = api.messages.batches.create(requests=requests_of(params()))
        wait_for_end(api, batch)
    before.stop()
    with contextlib.closing(sqlite3.connect(folder / "simulator.sqlite3")) as database, database:
        database.execute(
            "UPDATE batch SET created_at = created_at - ?1, due_at = due_at - ?1",
            (29 * 86_400 * 10**6,),
        )

    after = Simulator(folder, seconds=0)
    with contextlib.closing(client_of(after.url)) as api:
        old = api.messages.batches.retrieve(batch.id)
        with pytest.raises(anthropic.NotFoundError):
            api.get(f"/v1/messages/batches/{batch.id}/results", cast_to=object)
    after.stop()

    assert old.processing_status == "ended"
    assert old.archived_at is not None
    assert old.results_url is None
    assert not list((folder / "results").iterdir())


@contextlib.contextmanager
def practice_server(folder: Path, *options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The simulator as practice mode starts it."""
    command = [sys.executable, "-m", "jobs.simulator", "--port", "0", "--data", str(folder)]
    with subprocess.Popen(
        [*command, *options], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().split()[-1], process
        process.kill()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_starts_quickly_and_stops_at_once(tmp_path: Path, how: signal.Signals) -> None:
    began = time.monotonic()
    with practice_server(tmp_path) as (_, process):
        started = time.monotonic()
        process.send_signal(how)
        _, said = process.communicate(timeout=DEADLINE)
        stopped = time.monotonic()

    assert (process.returncode, said) == (0, "")
    assert started - began < 1.5
    assert stopped - started < 1.0


def test_practice_mode_has_no_addresses_for_tests(tmp_path: Path) -> None:
    """Nobody can order faults there, read what was sent, or make it forget its batches."""
    key = {"x-api-key": "practice"}
    with practice_server(tmp_path) as (url, _), httpx2.Client(base_url=url) as client:
        asked = [
            client.request(method, path, headers=headers, content=content)
            for method, path, content in (
                ("POST", "/_faults", b'{"create": [{"kind": "drop_before"}]}'),
                ("GET", "/_faults", b""),
                ("POST", "/_reset", b""),
                ("POST", "/_begin_anew", b""),
                ("GET", "/_truth?ids=1", b""),
            )
            for headers in (key, {})
        ]

    assert [answer.status_code for answer in asked] == [404, 401] * 5


def test_practice_mode_answers_a_batch(tmp_path: Path) -> None:
    """What practice mode runs is not what the other tests here run, which can do more."""
    with (
        practice_server(tmp_path, "--seconds", "0.1") as (url, _),
        contextlib.closing(client_of(url)) as api,
    ):
        rows = requests_of(params("One."), params("[simulate:refusal]"))
        batch = wait_for_end(api, api.messages.batches.create(requests=rows))
        results = {line.custom_id: line for line in results_of(api, batch)}
        listed = [one.id for one in api.messages.batches.list()]
        api.messages.batches.delete(batch.id)

    assert listed == [batch.id]
    assert batch.request_counts.succeeded == 2
    assert message_of(results["row-1"]).stop_reason == "refusal"


def test_only_who_has_the_token_is_answered_and_only_under_a_local_name(tmp_path: Path) -> None:
    token = practice_token.make(tmp_path)
    command = [sys.executable, "-m", "jobs.simulator", "--port", "0", "--token-file", str(token)]
    process = subprocess.Popen(
        [*command, "--data", str(tmp_path / "provider")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    url = process.stdout.readline().split()[-1]

    def ask(key: str, host: str = "localhost") -> int:
        headers = {"x-api-key": key, "host": host}
        listed = httpx2.get(f"{url}/v1/messages/batches", headers=headers, trust_env=False)
        sent = httpx2.post(
            f"{url}/v1/messages/batches", headers=headers, content=b"{", trust_env=False
        )
        assert (listed.status_code == 200) == (sent.status_code == 400)
        return listed.status_code

    key = practice_token.read(tmp_path)
    statuses = [ask(key), ask(key, "127.0.0.1:80"), ask("practice"), ask(f"{key}x")]
    hosts = [ask(key, host) for host in ("evil.example", "localhost.evil.example", "[")]
    process.terminate()
    process.communicate(timeout=DEADLINE)

    assert token.stat().st_mode & 0o777 == 0o600
    assert statuses == [200, 200, 401, 401]
    assert hosts == [403, 403, 403]
    practice_token.make(tmp_path)
    assert practice_token.read(tmp_path) != key
