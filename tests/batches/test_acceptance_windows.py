"""When the provider can have accepted a try that counted as never arrived: only a batch made in
such a time is canceled, and only as many of them as are missing."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from jobs.batches import absence, late, reconciliation
from jobs.models import Batch, Job, SubmissionEvent, clock
from jobs.provider import client

from .test_late import canceled, listed, missed, quick

__all__ = ["canceled", "missed", "quick"]  # fixtures of the tests here


def given_up_by_listing(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    """`batch`, which is unknown, counts as never arrived after some looks at an empty list."""
    monkeypatch.setattr(client, "list_batches", lambda: iter([]))
    for _ in range(absence.LOOKS_BEFORE_RESEND + 1):
        batch.refresh_from_db()
        if batch.state != Batch.State.UNKNOWN:
            break
        reconciliation.reconcile(batch)
        absent = Batch.objects.get(pk=batch.pk).absence
        assert absent is not None
        later = msgspec.structs.replace(absent, seconds=absent.seconds + 10_000)
        Batch.objects.filter(pk=batch.pk).update(absence=later)
    assert Batch.objects.get(pk=batch.pk).state == Batch.State.PLANNED


def say_of_its_try(**detail: Any) -> None:
    """What is recorded of the one try that was given up."""
    event = SubmissionEvent.objects.get()
    event.detail = msgspec.structs.replace(event.detail, **detail)
    event.save()


@pytest.mark.parametrize(
    ("minutes_ago", "deadline_then"), [(70, 600), (70, 3_600), (61, 600)], ids=str
)
def test_a_try_of_an_older_version_is_found_although_nobody_noted_when_it_began(
    missed: Batch,
    canceled: list[str],
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
    minutes_ago: float,
    deadline_then: int,
) -> None:
    """It is looked for first after the update, an hour after it was sent, and the deadline of a
    submission may have been another one."""
    settings.SUBMIT_DEADLINE_SECONDS = 60
    SubmissionEvent.objects.all().delete()
    deadline = clock.now() - timedelta(minutes=70) + timedelta(seconds=deadline_then)
    old = {"state": Batch.State.UNKNOWN, "provider_id": None, "absence": None, "attempts": 1}
    Job.objects.update(state=Job.State.SUBMITTING)
    Batch.objects.update(**old, deadline_at=deadline, late_until=None, created_at=None)
    given_up_by_listing(missed, monkeypatch)
    later = {"state": Batch.State.IN_PROGRESS, "provider_id": "msgbatch_second", "attempts": 2}
    Batch.objects.update(**later)
    listing = [listed("msgbatch_of_the_first", minutes_ago)]
    monkeypatch.setattr(client, "list_batches", lambda: iter(listing))
    late.look()
    assert canceled == ["msgbatch_of_the_first"]


def test_a_try_is_found_however_late_in_its_time_it_was_accepted(
    missed: Batch, canceled: list[str], monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    """A proxy held it back, or the deadline was made shorter while it was in doubt."""
    settings.SUBMIT_DEADLINE_SECONDS = 600
    SubmissionEvent.objects.all().delete()
    now = clock.now()
    begun = clock.Moment(now - timedelta(minutes=30), now - timedelta(minutes=30), "", 0.0)
    Batch.objects.update(
        state=Batch.State.UNKNOWN,
        provider_id=None,
        deadline_at=now - timedelta(minutes=5),
        absence=absence.begin_at(begun),
        late_until=None,
    )
    missed.refresh_from_db()
    settings.SUBMIT_DEADLINE_SECONDS = 1
    assert reconciliation.plan_again(missed)
    later = {"provider_id": "msgbatch_second", "created_at": clock.now() + timedelta(minutes=1)}
    Batch.objects.update(**later, state=Batch.State.IN_PROGRESS)
    listing = [listed("msgbatch_late", 6), listed("msgbatch_before_it", 31)]
    monkeypatch.setattr(client, "list_batches", lambda: iter(listing))
    late.look()
    assert canceled == ["msgbatch_late"]


def test_what_was_made_between_the_deadline_and_the_giving_up_is_not_ours(
    missed: Batch, canceled: list[str], monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    """Another program's batch of its size; the list showed it only after the try was given up."""
    settings.SUBMIT_DEADLINE_SECONDS = 600
    SubmissionEvent.objects.all().delete()
    now = clock.now()
    begun = clock.Moment(now - timedelta(minutes=30), now - timedelta(minutes=30), "", 0.0)
    Batch.objects.update(
        state=Batch.State.UNKNOWN,
        provider_id=None,
        deadline_at=now - timedelta(minutes=20),
        absence=msgspec.structs.replace(absence.begin_at(begun), seconds=1_500),
        late_until=None,
    )
    missed.refresh_from_db()
    assert reconciliation.plan_again(missed)
    later = {"provider_id": "msgbatch_second", "created_at": now + timedelta(minutes=1)}
    Batch.objects.update(**later, state=Batch.State.IN_PROGRESS)
    listing = [listed("msgbatch_theirs", 10), listed("msgbatch_late", 21)]
    monkeypatch.setattr(client, "list_batches", lambda: iter(listing))
    late.look()
    assert canceled == ["msgbatch_late"]


