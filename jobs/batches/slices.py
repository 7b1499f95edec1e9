"""Work on many rows in short transactions, one after another, so that nobody else has to wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import connection, transaction
from django.db.models import QuerySet

from .leases import Lease

SLICE = 2_000  # rows of one transaction
# SQLite gives nobody a turn: whoever waits for it looks every 0.1 s whether it is free. So all
# slices of this process pause for longer than that when they have held it for so long in all,
# unless something else has kept them from it for as long meanwhile.
HELD_SECONDS, PAUSE_SECONDS = 0.5, 0.12
_turn = threading.RLock()  # of the threads that change slices
_held = 0.0  # seconds since the last pause
_free_since = 0.0  # when a slice ended last


@contextmanager
def slice_transaction(lease: Lease | None) -> Iterator[None]:
    """One transaction of several in a row. After it, others who want to write get their turn.
    `lease`: nothing is changed once another worker has the job. None: its statements check
    that themselves. Raises LeaseLost."""
    if connection.vendor == "sqlite" and not connection.in_atomic_block:
        with _turn:
            yield from _hold_and_pause(lease)
    else:
        with transaction.atomic():
            if lease:
                lease.require()
            yield


def _hold_and_pause(lease: Lease | None) -> Iterator[None]:
    global _held, _free_since
    if time.monotonic() - _free_since > PAUSE_SECONDS:
        _held = 0.0
    with transaction.atomic():
        began = time.monotonic()  # from now on others wait
        if lease:
            lease.require()
        yield
    _free_since = time.monotonic()
    _held += _free_since - began
    if _held > HELD_SECONDS:
        _held = 0.0
        time.sleep(PAUSE_SECONDS)


def slices_of(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    """Row numbers in slices."""
    for begin in range(0, len(numbers), SLICE):
        yield numbers[begin : begin + SLICE]


def delete_rows(rows: QuerySet[Any], lease: Lease) -> None:
    """Delete what has a `number` in a job. Raises LeaseLost."""
    ordered = rows.order_by("number").values_list("number", flat=True)
    while numbers := list(ordered[:SLICE]):
        with slice_transaction(lease):
            rows.filter(number__lte=numbers[-1]).delete()
        lease.renew()
