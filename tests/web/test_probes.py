"""/healthz, /readyz and /metrics: what other programs may ask without an account, and learn."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any
from unittest import mock

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import Settings

from jobs.batches import holds
from jobs.models import Batch, Heartbeat, Job, SpendingCaps, storage, versions
from jobs.provider.errors import Refused
from jobs.web import metrics, probes

from ..conftest import store_job
from .test_views_job_page import add_batch

MakeJob = Callable[..., Job]
TOKEN = "a token of more than sixteen characters"
WITH_TOKEN = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "FRESH_SECONDS", 0)


@pytest.fixture
def ready(db: None) -> None:
    Heartbeat.objects.update(tick_at=timezone.now())


def ask(path: str = "/readyz", **headers: str) -> tuple[int, str]:
    answer = Client().get(path, headers=headers)
    assert answer.headers["Cache-Control"] == "no-store"
    assert not answer.cookies
    return answer.status_code, answer.content.decode()


def test_a_site_whose_parts_work_is_ready_and_says_no_more(ready: None) -> None:
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert ask() == (200, "ok\n")
    assert len(queries) == 1
    assert Client().head("/readyz").status_code == 200
    assert Client().post("/readyz").status_code == 405
    assert ask("/readyz/") == (200, "ok\n"), "no redirect, which some would take for a yes"


@pytest.mark.parametrize(
    "what", ["no worker", "old worker", "disk", "provider", "version", "database", "old tables"]
)
def test_it_is_not_ready_without_one_of_its_parts_and_does_not_say_which(
    ready: None, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    now = timezone.now()
    if what == "no worker":
        Heartbeat.objects.update(tick_at=None)
    elif what == "old worker":
        Heartbeat.objects.update(tick_at=now - timedelta(seconds=91))
    elif what == "disk":
        monkeypatch.setattr(storage, "free_bytes", lambda: 1)
    elif what == "provider":
        Heartbeat.objects.update(provider_away_since=now - timedelta(minutes=6))
    elif what == "version":
        monkeypatch.setattr(versions, "trouble", "The database was upgraded.")
    else:
        words = "could not connect" if what == "database" else "no such column: provider_away_since"
        monkeypatch.setattr(Heartbeat, "get", mock.Mock(side_effect=OperationalError(words)))

    assert ask() == (503, "not ready\n")
    assert ask("/healthz") == (200, "ok\n"), "the web server answers all the same"


def test_it_says_no_while_migrations_are_pending(ready: None) -> None:
    assert versions.why_not_together() == ""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE jobs_heartbeat DROP COLUMN provider_away_since")
    MigrationRecorder.Migration.objects.filter(app="jobs", name__gt="0054").delete()
    assert versions.why_not_together().startswith("The database is of an older version")
    # Last of all: after an error, PostgreSQL answers nothing more in this transaction.
    assert ask() == (503, "not ready\n")
    assert ask("/healthz") == (200, "ok\n")


def test_the_provider_may_be_away_for_a_moment_and_a_no_is_an_answer(ready: None) -> None:
    holds.note_trouble("no route to host")
    assert ask()[0] == 200
    since = Heartbeat.get().provider_away_since
    holds.note_trouble("still none")
    assert Heartbeat.get().provider_away_since == since, "the first time counts"
    Heartbeat.objects.update(provider_away_since=timezone.now() - timedelta(hours=1))
    assert ask()[0] == 503
    holds.note_provider_error(Refused(401, "authentication_error", "bad key", None))
    assert Heartbeat.get().provider_trouble and ask()[0] == 200
    holds.note_trouble("gone again")
    holds.end_trouble()
    assert Heartbeat.get().provider_away_since is None
    assert Heartbeat.get().provider_errors == 4


def test_an_answer_to_head_has_no_body() -> None:
    """Django's test client would cut it off."""
    answer = probes.answer_probes(mock.Mock())(RequestFactory().head("/healthz"))
    assert answer.content == b"" and answer.headers["Content-Length"] == "3"


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_no_host_name_and_no_https_is_needed(ready: None, settings: Settings, path: str) -> None:
    """A load balancer asks by an address of its own, without the proxy that speaks TLS."""
    settings.HTTPS = settings.SECURE_SSL_REDIRECT = True
    settings.ALLOWED_HOSTS, settings.METRICS_TOKEN = ["batch.example.org"], TOKEN
    assert ask(path, Host="10.0.0.7:8000", **WITH_TOKEN)[0] == 200


def test_while_one_look_hangs_the_others_are_answered() -> None:
    hangs, goes_on = threading.Event(), threading.Event()

    def look() -> bool:
        hangs.set()
        return goes_on.wait(60)

    readiness = probes.Readiness(look)
    first = threading.Thread(target=readiness.is_given)
    first.start()
    assert hangs.wait(60)
    assert not any(readiness.is_given() for _ in range(20))
    goes_on.set()
    first.join(60)
    assert readiness.is_given()


