"""One `list` call tells how all batches are doing."""

from __future__ import annotations

import logging
import random
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from django.db import DatabaseError, InterfaceError, transaction

from ..models import (
    Batch,
    Job,
    NotMoved,
    TeamSending,
    api_key,
    clock,
    files,
    job_keys,
    job_log,
    outbox,
)
from ..models.outbox import Facts
from ..provider import client, errors
from ..provider.replies import BatchInfo
from ..rules import log_context, result_proof
from ..rules.provider_lists import KEPT
from . import batch_keys, collection, holds, reconciliation
from .isolation import isolated
from .leases import Lease

logger = logging.getLogger(__name__)

LOOK_ONCE_MORE = timedelta(seconds=5)  # after one look at a batch that a person gave up
LOOKED_UP = 10  # single look-ups of one watch
# When a person is told of answers that lie ready at the provider and are not fetched yet: so long
# after the batch has ended, or so long after it was made. The provider deletes them 29 days after
# that.
SINCE_END = (timedelta(hours=1), timedelta(hours=24))
SINCE_CREATION = (timedelta(days=7), timedelta(days=20), timedelta(days=27))
# The last two of these warnings are told outside of the page of the job, too.
TOLD_BEFORE = timedelta(days=10)


def has_any() -> bool:
    """Whether there is anything to watch."""
    return Batch.objects.with_provider().exists()


def watch() -> None:
    """Look at the provider's list once, with each key that a batch was sent with, and note what has
    ended; the jobs of those batches are due then. Does nothing when no batch is with the provider.
    Raises ProviderError, of the site's key.
    """
    by_key: dict[int | None, list[Batch]] = defaultdict(list)
    for batch in Batch.objects.with_provider().select_related("job"):
        by_key[batch.job.key_team].append(batch)
    busy = Job.objects.filter(state__in=[Job.State.SUBMITTING, Job.State.CANCELING])
    for team in {None, *TeamSending.objects.exclude(trouble="").values_list("team", flat=True)}:
        # Nothing is asked of the provider, unless a job tries to.
        if team not in by_key and not busy.filter(key_team=team).exists():
            with api_key.held(team):
                holds.end_trouble()
    batch_keys.for_each_key(by_key, lambda team: _watch(by_key[team]))


def _watch(batches: list[Batch]) -> None:
    """Look at those that were sent with the key in use. Raises ProviderError."""
    watched = {batch.provider_id: batch for batch in batches}
    oldest = min(batch.created_at for batch in watched.values() if batch.created_at)
    trouble: errors.ProviderError | None = None
    for info in client.list_batches():
        batch = watched.pop(info.id, None)
        if batch is not None:
            _look_at(batch, partial(_note_listed, info=info))
        if not watched or info.created_at < oldest:
            break
    missing = [batch for batch in watched.values() if batch is not None]
    # Any of them: the same ones would else keep the others from being looked at.
    for batch in random.sample(missing, min(len(missing), LOOKED_UP)):
        trouble = _look_at(batch, _look_up) or trouble
    if trouble:
        raise trouble
    holds.end_trouble()


def _look_at(batch: Batch, look: Callable[[Batch], None]) -> errors.ProviderError | None:
    """Take one look at a batch. Whatever goes wrong with it, the others are looked at, too: what
    the provider did not answer is returned."""
    with log_context.about(job=batch.job_id, batch=batch.number):
        return _try_to_look_at(batch, look)


def _try_to_look_at(batch: Batch, look: Callable[[Batch], None]) -> errors.ProviderError | None:
    try:
        look(batch)
    except errors.ProviderError as error:
        logger.warning("job %s batch %s: %s", batch.job_id, batch.number, error)
        return error
    except NotMoved as error:
        logger.info("job %s batch %s: %s", batch.job_id, batch.number, error)
    except (DatabaseError, InterfaceError):
        raise  # the others would fail as well
    except Exception:
        logger.exception("job %s batch %s could not be looked at", batch.job_id, batch.number)
    return None


def _note_listed(batch: Batch, info: BatchInfo) -> None:
    _note_found(batch, info)
    if info.status == "ended":
        _note_end(batch, info)


def _note_found(batch: Batch, info: BatchInfo) -> None:
    same = Batch.objects.filter(pk=batch.pk, provider_id=info.id)
    if batch.expires_at != info.expires_at:
        same.update(expires_at=info.expires_at)  # warnings go by it
    if batch.doubts:
        same.update(doubt="", doubts=0)
    if batch.missing_since:
        with transaction.atomic():
            if same.update(missing_since=None, given_up_at=None):
                job_log.write(batch.job_id, f"Batch {batch.number} is visible at Anthropic again.")
                why = batch_keys.IS_MISSING.format(batch.number)
                holds.end_hold(batch.job_id, why, go_on=True)


def warn() -> None:
    """Tell, in the log of the job, of answers that are ready at the provider for too long without
    having been fetched. Each warning is given once."""
    now = clock.now()
    for batch in Batch.objects.not_fetched(now):
        what = f"job {batch.job_id} batch {batch.number}: the warning"
        with log_context.about(job=batch.job_id, batch=batch.number), isolated(what):
            _warn_of(batch, now)


