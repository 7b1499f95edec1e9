"""The rows of a job with their answers: all, some, or one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from django.db.models import F, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from .. import recipes
from ..answer_kinds import as_cell, stored_values
from ..judging import cause_in_words
from ..models import ATTENTION, Job, Outcome, Row, RowQuerySet, answer_kind_of, recipe_of
from .access import asked, find_job
from .requests import readable_request

PAGE = 50
CELLS_SHOWN = 3
VALUES_SHOWN = 3  # of an answer in columns
FILTERS = {
    "": "All rows",
    "attention": "Need attention",
    Outcome.GOOD.value: Outcome.GOOD.label,
    Outcome.LOOK.value: Outcome.LOOK.label,
    Outcome.ERRORED.value: Outcome.ERRORED.label,
    Outcome.EXPIRED.value: Outcome.EXPIRED.label,
    Outcome.CANCELED.value: Outcome.CANCELED.label,
    Outcome.LEFT_OUT.value: Outcome.LEFT_OUT.label,
    Outcome.WAITING.value: Outcome.WAITING.label,
}


@dataclass(frozen=True)
class Filter:
    """Which rows are wanted. All empty: every row."""

    outcome: str = ""
    cause: str = ""
    text: str = ""

    @property
    def outcomes(self) -> list[str]:
        if self.outcome == "attention":
            return [outcome.value for outcome in ATTENTION]
        return [self.outcome] if self.outcome else []


@dataclass(frozen=True)
class Page:
    """One page of rows. `total` is None when only counting would tell."""

    rows: list[Row]
    number: int
    total: int | None
    has_next: bool

    @property
    def previous(self) -> int | None:
        return self.number - 1 if self.number > 1 else None

    @property
    def next(self) -> int | None:
        return self.number + 1 if self.has_next else None

    @property
    def last(self) -> int | None:
        return None if self.total is None else max(-(-self.total // PAGE), 1)


@require_safe
def rows(request: HttpRequest, pk: int) -> HttpResponse:
    """`outcome`: one of FILTERS, `cause`: a stored cause, `q`: text in a cell, the answer or what
    the provider said, `page`."""
    job = find_job(request, pk)
    outcome = asked(request, "outcome")
    wanted = Filter(
        outcome if outcome in FILTERS else "", asked(request, "cause"), asked(request, "q")
    )
    number = asked(request, "page")
    page = find_page(job, wanted, int(number) if number.isascii() and number.isdecimal() else 1)
    shown = _columns_shown(job)
    columns = [job.columns[index] for index in shown] or ["Request"]
    context = {
        "job": job,
        "page": page,
        "wanted": wanted,
        "cause": cause_in_words(wanted.cause) if wanted.cause else None,
        "filters": _filters(job),
        "columns": columns,
        "answer_columns": answer_kind_of(job).column_names[:VALUES_SHOWN] or ["Answer"],
        "more_columns": max(len(job.columns) - len(shown), 0),
        "lines": [_line(job, row, shown, columns) for row in page.rows],
    }
    return render(request, "rows/list.html", context)


def _filters(job: Job) -> list[tuple[str, str, int]]:
    """What can be chosen: value, words, number of rows; without those that would be empty."""
    counts = {
        "": job.row_count,
        "attention": job.attention_count,
        **{outcome.value: job.outcome_count(outcome) for outcome in Outcome},
    }
    return [(key, words, counts[key]) for key, words in FILTERS.items() if counts[key] or not key]


def find_page(job: Job, wanted: Filter, number: int) -> Page:
    """A page of rows, found without counting them: every row has a number, and the job's tally
    knows how many there are of each kind."""
    total = _total(job, wanted)
    number = max(number, 1)
    if total is not None:
        number = min(number, max(-(-total // PAGE), 1))
    number = min(number, 100_000)
    start = (number - 1) * PAGE
    if not (wanted.outcome or wanted.cause or wanted.text):
        found = job.rows.filter(number__gt=start, number__lte=start + PAGE).in_order()
        return Page(list(found), number, total, job.row_count > start + PAGE)
    matching = _matching(job, wanted).values_list("number", flat=True)
    # The numbers come from the index of outcomes alone; only the rows of this page are read whole.
    numbers = list(matching[start : start + PAGE + 1])
    found = job.rows.filter(number__in=numbers[:PAGE]).in_order()
    return Page(list(found), number, total, len(numbers) > PAGE)


def _total(job: Job, wanted: Filter) -> int | None:
    if wanted.text:
        return None
    if not wanted.outcomes and not wanted.cause:
        return job.row_count
    causes: list[tuple[str, str, int]] = job.tally.get("causes", [])
    return sum(
        count
        for outcome, cause, count in causes
        if (not wanted.outcomes or outcome in wanted.outcomes)
        and (not wanted.cause or cause == wanted.cause)
    )


def _matching(job: Job, wanted: Filter) -> RowQuerySet:
    which = Q()
    if wanted.outcomes:
        which &= Q(outcome__in=wanted.outcomes)
    if wanted.cause:
        which &= Q(cause=wanted.cause)
    found = job.rows.filter(which)
    if wanted.text:
        found = found.containing(wanted.text)
    if not which:
        return found.in_order()
    # In order too; but ordered by the bare column, SQLite would walk all rows of the job.
    return found.order_by(F("number") + 0)


def _columns_shown(job: Job) -> list[int]:
    """The columns of the table: those that the prompt uses first, then the others, in the order of
    the file."""
    used = recipes.columns_used(job.prompt)
    first = [index for index, name in enumerate(job.columns) if name in used]
    others = [index for index in range(len(job.columns)) if index not in first]
    return sorted((first + others)[:CELLS_SHOWN])


def _line(job: Job, row: Row, shown: list[int], columns: list[str]) -> dict[str, Any]:
    """A row of the table: a few cells, and the outcome with what explains it."""
    if job.kind == Job.Kind.REQUESTS:
        cells = [_request_in_short(row)]
    else:
        content = content_of(row)
        cells = [content[index] if index < len(content) else "" for index in shown]
    return {
        "row": row,
        "cells": [(name, cell[:500]) for name, cell in zip(columns, cells, strict=True)],
        "answer": row.answer[:1000],
        "values": [(name, cell[:500]) for name, cell in values_of(job, row)[:VALUES_SHOWN]],
        "cause": cause_in_words(row.cause) if row.outcome in ATTENTION else None,
    }


def values_of(job: Job, row: Row) -> list[tuple[str, str]]:
    """An answer in columns: their names and cells. Empty for any other answer."""
    names = answer_kind_of(job).column_names
    if not names or row.outcome != Outcome.GOOD:
        return []
    values = stored_values(row.answer)
    return [(name, as_cell(values.get(name))) for name in names]


def content_of(row: Row) -> Any:
    """The cells or the request; the stored text alone where it cannot be decoded."""
    try:
        return row.content
    except (ValueError, RecursionError):
        return [row.source]


def _request_in_short(row: Row) -> str:
    content = content_of(row)
    if not isinstance(content, dict):
        return row.source
    params = content.get("params")
    text = recipes.prompt_text(params) if isinstance(params, dict) else ""
    return f"{content.get('custom_id') or ''}: {text}"


@require_safe
def row(request: HttpRequest, pk: int, number: int) -> HttpResponse:
    job = find_job(request, pk)
    found = get_object_or_404(job.rows.select_related("batch"), number=number)
    content = content_of(found)
    context = {
        "job": job,
        "row": found,
        "cells": list(zip_longest(job.columns, content, fillvalue=""))
        if isinstance(content, list)
        else [],
        "source": "" if isinstance(content, list) else json.dumps(content, ensure_ascii=False),
        "custom_id": content.get("custom_id") if isinstance(content, dict) else "",
        "request_sent": readable_request(job, found, recipe_of(job)),
        "values": values_of(job, found),
        "cause": cause_in_words(found.cause) if found.outcome in ATTENTION else None,
        "previous": number - 1 if number > 1 else None,
        "next": number + 1 if number < job.row_count else None,
    }
    return render(request, "rows/row.html", context)
