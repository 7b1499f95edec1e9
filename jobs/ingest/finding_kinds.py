"""Every kind of finding about a file: its title for several of them, and its remedy."""

from __future__ import annotations

from typing import NamedTuple

from .request_kinds import REQUEST_KINDS


class Kind(NamedTuple):
    title: str  # of several: "These rows ..."
    remedy: str
    asks: bool = False  # a person should look before the job is priced


_FILE_KINDS = {
    # The file as a whole
    "empty": Kind("The file is empty.", "Choose a file with column names and rows."),
    "no_rows": Kind(
        "The file has column names but no rows.", "Add rows, or check that you saved your changes."
    ),
    "not_text": Kind("This file does not contain a table.", "Upload a CSV, Excel or JSONL file."),
    "markup": Kind(
        "This file does not contain a table.",
        "Open it in your spreadsheet program and save it as .xlsx or CSV.",
    ),
    "too_many_rows": Kind("The file has too many rows.", "Split it into several files."),
    "too_many_columns": Kind(
        "The file has too many columns.", "Remove columns that the prompt does not need."
    ),
    "too_much": Kind(
        "The file is too large to read.",
        "Save it as CSV UTF-8 in your spreadsheet program, or split it into several files.",
    ),
    "no_source": Kind("", "Delete this job, and start again from a job that has finished."),
    "no_room": Kind("There is not enough disk space for this file.", "Its rows were not stored."),
    "encoding": Kind(
        "Some characters do not match the encoding.",
        "Choose another encoding, or save the file as UTF-8 (in Excel: “CSV UTF-8”).",
    ),
    "damaged": Kind(
        "The file is damaged.",
        "Save it again in the program that created it (a workbook as .xlsx), then upload it again.",
    ),
    "old_workbook": Kind(
        "We cannot read a workbook of this kind.",
        "Open it in LibreOffice or Excel, save it as .xlsx, then upload it again.",
    ),
    "password": Kind(
        "The file is password-protected.",
        "Remove the password in Excel (File, Info, Protect Workbook) and save it again.",
    ),
    "no_such_sheet": Kind("The workbook has no such sheet.", "Choose one of its sheets."),
    "far_cell": Kind(
        "Some cells are far outside the table.",
        "Delete them, or copy the table to a new workbook.",
    ),
    # Where the rows of a JSON file are
    "list_inside": Kind("", ""),
    "which_list": Kind("", "Choose what your rows are.", asks=True),
    "one_object": Kind("", "Choose what your rows are.", asks=True),
    "no_such_list": Kind("The file has no such list.", "Choose one of its lists."),
    "value_list": Kind("The list has no objects.", "Choose whether its values are your rows."),
    "bare_commas": Kind("", ""),
    # Names of columns
    "name": Kind("Some column names were changed.", "Use the new name in your prompt."),
    "same_name": Kind("Some columns have the same name.", "Use the new name in your prompt."),
    "long_name": Kind("Long column names were shortened.", "Use the new name in your prompt."),
    "cleaned_name": Kind("", ""),
    "long_line": Kind("Some lines are too long.", "Shorten them. Is this a CSV or JSONL file?"),
    "quotes": Kind(
        "A quotation mark is not closed.",
        'Close it. Inside a cell, write a quotation mark twice ("").',
    ),
    "gaps": Kind(
        "These rows are not lined up with the columns.",
        "Line them up with blanks, or save the table as CSV.",
    ),
    "json": Kind(
        "Some lines are not JSON objects.",
        'Each line of a JSONL file must be one complete object, such as {"name": "Ann"}.',
    ),
    "same_key": Kind(
        "Some objects contain the same key twice.", "Remove or rename one of the two."
    ),
    # Rows that cannot be sent
    "few_cells": Kind(
        "These rows have too few cells.",
        "Add the missing cells, or fill short rows with empty cells.",
    ),
    "many_cells": Kind(
        "These rows have too many cells.",
        "A cell that contains a comma (or your delimiter) needs quotation marks around it.",
    ),
    "long_cell": Kind("These rows have a cell that is too long.", "Shorten it."),
    "no_value": Kind(
        "These rows have formulas without a result.",
        "Open the file in your spreadsheet program, save it, then upload it again.",
    ),
    "request": Kind("These requests cannot be sent in a batch.", "Change them in the file."),
    "bad_character": Kind(
        "These rows have characters that do not match the encoding.",
        "Correct them, or save the file as UTF-8 (in Excel: “CSV UTF-8”).",
    ),
    "nul": Kind(
        "Some rows have NUL characters.",
        "Remove them, or save the file again in the program that created it.",
    ),
    # Worth knowing
    "odd_names": Kind("", "", asks=True),
    "header_lines": Kind("", "", asks=True),
    "unlike_below": Kind("", "", asks=True),
    "survey_lines": Kind("", ""),
    "before_rows": Kind("", ""),
    "after_rows": Kind("", ""),
    "tables": Kind("", "Every row that is not skipped is sent.", asks=True),
    "unlike": Kind(
        "Some rows look unlike the others.", "Every row that is not skipped is sent.", asks=True
    ),
    "subtotals": Kind("", "Every row that is not skipped is sent.", asks=True),
    "left_out_lines": Kind("", ""),
    "repeated_names": Kind("", ""),
    "mark_removed": Kind("", ""),
    "control_z": Kind("", ""),
    "unnamed": Kind("Columns without a name were named.", ""),
    "empty_column": Kind("Some columns are empty.", ""),
    "faulty_names": Kind("", "Or correct it in your file, then upload it again.", asks=True),
    "kept_names": Kind("", ""),
    "whole_quotes": Kind("", "Choose what your file means.", asks=True),
    "backslashes": Kind("", "Choose what your file means.", asks=True),
    "backslash_quotes": Kind("", ""),
    "drawn": Kind("", ""),
    "garbled": Kind("", "This happens when a program reads UTF-8 in another encoding.", asks=True),
    "garbled_repaired": Kind("", ""),
    "garbled_kept": Kind("", "Save the file again in the program that created it, as UTF-8."),
    "nulls": Kind("", "Databases write this for a missing value.", asks=True),
    "nulls_emptied": Kind("", ""),
    "guessed": Kind("", "Choose the reading that looks right.", asks=True),
    "chat": Kind("", "Choose what your rows are.", asks=True),
    "one_column": Kind("", "Choose the reading that looks right.", asks=True),
    "mostly_skipped": Kind("", "Choose the reading that looks right.", asks=True),
    "stray_quotes": Kind("", "If a cell should be in quotation marks, close them in your file."),
    "above_header": Kind("", "If these are not the column names, choose another line."),
    "sheets": Kind("", ""),
    "other_sheets": Kind("", ""),
    "skipped_blanks": Kind("", ""),
    # What a spreadsheet does not show, or shows differently
    "hidden": Kind("", "Claude sees them unless you leave them out.", asks=True),
    "hidden_left_out": Kind("", ""),
    "hidden_read": Kind("", ""),
    "merged": Kind("", "Only the first cell of a merge has its text.", asks=True),
    "merged_filled": Kind("", ""),
    "merged_kept": Kind("", ""),
    "covered": Kind("", "To read them, unmerge the cells in your spreadsheet."),
    "number_format": Kind("Some columns are shown differently than they are stored.", ""),
    "mixed_formats": Kind(
        "Some columns have several currencies or units.",
        "Read as stored, Claude does not see which is which.",
        asks=True,
    ),
    "format_hides": Kind(
        "Some columns have a number format that hides their cells.", "", asks=True
    ),
    "early_date": Kind("Some columns have dates before 1900.", ""),
    "unknown_formats": Kind(
        "", "If your spreadsheet has any of these, save it as .xlsx and upload it again."
    ),
    "no_such_column": Kind("", "Choose the column by its name in the file."),
    "which_sheet": Kind("", "", asks=True),
    "single_quotes": Kind("", ""),
    "long_number": Kind(
        "",
        "Excel keeps only 15 digits of a number. To keep all digits, store it as text.",
    ),
    "error_cell": Kind("", ""),
    "changed": Kind("All requests were changed as you chose.", ""),
    "missing_key": Kind("", ""),
    "damaged_copy": Kind("", "Upload it again. Nothing was sent or charged."),
    # Rows that were corrected and uploaded back
    "corrected": Kind("These rows were corrected.", ""),
    "not_corrected": Kind(
        "These rows came back uncorrected and are still skipped.",
        "Correct them, or fill short rows with empty cells.",
    ),
    "correction": Kind(
        "",
        "Nothing was changed. Download the rows again, correct the cells and leave the "
        "other columns as they are.",
    ),
    "no_row_column": Kind("", "If it is your whole file, choose “Use another file instead”."),
    "correction_left": Kind("Part of the corrected file was not used.", ""),
    "correction_note": Kind("", "Check the rows that it corrected."),
    "foreign_requests": Kind("", "Read as a table, they are not sent as requests.", asks=True),
    "foreign_table": Kind("", ""),
    # The prompt that a job began with, and this file
    "renamed": Kind("The prompt now uses the column names of this file.", ""),
    "prompt_not_used": Kind("", ""),
    "too_many_corrected": Kind(
        "", "Correct your own file instead, and upload it in place of this one."
    ),
}
FINDINGS = {
    **_FILE_KINDS,
    **{kind: Kind(*words) for kind, words in REQUEST_KINDS.items()},
}


def title_of(kind: str, count: int, texts: list[str]) -> str:
    """What is wrong, in a sentence for all `count` findings of a kind; `texts`: the first ones."""
    words = FINDINGS.get(kind)
    return words.title if words and words.title and count > 1 else texts[0]


def remedy_of(kind: str) -> str:
    """How to fix it; "" if nothing needs fixing."""
    words = FINDINGS.get(kind)
    return words.remedy if words else ""


def asks(kind: str) -> bool:
    """Whether findings of this kind are a question: the file may mean something else."""
    words = FINDINGS.get(kind)
    return words is not None and words.asks
