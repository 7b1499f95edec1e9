"""What can be between the cells of a text file."""

from __future__ import annotations

NOT_IN_TEXT = "\uffff"  # no character, so it is between no cells
ONE_COLUMN = "\n"  # as a delimiter: each line is a cell
GAPS = "gaps"  # as a delimiter: columns are lined up with blanks
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
CONTROLS = ("\x1f", "\x01")  # in no text, and between cells in files of databases
RARE = ("~", "^", "¦")  # offered, not found out
LABELS = {  # of the buttons
    ",": "Commas between cells",
    ";": "Semicolons between cells",
    "\t": "Tabs between cells",
    "|": "Vertical bars between cells",
    " ": "Blanks between cells",
    ONE_COLUMN: "One column: each line is a cell",
    GAPS: "Split into columns at the gaps",
}
