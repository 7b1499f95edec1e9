"""Administrators are told of what is wrong once, and once when it is over."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from jobs.batches import holds
from jobs.models import (
    Alarm,
    AuditCheck,
    Batch,
    Heartbeat,
    Job,
    JournalState,
    LastBackup,
    Notification,
    Sending,
    WorkerProcess,
    key_fingerprint,
    outbox,
)
from jobs.provider import errors
from jobs.rules import site_health
from jobs.rules.site_health import SiteFacts, WorkerFacts, judge
from jobs.worker import alarms, backups, site_facts

from ..conftest import PASSWORD, store_job
from ..web.test_views_job_page import add_batch

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
WORKER = WorkerFacts("m", "m|1|x", "1", NOW, NOW)
FINE = SiteFacts(
    NOW,
    "1",
    practice=False,
    tick_at=NOW,
    workers=(WORKER,),
    free=2,
    total=3,
    reserve=1,
    backup_at=NOW,
    has_mail=True,
)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.mark.no_database
def test_nothing_is_wrong_with_a_site_that_works() -> None:
    assert judge(FINE) == []
    assert judge(replace(FINE, backup_hours=1, journal_ahead=0, waiting_since=NOW)) == []


@pytest.mark.no_database
@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"workers": (replace(WORKER, seen_at=NOW - timedelta(minutes=6)),)}, "worker_hung"),
        ({"workers": (replace(WORKER, died_at=NOW - HOUR / 2),)}, "worker_restarted"),
        ({"held_jobs": (7,), "held_count": 1}, "job_held"),
        ({"paused": "Anthropic rejected the key."}, "key_paused"),
        ({"waiting_since": NOW - DAY - HOUR, "waiting_until": NOW}, "results_waiting"),
        ({"free": 0}, "disk_low"),
        ({"site_trouble": "The disk of this site is full."}, "site_trouble"),
        ({"journal_ahead": 1}, "journal_ahead"),
        ({"backup_hours": 1, "backup_at": NOW - 2 * HOUR}, "backup_old"),
        ({"backup_hours": 1, "backup_at": None}, "backup_old"),
        ({"audit_fault": "Entry 3 is missing."}, "audit_broken"),
        ({"copy_to": "s3://b", "copies_since": NOW - DAY - HOUR}, "copies_behind"),
        ({"copy_to": "s3://b", "copies_failing_since": NOW - HOUR}, "copies_behind"),
        ({"copy_to": "s3://b", "copies_stuck": 1}, "copies_behind"),
    ],
)
def test_each_alarm_opens_for_its_reason_alone(change: dict[str, Any], kind: str) -> None:
    (found,) = judge(replace(FINE, **change))
    assert (found.kind, found.is_alarm) == (kind, True)
    assert kind in site_health.OVER
    assert found.text.endswith(".") and found.remedy.endswith(".")
    assert "rejected" not in found.text, "the provider's words stay on the page"


@pytest.mark.no_database
@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"tick_at": NOW - timedelta(seconds=90)}, "worker_silent"),  # no worker could tell it
        ({"workers": (replace(WORKER, version="2"),)}, "worker_version"),
        ({"held_count": 3}, "more_held"),
        ({"oldest_due": NOW - HOUR}, "queue_slow"),
        ({"stopped_at": NOW}, "spending_stopped"),
        ({"provider_away_since": NOW - HOUR}, "provider_away"),
        ({"backup_at": None}, "backup_none"),
        ({"backup_troubles": 1}, "backup_troubles"),
        ({"has_mail": False}, "mail_none"),
        ({"has_old_copies": True}, "copies_off"),
    ],
)
def test_other_faults_are_only_shown(change: dict[str, Any], kind: str) -> None:
    (found,) = judge(replace(FINE, **change))
    assert (found.kind, found.is_alarm) == (kind, False)


@pytest.fixture
def told(db: None, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    tell = outbox.tell

    def note(event: str, people: Iterable[User], *, facts: outbox.Facts, key: str) -> int:
        if event in ("alarm", "alarm_over"):
            found.append((event, facts.text))
        count = tell(event, people, facts=facts, key=key)
        assert Notification.objects.filter(key=key).count() == count, "nobody is told twice"
        return count

    monkeypatch.setattr(outbox, "tell", note)
    Heartbeat.objects.update(tick_at=timezone.now())
    return found


def test_administrators_are_told_once_when_it_begins_and_once_when_it_is_over(
    told: list[tuple[str, str]], alice: User
) -> None:
    job = store_job(alice, Job.State.WORKING, practice=True, held="Decide.")
    for _ in range(3):
        alarms.check()
    assert told == [("alarm", f"Action is needed in job {job.pk}. Its page says what to decide.")]
    Job.objects.update(held="")
    for _ in range(2):
        alarms.check()
    assert told[1:] == [("alarm_over", f"No more action is needed in job {job.pk}.")]
    Job.objects.update(held="Again.")
    alarms.check()
    assert len(told) == 3 and Alarm.objects.count() == 2


def test_who_hears_of_it_by_another_notification_is_not_told_again(
    db: None, alice: User, root: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told() -> list[tuple[str, str]]:
        found = Notification.objects.order_by("pk")
        return [(one.event, one.person.username) for one in found]

    follower, other = (
        User.objects.create_superuser(name, password=PASSWORD) for name in ("ada", "eve")
    )
    job = store_job(root, Job.State.WORKING, practice=True)
    job.followers.create(person=follower)
    holds.hold(job.pk, "Decide.")
    holds.pause(errors.Refused(401, "authentication_error", "no", None))
    by_jobs = {("action_needed", name) for name in ("root", "ada")}
    by_jobs |= {("sending_paused", name) for name in ("root", "ada", "eve")}
    assert set(told()) == by_jobs

    alarms.check()
    assert set(Alarm.objects.values_list("kind", flat=True)) == {"job_held", "key_paused"}
    assert told()[len(by_jobs) :] == [("alarm", other.username)]
    assert "Action is needed in job" in Notification.objects.latest("pk").title

    holds.end_hold(job.pk)
    holds.end_pause()
    solved = len(told())
    alarms.check()
    assert not Alarm.objects.open().exists()
    assert told()[solved:] == [("alarm_over", other.username)]


@pytest.mark.no_database
def test_a_disk_that_is_low_stays_so_until_it_has_some_room() -> None:
    facts = replace(FINE, reserve=100, total=1000)
    for free, opens, stays in ((99, True, True), (100, False, True), (120, False, False)):
        now = replace(facts, free=free)
        assert [one.kind for one in judge(now)] == ["disk_low"] * opens
        assert site_health.stays_open("disk_low", "", now) == stays


def test_an_alarm_does_not_flap_with_each_file(
    told: list[tuple[str, str]], root: User, settings: Settings
) -> None:
    free = shutil.disk_usage(settings.DATA_DIR).free
    for reserve in (2 * free, int(free / 1.1), 2 * free, int(free / 1.1)):
        settings.DISK_RESERVE_BYTES = reserve
        alarms.check()
    assert [event for event, _text in told] == ["alarm"]
    settings.DISK_RESERVE_BYTES = free // 2
    alarms.check()
    assert told[1:] == [("alarm_over", "The disk has enough free space again.")]


def test_the_newest_held_jobs_are_named_and_the_others_counted(
    told: list[tuple[str, str]], alice: User, root: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = store_job(alice, Job.State.WORKING, practice=True, held="Decide.")
    alarms.check()
    monkeypatch.setattr(site_facts, "HELD", 2)
    jobs = [store_job(alice, Job.State.WORKING, practice=True, held="Decide.") for _ in range(2)]
    facts = site_facts.gather()
    assert facts.held_jobs == (jobs[1].pk, jobs[0].pk) and facts.held_count == 3
    assert "Older jobs that need action: 1." in {one.text for one in judge(facts)}
    alarms.check()
    # The first is not named any more, and is not over.
    assert Alarm.objects.open().count() == 3 and len(told) == 3
    Job.objects.filter(pk=first.pk).update(held="")
    alarms.check()
    assert told[3:] == [("alarm_over", f"No more action is needed in job {first.pk}.")]


def test_of_two_workers_one_opens_and_one_solves_an_alarm(db: None) -> None:
    first = Alarm.objects.try_open("disk_low", "", "Full.", NOW)
    assert first is not None and Alarm.objects.try_open("disk_low", "", "Full.", NOW) is None
    assert Alarm.objects.try_solve(first.pk, NOW)
    assert not Alarm.objects.try_solve(first.pk, NOW)
    assert Alarm.objects.try_open("disk_low", "", "Full.", NOW)


def test_what_is_wrong_is_found_in_the_database(
    told: list[tuple[str, str]], alice: User, settings: Settings
) -> None:
    settings.PRACTICE, settings.DISK_RESERVE_BYTES = False, 10**18
    settings.BACKUP_MAX_HOURS = 24
    now = timezone.now()
    job = store_job(alice, Job.State.WORKING, practice=False)
    add_batch(job, 1, 2, Batch.State.ENDED, created_at=now - 3 * DAY, ended_at=now - 2 * DAY)
    JournalState.objects.update(ahead=1)
    AuditCheck.objects.update(fault="Entry 3 is missing.")
    Sending.objects.update(pause="no", pause_key=key_fingerprint())
    WorkerProcess.objects.create(name="m|1|x", machine="m", version="1", seen_at=now - HOUR)
    alarms.check()
    assert set(Alarm.objects.values_list("kind", flat=True)) == {
        "worker_hung",
        "key_paused",
        "results_waiting",
        "disk_low",
        "journal_ahead",
        "backup_old",
        "audit_broken",
    }


def test_a_check_costs_the_same_with_many_jobs(told: list[tuple[str, str]], alice: User) -> None:
    counts = []
    for jobs in (1, 6):
        for _ in range(jobs):
            store_job(alice, Job.State.WORKING, practice=True)
        with CaptureQueriesContext(connection) as queries:
            alarms.check()
        # PostgreSQL is asked for its time beside.
        counts.append(sum("clock_timestamp" not in one["sql"] for one in queries))
    assert counts[0] == counts[1] <= 15


@pytest.mark.django_db(transaction=True)
def test_a_backup_is_noted(alice: User, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("backup", str(tmp_path / "b"))
    (made,) = backups.find_all(tmp_path / "b")
    noted = LastBackup.get()
    assert noted.folder == str(made) and noted.made_at is not None and noted.troubles == 0


def test_old_alarms_are_forgotten(db: None) -> None:
    for days in (1, 91):
        alarm = Alarm.objects.create(kind="disk_low", text="Full.")
        Alarm.objects.try_solve(alarm.pk, timezone.now() - days * DAY)
    Alarm.objects.create(kind="disk_low", text="Full.", opened_at=timezone.now() - 99 * DAY)
    alarms.forget_old()
    assert Alarm.objects.count() == 2


def test_the_system_page_says_what_to_do(
    told: list[tuple[str, str]], alice: User, client_root: Any, client_alice: Any
) -> None:
    job = store_job(alice, Job.State.WORKING, practice=True, held="Decide.")
    alarms.check()
    page = client_root.get("/system/").content.decode()
    assert "Open alarms" in page and f'href="/jobs/{job.pk}/"' in page
    assert "Set EMAIL_URL and EMAIL_FROM." in page
    assert "&lt;" not in page, "no markup is shown as text"
    assert client_alice.get("/system/").status_code == 404
    assert client_root.post("/system/").status_code == 405
