"""The cells of one row of a table, and whether they are as many as its columns."""

from __future__ import annotations

import msgspec

from .shapes import Finding, Limits, ParsedRow

encode = msgspec.json.Encoder().encode


def line_of(line: int, cells: list[str], expected: int, limits: Limits, *, fill: bool) -> ParsedRow:
    """A row of a table with `expected` columns. `fill`: missing cells are filled with nothing."""
    problem = None
    if len(cells) != expected:
        cells, problem = _fitted(line, cells, expected, fill=fill)
    source = encode(cells).decode()
    if source.isascii():
        sizes = list(map(len, cells))
    else:
        sizes = [len(cell) if cell.isascii() else len(cell.encode()) for cell in cells]
    # A character has at most four bytes.
    if len(source) * 4 > limits.cell and max(sizes) > limits.cell:
        text = f"A cell has {max(sizes):,} bytes; the limit is {limits.cell:,}."
        problem = Finding("long_cell", text, line)
    return ParsedRow(line, source, sum(sizes), problem, sizes)


def _fitted(
    line: int, cells: list[str], expected: int, *, fill: bool
) -> tuple[list[str], Finding | None]:
    """The cells of a row that has too few or too many, and what is wrong with it."""
    if len(cells) < expected:
        if fill:
            return cells + [""] * (expected - len(cells)), None
        text = f"This row has {_cells(len(cells))}, and there are {expected} columns."
        return cells, Finding("few_cells", text, line)
    if not any(map(str.strip, cells[expected:])):
        return cells[:expected], None
    columns = "is 1 column" if expected == 1 else f"are {expected} columns"
    text = f"This row has {_cells(len(cells))}, and there {columns}."
    return cells, Finding("many_cells", text, line)


def _cells(count: int) -> str:
    return "1 cell" if count == 1 else f"{count} cells"
