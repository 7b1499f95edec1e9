"""What was sent for each row of a batch, by its body as planning wrote it. Pure."""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator

from .row_contents import RequestKey, request_key

KEY_BYTES = 16
_PARAMS = b'","params":'
# What ends a request in a body: the comma before the next one, or the end of the whole.
_ENDS = (b"},\n", b"}\n]}")
KeyOf = Callable[[bytes], RequestKey | None]


class SentKeys:
    """The key of each row's request; 24 bytes a row, because there may be 100,000."""

    def __init__(
        self, lines: Iterable[bytes], nonce: str, sha256: str, key_of: KeyOf = request_key
    ) -> None:
        """`lines` of a body. Knows no row when the body is not the one with this `sha256`, or
        belongs to another batch. `key_of`: what tells requests apart, None for one without a
        key."""
        self._numbers, self._keys = array("q"), bytearray()
        numbers, keys, digest = array("q"), bytearray(), hashlib.sha256()
        for number, params in _requests_in(lines, nonce, digest.update):
            if key := key_of(params):
                numbers.append(number)  # in order, as the rows are
                keys += key
        if digest.hexdigest() == sha256:
            self._numbers, self._keys = numbers, keys

    def get(self, number: int) -> RequestKey | None:
        """None for a row of which it is not known."""
        numbers = self._numbers
        # Most batches have every row from their first to their last.
        place = number - numbers[0] if numbers else 0
        if not 0 <= place < len(numbers) or numbers[place] != number:
            place = bisect_left(numbers, number)
        if place == len(numbers) or numbers[place] != number:
            return None
        return bytes(self._keys[place * KEY_BYTES : (place + 1) * KEY_BYTES])


def _requests_in(
    lines: Iterable[bytes], nonce: str, note: Callable[[bytes], None]
) -> Iterator[tuple[int, bytes]]:
    """The number of each row and its `params`. A ready-made request may be on several lines; all
    lines go to `note`."""
    begin = b'{"custom_id":"%b-' % nonce.encode()
    held: list[bytes] = []  # the lines of a request, so far
    for line in lines:
        note(line)
        if line.startswith(begin):
            yield from _split(held, begin)
            held = [line]
        elif held:
            held.append(line)
    yield from _split(held, begin)


def _split(lines: list[bytes], begin: bytes) -> Iterator[tuple[int, bytes]]:
    request = lines[0] if len(lines) == 1 else b"".join(lines)
    number, _, rest = request[len(begin) :].partition(_PARAMS)
    for end in _ENDS:
        if number.isdigit() and rest.endswith(end):
            yield int(number), rest[: -len(end)]
