"""What a line of the log is about: a request, a person, a job, a batch. Numbers and ids only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

_NOTHING: Mapping[str, int | str] = MappingProxyType({})
_fields: ContextVar[Mapping[str, int | str]] = ContextVar("log_fields", default=_NOTHING)


@contextmanager
def about(**fields: int | str) -> Iterator[None]:
    """What is logged meanwhile, by this thread, is about these too."""
    token = _fields.set({**_fields.get(), **fields})
    try:
        yield
    finally:
        _fields.reset(token)


def add(**fields: int | str) -> None:
    """From here on, until the end of the `about` around it."""
    _fields.set({**_fields.get(), **fields})


def current() -> Mapping[str, int | str]:
    return _fields.get()