def _warn_of(batch: Batch, now: datetime) -> None:
    given = warnings_due(batch, now)
    last = Batch.objects.filter(pk=batch.pk, warnings_given=batch.warnings_given)
    if given <= batch.warnings_given or batch.created_at is None:
        return
    gone_at = batch.created_at + KEPT
    with transaction.atomic():
        if not last.update(warnings_given=given):
            return
        text = (
            f"The answers of batch {batch.number} are ready, but we couldn’t fetch them yet. "
            f"Anthropic deletes them on {gone_at:%-d %B %Y}."
        )
        job_log.write(batch.job_id, text)
        if gone_at - now <= TOLD_BEFORE:
            # Once for all batches of a job that end on the same day, and for each warning.
            key = f"results_expiring:{batch.job_id}:{gone_at:%Y-%m-%d}:{given}"
            facts = Facts(days=max((gone_at - now).days, 0))
            job = Job.objects.select_related("owner").get(pk=batch.job_id)
            outbox.tell_about_job("results_expiring", job, facts, key=key)
    logger.error("job %s: %s", batch.job_id, text)


def warnings_due(batch: Batch, now: datetime) -> int:
    """How many of the warnings are due for a batch whose answers are not fetched."""
    ended, created = batch.ended_at or batch.expires_at, batch.created_at
    if ended is None or created is None:
        return 0
    times = [*(ended + wait for wait in SINCE_END), *(created + wait for wait in SINCE_CREATION)]
    return sum(time <= now for time in times)


def _look_up(batch: Batch) -> None:
    """Ask for a batch that the list does not have. One that is not there long after it was made
    needs a person: perhaps the key belongs to another workspace now. It is never sent again."""
    try:
        info = client.retrieve_batch(str(batch.provider_id))
    except errors.NotFound:
        if files.results_path(batch).exists():
            # Fetched, and deleted there, after the backup that the database is from.
            _note_end(batch)
            return
        if collection.may_be_too_new(batch):
            return
        if not batch_keys.can_see(batch):
            _note_missing(batch, batch_keys.other_workspace_in_words(batch))
            return
        if reconciliation.was_found_by_listing(batch):
            _doubt(batch)
            return
        _count_as_gone(batch)
        _note_missing(
            batch,
            f"{batch_keys.IS_MISSING.format(batch.number)} "
            f"{job_keys.at_start(batch.job.key_team)} may belong to another workspace now, "
            "or someone deleted the batch. We keep looking for it and don’t send it again. If it "
            "stays missing, you can continue without it.",
        )
        return
    _note_found(batch, info)
    if info.status == "ended":
        _note_end(batch, info)


def _note_missing(batch: Batch, why: str) -> None:
    with transaction.atomic():
        Batch.objects.filter(pk=batch.pk, missing_since=None).update(missing_since=clock.now())
        holds.hold(batch.job_id, why)


def _doubt(batch: Batch) -> None:
    """A batch that was found by listing is gone. When looks in a row agree on that, it was perhaps
    another program's, and ours is looked for again."""
    if _count_as_gone(batch) >= result_proof.TRIES:
        reconciliation.give_back(batch, "vanished")


def _count_as_gone(batch: Batch) -> int:
    """How many looks in a row, this one included, found that a batch is not there."""
    looks = batch.doubts + 1 if batch.doubt == result_proof.GONE else 1
    same = Batch.objects.filter(pk=batch.pk, provider_id=batch.provider_id)
    same.update(doubt=result_proof.GONE, doubts=looks)
    return looks


def give_up(batch: Batch, lease: Lease) -> None:
    """A person goes on without a batch that was not to be found: it is lost once TRIES looks in a
    row have found that it is not there. Any other answer says nothing about the batch, and it is
    asked for again. Raises NotMoved, LeaseLost, ProviderError."""
    try:
        info = client.retrieve_batch(str(batch.provider_id))
    except errors.NotFound:
        if files.results_path(batch).exists():
            _note_end(batch)
            return
        looks = _count_as_gone(batch)
        if looks >= result_proof.TRIES:
            collection.lose(batch, lease)
        else:
            same = Batch.objects.filter(pk=batch.pk, state=batch.state)
            same.update(next_action_at=clock.now() + LOOK_ONCE_MORE)
        return
    collection.wait_again(batch, lease)
    _note_found(batch, info)
    if info.status == "ended":
        _note_end(batch, info)


def _note_end(batch: Batch, info: BatchInfo | None = None) -> None:
    """`info`: what the provider says, if it still has the batch."""
    now = clock.now()
    moved = Batch.objects.try_move(
        batch.pk,
        Batch.State.IN_PROGRESS,
        Batch.State.ENDED,
        ended_at=(info and info.ended_at) or now,
        counts=info.counts if info else {},
        next_action_at=now,
    )
    if moved:
        Job.objects.filter(pk=batch.job_id).update(next_action_at=now)
