"""Readers of typed JSON, made when a module is imported.

msgspec works out how to read a type when the type is first used, and two threads that do this at
the same time crash the process. So no function converts or decodes to a type of its own: a module
makes its readers with `reader_of`, or its decoders with `msgspec.json.Decoder`, at the top level.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import msgspec

T = TypeVar("T")


def reader_of(kind: type[T], **renamed: str) -> Callable[[object], T]:
    """A function that turns the values of a JSON column into a `kind`. `renamed`: the names that
    older versions stored, each with the present one. The function raises msgspec.ValidationError
    when they do not fit."""
    msgspec.json.Decoder(kind)  # works out all that msgspec needs to know of the type
    read = partial(msgspec.convert, type=kind, str_keys=True)
    return partial(_read_renamed, read, renamed) if renamed else read


def _read_renamed(read: Callable[[object], T], renamed: dict[str, str], stored: object) -> T:
    if isinstance(stored, dict):
        stored = {renamed.get(name, name): value for name, value in stored.items()}
    return read(stored)
