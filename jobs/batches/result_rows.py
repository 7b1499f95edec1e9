"""Proven results go into the rows, in short transactions."""

from __future__ import annotations

import json
from collections.abc import Container, Iterator, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import IO, Any

import msgspec
from django.db import transaction

from ..models import Batch, FileProblem, Outcome, Row, answer_kind_of, job_log, note_change, results
from ..models.statements import run_for_each, update_statement
from ..rules import wording
from ..rules.judging import Judgment, judge_result
from ..rules.pricing import known_cost_in_pico
from ..rules.result_lines import ResultLine, read_line
from ..rules.result_proof import offset_of
from ..rules.sent_keys import SentKeys
from ..rules.tool_answers import forced_tool
from . import answer_columns, external_ids, result_files
from .leases import Lease
from .slices import slice_transaction

SLICE = 2_000  # rows of one transaction
# Results of one: each changes three indexes all over, and many of them fewer pages for each row.
STORED_AT_ONCE = 5_000
READ_AT_ONCE = 1_000  # of them: as text and decoded they take more memory
SLICE_BYTES = 8_000_000
NO_ROW = "no_row"  # the Problem of results that belong to no row
IDS_SHOWN = 20  # of those


_COLUMNS = [*results.NO_RESULT, "request_key"]
_UPDATE = update_statement(Row, _COLUMNS, ["job_id", "number"], ["batch_id"])
_NUMBER = itemgetter(-2)
_NAME = update_statement(Row, ["source"], ["job_id", "number"])


def store(
    batch: Batch,
    path: Path,
    rows: Mapping[str, int],
    lease: Lease,
    only: Container[str] | None = None,
    keys: SentKeys | None = None,
    places: Sequence[int] = (),
) -> int:
    """Judge every result and put it into its row, whose number `rows` has by custom_id; the sum of
    their cost, as in Row.cost_pico. Repeatable: the same file gives the same rows. `only`: the
    custom_ids to take, when the file is not proven complete. `keys`: what was sent for the
    rows; without them no other job reuses their answers. `places`: as a Proof has them."""
    total = 0
    job_pk, batch_pk = batch.job_id, batch.pk
    wanted = answer_kind_of(batch.job)
    unknown_tool = None if batch.is_external else ""  # for a request that nobody knows
    if len(places) <= STORED_AT_ONCE:
        places = ()  # one transaction takes them all, in whatever order they are read
    # A line that is there twice is paid once. Of each row, `places` have one.
    stored: set[str] | None = None if places else set()
    updates: list[tuple[Any, ...]] = []
    answers: list[tuple[int, Any, Judgment]] = []
    size = 0
    for lines in chain(slices(path, places), [[]]):  # the last one has what is left written
        size += sum(map(len, lines))
        found = [(rows.get(one.custom_id), one.result) for one in _new_results(lines, stored, only)]
        calls = [number for number, result in found if number is not None and result.ends_with_call]
        requests = answer_columns.requests_of(batch, calls) if calls else {}
        for number, result in found:
            params = requests.get(number) if requests and number is not None else None
            tool = unknown_tool if params is None else forced_tool(params)
            judged = judge_result(result, wanted, tool)
            cost = known_cost_in_pico(judged)
            total += cost
            if number is None:  # it fits no row, which is said in the end
                continue
            key = keys.get(number) if keys else None
            values = results.result_values(judged, cost).values()
            updates.append((*values, key, job_pk, number, batch_pk))
            if calls:
                answers.append((number, params, judged))
        is_last = not lines
        if not updates or not (is_last or len(updates) >= STORED_AT_ONCE or size > SLICE_BYTES):
            continue
        updates.sort(key=_NUMBER)  # rows that lie together
        # bulk_update takes thirty times as long.
        with slice_transaction(lease):
            note_change(job_pk)
            run_for_each(_UPDATE, updates)
            if answers:
                answer_columns.store_columns(job_pk, answers)
        lease.renew()
        size = 0
        updates.clear()
        answers.clear()
    return total


