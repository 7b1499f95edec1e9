"""The results of a batch that was made elsewhere: which row of the job each belongs to.

Its custom_ids are not ours, so they are looked for in what came with it: in the requests that were
sent, in a column of a table, or as the numbers of its rows. Without a file the results are the
rows, in the order in which they came. Everything here is found again from the rows and the results,
so nothing of it is stored but the way that holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from ..models import Batch, Job, Row
from ..rules.result_lines import read_line
from ..rules.row_contents import read_cells
from . import result_files
from .leases import Lease

SLICE = 2_000  # rows read at a time
WAYS_KEPT = 20
COLUMN, NUMBER = "column:", "number:"
WHICH = "It is not certain which row of the file each result belongs to. Say where their ids are."
NO_RESULT = "The imported batch has no result for this row."

_NUMBERED = re.compile(r"(.*?)([0-9]{1,9})\Z")


class Undecided(Exception):
    """Nobody has said yet where the ids are, and it cannot be told for certain."""


def ids_of(path: Path, lease: Lease | None = None) -> list[str]:
    """The custom_ids in a file of results, each once, in its order; lines that cannot be read are
    left out. Raises LeaseLost."""
    found: dict[str, None] = {}
    with path.open("rb") as file:
        for line in result_files.lines(file):
            if line.strip() and (custom_id := id_in(line)) is not None:
                found[custom_id] = None
            if lease:
                lease.renew()
    return list(found)


def id_in(line: bytes) -> str | None:
    """The custom_id of a line of results; None when it cannot be read."""
    try:
        return read_line(line).custom_id
    except (msgspec.DecodeError, RecursionError):
        return None


def numbers(job: Job, ids: list[str], lease: Lease | None = None) -> dict[str, int]:
    """The number of the row that each of `ids` belongs to; without those that belong to none. No
    row has two. Raises Undecided, LeaseLost."""
    if not job.upload_bytes:
        return {custom_id: number for number, custom_id in enumerate(ids, start=1)}
    if job.kind == Job.Kind.REQUESTS:
        return _first_rows(ids, _ids_of_requests(job, lease))
    name = job.ids_are.removeprefix(COLUMN)
    if job.ids_are.startswith(COLUMN) and name in job.columns:
        place = job.columns.index(name)
        cells = ((number, row[place]) for number, row in _tables(job, lease) if place < len(row))
        return _first_rows(ids, cells)
    if job.ids_are in (f"{NUMBER}0", f"{NUMBER}1"):
        return _by_number(ids, int(job.ids_are[-1]), job.row_count)
    raise Undecided


def is_open(job: Job) -> bool:
    """A person has been asked where the ids are, and has not said it."""
    return bool(job.ids_may_be) and not is_known(job, job.ids_are)


def is_known(job: Job, way: str) -> bool:
    """Whether `way` is one in which the ids can be found in the table of `job`."""
    if way.startswith(COLUMN):
        return way.removeprefix(COLUMN) in job.columns
    return way in (f"{NUMBER}0", f"{NUMBER}1")


def decide(job: Job, ids: list[str], lease: Lease) -> None:
    """Find out where the ids of a table are, when there is only one answer that fits all results.
    Raises Undecided when there is not, LeaseLost."""
    if not job.upload_bytes or job.kind != Job.Kind.TABLE or is_known(job, job.ids_are):
        return
    found = _all_ways(job, ids, lease)
    ways = sorted(found, key=lambda way: -len(found[way]))
    job.ids_may_be = [(way, len(found[way])) for way in ways[:WAYS_KEPT]]
    whole = [way for way in ways if len(found[way]) == len(ids)]
    # Several are as good as one when they say the same of every result.
    if whole and all(found[way] == found[whole[0]] for way in whole):
        job.ids_are = whole[0]
    Job.objects.filter(pk=job.pk).update(ids_are=job.ids_are, ids_may_be=job.ids_may_be)
    if not is_known(job, job.ids_are):
        raise Undecided


def in_words(way: str) -> str:
    """Where the ids are, for a sentence."""
    if way.startswith(COLUMN):
        return f"the column “{way.removeprefix(COLUMN)}”"
    return f"the numbers of the rows, from {way.removeprefix(NUMBER)} on"


def _all_ways(job: Job, ids: list[str], lease: Lease) -> dict[str, dict[str, int]]:
    """Every way in which ids can be found in the table, each with the rows that it gives them; the
    columns first."""
    wanted = set(ids)
    by_column: list[dict[str, int]] = [{} for _column in job.columns]
    for number, cells in _tables(job, lease):
        for found, cell in zip(by_column, cells, strict=False):
            if (custom_id := cell.strip()) in wanted:
                found.setdefault(custom_id, number)
    ways = {f"{COLUMN}{name}": found for name, found in zip(job.columns, by_column, strict=True)}
    for first in (1, 0):
        ways[f"{NUMBER}{first}"] = _by_number(ids, first, job.row_count)
    return ways


def _first_rows(ids: list[str], rows: Iterable[tuple[int, str]]) -> dict[str, int]:
    """For each of `ids` the first of `rows` (number and id) that has it."""
    wanted = set(ids)
    found: dict[str, int] = {}
    for number, text in rows:
        if (custom_id := text.strip()) in wanted:
            found.setdefault(custom_id, number)
    return found


def _by_number(ids: list[str], first: int, rows: int) -> dict[str, int]:
    """The rows that `ids` number, the first one being `first`: "12", or "row-12" if all begin so.
    {} when they are not numbers of rows."""
    found: dict[str, int] = {}
    prefixes = set()
    for custom_id in ids:
        parts = _NUMBERED.match(custom_id)
        if parts is None:
            return {}
        prefixes.add(parts[1])
        found[custom_id] = int(parts[2]) - first + 1
    if len(prefixes) > 1 or len(set(found.values())) < len(found):
        return {}
    return {custom_id: number for custom_id, number in found.items() if 1 <= number <= rows}


class _Id(msgspec.Struct):
    custom_id: Any = None


_id_decoder = msgspec.json.Decoder(_Id)


def _ids_of_requests(job: Job, lease: Lease | None) -> Iterator[tuple[int, str]]:
    for number, source in _sources(job, lease):
        custom_id = _id_decoder.decode(source).custom_id
        if isinstance(custom_id, str):
            yield number, custom_id


def _tables(job: Job, lease: Lease | None) -> Iterator[tuple[int, list[str]]]:
    for number, source in _sources(job, lease):
        yield number, read_cells(source)


def _sources(job: Job, lease: Lease | None) -> Iterator[tuple[int, str]]:
    """Number and source of every row."""
    for rows in Row.objects.filter(job=job).value_slices(SLICE, "source"):
        yield from rows
        if lease:
            lease.renew()


def external_batch_of(job: Job) -> Batch | None:
    """The batch of a job that was made elsewhere."""
    return job.batches.filter(is_external=True).first()
