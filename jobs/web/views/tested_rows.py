"""The tests of a draft as the page shows them: each row once, with its answers side by side."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby
from typing import Any

from ...drafts import checks, estimates, model_catalog, trials
from ...models import Job, Outcome, Trial, recipe_of
from ...models.privacy import mask_trial, shown_content
from ...rules import pricing
from ...rules.answer_formats import COLUMNS, as_cell, as_written, stored_values
from ...rules.judging import Cause, describe_cause
from ...rules.model_capabilities import EFFORTS, efforts_of
from ...rules.recipes import Recipe, columns_used, without_example
from ..forms.trials import TrialForm

ROUNDS_SHOWN = 10  # tests on the page of all tests
IN_THE_GRID = 3  # tests side by side on the draft
FIRST_ROWS = 5  # before the first test
MOST_COLUMNS = 3  # of the file, beside the answers
LONGEST_CELL = 500  # characters


@dataclass(frozen=True)
class Tested:
    """One row of a test, to be shown."""

    one: Trial
    cells: list[tuple[str, str]]
    values: list[tuple[str, str]]  # of an answer in columns
    cause: Cause | None
    is_example: bool = False  # the background has the row and its answer

    @property
    def is_pending(self) -> bool:
        return self.one.state in (Trial.State.WAITING, Trial.State.SENDING)


@dataclass(frozen=True)
class Compared:
    """A row that was tested with another prompt, beside its answer before. `trouble`: what was
    wrong with that, in a few words; "" if nothing was."""

    before: str
    trouble: str
    tested: Tested


@dataclass(frozen=True)
class Round:
    """The rows that were tested together: one test."""

    number: int
    rows: list[Tested]

    @property
    def recipe(self) -> Recipe | None:
        """What was asked; None for a test of an older version."""
        return self.rows[0].one.recipe

    @property
    def practice(self) -> bool:
        return self.rows[0].one.practice

    @property
    def model(self) -> str:
        """The name of the model that was asked."""
        return model_catalog.name_of(self.rows[0].one.model)

    @property
    def effort(self) -> str:
        """How much it was to think, in words; "" for as it does by itself."""
        effort = self.recipe.effort if self.recipe else ""
        return EFFORTS[effort] if effort and effort in efforts_of(self.rows[0].one.model) else ""

    @property
    def cost(self) -> Decimal:
        return sum((tested.one.cost for tested in self.rows), Decimal(0))

    @property
    def is_pending(self) -> bool:
        return any(tested.is_pending for tested in self.rows)

    @property
    def numbers(self) -> set[int]:
        return {tested.one.number for tested in self.rows}

    @property
    def row_numbers(self) -> str:
        return ", ".join(str(tested.one.number) for tested in self.rows)


@dataclass(frozen=True)
class GridAnswer:
    """The answer to one row in one test; `differs` from the test before that has the row."""

    tested: Tested
    differs: bool


@dataclass(frozen=True)
class GridRow:
    """One row of the file with its answers, those of the newest test first; None where a test has
    not asked about it."""

    number: int
    named_cells: list[tuple[str, str]]  # column and cell
    answers: list[GridAnswer | None]
    is_skipped: bool = False


def grid(job: Job, rounds: list[Round]) -> dict[str, Any]:
    """The rows of the newest tests with their answers; before the first test the first rows."""
    columns = _shown_columns(job)
    shown = rounds[:IN_THE_GRID]
    numbers = sorted({number for one in shown for number in one.numbers})
    numbers = numbers or list(range(1, min(job.row_count, FIRST_ROWS) + 1))
    places = [job.columns.index(name) for name in columns]
    cells = {
        row.number: [str(shown_content(job, row)[place])[:LONGEST_CELL] for place in places]
        for row in job.rows.filter(number__in=numbers)
        if len(row.content) == len(job.columns)
    }
    skipped = set(
        job.rows.filter(number__in=numbers, outcome=Outcome.LEFT_OUT).values_list(
            "number", flat=True
        )
    )
    by_number = [{tested.one.number: tested for tested in one.rows} for one in shown]
    rows = []
    for number in numbers:
        of_row = [found.get(number) for found in by_number]
        answers = [
            GridAnswer(tested, _differs(tested, of_row[at + 1 :])) if tested else None
            for at, tested in enumerate(of_row)
        ]
        of_file = cells.get(number, [""] * len(columns))
        named = list(zip(columns, of_file, strict=True))
        rows.append(GridRow(number, named, answers, number in skipped))
    return {"grid_columns": columns, "grid_rounds": shown, "grid_rows": rows}


def _shown_columns(job: Job) -> list[str]:
    """The columns that the prompt uses; while it uses none, those with the most text."""
    used = dict.fromkeys(columns_used(recipe_of(job).prompt))
    if shown := [name for name in used if name in job.columns]:
        return shown[:MOST_COLUMNS]
    sizes = dict(zip(job.columns, job.reading.column_bytes, strict=False))
    longest = sorted(job.columns, key=lambda name: -sizes.get(name, 0))[:MOST_COLUMNS]
    return [name for name in job.columns if name in longest]


def _differs(tested: Tested, earlier: list[Tested | None]) -> bool:
    before = next(filter(None, earlier), None)
    if before is None or tested.is_pending or before.is_pending:
        return False
    return tested.one.answer != before.one.answer or tested.one.outcome != before.one.outcome


def trials_context(job: Job) -> dict[str, Any]:
    """All tests, the newest first, the grid of rows, and what testing costs."""
    rounds = list_rounds(job)
    comparable = {
        shown.number: earlier.number
        for at, shown in enumerate(rounds)
        for earlier in reversed(rounds[at + 1 :])
        if shown.numbers & earlier.numbers
    }
    return {
        "trial_form": TrialForm(),
        "rounds": rounds,
        "comparable": comparable,
        "trials_pending": any(shown.is_pending for shown in rounds),
        "marked_count": sum(one.one.marked_down for shown in rounds for one in shown.rows),
        **grid(job, rounds),
        **trial_hint(job),
    }


def list_rounds(job: Job) -> list[Round]:
    """All tests, the newest first."""
    newest = job.trials.of_rows().defer("params")[: ROUNDS_SHOWN * trials.MOST_ROWS]
    return [
        Round(number, [_tested(job, one) for one in together])
        for number, together in groupby(newest, key=lambda one: one.round)
    ][:ROUNDS_SHOWN]


def trial_hint(job: Job) -> dict[str, Any]:
    """Of how many rows a test usually is, and about what that costs: None while that is not known,
    or the draft cannot be tested."""
    price = None if checks.problems(job) else _price_of_a_row(job)
    count = min(TrialForm.base_fields["count"].initial, job.sendable_count)
    return {
        "test_count": count,
        "test_price": None if price is None else price * count,
    }


def _tested(job: Job, one: Trial) -> Tested:
    is_masked = mask_trial(job, one)
    in_columns = one.answer_kind.kind == COLUMNS and one.outcome == Outcome.GOOD and not is_masked
    return Tested(
        one,
        [(name, cell[:500]) for name, cell in one.cells],
        _values(one) if in_columns else [],
        describe_cause(one.cause) if one.cause else None,
        one.outcome == Outcome.GOOD and _is_example(job.recipe.system, one),
    )


def _is_example(system: str, one: Trial) -> bool:
    answer = as_written(one.answer_kind, one.answer)
    return without_example(system, one.cells, answer) != system


def _values(one: Trial) -> list[tuple[str, str]]:
    return [(name, as_cell(value)) for name, value in stored_values(one.answer).items()]


def _price_of_a_row(job: Job) -> Decimal | None:
    """About what one row costs at the normal rate, in US dollars; None while there is no
    estimate."""
    estimate = estimates.current(job)
    if estimate is None or estimate.trouble or not estimate.rows:
        return None
    return estimate.expected / pricing.BATCH / estimate.rows
