"""What was sent for each row of a batch, by its body as planning wrote it. Pure."""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left
from collections.abc import Iterable

from .row_contents import RequestKey, request_key

KEY_BYTES = 16
_PARAMS = b'","params":'


class SentKeys:
    """The request_key of each row of a table; 24 bytes a row, because there may be 100,000."""

    def __init__(self, lines: Iterable[bytes], nonce: str, sha256: str) -> None:
        """`lines` of a body, with a request on each. Knows no row when the body is not the one with
        this `sha256`, or belongs to another batch."""
        self._numbers, self._keys = array("q"), bytearray()
        numbers, keys, digest = array("q"), bytearray(), hashlib.sha256()
        begin = b'{"custom_id":"%b-' % nonce.encode()
        for line in lines:
            digest.update(line)
            number, _, rest = line[len(begin) :].partition(_PARAMS)
            if line.startswith(begin) and number.isdigit():
                numbers.append(int(number))  # in order, as the rows are
                keys += request_key(rest.rstrip(b",\n").removesuffix(b"}"))
        if digest.hexdigest() == sha256:
            self._numbers, self._keys = numbers, keys

    def get(self, number: int) -> RequestKey | None:
        """None for a row of which it is not known."""
        place = bisect_left(self._numbers, number)
        if place == len(self._numbers) or self._numbers[place] != number:
            return None
        return bytes(self._keys[place * KEY_BYTES : (place + 1) * KEY_BYTES])
