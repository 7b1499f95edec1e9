"""Results come to our disk exactly as received, are proven complete there, and only then go into
the rows. Each step can be repeated with the same result."""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections import Counter
from datetime import timedelta
from itertools import chain

from django.conf import settings
from django.db import transaction
from django.db.models import F

from ..models import (
    Batch,
    Job,
    NotMoved,
    Outcome,
    Row,
    checksums,
    clock,
    files,
    note_change,
)
from ..provider import errors
from ..provider.replies import BatchInfo
from ..rules.judging import judge_result
from . import absence, external_ids, holds, reconciliation, result_files, result_proof, result_rows
from .leases import Lease, LeaseLost
from .result_proof import (
    COUNTED,
    DELETED,
    FOREIGN,
    GONE,
    NO_RESULTS,
    NOT_ENDED,
    UNCLEAR,
    Incomplete,
)
from .result_rows import SLICE, cost_of
from .slices import slice_transaction

logger = logging.getLogger(__name__)
LONGEST_PAUSE = timedelta(minutes=10)  # before they are fetched anew
# A new batch and its results can be answered with 404 for a while (seen by users of the API).
NOT_YET_VISIBLE = timedelta(minutes=15)


STILL_UNKNOWN = (
    "We still do not know whether the provider has the missing answers. They may have been "
    "charged. You can try again later, or go on without them."
)


def collect(batch: Batch, lease: Lease) -> timedelta:
    """Fetch and store the results of an ended batch. Returns how long to wait before the next look.

    Raises LeaseLost, NotMoved when somebody changed the batch meanwhile, and ProviderError when the
    results cannot be fetched now.
    """
    path = files.results_path(batch)
    if batch.is_external and external_ids.is_open(batch.job) and path.exists():
        holds.hold(batch.job_id, external_ids.WHICH)
        return timedelta()
    try:
        # A file that is there already was proven by a worker that died before it could say so.
        sha256 = (
            result_proof.prove_complete(batch, path, lease)
            if path.exists()
            else _download(batch, lease)
        )
    except errors.NotFound:
        return _without_results(batch, lease)
    except Incomplete as incomplete:
        return _after_incomplete(batch, incomplete, lease)
    except errors.ProviderError as error:
        if batch.given_up_at is None or cannot_be_asked(error):
            raise
        what = f"the provider did not say whether it has them ({error})"
        return _try_again(batch, Incomplete(what, UNCLEAR), lease)
    try:
        cost = result_rows.store(batch, path, lease)
    except external_ids.Undecided:
        holds.hold(batch.job_id, external_ids.WHICH)
        return timedelta()
    if batch.is_external:
        result_rows.say_what_fits(batch, path, lease)
    with transaction.atomic():
        mine = Job.objects.filter(pk=batch.job_id, lease_owner=lease.owner)
        if not mine.update(lease_owner=lease.owner):
            raise LeaseLost
        # Answers that were paid for and are here win over whoever called them lost meanwhile.
        Batch.objects.move(
            batch.pk,
            [Batch.State.ENDED, Batch.State.LOST],
            Batch.State.COLLECTED,
            results_sha256=sha256,
            results_bytes=path.stat().st_size,
            results_checked_at=clock.now(),
            collected_at=clock.now(),
            next_action_at=None,
            cost_pico=cost,
        )
        holds.log(batch.job_id, f"The answers of batch {batch.number} are in.")
        holds.release(batch.job_id, _stay_incomplete(batch))
        holds.release(batch.job_id, external_ids.WHICH)
    files.body_path(batch).unlink(missing_ok=True)  # the rows and the recipe can make it again
    files.incomplete_path(batch).unlink(missing_ok=True)
    return timedelta()


def _after_incomplete(batch: Batch, incomplete: Incomplete, lease: Lease) -> timedelta:
    """What arrived cannot be taken: it is fetched again, unless another batch is proven to be the
    right one. Raises ProviderError."""
    if incomplete.doubt == FOREIGN:
        if batch.doubt == FOREIGN:  # the look before said so, too
            _remove_foreign(batch)
        try:
            result_proof.ask_anew(batch)
        except errors.NotFound:
            return _without_results(batch, lease)
        except Incomplete as other:
            incomplete = other
        else:
            if reconciliation.replace_by_proven(batch):
                _remove_foreign(batch)
                return timedelta()
    return _try_again(batch, incomplete, lease)


def _remove_foreign(batch: Batch) -> None:
    """Another program's results have no place on our disk."""
    files.remove_incoming(batch)
    files.results_path(batch).unlink(missing_ok=True)


def cannot_be_asked(error: errors.ProviderError) -> bool:
    """The provider did not so much as look at what was asked."""
    return isinstance(error, errors.Unreachable) or (
        isinstance(error, errors.Refused) and (error.is_about_account or error.is_rate_limit)
    )


