"""Which rows of a table are sent: those that fit a filter, and of these a random sample. Pure.

Blanks around a value and capitals make no difference. A sample is repeatable: the same rows and the
same seed give the same sample, whoever draws it and however often.
"""

from __future__ import annotations

import hashlib
import re
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

IS, IS_NOT, CONTAINS, EMPTY, NOT_EMPTY = "is", "is_not", "contains", "empty", "not_empty"
OPERATORS = {
    IS: "is",
    IS_NOT: "is not",
    CONTAINS: "contains",
    EMPTY: "is empty",
    NOT_EMPTY: "is not empty",
}
MOST_CONDITIONS = 20
MOST_VALUES = 1_000  # different values of a column whose shares are kept
LONGEST_VALUE = 1_000  # characters of a condition
MOST_SEED = 2**31
_WRITTEN = re.compile(r"!=|=|~")
_EQUALS = re.compile(r"(?<=!)=")
_NUMBER_BITS = 32  # of a sort key, for the number of its row


@dataclass(frozen=True)
class Condition:
    """What the cell of one column must be like."""

    column: str
    operator: str  # of OPERATORS
    value: str = ""

    @property
    def in_words(self) -> str:
        """ "status is “open”" """
        words = f"{self.column} {OPERATORS[self.operator]}"
        return words if self.operator in (EMPTY, NOT_EMPTY) else f"{words} “{self.value}”"


@dataclass(frozen=True)
class RowChoice:
    """The rows to send: all that fit every condition, and of these `sample` random ones."""

    where: tuple[Condition, ...] = ()
    sample: int = 0  # 0: all
    by: str = ""  # the column each of whose values has its share in the sample
    seed: int = 0

    @property
    def is_all(self) -> bool:
        return not (self.where or self.sample)

    @property
    def columns(self) -> list[str]:
        """The columns that it looks at."""
        by = [self.by] if self.sample and self.by else []
        return list(dict.fromkeys([*(one.column for one in self.where), *by]))


class NotUnderstood(ValueError):
    """A condition is not written as it must be; the message says how."""


def read_condition(text: str, columns: Sequence[str]) -> Condition:
    """A condition as people write it: `COLUMN=VALUE`, `COLUMN!=VALUE`, `COLUMN~PART`, `COLUMN=`
    (empty) or `COLUMN!=` (not empty). A sign that belongs to the name of a column is taken for
    that. Raises NotUnderstood."""
    found = list(_WRITTEN.finditer(text))
    # The "=" of "!=" alone, too: a name may end in "!".
    signs = [*found, *_EQUALS.finditer(text)]
    named = [one for one in signs if text[: one.start()].strip() in columns]
    if len(names := {text[: one.start()].strip() for one in named}) > 1:
        both = " or ".join(f"“{name}”" for name in sorted(names))
        raise NotUnderstood(
            f"“{text}” can be about the column {both}. Choose the rows on the page."
        )
    if not named:
        if found:
            raise NotUnderstood(no_column(text[: found[0].start()].strip(), columns))
        raise NotUnderstood(
            f"“{text}” is not a condition. Write COLUMN=VALUE, COLUMN!=VALUE or COLUMN~PART."
        )
    sign = named[0]
    column, value = text[: sign.start()].strip(), text[sign.end() :].strip()
    if sign[0] == "~":
        if not value:
            raise NotUnderstood(f"“{text}” does not say what the cell contains.")
        return Condition(column, CONTAINS, value)
    if sign[0] == "=":
        return Condition(column, IS, value) if value else Condition(column, EMPTY)
    return Condition(column, IS_NOT, value) if value else Condition(column, NOT_EMPTY)


def no_column(name: str, columns: Sequence[str]) -> str:
    """A sentence about a column that a choice of rows names and the file does not have."""
    known = ", ".join(columns[:20])
    return f"Your file has no column “{name[:100]}” to choose rows by. Its columns: {known}."


def choice_problems(choice: RowChoice, columns: Sequence[str]) -> list[str]:
    """Why rows of a file with `columns` cannot be chosen like this, as sentences."""
    return [no_column(name, columns) for name in choice.columns if name not in columns]


def choice_in_words(choice: RowChoice) -> str:
    """ "Only rows where status is “open” and summary is empty. A random sample of 500 of them." """
    parts = []
    if choice.where:
        conditions = " and ".join(one.in_words for one in choice.where)
        parts.append(f"Only rows where {conditions}.")
    if choice.sample:
        of = " of them" if choice.where else ""
        share = f", with a share of each “{choice.by}”" if choice.by else ""
        rows = "1 row" if choice.sample == 1 else f"{choice.sample:,} rows"
        parts.append(f"A random sample of {rows}{of}{share}.")
    return " ".join(parts)


