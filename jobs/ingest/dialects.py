"""How the cells of a CSV file are cut: found out by its beginning, and what else it may be."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from itertools import chain, pairwise
from typing import NamedTuple

from .csv_records import Dialect, Records
from .delimiters import CONTROLS, DELIMITERS, GAPS, LABELS, ONE_COLUMN, RARE
from .drawn_tables import BAR, is_drawn
from .lined_up_columns import find_gaps
from .shapes import KEEP, NO_HEADER, Choices, Option

LOOKED_AT = 100  # records
RECORDS_SHOWN = 3
SHOWN = 60  # characters of a cell
LONG_NAME = 60  # characters; the name of a column under a title is shorter
EVEN = 0.8  # of the records; a rarer width is no table
MOSTLY = 2 / 3
RUN = 5  # records of the same width in a table
CUT_OFF = 50  # lines: fewer without an end may end behind what is looked at
_SEP = re.compile(r"^sep=(.)\r?\n?$", re.IGNORECASE)
_ALL_SINGLE = re.compile(r"'[^']*'([,;\t|]'[^']*')+$")
_NUMBER = re.compile(r"[-+]?[\d.,\s]+%?")


class Look(NamedTuple):
    """The first records of a file in one dialect. `lines`: of each, as it is in the file."""

    dialect: Dialect
    records: list[list[str]]
    lines: list[str]
    faults: dict[int, str]  # by place of the record
    is_blank_below: bool = False  # the first one

    @property
    def width(self) -> int:
        """Cells of most records, of several widths the first one."""
        widths = Counter(map(len, self.records))
        return widths.most_common(1)[0][0] if widths else 0

    @property
    def share(self) -> float:
        """Of records that are as wide as most; 0 for a single column."""
        good = sum(
            len(cells) == self.width and at not in self.faults
            for at, cells in enumerate(self.records)
        )
        return good / len(self.records) if self.width > 1 else 0.0

    @property
    def good_share(self) -> float:
        """Of the rows that can be sent, if the first record has the names."""
        wide = len(self.records[0]) if self.records else 0
        rows = list(enumerate(self.records))[1:]
        good = sum(len(cells) == wide and at not in self.faults for at, cells in rows)
        return good / len(rows) if rows else 1.0

    @property
    def has_quoted_cells(self) -> bool:
        """Some cells need their quotation marks, or seem to."""
        between = "" if self.dialect.delimiter == ONE_COLUMN else self.dialect.delimiter
        begins = re.compile(rf"(^|{re.escape(between)})\s*{re.escape(self.dialect.quote)}")
        return any(
            begins.search(line) for at, line in enumerate(self.lines) if at not in self.faults
        )

    @property
    def has_only_quoted_names(self) -> bool:
        """Whether all is in quotation marks where R writes them, also with blanks between cells."""
        quote = self.dialect.quote
        between = f"{quote}{self.dialect.delimiter}{quote}"
        begins = all(line.startswith(quote) for line in self.lines)
        first = self.lines[0].rstrip("\r\n") if self.lines else ""
        names = len(self.records[0]) if self.records else 0
        is_even = not self.faults and {len(cells) for cells in self.records[1:]} <= {self.width}
        is_named = names == self.width or self.has_row_names
        return (
            self.width > 1
            and begins
            and is_even
            and is_named
            and len(self.records) > 1
            and first.endswith(quote)
            and first.count(between) == names - 1
        )

    @property
    def has_row_names(self) -> bool:
        """Whether each row begins with a name that no column has, as R's write.table() has it."""
        if len(self.records) < 2 or not self.dialect.quote or self.faults:
            return False
        names, *rows = self.records
        quote = self.dialect.quote
        return (
            all(len(cells) == len(names) + 1 for cells in rows)
            and all(line.startswith(quote) for line in self.lines)
            and all(cells[0] for cells in rows)
            and any(cells[-1] for cells in rows)
            and len({cells[0] for cells in rows}) == len(rows)
        )

    @property
    def sample(self) -> list[str]:
        return _joined(self.records)

    @property
    def filled(self) -> list[str]:
        """The sample with short rows filled."""
        wide = len(self.records[0]) if self.records else 0
        return _joined([[*cells, *[""] * (wide - len(cells))] for cells in self.records])


class Found(NamedTuple):
    look: Look
    stray: int = 0  # the record with the first of the quotation marks that are read as text
    tables: Sequence[Look] = ()  # what it may be, when it was read as one column
    is_lined_up: bool = False  # the first of `tables` is cut at gaps