def _new_results(
    lines: Sequence[bytes], stored: set[str] | None, only: Container[str] | None
) -> Iterator[ResultLine]:
    """What these lines hold, without what is `stored` already, which grows by them."""
    for line in lines:
        try:
            found = read_line(line)
        except (msgspec.DecodeError, RecursionError):
            if only is None:
                raise
            continue
        if only is not None and found.custom_id not in only:
            continue
        if stored is not None:
            if found.custom_id in stored:
                continue
            stored.add(found.custom_id)
        yield found


def match_imported(batch: Batch, path: Path, lease: Lease) -> dict[str, int]:
    """Which row each result of a batch that was made elsewhere belongs to. Without a file the rows
    get their ids here. Raises external_ids.Undecided."""
    job = batch.job
    ids = external_ids.ids_of(path, lease)
    external_ids.decide(job, ids, lease)
    rows = external_ids.numbers(job, ids, lease)
    if not job.upload_bytes:
        names = [(json.dumps({"custom_id": one}), job.pk, number) for one, number in rows.items()]
        for begin in range(0, len(names), SLICE):
            with slice_transaction(lease):
                note_change(job.pk)
                run_for_each(_NAME, names[begin : begin + SLICE])
            lease.renew()
    return rows


def say_what_fits(batch: Batch, path: Path, lease: Lease) -> None:
    """The whole results of a batch that was made elsewhere are in their rows: say which rows of the
    file have none, and which results no row. Repeatable."""
    job = batch.job
    ids = external_ids.ids_of(path, lease)
    found = external_ids.numbers(job, ids, lease)
    unmatched = [custom_id for custom_id in ids if custom_id not in found]
    theirs = Row.objects.filter(job=job, batch=batch)
    for some in theirs.value_slices(SLICE):
        here = theirs.filter(number__in=[number for (number,) in some])
        with slice_transaction(lease):
            note_change(job.pk)
            # What this site would not have sent was answered all the same.
            here.exclude(outcome=Outcome.WAITING).exclude(problem="").update(problem="")
            without = here.filter(outcome=Outcome.WAITING)
            without.filter(problem="").update(problem=external_ids.NO_RESULT)
            without.update(outcome=Outcome.LEFT_OUT, cause="left_out", batch=None)
        lease.renew()
    with transaction.atomic():
        FileProblem.objects.filter(job=job, kind=NO_ROW).delete()
        if unmatched:
            texts = [custom_id.replace("\0", "\ufffd")[:64] for custom_id in unmatched[:IDS_SHOWN]]
            FileProblem.objects.create(
                job=job, kind=NO_ROW, count=len(unmatched), texts=texts, lines=[0] * len(texts)
            )
    if job.upload_bytes:
        where = f" by {external_ids.in_words(job.ids_are)}" if job.ids_are else ""
        job_log.write(
            job.pk,
            f"Matched with the file{where}: {wording.rows(len(found))} with a result, "
            f"{wording.rows(job.row_count - len(found))} without, and {len(unmatched):,} of "
            f"{len(ids):,} results that belong to no row.",
        )


def slices(path: Path, places: Sequence[int] = ()) -> Iterator[list[bytes]]:
    """The lines of a results file, without blank ones, in slices that fit into memory; with
    `places`, the lines at them in the order of the rows: results come in any order, and all that
    is stored of neighbors lies together."""
    lines: list[bytes] = []
    size = 0
    with path.open("rb") as file:
        for line in _lines_at(file, places) if places else result_files.lines(file):
            if line.strip():
                lines.append(line)
                size += len(line)
            if len(lines) == min(READ_AT_ONCE, STORED_AT_ONCE) or size > SLICE_BYTES:
                yield lines
                lines, size = [], 0
    if lines:
        yield lines


def _lines_at(file: IO[bytes], places: Sequence[int]) -> Iterator[bytes]:
    for place in sorted(places):
        file.seek(offset_of(place))
        yield file.readline()
