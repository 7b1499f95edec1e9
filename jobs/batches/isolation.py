"""Loops in which one item that fails does not stop the others."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from .leases import LeaseLost

logger = logging.getLogger(__name__)


@contextmanager
def isolated(what: str) -> Iterator[None]:
    """One item of a loop, named by `what` in the log. If it fails, its error is logged and the next
    item gets its turn. Raises LeaseLost: another worker has the job by then."""
    try:
        yield
    except LeaseLost:
        raise
    except Exception as error:
        logger.exception("%s failed: %s", what, type(error).__name__)
