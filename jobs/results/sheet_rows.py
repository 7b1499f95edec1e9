"""Rows of a sheet, written straight into the file in which XlsxWriter collects them: its own way,
one call a cell, takes four times as long. Everything else of the workbook is XlsxWriter's.

The XML is what XlsxWriter writes in its mode `constant_memory`; tests compare the two.
"""

from __future__ import annotations

import re
from typing import Any

from xlsxwriter.utility import xl_col_to_name

# Excel reads this as the character with that number, unless the "_" is written so itself.
_ESCAPE = re.compile(r"_(?=x[0-9A-Fa-f]{4}_)")


class SheetRows:
    """The rows below the header of one sheet. Cells are text, as it can stand in XML 1.0, or
    numbers."""

    def __init__(self, sheet: Any, columns: int) -> None:
        self._sheet = sheet
        self._cells: list[str] = []
        self._begins = [f'<c r="{xl_col_to_name(column)}' for column in range(columns)]
        self._styles: dict[Any, str] = {None: '"'}
        self._last = columns - 1
        self._begun = False

    def add_text(self, line: int, column: int, text: str, style: Any = None) -> None:
        """`line` and `column` count from 0. `style`: a format of the workbook, or None."""
        if "&" in text or "<" in text or ">" in text:
            text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        if "_x" in text:
            text = _ESCAPE.sub("_x005F_", text)
        keep = ' xml:space="preserve"' if text[:1].isspace() or text[-1:].isspace() else ""
        self._cells.append(
            f"{self._begins[column]}{line + 1}{self._style(style)}"
            f' t="inlineStr"><is><t{keep}>{text}</t></is></c>'
        )

    def add_number(self, line: int, column: int, number: float, style: Any = None) -> None:
        begin = f"{self._begins[column]}{line + 1}{self._style(style)}"
        self._cells.append(f"{begin}><v>{number:.16G}</v></c>")

    def add_boolean(self, line: int, column: int, value: bool) -> None:
        self._cells.append(f'{self._begins[column]}{line + 1}" t="b"><v>{value:d}</v></c>')

    def end_row(self, line: int) -> None:
        """Write the cells that were added, all of them in `line`, in the order of their columns."""
        sheet = self._sheet
        if not self._begun:
            sheet._write_single_row(line)  # the header
            self._begun = True
        sheet.row_data_fh.write(f'<row r="{line + 1}">{"".join(self._cells)}</row>')
        self._cells.clear()
        sheet.dim_rowmax, sheet.dim_colmax = line, self._last

    def _style(self, style: Any) -> str:
        """The rest of the attributes up to the end of the style."""
        if style not in self._styles:
            self._styles[style] = f'" s="{style._get_xf_index()}"'
        return self._styles[style]
