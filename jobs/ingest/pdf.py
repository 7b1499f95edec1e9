"""How many pages a PDF has at most, and how many tokens of text, by its bytes alone. Pure.

A PDF can be written so that it looks shorter than it is: pages in compressed objects, one page or
one text that is shown a thousand times, letters that stand for sentences. Whatever is not plain
enough to be sure of is not measured: the caller then takes all that the model can read at once.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterator
from math import ceil
from typing import NamedTuple

# Tokens of text on a page: 1,500 to 3,000, and newer models count 30 % more. A page with more text
# than that is taken by its text.
PAGE_TEXT = 3_900
# What may come out of a file when it is unpacked: this many times its bytes, and this much more.
UNPACKED_TIMES, UNPACKED = 20, 1_000_000


class Pdf(NamedTuple):
    pages: int
    text: int  # tokens at most, of what all pages say


class _Unclear(Exception):
    """Its bytes do not say how long it is."""


class _Part(NamedTuple):
    data: bytes  # unpacked
    number: int = 0  # of the object whose stream it is; 0: what stands between streams
    words: bytes = b""  # the dictionary of the stream


_OBJECT = re.compile(rb"(\d{1,10})\s+\d{1,5}\s+obj\b")
_STREAM = re.compile(rb"(?<!end)stream\r?\n")
_PAGE = re.compile(rb"/Type\s*/Page(?![A-Za-z])")
_COUNT = re.compile(rb"/Count\s+(\d{1,9})\b")
_KIDS = re.compile(rb"/Kids\b(?:\s*\[([\d\sR]*)\])?")
_CONTENTS = re.compile(rb"/Contents\b(?:\s*(?:\[([\d\sR]*)\]|(\d+\s+\d+\s+R\b)|(?=[(<])))?")
_REFERENCE = re.compile(rb"(\d+)\s+\d+\s+R\b")
# A name that is written with the number of a letter or digit, which nobody needs to do.
_DISGUISED = re.compile(rb"/[^\s/<>\[\](){}%]*?#(?:3\d|[46][1-9A-Fa-f]|[57][\dAa])")
_FILTER = re.compile(rb"/Filter\b")
_IS_FLATE = re.compile(rb"/Filter\s*(?:/FlateDecode|\[\s*/FlateDecode\s*\])(?!\w)")
# Streams whose bytes are no text and hold no objects: pictures, fonts, tables of objects. And
# what must not be in their dictionaries for that.
_NO_TEXT = re.compile(rb"/Subtype\s*/Image\b|/Length1\b|/Type\s*/XRef\b")
_OBJECTS, _FORM = re.compile(rb"/(?:First|ObjStm)\b"), re.compile(rb"/Form\b")
_INDIRECT = re.compile(rb"/(?:Type|Subtype)\s+\d")
_ESCAPE = re.compile(rb"\\.", re.DOTALL)
_IS_BARE = re.compile(rb"\s*<<.*>>\s*\Z", re.DOTALL)
# A text as it is shown on a page: in parentheses, or in hexadecimal digits.
_TEXT = re.compile(rb"\((?:[^\\()]++|\\.)*\)|(?<!<)<(?!<)[^<>]*+>", re.DOTALL)
_NO_DIGIT = re.compile(rb"[^0-9A-Fa-f]")
_DRAWS = re.compile(rb"\bDo\b")
_HEX = re.compile(rb"<([0-9A-Fa-f\s]*+)>")
_CODES = re.compile(rb"begincodespacerange(.*?)endcodespacerange", re.DOTALL)
_GLYPH_OF_MANY = re.compile(rb"/uni(?:[0-9A-Fa-f]{4}){2,}")
_ASCII = bytes(range(128))


def read_pdf(raw: bytes) -> Pdf | None:
    """Its pages and their text, neither of them too small; None when its bytes do not say, such as
    those of one that is encrypted."""
    if b"%PDF-" not in raw[:1_024] or b"/Encrypt" in raw:
        return None
    found = _Found()
    try:
        for part in _parts(raw):
            found.add(part)
        return found.pdf()
    except _Unclear:
        return None


class _Text(NamedTuple):
    """What a stream says, in bytes."""

    plain: int = 0
    weighed: int = 0  # the same with three for each byte that is no ASCII
    draws: int = 0  # how often it draws another stream, or a picture

    def plus(self, other: _Text, times: int = 1) -> _Text:
        return _Text(*(mine + its * times for mine, its in zip(self, other, strict=True)))


class _Found:
    """What was found in the parts of a file."""

    def __init__(self) -> None:
        self.pages = self.counted = 0
        self.kids: list[bytes] = []  # numbers of pages and of parts of the tree of pages
        self.contents: Counter[int] = Counter()  # numbers of streams, and how often each is shown
        self.streams: dict[int, _Text] = {}  # by the numbers of their objects
        self.forms: set[int] = set()  # numbers of streams that others can draw
        self.beside = _Text()  # notes and titles
        self.bytes_a_code = 1.0  # bytes of text that one byte of a text can stand for

    def add(self, part: _Part) -> None:
        data = part.data
        if _DISGUISED.search(data) or _DISGUISED.search(part.words):
            raise _Unclear
        self.pages += len(_PAGE.findall(data))
        self.counted = max(self.counted, *map(int, _COUNT.findall(data)), 0)
        for found in _KIDS.finditer(data):
            if found[1] is None:
                raise _Unclear
            self.kids += _REFERENCE.findall(found[1])
        for found in _CONTENTS.finditer(data):
            if found[0] == b"/Contents" and data[found.end() :].lstrip()[:1] not in (b"(", b"<"):
                raise _Unclear
            numbers = _REFERENCE.findall(found[1] or found[2] or b"")
            self.contents.update(map(int, numbers))
        if _GLYPH_OF_MANY.search(data):
            raise _Unclear
        self._add_text(part)

    def _add_text(self, part: _Part) -> None:
        text = _text_of(part.data)
        if not part.number:
            self.beside = self.beside.plus(text)
            return
        if b"begincmap" in part.data:
            self.bytes_a_code = max(self.bytes_a_code, _bytes_a_code(part.data))
        # An object that was changed is in the file twice.
        before = self.streams.get(part.number, _Text())
        self.streams[part.number] = _Text(*map(max, before, text))
        if _FORM.search(part.words):
            self.forms.add(part.number)
        elif _OBJECTS.search(part.words):
            self.beside = self.beside.plus(text)

    def pdf(self) -> Pdf | None:
        pages = max(self.pages, self.counted, len(self.kids))
        # A page that is in two places is shown twice; what holds it, too, and so on.
        if not pages or len(set(self.kids)) < len(self.kids):
            return None
        text = self.beside
        for number, times in self.contents.items():
            if number not in self.streams:  # it is a list of them, or does not look like a text
                return None
            text = text.plus(self.streams[number], times)
        forms = _Text()
        for number in self.forms:
            forms = forms.plus(self.streams[number])
        if forms.plain and forms.draws:
            return None  # one may draw the other, a thousand times each
        text = text.plus(forms, 1 + text.draws)
        return Pdf(pages, max(text.weighed, ceil(text.plain * self.bytes_a_code)))


def _text_of(data: bytes) -> _Text:
    rest = _TEXT.sub(b"", data)
    if b"(" in rest or b"<" in rest.replace(b"<<", b""):
        found = [data]  # a text within a text, or without an end
    else:
        found = [_bytes_of(one) for one in _TEXT.findall(data)]
    plain = sum(map(len, found))
    more = 2 * sum(len(one.translate(None, _ASCII)) for one in found)
    return _Text(plain, plain + more, len(_DRAWS.findall(data)))


def _bytes_of(text: bytes) -> bytes:
    if text[:1] == b"(":
        return text[1:-1]
    digits = _NO_DIGIT.sub(b"", text)
    return bytes.fromhex((digits + b"0" * (len(digits) % 2)).decode())


def _bytes_a_code(table: bytes) -> float:
    """Bytes of text that one byte of a font's codes stands for at most, by the table of what its
    codes mean."""
    codes = [found for one in _CODES.findall(table) for found in _HEX.findall(one)]
    shortest = min((len(b"".join(code.split())) // 2 for code in codes), default=1)
    meant = (bytes.fromhex(found.decode()) for found in _HEX.findall(table) if _is_even(found))
    longest = max((len(one.decode("utf-16-be", "replace").encode()) for one in meant), default=1)
    return max(longest, 1) / max(shortest, 1)


def _is_even(digits: bytes) -> bool:
    return len(b"".join(digits.split())) % 2 == 0


def _parts(raw: bytes) -> Iterator[_Part]:
    """What stands in the file besides its pictures and fonts, unpacked. Raises _Unclear."""
    left = UNPACKED_TIMES * len(raw) + UNPACKED
    begin = 0
    while found := _STREAM.search(raw, begin):
        yield _Part(raw[begin : found.start()])
        end = raw.find(b"endstream", found.end())
        if end < 0:
            raise _Unclear
        number, words = _opening(raw, begin, found.start())
        begin = end + len(b"endstream")
        data = raw[found.end() : end]
        if _NO_TEXT.search(words) and not _OBJECTS.search(words) and not _FORM.search(words):
            if b"endobj" in data:  # it ends before that, and there are objects after it
                raise _Unclear
            continue
        if _FILTER.search(words):
            if len(_FILTER.findall(words)) > 1 or not _IS_FLATE.search(words):
                raise _Unclear
            if b"/Predictor" in words:
                raise _Unclear
            data = _inflated(data, left)
        left -= len(data)
        if left < 0:
            raise _Unclear
        yield _Part(data, number, words)
    yield _Part(raw[begin:])


def _opening(raw: bytes, begin: int, end: int) -> tuple[int, bytes]:
    """The number of the object whose stream begins at `end`, and its dictionary. Raises _Unclear
    when a text or a comment could be taken for it."""
    last = max(_OBJECT.finditer(raw, begin, end), key=re.Match.start, default=None)
    if last is None:
        raise _Unclear
    words, line = raw[last.end() : end], raw[begin : last.start()]
    before = line.rfind(b"obj")
    is_first = before < 0 or line[max(before - 3, 0) : before] == b"end"
    line = re.split(rb"[\r\n]", line)[-1]
    bare = _ESCAPE.sub(b"", words)
    pairs = ((b"<<", b">>"), (b"(", b")"), (b"[", b"]"))
    if (
        not is_first
        or b"%" in words
        or b"%" in line
        or not _IS_BARE.match(words)
        or any(bare.count(left) != bare.count(right) for left, right in pairs)
        or _INDIRECT.search(words)
    ):
        raise _Unclear
    return int(last[1]), words


def _inflated(packed: bytes, most: int) -> bytes:
    """And what is written after it. Raises _Unclear."""
    unpacking = zlib.decompressobj()
    try:
        found = unpacking.decompress(packed, max(most, 1))
    except zlib.error:
        raise _Unclear from None
    if not unpacking.eof:
        raise _Unclear
    return found + unpacking.unused_data
