"""Trying a draft: a few rows answered at once, beside their cells."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from .. import actions, checking, estimates, offers, pricing, trying
from ..answer_kinds import COLUMNS, as_cell, stored_values
from ..forms import TryForm
from ..judging import Cause, cause_in_words
from ..models import Job, Outcome, Try
from .access import find_job, person
from .parts import reload_page

ROUNDS_SHOWN = 10


@dataclass(frozen=True)
class Tried:
    """One row of a try, to be shown."""

    one: Try
    cells: list[tuple[str, str]]
    values: list[tuple[str, str]]  # of an answer in columns
    cause: Cause | None


@dataclass(frozen=True)
class Round:
    """The rows that were tried together."""

    number: int
    rows: list[Tried]

    @property
    def model(self) -> str:
        """The name of the model that was asked."""
        return offers.name_of(self.rows[0].one.model)

    @property
    def cost(self) -> Decimal:
        return sum((tried.one.cost for tried in self.rows), Decimal(0))

    @property
    def is_pending(self) -> bool:
        return any(tried.one.state in (Try.State.WAITING, Try.State.SENDING) for tried in self.rows)

    @property
    def row_numbers(self) -> str:
        return ", ".join(str(tried.one.number) for tried in self.rows)


def tries_context(job: Job) -> dict[str, Any]:
    """What was tried, the newest first, and what a try costs at most."""
    newest = job.tries.defer("params")[: ROUNDS_SHOWN * trying.MOST_ROWS]
    rounds = [
        Round(number, [_tried(one) for one in together])
        for number, together in groupby(newest, key=lambda one: one.round)
    ][:ROUNDS_SHOWN]
    return {
        "try_form": TryForm(),
        "rounds": rounds,
        "tries_pending": any(shown.is_pending for shown in rounds),
        **try_hint(job),
    }


def try_hint(job: Job) -> dict[str, Any]:
    """Whether a draft can be tried, and what that costs a row."""
    return {"can_try": not checking.problems(job), "try_price": _price_of_a_row(job)}


def _tried(one: Try) -> Tried:
    in_columns = one.answer_kind.get("kind") == COLUMNS and one.outcome == Outcome.GOOD
    return Tried(
        one,
        [(name, cell[:500]) for name, cell in one.cells],
        _values(one) if in_columns else [],
        cause_in_words(one.cause) if one.cause else None,
    )


def _values(one: Try) -> list[tuple[str, str]]:
    return [(name, as_cell(value)) for name, value in stored_values(one.answer).items()]


def _price_of_a_row(job: Job) -> Decimal | None:
    """About the most that one row costs at the normal rate; None while there is no estimate."""
    estimate = estimates.current(job)
    if estimate is None or estimate.trouble or not estimate.rows:
        return None
    return estimate.most / pricing.BATCH / estimate.rows


@require_POST
def try_rows(request: HttpRequest, pk: int) -> HttpResponse:
    """`count` rows, `which`: "first" or "random"; or `numbers`: these rows."""
    job = find_job(request, pk)
    form = TryForm(request.POST)
    if job.state != Job.State.DRAFT or job.kind != Job.Kind.TABLE:
        return _answer(request, job)
    if not form.is_valid():
        errors = " ".join(str(error) for errors in form.errors.values() for error in errors)
        return _answer(request, job, errors)
    if checking.problems(job):
        return _answer(request, job, "Finish the prompt first.")
    rows = form.rows(job)
    if not rows:
        return _answer(request, job, "None of these rows can be sent.")
    if not actions.try_rows(job, rows, person(request)):
        words = (
            "Nothing was asked: the last try is not over, or the prompt is empty for these rows."
        )
        return _answer(request, job, words)
    return _answer(request, job)


@require_safe
def tries(request: HttpRequest, pk: int) -> HttpResponse:
    """What was tried as a part of the draft's page; it comes back until all answers are there."""
    return _answer(request, find_job(request, pk))


def _answer(request: HttpRequest, job: Job, error: str = "") -> HttpResponse:
    if request.headers.get("HX-Request"):
        if job.state != Job.State.DRAFT:
            return reload_page()
        context = {"job": job, "try_error": error, **tries_context(job)}
        return render(request, "draft/_tries.html", context)
    if error:
        messages.error(request, error)
    return redirect("job", job.pk)