def test_a_try_that_was_found_itself_leaves_nothing_to_cancel(
    missed: Batch, canceled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It counted as never arrived, was listed before it was sent again, and counts as never arrived
    no more. Another program's batch of its size and time is not ours."""
    say_of_its_try(attempt=1)
    made = clock.now() - timedelta(minutes=26)
    Batch.objects.update(attempts=1, recovered=True, created_at=made)
    listing = [listed("msgbatch_theirs", 25), listed("msgbatch_second", 26)]
    monkeypatch.setattr(client, "list_batches", lambda: iter(listing))
    late.look()
    assert canceled == []


def test_one_try_that_was_given_up_twice_is_looked_for_once(
    missed: Batch, canceled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    say_of_its_try(attempt=1)
    first = SubmissionEvent.objects.get()
    SubmissionEvent.objects.create(nonce="abc123", kind="never_arrived", detail=first.detail)
    listing = [listed("msgbatch_late", 25), listed("msgbatch_theirs", 24)]
    monkeypatch.setattr(client, "list_batches", lambda: iter(listing))
    for _ in range(2):
        late.look()
    assert canceled == ["msgbatch_late"]


def test_when_an_earlier_try_is_found_the_last_one_is_in_doubt(
    missed: Batch, canceled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first try had been given up, and the answer to the second was lost. The first is listed
    now; the second may have arrived as well."""
    say_of_its_try(attempt=1)
    now = clock.now()
    begun = clock.Moment(now - timedelta(minutes=10), now - timedelta(minutes=10), clock.BOOT, 0.0)
    Job.objects.update(state=Job.State.SUBMITTING)
    Batch.objects.update(
        state=Batch.State.UNKNOWN,
        provider_id=None,
        created_at=None,
        given_up=1,
        absence=absence.begin_at(begun),
    )
    listing = [listed("msgbatch_first", 25)]
    monkeypatch.setattr(client, "list_batches", lambda: iter(listing))
    missed.refresh_from_db()
    reconciliation.reconcile(missed)
    assert Batch.objects.get().provider_id == "msgbatch_first"
    listing = [listed("msgbatch_of_the_second", 9), *listing]
    late.look()
    assert canceled == ["msgbatch_of_the_second"]
    listing = [listed("msgbatch_theirs", 8), *listing]
    late.look()
    assert canceled == ["msgbatch_of_the_second"]


def test_a_try_from_days_ago_is_found_when_a_person_answered_late(
    missed: Batch, canceled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    detail = SubmissionEvent.objects.get().detail
    begin, until = map(datetime.fromisoformat, (detail.begin, detail.until))
    days = timedelta(days=6)
    say_of_its_try(begin=(begin - days).isoformat(), until=(until - days).isoformat())
    Batch.objects.update(intent_at=clock.now() - timedelta(days=6, minutes=30))
    listing = [listed("msgbatch_new", 1, 3), listed("msgbatch_late", 6 * 24 * 60 + 25)]
    monkeypatch.setattr(client, "list_batches", lambda: iter(listing))
    late.look()
    assert canceled == ["msgbatch_late"]