def may_be_too_new(batch: Batch) -> bool:
    """Whether the provider may not show a batch yet that it has accepted."""
    if batch.absence:
        sure = timedelta(seconds=absence.of(batch).seconds)
        return sure < timedelta(seconds=settings.SUBMIT_DEADLINE_SECONDS) + NOT_YET_VISIBLE
    return batch.deadline_at is not None and clock.now() < batch.deadline_at + NOT_YET_VISIBLE


def _download(batch: Batch, lease: Lease) -> str:
    """Fetch the results to disk, and give the file its name only when it is proven complete; its
    SHA-256."""
    # What arrived before may be all that there will ever be.
    files.remove_incoming(batch, but_largest=True)
    part = files.incoming_path(batch)
    files.require_room(part.parent, 3 * batch.body_bytes)
    assert batch.provider_id  # noqa: S101 - a database constraint
    with part.open("wb") as file:
        failures = batch.collect_failures
        try:
            result_files.download(batch.provider_id, batch, file, lease, failures)
        except errors.TooLong as error:
            raise Incomplete(
                f"more than the {file.tell():,} bytes arrived that {batch.size:,} answers can have"
            ) from error
        except errors.Unclear as error:
            if not file.tell():
                raise
            what = f"the connection broke off after {file.tell():,} bytes"
            raise Incomplete(what, UNCLEAR) from error
        except OSError:
            part.unlink()  # the disk is full: the room is needed
            raise
    sha256 = result_proof.prove_complete(batch, part, lease)
    files.keep(part, files.results_path(batch), mode=0o440)
    files.remove_incoming(batch)
    return sha256


def _without_results(batch: Batch, lease: Lease) -> timedelta:
    """The provider answers 404: for a while after a batch was made or has ended, or because the
    results are gone for good. Raises ProviderError."""
    patient = may_be_too_new(batch)
    what, doubt = "the provider does not have them (404)", NO_RESULTS
    try:
        archived_at = result_proof.ask_anew(batch).archived_at
    except errors.NotFound:
        doubt = GONE
    except Incomplete as incomplete:
        return _try_again(batch, incomplete, lease)
    else:
        if archived_at is not None:
            day = f"{archived_at:%-d %B %Y}"
            what = f"the provider deleted these answers on {day}, before they could be fetched"
            doubt, patient = DELETED, False
    return _try_again(batch, Incomplete(what, doubt), lease, patient=patient)


def _try_again(
    batch: Batch, incomplete: Incomplete, lease: Lease, *, patient: bool = False
) -> timedelta:
    """Fetch the results anew later, ever more seldom. After some times, unless one should be
    `patient`, a person is told, and what did arrive is taken; or what all looks agreed on holds.
    Raises NotMoved."""
    if (path := files.results_path(batch)).exists():
        path.replace(files.incoming_path(batch))  # no longer what it was when it got its name
    ended = Batch.objects.filter(pk=batch.pk, state=Batch.State.ENDED)
    same = incomplete.doubt and incomplete.doubt == batch.doubt
    failed = ended.update(
        collect_failures=F("collect_failures") + 1,
        doubt=incomplete.doubt,
        doubts=batch.doubts + 1 if same else 1,
    )
    if not failed:
        raise NotMoved(f"Batch {batch.pk} has not ended any more.")
    batch.refresh_from_db(fields=["collect_failures", "doubt", "doubts", "given_up_at"])
    pause = min(timedelta(seconds=5 * 2 ** min(batch.collect_failures, 10)), LONGEST_PAUSE)
    ended.update(next_action_at=clock.now() + pause)
    logger.warning("job %s batch %s: incomplete: %s", batch.job_id, batch.number, incomplete)
    agreed = batch.doubts >= result_proof.TRIES and not patient
    if batch.doubt == NOT_ENDED and (
        batch.given_up_at or batch.collect_failures < result_proof.TRIES
    ):
        wait_again(batch, lease)
        Batch.objects.move(
            batch.pk,
            Batch.State.ENDED,
            Batch.State.IN_PROGRESS,
            ended_at=None,
            counts={},
            given_up_at=None,
        )
    elif batch.given_up_at and batch.doubt in COUNTED and batch.doubts < result_proof.TRIES:
        ended.update(next_action_at=clock.now() + timedelta(seconds=5 * 2**batch.doubts))
    elif batch.given_up_at and batch.doubt == UNCLEAR and batch.doubts == result_proof.TRIES:
        # The person decided before that was known, and decides again.
        ended.update(given_up_at=None)
        holds.hold(batch.job_id, f"{_stay_incomplete(batch)} {incomplete}. {STILL_UNKNOWN}")
    elif batch.given_up_at or (agreed and batch.doubt == DELETED):
        _take_what_arrived(batch, lease)
        said = str(incomplete)
        lose(batch, lease, f"{said[0].upper()}{said[1:]}." if batch.doubt == DELETED else "")
    elif agreed and _is_not_ours(batch):
        reconciliation.give_back(batch, "given_back" if batch.doubt == FOREIGN else "vanished")
    elif batch.collect_failures >= result_proof.TRIES and not patient:
        _take_what_arrived(batch, lease)
        holds.hold(batch.job_id, f"{_stay_incomplete(batch)} {incomplete}.")
    return pause


