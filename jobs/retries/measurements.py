"""The size of the rows that a retry sends, and what is in their requests."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

import msgspec

from ..batches.leases import Lease
from ..drafts import shares
from ..drafts.reading import reading_limits
from ..ingest.protocol import UploadSummary
from ..ingest.request_reader import RequestReader
from ..models import (
    Edit,
    Job,
)
from ..rules.retry_choices import MeasuredEdits, RetrySize
from .selection import (
    EDITED,
    add_sizes,
    add_up_edited,
    awaits_measuring,
    candidate_rows,
    edited_to_send,
    edits_key,
    in_rounds,
    rounds_with_main_recipe,
    sizes_by_round,
)

SLICE = 1_000  # edits that are read at a time
STILL_CHECKING = "Your changes are still being checked. Reload this page in a moment."
_request_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])


class CannotRetry(Exception):
    """The rows cannot be retried like this; the message says why."""


def measure_rows(
    job: Job, which: str, chosen: Sequence[RetrySize], earlier: Collection[int]
) -> RetrySize:
    """The size of the `chosen` rows, which are those of `earlier` rounds. Raises CannotRetry."""
    if which == EDITED:
        return _measured_edits(job, earlier)
    found = RetrySize(0, 0, 0)
    for one in chosen:
        found = add_sizes(found, one)
    requests = _Requests()
    # Otherwise the rows are as the file was read, with all that the price needs, or the rounds
    # have noted what changed in them.
    is_known = not shares.lacks_bounds(job.reading.models)
    is_known = is_known and not job.rounds.filter(which="").exists()
    if job.kind == Job.Kind.REQUESTS and not is_known:
        rows = in_rounds(candidate_rows(job, which), earlier)
        for number, source in rows.values_list("number", "source").iterator():
            requests.add(number, source)
    return replace(found, models=requests.models)


def _measured_edits(job: Job, earlier: Collection[int]) -> RetrySize:
    """The size of the edited rows: measured here if few, and otherwise by the worker before."""
    known = job.edits_measured
    if known.of == edits_key(job):
        if known.trouble:
            raise CannotRetry(known.trouble)
        return known.measured
    return _measure(job, earlier)


def measure_edits(job: Job, lease: Lease | None = None) -> None:
    """Measure the edits of a finished job if there are too many to do so in a page view. Raises
    LeaseLost."""
    if not awaits_measuring(job):
        return
    of, rows = edits_key(job), add_up_edited(job, _slices_of_edits(job, lease))
    job.edits_measured = MeasuredEdits(of, rows=rows)
    trouble, measured = "", RetrySize(0, 0, 0)
    try:
        rounds = rounds_with_main_recipe(job, sizes_by_round(job, EDITED))
        measured = _measure(job, rounds, lease)
    except CannotRetry as why:
        trouble = str(why)
    found = MeasuredEdits(of, trouble, measured, rows)
    job.edits_measured = found
    Job.objects.filter(pk=job.pk, edits_version=of[0]).update(edits_measured=found)


def _slices_of_edits(job: Job, lease: Lease | None) -> Iterator[list[int]]:
    """The numbers of all edited rows."""
    numbers, after = Edit.objects.filter(job=job).order_by("number"), 0
    while some := list(numbers.filter(number__gt=after).values_list("number", flat=True)[:SLICE]):
        yield some
        after = some[-1]
        if lease:
            lease.renew()


def _measure(job: Job, earlier: Collection[int], lease: Lease | None = None) -> RetrySize:
    """The size of the edited rows that were last sent in these rounds. Raises CannotRetry."""
    count = largest = total = after = 0
    requests = _Requests()
    edits = Edit.objects.filter(job=job).order_by("number").values_list("number", "source")
    while some := list(edits.filter(number__gt=after)[:SLICE]):
        after = some[-1][0]
        # Skip rows that got their answer after they were edited.
        to_send = edited_to_send(job, [number for number, _source in some], earlier)
        for number, source in some:
            if number not in to_send:
                continue
            size = row_size(job, source)
            count, total, largest = count + 1, total + size, max(largest, size)
            if job.kind == Job.Kind.REQUESTS:
                requests.add(number, source)
        if lease:
            lease.renew()
    return RetrySize(count, total, largest, requests.models)


class _Requests:
    """Checks ready-made requests before a retry, as when a file is read."""

    def __init__(self) -> None:
        self._checks = RequestReader((), reading_limits())
        self._summary = UploadSummary("JSONL", Job.Kind.REQUESTS)

    def add(self, number: int, source: str) -> None:
        """Raises CannotRetry."""
        line = self._checks.line(number, source, json.loads(source))
        if line.problem:
            raise CannotRetry(f"Row {number:,} cannot be sent: {line.problem.text}")
        self._summary.add(line)

    @property
    def models(self) -> dict[str, dict[str, int]]:
        """What the requests hold by model, as in FileFacts.models."""
        return self._summary.models


def row_size(job: Job, source: str) -> int:
    """Bytes of a row, as Row.size."""
    if job.kind == Job.Kind.TABLE:
        return sum(len(cell.encode()) for cell in json.loads(source))
    return len(_request_decoder.decode(source)["params"])