def test_many_who_ask_cost_one_look(ready: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "FRESH_SECONDS", 3600)
    look = mock.Mock(return_value=True)
    readiness = probes.Readiness(look)
    assert all(readiness.is_given() for _ in range(50))
    assert look.call_count == 1


# --- Numbers --------------------------------------------------------------------------------------


def test_there_are_no_metrics_without_a_token(ready: None, settings: Settings) -> None:
    assert ask("/metrics") == (404, "not found\n")
    settings.METRICS_TOKEN = TOKEN
    for header in ("", "Bearer", "Bearer wrong", f"Basic {TOKEN}", "Bearer \u00e9"):
        status, words = ask("/metrics", Authorization=header)
        assert (status, words) == (401, "a token is needed\n"), header


def numbers() -> dict[tuple[str, ...], float]:
    status, text = ask("/metrics", **WITH_TOKEN)
    assert status == 200
    return {
        (sample.name.removeprefix("batchsite_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_prometheus_reads_what_the_site_is_doing(
    ready: None, settings: Settings, alice: User, make_job: MakeJob
) -> None:
    settings.METRICS_TOKEN = TOKEN
    now = timezone.now()
    job = make_job(alice, Job.State.WORKING, practice=True, held="Decide.")
    Job.objects.filter(pk=job.pk).update(
        next_action_at=now - timedelta(minutes=2), spent_pico=5 * 10**11, reserved_pico=10**12
    )
    unknown = now - timedelta(hours=2)
    add_batch(job, 1, 2, Batch.State.UNKNOWN, intent_at=unknown, practice=True)
    made = now - timedelta(days=28)
    add_batch(job, 2, 3, Batch.State.ENDED, created_at=made, ended_at=made, practice=True)
    times = {"intent_at": made, "created_at": made + timedelta(seconds=5), "practice": True}
    times |= {"ended_at": made + timedelta(seconds=65), "collected_at": made + timedelta(hours=1)}
    add_batch(job, 3, 4, Batch.State.COLLECTED, **times)
    SpendingCaps.objects.update(most_a_month=Decimal(50))
    found = numbers()

    assert found["jobs", "working"] == 1 and found["jobs", "finished"] == 0
    assert found["batches", "unknown"] == 1 and found["batches", "collected"] == 1
    assert found["jobs_held",] == 1 and found["workers",] == 0
    assert 120 <= found["queue_age_seconds",] < 240
    assert 7200 <= found["oldest_unknown_batch_seconds",] < 7400
    assert found["results_waiting",] == 1 and 23 < found["results_expire_hours",] <= 24
    assert found["phase_seconds", "sending", "0.5"] == 5
    assert found["phase_seconds", "processing", "0.9"] == 60
    assert found["spent_dollars",] == 0.5 and found["committed_dollars",] == 1.5
    assert found["limit_dollars", "total"] == 50
    assert found["disk_reserve_bytes",] == settings.DISK_RESERVE_BYTES
    assert found["disk_free_bytes",] > 0
    assert "cell" not in str(found)


@pytest.mark.parametrize("mode", [True, False])
def test_jobs_of_the_other_mode_are_not_counted(
    ready: None, settings: Settings, alice: User, mode: bool
) -> None:
    settings.METRICS_TOKEN, settings.PRACTICE = TOKEN, mode
    now = timezone.now()
    times: dict[str, Any] = {"read_at": now, "confirmed_at": now, "finished_at": now}
    job = store_job(alice, Job.State.FINISHED, practice=not mode, **times)
    add_batch(job, 1, 2, Batch.State.COLLECTED, practice=not mode, collected_at=now)
    store_job(alice, Job.State.DRAFT, practice=False)
    found = numbers()
    assert found["jobs", "finished"] == found["batches", "collected"] == 0
    assert found["jobs", "draft"] == 1
    assert not [name for name in found if name[0] == "phase_seconds"]


def test_numbers_cost_as_much_with_many_jobs_as_with_few(
    ready: None, settings: Settings, alice: User
) -> None:
    settings.METRICS_TOKEN = TOKEN
    counts = []
    for jobs in (1, 8):
        for _ in range(jobs):
            store_job(alice, Job.State.WORKING, practice=True)
        with CaptureQueriesContext(connection) as queries:
            numbers()
        counts.append(len(queries))
        assert not any('"jobs_row"' in one["sql"] for one in queries.captured_queries)
    assert counts[0] == counts[1] <= 40


def test_without_the_database_the_numbers_are_not_there(settings: Settings) -> None:
    settings.METRICS_TOKEN = TOKEN
    with mock.patch.object(metrics, "exposition", side_effect=OperationalError("away")):
        assert ask("/metrics", **WITH_TOKEN)[0] == 503
