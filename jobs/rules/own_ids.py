"""The custom_ids of a batch of ours: `<nonce of the batch>-<number of the row>`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

DIGITS = 7  # of a row's number, at least


def own_id(nonce: str, number: int) -> str:
    return f"{nonce}-{number:0{DIGITS}d}"


class OwnIds(Mapping[str, int]):
    """The number of the row of each custom_id of a batch. Its texts are made when they are needed:
    a batch has up to 99,000 of them."""

    def __init__(self, nonce: str, numbers: Iterable[int]) -> None:
        self._nonce = nonce
        self._begin = f"{nonce}-"
        self._length = len(self._begin)
        self._numbers = frozenset(numbers)

    def __getitem__(self, custom_id: str) -> int:
        number = self.get(custom_id)
        if number is None:
            raise KeyError(custom_id)
        return number

    def get(self, custom_id: str, default: int | None = None) -> int | None:  # type: ignore[override]
        """As of a dict; written here because the one of Mapping takes three times as long."""
        if not custom_id.startswith(self._begin):
            return default
        digits = custom_id[self._length :]
        # There is one way to write it, as own_id does: a longer one has no leading zero.
        size = len(digits)
        if size != DIGITS and (size < DIGITS or size > DIGITS + 3 or digits[0] == "0"):
            return default
        if not (digits.isdecimal() and digits.isascii()):
            return default
        number = int(digits)
        return number if number in self._numbers else default

    def __contains__(self, custom_id: object) -> bool:
        return isinstance(custom_id, str) and self.get(custom_id) is not None

    def __iter__(self) -> Iterator[str]:
        return (own_id(self._nonce, number) for number in self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)
