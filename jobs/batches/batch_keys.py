"""Looks at the provider with the key that a batch was sent with.

A key is that of the site or of a team, and it may be another one than when the batch was sent. One
of the same workspace sees the same batches. With one of another workspace, what the provider does
not show says nothing about a batch, and what it does show is not ours.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from ..models import Batch, Job, api_key, job_keys, key_fingerprint
from ..provider import client, errors
from . import holds

logger = logging.getLogger(__name__)

KEY_IS_MISSING = "The API key of this job is missing."
IS_MISSING = "Batch {} is not to be found at the provider."


def for_each_key(teams: Iterable[int | None], look: Callable[[int | None], None]) -> None:
    """Call `look` with the key of each of `teams` (None: the site) in use, unless it is missing.
    One that is refused does not stop the others. Raises the ProviderError that the key of the site
    met."""
    trouble: errors.ProviderError | None = None
    for team in sorted(set(teams), key=lambda team: team or 0):
        with api_key.held(team):
            if is_missing(team):
                continue
            try:
                look(team)
            except errors.ProviderError as error:
                if team is None:
                    trouble = error
                    continue
                logger.warning("team %s: the provider could not be asked: %s", team, error)
                holds.note_provider_error(error)
    if trouble:
        raise trouble


def is_missing(team: int | None) -> bool:
    """Whether a team has no key any more, or one that cannot be read."""
    return team is not None and not api_key.key_of(team)


def hold_without_key(job: Job) -> None:
    """Say that the job waits for the key of its team."""
    whose = job_keys.team_in_words(job.key_team or 0)
    holds.hold(
        job.pk,
        f"{KEY_IS_MISSING} It was submitted with the key of {whose}. Nothing is sent with another "
        "key, and answers at Anthropic wait there for 29 days. An administrator can enter the key "
        "again on the team’s page.",
    )


def can_see(batch: Batch) -> bool:
    """Whether the key in use may be of the workspace that `batch` was sent to. Raises
    ProviderError."""
    if not batch.key or batch.key == key_fingerprint() or not batch.workspace:
        return True
    return client.workspace_in_use() in ("", batch.workspace)


def other_workspace_in_words(batch: Batch) -> str:
    """Why a batch cannot be seen. Begins as what is said of one that is missing."""
    return (
        f"{IS_MISSING.format(batch.number)} {other_key_in_words(batch)} If there is none, you can "
        "continue without the batch."
    )


def other_key_in_words(batch: Batch) -> str:
    return (
        f"{job_keys.at_start(batch.job.key_team)} now belongs to another workspace at Anthropic "
        "than when the batch was sent. An administrator can enter a key of the former workspace. "
        "Until then, nothing is sent again."
    )
