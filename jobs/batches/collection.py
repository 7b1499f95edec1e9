"""Results come to our disk exactly as received, are proven complete there, and only then go into
the rows. Each step can be repeated with the same result."""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from collections import Counter
from collections.abc import Container, Iterator
from datetime import timedelta
from itertools import chain
from pathlib import Path

import msgspec
from django.conf import settings
from django.db import connection, transaction
from django.db.models import F

from ..models import (
    Batch,
    FileProblem,
    Job,
    NotMoved,
    Outcome,
    Row,
    answer_kind_of,
    checksums,
    clock,
    files,
    note_change,
    results,
)
from ..models.statements import update_statement
from ..provider import client
from ..provider.client import BatchInfo
from ..rules import pricing, wording
from ..rules.judging import Judged, Result, ResultLine, is_understood, judge, read_line
from . import absence, answer_columns, external_ids, holds, result_files, submission
from .leases import Lease, LeaseLost
from .planning import custom_id
from .slices import slice_transaction

logger = logging.getLogger(__name__)

SLICE = 2_000  # rows of one transaction
SLICE_BYTES = 8_000_000
KINDS = ("succeeded", "errored", "canceled", "expired")
# Before a person is told that results stay incomplete. As many looks in a row have to agree before
# one of them counts for good.
TRIES = 5
LONGEST_PAUSE = timedelta(minutes=10)  # before they are fetched anew
# A new batch and its results can be answered with 404 for a while (seen by users of the API).
NOT_YET_VISIBLE = timedelta(minutes=15)
NO_ROW = "no_row"  # the Problem of results that belong to no row
IDS_SHOWN = 20  # of those


STILL_UNKNOWN = (
    "We still do not know whether the provider has the missing answers. They may have been "
    "charged. You can try again later, or go on without them."
)


class Incomplete(Exception):
    """The results that came are not all of them, or not what was sent; says what is missing.

    `doubt` is what could not be undone if this one look counted: it counts when TRIES looks in a
    row have come to the same.
    """

    def __init__(self, what: str, doubt: str = "") -> None:
        super().__init__(what)
        self.doubt = doubt


FOREIGN = "foreign"  # the results belong to another batch than the one that was adopted
GONE = "gone"  # the provider has neither the results nor the batch
DELETED = "deleted"  # the provider says that it has deleted the results
NOT_ENDED = "not ended"  # the provider says that it is still at work
NO_RESULTS = "no results"  # the provider has the batch, and no results of it
UNCLEAR = "unclear"  # no whole answer came, which says nothing about the results


# Of these, one look ends nothing, even after a person has given up the results.
COUNTED = (GONE, DELETED, NO_RESULTS, UNCLEAR)


def collect(batch: Batch, lease: Lease) -> timedelta:
    """Bring in the results of an ended batch. Returns how long to wait before the next look at it.

    Raises LeaseLost, NotMoved when somebody changed the batch meanwhile, and ProviderError when the
    results cannot be fetched now.
    """
    path = files.results_path(batch)
    if batch.is_external and external_ids.is_open(batch.job) and path.exists():
        holds.hold(batch.job_id, external_ids.WHICH)
        return timedelta()
    try:
        # A file that is there already was proven by a worker that died before it could say so.
        sha256 = _prove_complete(batch, path, lease) if path.exists() else _download(batch, lease)
    except client.NotThere:
        return _without_results(batch, lease)
    except Incomplete as incomplete:
        return _after_incomplete(batch, incomplete, lease)
    except client.ProviderError as error:
        if batch.given_up_at is None or cannot_be_asked(error):
            raise
        what = f"the provider did not say whether it has them ({error})"
        return _try_again(batch, Incomplete(what, UNCLEAR), lease)
    try:
        cost = _store(batch, path, lease)
    except external_ids.Undecided:
        holds.hold(batch.job_id, external_ids.WHICH)
        return timedelta()
    if batch.is_external:
        _say_what_fits(batch, path, lease)
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
        files.remove_incoming(batch)
        files.results_path(batch).unlink(missing_ok=True)
        try:
            _ask_anew(batch)
        except client.NotThere:
            return _without_results(batch, lease)
        except Incomplete as other:
            incomplete = other
        else:
            if submission.replace_by_proven(batch):
                return timedelta()
    return _try_again(batch, incomplete, lease)


