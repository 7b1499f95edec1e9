"""Answers beside the right ones: choose the column, see how many are right, and which differ."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from ...actions import accuracy as acting
from ...models import Difference, GoldStandard, Job, Pilot, Row, answer_shape_of
from ...results import accuracy as comparing
from ...results.accuracy import ComparedValue, Matcher
from ...results.review_sample import format_percent
from ...rules import recipes
from ...rules.accuracy import Accuracy, ColumnAccuracy
from ...rules.right_answers import (
    GoldChoice,
    answer_columns,
    fitting_choice,
    read_number,
    read_tolerance,
)
from .access import asked, find_job, person
from .fragments import Part, answer, make_part, reload_page, whole_number
from .rows import content_of

LOOK_SECONDS = 2
PAGE = 20  # rows on the page of those that differ
CELLS_SHOWN, TEXT_SHOWN = 4, 1_500
PILOT_COLUMNS = 4  # beside the result of a pilot
LABELS_SHOWN = 20  # in the table of right answers by answers
WRONG_TOLERANCE = "Enter how far off a number may be, such as 0 or 0.5. Nothing was changed."


@dataclass(frozen=True)
class ShownColumn:
    """One column of the answers, as the page tells of it. `table`: for each right answer how often
    each answer was given, when there are not too many of them."""

    found: ColumnAccuracy
    title: str

    @property
    def share(self) -> str:
        return "" if self.found.accuracy is None else format_percent(self.found.accuracy)

    @property
    def likely(self) -> str:
        """ "83–97%" """
        least, most = map(format_percent, self.found.bounds)
        return f"{least.rstrip('%')}\N{EN DASH}{most}"

    @property
    def kappa(self) -> str:
        return "" if self.found.kappa is None else f"{self.found.kappa:.2f}"

    @property
    def labels(self) -> list[tuple[str, int, str, str]]:
        """Label, rows, precision, recall."""
        return [
            (one.label, one.rows, _share(one.precision), _share(one.recall))
            for one in self.found.labels[:LABELS_SHOWN]
        ]

    @property
    def more_labels(self) -> int:
        return max(len(self.found.labels) - LABELS_SHOWN, 0)

    @property
    def table(self) -> list[tuple[str, list[tuple[int, bool]]]]:
        if self.more_labels:
            return []
        return [
            (one.label, [(count, at == place) for place, count in enumerate(line)])
            for at, (one, line) in enumerate(
                zip(self.found.labels, self.found.confusion, strict=True)
            )
        ]


def _share(share: float | None) -> str:
    return "–" if share is None else format_percent(share)


def _shown(found: Accuracy | None) -> list[ShownColumn]:
    columns = found.columns if found else ()
    return [ShownColumn(one, comparing.name_of_column(one.name)) for one in columns]


@dataclass(frozen=True)
class PilotAccuracy:
    """How many answers of a pilot are right. `columns`: the first of those that were compared."""

    is_compared: bool
    is_seen: bool  # Claude reads the right answers in the prompt, so that nothing is compared
    columns: list[ShownColumn]
    more: int


def accuracy_of_pilot(job: Job) -> PilotAccuracy | None:
    """What is known by now of a job whose pilot is in; None without right answers, and for a person
    from whom they are hidden."""
    gold = comparing.find_gold(job)
    if gold is None or comparing.is_hidden(job, gold.choice):
        return None
    is_current = gold.is_current(job)
    is_seen = bool(comparing.columns_that_claude_sees(job, gold.choice))
    found = gold.compared if is_current and not is_seen else None
    columns = [one for one in _shown(found) if one.share]
    more = max(len(columns) - PILOT_COLUMNS, 0)
    return PilotAccuracy(is_current, is_seen, columns[:PILOT_COLUMNS], more)


# --- The page -------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
def accuracy(request: HttpRequest, pk: int) -> HttpResponse:
    """POST chooses: `gold`: for each column of the answer, in their order, the number of a column
    of the file or nothing; `accents`: they are ignored; `tolerance`."""
    job = find_job(request, pk)
    if job.kind != Job.Kind.TABLE or job.state not in acting.STATES:
        return redirect("job", pk)
    if request.method == "POST":
        return _choose(request, job)
    gold = comparing.find_gold(job)
    part = _result_part(request, job, gold) if gold and job.was_sent else None
    if request.headers.get("HX-Request"):
        return answer(request, part) if part else reload_page()
    choice = gold.choice if gold else comparing.likely_gold(job)
    fits = fitting_choice(choice, answer_shape_of(job), job.columns)
    chosen = dict(fits.columns)
    context = {
        "job": job,
        "gold": gold,
        "choice": choice,
        "part": part,
        "can_choose": acting.can_compare(job),
        "columns": list(enumerate(job.columns, start=1)),
        "answers": [
            (comparing.name_of_column(one.name), chosen.get(one.name, ""))
            for one in answer_columns(answer_shape_of(job))
        ],
        "has_numbers": any(one.kind == "number" for one in answer_columns(answer_shape_of(job))),
        "is_guess": gold is None and bool(chosen),
        "gone": [name for name in choice.file_columns if name not in chosen.values()],
        "seen": comparing.columns_that_claude_sees(job, choice) if gold else [],
    }
    return render(request, "accuracy/page.html", context)


def _choose(request: HttpRequest, job: Job) -> HttpResponse:
    names = [one.name for one in answer_columns(answer_shape_of(job))]
    picked = [whole_number(text) for text in request.POST.getlist("gold")]
    pairs = tuple(
        (name, job.columns[number - 1])
        for name, number in zip(names, picked, strict=False)
        if 0 < number <= len(job.columns)
    )
    tolerance = request.POST.get("tolerance", "").strip()[:40] or "0"
    if read_tolerance(tolerance) is None:
        messages.error(request, WRONG_TOLERANCE)
        return redirect("accuracy", job.pk)
    choice = GoldChoice(pairs, False, "accents" in request.POST, tolerance)
    if acting.choose_gold(job, choice):
        if pairs:
            messages.success(request, "Answers are now compared with your column.")
        else:
            messages.success(request, "Answers are no longer compared.")
    return redirect("accuracy", job.pk)


def _result_part(request: HttpRequest, job: Job, gold: GoldStandard) -> Part:
    """What came of it; asked for again until the worker has compared the answers."""
    is_current, is_hidden = gold.is_current(job), comparing.is_hidden(job, gold.choice)
    pilot_is_in = Pilot.objects.filter(job=job, step=Pilot.Step.WAITING).exists()
    is_compared = job.state == Job.State.FINISHED or pilot_is_in
    waits = is_compared and not is_current and not is_hidden
    # Not even how many are right: of all or none that tells each cell.
    found = gold.compared if is_current and not is_hidden else None
    context = {
        "job": job,
        "gold": gold,
        "found": found,
        "shown": _shown(found),
        "is_compared": is_compared,
        "pilot_is_in": pilot_is_in,
        "is_hidden": is_hidden,
        "written": job.right_answers.exclude(written_at=None).count() if gold.choice.by_hand else 0,
        "drawn": job.right_answers.count() if gold.choice.by_hand else 0,
    }
    return make_part(
        request,
        "accuracy-result",
        "accuracy/_result.html",
        context,
        url=reverse("accuracy", args=[job.pk]),
        seconds=LOOK_SECONDS if waits else None,
    )


# --- Rows that differ -----------------------------------------------------------------------------


@dataclass(frozen=True)
class DifferentRow:
    """A row with its cells, and its answer beside the right one."""

    row: Row
    cells: list[tuple[str, str]]
    compared: list[tuple[str, ComparedValue]]


@require_safe
def differences(request: HttpRequest, pk: int) -> HttpResponse:
    """The rows whose answers differ, side by side; `from`: the number of the first row."""
    job = find_job(request, pk)
    gold = comparing.shown_gold(job)
    if gold is None:
        if not request.headers.get("HX-Request"):
            messages.info(request, "There is nothing to show here yet.")
        return redirect("accuracy", pk)
    begin = max(whole_number(asked(request, "from")), 1)
    there = Difference.objects.filter(job=job, number__gte=begin).order_by("number")
    numbers = list(there.values_list("number", flat=True)[: PAGE + 1])
    matcher = Matcher(job, gold.choice)
    rows = job.rows.filter(number__in=numbers[:PAGE]).in_order()
    context = {
        "job": job,
        "gold": gold,
        "total": gold.compared.different if gold.compared else 0,
        "begin": begin,
        "lines": [_different(job, row, matcher) for row in rows],
        "next": numbers[PAGE] if len(numbers) > PAGE else None,
    }
    return render(request, "accuracy/differences.html", context)


def _different(job: Job, row: Row, matcher: Matcher) -> DifferentRow:
    compared = [
        (comparing.name_of_column(one.name), shorten(one))
        for one in matcher.compare(row)
        if one.right is False
    ]
    return DifferentRow(row, cells_of(job, row, matcher.comparison.choice), compared)


def shorten(one: ComparedValue) -> ComparedValue:
    return ComparedValue(one.name, one.gold[:TEXT_SHOWN], one.said[:TEXT_SHOWN], one.right)


def cells_of(job: Job, row: Row, choice: GoldChoice) -> list[tuple[str, str]]:
    """The cells that the prompt uses, or the first ones: without right answers."""
    content = content_of(job, row)
    gold = set(choice.file_columns)
    cells = [one for one in zip(job.columns, content, strict=False) if one[0] not in gold]
    used = set(recipes.columns_used(job.recipe.template))
    shown = [one for one in cells if one[0] in used] or cells
    return [(name, str(cell)[:TEXT_SHOWN]) for name, cell in shown[:CELLS_SHOWN]]


# --- Right answers by hand ------------------------------------------------------------------------


SIZES = (10, 20, 50, 100)
LONGEST_WRITTEN = 20_000
NO_NUMBER = "Write a number, such as 3.5. Nothing was saved."
HAS_ONE = "This row already has a right answer."
NOTHING_WRITTEN = "Write the right answer first. Nothing was saved."


@dataclass(frozen=True)
class FieldToWrite:
    """What the answer should be in one column. `text` was typed and not saved because of a
    `problem`."""

    name: str
    kind: str
    choices: tuple[str, ...]
    text: str = ""
    problem: str = ""


@require_http_methods(["GET", "HEAD", "POST"])
def right_answers(request: HttpRequest, pk: int) -> HttpResponse:
    """A person writes the right answers for random rows; that of Claude is shown after theirs is
    saved. `saved`: the row whose answers are shown beside each other. POST: `size` draws rows;
    `number` with `right`, for each column of the answer, saves; `skip`: it has no right answer."""
    job = find_job(request, pk)
    if not acting.can_compare(job) or not job.was_sent or job.masked:
        return redirect("job", pk)
    if request.method == "POST":
        return _write(request, job)
    saved = job.right_answers.filter(number=whole_number(request.GET.get("saved")))
    saved = saved.exclude(written_at=None)
    waiting = job.right_answers.filter(written_at=None).order_by("position")
    after, here = saved.first(), waiting.first()
    context = {
        **_progress(job),
        "after": _beside(job, after.number, after.values) if after else None,
        "is_skipped": bool(after and not any(after.values.values())),
        **(_to_write(job, here.number, _fields(job)) if here and not after else {}),
    }
    return render(request, "accuracy/right_answers.html", context)


def _progress(job: Job) -> dict[str, Any]:
    drawn, written = job.right_answers.count(), job.right_answers.exclude(written_at=None).count()
    sizes = [size for size in SIZES if size > drawn]
    return {"job": job, "drawn": drawn, "written": written, "sizes": sizes}


def _fields(job: Job) -> list[FieldToWrite]:
    return [
        FieldToWrite(
            comparing.name_of_column(column.name),
            column.kind,
            {"yes_no": ("yes", "no")}.get(column.kind, column.choices),
        )
        for column in answer_columns(answer_shape_of(job))
    ]


def _to_write(job: Job, number: int, fields: list[FieldToWrite]) -> dict[str, Any]:
    """The cells of a row, and what is to be written: nothing of Claude's answer."""
    row = job.rows.get(number=number)
    return {"number": number, "cells": cells_of(job, row, GoldChoice()), "fields": fields}


