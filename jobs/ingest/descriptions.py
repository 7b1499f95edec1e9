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
        "There are no rows below the column names.", "Add rows, or check that you saved the file."
    ),
    "not_text": Kind("This is not a file with a table.", "Upload a CSV, Excel or JSONL file."),
    "markup": Kind(
        "This is not a file with a table.",
        "Open it in your spreadsheet program, whatever its name ends with, and save it as .xlsx or "
        "CSV.",
    ),
    "too_many_rows": Kind("The file has too many rows.", "Split it into several files."),
    "too_many_columns": Kind(
        "The file has too many columns.", "Remove columns that the prompt does not need."
    ),
    "too_much": Kind(
        "The file could not be read to its end.",
        "Save it as CSV UTF-8 in your spreadsheet program, or split it into several files.",
    ),
    "no_room": Kind("There is no room for this file.", "Its rows were not stored."),
    "encoding": Kind(
        "There are characters that do not fit the encoding.",
        "Choose another encoding, or save the file as UTF-8 (in Excel: “CSV UTF-8”).",
    ),
    "damaged": Kind(
        "The file is damaged.", "Save it again in the program that it comes from, and upload that."
    ),
    "password": Kind(
        "The file is protected by a password.",
        "Remove the password in Excel (File, Info, Protect Workbook) and save it again.",
    ),
    "no_such_sheet": Kind("The workbook has no such sheet.", "Choose one of its sheets."),
    "far_cell": Kind(
        "There are cells far away from the table.",
        "Delete what is in them, or copy the table to a new workbook.",
    ),
    # Names of columns
    "name": Kind("A column name cannot be used.", "Rename the column."),
    "same_name": Kind("Two columns have the same name.", "Rename one of them."),
    "long_line": Kind("Lines are too long.", "Shorten them. Is this a CSV or JSONL file?"),
    "nul": Kind(
        "There are NUL characters in the file.",
        "Remove them, or save the file again in the program that it comes from.",
    ),
    "quotes": Kind(
        "Quotation marks do not come in pairs.",
        'Close what was opened; a quotation mark inside a cell is written twice ("").',
    ),
    "json": Kind(
        "Lines are not JSON objects.",
        'Each line of a JSONL file is one complete object, such as {"name": "Ann"}.',
    ),
    "same_key": Kind("Objects have the same key twice.", "Remove or rename one of the two."),
    # Rows that cannot be sent
    "few_cells": Kind(
        "These rows have fewer cells than there are columns.",
        "Add the missing cells, or have them filled with nothing.",
    ),
    "many_cells": Kind(
        "These rows have more cells than there are columns.",
        "A cell that contains a comma (or whatever separates your cells) needs quotation marks "
        "around it.",
    ),
    "long_cell": Kind("These rows have a cell that is too long.", "Shorten it."),
    "no_value": Kind(
        "These rows have formulas without a result.",
        "Open the file in your spreadsheet program, save it, and upload it again.",
    ),
    "request": Kind("These requests cannot be sent in a batch.", "Change them in the file."),
    # Worth knowing
    "odd_names": Kind("", "If that line is a row already, choose “There are no column names”."),
    "unnamed": Kind("Columns without a name got one.", ""),
    "empty_column": Kind("Columns have nothing in them.", ""),
    "guessed": Kind(
        "",
        "Check that letters such as ä, é or ł look right; choose another encoding if they do not.",
    ),
    "above_header": Kind("", "Choose another line if these are not the column names."),
    "sheets": Kind("", ""),
    "single_quotes": Kind("", ""),
    "long_number": Kind(
        "",
        "Excel keeps 15 digits of a number. Where it matters, store it as text.",
    ),
    "error_cell": Kind("", ""),
    "lost_break": Kind("", "Where they matter, save the workbook as .xlsx."),
    # Ready-made requests that cannot be sent
    "req_id": Kind(
        "These requests have no “custom_id”.",
        "Give each request a “custom_id”: any text by which you know it again.",
    ),
    "req_same_id": Kind(
        "These requests have the “custom_id” of another one.",
        "Change it: each may be there once.",
    ),
    "req_beside": Kind(
        "These requests have something beside “custom_id” and “params”.",
        "Remove it, or move it into “params” if it belongs there.",
    ),
    "req_params": Kind(
        "These requests have no “params”.",
        "A request looks like this: "
        '{"custom_id": "1", "params": {"model": ..., "max_tokens": ..., "messages": [...]}}',
    ),
    "req_unknown": Kind(
        "These requests have a setting that does not exist.",
        "Remove it from “params”, or correct its name.",
    ),
    "req_stream": Kind(
        "These requests want a streamed answer, which a batch cannot give.",
        "Remove “stream”.",
    ),
    "req_speed": Kind(
        "These requests ask for the fast mode, which a batch does not have.", "Remove “speed”."
    ),
    "req_fallbacks": Kind(
        "These requests name models to fall back on, which a batch cannot do.",
        "Remove “fallbacks”.",
    ),
    "req_temperature": Kind(
        "These requests set “temperature”, which is not taken any more.", "Remove “temperature”."
    ),
    "req_top_p": Kind(
        "These requests set “top_p”, which is not taken any more.", "Remove “top_p”."
    ),
    "req_top_k": Kind(
        "These requests set “top_k”, which is not taken any more.", "Remove “top_k”."
    ),
    "req_max_tokens": Kind(
        "These requests do not say how long the answer may be.",
        "Write “max_tokens” into “params”: a whole number, such as 1000.",
    ),
    "req_longest": Kind(
        "These requests allow longer answers than the model can write.", "Lower “max_tokens”."
    ),
    "req_messages": Kind(
        "These requests have no messages that can be sent.",
        '“messages” looks like this: [{"role": "user", "content": "What you want to ask"}]',
    ),
    "req_role": Kind(
        "These requests have a message with a role that cannot be.",
        "Give it the role “user” or “assistant”.",
    ),
    "req_first_system": Kind(
        "These requests begin with a message of the role “system”.",
        "Write what it says into “system”, beside “messages”, and remove the message.",
    ),
    "req_first": Kind(
        "These requests do not begin with a message of the user.",
        "Begin “messages” with one of the role “user”.",
    ),
    "req_text": Kind("These requests have an empty message.", "Fill it or remove it."),
    "req_content": Kind(
        "These requests have something in a message where it is not taken.", "Remove it."
    ),
    "req_prefill": Kind(
        "These requests begin the answer themselves, which their model does not take.",
        "Remove the last message, or use a model that takes it.",
    ),
    "req_model": Kind("These requests name no model.", "Write “model” into “params”."),
    "req_unknown_model": Kind(
        "These requests name a model that is not known.", "Correct the name of the model."
    ),
    "req_retired": Kind(
        "These requests name a model that is not in service any more.", "Use its successor."
    ),
    "req_thinking": Kind(
        "These requests set “thinking” in a way that their model does not take.",
        "Remove “thinking”, or change it to what the model takes.",
    ),
    "req_budget": Kind(
        "These requests have a “budget_tokens” that does not fit.",
        "It is a whole number from 1,024 and below “max_tokens”, and only for “thinking” of the "
        "type “enabled”.",
    ),
    "req_effort": Kind(
        "These requests ask for an effort that their model does not have.",
        "Change or remove “effort”.",
    ),
    "req_tool_choice": Kind(
        "These requests force the use of a tool, which their model does not take.",
        "Change “tool_choice” to the type “auto”.",
    ),
    "req_max_uses": Kind(
        "These requests search the web or fetch pages without a limit, so the most that they cost "
        "cannot be said.",
        "Write “max_uses” into the tool: how often it may be used, such as 5.",
    ),
    "req_open_tool": Kind(
        "These requests have a tool whose use cannot be limited, so the most that they cost cannot "
        "be said.",
        "Remove the tool. Tools of your own, “web_search” and “web_fetch” can stay.",
    ),
    "req_open_block": Kind(
        "These requests hold something that is read without limit, so the most that they cost "
        "cannot be said.",
        "Remove it. Put the text, the picture or the PDF itself into the message instead.",
    ),
    "req_container": Kind(
        "These requests use a container, whose files and skills are read without limit, so the "
        "most that they cost cannot be said.",
        "Remove “container”. Put the text, the picture or the PDF itself into the message instead.",
    ),
    "req_region": Kind(
        "These requests choose a region, which their model does not take.",
        "Remove “inference_geo”.",
    ),
    "req_setting": Kind(
        "These requests have a setting that is not in the right form.",
        "Correct it, or remove it from “params”.",
    ),
    # Worth knowing about ready-made requests, and about objects
    "req_finding": Kind(
        "",
        "What is found is read as input. “At most” takes it as long as the model can hold, each "
        "time; usually it is far less. Searches cost $10 for 1,000 besides.",
    ),
    "req_linked": Kind(
        "",
        "The price of linked files is not known before they are read. “At most” takes a linked "
        "document as long as the model can read. For a closer price, put the files themselves "
        "into the requests (base64).",
    ),
    "req_unmeasured": Kind(
        "",
        "They hold a PDF that cannot be opened here, earlier thinking, or what a tool found. “At "
        "most” takes each as long as the model can read.",
    ),
    "req_deprecated": Kind("", "The job can be sent now; later ones need another model."),
    "changed": Kind("All requests were changed as you wished.", ""),
    "missing_key": Kind("", ""),
    "damaged_copy": Kind("", "Upload it again. Nothing of it was sent or charged."),
    # Rows that were corrected and uploaded back
    "corrected": Kind("These rows are as you corrected them.", ""),
    "not_corrected": Kind(
        "These rows came back without a correction, and are still left out.",
        "Change what is wrong in them. Missing cells are filled by the button above.",
    ),
    "correction": Kind(
        "",
        "Nothing of it was used. Download the rows once more, correct the cells and leave the "
        "other columns as they are.",
    ),
    "no_row_column": Kind("", "If it is your whole file, choose “Use another file instead”."),
    "correction_left": Kind("Some of the corrected file was not used.", ""),
    "correction_note": Kind("", "Look at the rows that it corrected."),
    # The prompt that a job began with, and this file
    "renamed": Kind("The prompt was changed to the column names of this file.", ""),
    "prompt_not_used": Kind("", ""),
    "too_many_corrected": Kind(
        "", "Correct your own file instead, and use it in place of the one that you uploaded."
    ),
}


def title_of(kind: str, count: int, texts: list[str]) -> str:
    """What is wrong, in a sentence for all `count` findings of a kind; `texts`: the first ones."""
    words = FINDINGS.get(kind)
    return words.title if words and words.title and count > 1 else texts[0]


def remedy_of(kind: str) -> str:
    """How to mend it; "" when nothing has to be."""
    words = FINDINGS.get(kind)
    return words.remedy if words else ""
