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
from typing import Any

import msgspec
from django.db import connection, transaction

from . import (
    answer_columns,
    checksums,
    clock,
    files,
    foreign,
    holding,
    pricing,
    provider,
    result_files,
    submission,
    words,
)
from .batching import custom_id
from .judging import Judged, Result, ResultLine, judge, read_line
from .leases import Lease
from .models import Batch, Outcome, Problem, Row, answer_kind_of, note_change

logger = logging.getLogger(__name__)

SLICE = 2_000  # rows of one transaction
SLICE_BYTES = 8_000_000
KINDS = ("succeeded", "errored", "canceled", "expired")
TRIES = 5  # before a person is told that results stay incomplete
# A new batch and its results can be answered with 404 for a while (seen by users of the API).
NOT_YET_VISIBLE = timedelta(minutes=15)
NO_ROW = "no_row"  # the Problem of results that belong to no row
IDS_SHOWN = 20  # of those


class Incomplete(Exception):
    """The results that came are not all of them, or not what was sent; says what is missing."""


class ForeignResults(Incomplete):
    """The results belong to another batch than the one that was adopted."""


def collect(batch: Batch, lease: Lease) -> timedelta:
    """Bring in the results of an ended batch. Returns how long to wait before the next look at it.

    Raises LeaseLost, and ProviderError when the results cannot be fetched now.
    """
    path = files.results_path(batch)
    if batch.brought_in and foreign.is_open(batch.job) and path.exists():
        holding.hold(batch.job_id, foreign.WHICH)
        return timedelta()
    try:
        # A file that is there already was proven by a worker that died before it could say so.
        sha256 = _prove_complete(batch, path, lease) if path.exists() else _download(batch, lease)
    except ForeignResults:
        files.remove_incoming(batch)
        submission.give_back(batch)
        return timedelta()
    except provider.NotThere:
        return _without_results(batch, lease)
    except Incomplete as incomplete:
        return _try_again(batch, str(incomplete), lease)
    try:
        cost = _store(batch, path, lease)
    except foreign.Undecided:
        holding.hold(batch.job_id, foreign.WHICH)
        return timedelta()
    if batch.brought_in:
        _say_what_fits(batch, path, lease)
    Batch.objects.try_move(
        batch.pk,
        Batch.State.ENDED,
        Batch.State.COLLECTED,
        results_sha256=sha256,
        results_bytes=path.stat().st_size,
        results_checked_at=clock.now(),
        collected_at=clock.now(),
        next_action_at=None,
        cost_pico=cost,
    )
    holding.log(batch.job_id, f"The answers of batch {batch.number} are in.")
    holding.release(batch.job_id, _stay_incomplete(batch))
    holding.release(batch.job_id, foreign.WHICH)
    files.body_path(batch).unlink(missing_ok=True)  # the rows and the recipe can make it again
    files.incomplete_path(batch).unlink(missing_ok=True)
    return timedelta()


