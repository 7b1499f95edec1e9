"""Names and sentences for people: encodings, delimiters, and every kind of finding about a file."""

from __future__ import annotations

import codecs
from typing import NamedTuple

# What can be chosen, with its name for people. The order is that of the list on the page.
ENCODINGS = {
    "utf-8": "UTF-8",
    "utf-16": "UTF-16",
    "utf-16-le": "UTF-16, little-endian",
    "utf-16-be": "UTF-16, big-endian",
    "cp1252": "Western European (Windows-1252)",
    "mac-roman": "Western European (Mac)",
    "cp850": "Western European (DOS)",
    "cp1250": "Central European (Windows-1250)",
    "iso8859-2": "Central European (ISO 8859-2)",
    "cp1251": "Cyrillic (Windows-1251)",
    "koi8-r": "Cyrillic (KOI8-R)",
    "cp1253": "Greek (Windows-1253)",
    "cp1254": "Turkish (Windows-1254)",
    "cp1255": "Hebrew (Windows-1255)",
    "cp1256": "Arabic (Windows-1256)",
    "cp1257": "Baltic (Windows-1257)",
    "cp1258": "Vietnamese (Windows-1258)",
    "cp874": "Thai (Windows-874)",
    "gb18030": "Chinese, simplified (GB18030)",
    "big5hkscs": "Chinese, traditional (Big5)",
    "cp932": "Japanese (Shift-JIS)",
    "euc-jp": "Japanese (EUC)",
    "cp949": "Korean (CP949)",
}
# What is called so is read as the encoding that has more, as in every browser (WHATWG Encoding
# Standard).
_WIDER = {
    "ascii": "utf-8",
    "utf-8-sig": "utf-8",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "big5": "big5hkscs",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
}
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}


def name_of(encoding: str) -> str:
    return ENCODINGS.get(encoding, encoding.upper())


def how_it_is_read(format: str, delimiter: str, encoding: str, sheet: str, header: int) -> str:
    """ "CSV, semicolons, UTF-8, names in line 3"; what is empty or 0 is left out."""
    words = [
        format,
        DELIMITERS.get(delimiter, f"“{delimiter}” between cells" if delimiter else ""),
        name_of(encoding) if encoding else "",
        f"sheet “{sheet}”" if sheet else "",
        f"names in line {header}" if header > 1 else "",
    ]
    return ", ".join(word for word in words if word)


def python_name(name: str) -> str:
    """The name under which ENCODINGS has what a person calls "UTF8", "windows-1252", "latin1" ...;
    "" when it is not one that can be chosen."""
    wanted = name.strip().lower()
    for key, words in ENCODINGS.items():
        if wanted in (key, words.lower()):
            return key
    try:
        codec = codecs.lookup(wanted).name
    except LookupError:
        return ""
    codec = _WIDER.get(codec, codec)
    same = (key for key in ENCODINGS if codecs.lookup(key).name == codec)
    return next(same, "")


class Kind(NamedTuple):
    title: str  # of several: "These rows ..."
    remedy: str


