"""How long a picture or a PDF is at most, in tokens, by its bytes alone. Pure.

From the vision and the PDF guide: a picture costs a token for every 28 by 28 pixels, and is made
smaller first if that is more than its model takes; a page of a PDF costs its text and a picture of
it. Who cannot tell from the bytes says so, and never guesses too little.
"""

from __future__ import annotations

import binascii
import re
import zlib
from collections.abc import Iterator
from typing import NamedTuple

PATCH = 28  # pixels
PIXELS_A_TOKEN = 750  # the older formula, which gives a few tokens more
# Tokens of text on a page: 1,500 to 3,000, and newer models count 30 % more. A page with more text
# than that is taken by its text.
PAGE_TEXT = 3_900
# What may come out of a file when it is unpacked: this many times its bytes, and this much more.
UNPACKED_TIMES, UNPACKED = 20, 1_000_000

_PNG, _GIF, _JPEG = b"\x89PNG\r\n\x1a\n", (b"GIF87a", b"GIF89a"), b"\xff\xd8"
# Markers of a JPEG that say its size, and those that stand alone.
_SIZES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_ALONE = {0x01, *range(0xD0, 0xD8)}


class Pdf(NamedTuple):
    pages: int
    text: int  # bytes, at most


def decode(data: object) -> bytes:
    """What is written in base64; b"" when it is not."""
    try:
        return binascii.a2b_base64(data) if isinstance(data, str) else b""
    except (binascii.Error, ValueError):
        return b""


# --- Pictures -------------------------------------------------------------------------------------


def image_tokens(raw: bytes, most: int) -> int:
    """Tokens of a picture; `most`, what its model takes for any, when its size cannot be read."""
    width, height = image_size(raw)
    if not width or not height:
        return most
    patches = -(-width // PATCH) * -(-height // PATCH)
    return min(max(patches, -(-width * height // PIXELS_A_TOKEN)), most)


def image_size(raw: bytes) -> tuple[int, int]:
    """Width and height in pixels of a PNG, JPEG, GIF or WebP; 0, 0 when that cannot be read."""
    if raw.startswith(_PNG) and raw[12:16] == b"IHDR" and len(raw) >= 24:
        return _number(raw[16:20]), _number(raw[20:24])
    if raw.startswith(_GIF) and len(raw) >= 10:
        return int.from_bytes(raw[6:8], "little"), int.from_bytes(raw[8:10], "little")
    if raw.startswith(_JPEG):
        return _jpeg_size(raw)
    if raw[:4] == b"RIFF" and raw[8:12] == b"WEBP" and len(raw) >= 30:
        return _webp_size(raw)
    return 0, 0


def _number(raw: bytes) -> int:
    return int.from_bytes(raw, "big")


def _jpeg_size(raw: bytes) -> tuple[int, int]:
    at = 2
    while at + 9 <= len(raw) and raw[at] == 0xFF:
        marker = raw[at + 1]
        if marker == 0xFF:  # padding
            at += 1
        elif marker in _ALONE:
            at += 2
        elif marker in _SIZES:
            return _number(raw[at + 7 : at + 9]), _number(raw[at + 5 : at + 7])
        else:
            at += 2 + max(_number(raw[at + 2 : at + 4]), 2)
    return 0, 0


def _webp_size(raw: bytes) -> tuple[int, int]:
    kind = raw[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(raw[24:27], "little"), 1 + int.from_bytes(raw[27:30], "little")
    if kind == b"VP8L" and raw[20] == 0x2F:
        bits = int.from_bytes(raw[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 " and raw[23:26] == b"\x9d\x01\x2a":
        sizes = (int.from_bytes(raw[at : at + 2], "little") & 0x3FFF for at in (26, 28))
        return next(sizes), next(sizes)
    return 0, 0


# --- PDFs -----------------------------------------------------------------------------------------

_STREAM = re.compile(rb"(?<!end)stream\r?\n")
_PAGE = re.compile(rb"/Type\s*/Page(?![A-Za-z])")
_COUNT = re.compile(rb"/Count\s+(\d{1,9})\b")
_KIDS = re.compile(rb"/Kids\s*\[([^\]]*)\]")
_REFERENCE = re.compile(rb"\d+\s+\d+\s+R\b")
_HIDDEN = re.compile(rb"/(?:#|Ty?p?#|Pa?g?#|Ki?d?#)")  # names that are written in numbers
_IS_IMAGE = re.compile(rb"/Subtype\s*/Image\b")
_FILTER = re.compile(rb"/Filter\b")
_IS_FLATE = re.compile(rb"/Filter\s*\[?\s*/FlateDecode\b\s*(?!\s*/)")
# A text as it is shown on a page: in parentheses, or in hexadecimal digits.
_TEXT = re.compile(rb"\((?:[^\\()]|\\.)*+\)|<[0-9A-Fa-f\s]*+>", re.DOTALL)


def read_pdf(raw: bytes) -> Pdf | None:
    """Its pages and their text, neither of them too small; None when its bytes do not say, such as
    those of one that is encrypted."""
    if b"%PDF-" not in raw[:1_024] or b"/Encrypt" in raw:
        return None
    pages = counted = kids = text = 0
    left = UNPACKED_TIMES * len(raw) + UNPACKED
    for part, is_stream in _parts(raw, left):
        if part is None:
            return None
        left -= len(part)
        if left < 0 or _HIDDEN.search(part):
            return None
        pages += len(_PAGE.findall(part))
        counted = max(counted, *map(int, _COUNT.findall(part)), 0)
        kids += sum(len(_REFERENCE.findall(found)) for found in _KIDS.findall(part))
        if is_stream and b"begincmap" not in part:
            text += sum(map(_text_bytes, _TEXT.findall(part)))
    return Pdf(max(pages, counted, kids), text) if pages else None


def _text_bytes(found: bytes) -> int:
    return len(found) // 2 if found[:1] == b"<" else len(found) - 2


def _parts(raw: bytes, most: int) -> Iterator[tuple[bytes | None, bool]]:
    """What stands in the file besides its pictures and fonts, unpacked, and whether it is a stream.
    None: it cannot be unpacked."""
    begin = 0
    while found := _STREAM.search(raw, begin):
        yield raw[begin : found.start()], False
        end = raw.find(b"endstream", found.end())
        if end < 0:
            yield None, True
            return
        words = raw[max(raw.rfind(b"obj", begin, found.start()), begin) : found.start()]
        begin = end + len(b"endstream")
        # A picture, a font program, or a table of where the objects are.
        is_other = _IS_IMAGE.search(words) or b"/Length1" in words or b"/XRef" in words
        if is_other and b"/ObjStm" not in words:
            continue
        packed = raw[found.end() : end]
        if not _FILTER.search(words):
            yield packed, True
        elif not _IS_FLATE.search(words) or b"/Predictor" in words:
            yield None, True
        else:
            yield _inflated(packed, most), True
    yield raw[begin:], False


def _inflated(packed: bytes, most: int) -> bytes | None:
    unpacking = zlib.decompressobj()
    try:
        found = unpacking.decompress(packed, most)
    except zlib.error:
        return None
    return found if unpacking.eof else None