def may_be_too_new(batch: Batch) -> bool:
    """Whether the provider may not show a batch yet that it has accepted. By our own clock, which
    may differ from the one that says when the batch was made."""
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
        except provider.TooMuch as error:
            raise Incomplete(
                f"more than the {file.tell():,} bytes arrived that {batch.size:,} answers can have"
            ) from error
        except provider.Unclear as error:
            if not file.tell():
                raise
            raise Incomplete(f"the connection broke off after {file.tell():,} bytes") from error
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

    Raises Incomplete or ForeignResults. A line that is there twice to the letter counts once.
    """
    missing = _planned_ids(batch)
    planned = batch.size if missing is None else len(missing)
    digest = hashlib.sha256()
    kinds: Counter[str] = Counter()
    seen: dict[str, bytes] = {}
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
            else:
                strange = strange or result.custom_id
            lease.renew()
    if strange:
        what = f"a result for {strange[:64]}, which we did not send"
        raise ForeignResults(what) if batch.adopted and not seen else Incomplete(what)
    if len(seen) != planned:
        raise Incomplete(f"{len(seen):,} of {planned:,} results arrived")
    if not ends_whole:
        raise Incomplete("the last line is cut off")
    new_kinds = sum(count for kind, count in kinds.items() if kind not in KINDS)
    for kind in KINDS if batch.counts else ():
        # Results of a kind that is new to us count as any kind for the provider.
        missed = batch.counts[kind] - kinds[kind]
        if not 0 <= missed <= new_kinds:
            raise Incomplete(
                f"{kinds[kind]:,} rows are {kind}, the provider counts {batch.counts[kind]:,}"
            )
    return digest.hexdigest()


def _result_of(line: bytes) -> ResultLine:
    try:
        return read_line(line)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Incomplete("a line is cut off or not JSON") from error


def _planned_ids(batch: Batch) -> set[str] | None:
    """The custom_ids that were sent; None for a batch that was made elsewhere."""
    if batch.brought_in:
        return None
    numbers = Row.objects.filter(batch=batch).values_list("number", flat=True)
    return {custom_id(batch.nonce, number) for number in numbers.iterator()}


def _without_results(batch: Batch, lease: Lease) -> timedelta:
    """The provider answers 404: for a while after a batch was made or has ended, or because the
    results are gone for good."""
    try:
        archived_at = provider.retrieve_batch(str(batch.provider_id)).archived_at
    except provider.NotThere:
        archived_at = None
    if archived_at is not None:
        day = f"{archived_at:%-d %B %Y}"
        lose(batch, f"The provider deleted these answers on {day}, before they could be fetched.")
        return timedelta()
    if submission.was_found_by_listing(batch) and not may_be_too_new(batch):
        submission.give_back(batch, vanished=True)
        return timedelta()
    what = "the provider does not have them (404)"
    return _try_again(batch, what, lease, patient=may_be_too_new(batch))


def _try_again(batch: Batch, what: str, lease: Lease, *, patient: bool = False) -> timedelta:
    """Fetch the results anew later, ever more seldom; after some times, unless one should be
    `patient`, a person is told, and what did arrive is taken."""
    if (path := files.results_path(batch)).exists():
        path.replace(files.incoming_path(batch))  # no longer what it was when it got its name
    failures = batch.collect_failures + 1
    pause = timedelta(seconds=min(5 * 2**failures, 600))
    Batch.objects.filter(pk=batch.pk).update(
        collect_failures=failures, next_action_at=clock.now() + pause
    )
    logger.warning("job %s batch %s: incomplete: %s", batch.job_id, batch.number, what)
    if failures >= TRIES and not patient:
        _take_what_arrived(batch, lease)
        holding.hold(batch.job_id, f"{_stay_incomplete(batch)} {what}.")
    return pause


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
    except foreign.Undecided:
        holding.hold(batch.job_id, foreign.WHICH)
        return
    if Batch.objects.filter(pk=batch.pk).exclude(arrived=len(taken)).update(arrived=len(taken)):
        holding.log(
            batch.job_id,
            f"Of batch {batch.number}, {len(taken):,} of {batch.size:,} answers did arrive and can "
            "be used.",
        )


def charged(provider_id: str, finished: int, batch: Batch) -> int:
    """What the results of an ended batch cost, of which `finished` succeeded, as in Row.cost_pico.
    It is one like `batch`. Nothing is stored. Raises Incomplete and ProviderError."""
    costs: dict[str, int] = {}
    with tempfile.TemporaryFile(dir=files.scratch()) as file:
        # How often it failed before is not known.
        failures = result_files.MOST_HALVINGS
        result_files.download(provider_id, batch, file, failures=failures)
        file.seek(0)
        for line in result_files.lines(file):
            if line.strip() and (found := _result_of(line)).result.type == "succeeded":
                costs[found.custom_id] = _cost(judge(found.result))
    if len(costs) != finished:
        raise Incomplete(f"{len(costs):,} of {finished:,} answers arrived")
    return sum(costs.values())


def lose(batch: Batch, why: str = "") -> None:
    """Give up on a batch: the provider does not have it or its whole results any more. Every row
    without an answer says so; what did arrive is kept."""
    with transaction.atomic():
        if Batch.objects.try_move(batch.pk, batch.state, Batch.State.LOST, next_action_at=None):
            note_change(batch.job_id)
            Row.objects.filter(batch=batch, outcome=Outcome.WAITING).update(
                outcome=Outcome.ERRORED, cause="lost", message=why
            )
            holding.log(
                batch.job_id, f"Batch {batch.number} is lost at the provider. {why}".strip()
            )


_UPDATE = (
    "UPDATE jobs_row SET outcome = %s, cause = %s, answer = %s, message = %s, request_id = %s,"
    " answered_by = %s, stop_reason = %s, input_tokens = %s, cache_write_tokens = %s,"
    " cache_read_tokens = %s, output_tokens = %s, thinking_tokens = %s, cost_pico = %s"
    " WHERE job_id = %s AND number = %s AND batch_id = %s"
)


def _store(batch: Batch, path: Path, lease: Lease, only: Container[str] | None = None) -> int:
    """Judge every result and put it into its row; the sum of their cost, as in Row.cost_pico.
    Repeatable: the same file gives the same rows. `only`: the custom_ids to take, when the file is
    not proven complete. Raises foreign.Undecided."""
    total = 0
    counted = set()  # a line that is there twice is paid once
    wanted = answer_kind_of(batch.job)
    rows = _rows_brought_in(batch, path, lease) if batch.brought_in else None
    for lines in _slices(path):
        results: list[tuple[int | None, Result]] = []
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
            results.append((number, result.result))
        requests = answer_columns.requests_of(batch, results)
        updates, answers = [], []
        for number, found in results:
            params = requests.get(number) if number is not None else None
            judged = judge(found, wanted, answer_columns.forced(batch, params))
            cost = _cost(judged)
            total += cost
            if number is not None:  # else it fits no row, which is said in the end
                updates.append((*_columns(judged, cost), batch.job_id, number, batch.pk))
                answers.append((number, params, judged))
        # bulk_update takes thirty times as long.
        with transaction.atomic(), connection.cursor() as cursor:
            note_change(batch.job_id)
            cursor.executemany(_UPDATE, updates)
            answer_columns.store_columns(batch.job_id, answers)
        lease.renew()
    return total


def _rows_brought_in(batch: Batch, path: Path, lease: Lease) -> dict[str, int]:
    """Which row each result of a batch that was made elsewhere belongs to. Without a file the rows
    get their ids here. Raises foreign.Undecided."""
    job = batch.job
    ids = foreign.ids_of(path, lease)
    foreign.decide(job, ids, lease)
    rows = foreign.numbers(job, ids, lease)
    if not job.upload_bytes:
        names = [(json.dumps({"custom_id": one}), job.pk, number) for one, number in rows.items()]
        for begin in range(0, len(names), SLICE):
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.executemany(
                    "UPDATE jobs_row SET source = %s WHERE job_id = %s AND number = %s",
                    names[begin : begin + SLICE],
                )
            lease.renew()
    return rows


def _say_what_fits(batch: Batch, path: Path, lease: Lease) -> None:
    """The whole results of a batch that was made elsewhere are in their rows: say which rows of the
    file have none, and which results no row. Repeatable."""
    job = batch.job
    ids = foreign.ids_of(path, lease)
    found = foreign.numbers(job, ids, lease)
    strays = [custom_id for custom_id in ids if custom_id not in found]
    theirs = Row.objects.filter(job=job, batch=batch)
    with transaction.atomic():
        note_change(job.pk)
        # What this site would not have sent was answered all the same.
        theirs.exclude(outcome=Outcome.WAITING).exclude(problem="").update(problem="")
        without = theirs.filter(outcome=Outcome.WAITING)
        without.filter(problem="").update(problem=foreign.NO_RESULT)
        without.update(outcome=Outcome.LEFT_OUT, cause="left_out", batch=None)
        Problem.objects.filter(job=job, kind=NO_ROW).delete()
        if strays:
            texts = [custom_id.replace("\0", "\ufffd")[:64] for custom_id in strays[:IDS_SHOWN]]
            Problem.objects.create(
                job=job, kind=NO_ROW, count=len(strays), texts=texts, lines=[0] * len(texts)
            )
    if job.upload_bytes:
        where = f" by {foreign.in_words(job.ids_are)}" if job.ids_are else ""
        holding.log(
            job.pk,
            f"Matched with the file{where}: {words.rows(len(found))} with a result, "
            f"{words.rows(job.row_count - len(found))} without, and {len(strays):,} of "
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


def _columns(judged: Judged, cost: int) -> tuple[Any, ...]:
    usage = judged.usage
    texts = (
        judged.outcome,
        judged.cause,
        judged.answer,
        judged.message,
        judged.request_id,
        judged.answered_by,
        judged.stop_reason,
    )
    return (
        # PostgreSQL takes no NUL in a text; the file as received keeps it.
        *(text.replace("\0", "\ufffd") for text in texts),
        (usage.input_tokens or 0) if usage else 0,
        (usage.cache_creation_input_tokens or 0) if usage else 0,
        (usage.cache_read_input_tokens or 0) if usage else 0,
        (usage.output_tokens or 0) if usage else 0,
        usage.thinking_tokens if usage else 0,
        cost,
    )
