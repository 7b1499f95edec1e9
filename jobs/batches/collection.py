"""Results come to our disk exactly as received, are proven complete there, and only then go into
the rows. Each step can be repeated with the same result."""

from __future__ import annotations

import logging
import tempfile
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.db.models import F

from ..ingest.request_keys import lasting_key
from ..models import (
    Batch,
    Job,
    NotMoved,
    Outcome,
    Row,
    checksums,
    clock,
    files,
    job_log,
    note_change,
    recipe_of_round,
)
from ..provider import client, errors
from ..provider.replies import BatchInfo
from ..rules import result_proof
from ..rules.judging import judge_result
from ..rules.own_ids import OwnIds
from ..rules.pricing import known_cost_in_pico
from ..rules.result_proof import (
    COUNTED,
    DELETED,
    FOREIGN,
    GONE,
    NO_RESULTS,
    NOT_ENDED,
    UNCLEAR,
    Expected,
    Incomplete,
)
from ..rules.row_contents import request_key
from ..rules.sent_keys import SentKeys
from . import absence, batch_keys, external_ids, holds, reconciliation, result_files, result_rows
from .leases import Lease
from .result_rows import SLICE
from .slices import slice_transaction

logger = logging.getLogger(__name__)
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=5), timedelta(minutes=10)  # before a new try
# A new batch and its results can be answered with 404 for a while (seen by users of the API).
NOT_YET_VISIBLE = timedelta(minutes=15)
STAY_INCOMPLETE = "The results of batch {} stay incomplete:"
STILL_UNKNOWN = (
    "We still do not know whether the provider has the missing answers. They may have been "
    "charged. You can try again later, or go on without them."
)


def collect(batch: Batch, lease: Lease) -> timedelta:
    """Fetch and store the results of an ended batch. Returns how long to wait before the next look.

    Raises LeaseLost, NotMoved when somebody changed the batch meanwhile, and ProviderError when the
    results cannot be fetched now.
    """
    recipe = recipe_of_round(batch.job, batch.round)
    path, body = files.results_path(batch), files.body_path(batch)
    if batch.is_external and external_ids.is_open(batch.job) and path.exists():
        holds.hold(batch.job_id, external_ids.WHICH)
        return timedelta()
    try:
        # A file under its final name is proven already; the worker died before recording that.
        received = path
        if not path.exists():
            incoming = files.begin_incoming(batch)
            received = result_files.receive(batch, recipe, incoming, lease)
        with received.open("rb") as file:
            lines = result_files.lines(file)
            expected = expect_results(batch, body)
            proof = result_proof.prove_complete(lines, expected, lease.renew)
        if batch.counts and result_proof.contradiction(batch.counts, proof.kinds):
            # The stored counts may be outdated. Ask again before rejecting a download over them.
            result_proof.require_counts(proof, ask_anew(batch).counts)
        result_proof.require_understood(proof, batch.doubt, batch.doubts)
        if received != path:
            files.keep(received, path, mode=0o440)
            files.remove_incoming(batch)
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
        rows = expected.rows
        if rows is None:
            rows = result_rows.match_imported(batch, path, lease)
    except external_ids.Undecided:
        holds.hold(batch.job_id, external_ids.WHICH)
        return timedelta()
    cost = result_rows.store(batch, path, rows, lease, None, expected.keys, proof.places)
    if batch.is_external:
        result_rows.say_what_fits(batch, path, lease)
    _note_collected(batch, path, proof.sha256, cost, lease)
    return timedelta()


def expect_results(batch: Batch, body: Path | None = None) -> Expected:
    """What the results of a batch have to be, and what was sent, by its `body`."""
    if batch.is_external:
        return Expected(batch.size, None, batch.recovered)
    numbers = Row.objects.filter(batch=batch).values_list("number", flat=True)
    rows = OwnIds(batch.nonce, numbers.iterator())
    keys = None
    if body:
        key_of = lasting_key if batch.job.kind == Job.Kind.REQUESTS else request_key
        with suppress(FileNotFoundError), body.open("rb") as lines:
            keys = SentKeys(lines, batch.nonce, batch.body_sha256, key_of)
    return Expected(len(rows), rows, batch.recovered, keys)