# --- Filter ---------------------------------------------------------------------------------------


def plain_value(cell: str) -> str:
    """Equal for cells that count as the same value."""
    return cell.strip().casefold()


class RowFilter:
    """The conditions of a choice, for the cells of one row after another."""

    def __init__(self, choice: RowChoice, columns: Sequence[str]) -> None:
        """Without `choice_problems`."""
        places = {name: place for place, name in enumerate(columns)}
        self._tests = [
            (places[one.column], one.operator, plain_value(one.value)) for one in choice.where
        ]
        self._by = places[choice.by] if choice.sample and choice.by else None

    def fits(self, cells: Sequence[str]) -> bool:
        return all(
            _holds(operator, plain_value(cells[place]), value)
            for place, operator, value in self._tests
        )

    def value_of(self, cells: Sequence[str]) -> str:
        """The value whose share in the sample a row belongs to."""
        return "" if self._by is None else plain_value(cells[self._by])


def _holds(operator: str, cell: str, value: str) -> bool:
    match operator:
        case "is":
            return cell == value
        case "is_not":
            return cell != value
        case "contains":
            return value in cell
        case "empty":
            return not cell
        case "not_empty":
            return bool(cell)
        case _:
            raise ValueError(f"no such operator: {operator}")


# --- Sample ---------------------------------------------------------------------------------------


class TooManyValues(ValueError):
    """The column whose values are to have their share has more than MOST_VALUES of them."""


@dataclass
class Lots:
    """Rows among which a sample is drawn: a random key of each, by the value that it belongs to."""

    seed: int
    keys: dict[str, array[int]] = field(default_factory=dict)

    def add(self, number: int, value: str) -> None:
        """Raises TooManyValues."""
        if value not in self.keys:
            if len(self.keys) >= MOST_VALUES:
                raise TooManyValues
            self.keys[value] = array("Q")
        self.keys[value].append(lot_of(self.seed, number))

    @property
    def rows(self) -> int:
        return sum(map(len, self.keys.values()))

    def draw(self, count: int) -> Sample:
        """A sample of `count` rows, or of all if there are fewer."""
        sizes = {value: len(keys) for value, keys in self.keys.items()}
        last: dict[str, int] = {}
        for value, wanted in shares_of(sizes, count).items():
            if wanted:
                last[value] = sorted(self.keys[value])[wanted - 1]
        return Sample(self.seed, last)


@dataclass(frozen=True)
class Sample:
    """A sample that was drawn. `last`: by value, the greatest key of its rows."""

    seed: int
    last: Mapping[str, int]

    def includes(self, number: int, value: str) -> bool:
        return lot_of(self.seed, number) <= self.last.get(value, -1)


def lot_of(seed: int, number: int) -> int:
    """A key of 64 bits by which a row takes its place in a random order: no two rows share one."""
    text = f"{seed}:{number}".encode()
    random_bits = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest())
    return (random_bits >> _NUMBER_BITS) << _NUMBER_BITS | number


def shares_of(sizes: Mapping[str, int], count: int) -> dict[str, int]:
    """How many of `count` rows each value gets, in proportion to how often it occurs: at least one
    if there are enough, and never more than it has. They add up to `count`, or to all rows."""
    total = sum(sizes.values())
    count = min(count, total)
    if not count:
        return dict.fromkeys(sizes, 0)
    least = 1 if count >= len(sizes) else 0
    exact = {value: count * size / total for value, size in sizes.items()}
    found = {value: max(int(share), least) for value, share in exact.items()}
    # Who lacks most gets a row more, who has most too many one less; ties by value, so that the
    # order of the file does not matter.
    while missing := count - sum(found.values()):
        step = 1 if missing > 0 else -1

        def gap(value: str, step: int = step) -> tuple[float, str]:
            return step * (found[value] - exact[value]), value

        able = [value for value in found if least <= found[value] + step <= sizes[value]]
        for value in sorted(able, key=gap)[: abs(missing)]:
            found[value] += step
    return found


def draw_numbers(numbers: Iterable[tuple[int, str]], count: int, seed: int) -> list[int]:
    """`count` of these rows (number, value) at random, with a share of each value, in order. Raises
    TooManyValues."""
    lots = Lots(seed)
    known = array("Q")
    values: list[str] = []
    places: dict[str, int] = {}
    of = array("I")
    for number, value in numbers:
        lots.add(number, value)
        known.append(number)
        if value not in places:
            places[value] = len(values)
            values.append(value)
        of.append(places[value])
    sample = lots.draw(count)
    return [
        number
        for number, place in zip(known, of, strict=True)
        if sample.includes(number, values[place])
    ]