def _beside(job: Job, number: int, values: dict[str, str]) -> DifferentRow:
    """Both answers to a row, once a person has written theirs."""
    row = job.rows.get(number=number)
    matcher = Matcher(job, GoldChoice(by_hand=True))
    compared = matcher.comparison.compare(values, row.answer) if row.has_usable_answer else []
    shown = [(comparing.name_of_column(one.name), shorten(one)) for one in compared]
    return DifferentRow(row, cells_of(job, row, GoldChoice()), shown)


def _write(request: HttpRequest, job: Job) -> HttpResponse:
    size = whole_number(request.POST.get("size"))
    if size:
        if size in SIZES and not acting.draw_rows(job, size):
            messages.info(request, "There are no more rows with a good answer.")
        return redirect("right_answers", job.pk)
    number = whole_number(request.POST.get("number"))
    values: dict[str, str] = {}
    if "skip" not in request.POST:
        fields = _typed(request, job)
        if any(one.problem for one in fields):
            return _show_again(request, job, number, fields)
        names = [column.name for column in answer_columns(answer_shape_of(job))]
        pairs = zip(names, fields, strict=True)
        values = {name: one.text for name, one in pairs if one.text}
    if not acting.save_right_answer(job, number, values, person(request)):
        messages.info(request, HAS_ONE)
        return redirect("right_answers", job.pk)
    return redirect(f"{reverse('right_answers', args=[job.pk])}?saved={number}")


def _typed(request: HttpRequest, job: Job) -> list[FieldToWrite]:
    """The fields as they were filled in, with what is wrong."""
    fields = _fields(job)
    texts = [text.strip()[:LONGEST_WRITTEN] for text in request.POST.getlist("right")]
    texts = [*texts, *[""] * len(fields)][: len(fields)]
    if not any(texts):
        return [replace(fields[0], problem=NOTHING_WRITTEN), *fields[1:]]
    return [
        replace(one, text=text, problem=NO_NUMBER if _is_no_number(one.kind, text) else "")
        for one, text in zip(fields, texts, strict=True)
    ]


def _is_no_number(kind: str, text: str) -> bool:
    return kind == "number" and text != "" and read_number(text) is None


def _show_again(
    request: HttpRequest, job: Job, number: int, fields: list[FieldToWrite]
) -> HttpResponse:
    """The page with what was typed, while that row still has no right answer."""
    if not job.right_answers.filter(number=number, written_at=None).exists():
        messages.info(request, HAS_ONE)
        return redirect("right_answers", job.pk)
    context = {**_progress(job), **_to_write(job, number, fields)}
    return render(request, "accuracy/right_answers.html", context, status=422)
