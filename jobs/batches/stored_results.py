"""The provider's results on our disk, checked before anybody relies on them. Damaged ones are
fetched again while the provider has them.

Whoever finds the damage only notes it; the worker fetches. A download that has the stored hash is
the file that was proven complete when it first arrived, to the byte, so rows are left alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q

from ..models import Batch, Job, checksums, clock, files, job_log, recipe_of_round
from ..models.checksums import CheckedFile, Damaged
from ..provider import errors
from . import batch_keys, result_files
from .isolation import isolated
from .leases import Lease

logger = logging.getLogger(__name__)

TRIES = 5  # downloads that are not the file that was stored, before it counts as gone
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=10), timedelta(minutes=10)
# Every file is compared with its hash once a week, some of them each hour.
CHECKED_EVERY = timedelta(days=7)
BYTES_AN_HOUR = 2_000_000_000
NO_LONGER_THERE = "Anthropic no longer has these results."
OTHERS_NOW = "Anthropic now returns different results for this batch than the ones we stored."
ROWS_ARE_SAFE = "The answers in your rows and in your finished files are not affected."


class DamagedResults(Exception):
    """The file with a batch's results is missing or damaged; the message says it to a person."""

    def __init__(self, batch: Batch, fault: str) -> None:
        self.batch, self.fault = batch, fault
        parts = [f"The results file of batch {batch.number} {fault}.", ROWS_ARE_SAFE]
        if batch.state != Batch.State.COLLECTED:
            parts[0] = f"The file with what arrived of batch {batch.number} {fault}."
            parts.append("It cannot be restored.")
        elif batch.damage:
            parts.append(f"{batch.damage} We are trying once more.")
        else:
            parts.append("We are fetching it again from the provider. Try again in a few minutes.")
        super().__init__(" ".join(parts))


def path_of(batch: Batch) -> Path:
    is_whole = batch.state == Batch.State.COLLECTED
    return files.results_path(batch) if is_whole else files.incomplete_path(batch)


def has_file(batch: Batch) -> bool:
    """Whether there should be results of the batch on our disk: all of them, or what arrived."""
    if batch.removed_at:
        return False
    if batch.state == Batch.State.COLLECTED:
        return True
    given_up = batch.state in (Batch.State.ENDED, Batch.State.LOST)
    # A version that did not note hashes has left some, too.
    return given_up and (bool(batch.results_sha256) or files.incomplete_path(batch).exists())


def open_results(batch: Batch) -> CheckedFile:
    """The file with the results of a batch, or with what arrived. Raises DamagedResults when it is
    missing or has another size."""
    path, size, sha256 = path_of(batch), batch.results_bytes, batch.results_sha256
    try:
        if batch.state != Batch.State.COLLECTED and not sha256:
            size, sha256 = checksums.facts_of(path)
        return checksums.open_checked(path, size, sha256)
    except Damaged as fault:
        raise DamagedResults(batch, str(fault)) from fault
    except OSError as error:
        raise DamagedResults(batch, f"cannot be read ({error.strerror})") from error


def blocks(batch: Batch) -> Iterator[bytes]:
    """The results of a batch as received. Raises DamagedResults, before the last block at the
    latest."""
    try:
        yield from open_results(batch).blocks()
    except Damaged as fault:
        raise DamagedResults(batch, str(fault)) from fault
    except OSError as error:  # a bad sector, say
        raise DamagedResults(batch, f"cannot be read ({error.strerror})") from error


def require_whole(batch: Batch, between: Callable[[], object] = lambda: None) -> Path:
    """The file with the results of a batch, once all of it was compared with its hash. Raises
    DamagedResults."""
    for _block in blocks(batch):
        between()
    return path_of(batch)


# --- Fetching again -------------------------------------------------------------------------------


def note_damage(damaged: DamagedResults) -> None:
    """Have the worker fetch the file again, also when that came to nothing before."""
    batch = damaged.batch
    now = clock.now()
    if batch.removed_at:
        return
    with transaction.atomic():
        not_tried = Q(damaged_at=None) | ~Q(damage="")
        noted = Batch.objects.filter(not_tried, pk=batch.pk, state=Batch.State.COLLECTED).update(
            damaged_at=now, damage="", collect_failures=0, next_action_at=now
        )
        if not noted:
            return
        if batch.damaged_at is None:
            job_log.write(
                batch.job_id,
                f"The results file of batch {batch.number} {damaged.fault}. {ROWS_ARE_SAFE} It is "
                "being fetched again.",
            )
        Job.objects.filter(pk=batch.job_id, state__in=Job.SENT).update(next_action_at=now)


