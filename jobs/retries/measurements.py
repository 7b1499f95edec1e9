"""The size of the rows that a retry sends, and what is in their requests."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, replace

import msgspec

from ..batches.leases import Lease
from ..drafts import shares
from ..drafts.reading import limits as reading_limits
from ..drafts.retry_estimates import Measured
from ..ingest.answers import Summary
from ..ingest.requests import Requests
from ..models import (
    Edit,
    Job,
)
from .selection import (
    EDITED,
    MEASURED_AT_ONCE,
    all_rows_of,
    asked_alike,
    both,
    by_round,
    edits_of,
    of_rounds,
)

SLICE = 1_000  # edits that are read at a time
STILL_CHECKING = "Your changes are still being checked. Look again in a moment."
_request_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])


class CannotBeSent(Exception):
    """Rows cannot be sent again as somebody wants it; the message says why."""


def measure_rows(
    job: Job, which: str, chosen: Sequence[Measured], earlier: Collection[int]
) -> Measured:
    """What is in the rows that were `chosen`, those of `earlier` rounds. Raises CannotBeSent."""
    if which == EDITED:
        return _measured_edits(job, earlier)
    found = Measured(0, 0, 0)
    for one in chosen:
        found = both(found, one)
    requests = _Requests()
    # Else they are as the file was read, by a version that knew all that the price needs, or it
    # was noted what was changed in them.
    is_known = not shares.lacks_bounds(job.reading.get("models") or {})
    is_known = is_known and not job.rounds.filter(which="").exists()
    if job.kind == Job.Kind.REQUESTS and not is_known:
        rows = of_rounds(all_rows_of(job, which), earlier)
        for number, source in rows.values_list("number", "source").iterator():
            requests.add(number, source)
    return replace(found, models=requests.models)


def _measured_edits(job: Job, earlier: Collection[int]) -> Measured:
    """What was measured of them; few are measured at once."""
    known = job.edits_measured
    if known.get("of") == edits_of(job):
        if known["trouble"]:
            raise CannotBeSent(known["trouble"])
        return Measured(**known["measured"])
    if job.edits.all()[MEASURED_AT_ONCE:].exists():
        raise CannotBeSent(STILL_CHECKING)
    return _measure(job, earlier)


def measure_edits(job: Job, lease: Lease | None = None) -> None:
    """Measure the edits of a finished job, if they are too many for a page to do that. Raises
    LeaseLost."""
    of = edits_of(job)
    if job.edits_measured.get("of") == of or not job.edits.all()[MEASURED_AT_ONCE:].exists():
        return
    rounds = by_round(job, EDITED)
    trouble, measured = "", Measured(0, 0, 0)
    try:
        measured = _measure(job, asked_alike(job, rounds), lease)
    except CannotBeSent as why:
        trouble = str(why)
    found = {
        "of": of,
        "trouble": trouble,
        "measured": asdict(measured),
        "rounds": {number: [one.rows, one.bytes, one.largest] for number, one in rounds.items()},
    }
    job.edits_measured = found
    Job.objects.filter(pk=job.pk, edits_version=of[0]).update(edits_measured=found)


def _measure(job: Job, earlier: Collection[int], lease: Lease | None = None) -> Measured:
    """What is in the changed rows that were last in one of these rounds. Raises CannotBeSent."""
    count = largest = total = after = 0
    requests = _Requests()
    edits = Edit.objects.filter(job=job).order_by("number").values_list("number", "source")
    while some := list(edits.filter(number__gt=after)[:SLICE]):
        between = after, some[-1][0]
        # Only of rows that can be sent: another may have got its answer since it was changed.
        rows = of_rounds(all_rows_of(job, EDITED, between), earlier)
        to_send = set(rows.values_list("number", flat=True))
        after = between[1]
        for number, source in some:
            if number not in to_send:
                continue
            size = size_of(job, source)
            count, total, largest = count + 1, total + size, max(largest, size)
            if job.kind == Job.Kind.REQUESTS:
                requests.add(number, source)
        if lease:
            lease.renew()
    return Measured(count, total, largest, requests.models)


class _Requests:
    """Ready-made requests that are to be sent again, checked as when a file is read."""

    def __init__(self) -> None:
        self._checks = Requests((), reading_limits())
        self._summary = Summary("JSONL", Job.Kind.REQUESTS)

    def add(self, number: int, source: str) -> None:
        """Raises CannotBeSent."""
        line = self._checks.line(number, source, json.loads(source))
        if line.problem:
            raise CannotBeSent(f"Row {number:,} cannot be sent as it is now: {line.problem.text}")
        self._summary.add(line)

    @property
    def models(self) -> dict[str, dict[str, int]]:
        """What is in them, as in Job.reading["models"]."""
        return self._summary.models


def size_of(job: Job, source: str) -> int:
    """Bytes of a row, as Row.size."""
    if job.kind == Job.Kind.TABLE:
        return sum(len(cell.encode()) for cell in json.loads(source))
    return len(_request_decoder.decode(source)["params"])