FINDINGS = {
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
    "no_room": Kind("There is not enough disk space for this file.", "Its rows were not stored."),
    "encoding": Kind(
        "Some characters do not match the encoding.",
        "Choose another encoding, or save the file as UTF-8 (in Excel: “CSV UTF-8”).",
    ),
    "damaged": Kind(
        "The file is damaged.",
        "Save it again in the program that created it, then upload it again.",
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
    # Names of columns
    "name": Kind("A column name cannot be used.", "Rename the column."),
    "same_name": Kind("Two columns have the same name.", "Rename one of them."),
    "long_line": Kind("Some lines are too long.", "Shorten them. Is this a CSV or JSONL file?"),
    "nul": Kind(
        "The file contains NUL characters.",
        "Remove them, or save the file again in the program that created it.",
    ),
    "quotes": Kind(
        "A quotation mark is not closed.",
        'Close it. Inside a cell, write a quotation mark twice ("").',
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
        "Add the missing cells, or leave them empty with the button above.",
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
    # Worth knowing
    "odd_names": Kind("", "If that line is a row, choose “There are no column names”."),
    "unnamed": Kind("Columns without a name were named.", ""),
    "empty_column": Kind("Some columns are empty.", ""),
    "guessed": Kind(
        "",
        "Check that letters such as ä, é or ł look right. If not, choose another encoding.",
    ),
    "above_header": Kind("", "If these are not the column names, choose another line."),
    "sheets": Kind("", ""),
    "single_quotes": Kind("", ""),
    "long_number": Kind(
        "",
        "Excel keeps only 15 digits of a number. To keep all digits, store it as text.",
    ),
    "error_cell": Kind("", ""),
    "lost_break": Kind("", "To keep them, save the workbook as .xlsx."),
    # Ready-made requests that cannot be sent
    "req_id": Kind(
        "These requests have no “custom_id”.",
        "Give each request a “custom_id”: any text that identifies it.",
    ),
    "req_same_id": Kind(
        "These requests have a “custom_id” that is already in use.",
        "Make each “custom_id” unique.",
    ),
    "req_beside": Kind(
        "These requests have keys other than “custom_id” and “params”.",
        "Remove them, or move them into “params”.",
    ),
    "req_params": Kind(
        "These requests have no “params”.",
        "A request looks like this: "
        '{"custom_id": "1", "params": {"model": ..., "max_tokens": ..., "messages": [...]}}',
    ),
    "req_unknown": Kind(
        "These requests have an unknown parameter.",
        "Remove it from “params” or correct its name.",
    ),
    "req_stream": Kind(
        "These requests ask for streaming, which batches do not support.",
        "Remove “stream”.",
    ),
    "req_speed": Kind(
        "These requests ask for fast mode, which batches do not support.", "Remove “speed”."
    ),
    "req_fallbacks": Kind(
        "These requests name fallback models, which batches do not support.",
        "Remove “fallbacks”.",
    ),
    "req_temperature": Kind(
        "These requests set “temperature”, which Claude no longer supports.",
        "Remove “temperature”.",
    ),
    "req_top_p": Kind(
        "These requests set “top_p”, which Claude no longer supports.", "Remove “top_p”."
    ),
    "req_top_k": Kind(
        "These requests set “top_k”, which Claude no longer supports.", "Remove “top_k”."
    ),
    "req_max_tokens": Kind(
        "These requests do not set a maximum answer length.",
        "Add “max_tokens” to “params”: a whole number, such as 1000.",
    ),
    "req_longest": Kind(
        "These requests allow longer answers than their model can write.", "Lower “max_tokens”."
    ),
    "req_messages": Kind(
        "These requests have no valid messages.",
        '“messages” looks like this: [{"role": "user", "content": "What you want to ask"}]',
    ),
    "req_role": Kind(
        "These requests have a message with an invalid role.",
        "Use the role “user” or “assistant”.",
    ),
    "req_first_system": Kind(
        "These requests begin with a “system” message.",
        "Move its text to “system”, next to “messages”.",
    ),
    "req_first": Kind(
        "These requests do not begin with a “user” message.",
        "Begin “messages” with a “user” message.",
    ),
    "req_text": Kind("These requests have an empty message.", "Fill it or remove it."),
    "req_content": Kind("These requests have message content that is not allowed.", "Remove it."),
    "req_prefill": Kind(
        "These requests prefill the answer, which their model does not support.",
        "Remove the last message, or choose a model that supports prefill.",
    ),
    "req_model": Kind("These requests name no model.", "Add “model” to “params”."),
    "req_unknown_model": Kind("These requests name an unknown model.", "Correct the model name."),
    "req_retired": Kind("These requests name a retired model.", "Use its successor."),
    "req_thinking": Kind(
        "These requests set “thinking” in a way their model does not support.",
        "Remove “thinking”, or use a type that the model supports.",
    ),
    "req_budget": Kind(
        "These requests have an invalid “budget_tokens”.",
        "Use a whole number from 1,024 to below “max_tokens”, only with “thinking” of the "
        "type “enabled”.",
    ),
    "req_effort": Kind(
        "These requests set an “effort” their model does not support.",
        "Change or remove “effort”.",
    ),
    "req_tool_choice": Kind(
        "These requests force tool use, which their model does not support.",
        "Set “tool_choice” to the type “auto”.",
    ),
    "req_max_uses": Kind(
        "These requests search the web or fetch pages without a limit, so their maximum cost "
        "is unknown.",
        "Add “max_uses” to the tool, such as 5.",
    ),
    "req_open_tool": Kind(
        "These requests have a tool whose use cannot be limited, so their maximum cost cannot "
        "be known.",
        "Remove the tool. Your own tools, “web_search” and “web_fetch” are fine.",
    ),
    "req_open_block": Kind(
        "These requests contain something that is read without a limit, so their maximum cost "
        "is unknown.",
        "Remove it. Put the text, image or PDF into the message instead.",
    ),
    "req_container": Kind(
        "These requests use a container, whose files and skills are read without a limit, so their "
        "maximum cost is unknown.",
        "Remove “container”. Put the text, image or PDF into the message instead.",
    ),
    "req_region": Kind(
        "These requests set a region, which their model does not support.",
        "Remove “inference_geo”.",
    ),
    "req_setting": Kind(
        "These requests have a parameter with an invalid value.",
        "Correct it or remove it from “params”.",
    ),
    # Worth knowing about ready-made requests, and about objects
    "req_finding": Kind(
        "",
        "What they find is charged as input. “At most” assumes as much as the model can hold, each "
        "time; usually it is far less. Searches cost another $10 per 1,000.",
    ),
    "req_linked": Kind(
        "",
        "The price of linked files is unknown until they are read. “At most” assumes that a linked "
        "document is as long as the model can read. For a closer price, put the files themselves "
        "into the requests (base64).",
    ),
    "req_unmeasured": Kind(
        "",
        "They contain a PDF that we cannot open, earlier thinking, or tool results. “At "
        "most” assumes that each is as long as the model can read.",
    ),
    "req_deprecated": Kind("", "You can submit this job now. Later jobs need another model."),
    "changed": Kind("All requests were changed as you chose.", ""),
    "missing_key": Kind("", ""),
    "damaged_copy": Kind("", "Upload it again. Nothing was sent or charged."),
    # Rows that were corrected and uploaded back
    "corrected": Kind("These rows were corrected.", ""),
    "not_corrected": Kind(
        "These rows came back uncorrected and are still skipped.",
        "Correct them, or fill missing cells with the button above.",
    ),
    "correction": Kind(
        "",
        "Nothing was changed. Download the rows again, correct the cells and leave the "
        "other columns as they are.",
    ),
    "no_row_column": Kind("", "If it is your whole file, choose “Use another file instead”."),
    "correction_left": Kind("Part of the corrected file was not used.", ""),
    "correction_note": Kind("", "Check the rows that it corrected."),
    # The prompt that a job began with, and this file
    "renamed": Kind("The prompt now uses the column names of this file.", ""),
    "prompt_not_used": Kind("", ""),
    "too_many_corrected": Kind(
        "", "Correct your own file instead, and upload it in place of this one."
    ),
}


def title_of(kind: str, count: int, texts: list[str]) -> str:
    """What is wrong, in a sentence for all `count` findings of a kind; `texts`: the first ones."""
    words = FINDINGS.get(kind)
    return words.title if words and words.title and count > 1 else texts[0]


def remedy_of(kind: str) -> str:
    """How to fix it; "" if nothing needs fixing."""
    words = FINDINGS.get(kind)
    return words.remedy if words else ""
