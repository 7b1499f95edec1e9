"""Which rows of a job become the rows of another one."""

from __future__ import annotations

import msgspec

ALL, GOOD, SOME = "all", "good", "some"


class RowsWanted(msgspec.Struct, frozen=True, omit_defaults=True):
    """All rows, those with a good answer, or some: what the page of rows was filtered by."""

    which: str = ALL
    # Of SOME, each empty for any; as results.row_browser.RowFilter.
    outcome: str = ""
    cause: str = ""
    label: str = ""
    model: str = ""
    text: str = ""
    differs: bool = False

    def without_text(self) -> RowsWanted:
        return msgspec.structs.replace(self, text="")
