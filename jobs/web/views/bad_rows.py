"""The first rows that cannot be sent, as a table in which the faulty cells are marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...models import FileProblem, Job, Outcome, Row

SHOWN = 5  # rows of a kind
LOOKED_AT = 200  # skipped rows, to find some of each kind
CELLS = 6  # of a row, so that the table is not wide
BEFORE = 2  # cells before the faulty one, to find the place
LONGEST_CELL = 80
BAD = "\ufffd"  # stands for bytes that are no character


@dataclass(frozen=True)
class BadCell:
    text: str
    fault: str = ""  # what is wrong with it, in a word


@dataclass(frozen=True)
class BadRow:
    line: int
    cells: list[BadCell]


@dataclass(frozen=True)
class BadRows:
    names: list[str]  # of the columns shown; "" for cells that have none
    rows: list[BadRow]
    begins_later: bool  # there are columns before these


@dataclass(frozen=True)
class SkippedKind:
    """Rows that cannot be sent for one reason; no table where no cell is at fault."""

    problem: FileProblem
    table: BadRows | None


def skipped_kinds(job: Job, problems: Sequence[FileProblem]) -> list[SkippedKind]:
    rows: list[Row] = []
    if problems and job.state == Job.State.DRAFT and job.kind == Job.Kind.TABLE:
        skipped = job.rows.filter(outcome=Outcome.LEFT_OUT, cause=Outcome.LEFT_OUT)
        rows = list(skipped.in_order().only("line", "source")[:LOOKED_AT])
    by_line = {row.line: row for row in rows}
    return [SkippedKind(one, _table(job.columns, one, by_line)) for one in problems]


def _table(columns: list[str], problem: FileProblem, by_line: dict[int, Row]) -> BadRows | None:
    found = [by_line[line] for line in problem.lines if line in by_line][:SHOWN]
    cells = [(row.line, _cells(problem.kind, row.content, len(columns))) for row in found]
    bad = [at for _line, some in cells for at, cell in enumerate(some) if cell.fault]
    if not bad:
        return None
    first = max(min(bad) - BEFORE, 0)
    last = min(first + CELLS, max(len(some) for _line, some in cells))
    blank = BadCell("")
    return BadRows(
        [columns[at] if at < len(columns) else "" for at in range(first, last)],
        [
            BadRow(line, [some[at] if at < len(some) else blank for at in range(first, last)])
            for line, some in cells
        ],
        first > 0,
    )


def _cells(kind: str, row: list[str], expected: int) -> list[BadCell]:
    longest = max(map(len, row), default=0)
    found = []
    for at in range(max(len(row), expected)):
        text = row[at] if at < len(row) else ""
        fault = ""
        if kind in ("few_cells", "many_cells"):
            fault = "extra" if at >= expected else "missing" if at >= len(row) else ""
        elif kind == "bad_character" and BAD in text:
            fault = "wrong character"
        elif kind == "long_cell" and len(text) == longest:
            fault = "too long"
        begin = max(text.find(BAD) - LONGEST_CELL // 2, 0) if fault == "wrong character" else 0
        cut = text[begin : begin + LONGEST_CELL]
        found.append(BadCell(cut + " …" if len(cut) < len(text) - begin else cut, fault))
    return found
