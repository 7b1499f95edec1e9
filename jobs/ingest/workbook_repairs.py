"""Workbooks that spreadsheet programs open and calamine does not, written anew in memory."""

from __future__ import annotations

import posixpath
import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE, getincrementaldecoder
from collections.abc import Iterator
from contextlib import closing, suppress
from io import BytesIO
from xml.etree import ElementTree
from zipfile import ZIP_DEFLATED, ZipFile

from .shapes import Limits
from .workbook_files import BLOCK, HEAD, elements, part_blocks, require_harmless
from .workbook_ods import needs_repair, repaired

RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
BOOK = "xl/workbook.xml"
# Parts that calamine looks for under these names, whatever the workbook says.
NAMED = {"sharedStrings": "xl/sharedStrings.xml", "styles": "xl/styles.xml"}
SHEETS = ("worksheet", "chartsheet", "dialogsheet")  # kinds that calamine knows
_SHEET = re.compile(rb"""<(?:\w+:)?sheet\s(?:[^<>"']++|"[^"]*+"|'[^']*+')*>""")
# What calamine knows of a sheet's state, and of its size: not rows as a whole.
_ODD_STATE = re.compile(rb"""\sstate=(["'])(?!(?:visible|hidden|veryHidden)\1)[^"'<>]*\1""")
_ODD_SIZE = re.compile(
    rb"""<(?:\w+:)?dimension\sref=["'](?![A-Z]+[0-9]+(?::[A-Z]+[0-9]+)?["'])[^"'<>]*["']\s*/>"""
)
_DECLARATION = re.compile(r"""\A\s*<\?xml\s[^<>]*?(?:encoding=["']([\w.-]+)["'][^<>]*)?\?>""")
UTF_8 = ("", "utf-8", "utf8", "ascii", "us-ascii")


def in_utf_8(archive: ZipFile, limits: Limits) -> bytes | None:
    """The workbook with all of its XML in UTF-8, for calamine knows nothing else. It may be in
    UTF-16 as well, and some programs name other encodings, rightly or not. None: it is so. Raises
    LookupError or ValueError for an unknown encoding and what does not fit it."""
    odd = {
        name: encoding
        for name in archive.namelist()
        if name.lower().endswith((".xml", ".rels"))
        and (encoding := _odd_encoding(archive, name, limits))
    }
    if not odd:
        return None
    written = BytesIO()
    with ZipFile(written, "w", ZIP_DEFLATED, compresslevel=1) as copy:
        for name in archive.namelist():
            with copy.open(name, "w", force_zip64=True) as stream:
                if name in odd:
                    stream.writelines(_recoded(archive, name, odd[name], limits))
                else:
                    stream.writelines(part_blocks(archive, name, limits))
    with ZipFile(written) as copy:  # what an encoding hid is seen now
        require_harmless(copy, limits, written.tell())
    return written.getvalue()


def _odd_encoding(archive: ZipFile, name: str, limits: Limits) -> str:
    """Of a part of XML; "" for one that is in UTF-8 and says so."""
    with archive.open(name) as stream:
        head = stream.read(HEAD)
    if head.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        return "utf-16"
    for encoding in ("utf-16-le", "utf-16-be"):
        if head.startswith("<?".encode(encoding)):
            return encoding
    declared = _DECLARATION.match(head.removeprefix(BOM_UTF8).decode("latin-1"))
    said = ((declared and declared[1]) or "").lower()
    if said in UTF_8:
        return ""
    b"".decode(said)  # raises LookupError for what is no encoding of text
    # Programs write UTF-8 and say “utf-16”, too.
    return "utf-8" if _is_utf_8(archive, name, limits) else said


def _is_utf_8(archive: ZipFile, name: str, limits: Limits) -> bool:
    with suppress(UnicodeDecodeError):
        for _block in _recoded(archive, name, "utf-8", limits):
            pass
        return True
    return False


def _recoded(archive: ZipFile, name: str, encoding: str, limits: Limits) -> Iterator[bytes]:
    """A part of XML in UTF-8."""
    decoder = getincrementaldecoder(encoding)()
    is_first = True
    with closing(part_blocks(archive, name, limits)) as blocks:  # also of text that does not fit
        for block in blocks:
            text = decoder.decode(block)
            yield (_DECLARATION.sub("", text, 1) if is_first else text).encode()
            is_first = False
    yield decoder.decode(b"", final=True).encode()


def workbook_part(archive: ZipFile, names: dict[str, str]) -> str:
    """The path of the main part of an .xlsx, in lower case; "" if it is none. `names`: the parts by
    their path in lower case."""
    if BOOK in names:
        return BOOK
    if (relations := names.get("_rels/.rels")) is not None:
        for element in elements(archive, relations, "Relationship"):
            if element.get("Type", "").endswith("/officeDocument"):
                path = posixpath.normpath("/" + element.get("Target", "").replace("\\", "/"))[1:]
                # Word and PowerPoint have one, too.
                if path.lower() in names and path.endswith(".xml") and _is_excel(archive, names):
                    return path.lower()
    return "workbook.xml" if "workbook.xml" in names else ""


def related(archive: ZipFile, names: dict[str, str], book: str) -> dict[str, tuple[str, str]]:
    """What the workbook refers to by ID: the kind, and the path in lower case."""
    found = _relations(archive, names, book)
    return {id: (kind, path) for id, (kind, path) in found.items() if path in names}


