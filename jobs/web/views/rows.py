"""The rows of a job with their answers: all, some, or one."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any, NamedTuple

from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from ...models import ATTENTION, Attempt, Job, Outcome, Row, answer_shape_of, recipe_of_round
from ...models.privacy import MASK, shown_content
from ...results import accuracy, row_browser, search_index
from ...results.row_browser import CAUSE, COST, NUMBER, OUTPUT, RowFilter, RowPlace
from ...retries import edits, rounds
from ...rules import recipes
from ...rules.answer_formats import LABELS, as_cell, values_in
from ...rules.judging import ASK, Cause, describe_cause
from ...rules.recipes import Recipe
from .access import asked, find_job, is_seen
from .fragments import whole_number
from .requests import ReadableRequest, filled_texts, readable_request

PAGE = 50
CELLS_SHOWN = 3  # at least, where the file has so many
MOST_CELLS_SHOWN = 12
VALUES_SHOWN = 5  # of an answer in columns
CELL_SHOWN, ANSWER_SHOWN = 1_500, 3_000  # characters; the page of the row has the rest
FOLDED_FROM = 160  # characters, about what six lines of a narrow column hold
NEIGHBOUR_SECONDS = 0.02
END = "end"  # in place of a place
DRAWER = "row-drawer"  # the part of the page that a row is put into
FILTERS = {
    "": "All",
    "attention": "Problems",
    Outcome.GOOD.value: Outcome.GOOD.label,
    Outcome.LOOK.value: Outcome.LOOK.label,
    Outcome.ERRORED.value: Outcome.ERRORED.label,
    Outcome.EXPIRED.value: Outcome.EXPIRED.label,
    Outcome.CANCELED.value: Outcome.CANCELED.label,
    Outcome.LEFT_OUT.value: Outcome.LEFT_OUT.label,
    Outcome.WAITING.value: Outcome.WAITING.label,
}
# As they stand in the address, where "-" says that it is the other way round.
SORTS = {
    "": "By row",
    f"-{NUMBER}": "By row, from the end",
    f"-{COST}": "Most expensive first",
    COST: "Cheapest first",
    f"-{OUTPUT}": "Longest first",
    OUTPUT: "Shortest first",
    CAUSE: "By cause",
    f"-{CAUSE}": "By cause, Z to A",
}


@dataclass(frozen=True)
class Page:
    """One page of rows, and where the pages on both sides end and begin; None where there is none.
    `total`: None when only looking at each row would tell."""

    rows: list[Row]
    total: int | None
    before: RowPlace | None
    after: RowPlace | None
    cut: bool = False  # time was up before it was full
    by_its_end: bool = False  # so rows were looked through backwards
    up_to: int = 0  # the last row that was looked through, when `cut`


class Neighbour(NamedTuple):
    """The next row of a view; or where to go on looking for it, when it is far away."""

    number: int | None
    onward: RowPlace | None


class Text(NamedTuple):
    """What is in a cell of the table, as far as it is shown there."""

    name: str
    shown: str
    is_long: bool  # it is folded
    is_cut: bool

    @classmethod
    def of(cls, name: str, text: str, most: int = CELL_SHOWN) -> Text:
        is_long = len(text) > FOLDED_FROM or text.count("\n") > 5
        return cls(name, text[:most], is_long, len(text) > most)


@require_safe
def rows(request: HttpRequest, pk: int) -> HttpResponse:
    """What is shown is in the address, and what it does not know is as if it were not there:
    `outcome`: one of FILTERS, `cause`: as stored, `label`, `model`, `q`: text in a cell, the answer
    or what the provider said, `sort`: one of SORTS, `col`: the number of a column, any times,
    `cost`: the column of costs, too, `from` or `to`: the first or last place of the page."""
    job = find_job(request, pk)
    wanted = read_wanted(job, request)
    if not job.masked:
        search_index.expect_search(job)
    page = find_page(job, wanted, asked(request, "from"), asked(request, "to"))
    chosen = _columns_chosen(job, request)
    shown = chosen or _columns_of_use(job)
    kind = answer_shape_of(job)
    # A table that is still being read has rows, and no columns yet.
    is_table = job.kind == Job.Kind.TABLE
    columns = [job.columns[index] for index in shown] if is_table else ["Request"]
    sort = f"-{wanted.sort}" if wanted.descending else wanted.sort.removeprefix(NUMBER)
    context = {
        "job": job,
        "page": page,
        "awaits_index": page.cut and bool(wanted.text) and search_index.is_awaited(job),
        "wanted": wanted,
        "here": _address(request),
        "elsewhere": _address(request, "from", "to"),
        "among": _address(request, "from", "to", "outcome", "cause", "differs"),
        "filtered": is_part(wanted),
        "cause": describe_cause(wanted.cause) if wanted.cause else None,
        "filters": _filters(job),
        "causes": _causes(job, wanted),
        "labels": kind.labels if kind.kind == LABELS else (),
        "models": _models(job),
        "sorts": _sorts(job, sort),
        "sort": sort,
        "columns": columns,
        "choices": [(index + 1, name, index in shown) for index, name in enumerate(job.columns)],
        "chosen": bool(chosen),
        "most_columns": MOST_CELLS_SHOWN,
        "answer_columns": kind.column_names[:VALUES_SHOWN] or ["Answer"],
        "more_columns": max(len(job.columns) - len(shown), 0),
        "more_answer_columns": max(len(kind.column_names) - VALUES_SHOWN, 0),
        "has_costs": bool(job.tally.answered),
        "costs": bool(job.tally.answered) and (bool(asked(request, "cost")) or wanted.sort == COST),
        "lines": [_line(job, row, shown, columns) for row in page.rows],
        "differing": accuracy.count_different(job),
    }
    answer = render(request, "rows/list.html", context)
    if request.headers.get("HX-Request"):
        # Without what was left empty in the form.
        answer.headers["HX-Push-Url"] = f"{request.path}{_address(request).rstrip('?&')}"
    return answer


def read_wanted(job: Job, request: HttpRequest) -> RowFilter:
    outcome, sort = asked(request, "outcome"), asked(request, "sort")
    label, model = asked(request, "label"), asked(request, "model")
    kind = answer_shape_of(job)
    sort = sort if sort in SORTS else ""
    return RowFilter(
        outcome=outcome if outcome in FILTERS else "",
        cause=asked(request, "cause"),
        label=label if kind.kind == LABELS and label in kind.labels else "",
        model=model if model in _models(job) else "",
        text="" if job.masked else asked(request, "q"),  # it would tell what is in a cell
        differs=bool(asked(request, "differs")) and accuracy.count_different(job) > 0,
        sort=sort.removeprefix("-") or NUMBER,
        descending=sort.startswith("-"),
    )


def is_part(wanted: RowFilter) -> bool:
    """Not every row is wanted."""
    return wanted != RowFilter(sort=wanted.sort, descending=wanted.descending)


def _address(request: HttpRequest, *without: str) -> str:
    """The query of the address, to be gone on with: "?" alone, or with an "&" at its end. What is
    empty is left out, and all that is called `without`."""
    query = QueryDict(mutable=True)
    for name, values in request.GET.lists():
        if name not in without and any(values):
            query.setlist(name, values)
    return f"?{query.urlencode()}&" if query else "?"


def _sorts(job: Job, chosen: str) -> dict[str, str]:
    """The orders that differ: without costs there is none by cost."""
    causes = {cause for _outcome, cause, _rows in job.tally.causes}
    same = set() if job.tally.answered else {COST, OUTPUT}
    same |= set() if len(causes) > 1 else {CAUSE}
    return {
        key: words
        for key, words in SORTS.items()
        if key == chosen or key.removeprefix("-") not in same
    }


def _filters(job: Job) -> list[tuple[str, str, int]]:
    """What can be chosen: value, words, number of rows; without those that would be empty."""
    counts = {
        "": job.row_count,
        "attention": job.attention_count,
        **{outcome.value: job.outcome_count(outcome) for outcome in Outcome},
    }
    return [(key, words, counts[key]) for key, words in FILTERS.items() if counts[key] or not key]


def _causes(job: Job, wanted: RowFilter) -> list[tuple[str, str, int]]:
    """The causes that can be chosen among the outcomes chosen: as stored, in words, how many."""
    counts: Counter[str] = Counter()
    for outcome, cause, count in job.tally.causes:
        if cause and (not wanted.outcome or outcome in wanted.outcomes or cause == wanted.cause):
            counts[cause] += count
    titles = {cause: describe_cause(cause).title for cause in counts}
    several = Counter(titles.values())
    return [
        (cause, title if several[title] == 1 else f"{title}: {cause}", counts[cause])
        for cause, title in sorted(
            titles.items(), key=lambda both: row_browser.cause_sort_key(both[0])
        )
    ]


def _models(job: Job) -> list[str]:
    """The models that answered, when there is more than one."""
    found = sorted(model for model in job.tally.by_model if model)
    return found if len(found) > 1 else []


def find_page(job: Job, wanted: RowFilter, begin: str, end: str) -> Page:
    """The page that ends at the place `end`, or begins at `begin`; the first page when both are
    none, and when fewer rows than a page come before `end`."""
    last = row_browser.read_place(end, wanted)
    if last or end == END:
        found = row_browser.find_rows(job, wanted, last, PAGE, backwards=True)
        if found.onward:
            after = _beside(job, wanted, last, 1)
            return _page(job, wanted, found, before=found.onward, after=after, by_its_end=True)
        if last is None:  # these are all
            return _page(job, wanted, found, before=None, after=None, by_its_end=True)
        begin = ""
    first = row_browser.read_place(begin, wanted)
    found = row_browser.find_rows(job, wanted, first, PAGE)
    before = _beside(job, wanted, first, -1)
    return _page(job, wanted, found, before=before, after=found.onward, by_its_end=False)


def _page(
    job: Job,
    wanted: RowFilter,
    found: row_browser.FoundRows,
    *,
    before: RowPlace | None,
    after: RowPlace | None,
    by_its_end: bool,
) -> Page:
    total = row_browser.count_rows(job, wanted)
    numbers = [place.number for place in found.places]
    rows = {row.number: row for row in job.rows.filter(number__in=numbers)}
    shown = [rows[number] for number in numbers if number in rows]
    if by_its_end:
        shown.reverse()
    if not (found.cut and found.onward):
        return Page(shown, total, before, after)
    up_to = found.onward.beside(1 if by_its_end else -1, wanted).number
    return Page(shown, total, before, after, True, by_its_end, up_to)


def _beside(job: Job, wanted: RowFilter, place: RowPlace | None, step: int) -> RowPlace | None:
    """The place before (`step` -1) or after (1) `place`, if there are rows from there on: any, for
    whether one of them is wanted shows when that page is looked at."""
    if place is None:
        return None
    beside = place.beside(step, wanted)
    anything = replace(wanted, label="", model="", text="", differs=False)
    found = row_browser.find_rows(job, anything, beside, 1, backwards=step < 0)
    return beside if found.places else None


def _columns_chosen(job: Job, request: HttpRequest) -> list[int]:
    """The columns in the address, in the order of the file."""
    numbers = {whole_number(text) for text in request.GET.getlist("col")}
    chosen = [index for index in range(len(job.columns)) if index + 1 in numbers]
    return chosen[:MOST_CELLS_SHOWN]


def _columns_of_use(job: Job) -> list[int]:
    """The columns that the prompt uses, and the first others where these are few, in the order of
    the file."""
    used = recipes.columns_used(job.recipe.prompt)
    first = [index for index, name in enumerate(job.columns) if name in used]
    others = [index for index in range(len(job.columns)) if index not in first]
    return sorted((first + others)[: min(max(len(first), CELLS_SHOWN), MOST_CELLS_SHOWN)])


def _line(job: Job, row: Row, shown: list[int], columns: list[str]) -> dict[str, Any]:
    """A row of the table: a few cells, and the outcome with what explains it."""
    if job.kind == Job.Kind.REQUESTS:
        cells = [_request_in_short(job, row)]
    else:
        content = content_of(job, row)
        cells = [content[index] if index < len(content) else "" for index in shown]
    values = values_of(job, row)[:VALUES_SHOWN]
    return {
        "row": row,
        "cells": [Text.of(name, cell) for name, cell in zip(columns, cells, strict=True)],
        "answer": Text.of("Answer", row.answer, ANSWER_SHOWN),
        "values": [Text.of(name, cell) for name, cell in values],
        "message": Text.of("", row.message or row.problem),
        "cause": describe_cause(row.cause) if row.outcome in ATTENTION else None,
    }


def values_of(job: Job, row: Row) -> list[tuple[str, str]]:
    """An answer in columns: their names and cells. Empty for any other answer."""
    names = answer_shape_of(job).column_names
    if not names or not row.has_usable_answer:
        return []
    values = values_in(names, row.answer)
    if not values:
        return []  # it is shown as it is
    return [(name, as_cell(values.get(name))) for name in names]


def content_of(job: Job, row: Row) -> Any:
    """The cells or the request; the stored text alone where it cannot be decoded."""
    try:
        return shown_content(job, row)
    except (ValueError, RecursionError):
        return [MASK if job.masked else row.source]


def _request_in_short(job: Job, row: Row) -> str:
    content = content_of(job, row)
    if not isinstance(content, dict):
        return row.source
    params = content.get("params")
    text = recipes.prompt_text(params) if isinstance(params, dict) else ""
    return f"{content.get('custom_id') or ''}: {text}"


@require_safe
def row(request: HttpRequest, pk: int, number: int) -> HttpResponse:
    """A row with what went in, what came out, and its cost: its page, or the drawer beside the
    table of rows."""
    job = find_job(request, pk)
    found = get_object_or_404(job.rows.select_related("batch"), number=number)
    wanted = read_wanted(job, request)
    content = content_of(job, found)
    recipe = recipe_of_round(job, found.round)
    cause = describe_cause(found.cause) if found.outcome in ATTENTION else None
    context = {
        "job": job,
        "row": found,
        "earlier_job": _earlier_job(request, job, found),
        **_cells(job, content, recipe),
        "source": "" if isinstance(content, list) else json.dumps(content, ensure_ascii=False),
        "custom_id": content.get("custom_id") if isinstance(content, dict) else "",
        "request_sent": readable_request(job, found, recipe),
        "filled": [] if rounds.lacks_prompt(job, recipe) else filled_texts(job, found, recipe),
        "attempts": _attempts(job, found),
        "can_be_edited": _can_be_edited(job, found),
        "can_ask": cause and ASK in cause.remedies and rounds.can_change_prompt(job),
        "is_changed": edits.is_edited(job, found),
        "values": values_of(job, found),
        "right_answers": _beside_right(job, found),
        "cause": cause,
        "here": _address(request),
        "elsewhere": _address(request, "from", "to"),
        "filtered": is_part(wanted),
        "previous": _neighbour(job, wanted, found, -1),
        "next": _neighbour(job, wanted, found, 1),
    }
    in_drawer = request.headers.get("HX-Target") == DRAWER
    return render(request, "rows/_drawer.html" if in_drawer else "rows/row.html", context)


def _beside_right(job: Job, row: Row) -> list[tuple[str, str, str, bool | None]]:
    """The right answers for a row: column of the answer, right answer, answer, whether it is."""
    matcher = accuracy.matcher_of(job)
    return [
        (accuracy.name_of_column(one.name), one.gold, one.said, one.right)
        for one in (matcher.compare(row) if matcher else ())
    ]


def _cells(job: Job, content: Any, recipe: Recipe) -> dict[str, list[tuple[str, str]]]:
    """The cells of a table's row: those that the prompt uses, or all if it uses none, and the
    others."""
    if not isinstance(content, list):
        return {"used": [], "others": []}
    cells = list(zip_longest(job.columns, content, fillvalue=""))
    names = set(recipes.columns_used(recipe.template))
    used = [cell for cell in cells if cell[0] in names] or cells
    return {"used": used, "others": [cell for cell in cells if cell not in used]}


@dataclass(frozen=True)
class Earlier:
    """What a row came to before it was sent again."""

    attempt: Attempt
    cause: Cause | None
    request_sent: ReadableRequest | None


def _earlier_job(request: HttpRequest, job: Job, row: Row) -> int | None:
    """The job whose answer the row has, if the person may see it."""
    pk = row.earlier_job or job.previous_id
    if not (row.earlier and pk):
        return None
    return pk if is_seen(request, pk) else None


def _attempts(job: Job, row: Row) -> list[Earlier]:
    """The earlier attempts of a row, the newest first."""
    if not row.attempts:
        return []
    kept = Attempt.objects.filter(job=job, number=row.number).select_related("batch")
    return [
        Earlier(
            one,
            describe_cause(one.cause) if one.cause else None,
            readable_request(
                job,
                Row(source=one.source or row.source),
                recipe_of_round(job, one.batch.round if one.batch else 1),
            ),
        )
        for one in kept.order_by("-attempt")
    ]


def _can_be_edited(job: Job, row: Row) -> bool:
    return job.kind == Job.Kind.TABLE and edits.can_be_edited(job, row)


def _neighbour(job: Job, wanted: RowFilter, row: Row, step: int) -> Neighbour | None:
    """The next row of the same view (`step` 1), or the one before (-1)."""
    beside = row_browser.place_of(row, wanted).beside(step, wanted)
    found = row_browser.find_rows(
        job, wanted, beside, 1, backwards=step < 0, seconds=NEIGHBOUR_SECONDS
    )
    if found.places:
        return Neighbour(found.places[0].number, None)
    return Neighbour(None, found.onward) if found.onward else None
