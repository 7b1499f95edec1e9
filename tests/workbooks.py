"""Workbooks for tests: made by their usual writers, or part by part where no program would write
them so."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import xlsxwriter
import xlwt  # type: ignore[import-untyped]  # has no types
from xlwt.CompoundDoc import XlsDoc  # type: ignore[import-untyped]  # has no types

Parts = Mapping[str, str | bytes]


@contextmanager
def workbook(path: Path, **options: Any) -> Iterator[Any]:
    """An .xlsx as its writer makes it."""
    book = xlsxwriter.Workbook(str(path), {"in_memory": True, **options})
    yield book
    book.close()


def fill(sheet: Any, rows: list[list[Any]]) -> None:
    for number, row in enumerate(rows):
        sheet.write_row(number, 0, row)


PACKAGE = "http://schemas.openxmlformats.org/package/2006"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
TYPES = (
    f'<Types xmlns="{PACKAGE}/content-types"><Override PartName="/xl/workbook.xml" ContentType='
    '"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/></Types>'
)
BOOK = (
    f'<workbook xmlns="{MAIN}" xmlns:r="{OFFICE}"><sheets>'
    '<sheet name="Data" sheetId="1" r:id="rId1"/></sheets></workbook>'
)


def relations(**targets: str) -> str:
    """From one part of a workbook to others, by their kind."""
    return (
        f'<Relationships xmlns="{PACKAGE}/relationships">'
        + "".join(
            f'<Relationship Id="rId{number}" Type="{OFFICE}/{kind}" Target="{target}"/>'
            for number, (kind, target) in enumerate(targets.items(), start=1)
        )
        + "</Relationships>"
    )


def sheet_of(rows: str, before: str = "") -> str:
    return f'{before}<worksheet xmlns="{MAIN}"><sheetData>{rows}</sheetData></worksheet>'


SMALL = sheet_of(
    '<row r="1"><c r="A1" t="inlineStr"><is><t>name</t></is></c></row>'
    '<row r="2"><c r="A2" t="inlineStr"><is><t>Ann</t></is></c></row>'
)


def pack(path: Path, parts: Parts, *, stored: bool = False) -> None:
    how = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(path, "w", how) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


def xlsx(
    path: Path, sheet: str | bytes = SMALL, parts: Parts | None = None, *, stored: bool = False
) -> None:
    """An .xlsx part by part; `parts` come on top."""
    targets = {"worksheet": "worksheets/sheet1.xml"}
    if parts and "xl/sharedStrings.xml" in parts:
        targets["sharedStrings"] = "sharedStrings.xml"
    usual = {
        "[Content_Types].xml": TYPES,
        "_rels/.rels": relations(officeDocument="xl/workbook.xml"),
        "xl/workbook.xml": BOOK,
        "xl/_rels/workbook.xml.rels": relations(**targets),
        "xl/worksheets/sheet1.xml": sheet,
    }
    pack(path, {**usual, **(parts or {})}, stored=stored)


ODS = "application/vnd.oasis.opendocument.spreadsheet"
NAMES = "urn:oasis:names:tc:opendocument:xmlns:"


def ods(
    path: Path, *sheets: str, manifest: str = "", kind: str = ODS, parts: Parts | None = None
) -> None:
    """`sheets`: the table:table elements."""
    names = " ".join(f'xmlns:{name}="{NAMES}{name}:1.0"' for name in ("office", "table", "text"))
    content = (
        f'<office:document-content {names} xmlns:calcext="urn:calcext"><office:body>'
        f"<office:spreadsheet>{''.join(sheets)}</office:spreadsheet></office:body>"
        "</office:document-content>"
    )
    # Old programs write this document type.
    manifest = f'<!DOCTYPE manifest:manifest SYSTEM "Manifest.dtd"><manifest>{manifest}</manifest>'
    usual = {"mimetype": kind, "META-INF/manifest.xml": manifest, "content.xml": content}
    pack(path, {**usual, **(parts or {})})


def ods_row(*elements: str, again: int = 1) -> str:
    repeated = f'<table:table-row table:number-rows-repeated="{again}">'
    return f"{repeated}{''.join(elements)}</table:table-row>"


def ods_cell(text: str, kind: str = "string", value: str = "", **more: str) -> str:
    attributes = "".join(f' table:{name}="{said}"' for name, said in more.items())
    value = value and f" office:{value}"
    paragraphs = "".join(f"<text:p>{line}</text:p>" for line in text.split("\n"))
    return (
        f'<table:table-cell office:value-type="{kind}"{value}{attributes}>{paragraphs}'
        "</table:table-cell>"
    )


def xls(path: Path, rows: list[list[Any]], *, inside: bytes = b"") -> None:
    """`inside`: put after the first record of the workbook."""
    raw = xls_stream(rows)
    first = 4 + struct.unpack_from("<H", raw, 2)[0]
    XlsDoc().save(str(path), raw[:first] + inside + raw[first:])


def xls_stream(rows: list[list[Any]]) -> bytes:
    """The stream with the sheets of an .xls."""
    book = xlwt.Workbook()
    sheet = book.add_sheet("Data")
    for number, row in enumerate(rows):
        for column, value in enumerate(row):
            sheet.write(number, column, value)
    raw: bytes = book.get_biff_data()
    return raw


def ole(path: Path, own: dict[str, bytes], embedded: dict[str, bytes]) -> None:
    """An OLE file with these streams, after those of another file that is embedded in it."""
    sectors: list[bytes] = []
    table: list[int] = []
    entries: list[tuple[str, int, int, int, int, int]] = []
    numbered = [*embedded.items(), *own.items()]
    for number, (name, stream) in enumerate(numbered, start=2):
        first = len(table)
        stream = stream.ljust(4_096, b"\0")
        stream += b"\0" * (-len(stream) % 512)
        sectors.append(stream)
        table += [*range(first + 1, first + len(stream) // 512), 0xFFFFFFFE]
        last = number - 1 in (len(embedded), len(numbered))
        after = 0xFFFFFFFF if last else number + 1
        entries.append((name, 2, after, 0xFFFFFFFF, first, len(stream)))
    nothing = 0xFFFFFFFF
    root = ("Root Entry", 5, nothing, 1, nothing, 0)
    folder = ("MBD0001", 1, 2 + len(embedded), 2 if embedded else nothing, 0, 0)
    raw = b""
    for name, kind, after, inside, first, size in (root, folder, *entries):
        text = name.encode("utf-16-le").ljust(64, b"\0")
        raw += text + struct.pack("<HBB3I", 2 * len(name) + 2, kind, 1, nothing, after, inside)
        raw += bytes(36) + struct.pack("<3I", first, size, 0)
    raw += bytes(-len(raw) % 512)
    begin = len(table)
    table += [*range(begin + 1, begin + len(raw) // 512), 0xFFFFFFFE, 0xFFFFFFFD]
    packed = struct.pack(f"<{len(table)}I", *table).ljust(512, b"\xff")
    assert len(packed) == 512
    head = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16)
    head += struct.pack("<5H", 62, 3, 0xFFFE, 9, 6) + bytes(10)
    head += struct.pack("<5I", 1, begin, 0, 4_096, 0xFFFFFFFE) + struct.pack(
        "<3I", 0, 0xFFFFFFFE, 0
    )
    head += struct.pack("<I", len(table) - 1)
    path.write_bytes(head.ljust(512, b"\xff") + b"".join(sectors) + raw + packed)


def rename_stream(path: Path, name: str) -> None:
    """Make another kind of file of an .xls."""
    raw = path.read_bytes()
    entry = raw.index("Workbook".encode("utf-16-le"))
    other = name.encode("utf-16-le").ljust(64, b"\0") + struct.pack("<H", 2 * len(name) + 2)
    path.write_bytes(raw[:entry] + other + raw[entry + 66 :])


def xlsb(path: Path, rows: list[list[str | float]]) -> None:
    def record(kind: int, body: bytes = b"") -> bytes:
        head = [kind] if kind < 128 else [kind & 127 | 128, kind >> 7]
        return bytes([*head, len(body)]) + body

    def wide(text: str) -> bytes:
        return struct.pack("<I", len(text)) + text.encode("utf-16-le")

    def cell(column: int, value: str | float) -> bytes:
        at = struct.pack("<II", column, 0)
        if isinstance(value, str):
            return record(6, at + wide(value))
        return record(5, at + struct.pack("<d", value))

    data = b"".join(
        record(0, struct.pack("<IIHBBI", number, 0, 300, 0, 0, 0))
        + b"".join(cell(column, value) for column, value in enumerate(row))
        for number, row in enumerate(rows)
    )
    area = struct.pack("<IIII", 0, len(rows) - 1, 0, len(rows[0]) - 1)
    sheet = record(129) + record(148, area) + record(145) + data + record(146) + record(130)
    name = record(156, struct.pack("<II", 0, 1) + wide("rId1") + wide("Data"))
    parts: dict[str, str | bytes] = {
        "[Content_Types].xml": TYPES,
        "xl/workbook.bin": record(131) + record(143) + name + record(144) + record(132),
        "xl/_rels/workbook.bin.rels": relations(worksheet="worksheets/sheet1.bin"),
        "xl/worksheets/sheet1.bin": sheet,
    }
    pack(path, parts)


def declare(path: Path, name: str, size: int) -> None:
    """Have a zip file say another size of one of its parts."""
    with zipfile.ZipFile(path) as archive:
        real = archive.getinfo(name).file_size
    path.write_bytes(path.read_bytes().replace(struct.pack("<I", real), struct.pack("<I", size)))


def repeated(path: Path, rows: int, columns: int) -> None:
    """A few bytes that stand for very many cells."""
    row = ods_row(ods_cell("x", **{"number-columns-repeated": str(columns)}), again=rows)
    ods(path, f'<table:table table:name="Data">{row}</table:table>')
