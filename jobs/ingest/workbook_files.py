"""Workbooks as zip and OLE files: what they contain, and whether they are safe to open."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from xml.etree import ElementTree
from zipfile import ZipFile

from python_calamine import (
    PasswordError,
)

from .shapes import Limits, Unreadable, unreadable

BLOCK = 1 << 20
HEAD = 1 << 12  # of each part of a workbook: a DOCTYPE comes first
PARTS = 5_000
# A real workbook is packed to a tenth or, with the same long text again and again, to a 170th.
PACKED = 250
HARMLESS = 100_000_000  # bytes, however they are packed

DAMAGED = "The workbook is damaged or incomplete."
NOT_KNOWN = "The workbook is damaged or incomplete, or has something that we cannot read."
PASSWORD = "The workbook is password-protected."  # noqa: S105 - says that there is one
MANIFEST = "meta-inf/manifest.xml"  # of an .ods, in lower case
MACROS = ("basic/", "dialogs/")
SPREADSHEET = b"application/vnd.oasis.opendocument.spreadsheet"
# What else is a zip file or an OLE file, by something in it, in lower case.
OTHER_ZIPS = (
    ("word/document.xml", "a Word document"),
    ("ppt/presentation.xml", "a PowerPoint presentation"),
    ("index/document.iwa", "an Apple Numbers, Pages or Keynote document"),
    ("index.zip", "an Apple Numbers, Pages or Keynote document"),
    ("buildversionhistory.plist", "an Apple Numbers, Pages or Keynote document"),
    ("mimetype", "an OpenDocument or e-book file, but not a spreadsheet"),
)
# Files that can be uploaded when they are taken out of a zip file.
TABLES = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods", ".csv", ".tsv", ".txt", ".json", ".jsonl")
OTHER_OLES = (
    ("worddocument", "a Word document"),
    ("powerpoint document", "a PowerPoint presentation"),
    ("__properties_version1.0", "an Outlook message"),
)

# The first records of an .xls of 1997 and of 1995; 2F is FilePass.
ENCRYPTED_XLS = re.compile(
    rb"\x09\x08(?:\x10\0\0\x06\x05\0.{12}|\x08\0\0\x05\x05\0.{4})(?:\x86\0\0\0)?\x2f\0", re.DOTALL
)


# --- Zip and OLE files ----------------------------------------------------------------------------


def require_harmless(archive: ZipFile, limits: Limits, size: int) -> None:
    """Raises Unreadable for what no spreadsheet program writes. `size`: bytes of the file."""
    parts = archive.infolist()
    if len(parts) > PARTS:
        text = f"The workbook has {len(parts):,} parts; at most {PARTS:,} are possible."
        raise unreadable("too_much", text)
    unpacked = sum(part.file_size for part in parts)
    expands = f"The workbook expands to {unpacked / 1_000_000:,.0f} MB"
    if unpacked > limits.unpacked:
        most = f"at most {limits.unpacked / 1_000_000:,.0f} MB are possible"
        raise unreadable("too_much", f"{expands}; {most}.")
    if unpacked > HARMLESS and unpacked > size * PACKED:
        raise unreadable("too_much", f"{expands}, {unpacked // size:,} times its own size.")
    for part in parts:
        path = part.orig_filename.replace("\\", "/")
        if path.startswith("/") or path[1:2] == ":" or ".." in path.split("/") or "\0" in path:
            text = "The workbook has a part with a path that leads out of it. Nothing was unpacked."
            raise unreadable("damaged", text)
        if part.flag_bits & 1:
            raise unreadable("password", PASSWORD)
        # Programs write a document type in the manifest and in macros, which are never expanded.
        name = path.lower()
        is_read = name != MANIFEST and not name.startswith(MACROS)
        if is_read and name.endswith((".xml", ".rels")):
            with archive.open(part) as stream:
                if b"<!DOCTYPE" in stream.read(HEAD).upper().replace(b"\0", b""):
                    text = f"A part of the workbook (“{path}”) begins with DOCTYPE; none should."
                    raise unreadable("damaged", text)


def is_spreadsheet(archive: ZipFile, names: dict[str, str]) -> bool:
    """Whether it is an .ods. `names`: the parts by their path in lower case."""
    if "content.xml" not in names:
        return False
    if "mimetype" in names:
        return archive.read(names["mimetype"]).strip().startswith(SPREADSHEET)
    return MANIFEST in names and SPREADSHEET in archive.read(names[MANIFEST])


def other_zip(names: list[str]) -> str:
    """What a zip file is in which there is no workbook. `names`: of its parts, in lower case."""
    for wanted, words in OTHER_ZIPS:
        if any(name == wanted or name.endswith(f".numbers/{wanted}") for name in names):
            return f"This is {words}."
    text = "This zip file does not contain a workbook"
    tables = [name for name in names if name.endswith(TABLES) and "__macosx/" not in name]
    if not tables:
        return f"{text}."
    return f"{text}, but “{tables[0].rpartition('/')[2]}”. Unpack it, and upload that file."


def part_blocks(archive: ZipFile, name: str, limits: Limits) -> Generator[bytes, None, None]:
    """What a part of the workbook holds; at the end its size and checksum have been checked."""
    with archive.open(name) as stream:
        size = max(BLOCK, limits.cell)
        while block := stream.read(size):
            if len(block) == size and b"<" not in block and name.endswith(".xml"):
                text = f"The workbook has a cell with more than {limits.cell:,} bytes."
                raise unreadable("long_cell", text)
            yield block


def elements(archive: ZipFile, name: str, wanted: str) -> Iterator[ElementTree.Element]:
    """The elements with this name. There is no document type that could play tricks."""
    with archive.open(name) as stream:
        for _event, element in ElementTree.iterparse(stream):  # noqa: S314 - no DOCTYPE
            if element.tag.rpartition("}")[2] == wanted:
                yield element


def other_ole(names: set[str]) -> str:
    """What an OLE file is in which there is no workbook. `names`: of its streams and folders."""
    for name, words in OTHER_OLES:
        if name in names:
            return words
    return "not a workbook"


@contextmanager
def library_errors() -> Iterator[None]:
    """What goes wrong inside of other libraries becomes Unreadable."""
    try:
        yield
    except (Unreadable, MemoryError):
        raise
    except PasswordError as error:
        raise unreadable("password", PASSWORD) from error
    except Exception as error:
        raise unreadable("damaged", NOT_KNOWN) from error
    except BaseException as error:
        # A failed assumption of calamine's is no Exception, and cannot be imported.
        if type(error).__name__ != "PanicException":
            raise
        raise unreadable("damaged", NOT_KNOWN) from error
