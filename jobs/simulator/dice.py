"""Numbers that look random and are always the same for the same seed."""

import hashlib
from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")

# A step of Knuth's MMIX generator: plenty for choosing sentences and failures, and quick.
_FACTOR = 6364136223846793005
_STEP = 1442695040888963407
_MASK = (1 << 64) - 1


def digest(*seed: str) -> bytes:
    """Sixteen bytes that stand for these texts."""
    joined = "\x1f".join(seed).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(joined, digest_size=16).digest()


class Dice:
    """A row of throws that depends on nothing but its seed."""

    __slots__ = ("_state", "seed")

    def __init__(self, *seed: str) -> None:
        self.seed = digest(*seed)
        self._state = int.from_bytes(self.seed[:8], "big")

    def number(self, below: int) -> int:
        """A whole number from 0 up to, but not including, `below`."""
        self._state = (self._state * _FACTOR + _STEP) & _MASK
        return (self._state >> 24) % below

    def share(self) -> float:
        """A fraction from 0 up to, but not including, 1."""
        return self.number(1 << 32) / (1 << 32)

    def pick(self, items: Sequence[Item]) -> Item:
        """One of the items."""
        return items[self.number(len(items))]
