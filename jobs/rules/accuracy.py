"""How often answers are right, and how sure that is. Pure, in constant memory.

What is computed is what scikit-learn computes from the same rows: accuracy, precision, recall, the
confusion matrix (a row for each right answer, a column for each answer) and Cohen's kappa.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from math import comb, sqrt

import msgspec

from .answer_formats import AnswerColumn, Value, as_cell
from .right_answers import GoldChoice, is_right, label_key, number_of, read_number

NORMAL = 1.96  # standard deviations around the mean that contain 95% of a normal distribution
CHANCE = 0.05  # a difference that chance brings about more often is none
MOST_LABELS = 250  # different labels that are told apart; the limit of a prompt is 200
MOST_LABELS_OF_TEXT = 30  # right answers in plain text that are counted as labels
LONGEST_LABEL = 100  # characters
# Stands for every label that is not told apart; nobody can write it, for it is no normal form.
OTHERS = "\0others"


class LabelAccuracy(msgspec.Struct, frozen=True):
    """One label."""

    label: str
    rows: int  # whose right answer it is
    answered: int  # rows that Claude answered with it
    correct: int

    @property
    def precision(self) -> float | None:
        """Of the rows that were answered with it, how many are right; None without such a row."""
        return self.correct / self.answered if self.answered else None

    @property
    def recall(self) -> float | None:
        """Of the rows whose right answer it is, how many were answered so."""
        return self.correct / self.rows if self.rows else None


class ColumnAccuracy(msgspec.Struct, frozen=True):
    """One column of the answers beside the right ones."""

    name: str  # PLAIN for an answer that is one text or label
    gold: str  # the column of the file; "" for right answers by hand
    kind: str  # as AnswerColumn.kind
    compared: int = 0
    correct: int = 0
    exact: int = 0  # equal to the letter
    unreadable: int = 0  # right answers that are no clear number, which are not compared
    unknown: int = 0  # right answers that are none of the labels: no answer can be right there
    mean_error: str = ""  # of numbers: the mean of how far they are off, a decimal
    labels: tuple[LabelAccuracy, ...] = ()  # in the order of `confusion`
    confusion: tuple[tuple[int, ...], ...] = ()  # right answer by answer
    kappa: float | None = None

    @property
    def accuracy(self) -> float | None:
        return self.correct / self.compared if self.compared else None

    @property
    def bounds(self) -> tuple[float, float]:
        return wilson_interval(self.correct, self.compared)

    @property
    def different(self) -> int:
        return self.compared - self.correct


class Accuracy(msgspec.Struct, frozen=True):
    """All columns. Rows without a good answer are in none of their numbers."""

    columns: tuple[ColumnAccuracy, ...] = ()
    rows: int = 0  # with a right answer, that were to be answered
    unanswered: int = 0  # of them: rows without a good answer
    different: int = 0  # rows in which a column differs


class ColumnCounter:
    """Counts one column, row by row."""

    def __init__(self, column: AnswerColumn, gold: str, choice: GoldChoice) -> None:
        self.column, self.gold, self.choice = column, gold, choice
        self.compared = self.correct = self.exact = self.unreadable = self.measured = 0
        self.error = Decimal(0)
        known = {"yes_no": ("yes", "no")}.get(column.kind, column.choices)
        self.is_label = column.kind in ("choice", "yes_no")
        self.known = {label_key(column, label, choice) for label in known}
        # How each label is written; the known ones come first, in their order.
        self.names: dict[str, str] = {label_key(column, label, choice): label for label in known}
        self.pairs: Counter[tuple[str, str]] = Counter()

    def add(self, gold: str, value: Value) -> bool | None:
        """Add a row; whether its answer is right, None when it is not compared."""
        right = is_right(self.column, gold, value, self.choice)
        if right is None:
            self.unreadable += bool(gold.strip())
            return None
        said = as_cell(value)
        self.compared += 1
        self.correct += right
        self.exact += gold == said
        if self.column.kind == "number":
            self._measure(gold, value)
        elif self.column.kind != "list":
            self.pairs[self._key(gold), self._key(said)] += 1
        return right

    def _measure(self, gold: str, value: Value) -> None:
        wanted, found = read_number(gold), number_of(value)
        if wanted is not None and found is not None:
            self.measured += 1
            self.error += abs(found - wanted)

    def _key(self, text: str) -> str:
        key = label_key(self.column, text, self.choice)
        if key in self.names:
            return key
        if len(self.names) >= MOST_LABELS or len(key) > LONGEST_LABEL:
            return OTHERS
        self.names[key] = text.strip()[:LONGEST_LABEL]
        return key

    def result(self) -> ColumnAccuracy:
        mean = self.error / self.measured if self.measured else None
        labels, confusion, kappa = self._labels() if self._counts_labels() else ((), (), None)
        wanted = Counter({gold: 0 for gold, _said in self.pairs})
        for (gold, _said), times in self.pairs.items():
            wanted[gold] += times
        return ColumnAccuracy(
            self.column.name,
            self.gold,
            self.column.kind,
            self.compared,
            self.correct,
            self.exact,
            self.unreadable,
            sum(wanted[key] for key in wanted if key not in self.known) if self.is_label else 0,
            "" if mean is None else format(mean.normalize(), "f"),
            labels,
            confusion,
            kappa,
        )

    def _counts_labels(self) -> bool:
        """Plain text is counted as labels when its right answers are a few words that recur."""
        if not self.pairs:
            return False
        wanted = {gold for gold, _said in self.pairs}
        few = len(wanted) <= MOST_LABELS_OF_TEXT and 2 * len(wanted) <= self.compared
        return self.is_label or (few and OTHERS not in wanted)

    def _labels(
        self,
    ) -> tuple[tuple[LabelAccuracy, ...], tuple[tuple[int, ...], ...], float | None]:
        met = {key for pair in self.pairs for key in pair}
        shown = [key for key in self.names if key in met or key in self.known]
        if not self.is_label:
            # Of plain text: the right answers; whatever else was answered is one column.
            wanted = {gold for gold, _said in self.pairs}
            shown = [key for key in shown if key in wanted]
        order = [*shown, *([OTHERS] if met - set(shown) else [])]
        place = {key: at for at, key in enumerate(order)}
        table = [[0] * len(order) for _ in order]
        for (gold, said), times in self.pairs.items():
            # Two that are not told apart are no match.
            table[place.get(gold, len(order) - 1)][place.get(said, len(order) - 1)] += times
        names = {**self.names, OTHERS: "(anything else)"}
        labels = [
            LabelAccuracy(
                names[key],
                sum(table[at]),
                sum(line[at] for line in table),
                0 if key == OTHERS else table[at][at],
            )
            for at, key in enumerate(order)
        ]
        return tuple(labels), tuple(map(tuple, table)), cohens_kappa(labels, self.compared)


def cohens_kappa(labels: Sequence[LabelAccuracy], compared: int) -> float | None:
    """How much better than chance the answers agree: 1 always, 0 as often as chance. None when
    chance alone makes them agree always.

    Cohen, A Coefficient of Agreement for Nominal Scales, Educational and Psychological Measurement
    20, 1960, 37-46.
    """
    if not compared:
        return None
    by_chance = sum(one.rows * one.answered for one in labels) / compared**2
    agreed = sum(one.correct for one in labels) / compared
    return None if by_chance >= 1 else (agreed - by_chance) / (1 - by_chance)


def without_cells(found: Accuracy) -> Accuracy:
    """Only numbers: labels may be what is in cells."""
    columns = [msgspec.structs.replace(one, labels=(), confusion=()) for one in found.columns]
    return msgspec.structs.replace(found, columns=tuple(columns))


def wilson_interval(good: int, read: int) -> tuple[float, float]:
    """The 95% confidence interval for the share of good answers, with `good` of `read`.

    The score interval of Wilson (Probable Inference, the Law of Succession, and Statistical
    Inference, Journal of the American Statistical Association 22, 1927, 209-212), without a
    correction for continuity. It also holds for few answers and for none or all of them good. It
    assumes an endless number of answers, so it is too wide where many of them were reviewed.
    """
    if not read:
        return 0.0, 1.0
    found, square = good / read, NORMAL**2
    middle = found + square / (2 * read)
    half = NORMAL * sqrt(found * (1 - found) / read + square / (4 * read**2))
    scale = 1 + square / read
    least = (middle - half) / scale if good else 0.0
    most = (middle + half) / scale if good < read else 1.0
    return least, most


# --- Which of several ways to ask is enough -------------------------------------------------------


def chance_of_difference(only_first: int, only_second: int) -> float:
    """How likely two ways to ask that are equally good differ by so much on the same rows:
    `only_first` rows that only the first has right, and the other way round.

    The exact test of McNemar (Note on the Sampling Error of the Difference between Correlated
    Proportions or Percentages, Psychometrika 12, 1947, 153-157), two-sided.
    """
    count, few = only_first + only_second, min(only_first, only_second)
    tail = sum(comb(count, hits) for hits in range(few + 1))
    return min(1.0, float(2 * tail / 2**count))


class Contestant(msgspec.Struct, frozen=True):
    """One way to ask: which rows it has right, and what a row costs."""

    right: frozenset[int]
    cost: Decimal


def choose_cheapest(ways: Sequence[Contestant]) -> tuple[int, int, set[int]] | None:
    """Places in `ways`: the best one, the cheapest that is as good, and all that are as good. As
    good is what differs from the best by no more than chance (CHANCE) on the same rows. None
    without any."""
    if not ways:
        return None
    best = max(range(len(ways)), key=lambda at: (len(ways[at].right), -ways[at].cost))
    top = ways[best].right
    as_good = {
        at
        for at, one in enumerate(ways)
        if chance_of_difference(len(top - one.right), len(one.right - top)) >= CHANCE
    }
    cheapest = min(as_good, key=lambda at: (ways[at].cost, -len(ways[at].right)))
    return best, cheapest, as_good
