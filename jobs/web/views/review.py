"""A sample of the answers, read by a person: one by one or as a list, and all answers counted."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from ...actions import retries, reviews
from ...models import Job, Row, answer_shape_of
from ...results import accuracy, review_sample
from ...results.review_sample import ReviewedRow
from ...rules import answer_statistics, recipes
from ...rules.answer_formats import AnswerKind, as_cell, values_in
from ...rules.answer_statistics import ColumnStatistics
from ..templatetags.show import figure
from .access import asked, find_job, person
from .fragments import whole_number
from .rows import content_of

LONGEST_SHOWN = 20_000  # characters of a cell or an answer
LONGEST_NOTE = 1_000
FOLDED_FROM = 160  # characters of the prompt, about two lines
MARKS = {"good": True, "bad": False, "unread": None}
# A picture of numbers, in units of its own.
WIDTH, HEIGHT, GAP = 600, 120, 2


@dataclass(frozen=True)
class Shown:
    """A row of the sample, as it is read. `first`: the cells that the prompt uses; `others`: the
    rest of them."""

    read: ReviewedRow
    first: list[tuple[str, str]]
    others: list[tuple[str, str]]
    values: list[tuple[str, str]]
    key: str

    @property
    def row(self) -> Row | None:
        return self.read.row

    @property
    def position(self) -> int:
        return self.read.reading.position

    @property
    def note(self) -> str:
        return "" if self.read.was_read_before else self.read.reading.note


@require_http_methods(["GET", "HEAD", "POST"])
def review(request: HttpRequest, pk: int) -> HttpResponse:
    """`at`: the place in the sample of the answer to check; `list`: all of them on one page;
    `result`: what was found. Without any the first that was not checked, and after the last one the
    result. POST draws `size` answers."""
    job = _find_sent_job(request, pk)
    if request.method == "POST":
        size = whole_number(request.POST.get("size"))
        if size in review_sample.SIZES and not reviews.draw_sample(job, size, person(request)):
            messages.info(request, "There are no more answers to draw.")
        return redirect("review", pk)
    found = review_sample.load_sample(job, with_cells=True)
    if not found:
        different = accuracy.count_different(job)
        context = {"job": job, "different": different, **_sizes(job, 0)}
        return render(request, "review/start.html", context)
    context = _context(job, found)
    at = whole_number(asked(request, "at"))
    wanted = next((one for one in found if one.reading.position == at), None)
    if "list" not in request.GET:
        wanted = wanted or _next_unread(found, 0)
    is_over = wanted is None or "result" in request.GET
    if is_over and "list" not in request.GET and context["share"].read:
        context |= {**_result(job, found), **_sizes(job, len(found))}
        return render(request, "review/result.html", context)
    if wanted is None or "list" in request.GET:
        context |= {"lines": [_shown(job, one) for one in found], **_sizes(job, len(found))}
        return render(request, "review/list.html", context)
    place = found.index(wanted)
    context |= {
        "shown": _shown(job, wanted),
        "previous": found[place - 1].reading.position if place else None,
        "next": found[place + 1].reading.position if place + 1 < len(found) else None,
    }
    return render(request, "review/one.html", context)


def _find_sent_job(request: HttpRequest, pk: int) -> Job:
    job = find_job(request, pk)
    if not job.was_sent:
        raise Http404
    return job


def _sizes(job: Job, there: int) -> dict[str, Any]:
    """How many answers can be drawn; the last choice is all there are, if that is less."""
    most = max(job.good_count, there)
    sizes = [size for size in review_sample.SIZES if there < size]
    fewer = [size for size in sizes if size < most]
    all_of_them = next((size for size in sizes if size >= most), None) if there < most else None
    return {
        "sizes": fewer,
        "all_size": all_of_them,
        "usual_size": 40 if 40 in fewer else all_of_them or (fewer[-1] if fewer else None),
    }


def _context(job: Job, found: list[ReviewedRow]) -> dict[str, Any]:
    prompt = job.recipe.prompt if job.kind == Job.Kind.TABLE else ""
    unread = _next_unread(found, 0)
    return {
        "job": job,
        "share": review_sample.summarize_review(job, found),
        "drawn": len(found),
        "prompt": prompt[:LONGEST_SHOWN],
        "is_long": len(prompt) > FOLDED_FROM or prompt.strip().count("\n") > 1,
        # Where the answers one by one begin.
        "begin": (unread or found[0]).reading.position if found else 1,
    }


def _result(job: Job, found: list[ReviewedRow]) -> dict[str, Any]:
    """The answers that are not good, and whether Claude can be asked for a better prompt."""
    is_own = job.kind == Job.Kind.TABLE and not job.is_external
    return {
        "bad": [_shown(job, one) for one in found if one.good is False],
        "can_improve": is_own and job.state == Job.State.FINISHED,
        "different": accuracy.count_different(job),
    }


def _next_unread(found: list[ReviewedRow], after: int) -> ReviewedRow | None:
    """The first that was not read behind the place `after`, or else from the beginning."""
    unread = [one for one in found if one.row and one.good is None]
    behind = [one for one in unread if one.reading.position > after]
    return next(iter(behind or unread), None)


def _shown(job: Job, read: ReviewedRow) -> Shown:
    if read.row is None:
        return Shown(read, [], [], [], "")
    cells = _cells(job, read.row)
    used = set(recipes.columns_used(job.recipe.prompt))
    first = [(name, cell) for name, cell in cells if name in used] or cells
    others = [one for one in cells if one not in first]
    values = _values(answer_shape_of(job), read.row)
    return Shown(read, first, others, values, review_sample.answer_key(read.row))


def _cells(job: Job, row: Row) -> list[tuple[str, str]]:
    content = content_of(job, row)
    if isinstance(content, dict):
        params = content.get("params")
        text = recipes.prompt_text(params) if isinstance(params, dict) else ""
        cells = [("custom_id", str(content.get("custom_id") or "")), ("Request", text)]
    else:
        cells = list(zip(job.columns, content, strict=False))
    return [(name, cell[:LONGEST_SHOWN]) for name, cell in cells]


def _values(kind: AnswerKind, row: Row) -> list[tuple[str, str]]:
    """An answer in columns, which a mark does not change; [] for any other."""
    values = values_in(kind.column_names, row.answer)
    if not values:
        return []
    return [(name, as_cell(values.get(name))[:LONGEST_SHOWN]) for name in kind.column_names]


@require_POST
def mark(request: HttpRequest, pk: int, number: int) -> HttpResponse:
    """`mark`: one of MARKS, or "note" for a new note alone; `key`: of the answer that was read;
    `list`: it was read in the list."""
    job = _find_sent_job(request, pk)
    read = next(iter(review_sample.load_sample(job, number)), None)
    if read is None:
        raise Http404
    said = request.POST.get("mark", "")
    good = read.good if said == "note" else MARKS.get(said)
    note = request.POST.get("note", "").replace("\0", "").strip()[:LONGEST_NOTE]
    key = request.POST.get("key", "")
    done = (said == "note" or said in MARKS) and reviews.mark_answer(
        job, number, key, good, note, person(request)
    )
    if not done:
        if retries.are_rows_changing(job):
            why = "Rows of this job are being changed just now. Try again in a moment."
        else:
            why = f"Row {number:,} has another answer now."
        messages.info(request, f"{why} Nothing was marked.")
    job.refresh_from_db()
    found = review_sample.load_sample(job)
    in_list = "list" in request.POST
    if in_list and request.headers.get("HX-Request"):
        if not done:
            return HttpResponse(headers={"HX-Refresh": "true"})
        [read] = review_sample.load_sample(job, number, with_cells=True)
        context = {**_context(job, found), "shown": _shown(job, read), "swapped": True}
        return render(request, "review/_marked.html", context)
    address = reverse("review", args=[pk])
    if in_list:
        return redirect(f"{address}?list=1#row-{number}")
    place = read.reading.position
    following = _next_unread(found, place) if done and said in ("good", "bad") else read
    return redirect(f"{address}?at={following.reading.position}" if following else address)


# --- All answers, counted -------------------------------------------------------------------------


@dataclass(frozen=True)
class Bar:
    """A bar of a picture: where it stands, and what it stands for."""

    x: int
    y: int
    height: int
    words: str
    count: int


@dataclass(frozen=True)
class Counted:
    """A column of the answers with its picture."""

    summary: ColumnStatistics
    bars: list[Bar]
    bar_width: int

    @property
    def most(self) -> int:
        """How often the most frequent value is there: the length of the longest bar."""
        return max((count for _value, count in self.summary.values), default=0) or 1


@require_safe
def counts(request: HttpRequest, pk: int) -> HttpResponse:
    """What all answers say: how often each label is there, and how numbers and lengths lie."""
    job = _find_sent_job(request, pk)
    found = job.answers
    context = {
        "job": job,
        "share": review_sample.summarize_review(job) if job.drawn_from else None,
        "summary": found,
        "columns": [_counted(one) for one in found.columns] if found else [],
        "width": WIDTH,
        "height": HEIGHT,
    }
    return render(request, "review/counts.html", context)


def _counted(column: ColumnStatistics) -> Counted:
    bars = column.numbers.bars if column.numbers else []
    whole = column.numbers is not None and column.numbers.whole
    most = max((bar.count for bar in bars), default=1)
    slot = min(WIDTH // max(len(bars), 1), WIDTH // 8)
    drawn = []
    for place, bar in enumerate(bars):
        # What is there at all can be seen.
        height = max(round(HEIGHT * bar.count / most), 2) if bar.count else 0
        drawn.append(Bar(place * slot, HEIGHT - height, height, _words(bar, whole), bar.count))
    return Counted(column, drawn, slot - GAP)


def _words(bar: answer_statistics.Bar, whole: bool) -> str:
    """ "3", "10 to 19" or "0.5 to below 0.6" """
    least, below = Decimal(bar.least), Decimal(bar.below)
    if not whole:
        return f"{figure(least)} to below {figure(below)}"
    return figure(least) if below - least <= 1 else f"{figure(least)} to {figure(below - 1)}"
