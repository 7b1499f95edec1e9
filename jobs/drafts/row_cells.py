"""The cells of many rows of a table, slice by slice."""

from __future__ import annotations

from collections.abc import Iterator

from ..batches.leases import Lease
from ..models import RowQuerySet
from ..rules.row_contents import read_cells

SLICE = 2_000  # rows read at a time


def cell_slices(rows: RowQuerySet, lease: Lease | None) -> Iterator[list[tuple[int, list[str]]]]:
    """Number and cells of `rows`, in order. Raises LeaseLost."""
    for some in rows.value_slices(SLICE, "source"):
        if lease:
            lease.renew()
        yield [(number, read_cells(source)) for number, source in some]
