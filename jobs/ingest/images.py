"""The most tokens of an image, from its bytes. Pure.

From the vision guide: an image costs a token for every 28 by 28 pixels and is scaled down first if
that is more than its model reads. Anything uncertain, such as an animation, counts as the largest
image that its model reads.
"""

from __future__ import annotations

import binascii

PATCH = 28  # pixels
PIXELS_A_TOKEN = 750  # the older formula, which gives slightly more tokens
_PNG, _GIF, _JPEG = b"\x89PNG\r\n\x1a\n", (b"GIF87a", b"GIF89a"), b"\xff\xd8"
# JPEG markers with the size, and markers without data.
_SIZES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_ALONE = {0x01, *range(0xD0, 0xD8)}


def decode(data: object) -> bytes:
    """Decode base64; b"" when it is invalid or ambiguous."""
    try:
        text = "".join(data.split()) if isinstance(data, str) else ""
        return binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError):
        return b""


def image_tokens(raw: bytes, most: int) -> int:
    """Tokens of an image; `most`, the largest of its model, when its size cannot be read."""
    width, height = image_size(raw)
    if not width or not height:
        return most
    patches = -(-width // PATCH) * -(-height // PATCH)
    return min(max(patches, -(-width * height // PIXELS_A_TOKEN)), most)


def image_size(raw: bytes) -> tuple[int, int]:
    """Width and height in pixels of a PNG, JPEG, GIF or WebP; 0, 0 when they cannot be read or
    there is more than one image."""
    if raw.startswith(_PNG) and raw[12:16] == b"IHDR" and len(raw) >= 24:
        moves = b"acTL" in raw
        return (0, 0) if moves else (_number(raw[16:20]), _number(raw[20:24]))
    if raw.startswith(_GIF):
        return _gif_size(raw)
    if raw.startswith(_JPEG):
        return _jpeg_size(raw)
    if raw[:4] == b"RIFF" and raw[8:12] == b"WEBP":
        return _webp_size(raw)
    return 0, 0


def _number(raw: bytes) -> int:
    return int.from_bytes(raw, "big")


def _gif_size(raw: bytes) -> tuple[int, int]:
    """An image may be larger than the screen size in the header."""
    sizes, at = [raw[6:10]], 13 + _colors(raw[10:11])
    while at < len(raw):
        if raw[at] == 0x3B and len(sizes) == 2:
            pairs = [(one[:2], one[2:]) for one in sizes]
            width, height = (
                max(int.from_bytes(pair[n], "little") for pair in pairs) for n in (0, 1)
            )
            return width, height
        if raw[at] == 0x21:  # an extension, such as a comment
            at += 2
        elif raw[at] == 0x2C:
            sizes.append(raw[at + 5 : at + 9])
            at += 11 + _colors(raw[at + 9 : at + 10])
        else:
            break
        while at < len(raw) and raw[at]:
            at += 1 + raw[at]
        at += 1
    return 0, 0


def _colors(flags: bytes) -> int:
    """Bytes of the table of colors that follows."""
    return 3 << (flags[0] & 7) + 1 if flags and flags[0] & 0x80 else 0


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
    """The larger of the size in the header and those of the images."""
    sizes, at, pictures = [(0, 0)], 12, 0
    while at + 18 <= len(raw):
        kind, body = raw[at : at + 4], raw[at + 8 : at + 18]
        if kind == b"VP8X":
            found = (
                1 + int.from_bytes(body[4:7], "little"),
                1 + int.from_bytes(body[7:10], "little"),
            )
        elif kind == b"VP8L" and body[0] == 0x2F:
            bits = int.from_bytes(body[1:5], "little")
            found = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        elif kind == b"VP8 " and body[3:6] == b"\x9d\x01\x2a":
            found = _side(body[6:8]), _side(body[8:10])
        elif kind in (b"ANIM", b"ANMF", b"VP8L", b"VP8 "):
            return 0, 0
        else:
            found = 0, 0
        sizes.append(found)
        pictures += kind in (b"VP8L", b"VP8 ")
        size = int.from_bytes(raw[at + 4 : at + 8], "little")
        at += 8 + size + size % 2
    if pictures != 1:
        return 0, 0
    return max(size[0] for size in sizes), max(size[1] for size in sizes)


def _side(raw: bytes) -> int:
    return int.from_bytes(raw, "little") & 0x3FFF