def cannot_be_asked(error: client.ProviderError) -> bool:
    """The provider did not so much as look at what was asked."""
    return isinstance(error, client.Unreachable) or (
        isinstance(error, client.Refused) and (error.about_key or error.for_now)
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
    files.remove_incoming(batch)
    part = files.incoming_path(batch)
    files.require_room(part.parent, 3 * batch.body_bytes)
    assert batch.provider_id  # noqa: S101 - a database constraint
    with part.open("wb") as file:
        failures = batch.collect_failures
        try:
            result_files.download(batch.provider_id, batch, file, lease, failures)
        except client.TooMuch as error:
            raise Incomplete(
                f"more than the {file.tell():,} bytes arrived that {batch.size:,} answers can have"
            ) from error
        except client.Unclear as error:
            if not file.tell():
                raise
            what = f"the connection broke off after {file.tell():,} bytes"
            raise Incomplete(what, UNCLEAR) from error
        except OSError:
            part.unlink()  # the disk is full: the room is needed
            raise
    sha256 = _prove_complete(batch, part, lease)
    files.keep(part, files.results_path(batch), mode=0o440)
    return sha256


def _prove_complete(batch: Batch, path: Path, lease: Lease) -> str:
    """The file's SHA-256, once it is certain that it holds exactly one result for every row of the
    batch, in the numbers that the provider names. Of a batch that was made elsewhere nobody here
    knows the ids: as many results as requests, each with an id of its own.

    Raises Incomplete, and ProviderError when the numbers do not fit and cannot be asked for anew. A
    line that is there twice to the letter counts once.
    """
    missing = _planned_ids(batch)
    planned = batch.size if missing is None else len(missing)
    digest = hashlib.sha256()
    kinds: Counter[str] = Counter()
    seen: dict[str, bytes] = {}
    puzzle = 0  # of all results that are not understood, in whatever order they came
    ends_whole = True
    strange = ""
    with path.open("rb") as file:
        for line in result_files.lines(file):
            digest.update(line)
            ends_whole = line.endswith(b"\n")
            if not line.strip():
                continue
            result = _result_of(line)
            fingerprint = hashlib.blake2b(line.strip(), digest_size=8).digest()
            if result.custom_id in seen:
                if seen[result.custom_id] != fingerprint:
                    raise Incomplete(f"two different results for {result.custom_id}")
            elif missing is None or result.custom_id in missing:
                if len(seen) == planned:  # of a batch that was made elsewhere
                    raise Incomplete(f"more than {planned:,} results arrived")
                seen[result.custom_id] = fingerprint
                kinds[result.result.type] += 1
                if not is_understood(result.result):
                    puzzle ^= int.from_bytes(fingerprint)
            else:
                strange = strange or result.custom_id
            lease.renew()
    if strange:
        what = f"a result for {strange[:64]}, which we did not send"
        raise Incomplete(what, FOREIGN if batch.recovered and not seen else "")
    if len(seen) != planned:
        raise Incomplete(f"{len(seen):,} of {planned:,} results arrived")
    if not ends_whole:
        raise Incomplete("the last line is cut off")
    if batch.counts and _contradiction(batch.counts, kinds):
        # They were stored when the end was first seen: what condemns a download has to be as fresh.
        counts = _ask_anew(batch).counts
        if what := _contradiction(counts, kinds):
            raise Incomplete(what)
    doubt = f"puzzle {puzzle:016x}"
    if puzzle and (batch.doubt != doubt or batch.doubts < TRIES - 1):
        raise Incomplete("some results are of a kind that is not known here", doubt)
    return digest.hexdigest()


def _contradiction(counts: dict[str, int], kinds: Counter[str]) -> str:
    """In which way results of these kinds are not what the provider counts, in words."""
    # Results of a kind that is new to us count as any kind for the provider.
    new_kinds = sum(count for kind, count in kinds.items() if kind not in KINDS)
    for kind in KINDS:
        if not 0 <= counts[kind] - kinds[kind] <= new_kinds:
            return f"{kinds[kind]:,} rows are {kind}, the provider counts {counts[kind]:,}"
    return ""


def _ask_anew(batch: Batch) -> BatchInfo:
    """What the provider says of an ended batch now; its counts and times are stored. Raises
    Incomplete when it has not ended after all, and then it is watched on; and ProviderError."""
    info = client.retrieve_batch(str(batch.provider_id))
    if info.status != "ended":
        raise Incomplete("the provider is still at work on it", NOT_ENDED)
    batch.counts, batch.ended_at = info.counts, info.ended_at or batch.ended_at
    ended = Batch.objects.filter(pk=batch.pk, provider_id=batch.provider_id)
    ended.update(counts=batch.counts, ended_at=batch.ended_at, expires_at=info.expires_at)
    return info


def _result_of(line: bytes) -> ResultLine:
    try:
        return read_line(line)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Incomplete("a line is cut off or not JSON") from error


def _planned_ids(batch: Batch) -> set[str] | None:
    """The custom_ids that were sent; None for a batch that was made elsewhere."""
    if batch.is_external:
        return None
    numbers = Row.objects.filter(batch=batch).values_list("number", flat=True)
    return {custom_id(batch.nonce, number) for number in numbers.iterator()}


def _without_results(batch: Batch, lease: Lease) -> timedelta:
    """The provider answers 404: for a while after a batch was made or has ended, or because the
    results are gone for good. Raises ProviderError."""
    patient = may_be_too_new(batch)
    what, doubt = "the provider does not have them (404)", NO_RESULTS
    try:
        archived_at = _ask_anew(batch).archived_at
    except client.NotThere:
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
    agreed = batch.doubts >= TRIES and not patient
    if batch.doubt == NOT_ENDED and (batch.given_up_at or batch.collect_failures < TRIES):
        wait_again(batch, lease)
        Batch.objects.move(
            batch.pk,
            Batch.State.ENDED,
            Batch.State.IN_PROGRESS,
            ended_at=None,
            counts={},
            given_up_at=None,
        )
    elif batch.given_up_at and batch.doubt in COUNTED and batch.doubts < TRIES:
        ended.update(next_action_at=clock.now() + timedelta(seconds=5 * 2**batch.doubts))
    elif batch.given_up_at and batch.doubt == UNCLEAR and batch.doubts == TRIES:
        # The person decided before that was known, and decides again.
        ended.update(given_up_at=None)
        holds.hold(batch.job_id, f"{_stay_incomplete(batch)} {incomplete}. {STILL_UNKNOWN}")
    elif batch.given_up_at or (agreed and batch.doubt == DELETED):
        _take_what_arrived(batch, lease)
        said = str(incomplete)
        lose(batch, lease, f"{said[0].upper()}{said[1:]}." if batch.doubt == DELETED else "")
    elif agreed and _is_not_ours(batch):
        submission.give_back(batch, "given_back" if batch.doubt == FOREIGN else "vanished")
    elif batch.collect_failures >= TRIES and not patient:
        _take_what_arrived(batch, lease)
        holds.hold(batch.job_id, f"{_stay_incomplete(batch)} {incomplete}.")
    return pause


def _is_not_ours(batch: Batch) -> bool:
    """Whether what all looks agree on means that the batch which was taken for ours is not."""
    if batch.doubt == FOREIGN:
        return True
    return batch.doubt == GONE and submission.was_found_by_listing(batch)


def _stay_incomplete(batch: Batch) -> str:
    return f"The results of batch {batch.number} stay incomplete:"


def _take_what_arrived(batch: Batch, lease: Lease) -> None:
    """Put the results that did arrive into their rows, so that they can be used; the batch stays
    uncollected. Of contradicting results none is taken."""
    part = files.keep_incomplete(batch)
    if part is None:
        return
    size, sha256 = checksums.facts_of(part)
    Batch.objects.filter(pk=batch.pk).update(results_bytes=size, results_sha256=sha256)
    planned = _planned_ids(batch)
    lines: dict[str, bytes] = {}
    contradicting = set()
    for line in chain.from_iterable(_slices(part)):
        try:
            found = _result_of(line).custom_id
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
        _store(batch, part, lease, only=taken)
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
    Row.cost_pico, by its whole results. It is one like `batch`. `by_counts`: they have to be what
    the provider counts. Nothing is stored. Raises Incomplete and ProviderError."""
    costs: dict[str, int] = {}
    kinds: dict[str, str] = {}
    with tempfile.TemporaryFile(dir=files.scratch()) as file:
        # How often it failed before is not known.
        failures = result_files.MOST_HALVINGS
        result_files.download(info.id, batch, file, failures=failures)
        file.seek(0)
        for line in result_files.lines(file):
            if line.strip():
                found = _result_of(line)
                kinds[found.custom_id] = found.result.type
                if found.result.type == "succeeded":
                    costs[found.custom_id] = _cost(judge(found.result))
    if len(kinds) != info.total:
        raise Incomplete(f"{len(kinds):,} of {info.total:,} results arrived")
    if by_counts and (what := _contradiction(info.counts, Counter(kinds.values()))):
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


_UPDATE = update_statement(Row, results.NO_RESULT, ["job_id", "number", "batch_id"])
_NAME = update_statement(Row, ["source"], ["job_id", "number"])


def _store(batch: Batch, path: Path, lease: Lease, only: Container[str] | None = None) -> int:
    """Judge every result and put it into its row; the sum of their cost, as in Row.cost_pico.
    Repeatable: the same file gives the same rows. `only`: the custom_ids to take, when the file is
    not proven complete. Raises foreign.Undecided."""
    total = 0
    counted = set()  # a line that is there twice is paid once
    wanted = answer_kind_of(batch.job)
    rows = _rows_brought_in(batch, path, lease) if batch.is_external else None
    for lines in _slices(path):
        found_here: list[tuple[int | None, Result]] = []
        for line in lines:
            try:
                result = read_line(line)
            except (msgspec.DecodeError, RecursionError):
                if only is None:
                    raise
                continue
            if result.custom_id in counted or (only is not None and result.custom_id not in only):
                continue
            counted.add(result.custom_id)
            if rows is None:
                number: int | None = int(result.custom_id.rpartition("-")[2])
            else:
                number = rows.get(result.custom_id)
            found_here.append((number, result.result))
        requests = answer_columns.requests_of(batch, found_here)
        updates, answers = [], []
        for number, found in found_here:
            params = requests.get(number) if number is not None else None
            judged = judge(found, wanted, answer_columns.forced(batch, params))
            cost = _cost(judged)
            total += cost
            if number is not None:  # else it fits no row, which is said in the end
                values = results.result_values(judged, cost).values()
                updates.append((*values, batch.job_id, number, batch.pk))
                answers.append((number, params, judged))
        # bulk_update takes thirty times as long.
        with slice_transaction(), connection.cursor() as cursor:
            note_change(batch.job_id)
            cursor.executemany(_UPDATE, updates)
            answer_columns.store_columns(batch.job_id, answers)
        lease.renew()
    return total


def _rows_brought_in(batch: Batch, path: Path, lease: Lease) -> dict[str, int]:
    """Which row each result of a batch that was made elsewhere belongs to. Without a file the rows
    get their ids here. Raises foreign.Undecided."""
    job = batch.job
    ids = external_ids.ids_of(path, lease)
    external_ids.decide(job, ids, lease)
    rows = external_ids.numbers(job, ids, lease)
    if not job.upload_bytes:
        names = [(json.dumps({"custom_id": one}), job.pk, number) for one, number in rows.items()]
        for begin in range(0, len(names), SLICE):
            with slice_transaction(), connection.cursor() as cursor:
                cursor.executemany(_NAME, names[begin : begin + SLICE])
            lease.renew()
    return rows


def _say_what_fits(batch: Batch, path: Path, lease: Lease) -> None:
    """The whole results of a batch that was made elsewhere are in their rows: say which rows of the
    file have none, and which results no row. Repeatable."""
    job = batch.job
    ids = external_ids.ids_of(path, lease)
    found = external_ids.numbers(job, ids, lease)
    strays = [custom_id for custom_id in ids if custom_id not in found]
    theirs = Row.objects.filter(job=job, batch=batch)
    for some in theirs.value_slices(SLICE):
        here = theirs.filter(number__in=[number for (number,) in some])
        with slice_transaction():
            note_change(job.pk)
            # What this site would not have sent was answered all the same.
            here.exclude(outcome=Outcome.WAITING).exclude(problem="").update(problem="")
            without = here.filter(outcome=Outcome.WAITING)
            without.filter(problem="").update(problem=external_ids.NO_RESULT)
            without.update(outcome=Outcome.LEFT_OUT, cause="left_out", batch=None)
        lease.renew()
    with transaction.atomic():
        FileProblem.objects.filter(job=job, kind=NO_ROW).delete()
        if strays:
            texts = [custom_id.replace("\0", "\ufffd")[:64] for custom_id in strays[:IDS_SHOWN]]
            FileProblem.objects.create(
                job=job, kind=NO_ROW, count=len(strays), texts=texts, lines=[0] * len(texts)
            )
    if job.upload_bytes:
        where = f" by {external_ids.in_words(job.ids_are)}" if job.ids_are else ""
        holds.log(
            job.pk,
            f"Matched with the file{where}: {wording.rows(len(found))} with a result, "
            f"{wording.rows(job.row_count - len(found))} without, and {len(strays):,} of "
            f"{len(ids):,} results that belong to no row.",
        )


def _slices(path: Path) -> Iterator[list[bytes]]:
    """The lines of a results file, without blank ones, in slices that fit into memory."""
    lines: list[bytes] = []
    size = 0
    with path.open("rb") as file:
        for line in result_files.lines(file):
            if line.strip():
                lines.append(line)
                size += len(line)
            if len(lines) == SLICE or size > SLICE_BYTES:
                yield lines
                lines, size = [], 0
    if lines:
        yield lines


def _cost(judged: Judged) -> int:
    try:
        return pricing.cost_in_pico(judged)
    except pricing.UnknownPrice:
        return 0  # counted as unpriced in the job's tally