def _is_not_ours(batch: Batch) -> bool:
    """Whether what all looks agree on means that the batch which was taken for ours is not."""
    if batch.doubt == FOREIGN:
        return True
    return batch.doubt == GONE and reconciliation.was_found_by_listing(batch)


def _stay_incomplete(batch: Batch) -> str:
    return f"The results of batch {batch.number} stay incomplete:"


def _take_what_arrived(batch: Batch, lease: Lease) -> None:
    """Put the results that did arrive into their rows, so that they can be used; the batch stays
    uncollected. Of contradicting results none is taken."""
    part = None if batch.doubt == FOREIGN else files.keep_incomplete(batch)
    if part is None:
        return
    size, sha256 = checksums.facts_of(part)
    Batch.objects.filter(pk=batch.pk).update(results_bytes=size, results_sha256=sha256)
    planned = result_proof.planned_ids(batch)
    lines: dict[str, bytes] = {}
    contradicting = set()
    for line in chain.from_iterable(result_rows.slices(part)):
        try:
            found = result_proof.result_of(line).custom_id
        except Incomplete:
            continue
        if planned is not None and found not in planned:
            continue
        if found not in lines and len(lines) == batch.size:
            break  # more results than requests
        fingerprint = hashlib.blake2b(line.strip(), digest_size=8).digest()
        if lines.setdefault(found, fingerprint) != fingerprint:
            contradicting.add(found)
        lease.renew()
    taken = lines.keys() - contradicting
    try:
        result_rows.store(batch, part, lease, only=taken)
    except external_ids.Undecided:
        holds.hold(batch.job_id, external_ids.WHICH)
        return
    if Batch.objects.filter(pk=batch.pk).exclude(arrived=len(taken)).update(arrived=len(taken)):
        holds.log(
            batch.job_id,
            f"Of batch {batch.number}, {len(taken):,} of {batch.size:,} answers did arrive and can "
            "be used.",
        )


def charged(batch: Batch, info: BatchInfo, *, by_counts: bool = True) -> tuple[int, int]:
    """How many requests of an ended batch at the provider succeeded, and what they cost, as in
    Row.cost_pico, by its whole results. It was made by a try of `batch`. `by_counts`: they have to
    be what the provider counts. Nothing is stored. Raises Incomplete, NotOurs, ProviderError."""
    costs: dict[str, int] = {}
    kinds: dict[str, str] = {}
    with tempfile.TemporaryFile(dir=files.scratch()) as file:
        # How often it failed before is not known.
        failures = result_files.MOST_HALVINGS
        result_files.download(info.id, batch, file, failures=failures)
        file.seek(0)
        for line in result_files.lines(file):
            if line.strip():
                found = result_proof.result_of(line)
                if not found.custom_id.startswith(f"{batch.nonce}-"):
                    raise result_proof.NotOurs(f"{info.id} is not batch {batch.pk}")
                kinds[found.custom_id] = found.result.type
                if found.result.type == "succeeded":
                    costs[found.custom_id] = cost_of(judge_result(found.result))
    if len(kinds) != info.total:
        raise Incomplete(f"{len(kinds):,} of {info.total:,} results arrived")
    if by_counts and (what := result_proof.contradiction(info.counts, Counter(kinds.values()))):
        raise Incomplete(what)
    return len(costs), sum(costs.values())


def lose(batch: Batch, lease: Lease, why: str = "") -> None:
    """Give up on a batch: the provider does not have it or its whole results any more. Every row
    without an answer says so; what did arrive is kept. Raises NotMoved, LeaseLost."""
    # The batch comes last: until it is lost, all of this is repeated, and answers still win.
    mine = Batch.objects.filter(pk=batch.pk, state=batch.state)
    without = Row.objects.filter(batch=batch, outcome=Outcome.WAITING)
    for some in without.value_slices(SLICE):
        numbers = [number for (number,) in some]
        with slice_transaction():
            note_change(batch.job_id)
            # Locked: whoever collects it comes before us or after us.
            if not mine.update(state=batch.state):
                raise NotMoved(f"Batch {batch.pk} is not {batch.state} any more.")
            without.filter(number__in=numbers).update(
                outcome=Outcome.ERRORED, cause="lost", message=why
            )
        lease.renew()
    with transaction.atomic():
        Batch.objects.move(batch.pk, batch.state, Batch.State.LOST, next_action_at=None)
        holds.log(batch.job_id, f"Batch {batch.number} is lost at the provider. {why}".strip())


def wait_again(batch: Batch, lease: Lease) -> None:
    """The batch is there after all: rows wait again that a worker called lost before it died, so
    that what they may cost stays reserved. Raises LeaseLost."""
    lost = Row.objects.filter(batch=batch, outcome=Outcome.ERRORED, cause="lost")
    for some in lost.value_slices(SLICE):
        with slice_transaction():
            note_change(batch.job_id)
            lost.filter(number__in=[number for (number,) in some]).update(
                outcome=Outcome.WAITING, cause="", message=""
            )
        lease.renew()
