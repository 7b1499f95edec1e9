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
        self._numbers = frozenset(numbers)

    def __getitem__(self, custom_id: str) -> int:
        number = self.get(custom_id)
        if number is None:
            raise KeyError(custom_id)
        return number

    def get(self, custom_id: str, default: int | None = None) -> int | None:  # type: ignore[override]
        """As of a dict; written here because the one of Mapping takes three times as long."""
        nonce, _, digits = custom_id.rpartition("-")
        if nonce != self._nonce or len(digits) > DIGITS + 3 or not digits.isdecimal():
            return default
        number = int(digits)
        # There is one way to write it.
        is_ours = number in self._numbers and own_id(nonce, number) == custom_id
        return number if is_ours else default

    def __contains__(self, custom_id: object) -> bool:
        return isinstance(custom_id, str) and self.get(custom_id) is not None

    def __iter__(self) -> Iterator[str]:
        return (own_id(self._nonce, number) for number in self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)
