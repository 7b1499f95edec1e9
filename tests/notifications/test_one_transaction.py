"""What happens and what is told of it are stored together, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.models import Model
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from jobs.actions import site_limits, submissions
from jobs.batches import absence, collection, holds, polling, reconciliation
from jobs.models import (
    Batch,
    Invitation,
    Job,
    Notification,
    Sending,
    SpendingCaps,
    outbox,
)
from jobs.provider import client
from jobs.provider.errors import NotFound, Refused
from jobs.provider.replies import BatchInfo
from jobs.rules.result_proof import TRIES, UNCLEAR, Incomplete
from jobs.worker import finishing

from ..conftest import lease_of, store_job
from ..web.test_views_job_page import add_batch


class Unwritable(Exception):
    """The outbox cannot be written now."""


def refuse(*_arguments: object, **_named: object) -> int:
    raise Unwritable


def sent_job(owner: User) -> Batch:
    """A job with a batch at the provider."""
    job = store_job(owner, Job.State.WORKING, outcomes=["good"] * 2)
    now = timezone.now()
    times = {"created_at": now - timedelta(hours=1), "expires_at": now + timedelta(hours=23)}
    return add_batch(job, 1, 1, Batch.State.IN_PROGRESS, **times)


def found_again(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> Callable[[], object]:
    monkeypatch.setattr(client, "list_batches", lambda: iter(()))
    monkeypatch.setattr(client, "retrieve_batch", not_found)
    polling.watch()
    made, ends = batch.created_at, batch.expires_at
    assert made and ends
    info = BatchInfo(str(batch.provider_id), "in_progress", 1, {}, made, ends, None)
    monkeypatch.setattr(client, "list_batches", lambda: iter([info]))
    return polling.watch


def not_found(_provider_id: str) -> BatchInfo:
    raise NotFound(404, "not_found_error", "", None)


def missing(_batch: Batch, monkeypatch: pytest.MonkeyPatch) -> Callable[[], object]:
    monkeypatch.setattr(client, "list_batches", lambda: iter(()))
    monkeypatch.setattr(client, "retrieve_batch", not_found)
    return polling.watch


def asked(batch: Batch, _monkeypatch: pytest.MonkeyPatch) -> Callable[[], object]:
    Batch.objects.update(state=Batch.State.UNKNOWN, provider_id=None)
    batch.refresh_from_db()
    return lambda: reconciliation._ask(batch, absence.begin(), 1)


def decided_anew(batch: Batch, _monkeypatch: pytest.MonkeyPatch) -> Callable[[], object]:
    Batch.objects.update(state=Batch.State.ENDED, given_up_at=timezone.now())
    lease = lease_of(batch.job)

    def last_look() -> None:
        Batch.objects.update(doubt=UNCLEAR, doubts=TRIES - 1)
        batch.refresh_from_db()
        collection._after_incomplete(batch, Incomplete("x", UNCLEAR), lease)

    return last_look


def paused(_batch: Batch, _monkeypatch: pytest.MonkeyPatch) -> Callable[[], object]:
    return lambda: holds.pause(Refused(401, "authentication_error", "", None))


def pause_over(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> Callable[[], object]:
    paused(batch, monkeypatch)()
    return holds.end_pause


def pause_of_another_key_over(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], object]:
    paused(batch, monkeypatch)()
    Sending.row().update(pause_key="another")
    return lambda: holds.wait_for_room(Refused(429, "rate_limit_error", "", 5.0))


def held(batch: Batch, _monkeypatch: pytest.MonkeyPatch) -> Callable[[], object]:
    return lambda: holds.hold(batch.job_id, "A reason")


def continued(batch: Batch, _monkeypatch: pytest.MonkeyPatch) -> Callable[[], object]:
    holds.hold(batch.job_id, "A reason")
    return lambda: submissions.resume_job(batch.job, batch.job.owner)


def finished(batch: Batch, _monkeypatch: pytest.MonkeyPatch) -> Callable[[], object]:
    return lambda: finishing.finish_job(batch.job, lease_of(batch.job))


def stopped(batch: Batch, _monkeypatch: pytest.MonkeyPatch) -> Callable[[], object]:
    return lambda: site_limits.stop_spending(batch.job.owner)


WAYS = (
    found_again,
    missing,
    asked,
    decided_anew,
    paused,
    pause_over,
    pause_of_another_key_over,
    held,
    continued,
    finished,
    stopped,
)


def state_of_site() -> list[dict[str, Any]]:
    """All that may be told of: not how often it was looked, and what was counted."""
    ignored = ("doubt", "doubts", "next_action_at", "collect_failures", "tally", "tally_version")
    models: tuple[type[Model], ...] = (Job, Batch, Sending, SpendingCaps)
    return [
        {name: one[name] for name in one if name not in ignored}
        for model in models
        for one in model._default_manager.values()
    ]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_what_cannot_be_told_does_not_happen(
    alice: User,
    root: User,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    way: Callable[[Batch, pytest.MonkeyPatch], Callable[[], object]],
) -> None:
    settings.PRACTICE = False
    step = way(sent_job(alice), monkeypatch)
    before, told = state_of_site(), Notification.objects.count()
    real = outbox.tell
    monkeypatch.setattr(outbox, "tell", refuse)
    with suppress(Unwritable):
        step()
    assert state_of_site() == before

    monkeypatch.setattr(outbox, "tell", real)
    step()
    assert state_of_site() != before and Notification.objects.count() > told


def test_an_invitation_that_cannot_be_mailed_is_not_made(
    client_root: Client, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.HAS_MAIL = True
    monkeypatch.setattr(outbox, "post_mail", refuse)
    with pytest.raises(Unwritable):
        client_root.post("/people/", {"role": "member", "mail": "eve@example.org"})
    assert not Invitation.objects.exists()