def ask_anew(batch: Batch) -> BatchInfo:
    """What the provider says of an ended batch now; its counts and times are stored. Raises
    Incomplete when it has not ended after all, and then it is watched on; and ProviderError."""
    info = client.retrieve_batch(str(batch.provider_id))
    if info.status != "ended":
        raise Incomplete("the provider is still at work on it", NOT_ENDED)
    batch.counts, batch.ended_at = info.counts, info.ended_at or batch.ended_at
    ended = Batch.objects.filter(pk=batch.pk, provider_id=batch.provider_id)
    ended.update(counts=batch.counts, ended_at=batch.ended_at, expires_at=info.expires_at)
    return info


def _note_collected(batch: Batch, path: Path, sha256: str, cost: int, lease: Lease) -> None:
    """All results are in their rows. Raises LeaseLost, NotMoved."""
    # The rows and the recipe can make the body again.
    not_needed = [files.body_path(batch), files.incomplete_path(batch)]
    with transaction.atomic():
        lease.require()
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
        job_log.write(batch.job_id, f"The answers of batch {batch.number} are in.")
        holds.end_hold(batch.job_id, STAY_INCOMPLETE.format(batch.number), go_on=True)
        holds.end_hold(batch.job_id, external_ids.WHICH, go_on=True)
        holds.end_hold(batch.job_id, batch_keys.IS_MISSING.format(batch.number), go_on=True)
    for one in not_needed:
        one.unlink(missing_ok=True)


def _after_incomplete(batch: Batch, incomplete: Incomplete, lease: Lease) -> timedelta:
    """What arrived cannot be taken: it is fetched again, unless another batch is proven to be the
    right one. Raises ProviderError."""
    if incomplete.doubt == FOREIGN:
        if batch.doubt == FOREIGN:  # the look before said so, too
            _remove_foreign(batch, lease)
        try:
            ask_anew(batch)
        except errors.NotFound:
            return _without_results(batch, lease)
        except Incomplete as other:
            incomplete = other
        else:
            if reconciliation.replace_by_proven(batch):
                _remove_foreign(batch, lease)
                return timedelta()
    return _try_again(batch, incomplete, lease)


def _remove_foreign(batch: Batch, lease: Lease) -> None:
    """Another program's results have no place on our disk."""
    with transaction.atomic():
        lease.require()
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


def _without_results(batch: Batch, lease: Lease) -> timedelta:
    """The provider answers 404: for a while after a batch was made or has ended, or because the
    results are gone for good. Raises ProviderError."""
    if batch.given_up_at is None and not batch_keys.can_see(batch):
        # It says nothing about the results. A person may go on without them.
        ended = Batch.objects.filter(pk=batch.pk, state=Batch.State.ENDED)
        with transaction.atomic():
            ended.update(collect_failures=result_proof.TRIES)
            holds.hold(batch.job_id, batch_keys.other_workspace_in_words(batch))
        return LONGEST_PAUSE
    patient = may_be_too_new(batch)
    what, doubt = "the provider does not have them (404)", NO_RESULTS
    try:
        archived_at = ask_anew(batch).archived_at
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
    """Retry later, after ever longer pauses. After TRIES failures, act on what all attempts agree
    on, or store what arrived and hold the job; not if `patient`. Raises NotMoved, LeaseLost."""
    ended = Batch.objects.filter(pk=batch.pk, state=Batch.State.ENDED)
    same = incomplete.doubt and incomplete.doubt == batch.doubt
    with transaction.atomic():
        lease.require()
        failed = ended.update(
            collect_failures=F("collect_failures") + 1,
            doubt=incomplete.doubt,
            doubts=batch.doubts + 1 if same else 1,
        )
        if not failed:
            raise NotMoved(f"Batch {batch.pk} has not ended any more.")
        # Here, or it may be the file of another worker that has collected the batch meanwhile.
        if (path := files.results_path(batch)).exists():
            path.replace(files.incoming_path(batch))  # no longer what it was when it got its name
    batch.refresh_from_db(fields=["collect_failures", "doubt", "doubts", "given_up_at"])
    pause = clock.growing_pause(FIRST_PAUSE, LONGEST_PAUSE, batch.collect_failures)
    ended.update(next_action_at=clock.now() + pause)
    logger.warning("job %s batch %s: incomplete: %s", batch.job_id, batch.number, incomplete)
    agreed = batch.doubts >= result_proof.TRIES and not patient
    stays = STAY_INCOMPLETE.format(batch.number)
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
        ended.update(next_action_at=clock.now() + FIRST_PAUSE * 2**batch.doubts)
    elif batch.given_up_at and batch.doubt == UNCLEAR and batch.doubts == result_proof.TRIES:
        # The person decided before that was known, and decides again.
        with transaction.atomic():
            ended.update(given_up_at=None)
            holds.hold(batch.job_id, f"{stays} {incomplete}. {STILL_UNKNOWN}")
    elif batch.given_up_at or (agreed and batch.doubt == DELETED):
        _take_what_arrived(batch, lease)
        said = str(incomplete)
        lose(batch, lease, f"{said[0].upper()}{said[1:]}." if batch.doubt == DELETED else "")
    elif agreed and _is_not_ours(batch):
        reconciliation.give_back(batch, "given_back" if batch.doubt == FOREIGN else "vanished")
    elif batch.collect_failures >= result_proof.TRIES and not patient:
        _take_what_arrived(batch, lease)
        holds.hold(batch.job_id, f"{stays} {incomplete}.")
    return pause


