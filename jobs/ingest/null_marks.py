"""What databases write for a missing value. A person decides whether such cells are empty."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from .shapes import EMPTY, KEEP, Finding, Option
from .upload_file import UploadFile

# MySQL, PostgreSQL, Hive; SQL Server, mysql --batch; SQL Developer; DBeaver; DataGrip.
NULLS = frozenset({r"\N", "NULL", "null", "(null)", "[NULL]", "<null>", "<NULL>"})
NAMED = 5  # columns
SHOWN = 60  # characters of a name
LONGEST = 4  # bytes of what is looked for in a file


_IN_BYTES = (b"\\N", b"NULL", b"null")


def file_may_have_nulls(file: UploadFile, encoding: str) -> bool:
    """Whether it is worth looking at the cells of a text file."""
    if encoding.startswith(("utf-16", "utf-32")):
        return True
    return any(any(mark in block for mark in _IN_BYTES) for block in file.blocks(LONGEST))


def may_have_nulls(source: str) -> bool:
    """Whether it is worth looking at the cells that are in this JSON."""
    return "\\\\N" in source or "null" in source or "NULL" in source


class NullMarks:
    """Counts such cells of the rows of a table, or empties them if a person chose that."""

    def __init__(self, choice: str) -> None:
        self.is_looking = not choice
        self.is_emptying = choice == EMPTY
        self._marks: Counter[str] = Counter()
        self._places: Counter[int] = Counter()
        self._first = 0  # the line of the first one

    def looked_at(self, line: int, cells: list[str]) -> list[str]:
        """The cells as they are read."""
        found = [at for at, cell in enumerate(cells) if cell in NULLS]
        if not found:
            return cells
        self._first = self._first or line
        self._places.update(found)
        self._marks.update(cells[at] for at in found)
        if not self.is_emptying:
            return cells
        return ["" if cell in NULLS else cell for cell in cells]

    def findings(self, columns: Sequence[str]) -> Iterator[Finding]:
        """What is said of them once all rows were read."""
        if not self._marks:
            return
        count = self._marks.total()
        cells = "1 cell" if count == 1 else f"{count:,} cells"
        marks = _listed([f"“{mark}”" for mark, _count in self._marks.most_common()], " or ")
        where = _listed(self._named(columns), " and ")
        if self.is_emptying:
            text = (
                f"{cells} with {marks} {'was' if count == 1 else 'were'} read as empty, in {where}."
            )
            keep = Option("Read the text", {"nulls": KEEP})
            yield Finding("nulls_emptied", text, self._first, options=(keep,))
            return
        text = f"{cells} {'has' if count == 1 else 'have'} only {marks}, in {where}."
        options = (
            Option("Read as empty", {"nulls": EMPTY}),
            Option("Read the text", {"nulls": KEEP}),
        )
        yield Finding("nulls", text, self._first, options=options)

    def _named(self, columns: Sequence[str]) -> list[str]:
        names = [
            f"“{columns[at][:SHOWN]}” ({count:,})"
            for at, count in sorted(self._places.items())
            if at < len(columns)
        ]
        if len(names) > NAMED:
            return [*names[:NAMED], f"{len(names) - NAMED:,} more columns"]
        return names or ["no column"]


def _listed(words: Sequence[str], last: str) -> str:
    """ "a", "a and b", "a, b and c"."""
    return last.join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]
