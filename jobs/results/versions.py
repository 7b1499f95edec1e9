"""Models and prompts compared on the same rows: which is the cheapest that is as good."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby

from ..models import Job, Outcome, Row, Trial, dollars
from ..rules import pricing
from ..rules.accuracy import Contestant, choose_cheapest, wilson_interval
from ..rules.recipes import Recipe
from ..rules.right_answers import GoldChoice, normalize
from . import accuracy

LEAST_ROWS, MOST_ROWS = 20, 200
MOST_VERSIONS = 6  # of one comparison
KEPT = 3  # comparisons that are shown, the newest first
# Rows looked through for right answers: at a time, and at most; and found ones to choose from.
SLICE, LOOKED_AT, CANDIDATES = 1_000, 20_000, 5


@dataclass(frozen=True)
class Version:
    """One way to ask, with what came of it."""

    round: int
    recipe: Recipe | None
    model: str
    rows: int
    pending: int
    good: int  # rows with a good answer
    compared: int  # of these, rows with a right answer
    correct: int
    changed: int | None  # rows answered differently than by the first version; None: the first
    cost: Decimal  # US dollars a row, as in a batch
    right: frozenset[int]  # the rows that are right

    @property
    def cost_of_1000(self) -> Decimal:
        return 1000 * self.cost

    @property
    def bounds(self) -> tuple[float, float]:
        return wilson_interval(self.correct, self.compared)

    @property
    def failed(self) -> int:
        return self.rows - self.good - self.pending


@dataclass(frozen=True)
class VersionComparison:
    """The versions that were tested together. `best`, `cheapest`: places in `versions`, of the one
    with most rows right, and of the cheapest that is as good; None while that is not known."""

    versions: list[Version]
    prompts: dict[int, int]  # the number of its prompt, by the round of a version
    practice: bool
    best: int | None = None
    cheapest: int | None = None
    as_good: frozenset[int] = frozenset()

    @property
    def is_pending(self) -> bool:
        return any(one.pending for one in self.versions)

    @property
    def rows(self) -> int:
        return max(one.rows for one in self.versions)

    @property
    def done(self) -> int:
        return sum(one.rows - one.pending for one in self.versions)

    @property
    def total(self) -> int:
        return sum(one.rows for one in self.versions)


def rows_with_gold(job: Job, choice: GoldChoice, count: int) -> list[Row]:
    """Up to `count` rows of a draft that can be sent and have a right answer: the same ones each
    time, spread over the first that have one."""
    comparison = accuracy.Comparison(job, choice)
    if not comparison.columns:
        return []
    waiting = job.rows.filter(outcome=Outcome.WAITING, number__lte=LOOKED_AT)
    found: list[int] = []
    for rows in waiting.value_slices(SLICE, "source"):
        for number, source in rows:
            if any(map(str.strip, comparison.gold_of(source).values())):
                found.append(number)
        if len(found) >= CANDIDATES * count:
            break
    if len(found) > count:
        found = [found[at * len(found) // count] for at in range(count)]
    return list(waiting.filter(number__in=found).in_order())


def list_comparisons(job: Job, choice: GoldChoice | None) -> list[VersionComparison]:
    """The newest comparisons of a job, the newest first."""
    there = job.trials.of_comparisons()
    begun = there.values_list("compared_from", flat=True).distinct()
    firsts = sorted(begun.order_by("-compared_from")[:KEPT], reverse=True)
    return [
        _comparison(
            job, choice, list(there.filter(compared_from=first).order_by("round", "number"))
        )
        for first in firsts
    ]


def _comparison(job: Job, choice: GoldChoice | None, trials: list[Trial]) -> VersionComparison:
    by_round = [list(group) for _round, group in groupby(trials, key=lambda one: one.round)]
    versions = [_version(job, choice, some, by_round[0]) for some in by_round]
    prompts: dict[tuple[object, ...], int] = {}
    numbers = {}
    for one in versions:
        recipe = one.recipe
        key = (recipe.prompt, recipe.system, recipe.answer) if recipe else (one.round,)
        numbers[one.round] = prompts.setdefault(key, len(prompts) + 1)
    found = VersionComparison(versions, numbers, any(one.practice for one in trials))
    known = all(one.compared for one in versions) and not found.is_pending
    chosen = choose_cheapest([Contestant(one.right, one.cost) for one in versions])
    if not known or chosen is None:
        return found
    best, cheapest, as_good = chosen
    return VersionComparison(versions, numbers, found.practice, best, cheapest, frozenset(as_good))


def _version(
    job: Job, choice: GoldChoice | None, trials: Sequence[Trial], first: Sequence[Trial]
) -> Version:
    good = [one for one in trials if one.outcome == Outcome.GOOD]
    open_ones = [one for one in trials if one.state in (Trial.State.WAITING, Trial.State.SENDING)]
    match = accuracy.compare_trials(job, choice, trials) if choice else {}
    compared = [match[one.number] for one in good if match.get(one.number) is not None]
    before = {one.number: _said(one) for one in first}
    answered = [one for one in trials if one.state == Trial.State.ANSWERED]
    paid = sum(one.cost_pico for one in answered)
    return Version(
        trials[0].round,
        trials[0].recipe,
        trials[0].model,
        len(trials),
        len(open_ones),
        len(good),
        len(compared),
        sum(1 for right in compared if right),
        None
        if trials[0].round == first[0].round
        else sum(_said(one) != before.get(one.number) for one in answered),
        dollars(paid) * pricing.BATCH / len(answered) if answered else Decimal(0),
        frozenset(number for number, right in match.items() if right),
    )


def _said(one: Trial) -> tuple[str, str]:
    return one.outcome, normalize(one.answer)