def find_dialect(sample: str, choices: Choices, *, cut: bool) -> Found:
    """`sample`: the first lines, without `sep=`. `cut`: there are more."""
    quote = "" if choices.no_quotes else quotation_mark(sample)

    def best(delimiter: str) -> Look:
        return _best_quotes(sample, delimiter, quote, cut=cut)

    if choices.backslashes != KEEP and (look := _escaped(sample, choices, cut=cut)):
        return Found(look)
    if choices.delimiter in ("", BAR) and is_drawn(sample):
        look = _look(sample, Dialect(BAR, "", drawn=True), cut=cut)
        if len(look.records) > 1 and look.width > 1:
            return Found(look)
    if choices.delimiter:
        if choices.delimiter == GAPS:
            return Found(_lined_up(sample, cut=cut) or best(ONE_COLUMN))
        look = best(choices.delimiter)
        return Found(look, _first_stray(look, quote))
    some = (*DELIMITERS, *(control for control in CONTROLS if control in sample))
    looks = {delimiter: best(delimiter) for delimiter in some}
    blank = (one for one in looks.values() if not one.records)
    if table := _table(looks, choices) or next(blank, None):
        if table.dialect.delimiter == "," and _has_sentences(table):
            return Found(table, tables=[best(ONE_COLUMN), table])
        return Found(table, _first_stray(table, quote))
    if quote and (look := best(" ")).has_only_quoted_names:
        return Found(look)
    look = best(ONE_COLUMN)
    more = [best(delimiter) for delimiter in RARE if delimiter in sample]
    tables = [one for one in [*looks.values(), *more] if _may_be_table(one)]
    good = [one for one in tables if one.good_share >= MOSTLY]
    tables = sorted(good or tables, key=lambda one: -one.width)
    if lined_up := _lined_up(sample, cut=cut):
        return Found(look, _first_stray(look, quote), [lined_up], is_lined_up=True)
    return Found(look, _first_stray(look, quote), tables)


def _escaped(sample: str, choices: Choices, *, cut: bool) -> Look | None:
    """With backslashes that end no cell and no row, if a person says so or all of them are escapes
    and some stand for a missing value."""
    for delimiter in [choices.delimiter] if choices.delimiter else DELIMITERS:
        between = re.escape(delimiter)
        begin, end = f"(?:^|{between})", f"(?=$|\r|{between})"
        null = re.search(rf"{begin}\\N{end}", sample, re.MULTILINE)
        quoted = re.search(rf'{begin}"[^"]*"{end}', sample, re.MULTILINE)
        if choices.backslashes:
            is_meant = bool(null or choices.delimiter) or delimiter in sample.partition("\n")[0]
        else:
            escapes = re.findall(r"\\(.)", sample, re.DOTALL)
            known = {*"Nnrt0\\\n\r", delimiter}
            is_meant = bool(null and not quoted) and {*escapes} <= known and {*escapes} != {"N"}
        if is_meant and delimiter != ONE_COLUMN:
            look = _look(sample, Dialect(delimiter, "", backslashes=True), cut=cut)
            if look.share >= EVEN:
                return look
    return None


def _lined_up(sample: str, *, cut: bool) -> Look | None:
    """Cut at the gaps between columns, if there are some for certain."""
    gaps = find_gaps(sample, cut=cut)
    return _look(sample, Dialect(GAPS, "", gaps=gaps), cut=cut) if gaps else None


def said_delimiter(line: str) -> str:
    """What the line `sep=;` says, which Excel reads; "" for any other line."""
    said = _SEP.match(line)
    return said[1] if said else ""


def quotation_mark(sample: str) -> str:
    """A few programs write 'so' and not "so": then all column names are written so."""
    first = next((line for line in re.split(r"[\r\n]+", sample) if line.strip()), "")
    return "'" if _ALL_SINGLE.match(first) and '"' not in sample else '"'


def other_dialects(sample: str, now: Dialect, *, cut: bool) -> list[Option]:
    """Other ways to cut the cells when most rows could not be sent, the best one first."""
    looks = [
        _look(sample, Dialect(delimiter, quote), cut=cut)
        for delimiter in (*DELIMITERS, *(one for one in RARE if one in sample), ONE_COLUMN)
        for quote in ('"', "")
    ]
    best: dict[str, Look] = {}
    for look in looks:
        delimiter, quote, *_rest = look.dialect
        if (delimiter, quote) == now[:2] or not look.records:
            continue
        if delimiter != ONE_COLUMN and len(look.records[0]) < 2:
            continue
        if delimiter not in best or look.good_share > best[delimiter].good_share:
            best[delimiter] = look
    good = [one for one in best.values() if one.good_share >= MOSTLY]
    # Everything can be read as one column, so it is no proof of anything.
    good.sort(key=lambda one: (one.dialect.delimiter == ONE_COLUMN, -one.good_share))
    return [option_of(one, now) for one in good]


