"""Entering the API key of the site, and those of teams."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.db import transaction

from ..models import (
    Batch,
    Job,
    Team,
    TeamSending,
    api_key,
    audit,
    clock,
    fingerprint_of,
    key_fingerprint,
)
from ..provider import client
from ..provider.errors import ProviderError, Refused, Unreachable

NOT_WRITTEN = "The key could not be written to DATA_DIR."


class KeyRefused(Exception):
    """The key was not stored. The text says why."""


def change(user: User, key: str) -> None:
    """Test a key and store it; web and worker use it from now on, unless this is practice mode.
    Raises KeyRefused."""
    _require_accepted(key)
    before = key_fingerprint()
    with transaction.atomic():
        try:
            api_key.store(key)
        except OSError:
            raise KeyRefused(NOT_WRITTEN) from None
        audit.record(
            "api_key_changed",
            who=user,
            before={"fingerprint": before},
            after={"fingerprint": key_fingerprint()},
        )


def change_of_team(team: Team, user: User, key: str) -> None:
    """Test a key and store it for a team. Its jobs that use it go on with it, and those that are
    submitted from now on. Raises KeyRefused."""
    _require_accepted(key)
    try:
        key_file = api_key.store_for(team.pk, key)
    except OSError:
        raise KeyRefused(NOT_WRITTEN) from None
    try:
        _put(team, user, key_file, key)
    except BaseException:
        api_key.forget(key_file)
        raise


def remove_of_team(team: Team, user: User) -> None:
    """Jobs that were submitted with it wait for one; others use the key of the site."""
    _put(team, user, "", "")


def _put(team: Team, user: User, key_file: str, key: str) -> None:
    with transaction.atomic():
        old = Team.objects.select_for_update().get(pk=team.pk).key_file
        if not old and not key_file:
            return
        before = api_key.stored_for(team.pk)
        Team.objects.filter(pk=team.pk).update(key_file=key_file)
        TeamSending.objects.get_or_create(team=team)
        # Whatever waits for another key is looked at now.
        now, open_ = clock.now(), (Batch.State.UNKNOWN, Batch.State.ENDED)
        moving = Job.objects.filter(key_team=team.pk, state__in=Job.MOVING)
        Batch.objects.filter(job__in=moving, state__in=open_).update(next_action_at=now)
        moving.update(next_action_at=now)
        audit.record(
            "api_key_changed" if key_file else "api_key_removed",
            who=user,
            target=f"team {team.pk}",
            before={"fingerprint": fingerprint_of(before) if before else ""},
            after={"fingerprint": fingerprint_of(key) if key else ""},
        )
    # Whose account is charged is part of what people confirm. Afterwards: who confirms a draft
    # locks it before its team.
    team.jobs.all().price_anew(clock.now())
    api_key.forget(old)


def _require_accepted(key: str) -> None:
    """Ask the provider, free of charge. Raises KeyRefused."""
    try:
        client.check_key(key)
    except Refused as error:
        if error.status in (401, 403):
            raise KeyRefused("Anthropic does not accept this key. Copy it again.") from None
        if not error.is_rate_limit and not error.is_about_billing:
            raise KeyRefused(f"Anthropic refused the test with status {error.status}.") from None
    except Unreachable as error:
        raise KeyRefused(f"{error} Nothing was changed.") from None
    except ProviderError:
        raise KeyRefused("Anthropic did not answer. Nothing was changed. Try again.") from None
