"""Names for people: encodings, and how a file was read."""

from __future__ import annotations

import codecs

from .delimiters import DELIMITERS, GAPS, ONE_COLUMN

# What can be chosen, with its name for people. The order is that of the list on the page.
ENCODINGS = {
    "utf-8": "UTF-8",
    "utf-16": "UTF-16",
    "utf-16-le": "UTF-16, little-endian",
    "utf-16-be": "UTF-16, big-endian",
    "utf-32": "UTF-32",
    "utf-32-le": "UTF-32, little-endian",
    "utf-32-be": "UTF-32, big-endian",
    "cp1252": "Western European (Windows-1252)",
    "iso8859-15": "Western European (ISO 8859-15)",
    "mac-roman": "Western European (Mac)",
    "cp850": "Western European (DOS)",
    "cp437": "American (DOS, CP437)",
    "cp1250": "Central European (Windows-1250)",
    "iso8859-2": "Central European (ISO 8859-2)",
    "iso8859-16": "Central European (ISO 8859-16, Romanian)",
    "cp852": "Central European (DOS, CP852)",
    "mac-latin2": "Central European (Mac)",
    "cp1251": "Cyrillic (Windows-1251)",
    "koi8-r": "Cyrillic (KOI8-R)",
    "koi8-u": "Cyrillic (KOI8-U)",
    "cp866": "Cyrillic (DOS, CP866)",
    "cp855": "Cyrillic (DOS, CP855)",
    "iso8859-5": "Cyrillic (ISO 8859-5)",
    "mac-cyrillic": "Cyrillic (Mac)",
    "cp1253": "Greek (Windows-1253)",
    "iso8859-7": "Greek (ISO 8859-7)",
    "cp737": "Greek (DOS, CP737)",
    "cp1254": "Turkish (Windows-1254)",
    "cp857": "Turkish (DOS, CP857)",
    "cp1255": "Hebrew (Windows-1255)",
    "cp862": "Hebrew (DOS, CP862)",
    "cp1256": "Arabic (Windows-1256)",
    "iso8859-6": "Arabic (ISO 8859-6)",
    "cp1257": "Baltic (Windows-1257)",
    "iso8859-13": "Baltic (ISO 8859-13)",
    "cp775": "Baltic (DOS, CP775)",
    "cp1258": "Vietnamese (Windows-1258)",
    "cp874": "Thai (Windows-874, TIS-620)",
    "gb18030": "Chinese, simplified (GB18030)",
    "big5hkscs": "Chinese, traditional (Big5)",
    "cp932": "Japanese (Shift-JIS)",
    "euc-jp": "Japanese (EUC-JP)",
    "iso2022_jp": "Japanese (ISO-2022-JP)",
    "cp949": "Korean (EUC-KR, CP949)",
}
# What is called so is read as the encoding that has more, as in every browser (WHATWG Encoding
# Standard).
_WIDER = {
    "ascii": "utf-8",
    "utf-8-sig": "utf-8",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-8": "cp1255",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "big5": "big5hkscs",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
}


def name_of(encoding: str) -> str:
    return ENCODINGS.get(encoding, encoding.upper())


def how_it_is_read(format: str, delimiter: str, encoding: str, sheet: str, header: int) -> str:
    """ "CSV, semicolons, UTF-8, names in line 3"; what is empty or 0 is left out."""
    words = [
        format,
        _cells_in_words(delimiter),
        name_of(encoding) if encoding else "",
        f"sheet “{sheet}”" if sheet else "",
        f"names in line {header}" if header > 1 else "",
    ]
    return ", ".join(word for word in words if word)


def _cells_in_words(delimiter: str) -> str:
    if delimiter == ONE_COLUMN:
        return "one column"
    if delimiter == GAPS:
        return "columns at the gaps"
    if delimiter == " ":
        return "blanks between cells"
    if delimiter and not delimiter.isprintable():
        return "control characters between cells"
    return DELIMITERS.get(delimiter, f"“{delimiter}” between cells" if delimiter else "")


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