def _relations(archive: ZipFile, names: dict[str, str], book: str) -> dict[str, tuple[str, str]]:
    """The same, also of parts that are not there."""
    folder, name = posixpath.split(book)
    relations = names.get(posixpath.join(folder, "_rels", f"{name}.rels"))
    if relations is None:
        return {}
    found = {}
    for element in elements(archive, relations, "Relationship"):
        target = element.get("Target", "").replace("\\", "/")
        path = posixpath.normpath(posixpath.join("/", folder, target))[1:].lower()
        if element.get("TargetMode") != "External":
            kind = element.get("Type", "").rpartition("/")[2]
            found[element.get("Id", "")] = kind, path
    return found


def sheet_parts(archive: ZipFile, names: dict[str, str], book: str) -> dict[str, str]:
    """The names of the sheets of an .xlsx, and of the parts that they are in."""
    parts = related(archive, names, book)
    return {
        name: names[parts[relation][1]]
        for name, relation in _sheets(archive, names, book)
        if relation in parts
    }


def other_sheets(archive: ZipFile, names: dict[str, str], book: str) -> list[str]:
    """The names of sheets that hold no table: macros of Excel 4 and modules of older ones."""
    relations = _relations(archive, names, book)
    sheets = _sheets(archive, names, book)
    return [name for name, id in sheets if relations.get(id, ("", ""))[0] not in SHEETS]


def _sheets(archive: ZipFile, names: dict[str, str], book: str) -> list[tuple[str, str]]:
    """The names of all sheets and the IDs of their parts."""
    return [
        (
            element.get("name", ""),
            next((value for key, value in element.items() if key.endswith("}id")), ""),
        )
        for element in elements(archive, names[book], "sheet")
    ]


def repaired_xlsx(
    archive: ZipFile, names: dict[str, str], book: str, limits: Limits
) -> BytesIO | None:
    """The workbook with its parts where calamine looks for them, and without what it does not know
    of sheets. None: it is so."""
    parts = related(archive, names, book)
    moved = {book: BOOK, **{path: NAMED[kind] for kind, path in parts.values() if kind in NAMED}}
    folder = posixpath.dirname(book)
    usual = [posixpath.join(folder, posixpath.basename(place)) for place in moved.values()]
    plain = _plain_book(archive, names, book)
    odd = {path for _kind, path in parts.values() if _has_odd_size(archive, names[path])}
    is_usual = all(path == place.lower() for path, place in zip(moved, usual, strict=True))
    if is_usual and not odd and plain == archive.read(names[book]):
        return None
    relations = ElementTree.Element("Relationships", xmlns=RELATIONS)
    for id, (kind, path) in parts.items():
        values = {"Id": id, "Type": f"{OFFICE}/{kind}", "Target": "/" + moved.get(path, path)}
        ElementTree.SubElement(relations, "Relationship", values)
    written = BytesIO()
    copied = {*moved, *(path for _kind, path in parts.values())}
    with ZipFile(written, "w", ZIP_DEFLATED, compresslevel=1) as copy:
        for path, name in names.items():
            if path == book:
                copy.writestr(BOOK, plain)
            elif path in copied:
                removed = _ODD_SIZE if path in odd else None
                _copy(archive, name, copy, moved.get(path, path), limits, removed)
        copy.writestr("[Content_Types].xml", _read(archive, names.get("[content_types].xml")))
        copy.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{RELATIONS}"><Relationship Id="rId1" '
            f'Type="{OFFICE}/officeDocument" Target="{BOOK}"/></Relationships>',
        )
        copy.writestr("xl/_rels/workbook.xml.rels", ElementTree.tostring(relations))
    written.seek(0)
    return written


def _plain_book(archive: ZipFile, names: dict[str, str], book: str) -> bytes:
    """The main part of the workbook without sheets that hold no table, and without odd states."""
    others = other_sheets(archive, names, book)
    sheets = iter(_sheets(archive, names, book))
    return _SHEET.sub(
        lambda found: b"" if next(sheets, ("", ""))[0] in others else _ODD_STATE.sub(b"", found[0]),
        archive.read(names[book]),
    )


def _has_odd_size(archive: ZipFile, name: str) -> bool:
    with archive.open(name) as stream:
        return bool(_ODD_SIZE.search(stream.read(HEAD)))


def repaired_ods(
    archive: ZipFile, names: dict[str, str], kind: bytes, limits: Limits
) -> BytesIO | None:
    """The workbook as calamine reads it right, and with its kind. None: it is so."""
    content = names["content.xml"]
    said = "mimetype" in names and archive.read(names["mimetype"]) == kind
    if said and not any(map(needs_repair, part_blocks(archive, content, limits))):
        return None
    written = BytesIO()
    with ZipFile(written, "w", ZIP_DEFLATED, compresslevel=1) as copy:
        copy.writestr("mimetype", kind)
        for path in ("meta-inf/manifest.xml", "styles.xml"):
            if path in names:
                place = path.replace("meta-inf", "META-INF")
                copy.writestr(place, archive.read(names[path]))
        with copy.open("content.xml", "w", force_zip64=True) as stream:
            for piece in repaired(part_blocks(archive, content, limits)):
                stream.write(piece)
    written.seek(0)
    return written


def _is_excel(archive: ZipFile, names: dict[str, str]) -> bool:
    if "[content_types].xml" not in names:
        return False
    with archive.open(names["[content_types].xml"]) as stream:
        types = stream.read(BLOCK)
    return b"spreadsheetml" in types or b"ms-excel" in types


def _copy(
    archive: ZipFile,
    name: str,
    copy: ZipFile,
    place: str,
    limits: Limits,
    removed: re.Pattern[bytes] | None,
) -> None:
    """`removed`: from the beginning of the part."""
    with copy.open(place, "w", force_zip64=True) as stream:
        for block in part_blocks(archive, name, limits):
            stream.write(removed.sub(b"", block, 1) if removed else block)
            removed = None


def _read(archive: ZipFile, name: str | None) -> bytes:
    return archive.read(name) if name else b""
