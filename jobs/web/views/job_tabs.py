"""What the tabs of a sent job's page show: answers, problems, cost, details."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import models

from ...drafts import estimates, model_catalog
from ...drafts.estimates import PartEstimate
from ...models import PILOT_IS_IN, Batch, Job, Outcome, Row, answer_shape_of, dollars
from ...results import accuracy, review_sample, row_browser
from ...results.row_browser import RowFilter
from ...retries import edits, problem_groups, remedy_groups, rounds
from ...rules import pricing, recipes
from ...rules.answer_formats import COLUMNS, LABELS
from ...rules.answer_statistics import ColumnStatistics
from ...rules.judging import IGNORED, describe_cause
from ...rules.price_estimates import Estimate
from ...rules.retry_choices import RetryChoice
from ..templatetags.show import OUTCOME_COLOURS
from .batch_trouble import checked_until, has_incomplete_file, is_incomplete, is_overdue, late_ones
from .draft import format_in_words
from .rows import content_of, values_of

EVENTS_SHOWN = 100
EVENTS_IN_PROGRESS = 4  # of a job without answers yet
BATCHES_SHOWN = 200
ROWS_SHOWN = 10
CELLS_SHOWN, VALUES_SHOWN = 2, 3  # of a row
TEXT_SHOWN = 400  # characters of a cell or an answer
COLUMNS_SHOWN, BARS_SHOWN = 4, 6  # of the answers, and of the values of one column
LABELS_KEY = ""  # the name of the only column of answers that are labels


# --- Answers --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AnsweredRow:
    """A row with its answer, as far as the page shows it."""

    row: Row
    cells: list[tuple[str, str]]
    values: list[tuple[str, str]]  # of an answer in columns
    answer: str
    trouble: str  # why it has no good answer, in a few words
    colour: str


@dataclass(frozen=True)
class ValueBar:
    """How often a value occurs; `label`: to filter the rows by, "" where that is impossible."""

    words: str
    count: int
    label: str = ""


@dataclass(frozen=True)
class AnswerSummary:
    """One column of the answers: its most frequent values, or how its numbers lie."""

    column: ColumnStatistics
    bars: list[ValueBar]
    others: int
    most: int  # the length of the longest bar


def answers_context(job: Job) -> dict[str, Any]:
    shown = _columns_shown(job)
    kind = answer_shape_of(job)
    found = _first_rows(job)
    return {
        "summary": job.answers if _are_counted(job) else None,
        "summaries": _summaries(job),
        "is_labels": kind.kind == LABELS,
        "columns": [job.columns[at] for at in shown] or ["Request"],
        "answer_columns": kind.column_names[:VALUES_SHOWN] or ["Answer"],
        "lines": [_answered_row(job, row, shown) for row in found],
        "share": review_sample.summarize_review(job) if job.drawn_from else None,
        "right": _right_in_words(job),
    }


def _are_counted(job: Job) -> bool:
    """Whether its answers were counted since the last one came."""
    return job.state == Job.State.FINISHED or job.held == PILOT_IS_IN


def _right_in_words(job: Job) -> str:
    """ "92% right (46 of 50 compared)"; of several columns each; "" while that is not known."""
    gold = accuracy.find_gold(job) if job.state == Job.State.FINISHED else None
    if gold is None or gold.compared is None or not gold.is_current(job):
        return ""
    if accuracy.is_hidden(job, gold.choice):
        return ""
    several = len(gold.compared.columns) > 1
    found = []
    for one in gold.compared.columns:
        if one.accuracy is not None:
            share = review_sample.format_percent(one.accuracy)
            words = f"{share} right ({one.correct:,} of {one.compared:,} compared)"
            found.append(f"{one.name}: {words}" if several else words)
    return ", ".join(found)


def _first_rows(job: Job) -> list[Row]:
    """The first rows of a finished job; while others wait, the first that have a good answer."""
    if job.state == Job.State.FINISHED:
        return list(job.rows.filter(number__lte=ROWS_SHOWN).in_order())
    good = row_browser.find_rows(job, RowFilter(outcome=Outcome.GOOD), None, ROWS_SHOWN)
    numbers = [place.number for place in good.places]
    return list(job.rows.filter(number__in=numbers).in_order())


def _columns_shown(job: Job) -> list[int]:
    """The first columns that the prompt uses, or of the file if it uses none."""
    used = recipes.columns_used(job.recipe.prompt)
    found = [at for at, name in enumerate(job.columns) if name in used]
    return (found or list(range(len(job.columns))))[:CELLS_SHOWN]


def _answered_row(job: Job, row: Row, shown: Sequence[int]) -> AnsweredRow:
    content = content_of(job, row)
    cells = [("Request", _request_text(row, content))]
    if job.kind == Job.Kind.TABLE:
        cells = [(job.columns[at], content[at] if at < len(content) else "") for at in shown]
    is_good = row.outcome == Outcome.GOOD
    trouble = ""
    if not is_good and row.outcome != Outcome.WAITING:
        trouble = describe_cause(row.cause).title if row.cause else row.get_outcome_display()
    return AnsweredRow(
        row,
        [(name, cell[:TEXT_SHOWN]) for name, cell in cells],
        [(name, cell[:TEXT_SHOWN]) for name, cell in values_of(job, row)[:VALUES_SHOWN]],
        row.answer[:TEXT_SHOWN],
        trouble,
        OUTCOME_COLOURS[row.outcome],
    )


def _request_text(row: Row, content: Any) -> str:
    params = content.get("params") if isinstance(content, dict) else None
    return recipes.prompt_text(params) if isinstance(params, dict) else row.source


def _summaries(job: Job) -> list[AnswerSummary]:
    """The columns of the answers that say something in short; plain text does not."""
    if job.answers is None or not job.answers.count or not _are_counted(job):
        return []
    kind = answer_shape_of(job)
    told = [one for one in job.answers.columns if one.values or one.kind == "number"]
    return [_summary(one, kind.kind == LABELS) for one in told[:COLUMNS_SHOWN]]


def _summary(column: ColumnStatistics, is_label: bool) -> AnswerSummary:
    bars = [
        ValueBar(value, count, value if is_label else "")
        for value, count in column.values[:BARS_SHOWN]
    ]
    rest = sum(count for _value, count in column.values[BARS_SHOWN:])
    return AnswerSummary(column, bars, column.others + rest, max([1, *(b.count for b in bars)]))


# --- Problems -------------------------------------------------------------------------------------


def problems_context(job: Job) -> dict[str, Any]:
    groups = problem_groups.find_groups(job)
    ignored = RetryChoice(IGNORED)
    merged = remedy_groups.merge_groups(job, groups)
    return {
        "groups": groups,
        "merged": merged,
        "to_decide": sum(one.rows for one in merged if one.is_decision),
        "edited": edits.count_waiting(job),
        "different": accuracy.count_different(job),
        "can_send": job.state == Job.State.FINISHED,
        "is_of_other_mode": job.practice != settings.PRACTICE,
        "set_aside": rounds.find_plan(job, ignored) if job.ignored_count else None,
    }


# --- Cost -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CachingResult:
    """What prompt caching came to."""

    hits: int  # rows that read from the cache
    rows: int  # rows that were answered
    saved: Decimal  # US dollars; below 0: it cost more

    @property
    def cost_more(self) -> Decimal:
        return -self.saved


def cost_context(job: Job, batches: Sequence[Batch]) -> dict[str, Any]:
    tested = job.trials.aggregate(rows=models.Count("pk"), pico=models.Sum("cost_pico"))
    return {
        "cost": job.cost,
        "late_cost": sum((one.cost for one in late_ones(batches)), Decimal(0)),
        "own_cost": dollars(job.spent_pico),  # of an imported one: not charged elsewhere
        "estimated": _estimated(job, batches),
        "caching": _caching_result(job),
        "tested": tested,
        "tested_cost": dollars(int(tested["pico"] or 0)),
        "model_name": model_catalog.name_of(job.recipe.model) if job.kind == Job.Kind.TABLE else "",
    }


def _estimated(job: Job, batches: Sequence[Batch]) -> Estimate | PartEstimate | None:
    """What was estimated for the job; retries are looked for only where there are some."""
    again = any(batch.round > 1 for batch in batches)
    return estimates.total_estimate(job) if again else estimates.current(job)


def _caching_result(job: Job) -> CachingResult | None:
    """None when nothing was to be cached, or nothing has been answered yet."""
    written, read = job.tally.cache_write_tokens, job.tally.cache_read_tokens
    if not job.recipe.cached or not (written or read):
        return None
    saved = pricing.caching_savings(job.recipe.model, written, read)
    return CachingResult(job.tally.cache_hits, job.tally.answered, saved)


# --- Details --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BatchLine:
    """A batch as the table of them shows it."""

    batch: Batch
    checked_until: datetime | None  # of one that is being looked for
    is_overdue: bool
    is_incomplete: bool
    has_incomplete_file: bool


def details_context(job: Job, batches: Sequence[Batch]) -> dict[str, Any]:
    is_table = job.kind == Job.Kind.TABLE
    return {
        "batch_count": len(batches),
        "batches_done": sum(batch.is_final for batch in batches),
        "batch_lines": [_batch_line(batch) for batch in batches[:BATCHES_SHOWN]],
        "estimate": estimates.current(job),
        "events": job.events.select_related("who").order_by("-pk")[:EVENTS_SHOWN],
        "format": format_in_words(job) if job.upload_bytes else "",
        "model_name": model_catalog.name_of(job.recipe.model) if is_table else "",
        "answer_kind": answer_shape_of(job),
        "is_columns": answer_shape_of(job).kind == COLUMNS,
    }


def _batch_line(batch: Batch) -> BatchLine:
    return BatchLine(
        batch,
        checked_until(batch),
        is_overdue(batch),
        is_incomplete(batch),
        has_incomplete_file(batch),
    )


def progress_context(job: Job) -> dict[str, Any]:
    """What stands in place of answers before the first are in."""
    since = job.events.filter(at__gte=job.confirmed_at or job.created_at)
    return {"events": since.order_by("-pk")[:EVENTS_IN_PROGRESS]}
