"""The answers of a job beside the right ones: how many are right, and which rows differ. One pass
over the rows, in constant memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

import msgspec

from ..batches.leases import Lease
from ..batches.slices import delete_rows, slice_transaction
from ..models import (
    Difference,
    GoldStandard,
    Job,
    Outcome,
    RightAnswer,
    Row,
    Trial,
    answer_kind_of,
    answer_shape_of,
    clock,
)
from ..rules.accuracy import Accuracy, ColumnCounter
from ..rules.answer_formats import AnswerColumn, AnswerKind, Value, as_cell, stored_values
from ..rules.judging import is_usable
from ..rules.recipes import columns_used
from ..rules.right_answers import (
    PLAIN,
    GoldChoice,
    answer_columns,
    fitting_choice,
    is_right,
    values_of_answer,
)
from ..rules.row_contents import read_cells
from .saved_rows import SavedRow

SLICE = 1_000  # rows that are read at a time
# A job of more rows is compared anew at most this often: marks come one after the other.
LARGE, AGAIN = 20_000, timedelta(minutes=1)
# Rows that were not to be answered, and those that still may be.
NOT_ASKED = (Outcome.LEFT_OUT, Outcome.WAITING)


@dataclass(frozen=True)
class ComparedValue:
    """One column of one answer beside what it should be. `right`: None when it cannot be
    compared."""

    name: str  # PLAIN for an answer that is one text or label
    gold: str
    said: str
    right: bool | None


def find_gold(job: Job) -> GoldStandard | None:
    """What the answers of `job` are compared with; None while nothing is chosen."""
    found = GoldStandard.objects.filter(job=job).first()
    return found if found and found.choice.is_made else None


class Comparison:
    """How the rows of one job are compared."""

    def __init__(self, job: Job, choice: GoldChoice, kind: AnswerKind | None = None) -> None:
        self.job, self.kind = job, kind or answer_shape_of(job)
        self.choice = fitting_choice(choice, self.kind, job.columns)
        asked = {column.name: column for column in answer_columns(self.kind)}
        pairs = [(name, "") for name in asked] if choice.by_hand else self.choice.columns
        self.columns: list[tuple[AnswerColumn, str]] = [(asked[name], of) for name, of in pairs]
        self._places = {of: job.columns.index(of) for _column, of in self.columns if of}

    def gold_of(self, source: str) -> dict[str, str]:
        """The right answers in the cells of a row, as it is stored, by column of the answer."""
        try:
            cells = read_cells(source)
        except msgspec.DecodeError:
            return {}  # no row of a table
        if len(cells) != len(self.job.columns):
            return {}  # of a row with too few or too many cells nobody knows which is which
        return {column.name: cells[self._places[of]] for column, of in self.columns}

    def values_of(self, answer: str) -> dict[str, Value]:
        return values_of_answer(self.kind, answer, stored_values(answer))

    def compare(self, gold: dict[str, str], answer: str) -> list[ComparedValue]:
        """The columns of a usable answer that have a right answer."""
        values = self.values_of(answer)
        found = []
        for column, _of in self.columns:
            wanted = gold.get(column.name, "")
            if wanted.strip():
                value = values.get(column.name)
                right = is_right(column, wanted, value, self.choice)
                found.append(ComparedValue(column.name, wanted, as_cell(value), right))
        return found

    def is_match(self, gold: dict[str, str], answer: str) -> bool | None:
        """Whether a usable answer is right in all columns; None when none is compared."""
        found = [one.right for one in self.compare(gold, answer) if one.right is not None]
        return all(found) if found else None


def compare_job(
    job: Job,
    choice: GoldChoice,
    differ: Callable[[Sequence[int]], None] = lambda _numbers: None,
    between: Callable[[], None] = lambda: None,
    numbers: Sequence[int] | None = None,
) -> Accuracy:
    """Compare all answers of `job`, or those of the rows `numbers`. `differ` is given the numbers
    of rows that differ, `between` is called after each slice."""
    comparison = Comparison(job, choice)
    counters = [ColumnCounter(column, of, comparison.choice) for column, of in comparison.columns]
    rows = unanswered = different = 0
    for some in _slices(job, comparison, numbers):
        differing = []
        for number, gold, answer in some:
            if not any(text.strip() for text in gold.values()):
                continue
            rows += 1
            if answer is None:
                unanswered += 1
                continue
            values = comparison.values_of(answer)
            found = [
                one.add(gold.get(one.column.name, ""), values.get(one.column.name))
                for one in counters
            ]
            if False in found:
                differing.append(number)
        different += len(differing)
        differ(differing)
        between()
    return Accuracy(tuple(one.result() for one in counters), rows, unanswered, different)


Compared = tuple[int, dict[str, str], str | None]  # number, right answers, usable answer


def _slices(
    job: Job, comparison: Comparison, numbers: Sequence[int] | None
) -> Iterator[list[Compared]]:
    """The rows that were to be answered, slice by slice; of `numbers` only those."""
    if not comparison.columns:
        return
    rows = Row.objects.filter(job=job).exclude(outcome__in=NOT_ASKED)
    if numbers is not None:
        rows = rows.filter(number__in=numbers)
    names = ("source", "answer", "outcome", "cause")
    if comparison.choice.by_hand:
        written = written_values(job)
        some = list(rows.filter(number__in=written).in_order().values_list("number", *names))
        yield [(one[0], written[one[0]], _usable(*one[2:])) for one in some]
        return
    for some in rows.value_slices(SLICE, *names):
        yield [(one[0], comparison.gold_of(one[1]), _usable(*one[2:])) for one in some]


def _usable(answer: str, outcome: str, cause: str) -> str | None:
    return answer if is_usable(outcome, cause) else None


def written_values(job: Job) -> dict[int, dict[str, str]]:
    """The right answers that people wrote here, by row."""
    there = RightAnswer.objects.filter(job=job).exclude(written_at=None)
    return dict(there.values_list("number", "values"))


# --- By the worker --------------------------------------------------------------------------------


def compare_if_due(
    job: Job, lease: Lease, numbers: Sequence[int] | None = None
) -> timedelta | None:
    """Compare the answers of a finished job anew if they, or what they are compared with, have
    changed; of a job whose pilot is in those of its rows, `numbers`. Returns the wait until that is
    due; None when there is nothing to do. Raises LeaseLost."""
    gold = GoldStandard.objects.outdated().filter(job=job).first()
    if gold is None:
        return None
    size = job.row_count if numbers is None else len(numbers)
    if gold.compared_at and gold.compared_choice == gold.version and size > LARGE:
        since = clock.now() - gold.compared_at
        if timedelta() <= since < AGAIN:
            return AGAIN - since
    found = Accuracy()
    delete_rows(Difference.objects.filter(job=job), lease)
    if gold.choice.is_made:
        found = compare_job(job, gold.choice, _noting(job, lease), lease.renew, numbers)
    # What changed meanwhile is compared in the next step: the versions are those of before.
    GoldStandard.objects.filter(pk=gold.pk).update(
        compared=found,
        compared_rows=job.rows_version,
        compared_choice=gold.version,
        compared_at=clock.now(),
    )
    return None


def _noting(job: Job, lease: Lease) -> Callable[[Sequence[int]], None]:
    def note(numbers: Sequence[int]) -> None:
        if numbers:
            with slice_transaction(lease):
                Difference.objects.bulk_create(
                    (Difference(job=job, number=number) for number in numbers),
                    ignore_conflicts=True,  # left by a worker that died
                )

    return note


# --- Tests of a draft -----------------------------------------------------------------------------


def compare_trials(job: Job, choice: GoldChoice, trials: Sequence[Trial]) -> dict[int, bool | None]:
    """For each test of a row by its number: whether its answer is right. None: it has no right
    answer; False also without a good answer. `trials`: one a row."""
    comparison = Comparison(job, choice, trials[0].answer_kind if trials else None)
    numbers = [one.number for one in trials]
    rows = job.rows.filter(number__in=numbers)
    written = written_values(job) if choice.by_hand else {}
    gold = {
        row.number: written.get(row.number, {})
        if choice.by_hand
        else comparison.gold_of(row.source)
        for row in rows
    }
    found: dict[int, bool | None] = {}
    for one in trials:
        wanted = gold.get(one.number, {})
        if one.outcome == Outcome.GOOD:
            found[one.number] = comparison.is_match(wanted, one.answer)
        else:
            found[one.number] = False if any(text.strip() for text in wanted.values()) else None
    return found


# --- What to be careful about ---------------------------------------------------------------------


def columns_that_claude_sees(job: Job, choice: GoldChoice) -> list[str]:
    """Columns with right answers that a prompt of the job uses: then Claude reads the answer
    instead of finding it."""
    asked = [job.recipe, *(one.recipe for one in job.rounds.all() if one.recipe)]
    used = {name for recipe in asked for name in columns_used(recipe.template)}
    return [name for name in choice.file_columns if name in used]


def likely_gold(job: Job) -> GoldChoice:
    """The columns of the file that are called like those of the answer."""
    kind = answer_kind_of(job)
    pairs = tuple((column.name, column.name) for column in answer_columns(kind) if column.name)
    return fitting_choice(GoldChoice(pairs), kind, job.columns)


def name_of_column(name: str) -> str:
    """A column of the answer, for people."""
    return "Answer" if name == PLAIN else name


# --- Beside single rows ---------------------------------------------------------------------------


def is_hidden(job: Job, choice: GoldChoice) -> bool:
    """Whether the right answers are hidden from the person whom `job` is shown to: which rows
    match would tell what is in a masked cell, or what a person wrote who had seen it."""
    return bool(job.masked) and (choice.by_hand or bool(job.masked & set(choice.file_columns)))


class Matcher:
    """Says of single rows whether their answers are right."""

    def __init__(self, job: Job, choice: GoldChoice) -> None:
        self.comparison = Comparison(job, choice)
        self._written = written_values(job) if choice.by_hand else None

    def compare(self, row: Row | SavedRow) -> list[ComparedValue]:
        if not row.has_usable_answer:
            return []
        return self.comparison.compare(self._gold_of(row), row.answer)

    def is_match(self, row: Row | SavedRow) -> bool | None:
        """None for a row that is not compared."""
        if not row.has_usable_answer:
            return None
        return self.comparison.is_match(self._gold_of(row), row.answer)

    def _gold_of(self, row: Row | SavedRow) -> dict[str, str]:
        if self._written is None:
            return self.comparison.gold_of(row.source)
        return self._written.get(row.number, {})


def matcher_of(job: Job) -> Matcher | None:
    """None while nothing is chosen, and for a person from whom the right answers are hidden."""
    gold = find_gold(job)
    if gold is None or is_hidden(job, gold.choice):
        return None
    matcher = Matcher(job, gold.choice)
    return matcher if matcher.comparison.columns else None


def shown_gold(job: Job) -> GoldStandard | None:
    """What the rows that differ are known by; None while they are not known, and for a person from
    whom the right answers are hidden."""
    gold = find_gold(job)
    if gold is None or job.contents_deleted_at or not gold.is_current(job):
        return None
    return None if is_hidden(job, gold.choice) else gold


def count_different(job: Job) -> int:
    """How many rows differ, as far as that may be shown."""
    gold = shown_gold(job)
    return gold.compared.different if gold and gold.compared else 0
