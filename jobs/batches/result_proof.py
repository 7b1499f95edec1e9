"""Whether a file of results is complete: exactly one result for every row of the batch."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import msgspec

from ..models import (
    Batch,
    Row,
)
from ..provider import client
from ..provider.replies import BatchInfo
from ..rules.judging import ResultLine, is_understood, read_line
from . import result_files
from .leases import Lease
from .planning import custom_id

KINDS = ("succeeded", "errored", "canceled", "expired")
# Before a person is told that results stay incomplete. As many looks in a row have to agree before
# one of them counts for good.
TRIES = 5


class Incomplete(Exception):
    """The results that came are not all of them, or not what was sent; says what is missing.

    `doubt` is what could not be undone if this one look counted: it counts when TRIES looks in a
    row have come to the same.
    """

    def __init__(self, what: str, doubt: str = "") -> None:
        super().__init__(what)
        self.doubt = doubt


class NotOurs(Exception):
    """The results are another batch's: a custom_id does not begin with our nonce."""


FOREIGN = "foreign"  # the results belong to another batch than the one that was adopted
GONE = "gone"  # the provider has neither the results nor the batch
DELETED = "deleted"  # the provider says that it has deleted the results
NOT_ENDED = "not ended"  # the provider says that it is still at work
NO_RESULTS = "no results"  # the provider has the batch, and no results of it
UNCLEAR = "unclear"  # no whole answer came, which says nothing about the results


# Of these, one look ends nothing, even after a person has given up the results.
COUNTED = (GONE, DELETED, NO_RESULTS, UNCLEAR)


def prove_complete(batch: Batch, path: Path, lease: Lease) -> str:
    """The file's SHA-256, once it is certain that it holds exactly one result for every row of the
    batch, in the numbers that the provider names. Of a batch that was made elsewhere nobody here
    knows the ids: as many results as requests, each with an id of its own.

    Raises Incomplete, and ProviderError when the numbers do not fit and cannot be asked for anew. A
    line that is there twice to the letter counts once.
    """
    missing = planned_ids(batch)
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
            result = result_of(line)
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
    if batch.counts and contradiction(batch.counts, kinds):
        # They were stored when the end was first seen: what condemns a download has to be as fresh.
        counts = ask_anew(batch).counts
        if what := contradiction(counts, kinds):
            raise Incomplete(what)
    doubt = f"puzzle {puzzle:016x}"
    if puzzle and (batch.doubt != doubt or batch.doubts < TRIES - 1):
        raise Incomplete("some results are of a kind that is not known here", doubt)
    return digest.hexdigest()


def contradiction(counts: dict[str, int], kinds: Counter[str]) -> str:
    """In which way results of these kinds are not what the provider counts, in words."""
    # Results of a kind that is new to us count as any kind for the provider.
    new_kinds = sum(count for kind, count in kinds.items() if kind not in KINDS)
    for kind in KINDS:
        if not 0 <= counts[kind] - kinds[kind] <= new_kinds:
            return f"{kinds[kind]:,} rows are {kind}, the provider counts {counts[kind]:,}"
    return ""


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


def result_of(line: bytes) -> ResultLine:
    try:
        return read_line(line)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Incomplete("a line is cut off or not JSON") from error


def planned_ids(batch: Batch) -> set[str] | None:
    """The custom_ids that were sent; None for a batch that was made elsewhere."""
    if batch.is_external:
        return None
    numbers = Row.objects.filter(batch=batch).values_list("number", flat=True)
    return {custom_id(batch.nonce, number) for number in numbers.iterator()}
