"""The rows whose answers people marked, in tests of a draft and in the quality check of a job."""

from __future__ import annotations

from ..drafts.improvements import LONGEST_TEXT, MOST_EXAMPLES, MarkedRow
from ..models import Job, Outcome, Row, recipe_of
from ..results import review_sample
from ..rules.recipes import columns_used

MOST_GOOD = 3  # rows with good answers that are tested along


def marked_rows(job: Job) -> list[MarkedRow]:
    """The rows that were marked down, by their numbers; of a row tested several times the last
    answer that was marked."""
    found = {
        one.number: MarkedRow(one.number, _shorten(one.cells), one.answer)
        for one in job.trials.of_rows().filter(marked_down=True).order_by("pk")
    }
    for read in review_sample.load_sample(job, with_cells=True):
        if read.good is False and read.row is not None:
            row = read.row
            note = read.reading.note
            found[row.number] = MarkedRow(row.number, _cells(job, row), row.answer, note)
    return [found[number] for number in sorted(found)][:MOST_EXAMPLES]


def good_rows(job: Job) -> list[int]:
    """The numbers of a few rows with good answers: a better prompt must not spoil them."""
    marked = {row.number for row in marked_rows(job)}
    reviewed = [read.reading.number for read in review_sample.load_sample(job) if read.good]
    tested = job.trials.of_rows().filter(outcome=Outcome.GOOD, marked_down=False).order_by("-pk")
    numbers = [*reviewed, *tested.values_list("number", flat=True)[:100]]
    return [number for number in dict.fromkeys(numbers) if number not in marked][:MOST_GOOD]


def _cells(job: Job, row: Row) -> list[tuple[str, str]]:
    if job.kind != Job.Kind.TABLE or len(row.content) != len(job.columns):
        return []
    cells = dict(zip(job.columns, row.content, strict=True))
    used = dict.fromkeys(columns_used(recipe_of(job).prompt))
    return _shorten([(name, cells[name]) for name in used if name in cells])


def _shorten(cells: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, cell[:LONGEST_TEXT]) for name, cell in cells]
