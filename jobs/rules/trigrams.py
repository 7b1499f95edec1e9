"""Which texts may hold a piece of text, told by the runs of three characters in them.

Texts come in parts of some thousand. A part is stored as the runs in it, each with the texts that
hold it. A piece can only be in a text that holds all runs of the piece. Whether it is in there has
to be looked up: the runs may be there in another place.

Runs are stored as hashes, so no text can be read from a part. Two runs with the same hash only make
texts likelier to be looked into.
"""

from __future__ import annotations

import zlib
from array import array
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable
from itertools import chain

LENGTH = 3  # of a run: a shorter piece may be in any text
_MARK = 0x54524701  # increase it when the layout changes; it differs on the other byte order
_HEAD = 8
_KEYS = 1 << 16
# A set of texts is stored as their places while they are few, then as packed bits.
_PLACES, _BITS = b"\0", b"\1"
_FEW = 100
_SINGLE = 30  # up to here, bits are set one by one


class Unreadable(Exception):
    """It is no part, or of another version."""


def fold(text: str) -> str:
    """Texts that differ in capitals only are the same. Each character is folded by itself, so what
    is in a text stays in it."""
    return text.upper()


def keys_of(piece: str) -> set[int]:
    """The hashes of the runs in a folded piece."""
    return {_key(run) for run in _runs(piece)}


def _runs(piece: str) -> set[str]:
    return {piece[at : at + LENGTH] for at in range(len(piece) - LENGTH + 1)}


def _key(run: str) -> int:
    return zlib.crc32(run.encode("utf-8", "surrogatepass")) % _KEYS


class _Keys(dict[str, int]):
    """The key of each run that was met."""

    def __missing__(self, run: str) -> int:
        self[run] = key = _key(run)
        return key


class Part:
    """Texts to be stored, in order."""

    def __init__(self) -> None:
        self.size = 0
        # Texts repeat words, so it is quicker to look for runs in each word once. `_joints` are the
        # characters on both sides of a space.
        self._words: defaultdict[str, list[int]] = defaultdict(list)
        self._joints: defaultdict[tuple[str, str], list[int]] = defaultdict(list)

    def add(self, text: str) -> None:
        folded = fold(text).split(" ")
        place, self.size = self.size, self.size + 1
        words, joints = self._words, self._joints
        for word in set(folded):
            words[word].append(place)
        ends = [word[-1:] or " " for word in folded]
        begins = [word[:1] or " " for word in folded]
        for joint in set(zip(ends, begins[1:], strict=False)):
            joints[joint].append(place)

    def pack(self) -> bytes:
        """As may_hold takes it. Nothing can be added then."""
        many, few = self._sets()
        keys, ends, packed = sorted({*many, *few}), array("I", [0]), []
        for key in keys:
            packed.append(_pack(many.pop(key, 0), few.pop(key, ()), self.size))
            ends.append(ends[-1] + len(packed[-1]))
        head = array("I", [_MARK, len(keys)]).tobytes()
        return b"".join([head, ends.tobytes(), array("H", keys).tobytes(), *packed])

    def _sets(self) -> tuple[dict[int, int], dict[int, array[int]]]:
        """The texts of each key, from frequent words as bits, and from rare ones as places."""
        many: defaultdict[int, int] = defaultdict(int)
        few: defaultdict[int, array[int]] = defaultdict(lambda: array("H"))
        keys = _Keys()
        joints = ((f"{end} {begin}", places) for (end, begin), places in self._joints.items())
        words = ((f" {word} ", places) for word, places in self._words.items())
        for piece, places in chain(words, joints):
            if len(places) < _FEW:
                for run in _runs(piece):
                    few[keys[run]].extend(places)
            else:
                bits = _bits_of(places, self.size)
                for run in _runs(piece):
                    many[keys[run]] |= bits
        self._words.clear()
        self._joints.clear()
        return many, few


def _bits_of(places: Collection[int], size: int) -> int:
    if len(places) < _SINGLE:
        bits = 0
        for place in places:
            bits |= 1 << place
        return bits
    digits = bytearray(b"0") * size
    for place in places:
        digits[size - 1 - place] = 49
    return int(digits, 2)


def digits_of(bits: int, size: int) -> bytes:
    """A "1" or a "0" for each place, the lowest bit first."""
    return f"{bits:0{size}b}".encode()[::-1]


def _pack(bits: int, places: Collection[int], size: int) -> bytes:
    """The texts of `bits` with those at `places`."""
    if not bits and len(places) < _FEW:
        return _PLACES + array("H", places).tobytes()
    bits |= _bits_of(places, size)
    return _BITS + zlib.compress(bits.to_bytes(size // 8 + 1, "little"), 1)


def may_hold(packed: memoryview, size: int, pieces: Iterable[Collection[int]]) -> int:
    """Which of the `size` texts of a part may hold one of the pieces, each as its keys. Raises
    Unreadable."""
    try:
        mark, count = packed[:_HEAD].cast("I")
        if mark != _MARK:
            raise Unreadable
        keys_at = _HEAD + 4 * (count + 1)
        sets_at = keys_at + 2 * count
        ends, keys = packed[_HEAD:keys_at].cast("I"), packed[keys_at:sets_at].cast("H")
        found = 0
        for piece in pieces:
            held = (1 << size) - 1
            for key in piece:
                at = bisect_left(keys, key)
                if at == count or keys[at] != key:
                    held = 0
                    break
                held &= _unpack(packed[sets_at + ends[at] : sets_at + ends[at + 1]])
                if not held:
                    break
            found |= held
    except (ValueError, TypeError, IndexError, zlib.error) as error:
        raise Unreadable from error
    return found


def _unpack(packed: memoryview) -> int:
    if packed[:1] == _PLACES:
        bits = 0
        for place in array("H", bytes(packed[1:])):
            bits |= 1 << place
        return bits
    return int.from_bytes(zlib.decompress(packed[1:]), "little")