def one_column(sample: str, *, cut: bool) -> Option:
    return option_of(_look(sample, Dialect(ONE_COLUMN), cut=cut))


def option_of(look: Look, now: Dialect | None = None) -> Option:
    """The button that reads the file in this dialect instead of `now`."""
    delimiter, quote, *_rest = look.dialect
    change: dict[str, str | int | bool | list[str]] = {"delimiter": delimiter}
    label = LABELS.get(delimiter, f"“{delimiter}” between cells")
    if not quote and delimiter != GAPS:
        change["no_quotes"] = True
        same = now is not None and now.delimiter == delimiter
        label = "No quotation marks" if same else f"{label}, no quotation marks"
    return Option(label, change, look.sample)


def _joined(records: list[list[str]]) -> list[str]:
    return [" | ".join(map(_short, cells)) for cells in records[:RECORDS_SHOWN]]


# --- One dialect ----------------------------------------------------------------------------------


def _look(sample: str, dialect: Dialect, *, cut: bool) -> Look:
    lines = list(io.StringIO(sample, newline=""))
    first = next((line for line in lines if line.strip()), "")
    look = Look(dialect, [], [], {})
    try:
        width = len(dialect.bare_cells(first)) if first else 0
        records = Records(dialect, width)
        blank_below = False
        for cells, fault in records.read(records.kept(lines)):
            if not any(map(str.strip, cells)):
                blank_below = blank_below or len(look.records) == 1
                continue
            if fault:
                look.faults[len(look.records)] = fault
            look.records.append(cells)
            look.lines.append("".join(records.taken))
            if len(look.records) == LOOKED_AT:
                break
    except csv.Error:
        return Look(dialect, [], [], {})
    return _without_cut_record(look._replace(is_blank_below=blank_below), lines, cut=cut)


def _without_cut_record(look: Look, lines: list[str], *, cut: bool) -> Look:
    """A cell that begins at the end of what is looked at may end later."""
    tail = "".join(lines[-CUT_OFF:])
    for at in sorted(look.faults):
        if cut and len(look.records) < LOOKED_AT and look.lines[at] in tail:
            return look._replace(
                records=look.records[:at],
                lines=look.lines[:at],
                faults={place: fault for place, fault in look.faults.items() if place < at},
            )
    return look


def _best_quotes(sample: str, delimiter: str, quote: str, *, cut: bool) -> Look:
    """With quotation marks, unless it is better without them or with blanks before them."""
    plain = _look(sample, Dialect(delimiter, quote), cut=cut)
    if not quote or quote not in sample:
        return plain
    if f" {quote}" in sample and delimiter not in (" ", ONE_COLUMN):
        skipping = _look(sample, Dialect(delimiter, quote, skips_blanks=True), cut=cut)
        cells = chain.from_iterable(plain.records)
        has_blanks = any(cell.lstrip(" ").startswith(quote) and cell[0] == " " for cell in cells)
        blanks = re.compile(f"(^|{re.escape(delimiter)}) +{re.escape(quote)}", re.MULTILINE)
        is_meant = (has_blanks or plain.faults) and blanks.search(sample)
        if is_meant and _is_better(skipping, plain):
            plain = skipping
    if plain.faults and f"\\{quote}" in sample and quote == '"':
        escaping = _look(sample, Dialect(delimiter, quote, escapes=True), cut=cut)
        if not escaping.faults and escaping.good_share > plain.good_share:
            return escaping
    if plain.width == 1 and delimiter != ONE_COLUMN and _is_wrapped(plain, quote):
        wrapping = _look(sample, Dialect(delimiter, quote, wraps=True), cut=cut)
        if wrapping.share == 1 and are_names(wrapping.records[0]):
            return wrapping
    if plain.faults and not plain.has_quoted_cells:
        bare = _look(sample, Dialect(delimiter, ""), cut=cut)
        if all(
            len(bare.records[at]) == bare.width for at in plain.faults if at < len(bare.records)
        ):
            return bare
    return plain


def _is_wrapped(look: Look, quote: str) -> bool:
    """Whether every line is in quotation marks as a whole."""
    lines = [line.rstrip("\r\n") for line in look.lines]
    return len(lines) > 1 and all(
        len(line) > 1 and line[0] == line[-1] == quote and len(cells) == 1
        for line, cells in zip(lines, look.records, strict=True)
    )


