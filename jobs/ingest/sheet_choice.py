"""Which sheet of a workbook holds the table: a cover sheet is passed over when that is certain."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .row_shapes import Look, usual_width

SMALL = 40  # rows; a sheet with more is no cover, and no other has to be looked at
LARGER = 5  # times as many rows raise a question

_COVER = re.compile(
    r"(cover|title|front)( ?(page|sheet))?|read ?me|about|info(rmation)?s?|contents?|index|toc"
    r"|table of contents|instructions?|notes?|legend|guide|help|start|intro(duction)?|metadata"
    r"|deckblatt|titel(blatt)?|inhalt(sverzeichnis)?|hinweise?|anleitung|legende|erläuterungen"
    r"|portada|índice|instrucciones|couverture|page de garde|sommaire|copertina|indice|omslag"
    r"|титул|обложка|содержание|表紙|目次|封面|目录|표지",
    re.IGNORECASE,
)


# What Excel calls the first column of a pivot table.
_PIVOT = re.compile(
    r"row labels|zeilenbeschriftungen|étiquettes de lignes|etiquetas de fila|rótulos de linha"
    r"|etichette di riga|rijlabels|radetiketter|etykiety wierszy|названия строк|行ラベル|行标签",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class SheetLook:
    """The beginning of a sheet. `rows`: how many lines it has, also blank ones; `is_set_in`: lines
    or columns are empty before its first cell."""

    index: int
    name: str
    rows: int
    is_set_in: bool
    lines: Sequence[Look]

    @property
    def is_named_cover(self) -> bool:
        return _COVER.fullmatch(self.name.strip()) is not None

    @property
    def is_pivot(self) -> bool:
        return any(_PIVOT.fullmatch(line.first) for line in self.lines[:5])

    @property
    def width(self) -> int:
        return usual_width(self.lines) if self.lines else 0

    @property
    def is_table(self) -> bool:
        """Names and at least a row, in several columns."""
        wide = sum(line.count > 1 for line in self.lines)
        return self.width > 1 and len(self.lines) > 1 and wide * 2 > len(self.lines)

    @property
    def is_cover(self) -> bool:
        """A few texts below each other, with a name or gaps that no list has."""
        if not self.lines or self.rows > SMALL:
            return False
        if self.width == 1:
            scattered = any(line.after_blank for line in self.lines)
            return self.is_named_cover or scattered or self.is_set_in
        keyed = sum(line.is_keyed for line in self.lines)
        return (self.is_named_cover and self.width == 2) or keyed * 2 > len(self.lines)


def best_sheet(found: Sequence[SheetLook]) -> SheetLook | None:
    """The first sheet with rows, and with a table if it would be a cover; a sheet with a single
    line if there is nothing else. `found`: in the order of the workbook; None: all are empty."""
    filled = [look for look in found if look.lines]
    first = next((look for look in filled if look.rows > 1), next(iter(filled), None))
    if first and first.is_cover:
        return next((look for look in filled if look.is_table and not look.is_cover), first)
    return first


def is_sure(found: Sequence[SheetLook], read: SheetLook) -> bool:
    """Whether no other sheet is likely to be meant: none has a table where `read` has a list or a
    pivot table, or many more rows, and what was passed over is called a cover."""
    for look in found:
        if look.index < read.index and look.rows > 1 and look.lines and not look.is_named_cover:
            return False
        larger = look.rows >= LARGER * read.rows or not read.is_table or read.is_pivot
        if look.index > read.index and look.is_table and larger:
            return False
    return True
