"""The size of the rows that a retry sends, and what is in their requests."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
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
    MEASURED_AT_ONCE,
    add_sizes,
    candidate_rows,
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
    if job.edits.all()[MEASURED_AT_ONCE:].exists():
        raise CannotRetry(STILL_CHECKING)
    return _measure(job, earlier)


def measure_edits(job: Job, lease: Lease | None = None) -> None:
    """Measure the edits of a finished job if there are too many to do so in a page view. Raises
    LeaseLost."""
    of = edits_key(job)
    if job.edits_measured.of == of or not job.edits.all()[MEASURED_AT_ONCE:].exists():
        return
    rounds = sizes_by_round(job, EDITED)
    trouble, measured = "", RetrySize(0, 0, 0)
    try:
        measured = _measure(job, rounds_with_main_recipe(job, rounds), lease)
    except CannotRetry as why:
        trouble = str(why)
    by_round = {number: (one.rows, one.bytes, one.largest) for number, one in rounds.items()}
    found = MeasuredEdits(of, trouble, measured, by_round)
    job.edits_measured = found
    Job.objects.filter(pk=job.pk, edits_version=of[0]).update(edits_measured=found)


def _measure(job: Job, earlier: Collection[int], lease: Lease | None = None) -> RetrySize:
    """The size of the edited rows that were last sent in these rounds. Raises CannotRetry."""
    count = largest = total = after = 0
    requests = _Requests()
    edits = Edit.objects.filter(job=job).order_by("number").values_list("number", "source")
    while some := list(edits.filter(number__gt=after)[:SLICE]):
        between = after, some[-1][0]
        # Skip rows that got their answer after they were edited.
        rows = in_rounds(candidate_rows(job, EDITED, between), earlier)
        to_send = set(rows.values_list("number", flat=True))
        after = between[1]
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
