"""Files of results: how large one can be for what was asked, and reading it line by line.

What the provider, or a proxy, sends is bounded before it fills the disk or the memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO

from django.db.models import Q

from ..models import Batch, Job, Row, files
from ..provider import client, errors
from ..rules.recipes import Recipe
from ..rules.result_proof import UNCLEAR, Incomplete
from .leases import Lease

# Bytes that arrive between two looks at the free disk.
ROOM_CHECKED_EVERY = 8_000_000
# A slow line gets more time after each failure: the pace that is asked for is halved so often.
MOST_HALVINGS = 5


def max_answer_bytes(batch: Batch, recipe: Recipe) -> int:
    """Bytes that the results of `batch` have at most, by the lengths that were asked for, with room
    for one result of any length: what was paid for is not given up for a bound that is too tight.

    An answer may hold what it did not have to write itself: documents that it cites, and what the
    provider's tools found. Such rows, and those of a batch that was made elsewhere, may be as long
    as any result.
    """
    job, any_one = batch.job, client.RESULT_BYTES
    if batch.is_external:
        return any_one + batch.size * any_one
    if job.kind == Job.Kind.TABLE:
        return any_one + batch.size * client.max_answer_bytes(recipe.longest)
    models = job.reading.models.values()
    longest = max((model.get("max_tokens_most", 300_000) for model in models), default=300_000)
    longest = max(longest, recipe.max_tokens)
    quoting = Q(source__contains='"tools"') | Q(source__contains='"citations"')
    quoting |= Q(source__contains='"mcp_servers"')
    long = Row.objects.filter(quoting, batch=batch).count()
    return (1 + long) * any_one + (batch.size - long) * client.max_answer_bytes(longest)


def receive(batch: Batch, recipe: Recipe, path: Path, lease: Lease) -> Path:
    """Fetch the results of an ended batch into a new file at `path`, which is returned.

    Raises Incomplete when not all can have arrived, ProviderError, LeaseLost, and OSError when the
    disk is full.
    """
    assert batch.provider_id  # noqa: S101 - a database constraint
    with path.open("wb") as file:
        try:
            download(batch.provider_id, batch, recipe, file, lease, batch.collect_failures)
        except errors.TooLong as error:
            raise Incomplete(
                f"more than the {file.tell():,} bytes arrived that {batch.size:,} answers can have"
            ) from error
        except errors.Unclear as error:
            if not file.tell():
                raise
            what = f"the connection broke off after {file.tell():,} bytes"
            raise Incomplete(what, UNCLEAR) from error
        except OSError:
            path.unlink()  # the room is needed
            raise
    return path


def download(
    provider_id: str,
    batch: Batch,
    recipe: Recipe,
    file: IO[bytes],
    lease: Lease | None = None,
    failures: int = 0,
) -> None:
    """Write the results of the provider's batch `provider_id` to `file`: those of `batch`, which
    was sent with `recipe`, or of one like it. `failures`: how often that failed before.

    Raises ProviderError, LeaseLost, and OSError when the disk is full.
    """
    pace = client.PACE >> min(failures, MOST_HALVINGS)
    checked = 0
    for block in client.result_blocks(provider_id, max_answer_bytes(batch, recipe), pace):
        file.write(block)
        if (arrived := file.tell()) >= checked + ROOM_CHECKED_EVERY:
            checked = arrived
            files.require_room(files.scratch(), 0)
        if lease:
            lease.renew()


def lines(file: IO[bytes]) -> Iterator[bytes]:
    """The lines of a file of results. One that is longer than any result comes in parts, of which
    none can be read as a result."""
    return iter(partial(file.readline, client.RESULT_BYTES), b"")
