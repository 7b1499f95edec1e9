"""Whether results are complete: exactly one for every row of the batch."""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import msgspec

from .judging import is_understood
from .result_lines import ResultLine, read_line
from .sent_keys import SentKeys

KINDS = ("succeeded", "errored", "canceled", "expired")
# Before a person is told that results stay incomplete. As many looks in a row have to agree before
# one of them counts for good.
TRIES = 5
BETWEEN = 100  # lines
_OFFSET_BITS = 40  # files of up to a terabyte


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


FOREIGN = "foreign"  # the results belong to another batch than the one that was recovered
GONE = "gone"  # the provider has neither the results nor the batch
DELETED = "deleted"  # the provider says that it has deleted the results
NOT_ENDED = "not ended"  # the provider says that it is still at work
NO_RESULTS = "no results"  # the provider has the batch, and no results of it
UNCLEAR = "unclear"  # no whole answer came, which says nothing about the results
OPEN = "open end"  # all results are there, and no line break after the last one


# Of these, one look ends nothing, even after a person has given up the results.
COUNTED = (GONE, DELETED, NO_RESULTS, UNCLEAR)


@dataclass(frozen=True)
class Expected:
    """What the results of a batch have to be: `size` of them, each with an id of its own."""

    size: int
    # The number of the row of each custom_id; None if only whoever made the batch elsewhere knows
    # the ids.
    rows: Mapping[str, int] | None
    recovered: bool  # the batch was found by listing, so it may be another program's
    keys: SentKeys | None = None  # what was sent, while that is known


@dataclass(frozen=True)
class Proof:
    """What complete results are."""

    sha256: str
    kinds: Counter[str]  # how many results there are of each type
    # Names the results that are not understood, and whether the last line has no end; "" without.
    doubt: str
    # Of each row's result, as `offset_of` reads it, so that they sort as the rows do. Empty for a
    # batch of which only the ids are known.
    places: array[int]


def offset_of(place: int) -> int:
    """Where in the file the line of a result begins."""
    return place & ((1 << _OFFSET_BITS) - 1)


def prove_complete(
    lines: Iterable[bytes], expected: Expected, between: Callable[[], object] = lambda: None
) -> Proof:
    """Make certain that these lines hold exactly the results that are expected. A line that is
    there twice to the letter counts once. Calls `between` from time to time. Raises Incomplete.
    """
    planned, size = expected.rows, expected.size
    digest = hashlib.sha256()
    kinds: Counter[str] = Counter()
    # The hash of each line, by number: that takes less memory than by custom_id. Python's own hash
    # will do, because both lines are read by this process.
    seen: dict[str | int, int] = {}
    places = array("q")
    ends_whole = True
    offset = 0
    puzzle = 0  # of all results that are not understood, in whatever order they came
    strange = ""
    for index, line in enumerate(lines):
        digest.update(line)
        begin, offset = offset, offset + len(line)
        ends_whole = line.endswith(b"\n")
        text = line.strip()
        if index % BETWEEN == 0:
            between()
        if not text:
            continue
        found = result_of(line)
        custom_id, result = found.custom_id, found.result
        number = planned.get(custom_id) if planned is not None else None
        name = custom_id if number is None else number
        if (before := seen.get(name)) is not None:
            if before != hash(text):
                raise Incomplete(f"two different results for {custom_id}")
        elif planned is None or number is not None:
            if len(seen) == size:  # of a batch that was made elsewhere
                raise Incomplete(f"more than {size:,} results arrived")
            seen[name] = hash(text)
            kinds[result.type] += 1
            if number is not None:
                places.append(number << _OFFSET_BITS | begin)
            if not is_understood(result):
                # The same in another process, at the next look.
                puzzle ^= int.from_bytes(hashlib.blake2b(text, digest_size=8).digest())
        else:
            strange = strange or custom_id
    if strange:
        what = f"a result for {strange[:64]}, which we did not send"
        raise Incomplete(what, FOREIGN if expected.recovered and not seen else "")
    if len(seen) != size:
        raise Incomplete(f"{len(seen):,} of {size:,} results arrived")
    doubt = f"puzzle {puzzle:016x}" if puzzle else ""
    if not ends_whole:
        doubt = f"{OPEN} {doubt}".strip()
    return Proof(digest.hexdigest(), kinds, doubt, places)


def contradiction(counts: dict[str, int], kinds: Counter[str]) -> str:
    """In which way results of these kinds are not what the provider counts, in words."""
    # Results of a kind that is new to us count as any kind for the provider.
    new_kinds = sum(count for kind, count in kinds.items() if kind not in KINDS)
    for kind in KINDS:
        if not 0 <= counts[kind] - kinds[kind] <= new_kinds:
            return f"{kinds[kind]:,} rows are {kind}, the provider counts {counts[kind]:,}"
    return ""


def require_counts(proof: Proof, counts: dict[str, int]) -> None:
    """Raises Incomplete when the provider counts other results than arrived."""
    if what := contradiction(counts, proof.kinds):
        raise Incomplete(what)


def require_understood(proof: Proof, doubt: str, doubts: int) -> None:
    """Raises Incomplete when some results are not understood, or the last line has no end, until
    looks in a row agree on that: `doubts` looks came to `doubt` before."""
    if proof.doubt and (doubt != proof.doubt or doubts < TRIES - 1):
        is_open = proof.doubt.startswith(OPEN)
        what = "the last line is cut off" if is_open else "some results are of an unknown kind"
        raise Incomplete(what, proof.doubt)


def find_usable(
    lines: Iterable[bytes], expected: Expected, between: Callable[[], object]
) -> set[str]:
    """The custom_ids of the results that can be used of incomplete ones: those that were expected
    and do not contradict each other."""
    planned, size = expected.rows, expected.size
    found: dict[str, int] = {}
    contradicting = set()
    for line in lines:
        try:
            custom_id = result_of(line).custom_id
        except Incomplete:
            continue
        if planned is not None and custom_id not in planned:
            continue
        if custom_id not in found and len(found) == size:
            break  # more results than requests
        fingerprint = hash(line.strip())
        if found.setdefault(custom_id, fingerprint) != fingerprint:
            contradicting.add(custom_id)
        between()
    return found.keys() - contradicting


def result_of(line: bytes) -> ResultLine:
    try:
        return read_line(line)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Incomplete("a line is cut off or not JSON") from error