def _is_better(skipping: Look, plain: Look) -> bool:
    return len(skipping.faults) <= len(plain.faults) and skipping.good_share >= plain.good_share


def _first_stray(look: Look, quote: str) -> int:
    """The number of the first record with a quotation mark, when they are found to be text."""
    if look.dialect.quote or not quote:
        return 0
    records = enumerate(look.lines, start=1)
    return next((at for at, line in records if line.count(quote) % 2), 0) or next(
        (at for at, line in enumerate(look.lines, start=1) if quote in line), 0
    )


# --- Which delimiter ------------------------------------------------------------------------------


def _table(looks: dict[str, Look], choices: Choices) -> Look | None:
    """The delimiter of a table: it is in the line of names, or that line has a title above."""
    header = choices.header
    in_names = [one for one in looks.values() if header == NO_HEADER or _cuts(one, header)]
    found = max(in_names, key=lambda one: (one.share, one.width), default=None)
    if found and found.share:
        return found
    if not header:
        titled = [one for one in looks.values() if not _cuts(one, 0) and _has_title(one)]
        if titled:
            return max(titled, key=lambda one: (one.share, one.width))
    # Names, and rows with too few cells.
    named = [one for one in in_names if one.records and are_names(_names(one, header))]
    return max(named, key=lambda one: len(_names(one, header)), default=None)


def _cuts(look: Look, header: int) -> bool:
    return len(_names(look, header)) > 1


def _names(look: Look, header: int) -> list[str]:
    """The cells of the line of names; `header`: its line, if it was chosen. For a line that is not
    looked at, those of the first one."""
    at = max(header - 1, 0)
    names = look.records[at : at + 1] or look.records[:1]
    return names[0] if names else []


def _has_title(look: Look) -> bool:
    """Whether the first lines are above a table: a title is some words, or a blank line is below
    it, or the rows have numbers where their names are words; and the names below are names."""
    at = next((at for at, cells in enumerate(look.records) if len(cells) == look.width), 0)
    if look.width < 2 or not at:
        return False
    below = look.records[at:]
    even = sum(len(cells) == look.width for cells in below) / len(below)
    is_title = look.is_blank_below or (look.width > 2 and " " in look.records[0][0].strip())
    is_title = is_title or (even >= EVEN and _has_numbers(below))
    return even >= 0.5 and is_title and are_names(look.records[at])


def _has_numbers(records: list[list[str]]) -> bool:
    """Whether a column has numbers below a name that is none."""
    names, *rows = records
    columns = list(zip(*(row for row in rows if len(row) == len(names)), strict=True))
    return any(
        not _NUMBER.fullmatch(name.strip())
        and sum(bool(_NUMBER.fullmatch(cell.strip())) for cell in column) >= len(column) * MOSTLY
        for name, column in zip(names, columns, strict=False)
    )


def _may_be_table(look: Look) -> bool:
    """Whether the records are even enough to ask, though the line of names has no delimiter."""
    below = look.records[1:]
    if look.width < 2 or len(below) < 2:
        return False
    widths = [*map(len, below)]
    if widths.count(look.width) >= EVEN * len(widths):
        return True
    # Two tables below each other.
    changes = sum(one != other for one, other in pairwise(widths))
    is_wide = len(widths) - widths.count(1) >= EVEN * len(widths)
    return is_wide and changes * RUN <= len(widths)


def are_names(cells: list[str]) -> bool:
    """Whether cells look like the names of columns, and not like parts of a sentence."""
    filled = [cell for cell in cells if cell.strip()]
    return len({*filled}) == len(filled) > 1 and not any(
        cell[0] == " " or len(cell) > LONG_NAME or _NUMBER.fullmatch(cell.strip())
        for cell in filled
    )


def _has_sentences(look: Look) -> bool:
    """Whether the commas seem to be those of sentences: a blank is behind each of them, and they
    are not in all lines, or have several words between them."""
    pieces = [cell for cells in look.records for cell in cells[1:] if cell]
    if not pieces or not all(piece.startswith(" ") for piece in pieces):
        return False
    if any(_NUMBER.fullmatch(cell.strip()) for cells in look.records for cell in cells):
        return False
    is_even = all(len(cells) == len(look.records[0]) for cells in look.records)
    return not is_even or all(len(cell.split()) > 1 for cell in look.records[0])


def _short(cell: str) -> str:
    cell = " ".join(cell.split())
    return cell if len(cell) <= SHOWN else cell[:SHOWN] + "…"