def fetch_next(job: Job, lease: Lease) -> timedelta | None:
    """Fetch one damaged file of a sent job again, if that is due. How long until the next look;
    None when there is nothing to fetch. Raises LeaseLost."""
    batch = _next_to_fetch(job)
    if batch is None:
        return None
    if wait := _wait(batch):
        return wait
    try:
        _fetch(batch, lease)
    except errors.NotFound:
        return _try_later(batch, NO_LONGER_THERE if _is_of_this_workspace(batch) else "")
    except errors.ProviderError as error:
        logger.warning("job %s batch %s: %s", job.pk, batch.number, error)
        return _try_later(batch)
    except Damaged:
        return _try_later(batch, OTHERS_NOW)
    finally:
        files.remove_incoming(batch)
    return timedelta()


def _is_of_this_workspace(batch: Batch) -> bool:
    try:
        return batch_keys.can_see(batch)
    except errors.ProviderError:
        return False


def until_next_fetch(job: Job) -> timedelta | None:
    """How long until a damaged file of a job is due to be fetched; None when there is none."""
    batch = _next_to_fetch(job)
    return None if batch is None else _wait(batch)


def _next_to_fetch(job: Job) -> Batch | None:
    # With another key, or none, nothing can be said of what the provider has.
    if job.practice != settings.PRACTICE:
        return None
    damaged = job.batches.to_fetch_again()
    return damaged.order_by(F("next_action_at").asc(nulls_first=True)).first()


def _wait(batch: Batch) -> timedelta:
    return clock.time_left(batch.next_action_at, LONGEST_PAUSE)


def _fetch(batch: Batch, lease: Lease) -> None:
    """Raises ProviderError, LeaseLost; Damaged when it is not what was stored."""
    path = files.results_path(batch)
    try:
        checksums.open_checked(path, batch.results_bytes, batch.results_sha256).require_whole(
            lease.renew
        )
    except Damaged:
        part = files.incoming_path(batch)
        files.require_room(part.parent, batch.results_bytes)
        with part.open("wb") as file:
            recipe = recipe_of_round(batch.job, batch.round)
            result_files.download(str(batch.provider_id), batch, recipe, file, lease)
        checksums.open_checked(part, batch.results_bytes, batch.results_sha256).require_whole(
            lease.renew
        )
        files.keep(part, path, mode=0o440)
        said = "was fetched again and is whole."
    else:
        said = "is whole again."  # somebody has put it back
    Batch.objects.filter(pk=batch.pk).update(
        damaged_at=None, next_action_at=None, results_checked_at=clock.now()
    )
    job_log.write(batch.job_id, f"The results file of batch {batch.number} {said}")


def _try_later(batch: Batch, why: str = "") -> timedelta:
    """Fetch it again later; after TRIES answers that say `why` it cannot be had, say that. Without
    an answer it is tried for as long as it takes."""
    failures = batch.collect_failures + 1
    if why and failures >= TRIES:
        given_up = Batch.objects.filter(pk=batch.pk, damage="")
        given_up.update(damage=why, next_action_at=None, collect_failures=0)
        job_log.write(
            batch.job_id,
            f"The results file of batch {batch.number} cannot be restored: {why} {ROWS_ARE_SAFE}",
        )
        return timedelta()
    pause = clock.growing_pause(FIRST_PAUSE, LONGEST_PAUSE, failures)
    Batch.objects.filter(pk=batch.pk).update(
        collect_failures=failures, next_action_at=clock.now() + pause
    )
    return pause


# --- Looking for damage while it can be repaired --------------------------------------------------


def check_some() -> None:
    """Compare some of the files with their hashes, those first that were checked longest ago. Their
    damage is noted, so that they are fetched again before the provider deletes them."""
    left = BYTES_AN_HOUR
    for batch in _due_for_check(clock.now() - CHECKED_EVERY):
        if left <= 0:
            return
        left -= batch.results_bytes
        with isolated(f"job {batch.job_id} batch {batch.number}: the check of its results"):
            check(batch)


def check(batch: Batch) -> DamagedResults | None:
    """Compare one file with its hash, and note what was found."""
    try:
        require_whole(batch)
    except DamagedResults as damaged:
        note_damage(damaged)
        return damaged
    finally:
        Batch.objects.filter(pk=batch.pk).update(results_checked_at=clock.now())
    return None


def _due_for_check(before: datetime) -> list[Batch]:
    whole = Batch.objects.filter(state=Batch.State.COLLECTED, damaged_at=None, removed_at=None)
    due = whole.filter(Q(results_checked_at=None) | Q(results_checked_at__lt=before))
    return list(due.order_by(F("results_checked_at").asc(nulls_first=True), "pk")[:1000])