def _is_not_ours(batch: Batch) -> bool:
    """Whether what all looks agree on means that the batch which was taken for ours is not."""
    if batch.doubt == FOREIGN:
        return True
    return batch.doubt == GONE and reconciliation.was_found_by_listing(batch)


def _take_what_arrived(batch: Batch, lease: Lease) -> None:
    """Put the results that did arrive into their rows, so that they can be used; the batch stays
    uncollected. Nothing is stored if the results belong to another batch."""
    part = None if batch.doubt == FOREIGN else files.keep_incomplete(batch)
    if part is None:
        return
    size, sha256 = checksums.facts_of(part)
    Batch.objects.filter(pk=batch.pk).update(results_bytes=size, results_sha256=sha256)
    expected = expect_results(batch, files.body_path(batch))
    with part.open("rb") as file:
        taken = result_proof.find_usable(result_files.lines(file), expected, lease.renew)
    try:
        rows = expected.rows
        if rows is None:
            rows = result_rows.match_imported(batch, part, lease)
    except external_ids.Undecided:
        holds.hold(batch.job_id, external_ids.WHICH)
        return
    result_rows.store(batch, part, rows, lease, taken, expected.keys)
    if Batch.objects.filter(pk=batch.pk).exclude(arrived=len(taken)).update(arrived=len(taken)):
        job_log.write(
            batch.job_id,
            f"Of batch {batch.number}, {len(taken):,} of {batch.size:,} answers did arrive and can "
            "be used.",
        )


def charged(batch: Batch, info: BatchInfo, *, by_counts: bool = True) -> tuple[int, int]:
    """How many requests of an ended batch at the provider succeeded, and what they cost, as in
    Row.cost_pico, by its whole results. It was made by a try of `batch`. `by_counts`: the results
    must match the provider's counts. Nothing is stored. Raises Incomplete, NotOurs, ProviderError.
    """
    costs: dict[str, int] = {}
    kinds: dict[str, str] = {}
    with tempfile.TemporaryFile(dir=files.scratch()) as file:
        # How often it failed before is not known.
        failures = result_files.MOST_HALVINGS
        recipe = recipe_of_round(batch.job, batch.round)
        result_files.download(info.id, batch, recipe, file, failures=failures)
        file.seek(0)
        for line in result_files.lines(file):
            if line.strip():
                found = result_proof.result_of(line)
                if not found.custom_id.startswith(f"{batch.nonce}-"):
                    raise result_proof.NotOurs(f"{info.id} is not batch {batch.pk}")
                kinds[found.custom_id] = found.result.type
                if found.result.type == "succeeded":
                    costs[found.custom_id] = known_cost_in_pico(judge_result(found.result))
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
        with slice_transaction(lease):
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
        job_log.write(batch.job_id, f"Batch {batch.number} is lost at the provider. {why}".strip())


def wait_again(batch: Batch, lease: Lease) -> None:
    """The batch is there after all: rows wait again that a worker called lost before it died, so
    that what they may cost stays reserved. Raises LeaseLost."""
    lost = Row.objects.filter(batch=batch, outcome=Outcome.ERRORED, cause="lost")
    for some in lost.value_slices(SLICE):
        with slice_transaction(lease):
            note_change(batch.job_id)
            lost.filter(number__in=[number for (number,) in some]).update(
                outcome=Outcome.WAITING, cause="", message=""
            )
        lease.renew()
