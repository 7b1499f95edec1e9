"""Which lines of a table hold the column names, and where its rows begin: the best fit among the
first lines, not the first that would pass."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from .column_names import join_names
from .merged_names import Span, find_merged_names
from .row_shapes import (
    Look,
    Record,
    contrast,
    holds_values,
    is_rule,
    is_value,
    looks,
    table_places,
    usual_width,
)
from .shapes import NO_HEADER, Choices, Finding, Option, unreadable
from .table_parts import Part, tables_above

LEAST_COLUMNS = 3  # of a table that may have a title above it
LEAST_ROWS = 3  # of a table with fewer columns, with the line of names
MOST_LINES = 3  # that are found to hold column names, or to be no rows below them
COMPARED = 20  # lines below a line
SHOWN = 60  # characters of a cell

_YEAR = re.compile(r"(19|20)[0-9]{2}")
# What SurveyMonkey writes below a question with a single answer.
_RESPONSE = re.compile(r"(open-ended )?response", re.IGNORECASE)
# What Qualtrics writes in the third line.
_SURVEY_ID = re.compile(r"\{\s*[\"']ImportId[\"']\s*:")
_ERROR = re.compile(r"#[A-Z/0]+[!?]?")
_NO_ANSWER = {"na", "n/a", "n.a.", "nan", "null", "none", "nil", "x", "nd", "tbd", "unknown"}


@dataclass
class Header:
    """`line`: the first one with names; NO_HEADER: there are none; 0: nothing is in the file."""

    line: int = 0
    lines: int = 1  # how many hold names
    first_row: int = 0  # lines between the names and this one are no rows; 0: there are none
    findings: list[Finding] = field(default_factory=list)
    first: int = 0  # the first line with anything in it
    above: list[Part] = field(default_factory=list)  # another table

    @property
    def end(self) -> int:
        """The last line with names."""
        return self.line + self.lines - 1 if self.line > 0 else 0


def find_header(records: Sequence[Record], choices: Choices, spans: Sequence[Span] = ()) -> Header:
    """`records`: the first ones of the file; `spans`: its merged cells. Raises Unreadable when the
    choices contradict."""
    header = Header(choices.header, choices.header_lines or 1, choices.first_row)
    lines = looks(records)
    header.first = lines[0].line if lines else 0
    if header.line == NO_HEADER or not lines:
        return header
    if not header.line:
        _find_names(header, lines, choices, spans)
    if 0 < header.first_row <= header.end:
        text = f"The rows cannot begin in line {header.first_row}, because the column names are in "
        raise unreadable("above_header", f"{text}line {header.end}.", header.first_row)
    if not choices.first_row and not choices.header_lines and header.lines == 1:
        _look_below(header, lines)
    return header


def _find_names(header: Header, lines: list[Look], choices: Choices, spans: Sequence[Span]) -> None:
    above = [line for line in lines if line.line < (choices.first_row or line.line + 1)]
    if not above:
        header.line = NO_HEADER
        return
    is_free = not choices.header_lines and not choices.first_row
    if is_free and (found := find_merged_names(lines, spans)):
        begin, end = found
        header.line, header.lines = lines[begin].line, end - begin + 1
        fullest = max(lines[begin : end + 1], key=lambda line: line.count)
        _ask_for_lines(header, lines[begin : end + 1], alone=fullest.line)
        return
    at = _best_line(lines, len(above))
    header.line = lines[at].line
    if at and is_free:
        header.above = tables_above(lines, at)
    if choices.header_lines:
        header.line = max(header.line - _groups_above(lines, at), lines[0].line)
    elif count := _groups_above(lines, at):
        header.line, header.lines = lines[at - count].line, count + 1
        _ask_for_lines(header, lines[at - count : at + 1], alone=lines[at].line)
    elif not choices.first_row and _goes_on_below(lines, at):
        header.lines = 2
        _ask_for_lines(header, lines[at : at + 2], alone=lines[at].line)


# --- One line of names ----------------------------------------------------------------------------


def _best_line(lines: list[Look], most: int) -> int:
    """The index of the line with the column names, below `most`."""
    if sum(line.count > 1 for line in lines) * 2 <= len(lines):
        return 0  # a list of texts
    width = usual_width(lines)
    places = table_places(lines, width)
    first = _below_notes(lines, width, most)
    whole = (at for at in range(first, most) if places <= lines[at].filled)
    wide = (at for at in range(first, most) if lines[at].count >= width)
    full = next(whole, next(wide, first))
    return full if _is_better(lines, full, first, places) else first


def _below_notes(lines: list[Look], width: int, most: int) -> int:
    """The first line that is no title and nothing like "Report: Sales"."""
    widest = max(line.count for line in lines)
    many = sum(line.count == widest for line in lines) >= LEAST_ROWS
    if width < 2:
        return 0
    at = 0
    while at < most - 1 and lines[at].count == 1:
        alone = (len(lines[at].cells) == 1 and many) or lines[at + 1].after_blank
        if widest < LEAST_COLUMNS and not alone:
            break
        at += 1
    end = at
    while end < most - 1 and lines[end].is_keyed:
        end += 1
    if end > at and (lines[end].after_blank or lines[end].count > 2):
        at = end
    return at if lines[at].is_text or widest >= LEAST_COLUMNS else 0


def _is_better(lines: list[Look], full: int, first: int, places: set[int]) -> bool:
    """Whether the line at `full`, where every column has something, has the names, rather than the
    one at `first`, where some have nothing."""
    found, between = lines[full], lines[first:full]
    if full == first or not found.is_text or not _are_names(found):
        return False
    below = lines[full + 1 : full + 1 + COMPARED]
    words = contrast(found, below, places)
    if (words or found.after_blank) and all(_is_too_short(line, found, below) for line in between):
        return True
    if words and found.after_blank and all(line.count < min(3, found.count) for line in between):
        return True
    sparse = [len(places & line.filled) * 2 <= len(places) for line in between]
    is_sparse = sparse[0]
    if words > 1 or (words and (is_sparse or full - first > 1 or first > 0)):
        # A row would have a value there.
        return all(
            few or not any(is_value(line.cell(at)) for at in line.filled)
            for few, line in zip(sparse, between, strict=True)
        )
    if _groups_above(lines, full):
        return True
    return all(sparse) and (found.after_blank or first > 0)


def _is_too_short(line: Look, names: Look, below: Sequence[Look]) -> bool:
    """Whether most rows would have more cells than there are names if `line` had them. In a
    workbook all lines have as many cells."""
    width = len(names.cells)
    wide = sum(len(row.cells) >= width for row in below)
    return len(line.cells) < width and wide * 2 > len(below)


def _are_names(line: Look) -> bool:
    """Whether its only values are years."""
    values = [line.cell(at) for at in line.filled if is_value(line.cell(at))]
    return all(map(_YEAR.fullmatch, values))


# --- Several lines of names -----------------------------------------------------------------------


def _groups_above(lines: list[Look], at: int) -> int:
    """How many lines above that at `at` have to be joined to it, so that names which are there
    several times differ: "Before", "", "After", "" above "Size", "Price", "Size", "Price"."""
    names = [cell.strip() for cell in lines[at].cells if cell.strip()]
    if len(set(names)) == len(names) or not lines[at].is_text:
        return 0
    below = lines[at + 1 : at + 1 + COMPARED]
    for count in range(1, min(MOST_LINES, at + 1)):
        above = lines[at - count]
        if above.line != lines[at].line - count or not _has_groups(above):
            return 0
        joined = join_names([line.cells for line in lines[at - count : at + 1]])
        joined = [name for name in joined if name]
        if len(set(joined)) == len(joined):
            sure = _wide_groups(lines[at - 1], lines[at]) > 1
            return count if sure or contrast(lines[at], below, lines[at].filled) else 0
    return 0


def _has_groups(line: Look) -> bool:
    """Two or more words, or years."""
    values = sum(is_value(line.cell(at)) for at in line.filled)
    return line.count > 1 and values in (0, line.count)


def _wide_groups(above: Look, line: Look) -> int:
    """Over how many groups of several names there is a word above the first of them only."""
    starts = sorted(above.filled)
    ends = [*starts[1:], max(line.filled) + 1]
    return sum(
        len(line.filled & set(range(start, end))) > 1
        for start, end in zip(starts, ends, strict=True)
    )


def _goes_on_below(lines: list[Look], at: int) -> bool:
    """Whether the next line has the names of the columns that have none in this one, and nothing
    else: "ID", "What do you like?", "" above "", "Pizza", "Pasta"."""
    if at + 2 >= len(lines):
        return False
    names, more = lines[at], lines[at + 1]
    below = lines[at + 2 : at + 2 + COMPARED]
    places = names.filled.union(*(line.filled for line in below))
    gaps = places - names.filled
    starts = {place for place in names.filled if place + 1 in gaps}
    others = names.filled - starts
    if more.line != names.line + 1 or not gaps or not others or not names.is_text:
        return False
    if any(is_value(more.cell(place)) for place in more.filled):
        return False
    said = {place for place in more.filled & others if _RESPONSE.fullmatch(more.cell(place))}
    fits = gaps <= more.filled <= gaps | starts | said
    return fits and (len(gaps) > 1 or contrast(more, below, places) > 0)


def _ask_for_lines(header: Header, lines: list[Look], *, alone: int) -> None:
    names = join_names([line.cells for line in lines])
    longest = max(names, key=lambda name: (name.count(" - "), -len(name)))
    both = (
        f"{header.line} and {header.end}" if header.lines == 2 else f"{header.line} to {header.end}"
    )
    text = f"The column names were put together from lines {both}, such as “{longest[:SHOWN]}”."
    together = Option(
        f"Names from lines {both}", {"header": header.line, "header_lines": header.lines}
    )
    single = Option(f"Names from line {alone} only", {"header": alone, "header_lines": 1})
    header.findings.append(Finding("header_lines", text, header.line, options=(together, single)))


# --- Lines below the names that are no rows -------------------------------------------------------


def _look_below(header: Header, lines: list[Look]) -> None:
    at = next((at for at, line in enumerate(lines) if line.line == header.line), None)
    if at is None:
        return
    near = lines[at + 1 : at + 1 + MOST_LINES]
    ids = [line for line in near if _is_survey_id(line)]
    if ids:
        end = ids[-1].line
        header.first_row = end + 1
        what = "the questions and IDs" if end > header.line + 1 else "the IDs"
        text = f"{_lines(header.end + 1, end)} {what} of the survey program, so the rows begin in "
        options = [
            Option(f"Read {_range(header.end + 1, end)} as rows", _rows_from(header.end + 1))
        ]
        if end > header.line + 1:
            names = Option(
                f"Take the column names from line {header.line + 1}",
                {"header": header.line + 1, "first_row": end + 1},
            )
            options.append(names)
        found = Finding("survey_lines", f"{text}line {end + 1}.", end, options=tuple(options))
        header.findings.append(found)
    elif near and _is_kind_of_answer(near[0], lines[at]):
        line = near[0].line
        header.first_row = line + 1
        text = f"Line {line} holds the kinds of answers of the survey program, so the rows begin "
        back = Option(f"Read line {line} as a row", _rows_from(line))
        header.findings.append(
            Finding("survey_lines", f"{text}in line {line + 1}.", line, options=(back,))
        )
    elif count := _unlike_rows(lines[at + 1 :]):
        first, last = lines[at + 1], lines[at + count]
        verb = "looks" if count == 1 else "look"
        subject = _range(first.line, last.line).capitalize()
        text = f"{subject} {verb} unlike the rows below: {_quoted(first)}."
        options = [
            Option("Skip it" if count == 1 else "Skip them", _rows_from(last.line + 1)),
            Option(
                "Read it as a row" if count == 1 else "Read them as rows", _rows_from(first.line)
            ),
        ]
        if last.line == header.line + count and not is_rule(first.cells):
            change: dict[str, str | int | bool | list[str]] = {
                "header": header.line,
                "header_lines": count + 1,
            }
            label = "It is" if count == 1 else "They are"
            options.append(Option(f"{label} part of the column names", change))
            if count == 1:
                names = Option(
                    f"Take the column names from line {last.line}", {"header": last.line}
                )
                options.append(names)
        header.findings.append(Finding("unlike_below", text, first.line, options=tuple(options)))


def _rows_from(line: int) -> dict[str, str | int | bool | list[str]]:
    return {"first_row": line}


def _is_survey_id(line: Look) -> bool:
    return all(_SURVEY_ID.match(line.cell(at)) for at in line.filled)


def _is_kind_of_answer(line: Look, names: Look) -> bool:
    """Only "Response" or "Open-Ended Response", below some of the names."""
    if names.line + 1 != line.line or line.count >= names.count:
        return False
    return all(_RESPONSE.fullmatch(line.cell(at)) for at in line.filled)


def _unlike_rows(rows: list[Look]) -> int:
    """How many of the first rows have words where all others have values, or only draw a line."""
    if rows and is_rule(rows[0].cells) and not all(is_rule(row.cells) for row in rows):
        return 1
    if len(rows) > 2 and _counts_columns(rows[0]) and not _counts_columns(rows[1]):
        return 1
    for count in range(min(MOST_LINES, len(rows) - 2), 0, -1):
        below = rows[count : count + COMPARED]
        places = {at for row in below for at in row.filled}
        held = {at for at in places if holds_values(below, at)}
        if all(_has_words(row, held, sure=len(below) > 2) for row in rows[:count]):
            return count
    return 0


def _counts_columns(row: Look) -> bool:
    """ "1", "2", "3" or "(1)", "(2)", "(3)", as forms of authorities have it below the names."""
    cells = [row.cell(at).strip("()[]. ") for at in sorted(row.filled)]
    return len(cells) > 2 and cells == [str(number) for number in range(1, len(cells) + 1)]


def _has_words(row: Look, places: set[int], *, sure: bool) -> bool:
    cells = [row.cell(at) for at in places & row.filled]
    if any(is_value(cell) or _is_no_answer(cell) for cell in cells):
        return False
    return len(cells) > 1 or (len(cells) == 1 and sure)


def _is_no_answer(cell: str) -> bool:
    """ "n/a", "**", "#ERR"."""
    if cell.lower() in _NO_ANSWER or _ERROR.fullmatch(cell):
        return True
    return not any(map(str.isalnum, cell))


# --- Words ----------------------------------------------------------------------------------------


def _range(first: int, last: int) -> str:
    """ "line 2", "lines 2 and 3", "lines 2 to 4"."""
    if first == last:
        return f"line {first}"
    return f"lines {first} {'and' if last == first + 1 else 'to'} {last}"


def _lines(first: int, last: int) -> str:
    return f"{_range(first, last).capitalize()} {'holds' if first == last else 'hold'}"


def _quoted(line: Look) -> str:
    cells = [line.cell(at) for at in sorted(line.filled)]
    text = ", ".join(f"“{cell[:SHOWN]}”" for cell in cells[:3])
    return f"{text} and others" if len(cells) > 3 else text
