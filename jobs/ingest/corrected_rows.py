"""What is found in a problem file that comes back corrected, apart from what reads it."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from .shapes import Finding, Unreadable

# The columns of the problem file beside those of the upload; the first names the row.
OURS = ("row", "problem", "how to fix")


@dataclass
class CorrectedFile:
    """Its columns and rows. A row has its line in the file, and its cells; None: there is none."""

    places: dict[str, int] = field(default_factory=dict)  # of the columns with a name
    nameless: list[int] = field(default_factory=list)  # places of the others
    width: int = 0  # columns
    rows: list[tuple[int, list[str | None]]] = field(default_factory=list)
    remarks: list[Finding] = field(default_factory=list)


class NotCorrected(Unreadable):
    """A corrected file cannot be used: the one at `index`, in the order of their upload."""

    def __init__(self, index: int, *findings: Finding) -> None:
        self.index = index
        super().__init__(*findings)


class Findings(msgspec.Struct):
    """The outcome of a corrected file: counts of rows, and sentences."""

    changed: int = 0  # saved as Edits
    unchanged: int = 0
    good: int = 0  # already have a good answer
    wrong: int = 0  # cannot be sent as corrected
    unknown: int = 0  # not in the upload
    notes: list[str] = []
    trouble: list[str] = []  # why the file was not used; empty if it was

    @property
    def in_short(self) -> str:
        """ "14 changed, 3 not changed, 2 unknown" """
        counts = {
            "changed": self.changed,
            "not changed": self.unchanged,
            "good by now": self.good,
            "cannot be sent": self.wrong,
            "unknown": self.unknown,
        }
        said = [f"{count:,} {what}" for what, count in counts.items() if count]
        return ", ".join(said) or "no rows"
